//! The account of what all keys hold together, for the limit that it has.
//!
//! INVARIANT: [`Task::held`] is the sum of [`crate::state::KeyState::weight`] over all keys of all rules.

use crate::task::Task;
use std::ops::Range;

impl Task {
    /// What all keys of all rules hold together, as [`crate::task::Limits::state`] counts it.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// They hold as much as they may.
    pub(crate) fn is_full(&self) -> bool {
        self.options.limits.state.is_some_and(|cap| self.held >= cap)
    }

    pub(crate) fn weight_of(&self, rules: Range<usize>) -> usize {
        self.rules.get(rules).unwrap_or_default().iter().map(|run| run.state.keys.weight()).sum()
    }

    /// Begins the account anew.
    pub(crate) fn weigh_all(&mut self) {
        self.held = self.weight_of(0..self.rules.len());
    }

    /// Something of what some rules hold has changed.
    pub(crate) fn weigh(&mut self, rules: Range<usize>, before: usize) {
        self.held = self.held + self.weight_of(rules) - before;
    }
}
