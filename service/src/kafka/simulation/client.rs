//! What workers ask of the simulated cluster: the seam that a real one is behind as well.

use super::broker::{Author, Log, Partition, Refusal};
use super::group::{Heard, MemberId};
use super::network::Network;
use super::world::{At, ms, pid, secs};
use crate::commit::protocol::Outcome;
use crate::kafka::Trouble;
use crate::kafka::cluster::{Cluster, ControlRecord, Member, Polled, Purpose, Reader};
use crate::kafka::lease::Leases;
use crate::kafka::record::Outgoing;
use crate::kafka::source::split_name;
use crate::kafka::transactions::transactional_id;
use crate::serve::core::Cut;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long a call to a broker may take.
const CALL: At = secs(10);
/// Partitions of a topic that Tripline makes.
const MADE: usize = 2;
/// The group of all workers.
pub(super) const GROUP: &str = "g";

fn away(what: &str) -> Trouble {
    Trouble::Away(format!("{what}: no answer"))
}

/// The cluster as a process sees it.
pub(super) struct Simulated {
    net: Arc<Network>,
    /// This process in its group, as long as some task has a place there.
    membership: Mutex<Weak<Membership>>,
}

impl Simulated {
    pub(super) fn new(net: &Arc<Network>) -> Self {
        Self { net: net.clone(), membership: Mutex::default() }
    }
}

impl Cluster for Simulated {
    fn join(&self, worker: &str, task: i32) -> Result<Box<dyn Member>, Trouble> {
        let mut known = self.membership.lock().unwrap_or_else(PoisonError::into_inner);
        let membership = match known.upgrade().filter(|own| !own.word().is_fenced) {
            Some(membership) => membership,
            None => {
                let own =
                    Membership { net: self.net.clone(), name: worker.to_owned(), word: Mutex::default() };
                let own = Arc::new(own);
                *known = Arc::downgrade(&own);
                own
            }
        };
        membership.word().leases.seat(task);
        Ok(Box::new(Seat { net: self.net.clone(), task, membership, producer: None }))
    }

    fn read(&self, from: &[(String, u64)]) -> Result<Box<dyn Reader>, Trouble> {
        let lanes = from.iter().filter_map(|(name, offset)| {
            let (topic, partition) = split_name(name)?;
            Some(Lane { topic: topic.to_owned(), partition: partition as usize, next: *offset, told: None })
        });
        Ok(Box::new(Lanes { net: self.net.clone(), lanes: lanes.collect() }))
    }

    fn control(&self, task: i32, each: &mut ControlRecord<'_>) -> Result<(), Trouble> {
        let topic = self.net.control.clone();
        let records = self.net.call("control", CALL, move |net| {
            let broker = net.broker();
            let log = broker.log(&topic, task as usize)?;
            let all = log.committed().into_iter();
            Some(all.map(|(at, entry)| (at, entry.record.clone())).collect::<Vec<_>>())
        });
        let Some(Some(records)) = records else { return Err(away("the control topic")) };
        records.iter().try_for_each(|(at, record)| each(*at, &record.key, &record.value))
    }

    fn tell(&self, record: Outgoing) -> Result<(), Trouble> {
        let partition = (record.topic.clone(), record.partition.unwrap_or(0) as usize);
        let told = self.net.call("tell", CALL, move |net| {
            let at = net.clock_ms();
            net.broker().put(&partition, record, at, false);
        });
        told.ok_or_else(|| away("tell"))
    }

    fn partitions(&self, topic: &str) -> Result<Option<usize>, Trouble> {
        let topic = topic.to_owned();
        let count = self.net.call("partitions", CALL, move |net| net.broker().logs.get(&topic).map(Vec::len));
        count.ok_or_else(|| away("metadata"))
    }

