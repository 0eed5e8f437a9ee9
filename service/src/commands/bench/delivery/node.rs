//! What the benchmarks do with a Kafka node: make topics, write events, read them and alerts.

use super::{Alerts, Reader};
use crate::commands::bench::BenchArgs;
use crate::commands::bench::events::Row;
use crate::commands::bench::json::Lines;
use crate::config::Tasks;
use crate::failure::Failure;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Of the topic of events.
pub(super) const PARTITIONS: i32 = 2;
const CALL: Duration = Duration::from_secs(30);
/// Nothing of what is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::finding(format!("Kafka: {error}"))
}

/// A node, and a name that no other run uses.
pub(super) struct Node {
    brokers: String,
    name: String,
}

impl Node {
    /// # Errors
    /// None was named.
    pub(super) fn of(args: &BenchArgs) -> Result<Self, Failure> {
        let brokers = args.kafka.clone().ok_or_else(|| {
            Failure::usage(format!("bench {}: say where Kafka is with --kafka HOST:PORT", args.what))
        })?;
        let name = format!("bench-{}", crate::serve::now_micros());
        Ok(Self { brokers, name })
    }

    pub(super) fn topic(&self, of: &str) -> String {
        format!("{}.{of}", self.name)
    }

    /// A service's own topics, so that nothing is left of an earlier round.
    pub(super) fn config(&self, round: &str, tasks: Tasks) -> String {
        let name = self.topic(round);
        format!(
            "[kafka]\nbrokers = \"{}\"\ntasks = \"{}\"\ngroup = \"{name}\"\nalerts_topic = \"{name}.alerts\"\nshadow_topic = \"{name}.shadow\"\n\
             late_topic = \"{name}.late\"\ndead_letters_topic = \"{name}.dead\"\ncontrol_topic = \"{name}.control\"\n\
             [limits]\nalerts_per_rule_day = 1000000000\n",
            self.brokers,
            tasks.name()
        )
    }

    pub(super) fn alerts_topic(&self, round: &str) -> String {
        format!("{}.alerts", self.topic(round))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Makes topics, each with so many partitions.
    pub(super) fn create(&self, topics: &[(&str, i32)]) -> Result<(), Failure> {
        let admin: AdminClient<DefaultClientContext> = self.client().create().map_err(failed)?;
        let new: Vec<_> = topics
            .iter()
            .map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(1)))
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(CALL));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let begun = Instant::now();
        loop {
            let results = runtime.block_on(admin.create_topics(&new, &options)).map_err(failed)?;
            let errors: Vec<RDKafkaErrorCode> =
                results.into_iter().filter_map(|r| r.err().map(|(_, code)| code)).collect();
            match errors.first() {
                None => return Ok(()),
                // A node that has just come up does not count itself for some moments.
                Some(RDKafkaErrorCode::InvalidReplicationFactor) if begun.elapsed() < CALL => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Some(code) => return Err(failed(code)),
            }
        }
    }

    pub(super) fn writer(&self, linger_ms: u32) -> Result<Writer, Failure> {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("linger.ms", linger_ms.to_string());
        config.set("queue.buffering.max.messages", "1000000").set("queue.buffering.max.kbytes", "1048576");
        Ok(Writer { producer: config.create().map_err(failed)?, topic: self.topic("ev") })
    }

    /// A reader of committed records, from the first on. `wait_ms`: how long the broker may wait for more.
    pub(super) fn reader(&self, topic: &str, wait_ms: u32) -> Result<BaseConsumer, Failure> {
        let mut config = self.client();
        config.set("group.id", self.topic("reader")).set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        config.set("fetch.wait.max.ms", wait_ms.to_string());
        let consumer: BaseConsumer = config.create().map_err(failed)?;
        let metadata = consumer.fetch_metadata(Some(topic), CALL).map_err(failed)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let mut assignment = TopicPartitionList::new();
        for partition in 0..count {
            assignment.add_partition_offset(topic, partition as i32, Offset::Beginning).map_err(failed)?;
        }
        consumer.assign(&assignment).map_err(failed)?;
        Ok(consumer)
    }
}

/// Writes events, each to the partition of its key.
pub(super) struct Writer {
    producer: BaseProducer,
    topic: String,
}

impl Writer {
    pub(super) fn send(&self, row: &Row, line: &[u8]) -> Result<(), Failure> {
        let key = format!("card-{:06}", row.key);
        let partition = row.key as i32 % PARTITIONS;
        let mut record = BaseRecord::to(&self.topic).partition(partition).key(&key).payload(line);
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => back,
                Err((error, _)) => return Err(failed(error)),
            };
            self.producer.poll(Duration::from_millis(1));
        }
    }

    /// Lets the client see to what has been written.
    pub(super) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    pub(super) fn send_all(&self, rows: &[Row], lines: &Lines) -> Result<(), Failure> {
        for (at, row) in rows.iter().enumerate() {
            self.send(row, lines.get(at).unwrap_or_default())?;
        }
        self.flush()
    }

    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.producer.flush(PATIENCE).map_err(failed)
    }
}

/// The next record, or that a partition has been read to its end.
pub(super) fn next(consumer: &BaseConsumer) -> Result<Next<'_>, Failure> {
    match consumer.poll(Duration::from_millis(100)) {
        Some(Ok(record)) => Ok(Next::Record(record)),
        Some(Err(KafkaError::PartitionEOF(_))) => Ok(Next::End),
        Some(Err(error)) => Err(failed(error)),
        None => Ok(Next::Nothing),
    }
}

/// What a reader has come to.
pub(super) enum Next<'a> {
    Record(BorrowedMessage<'a>),
    End,
    Nothing,
}

/// Reads alerts until all that are expected are there; `at` is told the time of each as it comes.
pub(super) fn await_alerts(
    consumer: &BaseConsumer,
    expected: &Alerts,
    mut at: impl FnMut(&str),
) -> Result<Reader, Failure> {
    let (mut reader, mut since) = (Reader::default(), Instant::now());
    while reader.found.count < expected.count && since.elapsed() < PATIENCE {
        if let Next::Record(record) = next(consumer)? {
            at(&take(&mut reader, &record));
            since = Instant::now();
        }
    }
    Ok(reader)
}

/// Reads on to the end, where there should be nothing more.
pub(super) fn read_on(consumer: &BaseConsumer, reader: &mut Reader) -> Result<(), Failure> {
    // More than two commits.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        if let Next::Record(record) = next(consumer)? {
            take(reader, &record);
        }
    }
    Ok(())
}

/// Adds an alert. Its time.
fn take(reader: &mut Reader, record: &BorrowedMessage<'_>) -> String {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let header = |name: &str| {
        let mut headers = record.headers().into_iter().flat_map(|headers| headers.iter());
        text(headers.find(|header| header.key == name).and_then(|header| header.value))
    };
    let time = header("ce_time");
    reader.add(header("ce_id"), text(record.key()), time.clone());
    time
}
