//! The snapshots that are kept: finding, reading, judging and forgetting them.

use super::form::{Manifest, Refusal, Snapshot, unpack};
use super::place::Place;
use super::writer::is_wanted;
use super::{Cut, Reference};
use metrics::counter;
use serde::Serialize;
use std::io::{self, ErrorKind};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// The object that makes the parts beside it a snapshot.
pub(super) const MANIFEST: &str = "manifest.json";

/// A snapshot as it lies in its place.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    pub(crate) path: String,
    /// Of its parts.
    pub(crate) bytes: u64,
    pub(crate) program: String,
    /// By partition, the offset that it goes up to.
    pub(crate) cut: Cut,
    /// Why this program cannot use it.
    pub(crate) unusable: Option<String>,
}

/// Why a snapshot cannot be used.
#[derive(Debug)]
pub(super) struct Fault {
    /// As the metric says it.
    pub(super) reason: &'static str,
    pub(super) why: String,
}

impl Fault {
    fn damaged(why: String) -> Self {
        Self { reason: "damaged", why }
    }
}

/// All snapshots at and below a place, oldest first in each folder; `whole`: each is read to its end.
pub(crate) fn all(place: &Place, whole: bool) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    for object in place.names()? {
        let folder = match object.rsplit_once('/') {
            Some((folder, MANIFEST)) => folder,
            // Before form 3 a snapshot was one file.
            Some((_, file)) if of_name(file).is_some() => &object,
            _ => continue,
        };
        let (path, head) = (format!("{place}/{folder}"), manifest_in(place, &object));
        let unusable = match &head {
            Ok(head) if whole => load(place, folder, head, &|| {}).err().map(|fault| fault.why),
            Ok(head) => head.refusal(),
            Err(fault) => Some(fault.why.clone()),
        };
        let Ok(Manifest { program, cut, parts, .. }) = head else {
            found.push(Kept { path, bytes: 0, program: String::new(), cut: Cut::new(), unusable });
            continue;
        };
        let bytes = parts.iter().map(|part| part.bytes).sum();
        found.push(Kept { path, bytes, program, cut, unusable });
    }
    Ok(found)
}

/// The name of a snapshot in the place of its task.
pub(super) fn name_of((number, attempt): Reference) -> String {
    format!("{number:020}-{attempt}")
}

/// The number and the attempt in a name; none of what is no snapshot.
fn of_name(name: &str) -> Option<Reference> {
    let (number, attempt) = name.split_once('-')?;
    Some((number.parse().ok()?, attempt.parse().ok()?))
}

/// Which snapshot an object belongs to.
fn of_object(object: &str) -> Option<Reference> {
    of_name(object.split('/').next()?)
}

/// The names of snapshots that have a manifest, oldest first.
pub(super) fn names(place: &Place) -> io::Result<Vec<String>> {
    let objects = place.names()?;
    let names = objects.iter().filter_map(|object| object.strip_suffix(MANIFEST)?.strip_suffix('/'));
    let mut found: Vec<(Reference, &str)> = names.filter_map(|name| Some((of_name(name)?, name))).collect();
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, name)| name.to_owned()).collect())
}

/// What a snapshot says of itself.
pub(super) fn manifest(place: &Place, name: &str) -> Result<Manifest, Fault> {
    manifest_in(place, &format!("{name}/{MANIFEST}"))
}

fn manifest_in(place: &Place, object: &str) -> Result<Manifest, Fault> {
    Manifest::read(&read(place, object)?).map_err(|refusal| match refusal {
        Refusal::Version(why) => Fault { reason: "version", why },
        Refusal::Damaged(why) => Fault::damaged(why),
    })
}

/// WHY: what is gone is damage; what cannot be read just now may be sound.
fn read(place: &Place, name: &str) -> Result<Vec<u8>, Fault> {
    place.read(name).map_err(|error| {
        let reason = if error.kind() == ErrorKind::NotFound { "damaged" } else { "read" };
        Fault { reason, why: format!("{name}: {error}") }
    })
}

/// The whole of a snapshot, part by part.
pub(super) fn load(
    place: &Place,
    name: &str,
    manifest: &Manifest,
    beat: &dyn Fn(),
) -> Result<Snapshot, Fault> {
    if let Some(why) = manifest.refusal() {
        return Err(Fault { reason: "version", why });
    }
    let mut state = Vec::new();
    for part in &manifest.parts {
        beat();
        let bytes = read(place, &format!("{name}/{}", part.name))?;
        part.check(&bytes).and_then(|()| unpack(&bytes, &mut state)).map_err(Fault::damaged)?;
    }
    manifest.check(&state).map_err(Fault::damaged)?;
    Ok(Snapshot { mark: manifest.mark.clone(), cut: manifest.cut.clone(), state })
}

/// Removes what is older than the `keep` newest of those up to a commit: manifests first, so that none names what is gone.
///
/// WHY: by number alone, since numbers only grow. A worker that was stopped for an hour, and does not know that it has lost its
/// task, removes nothing that its successor needs.
pub(super) fn forget(place: &Place, committed: u64, keep: usize) -> io::Result<()> {
    let objects = place.names()?;
    let whole = objects.iter().filter(|object| object.ends_with(MANIFEST)).filter_map(|o| of_object(o));
    let mut numbers: Vec<u64> =
        whole.map(|(number, _)| number).filter(|number| *number <= committed).collect();
    numbers.sort_unstable();
    let Some(oldest) = numbers.len().checked_sub(keep).map(|at| numbers[at]) else { return Ok(()) };
    let old = objects.iter().filter(|object| of_object(object).is_some_and(|(number, _)| number < oldest));
    let (manifests, parts): (Vec<&String>, Vec<&String>) = old.partition(|object| object.ends_with(MANIFEST));
    manifests.into_iter().chain(parts).try_for_each(|object| place.delete(object))
}

/// Reads every snapshot again, and counts. False if one is damaged.
pub(super) fn scrub(place: &Place, is_on: &Receiver<()>) -> bool {
    let mut all_whole = true;
    for name in names(place).unwrap_or_default() {
        if !is_wanted(is_on, Duration::ZERO) {
            break;
        }
        let read = manifest(place, &name).and_then(|manifest| load(place, &name, &manifest, &|| {}));
        let outcome = if read.is_ok() { "whole" } else { "damaged" };
        counter!("tripline_snapshots_scrubbed_total", "outcome" => outcome).increment(1);
        if let Err(fault) = read {
            all_whole = false;
            tracing::warn!(fault.why, "snapshot {place}/{name} cannot be used any more; another is taken");
        }
    }
    all_whole
}
