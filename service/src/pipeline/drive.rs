//! Drives every event through the task: decoded by one thread or by several, matched in order by one.

use super::{Head, Ready, Source, Tally};
use crate::console::say;
use crate::decode::Decoded;
use crate::failure::Failure;
use crate::files::{Compression, Next, Records, StreamOf};
use crate::input::arrival::{Arrived, Cursor, Merge};
use crate::input::parallel::{self, Batch, Crew, Units};
use crate::input::{Lane, Rejects, StreamInfo, sorted};
use engine::alert::Alert;
use engine::event::{EventRef, PartitionId, StreamId};
use engine::task::{Input, Outputs, Partition, Task};
use std::collections::VecDeque;
use std::sync::Arc;

/// Late and repeated events that are shown.
const SAMPLES: usize = 20;

/// Where alerts go.
pub type Sink<'a> = dyn FnMut(&Alert) -> Result<(), Failure> + 'a;

/// Steps the task and keeps count.
struct Feeder<'a> {
    task: &'a mut Task,
    files: &'a [Source],
    lanes: Vec<Lane>,
    /// What the records decoded here have fixed, for other threads.
    units: Option<Arc<Units>>,
    names: Vec<String>,
    out: Outputs,
    tally: Tally,
    rejects: &'a mut Rejects,
    sink: &'a mut Sink<'a>,
    bar: indicatif::ProgressBar,
}

impl Feeder<'_> {
    fn arrived(&mut self, arrived: Arrived<'_>) -> Result<(), Failure> {
        match arrived {
            Arrived::Record(at, line, record) => self.record(at, line, record),
            Arrived::Event { file, line, stream, decoded, .. } => {
                let Some(lane) = self.lanes.get(file) else { return Ok(()) };
                self.tally.events += 1;
                let event = event(stream, lane.partition, line, decoded);
                self.task.step(Input::Event(event), &mut self.out);
                self.drain()
            }
            Arrived::Bad(at, line, error) => match self.files.get(at) {
                Some(source) => self.rejects.note(&source.file, line, &error, b""),
                None => Ok(()),
            },
            Arrived::Broken(at, error) => {
                self.broken(at, &error);
                Ok(())
            }
        }
    }

    fn record(&mut self, at: usize, line: u64, record: &[u8]) -> Result<(), Failure> {
        let (Some(lane), Some(source)) = (self.lanes.get_mut(at), self.files.get(at)) else { return Ok(()) };
        let partition = lane.partition;
        match lane.decode(record) {
            Ok(None) => {}
            Ok(Some((stream, decoded))) => {
                self.tally.events += 1;
                let event = event(stream, partition, line, decoded);
                self.task.step(Input::Event(event), &mut self.out);
            }
            Err(error) => self.rejects.note(&source.file, line, &error, record)?,
        }
        if let Some(units) = &self.units {
            units.tell(at, lane);
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Failure> {
        if self.tally.events & 0xffff == 0 {
            self.bar.set_message(format!("{} events", self.tally.events));
            self.bar.tick();
        }
        if self.out.alerts.is_empty() && self.out.late.is_empty() && self.out.duplicates.is_empty() {
            return Ok(());
        }
        for alert in self.out.alerts.drain(..) {
            (self.sink)(&alert)?;
        }
        for (partition, line, ts, watermark) in self.out.late.drain(..) {
            self.tally.late += 1;
            if self.tally.late_samples.len() < SAMPLES {
                let name = self.names.get(partition as usize).cloned().unwrap_or_default();
                self.tally.late_samples.push((name, line, ts, watermark));
            }
        }
        for (partition, line) in self.out.duplicates.drain(..) {
            self.tally.duplicates += 1;
            if self.tally.duplicate_samples.len() < SAMPLES {
                let name = self.names.get(partition as usize).cloned().unwrap_or_default();
                self.tally.duplicate_samples.push((name, line));
            }
        }
        Ok(())
    }

    fn broken(&mut self, at: usize, error: &std::io::Error) {
        self.tally.broken += 1;
        let path = self.files.get(at).map(|s| s.file.path.display().to_string()).unwrap_or_default();
        say!("{path}: damaged, read up to here only: {error}");
    }
}

fn event(stream: StreamId, partition: PartitionId, line: u64, decoded: Decoded<'_>) -> EventRef<'_> {
    EventRef { stream, ts: decoded.ts, partition, offset: line, id: decoded.id, slots: decoded.slots }
}

impl Ready {
    /// Drives all events through the task.
    ///
    /// # Errors
    /// `--strict`, a sink that fails, or a disk that does.
    pub fn drive(&mut self, rejects: &mut Rejects, sink: &mut Sink<'_>) -> Result<Tally, Failure> {
        let mut files = std::mem::take(&mut self.files);
        let mut opened = Vec::new();
        let (mut partitions, mut names) = (Vec::new(), Vec::new());
        for source in &mut files {
            let (records, head) = source.open()?;
            let streams = self.streams.iter().filter(|s| match &source.file.stream {
                StreamOf::Named(name) => s.stream.name == *name,
                StreamOf::Field(_) => true,
            });
            let streams: Vec<_> = streams.map(|s| s.id).collect();
            let unused = streams.is_empty();
            let partition = if unused {
                0
            } else {
                self.task.add_partition(Partition { name: source.file.name.clone(), streams })
            };
            partitions.push(partition);
            if names.len() <= partition as usize {
                names.resize(partition as usize + 1, String::new());
            }
            if !unused && let Some(name) = names.get_mut(partition as usize) {
                name.clone_from(&source.file.name);
            }
            opened.push((records, head, unused));
        }
        let lanes =
            Lanes { files: &files, partitions: &partitions, streams: &self.streams, threads: self.threads };
        let mut relay = |alert: &Alert| sink(alert);
        let mut feeder = Feeder {
            task: &mut self.task,
            files: &files,
            lanes: lanes.make(false)?,
            units: None,
            names,
            out: Outputs::default(),
            tally: Tally::default(),
            rejects,
            sink: &mut relay,
            bar: progress(),
        };
        if self.arrival {
            by_arrival(&mut feeder, opened, &lanes)?;
        } else {
            by_time(&mut feeder, opened, &lanes, self.sort_memory)?;
        }
        feeder.task.step(Input::End, &mut feeder.out);
        feeder.drain()?;
        if self.to_end {
            feeder.task.step(Input::Time(i64::MAX / 2), &mut feeder.out);
            feeder.drain()?;
        }
        feeder.bar.finish_and_clear();
        feeder.rejects.flush()?;
        Ok(feeder.tally)
    }
}

/// Makes the lanes of all files, once for each thread.
struct Lanes<'a> {
    files: &'a [Source],
    partitions: &'a [PartitionId],
    streams: &'a [StreamInfo],
    threads: usize,
}

impl Lanes<'_> {
    fn make(&self, time_only: bool) -> Result<Vec<Lane>, Failure> {
        let files = self.files.iter().zip(self.partitions);
        let lanes = files.map(|(source, partition)| {
            Lane::new(&source.file, *partition, source.header.as_deref(), self.streams, time_only)
        });
        lanes.collect()
    }

    /// What other threads decode with; with one thread there are none.
    fn crews(&self, units: &Arc<Units>, time_only: bool) -> Result<Vec<Crew>, Failure> {
        let count = if self.threads > 1 { self.threads } else { 0 };
        let crews = (0..count).map(|_| Ok(Crew::new(self.make(time_only)?, units.clone(), time_only)));
        crews.collect()
    }
}

