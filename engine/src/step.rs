//! One event on its way through the state of one key: which lists keep it, what it forbids, whether it ends a match.
//!
//! The order: `cancel on`; steps from the last unit to the first, so that no event precedes itself; absences; strictness.

use crate::alert::{Alert, FiredBy};
use crate::deadlines::Deadlines;
use crate::event::Arriving;
use crate::expr::Scope;
use crate::interface::RuleStats;
use crate::keys::Handle;
use crate::overlap::{Moment, Surroundings, UsedUp, complete, question};
use crate::plain::forget;
use crate::program::{BoundProgram, Ending, Place, Program, RoleKind};
use crate::row::{Context, Position, Row, Rows};
use crate::search::{Ask, Next, Question, absence_scope, all_true, scope, search};
use crate::state::KeyState;
use crate::value::Value;
use pattern_dsl::ir::{Overlap, UnitKind};
use pattern_dsl::types::Micros;

/// One event on its way through the state of one key.
pub(crate) struct Stepping<'a> {
    pub(crate) program: &'a Program,
    pub(crate) state: &'a mut KeyState,
    pub(crate) timers: &'a mut Deadlines,
    pub(crate) stats: &'a mut RuleStats,
    /// First events of this time belong to this revision.
    pub(crate) accepts: bool,
    pub(crate) event: &'a Arriving<'a>,
    pub(crate) pos: Position,
    /// What timers call the key.
    pub(crate) handle: Handle,
    pub(crate) key: &'a [Value],
    pub(crate) windows: &'a [Value],
    pub(crate) around: &'a Surroundings<'a>,
    pub(crate) out: &'a mut Vec<Alert>,
    pub(crate) used: &'a mut Vec<UsedUp>,
}

