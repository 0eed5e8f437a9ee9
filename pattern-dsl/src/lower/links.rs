//! How wide the search for a choice is: steps linked by tests other than `==` (E345, W345).

use std::collections::BTreeSet;

use super::rule::RuleLowering;
use super::steps::Parts;
use crate::diagnostic::Diagnostic;
use crate::ir::{self, Arrow, BinaryOp, Expr, Of, Term};
use crate::source::Span;

/// Most steps that tests other than `==` may link.
const WIDEST: usize = 3;

/// For each step the one whose beginning settles where it begins: of a step that `first`, `immediately` or the lack of a
/// maximum leaves no choice the one before it, of a member of a `one of` the first member.
fn anchors(parts: &Parts) -> Vec<usize> {
    let mut anchors = Vec::new();
    for unit in &parts.units {
        let before = anchors.last().copied();
        for at in unit.steps.clone() {
            let any_event =
                parts.steps.get(at).is_some_and(|s| s.max.is_some() || s.consecutive || s.quiet.is_some());
            let chosen = unit.arrow == Arrow::Then && any_event;
            let own = if unit.kind == ir::UnitKind::One { unit.steps.start } else { at };
            anchors.push(before.filter(|_| !chosen).unwrap_or(own));
        }
    }
    anchors
}

/// Steps that an expression reads.
fn read(expr: &Expr) -> BTreeSet<usize> {
    let mut steps = BTreeSet::new();
    expr.walk(&mut |e| match e {
        Expr::Field(Of::Step(step), _)
        | Expr::Ts(Of::Step(step))
        | Expr::Id(Of::Step(step))
        | Expr::StreamName(Of::Step(step))
        | Expr::Aggregate(_, step, _) => {
            steps.insert(*step);
        }
        _ => {}
    });
    steps
}

impl RuleLowering<'_, '_> {
    pub(super) fn check_width(&mut self, parts: &Parts) {
        let anchors = anchors(parts);
        let anchor = |step: usize| anchors.get(step).copied().unwrap_or(step);
        // Groups of linked steps, and the last test that links them.
        let mut groups: Vec<(BTreeSet<usize>, Span)> = Vec::new();
        for (own, step) in parts.steps.iter().enumerate() {
            let equal = |term: &&Term| matches!(term.expr, Expr::Binary(BinaryOp::Equal, ..));
            // What is equal is looked up; further tests against the same step only thin it out.
            let found: BTreeSet<usize> =
                step.condition.iter().filter(equal).flat_map(|term| read(&term.expr)).collect();
            for term in step.condition.iter().filter(|term| !equal(term)) {
                let mut linked: BTreeSet<usize> =
                    read(&term.expr).difference(&found).map(|step| anchor(*step)).collect();
                linked.insert(anchor(own));
                if linked.len() < 2 {
                    continue;
                }
                groups.retain(|(group, _)| {
                    let meet = !group.is_disjoint(&linked);
                    if meet {
                        linked.extend(group);
                    }
                    !meet
                });
                groups.push((linked, term.span));
            }
        }
        for (group, span) in groups {
            let count = group.len();
            if count < WIDEST {
                continue;
            }
            let help = "add an equality to one of these tests, or join by `then immediately`";
            let diagnostic = if count > WIDEST {
                let message = format!("this search is too wide: tests other than `==` link {count} steps");
                Diagnostic::error("E345", span, message)
            } else {
                let message = format!("tests other than `==` link {count} steps: about n^{count} tests");
                Diagnostic::warning("W345", span, message)
            };
            self.report(diagnostic.help(help));
        }
    }
}
