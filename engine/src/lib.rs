//! The Tripline matcher: events and watermarks in, alerts and state out. No clock, no I/O.
pub mod value;
pub mod event;
pub mod alert;
pub mod task;
