//! A task's place in the group on real brokers, and its producer: one transactional id for a task, taken anew whenever an
//! outcome is unknown.

use super::cluster::Member;
use super::lease::Lease;
use super::record::Outgoing;
use super::source::split_name;
use super::{CALL, Context, MESSAGE_MAX, TRANSACTION_MS, Trouble, client};
use crate::commit::protocol::Outcome;
use crate::config::Kafka;
use crate::serve::core::{Cut, partition_name};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes bursts; the order of its calls is the protocol's.
pub(crate) struct Transactions {
    kafka: Kafka,
    task: i32,
    producer: Option<ThreadedProducer<Context>>,
    /// Speaks for the group; all tasks of the process share it.
    lease: Arc<Lease>,
}

/// The transactional id of a task. A group's name has no `/`, so no two tasks have one id.
pub(super) fn transactional_id(group: &str, task: i32) -> String {
    match task {
        0 => format!("tripline-{group}"),
        task => format!("tripline-{group}/{task}"),
    }
}

impl Transactions {
    pub(crate) fn new(kafka: &Kafka, task: i32, lease: Arc<Lease>) -> Self {
        lease.seat(task);
        Self { kafka: kafka.clone(), task, producer: None, lease }
    }

    /// How long one answer of a broker is waited for; the client wants it to be less than a transaction may take.
    fn answer_ms(&self) -> u128 {
        self.kafka.commit_wait().as_millis().clamp(10, u128::from(TRANSACTION_MS) - 1_000)
    }

    /// Calls that do not succeed are unknown, unless the producer was fenced.
    fn call(
        &self,
        work: impl FnOnce(&ThreadedProducer<Context>, &Lease) -> Result<(), KafkaError>,
    ) -> Outcome {
        let Some(producer) = &self.producer else { return Outcome::Unknown };
        match work(producer, &self.lease) {
            Ok(()) => Outcome::Done,
            Err(error) => outcome_of(&error),
        }
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        self.lease.unseat(self.task);
    }
}

impl Member for Transactions {
    fn serve(&self, most: Duration) -> Result<(), Trouble> {
        self.lease.serve(most)
    }

    fn is_known(&self) -> bool {
        self.lease.is_known()
    }

    fn grant(&self) -> Option<u64> {
        self.lease.of(self.task).map(|(grant, _)| grant)
    }

    fn is_wanted_back(&self) -> bool {
        self.lease.of(self.task).is_some_and(|(_, is_wanted)| is_wanted)
    }

    fn give_back(&self) {
        self.lease.give_back(self.task);
    }

    fn committed(&self, partitions: &[String]) -> Result<Vec<(String, u64, String)>, Trouble> {
        let mut asked = TopicPartitionList::new();
        for (topic, partition) in partitions.iter().filter_map(|name| split_name(name)) {
            asked.add_partition(topic, partition);
        }
        let answer = self.lease.consumer.committed_offsets(asked, CALL)?;
        let mut found = Vec::new();
        for element in answer.elements() {
            element.error()?;
            let Offset::Offset(offset) = element.offset() else { continue };
            let name = partition_name(element.topic(), element.partition());
            found.push((name, offset as u64, element.metadata().to_owned()));
        }
        Ok(found)
    }

    fn renew(&mut self) -> Result<(), Trouble> {
        self.producer = None;
        let mut config = client(&self.kafka);
        config
            .set("transactional.id", transactional_id(&self.kafka.group, self.task))
            .set("transaction.timeout.ms", TRANSACTION_MS.to_string())
            // WHY: the client waits for the answer about offsets as long as for any, whatever the call allows.
            .set("socket.timeout.ms", self.answer_ms().to_string())
            .set("compression.type", "lz4")
            .set("message.max.bytes", MESSAGE_MAX)
            .set("linger.ms", "0")
            .set("partitioner", "murmur2_random");
        let producer: ThreadedProducer<Context> = config.create_with_context(Context)?;
        producer.init_transactions(CALL)?;
        self.producer = Some(producer);
        Ok(())
    }

    fn begin(&mut self) -> Outcome {
        self.call(|producer, _| producer.begin_transaction())
    }

    fn produce(&mut self, records: &[Outgoing]) -> Outcome {
        self.call(|producer, _| {
            for record in records {
                let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
                for (name, value) in &record.headers {
                    headers = headers.insert(Header { key: name, value: Some(value) });
                }
                let mut outgoing = BaseRecord::to(&record.topic)
                    .key(record.key.as_slice())
                    .payload(record.value.as_slice())
                    .headers(headers);
                outgoing.partition = record.partition;
                producer.send(outgoing).map_err(|(error, _)| error)?;
            }
            Ok(())
        })
    }

    fn send_offsets(&mut self, cut: &Cut, metadata: &str) -> Outcome {
        let wait = self.kafka.commit_wait();
        self.call(|producer, group| {
            let offsets = offsets(cut, metadata)?;
            let group = group.metadata().ok_or(KafkaError::Canceled)?;
            producer.send_offsets_to_transaction(&offsets, &group, wait)
        })
    }

    fn commit(&mut self) -> Outcome {
        let wait = self.kafka.commit_wait();
        self.call(|producer, _| {
            // WHY: if not all records are there yet, the client looks again after a tenth of a second and not before.
            let begun = Instant::now();
            while producer.in_flight_count() > 0 && begun.elapsed() < wait {
                std::thread::sleep(Duration::from_millis(1));
            }
            producer.commit_transaction(wait.saturating_sub(begun.elapsed()))
        })
    }
}

/// What a failed call means.
pub(crate) fn outcome_of(error: &KafkaError) -> Outcome {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    tracing::warn!(%error, "the outcome of a transaction is unknown");
    match code {
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced) => Outcome::Fenced,
        _ => Outcome::Unknown,
    }
}

/// The offsets of a cut, each with this metadata.
pub(super) fn offsets(cut: &Cut, metadata: &str) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (name, offset) in cut {
        let Some((topic, partition)) = split_name(name) else { continue };
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(*offset as i64))?;
        element.set_metadata(metadata);
    }
    Ok(list)
}
