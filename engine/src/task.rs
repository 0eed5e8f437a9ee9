//! The event machine: `step(Input) -> Outputs`, `save`, `restore`. No clock, no I/O.

use crate::advance::RuleRun;
use crate::ahead::Ahead;
use crate::chain::Chain;
use crate::compile;
use crate::event::{Arriving, Event, EventRef, Layout, PartitionId, StreamId};
use crate::freeze::Frozen;
use crate::index::{Index, Wanted};
use crate::keys::Near;
use crate::mask;
use crate::overlap::{Surroundings, UsedUp};
use crate::past::Past;
use crate::predicate::Around;
use crate::revision::Same;
use crate::share::Shapes;
use crate::stream::StreamTime;
use crate::tables::Tables;
use crate::time::{Clock, PartitionTime};
use crate::timer::Agenda;
use crate::watch::Watch;
use crate::why::Drop;
use crate::why::history::History;
use arcstr::ArcStr;
use pattern_dsl::ir::{Content, Mode, Module, Stream};
use pattern_dsl::types::Micros;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub use crate::found::FoundBy;
pub use crate::index::How;
pub use crate::interface::{ActivateError, Counts, Input, Limits, Options, Outputs, Partition, RuleStats};

/// Revisions of one rule that may drain at once.
const DRAINING_MAX: usize = 8;

/// Where an event stands in the order in which a merged rule sees the events of one time: sorted by its fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The first revision of the rule.
    pub(crate) family: usize,
    /// Of the event's stream in the rule.
    pub(crate) rank: usize,
    pub(crate) partition: PartitionId,
    pub(crate) offset: u64,
    /// Of the event among those of its time.
    pub(crate) number: usize,
    pub(crate) rule: u32,
    pub(crate) roles: u64,
}

/// One matcher with its keyed state.
#[derive(Debug)]
pub struct Task {
    pub(crate) options: Options,
    pub(crate) layout: Layout,
    pub(crate) index: Index,
    pub(crate) tables: Tables,
    shapes: Shapes,
    pub(crate) streams: Vec<StreamTime>,
    pub(crate) partition_names: Vec<ArcStr>,
    pub(crate) partition_streams: Vec<Vec<StreamId>>,
    pub(crate) clock: Clock,
    /// By name, then revision.
    pub(crate) rules: Vec<RuleRun>,
    /// By rule: the partition whose events it sees as they come, since its streams promise order; none = merged.
    pub(crate) direct: Vec<Option<PartitionId>>,
    pub(crate) any_merged: bool,
    /// By rule: it has no other revision.
    pub(crate) alone: Vec<bool>,
    revisions: BTreeMap<String, u32>,
    /// The last position given out.
    pub(crate) position: u64,
    pub(crate) agenda: Agenda,
    /// What all keys of all rules hold together.
    pub(crate) held: usize,
    pub(crate) chain: Chain,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) ahead: Ahead,
    pub(crate) used: Vec<UsedUp>,
    /// Decisions are taken without their events ([`Task::rebuild`]).
    pub(crate) rebuilding: bool,
    pub(crate) watch: Option<Watch>,
    /// With `keep_history`: what `why` replays.
    pub(crate) history: Option<Box<History>>,
    /// What is being saved.
    pub(crate) frozen: Frozen,
}

