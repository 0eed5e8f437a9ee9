//! What a rule holds and tests per key: upper bounds, in words.

use super::words::{Words, duration};
use crate::ir::{Absence, BinaryOp, Expr, Module, Of, Rule, Step, Term, UnitKind};
use crate::types::Micros;

/// What is kept for each key at most, which tests are of one event and which link steps, and what each absence keeps.
#[must_use]
pub fn cost(module: &Module, rule: &Rule) -> Vec<String> {
    let words = Words { module, rule };
    let mut all: Vec<String> = (0..rule.steps.len()).map(|step| words.held(step)).collect();
    for (index, step) in rule.steps.iter().enumerate() {
        all.extend(words.tests(index, step));
    }
    let gaps = rule.units.iter().flat_map(|u| &u.gap);
    all.extend(rule.leading.iter().chain(gaps).map(|a| words.kept(a, false)));
    all.extend(rule.trailing.iter().map(|a| words.kept(a, true)));
    all.extend(rule.cancels.iter().map(|a| words.kept(a, false)));
    all.extend(rule.windows.iter().map(|w| {
        let what = if w.argument.is_none() { "a time" } else { "a time and a value" };
        let stream = words.stream(w.stream);
        format!("`{}`: {what} for each {stream} of {} that it counts", w.text, duration(w.span))
    }));
    all
}

/// Calls `f` on the expression and all in it.
pub(super) fn walk(e: &Expr, f: &mut dyn FnMut(&Expr)) {
    f(e);
    match e {
        Expr::Not(a) | Expr::Neg(a) | Expr::IsNull(a) | Expr::Trend(_, a) | Expr::Lookup(_, a, _) => {
            walk(a, f)
        }
        Expr::Aggregate(_, _, Some(a)) => walk(a, f),
        Expr::Binary(_, a, b) | Expr::Reaches(_, a, b) | Expr::Prev(a, b) => {
            walk(a, f);
            walk(b, f);
        }
        Expr::If(a, b, c) => [a, b, c].iter().for_each(|e| walk(e, f)),
        Expr::InList(a, _, key) => {
            walk(a, f);
            if let Some(key) = key {
                walk(key, f);
            }
        }
        Expr::List(items) | Expr::Call(_, items) => items.iter().for_each(|e| walk(e, f)),
        Expr::Object(pairs) => pairs.iter().for_each(|(_, e)| walk(e, f)),
        _ => {}
    }
}

/// The steps that a term reads, other than `own`.
fn reads(rule: &Rule, e: &Expr, own: Option<usize>) -> Vec<usize> {
    let mut found = Vec::new();
    walk(e, &mut |e| {
        let step = match e {
            Expr::Field(Of::Step(s), _)
            | Expr::Ts(Of::Step(s))
            | Expr::Id(Of::Step(s))
            | Expr::StreamName(Of::Step(s))
            | Expr::Aggregate(_, s, _) => *s,
            Expr::Window(w) => match rule.windows.get(*w).and_then(|w| w.before) {
                Some(s) => s,
                None => return,
            },
            _ => return,
        };
        if Some(step) != own && !found.contains(&step) {
            found.push(step);
        }
    });
    found
}

impl Words<'_> {
    fn held(&self, index: usize) -> String {
        let Some(step) = self.rule.steps.get(index) else { return String::new() };
        let stream = self.stream(step.stream);
        let name = &step.name;
        let unit = self.rule.units.iter().position(|u| u.steps.contains(&index));
        let last = unit.is_some_and(|u| u + 1 == self.rule.units.len());
        let alone = last
            && step.max == Some(1)
            && self.rule.units.last().is_some_and(|u| matches!(u.kind, UnitKind::Step | UnitKind::One));
        if alone {
            return match self.longest_timer() {
                Some(longest) => format!("`{name}`: a timer for each {stream} of {longest} that fits"),
                None => format!("`{name}`: looked at when it comes, not held"),
            };
        }
        let span = self.rule.within.map_or("its bound".to_owned(), duration);
        format!("`{name}`: candidates per key up to every {stream} of {span} that fits it")
    }

    /// The longest of the timers at the end.
    fn longest_timer(&self) -> Option<String> {
        let ends = self.rule.trailing.iter().filter_map(|a| a.duration.as_ref());
        let longest: Option<Micros> = ends.map(crate::ir::Bound::longest).max();
        longest.map(duration)
    }

    fn tests(&self, index: usize, step: &Step) -> Vec<String> {
        let mut local = Vec::new();
        let mut grown = Vec::new();
        let mut equal = Vec::new();
        let mut other = Vec::new();
        for term in &step.condition {
            match &term.expr {
                e if reads(self.rule, e, Some(index)).is_empty() => {
                    if looks_back(e, index) {
                        grown.push(term)
                    } else {
                        local.push(term)
                    }
                }
                e if equality(self.rule, e, index) => equal.push(term),
                _ => other.push(term),
            }
        }
        let texts = |terms: &[&Term]| {
            let quoted: Vec<String> = terms.iter().map(|t| format!("`{}`", one_line(&t.text))).collect();
            quoted.join(", ")
        };
        let name = &step.name;
        let mut all = Vec::new();
        if !local.is_empty() {
            all.push(format!("`{name}`: {} local to an event: tested once, when it comes", texts(&local)));
        }
        if !grown.is_empty() {
            all.push(format!("`{name}`: {} look back in the repeat: tested as it grows", texts(&grown)));
        }
        if !equal.is_empty() {
            all.push(format!(
                "`{name}`: {} link steps by equality: one value of the other narrows the candidates",
                texts(&equal)
            ));
        }
        if !other.is_empty() {
            all.push(format!("`{name}`: {} link steps: tested for each pair of candidates", texts(&other)));
        }
        all
    }

    /// One word (the newest time) is enough unless the condition reads other steps.
    fn kept(&self, absence: &Absence, trailing: bool) -> String {
        let linked = absence.condition.iter().any(|t| !reads(self.rule, &t.expr, None).is_empty());
        let what = self.absent(absence);
        let (kept, end) = match linked {
            true => ("its events are kept and scanned", "they are tested against each open timer"),
            false => ("one word is kept, the time of the newest", "one word is kept, the time of the newest"),
        };
        let text = one_line(&absence.text);
        let text = text.strip_prefix("then ").unwrap_or(&text);
        format!("`{text}` ({what}): {}", if trailing { end } else { kept })
    }
}

/// The term reads what its own repeat has taken before.
fn looks_back(e: &Expr, own: usize) -> bool {
    let mut found = false;
    walk(e, &mut |e| {
        let own_aggregate = matches!(e, Expr::Aggregate(_, step, _) if *step == own);
        found |= own_aggregate || matches!(e, Expr::Trend(..) | Expr::Prev(..));
    });
    found
}

/// `x == step.field`, one side of this event only.
fn equality(rule: &Rule, e: &Expr, own: usize) -> bool {
    match e {
        Expr::Binary(BinaryOp::Equal, a, b) => {
            let (a, b) = (reads(rule, a, Some(own)).len(), reads(rule, b, Some(own)).len());
            (a == 0) != (b == 0)
        }
        _ => false,
    }
}

/// White space of several lines as single spaces.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
