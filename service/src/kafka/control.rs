//! The control topic: every decision, with the cut at which it was taken, and the head of the last commit.
//!
//! A partition for each task, compacted: a decision has a key of its own and stays for ever, of heads the last one stays.
//! Each is written in the transaction of its commit, so what is read here is what is committed.

use super::Trouble;
use super::cluster::Cluster;
use super::mark::Mark;
use super::record::Outgoing;
use crate::config::Kafka;
use crate::serve::core::Cut;
use crate::store::Control;
use serde::{Deserialize, Serialize};

/// A decision and the cut at which it was taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// Decisions before it.
    pub(crate) seq: u64,
    pub(crate) cut: Cut,
    /// The last change of the group's log that the task had taken then (`changes.rs`).
    #[serde(default)]
    pub(crate) changes: u64,
    pub(crate) control: Control,
}

/// A commit: the same as its offsets and their metadata.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) mark: String,
    pub(crate) cut: Cut,
}

/// All that stands committed for a task of a group.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) decisions: Vec<Decision>,
    pub(crate) head: Option<(Mark, Cut)>,
}

fn head_key(group: &str) -> String {
    format!("{group}/head")
}

/// The record of a decision.
pub(crate) fn of_decision(kafka: &Kafka, task: i32, decision: &Decision) -> Outgoing {
    Outgoing {
        topic: kafka.control_topic.clone(),
        partition: Some(task),
        key: format!("{}/{:020}", kafka.group, decision.seq).into_bytes(),
        value: serde_json::to_vec(decision).unwrap_or_default(),
        headers: Vec::new(),
    }
}

/// The record of a commit's head.
pub(crate) fn of_head(kafka: &Kafka, task: i32, mark: &Mark, cut: &Cut) -> Outgoing {
    let head = Head { mark: mark.to_string(), cut: cut.clone() };
    Outgoing {
        topic: kafka.control_topic.clone(),
        partition: Some(task),
        key: head_key(&kafka.group).into_bytes(),
        value: serde_json::to_vec(&head).unwrap_or_default(),
        headers: Vec::new(),
    }
}

/// Reads all that is committed for a task of the group.
pub(crate) fn read(cluster: &dyn Cluster, kafka: &Kafka, task: i32) -> Result<Committed, Trouble> {
    let (own, head_key) = (format!("{}/", kafka.group), head_key(&kafka.group));
    let mut committed = Committed::default();
    cluster.control(task, &mut |offset, key, value| {
        let key = String::from_utf8_lossy(key);
        if !key.starts_with(&own) {
            return Ok(());
        }
        take(&mut committed, key == head_key, value).map_err(|why| damaged(kafka, (task, offset), &why))
    })?;
    Ok(committed)
}

fn take(committed: &mut Committed, is_head: bool, value: &[u8]) -> Result<(), String> {
    if is_head {
        let head: Head = serde_json::from_slice(value).map_err(|e| e.to_string())?;
        committed.head = Some((head.mark.parse()?, head.cut));
        return Ok(());
    }
    let decision: Decision = serde_json::from_slice(value).map_err(|e| e.to_string())?;
    let expected = committed.decisions.len() as u64;
    if decision.seq != expected {
        return Err(format!("decision {} stands where {expected} should", decision.seq));
    }
    committed.decisions.push(decision);
    Ok(())
}

fn damaged(kafka: &Kafka, (task, offset): (i32, u64), why: &str) -> Trouble {
    Trouble::Refused(format!(
        "`{}/{task}` at offset {offset} does not hold what group `{}` wrote there: {why}; begin anew with another --group",
        kafka.control_topic, kafka.group
    ))
}
