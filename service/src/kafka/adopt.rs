//! `tripline recover`: what stands committed for a group, and its offsets put back where they were lost.

use super::lease::SESSION_MS;
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
    let committed = control::read(&Brokers::new(kafka)?, kafka)?;
    let Some((mark, cut)) = committed.head else {
        let group = &kafka.group;
        return Err(Trouble::Refused(format!(
            "`{}` holds no commit of group `{group}`",
            kafka.control_topic
        )));
    };
    cut.iter().for_each(|(name, offset)| tell!("{name}\t{offset}"));
    let offsets = offsets(&cut, &mark.to_string())?;
    let consumer: BaseConsumer<Context> = consumer(kafka).create_with_context(Context)?;
    let (epoch, alerts) = (mark.epoch, mark.tally.alerts);
    if !adopt {
        say!(
            "commit {epoch}, {alerts} alerts, {} decisions; --adopt puts these offsets back",
            mark.decisions
        );
        return Ok(0);
    }
    let begun = Instant::now();
    // The name of a worker that has just ended stays in the group for the length of a session.
    while has_members(&consumer, &kafka.group)? {
        if begun.elapsed() > Duration::from_millis(SESSION_MS * 2) {
            let why = format!("workers of group `{}` are at work: stop them first", kafka.group);
            return Err(Trouble::Refused(why));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    consumer.commit(&offsets, CommitMode::Sync)?;
    say!("commit {epoch}, {alerts} alerts: its offsets stand again for group `{}`", kafka.group);
    Ok(0)
}

fn has_members(consumer: &BaseConsumer<Context>, group: &str) -> Result<bool, Trouble> {
    let groups = consumer.fetch_group_list(Some(group), CALL)?;
    Ok(groups.groups().iter().any(|group| !group.members().is_empty()))
}
