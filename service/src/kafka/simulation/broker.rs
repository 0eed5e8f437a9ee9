//! A Kafka cluster in memory: logs, transactions, offsets and one consumer group, by Kafka's rules. No clock of its own.
//!
//! What is modelled, as of Kafka 4 with a client that knows no newer transactions than librdkafka does:
//! - a transactional id has one producer; taking it anew raises the epoch, ends what the old one left open, and refuses
//!   whatever of the old one comes later;
//! - a batch is taken only if its partition is in the producer's open transaction, and in the order of its sequence;
//! - the end of a transaction is decided at once and reaches partitions and offsets one by one: until then a partition shows
//!   nothing from the transaction's first record on, and offsets are not told;
//! - offsets of a transaction are taken from a member of the group in its present generation only;
//! - a transaction has a time limit.

use super::super::cluster::Record;
use super::super::record::Outgoing;
use std::collections::{BTreeMap, BTreeSet};

/// A partition.
pub(super) type Partition = (String, usize);
/// The number of a transaction.
pub(super) type TxnNo = u64;
/// A member of the group, by the id that the coordinator gave it.
pub(super) type MemberId = u64;

/// A record in a log, or the mark of a transaction's end.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Outgoing,
    /// In milliseconds.
    pub(super) arrived: i64,
    txn: Option<TxnNo>,
    is_marker: bool,
}

/// A partition's records.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    /// Transactions that are open here, with their first offset.
    open: BTreeMap<TxnNo, u64>,
    aborted: BTreeSet<TxnNo>,
}

impl Log {
    fn push(&mut self, record: Outgoing, arrived: i64, txn: Option<TxnNo>, is_marker: bool) {
        self.entries.push(Entry { record, arrived, txn, is_marker });
    }

    /// Nothing from here on is shown to those who read what is committed.
    pub(super) fn stable_end(&self) -> u64 {
        self.open.values().copied().min().unwrap_or(self.entries.len() as u64)
    }

    /// The first committed record from an offset on.
    pub(super) fn next(&self, from: u64) -> Option<(u64, &Entry)> {
        let entries = self.entries.iter().enumerate().take(self.stable_end() as usize).skip(from as usize);
        let shown =
            |entry: &Entry| !entry.is_marker && entry.txn.is_none_or(|txn| !self.aborted.contains(&txn));
        entries.map(|(at, entry)| (at as u64, entry)).find(|(_, entry)| shown(entry))
    }

    /// All committed records.
    pub(super) fn committed(&self) -> Vec<(u64, &Entry)> {
        let mut all = Vec::new();
        let mut from = 0;
        while let Some((at, entry)) = self.next(from) {
            all.push((at, entry));
            from = at + 1;
        }
        all
    }
}

impl Entry {
    pub(super) fn to_record(&self, offset: u64) -> Record {
        Record {
            offset,
            arrived: self.arrived * 1_000,
            key: Some(self.record.key.clone()),
            value: Some(self.record.value.clone()),
        }
    }

    pub(super) fn header(&self, name: &str) -> String {
        let found = self.record.headers.iter().find(|(own, _)| own == name);
        found.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
    }
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another producer has the transactional id.
    Fenced,
    /// The last transaction is still being ended: ask again.
    Busy,
    /// It does not fit what the broker knows.
    Wrong(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No transaction; whether the last one was committed.
    Empty(Option<bool>),
    Ongoing,
    Ending(bool),
}

/// What is to be told of a transaction's end, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Marker {
    Log(Partition),
    Offsets,
}

/// The one transactional id.
#[derive(Debug)]
struct Producer {
    epoch: u32,
    stage: Stage,
    txn: TxnNo,
    partitions: BTreeSet<Partition>,
    has_offsets: bool,
    left: Vec<Marker>,
    /// The next sequence number of each partition.
    sequences: BTreeMap<Partition, u64>,
}

/// A committed offset and its metadata.
type Committed = (u64, String);

#[derive(Debug)]
struct Member {
    name: String,
    pid: usize,
    /// Since when nothing was heard of it.
    silent: Option<u64>,
}

