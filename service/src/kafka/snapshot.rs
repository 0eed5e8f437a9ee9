//! Snapshots: the task as it stood at a commit, so that recovery reads on from there.
//!
//! A snapshot is a file in the data folder. It is written beside the work; once it is on disk, the metadata of later
//! commits names it. One that is damaged, or is missing because another host has the folder, costs a longer replay and
//! nothing else: any older one does, and so does none.

use super::mark::Mark;
use crate::serve::core::Cut;
use crate::serve::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Raised with every change of the file's form.
const FORM: u32 = 2;
/// Snapshots that are kept.
const KEPT: usize = 3;

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    form: u32,
    /// The program that wrote it: another version reads its own only.
    program: String,
    mark: String,
    cut: Cut,
    /// SHA-256 of the mark, the cut, and the state that follows.
    digest: String,
}

/// A snapshot that was read and found whole.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Of the commit at which it was taken.
    pub(crate) mark: Mark,
    pub(crate) cut: Cut,
    pub(crate) state: Vec<u8>,
}

/// The newest durable snapshot, as metadata names it: epoch and attempt; zeros if there is none.
pub(crate) type Reference = (u64, u64);

/// Writes snapshots, one at a time.
pub(crate) struct Snapshots {
    folder: PathBuf,
    attempt: u64,
    writing: Option<JoinHandle<io::Result<Reference>>>,
}

fn file_name((epoch, attempt): Reference) -> String {
    format!("{epoch:020}-{attempt}")
}

fn digest(mark: &str, cut: &Cut, state: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(mark.as_bytes());
    for (name, offset) in cut {
        hasher.update(format!("\n{name} {offset}").as_bytes());
    }
    hasher.update(b"\n");
    hasher.update(state);
    hex(&hasher.finalize())
}

fn program() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

impl Snapshots {
    /// Of the task with this lineage; `attempt` tells this process from others.
    pub(crate) fn new(data: &Path, lineage: &str, attempt: u64) -> Self {
        Self { folder: data.join("snapshots").join(lineage), attempt, writing: None }
    }

    /// Begins to write a snapshot; does nothing while one is being written.
    pub(crate) fn write(&mut self, mark: &Mark, cut: &Cut, state: Vec<u8>) {
        if self.writing.is_some() {
            return;
        }
        let manifest = Manifest {
            form: FORM,
            program: program(),
            mark: mark.to_string(),
            cut: cut.clone(),
            digest: digest(&mark.to_string(), cut, &state),
        };
        let (folder, reference) = (self.folder.clone(), (mark.epoch, self.attempt));
        self.writing = Some(std::thread::spawn(move || store(&folder, reference, &manifest, &state)));
    }

    /// What became of it, once it is written or has failed.
    pub(crate) fn finished(&mut self) -> Option<io::Result<Reference>> {
        let writing = self.writing.take_if(|writing| writing.is_finished())?;
        Some(writing.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread is gone"))))
    }

    /// The newest intact snapshot that is no newer than the commit: the one that it names, or an older one.
    pub(crate) fn newest(&self, last: &Mark) -> Option<Snapshot> {
        for name in names(&self.folder).ok()?.into_iter().rev() {
            let path = self.folder.join(&name);
            match load(&path) {
                Ok(snapshot)
                    if snapshot.mark.lineage == last.lineage && snapshot.mark.epoch <= last.epoch =>
                {
                    return Some(snapshot);
                }
                Ok(_) => {}
                Err(error) => {
                    metrics::counter!("tripline_snapshot_failures_total", "reason" => "damaged").increment(1);
                    tracing::warn!(%error, "snapshot {name} cannot be used; the replay is longer");
                }
            }
        }
        None
    }
}

/// File names of snapshots, oldest first.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".part") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Writes the file so that it is either whole or not there, and forgets the oldest.
fn store(folder: &Path, reference: Reference, manifest: &Manifest, state: &[u8]) -> io::Result<Reference> {
    fs::create_dir_all(folder)?;
    let path = folder.join(file_name(reference));
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part)?;
    serde_json::to_writer(&mut file, manifest)?;
    file.write_all(b"\n")?;
    file.write_all(state)?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    fs::File::open(folder)?.sync_all()?;
    let names = names(folder)?;
    for old in names.iter().take(names.len().saturating_sub(KEPT)) {
        fs::remove_file(folder.join(old))?;
    }
    Ok(reference)
}

fn load(path: &Path) -> Result<Snapshot, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("it has no manifest")?;
    let manifest: Manifest = serde_json::from_slice(&bytes[..end]).map_err(|e| e.to_string())?;
    if manifest.form != FORM || manifest.program != program() {
        return Err(format!("version {} wrote it", manifest.program));
    }
    let state = bytes[end + 1..].to_vec();
    if digest(&manifest.mark, &manifest.cut, &state) != manifest.digest {
        return Err("its digest does not fit".to_owned());
    }
    Ok(Snapshot { mark: manifest.mark.parse()?, cut: manifest.cut, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::mark::Tally;

    fn mark(epoch: u64) -> Mark {
        Mark { lineage: "l".into(), epoch, tally: Tally::default(), decisions: 1, snapshot: (0, 0) }
    }

    fn write(snapshots: &mut Snapshots, epoch: u64) {
        snapshots.write(&mark(epoch), &Cut::from([("a/0".into(), epoch)]), vec![epoch as u8; 100]);
        while snapshots.writing.as_ref().is_some_and(|w| !w.is_finished()) {
            std::thread::yield_now();
        }
        assert_eq!(snapshots.finished().unwrap().unwrap(), (epoch, 7));
    }

    #[test]
    fn the_newest_whole_one_before_the_commit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshots = Snapshots::new(folder.path(), "l", 7);
        assert!(snapshots.newest(&mark(9)).is_none());
        for epoch in [2, 4, 6, 8] {
            write(&mut snapshots, epoch);
        }
        let found = |last| snapshots.newest(&mark(last)).map(|s| (s.mark.epoch, s.state.len()));
        assert_eq!(found(9), Some((8, 100)));
        assert_eq!(found(7), Some((6, 100)), "a later one is not committed");
        assert_eq!(found(3), None, "three are kept");
        let path = snapshots.folder.join(file_name((8, 7)));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(snapshots.newest(&mark(9)).unwrap().mark.epoch, 6, "a flipped bit");
        fs::write(&path, b"").unwrap();
        assert_eq!(snapshots.newest(&mark(9)).unwrap().mark.epoch, 6, "cut short");
        fs::remove_file(&path).unwrap();
        assert_eq!(snapshots.newest(&mark(9)).unwrap().mark.epoch, 6, "gone");
    }
}
