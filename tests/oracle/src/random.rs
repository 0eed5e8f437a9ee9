//! Random rules with events, to compare an engine with [`crate::run`]; and the way back to a small case.
//!
//! A case follows from its seed alone. Times are whole seconds with many ties, values are few, so that much fits.

use crate::Event;
use pattern_dsl::ir::{Field, Stream, TimeField, TimeFormat};
use pattern_dsl::types::{Literal, Type};

/// One rule and events for it.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it was made from.
    pub seed: u64,
    /// The rule file: one rule `r`, perhaps a list before it.
    pub text: String,
    /// Events in event-time order.
    pub events: Vec<Event>,
    /// The streams `a`, `b`, `c`, all with the fields `k`, `v`, `w`, `u`.
    pub streams: Vec<Stream>,
}

const SECOND: i64 = 1_000_000;
const STREAMS: [&str; 3] = ["a", "b", "c"];
const ALIASES: [&str; 4] = ["x", "y", "z", "q"];
const WORDS: [&str; 3] = ["p", "q", "r"];
const KEY: usize = 0;

/// The case of a seed.
#[must_use]
pub fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let nullable_key = random.chance(50);
    let streams: Vec<Stream> = STREAMS.iter().map(|name| stream(name, nullable_key)).collect();
    let mut writer = Writer { random, count: 1, steps: Vec::new(), links: 0, used: Vec::new(), list: false };
    let text = writer.file();
    let (mut random, used) = (writer.random, writer.used);
    let events = events(&mut random, &used, nullable_key);
    Case { seed, text, events, streams }
}

/// Drops events, then merges keys and closes gaps between times, as long as `fails` stays true.
pub fn shrink(case: Case, fails: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut best = case;
    let mut smaller = true;
    while smaller {
        smaller = false;
        let mut at = best.events.len();
        while at > 0 {
            at -= 1;
            let mut next = best.clone();
            next.events.remove(at);
            smaller |= accept(&mut best, next, fails);
        }
        for at in 0..best.events.len() {
            // One key for all, no value where there need be none.
            for (field, to) in [(KEY, Literal::Int(1)), (1, Literal::Int(0)), (2, Literal::Null)] {
                if best.events[at].fields[field] != to {
                    let mut next = best.clone();
                    next.events[at].fields[field] = to;
                    smaller |= accept(&mut best, next, fails);
                }
            }
            if best.events[at].partition != 0 {
                let mut next = best.clone();
                next.events[at].partition = 0;
                next.events[at].offset = 100 + at as u64;
                smaller |= accept(&mut best, next, fails);
            }
            // All from here on one second earlier.
            let before = if at == 0 { 0 } else { best.events[at - 1].ts };
            if best.events[at].ts - before >= SECOND {
                let mut next = best.clone();
                for event in &mut next.events[at..] {
                    event.ts -= SECOND;
                }
                smaller |= accept(&mut best, next, fails);
            }
        }
    }
    best
}

fn accept(best: &mut Case, next: Case, fails: &mut dyn FnMut(&Case) -> bool) -> bool {
    let fails = fails(&next);
    if fails {
        *best = next;
    }
    fails
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// An index, as often as its weight says.
    fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        0
    }
}

fn stream(name: &str, nullable_key: bool) -> Stream {
    let field = |name: &str, ty, nullable| Field { path: vec![name.to_owned()], ty, nullable, mask: false };
    Stream {
        name: name.to_owned(),
        topic: None,
        topic_filter: None,
        key: None,
        id: None,
        dedupe: None,
        fields: vec![
            field("k", Type::Int, nullable_key),
            field("v", Type::Int, false),
            field("w", Type::Int, true),
            field("u", Type::String, false),
        ],
        time: TimeField {
            path: vec!["ts".to_owned()],
            format: TimeFormat::Auto,
            zone: None,
            in_order: false,
        },
        late: 0,
        idle: 60 * SECOND,
        declared: true,
    }
}

fn events(random: &mut Random, used: &[usize], nullable_key: bool) -> Vec<Event> {
    let partitions = if random.chance(70) { 1 } else { 2 };
    let keys = 1 + random.weighted(&[72, 28]) as i64;
    let mut offsets = [[0u64; 2]; 3];
    let (mut ts, mut made) = (0, Vec::new());
    for _ in 0..4 + random.below(7) + random.below(7) {
        ts += [0, 1, 2, 4][random.weighted(&[45, 35, 15, 5])] * SECOND;
        let stream = if random.chance(95) { random.pick(used) } else { random.below(3) };
        let partition = random.below(partitions);
        let key = if nullable_key && random.chance(7) {
            Literal::Null
        } else {
            Literal::Int(random.between(1, keys))
        };
        let optional = if random.chance(30) { Literal::Null } else { Literal::Int(random.between(0, 3)) };
        made.push(Event {
            stream,
            ts,
            partition: partition as u32,
            offset: offsets[stream][partition],
            id: None,
            fields: vec![
                key,
                Literal::Int(random.between(0, 4)),
                optional,
                Literal::String(random.pick(&WORDS).to_owned()),
            ],
        });
        offsets[stream][partition] += 1;
    }
    made
}