    fn create(&self, topics: &[(&str, Purpose)]) -> Result<(), Trouble> {
        let topics: Vec<(String, usize)> = topics
            .iter()
            .map(|(name, purpose)| match purpose {
                Purpose::Control(tasks) => ((*name).to_owned(), *tasks as usize),
                Purpose::Records => ((*name).to_owned(), MADE),
            })
            .collect();
        let made = self.net.call("create", CALL, move |net| {
            topics.iter().for_each(|(name, count)| net.broker().create(name, *count));
        });
        made.ok_or_else(|| away("create"))
    }

    fn range(&self, topic: &str, partition: i32) -> Result<(u64, u64), Trouble> {
        let topic = topic.to_owned();
        let end = self.net.call("range", CALL, move |net| {
            net.broker().log(&topic, partition as usize).map(Log::stable_end)
        });
        end.flatten().map(|end| (0, end)).ok_or_else(|| away("range"))
    }

    fn retention(&self, _: &BTreeSet<String>) -> Result<Option<Duration>, Trouble> {
        self.net.call("retention", CALL, |_| None).ok_or_else(|| away("retention"))
    }
}

/// What a member has heard from its group.
#[derive(Default)]
struct Word {
    id: Option<MemberId>,
    generation: u32,
    is_known: bool,
    is_fenced: bool,
    leases: Leases,
    /// The numbers of the leases that were heard of, by task.
    numbers: BTreeMap<i32, u64>,
}

/// A process in its group: one member, whatever number of tasks it has.
struct Membership {
    net: Arc<Network>,
    name: String,
    word: Mutex<Word>,
}

impl Membership {
    fn word(&self) -> MutexGuard<'_, Word> {
        self.word.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) -> Result<(), Trouble> {
        let mut broker = self.net.broker();
        let mut own = self.word();
        let Some(id) = own.id else {
            let (id, is_new) = broker.group.join(&self.name, pid());
            own.id = Some(id);
            drop(broker);
            if is_new || self.net.world.chance(3_000) {
                self.net.rearrange();
            }
            return Ok(());
        };
        let freed = match broker.group.hear(id) {
            Heard::Member(generation, held, is_known) => {
                own.generation = generation;
                own.is_known |= is_known;
                let given: Vec<i32> =
                    held.keys().copied().filter(|task| !own.numbers.contains_key(task)).collect();
                own.leases.give(&given);
                own.numbers.extend(held.iter().map(|(task, (number, _))| (*task, *number)));
                let wanted: Vec<i32> =
                    held.iter().filter(|(_, (_, is_wanted))| *is_wanted).map(|(task, _)| *task).collect();
                match own.leases.is_settled() && !wanted.is_empty() {
                    true => own.leases.ask(&wanted, false),
                    false => None,
                }
            }
            Heard::Unknown => {
                let lost: Vec<i32> = std::mem::take(&mut own.numbers).into_keys().collect();
                own.id = None;
                own.leases.ask(&lost, true);
                None
            }
            Heard::Fenced => {
                own.is_fenced = true;
                return Err(Trouble::Fenced("another member of that name".to_owned()));
            }
        };
        drop((broker, own));
        self.unassign(freed);
        Ok(())
    }

    /// Tells the group what it can have.
    fn unassign(&self, freed: Option<Vec<i32>>) {
        let Some(tasks) = freed else { return };
        let mut own = self.word();
        tasks.iter().for_each(|task| {
            own.numbers.remove(task);
        });
        let Some(id) = own.id else { return };
        drop(own);
        self.net.broker().group.give_back(id, &tasks);
        self.net.world.note(format_args!("gives back {tasks:?}"));
        self.net.rearrange();
    }
}

/// A producer: what it is, and how many records it has sent to each partition.
#[derive(Debug, Default)]
struct Writer {
    author: Author,
    sent: BTreeMap<Partition, u64>,
    /// Not handed over yet.
    waiting: Vec<(Partition, Vec<Outgoing>)>,
    /// A call was refused: it can only be ended.
    is_spoiled: bool,
}

/// A task's place in the group, with its producer.
struct Seat {
    net: Arc<Network>,
    task: i32,
    membership: Arc<Membership>,
    producer: Option<Writer>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Who is killed says nothing.
        if !self.net.world.is_dead(pid()) {
            let freed = self.membership.word().leases.unseat(self.task);
            self.membership.unassign(freed);
        }
    }
}

