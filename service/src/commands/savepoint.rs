//! `tripline snapshot export` and `import`: a snapshot as one file that can be taken elsewhere.

use crate::config::{Config, Tasks};
use crate::console::say;
use crate::failure::Failure;
use crate::kafka::savepoint as of_group;
use crate::serve::savepoint as of_store;
use crate::serve::snapshot::{Place, Savepoint};
use clap::Args;
use std::path::PathBuf;

/// Whose snapshots, and the file.
#[derive(Debug, Args)]
pub(super) struct SavepointArgs {
    /// The savepoint
    file: PathBuf,
    /// The configuration of the service; `tripline.toml` here if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where its snapshots are: a folder, file:///FOLDER or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Its brokers, if it reads Kafka
    #[arg(long, value_name = "HOST:PORT[,..]")]
    kafka: Option<String>,
    /// Its group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Which of the group's tasks, with `kafka.tasks = "partitions"`: its number
    #[arg(long, value_name = "NUMBER")]
    task: Option<u16>,
}

impl SavepointArgs {
    /// What the service is told, and where its snapshots are.
    fn service(&self) -> Result<(Config, Place), Failure> {
        let mut config = Config::find(self.config.clone()).map_err(Failure::usage)?;
        config.store.data = self.data.clone().unwrap_or(config.store.data);
        config.snapshots.url = self.url.clone().or(config.snapshots.url);
        config.kafka.brokers = self.kafka.clone().unwrap_or(config.kafka.brokers);
        config.kafka.group = self.group.clone().unwrap_or(config.kafka.group);
        config.check().map_err(Failure::usage)?;
        if let Some(group) = self.group.as_ref().filter(|_| !config.kafka.is_used()) {
            return Err(Failure::usage(format!(
                "--group {group}: only a service that reads Kafka has one: say its brokers with --kafka"
            )));
        }
        let place = Place::of(&config).map_err(Failure::usage)?;
        Ok((config, place))
    }

    /// The number of the task.
    fn number(&self, config: &Config) -> Result<i32, Failure> {
        match (config.kafka.is_used() && config.kafka.tasks == Tasks::Partitions, self.task) {
            (true, Some(task)) => Ok(i32::from(task)),
            (true, None) => {
                Err(Failure::usage("a savepoint is of one task: say of which with --task NUMBER"))
            }
            (false, None) => Ok(0),
            (false, Some(_)) => Err(Failure::usage("--task: the service has only one")),
        }
    }

    fn failed(&self, why: impl std::fmt::Display) -> Failure {
        Failure::finding(format!("{}: {why}", self.file.display()))
    }
}

/// Writes the newest snapshot into the file; 1 if there is none.
pub(super) fn export(args: &SavepointArgs) -> Result<u8, Failure> {
    let (config, place) = args.service()?;
    let task = args.number(&config)?;
    let written = match config.kafka.is_used() {
        true => of_group::export_to(&config, task, &place, &args.file).map_err(|why| args.failed(why))?,
        false => of_store::export_to(&config, &place, &args.file).map_err(|why| args.failed(why))?,
    };
    match &written {
        Some(name) => say!("{}: snapshot {name} of {place}", args.file.display()),
        None => say!("no snapshot of use in {place}"),
    }
    Ok(u8::from(written.is_none()))
}

/// Puts what is in the file where the service finds it at its next start; 1 if it does not fit.
pub(super) fn import(args: &SavepointArgs) -> Result<u8, Failure> {
    let (config, place) = args.service()?;
    let task = args.number(&config)?;
    let savepoint = Savepoint::read(&args.file).map_err(|why| args.failed(why))?;
    let name = match config.kafka.is_used() {
        true => of_group::import(&config, task, &place, &savepoint).map_err(|why| args.failed(why))?,
        false => of_store::import(&config, &place, &savepoint).map_err(|why| args.failed(why))?,
    };
    say!("{place}: snapshot {name}, taken by version {}", savepoint.program);
    Ok(0)
}
