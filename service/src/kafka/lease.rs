//! Who of a group has which task: the member that Kafka gives the task's partition of the control topic to.
//!
//! A process is one member, whatever number of tasks it has: their threads share it. Tasks that nobody has given back go to
//! another member when theirs leaves or falls silent. A commit carries its member's generation, so a member that was taken
//! for dead can commit nothing more. A worker that comes back under its name gets its leases back at once.
//!
//! Where the group wants a task elsewhere it asks for the lease, and waits for it: the task is brought to its end first.

use super::{Context, Trouble, consumer};
use crate::config::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// After this much silence another member takes over.
pub(super) const SESSION_MS: u64 = 10_000;

/// A lease that this member has.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Which of all that were given.
    grant: u64,
    /// The group has asked for it.
    is_wanted: bool,
}

/// The leases of a member, by task: the member's side of the group's word, without the group.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// How many were given so far.
    grants: u64,
    held: BTreeMap<i32, Held>,
    /// Tasks with a thread that will give back what it is asked for.
    seated: BTreeSet<i32>,
    /// What the group has asked for; answered when none of it is held any more.
    wanted: Vec<i32>,
}

impl Leases {
    pub(super) fn give(&mut self, tasks: &[i32]) {
        for task in tasks {
            self.grants += 1;
            self.held.insert(*task, Held { grant: self.grants, is_wanted: false });
        }
    }

    /// The group asks for leases, or, if they are lost, has given them to others already. What it can have at once.
    pub(super) fn ask(&mut self, tasks: &[i32], are_lost: bool) -> Option<Vec<i32>> {
        for task in tasks {
            match self.held.get_mut(task).filter(|_| !are_lost && self.seated.contains(task)) {
                Some(held) => held.is_wanted = true,
                None => drop(self.held.remove(task)),
            }
        }
        self.wanted = tasks.to_vec();
        self.freed()
    }

    /// Takes what the group has asked for, if all of it is free now.
    fn freed(&mut self) -> Option<Vec<i32>> {
        let is_free = !self.wanted.iter().any(|task| self.held.contains_key(task));
        (is_free && !self.wanted.is_empty()).then(|| std::mem::take(&mut self.wanted))
    }

    /// The group's last request has been answered.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Which lease of a task this is: its number among all that were given, and whether the group has asked for it.
    pub(super) fn of(&self, task: i32) -> Option<(u64, bool)> {
        self.held.get(&task).map(|held| (held.grant, held.is_wanted))
    }

    /// A task has a thread from now on, which gives back what it is asked for.
    pub(super) fn seat(&mut self, task: i32) {
        self.seated.insert(task);
    }

    /// It has none any more. What the group can have now.
    pub(super) fn unseat(&mut self, task: i32) -> Option<Vec<i32>> {
        self.seated.remove(&task);
        self.give_back(task)
    }

    /// The task is at its end here: its lease can go, if the group still asks for it. What the group can have now.
    pub(super) fn give_back(&mut self, task: i32) -> Option<Vec<i32>> {
        if !self.held.get(&task).is_some_and(|held| held.is_wanted) {
            return None;
        }
        self.held.remove(&task);
        self.freed()
    }
}

/// What the group's coordinator has said.
#[derive(Debug, Default)]
pub(crate) struct Word {
    /// It has said something at all.
    known: AtomicBool,
    leases: Mutex<Leases>,
    /// Another member has this one's place.
    fenced: OnceLock<String>,
}

impl Word {
    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let tasks: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let outcome = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.leases().give(&tasks);
            // The partition stands for the task; its records are read elsewhere.
            let assigned = list.set_all_offsets(Offset::End).and_then(|()| consumer.incremental_assign(list));
            assigned.and_then(|()| consumer.pause(list))
        } else {
            let freed = self.leases().ask(&tasks, consumer.assignment_lost());
            let is_free = freed.is_some() || tasks.is_empty();
            // Else the answer comes from the task that is the last to give its lease back.
            if is_free { consumer.incremental_unassign(list) } else { Ok(()) }
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
    control_topic: String,
}

impl Lease {
    /// Joins the group.
    pub(crate) fn join(kafka: &Kafka, worker: &str) -> Result<Self, Trouble> {
        let mut config = consumer(kafka);
        config
            .set("group.instance.id", worker)
            // Sticky: a member that joins takes no more leases from their holders than make its share.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_MS.to_string())
            .set("heartbeat.interval.ms", "1000");
        let consumer: BaseConsumer<Word> = config.create_with_context(Word::default())?;
        consumer.subscribe(&[&kafka.control_topic])?;
        Ok(Self { consumer, control_topic: kafka.control_topic.clone() })
    }

    fn word(&self) -> &Word {
        self.consumer.context()
    }

    /// Serves the group's events; to be called often.
    pub(crate) fn serve(&self, most: Duration) -> Result<(), Trouble> {
        match self.consumer.poll(most) {
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                let _ = self.word().fenced.set(code.to_string());
            }
            Some(Err(error)) => tracing::debug!(%error, "the group"),
            _ => {}
        }
        match self.word().fenced.get() {
            Some(why) => Err(Trouble::Fenced(why.clone())),
            None => Ok(()),
        }
    }

    /// Another member has this one's place.
    pub(super) fn is_fenced(&self) -> bool {
        self.word().fenced.get().is_some()
    }

    /// Whether it is known who has the leases.
    pub(crate) fn is_known(&self) -> bool {
        self.word().known.load(Ordering::Acquire)
    }

    /// Which lease of a task this member has, as far as it knows.
    pub(crate) fn of(&self, task: i32) -> Option<(u64, bool)> {
        self.word().leases().of(task)
    }

    pub(super) fn seat(&self, task: i32) {
        self.word().leases().seat(task);
    }

    pub(super) fn unseat(&self, task: i32) {
        let freed = self.word().leases().unseat(task);
        self.unassign(freed);
    }

    pub(super) fn give_back(&self, task: i32) {
        let freed = self.word().leases().give_back(task);
        self.unassign(freed);
    }

    fn unassign(&self, freed: Option<Vec<i32>>) {
        let Some(tasks) = freed else { return };
        let mut list = TopicPartitionList::new();
        for task in tasks {
            list.add_partition(&self.control_topic, task);
        }
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::warn!(%error, "giving leases back");
        }
    }

    /// What a commit shows, so that it is refused if this member is none any more.
    pub(super) fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_has_its_answer_when_the_last_task_has_given_its_lease_back() {
        let mut leases = Leases { seated: BTreeSet::from([0, 1, 2]), ..Leases::default() };
        leases.give(&[0, 1, 2, 3]);
        assert_eq!(leases.ask(&[1, 2, 3], false), None);
        assert_eq!(leases.of(3), None, "nobody sits there");
        assert_eq!(leases.give_back(2), None, "one is still at work");
        assert_eq!(leases.give_back(0), None, "nobody has asked for it");
        assert_eq!(leases.unseat(1), Some(vec![1, 2, 3]));
        assert_eq!(leases.give_back(1), None, "once");
        assert_eq!(leases.ask(&[0], true), Some(vec![0]), "what is lost is not waited for");
    }
}
