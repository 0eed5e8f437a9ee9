//! Steps and absences of `match`.

use super::rule::{Place, RuleLowering, Scope, StepName};
use super::{Fail, Lowered};
use crate::ast::{self, Quantifier, UnitKind};
use crate::diagnostic::Diagnostic;
use crate::ir::{self, Absence, Arrow, Bound, Step, Unit};

/// What stands inside `match`.
pub(super) struct Parts {
    pub(super) steps: Vec<Step>,
    pub(super) units: Vec<Unit>,
    pub(super) leading: Vec<Absence>,
    pub(super) trailing: Vec<Absence>,
    pub(super) cancels: Vec<Absence>,
}

/// Least, most, may have none.
fn counts(event: &ast::Event) -> (u32, Option<u32>, bool) {
    match event.quantifier.map(|(quantifier, _)| quantifier) {
        None => (1, Some(1), false),
        Some(Quantifier::Optional) => (1, Some(1), true),
        Some(Quantifier::AnyNumber | Quantifier::AtLeast(0)) => (1, None, true),
        Some(Quantifier::AtLeast(min)) => (min, None, false),
        Some(Quantifier::Exactly(count)) => (count, Some(count), false),
        Some(Quantifier::Between(0, max)) => (1, Some(max), true),
        Some(Quantifier::Between(min, max)) => (min, Some(max), false),
    }
}

impl RuleLowering<'_, '_> {
    /// Names the steps: E109, E223, E326.
    pub(super) fn name_steps(&mut self, rule: &ast::Rule, pattern: &ast::Match) -> Lowered<()> {
        let events: Vec<&ast::Event> = pattern
            .units
            .iter()
            .flat_map(|u| match &u.kind {
                UnitKind::Event(e) => std::slice::from_ref(e),
                UnitKind::Set(set) => set.members.as_slice(),
                UnitKind::Absence(_) => &[],
            })
            .collect();
        if events.is_empty() {
            return Err(self.report(
                Diagnostic::error("E326", pattern.span, "a rule needs an event")
                    .help("add a step: absences alone have no moment to count from"),
            ));
        }
        for event in &events {
            let stream = self.rule_stream(&event.stream.name).ok_or(Fail)?;
            let module_stream = self.streams.get(stream).map(|s| s.stream).ok_or(Fail)?;
            let only = events.iter().filter(|e| e.stream.name == event.stream.name).count() == 1;
            let name = event.alias.as_ref().unwrap_or(&event.stream).name.clone();
            if let Some(alias) = &event.alias {
                let first = self
                    .names
                    .iter()
                    .find_map(|n| n.alias.as_ref().filter(|a| a.name == alias.name))
                    .map(|a| a.span);
                if let Some(first) = first {
                    self.all.twice(alias, first);
                } else if self.rule_stream(&alias.name).is_some() {
                    self.two_meanings(alias, "a step and a stream");
                } else if rule.by.iter().any(|k| k.name.name == alias.name) {
                    self.two_meanings(alias, "a step and a key");
                }
            }
            self.names.push(StepName {
                name,
                alias: event.alias.clone(),
                stream,
                module_stream,
                repeated: counts(event).1 != Some(1),
                consecutive: event.consecutive.is_some(),
                nameable: event.alias.is_some() || only,
            });
        }
        Ok(())
    }

    /// Steps, and the absences after the last.
    pub(super) fn steps(&mut self, pattern: &ast::Match, keys: Vec<Vec<usize>>) -> Lowered<Parts> {
        let mut keys = keys.into_iter();
        let mut steps: Vec<Step> = Vec::new();
        let mut units: Vec<Unit> = Vec::new();
        let mut gap: Vec<Absence> = Vec::new();
        let mut gap_units: Vec<&ast::Unit> = Vec::new();
        let mut failed = false;
        for unit in &pattern.units {
            match &unit.kind {
                UnitKind::Event(event) => {
                    for absent in gap_units.drain(..) {
                        failed |= self.check_gap(absent, steps.is_empty());
                    }
                    if unit.arrow == Arrow::Immediately
                        && !gap.is_empty()
                        && let Some(span) = unit.arrow_span
                    {
                        self.report(
                            Diagnostic::error(
                                "E331",
                                span,
                                "`immediately` has no single neighbour here: an absence stands before it",
                            )
                            .help("`then`"),
                        );
                    }
                    let within = unit.within.as_ref().and_then(|b| self.bound(b).ok());
                    units.push(Unit {
                        steps: steps.len()..steps.len() + 1,
                        kind: ir::UnitKind::Step,
                        name: None,
                        arrow: unit.arrow,
                        after: None,
                        within,
                        gap: std::mem::take(&mut gap),
                    });
                    steps.push(self.step(event, steps.len(), keys.next().unwrap_or_default())?);
                }
                UnitKind::Set(set) => {
                    self.report(Diagnostic::error("E391", set.kind_span, "sets are not supported yet"));
                    failed = true;
                }
                UnitKind::Absence(absence) => {
                    self.check_arrow(unit);
                    gap_units.push(unit);
                    match self.absence(absence, unit, steps.len()) {
                        Ok(absence) => gap.push(absence),
                        Err(Fail) => failed = true,
                    }
                }
            }
        }
        for unit in gap_units {
            if let UnitKind::Absence(absence) = &unit.kind
                && absence.duration.is_none()
            {
                let name = absence.streams.first().map(|s| s.name.clone()).unwrap_or_default();
                self.report(
                    Diagnostic::error("E301", unit.span, "this match can wait for ever")
                        .help(format!("say how long: `no {name} for 1h`")),
                );
            }
        }
        for cancel in &pattern.cancels {
            self.report(Diagnostic::error("E391", cancel.span, "`cancel on` is not supported yet"));
            failed = true;
        }
        let parts = Parts { steps, units, leading: Vec::new(), trailing: gap, cancels: Vec::new() };
        if failed { Err(Fail) } else { Ok(parts) }
    }