/// A step already decided on.
#[derive(Clone, Copy)]
struct Plan {
    stream: usize,
    alias: &'static str,
    repeated: bool,
}

/// Writes one rule file.
struct Writer {
    random: Random,
    /// How many steps there will be.
    count: usize,
    steps: Vec<Plan>,
    /// Tests across steps by other than `==` so far: more than a few is E345.
    links: usize,
    /// Streams named so far.
    used: Vec<usize>,
    /// `@l` is used.
    list: bool,
}

impl Writer {
    fn file(&mut self) -> String {
        self.count = 1 + self.random.weighted(&[25, 35, 27, 13]);
        let latch = self.count == 1 && self.random.chance(35);
        let mut events = 0;
        let mut body = String::new();
        for index in 0..self.count {
            let (text, min, repeated) = self.unit(index, latch);
            events += if repeated { min.max(2) } else { min };
            if index > 0 {
                body += "\n    ";
            }
            body += &text;
        }
        if self.random.chance(22) {
            for _ in 0..=self.random.weighted(&[80, 20]) {
                let absence = self.absence(true, self.count);
                body += &format!("\n    then {absence}");
            }
        }
        let within = if events > 1 || self.random.chance(20) {
            format!(" within {}s", self.random.between(3, 18))
        } else {
            String::new()
        };
        let mut text = String::from("rule r {\n");
        text += &self.key();
        text += &self.filters();
        text += &format!("  match{within} {{\n    {body}\n  }}\n");
        text += &self.clauses();
        text += "}\n";
        if self.list {
            text = format!("list l: string = [\"p\", \"q\"]\n{text}");
        }
        text
    }

    fn any_stream(&mut self) -> usize {
        let known = !self.used.is_empty() && self.random.chance(50);
        let stream =
            if known { self.random.pick(&self.used.clone()) } else { self.random.weighted(&[45, 35, 20]) };
        if !self.used.contains(&stream) {
            self.used.push(stream);
        }
        stream
    }

    /// The arrow and the step, its minimum, and whether it may take more than one.
    fn unit(&mut self, index: usize, latch: bool) -> (String, i64, bool) {
        let mut text = String::new();
        let mut gap = false;
        if index > 0 {
            while self.random.chance(16) {
                let absence = self.absence(false, index);
                text += &format!("then {absence} ");
                gap = true;
            }
            text += "then ";
            text += ["", "first ", "immediately "][self.random.weighted(&[60, 25, if gap { 0 } else { 15 }])];
            if self.random.chance(20) {
                text += &format!("within {}s ", self.random.between(0, 5));
            }
        }
        let (mut min, mut repeated, mut consecutive) = (1, false, false);
        if !latch && self.random.chance(38) {
            repeated = true;
            match self.random.weighted(&[50, 20, 30]) {
                0 => {
                    min = self.random.between(1, 3);
                    text += &format!("at least {min} ");
                }
                1 => {
                    min = self.random.between(2, 3);
                    text += &format!("{min} ");
                }
                _ => {
                    min = self.random.between(1, 2);
                    text += &format!("{min} to {} ", min + self.random.between(1, 2));
                }
            }
            consecutive = self.random.chance(35);
            if consecutive {
                text += "consecutive ";
            }
        }
        let plan = Plan { stream: self.any_stream(), alias: ALIASES[index], repeated };
        text += &format!("{} as {}", STREAMS[plan.stream], plan.alias);
        let mut terms = Vec::new();
        let many: &[usize] = if self.count > 2 { &[75, 23, 2] } else { &[50, 42, 8] };
        for _ in 0..self.random.weighted(many) {
            terms.push(self.own_term());
        }
        if index > 0 && self.random.chance(35) {
            terms.extend(self.cross_term());
        }
        if consecutive && self.random.chance(45) {
            terms.push(self.run_term(plan.alias));
        }
        if self.random.chance(15) {
            let window = self.window(&[], Some(plan.alias));
            terms.push(self.window_term(&window));
        }
        if latch {
            terms.push(self.latch_term(plan));
        }
        self.steps.push(plan);
        if !terms.is_empty() {
            text += &format!(" where {}", terms.join(" and "));
        }
        (text, min, repeated)
    }

