//! The alert as a CloudEvent 1.0 with JSON data (language section 10), written directly.
//!
//! Decimals are JSON numbers with their digits as they are; times RFC 3339 in UTC.

use super::{hidden, parts_text, reason_text, shown_text};
use crate::decode::time::{format_duration, format_rfc3339};
use engine::alert::{Alert, Evidence, EvidenceEvent, FiredBy, Held, Shown};
use engine::value::Value;
use pattern_dsl::ir::Mode;

/// How much evidence is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Detail {
    /// The first event of each step, and how many more there are.
    Brief,
    /// Every event of every step.
    Full,
}

/// One line: the alert as a structured CloudEvent with brief evidence.
#[must_use]
pub fn cloud_event(alert: &Alert) -> String {
    cloud_event_with(alert, Detail::Brief)
}

/// One line: the alert as a structured CloudEvent.
#[must_use]
pub fn cloud_event_with(alert: &Alert, detail: Detail) -> String {
    event_of(attributes(alert), &alert_data(alert, detail))
}

/// Names of a CloudEvent's attributes, in the order in which they are written.
pub(crate) const ATTRIBUTES: [&str; 10] = [
    "specversion",
    "id",
    "type",
    "source",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "severitytext",
];

/// The CloudEvent's attributes.
pub(crate) fn attributes(alert: &Alert) -> impl Iterator<Item = (&'static str, String)> {
    let subject: Vec<String> = alert.keys.iter().map(|(n, v)| format!("{n}={}", shown_text(v))).collect();
    let values = [
        "1.0".to_owned(),
        alert.id.clone(),
        "tripline.alert.v1".to_owned(),
        format!("/rules/{}", alert.rule),
        subject.join(","),
        format_rfc3339(alert.time),
        "application/json".to_owned(),
        format!("/v1/rules/{}/schemas/{}", alert.rule, alert.revision),
        parts_text(alert.keys.iter().map(|(_, v)| v)),
        severity_text(alert),
    ];
    ATTRIBUTES.into_iter().zip(values)
}

/// A structured CloudEvent of its attributes and its data.
pub(crate) fn event_of(attributes: impl Iterator<Item = (&'static str, String)>, data: &str) -> String {
    let mut w = Writer::default();
    w.open('{');
    for (name, value) in attributes {
        w.text(name, &value);
    }
    w.raw("data", data);
    w.close('}');
    w.out
}

/// The alert's `data` alone, as a JSON object.
#[must_use]
pub fn alert_data(alert: &Alert, detail: Detail) -> String {
    let mut w = Writer::default();
    data(&mut w, alert, detail);
    w.out
}

pub(super) fn data(w: &mut Writer, alert: &Alert, detail: Detail) {
    w.open('{');
    w.text("rule", &alert.rule);
    w.raw("revision", &alert.revision.to_string());
    w.text("mode", mode_word(alert.mode));
    w.text("severity", &shown_text(&alert.severity));
    w.shown("score", &alert.score);
    if let Some(title) = &alert.title {
        w.text("title", title);
    }
    w.text("reason", &reason_text(&alert.reason));
    w.pairs("keys", &alert.keys);
    w.text("started", &format_rfc3339(alert.started));
    w.text("ended", &format_rfc3339(alert.ended));
    w.text("fired_by", fired_by(alert.fired_by));
    w.pairs("fields", &alert.fields);
    w.key("why");
    w.open('[');
    for evidence in &alert.evidence {
        w.item();
        why(w, evidence, detail);
    }
    w.close(']');
    w.key("bounds");
    w.open('[');
    for bound in &alert.bounds {
        w.item();
        w.open('{');
        w.text("text", &bound.text);
        w.text("used", &format_duration(bound.used));
        if let Some(longer) = bound.cut_from {
            let longer = Shown { value: Value::Duration(longer), masked: bound.masked };
            w.text("cut_from", &shown_text(&longer));
        }
        w.close('}');
    }
    w.close(']');
    w.key("lists");
    w.open('{');
    for (name, version) in &alert.lists {
        w.raw(name, &version.to_string());
    }
    w.close('}');
    w.raw("suppressed_since_last", &alert.suppressed_since_last.to_string());
    w.raw("truncated", if alert.truncated { "true" } else { "false" });
    w.close('}');
}

fn why(w: &mut Writer, evidence: &Evidence, detail: Detail) {
    w.open('{');
    match evidence {
        Evidence::Step { step, stream, events, held, .. } => {
            w.text("step", step);
            w.text("stream", stream);
            w.raw("count", &events.len().to_string());
            let shown = if detail == Detail::Full { events.len() } else { events.len().min(1) };
            w.key("events");
            w.open('[');
            for one in events.iter().take(shown) {
                w.item();
                event(w, stream, one);
            }
            w.close(']');
            if shown < events.len() {
                w.raw("more", &(events.len() - shown).to_string());
            }
            w.key("held");
            w.open('[');
            for one in held {
                w.item();
                comparison(w, one);
            }
            w.close(']');
        }
        Evidence::Absence { absent, from, until } => {
            w.text("absent", absent);
            w.text("from", &format_rfc3339(*from));
            w.text("until", &format_rfc3339(*until));
        }
    }
    w.close('}');
}

pub(super) fn event(w: &mut Writer, stream: &str, event: &EvidenceEvent) {
    w.open('{');
    w.text("id", &shown_text(&event.id));
    w.text("ts", &format_rfc3339(event.ts));
    w.text("stream", stream);
    for (name, value) in &event.fields {
        if !matches!(name.as_str(), "id" | "ts" | "stream") {
            w.shown(name, value);
        }
    }
    w.close('}');
}

fn comparison(w: &mut Writer, held: &Held) {
    w.open('{');
    w.text("text", &held.text);
    w.shown("left", &held.left);
    w.shown("right", &held.right);
    w.close('}');
}

fn severity_text(alert: &Alert) -> String {
    hidden(&alert.severity).unwrap_or_else(|| shown_text(&alert.severity).to_uppercase())
}

/// The word of a mode.
#[must_use]
pub fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live",
        Mode::Shadow => "shadow",
        Mode::Off => "off",
    }
}

