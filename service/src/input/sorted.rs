//! Stable sort of records by event time: in memory, or past a limit in sorted runs on disk that are merged.
//!
//! A run on disk is a sequence of (time, file, line, length, bytes). Runs are written in input order, so a merge that
//! breaks ties by run keeps the sort stable.

use super::parallel::{Batch, Source};
use crate::failure::Failure;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufReader, BufWriter, Read, Seek, Write};

/// Raw bytes held before a run goes to disk.
pub const DEFAULT_MEMORY: usize = 512 << 20;

#[derive(Debug, Clone, Copy)]
struct Entry {
    ts: i64,
    start: usize,
    length: u32,
    file: u32,
    line: u64,
}

/// A record in its place.
#[derive(Debug, Clone, Copy)]
pub struct Sorted<'a> {
    /// Index of its file.
    pub file: usize,
    /// Its line.
    pub line: u64,
    /// Its bytes.
    pub record: &'a [u8],
}

/// Takes records in input order, gives them by time.
#[derive(Debug)]
pub struct Sorter {
    memory: usize,
    arena: Vec<u8>,
    index: Vec<Entry>,
    runs: Vec<std::fs::File>,
}

impl Sorter {
    /// With a limit of bytes in memory.
    #[must_use]
    pub fn new(memory: usize) -> Self {
        Self { memory, arena: Vec::new(), index: Vec::new(), runs: Vec::new() }
    }

    /// Makes room for about so many bytes more, so that what is held need not move.
    pub fn reserve(&mut self, bytes: usize) {
        self.arena.reserve(bytes.min(self.memory.saturating_sub(self.arena.len())));
    }

    /// Adds a record.
    ///
    /// # Errors
    /// A run cannot be written.
    pub fn push(&mut self, ts: i64, file: usize, line: u64, record: &[u8]) -> Result<(), Failure> {
        let held = self.arena.len() + self.index.len() * std::mem::size_of::<Entry>();
        if held + record.len() > self.memory && !self.index.is_empty() {
            self.spill()?;
        }
        let entry =
            Entry { ts, start: self.arena.len(), length: record.len() as u32, file: file as u32, line };
        self.arena.extend_from_slice(record);
        self.index.push(entry);
        Ok(())
    }

    fn sort(&mut self) {
        if !self.index.is_sorted_by_key(|e| e.ts) {
            self.index.sort_by_key(|e| e.ts);
        }
    }

    fn bytes(&self, entry: &Entry) -> &[u8] {
        self.arena.get(entry.start..entry.start + entry.length as usize).unwrap_or_default()
    }

    fn spill(&mut self) -> Result<(), Failure> {
        self.sort();
        let mut out = BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
        for entry in &self.index {
            out.write_all(&entry.ts.to_le_bytes())?;
            out.write_all(&entry.file.to_le_bytes())?;
            out.write_all(&entry.line.to_le_bytes())?;
            out.write_all(&entry.length.to_le_bytes())?;
            out.write_all(self.bytes(entry))?;
        }
        let mut file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        self.arena.clear();
        self.index.clear();
        Ok(())
    }

    /// All records in order of time.
    ///
    /// # Errors
    /// A run that cannot be written, or read back.
    pub fn finish(mut self) -> Result<InOrder, Failure> {
        let (mut runs, mut heap) = (Vec::new(), BinaryHeap::new());
        if self.runs.is_empty() {
            self.sort();
            return Ok(InOrder { held: self, next: 0, runs, heap, given: None });
        }
        if !self.index.is_empty() {
            self.spill()?;
        }
        for (at, file) in std::mem::take(&mut self.runs).into_iter().enumerate() {
            let mut run =
                Run { input: BufReader::with_capacity(1 << 18, file), file: 0, line: 0, record: Vec::new() };
            if let Some(ts) = run.advance()? {
                heap.push(Reverse((ts, at)));
            }
            runs.push(run);
        }
        Ok(InOrder { held: self, next: 0, runs, heap, given: None })
    }
}

/// Records in order of time.
#[derive(Debug)]
pub struct InOrder {
    /// Those in memory, if none is on disk, and how many of them were given.
    held: Sorter,
    next: usize,
    runs: Vec<Run>,
    heap: BinaryHeap<Reverse<(i64, usize)>>,
    /// The run whose record was given last.
    given: Option<usize>,
}

impl InOrder {
    /// The next record.
    ///
    /// # Errors
    /// A run that cannot be read back.
    pub fn next_record(&mut self) -> Result<Option<Sorted<'_>>, Failure> {
        if let Some(entry) = self.held.index.get(self.next) {
            self.next += 1;
            let record = self.held.bytes(entry);
            return Ok(Some(Sorted { file: entry.file as usize, line: entry.line, record }));
        }
        if let Some(at) = self.given.take()
            && let Some(run) = self.runs.get_mut(at)
            && let Some(ts) = run.advance()?
        {
            self.heap.push(Reverse((ts, at)));
        }
        self.given = self.heap.pop().map(|Reverse((_, at))| at);
        let run = self.given.and_then(|at| self.runs.get(at));
        Ok(run.map(|run| Sorted { file: run.file as usize, line: run.line, record: &run.record }))
    }
}

impl Source for InOrder {
    fn fill(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        while !batch.is_full()
            && let Some(sorted) = self.next_record()?
        {
            batch.push(sorted.file, sorted.line, sorted.record);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Run {
    input: BufReader<std::fs::File>,
    file: u32,
    line: u64,
    record: Vec<u8>,
}

impl Run {
    /// Reads the next record; its time, or none at the end.
    fn advance(&mut self) -> Result<Option<i64>, Failure> {
        let mut ts = [0u8; 8];
        match self.input.read_exact(&mut ts) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let (mut file, mut line, mut length) = ([0u8; 4], [0u8; 8], [0u8; 4]);
        self.input.read_exact(&mut file)?;
        self.input.read_exact(&mut line)?;
        self.input.read_exact(&mut length)?;
        self.file = u32::from_le_bytes(file);
        self.line = u64::from_le_bytes(line);
        self.record.resize(u32::from_le_bytes(length) as usize, 0);
        self.input.read_exact(&mut self.record)?;
        Ok(Some(i64::from_le_bytes(ts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(memory: usize) -> Vec<(usize, u64, Vec<u8>)> {
        let mut sorter = Sorter::new(memory);
        for n in 0..1_000u64 {
            let ts = (n * 7_919 % 101) as i64;
            sorter.push(ts, (n % 3) as usize, n, format!("{ts}/{n}").as_bytes()).expect("push");
        }
        let mut sorted = sorter.finish().expect("finish");
        let mut seen = Vec::new();
        while let Some(s) = sorted.next_record().expect("next") {
            seen.push((s.file, s.line, s.record.to_vec()));
        }
        seen
    }

    #[test]
    fn runs_on_disk_give_the_order_of_memory() {
        let all = order(DEFAULT_MEMORY);
        assert_eq!(all.len(), 1_000);
        assert_eq!(all, order(2_000));
    }
}
