//! The snapshots that are kept: finding, reading, judging and forgetting them.

use super::form::{Level, Manifest, Refusal, Snapshot};
use super::place::Place;
use super::writer::is_wanted;
use super::{Cut, Reference};
use metrics::counter;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// The object that makes the parts beside it a snapshot.
pub(super) const MANIFEST: &str = "manifest.json";

/// A snapshot as it lies in its place.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    pub(crate) path: String,
    /// Of its parts, those of earlier snapshots included.
    pub(crate) bytes: u64,
    /// The base and what has changed since, in order: who wrote it, and the bytes of its parts.
    pub(crate) levels: Vec<KeptLevel>,
    pub(crate) program: String,
    /// By partition, the offset that it goes up to.
    pub(crate) cut: Cut,
    /// Why this program cannot use it.
    pub(crate) unusable: Option<String>,
}

/// A level of a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct KeptLevel {
    pub(crate) snapshot: String,
    pub(crate) bytes: u64,
}

/// Why a snapshot cannot be used.
#[derive(Debug, Clone)]
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

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::damaged(why)
    }
}

/// All snapshots at and below a place, oldest first in each folder; `whole`: each is read to its end.
pub(crate) fn all(place: &Place, whole: bool) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    let mut known = Known::default();
    for object in place.names()? {
        let folder = match object.rsplit_once('/') {
            Some((folder, MANIFEST)) => folder,
            // Before form 3 a snapshot was one file.
            Some((_, file)) if of_name(file).is_some() => &object,
            _ => continue,
        };
        let (path, head) = (format!("{place}/{folder}"), manifest_in(place, &object));
        let task = folder.rsplit_once('/').map_or("", |(task, _)| task);
        let unusable = match &head {
            Ok(head) if whole => known.check(&place.within(task), head).err().map(|fault| fault.why),
            Ok(head) => head.refusal(),
            Err(fault) => Some(fault.why.clone()),
        };
        let Ok(manifest) = head else {
            let (program, cut, levels) = (String::new(), Cut::new(), Vec::new());
            found.push(Kept { path, bytes: 0, levels, program, cut, unusable });
            continue;
        };
        let bytes = manifest.size();
        let Manifest { program, cut, levels, .. } = manifest;
        let shown = |level: Level| KeptLevel { bytes: level.size(), snapshot: level.snapshot };
        let levels = levels.into_iter().map(shown).collect();
        found.push(Kept { path, bytes, levels, program, cut, unusable });
    }
    Ok(found)
}

/// Levels that were read to their end, by the snapshot that wrote them and where they are: several snapshots share them.
#[derive(Default)]
struct Known(BTreeMap<(String, String), Result<(), Fault>>);

impl Known {
    /// Reads all that a snapshot is made of, and keeps none of it.
    fn check(&mut self, place: &Place, manifest: &Manifest) -> Result<(), Fault> {
        usable(manifest)?;
        manifest.levels.iter().try_for_each(|level| {
            let parts = serde_json::to_string(&level).unwrap_or_default();
            let known = self.0.entry((place.to_string(), parts));
            let read = || level.unpack(|path, _| read(place, path)).map(drop);
            known.or_insert_with(read).clone()
        })
    }
}

fn usable(manifest: &Manifest) -> Result<(), Fault> {
    manifest.refusal().map_or(Ok(()), |why| Err(Fault { reason: "version", why }))
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
pub(super) fn load(place: &Place, manifest: &Manifest, beat: &dyn Fn()) -> Result<Snapshot, Fault> {
    usable(manifest)?;
    let state = |level: &Level| {
        level.unpack(|path, _| {
            beat();
            read(place, path)
        })
    };
    let levels = manifest.levels.iter().map(state).collect::<Result<_, Fault>>()?;
    Ok(Snapshot { mark: manifest.mark.clone(), cut: manifest.cut.clone(), levels })
}

/// Removes what is older than the `keep` newest of those up to a commit: manifests first, so that none names what is gone. What
/// another one names stays where it is, and so does the newest with another base than the last, since damage in a base is
/// damage in all that build on it.
///
/// WHY: by number alone, since numbers only grow. A worker that was stopped for an hour, and does not know that it has lost its
/// task, removes nothing that its successor needs: that begins with a base of its own, at a commit that is no earlier.
pub(super) fn forget(place: &Place, committed: u64, keep: usize) -> io::Result<()> {
    let objects = place.names()?;
    let whole = objects.iter().filter(|object| object.ends_with(MANIFEST)).filter_map(|o| of_object(o));
    let mut whole: Vec<Reference> = whole.collect();
    whole.sort_unstable_by(|a, b| b.cmp(a));
    let own = whole.partition_point(|(number, _)| *number > committed);
    let Some((oldest, _)) = whole.get((own + keep).saturating_sub(1)).copied() else { return Ok(()) };
    let old = whole.partition_point(|(number, _)| *number >= oldest);
    let kept = whole[..old].iter().map(|one| known(place, *one)).collect::<io::Result<Vec<_>>>()?;
    let base = kept.get(own).and_then(|newest| newest.as_ref()?.base());
    let is_other = |one: &Option<Manifest>| one.as_ref().is_some_and(|one| one.base() != base);
    let mut spare = None;
    if !kept[own..].iter().any(is_other) {
        for one in &whole[old..] {
            let manifest = known(place, *one)?;
            if is_other(&manifest) {
                spare = manifest.map(|manifest| (name_of(*one), manifest));
                break;
            }
        }
    }
    let spared = spare.as_ref().map(|(name, _)| name.as_str());
    let manifests = kept.iter().flatten().chain(spare.as_ref().map(|(_, manifest)| manifest));
    let named: BTreeSet<&str> =
        manifests.flat_map(|one| &one.levels).map(|level| level.snapshot.as_str()).collect();
    let stays = |object: &str| {
        let folder = object.split('/').next().unwrap_or_default();
        if object.ends_with(MANIFEST) { spared == Some(folder) } else { named.contains(folder) }
    };
    let old = objects.iter().filter(|object| of_object(object).is_some_and(|(number, _)| number < oldest));
    let (manifests, parts): (Vec<&String>, Vec<&String>) =
        old.filter(|object| !stays(object)).partition(|object| object.ends_with(MANIFEST));
    manifests.into_iter().chain(parts).try_for_each(|object| place.delete(object))
}

/// The manifest of a snapshot; none if it names nothing that this program could use.
fn known(place: &Place, reference: Reference) -> io::Result<Option<Manifest>> {
    match manifest(place, &name_of(reference)) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(Fault { reason: "read", why }) => Err(io::Error::other(why)),
        Err(_) => Ok(None),
    }
}

/// Reads every snapshot again, and counts. False if one is damaged.
pub(super) fn scrub(place: &Place, is_on: &Receiver<()>) -> bool {
    let (mut all_whole, mut known) = (true, Known::default());
    for name in names(place).unwrap_or_default() {
        if !is_wanted(is_on, Duration::ZERO) {
            break;
        }
        let read = manifest(place, &name).and_then(|manifest| known.check(place, &manifest));
        let outcome = if read.is_ok() { "whole" } else { "damaged" };
        counter!("tripline_snapshots_scrubbed_total", "outcome" => outcome).increment(1);
        if let Err(fault) = read {
            all_whole = false;
            tracing::warn!(fault.why, "snapshot {place}/{name} cannot be used any more; another is taken");
        }
    }
    all_whole
}
