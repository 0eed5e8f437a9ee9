//! Records decoded by several threads, and taken in their order by one.
//!
//! Whoever is free reads the next batch of records and decodes it. The caller's thread takes the batches in the order in
//! which they were read, and decodes too while the next one is not ready. What only the order can decide - a record that
//! is refused, a number that fixes the unit of its source's times - is handed on undecoded, so that every alert and every
//! diagnostic is the one of a single thread.
//!
//! INVARIANT: no more than `AHEAD` batches a thread are held.

use super::Lane;
use super::arrival::Arrived;
use crate::decode::time::Unit;
use crate::decode::{DecodeError, Decoded};
use crate::failure::Failure;
use engine::event::StreamId;
use engine::value::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Batches for each thread that are read and not yet taken.
const AHEAD: usize = 4;
/// A batch is full with so many records, or bytes.
const RECORDS: usize = 1_024;
const BYTES: usize = 1 << 18;

/// Where records come from, in their order.
pub trait Source: Send {
    /// Fills a batch; one that stays empty is the end.
    ///
    /// # Errors
    /// What cannot be read back.
    fn fill(&mut self, batch: &mut Batch) -> Result<(), Failure>;
}

/// Records in their order, and what became of them.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    ids: String,
    slots: Vec<Value>,
    /// The source failed after these records.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    line: u64,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Record(Range<usize>),
    /// The record belongs to no stream that is read.
    Unwanted,
    Event {
        record: Range<usize>,
        stream: StreamId,
        ts: i64,
        id: Option<Range<usize>>,
        slots: Range<usize>,
    },
    Bad(DecodeError),
    Broken(std::io::Error),
}

impl Batch {
    /// It takes no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= RECORDS || self.bytes.len() >= BYTES
    }

    /// Adds a record.
    pub fn push(&mut self, file: usize, line: u64, record: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.entries.push(Entry { file, line, found: Found::Record(start..self.bytes.len()) });
    }

    /// Adds what was read.
    pub fn add(&mut self, arrived: Arrived<'_>) {
        let (file, line, found) = match arrived {
            Arrived::Record(file, line, record) => return self.push(file, line, record),
            Arrived::Bad(file, line, error) => (file, line, Found::Bad(error)),
            Arrived::Broken(file, error) => (file, 0, Found::Broken(error)),
            // Sources do not decode.
            Arrived::Event { .. } => return,
        };
        self.entries.push(Entry { file, line, found });
    }

    /// Begins anew with what comes next; false at the end.
    fn fill(&mut self, source: &mut impl Source) -> bool {
        self.entries.clear();
        self.bytes.clear();
        self.ids.clear();
        self.slots.clear();
        self.failure = source.fill(self).err();
        !self.entries.is_empty() || self.failure.is_some()
    }

    fn decode(&mut self, crew: &mut Crew) {
        let Self { entries, bytes, ids, slots, .. } = self;
        for entry in entries {
            let Found::Record(range) = &entry.found else { continue };
            let range = range.clone();
            let (Some(record), Some(lane)) = (bytes.get(range.clone()), crew.lanes.get_mut(entry.file))
            else {
                continue;
            };
            let (first_id, first_slot) = (ids.len(), slots.len());
            let decoded = if crew.time_only {
                lane.time(record).map(|time| time.map(|ts| (0, ts, false)))
            } else {
                lane.decode_into(record, ids, slots)
            };
            entry.found = match decoded {
                Ok(Some((stream, ts, has_id))) => {
                    let id = has_id.then_some(first_id..ids.len());
                    Found::Event { record: range, stream, ts, id, slots: first_slot..slots.len() }
                }
                Ok(None) => Found::Unwanted,
                // In its turn it is looked at once more, by the one who says so.
                Err(_) => continue,
            };
        }
    }

    fn give(&mut self, take: &mut Take<'_>) -> Result<(), Failure> {
        for Entry { file, line, found } in self.entries.drain(..) {
            match found {
                Found::Record(range) => {
                    take(Arrived::Record(file, line, self.bytes.get(range).unwrap_or_default()))?;
                }
                Found::Unwanted => {}
                Found::Event { record, stream, ts, id, slots } => {
                    let record = self.bytes.get(record).unwrap_or_default();
                    let id = id.and_then(|id| self.ids.get(id));
                    let slots = self.slots.get(slots).unwrap_or_default();
                    take(Arrived::Event { file, line, record, stream, decoded: Decoded { ts, id, slots } })?;
                }
                Found::Bad(error) => take(Arrived::Bad(file, line, error))?,
                Found::Broken(error) => take(Arrived::Broken(file, error))?,
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }
}

type Take<'a> = dyn FnMut(Arrived<'_>) -> Result<(), Failure> + 'a;

/// Units of time, as the records taken so far have fixed them.
#[derive(Debug)]
pub struct Units {
    version: AtomicU64,
    of: Mutex<Vec<Vec<Option<Unit>>>>,
}

impl Units {
    /// As the lanes of all files know them.
    #[must_use]
    pub fn new(lanes: &[Lane]) -> Self {
        Self { version: AtomicU64::new(0), of: Mutex::new(lanes.iter().map(Lane::units).collect()) }
    }

