//! One rule at work: an event in its order moves the state of its key; a timer completes what was waited for.
//!
//! Order within an event, as the language defines it: windows before it; the event joins the windows; latches; steps from
//! the last to the first, so that no event precedes itself; absences; strictness.

use crate::alert::{Alert, FiredBy};
use crate::collections::Map;
use crate::event::Event;
use crate::expr::Scope;
use crate::interface::RuleStats;
use crate::overlap::{Moment, Surroundings, UsedUp, close_latches, complete, question};
use crate::program::{BoundProgram, Ending, Place, Program, Role, RoleKind};
use crate::row::{Position, Row};
use crate::search::{Ask, Next, Question, all_true, scope, search};
use crate::state::{Key, KeyState};
use crate::value::Value;
use pattern_dsl::ir::{Overlap, UnitKind};
use pattern_dsl::types::Micros;
use std::collections::VecDeque;
use std::sync::Arc;

/// A revision of a rule with the state of all its keys.
#[derive(Debug)]
pub(crate) struct RuleRun {
    pub(crate) program: Arc<Program>,
    pub(crate) state: RuleState,
}

/// The state of a revision: everything that a snapshot holds.
#[derive(Debug, Default)]
pub(crate) struct RuleState {
    pub(crate) keys: Map<Key, KeyState>,
    /// Ends of trailing absences, in order: when, the choice's last event, its key.
    pub(crate) timers: VecDeque<(Micros, Position, Key)>,
    /// Keys to look through for what has run out, by when.
    pub(crate) sweeps: VecDeque<(Micros, Key)>,
    /// First events count from this time on.
    pub(crate) from: Option<Micros>,
    /// First events count before this time only: a later revision has taken over.
    pub(crate) until: Option<Micros>,
    pub(crate) stats: RuleStats,
}

impl RuleRun {
    /// Takes an event in the rule's order. `roles`: those whose predicates hold.
    pub(crate) fn event(
        &mut self,
        event: &Arc<Event>,
        roles: u64,
        pos: Position,
        around: Surroundings<'_>,
        out: &mut Vec<Alert>,
        used: &mut Vec<UsedUp>,
    ) {
        let program = Arc::clone(&self.program);
        let mut remaining = roles;
        let mut null_key = false;
        while remaining != 0 {
            let by_stream = remaining & program.by_stream;
            let next = if by_stream == 0 { remaining } else { by_stream };
            let first = next.trailing_zeros() as usize;
            let Some(role) = program.roles.get(first) else { return };
            let same =
                if program.uniform_keys { remaining } else { same_key(&program, role, remaining, event) };
            remaining &= !same;
            let view = event.view();
            if role.keys.iter().any(|slot| view.slot(*slot).is_null()) {
                null_key = true;
                continue;
            }
            match *role.keys.as_slice() {
                [slot] => self.keyed(
                    &program,
                    event,
                    same,
                    std::slice::from_ref(view.slot(slot)),
                    pos,
                    around,
                    out,
                    used,
                ),
                _ => {
                    let key: Key = role.keys.iter().map(|slot| view.slot(*slot).clone()).collect();
                    self.keyed(&program, event, same, &key, pos, around, out, used);
                }
            }
        }
        self.state.stats.null_keys += u64::from(null_key);
    }

