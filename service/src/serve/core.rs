//! The task with what surrounds it: streams, rules, decoders, and how log entries change them.
//!
//! INVARIANT: live work and replay go through the same methods with the same arguments, so they reach the same state.

mod lanes;
mod poison;
mod saved;
mod shared;
mod silence;

use super::language::{self, CompileError};
use crate::clock;
use crate::decode::Decoder;
use crate::store::{Control, Entry, FolderState};
use arcstr::ArcStr;
use engine::alert::ALERTS;
use engine::event::{EventRef, PartitionId, StreamId, StreamLayout, WantedField};
use engine::task::{Input, Options, Outputs, Task};
use engine::watch::Watch;
use pattern_dsl::ir::{self, Content};
use pattern_dsl::types::Micros;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use poison::Quarantine;

/// Where a rule came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Folder,
    Api,
}

/// A rule that is active.
#[derive(Debug, Clone)]
pub(crate) struct ActiveRule {
    pub(crate) origin: Origin,
    pub(crate) text: String,
    pub(crate) revision: u32,
    pub(crate) effective_from: Option<Micros>,
    /// Until when it does not know the past that it looks back on.
    pub(crate) warm_at: Option<Micros>,
    pub(crate) recorded: i64,
    pub(crate) rule: ir::Rule,
    pub(crate) streams: Vec<String>,
    /// The streams and tables that `rule` indexes; no rules.
    pub(crate) declared: Arc<ir::Module>,
    /// It kills the matcher, so it does nothing.
    pub(crate) quarantine: Option<Quarantine>,
    print: String,
}

/// A stream whose events come in.
struct Source {
    ir: ir::Stream,
    id: StreamId,
    topic: String,
    /// The first partition of the topic.
    lane: usize,
    decoder: Decoder,
    /// Of a stream that only some records of its topic belong to.
    own: Option<shared::Own>,
    /// How many of the decoder's slots are the engine's.
    wanted: usize,
}

/// One partition of a topic: events come in along it, each at the next offset.
struct Lane {
    topic: String,
    /// As event identities and cuts show it: the topic of a local one, else `topic/partition`.
    name: String,
    streams: Vec<StreamId>,
    /// Names of `streams`.
    readers: Vec<ArcStr>,
    id: Option<PartitionId>,
    next: u64,
    late: Micros,
    idle: Micros,
    newest: Option<Micros>,
    lag: i64,
    heard: Instant,
}

/// The name of a topic's partition.
pub(crate) fn partition_name(topic: &str, number: impl std::fmt::Display) -> String {
    format!("{topic}/{number}")
}

/// An offset vector: by partition, the next offset.
pub(crate) type Cut = BTreeMap<String, u64>;

/// A record of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// Place of its partition in [`Core::lanes`].
    pub(crate) lane: usize,
    pub(crate) offset: u64,
    /// When it came into its topic, in microseconds.
    pub(crate) arrived: i64,
    pub(crate) raw: &'a [u8],
}

/// Why a line was not taken.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// The task and its surroundings.
pub(crate) struct Core {
    task: Task,
    streams: Vec<ir::Stream>,
    tables: Vec<ir::Table>,
    contents: BTreeMap<String, Content>,
    sources: BTreeMap<String, Source>,
    lanes: Vec<Lane>,
    /// Topics with several partitions: the offset at which each begins.
    opened: BTreeMap<String, Vec<u64>>,
    /// The number of the one partition of each topic that is read; none = all of them.
    only: Option<u32>,
    rules: BTreeMap<String, ActiveRule>,
    folder: Option<FolderState>,
    last_tick: Micros,
    idle_max: Option<Micros>,
    live_within: Micros,
    skew_max: Option<Micros>,
    /// Stream and hash of events that are not taken, and the rule that is to blame.
    refused: BTreeMap<(String, String), Option<String>>,
    /// What the last steps caused; the matcher drains it.
    pub(crate) out: Outputs,
}

impl Source {
    /// A decoder for what the engine wants, and behind it for every other declared field, so that types are checked.
    fn rebuild(&mut self, layout: &StreamLayout) {
        self.wanted = layout.fields.len();
        let mut all = layout.clone();
        for field in &self.ir.fields {
            if !all.fields.iter().any(|f| f.path == field.path) {
                all.fields.push(WantedField { path: field.path.clone(), ty: field.ty.clone() });
            }
        }
        let unit = self.decoder.time_unit();
        self.decoder = Decoder::new(&self.ir, &all);
        self.decoder.set_time_unit(unit);
    }
}

