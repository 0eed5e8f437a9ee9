//! The IR as text: everything that is resolved is shown by the name it was resolved to.

use std::fmt::Write as _;

use pattern_dsl::format_duration;
use pattern_dsl::ir::{
    Absence, Arrow, Bound, Condition, Expr, Module, Of, Overlap, Rule, Step, Unit, UnitKind, Window,
};

/// A rule with the names of what it reads.
pub(super) struct Dump<'a> {
    module: &'a Module,
    rule: &'a Rule,
}

pub(super) fn dump(module: &Module, rule: &Rule) -> String {
    let dump = Dump { module, rule };
    let mut out = format!("rule {}\n", rule.name);
    let streams: Vec<&str> = (0..rule.streams.len()).map(|s| dump.stream(s)).collect();
    writeln!(out, "  streams {}", streams.join(", ")).unwrap();
    if let Some(within) = rule.within {
        writeln!(out, "  within {}", format_duration(within)).unwrap();
    }
    for absence in &rule.leading {
        writeln!(out, "  leading {}", dump.absence(absence)).unwrap();
    }
    for unit in &rule.units {
        dump.unit(unit, &mut out);
    }
    for absence in &rule.trailing {
        writeln!(out, "  trailing {}", dump.absence(absence)).unwrap();
    }
    for cancel in &rule.cancels {
        writeln!(out, "  cancel {}", dump.absence(cancel)).unwrap();
    }
    for (name, condition) in [("having", &rule.having), ("unless", &rule.unless)] {
        if !condition.is_empty() {
            writeln!(out, "  {name} {}", dump.condition(condition, None)).unwrap();
        }
    }
    for (what, pairs) in [("emit", Some(&rule.emit)), ("timeout", rule.timeout.as_ref())] {
        for (name, expr) in pairs.into_iter().flatten() {
            writeln!(out, "  {what} {name}: {}", dump.expr(expr, None)).unwrap();
        }
    }
    if let Some(cooldown) = rule.cooldown {
        let per: Vec<String> = rule.cooldown_per.iter().map(|e| dump.expr(e, None)).collect();
        writeln!(out, "  cooldown {} per [{}]", format_duration(cooldown), per.join(", ")).unwrap();
    }
    match rule.overlap {
        Overlap::None => {}
        Overlap::From(step) => writeln!(out, "  overlap from {}", dump.step(step)).unwrap(),
        Overlap::FromLast(step) => writeln!(out, "  overlap from last {}", dump.step(step)).unwrap(),
        other => writeln!(out, "  overlap {other:?}").unwrap(),
    }
    out
}

