//! A test's alerts against what it expects: which expectation is not met, and what comes nearest to it.

use crate::console::plural;
use crate::decode::time::{format_duration, parse_rfc3339};
use crate::render::value_text;
use engine::alert::{Alert, Shown};
use engine::value::Value;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::{AlertPart, Expectation, Rule};
use pattern_dsl::source::Span;
use pattern_dsl::types::{Literal, Micros};

use super::coverage::Reached;

/// One thing that is wrong with a test's alerts.
#[derive(Debug)]
pub(super) struct Problem {
    /// What.
    pub(super) text: String,
    /// The `expect` that is not met; none = the test as a whole.
    pub(super) at: Option<Span>,
    /// An alert is missing, and no other comes near it.
    pub(super) missing: bool,
}

/// What is wrong with the alerts of a test.
pub(super) fn judge(
    rule: &Rule,
    expect: &[Expectation],
    alerts: &[Alert],
    start: Micros,
    reached: &Reached,
) -> Vec<Problem> {
    let mut free: Vec<&Alert> = alerts.iter().collect();
    let mut unmet = Vec::new();
    for expectation in expect {
        let mut found = 0;
        free.retain(|alert| {
            let fits = found < expectation.count && differences(expectation, alert, start).is_empty();
            found += usize::from(fits);
            !fits
        });
        if found < expectation.count {
            unmet.push((expectation, found));
        }
    }
    let mut problems: Vec<Problem> = Vec::new();
    for (expectation, found) in unmet {
        let near = nearest(expectation, &free, start);
        let missing = near.is_none();
        let hint = match near {
            Some(near) => near,
            None if alerts.is_empty() => how_far(rule, reached),
            None => format!("the rule gave {} in all", plural(alerts.len(), "alert")),
        };
        let fit = if found == 1 { "1 fits".to_owned() } else { format!("{found} fit") };
        let text = format!("expected {}, {fit}; {hint}", wanted(expectation));
        problems.push(Problem { text, at: Some(expectation.span), missing });
    }
    for alert in free {
        // It is `expect nothing` that it contradicts, if there is one.
        let nothing = expect.iter().find(|expectation| expectation.count == 0);
        let text = format!("unexpected alert {}", describe(alert, start));
        problems.push(Problem { text, at: nothing.map(|expectation| expectation.span), missing: false });
    }
    problems
}

/// `1 alert at 5m { probes: 4 }`.
fn wanted(expectation: &Expectation) -> String {
    let at = expectation.at.map_or_else(String::new, |at| format!(" at {}", format_duration(at)));
    let fields: Vec<_> =
        expectation.values.iter().map(|(part, value)| format!("{}: {}", part.name(), shown(value))).collect();
    let fields = if fields.is_empty() { String::new() } else { format!(" {{ {} }}", fields.join(", ")) };
    format!("{}{at}{fields}", plural(expectation.count, "alert"))
}

fn shown(literal: &Literal) -> String {
    value_text(&Value::from_literal(literal))
}

/// The alert that nothing else expects and that differs least, and how it differs.
fn nearest(expectation: &Expectation, free: &[&Alert], start: Micros) -> Option<String> {
    let differing = free.iter().map(|alert| (*alert, differences(expectation, alert, start)));
    let (alert, differences) = differing.min_by_key(|(_, differences)| differences.len())?;
    let at = format_duration(alert.time - start);
    Some(format!("the nearest is the one at {at}: {}", differences.join(", ")))
}

/// Of a test without an alert: the first step that was not reached, else what silenced the match.
fn how_far(rule: &Rule, reached: &Reached) -> String {
    let stats = &reached.stats;
    let missing = rule.steps.iter().zip(&stats.step_reached).zip(&stats.step_events);
    let required = missing.filter(|((step, reached), _)| !step.optional && **reached == 0);
    let silenced = [(stats.suppressed_unless, "unless"), (stats.suppressed_cooldown, "cooldown")];
    let silenced = silenced.into_iter().find(|(count, _)| *count > 0);
    match (silenced, required.map(|((step, _), events)| (&step.name, *events)).next()) {
        (Some((count, word)), _) => format!("`{word}` silenced {}", plural(count as usize, "match")),
        (None, Some((step, 0))) => format!("no event fits step `{step}`"),
        (None, Some((step, events))) => {
            let (events, fit) = (plural(events as usize, "event"), if events == 1 { "fits" } else { "fit" });
            format!("{events} {fit} step `{step}`, but no match had come so far")
        }
        (None, None) => "events fit every step, but no choice of them meets all conditions".to_owned(),
    }
}

fn describe(alert: &Alert, start: Micros) -> String {
    // A test's data stands in the rule's file: nothing of it is hidden.
    let fields: Vec<_> = alert.fields.iter().map(|(n, v)| format!("{n}: {}", value_text(&v.value))).collect();
    let key: Vec<_> = alert.keys.iter().map(|(_, v)| value_text(&v.value)).collect();
    let at = format_duration(alert.time - start);
    let (key, severity) = (key.join(","), value_text(&alert.severity.value));
    format!("at {at}, key {key}, severity {severity}, {{ {} }} {}", fields.join(", "), alert.reason.text)
}

/// How an alert differs from what is expected; empty = it fits.
fn differences(expectation: &Expectation, alert: &Alert, start: Micros) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(at) = expectation.at.filter(|at| alert.time != start.saturating_add(*at)) {
        let had = format_duration(alert.time - start);
        differences.push(format!("at {had}, not {}", format_duration(at)));
    }
    for (part, wanted) in &expectation.values {
        let had = alert_value(alert, part);
        if !equal(&had, wanted) {
            differences.push(format!("{} is {}, not {}", part.name(), value_text(&had), shown(wanted)));
        }
    }
    differences
}

fn alert_value(alert: &Alert, part: &AlertPart) -> Value {
    let named = |pairs: &[(arcstr::ArcStr, Shown)], name: &str| {
        pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.value.clone()).unwrap_or_default()
    };
    match part {
        AlertPart::Field(name) => named(&alert.fields, name),
        AlertPart::Key(name) => named(&alert.keys, name),
        AlertPart::Severity => alert.severity.value.clone(),
        AlertPart::Score => alert.score.value.clone(),
        AlertPart::Reason => Value::String(alert.reason.text.as_str().into()),
    }
}

/// Whether a value is what was written. Of what has several ways of writing, each will do.
fn equal(value: &Value, wanted: &Literal) -> bool {
    let number = |v: &Value| match v {
        Value::Int(v) => Some(Decimal::from_int(*v)),
        Value::Decimal(v) => Some(**v),
        Value::Float(v) => Decimal::parse(&v.to_string()),
        _ => None,
    };
    match (value, wanted) {
        (Value::Float(a), Literal::Float(b)) => return a == b,
        (Value::List(had), Literal::List(wanted)) => {
            return had.len() == wanted.len()
                && had.iter().zip(wanted).all(|(had, wanted)| equal(had, wanted));
        }
        (Value::Geo(place), wanted) => return wanted.place() == Some((place[0], place[1])),
        (Value::Instant(at), Literal::String(text)) => return parse_rfc3339(text.as_bytes()) == Some(*at),
        (Value::Ip(_), Literal::String(text)) => {
            return text.parse().is_ok_and(|ip| Value::from_literal(&Literal::Ip(ip)) == *value);
        }
        _ => {}
    }
    let wanted = Value::from_literal(wanted);
    match (number(value), number(&wanted)) {
        (Some(a), Some(b)) => a == b,
        _ => value_text(value) == value_text(&wanted),
    }
}
