//! `why` where a rule is not active from the beginning, and without `keep_history`.

use crate::{compile, feed_event};
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::why::{Drop, FailureKind, Verdict};
use oracle::Event;
use pattern_dsl::types::Literal;
use std::collections::BTreeMap;

const RULE: &str = "stream a { fields { k: string, v: int } time ts }
rule r { by k match within 10m { a as x where v == 1 then a as y where v == 2 } }";

fn event(minute: i64, v: i64) -> Event {
    let fields = vec![Literal::String("k1".to_owned()), Literal::Int(v)];
    Event { stream: 0, ts: minute * 60_000_000, partition: 0, offset: minute as u64, id: None, fields }
}

/// Events 1 to 2 and 3 to 4 minutes are matches; the rule is active from `at`.
fn run(at: Option<i64>, keep_history: bool) -> Task {
    let module = compile(RULE);
    let limits = Limits::default();
    let mut task = Task::new(Options { limits, count_only: false, sorted_input: true, keep_history });
    let stream = task.add_stream(&module.streams[0]);
    task.add_partition(Partition { name: "a".to_owned(), streams: vec![stream] });
    task.activate(&module, &BTreeMap::new(), at).expect("it activates");
    let mut out = Outputs::default();
    for (number, (minute, v)) in [(1, 1), (2, 2), (3, 1), (4, 2)].into_iter().enumerate() {
        feed_event(&mut task, &module, number, &event(minute, v), &mut out);
    }
    task.step(Input::End, &mut out);
    task
}

#[test]
fn an_event_before_the_rule_was_active_is_named() {
    let task = run(Some(3 * 60_000_000), true);
    let why = task.why("r", &["k1".to_owned()]).expect("the rule is known");
    let early = why.dropped.iter().map(|dropped| dropped.event.id.value.to_string());
    let early: Vec<String> = early.collect();
    assert_eq!(early, ["0", "1"]);
    assert!(why.dropped.iter().all(|dropped| dropped.why == Drop::NotActive(3 * 60_000_000)));
    let fired = why.attempts.iter().filter(|attempt| matches!(attempt.verdict, Verdict::Fired(_)));
    assert_eq!(fired.count(), 1);
    assert_eq!(why.attempts.len(), 1, "{:?}", why.attempts);
    assert!(why.closest.is_some_and(|closest| closest.kind == FailureKind::NotActive));
}

#[test]
fn only_one_key_is_remembered_where_that_is_asked_for() {
    let module = compile(RULE);
    let mut task = run(None, true);
    task.remember_only(&[vec!["k2".to_owned()]]);
    feed_event(&mut task, &module, 9, &event(5, 1), &mut Outputs::default());
    let why = task.why("r", &["k1".to_owned()]).expect("the rule is known");
    assert_eq!(why.events, 4);
    let other = task.why("r", &["k2".to_owned()]).expect("the rule is known");
    let near: Vec<String> = other.near.iter().flatten().map(|part| part.value.to_string()).collect();
    assert_eq!((other.events, near), (0, vec!["k1".to_owned()]));
}

#[test]
fn without_history_nothing_is_told() {
    assert!(run(None, false).why("r", &["k1".to_owned()]).is_none());
    assert!(run(None, true).why("no such rule", &["k1".to_owned()]).is_none());
}