/// The consumer group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: u32,
    members: BTreeMap<MemberId, Member>,
    /// Those whose name another has taken.
    fenced: BTreeSet<MemberId>,
    holder: Option<MemberId>,
    /// Raised with every lease that is given.
    lease: u64,
    /// The holder is to give it back.
    is_revoked: bool,
    pub(super) is_preparing: bool,
    last: MemberId,
}

/// What a member hears.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It has the lease of that number.
    Holds(u64),
    /// It has none; whether it is known who has.
    Waits(bool),
    /// It is to give the lease back.
    Revoked,
    /// The group does not know it any more.
    Unknown,
    /// Another has taken its name.
    Fenced,
}

/// The cluster.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) logs: BTreeMap<String, Vec<Log>>,
    producer: Producer,
    offsets: BTreeMap<String, Committed>,
    pending: BTreeMap<TxnNo, Vec<(String, Committed)>>,
    pub(super) group: Group,
    last_txn: TxnNo,
}

impl Broker {
    pub(super) fn new() -> Self {
        Self {
            logs: BTreeMap::new(),
            producer: Producer {
                epoch: 0,
                stage: Stage::Empty(None),
                txn: 0,
                partitions: BTreeSet::new(),
                has_offsets: false,
                left: Vec::new(),
                sequences: BTreeMap::new(),
            },
            offsets: BTreeMap::new(),
            pending: BTreeMap::new(),
            group: Group::default(),
            last_txn: 0,
        }
    }

    pub(super) fn create(&mut self, topic: &str, partitions: usize) {
        let logs = || (0..partitions).map(|_| Log::default()).collect();
        self.logs.entry(topic.to_owned()).or_insert_with(logs);
    }

    pub(super) fn log(&self, topic: &str, partition: usize) -> Option<&Log> {
        self.logs.get(topic)?.get(partition)
    }

    fn log_mut(&mut self, (topic, partition): &Partition) -> Option<&mut Log> {
        self.logs.get_mut(topic)?.get_mut(*partition)
    }

    /// A record of somebody else; `aborted`: of a transaction that comes to nothing.
    pub(super) fn put(&mut self, partition: &Partition, record: Outgoing, arrived: i64, aborted: bool) {
        self.last_txn += 1;
        let txn = self.last_txn;
        let Some(log) = self.log_mut(partition) else { return };
        log.push(record, arrived, aborted.then_some(txn), false);
        if aborted {
            log.aborted.insert(txn);
            log.push(Outgoing::default(), arrived, Some(txn), true);
        }
    }

    /// Takes the transactional id. The epoch of the producer that has it now; and what is to be told first.
    pub(super) fn take_id(&mut self) -> (Result<u32, Refusal>, Vec<Marker>) {
        match self.producer.stage {
            Stage::Ending(_) => (Err(Refusal::Busy), Vec::new()),
            Stage::Ongoing => (Err(Refusal::Busy), self.abort()),
            Stage::Empty(_) => {
                self.producer.epoch += 1;
                self.producer.stage = Stage::Empty(None);
                self.producer.sequences.clear();
                (Ok(self.producer.epoch), Vec::new())
            }
        }
    }

    /// Ends an open transaction for somebody else than its producer, who is fenced by it.
    fn abort(&mut self) -> Vec<Marker> {
        self.producer.epoch += 1;
        self.finish(false)
    }

    /// The transaction of that number has been open for too long.
    pub(super) fn expire(&mut self, txn: TxnNo) -> Vec<Marker> {
        match self.producer.stage {
            Stage::Ongoing if self.producer.txn == txn => self.abort(),
            _ => Vec::new(),
        }
    }

    fn check(&self, epoch: u32) -> Result<(), Refusal> {
        match self.producer.stage {
            _ if epoch != self.producer.epoch => Err(Refusal::Fenced),
            Stage::Ending(_) => Err(Refusal::Busy),
            _ => Ok(()),
        }
    }

