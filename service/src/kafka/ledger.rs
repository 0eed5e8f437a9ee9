//! Requests that change rules in a group with several tasks, and the log of changes as this process reads it.
//!
//! The answer says that the change is durable, that it counts, and which tasks of this process have committed it.

use super::changes::{Change, Changes, Known};
use super::cluster::{Cluster, Polled, Reader};
use super::record::Outgoing;
use super::recover::{Ground, new_name};
use super::topics::Topics;
use super::worker::AGAIN;
use super::{Trouble, share};
use crate::api::problem::Problem;
use crate::clock;
use crate::config::Kafka;
use crate::serve::core::partition_name;
use crate::serve::language;
use crate::serve::matcher::{Answer, Condition, RulesAsk, Told, check_condition, etag, invalid, tag_of};
use crate::serve::{Shared, now_micros, rfc3339};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a change is waited for in the log, and then for the tasks that take it here.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records that are read at once.
const MOST: usize = 10_000;

/// What became of a change that was asked for here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It was not seen in the log yet.
    Unknown,
    /// Another came first.
    Refused,
    /// It counts, under this number.
    Counts(u64),
}

/// A change that was asked for here.
struct Asked {
    reply: oneshot::Sender<Answer>,
    key: Vec<u8>,
    id: String,
    place: Place,
    until: Instant,
    /// What is answered if it counts.
    status: u16,
    body: Value,
    tag: Option<String>,
}

/// A change that is to be made, and its answer.
struct Draft {
    change: Change,
    status: u16,
    body: Value,
    tag: Option<String>,
}

/// The log, and what waits for it.
pub(super) struct Ledger {
    cluster: Arc<dyn Cluster>,
    kafka: Kafka,
    topics: Topics,
    ground: Arc<Ground>,
    changes: Arc<Changes>,
    reader: Option<Box<dyn Reader>>,
    /// The offset to read next, once it is known where the log begins.
    next: Option<u64>,
    /// It was read to its end.
    is_read: bool,
    try_again: Instant,
    asked: Vec<Asked>,
}

/// What keys of changes begin with. No group's name has a `/`, so no other key of the topic begins so.
fn prefix(kafka: &Kafka) -> String {
    format!("/{}/", kafka.group)
}

