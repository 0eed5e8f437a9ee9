//! What the worker asks of a Kafka cluster, and nothing more. [`super::brokers`] asks a real one.
//!
//! INVARIANT: whoever answers shows committed records only, and says of a call either that it was done, or that nobody
//! knows, or that another producer has taken the transactional id.

use super::Trouble;
use super::record::Outgoing;
use crate::commit::protocol::Outcome;
use crate::serve::core::Cut;
use std::collections::BTreeSet;
use std::time::Duration;

/// The brokers, for one group.
pub(crate) trait Cluster: Send + Sync {
    /// Joins the group as the member of that name, for one of its tasks. Tasks of one process share a member.
    fn join(&self, worker: &str, task: i32) -> Result<Box<dyn Member>, Trouble>;

    /// Reads partitions, `topic/partition` each, from an offset on.
    fn read(&self, from: &[(String, u64)]) -> Result<Box<dyn Reader>, Trouble>;

    /// Shows offset, key and value of every record that the control topic holds for a task.
    fn control(&self, task: i32, each: &mut ControlRecord<'_>) -> Result<(), Trouble>;

    /// Writes a record outside of any transaction. Whether it is there only reading shows.
    fn tell(&self, record: Outgoing) -> Result<(), Trouble>;

    /// The number of partitions of a topic; none if there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<usize>, Trouble>;

    /// Makes topics, or begins to: they may be there a little later.
    fn create(&self, topics: &[(&str, Purpose)]) -> Result<(), Trouble>;

    /// The first offset of a partition that is still there, and the one after the last.
    fn range(&self, topic: &str, partition: i32) -> Result<(u64, u64), Trouble>;

    /// How long records of topics are kept, of the one where that is shortest; none = for ever, or as long as there is room.
    fn retention(&self, topics: &BTreeSet<String>) -> Result<Option<Duration>, Trouble>;
}

/// Takes a record of the control topic: offset, key, value.
pub(crate) type ControlRecord<'a> = dyn FnMut(u64, &[u8], &[u8]) -> Result<(), Trouble> + 'a;

/// What a topic is made for, which says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Decisions and heads: so many partitions, one for each task, and the last of each key for ever.
    Control(i32),
    /// Anything else, as the broker sees fit.
    Records,
}

/// A task's place in the group, with the transactional producer that speaks for it.
pub(crate) trait Member: Send {
    /// Serves the group's events; to be called often.
    fn serve(&self, most: Duration) -> Result<(), Trouble>;

    /// Whether it is known who has the lease.
    fn is_known(&self) -> bool;

    /// The number of the lease that this member has, as far as it knows. Every lease that is given has another.
    fn grant(&self) -> Option<u64>;

    /// The group asks for the lease, and waits until it is given back.
    fn is_wanted_back(&self) -> bool;

    /// The group may give the lease to another member.
    fn give_back(&self);

    /// What stands committed for partitions: name, offset, metadata. Waits for what is being committed.
    fn committed(&self, partitions: &[String]) -> Result<Vec<(String, u64, String)>, Trouble>;

    /// Drops the producer and takes its transactional id anew: what the old one left open is settled, and whatever still
    /// comes from it is refused.
    fn renew(&mut self) -> Result<(), Trouble>;

    /// Begins a transaction.
    fn begin(&mut self) -> Outcome;

    /// Adds records.
    fn produce(&mut self, records: &[Outgoing]) -> Outcome;

    /// Adds offsets, each with this metadata; they count only if this member still has its place in the group.
    fn send_offsets(&mut self, cut: &Cut, metadata: &str) -> Outcome;

    /// Commits the transaction.
    fn commit(&mut self) -> Outcome;
}

/// A record as it came.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    /// When it came into its topic, in microseconds.
    pub(crate) arrived: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// What a partition has to offer.
#[derive(Debug)]
pub(crate) enum Polled {
    Record(Record),
    /// Everything that it holds has been read.
    End,
    /// Nothing yet.
    Nothing,
}

/// Partitions that are being read, by their place in the list that was asked for.
pub(crate) trait Reader {
    /// What comes next in a partition. `Away`: the brokers cannot be reached just now.
    fn poll(&mut self, lane: usize) -> Result<Polled, Trouble>;

    /// Waits for at most so long; to be called often, for the client's own sake.
    fn wait(&mut self, most: Duration) -> Result<(), Trouble>;

    /// Asks a broker for something small: whether it answers.
    fn is_answering(&mut self) -> bool;
}