impl Stepping<'_> {
    pub(crate) fn run(&mut self, roles: u64, scope: &Scope<'_>) {
        let program = self.program;
        for role in program.playing(roles & program.cancelling) {
            if let (RoleKind::Cancel(number), true) = (role.kind, all_true(&role.keyed, scope)) {
                self.cancel(number);
            }
        }
        // From the last unit to the first, so that no event precedes itself.
        let mut steps = roles & program.stepping;
        while let Some(unit) = program.last_of(steps).map(|(_, role)| role.unit) {
            let mut same = 0;
            while let Some((bit, _)) = program.last_of(steps).filter(|(_, role)| role.unit == unit) {
                same |= 1 << bit;
                steps &= !(1 << bit);
            }
            let mut stored = false;
            for role in program.playing(same) {
                if let (RoleKind::Step(number), true) = (role.kind, all_true(&role.keyed, scope)) {
                    if let Some(count) = self.stats.step_events.get_mut(number) {
                        *count += 1;
                    }
                    stored |= self.step(number, unit);
                }
            }
            if stored && unit + 1 == program.units.len() && self.last_unit(unit) {
                break;
            }
        }
        self.look(roles & program.looking, scope);
    }

    /// Absences and strictness come after the steps: no event forbids or breaks itself.
    fn look(&mut self, roles: u64, scope: &Scope<'_>) {
        for role in self.program.playing(roles) {
            match role.kind {
                RoleKind::Absence(number) if all_true(&role.keyed, scope) => {
                    self.meet(number);
                    self.absence(number);
                }
                RoleKind::Look if all_true(&role.keyed, scope) => {
                    if let Some(seen) = self.state.beside.seen.get_mut(role.stream) {
                        *seen = self.pos;
                    }
                }
                _ => {}
            }
        }
        if roles != 0 && self.program.strict_chain {
            self.drop_left_behind();
        }
    }

    /// Drops what came before another event and was not followed by one at once: no row of the next step names it as the event
    /// before. Those are the last of their part of the list, since each event decides this for the one before it. In such a chain
    /// units and steps have the same numbers.
    fn drop_left_behind(&mut self) {
        for unit in (0..self.program.units.len() - 1).rev() {
            let newest = self.union_before(unit + 1, unit);
            let (list, next) = (self.state.lists.of(unit), self.state.lists.of(unit + 1));
            let followed = |row: &Row| next.binary_search_by_key(&row.pos, Row::union_before).is_ok();
            let end = list.partition_point(|row| row.pos < newest);
            let left = list.iter().take(end).rev().take_while(|row| !followed(row)).count();
            self.state.lists.remove(unit, end - left..end);
        }
    }

    /// The event fits a step by itself: keeps it if some prefix could lead here. True if it did.
    fn step(&mut self, number: usize, unit: usize) -> bool {
        if self.pos <= self.state.beside.used_to {
            return false;
        }
        let Some(reach_ts) = self.reach(number, unit) else { return false };
        if let Some(count) = self.stats.step_reached.get_mut(number) {
            *count += 1;
        }
        let ends = unit + 1 == self.program.units.len() && self.program.ending == Ending::Event;
        if self.is_full(ends) && !ends {
            return false;
        }
        let mut row = self.row(number, reach_ts);
        if unit == 0 {
            row.mark(!self.accepts || self.is_forbidden(&row));
            if row.is_marked() && self.is_single(0) {
                return false;
            }
            if self.program.times_out && !row.is_marked() {
                self.set_timer(self.event.view.ts.saturating_add(self.program.within));
            }
        }
        self.state.push(number, row, self.program);
        true
    }

    /// The event may end a match: looks for complete choices, or sets a timer. True if an alert used it up.
    fn last_unit(&mut self, unit: usize) -> bool {
        let program = self.program;
        let moment = Moment {
            time: self.event.view.ts,
            by: FiredBy::Event,
            end: self.pos,
            key: self.key,
            windows: self.windows,
        };
        match program.ending {
            Ending::After(wait) => {
                self.set_timer(self.event.view.ts.saturating_add(wait));
                return false;
            }
            Ending::Read(_) => {
                let question =
                    Question { ask: Ask::Dues, ..question(program, self.state, &moment, self.around) };
                let found = search(question, &mut |_| Next::Stop);
                self.stats.no_deadline += u64::from(found.endless > 0);
                self.stats.capped += u64::from(found.cut);
                self.state.set_saturated(found.cut || self.state.beside.saturated);
                found.dues.into_iter().for_each(|due| self.set_timer(due));
                return false;
            }
            Ending::Event => {}
        }
        let fired = complete(program, self.state, self.stats, &moment, self.around, self.out, self.used);
        if program.forgets {
            forget(program, self.state);
            return fired && program.overlap == Overlap::None;
        }
        let capped = self.around.limits.candidates.is_some_and(|cap| self.state.rows() > cap);
        let full = self.around.full || capped;
        for number in program.units.get(unit).map_or(0..0, |unit| unit.steps.clone()) {
            let keeps = program.steps.get(number).is_some_and(|step| step.keeps_end);
            let last = self.state.lists.of(number).last();
            if (!keeps || full) && last.is_some_and(|row| row.pos == self.pos) {
                self.state.lists.pop(number);
                // At the limit of all state it was not counted before it was looked at.
                self.stats.capped += u64::from(keeps && !capped);
            }
        }
        fired && program.overlap == Overlap::None
    }

    /// Sets a timer that counts from this event.
    fn set_timer(&mut self, due: Micros) {
        self.timers.set((due, self.pos, self.handle));
    }

    /// Time of the newest first event of any prefix that could lead to this step now; none if there is no such prefix.
    /// A filter: it may say yes too often, since only the search tests what depends on the choice.
    fn reach(&self, number: usize, unit: usize) -> Option<Micros> {
        if unit == 0 {
            return self.accepts.then_some(self.event.view.ts).or_else(|| self.open_reach());
        }
        let (step, own) = (self.program.steps.get(number)?, self.program.units.get(unit)?);
        let quiet = step.quiet.as_ref().map_or(0, BoundProgram::longest);
        let mut reach: Option<Micros> = None;
        for before in &own.before {
            let Some((begun, newest)) = self.newest_prefix(*before) else { continue };
            if own.within.as_ref().is_some_and(|within| self.event.view.ts - newest.ts > within.longest()) {
                continue;
            }
            // A single event that must directly precede this one is the newest of its list, or none is.
            let single =
                own.before.len() == 1 && step.max == 1 && step.quiet.is_none() && self.is_single(*before);
            if own.immediately && single && self.union_before(unit, *before) != newest.pos {
                continue;
            }
            // A row that comes too late for the choice may still break the silence that it waits for.
            if self.event.view.ts - begun <= self.program.within.saturating_add(quiet) {
                reach = reach.max(Some(begun));
            }
        }
        reach
    }

    /// Of the prefixes that end in a unit and may be complete: the newest first event's time, and the newest row.
    fn newest_prefix(&self, unit: usize) -> Option<(Micros, &Row)> {
        let program = self.program.units.get(unit)?;
        let ready = |step: usize| {
            let min = self.program.steps.get(step)?.min;
            let list = self.state.lists.of(step);
            Some((list.get(list.len().checked_sub(min)?)?.reach_ts, list.last()?))
        };
        if program.kind == UnitKind::Step {
            return ready(program.steps.start);
        }
        let required = |step: &usize| self.program.steps.get(*step).is_some_and(|step| !step.optional);
        let all = program.kind != UnitKind::All
            || program.steps.clone().filter(required).all(|step| ready(step).is_some());
        let members = || program.steps.clone().filter_map(ready);
        let least = if let UnitKind::AtLeast(least) = program.kind { least as usize } else { 1 };
        if !all || members().count() < least {
            return None;
        }
        // Some member's newest row may not yet make its minimum, and still be the last event of the set.
        let rows = program.steps.clone().filter_map(|step| self.state.lists.of(step).last());
        let newest = rows.max_by_key(|row| row.pos)?;
        Some((members().map(|(reach, _)| reach).max()?, newest))
    }

    fn is_single(&self, unit: usize) -> bool {
        let steps = self.program.units.get(unit).map_or(0..0, |unit| unit.steps.clone());
        steps.len() == 1 && self.program.steps.get(steps.start).is_some_and(|step| step.max == 1)
    }

    /// A revision that has been replaced takes no new first events, but its open first repeats and sets go on.
    fn open_reach(&self) -> Option<Micros> {
        if self.is_single(0) {
            return None;
        }
        let lists = self.program.first_steps().map(|step| self.state.lists.of(step));
        lists.filter_map(|list| list.last()).map(|row| row.reach_ts).max()
    }

    /// The last event of any stream of two units.
    fn union_before(&self, unit: usize, before: usize) -> Position {
        let last = &self.state.beside.seen;
        let seen = |unit: usize| {
            let streams = self.program.units.get(unit).map_or(&[][..], |unit| &unit.streams);
            streams.iter().filter_map(|stream| last.get(*stream).copied()).max().unwrap_or(0)
        };
        seen(unit).max(seen(before))
    }

    fn row(&self, number: usize, reach_ts: Micros) -> Row {
        let step = self.program.steps.get(number);
        let context = step.is_some_and(|step| step.keeps_context).then(|| self.context(number));
        let kept = step.map_or(&[][..], |step| &step.kept);
        let mut row = Row::new(&self.event.view, self.pos, kept, context);
        row.reach_ts = reach_ts;
        row
    }

    /// What lies before the event, where it is looked at as step `number`.
    fn context(&self, number: usize) -> Context {
        let step = self.program.steps.get(number);
        let unit = step.map_or(0, |step| step.unit);
        let (gap, before) =
            self.program.units.get(unit).map_or((&[][..], &[][..]), |unit| (&unit.gap, &unit.before));
        let strict = self.program.strict;
        let floors =
            gap.iter().filter_map(|gap| self.state.beside.absences.get(*gap)).map(|absence| absence.floor);
        Context {
            own_before: step.and_then(|step| self.state.beside.seen.get(step.stream)).copied().unwrap_or(0),
            union_before: if strict {
                self.union_before(unit, before.first().copied().unwrap_or(unit))
            } else {
                0
            },
            floor: floors.max().unwrap_or(0),
            seen: if strict && before.len() > 1 {
                self.state.beside.seen.as_slice().into()
            } else {
                Box::default()
            },
            windows: if step.is_some_and(|step| step.keeps_windows) {
                self.windows.into()
            } else {
                Box::default()
            },
        }
    }

    /// A row of an absence.
    fn forbidding_row(&self) -> Row {
        let windows = || Context { windows: self.windows.into(), ..Context::default() };
        let context = (!self.windows.is_empty()).then(windows);
        let all: Vec<usize> = (0..self.event.view.slots.len()).collect();
        Row::new(&self.event.view, self.pos, &all, context)
    }

    /// A leading absence forbids that a choice begins with this row.
    fn is_forbidden(&self, row: &Row) -> bool {
        let program = self.program;
        if program.leading.is_empty() {
            return false;
        }
        let moment = Moment { time: row.ts, by: FiredBy::Event, end: row.pos, key: self.key, windows: &[] };
        forbidding(&question(program, self.state, &moment, self.around), row).is_some()
    }

    /// For `why`: everything that the event could be is kept, whatever came before.
    pub(crate) fn keep(&mut self, roles: u64, scope: &Scope<'_>) {
        let program = self.program;
        for (bit, role) in program.roles.iter().enumerate() {
            if roles >> bit & 1 == 0 || !all_true(&role.keyed, scope) {
                continue;
            }
            match role.kind {
                RoleKind::Step(number) => {
                    let mut row = self.row(number, self.event.view.ts);
                    let first = program.steps.get(number).is_some_and(|step| step.unit == 0);
                    row.mark(first && (!self.accepts || self.is_forbidden(&row)));
                    self.state.lists.push(number, row, program.steps.len());
                }
                RoleKind::Cancel(number) | RoleKind::Absence(number) => {
                    let row = self.forbidding_row();
                    if let Some(state) = self.state.beside.absences.get_mut(number)
                        && state.rows.last().is_none_or(|row| row.pos != self.pos)
                    {
                        state.rows.push(row);
                    }
                }
                RoleKind::Window(_) | RoleKind::Look | RoleKind::Latch => {}
            }
        }
        for (bit, role) in program.roles.iter().enumerate() {
            if roles >> bit & 1 == 1
                && role.kind == RoleKind::Look
                && all_true(&role.keyed, scope)
                && let Some(seen) = self.state.beside.seen.get_mut(role.stream)
            {
                *seen = self.pos;
            }
        }
    }

    /// Counts an event that an absence names, if a match is where it looks.
    fn meet(&mut self, number: usize) {
        let Some(absence) = self.program.absences.get(number) else { return };
        let begun = |step: &usize| self.state.lists.of(*step).first().is_some_and(|row| row.pos < self.pos);
        if (absence.behind.is_empty() || absence.behind.iter().any(begun))
            && let Some(count) = self.stats.absence_met.get_mut(number)
        {
            *count += 1;
        }
    }

    fn cancel(&mut self, number: usize) {
        self.meet(number);
        if self.program.absences.get(number).is_some_and(|absence| absence.keeps_rows) {
            self.absence(number);
        } else {
            self.state.cancel();
        }
    }

    fn absence(&mut self, number: usize) {
        let Some(absence) = self.program.absences.get(number) else { return };
        let leading = absence.place == Place::Leading;
        let needed = leading || self.state.has_first(self.program);
        if !absence.keeps_rows {
            if let Some(state) = self.state.beside.absences.get_mut(number) {
                state.floor = self.pos;
                state.floor_ts = leading.then_some(self.event.view.ts);
            }
            if leading {
                self.state.expires_by(Micros::MIN);
            }
            return;
        }
        let known = self.state.beside.absences.get(number).and_then(|state| state.rows.last());
        if !needed || known.is_some_and(|row| row.pos == self.pos) {
            return;
        }
        let row = self.forbidding_row();
        if let Some(state) = self.state.beside.absences.get_mut(number) {
            state.rows.push(row);
        }
        self.state.expires_by(Micros::MIN);
    }

    /// The cap on candidates is met, and the newest is refused; alerts of the key say so until its lists are below half of it.
    /// What may end a match at once is looked at all the same, and not kept then.
    fn is_full(&mut self, ends: bool) -> bool {
        let (cap, rows) = (self.around.limits.candidates.unwrap_or(usize::MAX), self.state.rows());
        let full = rows >= cap || (self.around.full && !ends);
        let saturated = full || (self.state.beside.saturated && rows >= (cap / 2).max(1));
        self.state.set_saturated(saturated);
        self.stats.capped += u64::from(full);
        full
    }
}

