//! The one thread that owns the task: takes requests from a bounded queue, steps, commits, answers.
//!
//! Requests that wait while a commit is being written go together into the next one. An answer leaves only after the
//! commit that holds its events. After a failed commit the task is ahead of the disk, so nothing is taken any more.

use super::core::{ActiveRule, Core, Origin};
use super::language::CompileError;
use super::view::View;
use super::{Shared, now_micros, stats};
use crate::api::problem::Problem;
use crate::render;
use crate::store::{AlertHead, Commit, Control, Entry, Head, IdempotentReply, Store, StoredAlert};
use engine::alert::Alert;
use metrics::{counter, gauge, histogram};
use pattern_dsl::ir::{Destination, Mode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bytes of requests that go into one commit.
const GROUP_BYTES: usize = 4 << 20;
/// How often silence is looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often time moves while all streams are silent.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// One event of a request.
pub(crate) struct Line {
    pub(crate) line: u64,
    pub(crate) stream: String,
    pub(crate) raw: Vec<u8>,
}

/// A line that was not taken.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Rejected {
    pub(crate) line: u64,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A batch of events.
pub(crate) struct Batch {
    pub(crate) lines: Vec<Line>,
    pub(crate) rejected: Vec<Rejected>,
    /// Idempotency key and the hash of what was asked.
    pub(crate) key: Option<(String, String)>,
    pub(crate) bytes: usize,
}

/// What a precondition says about the ETag.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
}

/// What the matcher is asked.
pub(crate) enum Ask {
    Events(Batch),
    Put {
        id: String,
        text: String,
        condition: Condition,
        dry_run: bool,
    },
    Delete {
        id: String,
        condition: Condition,
    },
    Check {
        text: String,
    },
    /// A rule's counters.
    Stats {
        id: String,
    },
    /// The input ends here: time moves past the newest event (the demo's end).
    Finish,
    Stop,
}

/// What it answers: status, body, ETag.
pub(crate) type Answer = Result<(u16, Value, Option<String>), Problem>;

/// A request in the queue.
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// The thread's state.
pub(crate) struct Matcher {
    pub(crate) core: Core,
    pub(crate) store: Store,
    pub(crate) head: Head,
    pub(crate) shared: Arc<Shared>,
}

/// What one commit gathers.
struct Group<'a> {
    commit: Commit<'a>,
    head: Head,
    keys: BTreeMap<String, IdempotentReply>,
    now: i64,
    changed_rules: bool,
}

