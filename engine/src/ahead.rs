//! Several events at once: the memory that each of them will meet is read before the first of them moves anything.
//!
//! A key's state is found over four or five places in memory, each known only when the one before has been read; of one
//! event they are waited for one after another, of many events together. So the events are looked at in passes: what finds
//! the keys, the keys, their lists.
//! INVARIANT: nothing is changed here, and what an event does does not depend on it.

use crate::advance::RuleRun;
use crate::event::{Arriving, EventRef};
use crate::index::Wanted;
use crate::interface::Outputs;
use crate::keys::{Near, hash_of};
use crate::predicate::Around;
use crate::row::Row;
use crate::state::KeyState;
use crate::task::Task;
use pattern_dsl::types::Micros;
use std::hint::black_box;
use std::ops::Range;

/// Most events that are looked at together: what they meet has to stay in the nearest cache.
const EVENTS: usize = 32;
/// Most states.
const STATES: usize = 64;
/// Most rules whose timers are looked at.
const RULES: usize = 4;
/// While there are no more rules than this, they are near already.
const MANY: usize = 500;
/// While all keys hold less than this, they are near already.
const FEW: usize = 2_000;

/// What a few events will meet.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Rules that want them, event by event.
    wanted: Vec<Wanted>,
    /// Where these keys are.
    near: Vec<Near>,
    events: Vec<Meeting>,
}

/// An event that some rule wants.
#[derive(Debug)]
struct Meeting {
    /// Of the events looked at.
    number: usize,
    /// Its rules.
    wanted: Range<usize>,
    /// A slot with the hash of its value as a key.
    hash: Option<(usize, u64)>,
}

