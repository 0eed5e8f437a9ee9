//! The deadlines of one rule, soonest first: most are set in order of time, and need no more than a queue.

use crate::keys::Handle;
use crate::row::Position;
use pattern_dsl::types::Micros;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// When it rings, the event that it counts from, the key.
pub(crate) type Timer = (Micros, Position, Handle);

/// Timers of one rule. Those of one time ring in the order of their events, those of one event in the order in which they were
/// set.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    in_order: VecDeque<Timer>,
    /// Set for a time before that of the last in order; with their number, for their order.
    others: BinaryHeap<Reverse<(Micros, Position, u64, Handle)>>,
    set: u64,
}

impl Deadlines {
    pub(crate) fn set(&mut self, (due, event, handle): Timer) {
        if self.in_order.back().is_none_or(|(last, before, _)| (*last, *before) <= (due, event)) {
            self.in_order.push_back((due, event, handle));
        } else {
            self.others.push(Reverse((due, event, self.set, handle)));
            self.set += 1;
        }
    }

    /// The soonest: when it is due, and the event that it counts from.
    pub(crate) fn first(&self) -> Option<(Micros, Position)> {
        let in_order = self.in_order.front().map(|(due, event, _)| (*due, *event));
        let other = self.others.peek().map(|Reverse((due, event, ..))| (*due, *event));
        in_order.into_iter().chain(other).min()
    }

    /// Keys of the timers that ring by `until`, less those that were not set in order.
    pub(crate) fn in_order(&self, until: Micros) -> impl Iterator<Item = Handle> + Clone {
        self.in_order.iter().take_while(move |(due, ..)| *due <= until).map(|(_, _, handle)| *handle)
    }

    pub(crate) fn pop(&mut self) -> Option<Timer> {
        let first = self.first()?;
        if self.in_order.front().is_some_and(|(due, event, _)| (*due, *event) == first) {
            return self.in_order.pop_front();
        }
        self.others.pop().map(|Reverse((due, event, _, handle))| (due, event, handle))
    }

    /// All of them, in the order in which they ring.
    pub(crate) fn sorted(&self) -> Vec<Timer> {
        let in_order = self.in_order.iter().map(|(due, event, handle)| (*due, *event, 0, *handle));
        let mut all: Vec<_> = in_order.chain(self.others.iter().map(|Reverse(timer)| *timer)).collect();
        all.sort_by_key(|(due, event, number, _)| (*due, *event, *number));
        all.into_iter().map(|(due, event, _, handle)| (due, event, handle)).collect()
    }
}

impl FromIterator<Timer> for Deadlines {
    fn from_iter<I: IntoIterator<Item = Timer>>(timers: I) -> Self {
        let mut deadlines = Self::default();
        timers.into_iter().for_each(|timer| deadlines.set(timer));
        deadlines
    }
}
