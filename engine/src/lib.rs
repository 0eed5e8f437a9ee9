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

mod advance;
mod aggregate;
pub mod alert;
mod collections;
mod compile;
mod emit;
pub mod event;
mod expr;
mod index;
mod program;
mod search;
mod snapshot;
mod state;
pub mod task;
mod time;
pub mod value;
pub mod why;
mod window;