    fn check_arrow(&mut self, unit: &ast::Unit) {
        if let Some(span) = unit.arrow_span {
            let (code, message) = match unit.arrow {
                Arrow::Immediately => {
                    ("E331", "`immediately` has no single neighbour here: an absence is no event")
                }
                _ => ("E332", "an absence takes no arrow but `then`"),
            };
            self.report(Diagnostic::error(code, span, message).help("`then no X`"));
        }
        if let Some(within) = &unit.within {
            self.report(
                Diagnostic::error("E332", within.value.span, "an absence has its own bound")
                    .help("`then no X for 1h`"),
            );
        }
    }

    /// An absence before a step: looking back, and with a bound of its own, are refused.
    fn check_gap(&mut self, unit: &ast::Unit, leading: bool) -> bool {
        let UnitKind::Absence(absence) = &unit.kind else { return false };
        let text = self.all.slice(unit.span).to_owned();
        if leading {
            let help = "begin with a step; test a window: `count(x over 1h before a) == 0`";
            self.report(
                Diagnostic::error(
                    "E391",
                    unit.span,
                    format!("`{text}` in front of the first step is not supported yet"),
                )
                .help(help),
            );
            return true;
        }
        if absence.duration.is_some() {
            let help = "leave out `for` to guard the whole gap";
            self.report(
                Diagnostic::error(
                    "E391",
                    unit.span,
                    format!("`{text}` between two steps is not supported yet"),
                )
                .help(help),
            );
            return true;
        }
        false
    }

    fn step(&mut self, event: &ast::Event, index: usize, keys: Vec<usize>) -> Lowered<Step> {
        let (name, stream, module_stream) =
            self.names.get(index).map(|n| (n.name.clone(), n.stream, n.module_stream)).ok_or(Fail)?;
        let scope = Scope::new(Place::Where, &[module_stream], Some(index), index);
        let condition = event.condition.as_ref().map_or_else(Vec::new, |c| self.condition(c, &scope));
        let (min, max, optional) = counts(event);
        for (unsupported, what) in [(optional, "an optional step"), (event.quiet.is_some(), "`until quiet`")]
        {
            if unsupported {
                self.report(Diagnostic::error("E391", event.span, format!("{what} is not supported yet")));
            }
        }
        Ok(Step {
            name,
            stream,
            keys,
            min,
            max,
            optional,
            consecutive: event.consecutive.is_some(),
            condition,
            quiet: None,
        })
    }

    fn bound(&mut self, bound: &ast::Bound) -> Lowered<Bound> {
        Ok(Bound::Fixed(self.all.bound(&bound.value, false)?))
    }

    fn absence(&mut self, absence: &ast::Absence, unit: &ast::Unit, visible: usize) -> Lowered<Absence> {
        let mut streams = Vec::new();
        let mut this = Vec::new();
        for name in &absence.streams {
            let index = self.rule_stream(&name.name).ok_or(Fail)?;
            if !streams.contains(&index) {
                streams.push(index);
                this.push(self.streams.get(index).map(|s| s.stream).ok_or(Fail)?);
            }
        }
        let scope = Scope::new(Place::Absence, &this, None, visible);
        let condition = absence.condition.as_ref().map_or_else(Vec::new, |c| self.condition(c, &scope));
        let duration = match &absence.duration {
            Some(bound) => Some(self.bound(bound)?),
            None => None,
        };
        Ok(Absence { streams, duration, condition, text: self.all.slice(unit.span).to_owned() })
    }
}
