//! Rules that are changed over HTTP in a group with several tasks: a log of changes, which every task takes in its order.
//!
//! A change is a record in the first partition of the control topic. Who is asked writes it there, and answers when it has read
//! it back: it is durable by then, and has its place among all others. Every task follows the log, and takes what comes after
//! the change that its last decision names, as a decision of its own.
//!
//! INVARIANT: which changes count hangs on the log alone: a change names the one of the same rule that it comes after, and
//! counts if no other has come between. So it is the same for every task and every worker.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A change as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    /// The rule.
    pub(super) id: String,
    /// Its source; none = it is deleted.
    pub(super) text: Option<String>,
    /// The change of this rule before it; 0 = there was none.
    pub(super) after: u64,
    /// When it was asked for, in microseconds.
    pub(super) recorded: i64,
}

/// A rule, as the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its last change that counts.
    pub(super) last: u64,
    pub(super) revision: u32,
    /// None: it was deleted.
    pub(super) text: Option<String>,
}

/// What the log says, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Book {
    rules: BTreeMap<String, Known>,
    counted: BTreeMap<u64, Arc<Change>>,
}

impl Book {
    /// The next record of the log, and its number: one more than its offset. True if it counts.
    fn take(&mut self, number: u64, change: Change) -> bool {
        let known = self.rules.get(&change.id);
        if known.map_or(0, |known| known.last) != change.after {
            return false;
        }
        let before = known.map_or(0, |known| known.revision);
        let revision = before + u32::from(change.text.is_some());
        let now = Known { last: number, revision, text: change.text.clone() };
        self.rules.insert(change.id.clone(), now);
        self.counted.insert(number, Arc::new(change));
        true
    }
}

/// The log as a process has read it, for all of its tasks.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    book: Mutex<Book>,
    /// The number of the last change that counts.
    last: AtomicU64,
}

impl Changes {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next record of the log. True if it counts.
    pub(super) fn take(&self, number: u64, change: Change) -> bool {
        let counts = self.book().take(number, change);
        if counts {
            self.last.store(number, Ordering::Release);
        }
        counts
    }

    /// A rule as the log says, if it does.
    pub(super) fn rule(&self, id: &str) -> Option<Known> {
        self.book().rules.get(id).cloned()
    }

    /// The change that a task takes next, which has taken all up to this one.
    pub(super) fn next(&self, taken: u64) -> Option<(u64, Arc<Change>)> {
        if self.last.load(Ordering::Acquire) <= taken {
            return None;
        }
        let book = self.book();
        book.counted.range(taken + 1..).next().map(|(number, change)| (*number, change.clone()))
    }

    /// How many changes come after this one.
    pub(super) fn waiting(&self, taken: u64) -> usize {
        match self.last.load(Ordering::Acquire) <= taken {
            true => 0,
            false => self.book().counted.range(taken + 1..).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str, text: Option<&str>, after: u64) -> Change {
        Change { id: id.to_owned(), text: text.map(str::to_owned), after, recorded: 0 }
    }

    #[test]
    fn of_two_changes_that_know_nothing_of_each_other_the_first_counts() {
        let changes = Changes::default();
        assert!(changes.take(3, change("a", Some("one"), 0)));
        assert!(!changes.take(5, change("a", Some("two"), 0)), "it does not know of the first");
        assert!(changes.take(6, change("b", Some("b"), 0)), "of another rule");
        assert!(changes.take(7, change("a", None, 3)));
        assert!(!changes.take(8, change("a", Some("three"), 3)));
        assert!(changes.take(9, change("a", Some("three"), 7)));
        let known = Known { last: 9, revision: 2, text: Some("three".to_owned()) };
        assert_eq!(changes.rule("a"), Some(known), "a revision has its number for ever");
        let mut taken = Vec::new();
        while let Some((number, _)) = changes.next(taken.last().copied().unwrap_or(0)) {
            taken.push(number);
        }
        assert_eq!(taken, [3, 6, 7, 9]);
        assert_eq!((changes.waiting(3), changes.waiting(9)), (3, 0));
    }
}
