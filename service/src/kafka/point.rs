//! What the next transaction will hold.

use super::control::{self, Decision};
use super::mark::{Mark, Tally};
use super::record::{self, Origin, Outgoing};
use crate::commit::CommitPoint;
use crate::config::Kafka;
use crate::serve::core::{Core, Cut};
use crate::serve::snapshot::Reference;
use crate::store::Control;
use engine::alert::Alert;
use metrics::counter;
use pattern_dsl::ir::{Destination, Mode};

/// Records and bytes at which a burst is written at once.
const RECORDS_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// Gathers a burst.
#[derive(Debug)]
pub(crate) struct KafkaPoint {
    kafka: Kafka,
    task: i32,
    structured: bool,
    lineage: String,
    /// Whose commits these are.
    writer: String,
    /// With all that was gathered.
    tally: Tally,
    decisions: u64,
    /// The last change of the group's log that the task has taken.
    pub(crate) changes: u64,
    /// The newest durable snapshot.
    pub(crate) snapshot: Reference,
    records: Vec<Outgoing>,
    bytes: usize,
}

/// What one transaction holds: complete, and the same whenever it is written.
#[derive(Debug, Clone)]
pub(crate) struct Burst {
    pub(crate) records: Vec<Outgoing>,
    pub(crate) mark: Mark,
    pub(crate) cut: Cut,
}

impl KafkaPoint {
    pub(crate) fn new(
        (kafka, task): (Kafka, i32),
        structured: bool,
        (lineage, writer): (String, String),
        tally: Tally,
        decisions: u64,
        snapshot: Reference,
    ) -> Self {
        Self {
            kafka,
            task,
            structured,
            lineage,
            writer,
            tally,
            decisions,
            changes: 0,
            snapshot,
            records: Vec::new(),
            bytes: 0,
        }
    }

    /// There is more to say than offsets.
    pub(crate) fn has_words(&self) -> bool {
        !self.records.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= RECORDS_MAX || self.bytes >= BYTES_MAX
    }

    /// A record that is no event.
    pub(crate) fn dead_letter(&mut self, origin: Origin<'_>, code: &str, message: &str) {
        counter!("tripline_dead_letters_total", "reason" => code.to_owned()).increment(1);
        let why = [("tripline_error_code", code.to_owned()), ("tripline_error_message", message.to_owned())];
        self.push(record::passed_on(origin, &self.kafka.dead_letters_topic, &why));
    }

    /// An event that came after its time.
    pub(crate) fn late(&mut self, origin: Origin<'_>, time: &str, watermark: &str) {
        let why =
            [("tripline_late_time", time.to_owned()), ("tripline_late_watermark", watermark.to_owned())];
        self.push(record::passed_on(origin, &self.kafka.late_topic, &why));
    }

    /// All that was gathered, as the burst after `epoch`, read up to `cut`.
    pub(crate) fn seal(&mut self, epoch: u64, cut: Cut) -> Burst {
        let lineage = self.lineage.clone();
        let mark = Mark {
            lineage,
            epoch: epoch + 1,
            tally: self.tally,
            decisions: self.decisions,
            snapshot: self.snapshot,
            writer: self.writer.clone(),
        };
        self.push(control::of_head(&self.kafka, self.task, &mark, &cut));
        self.bytes = 0;
        Burst { records: std::mem::take(&mut self.records), mark, cut }
    }

    fn push(&mut self, record: Outgoing) {
        self.bytes += record.size();
        self.records.push(record);
    }
}

impl CommitPoint for KafkaPoint {
    fn decision(&mut self, control: Control, core: &Core) {
        let decision = Decision { seq: self.decisions, cut: core.cut(), changes: self.changes, control };
        self.decisions += 1;
        self.push(control::of_decision(&self.kafka, self.task, &decision));
    }

    /// An alert goes to the alerts' topic, and to those that its rule names as well.
    fn alert(&mut self, alert: &Alert) {
        self.tally.add(&alert.id);
        let shadow = alert.mode == Mode::Shadow;
        let own = if shadow { &self.kafka.shadow_topic } else { &self.kafka.alerts_topic };
        let record = record::of_alert(alert, own, self.structured);
        for destination in alert.send.iter().filter(|_| !shadow) {
            if let Destination::Topic(topic) = destination
                && *topic != record.topic
            {
                self.push(Outgoing { topic: topic.clone(), ..record.clone() });
            }
        }
        self.push(record);
    }
}