    #[expect(clippy::too_many_arguments, reason = "one private step of `event`")]
    fn keyed(
        &mut self,
        program: &Program,
        event: &Arc<Event>,
        roles: u64,
        key: &[Value],
        pos: Position,
        around: Surroundings<'_>,
        out: &mut Vec<Alert>,
        used: &mut Vec<UsedUp>,
    ) {
        let state = &mut self.state;
        if !state.keys.contains_key(key) {
            if roles & program.creating == 0 {
                return;
            }
            state.keys.insert(key.into(), KeyState::new(program));
        }
        let Some(held) = state.keys.get_mut(key) else { return };
        let now = event.ts;
        held.expire(program, now);
        let windows = windows_at(program, held, event, roles, key, around);
        let scope = Scope {
            this: Some(event.view()),
            key,
            taken: &[],
            own: 0,
            windows: &windows,
            latches: held.latches,
            partitions: around.partitions,
            tables: around.tables,
            time: now,
        };
        let latches = latches_after(program, held.latches, roles, &scope);
        let scope = Scope { latches, ..scope };
        held.latches = latches;
        let mut step = Stepping {
            program,
            state: held,
            timers: &mut state.timers,
            stats: &mut state.stats,
            accepts: state.from.is_none_or(|from| now >= from) && state.until.is_none_or(|until| now < until),
            event,
            pos,
            key,
            windows: &windows,
            around,
            out,
            used,
        };
        step.run(roles, &scope);
        if !held.queued && !held.is_idle(program, now) {
            held.queued = true;
            state.sweeps.push_back((now.saturating_add(sweep_after(program)), key.into()));
        } else if !held.queued {
            state.keys.remove(key);
        }
    }

    /// The earliest timer.
    pub(crate) fn next_timer(&self) -> Option<Micros> {
        self.state.timers.front().map(|(due, ..)| *due)
    }

    /// The earliest timer or sweep.
    pub(crate) fn next_due(&self) -> Option<Micros> {
        let sweep = self.state.sweeps.front().map(|(due, _)| *due);
        self.next_timer().into_iter().chain(sweep).min()
    }

    /// A later revision has taken over by `now` and no match is open.
    pub(crate) fn is_drained(&mut self, now: Micros) -> bool {
        if self.state.until.is_none_or(|until| now < until) {
            return false;
        }
        let program = Arc::clone(&self.program);
        self.state.timers.is_empty()
            && self.state.keys.values_mut().all(|held| {
                held.expire(&program, now);
                held.lists.iter().all(VecDeque::is_empty)
            })
    }

    /// Takes over what outlives a revision: cool-downs, and windows that mean the same.
    pub(crate) fn inherit(&mut self, older: &Self) {
        let program = &self.program;
        let same: Vec<Option<usize>> = program
            .rule
            .windows
            .iter()
            .map(|window| older.program.rule.windows.iter().position(|other| other == window))
            .collect();
        let mut keys: Vec<(&Key, &KeyState)> = older.state.keys.iter().collect();
        keys.sort_by_cached_key(|(key, _)| format!("{key:?}"));
        for (key, held) in keys {
            let mut state = KeyState::new(program);
            state.sent.clone_from(&held.sent);
            if program.latches.len() == older.program.latches.len() {
                state.latches = held.latches;
            }
            for (window, from) in state.windows.iter_mut().zip(&same) {
                if let Some(kept) = from.and_then(|from| held.windows.get(from)) {
                    window.clone_from(kept);
                }
            }
            let outlives = !state.sent.is_empty()
                || state.latches != u32::MAX
                || state.windows.iter().any(|window| !window.is_empty());
            if outlives {
                state.queued = true;
                self.state.sweeps.push_back((Micros::MIN, key.clone()));
                self.state.keys.insert(key.clone(), state);
            }
        }
    }

    /// Fires every timer due at or before `until`; those due together in the order of their events.
    pub(crate) fn ring(
        &mut self,
        until: Micros,
        around: Surroundings<'_>,
        out: &mut Vec<Alert>,
        used: &mut Vec<UsedUp>,
    ) {
        let program = Arc::clone(&self.program);
        let by = if program.timeout.is_some() { FiredBy::Timeout } else { FiredBy::Timer };
        while self.state.timers.front().is_some_and(|(due, ..)| *due <= until) {
            let Some((due, event, key)) = self.state.timers.pop_front() else { break };
            let Some(held) = self.state.keys.get_mut(&key) else { continue };
            if !waits(&program, held, event) || broken(&program, held, event) {
                continue;
            }
            for (window, program) in held.windows.iter_mut().zip(&program.windows) {
                window.evict(program, due);
            }
            let windows: Vec<Value> = held
                .windows
                .iter()
                .zip(&program.windows)
                .map(|(window, program)| window.value(program))
                .collect();
            let moment = Moment { time: due, by, end: event, key: &key, windows: &windows };
            complete(&program, held, &mut self.state.stats, &moment, around, out, used);
        }
    }

