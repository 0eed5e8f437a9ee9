//! Warnings about matches that mean something else than they seem to: W214, W216, W217, W218.

use super::facts::{Facts, turned};
use super::rule::RuleLowering;
use super::steps::{Parts, members};
use crate::ast::{self, Quantifier, UnitKind};
use crate::diagnostic::Diagnostic;
use crate::ir::{self, Aggregate, Arrow, BinaryOp, Condition, Expr, Of, Step, Term, Unit};
use crate::source::Span;

/// A step takes more than one event.
fn repeats(step: &Step) -> bool {
    step.max != Some(1)
}

/// It reads no event.
fn is_constant(expr: &Expr) -> bool {
    let mut constant = true;
    expr.walk(&mut |e| {
        constant &= !matches!(
            e,
            Expr::Field(..)
                | Expr::Ts(_)
                | Expr::Id(_)
                | Expr::StreamName(_)
                | Expr::Aggregate(..)
                | Expr::Window(_)
        );
    });
    constant
}

/// `f` of the event against `f` of what the step took, by something else than `==`.
fn differs(term: &Term, step: usize) -> bool {
    let of_step = |e: &Expr, field: usize| match e {
        Expr::Field(Of::Step(other), f) => *other == step && *f == field,
        Expr::Aggregate(kind, other, Some(argument)) => {
            let kinds =
                [Aggregate::Min, Aggregate::Max, Aggregate::First, Aggregate::Last, Aggregate::Collect];
            *other == step && kinds.contains(kind) && **argument == Expr::Field(Of::This, field)
        }
        _ => false,
    };
    let pair = |a: &Expr, b: &Expr| matches!(a, Expr::Field(Of::This, field) if of_step(b, *field));
    match &term.expr {
        Expr::Binary(op, a, b) => {
            turned(*op).is_some_and(|op| op != BinaryOp::Equal) && (pair(a, b) || pair(b, a))
        }
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Binary(BinaryOp::Equal | BinaryOp::In, a, b) => pair(a, b) || pair(b, a),
            _ => false,
        },
        _ => false,
    }
}

/// An aggregate of the step that must stay below a constant.
fn upper_limit(term: &Term, step: usize) -> bool {
    let Expr::Binary(op, a, b) = &term.expr else { return false };
    let (op, aggregate, limit) = match (a.as_ref(), b.as_ref()) {
        (Expr::Aggregate(..), limit) => (Some(*op), a, limit),
        (limit, Expr::Aggregate(..)) => (turned(*op), b, limit),
        _ => return false,
    };
    let Expr::Aggregate(kind, of, _) = aggregate.as_ref() else { return false };
    let grows = !matches!(kind, Aggregate::Min | Aggregate::First | Aggregate::Last | Aggregate::Collect);
    let below = match op {
        Some(BinaryOp::Less | BinaryOp::LessOrEqual) => true,
        Some(BinaryOp::Equal) => *kind == Aggregate::Count,
        _ => false,
    };
    *of == step && grows && below && is_constant(limit)
}

impl RuleLowering<'_, '_> {
    pub(super) fn warn_about_match(
        &mut self,
        rule: &ast::Rule,
        pattern: &ast::Match,
        parts: &Parts,
        having: &Condition,
    ) {
        let events: Vec<&ast::Event> = pattern.units.iter().flat_map(members).collect();
        let spans: Vec<Span> = events.iter().map(|e| e.alias.as_ref().unwrap_or(&e.stream).span).collect();
        self.serves_both(parts, &spans);
        self.limited_above(&events, parts, having);
        self.escapes(pattern, parts);
        if rule.overlap.is_none() {
            self.every_second(parts, &spans);
        }
    }

    /// W214.
    fn serves_both(&mut self, parts: &Parts, spans: &[Span]) {
        for (second, later) in parts.steps.iter().enumerate() {
            let found = (0..second).rev().find_map(|first| {
                let earlier = parts.steps.get(first)?;
                let in_set = may_meet(parts, first, second)?;
                let open = |step: &Step| step.max.is_none_or(|max| max > step.min);
                let contested = open(earlier) || (in_set && open(later));
                let same = earlier.stream == later.stream && earlier.keys == later.keys;
                if !same || !contested || later.condition.iter().any(|term| differs(term, first)) {
                    return None;
                }
                let mut facts = Facts::default();
                facts.add(&earlier.condition);
                facts.add(&later.condition);
                (!facts.contradict()).then(|| (earlier.name.clone(), in_set))
            });
            let (Some((first, in_set)), Some(span)) = (found, spans.get(second)) else { continue };
            let taken = match in_set {
                true => format!("it goes to the one that lacks its minimum, else to `{first}`"),
                false => format!("it will be taken as `{}`", later.name),
            };
            let message = format!("one event can be both `{first}` and `{}`; {taken}", later.name);
            self.report(
                Diagnostic::warning("W214", *span, message)
                    .help("tell them apart by a test that only one passes"),
            );
        }
    }

