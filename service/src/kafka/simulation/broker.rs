//! A Kafka cluster in memory: logs, transactions and the offsets of one consumer group, by Kafka's rules. No clock of its own.
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
use super::group::{Group, MemberId};
use std::collections::{BTreeMap, BTreeSet};

/// A partition.
pub(super) type Partition = (String, usize);
/// The number of a transaction.
pub(super) type TxnNo = u64;

/// A producer: the transactional id that it took, and the epoch that it got.
#[derive(Debug, Clone, Default)]
pub(super) struct Author {
    pub(super) id: String,
    pub(super) epoch: u32,
}

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

/// Where the end of a transaction is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Log(Partition),
    Offsets,
}

/// What is to be told of a transaction's end, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    txn: TxnNo,
    place: Place,
}

/// A transactional id.
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

impl Default for Producer {
    fn default() -> Self {
        Self {
            epoch: 0,
            stage: Stage::Empty(None),
            txn: 0,
            partitions: BTreeSet::new(),
            has_offsets: false,
            left: Vec::new(),
            sequences: BTreeMap::new(),
        }
    }
}

impl Producer {
    fn check(&self, epoch: u32) -> Result<(), Refusal> {
        match self.stage {
            _ if epoch != self.epoch => Err(Refusal::Fenced),
            Stage::Ending(_) => Err(Refusal::Busy),
            _ => Ok(()),
        }
    }

    /// Begins a transaction of this number, unless one is open. Its number, if it was.
    fn begin(&mut self, txn: TxnNo) -> Option<TxnNo> {
        if self.stage == Stage::Ongoing {
            return None;
        }
        (self.stage, self.txn) = (Stage::Ongoing, txn);
        Some(txn)
    }

    /// Ends an open transaction for somebody else than its producer, who is fenced by it.
    fn abort(&mut self) -> Vec<Marker> {
        self.epoch += 1;
        self.finish(false)
    }

    fn finish(&mut self, commits: bool) -> Vec<Marker> {
        let logs = std::mem::take(&mut self.partitions).into_iter().map(Place::Log);
        let offsets = std::mem::take(&mut self.has_offsets).then_some(Place::Offsets);
        let left: Vec<Marker> = logs.chain(offsets).map(|place| Marker { txn: self.txn, place }).collect();
        self.stage = if left.is_empty() { Stage::Empty(Some(commits)) } else { Stage::Ending(commits) };
        self.left.clone_from(&left);
        left
    }
}

/// The cluster.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) logs: BTreeMap<String, Vec<Log>>,
    producers: BTreeMap<String, Producer>,
    offsets: BTreeMap<String, Committed>,
    pending: BTreeMap<TxnNo, Vec<(String, Committed)>>,
    pub(super) group: Group,
    last_txn: TxnNo,
}

impl Broker {
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

    /// Takes a transactional id. The epoch of the producer that has it now; and what is to be told first.
    pub(super) fn take_id(&mut self, id: &str) -> (Result<u32, Refusal>, Vec<Marker>) {
        let producer = self.producers.entry(id.to_owned()).or_default();
        match producer.stage {
            Stage::Ending(_) => (Err(Refusal::Busy), Vec::new()),
            Stage::Ongoing => (Err(Refusal::Busy), producer.abort()),
            Stage::Empty(_) => {
                producer.epoch += 1;
                producer.stage = Stage::Empty(None);
                producer.sequences.clear();
                (Ok(producer.epoch), Vec::new())
            }
        }
    }

    /// The transaction of that number has been open for too long.
    pub(super) fn expire(&mut self, txn: TxnNo) -> Vec<Marker> {
        let mut all = self.producers.values_mut();
        let open = all.find(|producer| producer.txn == txn && producer.stage == Stage::Ongoing);
        open.map(Producer::abort).unwrap_or_default()
    }

