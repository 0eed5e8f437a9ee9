//! The ways in which a case's events are given to an engine, none of which may matter.

use engine::alert::Alert;
use engine::event::{EventRef, WantedField};
use engine::task::{Input, Limits, Options, Outputs, Partition, RuleStats, Task};
use engine::value::Value;
use oracle::{Event, Tables};
use pattern_dsl::ir::Module;
use pattern_dsl::types::{Literal, Micros};
use std::collections::BTreeMap;

/// How the engine is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// In event-time order, as files are.
    Sorted,
    /// In event-time order, the state saved and put into a new task before every event.
    Restored,
    /// One partition a stream, each in order, interleaved by the seed.
    Interleaved(u64),
    /// One partition a stream, each out of order within its lateness (events of one time keep theirs), by the seed.
    Late(u64),
    /// As [`Feed::Late`], the state saved and put into a new task before every event.
    LateRestored(u64),
    /// One partition whose streams promise order, in the rule's own order: every event is looked at as it comes.
    Direct,
    /// As [`Feed::Direct`], all events given at once.
    AtOnce,
}

/// How late events may be in a late feed.
const LATE: Micros = 3_000_000;

impl Feed {
    fn is_sorted(self) -> bool {
        matches!(self, Self::Sorted | Self::Restored)
    }

    fn is_restored(self) -> bool {
        matches!(self, Self::Restored | Self::LateRestored(_))
    }

    /// One partition, whose streams promise order.
    fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::AtOnce)
    }

    /// Each stream has a partition of its own.
    fn is_split(self) -> bool {
        matches!(self, Self::Interleaved(_) | Self::Late(_) | Self::LateRestored(_))
    }
}

/// What a run of the engine gave.
#[derive(Debug, Clone)]
pub struct Ran {
    /// In the order of emission.
    pub alerts: Vec<Alert>,
    /// By rule, in name order.
    pub stats: Vec<(String, RuleStats)>,
    /// Numbers of the events that some rule wanted.
    pub wanted: Vec<usize>,
}

impl Ran {
    /// Matches silenced by cool-downs, and moments silenced by `unless`, over all rules.
    #[must_use]
    pub fn suppressed(&self) -> (u64, u64) {
        self.stats.iter().fold((0, 0), |(a, b), (_, s)| (a + s.suppressed_cooldown, b + s.suppressed_unless))
    }
}

/// An engine with the rules and tables of a case.
#[derive(Debug)]
pub struct Engine<'a> {
    task: Task,
    module: &'a Module,
    beside: &'a [Module],
    feed: Feed,
    out: Outputs,
    wanted: Vec<usize>,
}

impl<'a> Engine<'a> {
    /// With the rules of `module`, and those of the modules `beside` it, which have the same streams.
    ///
    /// # Panics
    /// If the engine refuses what the language accepted.
    #[must_use]
    pub fn new(module: &'a Module, beside: &'a [Module], tables: &Tables, feed: Feed) -> Self {
        Self::with(module, beside, tables, feed, false)
    }

    /// One that remembers its events, to be asked why. Not for a feed that restores: only the state is saved.
    #[must_use]
    pub fn with_history(module: &'a Module, tables: &Tables, feed: Feed) -> Self {
        Self::with(module, &[], tables, feed, true)
    }

    fn with(
        module: &'a Module,
        beside: &'a [Module],
        tables: &Tables,
        feed: Feed,
        keep_history: bool,
    ) -> Self {
        let task = task(module, beside, feed, keep_history);
        let mut engine = Self { task, module, beside, feed, out: Outputs::default(), wanted: Vec::new() };
        for (name, versions) in tables {
            for (from, content) in versions {
                engine.task.set_table(name, content, Some(*from));
            }
        }
        engine
    }

    /// Puts another revision of the rules in place; gives the time from which it holds.
    ///
    /// # Panics
    /// If the engine refuses what the language accepted.
    pub fn swap(&mut self, module: &'a Module) -> Micros {
        let at = self.task.next_activation();
        self.swap_at(module, at);
        at
    }

