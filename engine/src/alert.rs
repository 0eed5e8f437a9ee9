//! What a rule that fired says: the choice, its evidence, its id.

use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::{Destination, Mode};
use pattern_dsl::types::Micros;

/// The stream whose events are alerts, for rules that read them.
pub const ALERTS: &str = "alert";

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
    pub keys: Vec<(ArcStr, Value)>,
    /// What completed the match.
    pub fired_by: FiredBy,
    /// The alert's moment, microseconds.
    pub time: Micros,
    /// Time of the first event.
    pub started: Micros,
    /// Time of the last event.
    pub ended: Micros,
    /// `severity`, default `medium`.
    pub severity: ArcStr,
    /// `score`, default by severity.
    pub score: Value,
    /// `reason`, rendered; empty if the rule has none.
    pub reason: String,
    /// `emit`.
    pub fields: Vec<(ArcStr, Value)>,
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
    pub id: String,
    /// Event time.
    pub ts: Micros,
    /// The fields that the rule reads: dotted name, value.
    pub fields: Vec<(ArcStr, Value)>,
    /// Names of fields (in `fields`) that are masked.
    pub masked: Vec<ArcStr>,
}

/// A comparison that held, with both sides.
#[derive(Debug, Clone)]
pub struct Held {
    /// Source text.
    pub text: String,
    /// Left value.
    pub left: Value,
    /// Right value.
    pub right: Value,
}