impl Matcher {
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
        let store = self.store.clone();
        let mut group = Group {
            commit: store.commit(),
            head: self.head.clone(),
            keys: BTreeMap::new(),
            now: now_micros(),
            changed_rules: false,
        };
        let mut answers = Vec::new();
        let mut go_on = true;
        for request in requests {
            self.shared.queued.fetch_sub(request.bytes(), Ordering::Relaxed);
            let answer = if self.shared.failed.load(Ordering::Acquire) {
                Err(Problem::new(503, "the store failed; nothing is taken until a restart"))
            } else {
                self.serve(request.ask, &mut group, &mut go_on)
            };
            answers.push((request.reply, answer));
        }
        if let Some(to) = tick.filter(|_| !self.shared.failed.load(Ordering::Acquire)) {
            self.tick(to, &mut group);
        }
        let failed = self.finish(group);
        for (reply, answer) in answers {
            let answer = match &failed {
                Some(why) if answer.is_ok() => Err(Problem::new(503, why.clone())),
                _ => answer,
            };
            let _ = reply.send(answer);
        }
        go_on
    }

    fn serve(&mut self, ask: Ask, group: &mut Group<'_>, go_on: &mut bool) -> Answer {
        match ask {
            Ask::Events(batch) => self.events(batch, group),
            Ask::Put { id, text, condition, dry_run } => self.put(&id, &text, &condition, dry_run, group),
            Ask::Delete { id, condition } => self.delete(&id, &condition, group),
            Ask::Check { text } => Ok((200, self.core.check_text(&text), None)),
            Ask::Stats { id } => match stats::of_rule(&self.core, &id) {
                Some(shown) => Ok((200, shown, None)),
                None => Err(Problem::new(404, format!("no rule `{id}`"))),
            },
            Ask::Finish => {
                if let Some(newest) = self.core.newest() {
                    self.tick(newest + 1, group);
                }
                Ok((200, Value::Null, None))
            }
            Ask::Stop => {
                *go_on = false;
                Ok((200, Value::Null, None))
            }
        }
    }

    fn tick(&mut self, to: i64, group: &mut Group<'_>) {
        group.log(&Entry::Control(Box::new(Control::Tick { to })));
        self.core.tick(to);
        self.collect(group);
    }

    fn events(&mut self, batch: Batch, group: &mut Group<'_>) -> Answer {
        if let Some((key, asked)) = &batch.key {
            let known = match group.keys.get(key) {
                Some(reply) => Some(reply.clone()),
                None => self.store.idempotent(key).map_err(|e| Problem::new(503, e.to_string()))?,
            };
            if let Some(reply) = known.filter(|r| r.at > group.now - 86_400_000_000) {
                return match reply.asked == *asked {
                    true => Ok((200, reply.body, None)),
                    false => Err(Problem::new(422, "this Idempotency-Key was used with another body")),
                };
            }
        }
        let mut rejected = batch.rejected;
        let mut accepted = 0u64;
        for line in batch.lines {
            match self.core.accept(&line.stream, &line.raw, group.now) {
                Ok((topic, offset)) => {
                    accepted += 1;
                    counter!("tripline_source_records_total", "topic" => topic.clone()).increment(1);
                    counter!("tripline_source_bytes_total", "topic" => topic.clone())
                        .increment(line.raw.len() as u64);
                    group.commit.topic(&topic, offset, group.head.next_seq);
                    group.log(&Entry::Event {
                        stream: line.stream,
                        offset,
                        arrived: group.now,
                        raw: line.raw,
                    });
                    self.collect(group);
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
            let reply = IdempotentReply { at: group.now, asked, body: body.clone() };
            group.commit.idempotent(&key, &reply).map_err(|e| Problem::new(503, e.to_string()))?;
            group.keys.insert(key, reply);
        }
        Ok((200, body, None))
    }

    fn put(
        &mut self,
        id: &str,
        text: &str,
        condition: &Condition,
        dry_run: bool,
        group: &mut Group<'_>,
    ) -> Answer {
        let current = self.core.rules().get(id);
        if let Some(active) = current.filter(|a| a.origin == Origin::Folder) {
            return Err(Problem::new(
                409,
                format!(
                    "`{id}` is a rule of the rules folder (revision {}): change it there and start again, or put this one under another name",
                    active.revision
                ),
            ));
        }
        check_condition(current, condition)?;
        let same = current.is_some_and(|a| a.text == text);
        if let Some(active) = current {
            if same {
                let body = json!({"id": id, "revision": active.revision, "change": "none",
                    "effective_from": active.effective_from.map(super::rfc3339), "warnings": []});
                return Ok((200, body, Some(etag(active))));
            }
            if condition.if_match.is_none() && !dry_run {
                return Err(Problem::new(
                    428,
                    format!("`{id}` exists: send `If-Match` with its ETag to replace it"),
                ));
            }
        }
        let created = current.is_none();
        let checked = self.core.check_rule(id, text).map_err(invalid)?;
        let at = if self.core.is_fresh() { 0 } else { self.core.next_activation() };
        let change = if created { "new" } else { "drain" };
        if dry_run {
            let body = json!({"id": id, "change": change, "effective_from": super::rfc3339(at),
                "warnings": checked.warnings, "dry_run": true});
            return Ok((200, body, None));
        }
        let revision = self.core.put(id, text, at, group.now).map_err(invalid)?;
        let control = Control::Put { id: id.into(), text: text.into(), revision, at, recorded: group.now };
        group.log(&Entry::Control(Box::new(control)));
        group.changed_rules = true;
        self.collect(group);
        let warming = self.core.rules().get(id).and_then(|active| active.warm_at).map(super::rfc3339);
        let body = json!({"id": id, "revision": revision, "change": change,
            "effective_from": super::rfc3339(at), "warming_until": warming, "warnings": checked.warnings});
        let tag = self.core.rules().get(id).map(etag);
        Ok((if created { 201 } else { 200 }, body, tag))
    }

    fn delete(&mut self, id: &str, condition: &Condition, group: &mut Group<'_>) -> Answer {
        let Some(active) = self.core.rules().get(id) else {
            return Err(Problem::new(404, format!("no rule `{id}`")));
        };
        if active.origin == Origin::Folder {
            return Err(Problem::new(409, format!("`{id}` is a rule of the rules folder; remove it there")));
        }
        if condition.if_match.is_none() {
            return Err(Problem::new(428, "send `If-Match` with the rule's ETag to delete it"));
        }
        check_condition(Some(active), condition)?;
        self.core.delete(id);
        group.log(&Entry::Control(Box::new(Control::Delete { id: id.into(), recorded: group.now })));
        group.changed_rules = true;
        self.collect(group);
        Ok((204, Value::Null, None))
    }

    /// Moves what the last step caused into the commit.
    fn collect(&mut self, group: &mut Group<'_>) {
        let out = &mut self.core.out;
        for (_, _, _, _) in out.late.drain(..) {
            counter!("tripline_late_events_total", "reason" => "late").increment(1);
        }
        counter!("tripline_duplicates_total").increment(out.duplicates.len() as u64);
        out.duplicates.clear();
        for alert in out.alerts.drain(..) {
            if alert.mode == Mode::Off {
                continue;
            }
            group.head.add(&alert.id);
            let stored = stored(group.head.alerts, &alert);
            counter!("tripline_alerts_total", "rule" => stored.head.rule.clone(),
                "severity" => stored.head.severity.clone())
            .increment(1);
            histogram!("tripline_alert_latency_seconds").record((group.now - alert.time).max(0) as f64 / 1e6);
            group.commit.alert(&stored);
        }
    }

    /// Writes the commit. Some text if it failed.
    fn finish(&mut self, group: Group<'_>) -> Option<String> {
        let changed_rules = group.changed_rules;
        if !group.commit.is_empty() {
            let begun = Instant::now();
            let alerts = group.head.alerts - self.head.alerts;
            let outcome = group.commit.finish(&group.head);
            histogram!("tripline_commit_duration_seconds").record(begun.elapsed().as_secs_f64());
            histogram!("tripline_transaction_alerts").record(alerts as f64);
            if let Err(error) = outcome {
                counter!("tripline_commits_total", "outcome" => "failed").increment(1);
                tracing::error!(%error, "commit failed: nothing is taken until a restart");
                self.shared.failed.store(true, Ordering::Release);
                return Some(format!("not stored, so not accepted: {error}"));
            }
            counter!("tripline_commits_total", "outcome" => "ok").increment(1);
            self.head = group.head;
            self.shared.committed.send_replace(self.head.alerts);
        }
        gauge!("tripline_state_entries").set(self.core.task().held() as f64);
        counter!("tripline_arithmetic_nulls_total").absolute(engine::arithmetic::nulls());
        for (rule, count) in self.core.task().silenced_by_day() {
            counter!("tripline_alerts_suppressed_total", "rule" => rule.to_owned(), "reason" => "day")
                .absolute(count);
        }
        if changed_rules {
            self.publish();
        }
        None
    }

    /// Shows readers the rules and streams as they are now.
    pub(crate) fn publish(&self) {
        gauge!("tripline_rules", "state" => "active").set(self.core.rules().len() as f64);
        self.shared.set_view(View::of(&self.core));
    }
}

impl Group<'_> {
    fn log(&mut self, entry: &Entry) {
        self.commit.log(self.head.next_seq, entry);
        self.head.next_seq += 1;
    }
}

