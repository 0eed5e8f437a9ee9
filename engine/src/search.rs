//! The search for complete choices: where each step begins, everything else forced (language section 5).
//!
//! Run when the last event of a choice has come, or its timer rings. Walks the lists in step order, earliest beginning
//! first, so that the first success is the choice the language reports.
//! INVARIANT: visits exactly the complete choices that end at `end`, in the order of the language.

use crate::expr::{Node, Scope};
use crate::program::Program;
use crate::row::{Position, Row};
use crate::state::KeyState;
use crate::tables::Tables;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::types::Micros;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// What a search looks at; nothing of it changes meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) program: &'a Program,
    pub(crate) state: &'a KeyState,
    pub(crate) key: &'a [Value],
    pub(crate) partitions: &'a [ArcStr],
    /// The last event of the choice; it stands in the last list.
    pub(crate) end: Position,
    /// Values of windows without `before` at the alert's moment.
    pub(crate) windows: &'a [Value],
    pub(crate) tables: &'a Tables,
    /// The alert's moment.
    pub(crate) time: Micros,
    /// Latches at the alert's moment.
    pub(crate) latches: u32,
    /// Tests allowed; `u64::MAX` = any number.
    pub(crate) work: u64,
}

/// What the visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next choice, whichever it is.
    Choice,
    /// The next choice with a later first event.
    FirstEvent,
    /// Nothing more.
    Stop,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// Choices given to the visitor.
    pub(crate) choices: u64,
    /// Choices that only `unless` kept from it.
    pub(crate) silenced: u64,
    /// Tests made.
    pub(crate) work: u64,
    /// The work allowed was used up.
    pub(crate) cut: bool,
}

/// Gives every complete choice to `visit`: what each step took.
pub(crate) fn search<'a>(
    question: Question<'a>,
    visit: &mut dyn FnMut(&[Vec<&'a Row>], &Scope<'_>) -> Next,
) -> Found {
    let mut search = Search {
        question,
        lower: lower_bounds(&question),
        taken: vec![Vec::new(); question.program.steps.len()],
        found: Found::default(),
        skip_first: false,
        visit,
    };
    let _ = search.extend(0);
    search.found
}

struct Search<'a, 'v> {
    question: Question<'a>,
    /// By step: no choice that ends at `end` begins it before this position.
    lower: Vec<Position>,
    taken: Vec<Vec<&'a Row>>,
    found: Found,
    /// The visitor wants another first event.
    skip_first: bool,
    visit: &'v mut dyn FnMut(&[Vec<&'a Row>], &Scope<'_>) -> Next,
}

/// Walks backwards from the end: the earliest position at which each step can begin.
fn lower_bounds(question: &Question<'_>) -> Vec<Position> {
    let steps = &question.program.steps;
    let mut lower = vec![0; steps.len()];
    let Some(last) = steps.len().checked_sub(1) else { return lower };
    if steps.get(last).is_some_and(|step| step.max == 1) {
        lower[last] = question.end;
    }
    for number in (1..steps.len()).rev() {
        let (Some(step), Some(before), Some(list)) =
            (steps.get(number), steps.get(number - 1), question.state.lists.get(number))
        else {
            continue;
        };
        let at = list.partition_point(|row| row.pos < lower[number]);
        let Some(candidate) = list.get(at) else { continue };
        let mut bound = 0;
        if step.immediately && before.max == 1 {
            bound = candidate.union_before;
        }
        let independent = step.cross.is_empty() && !step.immediately;
        if step.first_only && independent && before.min == 1 {
            bound = bound.max(at.checked_sub(1).and_then(|at| list.get(at)).map_or(0, |row| row.pos));
        }
        if let (Some(within), 1, Some(earlier)) =
            (step.within, before.max, question.state.lists.get(number - 1))
        {
            let at = earlier.partition_point(|row| row.ts < candidate.ts.saturating_sub(within));
            bound = bound.max(earlier.get(at).map_or(candidate.pos, |row| row.pos));
        }
        lower[number - 1] = bound;
    }
    lower
}

/// Progress of a repeat that takes what comes.
#[derive(Clone, Copy)]
struct Taking {
    /// Next row of the list to look at.
    next: usize,
    /// It takes no more.
    ended: bool,
}

