//! `why` beside what happened: it says "fired" exactly where an alert was raised, and gives a reason everywhere else.

use crate::Feed;
use crate::feed::{Engine, order};
use crate::properties::{Verdict, feed};
use engine::value::Value;
use engine::why::{Failure, FailureKind, Verdict as Ended, Why};
use oracle::random::Case;
use pattern_dsl::ir::Module;
use std::collections::{BTreeMap, BTreeSet};

/// Ids of the alerts of each rule and key.
type Raised = BTreeMap<(String, Vec<String>), Vec<String>>;

/// (7) `why` says "fired" exactly where a rule fired, and names a test that failed everywhere else.
pub(crate) fn why_says_what_happened(case: &Case, module: &Module) -> Verdict {
    wrong(case, module, feed(case)).map_or(Verdict::Holds, Verdict::Broken)
}

/// What is wrong with `why` on a case; none if all is right.
fn wrong(case: &Case, module: &Module, feed: Feed) -> Option<String> {
    let end = case.events.last()?.ts;
    let mut engine = Engine::with_history(module, &case.tables, feed);
    for number in order(module, &case.events, feed) {
        engine.event(number, &case.events[number]);
    }
    engine.time(end + 1);
    let (ran, engine) = engine.end_with_task();
    let mut raised = Raised::new();
    for alert in &ran.alerts {
        let key = alert.keys.iter().map(|(_, shown)| shown.value.to_string()).collect();
        raised.entry((alert.rule.to_string(), key)).or_default().push(alert.id.clone());
    }
    let mut silenced = 0;
    for rule in &module.rules {
        let mut keys: BTreeSet<Vec<String>> =
            raised.keys().filter(|(name, _)| *name == rule.name).map(|(_, key)| key.clone()).collect();
        for event in &case.events {
            let of_steps = rule.steps.iter().map(|step| (step.stream, Some(&step.keys)));
            let of_streams = rule.streams.iter().enumerate().map(|(at, stream)| (at, stream.keys.as_ref()));
            for (stream, fields) in of_steps.chain(of_streams) {
                let own = rule.streams.get(stream).map(|stream| stream.stream);
                if let (Some(fields), true) = (fields, own == Some(event.stream)) {
                    let values = fields.iter().filter_map(|field| event.fields.get(*field));
                    keys.insert(values.map(|value| Value::from_literal(value).to_string()).collect());
                }
            }
        }
        for key in keys {
            let Some(why) = engine.why(&rule.name, &key) else {
                return Some(format!("{}: nothing is known", rule.name));
            };
            let alerts = raised.remove(&(rule.name.clone(), key.clone())).unwrap_or_default();
            if let Some(wrong) = of_key(&why, &alerts) {
                return Some(format!("{} key {}: {wrong}", rule.name, key.join(",")));
            }
            silenced +=
                why.attempts.iter().filter(|attempt| matches!(attempt.verdict, Ended::CoolDown(..))).count()
                    as u64;
        }
    }
    if let Some((name, key)) = raised.keys().next() {
        return Some(format!("{name} key {}: alerts of no key that was asked for", key.join(",")));
    }
    let cooldowns: u64 = engine.stats().iter().map(|(_, stats)| stats.suppressed_cooldown).sum();
    (silenced != cooldowns).then(|| format!("{silenced} silenced by the cool-down, not {cooldowns}"))
}

/// What is wrong for one rule and key.
fn of_key(why: &Why, alerts: &[String]) -> Option<String> {
    let mut fired: Vec<&str> = Vec::new();
    let mut begun: BTreeSet<String> = BTreeSet::new();
    for attempt in &why.attempts {
        let first = attempt.steps.iter().flat_map(|step| &step.events).min_by_key(|event| event.ts);
        match &attempt.verdict {
            Ended::Fired(alert) => {
                fired.push(&alert.id);
                begun.extend(first.map(|event| event.id.value.to_string()));
            }
            Ended::Missed | Ended::Capped => return Some(format!("no reason: {attempt:?}")),
            Ended::Stopped(failure, _) => {
                if let Some(wrong) = unclear(failure) {
                    return Some(format!("{wrong}: {attempt:?}"));
                }
            }
            Ended::CoolDown(..) | Ended::UsedUp(..) | Ended::Beaten(..) => {}
        }
    }
    let (mut said, mut must) = (fired, alerts.iter().map(String::as_str).collect::<Vec<_>>());
    said.sort_unstable();
    must.sort_unstable();
    (said != must).then(|| format!("says {said:?} fired, but {must:?} did"))
}

/// A reason that tells nothing.
fn unclear(failure: &Failure) -> Option<&'static str> {
    let tested = !matches!(
        failure.kind,
        FailureKind::Nothing | FailureKind::Apart | FailureKind::NotActive | FailureKind::LeftOut
    );
    let holds = match (&failure.enough, failure.found.value.compare(&failure.limit.value)) {
        (Some(("more than", _)), Some(order)) => order.is_gt(),
        (Some(("at least", _)), Some(order)) => order.is_ge(),
        (Some(("less than", _)), Some(order)) => failure.kind == FailureKind::Where && order.is_lt(),
        (Some(("at most", _)), Some(order)) => order.is_le(),
        (Some(("equal to", _)), Some(order)) => order.is_eq(),
        _ => false,
    };
    if failure.step.is_empty() {
        Some("no step")
    } else if tested && failure.test.is_empty() {
        Some("no test")
    } else if holds {
        Some("the test that failed holds")
    } else {
        None
    }
}
