//! The small parts of the matcher, one by one: `cargo bench -p engine`. Whole workloads are measured by `cargo xtask bench`.

use criterion::{BatchSize, Criterion};
use engine::event::EventRef;
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use pattern_dsl::ir::Module;
use pattern_dsl::{Environment, SourceText};
use std::collections::BTreeMap;
use std::hint::black_box;

const STREAM: &str = "stream ev { time ts in order fields { card: string, kind: string, amount: float } }\n";
const SECOND: i64 = 1_000_000;

fn compile(text: &str) -> Module {
    let sources = [SourceText { name: "parts.cep".to_owned(), text: text.to_owned() }];
    let compiled = pattern_dsl::compile(&sources, &Environment::default());
    assert!(!compiled.has_errors(), "{}", pattern_dsl::render(&compiled.diagnostics, &sources, false));
    compiled.module
}

/// A task with one rule over the stream, whose matches are counted and not built.
fn task(rules: &str) -> Task {
    let module = compile(&format!("{STREAM}{rules}"));
    let mut task = Task::new(Options {
        limits: Limits::default(),
        count_only: true,
        sorted_input: true,
        keep_history: false,
    });
    let streams = module.streams.iter().map(|stream| task.add_stream(stream)).collect();
    task.add_partition(Partition { name: "p".to_owned(), streams });
    task.activate(&module, &BTreeMap::new(), None).expect("it activates");
    task
}

/// What the rules read of one event, in the order of the task's layout.
fn slots(task: &Task, card: &str, kind: &str, amount: f64) -> Vec<Value> {
    let fields = &task.layout().streams[0].fields;
    let value = |path: &str| match path {
        "card" => Value::String(card.into()),
        "kind" => Value::String(kind.into()),
        _ => Value::Float(amount),
    };
    fields.iter().map(|field| value(&field.path.join("."))).collect()
}

/// Gives a task the same events over and over, a second apart; the figure is for all of them.
fn stepping(bench: &mut Criterion, name: &str, rules: &str, events: &[(&str, &str, f64)]) {
    let mut task = task(rules);
    let rows: Vec<Vec<Value>> =
        events.iter().map(|(card, kind, amount)| slots(&task, card, kind, *amount)).collect();
    let (mut out, mut ts) = (Outputs::default(), 0);
    bench.bench_function(name, |bencher| {
        bencher.iter(|| {
            for slots in &rows {
                ts += SECOND;
                let event = EventRef { stream: 0, ts, partition: 0, offset: ts as u64, id: None, slots };
                task.step(Input::Event(black_box(event)), &mut out);
            }
            out.alerts.clear();
        });
    });
}

fn parts(bench: &mut Criterion) {
    let one = "rule r { match { ev as a where amount > 900 } overlap all }";
    let two = "rule r { by card match within 1m { ev as a where kind == \"login\" then first ev as b where \
               kind == \"transfer\" } overlap all }";
    let window = "rule r { by card match { ev as a where sum(ev.amount over 1m) > 1000000 } }";
    stepping(bench, "an event that nobody wants", one, &[("c", "login", 5.0)]);
    stepping(bench, "a match of one event", one, &[("c", "login", 950.0)]);
    stepping(bench, "a match of two events", two, &[("c", "login", 5.0), ("c", "transfer", 5.0)]);
    stepping(bench, "an event that joins a window", window, &[("c", "login", 5.0)]);
    let limits: String = (0..1_000)
        .map(|n| format!("rule r{n} {{ match {{ ev as a where amount > {}.5 }} overlap all }}\n", 1_000 + n))
        .collect();
    stepping(bench, "an event among a thousand limits, none passed", &limits, &[("c", "login", 5.0)]);
    let text = format!("{STREAM}{two}");
    bench.bench_function("a rule from its text", |bencher| {
        bencher.iter_batched(|| text.clone(), |text| black_box(compile(&text)), BatchSize::SmallInput);
    });
}

fn main() {
    let mut bench = Criterion::default().configure_from_args();
    parts(&mut bench);
    bench.final_summary();
}
