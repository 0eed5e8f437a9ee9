//! Rules over HTTP (language.md section 9).

use super::problem::Problem;
use super::{App, ask, body, cursor, page, page_size};
use crate::commands::explain::{Form, explained};
use crate::config::{hint, nearest};
use crate::serve::matcher::{Ask, Condition, RulesAsk};
use crate::serve::view::{View, mode};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// Largest rule text.
const TEXT: usize = 1 << 20;

#[derive(Deserialize)]
pub(super) struct Filter {
    tag: Option<String>,
    owner: Option<String>,
    mode: Option<String>,
    stream: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Shown {
    format: Option<Form>,
}

#[derive(Deserialize)]
pub(super) struct PutOptions {
    #[serde(default)]
    dry_run: bool,
}

/// `GET /v1/rules`.
pub(super) async fn list(
    State(shared): App,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(filter) = query.map_err(|e| Problem::new(400, e.body_text()))?;
    let view = shared.view();
    let after = cursor(filter.after.as_deref())? as usize;
    let limit = page_size(filter.limit)?;
    let fits =
        |given: &Option<String>, value: Option<&str>| given.as_deref().is_none_or(|g| value == Some(g));
    let mut all = view
        .rules
        .iter()
        .filter(|(_, a)| {
            fits(&filter.owner, a.rule.owner.as_deref())
                && fits(&filter.mode, Some(mode(a.rule.mode)))
                && filter.tag.as_ref().is_none_or(|t| a.rule.tags.contains(t))
                && filter.stream.as_ref().is_none_or(|s| a.streams.contains(s))
        })
        .skip(after);
    let items: Vec<_> = all.by_ref().take(limit).map(|(id, a)| view.summary(id, a)).collect();
    let next = all.next().map(|_| (after + limit).to_string());
    Ok(Json(page(items, next)).into_response())
}

/// `GET /v1/rules/{id}`.
pub(super) async fn get(
    State(shared): App,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = shared.view();
    let Some((shown, tag)) = view.rule(&id) else { return Err(unknown(&view, &id)) };
    if text_of(&headers, &header::IF_NONE_MATCH)?.is_some_and(|h| h.split(',').any(|t| t.trim() == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], Json(shown)).into_response())
}

/// `GET /v1/rules/{id}/explain`.
pub(super) async fn explain(
    State(shared): App,
    Path(id): Path<String>,
    query: Result<Query<Shown>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(shown) = query.map_err(|e| Problem::new(400, e.body_text()))?;
    let form = shown.format.unwrap_or(Form::Json);
    let view = shared.view();
    let Some(active) = view.rules.get(&id) else { return Err(unknown(&view, &id)) };
    let media = match form {
        Form::Json => "application/json",
        Form::Svg => "image/svg+xml",
        Form::Text | Form::Mermaid | Form::Dot => "text/plain; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, media)], explained(&active.declared, &active.rule, &[], form))
        .into_response())
}

/// `GET /v1/rules/{id}/stats`.
pub(super) async fn stats(State(shared): App, Path(id): Path<String>) -> Result<Response, Problem> {
    let view = shared.view();
    if !view.rules.contains_key(&id) {
        return Err(unknown(&view, &id));
    }
    Ok(ask(&shared, Ask::Rules(RulesAsk::Stats { id })).await)
}

fn unknown(view: &View, id: &str) -> Problem {
    let near = nearest(id, view.rules.keys().map(String::as_str));
    Problem::new(404, format!("no rule `{id}`{}", hint(near)))
}

/// `PUT /v1/rules/{id}`.
pub(super) async fn put(
    State(shared): App,
    Path(id): Path<String>,
    query: Result<Query<PutOptions>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Query(options) = query.map_err(|e| Problem::new(400, e.body_text()))?;
    let text = rule_text(&headers, body).await?;
    let condition = condition(&headers)?;
    Ok(ask(&shared, Ask::Rules(RulesAsk::Put { id, text, condition, dry_run: options.dry_run })).await)
}

/// `DELETE /v1/rules/{id}`.
pub(super) async fn delete(
    State(shared): App,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let condition = condition(&headers)?;
    Ok(ask(&shared, Ask::Rules(RulesAsk::Delete { id, condition })).await)
}

/// `POST /v1/rules:check`.
pub(super) async fn check(State(shared): App, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let text = rule_text(&headers, body).await?;
    Ok(ask(&shared, Ask::Rules(RulesAsk::Check { text })).await)
}

async fn rule_text(headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    match body::media_type(headers).as_deref() {
        None
        | Some("application/octet-stream" | "application/x-www-form-urlencoded" | "application/x-tripline") =>
            {}
        Some(text) if text.starts_with("text/") => {}
        Some("application/json") => {
            return Err(Problem::new(
                415,
                "a rule is sent as its source text (`text/plain`); JSON is not read yet",
            ));
        }
        Some(other) => {
            return Err(Problem::new(415, format!("a rule is sent as `text/plain`, not `{other}`")));
        }
    }
    let bytes = body::read(headers, body, TEXT).await?;
    String::from_utf8(bytes).map_err(|e| Problem::new(400, format!("the body is not UTF-8: {e}")))
}

fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    Ok(Condition {
        if_match: text_of(headers, &header::IF_MATCH)?,
        if_none_match: text_of(headers, &header::IF_NONE_MATCH)?,
    })
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let value = headers.get(name).map(|v| v.to_str().map(str::to_owned));
    value.transpose().map_err(|_| Problem::new(400, format!("the header `{name}` is not text")))
}