    /// Drops state that time has made useless, up to `now`.
    pub(crate) fn sweep(&mut self, now: Micros) {
        let program = Arc::clone(&self.program);
        // Each key once: those that stay go to the back, for later.
        let mut left = self.state.sweeps.len();
        while left > 0 && self.state.sweeps.front().is_some_and(|(due, _)| *due < now) {
            left -= 1;
            let Some((_, key)) = self.state.sweeps.pop_front() else { break };
            let Some(held) = self.state.keys.get_mut(&key) else { continue };
            held.expire(&program, now);
            if held.is_idle(&program, now) {
                self.state.keys.remove(&key);
            } else {
                self.state.sweeps.push_back((now.saturating_add(sweep_after(&program)), key));
            }
        }
    }

    /// Another revision of this rule has used up events of a key.
    pub(crate) fn used_elsewhere(&mut self, used: &UsedUp) {
        let program = &self.program;
        let uses_up = matches!(program.overlap, Overlap::None | Overlap::From(_) | Overlap::FromLast(_));
        if !uses_up && program.cooldown.is_none() && program.latches.is_empty() {
            return;
        }
        let sweeps = &mut self.state.sweeps;
        let held = self.state.keys.entry(used.key.clone()).or_insert_with(|| {
            sweeps.push_back((Micros::MIN, used.key.clone()));
            KeyState { queued: true, ..KeyState::new(program) }
        });
        if uses_up {
            held.use_up(used.last);
            held.used_to = held.used_to.max(used.last);
        }
        held.sent.clone_from(&used.sent);
        held.latches = close_latches(program, held.latches);
    }

    /// Matches that may still complete: first events held, or ends waiting for their timer.
    pub(crate) fn still_open(&self) -> u64 {
        if self.program.ending != Ending::Event {
            let open = self.state.timers.iter().filter(|(_, end, key)| {
                self.state.keys.get(key).is_some_and(|held| {
                    waits(&self.program, held, *end) && !broken(&self.program, held, *end)
                })
            });
            return open.count() as u64;
        }
        let first = self.program.units.first().map_or(0..0, |unit| unit.steps.clone());
        let open = |held: &KeyState| {
            held.lists.get(first.clone()).unwrap_or_default().iter().map(VecDeque::len).sum()
        };
        self.state.keys.values().map(|held| -> usize { open(held) }).sum::<usize>() as u64
    }
}

/// The event that a timer counts from still stands: the last of a choice, or with `on timeout` a first one that began no
/// alert.
fn waits(program: &Program, held: &KeyState, event: Position) -> bool {
    let timeout = program.timeout.is_some();
    let unit = if timeout { program.units.first() } else { program.units.last() };
    let lists = held.lists.get(unit.map_or(0..0, |unit| unit.steps.clone())).unwrap_or_default();
    lists.iter().any(|list| {
        let row = list.binary_search_by_key(&event, |row| row.pos).ok().and_then(|at| list.get(at));
        row.is_some_and(|row| !timeout || !row.marked)
    })
}

fn same_key(program: &Program, role: &Role, roles: u64, event: &Event) -> u64 {
    let view = event.view();
    program
        .roles
        .iter()
        .enumerate()
        .filter(|(bit, _)| roles >> bit & 1 == 1)
        .filter(|(_, other)| {
            role.keys.len() == other.keys.len()
                && role.keys.iter().zip(&other.keys).all(|(a, b)| view.slot(*a) == view.slot(*b))
        })
        .fold(0, |mask, (bit, _)| mask | 1 << bit)
}

