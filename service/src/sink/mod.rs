//! Where committed alerts go besides the store.

mod guard;
pub(crate) mod signature;
pub(crate) mod webhook;
