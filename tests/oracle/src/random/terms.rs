//! Writes conditions and values.

use super::rule::{Plan, Writer};
use super::{STREAMS, WORDS};

impl Writer {
    /// The `where` of a step.
    pub(crate) fn step_terms(
        &mut self,
        plan: Plan,
        unit: usize,
        consecutive: bool,
        latch: bool,
    ) -> Vec<String> {
        let own = plan.alias;
        let mut terms = Vec::new();
        let many: &[usize] = if self.count > 2 { &[75, 23, 2] } else { &[50, 42, 8] };
        for _ in 0..self.random.weighted(many) {
            terms.push(self.own_term());
        }
        if unit > 0 && self.random.chance(26) {
            terms.extend(self.cross_term(unit));
        }
        if consecutive && self.may("trends", 50) {
            terms.push(self.run_term(own));
        }
        if self.may("windows", 8) {
            let window = self.window(&self.before(unit), Some(own));
            terms.push(self.window_term(&window));
            self.mark("window in where");
        }
        if self.may("windows", 4) {
            let (field, span) = (self.random.pick(&["u", "v"]), self.random.between(2, 6));
            let filter = if self.random.chance(40) { " where v > 0" } else { "" };
            let stream = STREAMS[plan.stream];
            terms.push(format!("is_new({stream}.{field} over {span}s before {own}{filter})"));
            self.mark("is_new");
        }
        if self.may("names", 6) {
            if !self.head.iter().any(|line| line.starts_with("def")) {
                self.head.push("def small(it) = it.v < 3 and it.u != \"r\"".to_owned());
            }
            terms.push(format!("small({own})"));
            self.mark("def");
        }
        if self.may("names", 6) && !self.front.iter().any(|line| line.starts_with("param")) {
            self.front.push("param limit: int = 2".to_owned());
            terms.push("v <= limit".to_owned());
            self.mark("param");
        }
        if latch {
            terms.push(self.latch_term(plan));
        }
        terms
    }

    /// A test of the event alone.
    pub(crate) fn own_term(&mut self) -> String {
        if self.may("tables", 8) {
            return self.table_term();
        }
        if self.may("functions", 7) {
            return self.function_term();
        }
        if self.may("types", 5) {
            return self.type_term();
        }
        let r = &mut self.random;
        let (n, word) = (r.between(0, 3), r.pick(&WORDS));
        match r.below(17) {
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
            _ => format!("(if w > {n} then v > 1 else v < 3)"),
        }
    }

    /// A test of the event against a list or a lookup.
    fn table_term(&mut self) -> String {
        let n = self.random.between(0, 3);
        let (table, mark, text) = match self.random.below(6) {
            0 => ("l", "list", "u in @l".to_owned()),
            1 => ("l", "list", "u not in @l".to_owned()),
            2 => ("kl", "list by key", "u in @kl[k]".to_owned()),
            3 => ("kl", "list by key", "u not in @kl[v]".to_owned()),
            4 => ("lk", "lookup", format!("@lk[u].n >= {n}")),
            _ => ("kk", "lookup", format!("v >= (@kk[k].n ?? {n})")),
        };
        self.tables.insert(table);
        self.mark(mark);
        text
    }

    fn function_term(&mut self) -> String {
        self.mark("functions");
        let r = &mut self.random;
        let (n, word) = (r.between(0, 3), r.pick(&WORDS));
        match r.below(11) {
            0 => format!("abs(v - 2) >= {}", n / 2),
            1 => format!("min(v, 2) == {}", n.min(2)),
            2 => format!("max(v, w) > {n}"),
            3 => format!("lower(u) == \"{word}\""),
            4 => "length(u) == 1".into(),
            5 => format!("upper(u) starts with \"{}\"", word.to_uppercase()),
            6 => format!("u matches \"^{word}\""),
            7 => format!("ratio(v, w) >= {n}"),
            8 => "hour(ts) == 0".into(),
            9 => "hour(ts, \"Etc/GMT-3\") in [3, 4]".into(),
            _ => "day(ts) in [1, 4, 5]".into(),
        }
    }

