//! Expressions, bounds and steps in English.

use crate::ir::{
    Absence, Aggregate, BinaryOp, Bound, Condition, Expr, Function, Module, Of, Rule, Step, Trend,
};
use crate::types::{Literal, Micros};

/// How tightly an expression binds; what binds less than its place asks for gets parentheses.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARE: u8 = 4;
const COALESCE: u8 = 5;
const SUM: u8 = 6;
const PRODUCT: u8 = 7;
const ATOM: u8 = 9;

/// A rule and what it refers to.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) module: &'a Module,
    pub(super) rule: &'a Rule,
}

/// `1 hour 30 minutes`.
pub(super) fn duration(micros: Micros) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("day", 86_400_000_000),
        ("hour", 3_600_000_000),
        ("minute", 60_000_000),
        ("second", 1_000_000),
        ("millisecond", 1_000),
        ("microsecond", 1),
    ];
    let mut rest = micros.unsigned_abs();
    let mut parts = Vec::new();
    for (unit, scale) in UNITS {
        let count = rest / scale;
        rest %= scale;
        if count > 0 {
            parts.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if parts.is_empty() { "no time".to_owned() } else { parts.join(" ") }
}

/// `a, b or c`.
pub(super) fn listed(items: &[String], last: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., end] => format!("{} {last} {end}", rest.join(", ")),
    }
}

