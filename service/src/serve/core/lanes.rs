//! The partitions of topics along which events come in: which of them are read, and how far that has come.

use super::{Core, Cut, Lane, partition_name};
use crate::clock;
use engine::task::Partition;
use pattern_dsl::types::Micros;
use std::collections::BTreeMap;
use std::time::Instant;

impl Core {
    /// Of each topic only the partition of this number is read; to be said of a new core. None: all of them.
    pub(crate) fn of_partition(mut self, partition: Option<i32>) -> Self {
        self.only = partition.and_then(|number| u32::try_from(number).ok());
        self
    }

    /// Names of all partitions, in the order in which the task knows them.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = &str> {
        self.lanes.iter().map(|lane| lane.name.as_str())
    }

    /// How far each partition has been read.
    pub(crate) fn cut(&self) -> Cut {
        self.lanes.iter().map(|lane| (lane.name.clone(), lane.next)).collect()
    }

    /// The offset to read next in a partition.
    pub(crate) fn next_offset(&self, lane: usize) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| lane.next)
    }

    /// The newest event time of a partition.
    pub(crate) fn newest_of(&self, lane: usize) -> Option<Micros> {
        self.lanes.get(lane).and_then(|lane| lane.newest)
    }

    /// Topics that were opened with all their partitions, and where each began.
    pub(crate) fn opened(&self) -> &BTreeMap<String, Vec<u64>> {
        &self.opened
    }

    /// From now on the topic's events come along these partitions, each from its offset on.
    pub(crate) fn open_topic(&mut self, topic: &str, starts: Vec<u64>) {
        self.opened.insert(topic.to_owned(), starts);
    }

    /// What lies before the cut and was not read is not there any more.
    pub(crate) fn skip_to(&mut self, cut: &Cut) {
        for lane in &mut self.lanes {
            lane.next = lane.next.max(cut.get(&lane.name).copied().unwrap_or(0));
        }
    }

    /// A partition is not known to be silent: there may be events that were not read yet.
    pub(crate) fn stir(&mut self, lane: usize, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.heard = now;
        }
    }

    /// Lanes for the partitions of a topic; the one of a local topic bears its name. Returns the first.
    pub(super) fn add_lanes(&mut self, topic: &str) -> usize {
        if let Some(known) = self.lanes.iter().position(|lane| lane.topic == topic) {
            return known;
        }
        let first = self.lanes.len();
        let partitions = match self.opened.get(topic) {
            Some(starts) => (0u32..)
                .zip(starts)
                .filter(|(number, _)| self.only.is_none_or(|only| only == *number))
                .map(|(number, start)| (partition_name(topic, number), *start))
                .collect(),
            None => vec![(topic.to_owned(), 0)],
        };
        self.lanes.extend(partitions.into_iter().map(|(name, next)| Lane {
            topic: topic.to_owned(),
            name,
            streams: Vec::new(),
            readers: Vec::new(),
            id: None,
            next,
            late: 0,
            idle: 0,
            newest: None,
            lag: 0,
            heard: clock::now(),
        }));
        first
    }

    /// Declares the partitions of a stream that a rule reads.
    pub(super) fn open_partition(&mut self, stream: &str) {
        let Some(source) = self.sources.get(stream) else { return };
        for lane in self.lanes.iter_mut().filter(|lane| lane.topic == source.topic && lane.id.is_none()) {
            lane.heard = clock::now();
            let partition = Partition { name: lane.name.clone(), streams: lane.streams.clone() };
            lane.id = Some(self.task.add_partition(partition));
        }
    }
}
