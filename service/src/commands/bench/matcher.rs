//! The matcher as it is measured: rules compiled from their text, and decoded events that a fresh task takes one by one.

use super::events::{Row, Words};
use super::limit::Found;
use super::workload::Workload;
use crate::failure::Failure;
use crate::ruleset;
use engine::event::{EventRef, PartitionId, StreamId};
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use pattern_dsl::{Environment, SourceText, ir};
use std::collections::BTreeMap;

/// The stream of all benchmarks.
pub(super) const STREAM: &str = "ev";
/// Events given to the matcher at once.
const BATCH: usize = 64;

/// Rules from their text to their checked form.
///
/// # Errors
/// The rules have errors.
pub(super) fn compile(name: &str, text: String) -> Result<ir::Module, Failure> {
    let sources = [SourceText { name: format!("{name}.cep"), text }];
    Ok(ruleset::compile(&sources, &Environment::default(), false)?.module)
}

/// A task with its one partition.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) task: Task,
    pub(super) stream: StreamId,
    pub(super) partition: PartitionId,
}

impl Matcher {
    /// With every rule active and no caps; matches may be counted instead of told.
    ///
    /// # Errors
    /// The rules cannot be activated.
    pub(super) fn new(module: &ir::Module, count_only: bool) -> Result<Self, Failure> {
        let limits = Limits::default();
        let options = Options { limits, count_only, sorted_input: false, keep_history: false };
        let mut task = Task::new(options);
        activate(&mut task, module)?;
        let stream =
            task.stream_id(STREAM).ok_or_else(|| Failure::finding("the task does not know stream `ev`"))?;
        let partition = task.add_partition(Partition { name: "bench".to_owned(), streams: vec![stream] });
        Ok(Self { task, stream, partition })
    }

    /// The wanted fields, in slot order.
    pub(super) fn fields(&self) -> Vec<String> {
        let layout = self.task.layout().streams.get(self.stream as usize);
        layout.map_or_else(Vec::new, |layout| layout.fields.iter().map(|f| f.path.join(".")).collect())
    }

    /// Takes one event.
    pub(super) fn event(&mut self, ts: i64, offset: u64, slots: &[Value], out: &mut Outputs) {
        let (stream, partition) = (self.stream, self.partition);
        self.task.step(Input::Event(EventRef { stream, ts, partition, offset, id: None, slots }), out);
    }

    /// Ends the input; what has been found by all rules.
    pub(super) fn end(&mut self, out: &mut Outputs) -> Found {
        self.task.step(Input::End, out);
        let mut found = Found::default();
        for (_, stats) in self.task.stats() {
            found.matches += stats.matches;
            found.checksum = found.checksum.wrapping_add(stats.checksum);
        }
        found
    }
}

/// Activates every rule of a module.
///
/// # Errors
/// One of them cannot be.
pub(super) fn activate(task: &mut Task, module: &ir::Module) -> Result<(), Failure> {
    let activated = task.activate(module, &BTreeMap::new(), None);
    activated.map(drop).map_err(|error| Failure::finding(error.to_string()))
}

/// Events as a decoder leaves them: time, and a value for each wanted field.
#[derive(Debug)]
pub(super) struct Decoded {
    times: Vec<i64>,
    values: Vec<Value>,
    width: usize,
}

impl Decoded {
    /// Of the generator's rows.
    pub(super) fn new(workload: &Workload, rows: &[Row], fields: &[String]) -> Self {
        let words = Words::new(workload);
        let times = rows.iter().map(|row| row.ts * 1_000).collect();
        let values = rows.iter().flat_map(|row| fields.iter().map(|field| words.value(row, field)));
        let mut all = Vec::with_capacity(rows.len() * fields.len());
        all.extend(values);
        Self { times, values: all, width: fields.len() }
    }

    /// Gives all of them to the matcher.
    pub(super) fn run(&self, matcher: &mut Matcher) -> Found {
        let mut out = Outputs::default();
        let (stream, partition) = (matcher.stream, matcher.partition);
        let rows = self.times.iter().zip(self.values.chunks_exact(self.width.max(1)));
        let event = |(offset, (ts, slots)): (u64, (&i64, _))| EventRef {
            stream,
            ts: *ts,
            partition,
            offset,
            id: None,
            slots,
        };
        let mut events = (0..).zip(rows).map(event);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            batch.extend(events.by_ref().take(BATCH));
            if batch.is_empty() {
                break;
            }
            matcher.task.step_all(&batch, &mut out);
        }
        matcher.end(&mut out)
    }
}
