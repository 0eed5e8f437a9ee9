//! One rule at work: an event in its order moves the state of its key; a timer completes what was waited for.
//!
//! Order within an event, as the language defines it: windows before it; the event joins the windows; latches; then what
//! [`crate::step`] does with it.

use crate::alert::{Alert, FiredBy};
use crate::deadlines::Deadlines;
use crate::event::{Arriving, EventRef};
use crate::expr::{Looked, Scope};
use crate::index::Wanted;
use crate::interface::RuleStats;
use crate::key::Key;
use crate::keys::{KeyTable, Near, hash_of};
use crate::overlap::{Moment, Surroundings, UsedUp, complete};
use crate::program::{Ending, Place, Program, Role, RoleKind};
use crate::row::Position;
use crate::search::all_true;
use crate::state::KeyState;
use crate::step::Stepping;
use crate::value::Value;
use pattern_dsl::types::Micros;
use smallvec::smallvec;
use std::sync::Arc;

/// A revision of a rule with the state of all its keys.
#[derive(Debug)]
pub(crate) struct RuleRun {
    pub(crate) program: Arc<Program>,
    pub(crate) state: RuleState,
    /// Where an alert of another revision last closed latches: the same event opens none.
    pub(crate) closed_at: Position,
}

/// The state of a revision: everything that a snapshot holds.
#[derive(Debug, Default)]
pub(crate) struct RuleState {
    pub(crate) keys: KeyTable,
    /// Ends of trailing absences, of `until quiet` and of `on timeout`, in order: when, the event they count from (the choice's
    /// last; of a time-out its first), its key. One whose event has gone rings for nothing.
    pub(crate) timers: Deadlines,
    /// First events count from this time on.
    pub(crate) from: Option<Micros>,
    /// First events count before this time only: a later revision has taken over.
    pub(crate) until: Option<Micros>,
    pub(crate) stats: RuleStats,
    /// The limit of all state has kept something out that may matter until then: alerts say that they may not be whole.
    pub(crate) refused_until: Option<Micros>,
    /// Its number among the rules of a state that is being saved, while some of it is still to be written.
    pub(crate) frozen_as: Option<u32>,
}

/// One event at one rule.
pub(crate) struct Turn<'a, 'e> {
    pub(crate) program: &'a Program,
    pub(crate) state: &'a mut RuleState,
    closed_at: Position,
    pub(crate) event: &'a Arriving<'e>,
    pub(crate) pos: Position,
    pub(crate) around: &'a Surroundings<'a>,
    pub(crate) out: &'a mut Vec<Alert>,
    pub(crate) used: &'a mut Vec<UsedUp>,
}

impl RuleState {
    /// First events of this time belong to the revision.
    pub(crate) fn accepts(&self, time: Micros) -> bool {
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }
}

impl RuleRun {
    /// A revision that has seen nothing; first events count from `from` on.
    pub(crate) fn new(program: Arc<Program>, from: Option<Micros>) -> Self {
        let steps = program.steps.len();
        let stats = RuleStats {
            step_events: smallvec![0; steps],
            step_reached: smallvec![0; steps],
            absence_met: smallvec![0; program.absences.len()],
            ..RuleStats::default()
        };
        Self { program, state: RuleState { from, stats, ..RuleState::default() }, closed_at: 0 }
    }

    /// Takes an event in the rule's order. False if no key holds or begins anything.
    #[expect(clippy::too_many_arguments, reason = "an event, what it is wanted for, and what is around")]
    pub(crate) fn event(
        &mut self,
        event: &Arriving<'_>,
        wanted: Wanted,
        near: Near,
        pos: Position,
        around: &Surroundings<'_>,
        out: &mut Vec<Alert>,
        used: &mut Vec<UsedUp>,
    ) -> bool {
        let (program, view) = (&*self.program, &event.view);
        let state = &mut self.state;
        let mut turn = Turn { program, state, closed_at: self.closed_at, event, pos, around, out, used };
        if let Some(slot) = wanted.slot.map(usize::from)
            && !view.slot(slot).is_null()
        {
            return turn.keyed(wanted.roles, std::slice::from_ref(view.slot(slot)), event.hash(slot), near);
        }
        let mut remaining = wanted.roles;
        let (mut null_key, mut met) = (false, false);
        while remaining != 0 {
            let first = remaining.trailing_zeros() as usize;
            let Some(role) = program.roles.get(first) else { return met };
            let same =
                if program.uniform_keys { remaining } else { same_key(program, role, remaining, view) };
            remaining &= !same;
            match *role.keys.as_slice() {
                [slot] if !view.slot(slot).is_null() => {
                    let key = std::slice::from_ref(view.slot(slot));
                    met |= turn.keyed(same, key, event.hash(slot), Near::Unknown);
                }
                _ if role.keys.iter().any(|slot| view.slot(*slot).is_null()) => null_key = true,
                _ => {
                    let key: Key = role.keys.iter().map(|slot| view.slot(*slot).clone()).collect();
                    met |= turn.keyed(same, &key, hash_of(&*key), Near::Unknown);
                }
            }
        }
        self.state.stats.null_keys += u64::from(null_key);
        met
    }

