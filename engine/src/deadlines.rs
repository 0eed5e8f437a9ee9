//! The deadlines of one rule, soonest first: most are set in order of time, and need no more than a queue.

use crate::keys::Handle;
use crate::pieces::{Piece, append, append_rows};
use crate::queue::Queue;
use crate::row::Position;
use pattern_dsl::types::Micros;
use std::collections::BTreeSet;
use std::ops::Bound;

/// When it rings, the event that it counts from, the key.
pub(crate) type Timer = (Micros, Position, Handle);

/// A timer that was not set in order: with its number, for the order of those of one event.
type Other = (Micros, Position, u64, Handle);

/// Timers of one rule. Those of one time ring in the order of their events, those of one event in the order in which they were
/// set.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    in_order: Queue<Timer>,
    /// Set for a time before that of the last in order.
    others: BTreeSet<Other>,
    /// How many of them were ever set.
    set: u64,
    /// They are being saved.
    saving: Option<Box<Saving>>,
}

/// What of the other timers is frozen.
#[derive(Debug)]
struct Saving {
    /// Those with a lower number.
    before: u64,
    /// Of these, such that ring no later than this one are written.
    written: Option<Other>,
    rows: Vec<u8>,
}

impl Saving {
    /// It has to be written before it goes.
    fn lacks(&self, timer: &Other) -> bool {
        timer.2 < self.before && self.written.as_ref().is_none_or(|written| timer > written)
    }
}

impl Deadlines {
    pub(crate) fn set(&mut self, (due, event, handle): Timer) {
        if self.in_order.back().is_none_or(|(last, before, _)| (*last, *before) <= (due, event)) {
            self.in_order.push((due, event, handle));
        } else {
            self.others.insert((due, event, self.set, handle));
            self.set += 1;
        }
    }

    /// The soonest: when it is due, and the event that it counts from.
    pub(crate) fn first(&self) -> Option<(Micros, Position)> {
        let in_order = self.in_order.front().map(|(due, event, _)| (*due, *event));
        let other = self.others.first().map(|(due, event, ..)| (*due, *event));
        in_order.into_iter().chain(other).min()
    }

    /// Keys of the timers that ring by `until`, less those that were not set in order.
    pub(crate) fn in_order(&self, until: Micros) -> impl Iterator<Item = Handle> + Clone {
        self.in_order.iter().take_while(move |(due, ..)| *due <= until).map(|(_, _, handle)| *handle)
    }

    pub(crate) fn pop(&mut self) -> Option<Timer> {
        let first = self.first()?;
        if self.in_order.front().is_some_and(|(due, event, _)| (*due, *event) == first) {
            return self.in_order.pop();
        }
        let timer = self.others.pop_first()?;
        if let Some(saving) = self.saving.as_mut().filter(|saving| saving.lacks(&timer)) {
            append(&timer, &mut saving.rows);
        }
        let (due, event, _, handle) = timer;
        Some((due, event, handle))
    }

    /// All of them, in the order in which they ring.
    pub(crate) fn sorted(&self) -> Vec<Timer> {
        let in_order = self.in_order.iter().map(|(due, event, handle)| (*due, *event, 0, *handle));
        let mut all: Vec<_> = in_order.chain(self.others.iter().copied()).collect();
        all.sort_by_key(|(due, event, number, _)| (*due, *event, *number));
        all.into_iter().map(|(due, event, _, handle)| (due, event, handle)).collect()
    }

    /// What says in a head which of the rows are still there: number of the first in order, and of the next other one.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        (self.in_order.first(), self.set)
    }

    /// What is here now is to be written: of those in order, unless `whole`, what was set since. False if that is nothing.
    ///
    /// LIMIT: the others are written whole each time. Only a rule has them that waits for as long as its events say.
    pub(crate) fn freeze(&mut self, whole: bool) -> bool {
        self.saving = (!self.others.is_empty())
            .then(|| Box::new(Saving { before: self.set, written: None, rows: Vec::new() }));
        self.in_order.freeze(whole) || self.saving.is_some()
    }

    /// Writes at most so many of those that are frozen. True if these are all.
    pub(crate) fn save_more(&mut self, rule: u32, most: &mut usize, out: &mut Vec<u8>) -> bool {
        append_rows(self.in_order.save_more(most), out, |rows| Piece::Timers { rule, rows });
        if let Some(saving) = &mut self.saving {
            let from = saving.written.map_or(Bound::Unbounded, Bound::Excluded);
            let mut others = self.others.range((from, Bound::Unbounded));
            let mut is_all = false;
            while *most > 0 {
                let Some(timer) = others.next() else {
                    is_all = true;
                    break;
                };
                *most -= 1;
                if timer.2 < saving.before {
                    append(timer, &mut saving.rows);
                }
                saving.written = Some(*timer);
            }
            append_rows(&mut saving.rows, out, |rows| Piece::Others { rule, rows });
            if is_all {
                self.saving = None;
            }
        }
        self.saving.is_none() && self.in_order.is_saved()
    }

    /// Bytes of rows that wait to be fetched.
    pub(crate) fn waiting(&self) -> usize {
        self.in_order.waiting() + self.saving.as_ref().map_or(0, |saving| saving.rows.len())
    }

    /// All that is here.
    pub(crate) fn save(&self, rule: u32, out: &mut Vec<u8>) {
        append_rows(&mut self.in_order.save(), out, |rows| Piece::Timers { rule, rows });
        let mut rows = Vec::new();
        self.others.iter().for_each(|timer| append(timer, &mut rows));
        append_rows(&mut rows, out, |rows| Piece::Others { rule, rows });
    }

    /// Puts back a timer that was in order.
    pub(crate) fn put(&mut self, (number, timer): (u64, Timer)) {
        self.in_order.put(number, timer);
    }

    pub(crate) fn put_other(&mut self, timer: Other) {
        self.others.insert(timer);
    }

    /// Another level begins, which holds all others anew.
    pub(crate) fn forget_others(&mut self) {
        self.others.clear();
    }

    /// All is put back.
    pub(crate) fn begin_at(&mut self, (first, set): (u64, u64)) {
        self.in_order.begin_at(first);
        self.set = set;
    }
}