impl<'a> Search<'a, '_> {
    fn list(&self, step: usize) -> &'a VecDeque<Row> {
        static EMPTY: VecDeque<Row> = VecDeque::new();
        self.question.state.lists.get(step).unwrap_or(&EMPTY)
    }

    /// Chooses where step `number` begins, the steps before it being chosen.
    fn extend(&mut self, number: usize) -> ControlFlow<()> {
        let Some(step) = self.question.program.steps.get(number) else { return self.complete() };
        let list = self.list(number);
        let last = number + 1 == self.question.program.steps.len();
        let lower = self.lower.get(number).copied().unwrap_or(0);
        let start =
            match number.checked_sub(1).and_then(|before| self.taken.get(before)).and_then(|t| t.first()) {
                // Of a step that takes the first, those before the bound must be seen: one of them may be the first.
                Some(begin) if step.first_only => begin.pos + 1,
                Some(begin) => lower.max(begin.pos + 1),
                None => lower,
            };
        let mut at = list.partition_point(|row| row.pos < start);
        let mut before = self.begin_taking(number);
        let kept = number.checked_sub(1).and_then(|b| self.taken.get(b)).map_or(0, Vec::len);
        if last && step.max == 1 && !step.first_only {
            at = at.max(list.partition_point(|row| row.pos < self.question.end));
        }
        let mut flow = ControlFlow::Continue(());
        while let Some(row) = list.get(at) {
            if row.pos > self.question.end || self.out_of_bound(row) || flow.is_break() {
                break;
            }
            // Too few rows are left for the step's minimum, here and later.
            if list.len() - at < step.min {
                break;
            }
            at += 1;
            self.take_until(number, row.pos, &mut before);
            if number == 0 && row.marked {
                continue;
            }
            if !self.prefix_reached(number) || !self.fits(number, row, true) {
                continue;
            }
            if row.pos >= lower && self.gap_is_quiet(number, row) {
                flow = self.begin(number, row);
                self.skip_first &= number > 0;
            }
            if step.first_only || self.skip_first {
                break;
            }
        }
        if let Some(taken) = number.checked_sub(1).and_then(|before| self.taken.get_mut(before)) {
            taken.truncate(kept);
        }
        flow
    }

    fn begin_taking(&self, number: usize) -> Taking {
        let begin =
            number.checked_sub(1).and_then(|before| self.taken.get(before)).and_then(|taken| taken.first());
        let Some(begin) = begin else { return Taking { next: 0, ended: true } };
        let single = self.question.program.steps.get(number - 1).is_none_or(|step| step.max == 1);
        let next = if single { 0 } else { self.list(number - 1).partition_point(|row| row.pos <= begin.pos) };
        Taking { next, ended: single }
    }

    /// The first event of the choice is too long before this row.
    fn out_of_bound(&self, row: &Row) -> bool {
        let first = self.taken.first().and_then(|taken| taken.first());
        first.is_some_and(|first| row.ts - first.ts > self.question.program.within)
    }

    /// Lets the repeat before step `number` take what lies before `pos`.
    fn take_until(&mut self, number: usize, pos: Position, taking: &mut Taking) {
        if taking.ended || number == 0 {
            return;
        }
        let list = self.list(number - 1);
        while let Some(row) = list.get(taking.next).filter(|row| row.pos < pos) {
            taking.next += 1;
            if !self.take(number - 1, row) {
                taking.ended = true;
                return;
            }
        }
    }

    /// Offers a later row to a repeat; false if the repeat has ended.
    fn take(&mut self, number: usize, row: &'a Row) -> bool {
        let Some(step) = self.question.program.steps.get(number) else { return false };
        let count = self.taken.get(number).map_or(0, Vec::len);
        if count >= step.max {
            return false;
        }
        if step.consecutive {
            let unbroken =
                self.taken.get(number).and_then(|t| t.last()).is_some_and(|l| l.pos == row.own_before);
            if !unbroken || !self.fits(number, row, false) {
                return false;
            }
        } else if !self.fits(number, row, false) {
            return true;
        }
        if let Some(taken) = self.taken.get_mut(number) {
            taken.push(row);
        }
        true
    }

    /// The step before `number` has reached its minimum.
    fn prefix_reached(&self, number: usize) -> bool {
        let Some(before) = number.checked_sub(1) else { return true };
        let min = self.question.program.steps.get(before).map_or(1, |step| step.min);
        self.taken.get(before).is_some_and(|taken| taken.len() >= min)
    }

    /// The row fits the step: bounds of the arrow, and terms that read what has been taken.
    fn fits(&mut self, number: usize, row: &'a Row, begins: bool) -> bool {
        self.found.work += 1;
        let Some(step) = self.question.program.steps.get(number) else { return false };
        let last =
            number.checked_sub(1).and_then(|before| self.taken.get(before)).and_then(|taken| taken.last());
        if let Some(last) = last {
            if step.within.is_some_and(|within| row.ts - last.ts > within) {
                return false;
            }
            if begins && step.immediately && row.union_before != last.pos {
                return false;
            }
        }
        step.cross.is_empty() || all_true(&step.cross, &scope(&self.question, &self.taken, number, Some(row)))
    }

    /// No forbidden event between the step before and this row.
    fn gap_is_quiet(&self, number: usize, row: &'a Row) -> bool {
        let Some(step) = self.question.program.steps.get(number) else { return false };
        if step.gap.is_empty() {
            return true;
        }
        let last =
            number.checked_sub(1).and_then(|before| self.taken.get(before)).and_then(|taken| taken.last());
        let from = last.map_or(0, |last| last.pos);
        row.floor <= from
            && step.gap.iter().all(|absence| self.is_absent(*absence, from, row.pos, Micros::MAX))
    }

    /// No event that an absence with kept rows forbids lies strictly between two positions and up to a time.
    fn is_absent(&self, absence: usize, from: Position, to: Position, until: Micros) -> bool {
        let program = self.question.program.absences.get(absence);
        let state = self.question.state.absences.get(absence);
        let (Some(program), Some(state)) = (program, state) else { return true };
        if !program.keeps_rows {
            return true;
        }
        let at = state.rows.partition_point(|row| row.pos <= from);
        !state.rows.range(at..).take_while(|row| row.pos < to && row.ts <= until).any(|row| {
            let scope = scope(&self.question, &self.taken, 0, Some(row));
            let terms = program.cross.iter().find(|(stream, _)| *stream == row.event.stream);
            terms.is_none_or(|(_, terms)| all_true(terms, &scope))
        })
    }

    /// Step `number` begins at the row: goes on with the step after it, or to the end.
    fn begin(&mut self, number: usize, row: &'a Row) -> ControlFlow<()> {
        if self.found.work > self.question.work {
            self.found.cut = true;
            return ControlFlow::Break(());
        }
        let last = number + 1 == self.question.program.steps.len();
        if let Some(taken) = self.taken.get_mut(number) {
            taken.push(row);
        }
        let flow = if !last {
            self.extend(number + 1)
        } else if self.take_to_end(number, row.pos) {
            self.complete()
        } else {
            ControlFlow::Continue(())
        };
        if let Some(taken) = self.taken.get_mut(number) {
            taken.clear();
        }
        flow
    }

    /// Lets the last step take up to the end; true if it takes the end itself and has reached its minimum.
    fn take_to_end(&mut self, number: usize, begin: Position) -> bool {
        let end = self.question.end;
        let list = self.list(number);
        let mut at = list.partition_point(|row| row.pos <= begin);
        while let Some(row) = list.get(at).filter(|row| row.pos <= end && !self.out_of_bound(row)) {
            at += 1;
            if !self.take(number, row) {
                break;
            }
        }
        let min = self.question.program.steps.get(number).map_or(1, |step| step.min);
        self.taken
            .get(number)
            .is_some_and(|taken| taken.len() >= min && taken.last().is_some_and(|row| row.pos == end))
    }

    /// All steps are chosen: the tests of the whole match.
    fn complete(&mut self) -> ControlFlow<()> {
        let program = self.question.program;
        self.found.work += 1;
        if program.trailing > 0 && !self.is_silent_after() {
            return ControlFlow::Continue(());
        }
        let windows = self.clause_windows();
        let scope = Scope { windows: &windows, ..scope(&self.question, &self.taken, 0, None) };
        if !all_true(&program.having, &scope) {
            return ControlFlow::Continue(());
        }
        if !program.unless.is_empty() && all_true(&program.unless, &scope) {
            self.found.silenced += 1;
            return ControlFlow::Continue(());
        }
        self.found.choices += 1;
        match (self.visit)(&self.taken, &scope) {
            Next::Choice => ControlFlow::Continue(()),
            Next::FirstEvent => {
                self.skip_first = true;
                ControlFlow::Continue(())
            }
            Next::Stop => ControlFlow::Break(()),
        }
    }

    /// Trailing absences whose forbidding events are kept.
    fn is_silent_after(&self) -> bool {
        let Some(end) = self.taken.last().and_then(|taken| taken.last()) else { return false };
        self.question.program.absences.iter().enumerate().all(|(number, absence)| {
            !absence.trailing
                || self.is_absent(number, end.pos, Position::MAX, end.ts.saturating_add(absence.duration))
        })
    }

    /// Windows as clauses after `match` read them: at the alert's moment, or before the step they name.
    fn clause_windows(&self) -> Vec<Value> {
        let mut windows = self.question.windows.to_vec();
        for (number, window) in self.question.program.windows.iter().enumerate() {
            let row = window.before.and_then(|step| self.taken.get(step)).and_then(|taken| taken.first());
            if let (Some(kept), Some(value)) =
                (row.and_then(|r| r.windows.get(number)), windows.get_mut(number))
            {
                value.clone_from(kept);
            }
        }
        windows
    }
}

fn scope<'s>(
    question: &Question<'s>,
    taken: &'s [Vec<&'s Row>],
    own: usize,
    row: Option<&'s Row>,
) -> Scope<'s> {
    Scope {
        this: row.map(|row| row.event.view()),
        key: question.key,
        taken,
        own,
        windows: row.map_or(&[], |row| &row.windows),
        latches: question.latches,
        partitions: question.partitions,
        tables: question.tables,
        time: row.map_or(question.time, |row| row.ts),
    }
}

/// Every term is true: neither false nor unknown.
pub(crate) fn all_true(terms: &[Node], scope: &Scope<'_>) -> bool {
    terms.iter().all(|term| term.test(scope) == Some(true))
}