    /// A record of this file was decoded in its turn.
    pub fn tell(&self, file: usize, lane: &Lane) {
        let mut all = locked(&self.of);
        let units = lane.units();
        if let Some(known) = all.get_mut(file).filter(|known| **known != units) {
            *known = units;
            self.version.fetch_add(1, Ordering::Release);
        }
    }
}

/// What one thread decodes with.
#[derive(Debug)]
pub struct Crew {
    lanes: Vec<Lane>,
    units: Arc<Units>,
    version: Option<u64>,
    time_only: bool,
}

impl Crew {
    /// With a lane for each file; units of time come from those who take what it has decoded.
    #[must_use]
    pub fn new(mut lanes: Vec<Lane>, units: Arc<Units>, time_only: bool) -> Self {
        lanes.iter_mut().for_each(Lane::keep_units);
        Self { lanes, units, version: None, time_only }
    }

    /// Takes over the units that are known by now.
    fn adopt(&mut self) {
        let version = Some(self.units.version.load(Ordering::Acquire));
        if self.version != version {
            self.version = version;
            for (lane, units) in self.lanes.iter_mut().zip(locked(&self.units.of).iter()) {
                lane.set_units(units);
            }
        }
    }
}

/// What the threads share.
#[derive(Default)]
struct Board {
    /// Decoded, by their place in the order.
    ready: BTreeMap<u64, Batch>,
    /// To be used again.
    spare: Vec<Batch>,
    /// Batches that are read, or about to be, and not yet taken.
    held: usize,
    /// How many batches there are, once the end was met.
    end: Option<u64>,
    /// Nothing more is wanted.
    stop: bool,
}

struct Work<S> {
    source: Mutex<(S, u64)>,
    board: Mutex<Board>,
    changed: Condvar,
    limit: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Source> Work<S> {
    /// Reads a batch and decodes it; a place for it is taken already.
    fn advance(&self, mut batch: Batch, crew: &mut Crew) {
        let mut source = locked(&self.source);
        let place = source.1;
        let ended = !batch.fill(&mut source.0);
        source.1 += u64::from(!ended);
        drop(source);
        if !ended {
            crew.adopt();
            batch.decode(crew);
        }
        let mut board = locked(&self.board);
        if ended {
            board.held -= 1;
            board.end = Some(place);
            board.spare.push(batch);
        } else {
            board.ready.insert(place, batch);
        }
        self.changed.notify_all();
    }

    fn help(&self, crew: &mut Crew) {
        // Those who wait for this thread are told if it panics.
        let _last = Stop(self);
        loop {
            let mut board = locked(&self.board);
            while board.held >= self.limit && !board.stop && board.end.is_none() {
                board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
            }
            if board.stop || board.end.is_some() {
                return;
            }
            board.held += 1;
            let batch = board.spare.pop().unwrap_or_default();
            drop(board);
            self.advance(batch, crew);
        }
    }

    fn take_all(&self, crew: &mut Crew, take: &mut Take<'_>) -> Result<(), Failure> {
        let mut next = 0;
        loop {
            let mut board = locked(&self.board);
            if let Some(mut batch) = board.ready.remove(&next) {
                drop(board);
                batch.give(take)?;
                next += 1;
                let mut board = locked(&self.board);
                board.held -= 1;
                board.spare.push(batch);
                self.changed.notify_all();
            } else if board.end == Some(next) {
                return Ok(());
            } else if board.stop {
                return Err(Failure::finding("a thread that decodes has failed"));
            } else if board.end.is_none() && board.held < self.limit {
                board.held += 1;
                let batch = board.spare.pop().unwrap_or_default();
                drop(board);
                self.advance(batch, crew);
            } else {
                drop(self.changed.wait(board).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

/// Lets all threads end when it goes out of scope in a panic, or with `stop`.
struct Stop<'a, S: Source>(&'a Work<S>);

impl<S: Source> Drop for Stop<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            locked(&self.0.board).stop = true;
            self.0.changed.notify_all();
        }
    }
}

/// Gives all records of a source to `take` in their order, decoded by a thread for each crew, of which the caller's is one;
/// with less than two they stay undecoded.
///
/// # Errors
/// What `take` says, or the source.
pub fn in_order<S: Source>(mut source: S, mut crews: Vec<Crew>, take: &mut Take<'_>) -> Result<(), Failure> {
    let Some(mut own) = crews.pop().filter(|_| !crews.is_empty()) else {
        let mut batch = Batch::default();
        loop {
            if !batch.fill(&mut source) {
                return Ok(());
            }
            batch.give(take)?;
        }
    };
    let work = Work {
        source: Mutex::new((source, 0)),
        board: Mutex::new(Board::default()),
        changed: Condvar::new(),
        limit: AHEAD * (crews.len() + 1),
    };
    std::thread::scope(|scope| {
        for crew in &mut crews {
            scope.spawn(|| work.help(crew));
        }
        let _last = Stop(&work);
        let outcome = work.take_all(&mut own, take);
        locked(&work.board).stop = true;
        work.changed.notify_all();
        outcome
    })
}
