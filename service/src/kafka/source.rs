//! The input: every partition of every topic, read in the order that event time asks for.
//!
//! A partition is read only as far as it is asked to be; what waits before it is bounded, and no more is fetched beyond
//! that. So a partition that is ahead waits, and costs no more than its queue.

use super::Trouble;
use super::cluster::{Cluster, Polled, Reader, Record};
use crate::clock;
use std::time::{Duration, Instant};

/// For how long the brokers are not trusted after they were away.
const DOUBTED: Duration = Duration::from_secs(5);

/// What a partition has to offer.
#[derive(Debug)]
pub(crate) enum Next {
    Record(Record),
    /// Nothing yet.
    Nothing,
}

#[derive(Default)]
struct Lane {
    /// Everything that its topic holds has been read.
    at_end: bool,
    /// Read, but beyond the limit.
    kept: Option<Record>,
}

/// The open input.
pub(crate) struct Source {
    reader: Box<dyn Reader>,
    lanes: Vec<Lane>,
    /// When the brokers were last known to be away.
    away: Option<Instant>,
}

/// A partition by its name, `topic/partition`.
pub(crate) fn split_name(name: &str) -> Option<(&str, i32)> {
    let (topic, number) = name.rsplit_once('/')?;
    Some((topic, number.parse().ok()?))
}

impl Source {
    /// Reads these partitions, each from an offset on.
    pub(crate) fn open(cluster: &dyn Cluster, from: &[(String, u64)]) -> Result<Self, Trouble> {
        let lanes = from.iter().map(|_| Lane::default()).collect();
        Ok(Self { reader: cluster.read(from)?, lanes, away: None })
    }

    /// The next record of a partition, if it lies before `limit`.
    pub(crate) fn next(&mut self, lane: usize, limit: Option<u64>) -> Result<Next, Trouble> {
        let at = lane;
        let Some(lane) = self.lanes.get_mut(at) else { return Ok(Next::Nothing) };
        let record = match lane.kept.take() {
            Some(record) => record,
            None => match self.reader.poll(at) {
                Ok(Polled::Record(record)) => {
                    lane.at_end = false;
                    record
                }
                Ok(Polled::End) => {
                    lane.at_end = true;
                    return Ok(Next::Nothing);
                }
                Ok(Polled::Nothing) => return Ok(Next::Nothing),
                Err(trouble) => return self.doubt(trouble).map(|()| Next::Nothing),
            },
        };
        if limit.is_some_and(|limit| record.offset >= limit) {
            lane.kept = Some(record);
            return Ok(Next::Nothing);
        }
        Ok(Next::Record(record))
    }

    /// The offset of a record that was read but lies beyond the limit.
    pub(crate) fn kept_offset(&self, lane: usize) -> Option<u64> {
        self.lanes.get(lane)?.kept.as_ref().map(|record| record.offset)
    }

    /// Everything that the partition holds has been read.
    pub(crate) fn is_at_end(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.at_end && lane.kept.is_none())
    }

    /// The brokers answer, as far as is known.
    pub(crate) fn is_healthy(&self) -> bool {
        self.away.is_none_or(|at| clock::since(at) > DOUBTED)
    }

    /// Asks a broker for something small: whether it answers.
    pub(crate) fn is_answering(&mut self) -> bool {
        let is_answering = self.reader.is_answering();
        if !is_answering {
            self.away = Some(clock::now());
        }
        is_answering
    }

    /// Waits for at most so long; to be called often.
    pub(crate) fn wait(&mut self, most: Duration) -> Result<(), Trouble> {
        self.reader.wait(most).or_else(|trouble| self.doubt(trouble))
    }

    /// Brokers that are away are waited for.
    fn doubt(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        match trouble {
            Trouble::Away(_) => {
                self.away = Some(clock::now());
                Ok(())
            }
            other => Err(other),
        }
    }
}