impl Core {
    pub(crate) fn new(options: Options, idle_max: Option<Duration>, live_within: Duration) -> Self {
        Self {
            task: Task::new(options),
            streams: Vec::new(),
            tables: Vec::new(),
            contents: BTreeMap::new(),
            sources: BTreeMap::new(),
            lanes: Vec::new(),
            opened: BTreeMap::new(),
            only: None,
            rules: BTreeMap::new(),
            folder: None,
            last_tick: Micros::MIN,
            idle_max: idle_max.map(|d| d.as_micros() as i64),
            live_within: live_within.as_micros() as i64,
            skew_max: None,
            refused: BTreeMap::new(),
            out: Outputs::default(),
        }
    }

    pub(crate) fn rules(&self) -> &BTreeMap<String, ActiveRule> {
        &self.rules
    }

    pub(crate) fn folder(&self) -> Option<&FolderState> {
        self.folder.as_ref()
    }

    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    /// This is told of each rule before it works.
    pub(crate) fn watch(&mut self, watch: Option<Watch>) {
        self.task.watch(watch);
    }

    /// Streams with their topic.
    pub(crate) fn stream_topics(&self) -> BTreeMap<String, String> {
        self.sources.iter().map(|(n, s)| (n.clone(), s.topic.clone())).collect()
    }

    /// Takes a record of a topic: it is behind the cut from now on, whether it is an event or not.
    pub(crate) fn take(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let Arrival { lane: at, offset, arrived, raw } = arrival;
        let Some(lane) = self.lanes.get_mut(at) else { return Ok(()) };
        lane.next = offset + 1;
        lane.heard = clock::now();
        if let [only] = lane.readers.as_slice()
            && self.sources.get(only.as_str()).is_some_and(|source| source.own.is_none())
        {
            let only = only.clone();
            return self.feed(&only, Some((at, offset)), raw, arrived).map(|_| ());
        }
        self.take_shared(arrival)
    }

    /// Decodes an event and steps the task with it. Returns the topic and the offset it gets there.
    pub(crate) fn accept(
        &mut self,
        stream: &str,
        raw: &[u8],
        arrived: i64,
    ) -> Result<(String, u64), Rejection> {
        self.check_refused(stream, raw)?;
        let (lane, offset) = self.feed(stream, None, raw, arrived)?;
        Ok((self.lanes[lane].topic.clone(), offset))
    }

    /// `place`: the partition and offset that the event has already; else it gets the next of its local topic. Returns them.
    fn feed(
        &mut self,
        stream: &str,
        place: Option<(usize, u64)>,
        raw: &[u8],
        arrived: i64,
    ) -> Result<(usize, u64), Rejection> {
        let Some(source) = self.sources.get_mut(stream) else {
            return Err(Rejection {
                code: "unknown_stream".into(),
                message: format!("no stream `{stream}`"),
            });
        };
        source.decoder.set_record_time(arrived);
        let unit = source.decoder.time_unit();
        let decoded = source
            .decoder
            .decode(raw)
            .map_err(|e| Rejection { code: e.code.to_string(), message: e.message.to_string() })?;
        if let Err(refused) = poison::check_skew(decoded.ts, arrived, self.skew_max) {
            // What is refused does not say what numbers mean as times.
            source.decoder.set_time_unit(unit);
            return Err(refused);
        }
        let at = place.map_or(source.lane, |(at, _)| at);
        let lane = &mut self.lanes[at];
        let offset = place.map_or(lane.next, |(_, offset)| offset);
        lane.next = offset + 1;
        lane.heard = clock::now();
        if lane.newest.is_none_or(|n| decoded.ts > n) {
            lane.newest = Some(decoded.ts);
            lane.lag = arrived.saturating_sub(decoded.ts);
        }
        if let Some(partition) = lane.id {
            let event = EventRef {
                stream: source.id,
                ts: decoded.ts,
                partition,
                offset,
                id: decoded.id,
                slots: &decoded.slots[..source.wanted.min(decoded.slots.len())],
            };
            self.task.step(Input::Event(event), &mut self.out);
        }
        Ok((at, offset))
    }

