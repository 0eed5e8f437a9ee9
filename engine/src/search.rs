//! The search for complete choices: where each step begins, everything else forced (language section 5).
//!
//! Run when the last event of a choice has come, or its timer rings. Walks the units of `match` in order, earliest
//! beginning first, so that the first success is the choice the language reports. Sets are walked in [`crate::set`], what
//! an event must meet to be taken is in [`crate::fit`].
//! INVARIANT: visits exactly the complete choices that end at `end`, in the order of the language.

use crate::expr::{Looked, Node, Scope};
use crate::plain::{ending, lower_bounds};
use crate::program::{Ending, Program, all_hold};
use crate::row::{Position, Row, Rows};
use crate::state::KeyState;
use crate::tables::Tables;
use crate::value::Value;
use crate::why::trace::{Failed, Trace};
use arcstr::ArcStr;
use pattern_dsl::ir::{Overlap, UnitKind};
use pattern_dsl::types::Micros;
use smallvec::{SmallVec, smallvec};
use std::cmp::Reverse;
use std::ops::ControlFlow;

/// What a search looks at; nothing of it changes meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) program: &'a Program,
    pub(crate) state: &'a KeyState,
    pub(crate) key: &'a [Value],
    pub(crate) partitions: &'a [ArcStr],
    pub(crate) tables: &'a Tables,
    /// What is asked for.
    pub(crate) ask: Ask,
    /// The alert's moment.
    pub(crate) time: Micros,
    /// The last event of the choice; it stands in a list of the last unit. Of [`Ask::Partial`] and [`Ask::Explain`]: the
    /// first event.
    pub(crate) end: Position,
    /// Values of windows without `before` at the alert's moment.
    pub(crate) windows: &'a [Value],
    /// Latches at the alert's moment.
    pub(crate) latches: u32,
    /// Tests allowed; `u64::MAX` = any number.
    pub(crate) work: u64,
}

/// What a search is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Choices complete at the moment.
    Complete,
    /// When the choices that end at `end` will be complete, if nothing forbids them.
    Dues,
    /// The one that reached most units from the first event `end`, for a time-out.
    Partial,
    /// For `why`: every choice that begins at `end`, and the test that stopped the furthest of those that did not complete.
    Explain,
}

/// What the visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next choice, whichever it is.
    Choice,
    /// The next choice with a later first event; only where the first unit is one step.
    FirstEvent,
    /// Nothing more.
    Stop,
}

/// How a search ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Choices given to the visitor.
    pub(crate) choices: u64,
    /// Choices that only `unless` kept from it.
    pub(crate) silenced: u64,
    /// Choices that have no end, since a bound is unknown.
    pub(crate) endless: u64,
    /// Of [`Ask::Dues`].
    pub(crate) dues: Vec<Micros>,
    /// Tests made.
    pub(crate) work: u64,
    /// The work allowed was used up.
    pub(crate) cut: bool,
}

/// Most units first, then the earliest beginnings.
type Rank = (Reverse<usize>, Vec<Position>);

/// What each step has taken.
pub(crate) type Taken<'a> = SmallVec<[Rows<'a>; 4]>;