    fn type_term(&mut self) -> String {
        self.mark("types");
        let r = &mut self.random;
        match r.below(6) {
            0 => "f > 0.75".into(),
            1 => "f * 2 >= v".into(),
            2 => "f + v < 4.25".into(),
            3 => "cidr(i, \"10.0.0.0/16\")".into(),
            4 => "not cidr(i, \"10.0.0.0/8\")".into(),
            _ => "(f is null or f <= 2.25)".into(),
        }
    }

    /// A test against a step of the units before `unit`, if there is one and there may be one more.
    pub(crate) fn cross_term(&mut self, unit: usize) -> Option<String> {
        let steps = self.before(unit);
        if steps.is_empty() {
            return None;
        }
        let step = self.random.pick(&steps);
        let equal = self.links >= 2 || self.random.chance(40);
        if !equal {
            self.links += 1;
        }
        self.mark("test across steps");
        if !step.repeated && !equal && self.may("tables", 20) {
            let (table, mark, text) = match self.random.below(3) {
                0 => ("kl", "list by key of a step", format!("u in @kl[{}.v]", step.alias)),
                1 => ("lk", "lookup by a step", format!("v >= @lk[{}.u].n", step.alias)),
                _ => ("lk", "lookup by a step", format!("ts - {0}.ts <= @lk[{0}.u].d", step.alias)),
            };
            self.tables.insert(table);
            self.mark(mark);
            return Some(text);
        }
        let (types, functions) = (self.features.has("types"), self.features.has("functions"));
        let (x, r) = (step.alias, &mut self.random);
        Some(match (step.repeated, equal) {
            (false, true) => match r.below(3) {
                0 => format!("v == {x}.v"),
                1 => format!("w == {x}.w"),
                _ => format!("u == {x}.u"),
            },
            (false, false) => match r.below(9) {
                0 => format!("v > {x}.v"),
                1 => format!("v != {x}.v"),
                2 => format!("v >= {x}.v - 1"),
                3 => format!("v <= ({x}.w ?? 1)"),
                4 => format!("u != {x}.u"),
                5 if types && functions => format!("distance_km(g, {x}.g) > 100"),
                6 if types => format!("i != {x}.i"),
                7 if types => format!("f > {x}.f"),
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
        let how = self.random.below(9);
        self.mark(match how {
            0..4 => "trends",
            4..7 => "prev",
            _ => "aggregate of the step itself",
        });
        match how {
            0 => "rising(v)".into(),
            1 => "falling(v)".into(),
            2 => "changed(u)".into(),
            3 => "changed(w)".into(),
            4 => "v >= prev(v, 0)".into(),
            5 => "prev(u, \"p\") != \"r\"".into(),
            6 => "ts - prev(ts, ts) <= 2s".into(),
            7 => format!("v >= (max({own}.v) ?? 0)"),
            _ => format!("count({own}) < 3"),
        }
    }

    /// A window; `before` one of `steps` or `own` now and then.
    pub(crate) fn window(&mut self, steps: &[Plan], own: Option<&str>) -> String {
        let stream = STREAMS[self.any_stream()];
        let mut names: Vec<&str> = steps.iter().map(|s| s.alias).collect();
        names.extend(own);
        let lookup = self.may("tables", 5);
        if lookup {
            self.tables.insert("lk");
            self.mark("lookup in a window");
        }
        let r = &mut self.random;
        let what = match r.below(12) {
            _ if lookup => format!("sum(@lk[{stream}.u].n"),
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
        let before = !names.is_empty() && r.chance(30);
        if before {
            text += &format!(" before {}", r.pick(&names));
        }
        if r.chance(25) {
            text += [" where v > 1", " where w is not null", " where u == \"p\""][r.below(3)];
        } else if self.may("tables", 6) {
            self.tables.insert("l");
            self.mark("list in a window");
            text += " where u in @l";
        }
        if before {
            self.mark("window before");
        }
        text + ")"
    }

    pub(crate) fn window_term(&mut self, window: &str) -> String {
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
        self.mark("reaches");
        if self.random.chance(20) || !self.features.has("windows") {
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

    /// A test in a clause after `match`.
    pub(crate) fn after_term(&mut self) -> String {
        let steps = self.steps.clone();
        if self.may("windows", 20) {
            let window = self.window(&steps, None);
            self.mark("window after match");
            return self.window_term(&window);
        }
        let n = self.random.between(0, 3);
        if let (Some(name), true) = (self.lets.first(), self.random.chance(60)) {
            return format!("{name} >= {n}");
        }
        if let (Some((done, repeated)), true) = (self.done(), self.random.chance(40)) {
            self.mark(if repeated { "aggregate of a one of" } else { "field of a one of" });
            return match (repeated, n) {
                (false, 0) => format!("{done}.stream == \"a\""),
                (false, _) => format!("{done}.v >= {n}"),
                (true, 0) => format!("count({done}) >= 2"),
                (true, _) => format!("sum({done}.v) >= {n}"),
            };
        }
        let step = self.random.pick(&steps);
        if !step.repeated && self.may("tables", 15) {
            self.tables.insert("l");
            self.mark("list after match");
            return format!("{}.u in @l", step.alias);
        }
        let geo = self.features.has("types") && self.features.has("functions");
        let (x, r) = (step.alias, &mut self.random);
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
            let single: Vec<&str> = steps.iter().filter(|s| !s.repeated).map(|s| s.alias).collect();
            match r.below(7) {
                0 => format!("{x}.v > {}", n - 1),
                1 => format!("{x}.w > {}", n - 1),
                2 => format!("{x}.u == \"{}\"", r.pick(&WORDS)),
                3 => format!("{x}.w is null"),
                4 if geo => format!("speed_kmh({}, {x}) > 1000", r.pick(&single)),
                5 => format!("({x}.f ?? 1) < 2"),
                _ => format!("{x}.v != {n}"),
            }
        }
    }

    /// A whole number in a clause after `match`.
    pub(crate) fn value(&mut self) -> String {
        let step = self.random.pick(&self.steps.clone());
        let x = step.alias;
        match (step.repeated, self.random.below(3)) {
            (true, 0) => format!("count({x})"),
            (true, 1) => format!("sum({x}.v)"),
            (true, _) => format!("last({x}.v)"),
            (false, 0) => format!("{x}.v"),
            (false, 1) => format!("{x}.w"),
            (false, _) => format!("({x}.v + ({x}.w ?? 1))"),
        }
    }

    pub(crate) fn output(&mut self) -> Vec<String> {
        self.mark("output");
        let step = self.random.pick(&self.steps.clone());
        let (x, stream) = (step.alias, STREAMS[step.stream]);
        let mut emit = vec![format!("c: count({stream} over 3s)")];
        if let Some(name) = self.lets.first() {
            emit.push(format!("m: {name}"));
        }
        match self.done() {
            Some((done, false)) => emit.push(format!("d: {done}.u")),
            Some((done, true)) => emit.push(format!("d: last({done}.ts)")),
            None => {}
        }
        if !step.repeated && self.may("tables", 20) {
            self.tables.insert("lk");
            self.mark("lookup after match");
            emit.push(format!("n: @lk[{x}.u].n, wait: @lk[{x}.u].d"));
        }
        let (severity, score, reason) = if step.repeated {
            emit.push(format!("n{x}: count({x}), s: sum({x}.v), l: last({x}.w), all: collect({x}.u)"));
            (
                format!("if count({x}) > 2 then high else low"),
                format!("10 + count({x})"),
                format!("{{count({x})}} with {{avg({x}.v)}}, {{max({x}.w)}}"),
            )
        } else {
            emit.push(format!("v: {x}.v, half: {x}.v / 2, w: {x}.w, f: {x}.f, i: {x}.i, at: {x}.ts"));
            (
                format!("if {x}.w > 1 then critical else info"),
                format!("{x}.w"),
                format!("{{{x}.u}}: {{{x}.w}}"),
            )
        };
        vec![
            format!("severity {severity}"),
            format!("score {score}"),
            format!("reason \"{reason}\""),
            format!("emit {{ {} }}", emit.join(", ")),
        ]
    }
}
