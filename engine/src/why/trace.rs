//! What `why` has the search write down: every choice it completes, and the test that stopped the furthest of the others.
//!
//! The search is that of the matcher, over lists from which nothing has been dropped ([`crate::why::replay`]). Where it
//! turns an event down it calls in here; without a trace that is one look at an empty option on the way out.
//!
//! Rejections are ranked: most units complete, most events of the unit at hand, then the fewest and latest tests that
//! failed, then how near a number was. Of equals the first counts, the others are counted.

use crate::fit::{Breaker, Misfit, Taking};
use crate::program::{Ending, all_hold};
use crate::row::{Position, Row, Rows};
use crate::search::{Ask, Next, Question, Search, Taken, all_true, scope};
use crate::value::Value;
use crate::why::failure::{self, Failure};
use pattern_dsl::ir::UnitKind;
use pattern_dsl::types::Micros;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Complete choices kept of one first event.
const COMPLETE: usize = 64;
/// Rows beyond a bound that are looked at.
const BEYOND: usize = 64;

/// Why an event, or a choice, was turned down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failed<'a> {
    /// No event came that could be tested.
    Nothing,
    /// A repeat has fewer events than its minimum, and no further came.
    Few,
    /// It fits but for `match within`.
    Beyond,
    /// It fits but for a bound of the arrow, a silence that has not ended, or what lies between.
    Arrow(Misfit),
    /// A term of its `where`, by number.
    Term(usize),
    /// A repeat's burst was over.
    Burst,
    /// An event would have to be taken by a member that was left out.
    LeftOut(usize),
    /// A member of a set has events, but none beside those of the other members.
    Apart,
    /// It may begin no choice.
    Barred,
    /// A silence before it was broken.
    Broken(Breaker<'a>),
    /// The same, though the event that would have ended the silence never came.
    Dead(Breaker<'a>),
    /// A bound that is read is null.
    NoDeadline,
    /// The timer has not rung.
    Open(Micros),
}

impl Failed<'_> {
    fn stage(&self) -> u8 {
        match self {
            Self::Nothing | Self::Few | Self::Apart => 0,
            Self::Dead(_) => 1,
            Self::Beyond | Self::Arrow(Misfit::Within) => 2,
            Self::Arrow(_) => 3,
            Self::Term(_) => 4,
            Self::Burst | Self::LeftOut(_) | Self::Barred => 5,
            Self::Broken(_) | Self::NoDeadline => 6,
            Self::Open(_) => 7,
        }
    }
}

/// How far a rejected choice got.
type Rank = (usize, usize, u8, usize);

/// The furthest rejection.
pub(crate) struct Rejected<'a> {
    rank: Rank,
    nearness: f64,
    /// The events turned down by the same test.
    rows: BTreeSet<Position>,
    pub(crate) taken: Taken<'a>,
    pub(crate) failure: Failure,
    /// Steps that were complete.
    pub(crate) units: usize,
    /// The first event itself does not fit.
    pub(crate) at_once: bool,
}

impl Rejected<'_> {
    /// Further events that the same test turned down.
    pub(crate) fn others(&self) -> u64 {
        self.rows.len().saturating_sub(1) as u64
    }

    /// This one got further, or as far with a nearer value.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        self.rank.cmp(&other.rank).then(self.nearness.total_cmp(&other.nearness)) == Ordering::Greater
    }
}

/// A choice that satisfies all of `match`.
pub(crate) struct Complete<'a> {
    pub(crate) taken: Taken<'a>,
    pub(crate) beginnings: Vec<Position>,
    /// When it is complete.
    pub(crate) moment: Micros,
    /// Its last event.
    pub(crate) end: &'a Row,
}

/// What a search from one first event found.
pub(crate) struct Trace<'a> {
    /// Where time stands.
    now: Micros,
    pub(crate) best: Option<Rejected<'a>>,
    pub(crate) complete: Vec<Complete<'a>>,
    /// Not all was looked at.
    pub(crate) cut: bool,
}

/// Searches from one first event. `question.time` is its time, `question.end` its place.
pub(crate) fn trace<'a>(question: Question<'a>, now: Micros) -> Trace<'a> {
    let mut never = |_: &[Rows<'a>]| Next::Stop;
    let mut search = Search::new(Question { ask: Ask::Explain, ..question }, &mut never);
    search.trace = Some(Box::new(Trace { now, best: None, complete: Vec::new(), cut: false }));
    let _ = search.extend(0, Position::MAX);
    let cut = search.found.cut;
    let trace = search.trace.take();
    trace.map_or(Trace { now, best: None, complete: Vec::new(), cut }, |trace| Trace { cut, ..*trace })
}

