//! The embedded mode: events come in requests, and one fsynced batch of the store is one commit.
//!
//! Requests that wait while a commit is being written go together into the next one. An answer leaves only after the
//! commit that holds its events. After a failed commit the task is ahead of the disk, so nothing is taken any more.

use super::core::Core;
use super::matcher::{Answer, Ask, Batch, Matcher, Rejected, Request, stored};
use super::now_micros;
use super::recover::Stand;
use super::snapshot::Snapshots;
use crate::api::problem::Problem;
use crate::commit::CommitPoint;
use crate::store::{Commit, Control, Entry, Head, IdempotentReply, Store};
use engine::alert::Alert;
use metrics::{counter, histogram};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Bytes of requests that go into one commit.
const GROUP_BYTES: usize = 4 << 20;
/// How often silence is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// How often time moves while all streams are silent.
pub(crate) const TICK_EVERY: Duration = Duration::from_secs(1);

/// The store as a commit point.
pub(crate) struct StorePoint {
    store: Store,
    /// As of the last commit.
    head: Head,
    /// What the next commit holds, and its head.
    commit: Commit,
    next: Head,
    keys: BTreeMap<String, IdempotentReply>,
    snapshots: Snapshots,
}

impl StorePoint {
    pub(crate) fn new(store: Store, head: Head, snapshots: Snapshots) -> Self {
        Self { commit: store.commit(), next: head.clone(), head, store, keys: BTreeMap::new(), snapshots }
    }

    /// Alerts committed so far.
    pub(crate) fn alerts(&self) -> u64 {
        self.head.alerts
    }

    fn log(&mut self, entry: &Entry) {
        self.commit.log(self.next.next_seq, entry);
        self.next.next_seq += 1;
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// Nothing of it may be acknowledged then, and the task is ahead of the store.
    pub(crate) fn write(&mut self) -> crate::store::Result<()> {
        let commit = std::mem::replace(&mut self.commit, self.store.commit());
        self.keys.clear();
        if commit.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let alerts = self.next.alerts - self.head.alerts;
        let outcome = commit.finish(&self.next);
        histogram!("tripline_commit_duration_seconds").record(begun.elapsed().as_secs_f64());
        histogram!("tripline_transaction_alerts").record(alerts as f64);
        counter!("tripline_commits_total", "outcome" => if outcome.is_ok() { "ok" } else { "failed" })
            .increment(1);
        outcome?;
        self.head = self.next.clone();
        Ok(())
    }

    /// Leaves a snapshot of a core that stands at the last commit, if one is due; the last one in any case.
    fn snapshot(&mut self, core: &Core, is_last: bool) {
        let (store, head) = (&self.store, &self.head);
        let mark = || {
            let print = store.print_before(head.next_seq).ok()?;
            serde_json::to_string(&Stand { head: head.clone(), print }).ok()
        };
        if is_last {
            return self.snapshots.take_last(head.next_seq, mark, core);
        }
        self.snapshots.finished();
        self.snapshots.take(head.next_seq, mark, core);
    }
}

impl CommitPoint for StorePoint {
    fn decision(&mut self, control: Control, _: &Core) {
        self.log(&Entry::Control(Box::new(control)));
    }

