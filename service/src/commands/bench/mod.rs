//! `bench`: the matcher alone on the published workloads beside what limits it, and its other costs one by one.
//!
//! Events are made before the clock starts. What is compared takes turns on the same events in the same process, so that
//! a ratio holds on a busy machine too; each figure is the median of the rounds. Wrong answers exit with 1, a goal that
//! is missed does not: benchmarks print.

mod events;
mod workload;
mod limit;
mod matcher;
mod pause;
mod process;
mod report;
mod published;
mod json;
mod threads;
mod growth;
mod latency;
mod delivery;

use self::workload::Workload;
use crate::console::tell;
use crate::failure::Failure;
use clap::Args;
use serde::Serialize;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// W0, W1, W2, W3, W4:P, W5, W6:P, W7:P; json, keys, state, pause, load, latency; kafka, tasks, lag, ingest or recovery
    what: String,
    /// How many events (of `state`, `pause` and `recovery`: keys; of `load`: rules)
    #[arg(long)]
    events: Option<u64>,
    /// Seed of the generator
    #[arg(long)]
    seed: Option<u64>,
    /// `json`: so many threads as well
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// How often everything is measured; figures are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// `keys`: 10,000,000 of them as well
    #[arg(long)]
    full: bool,
    /// `kafka`, `tasks`, `lag`: the node to measure on
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// One line of JSON for each figure
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    /// The generator's seed.
    ///
    /// # Errors
    /// 0, from which nothing else follows.
    fn seed(&self) -> Result<u64, Failure> {
        match self.seed.unwrap_or(events::SEED) {
            0 => Err(Failure::usage("--seed 0: the generator needs a seed other than 0")),
            seed => Ok(seed),
        }
    }

    /// Shows what was measured: one line of JSON, or text.
    fn report(&self, fields: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.json {
            let line = serde_json::to_string(fields);
            tell!("{}", line.map_err(|error| Failure::finding(error.to_string()))?);
        } else {
            tell!("{}", text.trim_end());
        }
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// An unknown benchmark, or rules that do not compile.
pub fn run(args: &BenchArgs) -> Result<u8, Failure> {
    if args.threads > 1 && args.what != "json" {
        return Err(Failure::usage("--threads: only `json` decodes, the matcher is one thread"));
    }
    match args.what.as_str() {
        "json" => json::run(args),
        "keys" => growth::keys(args),
        "state" => growth::state(args),
        "pause" => pause::run(args),
        "load" => growth::load(args),
        "latency" => latency::run(args),
        "kafka" => delivery::kafka(args),
        "tasks" => delivery::tasks(args),
        "lag" => delivery::lag(args),
        "ingest" => delivery::ingest(args),
        "recovery" => delivery::recovery(args),
        what => match Workload::parse(what) {
            Some(workload) => published::run(args, &workload),
            None => Err(Failure::usage(format!(
                "`{what}`: expected W0 W1 W2 W3 W4:P W5 W6:P W7:P, json, keys, state, pause, load, latency, kafka, tasks, lag, ingest or recovery"
            ))),
        },
    }
}
