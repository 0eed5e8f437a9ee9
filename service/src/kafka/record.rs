//! Records of the output topics, and alerts back from them.

use crate::render;
use crate::serve::matcher::webhooks;
use crate::store::{AlertHead, StoredAlert};
use engine::alert::Alert;
use pattern_dsl::ir::Mode;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use serde::Deserialize;
use std::borrow::Cow;

/// Which webhook endpoints the rule names: a JSON array.
const WEBHOOKS: &str = "tripline_webhooks";
/// Media type of an alert that is a whole CloudEvent.
const STRUCTURED: &str = "application/cloudevents+json";

/// A record to write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    /// Where it is to stand; none = where its key says.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(Cow<'static, str>, Vec<u8>)>,
}

impl Outgoing {
    /// Bytes that it holds.
    pub(crate) fn size(&self) -> usize {
        self.key.len() + self.value.len() + self.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
    }

    fn header(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Vec<u8>>) {
        self.headers.push((name.into(), value.into()));
    }
}

/// The record of an alert: its data with `ce_` headers, or the whole event.
pub(crate) fn of_alert(alert: &Alert, topic: &str, structured: bool) -> Outgoing {
    let key = render::text::key_text(alert).into_bytes();
    let mut record = Outgoing { topic: topic.to_owned(), key, ..Outgoing::default() };
    if structured {
        record.value = render::cloud_event_with(alert, render::Detail::Full).into_bytes();
        record.header("content-type", STRUCTURED);
    } else {
        record.value = render::json::alert_data(alert, render::Detail::Full).into_bytes();
        for (name, value) in render::json::attributes(alert) {
            match name {
                "datacontenttype" => record.header("content-type", value),
                _ => record.header(format!("ce_{name}"), value),
            }
        }
    }
    let webhooks = webhooks(alert);
    if !webhooks.is_empty() && alert.mode == Mode::Live {
        record.header(WEBHOOKS, serde_json::to_vec(&webhooks).unwrap_or_default());
    }
    record
}

/// Where a record came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: &'a str,
    pub(crate) offset: u64,
    /// In microseconds.
    pub(crate) arrived: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

/// A record that is passed on as it came, with where it came from and why.
pub(crate) fn passed_on(origin: Origin<'_>, topic: &str, why: &[(&'static str, String)]) -> Outgoing {
    let mut record = Outgoing {
        topic: topic.to_owned(),
        key: origin.key.unwrap_or_default().to_vec(),
        value: origin.value.unwrap_or_default().to_vec(),
        ..Outgoing::default()
    };
    record.header("tripline_origin_topic", origin.topic);
    record.header("tripline_origin_partition", origin.partition);
    record.header("tripline_origin_offset", origin.offset.to_string());
    record.header("tripline_origin_timestamp", (origin.arrived / 1_000).to_string());
    for (name, value) in why {
        record.header(*name, value.as_str());
    }
    record
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    rule: Cow<'a, str>,
    #[serde(borrow)]
    severity: Cow<'a, str>,
    #[serde(borrow)]
    mode: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

/// An alert as it stands in its topic; none if it is not one of Tripline.
pub(crate) fn to_stored(message: &BorrowedMessage<'_>, seq: u64) -> Option<StoredAlert> {
    let value = std::str::from_utf8(message.payload()?).ok()?;
    let headers = message.headers();
    let header = |wanted: &str| {
        let mut all = headers.into_iter().flat_map(|h| h.iter());
        let found = all.find(|h| h.key == wanted)?.value?;
        std::str::from_utf8(found).ok()
    };
    let event = if header("content-type") == Some(STRUCTURED) {
        value.to_owned()
    } else {
        let attributes = render::json::ATTRIBUTES.iter().filter_map(|name| {
            let value = match *name {
                "datacontenttype" => header("content-type"),
                name => header(&format!("ce_{name}")),
            };
            value.map(|value| (*name, value.to_owned()))
        });
        render::json::event_of(attributes, value)
    };
    let read: Event<'_> = serde_json::from_str(&event).ok()?;
    let head = AlertHead {
        id: read.id.into_owned(),
        rule: read.data.rule.into_owned(),
        key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
        severity: read.data.severity.into_owned(),
        shadow: read.data.mode == "shadow",
        webhooks: header(WEBHOOKS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    };
    Some(StoredAlert { seq, head, event })
}
