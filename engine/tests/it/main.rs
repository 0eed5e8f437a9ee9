//! The engine through its interface: rule text and events in, alerts out.

mod alike;
mod chain;
mod index;
mod limits;
mod memory;
mod tables;
mod time;
mod values;
mod why;

use engine::event::EventRef;
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use oracle::Event;
use pattern_dsl::ir::Module;
use pattern_dsl::types::Literal;
use pattern_dsl::{Environment, SourceText};
use std::collections::BTreeMap;

/// Compiles rule text.
fn compile(text: &str) -> Module {
    let sources = [SourceText { name: "case.cep".to_owned(), text: text.to_owned() }];
    let compiled = pattern_dsl::compile(&sources, &Environment::default());
    assert!(!compiled.has_errors(), "{}", pattern_dsl::render(&compiled.diagnostics, &sources, false));
    compiled.module
}

/// How a task is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// By time over all partitions.
    Sorted,
    /// One partition a stream, interleaved by a seed.
    Interleaved(u64),
    /// The same; the state is saved and put into a new task before every event.
    Restored(u64),
}

/// A task with the module's rules and one partition a stream.
fn task(module: &Module, feed: Feed, count_only: bool) -> Task {
    let limits = Limits::default();
    let sorted_input = feed == Feed::Sorted;
    let mut task = Task::new(Options { limits, count_only, sorted_input, keep_history: false });
    for stream in &module.streams {
        task.add_stream(stream);
    }
    for (number, stream) in module.streams.iter().enumerate().filter(|(_, stream)| stream.name != "alert") {
        task.add_partition(Partition { name: stream.name.clone(), streams: vec![number as u32] });
    }
    task.activate(module, &BTreeMap::new(), None).expect("it activates");
    task
}

/// Gives a task an event.
fn feed_event(task: &mut Task, module: &Module, number: usize, event: &Event, out: &mut Outputs) {
    let fields = &module.streams[event.stream].fields;
    let slots: Vec<Value> = task.layout().streams[event.stream]
        .fields
        .iter()
        .map(|wanted| fields.iter().position(|field| field.path == wanted.path).expect("a known field"))
        .map(|field| event.fields.get(field).map_or(Value::Null, Value::from_literal))
        .collect();
    let id = number.to_string();
    let partition = module.streams.iter().filter(|stream| stream.name != "alert");
    let partition = partition.clone().position(|stream| stream.name == module.streams[event.stream].name);
    task.step(
        Input::Event(EventRef {
            stream: event.stream as u32,
            ts: event.ts,
            partition: partition.expect("no event is an alert") as u32,
            offset: event.offset,
            id: Some(&id),
            slots: &slots,
        }),
        out,
    );
}

/// Runs the module over events in order of time.
fn run(module: &Module, events: &[Event], feed: Feed) -> (Outputs, Task) {
    let mut running = task(module, feed, false);
    let mut out = Outputs::default();
    for number in order(events, feed) {
        if let Feed::Restored(_) = feed {
            let saved = running.save();
            running = task(module, feed, false);
            running.restore(&[&saved]).expect("its own state");
            assert_eq!(running.save(), saved, "a restored state saves to the same bytes");
        }
        feed_event(&mut running, module, number, &events[number], &mut out);
    }
    running.step(Input::End, &mut out);
    assert!(out.late.is_empty(), "nothing is late here");
    (out, running)
}

fn order(events: &[Event], feed: Feed) -> Vec<usize> {
    let seed = match feed {
        Feed::Sorted => return (0..events.len()).collect(),
        Feed::Interleaved(seed) | Feed::Restored(seed) => seed,
    };
    let mut dice = Dice(seed);
    let mut queues: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, event) in events.iter().enumerate().rev() {
        queues.entry(event.stream).or_default().push(number);
    }
    let mut order = Vec::new();
    while !queues.is_empty() {
        let stream = *queues.keys().nth(dice.below(queues.len())).expect("a queue is left");
        let queue = queues.get_mut(&stream).expect("it is a key");
        order.extend(queue.pop());
        if queue.is_empty() {
            queues.remove(&stream);
        }
    }
    order
}

/// A linear congruential generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// An event of a stream with values for its fields.
fn event(module: &Module, stream: &str, ts: i64, offset: u64, fields: &[(&str, Literal)]) -> Event {
    let number = module.streams.iter().position(|known| known.name == stream).expect("a stream");
    let value = |path: &[String]| {
        let name = path.join(".");
        fields.iter().find(|(known, _)| *known == name).map_or(Literal::Null, |(_, value)| value.clone())
    };
    let fields = module.streams[number].fields.iter().map(|field| value(&field.path)).collect();
    Event { stream: number, ts, partition: number as u32, offset, id: None, fields }
}
