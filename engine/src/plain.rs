//! The search where order alone decides: steps that take one event each and ask nothing of each other.
//!
//! Going back from the end, the earliest position is known at which each step may begin; what lies before it is not walked,
//! nor kept where no end to come can reach it.

use crate::program::Program;
use crate::row::{Position, Row, Rows};
use crate::search::{Question, Search};
use crate::state::KeyState;
use smallvec::SmallVec;
use std::ops::ControlFlow;

/// Walks a chain of single steps backwards from `end`: the earliest position at which each step can begin. `Position::MAX` =
/// any end to come.
pub(crate) fn lower_bounds(program: &Program, state: &KeyState, end: Position) -> SmallVec<[Position; 4]> {
    let steps = &program.steps;
    let mut lower = SmallVec::from_elem(0, steps.len());
    let Some(last) = steps.len().checked_sub(1) else { return lower };
    if steps.get(last).is_some_and(|step| step.max == 1) {
        lower[last] = end;
    }
    for number in (1..steps.len()).rev() {
        let (Some(step), Some(unit), Some(before)) =
            (steps.get(number), program.units.get(number), steps.get(number - 1))
        else {
            continue;
        };
        let list = state.lists.of(number);
        let at = list.partition_point(|row| row.pos < lower[number]);
        let mut bound = 0;
        if step.bars {
            bound = at.checked_sub(1).and_then(|at| list.get(at)).map_or(0, |row| row.pos);
        }
        if let Some(candidate) = list.get(at)
            && before.max == 1
        {
            if unit.immediately {
                bound = bound.max(candidate.union_before());
            }
            if let Some(within) = &unit.within {
                let (within, earlier) = (within.longest(), state.lists.of(number - 1));
                let at = earlier.partition_point(|row| row.ts < candidate.ts.saturating_sub(within));
                bound = bound.max(earlier.get(at).map_or(candidate.pos, |row| row.pos));
            }
        }
        lower[number - 1] = bound;
    }
    lower
}

/// Of a program that [`forgets`](Program::forgets): drops what no end to come can reach.
pub(crate) fn forget(program: &Program, state: &mut KeyState) {
    let lower = lower_bounds(program, state, Position::MAX);
    let mut dropped = true;
    for (number, (step, lower)) in program.steps.iter().zip(lower).enumerate() {
        // Of a step that takes the first one, a row may go only with all beginnings before it that it bars.
        dropped = !step.first_only || (step.bars && dropped);
        if dropped {
            state.lists.drop_while(number, |row| row.pos < lower);
        }
    }
}

/// The last event of the choice where the last unit is a step.
pub(crate) fn ending<'a>(question: &Question<'a>) -> Option<&'a Row> {
    let list = question.state.lists.of(question.program.steps.len().checked_sub(1)?);
    list.get(list.binary_search_by_key(&question.end, |row| row.pos).ok()?)
}

impl<'a> Search<'a, '_> {
    /// [`Self::extend_step`] where order alone decides. A last step that takes the first one needs no look at earlier rows of its
    /// own: [`lower_bounds`] has left no beginning before one of them.
    pub(crate) fn extend_plain(&mut self, number: usize, step: usize, first_only: bool) -> ControlFlow<()> {
        let Some(last) = self.taken.get(step - 1).and_then(|taken| taken.first()).map(|row| row.pos) else {
            return ControlFlow::Continue(());
        };
        if self.is_last(number) {
            return match self.ending {
                Some(row) if last < row.pos && !self.out_of_bound(row) => self.begin_plain(number, step, row),
                _ => ControlFlow::Continue(()),
            };
        }
        let lower = self.lower.get(step).copied().unwrap_or(0);
        let start = if first_only { last + 1 } else { lower.max(last + 1) };
        let list = self.list(step);
        let rows = list.get(list.partition_point(|row| row.pos < start)..).unwrap_or_default();
        let rows = match rows.first() {
            Some(first) if first_only && first.pos >= lower => std::slice::from_ref(first),
            _ if first_only => &[],
            _ => rows,
        };
        if let Some(ending) = self.closing(number, step) {
            return self.close(number, step, rows, ending);
        }
        for row in rows {
            if row.pos > self.question.end || self.out_of_bound(row) || self.skip_first {
                break;
            }
            self.begin_plain(number, step, row)?;
        }
        ControlFlow::Continue(())
    }

    /// The end, if it is all that is missing once this step has begun.
    fn closing(&self, number: usize, step: usize) -> Option<&'a Row> {
        let plain = self.question.program.steps.get(step + 1).is_some_and(|step| step.plain);
        self.ending.filter(|ending| plain && self.is_last(number + 1) && !self.out_of_bound(ending))
    }

    /// [`Self::begin_plain`] of the step before the last, at each of some rows in turn, and of the last at its end: most of the
    /// work where many choices end together.
    fn close(&mut self, number: usize, step: usize, rows: &'a [Row], ending: &'a Row) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        self.begun.extend([number, number + 1]);
        for row in rows {
            if row.pos >= ending.pos || self.out_of_bound(row) || self.skip_first || flow.is_break() {
                break;
            }
            self.found.work += 2;
            if self.is_overworked() {
                flow = ControlFlow::Break(());
            } else if let Some([own, last]) = self.taken.get_mut(step..=step + 1) {
                (*own, *last) = (Rows::One(row), Rows::One(ending));
                flow = self.complete();
            }
        }
        if let Some([own, last]) = self.taken.get_mut(step..=step + 1) {
            (*own, *last) = (Rows::None, Rows::None);
        }
        self.begun.truncate(self.begun.len() - 2);
        flow
    }

    /// [`Self::begin`] of such a step, or the end.
    fn begin_plain(&mut self, number: usize, step: usize, row: &'a Row) -> ControlFlow<()> {
        self.found.work += 1;
        if self.is_overworked() {
            return ControlFlow::Break(());
        }
        if let Some(taken) = self.taken.get_mut(step) {
            *taken = Rows::One(row);
        }
        self.begun.push(number);
        let flow =
            if self.is_last(number) { self.complete() } else { self.extend(number + 1, Position::MAX) };
        self.begun.pop();
        if let Some(taken) = self.taken.get_mut(step) {
            *taken = Rows::None;
        }
        flow
    }
}
