//! `tripline snapshot`: the snapshots in a data folder or an object store, whether they are whole, and one as a
//! file.

use super::savepoint::{self, SavepointArgs};
use crate::console::{say, tell};
use crate::failure::Failure;
use crate::serve::snapshot::{Kept, Place, kept};
use clap::{Args, Subcommand};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// Write the newest into a file that can be taken elsewhere
    Export(SavepointArgs),
    /// Go on from such a file: in the same task, or in a group that has done nothing yet
    Import(SavepointArgs),
}

#[derive(Debug, Args)]
struct Where {
    /// The data folder of the service
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Where `[snapshots] url` says, if it does: a folder, file:///FOLDER or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    url: Option<String>,
    /// One line of JSON a snapshot
    #[arg(long)]
    json: bool,
}

/// How long one request to an object store may take.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Where {
    fn open(&self) -> Result<Place, Failure> {
        let is_there = |folder: &Path| match folder.is_dir() {
            true => Ok(()),
            false => {
                let error = io::Error::from(io::ErrorKind::NotFound);
                Err(Failure::usage(format!("{}: {error}", folder.display())))
            }
        };
        let Some(url) = &self.url else {
            is_there(&self.data)?;
            return Ok(Place::Folder(self.data.join("snapshots")));
        };
        let place = Place::open(url, TIMEOUT).map_err(|why| Failure::usage(format!("--url: {why}")))?;
        if let Place::Folder(folder) = &place {
            is_there(folder)?;
        }
        Ok(place)
    }
}

/// Runs the command; 1 if a snapshot is damaged, or a savepoint does not fit.
///
/// # Errors
/// The folder cannot be read.
pub fn run(args: &SnapshotArgs) -> Result<u8, Failure> {
    let (place, whole) = match &args.action {
        Action::Ls(place) => (place, false),
        Action::Verify(place) => (place, true),
        Action::Export(args) => return savepoint::export(args),
        Action::Import(args) => return savepoint::import(args),
    };
    let found = place
        .open()
        .and_then(|open| kept(&open, whole).map_err(|error| Failure::usage(format!("{open}: {error}"))))?;
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
    let levels = match one.levels.as_slice() {
        [base, deltas @ ..] if !deltas.is_empty() => {
            let bytes: u64 = deltas.iter().map(|delta| delta.bytes).sum();
            format!(" (base {} of {}, {} deltas {bytes})", base.bytes, base.snapshot, deltas.len())
        }
        _ => String::new(),
    };
    format!("{}\t{} bytes{levels}\tversion {}\t{state}", one.path, one.bytes, one.program)
}
