//! Rules that read alerts, compared with the definition.

use crate::{Dice, Feed, compile, event, feed_event, run, task};
use engine::alert::Alert;
use engine::task::{Input, Outputs};
use engine::value::Value;
use oracle::{Event, Firing};
use pattern_dsl::ir::Module;
use pattern_dsl::types::Literal;
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000;

const RULES: &str = r#"
stream a { fields { k: string, v: int, ts: instant } time ts }
stream b { fields { k: string, v: int, ts: instant } time ts in order }
rule high { by k match { a where v > 6 } emit { v: a.v } severity "low" score a.v }
rule pair { by k match within 5s { a then b } emit { v: b.v } }
rule quiet { by k match { b where v > 4 then no a for 3s } mode shadow emit { v: b.v } }
rule alone { by k match { b where v > 4 then no b for 3s } emit { v: b.v } }
rule direct { by k match { b where v > 7 } emit { v: b.v } }
rule twice { by k (alert.keys.k) match within 6s { 2 alert as x } emit { v: sum(x.data.v) } reason "{first(x.rule)} {last(x.rule)}" }
rule calm { by k (alert.keys.k) match { alert as x where rule in ["twice", "quiet", "alone"] then no alert for 2s } emit { v: x.data.v } reason "{x.mode} {x.id}" }
rule mixed { by k (a.k, alert.keys.k) match within 4s { alert as x where rule == "direct" then a } emit { v: a.v + x.data.v } }
"#;

fn module() -> Module {
    compile(RULES)
}

fn events(module: &Module, seed: u64) -> Vec<Event> {
    let mut dice = Dice(seed);
    let mut ts = 0;
    (0..30)
        .map(|number| {
            ts += dice.below(3) as i64 * SECOND / (1 + dice.below(2) as i64);
            let stream = ["a", "b"][dice.below(2)];
            let key = Literal::String(["x", "y"][dice.below(2)].to_owned());
            let fields = [("k", key), ("v", Literal::Int(dice.below(10) as i64))];
            event(module, stream, ts, number, &fields)
        })
        .collect()
}

fn line(rule: &str, time: i64, key: &[String], fields: &[(String, String)], reason: &str) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{time:>9} {rule} [{}] {} {reason}", key.join(","), fields.join(" "))
}

fn engine_line(alert: &Alert) -> String {
    let key: Vec<String> = alert.keys.iter().map(|(_, shown)| shown.value.to_string()).collect();
    let fields: Vec<_> = alert.fields.iter().map(|(n, v)| (n.to_string(), v.value.to_string())).collect();
    line(&alert.rule, alert.time, &key, &fields, &alert.reason.text)
}