    /// Takes an event under one key.
    #[expect(clippy::too_many_arguments, reason = "what `event` takes, and the key")]
    pub(crate) fn event_of(
        &mut self,
        key: &[Value],
        event: &Arriving<'_>,
        roles: u64,
        pos: Position,
        around: &Surroundings<'_>,
        out: &mut Vec<Alert>,
        used: &mut Vec<UsedUp>,
    ) {
        let (program, state) = (&*self.program, &mut self.state);
        let mut turn = Turn { program, state, closed_at: self.closed_at, event, pos, around, out, used };
        turn.keyed(roles, key, hash_of(key), Near::Unknown);
    }
}

impl Turn<'_, '_> {
    /// False if the event met no state: its key is not held, and the event begins none or was kept out.
    fn keyed(&mut self, roles: u64, key: &[Value], hash: u64, near: Near) -> bool {
        let (program, pos, around) = (self.program, self.pos, self.around);
        let (now, accepts) = (self.event.view.ts, self.state.accepts(self.event.view.ts));
        let RuleState { keys, timers, stats, refused_until, .. } = &mut *self.state;
        if program.passing && keys.is_empty() {
            self.pass(roles, key);
            return true;
        }
        let capped = stats.capped;
        let handle = match keys.find_near(near, hash, key) {
            Some(handle) => handle,
            None if roles & program.creating == 0 => return false,
            None if around.full && !program.brief => {
                stats.capped += 1;
                *refused_until = Some(now.saturating_add(program.sweep_after));
                return false;
            }
            None => keys.insert(hash, key, || KeyState::new(program)),
        };
        let Some((_, held)) = keys.get_mut(handle) else { return false };
        let view = &self.event.view;
        let weight = held.weight();
        held.expire(program, now);
        let before = held.beside.latches;
        let windows = match program.windows.as_slice() {
            [] => Vec::new(),
            _ => windows_at(program, held, view, roles, key, around),
        };
        let mut scope = Scope {
            this: Some(Looked::Event(view)),
            program: Some(program),
            key,
            taken: &[],
            own: 0,
            windows: &windows,
            latches: held.beside.latches,
            partitions: around.partitions,
            tables: around.tables,
            time: now,
        };
        let latched = !program.latches.is_empty() && self.closed_at != pos;
        let latches = if latched { latches_after(program, scope.latches, roles, &scope) } else { before };
        scope.latches = latches;
        held.set_latches(latches);
        let mut step = Stepping {
            program,
            state: held,
            timers,
            stats,
            accepts,
            event: self.event,
            pos,
            handle,
            key,
            windows: &windows,
            around,
            out: self.out,
            used: self.used,
        };
        step.run(roles, &scope);
        if around.full && stats.capped > capped {
            *refused_until = Some(now.saturating_add(program.sweep_after));
        }
        let (idle, after) = (held.is_idle(program, now), held.weight());
        keys.weigh(weight, after);
        if idle {
            keys.remove(handle);
        } else {
            keys.sweep_after(handle, now, program.sweep_after);
        }
        true
    }
}

impl RuleRun {
    /// The earliest timer: when it is due, and the event that it counts from.
    pub(crate) fn next_timer(&self) -> Option<(Micros, Position)> {
        self.state.timers.first()
    }

    /// The earliest timer or sweep.
    pub(crate) fn next_due(&self) -> Option<Micros> {
        self.next_timer().map(|(due, _)| due).into_iter().chain(self.state.keys.next_sweep()).min()
    }

    /// Fires every timer due at or before `until`, of those due then only such that count from the event `last` or one
    /// before it; those due together in the order of their events.
    pub(crate) fn ring(
        &mut self,
        until: Micros,
        last: Position,
        around: &Surroundings<'_>,
        out: &mut Vec<Alert>,
        used: &mut Vec<UsedUp>,
    ) {
        let program = &*self.program;
        let by = if program.times_out { FiredBy::Timeout } else { FiredBy::Timer };
        let RuleState { keys, timers, stats, refused_until, .. } = &mut self.state;
        while timers.first().is_some_and(|timer| timer <= (until, last)) {
            let Some((due, event, handle)) = timers.pop() else { break };
            let around = &Surroundings { refused: refused_until.is_some_and(|until| due < until), ..*around };
            keys.change(handle, |key, held| {
                if !still_stands(program, held, event) || broken(program, held, event) {
                    return;
                }
                let windows = program.windows.iter().enumerate().map(|(number, window)| {
                    let state = held.beside.windows.get_mut(number)?;
                    state.evict(window, due);
                    Some(state.value(window))
                });
                let windows: Vec<Value> = windows.map(Option::unwrap_or_default).collect();
                let moment = Moment { time: due, by, end: event, key, windows: &windows };
                complete(program, held, stats, &moment, around, out, used);
            });
        }
    }

