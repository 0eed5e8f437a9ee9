//! What a rule has cost and done since the service began, and how events find its steps: `GET /v1/rules/{id}/stats`.

use super::core::Core;
use engine::task::{FoundBy, How, RuleStats};
use serde_json::{Value, json};

/// A rule's counters; none if there is no such rule.
pub(crate) fn of_rule(core: &Core, id: &str) -> Option<Value> {
    let active = core.rules().get(id)?;
    let all = core.task().stats();
    let unused = RuleStats::default();
    let own = all.iter().find(|(name, _)| name == id).map_or(&unused, |(_, stats)| stats);
    let rule = &active.rule;
    let found = core.task().found_by(id);
    let count = |counts: &[u64], at: usize| counts.get(at).copied().unwrap_or(0);
    let steps = rule.steps.iter().enumerate().map(|(at, step)| {
        let found = found.iter().find(|found| found.step == step.name);
        json!({
            "step": step.name,
            "events": count(&own.step_events, at),
            "reached": count(&own.step_reached, at),
            "found_by": found.map(found_by),
        })
    });
    // In the order of `RuleStats::absence_met`.
    let gaps = rule.units.iter().flat_map(|unit| &unit.gap);
    let absences = gaps.chain(&rule.leading).chain(&rule.trailing).chain(&rule.cancels).enumerate();
    let absences =
        absences.map(|(at, absence)| json!({"text": absence.text, "met": count(&own.absence_met, at)}));
    let total: u64 = all.iter().map(|(_, stats)| work(stats)).sum();
    Some(json!({
        "id": id,
        "revision": active.revision,
        "wanted": own.wanted,
        "steps": steps.collect::<Vec<_>>(),
        "absences": absences.collect::<Vec<_>>(),
        "alerts": own.alerts,
        "suppressed": {
            "cooldown": own.suppressed_cooldown,
            "unless": own.suppressed_unless,
            "day": own.suppressed_day,
        },
        "candidates": own.candidates,
        "still_open": own.still_open,
        "null_keys": own.null_keys,
        "capped": own.capped,
        "searches": own.searches,
        "rows_walked": own.rows_walked,
        "no_deadline": own.no_deadline,
        "work_of_all": total,
        "share_of_work": if total == 0 { 0.0 } else { work(own) as f64 / total as f64 },
    }))
}

/// Counters of a rule in one more task, added to those of others.
pub(crate) fn with(known: Option<Shown>, (status, more, tag): Shown) -> Shown {
    let Some((_, mut all, _)) = known else { return (status, more, tag) };
    add(&mut all, &more);
    let number = |name: &str| all[name].as_u64().unwrap_or(0);
    let (own, total) = (number("wanted") + number("rows_walked"), number("work_of_all"));
    all["share_of_work"] = json!(if total == 0 { 0.0 } else { own as f64 / total as f64 });
    (status, all, tag)
}

/// An answer: status, body, ETag.
type Shown = (u16, Value, Option<String>);

/// Adds counters, wherever they stand. A revision is none.
fn add(all: &mut Value, more: &Value) {
    match (all, more) {
        (Value::Object(all), Value::Object(more)) => {
            let counters = all.iter_mut().filter(|(name, _)| *name != "revision");
            counters.for_each(|(name, value)| add(value, more.get(name).unwrap_or(&Value::Null)));
        }
        (Value::Array(all), Value::Array(more)) => {
            all.iter_mut().zip(more).for_each(|(value, more)| add(value, more));
        }
        (all, more) => {
            if let (Some(one), Some(other)) = (all.as_u64(), more.as_u64()) {
                *all = json!(one + other);
            }
        }
    }
}

/// Events and rows looked at.
fn work(stats: &RuleStats) -> u64 {
    stats.wanted + stats.rows_walked
}

fn found_by(found: &FoundBy) -> Value {
    let how = match found.how {
        How::Every => "every event",
        How::Tested => "test",
        How::Word => "hash",
        How::Limit => "order",
    };
    json!({"how": how, "test": found.test})
}
