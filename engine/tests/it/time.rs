//! Where order and lateness of several streams and partitions meet, and what a refused change leaves behind.

use engine::event::EventRef;
use engine::task::{ActivateError, Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000;

/// A task with a rule file and as many partitions, each of which may hold every stream.
fn task(text: &str, partitions: usize) -> Task {
    let module = super::compile(text);
    let limits = Limits { search_work: Some(1_000), ..Limits::default() };
    let mut task = Task::new(Options { limits, count_only: false, sorted_input: false, keep_history: false });
    let streams: Vec<u32> = module.streams.iter().map(|stream| task.add_stream(stream)).collect();
    for number in 0..partitions {
        task.add_partition(Partition { name: format!("p{number}"), streams: streams.clone() });
    }
    task.activate(&module, &BTreeMap::new(), None).expect("it activates");
    task
}

/// Gives it an event: stream, partition, time in seconds, id. Its fields are `k`, always the same, and the id.
fn give(task: &mut Task, (stream, partition, at, id): (&str, u32, i64, &str), out: &mut Outputs) {
    let stream = task.stream_id(stream).expect("declared");
    let slots: Vec<Value> = task.layout().streams[stream as usize]
        .fields
        .iter()
        .map(|field| Value::String(if field.path == ["k"] { "k".into() } else { id.into() }))
        .collect();
    let event =
        EventRef { stream, ts: at * SECOND, partition, offset: at as u64, id: Some(id), slots: &slots };
    task.step(Input::Event(event), out);
}

#[test]
fn a_stream_in_order_waits_for_one_that_may_be_late_in_its_topic() {
    let mut task = task(
        "stream a { topic \"t\" time ts in order fields { k: string } }
         stream b { topic \"t\" time ts late 30s fields { k: string } }
         rule r { by k match { a as x then no a for 5s } overlap all }",
        1,
    );
    let mut out = Outputs::default();
    for event in [("a", 0, 100, "1"), ("b", 0, 130, "2"), ("a", 0, 103, "3")] {
        give(&mut task, event, &mut out);
    }
    task.step(Input::End, &mut out);
    let times: Vec<i64> = out.alerts.iter().map(|alert| alert.time / SECOND).collect();
    assert_eq!(times, [108], "the second event of `a` forbids the first to fire");
}

#[test]
fn an_id_is_known_whichever_of_its_events_came_last() {
    let mut task = task(
        "stream a { id id dedupe 10s time ts late 60s fields { k: string, id: string } }
         rule r { by k match { a as x } }",
        1,
    );
    let mut out = Outputs::default();
    for at in [100, 80, 105] {
        give(&mut task, ("a", 0, at, "x"), &mut out);
    }
    assert_eq!(out.duplicates, [(0, 105)], "it is 5 s after the first");
}

#[test]
fn an_id_is_known_however_far_another_partition_is() {
    let text = "stream a { id id dedupe 10s time ts fields { k: string, id: string } }
                rule r { by k match { a as x } }";
    for order in [[0, 1, 2], [0, 2, 1]] {
        let (mut task, mut out) = (task(text, 2), Outputs::default());
        let events = [("a", 1, 100, "x"), ("a", 0, 10_000, "y"), ("a", 1, 100, "x")];
        for number in order {
            give(&mut task, events[number], &mut out);
        }
        assert_eq!(out.duplicates, [(1, 100)], "{order:?}");
    }
}

#[test]
fn what_is_late_and_what_is_a_repeat_hangs_on_no_other_partition() {
    let text = "stream a { id id dedupe 5s time ts late 2s fields { k: string, id: string } }
                rule r { by k match { a as x } }";
    let events =
        [("a", 1, 100, "x"), ("a", 1, 104, "y"), ("a", 1, 100, "x"), ("a", 1, 110, "z"), ("a", 1, 100, "x")];
    // The other partition is read before all of these, or after them.
    for at in [0, events.len()] {
        let (mut task, mut out) = (task(text, 2), Outputs::default());
        let mut order = events.to_vec();
        order.insert(at, ("a", 0, 10_000, "o"));
        for event in order {
            give(&mut task, event, &mut out);
        }
        assert_eq!(out.duplicates, [(1, 100)], "the first to come again");
        assert_eq!(out.late.iter().map(|late| late.0).collect::<Vec<_>>(), [1], "the second");
    }
}

#[test]
fn a_change_that_is_refused_leaves_the_other_rules_as_they_were() {
    let streams = "stream a { time ts fields { k: string } }\nstream b { time ts fields { k: string } }\n";
    let z = |days| format!("rule z {{ by k match within {days}d {{ a as x then b as y }} overlap all }}");
    let c = "rule c { by k match { b as x } }";
    let mut task = task(&format!("{streams}{}{c}", z(30)), 1);
    let mut out = Outputs::default();
    let mut refused = false;
    for turn in 1..20 {
        give(&mut task, ("a", 0, turn * 10, &turn.to_string()), &mut out);
        // Later rules of a file stand behind a rule that is new.
        let new = if turn > 8 { "rule b_new { by k match { a as x then no b for 1h } }" } else { "" };
        let module = super::compile(&format!("{streams}{new}{}", z(30 + turn)));
        let at = task.next_activation();
        refused |=
            matches!(task.activate(&module, &BTreeMap::new(), Some(at)), Err(ActivateError::DrainFull(_)));
    }
    assert!(refused, "too many revisions drain");
    out.alerts.clear();
    give(&mut task, ("b", 0, 1_000, "end"), &mut out);
    task.step(Input::End, &mut out);
    let of_c = out.alerts.iter().filter(|alert| alert.rule == "c").count();
    assert_eq!(of_c, 1, "{:?}", out.alerts.iter().map(|alert| &alert.rule).collect::<Vec<_>>());
    assert!(!task.save().is_empty());
}

#[test]
fn an_end_counts_from_each_first_event_also_while_silence_after_it_is_waited_for() {
    let mut task = task(
        "stream a { time ts in order fields { k: string, id: string } }
         rule r { by k match within 10s {
           a as x where id == \"x\" then a as y where id == \"y\" then a as z where id == \"z\"
           then no a for 60s where id == \"n\"
         } overlap all }",
        1,
    );
    let mut out = Outputs::default();
    // The first `x` is 12 s before the end, the second 6 s.
    for event in [("a", 0, 100, "x"), ("a", 0, 106, "x"), ("a", 0, 108, "y"), ("a", 0, 112, "z")] {
        give(&mut task, event, &mut out);
    }
    task.step(Input::Time(300 * SECOND), &mut out);
    let begun: Vec<i64> = out.alerts.iter().map(|alert| alert.started / SECOND).collect();
    assert_eq!(begun, [106]);
}
