//! What the search asks of an event: does it fit here, who takes it, is it quiet where it must be.

use crate::program::BoundProgram;
use crate::row::{Position, Row, Rows};
use crate::search::{Search, absence_scope, all_true, scope};
use crate::why::trace::Failed;
use pattern_dsl::ir::UnitKind;
use pattern_dsl::types::Micros;

/// Progress of a unit that takes what comes.
pub(crate) enum Taking {
    /// It takes no more.
    Nothing,
    /// A repeat: its step, and the next row of its list to look at.
    Repeat(usize, usize),
    /// A set.
    Set(Vec<Member>),
}

/// Progress of a member of a set that has begun.
pub(crate) struct Member {
    step: usize,
    /// Next row of its list.
    next: usize,
    /// Where it began.
    begin: Position,
    ended: bool,
    /// The last event that it took, or that fitted it and went to another member.
    fitted: Position,
}

/// The first test that an event did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// `then within`: too late.
    Within,
    /// `then after`: too early.
    After,
    /// `then immediately`: something lies between.
    Between,
    /// `no X for D` or `until quiet for D` before it has not ended.
    Waits,
    /// A term of its `where` that reads steps, by number.
    Term(usize),
}

/// What breaks a silence, and by which event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Breaker<'a> {
    /// None = an absence whose events are not kept.
    pub(crate) broken: Option<Broken>,
    pub(crate) row: Option<&'a Row>,
}

/// A silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// `no X`, `cancel on X`: by its number.
    Absence(usize),
    /// `until quiet for` of a step.
    Quiet(usize),
}

