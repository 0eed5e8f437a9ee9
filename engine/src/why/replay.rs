//! The events of one key once more through a rule: what fired, and all that could have been a step's event.
//!
//! The rule itself runs as it did, with a journal of what counts as fired. Beside it stand lists from which nothing is
//! dropped: neither by bounds, absences, `cancel on` nor by what alerts used up. `why` searches those.
//! LIMIT: a replay knows one revision; what an older one had used up, or had in its windows, is not known to it.

use crate::advance::{RuleRun, latches_after, windows_at};
use crate::alert::{ALERTS, Alert};
use crate::chain::{in_order, reads};
use crate::deadlines::Deadlines;
use crate::event::{Arriving, Event, EventRef};
use crate::expr::{Looked, Scope};
use crate::interface::RuleStats;
use crate::overlap::{Fired, Surroundings, close_latches};
use crate::predicate::Around;
use crate::program::{Program, RoleKind};
use crate::row::Position;
use crate::search::{Ask, Question, all_true};
use crate::state::KeyState;
use crate::step::Stepping;
use crate::task::Task;
use crate::value::Value;
use crate::why::history::History;
use crate::window::WindowState;
use pattern_dsl::types::Micros;
use std::cell::RefCell;
use std::sync::Arc;

/// One rule and key, replayed.
pub(crate) struct Replay<'t> {
    task: &'t Task,
    pub(crate) program: &'t Program,
    pub(crate) key: Vec<Value>,
    /// Everything, nothing dropped.
    pub(crate) held: KeyState,
    pub(crate) fired: Vec<Fired>,
    /// Latches at each event, where the rule has any.
    latches: Vec<(Position, u32)>,
    /// By window: times and values of all its events.
    entries: Vec<Vec<(Micros, Value)>>,
    /// Timers due up to here have rung.
    pub(crate) now: Micros,
    /// A cap was met.
    pub(crate) capped: bool,
    /// Events of the key that the rule's streams hold.
    pub(crate) events: u64,
    /// Events of the key that time has not yet reached.
    pub(crate) waiting: Vec<Event>,
    /// Events of the key that `from .. where` leaves out.
    pub(crate) filtered: Vec<Event>,
}

impl<'t> Replay<'t> {
    pub(crate) fn new(
        task: &'t Task,
        number: usize,
        history: &'t History,
        program: &'t Program,
        key: Vec<Value>,
    ) -> Self {
        let direct = task.direct.get(number).copied().flatten();
        let newest = direct.and_then(|partition| task.clock.partitions.get(partition as usize));
        let newest = newest.map(|time| time.newest).filter(|newest| *newest > Micros::MIN);
        let released = task.clock.released;
        let rung = newest.unwrap_or(released).max(released).saturating_sub(1);
        let mut replay = Self {
            task,
            program,
            key,
            held: KeyState::new(program),
            fired: Vec::new(),
            latches: Vec::new(),
            entries: vec![Vec::new(); program.windows.len()],
            now: rung,
            capped: false,
            events: 0,
            waiting: Vec::new(),
            filtered: Vec::new(),
        };
        let mut events = ordered(history, program, direct.is_some());
        events.retain(|event| replay.is_of_key(event));
        if direct.is_none() {
            let (seen, waiting) = events.into_iter().partition(|event: &Event| event.ts < released);
            (events, replay.waiting) = (seen, waiting);
        }
        replay.events = events.len() as u64;
        if let Some(run) = task.rules.get(number) {
            replay.run(run, &events);
        }
        replay
    }

    /// Some role finds the key in the event.
    fn is_of_key(&self, event: &Event) -> bool {
        self.program.roles.iter().any(|role| {
            self.program.streams.get(role.stream) == Some(&event.stream)
                && has_key(event, &role.keys, &self.key)
        })
    }

    fn run(&mut self, run: &RuleRun, events: &[Event]) {
        let mut again = RuleRun::new(Arc::clone(&run.program), run.state.from);
        again.state.until = run.state.until;
        let journal = RefCell::new(Vec::new());
        let around = &Surroundings {
            partitions: &self.task.partition_names,
            limits: &self.task.options.limits,
            full: false,
            refused: false,
            count_only: false,
            alone: true,
            is_read: false,
            tables: &self.task.tables,
            journal: Some(&journal),
        };
        let (mut out, mut used): (Vec<Alert>, _) = (Vec::new(), Vec::new());
        for (place, event) in events.iter().enumerate() {
            let pos = place as Position + 1;
            let known = journal.borrow().len();
            again.ring(event.ts.saturating_sub(1), Position::MAX, around, &mut out, &mut used);
            self.close_latches(known < journal.borrow().len());
            self.keep(event, pos, run.state.accepts(event.ts), around);
            let known = journal.borrow().len();
            let roles = self.roles(&run.program, event);
            if roles != 0 {
                let event = Arriving::again(event);
                again.event_of(&self.key, &event, roles, pos, around, &mut out, &mut used);
            }
            self.close_latches(known < journal.borrow().len());
        }
        again.ring(self.now, Position::MAX, around, &mut out, &mut used);
        self.capped = again.state.stats.capped > 0;
        self.fired = journal.into_inner();
    }

    fn close_latches(&mut self, fired: bool) {
        if fired {
            self.held.set_latches(close_latches(self.program, self.held.beside.latches));
        }
    }

