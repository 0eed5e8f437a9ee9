//! Writes rules: their steps, sets and absences, and the clauses beside `match`.

use super::text::{EventText, FileText, No, Part, RuleText, UnitText};
use super::{DECLARATIONS, Features, Random, STREAMS};
use std::collections::BTreeSet;

const ALIASES: [&str; 8] = ["x", "y", "z", "q", "m", "n", "o", "p"];

/// A step already decided on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) stream: usize,
    pub(crate) alias: &'static str,
    pub(crate) repeated: bool,
    /// Place of its unit among the units.
    unit: usize,
    /// Every choice has it, and it is not where the match begins.
    moves_on: bool,
}

pub(crate) struct Writer {
    pub(crate) random: Random,
    pub(crate) features: Features,
    /// Streams named so far.
    pub(crate) used: Vec<usize>,
    /// Tables read.
    pub(crate) tables: BTreeSet<&'static str>,
    pub(crate) constructs: BTreeSet<&'static str>,
    pub(crate) head: Vec<String>,
    pub(crate) front: Vec<String>,
    pub(crate) steps: Vec<Plan>,
    /// How many units there will be.
    pub(crate) count: usize,
    /// Tests across steps by other than `==` so far: more than a few is E345.
    pub(crate) links: usize,
    /// The rule has the key part `k`.
    pub(crate) by_k: bool,
    /// Values named by `let`, all whole numbers.
    pub(crate) lets: Vec<&'static str>,
    /// `done` of a `one of`.
    done: Option<(usize, bool)>,
    template: Option<(String, String)>,
}

impl Writer {
    pub(crate) fn new(random: Random, features: Features) -> Self {
        Self {
            random,
            features,
            used: Vec::new(),
            tables: BTreeSet::new(),
            constructs: BTreeSet::new(),
            head: Vec::new(),
            front: Vec::new(),
            steps: Vec::new(),
            count: 1,
            links: 0,
            by_k: false,
            lets: Vec::new(),
            done: None,
            template: None,
        }
    }

    /// The feature is on, and this time it is used.
    pub(crate) fn may(&mut self, feature: &str, percent: usize) -> bool {
        self.features.has(feature) && self.random.chance(percent)
    }

    pub(crate) fn mark(&mut self, construct: &'static str) {
        self.constructs.insert(construct);
    }

    pub(crate) fn file(&mut self) -> FileText {
        self.by_k = self.random.chance(70);
        let rule = self.rule();
        let mut rules = vec![rule];
        if self.may("alerts", 7) {
            rules.push(self.reader("s"));
            if self.random.chance(40) {
                rules.push(self.reader("t"));
            }
        }
        let declared = DECLARATIONS.iter().filter(|(name, _)| self.tables.contains(name));
        let mut head: Vec<String> = declared.map(|(_, text)| (*text).to_owned()).collect();
        head.append(&mut self.head);
        FileText { head, rules }
    }

    fn rule(&mut self) -> RuleText {
        self.count = 1 + self.random.weighted(&[22, 34, 27, 13, 4]);
        let latch = self.count == 1 && self.may("reaches", 35);
        let (mut parts, mut many) = (Vec::new(), self.count > 1);
        let before = if self.may("leading", 10) { 1 + self.random.weighted(&[85, 15]) } else { 0 };
        for unit in 0..self.count {
            let strict = unit > 0 || before == 0;
            let mut gap = false;
            while unit > 0 && self.may("between", 13) {
                parts.push(Part::No(self.gap(unit)));
                gap = true;
            }
            let (text, several) = self.unit(unit, latch, strict, gap);
            many |= several;
            parts.push(Part::Unit(text));
        }
        let single = !parts.iter().take(1).any(|part| matches!(part, Part::Unit(unit) if unit.set.is_some()))
            && !self.steps[0].repeated;
        for _ in 0..before {
            let reads = if single { 1 } else { 0 };
            let no = self.leading(reads);
            parts.insert(0, Part::No(no));
        }
        let quiet = self.constructs.contains("quiet at the end");
        let mut timer = quiet;
        if self.may("trailing", if quiet { 8 } else { 17 }) {
            for _ in 0..=self.random.weighted(&[80, 20]) {
                let mut no = self.absence(self.count);
                no.duration = Some(self.duration(self.count, 1, 4));
                parts.push(Part::No(no));
            }
            self.mark("trailing absence");
            timer = true;
        }
        let mut cancels = Vec::new();
        while self.may("cancel", 11) {
            let mut no = self.absence(self.count);
            no.streams.truncate(1);
            cancels.push(no);
            self.mark("cancel on");
        }
        let within = if many || self.random.chance(20) {
            let seconds = self.random.between(3, 14);
            Some(self.constant(seconds))
        } else {
            None
        };
        self.front();
        let clauses = self.clauses(within.is_some() && single && !timer);
        let front = std::mem::take(&mut self.front);
        RuleText { name: "r", template: self.template.take(), front, within, parts, cancels, clauses }
    }