impl Task {
    /// Takes events in their order: the same as [`Task::step`] for each in turn, and faster.
    pub fn step_all(&mut self, mut events: &[EventRef<'_>], out: &mut Outputs) {
        let mut ahead = std::mem::take(&mut self.ahead);
        while !events.is_empty() {
            let (now, later) = events.split_at(self.look_ahead(&mut ahead, events));
            let mut next = 0;
            for Meeting { number, wanted, hash } in &ahead.events {
                self.pass(now.get(next..*number).unwrap_or_default(), out);
                next = number + 1;
                let Some(event) = now.get(*number).filter(|event| self.admit(event, out)) else { continue };
                let near = ahead.near.get(wanted.clone()).unwrap_or_default();
                let wanted = ahead.wanted.get(wanted.clone()).unwrap_or_default();
                self.run_wanted(&Arriving::hashed(*event, *hash), wanted, near, out);
            }
            self.pass(now.get(next..).unwrap_or_default(), out);
            events = later;
        }
        self.ahead = ahead;
    }

    /// Takes events that no rule wants: time moves.
    #[inline]
    fn pass(&mut self, events: &[EventRef<'_>], out: &mut Outputs) {
        if self.pass_all(events, out) {
            return;
        }
        for event in events {
            if self.admit(event, out) {
                self.release_complete(out);
            }
        }
    }

    /// [`Self::pass`] at once, where none can be late or repeated: what is due rings in order of time all the same.
    #[inline]
    fn pass_all(&mut self, events: &[EventRef<'_>], out: &mut Outputs) -> bool {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return true };
        let (mut newest, mut is_plain) = (first.ts, self.history.is_none() && !self.any_merged);
        for event in events {
            is_plain &= event.id.is_none() & (event.partition == first.partition) & (event.ts >= newest);
            newest = event.ts;
        }
        let group = if self.options.sorted_input { 0 } else { first.partition };
        let before = last.ts.saturating_sub(1);
        if !is_plain || !self.clock.moves(first) || !self.clock.moves(last) {
            return false;
        }
        if self.is_due(Some(group), before) {
            self.ring(Some(group), before, out);
        }
        true
    }

    /// Looks at the first events, one at least; gives how many.
    fn look_ahead(&mut self, ahead: &mut Ahead, events: &[EventRef<'_>]) -> usize {
        let Ahead { wanted, near, events: seen } = ahead;
        wanted.clear();
        near.clear();
        seen.clear();
        let around = Around { partitions: &self.partition_names, tables: &self.tables };
        let mut looked = 0;
        for same in events.chunk_by(|a, b| a.stream == b.stream) {
            let same = same.get(..EVENTS - looked).unwrap_or(same);
            let mut some = self.index.ask(same, around);
            while some != 0 && wanted.len() < STATES {
                let place = some.trailing_zeros() as usize;
                some &= some - 1;
                let Some(event) = same.get(place) else { break };
                let start = wanted.len();
                self.index.gather(event, place, around, wanted);
                if wanted.len() > start {
                    seen.push(Meeting { number: looked + place, wanted: start..wanted.len(), hash: None });
                }
            }
            if some != 0 {
                looked += some.trailing_zeros() as usize;
                break;
            }
            looked += same.len();
            if looked >= EVENTS || wanted.len() >= STATES {
                break;
            }
        }
        if self.rules.len() > MANY {
            touch_rules(wanted.iter().filter_map(|wanted| self.rules.get(wanted.rule as usize)));
        }
        for meeting in seen.iter_mut() {
            let (Some(event), Some(wanted)) =
                (events.get(meeting.number), wanted.get(meeting.wanted.clone()))
            else {
                continue;
            };
            meeting.hash = wanted.first().and_then(|wanted| hash_ahead(event, *wanted));
        }
        for Meeting { number, wanted: range, hash } in seen.iter() {
            for wanted in wanted.get(range.clone()).unwrap_or_default() {
                let same = hash.filter(|(slot, _)| Some(*slot) == wanted.slot.map(usize::from));
                let hash = same.or_else(|| hash_ahead(events.get(*number)?, *wanted));
                let run = self.rules.get(wanted.rule as usize).zip(hash);
                near.push(run.map_or(Near::Unknown, |(run, (_, hash))| run.state.keys.near(hash)));
            }
        }
        if self.held < FEW {
            return looked;
        }
        let states = wanted.iter().zip(near.iter()).filter_map(|(wanted, near)| {
            let Near::At(handle) = near else { return None };
            let (_, state) = self.rules.get(wanted.rule as usize)?.state.keys.get(*handle)?;
            Some(state)
        });
        touch(states);
        if let Some(last) = looked.checked_sub(1).and_then(|last| events.get(last)) {
            self.look_at_timers(last.ts);
        }
        looked
    }

    /// Looks at the keys of the first timers that ring by `until`, and at those that are looked through by then.
    fn look_at_timers(&self, until: Micros) {
        let due = self.agenda.due(until).take(RULES);
        for run in due.filter_map(|rule| self.rules.get(rule)) {
            let keys = &run.state.keys;
            let handles = run.state.timers.in_order(until).take(EVENTS).chain(keys.swept(until).take(EVENTS));
            touch(handles.filter_map(|handle| Some(keys.get(handle)?.1)));
        }
    }
}

/// Reads what rules are found by, and what they count.
fn touch_rules<'r>(runs: impl Iterator<Item = &'r RuleRun> + Clone) {
    let counts = runs.clone().map(|run| {
        let (stats, keys) = (&run.state.stats, &run.state.keys);
        let counts = stats.wanted + stats.capped + stats.step_events.len() as u64 + stats.searches;
        counts + u64::from(keys.is_empty()) + run.closed_at
    });
    black_box(counts.sum::<u64>());
    black_box(runs.map(|run| run.program.creating).fold(0, |all, roles| all | roles));
}

/// Reads first what tells where the lists are, then the lists, then what is in them.
fn touch<'s>(states: impl Iterator<Item = &'s KeyState> + Clone) {
    black_box(states.clone().map(|state| usize::from(state.lists.is_many())).sum::<usize>());
    black_box(states.clone().map(|state| state.lists.len()).sum::<usize>());
    let ends = states.flat_map(|state| state.lists.iter()).filter_map(<[Row]>::last);
    black_box(ends.map(|row| row.pos).sum::<u64>());
}

/// The slot of the key that a rule knows an event by, and the hash of its value.
#[inline]
fn hash_ahead(event: &EventRef<'_>, wanted: Wanted) -> Option<(usize, u64)> {
    let slot = usize::from(wanted.slot?);
    let value = event.slot(slot);
    (!value.is_null()).then(|| (slot, hash_of([value])))
}
