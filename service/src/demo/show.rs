//! What the demo prints.

use crate::console::{plural, tell};
use crate::decode::time::format_rfc3339;
use crate::feed::Event;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// Events of one step that are shown.
const SHOWN: usize = 3;

/// A colour and its end; nothing unless stdout is a terminal.
fn colour(severity: &str) -> (&'static str, &'static str) {
    if !std::io::stdout().is_terminal() {
        return ("", "");
    }
    let on = match severity {
        "critical" => "\x1b[1;31m",
        "high" => "\x1b[31m",
        "medium" => "\x1b[33m",
        _ => "\x1b[36m",
    };
    (on, "\x1b[0m")
}

/// What is about to happen.
pub(super) fn opening(base: &str, rules: usize, events: &[Event]) {
    let mut streams: BTreeMap<&str, (usize, i64, i64)> = BTreeMap::new();
    for event in events {
        let entry = streams.entry(&event.stream).or_insert((0, event.ts, event.ts));
        *entry = (entry.0 + 1, entry.1, event.ts);
    }
    tell!("Tripline runs at {base} with {rules} rules. It reads recorded events:");
    for (stream, (count, from, to)) in streams {
        tell!("  {stream:<12} {count} events, {} to {}", format_rfc3339(from), format_rfc3339(to));
    }
    tell!();
}

/// One alert for a person.
pub(super) fn alert(event: &Value) {
    let data = &event["data"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let severity = word(&data["severity"]);
    let (on, off) = colour(&severity);
    let time = word(&event["time"]);
    tell!(
        "{on}{:<8}{off} {time}  {}  {}",
        severity.to_uppercase(),
        word(&data["rule"]),
        word(&event["subject"])
    );
    let reason = word(&data["reason"]);
    tell!("         {}", if reason.is_empty() { word(&data["title"]) } else { reason });
    for step in data["why"].as_array().into_iter().flatten() {
        if let Some(absent) = step["absent"].as_str() {
            tell!("         - {absent}: nothing from {} to {}", word(&step["from"]), word(&step["until"]));
            continue;
        }
        let events = step["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in events.iter().take(SHOWN) {
            tell!("         - {:<14} {}", word(&step["step"]), evidence(event));
        }
        let count = step["count"].as_u64().unwrap_or_default() as usize;
        if count > events.len().min(SHOWN) {
            tell!("           and {} more", count - events.len().min(SHOWN));
        }
    }
    tell!();
}

/// One event behind an alert on one line.
fn evidence(event: &Value) -> String {
    let mut parts = vec![event["ts"].as_str().unwrap_or_default().to_owned()];
    for (name, value) in event.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "ts" | "stream") || value.is_null() {
            continue;
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        parts.push(format!("{name}={text}"));
    }
    let line = parts.join(" ");
    match line.char_indices().nth(140) {
        Some((cut, _)) => format!("{}..", &line[..cut]),
        None => line,
    }
}

/// Counts by rule against what the data holds. True if they agree.
pub(super) fn summary(expected: &[(&str, usize)], counts: &BTreeMap<String, usize>, events: usize) -> bool {
    let total: usize = counts.values().sum();
    tell!("{}, {}:", plural(events, "event"), plural(total, "alert"));
    let mut right = true;
    for (rule, wanted) in expected {
        let found = counts.get(*rule).copied().unwrap_or_default();
        let mark = if found == *wanted { String::new() } else { format!("   expected {wanted}") };
        right &= found == *wanted;
        tell!("  {found:>4}  {rule}{mark}");
    }
    for (rule, found) in counts {
        if !expected.iter().any(|(r, _)| r == rule) {
            right = false;
            tell!("  {found:>4}  {rule}   expected none");
        }
    }
    tell!();
    right
}

/// Lines that work as they stand.
pub(super) fn next_steps(base: &str, once: bool) {
    if once {
        tell!("Next:");
        tell!("  tripline demo                      # the same, and the service stays up");
        tell!("  tripline demo --write tripline-demo   # the rules and the data as files");
        return;
    }
    tell!("The service stays up until Ctrl-C. Next, in another terminal:");
    tell!("  curl -s '{base}/v1/alerts?severity=high&limit=5'");
    tell!("  curl -s '{base}/v1/rules/brute_force_success'");
    tell!("  curl -sN '{base}/v1/alerts/stream?after=0'");
    tell!(
        "  curl -s -X PUT '{base}/v1/rules/root_login' -H 'content-type: text/plain' --data-binary '{RULE}'"
    );
    tell!(
        "  curl -s '{base}/v1/events/auth' -H 'content-type: application/x-ndjson' --data-binary \"{EVENT}\""
    );
    tell!("  sleep 5; curl -s '{base}/v1/alerts?rule=root_login'");
}

/// A rule for a stream that the demo has.
const RULE: &str = r#"rule root_login { by user (auth.user) match { auth as login where action == "accepted_password" and user == "root" } severity high reason "root came from {login.src_ip}" }"#;
/// An event of now that it fires on, for a shell's double quotes.
const EVENT: &str = r#"{\"ts\":\"$(date -u +%FT%TZ)\",\"id\":\"x1\",\"host\":\"h\",\"process\":\"sshd\",\"action\":\"accepted_password\",\"user\":\"root\",\"src_ip\":\"203.0.113.9\"}"#;
