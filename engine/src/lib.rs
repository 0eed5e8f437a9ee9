//! The Tripline matcher: events and watermarks in, alerts and state out. Deterministic; no clock, no I/O.
//!
//! The meaning of a match is a choice of where each step *begins*; everything else is forced. So one rule and key hold a
//! time-ordered candidate list per step, an event moves them in [`task`]'s order, and a search over the lists runs only
//! when the last event of a match has come or its timer rings. There are no forked runs and no second matcher.
//!
//! ```text
//! EventRef -> time (late? instant complete?) -> index (which rules, which roles) -> advance (keyed state)
//!          -> search (complete choices, earliest first) -> emit (alert) -> Outputs
//! ```
//!
//! Absent on purpose: clocks, randomness, files, threads, logs.

pub mod text;
pub mod value;
mod collections;
pub mod arithmetic;
mod aggregate;
mod function;

pub mod event;
pub mod alert;
mod interface;
mod stream;
mod predicate;
mod family;
mod index;
mod time;

mod tables;
mod row;
mod list;
mod expr;
mod program;
mod past;
mod node;
mod mask;
mod shape;
mod capture;
mod compile;
mod share;
pub mod topic;
mod window;
mod key;
mod state;
mod pieces;
mod queue;
mod keys;
mod deadlines;
mod advance;
mod revision;
mod step;
mod passing;
mod search;
mod plain;
mod fit;
mod set;
mod overlap;
mod emit;

pub mod task;
pub mod watch;
mod ahead;
mod weight;
mod timer;
mod chain;
mod found;
mod view;
mod freeze;
mod snapshot;
pub mod why;
