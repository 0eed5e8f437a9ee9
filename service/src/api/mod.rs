//! HTTP (surfaces.md section 3): routes, the token, and answers.

mod alerts;
mod body;
mod endpoints;
mod events;
mod health;
pub(crate) mod problem;
mod rules;

use crate::serve::matcher::{Answer, Ask};
use crate::serve::{Refused, Shared};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use problem::Problem;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What handlers share.
pub(crate) type App = State<Arc<Shared>>;

/// Largest page of a list.
const PAGE: usize = 1_000;

/// Serves until the service stops; requests that are under way are finished.
pub(crate) fn spawn(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<std::io::Result<()>> {
    let mut stopping = shared.stopping.subscribe();
    let router = router(shared);
    tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            })
            .await
    })
}

fn router(shared: Arc<Shared>) -> Router {
    let guarded = Router::new()
        .route("/v1/events", post(events::post_any))
        .route("/v1/events/{stream}", post(events::post_stream))
        .route("/v1/rules", get(rules::list))
        .route("/v1/rules:check", post(rules::check))
        .route("/v1/rules/{id}", get(rules::get).put(rules::put).delete(rules::delete))
        .route("/v1/rules/{id}/explain", get(rules::explain))
        .route("/v1/rules/{id}/stats", get(rules::stats))
        .route("/v1/alerts", get(alerts::list))
        .route("/v1/alerts/stream", get(alerts::stream))
        .route("/v1/topics/{topic}/records", get(alerts::topic_records))
        .route("/v1/endpoints", get(endpoints::list))
        .route("/v1/endpoints/{name}", get(endpoints::get).put(endpoints::put))
        .route("/v1/endpoints/{name}/deliveries", get(endpoints::deliveries))
        .route("/statusz", get(health::statusz))
        .route("/metrics", get(health::metrics))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), authorize));
    Router::new()
        .route("/", get(health::index))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .merge(guarded)
        .fallback(async || Problem::new(404, "no such path; `GET /` lists the paths"))
        .method_not_allowed_fallback(async || Problem::new(405, "this path has no such method"))
        .with_state(shared)
}

/// Lets a request through that carries the token. Both sides are hashed, so that the comparison takes the same time.
async fn authorize(State(shared): App, request: Request, next: Next) -> Response {
    if let Some(token) = &shared.token {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim());
        let (wanted, given) = (Sha256::digest(token), Sha256::digest(given));
        let difference = wanted.iter().zip(given.iter()).fold(0u8, |all, (a, b)| all | (a ^ b));
        if difference != 0 {
            return Problem::new(401, "this needs `Authorization: Bearer TOKEN`").into_response();
        }
    }
    next.run(request).await
}

/// Asks the matcher; a full queue is 429.
async fn ask(shared: &Shared, ask: Ask) -> Response {
    match shared.ask(ask).await {
        Ok(answer) => respond(answer),
        Err(refused) => refuse(&refused).into_response(),
    }
}

fn refuse(refused: &Refused) -> Problem {
    match refused {
        Refused::Full => Problem::new(429, "the queue is full; send it again later").retry_after(1),
        Refused::Gone => Problem::new(503, "the service is stopping").retry_after(5),
    }
}

fn respond(answer: Answer) -> Response {
    match answer {
        Ok((204, _, _)) => StatusCode::NO_CONTENT.into_response(),
        Ok((status, body, tag)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let mut response = (status, Json(body)).into_response();
            if let Some(tag) = tag.and_then(|t| HeaderValue::from_str(&t).ok()) {
                response.headers_mut().insert(header::ETAG, tag);
            }
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// A page of a list.
fn page(items: Vec<Value>, next: Option<String>) -> Value {
    json!({"items": items, "next": next})
}

/// A page of records as they were written: no digit of a number changes on the way. `cursor` is where it ends.
#[derive(serde::Serialize)]
struct RawPage<T> {
    items: Vec<T>,
    next: Option<String>,
    cursor: String,
}

/// Stored JSON as it is.
fn raw(text: String) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(text).map_err(|e| Problem::new(503, format!("a damaged record: {e}")))
}

/// Size of a page: default 100, at most [`PAGE`].
fn page_size(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        Some(0) => Err(Problem::new(400, format!("limit is 1 to {PAGE}, not 0"))),
        limit => Ok(limit.unwrap_or(100).min(PAGE)),
    }
}

/// A cursor from a query or header; empty = the beginning.
fn cursor(text: Option<&str>) -> Result<u64, Problem> {
    match text.map(str::trim) {
        None | Some("") => Ok(0),
        Some(text) => {
            text.parse().map_err(|_| Problem::new(400, format!("`{text}` is not a cursor of this service")))
        }
    }
}