impl Seat {
    /// Hands over what waits, some of it or all.
    fn deliver(&mut self, batches: usize) -> Outcome {
        for _ in 0..batches {
            let Some(producer) = &mut self.producer else { return Outcome::Unknown };
            if producer.waiting.is_empty() {
                break;
            }
            let (partition, records) = producer.waiting.remove(0);
            let sent = producer.sent.entry(partition.clone()).or_default();
            let (author, sequence) = (producer.author.clone(), *sent);
            *sent += records.len() as u64;
            let (own, by) = (partition.clone(), author.clone());
            let added = self.net.insist("add", self.net.patience, move |net| {
                let begun = net.broker().add(&by, &own)?;
                net.begun(begun);
                Ok(())
            });
            let outcome = self.judge(added);
            if outcome != Outcome::Done {
                return outcome;
            }
            let appended = self.net.insist("append", self.net.patience, move |net| {
                let at = net.clock_ms();
                net.broker().append(&author, &partition, sequence, records.clone(), at)
            });
            let outcome = self.judge(appended);
            if outcome != Outcome::Done {
                return outcome;
            }
        }
        Outcome::Done
    }

    fn judge(&mut self, answer: Option<Result<(), Refusal>>) -> Outcome {
        match answer {
            Some(Ok(())) => return Outcome::Done,
            Some(Err(Refusal::Fenced)) => return Outcome::Fenced,
            Some(Err(why)) => self.net.world.note(format_args!("refused: {why:?}")),
            None => {}
        }
        if let Some(producer) = &mut self.producer {
            producer.is_spoiled = true;
        }
        Outcome::Unknown
    }

    /// The epoch of a producer that may go on.
    fn author(&self) -> Option<Author> {
        self.producer.as_ref().filter(|producer| !producer.is_spoiled).map(|producer| producer.author.clone())
    }
}

impl Member for Seat {
    fn serve(&self, most: Duration) -> Result<(), Trouble> {
        let (world, most) = (&self.net.world, most.as_micros() as u64);
        self.net.edge();
        if most > 0 || world.chance(500) {
            world.sleep(world.between(1, most + 500));
        }
        // What the group has to say is heard a little later, or as soon as it can be reached.
        if self.net.is_away() || world.chance(1_500) {
            return Ok(());
        }
        self.membership.hear()
    }

    fn is_known(&self) -> bool {
        self.membership.word().is_known
    }

    fn grant(&self) -> Option<u64> {
        self.membership.word().leases.of(self.task).map(|(grant, _)| grant)
    }

    fn is_wanted_back(&self) -> bool {
        self.membership.word().leases.of(self.task).is_some_and(|(_, is_wanted)| is_wanted)
    }

    fn give_back(&self) {
        if self.is_wanted_back() {
            self.net.world.count("leases given back", 1);
        }
        let freed = self.membership.word().leases.give_back(self.task);
        self.membership.unassign(freed);
    }

    fn committed(&self, partitions: &[String]) -> Result<Vec<(String, u64, String)>, Trouble> {
        let partitions = partitions.to_vec();
        let found =
            self.net.insist("committed offsets", CALL, move |net| net.broker().committed(&partitions));
        found.and_then(Result::ok).ok_or_else(|| away("committed offsets"))
    }

    fn renew(&mut self) -> Result<(), Trouble> {
        self.producer = None;
        let id = transactional_id(GROUP, self.task);
        let own = id.clone();
        let taken = self.net.insist("take the transactional id", CALL, move |net| {
            let (taken, markers) = net.broker().take_id(&own);
            if !markers.is_empty() {
                net.world.count("transactions ended by a successor", 1);
            }
            net.tell(markers);
            taken
        });
        let epoch = taken.and_then(Result::ok).ok_or_else(|| away("the transactional id"))?;
        self.producer = Some(Writer { author: Author { id, epoch }, ..Writer::default() });
        Ok(())
    }