/// Gives every complete choice to `visit`: what each step took.
pub(crate) fn search<'a>(question: Question<'a>, visit: &mut dyn FnMut(&[Rows<'a>]) -> Next) -> Found {
    let mut search = Search::new(question, visit);
    let _ = search.extend(0, Position::MAX);
    if let Some((_, taken)) = search.best.take() {
        search.taken = taken;
        let _ = search.give();
    }
    search.give_collected();
    search.found
}

pub(crate) struct Search<'a, 'v> {
    pub(crate) question: Question<'a>,
    /// By step: no choice that ends at `end` begins it before this position. Empty = not known.
    pub(crate) lower: SmallVec<[Position; 4]>,
    pub(crate) taken: Taken<'a>,
    /// The units that have begun, in order.
    pub(crate) begun: SmallVec<[usize; 4]>,
    /// The choice's first event.
    pub(crate) first: Option<&'a Row>,
    /// Of [`Ask::Partial`]: the furthest so far, by units begun, then by beginnings; and what it took.
    best: Option<(Rank, Taken<'a>)>,
    pub(crate) found: Found,
    /// Where the walk does not meet choices in their order: first event, beginnings, what each took.
    collected: Vec<(Position, Vec<Position>, Taken<'a>)>,
    /// The visitor wants another first event.
    pub(crate) skip_first: bool,
    /// The row at `end` of the last step's list.
    pub(crate) ending: Option<&'a Row>,
    /// Of [`Ask::Explain`]: what is written down.
    pub(crate) trace: Option<Box<Trace<'a>>>,
    visit: &'v mut dyn FnMut(&[Rows<'a>]) -> Next,
}

impl<'a, 'v> Search<'a, 'v> {
    pub(crate) fn new(question: Question<'a>, visit: &'v mut dyn FnMut(&[Rows<'a>]) -> Next) -> Self {
        let pruned = question.program.chain && matches!(question.ask, Ask::Complete | Ask::Dues);
        Self {
            question,
            lower: if pruned {
                lower_bounds(question.program, question.state, question.end)
            } else {
                SmallVec::new()
            },
            taken: smallvec![Rows::None; question.program.steps.len()],
            begun: SmallVec::new(),
            first: None,
            best: None,
            found: Found::default(),
            collected: Vec::new(),
            skip_first: false,
            ending: if pruned { ending(&question) } else { None },
            trace: None,
            visit,
        }
    }

    pub(crate) fn list(&self, step: usize) -> &'a [Row] {
        self.question.state.lists.of(step)
    }

    /// Nothing after this position belongs to the choice.
    pub(crate) fn last_position(&self) -> Position {
        if self.begins_at_end() { Position::MAX } else { self.question.end }
    }

    /// `end` is the choice's first event.
    pub(crate) fn begins_at_end(&self) -> bool {
        matches!(self.question.ask, Ask::Partial | Ask::Explain)
    }

    pub(crate) fn is_last(&self, unit: usize) -> bool {
        unit + 1 == self.question.program.units.len()
    }

    /// The first event of the choice is too long before this row.
    pub(crate) fn out_of_bound(&self, row: &Row) -> bool {
        self.first.is_some_and(|first| row.ts - first.ts > self.question.program.within)
    }

    /// Chooses where unit `number` begins, the units before it being chosen. `limit`: an optional step has been left out,
    /// and an event at this position fits it: the next beginning must not be after it.
    pub(crate) fn extend(&mut self, number: usize, limit: Position) -> ControlFlow<()> {
        let Some(unit) = self.question.program.units.get(number) else { return ControlFlow::Continue(()) };
        match unit.kind {
            UnitKind::Step => self.extend_step(number, unit.steps.start, limit),
            UnitKind::One => self.extend_one(number, limit),
            UnitKind::All | UnitKind::AtLeast(_) => self.extend_set(number, limit),
        }
    }

    fn extend_step(&mut self, number: usize, at_step: usize, limit: Position) -> ControlFlow<()> {
        let program = self.question.program;
        let (Some(step), Some(unit)) = (program.steps.get(at_step), program.units.get(number)) else {
            return ControlFlow::Continue(());
        };
        if step.plain && !self.lower.is_empty() {
            return self.extend_plain(number, at_step, step.first_only);
        }
        let before = self.begun.last().copied();
        let list = self.list(at_step);
        let lower = self.lower.get(at_step).copied().unwrap_or(0);
        // Of a step that takes the first, or that is left out if nothing fits, all that fit must be seen.
        let all = step.first_only || unit.skippable;
        let start =
            if all && before.is_some() { self.earliest(before) } else { lower.max(self.earliest(before)) };
        let mut at = list.partition_point(|row| row.pos < start);
        let mut taking = self.begin_taking(before);
        let end = self.last_position();
        if self.question.ask == Ask::Complete && self.is_last(number) && step.max == 1 && !step.first_only {
            at = at.max(list.partition_point(|row| row.pos < self.question.end));
        }
        let only = number == 0 && self.begins_at_end();
        let mut first_fit = Position::MAX;
        let mut flow = ControlFlow::Continue(());
        while let Some(row) = list.get(at) {
            if row.pos > end || row.pos > limit || flow.is_break() || self.out_of_bound(row) {
                break;
            }
            if only && row.pos > start {
                break;
            }
            // Too few rows are left for the step's minimum, here and later.
            if list.len() - at < step.min && self.trace.is_none() {
                break;
            }
            at += 1;
            self.take_until(before, row.pos, &mut taking);
            if number == 0 && row.is_marked() {
                self.reject(at_step, before, row, Failed::Barred);
                continue;
            }
            if !self.could_fit(at_step, before, row) {
                continue;
            }
            first_fit = first_fit.min(row.pos);
            if row.pos >= lower && self.gap_is_quiet(number, before, row) && self.leaves_none(before, row.pos)
            {
                flow = self.begin(number, at_step, row);
                self.skip_first &= number > 0;
            }
            if step.first_only || self.skip_first {
                break;
            }
        }
        self.exhausted(number, before, limit, &mut taking);
        self.give_back(before);
        if unit.skippable && !flow.is_break() && !self.skip_first {
            flow = self.extend(number + 1, limit.min(first_fit));
        }
        flow
    }

    /// The step may begin at the row as far as the unit before and its own tests say.
    pub(crate) fn could_fit(&mut self, step: usize, before: Option<usize>, row: &'a Row) -> bool {
        if !self.has_reached(before, row.pos) {
            return false;
        }
        match self.misfit(step, before, row, true) {
            None => !self.is_over(step, before, row),
            Some(misfit) => {
                self.reject_misfit(step, before, row, misfit);
                false
            }
        }
    }

    /// Step `step` of unit `number` begins at the row: goes on with the unit after it, or to the end.
    pub(crate) fn begin(&mut self, number: usize, step: usize, row: &'a Row) -> ControlFlow<()> {
        if self.is_overworked() {
            return ControlFlow::Break(());
        }
        let before = self.begun.last().copied();
        if let Some(taken) = self.taken.get_mut(step) {
            taken.push(row);
        }
        if number == 0 {
            self.first = Some(row);
        }
        self.begun.push(number);
        self.consider(number);
        let flow = if !self.is_last(number) {
            self.extend(number + 1, Position::MAX)
        } else if self.question.ask == Ask::Explain {
            self.complete_anywhere(number)
        } else if self.question.ask != Ask::Partial && self.take_to_end(step, before, row.pos) {
            self.complete()
        } else {
            ControlFlow::Continue(())
        };
        self.begun.pop();
        if number == 0 {
            self.first = None;
        }
        if let Some(taken) = self.taken.get_mut(step) {
            taken.clear();
        }
        flow
    }

    pub(crate) fn is_overworked(&mut self) -> bool {
        self.found.cut |= self.found.work > self.question.work;
        self.found.cut
    }

    /// Lets the last step take up to the end; true if it takes the end itself and has reached its minimum.
    pub(crate) fn take_to_end(&mut self, step: usize, before: Option<usize>, begin: Position) -> bool {
        let end = self.question.end;
        let list = self.list(step);
        let mut at = list.partition_point(|row| row.pos <= begin);
        while let Some(row) = list.get(at).filter(|row| row.pos <= end && !self.out_of_bound(row)) {
            at += 1;
            if !self.take(step, before, row) {
                break;
            }
        }
        let min = self.question.program.steps.get(step).map_or(1, |step| step.min);
        self.taken
            .get(step)
            .is_some_and(|taken| taken.len() >= min && taken.last().is_some_and(|row| row.pos == end))
    }

    /// Of a time-out: what has begun so far may be the furthest that any choice got.
    pub(crate) fn consider(&mut self, number: usize) {
        if self.question.ask != Ask::Partial {
            return;
        }
        // The first that got as far is the earliest, but where an event may fit two members of a `one of`.
        let rank = (
            Reverse(self.begun.len()),
            if self.question.program.unordered { self.beginnings() } else { Vec::new() },
        );
        if self.best.as_ref().is_some_and(|(best, _)| *best <= rank) {
            return;
        }
        let mut taking = self.begin_taking(Some(number));
        self.take_until(Some(number), Position::MAX, &mut taking);
        let reached =
            self.has_reached(Some(number), Position::MAX) && self.leaves_none(Some(number), Position::MAX);
        if reached && !self.is_cancelled(Position::MAX) {
            self.best = Some((rank, self.taken.clone()));
        }
        self.give_back(Some(number));
    }

    /// All steps are chosen: the tests of the whole match.
    pub(crate) fn complete(&mut self) -> ControlFlow<()> {
        let program = self.question.program;
        self.found.work += 1;
        if program.ending != Ending::Event {
            let Some(due) = self.due() else {
                self.found.endless += 1;
                self.reject_choice(Failed::NoDeadline);
                return ControlFlow::Continue(());
            };
            if self.question.ask == Ask::Explain {
                return self.complete_at(due, Position::MAX);
            }
            if self.question.ask == Ask::Dues {
                if !self.found.dues.contains(&due) {
                    self.found.dues.push(due);
                }
                return ControlFlow::Continue(());
            }
            if due != self.question.time || !self.is_silent_after() {
                return ControlFlow::Continue(());
            }
        }
        let until = if program.ending == Ending::Event { self.question.end } else { Position::MAX };
        if self.question.ask == Ask::Explain {
            return self.complete_at(self.last_time(), until);
        }
        if !program.cancels.is_empty() && self.is_cancelled(until) {
            return ControlFlow::Continue(());
        }
        self.give()
    }

    /// Where each step begins; of a `one of`, at which event.
    pub(crate) fn beginnings(&self) -> Vec<Position> {
        let program = self.question.program;
        let begin = |step: usize| {
            self.taken.get(step).and_then(|taken| taken.first()).map_or(Position::MAX, |row| row.pos)
        };
        let places = program.units.iter().flat_map(|unit| match unit.kind {
            UnitKind::One => unit.steps.clone().map(begin).min().into_iter().collect::<Vec<_>>(),
            _ => unit.steps.clone().map(begin).collect(),
        });
        places.collect()
    }

    /// The clauses on the whole match, then the visitor.
    fn give(&mut self) -> ControlFlow<()> {
        let program = self.question.program;
        if !program.having.is_empty()
            && self.question.ask == Ask::Complete
            && !all_hold(&program.having, &whole_scope(&self.question, &self.taken))
        {
            return ControlFlow::Continue(());
        }
        if program.unordered {
            // `per start`: one alert for each first event, in their order.
            let by_first = program.overlap == Overlap::PerStart;
            let first = self.first.filter(|_| by_first).map_or(0, |first| first.pos);
            self.collected.push((first, self.beginnings(), self.taken.clone()));
            return ControlFlow::Continue(());
        }
        self.visit()
    }

    /// Of choices collected, since they came in another order than that of the language: the first of each.
    fn give_collected(&mut self) {
        let mut collected = std::mem::take(&mut self.collected);
        collected.sort_by(|(a, x, _), (b, y, _)| (a, x).cmp(&(b, y)));
        collected.dedup_by(|(_, a, _), (_, b, _)| a == b);
        for (_, _, taken) in collected {
            self.taken = taken;
            if self.visit().is_break() {
                return;
            }
        }
    }

    /// `unless`, then the visitor.
    fn visit(&mut self) -> ControlFlow<()> {
        let unless = &self.question.program.unless;
        if !unless.is_empty() && all_hold(unless, &whole_scope(&self.question, &self.taken)) {
            self.found.silenced += 1;
            return ControlFlow::Continue(());
        }
        self.found.choices += 1;
        match (self.visit)(&self.taken) {
            Next::Choice => ControlFlow::Continue(()),
            Next::FirstEvent => {
                self.skip_first = true;
                ControlFlow::Continue(())
            }
            Next::Stop => ControlFlow::Break(()),
        }
    }
}

/// What the clauses on the whole match read.
pub(crate) fn whole_scope<'s>(question: &Question<'s>, taken: &'s [Rows<'s>]) -> Scope<'s> {
    Scope { windows: question.windows, ..scope(question, taken, 0, None) }
}

/// What the tests of a step's row read; without a row, those of the whole match.
pub(crate) fn scope<'s>(
    question: &Question<'s>,
    taken: &'s [Rows<'s>],
    own: usize,
    row: Option<&'s Row>,
) -> Scope<'s> {
    let program = question.program;
    let sources = program.steps.get(own).map_or(&[][..], |step| &step.sources);
    Scope {
        this: row.map(|row| Looked::Row(row, sources)),
        program: Some(program),
        key: question.key,
        taken,
        own,
        windows: row.map_or(&[], |row| row.windows()),
        latches: question.latches,
        partitions: question.partitions,
        tables: question.tables,
        time: row.map_or(question.time, |row| row.ts),
    }
}

/// What the tests of an event read that an absence has kept.
pub(crate) fn absence_scope<'s>(question: &Question<'s>, taken: &'s [Rows<'s>], row: &'s Row) -> Scope<'s> {
    Scope { this: Some(Looked::Row(row, &[])), ..scope(question, taken, 0, Some(row)) }
}

/// Every term is true: neither false nor unknown.
pub(crate) fn all_true(terms: &[Node], scope: &Scope<'_>) -> bool {
    terms.iter().all(|term| term.test(scope) == Some(true))
}