impl Request {
    /// Bytes that it holds in the queue.
    pub(crate) fn bytes(&self) -> usize {
        match &self.ask {
            Ask::Events(batch) => batch.bytes,
            _ => 0,
        }
    }
}

/// An alert as the store keeps it.
pub(crate) fn stored(seq: u64, alert: &Alert) -> StoredAlert {
    let webhooks = alert.send.iter().filter_map(|d| match d {
        Destination::Webhook(name) => Some(name.clone()),
        Destination::Topic(_) => None,
    });
    let head = AlertHead {
        id: alert.id.clone(),
        rule: alert.rule.to_string(),
        key: render::text::key_text(alert),
        severity: render::shown_text(&alert.severity),
        shadow: alert.mode == Mode::Shadow,
        webhooks: webhooks.collect(),
    };
    StoredAlert { seq, head, event: render::cloud_event_with(alert, render::Detail::Full) }
}

/// The ETag of a rule.
pub(crate) fn etag(active: &ActiveRule) -> String {
    format!("\"{}-{}\"", active.revision, &super::sha256_hex(active.text.as_bytes())[..12])
}

fn check_condition(current: Option<&ActiveRule>, condition: &Condition) -> Result<(), Problem> {
    let tag = current.map(etag);
    let names = |header: &str, tag: &str| header.split(',').map(str::trim).any(|t| t == "*" || t == tag);
    if let Some(header) = &condition.if_none_match
        && tag.as_ref().is_some_and(|t| names(header, t))
    {
        return Err(Problem::new(412, "the rule exists already"));
    }
    if let Some(header) = &condition.if_match
        && !tag.as_ref().is_some_and(|t| names(header, t))
    {
        return Err(Problem::new(412, "the rule is not the one that `If-Match` names"));
    }
    Ok(())
}

fn invalid(error: CompileError) -> Problem {
    if error.drain_full {
        return Problem::new(409, error.to_string()).with("code", "drain_full".into());
    }
    Problem::new(422, error.to_string()).with("diagnostics", Value::Array(error.diagnostics))
}