type Opened = Vec<(Records, Head, bool)>;

fn by_arrival(feeder: &mut Feeder<'_>, opened: Opened, lanes: &Lanes<'_>) -> Result<(), Failure> {
    let times = lanes.make(true)?;
    let cursors =
        opened.into_iter().zip(times).map(|((records, head, _), lane)| Cursor::new(records, head, lane));
    let mut merge = Merge::new(cursors.collect());
    // What comes live is not held back until a batch is full.
    if lanes.threads < 2 || lanes.files.iter().any(|source| source.file.is_stdin()) {
        while merge.step(&mut |arrived| feeder.arrived(arrived))? {}
        return Ok(());
    }
    let units = Arc::new(Units::new(&feeder.lanes));
    feeder.units = Some(units.clone());
    parallel::in_order(merge, lanes.crews(&units, false)?, &mut |arrived| feeder.arrived(arrived))
}

/// The records of one file after the other.
struct OneByOne {
    files: VecDeque<(usize, Records)>,
    buffer: Vec<u8>,
}

impl parallel::Source for OneByOne {
    fn fill(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        while !batch.is_full()
            && let Some((at, records)) = self.files.front_mut()
        {
            let at = *at;
            let ends = match records.next(&mut self.buffer) {
                Ok(Next::Record(line)) => {
                    batch.push(at, line, &self.buffer);
                    false
                }
                Ok(Next::Bad(line, error)) => {
                    batch.add(Arrived::Bad(at, line, error));
                    false
                }
                Ok(Next::End) => true,
                Err(error) => {
                    batch.add(Arrived::Broken(at, error));
                    true
                }
            };
            if ends {
                self.files.pop_front();
            }
        }
        Ok(())
    }
}

fn by_time(feeder: &mut Feeder<'_>, opened: Opened, lanes: &Lanes<'_>, memory: usize) -> Result<(), Failure> {
    let mut sorter = sorted::Sorter::new(memory);
    let plain = lanes.files.iter().filter(|s| s.file.compression == Compression::None && !s.file.is_stdin());
    let bytes = plain.map(|source| std::fs::metadata(&source.file.path).map_or(0, |m| m.len())).sum::<u64>();
    sorter.reserve(usize::try_from(bytes).unwrap_or(usize::MAX));
    let read = opened.into_iter().enumerate().filter(|(_, (.., unused))| !unused);
    let files =
        OneByOne { files: read.map(|(at, (records, ..))| (at, records)).collect(), buffer: Vec::new() };
    let mut times = lanes.make(true)?;
    let units = Arc::new(Units::new(&times));
    parallel::in_order(files, lanes.crews(&units, true)?, &mut |arrived| match arrived {
        Arrived::Event { file, line, record, decoded, .. } => sorter.push(decoded.ts, file, line, record),
        Arrived::Record(file, line, record) => {
            let (Some(lane), Some(source)) = (times.get_mut(file), lanes.files.get(file)) else {
                return Ok(());
            };
            let time = lane.time(record);
            units.tell(file, lane);
            match time {
                Ok(Some(ts)) => sorter.push(ts, file, line, record),
                Ok(None) => Ok(()),
                Err(error) => feeder.rejects.note(&source.file, line, &error, record),
            }
        }
        rest => feeder.arrived(rest),
    })?;
    for (lane, times) in feeder.lanes.iter_mut().zip(&times) {
        lane.set_units(&times.units());
    }
    let units = Arc::new(Units::new(&feeder.lanes));
    feeder.units = (lanes.threads > 1).then(|| units.clone());
    let sorted = sorter.finish()?;
    parallel::in_order(sorted, lanes.crews(&units, false)?, &mut |arrived| feeder.arrived(arrived))
}

fn progress() -> indicatif::ProgressBar {
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        indicatif::ProgressBar::new_spinner()
    } else {
        indicatif::ProgressBar::hidden()
    }
}