impl Ledger {
    pub(super) fn new(
        (cluster, kafka): (&Arc<dyn Cluster>, &Kafka),
        topics: Topics,
        ground: Arc<Ground>,
        changes: Arc<Changes>,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            kafka: kafka.clone(),
            topics,
            ground,
            changes,
            reader: None,
            next: None,
            is_read: false,
            try_again: clock::now(),
            asked: Vec::new(),
        }
    }

    /// Takes a request to put or delete a rule.
    pub(super) fn begin(&mut self, shared: &Shared, ask: RulesAsk, reply: oneshot::Sender<Answer>) {
        let drafted = match ask {
            RulesAsk::Put { id, text, condition, dry_run } => self.put(shared, id, text, &condition, dry_run),
            RulesAsk::Delete { id, condition } => self.delete(shared, id, &condition).map(Ok),
            RulesAsk::Check { .. } | RulesAsk::Stats { .. } => return,
        };
        let sent = drafted.and_then(|draft| match draft {
            Ok(draft) => self.send(&draft).map(|key| Ok((key, draft))),
            Err(answer) => Ok(Err(answer)),
        });
        match sent {
            Ok(Ok((key, Draft { change, status, body, tag }))) => self.asked.push(Asked {
                reply,
                key,
                id: change.id,
                place: Place::Unknown,
                until: clock::now() + PATIENCE,
                status,
                body,
                tag,
            }),
            Ok(Err(answer)) => drop(reply.send(Ok(answer))),
            Err(problem) => drop(reply.send(Err(problem))),
        }
    }

    /// A rule as the log says. An error if it is one of the folder, or if the log was not read yet.
    fn known(&self, id: &str) -> Result<Option<Known>, Problem> {
        if self.ground.module.rules.iter().any(|rule| rule.name == id) {
            return Err(Problem::new(
                409,
                format!(
                    "`{id}` is a rule of the rules folder: change it there, or put this one under another name"
                ),
            ));
        }
        if !self.is_read {
            return Err(Problem::new(503, "the group's changes of rules are still being read").retry_after(1));
        }
        Ok(self.changes.rule(id))
    }

    /// The change that puts a rule; or an answer, if there is nothing to change.
    fn put(
        &self,
        shared: &Shared,
        id: String,
        text: String,
        condition: &Condition,
        dry_run: bool,
    ) -> Result<Result<Draft, Told>, Problem> {
        let known = self.known(&id)?;
        let (after, revision) = known.as_ref().map_or((0, 0), |known| (known.last, known.revision));
        let current = known.and_then(|known| known.text);
        let tag = current.as_deref().map(|text| tag_of(revision, text));
        check_tag(shared, &id, tag.as_deref(), current.as_deref(), condition)?;
        // One that a task has put aside begins anew.
        let is_aside = shared.view().rules.get(&id).is_some_and(|active| active.quarantine.is_some());
        if current.as_ref() == Some(&text) && !is_aside {
            let body = json!({"id": id, "revision": revision, "change": "none", "warnings": []});
            return Ok(Err((200, body, tag)));
        }
        if current.is_some() && condition.if_match.is_none() && !dry_run {
            return Err(Problem::new(
                428,
                format!("`{id}` exists: send `If-Match` with its ETag to replace it"),
            ));
        }
        let checked =
            language::compile_rule(&id, &text, &self.ground.module.streams, &self.ground.module.tables);
        let checked = checked.map_err(invalid)?;
        share::check_rules(&checked.module).map_err(|why| Problem::new(422, why))?;
        let inputs: Vec<&str> = self
            .ground
            .module
            .streams
            .iter()
            .map(|stream| stream.topic.as_deref().unwrap_or(&stream.name))
            .collect();
        self.topics.check_sends(&checked.module.rules, &inputs).map_err(|trouble| match trouble {
            Trouble::Refused(why) => Problem::new(422, why),
            Trouble::Away(why) | Trouble::Fenced(why) => Problem::new(503, why).retry_after(1),
        })?;
        let change = if current.is_none() { "new" } else { "drain" };
        let mut body = json!({"id": id, "change": change, "warnings": checked.warnings});
        if dry_run {
            body["dry_run"] = true.into();
            return Ok(Err((200, body, None)));
        }
        body["revision"] = (revision + 1).into();
        let (status, tag) = (if current.is_none() { 201 } else { 200 }, tag_of(revision + 1, &text));
        let change = Change { id, text: Some(text), after, recorded: now_micros() };
        Ok(Ok(Draft { change, status, body, tag: Some(tag) }))
    }

    fn delete(&self, shared: &Shared, id: String, condition: &Condition) -> Result<Draft, Problem> {
        let known = self.known(&id)?;
        let Some((after, revision, text)) =
            known.and_then(|known| Some((known.last, known.revision, known.text?)))
        else {
            return Err(Problem::new(404, format!("no rule `{id}`")));
        };
        let tag = tag_of(revision, &text);
        if condition.if_match.is_none() {
            return Err(Problem::new(428, "send `If-Match` with the rule's ETag to delete it"));
        }
        check_tag(shared, &id, Some(&tag), Some(&text), condition)?;
        let change = Change { id, text: None, after, recorded: now_micros() };
        Ok(Draft { change, status: 204, body: Value::Null, tag: None })
    }

    /// Writes a change to the log. The key of its record, which no other has: none of them is compacted away.
    fn send(&self, draft: &Draft) -> Result<Vec<u8>, Problem> {
        let name = new_name().map_err(|why| Problem::new(503, why.to_string()))?;
        let key = format!("{}{name}", prefix(&self.kafka)).into_bytes();
        let value = serde_json::to_vec(&draft.change).map_err(|e| Problem::new(500, e.to_string()))?;
        let record = Outgoing {
            topic: self.kafka.control_topic.clone(),
            partition: Some(0),
            key: key.clone(),
            value,
            headers: Vec::new(),
        };
        if let Err(why) = self.cluster.tell(record) {
            // It may be there nevertheless: the log will show it.
            tracing::warn!(%why, "writing a change of rules");
        }
        Ok(key)
    }

    /// Reads what the log has, and gives the answers that are due.
    pub(super) fn go_on(&mut self, shared: &Shared) {
        if clock::now() >= self.try_again
            && let Err(why) = self.read()
        {
            tracing::warn!(%why, "reading the changes of rules");
            self.reader = None;
            self.try_again = clock::now() + AGAIN;
        }
        for asked in std::mem::take(&mut self.asked) {
            if let Some(asked) = asked.answered(shared) {
                self.asked.push(asked);
            }
        }
    }

    fn read(&mut self) -> Result<(), Trouble> {
        let topic = &self.kafka.control_topic;
        let next = match self.next {
            Some(next) => next,
            None => self.cluster.range(topic, 0)?.0,
        };
        self.next = Some(next);
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.cluster.read(&[(partition_name(topic, 0), next)])?,
        };
        for _ in 0..MOST {
            match reader.poll(0)? {
                Polled::Record(record) => {
                    self.next = Some(record.offset + 1);
                    self.take(record.offset + 1, &record.key.unwrap_or_default(), record.value.as_deref());
                }
                Polled::End => {
                    self.is_read = true;
                    break;
                }
                Polled::Nothing => break,
            }
        }
        reader.wait(Duration::from_millis(5))?;
        self.reader = Some(reader);
        Ok(())
    }

    fn take(&mut self, number: u64, key: &[u8], value: Option<&[u8]>) {
        if !key.starts_with(prefix(&self.kafka).as_bytes()) {
            return;
        }
        let counts = match serde_json::from_slice(value.unwrap_or_default()) {
            Ok(change) => self.changes.take(number, change),
            Err(why) => {
                tracing::error!(number, %why, "a record is no change of rules");
                false
            }
        };
        let place = if counts { Place::Counts(number) } else { Place::Refused };
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.key == key) {
            (asked.place, asked.until) = (place, clock::now() + PATIENCE);
        }
    }
}

