//! A real Kafka cluster, asked through librdkafka.

use super::cluster::{Cluster, ControlRecord, Member, Polled, Purpose, Reader, Record};
use super::record::Outgoing;
use super::source::split_name;
use super::transactions::Transactions;
use super::{CALL, Context, Lease, MESSAGE_MAX, Trouble, ask, client, consumer};
use crate::config::Kafka;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Kilobytes that may wait over all partitions.
const QUEUED_KB: usize = 64 << 10;

/// The brokers that the configuration names.
pub(crate) struct Brokers {
    kafka: Kafka,
    /// This process in its group, as long as some task has a place there.
    lease: Mutex<Weak<Lease>>,
    /// Asks for what is known of topics.
    consumer: BaseConsumer<Context>,
    /// Writes what is in no transaction; none before there was something.
    writer: Mutex<Option<ThreadedProducer<Context>>>,
}

impl Brokers {
    pub(crate) fn new(kafka: &Kafka) -> Result<Self, Trouble> {
        let consumer = consumer(kafka).create_with_context(Context)?;
        Ok(Self { kafka: kafka.clone(), lease: Mutex::default(), consumer, writer: Mutex::default() })
    }
}

impl Cluster for Brokers {
    fn join(&self, worker: &str, task: i32) -> Result<Box<dyn Member>, Trouble> {
        let mut known = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = match known.upgrade().filter(|lease| !lease.is_fenced()) {
            Some(lease) => lease,
            None => {
                let lease = Arc::new(Lease::join(&self.kafka, worker)?);
                *known = Arc::downgrade(&lease);
                lease
            }
        };
        Ok(Box::new(Transactions::new(&self.kafka, task, lease)))
    }

    fn read(&self, from: &[(String, u64)]) -> Result<Box<dyn Reader>, Trouble> {
        Ok(Box::new(Queues::open(&self.kafka, from)?))
    }

    fn control(&self, task: i32, each: &mut ControlRecord<'_>) -> Result<(), Trouble> {
        let consumer: BaseConsumer<Context> = consumer(&self.kafka).create_with_context(Context)?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&self.kafka.control_topic, task, Offset::Beginning)?;
        consumer.assign(&assignment)?;
        let mut heard = Instant::now();
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    if let (Some(key), Some(value)) = (message.key(), message.payload()) {
                        each(message.offset() as u64, key, value)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) => tracing::debug!(%error, "reading the control topic"),
                None => {}
            }
            if heard.elapsed() > CALL {
                return Err(Trouble::Away(format!("`{}` cannot be read", self.kafka.control_topic)));
            }
        }
    }

    fn tell(&self, record: Outgoing) -> Result<(), Trouble> {
        let mut known = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has failed for good is of no more use.
        let able = known.take().filter(|writer| writer.client().fatal_error().is_none());
        let writer = match able {
            Some(writer) => writer,
            None => {
                let mut config = client(&self.kafka);
                config.set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", "0");
                config.set("message.timeout.ms", CALL.as_millis().to_string());
                config.set("message.max.bytes", MESSAGE_MAX);
                config.create_with_context(Context)?
            }
        };
        let mut outgoing =
            BaseRecord::to(&record.topic).key(record.key.as_slice()).payload(record.value.as_slice());
        outgoing.partition = record.partition;
        let sent = writer.send(outgoing).map_err(|(error, _)| Trouble::from(error));
        *known = Some(writer);
        sent
    }

    fn partitions(&self, name: &str) -> Result<Option<usize>, Trouble> {
        let metadata = ask(&self.consumer, |consumer| consumer.fetch_metadata(Some(name), CALL))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        match topic.map(|topic| (topic.error().map(RDKafkaErrorCode::from), topic.partitions().len())) {
            Some((None, count)) if count > 0 => Ok(Some(count)),
            Some((Some(RDKafkaErrorCode::TopicAuthorizationFailed), _)) => {
                Err(Trouble::Refused(format!("topic `{name}`: not allowed to read it")))
            }
            Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic), _))
            | None => Ok(None),
            Some((error, _)) => {
                let why = error.map_or_else(|| "it has no partitions yet".to_owned(), |e| e.to_string());
                Err(Trouble::Away(format!("topic `{name}`: {why}")))
            }
        }
    }

    fn create(&self, missing: &[(&str, Purpose)]) -> Result<(), Trouble> {
        let admin: AdminClient<Context> = client(&self.kafka).create_with_context(Context)?;
        // -1: what the broker is set to.
        let topics: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|(name, purpose)| match purpose {
                Purpose::Control(tasks) => NewTopic::new(name, *tasks, TopicReplication::Fixed(-1))
                    .set("cleanup.policy", "compact")
                    .set("segment.bytes", "16777216"),
                Purpose::Records => NewTopic::new(name, -1, TopicReplication::Fixed(-1)),
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(CALL)).operation_timeout(Some(CALL));
        for result in blocking()?.block_on(admin.create_topics(&topics, &options))? {
            match result {
                Ok(name) => tracing::info!(topic = name, "created"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code @ RDKafkaErrorCode::InvalidReplicationFactor)) => {
                    return Err(Trouble::Away(format!(
                        "topic `{name}`: {code}; brokers may still be coming up"
                    )));
                }
                Err((name, code)) => {
                    return Err(Trouble::Refused(format!("topic `{name}` cannot be created: {code}")));
                }
            }
        }
        Ok(())
    }

    fn range(&self, topic: &str, partition: i32) -> Result<(u64, u64), Trouble> {
        let (low, high) = ask(&self.consumer, |consumer| consumer.fetch_watermarks(topic, partition, CALL))?;
        Ok((low.max(0) as u64, high.max(0) as u64))
    }

    fn retention(&self, topics: &BTreeSet<String>) -> Result<Option<Duration>, Trouble> {
        let admin: AdminClient<Context> = client(&self.kafka).create_with_context(Context)?;
        let asked: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(CALL));
        let mut least = None;
        for answer in blocking()?.block_on(admin.describe_configs(&asked, &options))? {
            // WHY: a metric hangs on this and nothing else, so that a broker need not allow it.
            let Ok(config) = answer else { continue };
            let entry = config.get("retention.ms").and_then(|entry| entry.value.as_deref());
            let kept = entry.and_then(|text| text.parse().ok()).map(Duration::from_millis);
            least = [least, kept].into_iter().flatten().min();
        }
        Ok(least)
    }
}

