//! The inside of `match`: steps, sets and absences, each with what its conditions may read.

use std::ops::Range;

use super::rule::{Place, RuleLowering, Scope, SetName, StepName};
use super::{Fail, Lowered};
use crate::ast::{self, Quantifier, UnitKind};
use crate::diagnostic::Diagnostic;
use crate::ir::{self, Absence, Condition, Step, Unit};

/// What stands inside `match`.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) steps: Vec<Step>,
    pub(super) units: Vec<Unit>,
    pub(super) leading: Vec<Absence>,
    pub(super) trailing: Vec<Absence>,
    pub(super) cancels: Vec<Absence>,
}

/// Least, most, may have none.
pub(super) fn counts(event: &ast::Event) -> (u32, Option<u32>, bool) {
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

/// The steps of a unit; of an absence none.
pub(super) fn members(unit: &ast::Unit) -> &[ast::Event] {
    match &unit.kind {
        UnitKind::Event(event) => std::slice::from_ref(event),
        UnitKind::Set(set) => &set.members,
        UnitKind::Absence(_) => &[],
    }
}

impl RuleLowering<'_, '_> {
    /// Names the steps and the `one of` sets: E109, E223, E326.
    pub(super) fn name_steps(&mut self, rule: &ast::Rule, pattern: &ast::Match) -> Lowered<()> {
        let events: Vec<&ast::Event> = pattern.units.iter().flat_map(members).collect();
        if events.is_empty() {
            return Err(self.report(
                Diagnostic::error("E326", pattern.span, "a rule needs an event")
                    .help("add a step: absences alone have no moment to count from"),
            ));
        }
        for unit in &pattern.units {
            let first = self.names.len();
            let range = first..first + members(unit).len();
            for event in members(unit) {
                let stream = self.rule_stream(&event.stream.name).ok_or(Fail)?;
                let module_stream = self.streams.get(stream).map(|s| s.stream).ok_or(Fail)?;
                let only = events.iter().filter(|e| e.stream.name == event.stream.name).count() == 1;
                if let Some(alias) = &event.alias {
                    self.alias_is_free(rule, alias);
                }
                self.names.push(StepName {
                    name: event.alias.as_ref().unwrap_or(&event.stream).name.clone(),
                    alias: event.alias.clone(),
                    stream,
                    module_stream,
                    repeated: counts(event).1 != Some(1),
                    consecutive: event.consecutive.is_some(),
                    nameable: event.alias.is_some() || only,
                    set: matches!(unit.kind, UnitKind::Set(_)).then(|| range.clone()),
                });
            }
            if let UnitKind::Set(ast::Set { kind: ir::UnitKind::One, alias: Some(alias), .. }) = &unit.kind {
                self.alias_is_free(rule, alias);
                self.sets.push(SetName { alias: alias.clone(), members: range });
            }
        }
        Ok(())
    }

    fn alias_is_free(&mut self, rule: &ast::Rule, alias: &ast::Ident) {
        let steps = self.names.iter().filter_map(|n| n.alias.as_ref());
        let first = steps.chain(self.sets.iter().map(|s| &s.alias)).find(|a| a.name == alias.name);
        if let Some(first) = first.map(|a| a.span) {
            self.all.twice(alias, first);
        } else if self.rule_stream(&alias.name).is_some() {
            self.two_meanings(alias, "a step and a stream");
        } else if rule.by.iter().any(|k| k.name.name == alias.name) {
            self.two_meanings(alias, "a step and a key");
        }
    }

    /// Everything inside `match`; all errors are reported before it fails.
    pub(super) fn steps(&mut self, pattern: &ast::Match, keys: Vec<Vec<usize>>) -> Lowered<Parts> {
        let mut keys = keys.into_iter();
        let mut parts = Parts::default();
        let mut waiting: Vec<&ast::Unit> = Vec::new();
        let mut failed = false;
        for unit in &pattern.units {
            if matches!(unit.kind, UnitKind::Absence(_)) {
                self.check_arrow_of_absence(unit);
                waiting.push(unit);
                continue;
            }
            let first = parts.steps.len();
            self.check_join(unit, first == 0, !waiting.is_empty());
            // A leading absence looks back from the first step, so that has happened.
            let reads_first =
                first == 0 && self.names.first().is_some_and(|n| n.set.is_none() && !n.repeated);
            let visible = if reads_first { 1 } else { first };
            let gap = self.absences(&mut waiting, visible, &mut failed);
            let lowered = self.unit(unit, first);
            let steps = first..first + members(unit).len();
            for (event, index) in members(unit).iter().zip(steps) {
                match self.step(event, index, keys.next().unwrap_or_default()) {
                    Ok(step) => parts.steps.push(step),
                    Err(Fail) => return Err(Fail),
                }
            }
            if let UnitKind::Set(set) = &unit.kind {
                self.check_set(set);
                if set.kind != ir::UnitKind::All {
                    // `one of` and `at least n of` say themselves how many members may have none.
                    parts.steps.iter_mut().skip(first).for_each(|step| step.optional = false);
                }
            }
            match (lowered, first) {
                (Ok(unit), 0) => {
                    parts.leading = gap;
                    parts.units.push(unit);
                }
                (Ok(unit), _) => parts.units.push(Unit { gap, ..unit }),
                (Err(Fail), _) => failed = true,
            }
        }
        parts.trailing = self.absences(&mut waiting, usize::MAX, &mut failed);
        for cancel in &pattern.cancels {
            match self.cancel(cancel) {
                Ok(cancel) => parts.cancels.push(cancel),
                Err(Fail) => failed = true,
            }
        }
        if failed { Err(Fail) } else { Ok(parts) }
    }

    fn absences(&mut self, waiting: &mut Vec<&ast::Unit>, visible: usize, failed: &mut bool) -> Vec<Absence> {
        let mut lowered = Vec::new();
        for unit in waiting.drain(..) {
            match self.absence(unit, visible) {
                Ok(absences) => lowered.extend(absences),
                Err(Fail) => *failed = true,
            }
        }
        lowered
    }

    /// A unit but for its gap.
    fn unit(&mut self, unit: &ast::Unit, first: usize) -> Lowered<Unit> {
        let (kind, name) = match &unit.kind {
            UnitKind::Set(set) => (set.kind, set.alias.as_ref().map(|a| a.name.clone())),
            _ => (ir::UnitKind::Step, None),
        };
        let steps: Range<usize> = first..first + members(unit).len();
        let after = unit.after.as_ref().map(|b| self.bound(b, first));
        let within = unit.within.as_ref().map(|b| self.bound(b, first));
        let (after, within) = (after.transpose()?, within.transpose()?);
        Ok(Unit { steps, kind, name, arrow: unit.arrow, after, within, gap: Vec::new() })
    }

    fn step(&mut self, event: &ast::Event, index: usize, keys: Vec<usize>) -> Lowered<Step> {
        let named = self.names.get(index).ok_or(Fail)?;
        let (name, stream, module_stream) = (named.name.clone(), named.stream, named.module_stream);
        let visible = named.set.as_ref().map_or(index, |set| set.start);
        let scope = Scope::new(Place::Where, &[module_stream], Some(index), visible);
        let condition = event.condition.as_ref().map_or_else(Vec::new, |c| self.condition(c, &scope));
        let (min, max, optional) = counts(event);
        let quiet = event.quiet.as_ref().map(|(bound, _)| self.bound(bound, visible)).transpose()?;
        let consecutive = event.consecutive.is_some();
        Ok(Step { name, stream, keys, min, max, optional, consecutive, condition, quiet })
    }

    /// An absence. One of several streams whose condition reads them differently becomes one for each stream: side by
    /// side they say the same.
    fn absence(&mut self, unit: &ast::Unit, visible: usize) -> Lowered<Vec<Absence>> {
        let UnitKind::Absence(absence) = &unit.kind else { return Err(Fail) };
        let duration = absence.duration.as_ref().map(|bound| self.bound(bound, visible)).transpose();
        let text = self.all.slice(unit.span).to_owned();
        let mut split: Vec<(Vec<usize>, Condition)> = Vec::new();
        for name in &absence.streams {
            let stream = self.rule_stream(&name.name).ok_or(Fail)?;
            let this = self.streams.get(stream).map(|s| s.stream).ok_or(Fail)?;
            let scope = Scope::new(Place::Absence, &[this], None, visible);
            let condition = absence.condition.as_ref().map_or_else(Vec::new, |c| self.condition(c, &scope));
            match split.iter_mut().find(|(_, other)| *other == condition) {
                Some((streams, _)) if streams.contains(&stream) => {}
                Some((streams, _)) => streams.push(stream),
                None => split.push((vec![stream], condition)),
            }
        }
        let duration = duration?;
        let one = |(streams, condition)| Absence {
            streams,
            duration: duration.clone(),
            condition,
            text: text.clone(),
        };
        Ok(split.into_iter().map(one).collect())
    }

    fn cancel(&mut self, cancel: &ast::Cancel) -> Lowered<Absence> {
        let stream = self.rule_stream(&cancel.stream.name).ok_or(Fail)?;
        let module_stream = self.streams.get(stream).map(|s| s.stream).ok_or(Fail)?;
        let scope = Scope::new(Place::Absence, &[module_stream], None, usize::MAX);
        let condition = cancel.condition.as_ref().map_or_else(Vec::new, |c| self.condition(c, &scope));
        let text = self.all.slice(cancel.span).to_owned();
        Ok(Absence { streams: vec![stream], duration: None, condition, text })
    }
}