impl Task {
    /// An empty task.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let history = options.keep_history.then(Box::default);
        Self {
            clock: Clock::new(options.sorted_input),
            options,
            layout: Layout::default(),
            index: Index::default(),
            tables: Tables::default(),
            shapes: Shapes::default(),
            streams: Vec::new(),
            partition_names: Vec::new(),
            partition_streams: Vec::new(),
            rules: Vec::new(),
            direct: Vec::new(),
            any_merged: false,
            alone: Vec::new(),
            revisions: BTreeMap::new(),
            position: 0,
            agenda: Agenda::default(),
            held: 0,
            chain: Chain::default(),
            wanted: Vec::new(),
            ahead: Ahead::default(),
            used: Vec::new(),
            rebuilding: false,
            watch: None,
            history,
            frozen: Frozen::default(),
        }
    }

    /// Fields that decoders have to deliver; grows only in [`Task::activate`].
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Registers a stream's time settings (also done by `activate` for every stream of its module). Idempotent by name.
    pub fn add_stream(&mut self, stream: &Stream) -> StreamId {
        let id = compile::stream_id(&mut self.layout, stream);
        self.index.ensure(self.layout.streams.len());
        if self.streams.len() <= id as usize {
            self.streams.push(StreamTime::new(stream));
        }
        id
    }

    /// Id of a stream by name.
    #[must_use]
    pub fn stream_id(&self, name: &str) -> Option<StreamId> {
        self.layout.streams.iter().position(|stream| stream.name == name).map(|id| id as StreamId)
    }

    /// Declares a partition before its first event; its streams must have been added.
    pub fn add_partition(&mut self, partition: Partition) -> PartitionId {
        let late =
            partition.streams.iter().filter_map(|id| self.streams.get(*id as usize)).map(|s| s.late).max();
        self.clock.partitions.push(PartitionTime {
            newest: Micros::MIN,
            late: late.unwrap_or(0),
            idle: false,
        });
        self.partition_names.push(partition.name.into());
        self.partition_streams.push(partition.streams);
        self.route();
        (self.partition_names.len() - 1) as PartitionId
    }

    /// Adds the module's rules, each replacing (draining) an older revision of the same name. A rule sees events with
    /// time >= `at`; `None` = all. `tables`, by name, are what lists and lookups not yet known have held since ever (else
    /// what the module declares). Returns rule names with their revision.
    ///
    /// # Errors
    /// A pattern that does not compile, or too many draining revisions; rules before it stay activated.
    pub fn activate(
        &mut self,
        module: &Module,
        tables: &BTreeMap<String, Content>,
        at: Option<Micros>,
    ) -> Result<Vec<(String, u32)>, ActivateError> {
        for stream in &module.streams {
            self.add_stream(stream);
        }
        self.forget_drained();
        let activated = self.activate_rules(module, tables, at);
        self.route();
        activated
    }

    fn activate_rules(
        &mut self,
        module: &Module,
        tables: &BTreeMap<String, Content>,
        at: Option<Micros>,
    ) -> Result<Vec<(String, u32)>, ActivateError> {
        let numbers: Vec<usize> = module
            .tables
            .iter()
            .map(|table| self.tables.declare(table, tables.get(&table.name).unwrap_or(&table.content)))
            .collect();
        let mut activated = Vec::new();
        for rule in &module.rules {
            let revisions = self.revisions_of(&rule.name);
            if revisions.len() > DRAINING_MAX && !self.rebuilding {
                return Err(ActivateError::DrainFull(rule.name.clone()));
            }
            let revision = self.revisions.get(&rule.name).map_or(1, |last| last + 1);
            let mut program =
                compile::compile(module, rule, revision, &numbers, &mut self.layout, &mut self.index, false)?;
            let end = at.unwrap_or(Micros::MIN);
            let older = self.rules.get(revisions.clone()).and_then(<[RuleRun]>::last);
            let same = older.map(|older| Same::of(&program, &older.program));
            program.past = match (older, &same) {
                (Some(older), Some(same)) => same.past(&older.program, end),
                _ => Past::from(rule, end),
            };
            // The new revision takes over events of the old one, alerts among them.
            let masked = older.map_or_else(Vec::new, |older| mask::alert_paths(&older.program));
            mask::mask_alerts(&mut program, &masked);
            if let Some(history) = &mut self.history {
                let (layout, index) = (&mut self.layout, &mut self.index);
                let mut whole = compile::compile(module, rule, revision, &numbers, layout, index, true)?;
                mask::mask_alerts(&mut whole, &masked);
                history.programs.insert(rule.name.clone(), Arc::new(whole));
            }
            self.revisions.insert(rule.name.clone(), revision);
            activated.push((rule.name.clone(), revision));
            program.shape = self.shapes.share(program.shape);
            let mut run = RuleRun::new(Arc::new(program), at);
            for old in self.rules.get_mut(revisions.clone()).unwrap_or_default() {
                old.state.until = Some(old.state.until.map_or(end, |until| until.min(end)));
            }
            let older = self.rules.get(revisions.clone()).and_then(<[RuleRun]>::last);
            if let (Some(older), Some(same)) = (older, &same) {
                run.inherit(older, same, end);
            }
            if rule.mode == Mode::Off {
                self.frozen.keep(self.rules.drain(revisions));
            } else {
                self.rules.insert(revisions.end, run);
            }
        }
        Ok(activated)
    }

    /// The revisions of a rule; where they would stand if there are none.
    fn revisions_of(&self, name: &str) -> Range<usize> {
        let start = self.rules.partition_point(|run| run.program.name.as_str() < name);
        start..start + self.rules.iter().skip(start).take_while(|run| run.program.name == name).count()
    }

    /// Removes a rule; its open matches end. False if there is none.
    pub fn retire(&mut self, rule: &str) -> bool {
        let before = self.rules.len();
        self.frozen.keep(self.rules.extract_if(.., |run| run.program.name == rule));
        self.route();
        self.rules.len() < before
    }

    /// Gives a list or lookup a content from `at` on (`None` = since ever); one of the same time is replaced. `at` must be
    /// later than every event accepted so far (see [`Task::next_activation`]): those have been read. False if no active
    /// rule's module declares such a table.
    pub fn set_table(&mut self, name: &str, content: &Content, at: Option<Micros>) -> bool {
        let known = self.tables.set(name, content, at.unwrap_or(Micros::MIN));
        if !self.options.keep_history {
            self.tables.trim(self.oldest_read());
        }
        known
    }

    /// No table is read as of an earlier time any more. Events to come, pending timers, and the rows that they meet.
    fn oldest_read(&self) -> Micros {
        let newest = self.clock.partitions.iter().map(|time| time.newest);
        let time = if self.any_merged { self.clock.released } else { newest.min().unwrap_or(Micros::MIN) };
        let due = self.agenda.earliest();
        let behind = self.rules.iter().map(|run| run.program.reads_back()).max().unwrap_or(0);
        time.min(due).saturating_sub(behind)
    }

    /// Drops revisions that have been replaced and have no open match at their own time.
    fn forget_drained(&mut self) {
        let merged = self.clock.watermark();
        let partitions = &self.clock.partitions;
        let mut direct = self.direct.iter();
        let drained = self.rules.extract_if(.., |run| {
            let now = match direct.next() {
                Some(Some(partition)) => {
                    partitions.get(*partition as usize).map_or(Micros::MIN, |time| time.newest)
                }
                _ => merged,
            };
            run.is_drained(now)
        });
        self.frozen.keep(drained);
        self.route();
    }

    /// Rebuilds what depends on the set of rules and partitions.
    pub(crate) fn route(&mut self) {
        self.index.clear_wants();
        self.direct.clear();
        for (number, run) in self.rules.iter().enumerate() {
            for (bit, role) in run.program.roles.iter().enumerate() {
                if let Some(stream) = run.program.streams.get(role.stream) {
                    let only =
                        if let [slot] = *role.keys.as_slice() { u16::try_from(slot).ok() } else { None };
                    let slot = only.filter(|_| run.program.uniform_keys);
                    let wanted = Wanted { rule: number as u32, slot, roles: 1 << bit };
                    let predicates = run.program.predicates.get(bit).map_or(&[][..], |own| own);
                    self.index.want(*stream, wanted, predicates);
                }
            }
            let streams = &run.program.streams;
            let times = || streams.iter().filter_map(|id| self.streams.get(*id as usize));
            let one_topic =
                times().all(|time| time.in_order && Some(&time.topic) == times().next().map(|t| &t.topic));
            let mut partitions = (0..)
                .zip(&self.partition_streams)
                .filter(|(_, held)| held.iter().any(|id| streams.contains(id)));
            let only = partitions.next().filter(|_| one_topic && partitions.next().is_none());
            // Input in order of time over all partitions is one partition as far as time goes.
            // Alerts are known only when their time is complete over all partitions.
            let only = only.filter(|_| run.program.rule.reads_alerts.is_none());
            // Where one stream of the topic may be late, no other of it is in order.
            let late = |partition: &PartitionId| {
                self.clock.partitions.get(*partition as usize).is_some_and(|time| time.late > 0)
            };
            let only = only.filter(|partition| self.options.sorted_input || !late(&partition.0));
            self.direct
                .push(only.map(|(partition, _)| if self.options.sorted_input { 0 } else { partition }));
        }
        let same = |a: Option<&RuleRun>, b: &RuleRun| a.is_some_and(|a| a.program.name == b.program.name);
        let alone = |number: usize, run: &RuleRun| {
            let before = number.checked_sub(1).and_then(|before| self.rules.get(before));
            !same(before, run) && !same(self.rules.get(number + 1), run)
        };
        self.alone = self.rules.iter().enumerate().map(|(number, run)| alone(number, run)).collect();
        self.index.arrange();
        mask::spread(&mut self.rules, self.history.as_deref_mut());
        self.chain.arrange(&self.rules);
        self.any_merged = self.direct.iter().any(Option::is_none);
        self.note_all_due();
    }

    /// The first instant after every event time accepted so far: where a rule recorded now takes effect.
    #[must_use]
    pub fn next_activation(&self) -> Micros {
        self.clock.newest.map_or(Micros::MIN, |newest| newest + 1)
    }

    /// Takes one input; appends what it causes to `out`.
    pub fn step(&mut self, input: Input<'_>, out: &mut Outputs) {
        match input {
            Input::Event(event) => self.event(&event, out),
            Input::Idle(partition) => {
                if let Some(time) = self.clock.partitions.get_mut(partition as usize) {
                    time.idle = true;
                }
                self.release(self.clock.watermark(), out);
            }
            Input::Time(time) => {
                self.clock.newest = self.clock.newest.max(Some(time));
                self.release(time, out);
                self.ring_direct(time.saturating_sub(1), out);
            }
            Input::End => {
                let end = self.clock.newest.unwrap_or(Micros::MIN);
                self.release(end.saturating_add(1), out);
                self.ring_direct(end, out);
            }
        }
    }

    fn event(&mut self, event: &EventRef<'_>, out: &mut Outputs) {
        if self.admit(event, out) {
            let mut wanted = std::mem::take(&mut self.wanted);
            wanted.clear();
            let around = Around { partitions: &self.partition_names, tables: &self.tables };
            self.index.wanted(event, around, &mut wanted);
            self.run_wanted(&Arriving::new(*event), &wanted, &[], out);
            self.wanted = wanted;
        }
    }

    /// Time moves to an event, and what is due before it rings. False if the event is a duplicate or late.
    #[inline(always)]
    pub(crate) fn admit(&mut self, event: &EventRef<'_>, out: &mut Outputs) -> bool {
        let group = if self.options.sorted_input { 0 } else { event.partition };
        let is_plain = event.id.is_none() && self.history.is_none();
        // Most events are no older than the one before, and nothing is due.
        if is_plain && !self.is_due(Some(group), event.ts.saturating_sub(1)) && self.clock.moves(event) {
            return true;
        }
        self.admit_any(event, out)
    }

    #[inline(never)]
    fn admit_any(&mut self, event: &EventRef<'_>, out: &mut Outputs) -> bool {
        let stream = event.id.and_then(|_| self.streams.get_mut(event.stream as usize));
        if stream.is_some_and(|stream| stream.is_duplicate(event, &self.clock)) {
            out.duplicates.push((event.partition, event.offset));
            self.remember(event, Some(Drop::Duplicate));
            return false;
        }
        if let Some(watermark) = self.clock.take(event.partition, event.ts) {
            out.late.push((event.partition, event.offset, event.ts, watermark));
            self.remember(event, Some(Drop::Late(watermark)));
            return false;
        }
        if self.history.is_some() {
            self.remember(event, None);
        }
        let group = if self.options.sorted_input { 0 } else { event.partition };
        let before = event.ts.saturating_sub(1);
        if self.is_due(Some(group), before) {
            self.ring(Some(group), before, out);
        }
        true
    }

    /// Gives an event to the rules that want it: now, or once its time is complete.
    /// `near`: where their keys were when they were last looked for, if they were.
    pub(crate) fn run_wanted(
        &mut self,
        event: &Arriving<'_>,
        wanted: &[Wanted],
        near: &[Near],
        out: &mut Outputs,
    ) {
        if !wanted.is_empty() {
            self.position += 1;
            let mut merged = false;
            for (number, wanted) in wanted.iter().enumerate() {
                let mut near = near.get(number).copied().unwrap_or_default();
                let Some(run) = self.rules.get_mut(wanted.rule as usize) else { continue };
                run.state.stats.wanted += 1;
                if self.direct.get(wanted.rule as usize).is_none_or(Option::is_none) {
                    merged = true;
                    continue;
                }
                if wanted.roles & run.program.creating == 0 {
                    // Most keys hold nothing: then it has nothing to do.
                    near = run.state.keys.nearer(near, || event.key_hash(*wanted));
                    if run.state.keys.lacks(near) {
                        continue;
                    }
                }
                self.run_rule(*wanted, event, near, self.position, out);
            }
            if merged {
                self.clock.hold(event.keep().clone());
            }
        }
        self.release_complete(out);
    }

    /// Releases what the newest event has completed.
    #[inline]
    pub(crate) fn release_complete(&mut self, out: &mut Outputs) {
        if self.any_merged {
            let watermark = self.clock.watermark();
            if watermark > self.clock.released {
                self.release(watermark, out);
            }
        }
    }

    /// Releases every instant before `watermark` to the merged rules, and their timers.
    fn release(&mut self, watermark: Micros, out: &mut Outputs) {
        if self.chain.active {
            return self.release_strata(watermark, out);
        }
        while let Some((time, events)) = self.clock.pop(watermark) {
            if self.is_due(None, time - 1) {
                self.ring(None, time - 1, out);
            }
            self.instant(&events, out);
        }
        if self.is_due(None, watermark.saturating_sub(1)) {
            self.ring(None, watermark.saturating_sub(1), out);
        }
        self.clock.released = self.clock.released.max(watermark);
    }

    /// All events of one time: each rule sees them in the order of its own streams, then of their sources.
    fn instant(&mut self, events: &[Event], out: &mut Outputs) {
        let places = self.places(events);
        self.run_places(places, events, out);
    }

    /// Revisions of one rule take each event in turn, at the same position, since they share what is used up: the first
    /// of them.
    pub(crate) fn family(&self, rule: usize) -> usize {
        let name = self.rules.get(rule).map(|run| &run.program.name);
        self.rules.partition_point(|other| Some(&other.program.name) < name)
    }

    /// Where the events stand in the orders of the merged rules that want them.
    pub(crate) fn places(&mut self, events: &[Event]) -> Vec<Place> {
        let mut wanted = std::mem::take(&mut self.wanted);
        let mut places = Vec::new();
        for (number, event) in events.iter().enumerate() {
            wanted.clear();
            let around = Around { partitions: &self.partition_names, tables: &self.tables };
            self.index.wanted(&event.view(), around, &mut wanted);
            let merged = |wanted: &&Wanted| self.direct.get(wanted.rule as usize) == Some(&None);
            for wanted in wanted.iter().filter(merged).copied() {
                let streams = self.rules.get(wanted.rule as usize).map(|run| &run.program.streams);
                let rank = streams.and_then(|streams| streams.iter().position(|id| *id == event.stream));
                places.push(Place {
                    family: self.family(wanted.rule as usize),
                    rank: rank.unwrap_or(0),
                    partition: event.partition,
                    offset: event.offset,
                    number,
                    rule: wanted.rule,
                    roles: wanted.roles,
                });
            }
        }
        self.wanted = wanted;
        places
    }

    /// Gives rules the events of one time, each in its order.
    pub(crate) fn run_places(&mut self, mut places: Vec<Place>, events: &[Event], out: &mut Outputs) {
        places.sort_unstable();
        let base = self.position;
        let mut nth = 0;
        let mut previous = (usize::MAX, usize::MAX);
        for Place { family, number, rule, roles, .. } in places {
            if family != previous.0 {
                nth = 1;
            } else if number != previous.1 {
                nth += 1;
            }
            previous = (family, number);
            self.position = self.position.max(base + nth);
            if let Some(event) = events.get(number) {
                let wanted = Wanted { rule, slot: None, roles };
                self.run_rule(wanted, &Arriving::again(event), Near::default(), base + nth, out);
            }
        }
    }

    fn run_rule(
        &mut self,
        wanted: Wanted,
        event: &Arriving<'_>,
        near: Near,
        position: u64,
        out: &mut Outputs,
    ) {
        let rule = wanted.rule as usize;
        let before = out.alerts.len();
        let full = self.is_full();
        self.tell(rule, event.view.ts);
        let Some(run) = self.rules.get_mut(rule) else { return };
        let around = Surroundings {
            partitions: &self.partition_names,
            limits: &self.options.limits,
            full,
            refused: run.state.refused_until.is_some_and(|until| event.view.ts < until),
            count_only: self.options.count_only,
            alone: self.alone.get(rule).copied().unwrap_or_default(),
            is_read: self.chain.is_read(rule),
            tables: &self.tables,
            journal: None,
        };
        let held = run.state.keys.weight();
        if !run.event(event, wanted, near, position, &around, &mut out.alerts, &mut self.used) {
            return;
        }
        self.held = self.held + run.state.keys.weight() - held;
        self.note_due(rule);
        self.share_used_up(rule, position);
        if self.chain.active {
            self.derive(rule, before, out);
        }
    }

    /// Revisions of one rule share what alerts have used up, and the cool-down.
    pub(crate) fn share_used_up(&mut self, rule: usize, position: u64) {
        if self.used.is_empty() {
            return;
        }
        let revisions = self.revisions_from(self.family(rule));
        let before = self.weight_of(revisions.clone());
        for number in revisions.clone().filter(|number| *number != rule) {
            let other = self.rules.get_mut(number);
            other
                .into_iter()
                .for_each(|run| self.used.iter().for_each(|used| run.used_elsewhere(used, position)));
            self.note_due(number);
        }
        self.weigh(revisions, before);
        self.used.clear();
    }
}
