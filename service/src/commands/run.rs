//! `run`: rules over files of events, once. Alerts to stdout, a summary to stderr.

use super::summary::{Counts, Summary};
use crate::cli::{EventArgs, LimitArgs, limits, rules_and_events};
use crate::console::say;
use crate::failure::Failure;
use crate::input::{Rejects, sorted};
use crate::pipeline::{Setup, prepare};
use crate::render::{Detail, cloud_event_with, text::alert_text};
use crate::ruleset::name_path;
use clap::Args;
use std::io::{BufWriter, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Rules (.cep files or folders) and events (.jsonl .ndjson .csv, also .gz .zst)
    #[arg(required = true, value_name = "RULES... EVENTS...")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    events: EventArgs,
    /// Fill a list from a file: one item a line, or a JSON array
    #[arg(long = "list", value_name = "NAME=FILE", value_parser = name_path)]
    lists: Vec<(String, PathBuf)>,
    /// Take files as they stand instead of sorting by time; late events are then dropped
    #[arg(long)]
    arrival_order: bool,
    /// Let time run out at the end, so that pending absences fire
    #[arg(long)]
    to_end: bool,
    /// One alert a line, as a CloudEvent
    #[arg(long)]
    json: bool,
    /// How much evidence an alert shows
    #[arg(long, value_enum, default_value = "brief")]
    evidence: Detail,
    /// Write alerts to a file instead of stdout
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Write rejected lines to a file
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Stop at the first rejected line
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// Threads that decode; one of them matches too [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Bytes sorted in memory before sorting on disk
    #[arg(long, hide = true, default_value_t = sorted::DEFAULT_MEMORY)]
    sort_memory: usize,
}

/// Runs it.
///
/// # Errors
/// Rules with errors, unreadable input, `--strict`.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let (rules, events) = rules_and_events(&args.paths)?;
    let files = args.events.options(&events);
    if files.events.is_empty() && files.streams.is_empty() {
        return Err(Failure::usage("no events given: name a .jsonl, .ndjson or .csv file, or --events -"));
    }
    let setup = Setup {
        rules,
        files,
        lists: args.lists.clone(),
        time: args.events.time.clone(),
        arrival: args.arrival_order,
        to_end: args.to_end,
        limits: limits(&args.limits.limits)?,
        sort_memory: args.sort_memory,
        threads: args
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get),
        keep_history: false,
    };
    let started = Instant::now();
    let mut ready = prepare(&setup)?;
    let mut rejects = Rejects::new(args.rejected.as_deref(), args.strict)?;
    let mut out: Box<dyn Write> = match &args.alerts {
        Some(path) => Box::new(BufWriter::new(
            std::fs::File::create(path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?,
        )),
        None => Box::new(BufWriter::new(std::io::stdout().lock())),
    };
    let colour = args.alerts.is_none() && std::io::stdout().is_terminal();
    let mut counts = Counts::default();
    let outcome = ready.drive(&mut rejects, &mut |alert| {
        counts.add(alert);
        if args.json {
            writeln!(out, "{}", cloud_event_with(alert, args.evidence))?;
        } else {
            writeln!(out, "{}", alert_text(alert, args.evidence, colour))?;
        }
        Ok(())
    });
    out.flush()?;
    let tally = outcome?;
    let stats = ready.task.stats();
    let summary = Summary {
        counts: &counts,
        tally: &tally,
        rejected: rejects.count,
        stats: &stats,
        module: &ready.module,
        took: started.elapsed(),
    };
    say!("{}", summary.text().trim_end());
    Ok(u8::from(tally.broken > 0))
}
