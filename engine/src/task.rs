//! The event machine: `step(Input) -> Outputs`, `save`, `restore`. No clock, no I/O.

use crate::alert::Alert;
use crate::event::{EventRef, Layout, PartitionId, StreamId};
use pattern_dsl::ir::Module;
use pattern_dsl::types::{Literal, Micros};
use std::collections::BTreeMap;

/// Caps (surfaces.md section 2). `None` lifts one.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Events held as candidates per key and rule.
    pub candidates: Option<usize>,
    /// Alerts of `overlap all` at one moment.
    pub matches_per_moment: Option<usize>,
    /// Tests in one search.
    pub search_work: Option<u64>,
}

/// How a task handles events.
#[derive(Debug, Clone)]
pub struct Options {
    /// Caps.
    pub limits: Limits,
    /// Count matches and sum their checksum instead of building alerts (benchmarks).
    pub count_only: bool,
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

/// Counters of one rule since the task began.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct RuleStats {
    /// Alerts sent.
    pub alerts: u64,
    /// Matches silenced by the cool-down.
    pub suppressed_cooldown: u64,
    /// Moments at which only choices silenced by `unless` were complete.
    pub suppressed_unless: u64,
    /// Events that fitted each step's own tests (drop-off by step).
    pub step_events: Vec<u64>,
    /// For each step, how many times a prefix up to that step was complete.
    pub step_reached: Vec<u64>,
    /// Events skipped for a null key part.
    pub null_keys: u64,
    /// Matches still waiting (open first events, pending timers).
    pub still_open: u64,
    /// Times a cap was met.
    pub capped: u64,
    /// `count_only`: matches, and the checksum of performance.md section 2.
    pub matches: u64,
    /// See `matches`.
    pub checksum: u64,
}

/// One attempt, as `why` tells it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// True if this attempt fired.
    pub fired: bool,
    /// For each step begun: its name, time, event ids.
    pub steps: Vec<(String, Micros, Vec<String>)>,
    /// The step or clause that failed: name.
    pub failed_at: Option<String>,
    /// The comparison's text with both values, or why nothing came (`no transfer within 1h of entry`).
    pub because: Option<String>,
}

/// Why rules could not be activated.
#[derive(Debug)]
#[non_exhaustive]
pub enum ActivateError {
    /// The regular expression of a `matches` is invalid or too large (the language should have refused it).
    Pattern(String),
}

/// One matcher with its keyed state.
#[derive(Debug)]
pub struct Task {
    layout: Layout,
}

impl Task {
    /// An empty task.
    pub fn new(options: Options) -> Self {
        let _ = options;
        Self { layout: Layout::default() }
    }
    /// Fields that decoders have to deliver; grows only in [`Task::activate`].
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// Registers a stream's time settings (also done by `activate` for every stream of its module). Idempotent by name.
    pub fn add_stream(&mut self, stream: &pattern_dsl::ir::Stream) -> StreamId {
        let _ = stream;
        0
    }
    /// Id of a stream by name.
    pub fn stream_id(&self, name: &str) -> Option<StreamId> {
        let _ = name;
        None
    }
    /// Declares a partition before its first event.
    pub fn add_partition(&mut self, partition: Partition) -> PartitionId {
        let _ = partition;
        0
    }
    /// Adds the module's rules, each replacing (draining) an older revision of the same name. A rule sees events with
    /// time >= `at`; `None` = all. Lists are by name. Returns rule names with their revision.
    ///
    /// # Errors
    /// A pattern that does not compile; nothing is changed then.
    pub fn activate(
        &mut self,
        module: &Module,
        lists: &BTreeMap<String, Vec<Literal>>,
        at: Option<Micros>,
    ) -> Result<Vec<(String, u32)>, ActivateError> {
        let _ = (module, lists, at);
        Ok(Vec::new())
    }
    /// Removes a rule; its open matches end. False if there is none.
    pub fn retire(&mut self, rule: &str) -> bool {
        let _ = rule;
        false
    }
    /// The first instant after every event time accepted so far: where a rule recorded now takes effect.
    pub fn next_activation(&self) -> Micros {
        0
    }
    /// Takes one input; appends what it causes to `out`.
    pub fn step(&mut self, input: Input<'_>, out: &mut Outputs) {
        let _ = (input, out);
    }
    /// What holds the newest accepted events back: a stream and the time up to which events are released. None = nothing.
    pub fn held_until(&self) -> Option<(String, Micros)> {
        None
    }
    /// Counters by rule name, in name order.
    pub fn stats(&self) -> Vec<(String, RuleStats)> {
        Vec::new()
    }
    /// The whole state as plain rows.
    pub fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Puts back a saved state into a task with the same rules activated.
    ///
    /// # Errors
    /// Bytes that are not such a state.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let _ = bytes;
        Ok(())
    }
    /// For each rule the closest attempts of one key over the events still held; filled by a task made for `why`.
    pub fn attempts(&self, rule: &str, key: &[String]) -> Vec<Attempt> {
        let _ = (rule, key);
        Vec::new()
    }
}