    /// Drops state that time has made useless, up to `now`.
    pub(crate) fn sweep(&mut self, now: Micros) {
        let program = &*self.program;
        let keys = &mut self.state.keys;
        // Each key once: those that stay go to the back, for later.
        for _ in 0..keys.sweeps() {
            let Some(handle) = keys.pop_sweep(now) else { return };
            // WHY: a key that only stays does not count as changed, or each would be saved again and again.
            let stays = |held: &KeyState| !held.runs_out(now) && !held.is_idle(program, now);
            let idle = match keys.get(handle) {
                Some((_, held)) if stays(held) => Some(false),
                _ => keys.change(handle, |_, held| {
                    held.expire(program, now);
                    held.is_idle(program, now)
                }),
            };
            match idle {
                Some(true) => keys.remove(handle),
                Some(false) => keys.sweep_after(handle, now, program.sweep_after),
                None => {}
            }
        }
    }

    /// Matches that may still complete: first events held, or ends waiting for their timer.
    pub(crate) fn still_open(&self) -> u64 {
        if self.program.ending != Ending::Event {
            return self.open_timers().filter(|(_, end, _, held)| !broken(&self.program, held, *end)).count()
                as u64;
        }
        let open = |held: &KeyState| self.program.first_steps().map(|step| held.lists.of(step).len()).sum();
        self.state.keys.iter().map(|(_, held)| -> usize { open(held) }).sum::<usize>() as u64
    }

    /// [`Self::still_open`] is more than nothing.
    pub(crate) fn is_open(&self) -> bool {
        if self.program.ending != Ending::Event {
            return self.open_timers().any(|(_, end, _, held)| !broken(&self.program, held, end));
        }
        self.state.keys.iter().any(|(_, held)| held.has_first(&self.program))
    }

    /// Timers whose event still stands, with their keys.
    pub(crate) fn open_timers(&self) -> impl Iterator<Item = (Micros, Position, &Key, &KeyState)> {
        self.state.timers.sorted().into_iter().filter_map(|(due, event, handle)| {
            let (key, held) = self.state.keys.get(handle)?;
            still_stands(&self.program, held, event).then_some((due, event, key, held))
        })
    }
}

/// The event that a timer counts from still stands: the last of a choice, or with `on timeout` a first one that began no
/// alert.
fn still_stands(program: &Program, held: &KeyState, event: Position) -> bool {
    let timeout = program.times_out;
    let unit = if timeout { program.units.first() } else { program.units.last() };
    unit.map_or(0..0, |unit| unit.steps.clone()).map(|step| held.lists.of(step)).any(|list| {
        let row = list.binary_search_by_key(&event, |row| row.pos).ok().and_then(|at| list.get(at));
        row.is_some_and(|row| !timeout || !row.is_marked())
    })
}

fn same_key(program: &Program, role: &Role, roles: u64, view: &EventRef<'_>) -> u64 {
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

/// A trailing absence whose floor decides is broken for the choice that ended at `end`.
fn broken(program: &Program, held: &KeyState, end: Position) -> bool {
    program
        .absences
        .iter()
        .zip(&held.beside.absences)
        .any(|(absence, state)| absence.place == Place::Trailing && !absence.keeps_rows && state.floor > end)
}

/// Values of all windows at an event: `before` ones without it, others with it. The event joins its windows, and latches whose
/// windows are all empty before it open.
pub(crate) fn windows_at(
    program: &Program,
    held: &mut KeyState,
    event: &EventRef<'_>,
    roles: u64,
    key: &[Value],
    around: &Surroundings<'_>,
) -> Vec<Value> {
    let scope = Scope {
        this: Some(Looked::Event(event)),
        program: Some(program),
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
            && windows
                .iter()
                .all(|window| held.beside.windows.get(*window).is_none_or(|state| state.is_empty()))
        {
            held.set_latches(held.beside.latches | 1 << latch);
        }
    }
    let mut values = vec![Value::Null; program.windows.len()];
    for (number, (window, state)) in program.windows.iter().zip(&held.beside.windows).enumerate() {
        let known = event.ts.saturating_sub(window.span) >= program.past.window(number);
        if read && known && window.before.is_some() {
            values[number] = state.value(window);
        }
    }
    for (bit, role) in program.roles.iter().enumerate() {
        let RoleKind::Window(number) = role.kind else { continue };
        let known = event.ts >= program.past.window(number);
        if roles >> bit & 1 == 0 || !known || !all_true(&role.keyed, &scope) {
            continue;
        }
        if let (Some(window), Some(state)) =
            (program.windows.get(number), held.beside.windows.get_mut(number))
        {
            let value = window.argument.as_ref().map_or(Value::Bool(true), |argument| argument.eval(&scope));
            state.push(window, event.ts, value);
            held.expires_by(event.ts.saturating_add(window.span));
        }
    }
    for ((value, window), state) in values.iter_mut().zip(&program.windows).zip(&held.beside.windows) {
        if read && window.before.is_none() {
            *value = state.value(window);
        }
    }
    values
}

/// Opens the latches whose value is below its limit at this event.
pub(crate) fn latches_after(program: &Program, latches: u32, roles: u64, scope: &Scope<'_>) -> u32 {
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
