//! The HTTP side of `feed`: one request until it is answered, with the same `Idempotency-Key` at each attempt.

use crate::console::say;
use crate::failure::Failure;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a request is tried again before the command gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client of one service.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    run: String,
    sent: AtomicU64,
    /// It was said that requests are tried again.
    told: AtomicBool,
}

/// What the service said.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    first: Vec<String>,
}

impl Sent {
    /// Adds another answer.
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.first.extend(other.first);
        self.first.truncate(5);
    }

    /// The summary.
    pub(super) fn print(&self, took: Duration) {
        say!("{} events accepted, {} rejected, {:.1} s", self.accepted, self.rejected, took.as_secs_f64());
        for message in &self.first {
            say!("  {message}");
        }
    }
}

/// How one attempt ended.
enum Attempt {
    Done(Value),
    Again(String, Option<Duration>),
    Refused(String),
}

impl Client {
    /// A client of the service at a URL.
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let parsed = reqwest::Url::parse(url).map_err(|e| Failure::usage(format!("--to {url}: {e}")))?;
        let mut seed = [0u8; 8];
        getrandom::fill(&mut seed).map_err(|e| Failure::finding(format!("no randomness: {e}")))?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(|e| Failure::finding(e.to_string()))?;
        Ok(Self {
            http,
            base: parsed.as_str().trim_end_matches('/').to_owned(),
            token,
            run: format!("feed-{:016x}", u64::from_be_bytes(seed)),
            sent: AtomicU64::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// Sends events of one stream; waits and tries again while the service is busy or away.
    pub(crate) async fn post(&self, stream: &str, body: Vec<u8>) -> Result<Sent, Failure> {
        let key = format!("{}-{}", self.run, self.sent.fetch_add(1, Ordering::Relaxed));
        let begun = tokio::time::Instant::now();
        let mut delay = Duration::from_millis(100);
        loop {
            match self.attempt(stream, &key, body.clone()).await {
                Attempt::Done(answer) => return Ok(read(stream, &answer)),
                Attempt::Refused(why) => return Err(Failure::finding(why)),
                Attempt::Again(why, _) if begun.elapsed() > PATIENCE => {
                    return Err(Failure::finding(format!("gave up after {} s: {why}", PATIENCE.as_secs())));
                }
                Attempt::Again(why, wait) => {
                    if !self.told.swap(true, Ordering::Relaxed) {
                        let patience = PATIENCE.as_secs();
                        say!("{why}; trying again, for up to {patience} s each time");
                    }
                    tokio::time::sleep(wait.unwrap_or(delay)).await;
                    delay = (delay * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    async fn attempt(&self, stream: &str, key: &str, body: Vec<u8>) -> Attempt {
        let mut url = match reqwest::Url::parse(&self.base) {
            Ok(url) => url,
            Err(error) => return Attempt::Refused(error.to_string()),
        };
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "events", stream]);
        }
        let request = self.authorized(self.http.post(url)).header("content-type", "application/x-ndjson");
        let answer = match request.header("idempotency-key", key).body(body).send().await {
            Ok(answer) => answer,
            Err(error) => return Attempt::Again(format!("{}: {}", self.base, cause(&error)), None),
        };
        let status = answer.status();
        let wait = answer
            .headers()
            .get("retry-after")
            .and_then(|v| v.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let text = answer.text().await.unwrap_or_default();
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let detail = json["detail"].as_str().unwrap_or(&text);
        match status.as_u16() {
            200 => Attempt::Done(json),
            429 | 500..=599 => Attempt::Again(format!("{status}: {detail}"), wait),
            _ => Attempt::Refused(format!("{}: {status}: {detail}", self.base)),
        }
    }

    /// A JSON answer of the service.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let failed = |e: reqwest::Error| Failure::finding(format!("{path}: {e}"));
        let answer =
            self.authorized(self.http.get(format!("{}{path}", self.base))).send().await.map_err(failed)?;
        answer.error_for_status().map_err(failed)?.json().await.map_err(failed)
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// The innermost cause: `connection refused` instead of `error sending request`.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn read(stream: &str, answer: &Value) -> Sent {
    let rejected = answer["rejected"].as_array().map(Vec::as_slice).unwrap_or_default();
    Sent {
        accepted: answer["accepted"].as_u64().unwrap_or_default(),
        rejected: rejected.len() as u64,
        first: rejected
            .iter()
            .take(5)
            .map(|r| format!("{stream}: {}", r["message"].as_str().unwrap_or_default()))
            .collect(),
    }
}