/// How long after an event a key is looked through.
fn sweep_after(program: &Program) -> Micros {
    let span = program.windows.iter().map(|window| window.span).max().unwrap_or(0);
    let leading =
        program.leading.iter().filter_map(|number| program.absences.get(*number)?.duration.as_ref());
    let leading = leading.map(BoundProgram::longest).max().unwrap_or(0);
    program.horizon.max(span).max(leading).max(program.cooldown.unwrap_or(0)).saturating_add(1)
}

/// A trailing absence whose floor decides is broken for the choice that ended at `end`.
fn broken(program: &Program, held: &KeyState, end: Position) -> bool {
    program
        .absences
        .iter()
        .zip(&held.absences)
        .any(|(absence, state)| absence.place == Place::Trailing && !absence.keeps_rows && state.floor > end)
}

/// Values of all windows at an event: `before` ones without it, others with it. The event joins its windows.
fn windows_at(
    program: &Program,
    held: &mut KeyState,
    event: &Event,
    roles: u64,
    key: &[Value],
    around: Surroundings<'_>,
) -> Vec<Value> {
    if program.windows.is_empty() {
        return Vec::new();
    }
    let scope = Scope {
        this: Some(event.view()),
        key,
        taken: &[],
        own: 0,
        windows: &[],
        latches: 0,
        partitions: around.partitions,
        tables: around.tables,
        time: event.ts,
    };
    let read = roles & program.reading != 0;
    for latch in 0..program.latches.len() {
        let windows = &program.latches[latch].windows;
        let looked = !windows.is_empty() && looks(program, roles, &scope);
        if looked
            && windows.iter().all(|window| held.windows.get(*window).is_none_or(|state| state.is_empty()))
        {
            held.latches |= 1 << latch;
        }
    }
    let mut values = vec![Value::Null; program.windows.len()];
    for ((value, window), state) in values.iter_mut().zip(&program.windows).zip(&held.windows) {
        if read && window.before.is_some() {
            *value = state.value(window);
        }
    }
    for (bit, role) in program.roles.iter().enumerate() {
        let RoleKind::Window(number) = role.kind else { continue };
        if roles >> bit & 1 == 0 || !all_true(&role.keyed, &scope) {
            continue;
        }
        if let (Some(window), Some(state)) = (program.windows.get(number), held.windows.get_mut(number)) {
            let value = window.argument.as_ref().map_or(Value::Bool(true), |argument| argument.eval(&scope));
            state.push(window, event.ts, value);
        }
    }
    for ((value, window), state) in values.iter_mut().zip(&program.windows).zip(&held.windows) {
        if read && window.before.is_none() {
            *value = state.value(window);
        }
    }
    values
}

/// Opens the latches whose value is below its limit at this event.
fn latches_after(program: &Program, latches: u32, roles: u64, scope: &Scope<'_>) -> u32 {
    if program.latches.is_empty() || !looks(program, roles, scope) {
        return latches;
    }
    program.latches.iter().enumerate().fold(latches, |open, (bit, latch)| {
        let below =
            latch.value.eval(scope).compare(&latch.limit.eval(scope)) == Some(std::cmp::Ordering::Less);
        if below { open | 1 << bit } else { open }
    })
}

fn looks(program: &Program, roles: u64, scope: &Scope<'_>) -> bool {
    program.roles.iter().enumerate().any(|(bit, role)| {
        roles >> bit & 1 == 1 && role.kind == RoleKind::Latch && all_true(&role.keyed, scope)
    })
}

/// One event on its way through the state of one key.
struct Stepping<'a> {
    program: &'a Program,
    state: &'a mut KeyState,
    timers: &'a mut VecDeque<(Micros, Position, Key)>,
    stats: &'a mut RuleStats,
    /// First events of this time belong to this revision.
    accepts: bool,
    event: &'a Arc<Event>,
    pos: Position,
    key: &'a [Value],
    windows: &'a [Value],
    around: Surroundings<'a>,
    out: &'a mut Vec<Alert>,
    used: &'a mut Vec<UsedUp>,
}

