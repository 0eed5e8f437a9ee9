//! A savepoint: a snapshot and what it needs to be of use elsewhere, in one file that belongs to whoever exported it.
//!
//! ```text
//! tripline savepoint 1 CRC32C-OF-THE-NEXT-LINE
//! {"manifest": {..}, "decisions": [..]}
//! the parts, one after the other
//! ```

use super::form::{Level, Manifest, Part, Refusal, Snapshot, crc32c};
use super::kept::{self, Fault};
use super::place::Place;
use super::writer::write;
use crate::console::say;
use crate::serve::now_micros;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

/// What the first line begins with; the number is raised with every change of the form.
const MAGIC: &str = "tripline savepoint 1 ";

/// LIMIT: the manifest and all decisions have less than so many bytes together; the texts of rules are most of it.
const HEAD_BYTES: usize = 256 << 20;

/// A savepoint that was read and found whole.
#[derive(Debug)]
pub(crate) struct Savepoint {
    pub(crate) snapshot: Snapshot,
    /// In microseconds.
    pub(crate) taken: i64,
    pub(crate) program: String,
    /// What the task had decided by then, as its kind of service writes it down; empty where that stays in its own store.
    pub(crate) decisions: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    manifest: Value,
    decisions: Vec<Value>,
}

/// Writes the newest snapshot of a task that is of use into a file, which must not be there yet. `fits` gives the decisions
/// that go with a mark, if it is one of the task's. The name of the snapshot; none if there is none.
pub(crate) fn export(
    place: &Place,
    fits: impl Fn(&str) -> Option<Vec<Value>>,
    file: &Path,
) -> io::Result<Option<String>> {
    for name in kept::names(place)?.into_iter().rev() {
        let found = kept::manifest(place, &name).and_then(|manifest| {
            let Some(decisions) = fits(&manifest.mark) else { return Ok(None) };
            kept::load(place, &manifest, &|| {})?;
            Ok(Some((manifest, decisions)))
        });
        match found {
            Ok(Some((manifest, decisions))) => {
                write_file(place, &manifest, decisions, file)?;
                return Ok(Some(name));
            }
            Ok(None) => {}
            Err(Fault { why, .. }) => say!("snapshot {name} cannot be used: {why}"),
        }
    }
    Ok(None)
}

fn write_file(place: &Place, manifest: &Manifest, decisions: Vec<Value>, file: &Path) -> io::Result<()> {
    let head = Head { manifest: serde_json::to_value(manifest)?, decisions };
    let line = serde_json::to_string(&head)?;
    if line.len() >= HEAD_BYTES {
        return Err(io::Error::other(format!(
            "the decisions before it take {} bytes, and a savepoint holds less than {HEAD_BYTES} of them",
            line.len()
        )));
    }
    let mut out = File::create_new(file)?;
    writeln!(out, "{MAGIC}{:08x}\n{line}", crc32c(&[line.as_bytes()]))?;
    for (path, _) in manifest.levels.iter().flat_map(Level::paths) {
        out.write_all(&place.read(&path)?)?;
    }
    out.sync_all()
}

/// The next line, which has at most so many bytes; what is longer, or no text, is no savepoint.
fn line_of(input: &mut impl BufRead, most: usize) -> Result<String, String> {
    let mut line = Vec::new();
    input.take(most as u64).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    let text = String::from_utf8(line).ok().filter(|line| line.ends_with('\n'));
    text.ok_or_else(|| "not a savepoint of a form that this version reads".to_owned())
}

impl Savepoint {
    /// Reads a file to its end.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let mut input = BufReader::new(File::open(file).map_err(text)?);
        let first = line_of(&mut input, MAGIC.len() + 9)?;
        let sum = first.strip_prefix(MAGIC).ok_or("not a savepoint of a form that this version reads")?;
        let line = line_of(&mut input, HEAD_BYTES)?;
        let line = line.trim_end();
        if format!("{:08x}", crc32c(&[line.as_bytes()])) != sum.trim_end() {
            return Err("the checksum of its head does not fit".to_owned());
        }
        let Head { manifest, decisions } = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let manifest = Manifest::read(manifest.to_string().as_bytes()).map_err(|refusal| match refusal {
            Refusal::Version(why) | Refusal::Damaged(why) => why,
        })?;
        if let Some(why) = manifest.refusal() {
            return Err(why);
        }
        let mut next = |_: &str, part: &Part| -> Result<Vec<u8>, String> {
            let mut bytes = Vec::new();
            input.by_ref().take(part.bytes).read_to_end(&mut bytes).map_err(text)?;
            Ok(bytes)
        };
        let levels = manifest.levels.iter().map(|level| level.unpack(&mut next)).collect::<Result<_, _>>()?;
        if !input.fill_buf().map_err(text)?.is_empty() {
            return Err("it goes on behind its end".to_owned());
        }
        let Manifest { taken, program, mark, cut, .. } = manifest;
        Ok(Self { snapshot: Snapshot { mark, cut, levels }, taken, program, decisions })
    }

    /// Puts it into the place of a task, as the snapshot of a commit of that task.
    pub(crate) fn put(&self, place: &Place, number: u64, mark: &str) -> io::Result<String> {
        let reference = (number, now_micros() as u64);
        let manifest = Manifest::new(self.taken, mark, &self.snapshot.cut, Vec::new());
        write(place, reference, manifest, &self.snapshot.levels)?;
        Ok(kept::name_of(reference))
    }
}
