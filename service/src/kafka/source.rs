//! The input: every partition of every topic, each with a queue of its own, read in the order that event time asks for.
//!
//! A partition is read only as far as it is asked to be; what waits in its queue is bounded, and the client stops fetching
//! beyond that. So a partition that is ahead waits, and costs no more than its queue.

use super::{Context, Trouble, consumer};
use crate::config::Kafka;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Kilobytes that may wait over all partitions.
const QUEUED_KB: usize = 64 << 10;

/// A record as it came.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    /// When it came into its topic, in microseconds.
    pub(crate) arrived: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// What a partition has to offer.
#[derive(Debug)]
pub(crate) enum Next {
    Record(Record),
    /// Nothing yet.
    Nothing,
}

struct Lane {
    queue: PartitionQueue<Context>,
    /// Everything that its topic holds has been read.
    at_end: bool,
    /// Read, but beyond the limit.
    kept: Option<Record>,
}

/// The open input.
pub(crate) struct Source {
    consumer: Arc<BaseConsumer<Context>>,
    lanes: Vec<Lane>,
    control_topic: String,
    /// When the brokers were last known to be away.
    away: Option<Instant>,
}

/// A partition by its name, `topic/partition`.
pub(crate) fn split_name(name: &str) -> Option<(&str, i32)> {
    let (topic, number) = name.rsplit_once('/')?;
    Some((topic, number.parse().ok()?))
}

impl Source {
    /// Reads these partitions, each from an offset on.
    pub(crate) fn open(kafka: &Kafka, from: &[(String, u64)]) -> Result<Self, Trouble> {
        let mut config = consumer(kafka);
        let each = (QUEUED_KB / from.len().max(1)).clamp(256, 16 << 10);
        config.set("queued.max.messages.kbytes", each.to_string());
        // WHY: a partition whose queue is full is looked at again after so long, and its queue is read in a tenth of a second.
        config.set("fetch.queue.backoff.ms", "10");
        let consumer: Arc<BaseConsumer<Context>> = Arc::new(config.create_with_context(Context)?);
        let mut assignment = TopicPartitionList::new();
        let mut lanes = Vec::new();
        for (name, offset) in from {
            let (topic, partition) = split_name(name)
                .ok_or_else(|| Trouble::Refused(format!("`{name}` is not a partition of a topic")))?;
            assignment.add_partition_offset(topic, partition, Offset::Offset(*offset as i64))?;
            let queue = consumer
                .split_partition_queue(topic, partition)
                .ok_or_else(|| Trouble::Refused(format!("`{topic}` is no name of a topic")))?;
            lanes.push(Lane { queue, at_end: false, kept: None });
        }
        consumer.assign(&assignment)?;
        Ok(Self { consumer, lanes, control_topic: kafka.control_topic.clone(), away: None })
    }

    /// The next record of a partition, if it lies before `limit`.
    pub(crate) fn next(&mut self, lane: usize, limit: Option<u64>) -> Result<Next, Trouble> {
        let Some(lane) = self.lanes.get_mut(lane) else { return Ok(Next::Nothing) };
        let record = match lane.kept.take() {
            Some(record) => record,
            None => match lane.queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    lane.at_end = false;
                    Record {
                        offset: message.offset() as u64,
                        arrived: message.timestamp().to_millis().unwrap_or(0).saturating_mul(1_000),
                        key: message.key().map(<[u8]>::to_vec),
                        value: message.payload().map(<[u8]>::to_vec),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    lane.at_end = true;
                    return Ok(Next::Nothing);
                }
                Some(Err(error)) => return self.trouble(&error).map_or(Ok(Next::Nothing), Err),
                None => return Ok(Next::Nothing),
            },
        };
        if limit.is_some_and(|limit| record.offset >= limit) {
            lane.kept = Some(record);
            return Ok(Next::Nothing);
        }
        Ok(Next::Record(record))
    }

    /// The offset of a record that was read but lies beyond the limit.
    pub(crate) fn kept_offset(&self, lane: usize) -> Option<u64> {
        self.lanes.get(lane)?.kept.as_ref().map(|record| record.offset)
    }

    /// Everything that the partition holds has been read.
    pub(crate) fn is_at_end(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.at_end && lane.kept.is_none())
    }

    /// The brokers answer, as far as is known.
    pub(crate) fn is_healthy(&self) -> bool {
        self.away.is_none_or(|at| at.elapsed() > Duration::from_secs(5))
    }

    /// Asks a broker for something small: whether it answers.
    pub(crate) fn is_answering(&mut self) -> bool {
        let answer = self.consumer.fetch_metadata(Some(&self.control_topic), Duration::from_secs(1));
        if answer.is_err() {
            self.away = Some(Instant::now());
        }
        answer.is_ok()
    }

    /// Waits for at most so long; to be called often, for the client's own sake.
    pub(crate) fn wait(&mut self, most: Duration) -> Result<(), Trouble> {
        match self.consumer.poll(most) {
            Some(Err(error)) => self.trouble(&error).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn trouble(&mut self, error: &KafkaError) -> Option<Trouble> {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => Some(Trouble::Refused(format!("the input cannot be read on: {error}"))),
            Some(code) => {
                if matches!(code, RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure)
                {
                    self.away = Some(Instant::now());
                }
                tracing::debug!(%error, "reading");
                None
            }
            None => None,
        }
    }
}
