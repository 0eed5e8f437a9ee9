//! A key with nothing open holds nothing: what a task saves does not grow with the keys that it has ever seen.

use crate::{Feed, compile, event, feed_event, task};
use engine::task::Outputs;
use pattern_dsl::types::Literal;

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