impl Dump<'_> {
    fn stream(&self, stream: usize) -> &str {
        &self.module.streams[self.rule.streams[stream].stream].name
    }

    fn field(&self, stream: usize, field: usize) -> String {
        self.module.streams[self.rule.streams[stream].stream].fields[field].path.join(".")
    }

    fn step(&self, step: usize) -> String {
        format!("{step}:{}", self.rule.steps[step].name)
    }

    fn unit(&self, unit: &Unit, out: &mut String) {
        let kind = match unit.kind {
            UnitKind::Step => "step".to_owned(),
            UnitKind::All => "all of".to_owned(),
            UnitKind::One => "one of".to_owned(),
            UnitKind::AtLeast(n) => format!("at least {n} of"),
        };
        for absence in &unit.gap {
            writeln!(out, "  gap {}", self.absence(absence)).unwrap();
        }
        write!(out, "  {kind}").unwrap();
        if let Some(name) = &unit.name {
            write!(out, " as {name}").unwrap();
        }
        match unit.arrow {
            Arrow::Then => {}
            Arrow::First => out.push_str(" first"),
            Arrow::Immediately => out.push_str(" immediately"),
        }
        for (word, bound) in [("after", &unit.after), ("within", &unit.within)] {
            if let Some(bound) = bound {
                write!(out, " {word} {}", self.bound(bound)).unwrap();
            }
        }
        out.push('\n');
        for step in unit.steps.clone() {
            writeln!(out, "    {}", self.one_step(step, &self.rule.steps[step])).unwrap();
        }
    }

    fn one_step(&self, index: usize, step: &Step) -> String {
        let max = step.max.map_or_else(|| "..".to_owned(), |max| format!("..{max}"));
        let mut out = format!("{} {} {}{max}", self.step(index), self.stream(step.stream), step.min);
        if step.optional {
            out.push_str(" or none");
        }
        if step.consecutive {
            out.push_str(" consecutive");
        }
        if !step.condition.is_empty() {
            write!(out, " where {}", self.condition(&step.condition, Some(step.stream))).unwrap();
        }
        if let Some(quiet) = &step.quiet {
            write!(out, " until quiet for {}", self.bound(quiet)).unwrap();
        }
        out
    }

    fn absence(&self, absence: &Absence) -> String {
        let streams: Vec<&str> = absence.streams.iter().map(|s| self.stream(*s)).collect();
        let mut out = format!("[{}]", streams.join(", "));
        if let Some(duration) = &absence.duration {
            write!(out, " for {}", self.bound(duration)).unwrap();
        }
        if !absence.condition.is_empty() {
            let this = absence.streams.first().copied();
            write!(out, " where {}", self.condition(&absence.condition, this)).unwrap();
        }
        out
    }

    fn bound(&self, bound: &Bound) -> String {
        match bound {
            Bound::Fixed(micros) => format_duration(*micros),
            Bound::Read { expr, max, .. } => {
                format!("{} max {}", self.expr(expr, None), format_duration(*max))
            }
        }
    }

    fn condition(&self, condition: &Condition, this: Option<usize>) -> String {
        condition.iter().map(|t| self.expr(&t.expr, this)).collect::<Vec<_>>().join(" & ")
    }

    /// `this`: the stream, in the rule, of the event looked at.
    fn expr(&self, expr: &Expr, this: Option<usize>) -> String {
        let list = |items: &[Expr]| items.iter().map(|e| self.expr(e, this)).collect::<Vec<_>>().join(", ");
        match expr {
            Expr::Literal(literal) => {
                let shown = format!("{literal:?}");
                match shown.split_once('(') {
                    Some((_, inner)) => inner.trim_end_matches(')').to_owned(),
                    None => shown,
                }
            }
            Expr::Field(Of::This, field) => format!("this.{}", self.field(this.unwrap(), *field)),
            Expr::Field(Of::Step(step), field) => {
                format!("{}.{}", self.step(*step), self.field(self.rule.steps[*step].stream, *field))
            }
            Expr::Ts(of) => format!("ts({})", self.of(*of)),
            Expr::Id(of) => format!("id({})", self.of(*of)),
            Expr::StreamName(of) => format!("stream({})", self.of(*of)),
            Expr::Key(key) => format!("key.{}", self.rule.keys[*key].name),
            Expr::Not(a) => format!("not {}", self.expr(a, this)),
            Expr::Neg(a) => format!("-{}", self.expr(a, this)),
            Expr::Binary(op, a, b) => format!("({} {op:?} {})", self.expr(a, this), self.expr(b, this)),
            Expr::IsNull(a) => format!("{} is null", self.expr(a, this)),
            Expr::If(c, a, b) => {
                format!("if {} then {} else {}", self.expr(c, this), self.expr(a, this), self.expr(b, this))
            }
            Expr::InList(a, table, key) => {
                let key = key.as_ref().map(|k| format!("[{}]", self.expr(k, this))).unwrap_or_default();
                format!("{} in @{}{key}", self.expr(a, this), self.module.tables[*table].name)
            }
            Expr::Lookup(table, key, column) => {
                format!("@{}[{}].#{column}", self.module.tables[*table].name, self.expr(key, this))
            }
            Expr::List(items) => format!("[{}]", list(items)),
            Expr::Call(function, items) => format!("{function:?}({})", list(items)),
            Expr::Aggregate(kind, step, argument) => {
                let stream = self.rule.steps[*step].stream;
                let argument = argument.as_ref().map(|a| format!(" of {}", self.expr(a, Some(stream))));
                format!("{kind:?}({}{})", self.step(*step), argument.unwrap_or_default())
            }
            Expr::Window(window) => self.window(&self.rule.windows[*window]),
            Expr::Reaches(latch, a, b) => {
                format!("{} reaches#{latch} {}", self.expr(a, this), self.expr(b, this))
            }
            Expr::Trend(kind, a) => format!("{kind:?}({})", self.expr(a, this)),
            Expr::Prev(a, b) => format!("prev({}, {})", self.expr(a, this), self.expr(b, this)),
            Expr::Object(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(name, e)| format!("{name}: {}", self.expr(e, this))).collect();
                format!("{{ {} }}", pairs.join(", "))
            }
        }
    }

    fn of(&self, of: Of) -> String {
        match of {
            Of::This => "this".to_owned(),
            Of::Step(step) => self.step(step),
        }
    }

    fn window(&self, window: &Window) -> String {
        let mut out = format!("{:?}({}", window.aggregate, self.stream(window.stream));
        if let Some(argument) = &window.argument {
            write!(out, " of {}", self.expr(argument, Some(window.stream))).unwrap();
        }
        write!(out, " over {}", format_duration(window.span)).unwrap();
        if let Some(before) = window.before {
            write!(out, " before {}", self.step(before)).unwrap();
        }
        if !window.filter.is_empty() {
            write!(out, " where {}", self.condition(&window.filter, Some(window.stream))).unwrap();
        }
        out + ")"
    }
}
