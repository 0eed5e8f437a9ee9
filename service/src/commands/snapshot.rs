//! `tripline snapshot`: the snapshots in a data folder, and whether they are whole.

use crate::console::{say, tell};
use crate::failure::Failure;
use crate::serve::snapshot::{Kept, kept};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, the oldest first
    Ls(Where),
    /// Read each whole and compare its digest
    Verify(Where),
}

#[derive(Debug, Args)]
struct Where {
    /// The data folder of the service
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// One line of JSON a snapshot
    #[arg(long)]
    json: bool,
}

/// Runs the command; 1 if a snapshot is damaged.
///
/// # Errors
/// The folder cannot be read.
pub fn run(args: &SnapshotArgs) -> Result<u8, Failure> {
    let (Action::Ls(place) | Action::Verify(place)) = &args.action;
    let whole = matches!(args.action, Action::Verify(_));
    let found = kept(&place.data, whole)
        .map_err(|error| Failure::usage(format!("{}: {error}", place.data.display())))?;
    for one in &found {
        if place.json {
            tell!("{}", serde_json::to_string(one).unwrap_or_default());
        } else {
            tell!("{}", line(one, whole));
        }
    }
    let damaged = found.iter().filter(|one| one.unusable.is_some()).count();
    say!("{} snapshots, {damaged} of no use", found.len());
    Ok(u8::from(damaged > 0))
}

fn line(one: &Kept, whole: bool) -> String {
    let state = match &one.unusable {
        Some(why) => why.clone(),
        None if whole => "whole".to_owned(),
        None => one.cut.iter().map(|(name, offset)| format!("{name}:{offset}")).collect::<Vec<_>>().join(" "),
    };
    format!("{}\t{} bytes\tversion {}\t{state}", one.path.display(), one.bytes, one.program)
}
