//! The alert as people read it: severity, time, key, reason, then the events and the comparisons that held.

use super::json::{Detail, mode_word};
use super::{parts_text, reason_text, shown_text};
use crate::decode::time::{format_duration, format_rfc3339};
use engine::alert::{Alert, BoundUsed, Evidence, EvidenceEvent, FiredBy, Shown};
use engine::value::Value;
use pattern_dsl::ir::Mode;

/// Several lines, ending with a line break.
#[must_use]
pub fn alert_text(alert: &Alert, detail: Detail, colour: bool) -> String {
    let severity = shown_text(&alert.severity);
    let (on, bold, off) = if colour { (tint(&severity), "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let keys: Vec<String> = alert.keys.iter().map(|(n, v)| format!("{n}={}", shown_text(v))).collect();
    let mut out = format!(
        "{on}{:<8}{off} {}  {bold}{}{off}  {}",
        if alert.severity.masked { severity } else { severity.to_uppercase() },
        format_rfc3339(alert.time),
        alert.rule,
        keys.join(" ")
    );
    if alert.mode == Mode::Shadow {
        out.push_str(&format!("  ({})", mode_word(alert.mode)));
    }
    out.push('\n');
    match (&alert.title, alert.reason.text.is_empty()) {
        (_, false) => out.push_str(&format!("  {}\n", reason_text(&alert.reason))),
        (Some(title), true) => out.push_str(&format!("  {title}\n")),
        (None, true) => {}
    }
    if !alert.fields.is_empty() {
        let fields: Vec<_> = alert.fields.iter().map(|(n, v)| format!("{n}: {}", shown_text(v))).collect();
        out.push_str(&format!("  {}\n", fields.join(", ")));
    }
    for evidence in &alert.evidence {
        out.push_str(&evidence_text(evidence, detail));
    }
    if alert.fired_by == FiredBy::Timer {
        out.push_str("  fired when time ran out\n");
    }
    let bounds: Vec<_> = alert.bounds.iter().map(bound_text).collect();
    if !bounds.is_empty() {
        out.push_str(&format!("  {}\n", bounds.join(", ")));
    }
    if alert.suppressed_since_last > 0 {
        out.push_str(&format!(
            "  {} more were silenced by the cool-down before this one\n",
            alert.suppressed_since_last
        ));
    }
    if alert.truncated {
        out.push_str("  a limit was met: the evidence may be incomplete\n");
    }
    out
}

fn tint(severity: &str) -> &'static str {
    match severity {
        "critical" => "\x1b[1;31m",
        "high" => "\x1b[31m",
        "medium" => "\x1b[33m",
        _ => "\x1b[36m",
    }
}

/// `within 10m (used 5m)`; of a looked-up bound that its limit has cut, what it would have been.
fn bound_text(bound: &BoundUsed) -> String {
    let used = format_duration(bound.used);
    match bound.cut_from {
        None => format!("{} (used {used})", bound.text),
        Some(longer) => {
            let longer = Shown { value: Value::Duration(longer), masked: bound.masked };
            format!("{} (cut from {} to {used})", bound.text, shown_text(&longer))
        }
    }
}

fn evidence_text(evidence: &Evidence, detail: Detail) -> String {
    let mut out = String::new();
    match evidence {
        Evidence::Step { step, stream, events, held, .. } => {
            let shown = if detail == Detail::Full { events.len() } else { events.len().min(3) };
            out.push_str(&step_text(step, stream, events, shown));
            for one in held {
                let sides = format!("{} and {}", shown_text(&one.left), shown_text(&one.right));
                out.push_str(&format!("    {:<20} {}: {sides}\n", "", one.text));
            }
        }
        Evidence::Absence { absent, from, until } => {
            out.push_str(&format!(
                "    {absent}: nothing from {} to {}\n",
                format_rfc3339(*from),
                format_rfc3339(*until)
            ));
        }
    }
    out
}

/// What a step took, a line an event, of which some are shown.
pub(super) fn step_text(step: &str, stream: &str, events: &[EvidenceEvent], shown: usize) -> String {
    let mut out = String::new();
    for (at, event) in events.iter().take(shown).enumerate() {
        let name = if at > 0 {
            String::new()
        } else if step == stream {
            step.to_owned()
        } else {
            format!("{step} ({stream})")
        };
        let fields: Vec<_> = event.fields.iter().map(|(n, v)| format!("{n}={}", shown_text(v))).collect();
        let time = format_rfc3339(event.ts);
        let line = format!("    {name:<20} {time}  {}  {}", shown_text(&event.id), fields.join(" "));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if shown < events.len() {
        out.push_str(&format!("    {:<20} and {} more\n", "", events.len() - shown));
    }
    out
}

/// A key's values as one text: what `--key` names, with hashes where it is masked.
#[must_use]
pub fn key_text(alert: &Alert) -> String {
    parts_text(alert.keys.iter().map(|(_, v)| v))
}