    /// A producer that may speak, and the number of the transaction that it may begin.
    fn author(&mut self, author: &Author) -> Result<(&mut Producer, TxnNo), Refusal> {
        self.last_txn += 1;
        let producer = self.producers.get_mut(&author.id).ok_or(Refusal::Fenced)?;
        Ok((producer, self.last_txn))
    }

    /// The transaction is to hold records of a partition. Its number, if it has just begun.
    pub(super) fn add(&mut self, author: &Author, partition: &Partition) -> Result<Option<TxnNo>, Refusal> {
        let (producer, txn) = self.author(author)?;
        producer.check(author.epoch)?;
        let begun = producer.begin(txn);
        producer.partitions.insert(partition.clone());
        Ok(begun)
    }

    /// Records of the open transaction; `sequence`: how many the producer has sent to this partition before.
    pub(super) fn append(
        &mut self,
        author: &Author,
        partition: &Partition,
        sequence: u64,
        records: Vec<Outgoing>,
        arrived: i64,
    ) -> Result<(), Refusal> {
        let (producer, _) = self.author(author)?;
        if author.epoch != producer.epoch {
            return Err(Refusal::Fenced);
        }
        if producer.stage != Stage::Ongoing || !producer.partitions.contains(partition) {
            return Err(Refusal::Wrong("the partition is in no open transaction"));
        }
        let txn = producer.txn;
        let next = producer.sequences.entry(partition.clone()).or_default();
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
        author: &Author,
        (member, generation): (MemberId, u32),
        offsets: Vec<(String, Committed)>,
    ) -> Result<Option<TxnNo>, Refusal> {
        let is_member = self.group.has(member, generation);
        let (producer, txn) = self.author(author)?;
        producer.check(author.epoch)?;
        let begun = producer.begin(txn);
        producer.has_offsets = true;
        if !is_member {
            return Err(Refusal::Wrong("not a member in this generation"));
        }
        let txn = producer.txn;
        self.pending.entry(txn).or_default().extend(offsets);
        Ok(begun)
    }

    /// The producer ends its transaction.
    pub(super) fn end(&mut self, author: &Author, commits: bool) -> (Result<(), Refusal>, Vec<Marker>) {
        let found = self.author(author).map(|(producer, _)| producer);
        let Some(producer) = found.ok().filter(|producer| producer.epoch == author.epoch) else {
            return (Err(Refusal::Fenced), Vec::new());
        };
        match producer.stage {
            Stage::Ongoing => (Ok(()), producer.finish(commits)),
            Stage::Ending(same) | Stage::Empty(Some(same)) if same == commits => (Ok(()), Vec::new()),
            _ => (Err(Refusal::Wrong("there is no such transaction to end")), Vec::new()),
        }
    }

    /// The end of the transaction reaches a partition, or the offsets.
    pub(super) fn mark(&mut self, marker: &Marker, arrived: i64) {
        let txn = marker.txn;
        let Some(producer) = self.producers.values_mut().find(|producer| producer.txn == txn) else { return };
        let Stage::Ending(commits) = producer.stage else { return };
        producer.left.retain(|own| own != marker);
        if producer.left.is_empty() {
            producer.stage = Stage::Empty(Some(commits));
        }
        match &marker.place {
            Place::Log(partition) => {
                let Some(log) = self.log_mut(partition) else { return };
                log.open.remove(&txn);
                if !commits {
                    log.aborted.insert(txn);
                }
                log.push(Outgoing::default(), arrived, Some(txn), true);
            }
            Place::Offsets => {
                let pending = self.pending.remove(&txn).unwrap_or_default();
                self.offsets.extend(pending.into_iter().filter(|_| commits));
            }
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
        self.producers.values().all(|producer| matches!(producer.stage, Stage::Empty(_)))
    }

    /// How far a partition was read, as committed.
    pub(super) fn offset(&self, name: &str) -> u64 {
        self.offsets.get(name).map_or(0, |(offset, _)| *offset)
    }
}
