//! Several events at once: the memory that each of them will meet is read before the first of them moves anything.
//!
//! A key's state is found over four or five places in memory, each known only when the one before has been read; of one
//! event they are waited for one after another, of many events together. So the events are looked at in passes: what finds
//! the keys, the keys, their lists.
//! INVARIANT: nothing is changed here, and what an event does does not depend on it.

use crate::event::{Arriving, EventRef};
use crate::interface::Outputs;
use crate::keys::{Handle, hash_of};
use crate::task::Task;
use std::hint::black_box;

/// Most events that are looked at together: what they meet has to stay in the nearest cache.
const EVENTS: usize = 16;
/// Most states.
const STATES: usize = 64;

/// What a few events will meet.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Rules that want them, with their roles, event by event.
    wanted: Vec<(u32, u64)>,
    events: Vec<Meeting>,
    /// Rules with the hashes of keys, then with the keys' handles.
    hashes: Vec<(u32, u64)>,
    handles: Vec<(u32, Handle)>,
}

/// An event that some rule wants.
#[derive(Debug)]
struct Meeting {
    /// Of the events looked at.
    number: usize,
    /// Where its rules end.
    end: usize,
    /// A slot with the hash of its value as a key.
    hash: Option<(usize, u64)>,
}

impl Task {
    /// Takes events in their order: the same as [`Task::step`] for each in turn, and faster.
    pub fn step_all(&mut self, mut events: &[EventRef<'_>], out: &mut Outputs) {
        let mut ahead = std::mem::take(&mut self.ahead);
        while !events.is_empty() {
            let (now, later) = events.split_at(self.look_ahead(&mut ahead, events));
            let mut meetings = ahead.events.iter().peekable();
            let mut start = 0;
            for (number, event) in now.iter().enumerate() {
                let meeting = meetings.next_if(|meeting| meeting.number == number);
                let admitted = self.admit(event, out);
                match meeting {
                    Some(Meeting { end, hash, .. }) => {
                        let wanted = ahead.wanted.get(start..*end).unwrap_or_default();
                        start = *end;
                        if admitted {
                            self.run_wanted(&Arriving::hashed(*event, *hash), wanted, out);
                        }
                    }
                    None if admitted => self.release_complete(out),
                    None => {}
                }
            }
            events = later;
        }
        self.ahead = ahead;
    }

    /// Looks at the first events, one at least; gives how many.
    fn look_ahead(&mut self, ahead: &mut Ahead, events: &[EventRef<'_>]) -> usize {
        let Ahead { wanted, events: seen, hashes, handles } = ahead;
        wanted.clear();
        seen.clear();
        hashes.clear();
        handles.clear();
        let mut looked = 0;
        for event in events.iter().take(EVENTS) {
            let start = wanted.len();
            if start >= STATES {
                break;
            }
            looked += 1;
            self.index.wanted(event, &self.partition_names, &self.tables, wanted);
            if wanted.len() == start {
                continue;
            }
            let mut known = None;
            for (rule, roles) in wanted.get(start..).unwrap_or_default() {
                let program = self.rules.get(*rule as usize).map(|run| &run.program);
                let role = program.and_then(|program| program.roles.get(roles.trailing_zeros() as usize));
                if let Some([slot]) = role.map(|role| role.keys.as_slice()) {
                    let (_, hash) = *known.insert(
                        known
                            .filter(|(known, _)| known == slot)
                            .unwrap_or_else(|| (*slot, hash_of([event.slot(*slot)]))),
                    );
                    hashes.push((*rule, hash));
                }
            }
            seen.push(Meeting { number: looked - 1, end: wanted.len(), hash: known });
        }
        for (rule, hash) in hashes.iter() {
            let keys = self.rules.get(*rule as usize).map(|run| &run.state.keys);
            handles.extend(keys.and_then(|keys| keys.hashed(*hash)).map(|handle| (*rule, handle)));
        }
        let states = |(rule, handle): &(u32, Handle)| {
            let (_, state) = self.rules.get(*rule as usize)?.state.keys.get(*handle)?;
            Some(state)
        };
        // First what tells where the lists are, then what is in them.
        black_box(handles.iter().filter_map(states).map(|state| state.lists.len()).sum::<usize>());
        let ends = handles.iter().filter_map(states).flat_map(|state| &state.lists);
        black_box(ends.filter_map(|list| list.last()).map(|row| row.pos).sum::<u64>());
        looked
    }
}