    /// As [`Self::swap`], at a given time.
    pub(crate) fn swap_at(&mut self, module: &'a Module, at: Micros) {
        self.task.activate(module, &BTreeMap::new(), Some(at)).expect("a compiled rule activates");
    }

    pub(crate) fn task(&mut self) -> &mut Task {
        &mut self.task
    }

    /// Alerts so far.
    pub(crate) fn alerts(&self) -> usize {
        self.out.alerts.len()
    }

    /// Counters by rule, as they stand.
    #[must_use]
    pub fn stats(&self) -> Vec<(String, RuleStats)> {
        self.task.stats()
    }

    fn restore(&mut self) {
        let saved = self.task.save();
        self.task = task(self.module, self.beside, self.feed, false);
        self.task.restore(&[&saved]).expect("its own state");
        assert_eq!(self.task.save(), saved, "a restored state saves to the same bytes");
    }

    /// Gives it an event of the case; true if some rule wants it.
    pub fn event(&mut self, number: usize, event: &Event) -> bool {
        if self.feed.is_restored() {
            self.restore();
        }
        let (slots, id) = (self.slots(event), id(number, event));
        let before = wants(&self.task);
        self.task.step(Input::Event(self.event_of(event, &id, &slots)), &mut self.out);
        let wanted = wants(&self.task) > before;
        if wanted {
            self.wanted.push(number);
        }
        wanted
    }

    /// The wanted fields of an event.
    fn slots(&self, event: &Event) -> Vec<Value> {
        let fields = &self.module.streams[event.stream].fields;
        let value = |wanted: &WantedField| {
            let field = fields.iter().position(|field| field.path == wanted.path).expect("a known field");
            Value::from_literal(event.fields.get(field).unwrap_or(&Literal::Null))
        };
        self.task.layout().streams[event.stream].fields.iter().map(value).collect()
    }

    fn event_of<'e>(&self, event: &Event, id: &'e str, slots: &'e [Value]) -> EventRef<'e> {
        // Names a place in the case: the partition is not the event's own where all share one.
        let partition = match self.feed {
            feed if feed.is_direct() => 0,
            feed if feed.is_split() => event.stream as u32,
            _ => event.partition,
        };
        let offset = u64::from(event.partition) << 32 | event.offset;
        EventRef { stream: event.stream as u32, ts: event.ts, partition, offset, id: Some(id), slots }
    }

    /// Gives it events at once.
    fn events(&mut self, events: &[(usize, &Event)]) {
        let held: Vec<(String, Vec<Value>)> =
            events.iter().map(|(number, event)| (id(*number, event), self.slots(event))).collect();
        let all: Vec<EventRef<'_>> = events
            .iter()
            .zip(&held)
            .map(|((_, event), (id, slots))| self.event_of(event, id, slots))
            .collect();
        self.task.step_all(&all, &mut self.out);
    }

    /// Time reaches `time`: every timer due by then rings.
    pub fn time(&mut self, time: Micros) {
        self.task.step(Input::Time(time), &mut self.out);
    }

    /// The input ends.
    #[must_use]
    pub fn end(self) -> Ran {
        self.end_with_task().0
    }

    /// The input ends; also gives the task, to be asked more.
    #[must_use]
    pub fn end_with_task(mut self) -> (Ran, Task) {
        self.task.step(Input::End, &mut self.out);
        assert!(self.out.late.is_empty(), "nothing is late in a case");
        let ran = Ran { alerts: self.out.alerts, stats: self.task.stats(), wanted: self.wanted };
        (ran, self.task)
    }
}

fn id(number: usize, event: &Event) -> String {
    event.id.clone().unwrap_or_else(|| number.to_string())
}

fn wants(task: &Task) -> u64 {
    task.stats().iter().map(|(_, stats)| stats.wanted).sum()
}

