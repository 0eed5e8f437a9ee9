//! Committed alerts: pages, the live stream, and local topics as a consumer reads them.

use super::problem::Problem;
use super::{App, RawPage, cursor, page_size, raw};
use crate::serve::rfc3339;
use crate::store::{Entry, StoredAlert};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::convert::Infallible;

/// Alerts looked at for one page at most, so that a filter that nothing fits cannot read for ever.
const SCAN: usize = 100_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Filter {
    after: Option<String>,
    rule: Option<String>,
    key: Option<String>,
    severity: Option<String>,
    mode: Option<String>,
    limit: Option<usize>,
}

impl Filter {
    fn fits(&self, alert: &StoredAlert) -> bool {
        let head = &alert.head;
        let same = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|w| w == value);
        let shadow = self.mode.as_deref() == Some("shadow");
        head.shadow == shadow
            && same(&self.rule, &head.rule)
            && same(&self.key, &head.key)
            && same(&self.severity, &head.severity)
    }

    fn check(&self) -> Result<(), Problem> {
        match self.mode.as_deref() {
            None | Some("live" | "shadow") => Ok(()),
            Some(other) => Err(Problem::new(400, format!("mode is `live` or `shadow`, not `{other}`"))),
        }
    }
}

/// `GET /v1/alerts`.
pub(super) async fn list(
    State(shared): App,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(filter) = query.map_err(|e| Problem::new(400, e.body_text()))?;
    filter.check()?;
    let after = cursor(filter.after.as_deref())?;
    let limit = page_size(filter.limit)?;
    let mut items = Vec::new();
    let (mut last, mut next) = (after, None);
    for (scanned, alert) in shared.store.alerts_after(after).enumerate() {
        let alert = alert?;
        let fits = filter.fits(&alert);
        if (fits && items.len() == limit) || scanned >= SCAN {
            next = Some(last.to_string());
            break;
        }
        last = alert.seq;
        if fits {
            items.push(raw(alert.event)?);
        }
    }
    Ok(Json(RawPage { items, next, cursor: last.to_string() }).into_response())
}

/// `GET /v1/alerts/stream`.
pub(super) async fn stream(
    State(shared): App,
    headers: HeaderMap,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(filter) = query.map_err(|e| Problem::new(400, e.body_text()))?;
    filter.check()?;
    let resumed = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let mut committed = shared.committed.subscribe();
    // Without a place to resume from the stream begins now.
    let mut at = match resumed.or(filter.after.as_deref()) {
        Some(text) => cursor(Some(text))?,
        None => *committed.borrow(),
    };
    let mut stopping = shared.stopping.subscribe();
    let events = async_stream::stream! {
        loop {
            let newest = *committed.borrow_and_update();
            while at < newest {
                let page: Vec<_> = shared.store.alerts_after(at).take(256).collect();
                if page.is_empty() {
                    break;
                }
                for alert in page {
                    let Ok(alert) = alert else { return };
                    at = alert.seq;
                    if filter.fits(&alert) {
                        yield Ok::<_, Infallible>(Event::default().id(alert.seq.to_string()).event("alert").data(alert.event));
                    }
                }
            }
            tokio::select! {
                changed = committed.changed() => if changed.is_err() { return },
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    };
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

#[derive(Deserialize)]
pub(super) struct RecordsQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/topics/{topic}/records`.
pub(super) async fn topic_records(
    State(shared): App,
    Path(topic): Path<String>,
    query: Result<Query<RecordsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|e| Problem::new(400, e.body_text()))?;
    let view = shared.view();
    if !view.streams.values().any(|t| *t == topic) {
        let near = crate::config::nearest(&topic, view.streams.values().map(String::as_str));
        return Err(Problem::new(404, format!("no local topic `{topic}`{}", crate::config::hint(near))));
    }
    // A cursor is one more than the last offset that was read.
    let from = cursor(query.after.as_deref())?;
    let limit = page_size(query.limit)?;
    let mut records = shared.store.topic_records(&topic, from, limit + 1)?;
    let more = records.len() > limit;
    records.truncate(limit);
    let end = records.last().map_or(from, |(offset, _)| offset + 1);
    let mut items = Vec::new();
    for (offset, entry) in records {
        if let Entry::Event { stream, arrived, raw: bytes, .. } = entry {
            let value = raw(String::from_utf8_lossy(&bytes).into_owned())?;
            items.push(Record { partition: 0, offset, stream, arrived: rfc3339(arrived), value });
        }
    }
    let next = more.then(|| end.to_string());
    Ok(Json(RawPage { items, next, cursor: end.to_string() }).into_response())
}

/// A record of a local topic.
#[derive(serde::Serialize)]
struct Record {
    partition: u32,
    offset: u64,
    stream: String,
    arrived: String,
    value: Box<RawValue>,
}