    /// `no s`, with `for` if it is at the end.
    fn absence(&mut self, end: bool, steps: usize) -> String {
        let mut text = String::from("no ");
        let first = self.any_stream();
        if self.random.chance(20) {
            let second = (first + 1) % 3;
            if !self.used.contains(&second) {
                self.used.push(second);
            }
            text += &format!("one of {{ {}, {} }}", STREAMS[first], STREAMS[second]);
        } else {
            text += STREAMS[first];
        }
        if end {
            text += &format!(" for {}s", self.random.between(1, 4));
        }
        let mut terms = Vec::new();
        if self.random.chance(45) {
            terms.push(self.own_term());
        }
        if steps > 0 && self.random.chance(25) {
            terms.extend(self.cross_term());
        }
        if !terms.is_empty() {
            text += &format!(" where {}", terms.join(" and "));
        }
        text
    }

    /// A test of the event alone.
    fn own_term(&mut self) -> String {
        let r = &mut self.random;
        let (n, word) = (r.between(0, 3), r.pick(&WORDS));
        match r.below(18) {
            0..=2 => format!("v > {}", n - 1),
            3 => format!("v >= {n}"),
            4 => format!("v < {}", n + 1),
            5 => format!("v == {n}"),
            6 => format!("v != {n}"),
            7 => "w is null".into(),
            8 => "w is not null".into(),
            9 => format!("w > {}", n - 1),
            10 => format!("not (w > {n})"),
            11 => format!("u == \"{word}\""),
            12 => format!("u in [\"{word}\", \"r\"]"),
            13 => format!("v + 1 > (w ?? {n})"),
            14 => format!("(v > 2 or w == {n})"),
            15 => format!("v % 2 == {}", n % 2),
            16 => {
                self.list = true;
                if n % 2 == 0 { "u in @l".into() } else { "u not in @l".into() }
            }
            _ => format!("(if w > {n} then v > 1 else v < 3)"),
        }
    }

    /// A test against an earlier step, if there may be one more.
    fn cross_term(&mut self) -> Option<String> {
        let step = self.random.pick(&self.steps.clone());
        let (x, r) = (step.alias, &mut self.random);
        let equal = self.links >= 2 || r.chance(40);
        if !equal {
            self.links += 1;
        }
        Some(match (step.repeated, equal) {
            (false, true) => match r.below(3) {
                0 => format!("v == {x}.v"),
                1 => format!("w == {x}.w"),
                _ => format!("u == {x}.u"),
            },
            (false, false) => match r.below(6) {
                0 => format!("v > {x}.v"),
                1 => format!("v != {x}.v"),
                2 => format!("v >= {x}.v - 1"),
                3 => format!("v <= ({x}.w ?? 1)"),
                4 => format!("u != {x}.u"),
                _ => format!("ts - {x}.ts <= {}s", r.between(0, 4)),
            },
            (true, true) => match r.below(3) {
                0 => format!("v == max({x}.v)"),
                1 => format!("v == count({x})"),
                _ => format!("u == last({x}.u)"),
            },
            (true, false) => match r.below(11) {
                0 => format!("v > avg({x}.v)"),
                1 => format!("v >= min({x}.v)"),
                2 => format!("v < sum({x}.v)"),
                3 => format!("v >= count({x})"),
                4 => format!("v != first({x}.v)"),
                5 => format!("v >= last({x}.v)"),
                6 => format!("v in collect({x}.v)"),
                7 => format!("sum({x}.w) > {}", r.between(0, 3)),
                8 => format!("distinct({x}.u) >= 2"),
                9 => format!("v >= median({x}.v)"),
                _ => format!("count({x}) >= {}", r.between(1, 3)),
            },
        })
    }

    /// A test that looks at what a `consecutive` step took before.
    fn run_term(&mut self, own: &str) -> String {
        match self.random.below(6) {
            0 => "rising(v)".into(),
            1 => "falling(v)".into(),
            2 => "changed(u)".into(),
            3 => "changed(w)".into(),
            4 => format!("v >= (max({own}.v) ?? 0)"),
            _ => format!("count({own}) < 3"),
        }
    }

    /// A window; `before` one of `steps` or `own` now and then.
    fn window(&mut self, steps: &[Plan], own: Option<&str>) -> String {
        let stream = STREAMS[self.any_stream()];
        let mut names: Vec<&str> = steps.iter().map(|s| s.alias).collect();
        names.extend(own);
        let r = &mut self.random;
        let what = match r.below(12) {
            0..=3 => format!("count({stream}"),
            4 | 5 => format!("sum({stream}.v"),
            6 => format!("avg({stream}.v"),
            7 => format!("min({stream}.v"),
            8 => format!("max({stream}.w"),
            9 => format!("distinct({stream}.u"),
            10 => format!("last({stream}.v"),
            _ => format!("stddev({stream}.v"),
        };
        let mut text = format!("{what} over {}s", r.between(1, 6));
        if !names.is_empty() && r.chance(30) {
            text += &format!(" before {}", r.pick(&names));
        }
        if r.chance(25) {
            text += [" where v > 1", " where w is not null", " where u == \"p\""][r.below(3)];
        }
        text + ")"
    }