/// `2026-03-01T00:00:00Z`, by the civil calendar.
fn instant(micros: Micros) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let fraction = match micros.rem_euclid(1_000_000) {
        0 => String::new(),
        rest => format!(".{rest:06}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

pub(super) fn literal(value: &Literal) -> String {
    match value {
        Literal::Null => "null".to_owned(),
        Literal::Bool(value) => value.to_string(),
        Literal::Int(value) => value.to_string(),
        Literal::Decimal(value) => value.to_string(),
        Literal::Float(value) => value.to_string(),
        Literal::String(value) => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        Literal::Instant(value) => instant(*value),
        Literal::Duration(value) => duration(*value),
        Literal::Ip(value) => value.to_string(),
        Literal::Geo(lat, lon) => format!("({lat}, {lon})"),
        Literal::List(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Literal::Object(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}: {}", literal(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

fn operator(op: BinaryOp) -> (&'static str, u8) {
    use BinaryOp as B;
    match op {
        B::Or => ("or", OR),
        B::And => ("and", AND),
        B::Equal => ("is", COMPARE),
        B::NotEqual => ("is not", COMPARE),
        B::Less => ("<", COMPARE),
        B::LessOrEqual => ("<=", COMPARE),
        B::Greater => (">", COMPARE),
        B::GreaterOrEqual => (">=", COMPARE),
        B::In => ("is in", COMPARE),
        B::Contains => ("contains", COMPARE),
        B::StartsWith => ("starts with", COMPARE),
        B::EndsWith => ("ends with", COMPARE),
        B::Matches => ("matches", COMPARE),
        B::Coalesce => ("or if null", COALESCE),
        B::Add => ("+", SUM),
        B::Subtract => ("-", SUM),
        B::Multiply => ("x", PRODUCT),
        B::Divide => ("/", PRODUCT),
        B::Remainder => ("modulo", PRODUCT),
    }
}

fn function(function: Function) -> &'static str {
    match function {
        Function::Ratio => "ratio",
        Function::Min => "the least of ",
        Function::Max => "the greatest of ",
        Function::Abs => "abs",
        Function::Lower => "lower",
        Function::Upper => "upper",
        Function::Length => "length",
        Function::DistanceKm => "distance_km",
        Function::SpeedKmh => "speed_kmh",
        Function::Hour => "hour",
        Function::Day => "day",
        Function::Cidr => "cidr",
    }
}

impl Words<'_> {
    /// Name of a stream of the rule.
    pub(super) fn stream(&self, index: usize) -> &str {
        let stream = self.rule.streams.get(index).and_then(|s| self.module.streams.get(s.stream));
        stream.map_or("?", |s| s.name.as_str())
    }

    pub(super) fn field(&self, stream: usize, field: usize) -> String {
        let stream = self.rule.streams.get(stream).and_then(|s| self.module.streams.get(s.stream));
        stream.and_then(|s| s.fields.get(field)).map_or("?".to_owned(), |f| f.path.join("."))
    }

    pub(super) fn step(&self, index: usize) -> &str {
        self.rule.steps.get(index).map_or("?", |s| s.name.as_str())
    }

    fn table(&self, index: usize) -> &str {
        self.module.tables.get(index).map_or("?", |t| t.name.as_str())
    }

    fn value(&self, of: Of, this: Option<usize>, name: impl Fn(usize) -> String) -> String {
        match of {
            Of::This => name(this.unwrap_or(usize::MAX)),
            Of::Step(step) => {
                let stream = self.rule.steps.get(step).map_or(usize::MAX, |s| s.stream);
                format!("{}.{}", self.step(step), name(stream))
            }
        }
    }

    /// An expression; `this` is the rule's stream whose event it looks at.
    pub(super) fn expr(&self, e: &Expr, this: Option<usize>) -> String {
        self.bound_by(e, this).0
    }

    fn inner(&self, e: &Expr, this: Option<usize>, least: u8) -> String {
        let (text, binds) = self.bound_by(e, this);
        if binds < least { format!("({text})") } else { text }
    }

    /// The text, and how tightly it binds.
    fn bound_by(&self, e: &Expr, this: Option<usize>) -> (String, u8) {
        let text = match e {
            Expr::Literal(value) => literal(value),
            Expr::Field(of, field) => self.value(*of, this, |stream| self.field(stream, *field)),
            Expr::Ts(of) => self.value(*of, this, |_| "ts".to_owned()),
            Expr::Id(of) => self.value(*of, this, |_| "id".to_owned()),
            Expr::StreamName(of) => self.value(*of, this, |_| "stream".to_owned()),
            Expr::Key(part) => self.rule.keys.get(*part).map_or("?".to_owned(), |k| k.name.clone()),
            Expr::Not(inner) => return self.negation(inner, this),
            Expr::Neg(inner) => format!("-{}", self.inner(inner, this, ATOM)),
            Expr::Binary(op, a, b) => return self.binary(*op, a, b, this),
            Expr::IsNull(inner) => {
                return (format!("{} is null", self.inner(inner, this, COALESCE)), COMPARE);
            }
            Expr::If(c, a, b) => {
                let [c, a, b] = [c, a, b].map(|e| self.expr(e, this));
                return (format!("if {c} then {a} else {b}"), 0);
            }
            Expr::InList(item, table, key) => {
                let list = self.list(*table, key.as_deref(), this);
                return (format!("{} is in {list}", self.inner(item, this, COALESCE)), COMPARE);
            }
            Expr::Lookup(table, key, column) => self.lookup(*table, key, *column, this),
            Expr::List(items) => format!("[{}]", self.all(items, this)),
            Expr::Call(call, items) => format!("{}({})", function(*call), self.all(items, this)),
            Expr::Aggregate(kind, step, argument) => {
                let stream = self.rule.steps.get(*step).map(|s| s.stream);
                let argument = argument.as_deref().map(|a| self.inner(a, stream, ATOM));
                let what = aggregate(*kind, argument.as_deref());
                format!("{what} {}", self.step(*step))
            }
            Expr::Window(index) => self.window(*index),
            Expr::Reaches(_, value, limit) => {
                let (value, limit) = (self.inner(value, this, COALESCE), self.inner(limit, this, COALESCE));
                return (format!("{value} reaches {limit}"), COMPARE);
            }
            Expr::Trend(trend, inner) => {
                let word = match trend {
                    Trend::Rising => "rises",
                    Trend::Falling => "falls",
                    Trend::Changed => "changes",
                };
                return (format!("{} {word}", self.inner(inner, this, COALESCE)), COMPARE);
            }
            Expr::Prev(inner, default) => {
                let (inner, default) = (self.inner(inner, this, ATOM), self.expr(default, this));
                format!("the previous {inner} (at first {default})")
            }
            Expr::Object(pairs) => self.object(pairs),
        };
        (text, ATOM)
    }

    fn negation(&self, inner: &Expr, this: Option<usize>) -> (String, u8) {
        match inner {
            Expr::IsNull(x) => (format!("{} is not null", self.inner(x, this, COALESCE)), COMPARE),
            Expr::InList(item, table, key) => {
                let list = self.list(*table, key.as_deref(), this);
                (format!("{} is not in {list}", self.inner(item, this, COALESCE)), COMPARE)
            }
            Expr::Binary(BinaryOp::In, a, b) => {
                let (a, b) = (self.inner(a, this, COALESCE), self.inner(b, this, COALESCE));
                (format!("{a} is not in {b}"), COMPARE)
            }
            other => (format!("not {}", self.inner(other, this, ATOM)), NOT),
        }
    }

    fn binary(&self, op: BinaryOp, a: &Expr, b: &Expr, this: Option<usize>) -> (String, u8) {
        let (word, binds) = operator(op);
        // Comparisons do not chain; the others group to the left, `??` to the right.
        let (left, right) = match binds {
            COMPARE => (COALESCE, COALESCE),
            COALESCE => (SUM, COALESCE),
            other => (other, other + 1),
        };
        (format!("{} {word} {}", self.inner(a, this, left), self.inner(b, this, right)), binds)
    }

    fn all(&self, items: &[Expr], this: Option<usize>) -> String {
        items.iter().map(|e| self.expr(e, this)).collect::<Vec<_>>().join(", ")
    }

    fn list(&self, table: usize, key: Option<&Expr>, this: Option<usize>) -> String {
        let name = self.table(table);
        key.map_or(format!("@{name}"), |key| format!("@{name}[{}]", self.expr(key, this)))
    }

    fn lookup(&self, table: usize, key: &Expr, column: usize, this: Option<usize>) -> String {
        let column = match self.module.tables.get(table).map(|t| &t.kind) {
            Some(crate::ir::TableKind::Lookup { fields, .. }) => {
                fields.get(column).map_or("?".to_owned(), |f| f.path.join("."))
            }
            _ => "?".to_owned(),
        };
        format!("@{}[{}].{column}", self.table(table), self.expr(key, this))
    }

    /// `a: the sum of ..`.
    pub(super) fn object(&self, pairs: &[(String, Expr)]) -> String {
        let pairs: Vec<String> = pairs.iter().map(|(n, e)| format!("{n}: {}", self.expr(e, None))).collect();
        if pairs.is_empty() { "{ }".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
    }

    fn window(&self, index: usize) -> String {
        let Some(window) = self.rule.windows.get(index) else { return "?".to_owned() };
        let this = Some(window.stream);
        let argument = window.argument.as_ref().map(|a| self.inner(a, this, ATOM));
        let what = aggregate(window.aggregate, argument.as_deref());
        let filter = self.condition_after(&window.filter, this);
        let span = duration(window.span);
        let place = match window.before {
            Some(step) => format!("in the {span} before {}", self.step(step)),
            None => format!("in the last {span}"),
        };
        format!("{what} {}{filter} {place}", self.stream(window.stream))
    }

    /// ` (a, b)`, or nothing.
    pub(super) fn condition_after(&self, condition: &Condition, this: Option<usize>) -> String {
        if condition.is_empty() { String::new() } else { format!(" ({})", self.condition(condition, this)) }
    }

    pub(super) fn condition(&self, condition: &Condition, this: Option<usize>) -> String {
        match condition.as_slice() {
            [one] => self.expr(&one.expr, this),
            terms => terms.iter().map(|t| self.inner(&t.expr, this, AND)).collect::<Vec<_>>().join(" and "),
        }
    }

    pub(super) fn bound(&self, bound: &Bound, this: Option<usize>) -> String {
        match bound {
            Bound::Fixed(micros) => duration(*micros),
            Bound::Read { expr, max, .. } => {
                format!("{} (at most {})", self.expr(expr, this), duration(*max))
            }
        }
    }

    /// `3 or more`.
    pub(super) fn quantity(step: &Step) -> String {
        let count = match (step.optional, step.min, step.max) {
            (true, _, Some(1)) => "optionally one".to_owned(),
            (true, _, Some(max)) => format!("up to {max}"),
            (true, _, None) => "any number of".to_owned(),
            (false, 1, Some(1)) => "one".to_owned(),
            (false, min, Some(max)) if min == max => min.to_string(),
            (false, min, Some(max)) => format!("{min} to {max}"),
            (false, min, None) => format!("{min} or more"),
        };
        if step.consecutive { format!("{count} consecutive") } else { count }
    }

    /// `3 or more auth as probe`.
    pub(super) fn step_head(&self, step: &Step) -> String {
        let stream = self.stream(step.stream);
        let alias = if step.name == stream { String::new() } else { format!(" as {}", step.name) };
        format!("{} {stream}{alias}", Self::quantity(step))
    }

    /// `shipped or cancelled (a and b)`.
    pub(super) fn absent(&self, absence: &Absence) -> String {
        let names: Vec<String> = absence.streams.iter().map(|s| self.stream(*s).to_owned()).collect();
        let condition = self.condition_after(&absence.condition, absence.streams.first().copied());
        format!("{}{condition}", listed(&names, "or"))
    }

    /// `user and host`, or `rule` where there is no key.
    pub(super) fn keys(&self) -> String {
        let names: Vec<String> = self.rule.keys.iter().map(|k| k.name.clone()).collect();
        if names.is_empty() { "rule".to_owned() } else { listed(&names, "and") }
    }
}

/// `the average amount of`.
fn aggregate(kind: Aggregate, argument: Option<&str>) -> String {
    let argument = argument.unwrap_or_default();
    match kind {
        Aggregate::Count => "the number of".to_owned(),
        Aggregate::Sum | Aggregate::SumDurations => format!("the sum of {argument} over"),
        Aggregate::Avg => format!("the average {argument} of"),
        Aggregate::Min => format!("the least {argument} of"),
        Aggregate::Max => format!("the greatest {argument} of"),
        Aggregate::Distinct => format!("the number of distinct {argument} of"),
        Aggregate::First => format!("the first {argument} of"),
        Aggregate::Last => format!("the last {argument} of"),
        Aggregate::Collect => format!("all {argument} of"),
        Aggregate::Median => format!("the median {argument} of"),
        Aggregate::Stddev => format!("the standard deviation of {argument} of"),
    }
}