    /// W216.
    fn limited_above(&mut self, events: &[&ast::Event], parts: &Parts, having: &Condition) {
        let Some(first) = parts.units.first().filter(|_| parts.leading.is_empty()) else { return };
        for at in first.steps.clone() {
            let (Some(step), Some(event)) = (parts.steps.get(at), events.get(at)) else { continue };
            if !repeats(step) {
                continue;
            }
            let mut found: Vec<Span> = Vec::new();
            if let Some((Quantifier::Between(min, max), span)) = event.quantifier
                && min < max
            {
                found.push(span);
            }
            let later = parts.steps.iter().skip(at + 1).flat_map(|s| &s.condition).chain(having);
            found.extend(later.filter(|term| upper_limit(term, at)).map(|term| term.span));
            for span in found {
                let message = format!(
                    "an upper limit on `{}`, where the match begins: a later beginning can meet it",
                    step.name
                );
                let help = format!("to forbid that: `no {} for 1h` before it", event.stream.name);
                self.report(Diagnostic::warning("W216", span, message).help(help));
            }
        }
    }

    /// W217.
    fn escapes(&mut self, pattern: &ast::Match, parts: &Parts) {
        let mut before: Option<&Unit> = None;
        let mut units = parts.units.iter();
        for unit in &pattern.units {
            let UnitKind::Absence(absence) = &unit.kind else {
                before = units.next();
                continue;
            };
            let Some(unit_before) = before else { continue };
            let own = unit_before.steps.clone().filter_map(|step| parts.steps.get(step));
            let Some(open) = own.clone().find(|step| repeats(step) || step.optional) else { continue };
            let escaping = absence.streams.iter().find(|name| {
                let stream = self.rule_stream(&name.name);
                let ends_it = open.consecutive && !open.optional && stream == Some(open.stream);
                !ends_it && !pattern.cancels.iter().any(|c| c.stream.name == name.name)
            });
            let Some(name) = escaping else { continue };
            let message = format!(
                "`no {0}` looks from the last event of `{1}` on: a `{0}` before that escapes this",
                name.name, open.name
            );
            let help = format!("`cancel on {}` guards the whole match", name.name);
            self.report(Diagnostic::warning("W217", unit.span, message).help(help));
        }
    }

    /// W218.
    fn every_second(&mut self, parts: &Parts, spans: &[Span]) {
        let [first_unit, .., last_unit] = parts.units.as_slice() else { return };
        let single =
            |unit: &Unit| (unit.kind == ir::UnitKind::Step).then(|| parts.steps.get(unit.steps.start))?;
        let (Some(first), Some(last)) = (single(first_unit), single(last_unit)) else { return };
        if repeats(first)
            || repeats(last)
            || first.stream != last.stream
            || first.keys != last.keys
            || !parts.leading.is_empty()
            || !parts.trailing.is_empty()
        {
            return;
        }
        let implied = first.condition.iter().all(|term| last.condition.iter().any(|t| t.expr == term.expr));
        let Some(span) = spans.last().filter(|_| implied) else { return };
        let message = format!(
            "`{}` could begin the next match, but is used up: every second pair is skipped",
            last.name
        );
        let help = format!("`overlap from {}`, or `overlap none` if that is meant", last.name);
        self.report(Diagnostic::warning("W218", *span, message).help(help));
    }
}

/// An event could come where the earlier step may still take it and the later one begin; true if they are of one set.
fn may_meet(parts: &Parts, earlier: usize, later: usize) -> Option<bool> {
    let unit_of = |step: usize| parts.units.iter().position(|u| u.steps.contains(&step));
    let (a, b) = (unit_of(earlier)?, unit_of(later)?);
    let unit = parts.units.get(b)?;
    if a == b {
        return (unit.kind != ir::UnitKind::One).then_some(true);
    }
    let between = parts.units.get(a + 1..b)?;
    let adjacent = between.iter().all(|u| u.may_be_empty(&parts.steps));
    (adjacent && unit.arrow != Arrow::Immediately).then_some(false)
}