    fn alert(&mut self, alert: &Alert) {
        self.next.add(&alert.id);
        self.commit.alert(&stored(self.next.alerts, alert));
    }
}

impl Matcher<StorePoint> {
    /// Works until told to stop or until the queue is closed.
    pub(crate) fn run(mut self, queue: &Receiver<Request>) {
        let mut last_tick = Instant::now();
        loop {
            let mut requests = Vec::new();
            match queue.recv_timeout(TICK) {
                Ok(first) => requests.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut bytes = requests.iter().map(Request::bytes).sum::<usize>();
            while bytes < GROUP_BYTES {
                let Ok(next) = queue.try_recv() else { break };
                bytes += next.bytes();
                requests.push(next);
            }
            self.shared.beat(now_micros());
            let tick = (last_tick.elapsed() >= TICK)
                .then(|| self.core.due_tick(Instant::now(), now_micros()))
                .flatten()
                .filter(|(_, all_silent)| !all_silent || last_tick.elapsed() >= TICK_EVERY)
                .map(|(to, _)| to);
            if tick.is_some() {
                last_tick = Instant::now();
            }
            if (tick.is_some() || !requests.is_empty()) && !self.group(requests, tick) {
                return;
            }
        }
    }

    /// One commit. False after `Stop`.
    fn group(&mut self, requests: Vec<Request>, tick: Option<i64>) -> bool {
        let now = now_micros();
        let mut answers = Vec::new();
        let mut go_on = true;
        for request in requests {
            self.shared.queued.fetch_sub(request.bytes(), Ordering::Relaxed);
            let answer = if self.shared.failed.load(Ordering::Acquire) {
                Err(Problem::new(503, "the store failed; nothing is taken until a restart"))
            } else {
                self.serve(request.ask, now, &mut go_on)
            };
            answers.push((request.reply, answer));
        }
        if let Some(to) = tick.filter(|_| !self.shared.failed.load(Ordering::Acquire)) {
            self.tick(to, now);
        }
        let failed = self.commit();
        if failed.is_none() && !self.shared.failed.load(Ordering::Acquire) {
            self.point.snapshot(&self.core, !go_on);
        }
        for (reply, answer) in answers {
            let answer = match &failed {
                Some(why) if answer.is_ok() => Err(Problem::new(503, why.clone())),
                _ => answer,
            };
            let _ = reply.send(answer);
        }
        go_on
    }

    fn serve(&mut self, ask: Ask, now: i64, go_on: &mut bool) -> Answer {
        match ask {
            Ask::Events(batch) => return self.events(batch, now),
            Ask::Rules(ask) => return self.rules(ask, now),
            Ask::Finish => {
                if let Some(newest) = self.core.newest() {
                    self.tick(newest + 1, now);
                }
            }
            Ask::Stop => *go_on = false,
        }
        Ok((200, serde_json::Value::Null, None))
    }

    fn events(&mut self, batch: Batch, now: i64) -> Answer {
        if let Some((key, asked)) = &batch.key {
            let known = match self.point.keys.get(key) {
                Some(reply) => Some(reply.clone()),
                None => self.point.store.idempotent(key).map_err(|e| Problem::new(503, e.to_string()))?,
            };
            if let Some(reply) = known.filter(|r| r.at > now - 86_400_000_000) {
                return match reply.asked == *asked {
                    true => Ok((200, reply.body, None)),
                    false => Err(Problem::new(422, "this Idempotency-Key was used with another body")),
                };
            }
        }
        let mut rejected = batch.rejected;
        let mut accepted = 0u64;
        for line in batch.lines {
            match self.core.accept(&line.stream, &line.raw, now) {
                Ok((topic, offset)) => {
                    accepted += 1;
                    counter!("tripline_source_records_total", "topic" => topic.clone()).increment(1);
                    counter!("tripline_source_bytes_total", "topic" => topic.clone())
                        .increment(line.raw.len() as u64);
                    self.point.commit.topic(&topic, offset, self.point.next.next_seq);
                    self.point.log(&Entry::Event {
                        stream: line.stream,
                        offset,
                        arrived: now,
                        raw: line.raw,
                    });
                    self.collect(now);
                }
                Err(r) => {
                    counter!("tripline_decode_errors_total", "topic" => line.stream, "code" => r.code.clone())
                        .increment(1);
                    rejected.push(Rejected { line: line.line, code: r.code, message: r.message });
                }
            }
        }
        counter!("tripline_events_processed_total", "task" => "0").increment(accepted);
        rejected.sort_by_key(|r| r.line);
        let held = self.core.task().held_until();
        // Of a stream that has had no event yet nothing is released: no time.
        let time = |until: i64| (until > i64::MIN).then(|| super::rfc3339(until));
        let held = held.map(|(stream, until)| json!({"stream": stream, "time": time(until)}));
        let body = json!({"accepted": accepted, "rejected": rejected, "held_until": held});
        if let Some((key, asked)) = batch.key {
            let reply = IdempotentReply { at: now, asked, body: body.clone() };
            self.point.commit.idempotent(&key, &reply).map_err(|e| Problem::new(503, e.to_string()))?;
            self.point.keys.insert(key, reply);
        }
        Ok((200, body, None))
    }

    /// Writes the commit. Some text if it failed.
    fn commit(&mut self) -> Option<String> {
        if let Err(error) = self.point.write() {
            tracing::error!(%error, "commit failed: nothing is taken until a restart");
            self.shared.failed.store(true, Ordering::Release);
            return Some(format!("not stored, so not accepted: {error}"));
        }
        self.shared.committed.send_replace(self.point.alerts());
        self.committed();
        None
    }
}