/// Checks a condition against the rule as the log has it, and as it is shown.
///
/// WHY both: a rule that was once the folder's has had more revisions than the log knows of, and readers are shown those.
fn check_tag(
    shared: &Shared,
    id: &str,
    tag: Option<&str>,
    text: Option<&str>,
    condition: &Condition,
) -> Result<(), Problem> {
    check_condition(tag, condition).or_else(|refused| {
        let view = shared.view();
        let shown = view.rules.get(id).filter(|active| text == Some(active.text.as_str()));
        shown.map_or(Err(refused), |active| check_condition(Some(&etag(active)), condition))
    })
}

impl Asked {
    /// Itself, if it is not time to answer.
    fn answered(mut self, shared: &Shared) -> Option<Self> {
        let is_late = clock::now() >= self.until;
        let number = match self.place {
            Place::Unknown if !is_late => return Some(self),
            Place::Unknown => {
                let why = "whether this was stored is not known: look at the rule before sending it again";
                let _ = self.reply.send(Err(Problem::new(503, why).retry_after(1)));
                return None;
            }
            Place::Refused => {
                let why = format!(
                    "another change of `{}` came first: look at it before sending this again",
                    self.id
                );
                let _ = self.reply.send(Err(Problem::new(412, why)));
                return None;
            }
            Place::Counts(number) => number,
        };
        let behind = shared.tasks_behind(number);
        if !behind.is_empty() && !is_late {
            return Some(self);
        }
        if self.body.is_object() {
            let view = shared.view();
            let shown = view.rules.get(&self.id).filter(|_| behind.is_empty());
            self.body["change_number"] = number.into();
            self.body["effective_from"] = json!(shown.and_then(|active| active.effective_from).map(rfc3339));
            self.body["warming_until"] = json!(shown.and_then(|active| active.warm_at).map(rfc3339));
            self.body["tasks_behind"] = json!(behind);
        }
        let _ = self.reply.send(Ok((self.status, self.body, self.tag)));
        None
    }
}
