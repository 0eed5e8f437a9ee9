//! Probes, status and metrics (operations.md).

use super::App;
use super::problem::Problem;
use crate::serve::{Shared, rfc3339};
use crate::telemetry::render_metrics;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// The matcher's loop beats at least this often, in microseconds.
const BEAT: i64 = 30_000_000;

/// What there is to call.
pub(super) async fn index() -> Json<Value> {
    Json(json!({
        "name": "tripline", "version": env!("CARGO_PKG_VERSION"),
        "paths": ["/v1/events", "/v1/events/{stream}", "/v1/rules", "/v1/rules/{id}",
            "/v1/rules/{id}/explain", "/v1/rules/{id}/stats", "/v1/rules:check", "/v1/alerts", "/v1/alerts/stream",
            "/v1/topics/{topic}/records", "/v1/endpoints", "/v1/endpoints/{name}",
            "/v1/endpoints/{name}/deliveries", "/livez", "/readyz", "/statusz", "/metrics"],
    }))
}

/// The loops run.
pub(super) async fn livez(State(shared): App) -> Response {
    if shared.silence() < BEAT {
        return "ok\n".into_response();
    }
    Problem::new(503, "the matcher has not moved for 30 s").into_response()
}

fn not_ready(shared: &Shared) -> Option<String> {
    if shared.failed.load(Ordering::Acquire) {
        return Some("stopped: its log says why".into());
    }
    if *shared.stopping.borrow() {
        return Some("draining".into());
    }
    if !shared.ready.load(Ordering::Acquire) {
        return Some(shared.why_paused().unwrap_or_else(|| "starting".into()));
    }
    shared.why_paused()
}

/// The service takes events.
pub(super) async fn readyz(State(shared): App) -> Response {
    match not_ready(&shared) {
        None => "ok\n".into_response(),
        Some(why) => Problem::new(503, why).into_response(),
    }
}

/// For people.
pub(super) async fn statusz(State(shared): App) -> Response {
    let view = shared.view();
    let usual = if shared.stands_by() { "standby" } else { "ready" };
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": not_ready(&shared).unwrap_or_else(|| usual.into()),
        "started": rfc3339(shared.started),
        "streams": view.streams,
        "rules": view.rules.len(),
        "quarantined": view.quarantined(),
        "alerts_committed": *shared.committed.borrow(),
        "tasks": shared.tasks_told(),
        "bytes_waiting": shared.queued.load(Ordering::Relaxed),
    });
    (StatusCode::OK, Json(body)).into_response()
}

/// Prometheus text.
pub(super) async fn metrics() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render_metrics()).into_response()
}
