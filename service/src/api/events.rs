//! `POST /v1/events`: a batch is answered only after it is durable.

use super::problem::Problem;
use super::{App, ask, body};
use crate::config::nearest;
use crate::serve::matcher::{Ask, Batch, Line, Rejected};
use crate::serve::{Shared, sha256_hex};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

/// Each event names its stream.
pub(super) async fn post_any(State(shared): App, headers: HeaderMap, body: Body) -> Response {
    post(&shared, None, &headers, body).await.unwrap_or_else(IntoResponse::into_response)
}

/// All events belong to the stream of the path.
pub(super) async fn post_stream(
    State(shared): App,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    post(&shared, Some(stream), &headers, body).await.unwrap_or_else(IntoResponse::into_response)
}

async fn post(
    shared: &Shared,
    stream: Option<String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let view = shared.view();
    let known = |name: &str| {
        if view.streams.contains_key(name) {
            return Ok(());
        }
        Err(match nearest(name, view.streams.keys().map(String::as_str)) {
            Some(near) => format!("no stream `{name}`; did you mean `{near}`?"),
            None => format!("no stream `{name}`; streams are declared in the rules folder"),
        })
    };
    if let Some(name) = &stream {
        known(name).map_err(|message| Problem::new(404, message))?;
    }
    body::check_events_type(headers)?;
    let bytes = body::read(headers, body, shared.config.ingest.max_body).await?;
    let key = idempotency_key(headers, stream.as_deref(), &bytes)?;
    let lines = body::split(&bytes)?;
    let (lines, rejected): (Vec<Line>, Vec<Rejected>) = match stream {
        Some(stream) => (
            lines.into_iter().map(|(line, raw)| Line { line, stream: stream.clone(), raw }).collect(),
            Vec::new(),
        ),
        None => body::by_own_stream(lines, known),
    };
    let batch = Batch { lines, rejected, key, bytes: bytes.len() };
    Ok(ask(shared, Ask::Events(batch)).await)
}

/// The key, and a hash of what is asked under it.
fn idempotency_key(
    headers: &HeaderMap,
    stream: Option<&str>,
    bytes: &[u8],
) -> Result<Option<(String, String)>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().map(str::trim).unwrap_or("");
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::new(400, "an Idempotency-Key has 1 to 255 visible ASCII characters"));
    }
    let asked = sha256_hex(&[stream.unwrap_or("").as_bytes(), b"\0", bytes].concat());
    Ok(Some((key.to_owned(), asked)))
}
