//! Sends committed alerts to the endpoints that their rules name.
//!
//! Each endpoint has a cursor over committed alerts; advancing it and queueing the delivery is one write, so a restart
//! neither forgets nor skips. What was sent just before a kill may be sent again, with the same `webhook-id`.

use super::{guard, signature};
use crate::config::{Network, Retry, duration};
use crate::serve::{Shared, now_micros};
use crate::store::{Delivery, Endpoint, StoreError, StoredAlert};
use metrics::{counter, gauge, histogram};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinSet};

/// Alerts read in one turn.
const TURN: usize = 500;

/// Runs one task for each endpoint until the service stops.
pub(crate) async fn dispatch(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    let mut changed = shared.endpoints.subscribe();
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    loop {
        changed.borrow_and_update();
        match shared.store.endpoints() {
            Ok(endpoints) => {
                for (name, _) in endpoints {
                    let dead = running.get(&name).is_none_or(AbortHandle::is_finished);
                    if dead {
                        running.insert(name.clone(), tasks.spawn(serve_endpoint(shared.clone(), name)));
                    }
                }
            }
            Err(error) => tracing::error!(%error, "endpoints cannot be read"),
        }
        tokio::select! {
            _ = changed.changed() => {}
            _ = stopping.wait_for(|stop| *stop) => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn serve_endpoint(shared: Arc<Shared>, name: String) {
    let worker = match Worker::new(shared, name) {
        Ok(worker) => worker,
        Err(error) => return tracing::error!(%error, "an endpoint cannot be served"),
    };
    if let Err(error) = worker.run().await {
        tracing::error!(%error, "an endpoint's deliveries stopped");
    }
}

struct Worker {
    shared: Arc<Shared>,
    name: String,
    retry: Retry,
    timeout: Duration,
    allow: Vec<Network>,
    pending: BTreeMap<u64, Delivery>,
    cursor: u64,
}

/// How an attempt ended.
enum Outcome {
    Delivered(u16),
    Gone,
    Failed { status: Option<u16>, error: String },
}

impl Worker {
    fn new(shared: Arc<Shared>, name: String) -> Result<Self, StoreError> {
        let settings = &shared.config.webhooks;
        let fallback =
            Retry { first: Duration::from_secs(5), factor: 2.0, last: Duration::from_secs(259_200) };
        let mut pending = BTreeMap::new();
        for item in shared.store.deliveries(&name, 0) {
            let (seq, delivery) = item?;
            if delivery.state == "pending" {
                pending.insert(seq, delivery);
            }
        }
        Ok(Self {
            retry: Retry::parse(&settings.retry).unwrap_or(fallback),
            timeout: duration(&settings.timeout).unwrap_or(Duration::from_secs(10)),
            allow: settings.allow.iter().filter_map(|n| Network::parse(n)).collect(),
            cursor: shared.store.endpoint_cursor(&name)?,
            pending,
            shared,
            name,
        })
    }

    async fn run(mut self) -> Result<(), StoreError> {
        let mut stopping = self.shared.stopping.subscribe();
        let mut committed = self.shared.committed.subscribe();
        loop {
            let newest = *committed.borrow_and_update();
            while self.cursor < newest {
                self.queue()?;
            }
            let Some(endpoint) = self.shared.store.endpoint(&self.name)? else { return Ok(()) };
            let now = now_micros();
            let next =
                self.pending.iter().min_by_key(|(seq, d)| (d.next, **seq)).map(|(seq, d)| (*seq, d.next));
            self.report(now);
            let wait = match next.filter(|_| endpoint.disabled.is_none()) {
                Some((seq, due)) if due <= now => {
                    if *stopping.borrow() {
                        return Ok(());
                    }
                    self.attempt(seq, endpoint).await?;
                    continue;
                }
                Some((_, due)) => {
                    Duration::from_micros((due - now).unsigned_abs()).min(Duration::from_secs(60))
                }
                None => Duration::from_secs(60),
            };
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
                _ = committed.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn report(&self, now: i64) {
        let oldest = self.pending.values().map(|d| d.queued).min().map_or(0, |q| now - q);
        gauge!("tripline_webhook_queue_alerts", "endpoint" => self.name.clone())
            .set(self.pending.len() as f64);
        gauge!("tripline_webhook_oldest_seconds", "endpoint" => self.name.clone()).set(oldest as f64 / 1e6);
    }

    /// Queues the next alerts that are for this endpoint.
    fn queue(&mut self) -> Result<(), StoreError> {
        let mut new = Vec::new();
        let mut last = None;
        for alert in self.shared.store.alerts_after(self.cursor).take(TURN) {
            let alert = alert?;
            last = Some(alert.seq);
            if alert.head.webhooks.contains(&self.name) && !alert.head.shadow {
                let now = now_micros();
                let delivery = Delivery {
                    alert: alert.head.id,
                    state: "pending".into(),
                    attempts: 0,
                    queued: now,
                    next: now,
                    status: None,
                    error: None,
                };
                new.push((alert.seq, delivery));
            }
        }
        let Some(last) = last else {
            self.cursor = u64::MAX;
            return Err(StoreError::missing("committed alerts"));
        };
        self.shared.store.put_deliveries(&self.name, &new, Some(last))?;
        self.cursor = last;
        self.pending.extend(new);
        Ok(())
    }

    async fn attempt(&mut self, seq: u64, mut endpoint: Endpoint) -> Result<(), StoreError> {
        let Some(mut delivery) = self.pending.remove(&seq) else { return Ok(()) };
        let begun = Instant::now();
        let outcome = match self.shared.store.alert(seq)? {
            Some(alert) => self.send(&endpoint, &alert).await,
            None => Outcome::Failed { status: None, error: "the alert is not in the store".into() },
        };
        delivery.attempts += 1;
        delivery.error = None;
        let word = match outcome {
            Outcome::Delivered(status) => {
                delivery.state = "delivered".into();
                delivery.status = Some(status);
                "ok"
            }
            Outcome::Gone => {
                delivery.state = "failed".into();
                delivery.status = Some(410);
                delivery.error = Some("the endpoint answered 410 Gone and was disabled".into());
                endpoint.disabled = Some("it answered 410 Gone".into());
                self.shared.store.put_endpoint(&self.name, &endpoint, None)?;
                "gone"
            }
            Outcome::Failed { status, error } => {
                let now = now_micros();
                delivery.status = status;
                delivery.error = Some(error);
                delivery.next = now + self.retry.delay(delivery.attempts).as_micros() as i64;
                if delivery.next - delivery.queued > self.retry.last.as_micros() as i64 {
                    delivery.state = "failed".into();
                }
                "failed"
            }
        };
        counter!("tripline_webhook_attempts_total", "endpoint" => self.name.clone(), "outcome" => word)
            .increment(1);
        histogram!("tripline_webhook_duration_seconds", "endpoint" => self.name.clone())
            .record(begun.elapsed().as_secs_f64());
        self.shared.store.put_deliveries(&self.name, &[(seq, delivery.clone())], None)?;
        if delivery.state == "pending" {
            self.pending.insert(seq, delivery);
        }
        Ok(())
    }

    async fn send(&self, endpoint: &Endpoint, alert: &StoredAlert) -> Outcome {
        match self.post(endpoint, alert).await {
            Ok(410) => Outcome::Gone,
            Ok(status) if (200..300).contains(&status) => Outcome::Delivered(status),
            Ok(status) => Outcome::Failed { status: Some(status), error: format!("answered {status}") },
            Err(error) => Outcome::Failed { status: None, error },
        }
    }

    /// Posts to an address that the guard has seen; redirects are not followed.
    async fn post(&self, endpoint: &Endpoint, alert: &StoredAlert) -> Result<u16, String> {
        let url = reqwest::Url::parse(&endpoint.url).map_err(|e| e.to_string())?;
        let addresses = guard::resolve(&url, &self.allow).await?;
        let host = url.host_str().unwrap_or_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(self.timeout)
            .no_proxy()
            .resolve_to_addrs(host, &addresses)
            .build()
            .map_err(|e| e.to_string())?;
        let timestamp = now_micros() / 1_000_000;
        let signature = signature::sign(&endpoint.secret, &alert.head.id, timestamp, &alert.event)
            .ok_or("the secret is not usable")?;
        let answer = client
            .post(url)
            .header("content-type", "application/cloudevents+json")
            .header("webhook-id", &alert.head.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(alert.event.clone())
            .send()
            .await;
        answer
            .map(|a| a.status().as_u16())
            .map_err(|e| if e.is_timeout() { "timed out".into() } else { chain(&e) })
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