    /// The number of a transaction that has just begun.
    fn begin(&mut self) -> Option<TxnNo> {
        if self.producer.stage == Stage::Ongoing {
            return None;
        }
        self.last_txn += 1;
        self.producer.stage = Stage::Ongoing;
        self.producer.txn = self.last_txn;
        Some(self.last_txn)
    }

    /// The transaction is to hold records of a partition. Its number, if it has just begun.
    pub(super) fn add(&mut self, epoch: u32, partition: &Partition) -> Result<Option<TxnNo>, Refusal> {
        self.check(epoch)?;
        let begun = self.begin();
        self.producer.partitions.insert(partition.clone());
        Ok(begun)
    }

    /// Records of the open transaction; `sequence`: how many the producer has sent to this partition before.
    pub(super) fn append(
        &mut self,
        epoch: u32,
        partition: &Partition,
        sequence: u64,
        records: Vec<Outgoing>,
        arrived: i64,
    ) -> Result<(), Refusal> {
        if epoch != self.producer.epoch {
            return Err(Refusal::Fenced);
        }
        if self.producer.stage != Stage::Ongoing || !self.producer.partitions.contains(partition) {
            return Err(Refusal::Wrong("the partition is in no open transaction"));
        }
        let txn = self.producer.txn;
        let next = self.producer.sequences.entry(partition.clone()).or_default();
        if sequence < *next {
            // It has come before.
            return Ok(());
        }
        if sequence > *next {
            return Err(Refusal::Wrong("out of order"));
        }
        *next += records.len() as u64;
        let Some(log) = self.log_mut(partition) else { return Err(Refusal::Wrong("no such partition")) };
        let end = log.entries.len() as u64;
        log.open.entry(txn).or_insert(end);
        records.into_iter().for_each(|record| log.push(record, arrived, Some(txn), false));
        Ok(())
    }

    /// Offsets of the open transaction, from a member in a generation. The transaction's number, if it has just begun.
    pub(super) fn add_offsets(
        &mut self,
        epoch: u32,
        (member, generation): (MemberId, u32),
        offsets: Vec<(String, Committed)>,
    ) -> Result<Option<TxnNo>, Refusal> {
        self.check(epoch)?;
        let begun = self.begin();
        self.producer.has_offsets = true;
        if !self.group.members.contains_key(&member) || generation != self.group.generation {
            return Err(Refusal::Wrong("not a member in this generation"));
        }
        self.pending.entry(self.producer.txn).or_default().extend(offsets);
        Ok(begun)
    }

    /// The producer ends its transaction.
    pub(super) fn end(&mut self, epoch: u32, commits: bool) -> (Result<(), Refusal>, Vec<Marker>) {
        if epoch != self.producer.epoch {
            return (Err(Refusal::Fenced), Vec::new());
        }
        match self.producer.stage {
            Stage::Ongoing => (Ok(()), self.finish(commits)),
            Stage::Ending(same) | Stage::Empty(Some(same)) if same == commits => (Ok(()), Vec::new()),
            _ => (Err(Refusal::Wrong("there is no such transaction to end")), Vec::new()),
        }
    }

    fn finish(&mut self, commits: bool) -> Vec<Marker> {
        let mut left: Vec<Marker> =
            std::mem::take(&mut self.producer.partitions).into_iter().map(Marker::Log).collect();
        if std::mem::take(&mut self.producer.has_offsets) {
            left.push(Marker::Offsets);
        }
        self.producer.stage =
            if left.is_empty() { Stage::Empty(Some(commits)) } else { Stage::Ending(commits) };
        self.producer.left.clone_from(&left);
        left
    }

    /// The end of the transaction reaches a partition, or the offsets.
    pub(super) fn mark(&mut self, marker: &Marker, arrived: i64) {
        let Stage::Ending(commits) = self.producer.stage else { return };
        let txn = self.producer.txn;
        match marker {
            Marker::Log(partition) => {
                let Some(log) = self.log_mut(partition) else { return };
                log.open.remove(&txn);
                if !commits {
                    log.aborted.insert(txn);
                }
                log.push(Outgoing::default(), arrived, Some(txn), true);
            }
            Marker::Offsets => {
                let pending = self.pending.remove(&txn).unwrap_or_default();
                self.offsets.extend(pending.into_iter().filter(|_| commits));
            }
        }
        self.producer.left.retain(|own| own != marker);
        if self.producer.left.is_empty() {
            self.producer.stage = Stage::Empty(Some(commits));
        }
    }