    fn window_term(&mut self, window: &str) -> String {
        let r = &mut self.random;
        // A standard deviation is compared with what no small whole numbers give.
        if window.starts_with("stddev") {
            return format!("{window} > 1.05");
        }
        match r.below(4) {
            0 => format!("{window} < {}", r.between(2, 4)),
            1 => format!("{window} > {}", r.between(0, 2)),
            _ => format!("{window} >= {}", r.between(1, 3)),
        }
    }

    fn latch_term(&mut self, plan: Plan) -> String {
        let n = self.random.between(1, 4);
        if self.random.chance(20) {
            return format!("v reaches {n}");
        }
        if self.random.chance(10) {
            return format!("w reaches {n}");
        }
        loop {
            let window = self.window(&[], Some(plan.alias));
            if !window.starts_with("stddev") {
                return format!("{window} reaches {n}");
            }
        }
    }

    fn key(&mut self) -> String {
        let mapped = self.random.pick(&self.used.clone());
        let step = self.random.pick(&self.steps.clone());
        match self.random.weighted(&[62, 6, 14, 8, 10]) {
            0 => "  by k\n".into(),
            1 => "  by k, u\n".into(),
            2 => String::new(),
            3 => format!("  by k ({}.w)\n", STREAMS[mapped]),
            _ => format!("  by k ({}.{})\n", step.alias, self.random.pick(&["w", "v"])),
        }
    }

    fn filters(&mut self) -> String {
        if !self.random.chance(12) {
            return String::new();
        }
        let stream = STREAMS[self.random.pick(&self.used.clone())];
        format!("  from {stream} where {}\n", self.own_term())
    }

    /// A test in a clause after `match`.
    fn after_term(&mut self) -> String {
        let steps = self.steps.clone();
        if self.random.chance(20) {
            let window = self.window(&steps, None);
            return self.window_term(&window);
        }
        let step = self.random.pick(&steps);
        let (x, r) = (step.alias, &mut self.random);
        let n = r.between(0, 3);
        if step.repeated {
            match r.below(8) {
                0 => format!("count({x}) >= {n}"),
                1 => format!("count({x}) == {}", n.max(1)),
                2 => format!("sum({x}.v) > {}", n + 1),
                3 => format!("avg({x}.v) < {}", n + 1),
                4 => format!("max({x}.w) is not null"),
                5 => format!("last({x}.v) > first({x}.v)"),
                6 => format!("distinct({x}.u) > 1"),
                _ => format!("stddev({x}.v) > 1.05"),
            }
        } else {
            match r.below(5) {
                0 => format!("{x}.v > {}", n - 1),
                1 => format!("{x}.w > {}", n - 1),
                2 => format!("{x}.u == \"{}\"", r.pick(&WORDS)),
                3 => format!("{x}.w is null"),
                _ => format!("{x}.v != {n}"),
            }
        }
    }

    fn clauses(&mut self) -> String {
        let mut text = String::new();
        if self.random.chance(25) {
            text += &format!("  having {}\n", self.after_term());
        }
        if self.random.chance(20) {
            text += &format!("  unless {}\n", self.after_term());
        }
        if self.random.chance(25) {
            text += &self.output();
        }
        let overlap = self.random.weighted(&[45, 18, 15, 22]);
        text += ["", "  overlap per start\n", "  overlap per end\n", "  overlap all\n"][overlap];
        if overlap != 3 && self.random.chance(20) {
            text += &format!("  cooldown {}s\n", self.random.between(1, 6));
        }
        text
    }

    fn output(&mut self) -> String {
        let step = self.random.pick(&self.steps.clone());
        let x = step.alias;
        let window = format!("count({} over 3s)", STREAMS[step.stream]);
        if step.repeated {
            format!(
                "  severity if count({x}) > 2 then high else low\n  score 10 + count({x})\n  \
                 reason \"{{count({x})}} with {{avg({x}.v)}}, {{max({x}.w)}}\"\n  \
                 emit {{ n: count({x}), s: sum({x}.v), l: last({x}.w), c: {window} }}\n"
            )
        } else {
            format!(
                "  severity if {x}.w > 1 then critical else info\n  score {x}.w\n  \
                 reason \"{{{x}.u}}: {{{x}.w}}\"\n  emit {{ v: {x}.v, half: {x}.v / 2, w: {x}.w, c: {window} }}\n"
            )
        }
    }
}