fn oracle_line(firing: &Firing) -> String {
    let show = |literal: &Literal| Value::from_literal(literal).to_string();
    let key: Vec<String> = firing.key.iter().map(show).collect();
    let fields: Vec<_> = firing.fields.iter().map(|(n, v)| (n.clone(), show(v))).collect();
    line(&firing.rule, firing.time, &key, &fields, firing.reason.as_deref().unwrap_or_default())
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn readers_see_what_the_definition_says_however_events_come() {
    let module = module();
    let mut seen = 0;
    for seed in 0..150 {
        let events = events(&module, seed);
        let end = events.last().expect("events").ts;
        let (first, _) = run(&module, &events, Feed::Sorted);
        // Ids decide among alerts of one rule, key and time only; the oracle is given those of the engine.
        let ids: BTreeMap<String, String> =
            first.alerts.iter().map(|alert| (identity(&engine_line(alert)), alert.id.clone())).collect();
        let id_of = |firing: &Firing, _: &[oracle::Event]| {
            ids.get(&identity(&oracle_line(firing))).cloned().unwrap_or_default()
        };
        let everything = oracle::run_all(&module, &BTreeMap::new(), &events, end, &id_of);
        let must = sorted(everything.outcomes.iter().flat_map(|outcome| &outcome.firings).map(oracle_line));
        seen += must.iter().filter(|line| line.contains("twice") || line.contains("calm")).count();
        for feed in [Feed::Sorted, Feed::Interleaved(seed), Feed::Restored(seed)] {
            let (out, _) = run(&module, &events, feed);
            assert_eq!(sorted(out.alerts.iter().map(engine_line)), must, "seed {seed}, {feed:?}");
        }
    }
    assert!(seen > 500, "the cases exercise the readers: {seen}");
}

/// Without the reason, where that holds an id.
fn identity(line: &str) -> String {
    let words = if line.contains(" calm ") { 4 } else { usize::MAX };
    line.split_whitespace().take(words).collect::<Vec<_>>().join(" ")
}

#[test]
fn alerts_are_seen_of_partitions_that_nobody_waits_for() {
    let module = module();
    let mut running = task(&module, Feed::Interleaved(0), false);
    let mut out = Outputs::default();
    let key = || ("k", Literal::String("x".to_owned()));
    let b = event(&module, "b", 10 * SECOND, 0, &[key(), ("v", Literal::Int(5))]);
    feed_event(&mut running, &module, 0, &b, &mut out);
    running.step(Input::Idle(1), &mut out);
    let a = event(&module, "a", 20 * SECOND, 0, &[key(), ("v", Literal::Int(1))]);
    feed_event(&mut running, &module, 1, &a, &mut out);
    let rules: Vec<&str> = out.alerts.iter().map(|alert| alert.rule.as_str()).collect();
    assert_eq!(
        rules,
        ["alone", "quiet", "twice", "calm"],
        "timers of `b` ring when time passes them, and their readers see that"
    );
}

#[test]
fn counting_feeds_readers_too() {
    let module = module();
    let events = events(&module, 7);
    let (out, task_with_alerts) = run(&module, &events, Feed::Sorted);
    let mut counting = task(&module, Feed::Sorted, true);
    let mut counted = Outputs::default();
    for (number, event) in events.iter().enumerate() {
        feed_event(&mut counting, &module, number, event, &mut counted);
    }
    counting.step(Input::End, &mut counted);
    assert!(counted.alerts.is_empty() && !out.alerts.is_empty());
    let counts = |stats: Vec<(String, engine::task::RuleStats)>| -> Vec<(String, u64)> {
        stats.into_iter().map(|(name, stats)| (name, stats.alerts)).collect()
    };
    assert_eq!(counts(counting.stats()), counts(task_with_alerts.stats()));
}

#[test]
fn masks_outlive_the_rule_that_they_come_from() {
    let module = compile(
        r#"
        stream a { fields { k: string, card: string mask } time ts }
        stream b { fields { k: string } time ts }
        rule keyed { by k match { a as x } emit { card: x.card } }
        rule same { by k match { a as x where card == "no" } emit { card: x.card } }
        rule reader {
          by k (b.k, alert.keys.k)
          match within 1h { alert as x where rule == "keyed" then b }
          emit { card: x.data.card, k: x.keys.k }
        }
        "#,
    );
    let mut out = Outputs::default();
    let mut running = task(&module, Feed::Sorted, false);
    let key = || ("k", Literal::String("x".to_owned()));
    let card = ("card", Literal::String("c".to_owned()));
    feed_event(&mut running, &module, 0, &event(&module, "a", 10 * SECOND, 0, &[key(), card]), &mut out);
    feed_event(&mut running, &module, 1, &event(&module, "b", 11 * SECOND, 0, &[]), &mut out);
    running.retire("keyed");
    let saved = running.save();
    let left = Module {
        rules: module.rules.iter().filter(|rule| rule.name != "keyed").cloned().collect(),
        ..module.clone()
    };
    let mut running = task(&left, Feed::Sorted, false);
    running.restore(&[&saved]).expect("the state of the same rules");
    out.alerts.clear();
    feed_event(&mut running, &module, 2, &event(&module, "b", 12 * SECOND, 1, &[key()]), &mut out);
    running.step(Input::End, &mut out);
    let fields: Vec<_> = out.alerts.iter().flat_map(|alert| &alert.fields).collect();
    let masked: Vec<bool> = fields.iter().map(|(_, shown)| shown.masked).collect();
    assert_eq!(masked, [true, false], "{fields:?}");
}
