//! Records as they stand: several files are merged by the time of their next record, each keeping its own order.
//!
//! Memory stays flat: one record a file. A record whose time cannot be read goes through at once, to be rejected.

use super::Lane;
use crate::failure::Failure;
use crate::files::{Next, Records};
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

/// Calls `take` for every record.
///
/// # Errors
/// What `take` says.
pub fn drain(
    mut cursors: Vec<Cursor>,
    take: &mut dyn FnMut(Arrived<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let several = cursors.len() > 1;
    for (at, cursor) in cursors.iter_mut().enumerate() {
        cursor.advance(at, several, take)?;
    }
    loop {
        let next = cursors.iter().enumerate().filter(|(_, c)| c.open).min_by_key(|(at, c)| (c.ts, *at));
        let Some((at, _)) = next else { return Ok(()) };
        let Some(cursor) = cursors.get_mut(at) else { return Ok(()) };
        take(Arrived::Record(at, cursor.line, &cursor.current))?;
        cursor.advance(at, several, take)?;
    }
}