    /// The roles that an event plays for a program under the key.
    fn roles(&self, program: &Program, event: &Event) -> u64 {
        let (view, index) = (event.view(), &self.task.index);
        let around = Around { partitions: &self.task.partition_names, tables: &self.task.tables };
        let of_role = |bit: usize| program.predicates.get(bit).map_or(&[][..], |own| own);
        let plays = program.roles.iter().enumerate().filter(|(bit, role)| {
            program.streams.get(role.stream) == Some(&event.stream)
                && has_key(event, &role.keys, &self.key)
                && of_role(*bit).iter().all(|number| index.holds(*number, &view, around))
        });
        plays.fold(0, |roles, (bit, _)| roles | 1 << bit)
    }

    /// Adds an event to the lists from which nothing is dropped.
    fn keep(&mut self, event: &Event, pos: Position, accepts: bool, around: &Surroundings<'_>) {
        let (program, view) = (self.program, event.view());
        let roles = self.roles(program, event);
        if roles == 0 {
            self.filtered.push(event.clone());
            return;
        }
        for (window, program) in self.held.beside.windows.iter_mut().zip(&program.windows) {
            window.evict(program, event.ts);
        }
        let windows = windows_at(program, &mut self.held, &view, roles, &self.key, around);
        let bare = scope(self.task, &view, &self.key, &[], 0);
        for (bit, role) in program.roles.iter().enumerate() {
            if let (RoleKind::Window(number), true) = (role.kind, roles >> bit & 1 == 1)
                && all_true(&role.keyed, &bare)
                && let (Some(window), Some(entries)) =
                    (program.windows.get(number), self.entries.get_mut(number))
            {
                let value = window.argument.as_ref().map_or(Value::Bool(true), |node| node.eval(&bare));
                entries.push((event.ts, value));
            }
        }
        let looked = scope(self.task, &view, &self.key, &windows, self.held.beside.latches);
        let latches = latches_after(program, self.held.beside.latches, roles, &looked);
        self.held.set_latches(latches);
        if !program.latches.is_empty() {
            self.latches.push((pos, latches));
        }
        let looked = Scope { latches, ..looked };
        let mut stepping = Stepping {
            program,
            state: &mut self.held,
            timers: &mut Deadlines::default(),
            stats: &mut RuleStats::default(),
            accepts,
            event: &Arriving::again(event),
            pos,
            handle: 0,
            key: &self.key,
            windows: &windows,
            around,
            out: &mut Vec::new(),
            used: &mut Vec::new(),
        };
        stepping.keep(roles, &looked);
    }

    /// The question of every choice that begins at a position.
    pub(crate) fn question(&self, first: Position, time: Micros, work: u64) -> Question<'_> {
        Question {
            program: self.program,
            state: &self.held,
            key: &self.key,
            partitions: &self.task.partition_names,
            tables: &self.task.tables,
            ask: Ask::Explain,
            time,
            end: first,
            windows: &[],
            latches: self.latches_at(first),
            work,
        }
    }

    /// Latches as the event at a position found them.
    pub(crate) fn latches_at(&self, pos: Position) -> u32 {
        let at = self.latches.binary_search_by_key(&pos, |(pos, _)| *pos);
        at.ok().and_then(|at| self.latches.get(at)).map_or(u32::MAX, |(_, latches)| *latches)
    }

    /// The values of all windows at a timer.
    pub(crate) fn windows_at(&self, time: Micros) -> Vec<Value> {
        let values = self.program.windows.iter().zip(&self.entries).map(|(window, entries)| {
            let mut state = WindowState::new(window);
            for (ts, value) in entries.iter().filter(|(ts, _)| *ts <= time && *ts > time - window.span) {
                state.push(window, *ts, value.clone());
            }
            state.value(window)
        });
        values.collect()
    }
}

fn has_key(event: &Event, slots: &[usize], key: &[Value]) -> bool {
    slots.len() == key.len() && slots.iter().zip(key).all(|(slot, part)| event.view().slot(*slot) == part)
}

fn scope<'s>(
    task: &'s Task,
    event: &'s EventRef<'s>,
    key: &'s [Value],
    windows: &'s [Value],
    latches: u32,
) -> Scope<'s> {
    Scope {
        this: Some(Looked::Event(event)),
        program: None,
        key,
        taken: &[],
        own: 0,
        windows,
        latches,
        partitions: &task.partition_names,
        tables: &task.tables,
        time: event.ts,
    }
}

/// The events of a rule's streams in the rule's order; alerts come after all else of their time.
fn ordered(history: &History, program: &Program, as_they_came: bool) -> Vec<Event> {
    let rank = |event: &Event| program.streams.iter().position(|stream| *stream == event.stream);
    let taken = history.events.iter().filter(|(_, dropped)| dropped.is_none()).map(|(event, _)| event);
    let mut events: Vec<Event> = taken.filter(|event| rank(event).is_some()).cloned().collect();
    if !as_they_came {
        events.sort_by_key(|event| (event.ts, rank(event), event.partition, event.offset));
    }
    let mut alerts: Vec<_> = history.alerts.iter().filter(|alert| reads(&program.rule, alert)).collect();
    alerts.sort_by(|a, b| a.event.ts.cmp(&b.event.ts).then_with(|| in_order(a, b)));
    let reads_them = program.stream_names.iter().any(|name| name == ALERTS);
    let mut alerts = alerts.into_iter().filter(|_| reads_them).map(|alert| alert.event.clone()).peekable();
    let mut merged = Vec::new();
    for event in events {
        while let Some(alert) = alerts.next_if(|alert| alert.ts < event.ts) {
            merged.push(alert);
        }
        merged.push(event);
    }
    merged.extend(alerts);
    merged
}
