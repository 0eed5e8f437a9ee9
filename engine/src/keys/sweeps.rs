//! The places of a table to look through for what has run out, in the order in which they were noted. Times are rounded up, so
//! that many have the same one and each costs no more than its number.

use super::Handle;
use pattern_dsl::types::Micros;
use std::collections::VecDeque;

/// Of the time that a key is left alone, the part by which it may be looked through later.
///
/// WHY no larger part: what is due at one time is looked through at once.
const GRAIN: Micros = 1024;

/// Places, the first ones first, and in runs of how many they are due when.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    handles: VecDeque<Handle>,
    runs: VecDeque<(Micros, u32)>,
}

impl Sweeps {
    /// Notes a place to be looked through no sooner than `after` has passed since `now`, and not much later.
    pub(super) fn push(&mut self, handle: Handle, now: Micros, after: Micros) {
        let grain = (after / GRAIN).max(1);
        let due = now.saturating_add(after);
        let due = due.saturating_add(grain - 1 - due.saturating_sub(1).rem_euclid(grain));
        self.push_due(handle, due);
    }

    /// Notes a place to be looked through when its turn comes: behind those that are noted.
    pub(super) fn push_now(&mut self, handle: Handle) {
        self.push_due(handle, Micros::MIN);
    }

    fn push_due(&mut self, handle: Handle, due: Micros) {
        self.handles.push_back(handle);
        match self.runs.back_mut() {
            Some((last, count)) if *last == due => *count += 1,
            _ => self.runs.push_back((due, 1)),
        }
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Micros> {
        self.runs.front().map(|(due, _)| *due)
    }

    /// The first ones that are due by `now`.
    pub(super) fn due(&self, now: Micros) -> impl Iterator<Item = Handle> + Clone {
        let runs = self.runs.iter().take_while(move |(due, _)| *due <= now);
        let count = runs.map(|(_, count)| *count as usize).sum();
        self.handles.iter().take(count).copied()
    }

    /// Takes the first, if it is due by `now`.
    pub(super) fn pop(&mut self, now: Micros) -> Option<Handle> {
        let (_, count) = self.runs.front_mut().filter(|(due, _)| *due <= now)?;
        *count -= 1;
        if *count == 0 {
            self.runs.pop_front();
        }
        self.handles.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn reserve(&mut self, more: usize) {
        self.handles.reserve(more);
    }
}
