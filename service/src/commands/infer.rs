//! `infer`: prints the `stream` blocks that fit files of events.

use crate::cli::EventArgs;
use crate::console::show;
use crate::failure::Failure;
use crate::pipeline::infer_files;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    /// Files of events
    #[arg(value_name = "EVENTS")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    events: EventArgs,
}

/// Runs it.
///
/// # Errors
/// Unreadable input, or a time field that is not clear.
pub fn run(args: &InferArgs) -> Result<u8, Failure> {
    let options = args.events.options(&args.paths);
    if options.events.is_empty() && options.streams.is_empty() {
        return Err(Failure::usage("no events given: name a .jsonl, .ndjson or .csv file"));
    }
    let streams = infer_files(&options, args.events.time.as_deref())?;
    let blocks: Vec<String> = streams.iter().map(crate::infer::block).collect();
    show(&blocks.join("\n"))?;
    Ok(0)
}
