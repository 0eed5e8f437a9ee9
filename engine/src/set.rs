//! Sets in the search: members that begin in any order, and members that have no event.
//!
//! Members are chosen in written order, each at its rows from the earliest on and, where it may have none, without: that is
//! the order in which the language compares choices.

use crate::row::{Position, Row};
use crate::search::{Ask, Search};
use crate::why::trace::Failed;
use pattern_dsl::ir::UnitKind;
use std::ops::ControlFlow;

impl<'a> Search<'a, '_> {
    /// `one of`: by events; at one event by members.
    pub(crate) fn extend_one(&mut self, number: usize, limit: Position) -> ControlFlow<()> {
        let program = self.question.program;
        let Some(unit) = program.units.get(number) else { return ControlFlow::Continue(()) };
        let before = self.begun.last().copied();
        let start = self.earliest(before);
        let only = number == 0 && self.begins_at_end();
        let mut next: Vec<usize> =
            unit.steps.clone().map(|step| self.list(step).partition_point(|row| row.pos < start)).collect();
        let mut done = vec![false; next.len()];
        let mut taking = self.begin_taking(before);
        let end = self.last_position();
        let mut flow = ControlFlow::Continue(());
        while flow.is_continue() {
            let rows = unit.steps.clone().zip(&next).filter_map(|(step, at)| self.list(step).get(*at));
            let Some(event) = rows.min_by_key(|row| row.pos) else { break };
            if event.pos > end || event.pos > limit || self.out_of_bound(event) || (only && event.pos > start)
            {
                break;
            }
            self.take_until(before, event.pos, &mut taking);
            let mut any = false;
            for (member, step) in unit.steps.clone().enumerate() {
                let (Some(at), Some(done)) = (next.get_mut(member), done.get_mut(member)) else { continue };
                let Some(row) = self.list(step).get(*at).filter(|row| row.pos == event.pos) else { continue };
                *at += 1;
                if *done || flow.is_break() {
                    continue;
                }
                if number == 0 && row.is_marked() {
                    self.reject(step, before, row, Failed::Barred);
                    continue;
                }
                if !self.could_fit(step, before, row) {
                    continue;
                }
                any = true;
                *done = program.steps.get(step).is_some_and(|step| step.first_only);
                if self.gap_is_quiet(number, before, row) && self.leaves_none(before, row.pos) {
                    flow = self.begin(number, step, row);
                }
            }
            if unit.first && any {
                break;
            }
        }
        self.exhausted(number, before, limit, &mut taking);
        self.give_back(before);
        flow
    }

    /// `all of`, `at least n of`.
    pub(crate) fn extend_set(&mut self, number: usize, limit: Position) -> ControlFlow<()> {
        let Some(unit) = self.question.program.units.get(number) else { return ControlFlow::Continue(()) };
        let before = self.begun.last().copied();
        let flow = self.choose_member(number, unit.steps.start, before, limit);
        self.members_left(number, before);
        if !unit.skippable || flow.is_break() {
            return flow;
        }
        let first_fit = self.first_fit(number, before);
        self.extend(number + 1, limit.min(first_fit))
    }

    /// The first event that fits any member of a set, the unit before having taken what lies before it.
    fn first_fit(&mut self, number: usize, before: Option<usize>) -> Position {
        let Some(unit) = self.question.program.units.get(number) else { return Position::MAX };
        let end = self.last_position();
        let mut first = Position::MAX;
        for step in unit.steps.clone() {
            let list = self.list(step);
            for row in list.iter().take_while(|row| row.pos <= end.min(first)) {
                if self.could_begin(step, before, row, Position::MAX) {
                    first = first.min(row.pos);
                    break;
                }
            }
        }
        first
    }

    fn choose_member(
        &mut self,
        number: usize,
        step: usize,
        before: Option<usize>,
        limit: Position,
    ) -> ControlFlow<()> {
        let program = self.question.program;
        let Some(unit) = program.units.get(number) else { return ControlFlow::Continue(()) };
        if step == unit.steps.end {
            return self.set_chosen(number, before, limit);
        }
        let Some(member) = program.steps.get(step) else { return ControlFlow::Continue(()) };
        if self.is_overworked() {
            return ControlFlow::Break(());
        }
        let plain = before.is_none_or(|before| self.takes_one_each(before));
        let start = self.earliest(before);
        let list = self.list(step);
        let mut at = list.partition_point(|row| row.pos < start);
        let end = self.last_position();
        while let Some(row) = list.get(at) {
            at += 1;
            if row.pos > end || self.out_of_bound(row) || self.is_too_far(unit.steps.start..step, row) {
                break;
            }
            if before.is_none() && self.is_beyond(row) {
                break;
            }
            let mut mates = unit.steps.start..step;
            let serves = mates.any(|mate| self.begins_at(mate, row.pos));
            self.found.work += 1;
            // Where the unit before is a repeat, what it took depends on the set's first event: tested once that is chosen.
            let passed = before.and_then(|before| self.last_of(before)).is_none_or(|last| row.pos > last.pos);
            if serves || (plain && !(passed && self.fits(step, before, row, true))) {
                continue;
            }
            if let Some(taken) = self.taken.get_mut(step) {
                taken.push(row);
            }
            let flow = self.choose_member(number, step + 1, before, limit);
            if let Some(taken) = self.taken.get_mut(step) {
                taken.clear();
            }
            if flow.is_break() {
                return flow;
            }
        }
        if member.optional || matches!(unit.kind, UnitKind::AtLeast(_)) {
            return self.choose_member(number, step + 1, before, limit);
        }
        ControlFlow::Continue(())
    }

    /// Where the unit after `before` can begin at the earliest.
    pub(crate) fn earliest(&self, before: Option<usize>) -> Position {
        match before {
            Some(before) => self.first_of(before).map_or(0, |begin| begin.pos + 1),
            None if self.begins_at_end() => self.question.end,
            None => 0,
        }
    }

    fn begins_at(&self, step: usize, pos: Position) -> bool {
        self.taken.get(step).and_then(|taken| taken.first()).is_some_and(|row| row.pos == pos)
    }

    /// Some mate of a leading set begins so long before the row that no choice holds both.
    fn is_too_far(&self, mates: std::ops::Range<usize>, row: &Row) -> bool {
        self.first.is_none()
            && mates
                .filter_map(|mate| self.taken.get(mate)?.first())
                .any(|begin| row.ts - begin.ts > self.question.program.within)
    }

    /// Every member has its beginning, or none: tests what depends on all of them, then goes on.
    fn set_chosen(&mut self, number: usize, before: Option<usize>, limit: Position) -> ControlFlow<()> {
        let Some(unit) = self.question.program.units.get(number) else { return ControlFlow::Continue(()) };
        let begun =
            unit.steps.clone().filter(|step| self.taken.get(*step).is_some_and(|taken| !taken.is_empty()));
        let enough = match unit.kind {
            UnitKind::AtLeast(least) => begun.count() >= least as usize,
            _ => begun.count() > 0,
        };
        let Some(first) = self.first_of(number).filter(|first| enough && first.pos <= limit) else {
            return ControlFlow::Continue(());
        };
        if number == 0 {
            let last = self.last_of(number).map_or(first.ts, |last| last.ts);
            let another = self.begins_at_end() && first.pos != self.question.end;
            if first.is_marked() && !another {
                self.reject(unit.steps.start, before, first, Failed::Barred);
            }
            if first.is_marked() || another || last - first.ts > self.question.program.within {
                return ControlFlow::Continue(());
            }
            self.first = Some(first);
        }
        let mut taking = self.begin_taking(before);
        self.take_until(before, first.pos, &mut taking);
        let mut flow = ControlFlow::Continue(());
        if self.has_reached(before, first.pos)
            && self.members_fit(number, before)
            && self.gap_is_quiet(number, before, first)
            && self.leaves_none(before, first.pos)
            && self.are_first(number, before, first.pos)
        {
            self.begun.push(number);
            self.consider(number);
            flow = if !self.is_last(number) {
                self.extend(number + 1, Position::MAX)
            } else if self.question.ask == Ask::Explain {
                self.complete_anywhere(number)
            } else if self.question.ask != Ask::Partial && self.set_ends(number) {
                self.complete()
            } else {
                ControlFlow::Continue(())
            };
            self.give_back(Some(number));
            self.begun.pop();
        }
        self.give_back(before);
        if number == 0 {
            self.first = None;
        }
        flow
    }

    /// Every member's beginning fits it, now that it is known what the unit before took.
    fn members_fit(&mut self, number: usize, before: Option<usize>) -> bool {
        if before.is_none_or(|before| self.takes_one_each(before)) {
            return true;
        }
        let steps = self.question.program.units.get(number).map_or(0..0, |unit| unit.steps.clone());
        for step in steps {
            let own = self.taken.get_mut(step).map(std::mem::take).unwrap_or_default();
            let fits = own.first().is_none_or(|row| self.fits(step, before, row, true));
            if let Some(taken) = self.taken.get_mut(step) {
                *taken = own;
            }
            if !fits {
                return false;
            }
        }
        true
    }

    /// Members that may begin only at the first event that fits do: no earlier one fits, but for those at which another
    /// member begins.
    fn are_first(&mut self, number: usize, before: Option<usize>, first: Position) -> bool {
        let Some(unit) = self.question.program.units.get(number) else { return false };
        for step in unit.steps.clone() {
            let only = self.question.program.steps.get(step).is_some_and(|step| step.first_only);
            let begin = self.taken.get(step).and_then(|taken| taken.first()).map(|row| row.pos);
            let Some(begin) = begin.filter(|_| only) else { continue };
            let list = self.list(step);
            for row in list.iter().take_while(|row| row.pos < begin) {
                let serves = unit.steps.clone().any(|mate| self.begins_at(mate, row.pos));
                if !serves && self.could_begin(step, before, row, first) {
                    return false;
                }
            }
        }
        true
    }

    /// The step could begin at the row, if the set begins at `first` or with it: what the unit before took then.
    pub(crate) fn could_begin(
        &mut self,
        step: usize,
        before: Option<usize>,
        row: &'a Row,
        first: Position,
    ) -> bool {
        let own = self.taken.get_mut(step).map(std::mem::take).unwrap_or_default();
        self.take_before(before, row.pos.min(first));
        let after = before.and_then(|before| self.first_of(before)).is_none_or(|begin| begin.pos < row.pos);
        let fits =
            after && self.has_reached(before, row.pos.min(first)) && self.fits(step, before, row, true);
        self.take_before(before, if first == Position::MAX { 0 } else { first });
        if let Some(taken) = self.taken.get_mut(step) {
            *taken = own;
        }
        fits
    }

    /// Lets the unit before take what lies before `pos`, and no more.
    pub(crate) fn take_before(&mut self, before: Option<usize>, pos: Position) {
        self.give_back(before);
        let mut taking = self.begin_taking(before);
        self.take_until(before, pos, &mut taking);
    }

    /// Lets a last set take up to the end; true if the end is one of its events and every member has its minimum.
    pub(crate) fn set_ends(&mut self, number: usize) -> bool {
        let end = self.question.end;
        let mut taking = self.begin_taking(Some(number));
        self.take_until(Some(number), end + 1, &mut taking);
        self.has_reached(Some(number), end + 1)
            && self.last_of(number).is_some_and(|last| last.pos == end)
            && self.leaves_none(Some(number), end + 1)
    }

    /// The members of a set that have no event have none rightly: what is left before `to` is not their minimum.
    pub(crate) fn leaves_none(&mut self, unit: Option<usize>, to: Position) -> bool {
        let Some(number) = unit else { return true };
        let Some(unit) = self.question.program.units.get(number) else { return true };
        if matches!(unit.kind, UnitKind::Step | UnitKind::One) {
            return true;
        }
        let before = self.unit_before(number);
        let left = unit.steps.clone().find(|step| {
            self.taken.get(*step).is_some_and(|taken| taken.is_empty())
                && self.is_there(number, *step, before, to)
        });
        if let Some(step) = left {
            self.reject_choice(Failed::LeftOut(step));
        }
        left.is_none()
    }

    /// The minimum of a member without event is there among the events that no other member takes.
    fn is_there(&mut self, number: usize, step: usize, before: Option<usize>, to: Position) -> bool {
        let Some(first) = self.first_of(number).map(|row| row.pos) else { return false };
        let Some(program) = self.question.program.steps.get(step) else { return false };
        // In a leading set what lies before the choice's first event does not count.
        let from = if before.is_none() { first } else { 0 };
        let list = self.list(step);
        let start = list.partition_point(|row| row.pos <= from);
        for at in start..list.len() {
            let Some(row) = list.get(at).filter(|row| row.pos < to && !self.out_of_bound(row)) else { break };
            if self.is_taken(number, row.pos) || !self.could_begin(step, before, row, first) {
                continue;
            }
            // Had it begun here, the unit before would have ended here.
            self.take_before(before, row.pos.min(first));
            if let Some(taken) = self.taken.get_mut(step) {
                taken.push(row);
            }
            let (mut count, mut fitted) = (1, row.pos);
            let mut next = at + 1;
            while count < program.min {
                let Some(row) = list.get(next).filter(|row| row.pos < to && !self.out_of_bound(row)) else {
                    break;
                };
                next += 1;
                let fits = self.fits(step, before, row, false);
                if program.consecutive && (row.own_before() != fitted || !fits) {
                    break;
                }
                if !fits {
                    continue;
                }
                fitted = row.pos;
                if !self.is_taken(number, row.pos) {
                    count += 1;
                    if let Some(taken) = self.taken.get_mut(step) {
                        taken.push(row);
                    }
                }
            }
            if let Some(taken) = self.taken.get_mut(step) {
                taken.clear();
            }
            self.take_before(before, first);
            if count >= program.min {
                return true;
            }
        }
        false
    }

    fn is_taken(&self, unit: usize, pos: Position) -> bool {
        let steps = self.question.program.units.get(unit).map_or(0..0, |unit| unit.steps.clone());
        steps
            .filter_map(|step| self.taken.get(step))
            .any(|taken| taken.binary_search_by_key(&pos, |row| row.pos).is_ok())
    }
}
