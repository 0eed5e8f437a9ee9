//! A simulation's place of snapshots, for the threads that belong to it.

use std::cell::RefCell;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// Named bytes; what can go wrong is the simulation's.
pub(crate) trait Shelf: Debug + Send + Sync {
    /// What begins with a prefix, without it.
    fn names(&self, prefix: &str) -> io::Result<Vec<String>>;
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// `is_new`: refused if there is something by that name.
    fn put(&self, name: &str, bytes: Vec<u8>, is_new: bool) -> io::Result<()>;
    fn delete(&self, name: &str) -> io::Result<()>;
}

thread_local! {
    static HERE: RefCell<Option<Arc<dyn Shelf>>> = const { RefCell::new(None) };
}

/// From now on this thread's snapshots are kept there.
pub(crate) fn keep_at(shelf: Option<Arc<dyn Shelf>>) {
    HERE.set(shelf);
}

pub(super) fn here() -> Option<Arc<dyn Shelf>> {
    HERE.with_borrow(Clone::clone)
}
