//! How large a rule may be: what is checked can be activated, and what is too large is refused when it is checked.

use super::{Feed, task};
use engine::event::{EventRef, StreamId};
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use pattern_dsl::{Environment, SourceText};
use std::collections::BTreeMap;

const STREAMS: &str =
    "stream a { fields { k: string, v: int } }\nstream b { fields { k: string, v: int } }\n";

/// Parts joined, each with its number.
fn joined(count: usize, by: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(by)
}

/// A rule of so many parts of one kind, all others counted.
fn rule(kind: &str, parts: usize) -> String {
    let within = |steps: String| format!("match within 1h {{ {steps} }}");
    let body = match kind {
        "steps" => within(joined(parts, " then ", |n| format!("a as s{n} where v > {n}"))),
        "members" => {
            let pair = |n| format!("one of {{ a as s{n} where v == {n}, b as t{n} where v == {n} }}");
            within(joined(parts / 2, " then ", pair) + if parts % 2 == 1 { " then a as last" } else { "" })
        }
        "absences" => within(format!(
            "a as first then {} then a as last",
            joined(parts - 2, " then ", |n| format!("no b where v == {n}"))
        )),
        "streams of absences" => {
            let pairs = joined((parts - 2) / 2, " then ", |_| "no one of { a, b } where v > 1".to_owned());
            let odd = if parts % 2 == 1 { "then no a" } else { "" };
            within(format!("a as first then {pairs} {odd} then b as last"))
        }
        "cancels" => within(format!(
            "a as first then a as last {}",
            joined(parts - 2, " ", |n| format!("cancel on b where v == {n}"))
        )),
        "windows" => format!(
            "match {{ a as s where {} }}",
            joined(parts - 1, " and ", |n| format!("count(b over {}m) > {n}", n + 1))
        ),
        // One more for the events of the stream that do not fit.
        "consecutive" => within(joined(parts - 1, " then ", |n| {
            format!("at least 2 consecutive a as s{n} where v == {n}")
        })),
        // Two more for what lies between the last two steps.
        "immediate" => within(format!(
            "{} then immediately b as last",
            joined(parts - 3, " then ", |n| format!("a as s{n} where v == {n}"))
        )),
        // A window and the latches are one each.
        _ => {
            let latches = joined(parts, " and ", |n| format!("count(b over 5m) reaches {}", n + 1));
            format!("match {{ a as s where {latches} }}")
        }
    };
    format!("{STREAMS}rule r {{ by k {body} }}")
}

fn codes(text: &str) -> Vec<&'static str> {
    let sources = [SourceText { name: "r.cep".to_owned(), text: text.to_owned() }];
    let compiled = pattern_dsl::compile(&sources, &Environment::default());
    compiled.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect()
}

#[test]
fn the_largest_rule_is_activated_and_a_larger_one_refused_when_it_is_checked() {
    let kinds = [
        "steps",
        "members",
        "absences",
        "streams of absences",
        "cancels",
        "windows",
        "consecutive",
        "immediate",
    ];
    for (kind, most) in kinds.map(|kind| (kind, 64)).into_iter().chain([("reaches", 32)]) {
        let largest = rule(kind, most);
        assert_eq!(codes(&largest), [""; 0], "{kind}: {largest}");
        task(&super::compile(&largest), Feed::Sorted, false);
        assert_eq!(codes(&rule(kind, most + 1)), ["E335"], "{kind}");
    }
    assert_eq!(codes(&rule("steps", 5_000)), ["E335"]);
}

/// So many keys begin, and then so many go on; gives alerts, and how often a limit was met.
fn begun_and_ended(text: &str, state: Option<usize>, keys: i64, at: i64) -> (Task, usize, u64) {
    let module = super::compile(text);
    let limits = Limits { state, ..Limits::default() };
    let mut task = Task::new(Options { limits, count_only: false, sorted_input: true, keep_history: false });
    task.activate(&module, &BTreeMap::new(), None).expect("a compiled rule activates");
    let streams: Vec<StreamId> = ["a", "b"].map(|name| task.stream_id(name).expect("declared")).into();
    let partition = task.add_partition(Partition { name: "p".to_owned(), streams: streams.clone() });
    let mut out = Outputs::default();
    for (turn, stream) in streams.into_iter().enumerate() {
        for key in 0..keys {
            let ts = at + (turn as i64 * keys + key) * 1_000;
            let slots = [Value::String(format!("k{key}").into()), Value::Int(1)];
            let offset = ts as u64;
            task.step(
                Input::Event(EventRef { stream, ts, partition, offset, id: None, slots: &slots }),
                &mut out,
            );
        }
    }
    task.step(Input::End, &mut out);
    let capped = task.stats().iter().map(|(_, stats)| stats.capped).sum();
    (task, out.alerts.len(), capped)
}

