//! What follows from the shape of a compiled rule: which steps order alone decides, what may be forgotten, and when.

use crate::program::{AbsenceProgram, BoundProgram, Place, StepProgram, UnitProgram};
use pattern_dsl::ir::{Bound, Overlap, Rule, UnitKind};
use pattern_dsl::types::Micros;

/// Tells each absence which steps come before what it guards.
pub(crate) fn look_behind(absences: &mut [AbsenceProgram], units: &[UnitProgram]) {
    let first = units.first().map_or(0..0, |unit| unit.steps.clone());
    let last = units.last().map_or(0..0, |unit| unit.steps.clone());
    for absence in absences.iter_mut() {
        absence.behind = match absence.place {
            Place::Leading | Place::Gap => Vec::new(),
            Place::Trailing => last.clone().collect(),
            Place::Cancel => first.clone().collect(),
        };
    }
    for unit in units {
        let before = || unit.before.iter().filter_map(|before| units.get(*before));
        for number in &unit.gap {
            if let Some(absence) = absences.get_mut(*number) {
                absence.behind = before().flat_map(|unit| unit.steps.clone()).collect();
            }
        }
    }
}

/// See [`Program::strict_chain`].
pub(crate) fn is_strict_chain(rule: &Rule, units: &[UnitProgram], steps: &[StepProgram]) -> bool {
    units.len() > 1
        && rule.timeout.is_none()
        && units.iter().skip(1).all(|unit| unit.immediately)
        && units.iter().all(|unit| unit.kind == UnitKind::Step && !unit.skippable)
        && steps.iter().all(|step| step.max == 1 && step.quiet.is_none())
}

/// See [`Program::brief`].
pub(crate) fn is_brief(rule: &Rule, steps: &[StepProgram]) -> bool {
    let bare = rule.leading.is_empty() && rule.trailing.is_empty() && rule.cancels.is_empty();
    steps.len() == 1
        && steps.iter().all(|step| step.max == 1 && !step.keeps_end)
        && bare
        && rule.windows.is_empty()
}

/// See [`Program::passing`].
pub(crate) fn passes(rule: &Rule, steps: &[StepProgram]) -> bool {
    is_brief(rule, steps)
        && steps.iter().all(|step| !step.keeps_context)
        && rule.cooldown.is_none()
        && matches!(rule.overlap, Overlap::None | Overlap::PerStart | Overlap::PerEnd | Overlap::All)
}

/// How long after an event of a key the last of what it left may be of use.
pub(crate) fn sweep_after(rule: &Rule, horizon: Micros) -> Micros {
    let span = rule.windows.iter().map(|window| window.span).max().unwrap_or(0);
    let leading = rule.leading.iter().filter_map(|absence| absence.duration.as_ref());
    let leading = leading.map(Bound::longest).max().unwrap_or(0);
    horizon.max(span).max(leading).max(rule.cooldown.unwrap_or(0)).saturating_add(1)
}

/// Tells each step whether order alone decides where it begins.
pub(crate) fn mark_plain(steps: &mut [StepProgram], units: &[UnitProgram], has_timed_gap: bool) {
    for (number, unit) in units.iter().enumerate().skip(1) {
        let takes_one = |unit: &UnitProgram| {
            let step = steps.get(unit.steps.clone()).and_then(|steps| steps.first());
            unit.kind == UnitKind::Step
                && !unit.skippable
                && step.is_some_and(|step| step.max == 1 && step.quiet.is_none())
        };
        let asks_nothing = unit.within.is_none()
            && unit.after.is_none()
            && !unit.immediately
            && unit.gap.is_empty()
            && steps.get(unit.steps.start).is_some_and(|step| step.cross.is_empty());
        let plain = !has_timed_gap
            && asks_nothing
            && units.get(number - 1..=number).is_some_and(|two| two.iter().all(takes_one));
        let bars = bars(steps, unit, number, has_timed_gap);
        if let Some(step) = steps.get_mut(unit.steps.start) {
            (step.plain, step.bars) = (plain, bars);
        }
    }
}

/// See [`StepProgram::bars`].
fn bars(steps: &[StepProgram], unit: &UnitProgram, number: usize, has_timed_gap: bool) -> bool {
    let (Some(step), Some(before)) = (steps.get(unit.steps.start), steps.get(number - 1)) else {
        return false;
    };
    let independent = step.cross.is_empty()
        && !unit.immediately
        && unit.after.is_none()
        && !matches!(unit.within, Some(BoundProgram::Read(..)))
        && !has_timed_gap
        && before.quiet.is_none()
        // Whether an earlier row is in time depends on what a repeat has taken.
        && (before.max == 1 || unit.within.is_none());
    step.first_only && independent && before.min == 1
}