    /// A constant duration, perhaps by a name.
    fn constant(&mut self, seconds: i64) -> String {
        if self.may("names", 10) {
            self.mark("const");
            self.head.push(format!("const span = {seconds}s"));
            return "span".to_owned();
        }
        format!("{seconds}s")
    }

    pub(crate) fn any_stream(&mut self) -> usize {
        let known = !self.used.is_empty() && self.random.chance(50);
        let stream =
            if known { self.random.pick(&self.used.clone()) } else { self.random.weighted(&[45, 35, 20]) };
        self.use_stream(stream);
        stream
    }

    fn use_stream(&mut self, stream: usize) {
        if !self.used.contains(&stream) {
            self.used.push(stream);
        }
    }

    /// Steps of the units before this one.
    pub(crate) fn before(&self, unit: usize) -> Vec<Plan> {
        self.steps.iter().filter(|step| step.unit < unit).copied().collect()
    }

    /// A step or a set with its arrow; `latch`: it holds a `reaches`; `strict`: it may have more than `then`.
    fn unit(&mut self, unit: usize, latch: bool, strict: bool, gap: bool) -> (UnitText, bool) {
        let mut text = UnitText::default();
        let left = 6usize.saturating_sub(self.steps.len() + self.count - unit - 1);
        let members = 2 + self.random.weighted(&[65, 35]);
        let set = !latch && left >= members && self.may("sets", 24);
        if set {
            let least = self.random.between(1, members as i64 - 1);
            let (words, mark) = match self.random.weighted(&[42, 33, 25]) {
                0 => ("all of".to_owned(), "all of"),
                1 => ("one of".to_owned(), "one of"),
                _ => (format!("at least {least} of"), "at least n of"),
            };
            text.set = Some(words);
            self.mark(mark);
        }
        let one = text.set.as_ref().is_none_or(|set| set == "one of");
        if unit > 0 && strict {
            if self.may("first", 22) {
                text.arrow = "first ";
                self.mark("then first");
            } else if one && !gap && self.may("immediately", 16) {
                text.arrow = "immediately ";
                self.mark("then immediately");
            }
            if self.may("bounds", 20) {
                text.within = Some(self.duration(unit, 0, 5));
                self.mark("then within");
            }
            if self.may("bounds", 8) {
                text.after = Some(self.duration(unit, 0, 3));
                self.mark("then after");
            }
        }
        let first = self.steps.len();
        let many = if set { members } else { 1 };
        // One stream for all members makes them compete.
        let shared = (set && self.random.chance(45)).then(|| self.any_stream());
        let mut several = set;
        for member in 0..many {
            // An `all of` needs a member that is not optional where a match begins or ends.
            let ends = unit == 0 || unit + 1 == self.count;
            let all = text.set.as_ref().is_some_and(|set| set == "all of");
            let optional = if set { all && (member > 0 || !ends) } else { !ends };
            let always = if set { all } else { true };
            let (event, repeated) = self.event(unit, latch, shared, optional, always, set);
            several |= repeated;
            text.events.push(event);
        }
        if text.set.as_ref().is_some_and(|set| set == "one of") && self.done.is_none() {
            text.alias = Some("done");
            let repeated = self.steps[first..].iter().any(|step| step.repeated);
            self.done = Some((unit, repeated));
        }
        (text, several)
    }

