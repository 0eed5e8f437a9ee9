//! Who of a group has the task: the member that Kafka gives the control topic's one partition to.
//!
//! The others stand by, and one of them takes over when the holder leaves or falls silent. A commit carries the holder's
//! generation, so a holder that was taken for dead can commit nothing more. A worker that comes back under its name gets
//! its lease back at once.

use super::{Context, Trouble, consumer};
use crate::config::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// After this much silence another member takes over.
pub(super) const SESSION_MS: u64 = 10_000;

/// What the group's coordinator has said.
#[derive(Debug, Default)]
pub(crate) struct Word {
    /// It has said something at all.
    known: AtomicBool,
    held: AtomicBool,
    /// How often the lease was given.
    grants: AtomicU64,
}

impl ClientContext for Word {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl ConsumerContext for Word {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let outcome = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if list.count() > 0 {
                self.grants.fetch_add(1, Ordering::AcqRel);
                self.held.store(true, Ordering::Release);
            }
            // The partition stands for the task; its records are read elsewhere.
            let assigned = list.set_all_offsets(Offset::End).and_then(|()| consumer.incremental_assign(list));
            assigned.and_then(|()| consumer.pause(list))
        } else {
            if list.count() > 0 {
                self.held.store(false, Ordering::Release);
            }
            consumer.incremental_unassign(list)
        };
        self.known.store(true, Ordering::Release);
        if let Err(error) = outcome {
            tracing::warn!(%error, "the group's assignment");
        }
    }
}

/// Membership in the group.
pub(crate) struct Lease {
    pub(super) consumer: BaseConsumer<Word>,
}

impl Lease {
    /// Joins the group.
    pub(crate) fn join(kafka: &Kafka, worker: &str) -> Result<Self, Trouble> {
        let mut config = consumer(kafka);
        config
            .set("group.instance.id", worker)
            // Sticky: a member that joins does not take the lease from its holder.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_MS.to_string())
            .set("heartbeat.interval.ms", "1000");
        let consumer: BaseConsumer<Word> = config.create_with_context(Word::default())?;
        consumer.subscribe(&[&kafka.control_topic])?;
        Ok(Self { consumer })
    }

    /// Serves the group's events; to be called often.
    pub(crate) fn serve(&self, most: Duration) -> Result<(), Trouble> {
        match self.consumer.poll(most) {
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => Err(Trouble::Fenced(code.to_string())),
            Some(Err(error)) => {
                tracing::debug!(%error, "the group");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether it is known who has the lease.
    pub(crate) fn is_known(&self) -> bool {
        self.consumer.context().known.load(Ordering::Acquire)
    }

    /// This member has the lease, as far as it knows.
    pub(crate) fn is_held(&self) -> bool {
        self.consumer.context().held.load(Ordering::Acquire)
    }

    /// Changes with every lease that is given.
    pub(crate) fn grant(&self) -> u64 {
        self.consumer.context().grants.load(Ordering::Acquire)
    }

    /// What a commit shows, so that it is refused if another member has the lease by now.
    pub(super) fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }
}