impl Stepping<'_> {
    fn run(&mut self, roles: u64, scope: &Scope<'_>) {
        let program = self.program;
        for (bit, role) in program.roles.iter().enumerate() {
            if let RoleKind::Cancel(number) = role.kind
                && roles >> bit & 1 == 1
                && all_true(&role.keyed, scope)
            {
                self.cancel(number);
            }
        }
        // From the last unit to the first, so that no event precedes itself.
        let mut place = program.roles.len();
        while place > 0 {
            place -= 1;
            let Some(unit) = program.roles.get(place).and_then(|role| unit_of(program, role)) else {
                continue;
            };
            let mut stored = false;
            let end = place;
            while place > 0
                && program.roles.get(place - 1).and_then(|role| unit_of(program, role)) == Some(unit)
            {
                place -= 1;
            }
            for bit in place..=end {
                let Some(role) = program.roles.get(bit) else { continue };
                if let RoleKind::Step(number) = role.kind
                    && roles >> bit & 1 == 1
                    && all_true(&role.keyed, scope)
                {
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
        self.look(roles, scope);
    }

    /// Absences and strictness come after the steps: no event forbids or breaks itself.
    fn look(&mut self, roles: u64, scope: &Scope<'_>) {
        let program = self.program;
        for (bit, role) in program.roles.iter().enumerate() {
            if roles >> bit & 1 == 0 {
                continue;
            }
            match role.kind {
                RoleKind::Absence(number) if all_true(&role.keyed, scope) => self.absence(number),
                RoleKind::Look if program.strict && all_true(&role.keyed, scope) => {
                    if let Some(seen) = self.state.seen.get_mut(role.stream) {
                        *seen = self.pos;
                    }
                }
                _ => {}
            }
        }
    }

    /// The event fits a step by itself: keeps it if some prefix could lead here. True if it did.
    fn step(&mut self, number: usize, unit: usize) -> bool {
        if self.pos <= self.state.used_to {
            return false;
        }
        let Some(reach_ts) = self.reach(number, unit) else { return false };
        if let Some(count) = self.stats.step_reached.get_mut(number) {
            *count += 1;
        }
        let last = unit + 1 == self.program.units.len();
        if self.is_full() && !last {
            return false;
        }
        let mut row = self.row(number, reach_ts);
        if unit == 0 {
            row.marked = !self.accepts || self.is_forbidden(&row);
            let plain = self.program.units.first().is_some_and(|unit| unit.steps.len() == 1)
                && self.program.steps.first().is_some_and(|step| step.max == 1);
            if row.marked && plain {
                return false;
            }
            if self.program.timeout.is_some() && !row.marked {
                self.wait(self.event.ts.saturating_add(self.program.within));
            }
        }
        if let Some(list) = self.state.lists.get_mut(number) {
            list.push_back(row);
        }
        true
    }

    /// The event may end a match: looks for complete choices, or sets a timer. True if an alert used it up.
    fn last_unit(&mut self, unit: usize) -> bool {
        let program = self.program;
        let moment = Moment {
            time: self.event.ts,
            by: FiredBy::Event,
            end: self.pos,
            key: self.key,
            windows: self.windows,
        };
        match program.ending {
            Ending::After(wait) => {
                self.wait(self.event.ts.saturating_add(wait));
                return false;
            }
            Ending::Read(_) => {
                let question =
                    Question { ask: Ask::Dues, ..question(program, self.state, &moment, self.around) };
                let found = search(question, &mut |_, _| Next::Stop);
                self.stats.no_deadline += u64::from(found.endless > 0);
                found.dues.into_iter().for_each(|due| self.wait(due));
                return false;
            }
            Ending::Event => {}
        }
        let fired = complete(program, self.state, self.stats, &moment, self.around, self.out, self.used);
        let full = self.around.limits.candidates.is_some_and(|cap| self.state.rows() > cap);
        for number in program.units.get(unit).map_or(0..0, |unit| unit.steps.clone()) {
            let keeps = program.steps.get(number).is_some_and(|step| step.keeps_end);
            if (!keeps || full)
                && let Some(list) = self.state.lists.get_mut(number)
                && list.back().is_some_and(|row| row.pos == self.pos)
            {
                list.pop_back();
            }
        }
        fired && program.overlap == Overlap::None
    }

    /// Sets a timer that counts from this event.
    fn wait(&mut self, due: Micros) {
        let timer = (due, self.pos, self.key.into());
        if self.timers.back().is_none_or(|(last, ..)| *last <= due) {
            self.timers.push_back(timer);
        } else {
            let at = self.timers.partition_point(|(other, pos, _)| (*other, *pos) <= (due, self.pos));
            self.timers.insert(at, timer);
        }
    }

    /// Time of the newest first event of any prefix that could lead to this step now; none if there is no such prefix.
    /// A filter: it may say yes too often, since only the search tests what depends on the choice.
    fn reach(&self, number: usize, unit: usize) -> Option<Micros> {
        if unit == 0 {
            return self.accepts.then_some(self.event.ts).or_else(|| self.open_reach());
        }
        let (step, own) = (self.program.steps.get(number)?, self.program.units.get(unit)?);
        let quiet = step.quiet.as_ref().map_or(0, BoundProgram::longest);
        let mut reach: Option<Micros> = None;
        for before in &own.before {
            let Some((complete, newest)) = self.newest_prefix(*before) else { continue };
            if own.within.as_ref().is_some_and(|within| self.event.ts - newest.ts > within.longest()) {
                continue;
            }
            // A single event that must directly precede this one is the newest of its list, or none is.
            let single = own.before.len() == 1 && step.max == 1 && self.is_single(*before);
            if own.immediately && single && self.union_before(unit, *before) != newest.pos {
                continue;
            }
            if self.event.ts - complete <= self.program.within.saturating_add(quiet) {
                reach = reach.max(Some(complete));
            }
        }
        reach
    }

    /// Of the prefixes that end in a unit and may be complete: the newest first event's time, and the newest row.
    fn newest_prefix(&self, unit: usize) -> Option<(Micros, &Row)> {
        let program = self.program.units.get(unit)?;
        let ready = |step: usize| {
            let min = self.program.steps.get(step)?.min;
            let list = self.state.lists.get(step)?;
            Some((list.get(list.len().checked_sub(min)?)?.reach_ts, list.back()?))
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
        let rows = program.steps.clone().filter_map(|step| self.state.lists.get(step)?.back());
        let newest = rows.max_by_key(|row| row.pos)?;
        Some((members().map(|(reach, _)| reach).max()?, newest))
    }

    fn is_single(&self, unit: usize) -> bool {
        let steps = self.program.units.get(unit).map_or(0..0, |unit| unit.steps.clone());
        steps.len() == 1 && self.program.steps.get(steps.start).is_some_and(|step| step.max == 1)
    }

    /// A revision that has been replaced takes no new first events, but its open first repeats and sets go on.
    fn open_reach(&self) -> Option<Micros> {
        let steps = self.program.units.first().map_or(0..0, |unit| unit.steps.clone());
        if self.is_single(0) {
            return None;
        }
        self.state.lists.get(steps)?.iter().filter_map(|list| list.back()).map(|row| row.reach_ts).max()
    }

    /// The last event of any stream of two units.
    fn union_before(&self, unit: usize, before: usize) -> Position {
        let seen = |unit: usize| {
            let steps = self.program.units.get(unit).map_or(0..0, |unit| unit.steps.clone());
            let streams = steps.filter_map(|step| self.program.steps.get(step)).map(|step| step.stream);
            streams.filter_map(|stream| self.state.seen.get(stream).copied()).max().unwrap_or(0)
        };
        seen(unit).max(seen(before))
    }

    fn row(&self, number: usize, reach_ts: Micros) -> Row {
        let step = self.program.steps.get(number);
        let unit = step.map_or(0, |step| step.unit);
        let (gap, before) =
            self.program.units.get(unit).map_or((&[][..], &[][..]), |unit| (&unit.gap, &unit.before));
        let strict = self.program.strict;
        Row {
            pos: self.pos,
            ts: self.event.ts,
            reach_ts,
            own_before: step.and_then(|step| self.state.seen.get(step.stream)).copied().unwrap_or(0),
            union_before: if strict {
                self.union_before(unit, before.first().copied().unwrap_or(unit))
            } else {
                0
            },
            floor: gap
                .iter()
                .filter_map(|gap| self.state.absences.get(*gap))
                .map(|absence| absence.floor)
                .max()
                .unwrap_or(0),
            seen: if strict && before.len() > 1 { self.state.seen.as_slice().into() } else { Box::default() },
            marked: false,
            event: Arc::clone(self.event),
            windows: if step.is_some_and(|step| step.keeps_windows) {
                self.windows.into()
            } else {
                Box::default()
            },
        }
    }

    /// A leading absence forbids that a choice begins with this row.
    fn is_forbidden(&self, row: &Row) -> bool {
        let program = self.program;
        if program.leading.is_empty() {
            return false;
        }
        let moment = Moment { time: row.ts, by: FiredBy::Event, end: row.pos, key: self.key, windows: &[] };
        let question = question(program, self.state, &moment, self.around);
        let mut taken = vec![Vec::new(); program.steps.len()];
        if let Some(first) = taken.first_mut() {
            first.push(row);
        }
        program.leading.iter().any(|number| {
            let (Some(absence), Some(state)) =
                (program.absences.get(*number), self.state.absences.get(*number))
            else {
                return false;
            };
            let begun = scope(&question, &taken, 0, Some(row));
            let Some(wait) = absence.duration.as_ref().and_then(|bound| bound.value(&begun)) else {
                return true;
            };
            let from = row.ts.saturating_sub(wait);
            if !absence.keeps_rows {
                return state.floor_ts.is_some_and(|ts| ts >= from);
            }
            state.rows.iter().filter(|row| row.ts >= from).any(|forbidding| {
                let terms = absence.cross.iter().find(|(stream, _)| *stream == forbidding.event.stream);
                let scope = scope(&question, &taken, 0, Some(forbidding));
                terms.is_none_or(|(_, terms)| all_true(terms, &scope))
            })
        })
    }

    fn cancel(&mut self, number: usize) {
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
        let Some(state) = self.state.absences.get_mut(number) else { return };
        if !absence.keeps_rows {
            state.floor = self.pos;
            state.floor_ts = leading.then_some(self.event.ts);
        } else if needed && state.rows.back().is_none_or(|row| row.pos != self.pos) {
            state.rows.push_back(Row {
                pos: self.pos,
                ts: self.event.ts,
                reach_ts: self.event.ts,
                own_before: 0,
                union_before: 0,
                floor: 0,
                seen: Box::default(),
                marked: false,
                event: Arc::clone(self.event),
                windows: self.windows.into(),
            });
        }
    }

    /// The cap on candidates is met: the newest is refused until the lists are below half of it.
    fn is_full(&mut self) -> bool {
        let Some(cap) = self.around.limits.candidates else { return false };
        let rows = self.state.rows();
        self.state.saturated = rows >= cap || (self.state.saturated && rows >= cap / 2);
        let full = rows >= cap;
        self.stats.capped += u64::from(full);
        full
    }
}

/// The unit of a role of a step.
fn unit_of(program: &Program, role: &Role) -> Option<usize> {
    match role.kind {
        RoleKind::Step(step) => program.steps.get(step).map(|step| step.unit),
        _ => None,
    }
}
