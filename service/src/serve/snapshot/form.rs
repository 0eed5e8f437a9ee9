//! The form of a snapshot: levels of a state, each in parts that hold it in blocks, and a manifest that names them.
//!
//! The first level is the base, all of a state; each further one holds what has changed since the one before. Those before the
//! last lie in the folders of earlier snapshots. A block is compressed and bears its lengths and a checksum, so that damage is
//! found before anything is unpacked; the manifest bears a digest of itself, and a checksum of each part.

use crate::serve::core::Cut;
use crate::serve::sha256_hex;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use engine::task::Task;
use serde::{Deserialize, Serialize};

/// Raised with every change of the form.
pub(crate) const FORM: u32 = 4;
/// Bytes of state in a block.
pub(crate) const BLOCK: usize = 1 << 20;
/// A part is ended at so many bytes.
const PART: usize = 8 << 20;
/// Length of the state and of what follows, and the checksum of both and of what follows.
const HEAD: usize = 12;

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    form: u32,
    /// The program that wrote it.
    pub(crate) program: String,
    /// The engine's format of what the parts hold.
    format: u32,
    /// When it was taken, in microseconds.
    pub(crate) taken: i64,
    /// The commit, as its kind of service writes it down.
    pub(crate) mark: String,
    pub(crate) cut: Cut,
    /// The base, then what has changed since, in order.
    pub(crate) levels: Vec<Level>,
    /// SHA-256 of the manifest as it would be without this.
    digest: String,
}

/// A base, or what has changed since the level before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Level {
    /// The snapshot that wrote it, whose folder it is in.
    pub(crate) snapshot: String,
    /// Of the state, before it was compressed.
    pub(crate) bytes: u64,
    pub(crate) parts: Vec<Part>,
}

/// What a manifest says of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// CRC32C of all of it.
    crc32c: u32,
}

/// What every form says of itself.
#[derive(Deserialize)]
struct AnyForm {
    form: u32,
    program: String,
}

/// Why a manifest cannot be used.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Another version wrote it.
    Version(String),
    Damaged(String),
}

/// A snapshot that was read and found whole.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Of the commit at which it was taken.
    pub(crate) mark: String,
    pub(crate) cut: Cut,
    pub(crate) levels: Vec<Vec<u8>>,
}

/// This program.
pub(crate) fn program() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// CRC32C of pieces, one after the other.
pub(super) fn crc32c(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(Crc32Iscsi);
    pieces.iter().for_each(|piece| digest.update(piece));
    digest.finalize() as u32
}

/// Packs a state, block by block, into parts: no more than one of them is held.
#[derive(Debug, Default)]
pub(super) struct Packer {
    part: Vec<u8>,
    /// Of the state, so far.
    pub(super) bytes: u64,
}

impl Packer {
    /// Adds a block of at most [`BLOCK`] bytes.
    pub(super) fn add(&mut self, block: &[u8]) {
        let packed = lz4_flex::block::compress(block);
        let lengths = [(block.len() as u32).to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat();
        self.part.extend_from_slice(&lengths);
        self.part.extend_from_slice(&crc32c(&[&lengths, &packed]).to_le_bytes());
        self.part.extend_from_slice(&packed);
        self.bytes += block.len() as u64;
    }

    /// A part that is full, or `last` anything that is left.
    pub(super) fn part(&mut self, last: bool) -> Option<Vec<u8>> {
        let is_due = self.part.len() >= PART || (last && !self.part.is_empty());
        is_due.then(|| std::mem::take(&mut self.part))
    }
}

/// Adds what a part holds to a state.
pub(crate) fn unpack(part: &[u8], state: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = part;
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(HEAD).ok_or("a block is cut short")?;
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&head[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        let (packed, next) = after.split_at_checked(number(4) as usize).ok_or("a block is cut short")?;
        let length = number(0) as usize;
        if crc32c(&[&head[..8], packed]) != number(8) || length > BLOCK {
            return Err("the checksum of a block does not fit".to_owned());
        }
        let start = state.len();
        state.resize(start + length, 0);
        match lz4_flex::block::decompress_into(packed, &mut state[start..]) {
            Ok(found) if found == length => {}
            Ok(found) => return Err(format!("a block has {found} bytes, not {length}")),
            Err(error) => return Err(error.to_string()),
        }
        rest = next;
    }
    Ok(())
}

impl Part {
    /// What a manifest says of these bytes.
    pub(crate) fn of(number: usize, bytes: &[u8]) -> Self {
        Self { name: format!("{number:04}.part"), bytes: bytes.len() as u64, crc32c: crc32c(&[bytes]) }
    }