impl<'a> Search<'a, '_> {
    pub(crate) fn members(&self, unit: usize) -> std::ops::Range<usize> {
        self.question.program.units.get(unit).map_or(0..0, |unit| unit.steps.clone())
    }

    pub(crate) fn taken_of(&self, step: usize) -> &[&'a Row] {
        self.taken.get(step).map_or(&[], |rows| rows)
    }

    /// The first event that a unit has taken.
    pub(crate) fn first_of(&self, unit: usize) -> Option<&'a Row> {
        let firsts = self.members(unit).filter_map(|step| self.taken_of(step).first().copied());
        firsts.min_by_key(|row| row.pos)
    }

    /// The last event that a unit has taken.
    pub(crate) fn last_of(&self, unit: usize) -> Option<&'a Row> {
        let lasts = self.members(unit).filter_map(|step| self.taken_of(step).last().copied());
        lasts.max_by_key(|row| row.pos)
    }

    /// The unit that had begun before `unit` did.
    pub(crate) fn unit_before(&self, unit: usize) -> Option<usize> {
        self.begun.iter().rev().copied().find(|begun| *begun < unit)
    }

    /// Every member takes one event at most: what it took does not depend on what follows.
    pub(crate) fn takes_one_each(&self, unit: usize) -> bool {
        self.members(unit).all(|step| self.question.program.steps.get(step).is_none_or(|step| step.max == 1))
    }

    /// Nothing beyond the beginnings has been taken by `unit` yet.
    pub(crate) fn begin_taking(&self, unit: Option<usize>) -> Taking {
        let Some(unit) = unit.filter(|unit| !self.takes_one_each(*unit)) else { return Taking::Nothing };
        let begun = self.members(unit).filter_map(|step| {
            let begin = self.taken_of(step).first()?.pos;
            Some((step, begin, self.list(step).partition_point(|row| row.pos <= begin)))
        });
        let kind = self.question.program.units.get(unit).map_or(UnitKind::Step, |unit| unit.kind);
        if matches!(kind, UnitKind::Step | UnitKind::One) {
            let single = begun
                .filter(|(step, ..)| self.question.program.steps.get(*step).is_some_and(|step| step.max > 1))
                .map(|(step, _, next)| Taking::Repeat(step, next));
            return { single }.next().unwrap_or(Taking::Nothing);
        }
        let member = |(step, begin, next)| Member { step, next, begin, ended: false, fitted: begin };
        Taking::Set(begun.map(member).collect())
    }

    /// Lets `unit` take what lies before `pos`.
    pub(crate) fn take_until(&mut self, unit: Option<usize>, pos: Position, taking: &mut Taking) {
        let Some(unit) = unit else { return };
        match taking {
            Taking::Nothing => {}
            Taking::Repeat(step, next) => {
                let (step, before) = (*step, self.unit_before(unit));
                let list = self.list(step);
                while let Some(row) = list.get(*next).filter(|row| row.pos < pos && !self.out_of_bound(row)) {
                    *next += 1;
                    if !self.take(step, before, row) {
                        *taking = Taking::Nothing;
                        return;
                    }
                }
            }
            Taking::Set(members) => {
                let before = self.unit_before(unit);
                while let Some(event) = self.next_event(members, pos) {
                    self.hand_out(members, before, event);
                }
            }
        }
    }

    /// Takes back all that `unit` took beyond its beginnings.
    pub(crate) fn give_back(&mut self, unit: Option<usize>) {
        let Some(unit) = unit else { return };
        for step in self.members(unit) {
            if let Some(taken) = self.taken.get_mut(step) {
                taken.keep_first();
            }
        }
    }

    /// The next position before `pos` at which a member of a set has a row.
    fn next_event(&self, members: &[Member], pos: Position) -> Option<Position> {
        let next = members.iter().filter_map(|member| self.list(member.step).get(member.next));
        next.filter(|row| row.pos < pos && !self.out_of_bound(row)).map(|row| row.pos).min()
    }

    /// An event that several members could take goes to the first that lacks its minimum, else to the first.
    fn hand_out(&mut self, members: &mut [Member], before: Option<usize>, event: Position) {
        let begins = members.iter().any(|member| member.begin == event);
        let mut fitting: Vec<(usize, &'a Row)> = Vec::new();
        for (number, member) in members.iter_mut().enumerate() {
            let Some(row) = self.list(member.step).get(member.next).filter(|row| row.pos == event) else {
                continue;
            };
            member.next += 1;
            let Some(step) = self.question.program.steps.get(member.step) else { continue };
            member.ended |= step.consecutive && row.own_before() != member.fitted;
            if member.ended {
                continue;
            }
            if self.fits(member.step, before, row, false) {
                member.fitted = event;
                fitting.push((number, row));
            } else {
                member.ended = step.consecutive;
            }
        }
        if begins {
            return;
        }
        let count = |search: &Self, number: usize| {
            members.get(number).map_or((0, 0, 0), |member| {
                let step = min_max(search, member.step);
                (search.taken_of(member.step).len(), step.0, step.1)
            })
        };
        let lacks = fitting.iter().find(|(number, _)| {
            let (taken, min, _) = count(self, *number);
            taken < min
        });
        let other = || {
            fitting.iter().find(|(number, _)| {
                let (taken, _, max) = count(self, *number);
                taken < max
            })
        };
        if let Some((number, row)) = lacks.or_else(other).copied()
            && let Some(taken) = members.get(number).and_then(|member| self.taken.get_mut(member.step))
        {
            taken.push(row);
        }
    }

    /// Offers a later row to a repeat; false if the repeat has ended.
    pub(crate) fn take(&mut self, number: usize, before: Option<usize>, row: &'a Row) -> bool {
        let Some(step) = self.question.program.steps.get(number) else { return false };
        let taken = self.taken_of(number);
        if taken.len() >= step.max {
            return false;
        }
        let last = taken.last().copied();
        if step.consecutive {
            let unbroken = last.is_some_and(|last| last.pos == row.own_before());
            if !unbroken || !self.fits_repeat(number, before, row) {
                return false;
            }
        } else if !self.fits_repeat(number, before, row) {
            return true;
        }
        if let (Some(quiet), Some(last)) = (&step.quiet, last)
            && self.silence(quiet, before).is_some_and(|quiet| row.ts - last.ts > quiet)
        {
            self.reject(number, before, row, Failed::Burst);
            return false;
        }
        if let Some(taken) = self.taken.get_mut(number) {
            taken.push(row);
        }
        true
    }

    fn fits_repeat(&mut self, step: usize, before: Option<usize>, row: &'a Row) -> bool {
        let misfit = self.misfit(step, before, row, false);
        if let Some(misfit) = misfit {
            self.reject_misfit(step, before, row, misfit);
        }
        misfit.is_none()
    }

    /// The unit has reached its minimum by events before `pos`.
    pub(crate) fn has_reached(&self, unit: Option<usize>, pos: Position) -> bool {
        let Some(unit) = unit else { return true };
        self.members(unit).all(|step| {
            let taken = self.taken_of(step);
            let min = self.question.program.steps.get(step).map_or(1, |step| step.min);
            taken.is_empty() || (taken.len() >= min && taken.first().is_some_and(|begin| begin.pos < pos))
        })
    }

    /// A bound that counts from an event, as far as it is known.
    pub(crate) fn bound_value(&self, bound: &BoundProgram, from: &Row) -> Option<Micros> {
        if let BoundProgram::Fixed(bound) = bound {
            return Some(*bound);
        }
        let scope = scope(&self.question, &self.taken, 0, None);
        bound.value(&crate::expr::Scope { time: from.ts, ..scope })
    }

    /// How long `until quiet` waits, read when the step begins: as of the last event before it.
    pub(crate) fn silence(&self, quiet: &BoundProgram, before: Option<usize>) -> Option<Micros> {
        self.bound_value(quiet, before.and_then(|before| self.last_of(before)).or(self.first)?)
    }

    /// The row fits the step after unit `before`: bounds of the arrow, and terms that read what has been taken.
    pub(crate) fn fits(&mut self, number: usize, before: Option<usize>, row: &'a Row, begins: bool) -> bool {
        self.misfit(number, before, row, begins).is_none()
    }

    /// The first test of [`Search::fits`] that fails.
    pub(crate) fn misfit(
        &mut self,
        number: usize,
        before: Option<usize>,
        row: &'a Row,
        begins: bool,
    ) -> Option<Misfit> {
        self.found.work += 1;
        let program = self.question.program;
        let step = program.steps.get(number)?;
        let unit = program.units.get(step.unit)?;
        if let Some((before, last)) = before.and_then(|before| Some((before, self.last_of(before)?))) {
            let passed = row.ts - last.ts;
            if let Some(within) = &unit.within
                && self.bound_value(within, last).is_none_or(|within| passed > within)
            {
                return Some(Misfit::Within);
            }
            if let Some(after) = &unit.after
                && self.bound_value(after, last).is_none_or(|after| passed < after)
            {
                return Some(Misfit::After);
            }
            if begins && unit.immediately && self.neighbour(row, before, step.unit) != last.pos {
                return Some(Misfit::Between);
            }
            if begins && program.has_timed_gap && self.unended(before, step.unit, last, row).is_some() {
                return Some(Misfit::Waits);
            }
        }
        if step.cross.is_empty() {
            return None;
        }
        let scope = scope(&self.question, &self.taken, number, Some(row));
        step.cross.iter().position(|term| term.test(&scope) != Some(true)).map(Misfit::Term)
    }

    /// The last event before the row of any stream of two units.
    pub(crate) fn neighbour(&self, row: &Row, before: usize, unit: usize) -> Position {
        if row.seen().is_empty() {
            return row.union_before();
        }
        let streams = self.members(before).chain(self.members(unit)).filter_map(|step| {
            let stream = self.question.program.steps.get(step)?.stream;
            row.seen().get(stream).copied()
        });
        streams.max().unwrap_or(0)
    }

    /// The row is not later than the end of this `no X for D` or `until quiet for D` between two units: which, and how long
    /// it lasts, if that is known.
    pub(crate) fn unended(
        &self,
        before: usize,
        unit: usize,
        last: &'a Row,
        row: &Row,
    ) -> Option<(Broken, Option<Micros>)> {
        let program = self.question.program;
        let lasts = |wait: Option<Micros>| wait.is_none_or(|wait| row.ts - last.ts <= wait);
        let gaps = program.units.get(before + 1..=unit).unwrap_or_default().iter().flat_map(|unit| &unit.gap);
        let mut gaps = gaps.filter_map(|gap| Some((*gap, program.absences.get(*gap)?.duration.as_ref()?)));
        let gap = gaps.find_map(|(gap, bound)| {
            let wait = self.bound_value(bound, last);
            lasts(wait).then_some((Broken::Absence(gap), wait))
        });
        let earlier = self.unit_before(before);
        let begun = || self.members(before).filter(|step| !self.taken_of(*step).is_empty());
        gap.or_else(|| {
            begun().find_map(|step| {
                let wait = self.silence(program.steps.get(step)?.quiet.as_ref()?, earlier);
                lasts(wait).then_some((Broken::Quiet(step), wait))
            })
        })
    }

    /// No forbidden event between the unit before and this row, with which unit `number` begins.
    pub(crate) fn gap_is_quiet(&mut self, number: usize, before: Option<usize>, row: &'a Row) -> bool {
        let program = self.question.program;
        let Some(unit) = program.units.get(number) else { return false };
        let Some(begun) = before else { return true };
        if unit.gap.is_empty() && begun + 1 == number && !program.has_timed_gap {
            return true;
        }
        let Some(last) = self.last_of(begun) else { return true };
        let breaker = if row.floor() > last.pos {
            Some(Breaker { broken: None, row: None })
        } else {
            self.gap_breaker(number, begun, row.pos)
        };
        if let Some(breaker) = breaker {
            self.reject(unit.steps.start, before, row, Failed::Broken(breaker));
        }
        breaker.is_none()
    }

    /// What breaks the silence between unit `before` and `to`, at which unit `number` begins.
    pub(crate) fn gap_breaker(&mut self, number: usize, before: usize, to: Position) -> Option<Breaker<'a>> {
        let program = self.question.program;
        let last = self.last_of(before)?;
        let guarded = program.units.get(before + 1..=number).unwrap_or_default();
        let broken = guarded.iter().flat_map(|unit| &unit.gap).find_map(|gap| {
            let bound = program.absences.get(*gap).and_then(|absence| absence.duration.as_ref());
            let until = match bound {
                None => Micros::MAX,
                Some(bound) => {
                    self.bound_value(bound, last).map_or(Micros::MAX, |wait| last.ts.saturating_add(wait))
                }
            };
            let row = self.forbidden(*gap, last.pos, to, until)?;
            Some(Breaker { broken: Some(Broken::Absence(*gap)), row: Some(row) })
        });
        broken.or_else(|| self.members(before).find_map(|step| self.noise(step, before, to)))
    }

    /// `until quiet for D`: something that fits the step follows its last event within D, before `to`.
    fn noise(&mut self, step: usize, unit: usize, to: Position) -> Option<Breaker<'a>> {
        let quiet = self.question.program.steps.get(step).and_then(|step| step.quiet.as_ref())?;
        let last = self.taken_of(step).last().copied()?;
        let before = self.unit_before(unit);
        let broken = Some(Broken::Quiet(step));
        let Some(wait) = self.silence(quiet, before) else { return Some(Breaker { broken, row: None }) };
        let list = self.list(step);
        let mut at = list.partition_point(|row| row.pos <= last.pos);
        while let Some(row) = list.get(at).filter(|row| row.pos < to && row.ts - last.ts <= wait) {
            if self.fits(step, before, row, false) {
                return Some(Breaker { broken, row: Some(row) });
            }
            at += 1;
        }
        None
    }

    /// The first event that an absence with kept rows forbids strictly between two positions and up to a time.
    fn forbidden(&self, absence: usize, from: Position, to: Position, until: Micros) -> Option<&'a Row> {
        let program = self.question.program.absences.get(absence)?;
        let state = self.question.state.beside.absences.get(absence)?;
        if !program.keeps_rows {
            return None;
        }
        let at = state.rows.partition_point(|row| row.pos <= from);
        state.rows.iter().skip(at).take_while(|row| row.pos < to && row.ts <= until).find(|row| {
            let scope = absence_scope(&self.question, &self.taken, row);
            let terms = program.cross.iter().find(|(stream, _)| *stream == row.stream());
            terms.is_none_or(|(_, terms)| all_true(terms, &scope))
        })
    }

    /// A `cancel on` that reads steps has cancelled the choice: after its first event, up to `until`.
    pub(crate) fn is_cancelled(&self, until: Position) -> bool {
        self.canceller(until, Micros::MAX).is_some()
    }

    /// The `cancel on` that has cancelled the choice up to a position and time, and its event.
    pub(crate) fn canceller(&self, until: Position, time: Micros) -> Option<Breaker<'a>> {
        let first = self.first?;
        let question = &self.question;
        question.program.cancels.iter().find_map(|number| {
            let program = question.program.absences.get(*number)?;
            let state = question.state.beside.absences.get(*number)?;
            let at = state.rows.partition_point(|row| row.pos <= first.pos);
            let mut rows = state.rows.iter().skip(at).take_while(|row| row.pos <= until && row.ts <= time);
            let row = rows.find(|row| {
                let taken: Vec<Rows<'_>> = self
                    .taken
                    .iter()
                    .map(|rows| rows.iter().copied().take_while(|taken| taken.pos < row.pos).collect())
                    .collect();
                let terms = program.cross.iter().find(|(stream, _)| *stream == row.stream());
                terms.is_none_or(|(_, terms)| all_true(terms, &absence_scope(question, &taken, row)))
            })?;
            Some(Breaker { broken: Some(Broken::Absence(*number)), row: Some(row) })
        })
    }

    /// When the choice is complete, counting from its last event; none if a bound is unknown.
    pub(crate) fn due(&self) -> Option<Micros> {
        let program = self.question.program;
        let unit = *self.begun.last()?;
        let last = self.last_of(unit)?;
        let mut longest = 0;
        if let Some(quiet) = program.steps.last().and_then(|step| step.quiet.as_ref()) {
            longest = self.silence(quiet, self.unit_before(unit))?;
        }
        for absence in program.absences_of(&program.trailing) {
            if let Some(bound) = &absence.duration {
                longest = longest.max(self.bound_value(bound, last)?);
            }
        }
        Some(last.ts.saturating_add(longest))
    }

    /// Trailing absences whose forbidding events are kept, and the silence that ends a last repeat.
    pub(crate) fn is_silent_after(&mut self) -> bool {
        !self.begun.is_empty() && self.breaker_after().is_none()
    }

    /// What breaks the silence after the choice.
    pub(crate) fn breaker_after(&mut self) -> Option<Breaker<'a>> {
        let program = self.question.program;
        let unit = self.begun.last().copied()?;
        let end = self.last_of(unit)?;
        let broken = program.trailing.iter().find_map(|number| {
            let bound = program.absences.get(*number).and_then(|absence| absence.duration.as_ref());
            let wait = bound.and_then(|bound| self.bound_value(bound, end)).unwrap_or(0);
            let row = self.forbidden(*number, end.pos, Position::MAX, end.ts.saturating_add(wait))?;
            Some(Breaker { broken: Some(Broken::Absence(*number)), row: Some(row) })
        });
        broken.or_else(|| self.members(unit).find_map(|step| self.noise(step, unit, Position::MAX)))
    }
}

/// Least and most events of a step.
fn min_max(search: &Search<'_, '_>, step: usize) -> (usize, usize) {
    search.question.program.steps.get(step).map_or((1, 1), |step| (step.min, step.max))
}