    fn event(
        &mut self,
        unit: usize,
        latch: bool,
        shared: Option<usize>,
        may_be_optional: bool,
        always: bool,
        in_set: bool,
    ) -> (EventText, bool) {
        let mut event = EventText::default();
        let (mut repeated, mut optional) = (false, false);
        let single = self.count == 1;
        if may_be_optional && self.may("optional", 30) {
            optional = true;
            self.mark(if in_set { "optional member" } else { "optional step" });
            let n = self.random.between(1, 2);
            (event.quantifier, repeated) = match self.random.weighted(&[60, 25, 15]) {
                0 => ("optional".to_owned(), false),
                1 => ("any number of".to_owned(), true),
                _ => (format!("0 to {n}"), n > 1),
            };
            if repeated {
                self.mark("repeat that may be empty");
            }
        } else if !latch && self.may("repeats", if single { 48 } else { 34 }) {
            repeated = true;
            let n = self.random.between(1, 3);
            let more = n + self.random.between(1, 2);
            let (text, mark) = match self.random.weighted(&[50, 20, 30]) {
                0 => (format!("at least {n}"), "at least n"),
                1 => (format!("{}", n.max(2)), "n"),
                _ => (format!("{n} to {more}"), "n to m"),
            };
            event.quantifier = text;
            self.mark(mark);
            if in_set {
                self.mark("repeat in a set");
            }
        }
        let quantified = !event.quantifier.is_empty() && event.quantifier != "optional";
        event.consecutive = quantified && self.may("consecutive", 33);
        if event.consecutive {
            self.mark(if in_set { "consecutive in a set" } else { "consecutive" });
        }
        let stream = shared.filter(|_| self.random.chance(85)).unwrap_or_else(|| self.any_stream());
        self.use_stream(stream);
        let alias = ALIASES[self.steps.len()];
        (event.stream, event.alias) = (STREAMS[stream], alias);
        if quantified && !in_set && self.may("quiet", if single { 35 } else { 18 }) {
            event.quiet = Some(self.duration(unit, 1, 3));
            let last = unit + 1 == self.count;
            self.mark(if last { "quiet at the end" } else { "quiet between" });
        }
        let plan = Plan { stream, alias, repeated, unit, moves_on: unit > 0 && always && !optional };
        event.terms = self.step_terms(plan, unit, event.consecutive, latch);
        self.steps.push(plan);
        (event, quantified)
    }

    /// `no s` between two units.
    fn gap(&mut self, unit: usize) -> No {
        let mut no = self.absence(unit);
        self.mark("gap absence");
        if self.random.chance(30) {
            no.duration = Some(self.duration(unit, 0, 3));
            self.mark("gap absence with for");
        }
        no
    }

    /// `no s for D` before the first step, which it may read if it is a single event.
    fn leading(&mut self, reads: usize) -> No {
        let mut no = self.absence(reads);
        no.duration = Some(self.duration(reads, 1, 5));
        self.mark("leading absence");
        if !no.terms.is_empty() {
            self.mark("leading absence with where");
        }
        no
    }

    /// `no s`, reading the units before `unit`.
    fn absence(&mut self, unit: usize) -> No {
        let first = self.any_stream();
        let mut no = No { streams: vec![STREAMS[first]], ..No::default() };
        if self.random.chance(20) {
            let second = (first + 1) % 3;
            self.use_stream(second);
            no.streams.push(STREAMS[second]);
        }
        let cross = self.random.chance(25).then(|| self.cross_term(unit)).flatten();
        if self.random.chance(45) {
            no.terms.push(self.own_term());
        }
        no.terms.extend(cross);
        if self.may("windows", 6) {
            let window = self.window(&[], None);
            no.terms.push(self.window_term(&window));
            self.mark("window in an absence");
        }
        no
    }