#[test]
fn at_the_limit_of_all_state_nothing_new_is_begun_and_what_is_open_goes_on() {
    let text = format!("{STREAMS}rule r {{ by k match within 1m {{ a as x then b as y }} }}");
    let (task, alerts, capped) = begun_and_ended(&text, None, 1_000, 0);
    assert_eq!((task.held(), alerts, capped), (0, 1_000, 0), "an alert uses up what is held");
    let (_, alerts, capped) = begun_and_ended(&text, Some(100), 1_000, 0);
    // A key and its candidate are two.
    assert_eq!((alerts, capped), (50, 950));
    let held = format!("{STREAMS}rule r {{ by k match within 1m {{ a as x then b as y }} overlap all }}");
    let (mut task, alerts, _) = begun_and_ended(&held, Some(100), 1_000, 0);
    assert_eq!((task.held(), alerts), (100, 50));
    task.step(Input::Time(600_000_000), &mut Outputs::default());
    assert_eq!(task.held(), 0, "time makes room again");
}

#[test]
fn a_rule_of_one_event_is_not_held_up_by_the_limit_of_all_state() {
    let text = format!("{STREAMS}rule r {{ by k match {{ a as x }} cooldown 1h }}");
    let (task, alerts, capped) = begun_and_ended(&text, Some(10), 1_000, 0);
    assert_eq!((alerts, capped), (1_000, 0));
    assert_eq!(task.held(), 2_000, "each key holds its cool-down");
}

#[test]
fn what_waits_for_time_is_refused_at_a_limit_as_well() {
    for (rule, alerts) in [
        ("match { a as x then no b for 1h where k == \"none\" }", 0),
        ("match within 1h { at least 2 a as x }", 0),
    ] {
        let text = format!("{STREAMS}rule r {{ by k {rule} overlap all }}");
        let (task, found, capped) = begun_and_ended(&text, Some(100), 1_000, 0);
        assert_eq!((task.held(), found), (100, alerts), "{rule}");
        assert!(capped >= 950, "{rule}: {capped}");
    }
}

#[test]
fn what_the_limit_of_all_state_kept_out_shows_on_later_alerts() {
    let text = format!(
        "{STREAMS}rule open {{ by k match within 10s {{ b as x where v == 0 then b as y where v == 9 }} }}
         rule r {{ by k match {{ no a for 5m then b as y where v == 1 }} }}"
    );
    let module = super::compile(&text);
    let limits = Limits { state: Some(2), ..Limits::default() };
    let mut task = Task::new(Options { limits, count_only: false, sorted_input: true, keep_history: false });
    task.activate(&module, &BTreeMap::new(), None).expect("a compiled rule activates");
    let streams: Vec<StreamId> = ["a", "b"].map(|name| task.stream_id(name).expect("declared")).into();
    task.add_partition(Partition { name: "p".to_owned(), streams: streams.clone() });
    let mut out = Outputs::default();
    // What is open leaves no room for the event that forbids.
    for (stream, key, v, second) in [(1, "k0", 0, 0), (0, "k1", 1, 1), (1, "k1", 1, 60)] {
        let slots: Vec<Value> = task.layout().streams[streams[stream] as usize]
            .fields
            .iter()
            .map(|field| if field.path == ["k"] { Value::String(key.into()) } else { Value::Int(v) })
            .collect();
        let (stream, ts) = (streams[stream], second * 1_000_000);
        let offset = second as u64;
        task.step(
            Input::Event(EventRef { stream, ts, partition: 0, offset, id: None, slots: &slots }),
            &mut out,
        );
    }
    task.step(Input::End, &mut out);
    let truncated: Vec<bool> = out.alerts.iter().map(|alert| alert.truncated).collect();
    assert_eq!(truncated, [true]);
}

/// A task with one rule and a limit of all state.
fn limited(text: &str, state: Option<usize>) -> Task {
    let limits = Limits { state, ..Limits::default() };
    let mut task = Task::new(Options { limits, count_only: false, sorted_input: true, keep_history: false });
    task.activate(&super::compile(text), &BTreeMap::new(), None).expect("a compiled rule activates");
    let streams = ["a", "b"].map(|name| task.stream_id(name).expect("declared"));
    task.add_partition(Partition { name: "p".to_owned(), streams: streams.into() });
    task
}

/// An event of stream `a` with key `k` and `v`, at so many seconds.
fn give(task: &mut Task, second: i64, v: i64) {
    let stream = task.stream_id("a").expect("declared");
    let slots: Vec<Value> = task.layout().streams[stream as usize]
        .fields
        .iter()
        .map(|field| if field.path == ["k"] { Value::String("k".into()) } else { Value::Int(v) })
        .collect();
    let (ts, offset) = (second * 1_000_000, second as u64);
    let event = EventRef { stream, ts, partition: 0, offset, id: None, slots: &slots };
    task.step(Input::Event(event), &mut Outputs::default());
}

#[test]
fn an_end_that_the_limit_of_all_state_does_not_keep_is_counted() {
    let text = format!("{STREAMS}rule r {{ by k match within 1h {{ at least 3 a as x }} overlap all }}");
    let mut task = limited(&text, Some(2));
    give(&mut task, 0, 1);
    give(&mut task, 1, 1);
    task.step(Input::End, &mut Outputs::default());
    assert_eq!((task.held(), task.stats()[0].1.capped), (2, 1));
}