    fn begin(&mut self) -> Outcome {
        self.net.edge();
        if self.author().is_some() { Outcome::Done } else { Outcome::Unknown }
    }

    fn produce(&mut self, records: &[Outgoing]) -> Outcome {
        if self.author().is_none() {
            return Outcome::Unknown;
        }
        let mut batches: BTreeMap<Partition, Vec<Outgoing>> = BTreeMap::new();
        for record in records {
            let count = self.net.broker().logs.get(&record.topic).map_or(1, Vec::len);
            let hash =
                record.key.iter().fold(7usize, |hash, byte| hash.wrapping_mul(31) ^ usize::from(*byte));
            let partition = record.partition.map_or(hash % count, |partition| partition as usize);
            batches.entry((record.topic.clone(), partition)).or_default().push(record.clone());
        }
        let count = batches.len();
        if let Some(producer) = &mut self.producer {
            producer.waiting.extend(batches);
        }
        // The client sends in the background: some of it is there before the next call.
        let some = self.net.world.between(0, count as u64 + 1) as usize;
        match self.deliver(some) {
            Outcome::Fenced => Outcome::Fenced,
            // It is heard of at the next call.
            _ => Outcome::Done,
        }
    }

    fn send_offsets(&mut self, cut: &Cut, metadata: &str) -> Outcome {
        let Some(author) = self.author() else { return Outcome::Unknown };
        let (id, generation) = {
            let own = self.membership.word();
            (own.id, own.generation)
        };
        let Some(id) = id else { return Outcome::Unknown };
        let offsets: Vec<_> =
            cut.iter().map(|(name, offset)| (name.clone(), (*offset, metadata.to_owned()))).collect();
        let sent = self.net.insist("send offsets", self.net.patience, move |net| {
            let begun = net.broker().add_offsets(&author, (id, generation), offsets.clone())?;
            net.begun(begun);
            Ok(())
        });
        self.judge(sent)
    }

    fn commit(&mut self) -> Outcome {
        match self.deliver(usize::MAX) {
            Outcome::Done => {}
            outcome => return outcome,
        }
        let Some(author) = self.author() else { return Outcome::Unknown };
        let ended = self.net.insist("commit", self.net.patience, move |net| {
            let (ended, markers) = net.broker().end(&author, true);
            net.tell(markers);
            ended
        });
        self.judge(ended)
    }
}

/// A partition that is being read.
struct Lane {
    topic: String,
    partition: usize,
    next: u64,
    /// The end that was told last.
    told: Option<u64>,
}

/// Partitions that are being read.
struct Lanes {
    net: Arc<Network>,
    lanes: Vec<Lane>,
}

impl Reader for Lanes {
    fn poll(&mut self, lane: usize) -> Result<Polled, Trouble> {
        let world = &self.net.world;
        if self.net.is_away() {
            return if world.chance(3_000) { Err(away("reading")) } else { Ok(Polled::Nothing) };
        }
        let Some(lane) = self.lanes.get_mut(lane) else { return Ok(Polled::Nothing) };
        if world.chance(300) {
            return Ok(Polled::Nothing);
        }
        let broker = self.net.broker();
        let Some(log) = broker.log(&lane.topic, lane.partition) else { return Ok(Polled::Nothing) };
        if let Some((at, entry)) = log.next(lane.next) {
            (lane.next, lane.told) = (at + 1, None);
            return Ok(Polled::Record(entry.to_record(at)));
        }
        let end = log.stable_end();
        if lane.told == Some(end) {
            return Ok(Polled::Nothing);
        }
        lane.told = Some(end);
        Ok(Polled::End)
    }

    fn wait(&mut self, most: Duration) -> Result<(), Trouble> {
        // WHY: longer than asked for. Nothing comes of looking every 5 ms but a run that takes longer.
        let most = most.as_micros() as u64 * 20;
        self.net.edge();
        self.net.world.sleep(self.net.world.between(ms(5), most));
        Ok(())
    }

    fn is_answering(&mut self) -> bool {
        self.net.call("are you there", secs(1), |_| ()).is_some()
    }
}
