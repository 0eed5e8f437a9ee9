//! What goes into a task and what comes out: inputs, outputs, limits, counters, refusals.

use crate::alert::Alert;
use crate::event::{EventRef, PartitionId, StreamId};
use pattern_dsl::types::Micros;
use smallvec::SmallVec;

const DAY: Micros = 86_400_000_000;

/// Caps. `None` lifts one; so does the default.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Events held as candidates per key and rule.
    pub candidates: Option<usize>,
    /// What all keys of all rules hold together: candidates, events of absences, values in windows, cool-downs, and one for
    /// each key.
    pub state: Option<usize>,
    /// Alerts of `overlap all` at one moment.
    pub matches_per_moment: Option<usize>,
    /// Tests in one search.
    pub search_work: Option<u64>,
    /// Alerts of a rule in a day (UTC, by the alert's time); further matches are silenced.
    pub alerts_per_rule_day: Option<u64>,
}

/// How a task handles events.
#[derive(Debug, Clone)]
pub struct Options {
    /// Caps.
    pub limits: Limits,
    /// Count matches and sum their checksum instead of building alerts (benchmarks).
    pub count_only: bool,
    /// The caller feeds events in order of time over all partitions: no partition is waited for.
    pub sorted_input: bool,
    /// Remember every event, for [`crate::task::Task::why`].
    pub keep_history: bool,
}

/// A partition of the input.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Name used in event identities, such as `auth.jsonl`.
    pub name: String,
    /// The streams whose events it may hold: their `late` and `in order` apply.
    pub streams: Vec<StreamId>,
}

/// What goes in.
pub enum Input<'a> {
    /// An event, in its partition's order.
    Event(EventRef<'a>),
    /// A partition has been silent for so long that it is not waited for until it speaks again (a recorded decision).
    Idle(PartitionId),
    /// Time moves to this instant: every partition is taken to have reached it (a recorded tick, or `--to-end`).
    Time(Micros),
    /// The input ends: release everything buffered; time stands at the newest event.
    End,
}

/// What comes out of one step; the caller drains it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Alerts in emission order.
    pub alerts: Vec<Alert>,
    /// Late events: partition, offset, event time, watermark they missed.
    pub late: Vec<(PartitionId, u64, Micros, Micros)>,
    /// Events with an id seen within `dedupe`: partition, offset.
    pub duplicates: Vec<(PartitionId, u64)>,
}

/// A counter for each part of a rule; most have two parts at most.
pub type Counts = SmallVec<[u64; 2]>;

/// Counters of one rule since the task began.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct RuleStats {
    /// Alerts sent.
    pub alerts: u64,
    /// Matches silenced by the cool-down.
    pub suppressed_cooldown: u64,
    /// Moments at which only choices silenced by `unless` were complete.
    pub suppressed_unless: u64,
    /// Events that some step, absence or window of the rule wanted.
    pub wanted: u64,
    /// Events that fitted each step's own tests (drop-off by step).
    pub step_events: Counts,
    /// For each step, how many times a prefix up to that step was complete.
    pub step_reached: Counts,
    /// For each absence, how many events came that it names while a match was where it looks. In the order: absences
    /// before each unit in turn, leading, trailing, `cancel on`.
    pub absence_met: Counts,
    /// Matches silenced by `alerts_per_rule_day`.
    pub suppressed_day: u64,
    /// The day of the last alert, counted from the epoch, and how many that day had.
    pub day: (i64, u64),
    /// Events skipped for a null key part.
    pub null_keys: u64,
    /// Matches still waiting (open first events, pending timers).
    pub still_open: u64,
    /// Events held as candidates, one for each step that holds it.
    pub candidates: u64,
    /// Times a cap was met.
    pub capped: u64,
    /// Times that complete matches were searched for.
    pub searches: u64,
    /// Tests of rows that the searches made.
    pub rows_walked: u64,
    /// Matches that never complete, since a bound that they read is unknown.
    pub no_deadline: u64,
    /// `count_only`: matches, and the checksum of performance.md section 2.
    pub matches: u64,
    /// See `matches`.
    pub checksum: u64,
}

/// Why rules could not be activated.
#[derive(Debug)]
#[non_exhaustive]
pub enum ActivateError {
    /// A literal pattern (regular expression, network, time zone) is invalid; the language should have refused it.
    Pattern(String),
    /// The rule wants events in more than 64 ways (steps, absences, windows), or has more than 32 `reaches`.
    TooWide(String),
    /// Eight older revisions of the rule still have open matches.
    DrainFull(String),
}

impl std::fmt::Display for ActivateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pattern(why) => write!(f, "a pattern does not compile: {why}"),
            Self::TooWide(rule) => {
                write!(
                    f,
                    "rule `{rule}` has more than 64 steps, absences and windows: split it into several rules"
                )
            }
            Self::DrainFull(rule) => write!(f, "eight revisions of `{rule}` still have open matches"),
        }
    }
}
impl std::error::Error for ActivateError {}

impl RuleStats {
    /// The day of `time` has had as many alerts as it may.
    pub(crate) fn is_day_full(&self, time: Micros, cap: Option<u64>) -> bool {
        let (day, sent) = self.day;
        cap.is_some_and(|cap| cap <= if day == time.div_euclid(DAY) { sent } else { 0 })
    }

    /// Counts an alert.
    pub(crate) fn sent(&mut self, time: Micros) {
        // Most are of the day of the one before: no division.
        if !(0..DAY).contains(&time.wrapping_sub(self.day.0.wrapping_mul(DAY))) {
            self.day = (time.div_euclid(DAY), 0);
        }
        self.day.1 += 1;
        self.alerts += 1;
    }

    /// Adds the counts of another revision; steps shown are those of the newest.
    pub(crate) fn add(&mut self, other: &Self) {
        self.alerts += other.alerts;
        self.suppressed_cooldown += other.suppressed_cooldown;
        self.suppressed_unless += other.suppressed_unless;
        self.suppressed_day += other.suppressed_day;
        self.day = other.day;
        self.null_keys += other.null_keys;
        self.still_open += other.still_open;
        self.wanted += other.wanted;
        self.candidates += other.candidates;
        self.capped += other.capped;
        self.searches += other.searches;
        self.rows_walked += other.rows_walked;
        self.no_deadline += other.no_deadline;
        self.matches += other.matches;
        self.checksum = self.checksum.wrapping_add(other.checksum);
        // Steps of the newest revision are the ones to show.
        self.step_events.clone_from(&other.step_events);
        self.step_reached.clone_from(&other.step_reached);
        self.absence_met.clone_from(&other.absence_met);
    }
}
