//! Alerts as CloudEvents and as text for people. Shared by `run`, `test` and the service.
//!
//! A masked field is shown hashed everywhere: in evidence, and wherever its value turns up again (keys, emitted
//! fields, the reason, both sides of a comparison).

pub mod json;
pub mod text;
pub mod why;

pub use json::{Detail, cloud_event, cloud_event_with};

use engine::alert::{Alert, Evidence, EvidenceEvent};
use engine::value::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Values of masked fields with what is shown instead.
#[derive(Debug, Default)]
pub struct Masks {
    shown: BTreeMap<String, String>,
}

impl Masks {
    /// Collects the masked values of an alert.
    #[must_use]
    pub fn of(alert: &Alert) -> Self {
        Self::of_events(alert.evidence.iter().flat_map(|evidence| match evidence {
            Evidence::Step { events, .. } => events.as_slice(),
            Evidence::Absence { .. } => &[],
        }))
    }

    /// Collects the masked values of events.
    #[must_use]
    pub fn of_events<'e>(events: impl Iterator<Item = &'e EvidenceEvent>) -> Self {
        let mut masks = Self::default();
        for event in events.filter(|event| !event.masked.is_empty()) {
            for (_, value) in event.fields.iter().filter(|(n, v)| event.masked.contains(n) && !is_null(v)) {
                let text = value_text(value);
                let digest = Sha256::digest(text.as_bytes());
                let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
                masks.shown.insert(text, format!("sha256:{hex}"));
            }
        }
        masks
    }

    /// The hash to show for a value; none if it is not masked.
    #[must_use]
    pub fn hidden(&self, value: &Value) -> Option<&str> {
        if self.shown.is_empty() || is_null(value) {
            return None;
        }
        self.shown.get(&value_text(value)).map(String::as_str)
    }

    /// A text with masked values replaced.
    #[must_use]
    pub fn cover(&self, text: &str) -> String {
        let mut covered = text.to_owned();
        for (secret, hash) in &self.shown {
            if secret.len() > 2 {
                covered = covered.replace(secret.as_str(), hash);
            }
        }
        covered
    }

    /// A value's text, hashed if it is masked.
    #[must_use]
    pub fn text(&self, value: &Value) -> String {
        self.hidden(value).map_or_else(|| value_text(value), str::to_owned)
    }
}

fn is_null(value: &Value) -> bool {
    matches!(value, Value::Null)
}

/// A value as people read it; null is `-`.
#[must_use]
pub fn value_text(value: &Value) -> String {
    use crate::decode::time::{format_duration, format_rfc3339};
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Decimal(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::String(v) => v.to_string(),
        Value::Instant(v) => format_rfc3339(*v),
        Value::Duration(v) => format_duration(*v),
        Value::Ip(_) | Value::Geo(_) => value.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(value_text).collect::<Vec<_>>().join(", ")),
        Value::Object(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}: {}", value_text(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}
