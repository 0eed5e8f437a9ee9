//! What the one thread that owns the task does for requests, wherever events come from: rules, ticks, alerts.
//!
//! Whatever changes the task is gathered in a [`CommitPoint`] at once; an answer leaves only after the commit that holds
//! what it speaks of. [`super::embedded`] and [`crate::kafka`] drive it.

use super::core::{ActiveRule, Core, Origin};
use super::language::CompileError;
use super::status::Status;
use super::view::View;
use super::{Shared, stats};
use crate::api::problem::Problem;
use crate::commit::CommitPoint;
use crate::render;
use crate::store::{AlertHead, Control, StoredAlert};
use engine::alert::Alert;
use metrics::{counter, gauge, histogram};
use pattern_dsl::ir::{Destination, Mode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

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
    Rules(RulesAsk),
    /// The input ends here: time moves past the newest event (the demo's end).
    Finish,
    Stop,
}

/// What it is asked about rules.
pub(crate) enum RulesAsk {
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
}

/// What it answers: status, body, ETag.
pub(crate) type Answer = Result<Told, Problem>;
/// Its parts.
pub(crate) type Told = (u16, Value, Option<String>);

/// A request in the queue.
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// The task and where it commits.
pub(crate) struct Matcher<P> {
    pub(crate) core: Core,
    pub(crate) point: P,
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: Arc<Status>,
    /// Rules have changed since readers were shown them.
    pub(crate) changed_rules: bool,
}

impl<P: CommitPoint> Matcher<P> {
    pub(crate) fn new(core: Core, point: P, shared: Arc<Shared>, status: Arc<Status>) -> Self {
        Self { core, point, shared, status, changed_rules: false }
    }

    /// Requests about rules, at `now`. An answer may leave when what it caused is committed.
    pub(crate) fn rules(&mut self, ask: RulesAsk, now: i64) -> Answer {
        match ask {
            RulesAsk::Put { id, text, condition, dry_run } => self.put(&id, &text, &condition, dry_run, now),
            RulesAsk::Delete { id, condition } => self.delete(&id, &condition, now),
            RulesAsk::Check { text } => Ok((200, self.core.check_text(&text), None)),
            RulesAsk::Stats { id } => match stats::of_rule(&self.core, &id) {
                Some(shown) => Ok((200, shown, None)),
                None => Err(Problem::new(404, format!("no rule `{id}`"))),
            },
        }
    }

    /// Time moves to an instant: a decision.
    pub(crate) fn tick(&mut self, to: i64, now: i64) {
        self.point.decision(Control::Tick { to }, &self.core);
        self.core.tick(to);
        self.collect(now);
    }

    fn put(&mut self, id: &str, text: &str, condition: &Condition, dry_run: bool, now: i64) -> Answer {
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
        check_condition(current.map(etag).as_deref(), condition)?;
        // One that was put aside begins anew.
        let same = current.is_some_and(|a| a.text == text && a.quarantine.is_none());
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
        let revision = self.take_rule(id, text, at, (now, now)).map_err(invalid)?;
        let warming = self.core.rules().get(id).and_then(|active| active.warm_at).map(super::rfc3339);
        let body = json!({"id": id, "revision": revision, "change": change,
            "effective_from": super::rfc3339(at), "warming_until": warming, "warnings": checked.warnings});
        let tag = self.core.rules().get(id).map(etag);
        Ok((if created { 201 } else { 200 }, body, tag))
    }

    fn delete(&mut self, id: &str, condition: &Condition, now: i64) -> Answer {
        let Some(active) = self.core.rules().get(id) else {
            return Err(Problem::new(404, format!("no rule `{id}`")));
        };
        if active.origin == Origin::Folder {
            return Err(Problem::new(409, format!("`{id}` is a rule of the rules folder; remove it there")));
        }
        if condition.if_match.is_none() {
            return Err(Problem::new(428, "send `If-Match` with the rule's ETag to delete it"));
        }
        check_condition(Some(&etag(active)), condition)?;
        self.drop_rule(id, (now, now));
        Ok((204, Value::Null, None))
    }