    /// A duration: constant, or read from the steps before `unit`, a lookup or the key.
    fn duration(&mut self, unit: usize, low: i64, high: i64) -> String {
        let constant = self.random.between(low, high);
        if !self.may("read", 28) {
            return format!("{constant}s");
        }
        let single: Vec<&str> = self.before(unit).iter().filter(|s| !s.repeated).map(|s| s.alias).collect();
        let many: Vec<&str> = self.before(unit).iter().filter(|s| s.repeated).map(|s| s.alias).collect();
        let max = high + 1;
        let tables = self.features.has("tables");
        let how = self.random.below(6);
        self.mark("bound that is read");
        if let (0..=2, Some(x), true) = (how, single.first(), tables) {
            self.tables.insert("lk");
            return format!("@lk[{x}.u].d max {max}s");
        }
        if let (3, true, true) = (how, self.by_k, tables) {
            self.tables.insert("kk");
            return format!("@kk[k].d max {max}s");
        }
        if let (4, Some(x)) = (how, many.first()) {
            return format!("(count({x}) * 1s) max {max}s");
        }
        match single.last() {
            Some(x) => format!("(if {x}.v > 1 then {low}s else {high}s) max {max}s"),
            None => format!("{constant}s max {high}s"),
        }
    }

    /// `by`, `from`, `param`.
    fn front(&mut self) {
        let mapped = STREAMS[self.random.pick(&self.used.clone())];
        let step = self.random.pick(&self.steps.clone()).alias;
        let field = self.random.pick(&["w", "v"]);
        let how = if self.features.has("keys") { self.random.below(100) } else { 0 };
        let key = match (self.by_k, how) {
            (true, 0..70) => Some("by k".to_owned()),
            (true, 70..78) => Some("by k, u".to_owned()),
            (true, 78..86) => Some(format!("by k ({mapped}.w)")),
            (true, 86..94) => Some(format!("by k ({step}.{field})")),
            (true, _) => Some(self.key_by_steps()),
            (false, 0..94) => None,
            (false, _) => Some("by u".to_owned()),
        };
        if let Some(key) = &key {
            self.mark(if key.contains('.') { "key mapped" } else { "by" });
        }
        self.front.extend(key);
        if self.may("filters", 12) {
            let stream = STREAMS[self.random.pick(&self.used.clone())];
            let term = self.own_term();
            self.front.push(format!("from {stream} where {term}"));
            self.mark("from");
        }
        if self.front.iter().any(|line| line.starts_with("param")) && self.may("template", 40) {
            self.front.retain(|line| !line.starts_with("param"));
            self.template = Some(("limit: int = 3".to_owned(), "limit: 2".to_owned()));
            self.mark("template");
        }
    }

    /// Two steps give the key in a field of their own.
    fn key_by_steps(&mut self) -> String {
        let mut paths = Vec::new();
        for step in self.steps.clone() {
            if paths.len() < 2 && self.random.chance(60) {
                paths.push(format!("{}.{}", step.alias, self.random.pick(&["v", "w", "k"])));
            }
        }
        if paths.is_empty() { "by k".to_owned() } else { format!("by k ({})", paths.join(", ")) }
    }