    /// Takes out what the last steps have caused, to be told to nobody; the ids of the alerts go to `found`.
    pub(crate) fn drain(&mut self, mut found: impl FnMut(&str)) {
        let raised = self.out.alerts.drain(..).filter(|alert| alert.mode != ir::Mode::Off);
        raised.for_each(|alert| found(&alert.id));
        self.out.late.clear();
        self.out.duplicates.clear();
    }

    /// The first instant after every accepted event.
    pub(crate) fn next_activation(&self) -> Micros {
        let newest = self.lanes.iter().filter_map(|t| t.newest).max().map_or(Micros::MIN, |n| n + 1);
        self.task.next_activation().max(newest).max(self.last_tick)
    }

    /// True if no event was accepted yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lanes.iter().all(|t| t.newest.is_none())
    }

    /// Compiles the source of one rule against the known streams and checks that it holds just that.
    pub(crate) fn check_rule(&self, id: &str, text: &str) -> Result<language::Checked, CompileError> {
        language::compile_rule(id, text, &self.streams, &self.tables)
    }

    /// Diagnostics of any text, with the names of its rules.
    pub(crate) fn check_text(&self, text: &str) -> serde_json::Value {
        language::check_text(text, &self.streams, &self.tables)
    }

    /// Puts a rule from the API. Returns its revision.
    pub(crate) fn put(
        &mut self,
        id: &str,
        text: &str,
        at: Micros,
        recorded: i64,
    ) -> Result<u32, CompileError> {
        let checked = self.check_rule(id, text)?;
        let revision = self.activate(&checked.module, Some(at))?.get(id).copied().unwrap_or(1);
        let declared = declarations(&checked.module);
        for rule in &checked.module.rules {
            let active = self.active(&declared, rule, Origin::Api, text, revision, Some(at), recorded);
            self.rules.insert(id.to_owned(), active);
        }
        self.forgive(id);
        Ok(revision)
    }

    /// Deletes a rule.
    pub(crate) fn delete(&mut self, id: &str) -> bool {
        let known = self.rules.remove(id).is_some();
        self.forgive(id);
        self.task.retire(id) || known
    }

    /// Takes over the state of the rules folder: new and changed rules are activated, missing ones retired.
    pub(crate) fn take_folder(
        &mut self,
        state: &FolderState,
        at: Option<Micros>,
        recorded: i64,
    ) -> Result<(), CompileError> {
        let mut module = language::compile_folder(state)?;
        module.rules.retain(|r| !state.skipped.contains(&r.name));
        let wanted: BTreeSet<String> = module.rules.iter().map(|r| r.name.clone()).collect();
        let gone: Vec<String> = self
            .rules
            .iter()
            .filter(|(name, rule)| rule.origin == Origin::Folder && !wanted.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        for stream in &module.streams {
            self.add_stream(stream)?;
        }
        self.streams.clone_from(&module.streams);
        self.tables.clone_from(&module.tables);
        self.contents = language::contents(&module.tables, &state.tables);
        let all = std::mem::take(&mut module.rules);
        let changed: Vec<ir::Rule> = all
            .into_iter()
            .filter(|rule| {
                let print = self.print(&module, rule);
                self.rules.get(&rule.name).is_none_or(|a| a.print != print || a.origin != Origin::Folder)
            })
            .collect();
        module.rules = changed;
        let revisions = self.activate(&module, at)?;
        let declared = declarations(&module);
        for rule in &module.rules {
            let revision = revisions.get(&rule.name).copied().unwrap_or(1);
            let active = self.active(&declared, rule, Origin::Folder, &rule.text, revision, at, recorded);
            self.rules.insert(rule.name.clone(), active);
            self.forgive(&rule.name);
        }
        for name in gone {
            self.delete(&name);
        }
        self.folder = Some(state.clone());
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one place builds the record from its parts")]
    fn active(
        &self,
        declared: &Arc<ir::Module>,
        rule: &ir::Rule,
        origin: Origin,
        text: &str,
        revision: u32,
        at: Option<Micros>,
        recorded: i64,
    ) -> ActiveRule {
        ActiveRule {
            origin,
            text: text.to_owned(),
            revision,
            effective_from: at,
            warm_at: self.task.warm_at(&rule.name),
            quarantine: None,
            recorded,
            rule: rule.clone(),
            streams: rule.streams.iter().map(|s| declared.streams[s.stream].name.clone()).collect(),
            print: self.print(declared, rule),
            declared: Arc::clone(declared),
        }
    }

    /// What makes two readings of a folder rule the same.
    fn print(&self, module: &ir::Module, rule: &ir::Rule) -> String {
        let mut text = language::without_spans(&format!("{rule:?}"));
        for stream in &rule.streams {
            text.push_str(&language::without_spans(&format!("{:?}", module.streams[stream.stream])));
        }
        text
    }

    fn activate(
        &mut self,
        module: &ir::Module,
        at: Option<Micros>,
    ) -> Result<BTreeMap<String, u32>, CompileError> {
        for stream in &module.streams {
            self.add_stream(stream)?;
        }
        let revisions = self.task.activate(module, &self.contents, at)?;
        for table in &module.tables {
            let content = self.contents.get(&table.name).unwrap_or(&table.content);
            self.task.set_table(&table.name, content, at);
        }
        for rule in &module.rules {
            for stream in &rule.streams {
                self.open_partition(&module.streams[stream.stream].name);
            }
        }
        self.refresh_decoders();
        Ok(revisions.into_iter().collect())
    }

    /// Registers a stream; a stream that is known keeps its partition.
    fn add_stream(&mut self, stream: &ir::Stream) -> Result<(), CompileError> {
        let id = self.task.add_stream(stream);
        // Alerts come from rules, not from senders.
        if stream.name == ALERTS {
            return Ok(());
        }
        let own = shared::Own::of(stream)?;
        let layout = layout_of(&self.task, id, &stream.name);
        if let Some(source) = self.sources.get_mut(&stream.name) {
            if source.ir != *stream {
                source.ir = stream.clone();
                source.own = own;
                source.rebuild(&layout);
            }
            return Ok(());
        }
        let topic = stream.topic.clone().unwrap_or_else(|| stream.name.clone());
        let lane = self.add_lanes(&topic);
        for lane in self.lanes.iter_mut().filter(|lane| lane.topic == topic) {
            lane.streams.push(id);
            lane.readers.push(stream.name.as_str().into());
            lane.late = lane.late.max(stream.late);
            lane.idle = lane.idle.max(self.idle_max.map_or(stream.idle, |m| stream.idle.min(m)));
        }
        let decoder = Decoder::time_only(stream);
        let mut source = Source { ir: stream.clone(), id, topic, lane, decoder, own, wanted: 0 };
        source.rebuild(&layout);
        self.sources.insert(stream.name.clone(), source);
        Ok(())
    }

    fn refresh_decoders(&mut self) {
        for (name, source) in &mut self.sources {
            source.rebuild(&layout_of(&self.task, source.id, name));
        }
    }

    /// Takes an entry of the log again.
    pub(crate) fn replay(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Event { stream, raw, arrived, .. } => {
                self.accept(stream, raw, *arrived).map(|_| ()).map_err(|r| r.message)
            }
            Entry::Control(control) => match control.as_ref() {
                Control::Open { topic, starts } => {
                    self.open_topic(topic, starts.clone());
                    Ok(())
                }
                Control::Tick { to } => {
                    self.tick(*to);
                    Ok(())
                }
                Control::Put { id, text, at, recorded, .. } => {
                    self.put(id, text, *at, *recorded).map(|_| ()).map_err(|e| e.to_string())
                }
                Control::Delete { id, .. } => {
                    self.delete(id);
                    Ok(())
                }
                Control::Folder { state, at, recorded } => {
                    self.take_folder(state, *at, *recorded).map_err(|e| e.to_string())
                }
                Control::Skip { partition, offset, .. } => {
                    self.skip(partition, *offset);
                    Ok(())
                }
                Control::Refuse { stream, print, rule, .. } => {
                    self.refuse(stream, print, rule.as_deref());
                    Ok(())
                }
                Control::Quarantine { rule, why, recorded } => {
                    self.quarantine(rule, why, *recorded);
                    Ok(())
                }
                Control::Skew { most } => {
                    self.limit_skew(*most);
                    Ok(())
                }
            },
        }
    }
}

/// A module without its rules.
fn declarations(module: &ir::Module) -> Arc<ir::Module> {
    let (streams, tables) = (module.streams.clone(), module.tables.clone());
    Arc::new(ir::Module { streams, tables, rules: Vec::new() })
}

fn layout_of(task: &Task, id: StreamId, name: &str) -> StreamLayout {
    let found = task.layout().streams.get(id as usize).filter(|l| l.name.as_str() == name);
    found.cloned().unwrap_or_else(|| StreamLayout { name: name.into(), fields: Vec::new() })
}