    /// A change that all tasks take (`kafka/changes.rs`): it was answered already. An error says why it cannot be taken now.
    pub(crate) fn change(
        &mut self,
        id: &str,
        text: Option<&str>,
        recorded: i64,
        now: i64,
    ) -> Result<(), String> {
        if self.core.rules().get(id).is_some_and(|active| active.origin == Origin::Folder) {
            return Err("it is a rule of the rules folder of this worker".to_owned());
        }
        match text {
            None => self.drop_rule(id, (recorded, now)),
            Some(text) => {
                let at = if self.core.is_fresh() { 0 } else { self.core.next_activation() };
                self.take_rule(id, text, at, (recorded, now)).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    fn take_rule(
        &mut self,
        id: &str,
        text: &str,
        at: i64,
        (recorded, now): (i64, i64),
    ) -> Result<u32, CompileError> {
        let revision = self.core.put(id, text, at, recorded)?;
        let control = Control::Put { id: id.into(), text: text.into(), revision, at, recorded };
        self.point.decision(control, &self.core);
        self.changed_rules = true;
        self.collect(now);
        Ok(revision)
    }

    fn drop_rule(&mut self, id: &str, (recorded, now): (i64, i64)) {
        self.core.delete(id);
        self.point.decision(Control::Delete { id: id.into(), recorded }, &self.core);
        self.changed_rules = true;
        self.collect(now);
    }

    /// Moves what the last step caused into the commit.
    pub(crate) fn collect(&mut self, now: i64) {
        let out = &mut self.core.out;
        for (_, _, _, _) in out.late.drain(..) {
            counter!("tripline_late_events_total", "reason" => "late").increment(1);
        }
        if !out.duplicates.is_empty() {
            counter!("tripline_duplicates_total").increment(out.duplicates.len() as u64);
            out.duplicates.clear();
        }
        for alert in out.alerts.drain(..) {
            if alert.mode == Mode::Off {
                continue;
            }
            counter!("tripline_alerts_total", "rule" => alert.rule.to_string(),
                "severity" => render::shown_text(&alert.severity))
            .increment(1);
            histogram!("tripline_alert_latency_seconds").record((now - alert.time).max(0) as f64 / 1e6);
            self.point.alert(&alert);
        }
    }

    /// After a commit: readers see what it changed.
    pub(crate) fn committed(&mut self) {
        gauge!("tripline_state_entries").set(self.core.task().held() as f64);
        counter!("tripline_arithmetic_nulls_total").absolute(engine::arithmetic::nulls());
        for (rule, count) in self.core.task().silenced_by_day() {
            counter!("tripline_alerts_suppressed_total", "rule" => rule.to_owned(), "reason" => "day")
                .absolute(count);
        }
        if std::mem::take(&mut self.changed_rules) {
            self.publish();
        }
    }

    /// Shows readers the rules and streams as they are now.
    pub(crate) fn publish(&self) {
        let all = self.core.rules();
        let aside = all.values().filter(|active| active.quarantine.is_some()).count();
        gauge!("tripline_rules", "state" => "active").set((all.len() - aside) as f64);
        gauge!("tripline_rules", "state" => "quarantined").set(aside as f64);
        self.shared.set_view(&self.status, View::of(&self.core));
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

/// The endpoints that its rule names.
pub(crate) fn webhooks(alert: &Alert) -> Vec<String> {
    let endpoint = |destination: &Destination| match destination {
        Destination::Webhook(name) => Some(name.clone()),
        Destination::Topic(_) => None,
    };
    alert.send.iter().filter_map(endpoint).collect()
}

/// An alert as the store keeps it.
pub(crate) fn stored(seq: u64, alert: &Alert) -> StoredAlert {
    let head = AlertHead {
        id: alert.id.clone(),
        rule: alert.rule.to_string(),
        key: render::text::key_text(alert),
        severity: render::shown_text(&alert.severity),
        shadow: alert.mode == Mode::Shadow,
        webhooks: webhooks(alert),
    };
    StoredAlert { seq, head, event: render::cloud_event_with(alert, render::Detail::Full) }
}

/// The ETag of a rule.
pub(crate) fn etag(active: &ActiveRule) -> String {
    tag_of(active.revision, &active.text)
}

/// The ETag of a revision.
pub(crate) fn tag_of(revision: u32, text: &str) -> String {
    format!("\"{revision}-{}\"", &super::sha256_hex(text.as_bytes())[..12])
}

/// `tag`: the ETag of the rule, if there is one.
pub(crate) fn check_condition(tag: Option<&str>, condition: &Condition) -> Result<(), Problem> {
    let names = |header: &str, tag: &str| header.split(',').map(str::trim).any(|t| t == "*" || t == tag);
    if let Some(header) = &condition.if_none_match
        && tag.is_some_and(|t| names(header, t))
    {
        return Err(Problem::new(412, "the rule exists already"));
    }
    if let Some(header) = &condition.if_match
        && !tag.is_some_and(|t| names(header, t))
    {
        return Err(Problem::new(412, "the rule is not the one that `If-Match` names"));
    }
    Ok(())
}

pub(crate) fn invalid(error: CompileError) -> Problem {
    if error.drain_full {
        return Problem::new(409, error.to_string()).with("code", "drain_full".into());
    }
    Problem::new(422, error.to_string()).with("diagnostics", Value::Array(error.diagnostics))
}