    /// What stands committed; not told while a transaction may change it.
    pub(super) fn committed(&self, partitions: &[String]) -> Result<Vec<(String, u64, String)>, Refusal> {
        let is_pending = |name: &String| self.pending.values().flatten().any(|(own, _)| own == name);
        if partitions.iter().any(is_pending) {
            return Err(Refusal::Busy);
        }
        let found = partitions.iter().filter_map(|name| Some((name, self.offsets.get(name)?)));
        Ok(found.map(|(name, (offset, metadata))| (name.clone(), *offset, metadata.clone())).collect())
    }

    /// No transaction is open or being ended.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.producer.stage, Stage::Empty(_))
    }

    /// How far a partition was read, as committed.
    pub(super) fn offset(&self, name: &str) -> u64 {
        self.offsets.get(name).map_or(0, |(offset, _)| *offset)
    }
}

impl Group {
    /// A member joins under a name. Its id, and whether the group has to be arranged anew for it.
    pub(super) fn join(&mut self, name: &str, pid: usize) -> (MemberId, bool) {
        self.last += 1;
        let id = self.last;
        let before = self.members.iter().find(|(_, member)| member.name == name).map(|(id, _)| *id);
        self.members.insert(id, Member { name: name.to_owned(), pid, silent: None });
        let Some(before) = before else { return (id, true) };
        // It is the same member come back: it gets what that had.
        self.members.remove(&before);
        self.fenced.insert(before);
        if self.holder == Some(before) {
            self.holder = Some(id);
            self.is_revoked = false;
            self.lease += 1;
        }
        (id, false)
    }

    pub(super) fn hear(&self, id: MemberId) -> Heard {
        if self.fenced.contains(&id) {
            return Heard::Fenced;
        }
        if !self.members.contains_key(&id) {
            return Heard::Unknown;
        }
        match self.holder == Some(id) {
            true if self.is_revoked => Heard::Revoked,
            true => Heard::Holds(self.lease),
            false => Heard::Waits(self.holder.is_some()),
        }
    }

    /// The holder has given the lease back.
    pub(super) fn give_back(&mut self, id: MemberId) {
        if self.holder == Some(id) {
            self.holder = None;
            self.is_revoked = false;
        }
    }

    /// The holder is to give the lease back. False if there is none.
    pub(super) fn revoke(&mut self) -> bool {
        self.is_revoked = self.holder.is_some();
        self.is_revoked
    }

    /// Nothing is heard of a process from now on; or it is heard of again.
    pub(super) fn silence(&mut self, pid: usize, since: Option<u64>) {
        for member in self.members.values_mut().filter(|member| member.pid == pid) {
            member.silent = since;
        }
    }

    /// Members that have been silent for a session are gone. True if there were any.
    pub(super) fn expire(&mut self, before: u64) -> bool {
        let known = self.members.len();
        self.members.retain(|_, member| member.silent.is_none_or(|since| since > before));
        self.holder = self.holder.filter(|id| self.members.contains_key(id));
        self.members.len() != known
    }

    /// Everybody who is in it has been heard.
    pub(super) fn is_complete(&self) -> bool {
        self.members.values().all(|member| member.silent.is_none())
    }

    /// The group is arranged anew; a lease that nobody has goes to one of its members.
    pub(super) fn arrange(&mut self, pick: impl FnOnce(usize) -> usize) {
        self.generation += 1;
        self.is_preparing = false;
        if self.holder.is_none() && !self.members.is_empty() {
            self.holder = self.members.keys().nth(pick(self.members.len())).copied();
            self.lease += 1;
        }
    }
}
