//! The command line: arguments, help with examples, exit codes.
//!
//! 0 fine, 1 findings, 2 wrong usage or unreadable input. Alerts and results go to stdout, everything else to stderr.

use crate::commands::{bench, check, explain, fmt, infer, run, snapshot, test, why};
use crate::console::say;
use crate::failure::Failure;
use crate::files::{FileOptions, Format};
use crate::ruleset::{name_path, name_value, split_arguments};
use clap::{Args, Parser, Subcommand};
use engine::task::Limits;
use std::path::PathBuf;
use std::process::ExitCode;

/// Tripline: rules over streams of events.
#[derive(Debug, Parser)]
#[command(name = "tripline", version, about, long_about = None, after_help = "Examples:
  tripline demo                             the whole product on shipped data
  tripline run rules/ auth.jsonl            alerts of all rules over one file
  tripline check rules/                     what is wrong in the rules
  tripline fmt rules/                       one layout for all rules
  tripline test rules/                      the tests inside the rules
  tripline explain card_testing rules/      a rule in words; also of a code: E301
  tripline infer auth.jsonl > streams.cep   declare what a file holds
  tripline serve --dev --rules rules/       the same rules as a service

`tripline COMMAND --help` shows examples of each.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run rules over files of events, once
    #[command(after_help = "Examples:
  tripline run card.cep auth.jsonl
  tripline run rules/ auth.jsonl.gz payments.csv --json --alerts out.jsonl
  tripline run card.cep --stream auth=/data/2026-03.jsonl --list vip_cards=vip.txt
  tripline run rules/ all.jsonl --split-by type --time created_at
  zcat events.gz | tripline run card.cep --stream auth=- --format jsonl --arrival-order")]
    Run(run::RunArgs),
    /// Check rules: names, types, bounds
    #[command(after_help = "Examples:
  tripline check rules/
  tripline check card.cep auth.jsonl     infer undeclared streams from the events
  tripline check rules/ --json           one finding a line")]
    Check(check::CheckArgs),
    /// Give rules the one layout, in place
    #[command(after_help = "Examples:
  tripline fmt rules/
  tripline fmt rules/ --check    change nothing, exit 1 if a file would change
  tripline fmt - < card.cep      stdin to stdout")]
    Fmt(fmt::FmtArgs),
    /// Run the tests inside the rules
    #[command(after_help = "Examples:
  tripline test rules/
  tripline test rules/ --filter \"three probes\"
  tripline test rules/ --junit report.xml")]
    Test(test::TestArgs),
    /// Tell what a rule says, or what a code such as E301 means
    #[command(after_help = "Examples:
  tripline explain card_testing rules/
  tripline explain card_testing rules/ --format mermaid
  tripline explain E301")]
    Explain(explain::ExplainArgs),
    /// Print stream blocks that fit files of events
    #[command(after_help = "Examples:
  tripline infer auth.jsonl payments.csv > streams.cep
  tripline infer all.jsonl --split-by type --time created_at")]
    Infer(infer::InferArgs),
    /// Measure the matcher beside its limits and verify the answers
    #[command(after_help = "Examples:
  tripline bench W1
  tripline bench W4:1000 --json
  tripline bench W7:10000 --events 3000000
  tripline bench json      from bytes to matches, beside the parse alone; --threads 2: with two threads as well
  tripline bench keys      with 10,000 to 1,000,000 keys
  tripline bench state     memory of a key
  tripline bench load      of one rule and of 10,000
  tripline bench latency   of one event at 20,000 a second")]
    Bench(bench::BenchArgs),
    /// Tell why a rule did or did not fire for a key
    #[command(after_help = "Examples:
  tripline why card.cep auth.jsonl --key c1
  tripline why rules/ auth.jsonl --rule card_testing --key c1")]
    Why(why::WhyArgs),
    /// Run the service: events and rules over HTTP, alerts as a list, a stream and webhooks
    #[command(after_help = "Examples:
  tripline serve --dev --data data --rules rules
  tripline serve --config tripline.toml
  tripline serve --dev --data data --rules rules --kafka 127.0.0.1:9092
  TRIPLINE__AUTH__TOKEN=env:TOKEN tripline serve --listen 0.0.0.0:7400")]
    Serve(crate::serve::ServeArgs),
    /// Show the whole product on shipped data
    #[command(after_help = "Examples:
  tripline demo
  tripline demo --once
  tripline demo --write tripline-demo")]
    Demo(crate::demo::DemoArgs),
    /// Send files of events to a running service at their own pace
    #[command(after_help = "Examples:
  tripline feed auth.jsonl --to http://127.0.0.1:7400
  tripline feed auth.jsonl.gz payments.csv --to http://127.0.0.1:7400 --speed 100x")]
    Feed(crate::feed::FeedArgs),
    /// List the snapshots of a service, find out whether they are whole, or take one elsewhere
    #[command(after_help = "Examples:
  tripline snapshot ls --data data
  tripline snapshot verify --url s3://bucket/prefix --json
  tripline snapshot export before.savepoint --config tripline.toml
  tripline snapshot import before.savepoint --config tripline.toml --group another")]
    Snapshot(snapshot::SnapshotArgs),
    /// Try out whether a Kafka cluster does what exactly once relies on
    #[command(after_help = "Examples:
  tripline broker-check --kafka 127.0.0.1:9092
  tripline broker-check --config tripline.toml --json

