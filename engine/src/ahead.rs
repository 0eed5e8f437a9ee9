//! Several events at once: the memory that each of them will meet is read before the first of them moves anything.
//!
//! A key's state is found over four or five places in memory, each known only when the one before has been read; of one
//! event they are waited for one after another, of many events together. So the events are looked at in passes: what finds
//! the keys, the keys, their lists.
//! INVARIANT: nothing is changed here, and what an event does does not depend on it.

use crate::event::{Arriving, EventRef};
use crate::index::Wanted;
use crate::interface::Outputs;
use crate::keys::{Near, hash_of};
use crate::task::Task;
use std::hint::black_box;
use std::ops::Range;

/// Most events that are looked at together: what they meet has to stay in the nearest cache.
const EVENTS: usize = 16;
/// Most states.
const STATES: usize = 64;

/// What a few events will meet.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Rules that want them, event by event.
    wanted: Vec<Wanted>,
    /// Where the keys are that these rules know the events by.
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
        for event in events {
            if self.admit(event, out) {
                self.release_complete(out);
            }
        }
    }

    /// Looks at the first events, one at least; gives how many.
    fn look_ahead(&mut self, ahead: &mut Ahead, events: &[EventRef<'_>]) -> usize {
        let Ahead { wanted, near, events: seen } = ahead;
        wanted.clear();
        near.clear();
        seen.clear();
        let mut looked = 0;
        for event in events.iter().take(EVENTS) {
            let start = wanted.len();
            if start >= STATES {
                break;
            }
            self.index.wanted(event, &self.partition_names, &self.tables, wanted);
            if wanted.len() > start {
                let mut hash: Option<(usize, u64)> = None;
                for one in wanted.get(start..).unwrap_or_default() {
                    near.push(self.find_ahead(event, one, &mut hash));
                }
                seen.push(Meeting { number: looked, wanted: start..wanted.len(), hash });
            }
            looked += 1;
        }
        let states = wanted.iter().zip(near.iter()).filter_map(|(wanted, near)| {
            let Near::At(handle) = near else { return None };
            let (_, state) = self.rules.get(wanted.rule as usize)?.state.keys.get(*handle)?;
            Some(state)
        });
        // First what tells where the lists are, then what is in them.
        black_box(states.clone().map(|state| state.lists.len()).sum::<usize>());
        let ends = states.flat_map(|state| &state.lists).filter_map(|list| list.last());
        black_box(ends.map(|row| row.pos).sum::<u64>());
        looked
    }

    /// Where the key is that a rule knows an event by.
    #[inline]
    fn find_ahead(&self, event: &EventRef<'_>, wanted: &Wanted, hash: &mut Option<(usize, u64)>) -> Near {
        let Some(slot) = wanted.slot.map(usize::from) else { return Near::Unknown };
        let value = event.slot(slot);
        if value.is_null() {
            return Near::Unknown;
        }
        let known = hash.filter(|(known, _)| *known == slot);
        let (_, hash) = *hash.insert(known.unwrap_or_else(|| (slot, hash_of([value]))));
        self.rules.get(wanted.rule as usize).map_or(Near::Unknown, |run| run.state.keys.near(hash))
    }
}
