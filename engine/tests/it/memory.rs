//! A key with nothing open holds nothing: what a task saves does not grow with the keys that it has ever seen.

use crate::{Feed, compile, event, feed_event, task};
use engine::task::{Input, Outputs, Task};
use pattern_dsl::types::Literal;
use std::collections::BTreeMap;

const STREAM: &str = "stream e { fields { k: int, v: int, ts: instant } time ts in order }\n";
const SECOND: i64 = 1_000_000;

/// Bytes of the saved state after two events of each of so many keys, one key a minute.
fn saved_after(body: &str, keys: i64) -> usize {
    let module = compile(&format!("{STREAM}rule r {{ {body} }}\n"));
    let mut running = task(&module, Feed::Sorted, false);
    let mut out = Outputs::default();
    for number in 0..2 * keys {
        let (key, ts) = (number / 2, number * 30 * SECOND);
        let fields = [("k", Literal::Int(key)), ("v", Literal::Int(number % 2))];
        let next = event(&module, "e", ts, number as u64, &fields);
        feed_event(&mut running, &module, number as usize, &next, &mut out);
    }
    assert!(!out.alerts.is_empty(), "the rule fires: {body}");
    running.save().len()
}

#[test]
fn keys_whose_matches_are_over_are_forgotten() {
    let bodies = [
        "by k match { e as a where v > 0 }",
        "by k match within 1m { e as a where v == 0 then e as b where v == 1 }",
        "by k match within 1m { e as a where v == 0 then first e as b where v == 1 } overlap all",
        "by k match within 1d { e as a where v == 0 then immediately e as b where v == 1 } overlap all",
        "by k match { e as a where v == 0 then no e for 10s }",
        "by k match { e as a where v > 0 } cooldown 1m",
        "match { e as a where v > 0 } cooldown 1m per a.k",
        // A latch that has closed is open again once its window is empty.
        "by k match { e as a where count(e over 1m) reaches 2 }",
    ];
    for body in bodies {
        let (few, many) = (saved_after(body, 100), saved_after(body, 2_000));
        assert!(many <= few + 200, "{body}: {few} bytes after 100 keys, {many} after 2,000");
    }
}

/// Twelve revisions, more than may drain at once, most of which have drained by the time of the saved state.
#[test]
fn a_state_goes_back_into_a_task_that_took_its_decisions_without_the_events() {
    let revision = |number: i64| {
        let body =
            format!("by k match within {}s {{ e as a where v == 0 then e as b where v == 1 }}", 40 + number);
        compile(&format!("{STREAM}rule r {{ {body} }}\n"))
    };
    let minute = 60 * SECOND;
    let give = |running: &mut Task, out: &mut Outputs, number: i64| {
        let fields = [("k", Literal::Int(number / 2)), ("v", Literal::Int(number % 2))];
        let next = event(&revision(0), "e", number * minute / 2, number as u64, &fields);
        feed_event(running, &revision(0), number as usize, &next, out);
    };
    let change = |running: &mut Task, number: i64| {
        running.activate(&revision(number), &BTreeMap::new(), Some(number * minute)).expect("it activates");
    };
    let begin = || task(&revision(0), Feed::Interleaved(0), false);
    let (mut running, mut out) = (begin(), Outputs::default());
    for number in 1..12 {
        (2 * number - 2..2 * number).for_each(|event| give(&mut running, &mut out, event));
        change(&mut running, number);
    }
    // One attempt is open.
    give(&mut running, &mut out, 22);
    let saved = running.save();
    let mut again = begin();
    again.rebuild();
    (1..12).for_each(|number| change(&mut again, number));
    again.restore(&[&saved]).expect("revisions that had drained go");
    assert_eq!(again.save(), saved);
    let (mut went, mut goes) = (Outputs::default(), Outputs::default());
    for number in 23..27 {
        give(&mut running, &mut went, number);
        give(&mut again, &mut goes, number);
    }
    assert_eq!(went.alerts.len(), 2);
    assert_eq!(format!("{:?}", goes.alerts), format!("{:?}", went.alerts));
    // Without a word about it, it is the ninth change that is refused.
    let mut refused = begin();
    let refusals = (1..12).filter(|number| {
        refused.activate(&revision(*number), &BTreeMap::new(), Some(number * minute)).is_err()
    });
    assert!(refusals.count() > 0);
}

/// What is kept of a revision for memory's sake alone must not show: a state that was put back keeps less of it.
#[test]
fn a_cool_down_that_is_over_is_not_taken_over() {
    let revision = |cooldown: &str| {
        compile(&format!("{STREAM}rule r {{ by k match {{ e as a }} cooldown {cooldown} per a.v }}\n"))
    };
    let mut running = task(&revision("1m"), Feed::Interleaved(0), false);
    let mut out = Outputs::default();
    let give = |running: &mut Task, out: &mut Outputs, second: i64, v: i64| {
        let fields = [("k", Literal::Int(0)), ("v", Literal::Int(v))];
        let next = event(&revision("1m"), "e", second * SECOND, second as u64, &fields);
        feed_event(running, &revision("1m"), second as usize, &next, out);
    };
    [(0, 1), (50, 2), (70, 3)].into_iter().for_each(|(second, v)| give(&mut running, &mut out, second, v));
    running.activate(&revision("1h"), &BTreeMap::new(), Some(75 * SECOND)).expect("it activates");
    out.alerts.clear();
    [(80, 1), (85, 2), (86, 3)].into_iter().for_each(|(second, v)| give(&mut running, &mut out, second, v));
    running.step(Input::End, &mut out);
    let times: Vec<i64> = out.alerts.iter().map(|alert| alert.time / SECOND).collect();
    assert_eq!(times, [80]);
}

#[test]
fn a_revision_whose_matches_were_cancelled_has_drained() {
    let revision = |number: i64| {
        let body = format!(
            "by k match {{ e as a where v >= 0 and v < {number} then no e for 1h where v == -1 cancel on e where v == -7 }}"
        );
        compile(&format!("{STREAM}rule r {{ {body} }}\n"))
    };
    let mut running = task(&revision(50), Feed::Interleaved(0), false);
    let mut out = Outputs::default();
    for number in 1..12 {
        for (after, v) in [(0, 1), (1, -7)] {
            let fields = [("k", Literal::Int(0)), ("v", Literal::Int(v))];
            let next = event(&revision(50), "e", (10 * number + after) * SECOND, number as u64, &fields);
            feed_event(&mut running, &revision(50), (2 * number + after) as usize, &next, &mut out);
        }
        let at = Some((10 * number + 5) * SECOND);
        running.activate(&revision(50 + number), &BTreeMap::new(), at).expect("older ones have drained");
    }
}