It makes a topic of its own and removes it again.")]
    BrokerCheck(crate::kafka::CheckArgs),
    /// Show what a group has committed on Kafka; put its offsets back where they were lost
    #[command(after_help = "Examples:
  tripline recover --kafka 127.0.0.1:9092 --group tripline
  tripline recover --kafka 127.0.0.1:9092 --group tripline --adopt")]
    Recover(crate::kafka::RecoverArgs),
}

/// Arguments of every command that reads events.
#[derive(Debug, Args)]
pub struct EventArgs {
    /// More events: a file, or - for stdin (with --format)
    #[arg(long = "events", value_name = "PATH|-")]
    pub events: Vec<PathBuf>,
    /// Read PATH as the stream NAME
    #[arg(long = "stream", value_name = "NAME=PATH", value_parser = name_path)]
    pub streams: Vec<(String, PathBuf)>,
    /// The field whose value names each event's stream
    #[arg(long, value_name = "FIELD")]
    pub split_by: Option<String>,
    /// Format of stdin and of files without a suffix
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The time field of inferred streams
    #[arg(long, value_name = "FIELD")]
    pub time: Option<String>,
}

impl EventArgs {
    /// With the positional event files.
    #[must_use]
    pub fn options(&self, positional: &[PathBuf]) -> FileOptions {
        let mut events = positional.to_vec();
        events.extend(self.events.iter().cloned());
        FileOptions {
            events,
            streams: self.streams.clone(),
            split_by: self.split_by.clone(),
            format: self.format,
        }
    }
}

/// `--limit` values over the defaults.
///
/// # Errors
/// An unknown name or a value that is no number.
pub fn limits(given: &[(String, String)]) -> Result<Limits, Failure> {
    let mut limits = Limits {
        candidates: Some(10_000),
        state: Some(10_000_000),
        matches_per_moment: Some(1_000),
        search_work: Some(1_000_000),
        // A breaker of the service: files are looked at to the end unless it is asked for.
        alerts_per_rule_day: None,
    };
    for (name, value) in given {
        let number: Option<u64> =
            match value.as_str() {
                "none" => None,
                text => Some(text.replace('_', "").parse().map_err(|_| {
                    Failure::usage(format!("--limit {name}={value}: expected a number or none"))
                })?),
            };
        let size = number.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        match name.as_str() {
            "candidates" => limits.candidates = size,
            "state" => limits.state = size,
            "matches_per_moment" => limits.matches_per_moment = size,
            "search_work" => limits.search_work = number,
            "alerts_per_rule_day" => limits.alerts_per_rule_day = number,
            _ => {
                let known = "candidates, state, matches_per_moment, search_work, alerts_per_rule_day";
                return Err(Failure::usage(format!("--limit {name}: unknown; known are {known}")));
            }
        }
    }
    Ok(limits)
}

/// `--limit` of a command.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Change a cap: candidates, state, matches_per_moment, search_work, alerts_per_rule_day
    #[arg(long = "limit", value_name = "NAME=N|none", value_parser = name_value)]
    pub limits: Vec<(String, String)>,
}

/// Positional paths told apart; rules have to be there.
///
/// # Errors
/// No rules.
pub fn rules_and_events(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Failure> {
    let (rules, events) = split_arguments(paths);
    if rules.is_empty() {
        return Err(Failure::usage("no rules given: name a .cep file or a folder of them"));
    }
    Ok((rules, events))
}

/// Runs the command line; the process's exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Fmt(args) => fmt::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Infer(args) => infer::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Serve(args) => crate::serve::on_runtime(crate::serve::run_command(args)),
        Command::Demo(args) => crate::serve::on_runtime(crate::demo::run(args)),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::BrokerCheck(args) => crate::kafka::check_command(args),
        Command::Recover(args) => crate::kafka::recover_command(args),
        Command::Feed(args) => crate::serve::on_runtime(crate::feed::run(args)),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.message.is_empty() {
                say!("tripline: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}