/// A task without limits, with the modules' rules and one partition (or one a stream).
fn task(module: &Module, beside: &[Module], feed: Feed, keep_history: bool) -> Task {
    let limits = Limits::default();
    let late = if matches!(feed, Feed::Late(_) | Feed::LateRestored(_)) { LATE } else { 0 };
    let with_times = |module: &Module| {
        let mut module = module.clone();
        for stream in &mut module.streams {
            stream.late = late;
            if feed.is_direct() {
                stream.time.in_order = true;
                stream.topic = Some("all".to_owned());
            }
        }
        module
    };
    let options = Options { limits, count_only: false, sorted_input: feed.is_sorted(), keep_history };
    let mut task = Task::new(options);
    let first = with_times(module);
    let streams: Vec<u32> = first.streams.iter().map(|stream| task.add_stream(stream)).collect();
    for (number, _) in streams.iter().enumerate() {
        let held = match feed {
            feed if feed.is_split() => vec![number as u32],
            feed if feed.is_direct() && number > 0 => Vec::new(),
            _ => streams.clone(),
        };
        task.add_partition(Partition { name: format!("p{number}"), streams: held });
    }
    for module in std::iter::once(&first).chain(&beside.iter().map(with_times).collect::<Vec<_>>()) {
        task.activate(module, &BTreeMap::new(), None).expect("a compiled rule activates");
    }
    task
}

/// The order in which events are given to the engine.
#[must_use]
pub fn order(module: &Module, events: &[Event], feed: Feed) -> Vec<usize> {
    let mut order: Vec<usize> = (0..events.len()).collect();
    match feed {
        Feed::Sorted | Feed::Restored => {}
        Feed::Direct | Feed::AtOnce => {
            let rule = module.rules.first();
            order.sort_by_key(|number| {
                let event = &events[*number];
                let rank = rule
                    .and_then(|rule| rule.streams.iter().position(|stream| stream.stream == event.stream));
                (event.ts, rank, event.partition, event.offset)
            });
        }
        Feed::Late(seed) | Feed::LateRestored(seed) => {
            // An event as old as its arrival less at most LATE is not late; events of one instant arrive together.
            order.sort_by_key(|number| {
                let event = &events[*number];
                let place = event.ts as u64 ^ (event.stream as u64) << 60;
                let mut jitter = Steps(seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                event.ts + jitter.below(LATE as usize + 1) as i64
            });
        }
        Feed::Interleaved(seed) => {
            let mut steps = Steps(seed);
            let mut queues: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (number, event) in events.iter().enumerate().rev() {
                queues.entry(event.stream).or_default().push(number);
            }
            order.clear();
            while !queues.is_empty() {
                let stream = *queues.keys().nth(steps.below(queues.len())).expect("a queue is left");
                let queue = queues.get_mut(&stream).expect("it is a key");
                order.extend(queue.pop());
                if queue.is_empty() {
                    queues.remove(&stream);
                }
            }
        }
    }
    order
}

/// A linear congruential generator.
#[derive(Debug)]
pub(crate) struct Steps(pub(crate) u64);

impl Steps {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// Runs the engine over all of a case's events, up to the time `end`.
#[must_use]
pub fn run_engine(module: &Module, tables: &Tables, events: &[Event], end: Micros, feed: Feed) -> Ran {
    run_beside(module, &[], tables, events, end, feed)
}

/// As [`run_engine`], with the rules of other modules in the same task.
#[must_use]
pub fn run_beside(
    module: &Module,
    beside: &[Module],
    tables: &Tables,
    events: &[Event],
    end: Micros,
    feed: Feed,
) -> Ran {
    let mut engine = Engine::new(module, beside, tables, feed);
    let order = order(module, events, feed);
    if feed == Feed::AtOnce {
        let all: Vec<(usize, &Event)> = order.into_iter().map(|number| (number, &events[number])).collect();
        engine.events(&all);
    } else {
        for number in order {
            engine.event(number, &events[number]);
        }
    }
    engine.time(end + 1);
    engine.end()
}
