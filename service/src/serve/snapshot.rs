//! Snapshots: the task as it stood at a commit, so that recovery reads on from there.
//!
//! A snapshot is a file in the data folder, written beside the work. One that is damaged, or is missing because another host
//! has the folder, costs a longer replay and nothing else: any older one does, and so does none.

use super::core::{Core, Cut};
use super::hex;
use metrics::{counter, gauge, histogram};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Raised with every change of the file's form.
const FORM: u32 = 2;
/// Snapshots that are kept.
const KEPT: usize = 3;
/// How often one is taken, while there are commits.
const EVERY: Duration = Duration::from_secs(10);

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    form: u32,
    /// The program that wrote it: another version reads its own only.
    program: String,
    /// The commit, as its kind of service writes it down.
    mark: String,
    cut: Cut,
    /// SHA-256 of the mark, the cut, and the state that follows.
    digest: String,
}

/// A snapshot as it lies in its folder.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    /// Of the whole file.
    pub(crate) bytes: u64,
    pub(crate) program: String,
    /// By partition, the offset that it goes up to.
    pub(crate) cut: Cut,
    /// Why this program cannot use it.
    pub(crate) unusable: Option<String>,
}

/// The snapshots in a data folder, oldest first in each of its folders; `whole`: each is read to its end.
pub(crate) fn kept(data: &Path, whole: bool) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = match fs::read_dir(data.join("snapshots")) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && data.is_dir() => Vec::new(),
        Err(error) => return Err(error),
    };
    folders.sort();
    for folder in folders {
        for name in names(&folder)? {
            let path = folder.join(name);
            let bytes = fs::metadata(&path)?.len();
            let head = manifest(&path);
            let unusable = match (&head, whole) {
                (Ok(_), true) => load(&path).err(),
                (Ok(head), false) => head.refusal(),
                (Err(why), _) => Some(why.clone()),
            };
            let (program, cut) = head.map(|head| (head.program, head.cut)).unwrap_or_default();
            found.push(Kept { path, bytes, program, cut, unusable });
        }
    }
    Ok(found)
}

/// A snapshot that was read and found whole.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Of the commit at which it was taken.
    pub(crate) mark: String,
    pub(crate) cut: Cut,
    pub(crate) state: Vec<u8>,
}

/// The newest durable snapshot: the number of its commit, and the attempt; zeros if there is none.
pub(crate) type Reference = (u64, u64);

/// Writes snapshots, one at a time.
pub(crate) struct Snapshots {
    folder: PathBuf,
    attempt: u64,
    writing: Option<JoinHandle<io::Result<Reference>>>,
    due: Instant,
    /// The number of the last one that was begun, or that the work began with.
    last: Option<u64>,
}

fn file_name((number, attempt): Reference) -> String {
    format!("{number:020}-{attempt}")
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
    /// In a folder; `attempt` tells this process from others.
    pub(crate) fn new(folder: PathBuf, attempt: u64) -> Self {
        Self { folder, attempt, writing: None, due: Instant::now() + EVERY, last: None }
    }

    /// Has the next commit leave one.
    ///
    /// WHY: a service that dies again and again would else replay more each time.
    pub(crate) fn hurry(&mut self) {
        self.due = Instant::now();
    }

    /// Takes a snapshot of a core that stands at a commit, if one is due and none is being written. `mark` is asked for then.
    pub(crate) fn take(&mut self, number: u64, mark: impl FnOnce() -> Option<String>, core: &Core) {
        if Instant::now() < self.due || self.writing.is_some() || self.last == Some(number) {
            return;
        }
        let Some(mark) = mark() else { return };
        self.last = Some(number);
        let begun = Instant::now();
        let state = core.save();
        gauge!("tripline_snapshot_bytes").set(state.len() as f64);
        self.write(number, &mark, &core.cut(), state);
        let took = begun.elapsed();
        histogram!("tripline_snapshot_duration_seconds").record(took.as_secs_f64());
        // A large state is saved less often: at most a twentieth of the time goes there.
        self.due = Instant::now() + EVERY.max(took * 20);
    }

    /// Begins to write a snapshot.
    fn write(&mut self, number: u64, mark: &str, cut: &Cut, state: Vec<u8>) {
        let manifest = Manifest {
            form: FORM,
            program: program(),
            mark: mark.to_owned(),
            cut: cut.clone(),
            digest: digest(mark, cut, &state),
        };
        let (folder, reference) = (self.folder.clone(), (number, self.attempt));
        self.writing = Some(std::thread::spawn(move || store(&folder, reference, &manifest, &state)));
    }

    /// The one that has been written since this was last asked.
    pub(crate) fn finished(&mut self) -> Option<Reference> {
        let writing = self.writing.take_if(|writing| writing.is_finished())?;
        ended(writing)
    }

    /// Takes one before the service ends, and waits until it is written: the next start replays nothing.
    pub(crate) fn take_last(&mut self, number: u64, mark: impl FnOnce() -> Option<String>, core: &Core) {
        self.writing.take().and_then(ended);
        self.hurry();
        self.take(number, mark, core);
        self.writing.take().and_then(ended);
    }

    /// The newest intact snapshot that is of use: `number` tells of its mark whether its commit fits, and which that is.
    pub(crate) fn newest<T>(
        &mut self,
        number: impl Fn(&str) -> Option<u64>,
        mut put_back: impl FnMut(&Snapshot) -> Option<T>,
    ) -> Option<T> {
        for name in names(&self.folder).ok()?.into_iter().rev() {
            match load(&self.folder.join(&name)) {
                Ok(snapshot) => {
                    let Some(number) = number(&snapshot.mark) else { continue };
                    if let Some(found) = put_back(&snapshot) {
                        self.last = Some(number);
                        return Some(found);
                    }
                }
                Err(error) => {
                    counter!("tripline_snapshot_failures_total", "reason" => "damaged").increment(1);
                    tracing::warn!(%error, "snapshot {name} cannot be used; the replay is longer");
                }
            }
        }
        None
    }
}