impl<'a> Search<'a, '_> {
    /// The row is turned down as an event of the step.
    #[inline]
    pub(crate) fn reject(&mut self, step: usize, before: Option<usize>, row: &'a Row, failed: Failed<'a>) {
        if self.trace.is_some() {
            self.write_down(step, before, Some(row), failed);
        }
    }

    /// The row does not fit the step.
    #[inline]
    pub(crate) fn reject_misfit(&mut self, step: usize, before: Option<usize>, row: &'a Row, misfit: Misfit) {
        if self.trace.is_some() {
            self.write_misfit(step, before, row, misfit);
        }
    }

    /// The choice as it stands is turned down.
    #[inline]
    pub(crate) fn reject_choice(&mut self, failed: Failed<'a>) {
        if self.trace.is_some() {
            let unit = self.begun.last().copied().unwrap_or(0);
            let step = self.members(unit).start;
            self.write_down(step, self.unit_before(unit), None, failed);
        }
    }

    #[cold]
    fn write_misfit(&mut self, step: usize, before: Option<usize>, row: &'a Row, misfit: Misfit) {
        let unit = self.question.program.steps.get(step).map_or(0, |step| step.unit);
        // What is over already would not have been saved by another value.
        if let Some(breaker) = self.dead(unit, before, row.pos) {
            return self.write_down(step, before, None, Failed::Dead(breaker));
        }
        match misfit {
            Misfit::Term(term) => self.write_down(step, before, Some(row), Failed::Term(term)),
            _ if self.holds(step, row) => self.write_down(step, before, Some(row), Failed::Arrow(misfit)),
            _ => {}
        }
    }

    /// The row passes the step's own `where`.
    fn holds(&self, step: usize, row: &'a Row) -> bool {
        let cross = self.question.program.steps.get(step).map_or(&[][..], |step| &step.cross);
        all_true(cross, &scope(&self.question, &self.taken, step, Some(row)))
    }

    /// What ended the choice before `to`, if unit `unit` had begun there.
    fn dead(&mut self, unit: usize, before: Option<usize>, to: Position) -> Option<Breaker<'a>> {
        let before = before.filter(|before| *before < unit)?;
        self.gap_breaker(unit, before, to).or_else(|| self.canceller(to, Micros::MAX))
    }

    /// Of `why`: `cancel on` has ended the choice before the row, which fits; the matcher sees that at the end.
    #[inline]
    pub(crate) fn is_over(&mut self, step: usize, before: Option<usize>, row: &'a Row) -> bool {
        let breaker = self.trace.as_ref().and_then(|_| self.canceller(row.pos, Micros::MAX));
        if let Some(breaker) = breaker {
            self.write_down(step, before, Some(row), Failed::Broken(breaker));
        }
        breaker.is_some()
    }

    /// Nothing more can begin unit `number`: what was missing?
    pub(crate) fn exhausted(
        &mut self,
        number: usize,
        before: Option<usize>,
        limit: Position,
        taking: &mut Taking,
    ) {
        // Where an optional step may not be left out, the choice with it tells more.
        if self.trace.is_none() || limit < Position::MAX {
            return;
        }
        self.take_until(before, Position::MAX, taking);
        if let Some(step) = self.lacking(before) {
            let earlier = before.and_then(|before| self.unit_before(before));
            return self.write_down(step, earlier, None, Failed::Few);
        }
        let own = self.members(number);
        let bound =
            self.first.map_or(Micros::MAX, |first| first.ts.saturating_add(self.question.program.within));
        if let Some(begun) = before
            && let Some(breaker) = self
                .gap_breaker(number, begun, Position::MAX)
                .or_else(|| self.canceller(Position::MAX, bound))
            && breaker.row.is_none_or(|row| row.ts <= bound)
        {
            return self.write_down(own.start, before, None, Failed::Dead(breaker));
        }
        for step in own.clone() {
            let list = self.list(step);
            let start = list.partition_point(|row| row.ts <= bound);
            let beyond = list
                .iter()
                .skip(start)
                .take(BEYOND)
                .find(|row| self.first.is_some() && self.holds(step, row));
            if let Some(row) = beyond {
                return self.write_down(step, before, Some(row), Failed::Beyond);
            }
        }
        self.write_down(own.start, before, None, Failed::Nothing);
    }

    /// A step of the unit that has fewer events than its minimum.
    fn lacking(&self, unit: Option<usize>) -> Option<usize> {
        self.members(unit?).find(|step| {
            let (taken, min) =
                (self.taken_of(*step).len(), self.question.program.steps.get(*step).map_or(1, |s| s.min));
            taken > 0 && taken < min
        })
    }

    /// The search of a set is over: which members are missing?
    pub(crate) fn members_left(&mut self, number: usize, before: Option<usize>) {
        let program = self.question.program;
        let (true, Some(unit)) = (self.trace.is_some(), program.units.get(number)) else { return };
        if self.trace.as_ref().is_some_and(|trace| {
            !trace.complete.is_empty()
                || trace.best.as_ref().is_some_and(|best| best.units > self.begun.len())
        }) {
            return;
        }
        let mut missing = Vec::new();
        for step in unit.steps.clone() {
            let start = self.earliest(before);
            let list = self.list(step);
            let rows = list.iter().skip(list.partition_point(|row| row.pos < start));
            let mut found = None;
            for row in rows {
                let served =
                    unit.steps.clone().any(|mate| self.taken_of(mate).iter().any(|t| t.pos == row.pos));
                if self.out_of_bound(row) || (before.is_none() && self.is_beyond(row)) {
                    break;
                }
                if !served && self.could_begin(step, before, row, Position::MAX) {
                    found = Some(row);
                    break;
                }
            }
            match (found, self.taken.get_mut(step)) {
                (Some(row), Some(taken)) => taken.push(row),
                _ => missing.push(step),
            }
        }
        let present = unit.steps.len() - missing.len();
        missing.retain(|step| {
            !program.steps.get(*step).is_some_and(|step| step.optional && unit.kind == UnitKind::All)
        });
        let enough = match unit.kind {
            UnitKind::AtLeast(least) => present >= least as usize,
            _ => missing.is_empty(),
        };
        let begins = before.is_some()
            || unit
                .steps
                .clone()
                .any(|step| self.taken_of(step).iter().any(|row| row.pos == self.question.end));
        if present > 0 && begins {
            if enough {
                self.write_down(unit.steps.start, before, None, Failed::Apart);
            }
            for step in missing {
                self.member_missing(step, before);
            }
        } else if before.is_some() {
            self.write_down(unit.steps.start, before, None, Failed::Nothing);
        } else {
            for step in unit.steps.clone() {
                self.member_missing(step, before);
            }
        }
        for step in unit.steps.clone() {
            if let Some(taken) = self.taken.get_mut(step) {
                taken.clear();
            }
        }
    }

    fn member_missing(&mut self, step: usize, before: Option<usize>) {
        self.write_down(step, before, None, Failed::Nothing);
        let start = self.earliest(before);
        let list = self.list(step);
        for row in list.iter().skip(list.partition_point(|row| row.pos < start)).take(BEYOND) {
            if self.out_of_bound(row) || (before.is_none() && self.is_beyond(row)) {
                break;
            }
            if let Some(misfit) = self.misfit(step, before, row, true) {
                self.reject_misfit(step, before, row, misfit);
            }
        }
    }

    /// Of `why`: the row is too late for a choice that begins at the first event asked for.
    pub(crate) fn is_beyond(&self, row: &Row) -> bool {
        self.question.ask == Ask::Explain && row.ts - self.question.time > self.question.program.within
    }

    /// The last unit has begun: looks at each of its events as the choice's last.
    pub(crate) fn complete_anywhere(&mut self, number: usize) -> ControlFlow<()> {
        let asked = self.question.end;
        let (Some(begin), before) = (self.last_of(number), self.unit_before(number)) else {
            return ControlFlow::Continue(());
        };
        let mut ends = BTreeSet::from([begin.pos]);
        if !self.takes_one_each(number) {
            for step in self.members(number) {
                let list = self.list(step);
                let rows = list.iter().skip(list.partition_point(|row| row.pos < begin.pos));
                ends.extend(rows.take_while(|row| !self.out_of_bound(row)).map(|row| row.pos));
            }
        }
        let kind = self.question.program.units.get(number).map_or(UnitKind::Step, |unit| unit.kind);
        let single = matches!(kind, UnitKind::Step | UnitKind::One);
        let step = self.members(number).find(|step| !self.taken_of(*step).is_empty());
        let mut flow = ControlFlow::Continue(());
        for end in ends.into_iter().chain([Position::MAX - 1]) {
            self.question.end = end;
            let ended = match step {
                Some(step) if single => self.take_to_end(step, before, begin.pos),
                _ => self.set_ends(number),
            };
            if ended {
                flow = self.complete();
            } else if end == Position::MAX - 1
                && let Some(step) = self.lacking(Some(number))
            {
                self.write_down(step, before, None, Failed::Few);
            }
            self.give_back(Some(number));
            if flow.is_break() || self.is_overworked() {
                break;
            }
        }
        self.question.end = asked;
        flow
    }

    /// The choice is complete at a moment, unless something forbids it.
    pub(crate) fn complete_at(&mut self, moment: Micros, until: Position) -> ControlFlow<()> {
        let waits = self.question.program.ending != Ending::Event;
        let broken = if waits { self.breaker_after() } else { None };
        let cancelled = self.canceller(until, moment);
        let first = broken.into_iter().chain(cancelled).min_by_key(|breaker| breaker.row.map(|row| row.pos));
        if let Some(breaker) = first {
            self.reject_choice(Failed::Broken(breaker));
            return ControlFlow::Continue(());
        }
        let now = self.trace.as_ref().map_or(Micros::MAX, |trace| trace.now);
        if waits && moment > now {
            self.reject_choice(Failed::Open(moment));
            return ControlFlow::Continue(());
        }
        let Some(end) = self.begun.last().and_then(|unit| self.last_of(*unit)) else {
            return ControlFlow::Continue(());
        };
        let complete = Complete { taken: self.taken.clone(), beginnings: self.beginnings(), moment, end };
        let Some(trace) = &mut self.trace else { return ControlFlow::Continue(()) };
        trace.complete.push(complete);
        if trace.complete.len() >= COMPLETE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    #[cold]
    fn write_down(&mut self, step: usize, before: Option<usize>, row: Option<&'a Row>, failed: Failed<'a>) {
        let program = self.question.program;
        let unit = program.steps.get(step).map_or(0, |step| step.unit);
        let kind = program.units.get(unit).map_or(UnitKind::Step, |unit| unit.kind);
        let min = program.steps.get(step).map_or(1, |step| step.min);
        let whole =
            matches!(failed, Failed::Broken(_) | Failed::NoDeadline | Failed::Open(_)) && row.is_none();
        let units = self.begun.iter().filter(|begun| **begun < unit).count() + usize::from(whole);
        let inner = match kind {
            UnitKind::All | UnitKind::AtLeast(_) => {
                self.members(unit).filter(|step| !self.taken_of(*step).is_empty()).count()
            }
            _ => self.taken_of(step).len(),
        };
        // A repeat that has its minimum needs no more.
        if inner >= min && self.begun.contains(&unit) && row.is_some() {
            return;
        }
        // A row that passes but for its leading absence is an attempt; one that does not even fit is none.
        let failed = match (failed, row) {
            (Failed::Barred, Some(row)) => match self.misfit(step, before, row, true) {
                Some(Misfit::Term(term)) => Failed::Term(term),
                _ => failed,
            },
            _ => failed,
        };
        let term = if let Failed::Term(term) = failed { term } else { 0 };
        let rank = (units, inner, failed.stage(), term);
        let Some(trace) = &self.trace else { return };
        let held = trace.best.as_ref().map(|best| (best.rank, best.nearness));
        if held.is_some_and(|(best, _)| rank < best) {
            return;
        }
        let nearness = match (failed, row) {
            (Failed::Term(term), Some(row)) => failure::nearness(self, step, term, row),
            _ => f64::NEG_INFINITY,
        };
        let same = held.is_some_and(|(best, _)| rank == best);
        let nearer = !same || held.is_none_or(|(_, best)| nearness.total_cmp(&best) == Ordering::Greater);
        let told = nearer.then(|| (failure::failure(self, step, before, row, failed), self.taken.clone()));
        let Some(trace) = &mut self.trace else { return };
        let mut rows = match trace.best.as_mut() {
            Some(best) if same => std::mem::take(&mut best.rows),
            _ => BTreeSet::new(),
        };
        rows.extend(row.map(|row| row.pos));
        match (told, trace.best.as_mut()) {
            (Some((failure, taken)), _) => {
                let at_once = units == 0 && inner == 0 && self.first.is_none();
                trace.best = Some(Rejected { rank, nearness, rows, taken, failure, units, at_once });
            }
            (None, Some(best)) => best.rows = rows,
            (None, None) => {}
        }
    }

    /// When the choice's last event was.
    pub(crate) fn last_time(&self) -> Micros {
        self.begun.last().and_then(|unit| self.last_of(*unit)).map_or(self.question.time, |row| row.ts)
    }
}

/// The clause after `match` that turns a complete choice down: the first term of `having` that does not hold, or `unless`.
pub(crate) fn clause(
    program: &crate::program::Program,
    scope: &crate::expr::Scope<'_>,
) -> Option<(&'static str, Failure)> {
    let failed = program.having.iter().find(|term| term.test.test(scope) != Some(true));
    if let Some(term) = failed {
        return Some(("having", failure::of_term("having", term, scope)));
    }
    Some(("unless", silencing(program, scope)?))
}

/// `unless`, if it is true.
pub(crate) fn silencing(
    program: &crate::program::Program,
    scope: &crate::expr::Scope<'_>,
) -> Option<Failure> {
    if program.unless.is_empty() || !all_hold(&program.unless, scope) {
        return None;
    }
    let text: Vec<&str> = program.unless.iter().map(|term| term.text.as_str()).collect();
    let mut failure =
        program.unless.first().map_or_else(Failure::default, |term| failure::of_term("unless", term, scope));
    failure.test = format!("unless {}", text.join(" and "));
    failure.enough = None;
    if program.unless.len() > 1 {
        (failure.found, failure.limit) = (Value::Bool(true).into(), Value::Null.into());
    }
    Some(failure)
}
