//! Records as they stand: several files are merged by the time of their next record, each keeping its own order.
//!
//! Memory stays flat: one record a file. A record whose time cannot be read goes through at once, to be rejected.

use super::Lane;
use super::parallel::{Batch, Source};
use crate::decode::Decoded;
use crate::failure::Failure;
use crate::files::{Next, Records};
use engine::event::StreamId;
use std::collections::VecDeque;

/// One file being read.
#[derive(Debug)]
pub struct Cursor {
    /// The file's records.
    pub records: Records,
    /// Records read ahead, with their lines.
    pub head: VecDeque<(u64, Vec<u8>)>,
    /// Reads times.
    pub times: Lane,
    current: Vec<u8>,
    line: u64,
    ts: i64,
    open: bool,
}

/// What happens while reading.
#[derive(Debug)]
pub enum Arrived<'a> {
    /// A record: file, line, bytes.
    Record(usize, u64, &'a [u8]),
    /// A record that has been decoded.
    Event {
        /// Index of its file.
        file: usize,
        /// Its line.
        line: u64,
        /// Its bytes.
        record: &'a [u8],
        /// Its stream.
        stream: StreamId,
        /// What it says.
        decoded: Decoded<'a>,
    },
    /// A damaged record: file, line, why.
    Bad(usize, u64, crate::decode::DecodeError),
    /// A file could not be read to its end.
    Broken(usize, std::io::Error),
}

impl Cursor {
    /// A cursor before the first record.
    #[must_use]
    pub fn new(records: Records, head: VecDeque<(u64, Vec<u8>)>, times: Lane) -> Self {
        Self { records, head, times, current: Vec::new(), line: 0, ts: i64::MIN, open: true }
    }

    fn advance(
        &mut self,
        at: usize,
        several: bool,
        take: &mut dyn FnMut(Arrived<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            if let Some((line, record)) = self.head.pop_front() {
                (self.line, self.current) = (line, record);
            } else {
                match self.records.next(&mut self.current) {
                    Ok(Next::Record(line)) => self.line = line,
                    Ok(Next::Bad(line, error)) => {
                        take(Arrived::Bad(at, line, error))?;
                        continue;
                    }
                    Ok(Next::End) => {
                        self.open = false;
                        return Ok(());
                    }
                    Err(error) => {
                        self.open = false;
                        return take(Arrived::Broken(at, error));
                    }
                }
            }
            if several {
                self.ts = match self.times.decode(&self.current) {
                    Ok(Some((_, decoded))) => decoded.ts,
                    Ok(None) | Err(_) => self.ts,
                };
            }
            return Ok(());
        }
    }
}

/// All files, merged.
#[derive(Debug)]
pub struct Merge {
    cursors: Vec<Cursor>,
    started: bool,
}

impl Merge {
    /// Before the first record of each.
    #[must_use]
    pub fn new(cursors: Vec<Cursor>) -> Self {
        Self { cursors, started: false }
    }

    /// Calls `take` for the next record and for what comes up behind it; false at the end.
    ///
    /// # Errors
    /// What `take` says.
    pub fn step(
        &mut self,
        take: &mut dyn FnMut(Arrived<'_>) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let several = self.cursors.len() > 1;
        if !std::mem::replace(&mut self.started, true) {
            for (at, cursor) in self.cursors.iter_mut().enumerate() {
                cursor.advance(at, several, take)?;
            }
        }
        let open = self.cursors.iter_mut().enumerate().filter(|(_, c)| c.open);
        let Some((at, cursor)) = open.min_by_key(|(at, c)| (c.ts, *at)) else { return Ok(false) };
        take(Arrived::Record(at, cursor.line, &cursor.current))?;
        cursor.advance(at, several, take)?;
        Ok(true)
    }
}

impl Source for Merge {
    fn fill(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let mut more = true;
        while more && !batch.is_full() {
            more = self.step(&mut |arrived| {
                batch.add(arrived);
                Ok(())
            })?;
        }
        Ok(())
    }
}