/// The leading absence that forbids a choice to begin with a row: its number, the event that breaks it where those are
/// kept, and its duration if that is known.
pub(crate) fn forbidding<'a>(
    question: &Question<'a>,
    row: &Row,
) -> Option<(usize, Option<&'a Row>, Option<Micros>)> {
    let program = question.program;
    let mut taken = vec![Rows::None; program.steps.len()];
    if let Some(first) = taken.first_mut() {
        first.push(row);
    }
    let question = Question { ..*question };
    program.leading.iter().enumerate().find_map(|(place, number)| {
        let (absence, state) = (program.absences.get(*number)?, question.state.beside.absences.get(*number)?);
        let begun = scope(&question, &taken, 0, Some(row));
        let Some(wait) = absence.duration.as_ref().and_then(|bound| bound.value(&begun)) else {
            return Some((*number, None, None));
        };
        let from = row.ts.saturating_sub(wait);
        if from < program.past.leading(place) {
            return Some((*number, None, Some(wait)));
        }
        if !absence.keeps_rows {
            return state.floor_ts.is_some_and(|ts| ts >= from).then_some((*number, None, Some(wait)));
        }
        let mut rows = state.rows.iter().filter(|other| other.pos < row.pos && other.ts >= from);
        let breaks = rows.find(|forbidding| {
            let terms = absence.cross.iter().find(|(stream, _)| *stream == forbidding.stream());
            let scope = absence_scope(&question, &taken, forbidding);
            terms.is_none_or(|(_, terms)| all_true(terms, &scope))
        })?;
        Some((*number, Some(breaks), Some(wait)))
    })
}
