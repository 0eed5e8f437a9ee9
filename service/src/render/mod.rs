//! Alerts as CloudEvents and as text for people. Shared by `run`, `test` and the service.
//!
//! What shows a masked field is shown hashed everywhere. The engine says what does ([`engine::alert::Shown`]); here it is
//! hashed, and nothing else is.

pub mod json;
pub mod text;
pub mod why;

pub use json::{Detail, cloud_event, cloud_event_with};

use engine::alert::{Reason, Shown};
use engine::value::Value;
use sha2::{Digest, Sha256};

/// What is shown instead of a masked value; null is shown as it is.
#[must_use]
pub fn hash(value: &Value) -> Option<String> {
    (!matches!(value, Value::Null)).then(|| hash_text(&value_text(value)))
}

/// What is shown instead of a masked text.
#[must_use]
pub fn hash_text(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// The hash to show for a value; none if it is not masked.
#[must_use]
pub fn hidden(shown: &Shown) -> Option<String> {
    if shown.masked { hash(&shown.value) } else { None }
}

/// A value's text, hashed if it is masked.
#[must_use]
pub fn shown_text(shown: &Shown) -> String {
    hidden(shown).unwrap_or_else(|| value_text(&shown.value))
}

/// The texts of a key's parts, hashed where they are masked: the form of `--key`.
#[must_use]
pub fn parts_text<'s>(parts: impl IntoIterator<Item = &'s Shown>) -> String {
    parts.into_iter().map(shown_text).collect::<Vec<_>>().join(",")
}

/// The text of `reason`, with hashes for what is masked in it.
#[must_use]
pub fn reason_text(reason: &Reason) -> String {
    let mut text = String::with_capacity(reason.text.len());
    let mut from = 0;
    for (place, value) in &reason.masked {
        text.push_str(reason.text.get(from..place.start).unwrap_or_default());
        text.push_str(&hash(value).unwrap_or_else(|| value_text(value)));
        from = place.end;
    }
    text + reason.text.get(from..).unwrap_or_default()
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
