//! What a rule that fired says: the choice, its evidence, its id.

use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::{Destination, Mode};
use pattern_dsl::types::Micros;
use std::ops::Range;

/// The stream whose events are alerts, for rules that read them.
pub const ALERTS: &str = "alert";

/// A value that is shown, and whether it shows a masked field: then it is rendered as a hash.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The value as it is.
    pub value: Value,
    /// It shows a masked field.
    pub masked: bool,
}

impl Shown {
    /// A value that shows no masked field.
    #[must_use]
    pub fn plain(value: Value) -> Self {
        Self { value, masked: false }
    }
}

impl From<Value> for Shown {
    fn from(value: Value) -> Self {
        Self::plain(value)
    }
}

/// The text of `reason`, as it is, and where it shows masked fields.
#[derive(Debug, Clone, Default)]
pub struct Reason {
    /// The text with everything in it.
    pub text: String,
    /// In order: where the text shows a masked field, and the value that it shows there.
    pub masked: Vec<(Range<usize>, Value)>,
}

/// An alert with everything that its message shows. Rendering to JSON or text is the caller's.
#[derive(Debug, Clone)]
pub struct Alert {
    /// First 128 bits of BLAKE3 over rule name, key, `fired_by`, time and event identities; base32, 26 characters.
    pub id: String,
    /// Rule name.
    pub rule: ArcStr,
    /// The rule's revision, from 1.
    pub revision: u32,
    /// `title` of the rule.
    pub title: Option<ArcStr>,
    /// Effective mode.
    pub mode: Mode,
    /// Key parts: name and value.
    pub keys: Vec<(ArcStr, Shown)>,
    /// What completed the match.
    pub fired_by: FiredBy,
    /// The alert's moment, microseconds.
    pub time: Micros,
    /// Time of the first event.
    pub started: Micros,
    /// Time of the last event.
    pub ended: Micros,
    /// `severity`, default `medium`.
    pub severity: Shown,
    /// `score`, default by severity.
    pub score: Shown,
    /// `reason`; empty if the rule has none.
    pub reason: Reason,
    /// `emit`.
    pub fields: Vec<(ArcStr, Shown)>,
    /// One entry a step or absence, in written order.
    pub evidence: Vec<Evidence>,
    /// The bound of the whole match, and bounds that a lookup gave and a limit has cut.
    pub bounds: Vec<BoundUsed>,
    /// Lists and lookups that the rule reads: name, and the version that held at the alert's time, counted from 1.
    pub lists: Vec<(ArcStr, u64)>,
    /// Where the rule sends it; empty = the default topic.
    pub send: Vec<Destination>,
    /// Matches suppressed by the cool-down for this key since the last alert.
    pub suppressed_since_last: u64,
    /// A cap was met: the evidence may be incomplete.
    pub truncated: bool,
}

/// What completed a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FiredBy {
    /// Its last event.
    Event,
    /// The end of a trailing absence or of `until quiet for`.
    Timer,
    /// The end of `match within`, with a rule that has `on timeout`.
    Timeout,
}

/// How far a bound was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundUsed {
    /// Its text, such as `within 10m`.
    pub text: String,
    /// How much of it was used, in microseconds; of a bound that was cut, all that its limit allowed.
    pub used: Micros,
    /// The longer duration that a lookup gave, in microseconds.
    pub cut_from: Option<Micros>,
    /// That duration shows a masked field.
    pub masked: bool,
}

/// Evidence for one part of a rule.
#[derive(Debug, Clone)]
pub enum Evidence {
    /// A step and every event it took.
    Step {
        /// Its place among the rule's steps, from 0.
        place: usize,
        /// Alias or stream name.
        step: ArcStr,
        /// The step's stream.
        stream: ArcStr,
        /// All events taken, in order.
        events: Vec<EvidenceEvent>,
        /// Comparisons of its `where` at its first event.
        held: Vec<Held>,
    },
    /// An absence that was not broken.
    Absence {
        /// The source text of the absence.
        absent: String,
        /// Start of the silence (exclusive).
        from: Micros,
        /// End of the silence.
        until: Micros,
    },
}

/// One event behind an alert.
#[derive(Debug, Clone)]
pub struct EvidenceEvent {
    /// Declared id, or the source position (`auth.jsonl:17`).
    pub id: Shown,
    /// Event time.
    pub ts: Micros,
    /// The fields that the rule reads: dotted name, value.
    pub fields: Vec<(ArcStr, Shown)>,
}

/// A comparison that held, with both sides.
#[derive(Debug, Clone)]
pub struct Held {
    /// Source text.
    pub text: String,
    /// Left value.
    pub left: Shown,
    /// Right value.
    pub right: Shown,
}