/// To wait for the client's futures.
fn blocking() -> Result<tokio::runtime::Runtime, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|e| Trouble::Refused(e.to_string()))
}

/// A queue for each partition: what waits there is bounded, and the client stops fetching beyond that.
struct Queues {
    consumer: Arc<BaseConsumer<Context>>,
    queues: Vec<PartitionQueue<Context>>,
    control_topic: String,
}

impl Queues {
    fn open(kafka: &Kafka, from: &[(String, u64)]) -> Result<Self, Trouble> {
        let mut config = consumer(kafka);
        let each = (QUEUED_KB / from.len().max(1)).clamp(256, 16 << 10);
        config.set("queued.max.messages.kbytes", each.to_string());
        // WHY: a partition whose queue is full is looked at again after so long, and its queue is read in a tenth of a second.
        config.set("fetch.queue.backoff.ms", "10");
        let consumer: Arc<BaseConsumer<Context>> = Arc::new(config.create_with_context(Context)?);
        let mut assignment = TopicPartitionList::new();
        let mut queues = Vec::new();
        for (name, offset) in from {
            let (topic, partition) = split_name(name)
                .ok_or_else(|| Trouble::Refused(format!("`{name}` is not a partition of a topic")))?;
            assignment.add_partition_offset(topic, partition, Offset::Offset(*offset as i64))?;
            let queue = consumer
                .split_partition_queue(topic, partition)
                .ok_or_else(|| Trouble::Refused(format!("`{topic}` is no name of a topic")))?;
            queues.push(queue);
        }
        consumer.assign(&assignment)?;
        Ok(Self { consumer, queues, control_topic: kafka.control_topic.clone() })
    }
}

impl Reader for Queues {
    fn poll(&mut self, lane: usize) -> Result<Polled, Trouble> {
        match self.queues.get(lane).and_then(|queue| queue.poll(Duration::ZERO)) {
            Some(Ok(message)) => Ok(Polled::Record(Record {
                offset: message.offset() as u64,
                arrived: message.timestamp().to_millis().unwrap_or(0).saturating_mul(1_000),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
            })),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Polled::End),
            Some(Err(error)) => trouble(&error).map_or(Ok(Polled::Nothing), Err),
            None => Ok(Polled::Nothing),
        }
    }

    fn wait(&mut self, most: Duration) -> Result<(), Trouble> {
        match self.consumer.poll(most) {
            Some(Err(error)) => trouble(&error).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn is_answering(&mut self) -> bool {
        self.consumer.fetch_metadata(Some(&self.control_topic), Duration::from_secs(1)).is_ok()
    }
}

/// What an error while reading means, if it is more than a word of the client.
fn trouble(error: &KafkaError) -> Option<Trouble> {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code()?;
    if matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::TopicAuthorizationFailed) {
        return Some(Trouble::Refused(format!("the input cannot be read on: {error}")));
    }
    tracing::debug!(%error, "reading");
    let is_away = matches!(code, Code::AllBrokersDown | Code::BrokerTransportFailure);
    is_away.then(|| Trouble::Away(error.to_string()))
}
