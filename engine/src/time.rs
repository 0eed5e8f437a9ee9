//! Event time: watermarks by partition, lateness, and the release of whole instants in order.
//!
//! INVARIANT: released times never go back; what is released, and in which order, does not depend on how partitions
//! interleave.

use crate::event::{Event, EventRef, PartitionId};
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of one partition's time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartitionTime {
    /// Newest event time; `Micros::MIN` = none yet.
    pub(crate) newest: Micros,
    /// Lateness bound.
    pub(crate) late: Micros,
    /// Silent for so long that nobody waits for it.
    pub(crate) idle: bool,
}

impl PartitionTime {
    /// The time before which every event of it is late.
    fn watermark(&self) -> Micros {
        self.newest.saturating_sub(self.late)
    }
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

    /// [`Self::take`] of an event that is not older than any before it. False if it is, and then nothing is done.
    #[inline(always)]
    pub(crate) fn moves(&mut self, event: &EventRef<'_>) -> bool {
        let time = self.partitions.get_mut(event.partition as usize);
        let Some(time) = time.filter(|time| event.ts >= time.newest.max(self.released)) else { return false };
        time.newest = event.ts;
        time.idle = false;
        self.newest = self.newest.max(Some(event.ts));
        true
    }

    /// An event has come: the watermark that it misses, if it is late.
    pub(crate) fn take(&mut self, partition: PartitionId, ts: Micros) -> Option<Micros> {
        let watermark = self.watermark_of(partition);
        if let Some(time) = self.partitions.get_mut(partition as usize) {
            if ts < watermark {
                return Some(watermark);
            }
            time.newest = time.newest.max(ts);
            time.idle = false;
        }
        self.newest = self.newest.max(Some(ts));
        None
    }

    /// The time before which every event of a partition is late, however far others have been read.
    pub(crate) fn watermark_of(&self, partition: PartitionId) -> Micros {
        let own = self.partitions.get(partition as usize).map_or(Micros::MIN, PartitionTime::watermark);
        own.max(self.released)
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
        live.map(PartitionTime::watermark).min().unwrap_or(Micros::MIN).max(self.released)
    }

    /// The partition that holds time back, with its watermark.
    pub(crate) fn slowest(&self) -> Option<(PartitionId, Micros)> {
        let live = self.partitions.iter().enumerate().filter(|(_, time)| !time.idle);
        let watermarks = live.map(|(id, time)| (id as PartitionId, time.watermark()));
        watermarks.min_by_key(|(_, watermark)| *watermark)
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

    /// Bytes of what is held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.values().flatten().map(Event::bytes).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}
