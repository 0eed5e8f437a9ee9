//! The commands, one module each: arguments, what they do, what they print.

pub mod bench;
pub mod check;
pub mod coverage;
mod diff;
pub mod explain;
pub mod fmt;
pub mod infer;
mod judge;
pub mod run;
mod savepoint;
pub mod snapshot;
mod summary;
pub mod test;
pub mod why;