/// The word of what completed a match.
#[must_use]
pub fn fired_by(fired_by: FiredBy) -> &'static str {
    match fired_by {
        FiredBy::Event => "event",
        FiredBy::Timer => "timer",
        FiredBy::Timeout => "timeout",
    }
}

/// A value as JSON.
#[must_use]
pub fn value_json(value: &Value) -> String {
    let mut w = Writer::default();
    w.put(value);
    w.out
}

/// Writes JSON with commas where they belong.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) out: String,
}

impl Writer {
    pub(super) fn open(&mut self, bracket: char) {
        self.out.push(bracket);
    }
    pub(super) fn close(&mut self, bracket: char) {
        self.out.push(bracket);
    }
    pub(super) fn item(&mut self) {
        if !self.out.ends_with(['{', '[', ':']) && !self.out.is_empty() {
            self.out.push(',');
        }
    }
    pub(super) fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if (c as u32) < 0x20 => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
    pub(super) fn key(&mut self, name: &str) {
        self.item();
        self.string(name);
        self.out.push(':');
    }
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        self.string(text);
    }
    pub(super) fn raw(&mut self, name: &str, json: &str) {
        self.key(name);
        self.out.push_str(json);
    }
    pub(super) fn shown(&mut self, name: &str, shown: &Shown) {
        self.key(name);
        match hidden(shown) {
            Some(hash) => self.string(&hash),
            None => self.put(&shown.value),
        }
    }
    fn pairs<N: AsRef<str>>(&mut self, name: &str, pairs: &[(N, Shown)]) {
        self.key(name);
        self.open('{');
        for (name, shown) in pairs {
            self.shown(name.as_ref(), shown);
        }
        self.close('}');
    }
    fn put(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(v) => self.out.push_str(if *v { "true" } else { "false" }),
            Value::Int(v) => self.out.push_str(&v.to_string()),
            Value::Decimal(v) => self.out.push_str(&v.to_string()),
            Value::Float(v) => match serde_json::Number::from_f64(*v) {
                Some(number) => self.out.push_str(&number.to_string()),
                None => self.out.push_str("null"),
            },
            Value::String(v) => self.string(v),
            Value::Geo(place) => {
                let [latitude, longitude] = **place;
                self.out.push_str(&serde_json::json!({"lat": latitude, "lon": longitude}).to_string());
            }
            Value::Instant(_) | Value::Duration(_) | Value::Ip(_) => self.string(&super::value_text(value)),
            Value::List(items) => {
                self.open('[');
                for item in items.iter() {
                    self.item();
                    self.put(item);
                }
                self.close(']');
            }
            Value::Object(pairs) => {
                self.open('{');
                for (name, value) in pairs.iter() {
                    self.key(name);
                    self.put(value);
                }
                self.close('}');
            }
        }
    }
}
