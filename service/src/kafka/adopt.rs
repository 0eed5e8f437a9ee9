//! `tripline recover`: what stands committed for a group, and its offsets put back where they were lost.

use super::cluster::Cluster;
use super::lease::SESSION_MS;
use super::mark::Mark;
use super::transactions::offsets;
use super::{Brokers, CALL, Context, Trouble, consumer, control};
use crate::config::{Config, Kafka};
use crate::console::{say, tell};
use crate::failure::Failure;
use clap::Args;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Arguments of `recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// The configuration file; `tripline.toml` here if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The brokers.
    #[arg(long, value_name = "HOST:PORT[,..]")]
    kafka: Option<String>,
    /// The group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Put the offsets of the last commit back into the group; its workers must be stopped.
    #[arg(long)]
    adopt: bool,
}

/// Runs the command.
///
/// # Errors
/// The brokers cannot be reached, nothing was committed, or workers are at work.
pub fn run(args: RecoverArgs) -> Result<u8, Failure> {
    let mut kafka = Config::find(args.config).map_err(Failure::usage)?.kafka;
    kafka.brokers = args.kafka.unwrap_or(kafka.brokers);
    kafka.group = args.group.unwrap_or(kafka.group);
    kafka.check().map_err(Failure::usage)?;
    if !kafka.is_used() {
        return Err(Failure::usage("no brokers: --kafka HOST:PORT, or `[kafka] brokers`"));
    }
    recover(&kafka, args.adopt).map_err(|trouble| Failure::finding(trouble.to_string()))
}

fn recover(kafka: &Kafka, adopt: bool) -> Result<u8, Trouble> {
    let brokers = Brokers::new(kafka)?;
    let tasks = brokers.partitions(&kafka.control_topic)?.unwrap_or(0) as i32;
    let mut found = Vec::new();
    for task in 0..tasks {
        let committed = control::read(&brokers, kafka, task)?;
        found.extend(committed.head.map(|(mark, cut)| (task, mark, cut)));
    }
    let group = &kafka.group;
    if found.is_empty() {
        let why = format!("`{}` holds no commit of group `{group}`", kafka.control_topic);
        return Err(Trouble::Refused(why));
    }
    let whose = |task: i32| if tasks > 1 { format!("task {task}: ") } else { String::new() };
    found.iter().flat_map(|(.., cut)| cut).for_each(|(name, offset)| tell!("{name}\t{offset}"));
    if !adopt {
        for (task, Mark { epoch, tally, decisions, .. }, _) in &found {
            let (whose, alerts) = (whose(*task), tally.alerts);
            say!(
                "{whose}commit {epoch}, {alerts} alerts, {decisions} decisions; --adopt puts these offsets back"
            );
        }
        return Ok(0);
    }
    let consumer: BaseConsumer<Context> = consumer(kafka).create_with_context(Context)?;
    let begun = Instant::now();
    // The name of a worker that has just ended stays in the group for the length of a session.
    while has_members(&consumer, group)? {
        if begun.elapsed() > Duration::from_millis(SESSION_MS * 2) {
            let why = format!("workers of group `{group}` are at work: stop them first");
            return Err(Trouble::Refused(why));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    for (task, mark, cut) in &found {
        consumer.commit(&offsets(cut, &mark.to_string())?, CommitMode::Sync)?;
        let (whose, epoch, alerts) = (whose(*task), mark.epoch, mark.tally.alerts);
        say!("{whose}commit {epoch}, {alerts} alerts: its offsets stand again for group `{group}`");
    }
    Ok(0)
}

fn has_members(consumer: &BaseConsumer<Context>, group: &str) -> Result<bool, Trouble> {
    let groups = consumer.fetch_group_list(Some(group), CALL)?;
    Ok(groups.groups().iter().any(|group| !group.members().is_empty()))
}
