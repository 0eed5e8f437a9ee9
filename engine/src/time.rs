//! Event time: watermarks by partition, lateness, and the release of whole instants in order.
//!
//! INVARIANT: released times never go back; what is released, and in which order, does not depend on how partitions
//! interleave.

use crate::event::{Event, PartitionId};
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of one partition's time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartitionTime {
    /// Newest event time.
    pub(crate) newest: Option<Micros>,
    /// Lateness bound.
    pub(crate) late: Micros,
    /// Silent for so long that nobody waits for it.
    pub(crate) idle: bool,
}

/// Time of a task, and the events that wait for it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    pub(crate) partitions: Vec<PartitionTime>,
    /// Events of merged rules that are not yet in order.
    buffer: BTreeMap<Micros, Vec<Event>>,
    /// Everything before this time has been released.
    pub(crate) released: Micros,
    /// The caller feeds events in order of time over all partitions.
    sorted: bool,
    /// Newest time of any event or tick.
    pub(crate) newest: Option<Micros>,
}

impl Clock {
    pub(crate) fn new(sorted: bool) -> Self {
        Self { sorted, released: Micros::MIN, ..Self::default() }
    }

    /// The watermark that an event misses, if it is late.
    pub(crate) fn missed(&self, partition: PartitionId, ts: Micros) -> Option<Micros> {
        let time = self.partitions.get(partition as usize)?;
        let own = time.newest.map_or(Micros::MIN, |newest| newest.saturating_sub(time.late));
        let watermark = own.max(self.released);
        (ts < watermark).then_some(watermark)
    }

    /// An event that is not late has come.
    pub(crate) fn seen(&mut self, partition: PartitionId, ts: Micros) {
        if let Some(time) = self.partitions.get_mut(partition as usize) {
            time.newest = Some(time.newest.map_or(ts, |newest| newest.max(ts)));
            time.idle = false;
        }
        self.newest = Some(self.newest.map_or(ts, |newest| newest.max(ts)));
    }

    /// Keeps an event until its instant is complete.
    pub(crate) fn hold(&mut self, event: Event) {
        self.buffer.entry(event.ts).or_default().push(event);
    }

    /// The time before which no event can come any more.
    pub(crate) fn watermark(&self) -> Micros {
        if self.sorted {
            return self.newest.unwrap_or(Micros::MIN).max(self.released);
        }
        let live = self.partitions.iter().filter(|time| !time.idle);
        let least = live
            .map(|time| time.newest.map_or(Micros::MIN, |newest| newest.saturating_sub(time.late)))
            .min()
            .unwrap_or(Micros::MIN);
        least.max(self.released)
    }

    /// The partition that holds time back, with its watermark.
    pub(crate) fn slowest(&self) -> Option<(PartitionId, Micros)> {
        let live = self.partitions.iter().enumerate().filter(|(_, time)| !time.idle);
        live.map(|(id, time)| {
            (id as PartitionId, time.newest.map_or(Micros::MIN, |n| n.saturating_sub(time.late)))
        })
        .min_by_key(|(_, watermark)| *watermark)
    }

    /// The oldest complete instant before `watermark`.
    pub(crate) fn pop(&mut self, watermark: Micros) -> Option<(Micros, Vec<Event>)> {
        let first = self.first()?;
        if first >= watermark {
            return None;
        }
        self.buffer.pop_first()
    }

    /// The oldest instant that is held.
    pub(crate) fn first(&self) -> Option<Micros> {
        self.buffer.first_key_value().map(|(time, _)| *time)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}
