//! Webhook endpoints and the deliveries to them.

use super::problem::Problem;
use super::{App, body, cursor, page, page_size};
use crate::serve::rfc3339;
use crate::sink::signature;
use crate::store::Endpoint;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    url: String,
    secret: Option<String>,
    template: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Paging {
    after: Option<String>,
    limit: Option<usize>,
}

fn shown(name: &str, endpoint: &Endpoint) -> Value {
    let state = if endpoint.disabled.is_some() { "disabled" } else { "active" };
    json!({"name": name, "url": endpoint.url, "state": state, "disabled": endpoint.disabled})
}

/// `GET /v1/endpoints`.
pub(super) async fn list(State(shared): App) -> Result<Response, Problem> {
    let items = shared.store.endpoints()?.iter().map(|(name, e)| shown(name, e)).collect();
    Ok(Json(page(items, None)).into_response())
}

/// `GET /v1/endpoints/{name}`.
pub(super) async fn get(State(shared): App, Path(name): Path<String>) -> Result<Response, Problem> {
    match shared.store.endpoint(&name)? {
        Some(endpoint) => Ok(Json(shown(&name, &endpoint)).into_response()),
        None => Err(Problem::new(404, format!("no endpoint `{name}`"))),
    }
}

/// `PUT /v1/endpoints/{name}`: also ends that it is disabled. The secret is shown once, if it was made here.
pub(super) async fn put(
    State(shared): App,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !matches!(body::media_type(&headers).as_deref(), None | Some("application/json")) {
        return Err(Problem::new(415, "an endpoint is sent as `application/json`"));
    }
    if name.is_empty() || name.len() > 100 || name.contains(|c: char| c.is_control()) {
        return Err(Problem::new(422, "an endpoint's name has 1 to 100 printable characters"));
    }
    let bytes = body::read(&headers, body, 64 << 10).await?;
    let wanted: Wanted = serde_json::from_slice(&bytes).map_err(|e| {
        Problem::new(
            if e.is_data() { 422 } else { 400 },
            format!("the body is not `{{\"url\", \"secret\"?}}`: {e}"),
        )
    })?;
    if wanted.template.is_some_and(|t| !t.is_null()) {
        return Err(Problem::new(422, "`template` is not supported yet; alerts are sent as CloudEvents"));
    }
    let url = reqwest::Url::parse(&wanted.url).map_err(|e| Problem::new(422, format!("url: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !url.username().is_empty() {
        return Err(Problem::new(422, "url: an http or https address without a user name is needed"));
    }
    let known = shared.store.endpoint(&name)?;
    let (secret, made) = match (wanted.secret, &known) {
        (Some(secret), _) => (secret, false),
        (None, Some(endpoint)) => (endpoint.secret.clone(), false),
        (None, None) => (signature::new_secret().map_err(|e| Problem::new(503, e))?, true),
    };
    if signature::key(&secret).is_none() {
        return Err(Problem::new(422, "secret: `whsec_` and base64 of 24 to 64 bytes is needed"));
    }
    let endpoint = Endpoint { url: wanted.url, secret: secret.clone(), disabled: None };
    let start = known.is_none().then(|| *shared.committed.borrow());
    shared.store.put_endpoint(&name, &endpoint, start)?;
    shared.endpoints.send_modify(|n| *n += 1);
    let mut answer = shown(&name, &endpoint);
    if made {
        answer["secret"] = json!(secret);
    }
    let status = if known.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(answer)).into_response())
}

/// `GET /v1/endpoints/{name}/deliveries`.
pub(super) async fn deliveries(
    State(shared): App,
    Path(name): Path<String>,
    query: Result<Query<Paging>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|e| Problem::new(400, e.body_text()))?;
    if shared.store.endpoint(&name)?.is_none() {
        return Err(Problem::new(404, format!("no endpoint `{name}`")));
    }
    let limit = page_size(query.limit)?;
    let mut items = Vec::new();
    let (mut last, mut next) = (0, None);
    for delivery in shared.store.deliveries(&name, cursor(query.after.as_deref())?) {
        let (seq, delivery) = delivery?;
        if items.len() == limit {
            next = Some(last.to_string());
            break;
        }
        last = seq;
        items.push(json!({
            "alert": delivery.alert, "state": delivery.state, "attempts": delivery.attempts,
            "queued": rfc3339(delivery.queued), "status": delivery.status, "error": delivery.error,
            "next": (delivery.state == "pending").then(|| rfc3339(delivery.next)),
        }));
    }
    Ok(Json(page(items, next)).into_response())
}