    fn clauses(&mut self, may_time_out: bool) -> Vec<String> {
        let mut clauses = Vec::new();
        if self.may("names", 12) {
            let value = self.value();
            clauses.push(format!("let many = {value}"));
            self.lets.push("many");
            self.mark("let");
        }
        if self.may("having", 20) {
            clauses.push(format!("having {}", self.after_term()));
            self.mark("having");
        }
        if self.may("unless", 20) {
            clauses.push(format!("unless {}", self.after_term()));
            self.mark("unless");
        }
        if self.may("output", 30) {
            clauses.extend(self.output());
        }
        let moves: Vec<&str> = self.steps.iter().filter(|s| s.moves_on).map(|s| s.alias).collect();
        let mut overlap = if self.features.has("overlap") {
            self.random.weighted(&[34, 18, 13, 20, if moves.is_empty() { 0 } else { 15 }])
        } else {
            0
        };
        if may_time_out && self.may("timeout", 22) {
            overlap = [0, 1, 0, 1, overlap][overlap];
            let value = self.value();
            clauses.push(format!("on timeout emit {{ n: {value}, left: 1 }}"));
            self.mark("on timeout");
        }
        let marks = ["", "overlap per start", "overlap per end", "overlap all", "overlap from"];
        if overlap == 4 {
            let last = if self.random.chance(40) { "last " } else { "" };
            let done = self.done.filter(|(unit, _)| *unit > 0 && self.random.chance(50));
            let step = if done.is_some() { "done" } else { self.random.pick(&moves) };
            clauses.push(format!("overlap from {last}{step}"));
        } else if overlap > 0 {
            clauses.push(marks[overlap].to_owned());
        }
        if overlap > 0 {
            self.mark(marks[overlap]);
        }
        if overlap != 3 && self.may("cooldown", 22) {
            let mut cooldown = format!("cooldown {}s", self.random.between(1, 6));
            self.mark("cooldown");
            let single: Vec<&str> = self.steps.iter().filter(|s| !s.repeated).map(|s| s.alias).collect();
            if !single.is_empty() && self.may("per", 40) {
                let field = self.random.pick(&["u", "w", "v", "f"]);
                cooldown += &format!(" per {}.{field}", self.random.pick(&single));
                self.mark("cooldown per");
            }
            clauses.push(cooldown);
        }
        clauses
    }

    /// The alias of a `one of`: `done.f` reads the member that began; and whether a member is repeated.
    pub(crate) fn done(&self) -> Option<(&'static str, bool)> {
        self.done.map(|(_, repeated)| ("done", repeated))
    }

    /// A rule that reads the alerts of the rules before it.
    fn reader(&mut self, name: &'static str) -> RuleText {
        let mut rule = RuleText { name, ..RuleText::default() };
        // The second reader reads the first one, or both; a reader that names none reads rules that read no alerts.
        let filter = match (name, self.random.below(3)) {
            ("t", 0) => Some("rule == \"s\""),
            ("t", 1) => Some("rule in [\"r\", \"s\"]"),
            (_, 0) => Some("rule in [\"r\"]"),
            (_, 1) => Some("mode == \"live\""),
            _ => None,
        };
        if self.by_k {
            rule.front.push("by k (alert.keys.k)".to_owned());
        }
        rule.front.extend(filter.map(|filter| format!("from alert where {filter}")));
        let event = |stream, alias, terms: &[&str]| {
            let terms = terms.iter().map(|term| (*term).to_owned()).collect();
            let event = EventText { stream, alias, terms, ..EventText::default() };
            Part::Unit(UnitText { events: vec![event], ..UnitText::default() })
        };
        let alert = |alias, terms: &[&str]| event("alert", alias, terms);
        let no = |duration| {
            let duration = Some(String::from(duration));
            Part::No(No { streams: vec!["alert"], duration, ..No::default() })
        };
        let stream = STREAMS[self.random.pick(&self.used.clone())];
        let emitted = name == "s" && self.constructs.contains("output");
        rule.parts = match self.random.below(9) {
            8 if emitted => vec![alert("x", &["data.c >= 1"])],
            0 => vec![alert("x", &["count(alert over 4s) reaches 2"])],
            1 => vec![alert("x", &[]), alert("y", &["score >= x.score"])],
            2 => vec![alert("x", &[]), no("2s")],
            3 => vec![no("2s"), alert("x", &["severity != info"])],
            4 => vec![alert("x", &[]), event(stream, "y", &[])],
            5 => vec![event(stream, "y", &[]), alert("x", &["score > 20"])],
            6 => vec![alert("x", &["sum(alert.score over 5s before x) >= 50"])],
            _ => {
                rule.clauses.push("cooldown 3s per x.severity".to_owned());
                vec![alert("x", &[])]
            }
        };
        rule.within = Some("8s".to_owned());
        rule.clauses.push("emit { s: x.score, k: x.rule, at: x.ts }".to_owned());
        if rule.parts.len() > 1 && self.random.chance(40) {
            rule.clauses.push("overlap per start".to_owned());
        }
        self.mark(if name == "s" { "alerts read" } else { "alerts of readers read" });
        rule
    }
}
