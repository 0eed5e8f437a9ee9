//! The rule language's definition (language section 5) as a program: for every moment it tries every choice.
//!
//! Naive on purpose and independent of the engine: it shares nothing with it but the checked rule ([`pattern_dsl::ir`]).
//! [`run`] says what a rule must do; [`random`] makes rules and events to compare an engine with it.
//!
//! Where the definition leaves something open, the choice taken here:
//! - an event with several keys: firings at one moment in the order steps as written, then the stream's own key;
//! - `min(a, b)` and the other functions of values are null if any argument is; `in` a list with a null is as `or` is, and
//!   so is `in @list[key]` where the key is null: unknown;
//! - a float that is not finite is null; a sum of whole numbers is exact and null if it does not fit at the end;
//! - a `reaches` looks at events whose key under the step is the latch's key; a window emptied by silence is one that
//!   holds no event that passes its own `where`;
//! - once a choice has fired at a moment, silenced ones at the same moment are not counted;
//! - of choices of one moment that differ only in which member of a `one of` took the event, the first that `having`
//!   accepts counts; if `unless` silences it, the others do not fire in its place;
//! - `until quiet for` reads its bound once: after the last event of the unit before, in a first unit at its first event;
//! - in a choice that times out, a member of the last set may be missing only if its minimum is not there by then;
//! - a speed is never negative: the time between the two is taken whichever comes first.

mod choice;
mod eval;
pub mod golden;
pub mod random;
mod run;
mod value;

pub use run::{Everything, Revision, run, run_all, run_revisions};

use pattern_dsl::ir::Content;
use pattern_dsl::types::Literal;
use std::collections::BTreeMap;

/// By the name of a list or lookup: from when (microseconds) it holds what. What the declaration says holds before all
/// that; of two versions of one time the later in the vector holds.
pub type Tables = BTreeMap<String, Vec<(i64, Content)>>;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Index into [`pattern_dsl::ir::Module::streams`].
    pub stream: usize,
    /// Its time in microseconds.
    pub ts: i64,
    /// Where it is stored: partition.
    pub partition: u32,
    /// Where it is stored: offset in the partition.
    pub offset: u64,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// Values by field index of the stream; `Null` if absent.
    pub fields: Vec<Literal>,
}

/// What completes an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FiredBy {
    /// The last event of the choice.
    Event,
    /// A trailing absence or `until quiet` that held to its end.
    Timer,
    /// `on timeout`.
    Timeout,
}

/// An alert that is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    /// The rule's name.
    pub rule: String,
    /// Values of the key's parts.
    pub key: Vec<Literal>,
    /// What completed it.
    pub fired_by: FiredBy,
    /// The moment's time.
    pub time: i64,
    /// What each step took: indices into the events given, in order.
    pub steps: Vec<Vec<usize>>,
    /// `reason` with its values; none if the rule has none.
    pub reason: Option<String>,
    /// A word.
    pub severity: Literal,
    /// A number.
    pub score: Literal,
    /// `emit`.
    pub fields: Vec<(String, Literal)>,
}

/// What a rule did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Alerts by moment over all keys.
    pub firings: Vec<Firing>,
    /// Matches held back by `cooldown`.
    pub suppressed_cooldown: u64,
    /// Moments at which `unless` silenced all that was complete.
    pub suppressed_unless: u64,
}
