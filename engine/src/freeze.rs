//! A task that is saved while it works: frozen at a moment, then written in slices between its steps.
//!
//! INVARIANT: what the slices hold together is the task as it stood when it was frozen, whatever it has done since.

use crate::advance::{RuleRun, RuleState};
use crate::pieces::{Piece, append, append_rows};
use crate::task::Task;

/// What of a task is being saved, beside what its tables and queues know themselves.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    is_on: bool,
    /// The head, until it is fetched.
    head: Vec<u8>,
    /// Rules before this one are written.
    next: usize,
    /// Rules that were removed before they were written.
    removed: Vec<RuleState>,
    next_stream: usize,
}

impl Frozen {
    /// Rules are removed: what of them is frozen stays until it is written.
    pub(crate) fn keep(&mut self, removed: impl Iterator<Item = RuleRun>) {
        let states = removed.map(|run| run.state);
        self.removed.extend(states.filter(|state| state.frozen_as.is_some()));
        self.next = 0;
    }
}

impl RuleState {
    /// Writes at most so many of the rows that are frozen. True if these are all.
    fn save_more(&mut self, most: &mut usize, out: &mut Vec<u8>) -> bool {
        let Some(rule) = self.frozen_as else { return true };
        let is_all = self.keys.save_more(rule, most, out) && self.timers.save_more(rule, most, out);
        if is_all {
            self.frozen_as = None;
        }
        is_all
    }

    fn waiting(&self) -> usize {
        self.frozen_as.map_or(0, |_| self.keys.waiting() + self.timers.waiting())
    }
}

impl Task {
    /// Begins to save the task as it stands now: [`Self::save_more`] gives a level, which is all of it if `whole`, else what has
    /// changed since the last time that it was frozen. What was frozen before and was not fetched is given up; only a whole level may
    /// follow then.
    pub fn freeze(&mut self, whole: bool) {
        while self.save_more(usize::MAX, &mut Vec::new()) {}
        let with_tables = self.tables.take_changed() || whole;
        append(&Piece::Head(&self.head(with_tables)), &mut self.frozen.head);
        for (number, run) in (0..).zip(&mut self.rules) {
            let state = &mut run.state;
            let is_some = state.keys.freeze(whole) | state.timers.freeze(whole);
            state.frozen_as = is_some.then_some(number);
        }
        for stream in &mut self.streams {
            stream.id_order.freeze(whole);
        }
        (self.frozen.is_on, self.frozen.next, self.frozen.next_stream) = (true, 0, 0);
    }

    /// Appends more of what is frozen, at most so many rows and those that were written before they changed. True if there is
    /// more.
    pub fn save_more(&mut self, mut most: usize, out: &mut Vec<u8>) -> bool {
        let frozen = &mut self.frozen;
        if !frozen.is_on {
            return false;
        }
        out.append(&mut frozen.head);
        while let Some(state) = frozen.removed.last_mut() {
            if !state.save_more(&mut most, out) {
                return true;
            }
            frozen.removed.pop();
        }
        while let Some(run) = self.rules.get_mut(frozen.next) {
            if !run.state.save_more(&mut most, out) {
                return true;
            }
            frozen.next += 1;
        }
        while let Some(stream) = self.streams.get_mut(frozen.next_stream) {
            let number = frozen.next_stream as u32;
            append_rows(stream.id_order.save_more(&mut most), out, |rows| Piece::Ids {
                stream: number,
                rows,
            });
            if !stream.id_order.is_saved() {
                return true;
            }
            frozen.next_stream += 1;
        }
        append(&Piece::End, out);
        frozen.is_on = false;
        false
    }

    /// Bytes of rows that were written before they changed, and wait for [`Self::save_more`].
    #[must_use]
    pub fn save_waiting(&self) -> usize {
        let rules = self.rules.get(self.frozen.next..).unwrap_or_default().iter().map(|run| &run.state);
        let streams = self.streams.iter().map(|stream| stream.id_order.waiting());
        rules.chain(&self.frozen.removed).map(RuleState::waiting).sum::<usize>() + streams.sum::<usize>()
    }
}
