//! Savepoints of a group: what goes into one, and a group that begins with one.

use super::cluster::Cluster;
use super::control::{self, Committed, Decision};
use super::lease::SESSION_MS;
use super::mark::Mark;
use super::point::Burst;
use super::recover::{check_counts, check_reach, ensure_outputs, new_name};
use super::topics::Topics;
use super::{Brokers, Trouble};
use crate::commit::protocol::Outcome;
use crate::config::{Config, Kafka, Tasks};
use crate::serve::core::{Core, Origin};
use crate::serve::recover::new_core;
use crate::serve::snapshot::{Place, Savepoint, export};
use crate::store::Control;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn failed(error: impl std::fmt::Display) -> Trouble {
    Trouble::Refused(error.to_string())
}

/// Writes the newest snapshot of one of the group's tasks into a file, with the decisions before it. Its name, if there is one.
pub(crate) fn export_to(
    config: &Config,
    task: i32,
    place: &Place,
    file: &Path,
) -> Result<Option<String>, Trouble> {
    let Committed { decisions, head } = control::read(&Brokers::new(&config.kafka)?, &config.kafka, task)?;
    let Some((last, _)) = head else { return Ok(None) };
    let fits = |text: &str| {
        let mark: Mark = text.parse().ok()?;
        let is_own = mark.lineage == last.lineage && mark.epoch <= last.epoch;
        let before = decisions.get(..usize::try_from(mark.decisions).ok()?).filter(|_| is_own)?;
        before.iter().map(|decision| serde_json::to_value(decision).ok()).collect()
    };
    export(&place.within(&last.lineage), fits, file).map_err(failed)
}

/// Has one of the group's tasks go on from a savepoint: its own, or any if it has done nothing yet. What was put.
pub(crate) fn import(
    config: &Config,
    task: i32,
    place: &Place,
    savepoint: &Savepoint,
) -> Result<String, Trouble> {
    let kafka = &config.kafka;
    let mark: Mark = savepoint.snapshot.mark.parse().map_err(|_| {
        failed("it is of a service that reads no Kafka: import it into the data folder of that service")
    })?;
    let cluster: Arc<dyn Cluster> = Arc::new(Brokers::new(kafka)?);
    let topics = Topics::new(&cluster, kafka, config.dev);
    ensure_outputs(&topics, kafka, tasks_of(kafka, savepoint)?)?;
    let committed = control::read(&*cluster, kafka, task)?;
    match committed.head {
        Some((last, _)) if last.lineage == mark.lineage && last.epoch >= mark.epoch => {
            check(
                config,
                task,
                savepoint,
                committed.decisions.get(..mark.decisions as usize).unwrap_or_default(),
            )?;
            let name = savepoint.put(&place.within(&mark.lineage), mark.epoch, &savepoint.snapshot.mark);
            name.map_err(failed)
        }
        None if committed.decisions.is_empty() => {
            begin((config, task), &*cluster, &topics, place, savepoint, mark)
        }
        _ => Err(failed(format!(
            "group `{}` has a history of its own, which this is not of: import it into a new --group",
            kafka.group
        ))),
    }
}

/// How many tasks the group has: one for each partition of the savepoint's topics, or one for all.
fn tasks_of(kafka: &Kafka, savepoint: &Savepoint) -> Result<i32, Trouble> {
    if kafka.tasks == Tasks::One {
        return Ok(1);
    }
    for value in &savepoint.decisions {
        let decision: Decision = serde_json::from_value(value.clone()).map_err(failed)?;
        if let Control::Open { starts, .. } = decision.control {
            return i32::try_from(starts.len()).map_err(failed);
        }
    }
    Err(failed("it names no topic"))
}

/// The state must be that of these decisions.
fn check(config: &Config, task: i32, savepoint: &Savepoint, decisions: &[Decision]) -> Result<Core, Trouble> {
    let mut core = new_core(config).of_partition(config.kafka.only(task));
    let known = decisions.iter().map(|decision| &decision.control);
    core.rebuild(known, &savepoint.snapshot).map_err(|why| failed(format!("it does not fit: {why}")))?;
    Ok(core)
}

/// The first commit of a new group: all that the other had decided, and the offsets up to which it had read.
fn begin(
    (config, task): (&Config, i32),
    cluster: &dyn Cluster,
    topics: &Topics,
    place: &Place,
    savepoint: &Savepoint,
    other: Mark,
) -> Result<String, Trouble> {
    let kafka = &config.kafka;
    let read = |value: &Value| serde_json::from_value(value.clone());
    let mut decisions: Vec<Decision> =
        savepoint.decisions.iter().map(read).collect::<Result<_, _>>().map_err(failed)?;
    let core = check(config, task, savepoint, &decisions)?;
    let mut rules = core.rules().iter().filter(|(_, active)| active.origin == Origin::Api);
    if let Some((name, _)) = rules.next().filter(|_| kafka.tasks == Tasks::Partitions) {
        return Err(failed(format!(
            "rule `{name}` was put over HTTP, and stands in the log of changes of the group that it is of: put it into the \
             rules folder and delete it there before you export"
        )));
    }
    // Those of the other group's log.
    decisions.iter_mut().for_each(|decision| decision.changes = 0);
    let cut = savepoint.snapshot.cut.clone();
    check_counts(&core, &topics.ensure_inputs(core.opened().keys())?)?;
    check_reach(cluster, &decisions, kafka.only(task), &cut, &cut)?;
    let mark = Mark { lineage: new_name()?, epoch: 1, snapshot: (0, 0), writer: new_name()?, ..other };
    // WHY: first the snapshot, which nothing names yet. If the commit fails, it is of no task.
    let name = savepoint.put(&place.within(&mark.lineage), mark.epoch, &mark.to_string()).map_err(failed)?;
    let mut records: Vec<_> =
        decisions.iter().map(|decision| control::of_decision(kafka, task, decision)).collect();
    records.push(control::of_head(kafka, task, &mark, &cut));
    commit((config, task), cluster, &Burst { records, mark, cut })?;
    Ok(name)
}

/// One transaction, as a worker of the group.
fn commit((config, task): (&Config, i32), cluster: &dyn Cluster, burst: &Burst) -> Result<(), Trouble> {
    let mut member = cluster.join(&config.worker_id(), task)?;
    let begun = Instant::now();
    while member.grant().is_none() {
        member.serve(Duration::from_millis(50))?;
        if begun.elapsed() > Duration::from_millis(SESSION_MS * 2) {
            return Err(failed(format!(
                "workers of group `{}` are at work: stop them first",
                config.kafka.group
            )));
        }
    }
    member.renew()?;
    let done = |outcome| outcome == Outcome::Done;
    let is_committed = done(member.begin())
        && done(member.produce(&burst.records))
        && done(member.send_offsets(&burst.cut, &burst.mark.to_string()))
        && done(member.commit());
    match is_committed {
        true => Ok(()),
        false => Err(failed("whether it is committed is not known: `tripline recover` shows it")),
    }
}