/// What became of a snapshot that was being written.
fn ended(writing: JoinHandle<io::Result<Reference>>) -> Option<Reference> {
    let outcome = writing.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread is gone")));
    outcome
        .inspect_err(|error| {
            counter!("tripline_snapshot_failures_total", "reason" => "write").increment(1);
            tracing::warn!(%error, "a snapshot was not written; the next restart replays more");
        })
        .ok()
}

/// Counts a snapshot that is whole but of no use here.
pub(crate) fn unfit(why: &str) {
    counter!("tripline_snapshot_failures_total", "reason" => "unfit").increment(1);
    tracing::warn!(why, "a snapshot does not fit; the replay is longer");
}

/// The attempt and the number in the name of a snapshot; none of another file.
fn of_name(name: &str) -> Option<(u64, u64)> {
    let (number, attempt) = name.split_once('-')?;
    Some((attempt.parse().ok()?, number.parse().ok()?))
}

/// File names of snapshots, oldest first: numbers may begin anew when an older store is put back, attempts do not.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(of_name(&name).map(|place| (place, name)));
    }
    names.sort();
    Ok(names.into_iter().map(|(_, name)| name).collect())
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
    forget_parts(folder)?;
    let names = names(folder)?;
    for old in names.iter().take(names.len().saturating_sub(KEPT)) {
        fs::remove_file(folder.join(old))?;
    }
    Ok(reference)
}

/// Removes what a kill has left of snapshots that were being written.
fn forget_parts(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

impl Manifest {
    /// Why this program cannot use it.
    fn refusal(&self) -> Option<String> {
        let is_own = self.form == FORM && self.program == program();
        (!is_own).then(|| format!("version {} wrote it", self.program))
    }
}

/// The first line of a snapshot.
fn manifest(path: &Path) -> Result<Manifest, String> {
    let mut line = String::new();
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    io::BufReader::new(file).read_line(&mut line).map_err(|e| e.to_string())?;
    if !line.ends_with('\n') {
        return Err("it has no manifest".to_owned());
    }
    serde_json::from_str(&line).map_err(|e| e.to_string())
}

fn load(path: &Path) -> Result<Snapshot, String> {
    let manifest = manifest(path)?;
    if let Some(why) = manifest.refusal() {
        return Err(why);
    }
    let mut state = fs::read(path).map_err(|e| e.to_string())?;
    let end = state.iter().position(|b| *b == b'\n').ok_or("it has no manifest")?;
    state.drain(..=end);
    if digest(&manifest.mark, &manifest.cut, &state) != manifest.digest {
        return Err("its digest does not fit".to_owned());
    }
    Ok(Snapshot { mark: manifest.mark, cut: manifest.cut, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(snapshots: &mut Snapshots, number: u64) {
        snapshots.write(
            number,
            &number.to_string(),
            &Cut::from([("a/0".into(), number)]),
            vec![number as u8; 100],
        );
        let written = snapshots.writing.take().and_then(ended);
        assert_eq!(written, Some((number, 7)));
    }

    #[test]
    fn the_newest_whole_one_before_the_commit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshots = Snapshots::new(folder.path().join("l"), 7);
        let newest = |snapshots: &mut Snapshots, last: u64| {
            let number = |mark: &str| mark.parse::<u64>().ok().filter(|number| *number <= last);
            snapshots.newest(number, |found| Some((found.mark.parse::<u64>().unwrap(), found.state.len())))
        };
        assert_eq!(newest(&mut snapshots, 9), None);
        for number in [2, 4, 6, 8] {
            write(&mut snapshots, number);
        }
        assert_eq!(newest(&mut snapshots, 9), Some((8, 100)));
        assert_eq!(newest(&mut snapshots, 7), Some((6, 100)), "a later one is not committed");
        assert_eq!(newest(&mut snapshots, 3), None, "three are kept");
        let path = snapshots.folder.join(file_name((8, 7)));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(newest(&mut snapshots, 9), Some((6, 100)), "a flipped bit");
        fs::write(&path, b"").unwrap();
        assert_eq!(newest(&mut snapshots, 9), Some((6, 100)), "cut short");
        fs::remove_file(&path).unwrap();
        assert_eq!(newest(&mut snapshots, 9), Some((6, 100)), "gone");
        // Other files are none of its business, but for what a kill has left of its own.
        let at = |name: &str| snapshots.folder.join(name);
        let (left, other) = (at("00000000000000000009-7.part"), at("README"));
        fs::write(&left, b"half").unwrap();
        fs::write(&other, b"mine").unwrap();
        assert_eq!(snapshots.newest(|mark| mark.parse().ok(), |_| None::<()>), None, "none is of use");
        // An older store was put back: numbers begin anew, and what is written now is kept.
        snapshots.attempt = 8;
        snapshots.write(3, "3", &Cut::new(), vec![3]);
        assert_eq!(snapshots.writing.take().and_then(ended), Some((3, 8)));
        assert_eq!(newest(&mut snapshots, 9), Some((3, 1)));
        assert!(!left.exists() && other.exists());
    }
}