    /// Whether these are its bytes.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 != self.bytes {
            return Err(format!("{} has {} bytes, not {}", self.name, bytes.len(), self.bytes));
        }
        if crc32c(&[bytes]) != self.crc32c {
            return Err(format!("the checksum of {} does not fit", self.name));
        }
        Ok(())
    }
}

impl Level {
    /// Of its parts.
    pub(crate) fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The names of its parts, with the folder.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (String, &Part)> {
        self.parts.iter().map(|part| (format!("{}/{}", self.snapshot, part.name), part))
    }

    /// Unpacks what its parts hold: `read` gives their bytes in order.
    pub(crate) fn unpack<E: From<String>>(
        &self,
        mut read: impl FnMut(&str, &Part) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let mut state = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or(0));
        for (path, part) in self.paths() {
            let bytes = read(&path, part)?;
            part.check(&bytes)?;
            unpack(&bytes, &mut state)?;
        }
        if state.len() as u64 != self.bytes {
            return Err(format!("a level has {} bytes, not {}", state.len(), self.bytes).into());
        }
        Ok(state)
    }
}

impl Manifest {
    /// Of a state at a commit; its own level is added when it is written.
    pub(crate) fn new(taken: i64, mark: &str, cut: &Cut, before: Vec<Level>) -> Self {
        Self {
            form: FORM,
            program: program(),
            format: Task::SAVED_FORMAT,
            taken,
            mark: mark.to_owned(),
            cut: cut.clone(),
            levels: before,
            digest: String::new(),
        }
    }

    /// As it is written down: lines, so that people can read it.
    pub(crate) fn text(&self) -> Vec<u8> {
        let sealed = Self { digest: self.own_digest(), ..self.clone() };
        serde_json::to_vec_pretty(&sealed).unwrap_or_default()
    }

    fn own_digest(&self) -> String {
        let open = Self { digest: String::new(), ..self.clone() };
        sha256_hex(&serde_json::to_vec(&open).unwrap_or_default())
    }

    /// Reads one that this program can use.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Refusal> {
        let damaged = |error: serde_json::Error| Refusal::Damaged(format!("no manifest: {error}"));
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<AnyForm>();
        // Before form 3 the state followed at once.
        let any = values.next().unwrap_or_else(|| serde_json::from_str("")).map_err(damaged)?;
        if any.form != FORM {
            let (AnyForm { form, program: other }, own) = (any, program());
            return Err(Refusal::Version(format!(
                "version {other} wrote it in form {form}, and this one, {own}, reads form {FORM}"
            )));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(damaged)?;
        if manifest.own_digest() != manifest.digest {
            return Err(Refusal::Damaged("its digest does not fit".to_owned()));
        }
        Ok(manifest)
    }

    /// Why this program cannot use it.
    pub(crate) fn refusal(&self) -> Option<String> {
        (self.format != Task::SAVED_FORMAT).then(|| {
            format!(
                "version {} wrote its state in format {}, and this one, {}, reads format {}",
                self.program,
                self.format,
                program(),
                Task::SAVED_FORMAT
            )
        })
    }

    /// Of all its parts.
    pub(crate) fn size(&self) -> u64 {
        self.levels.iter().map(Level::size).sum()
    }

    /// The snapshot that wrote its base.
    pub(crate) fn base(&self) -> Option<&str> {
        self.levels.first().map(|level| level.snapshot.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that compress somewhat.
    fn state(length: usize) -> Vec<u8> {
        (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (60 - at % 7)) as u8).collect()
    }

    fn parts(state: &[u8]) -> Vec<Vec<u8>> {
        let mut packer = Packer::default();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for block in state.chunks(BLOCK) {
            packer.add(block);
            parts.extend(packer.part(false));
        }
        parts.extend(packer.part(true));
        parts
    }

    #[test]
    fn a_state_comes_back_from_its_parts_and_damage_is_found() {
        for length in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5, 2 * PART + 17] {
            let state = state(length);
            let parts = parts(&state);
            let mut found = Vec::new();
            for part in &parts {
                unpack(part, &mut found).unwrap();
                assert!(part.len() < PART + 2 * BLOCK);
            }
            assert_eq!(found, state);
        }
        let whole = parts(&state(5_000)).remove(0);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            assert!(unpack(&bytes, &mut Vec::new()).is_err(), "a flipped bit in byte {at}");
            assert!(at == 0 || unpack(&whole[..at], &mut Vec::new()).is_err(), "cut short at {at}");
        }
    }
}
