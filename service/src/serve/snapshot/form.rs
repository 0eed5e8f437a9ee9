//! The form of a snapshot: parts that hold the state in blocks, and a manifest that names them.
//!
//! A block is compressed and bears its lengths and a checksum, so that damage is found before anything is unpacked; a
//! digest over all of it says that the blocks belong together.

use crate::serve::core::Cut;
use crate::serve::hex;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use engine::task::Task;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Raised with every change of the form.
pub(crate) const FORM: u32 = 3;
/// Bytes of state in a block.
const BLOCK: usize = 1 << 20;
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
    /// Of the state, before it was compressed.
    pub(crate) bytes: u64,
    /// SHA-256 of the mark, the cut, and the state.
    digest: String,
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
    pub(crate) state: Vec<u8>,
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

/// The parts of a state, one at a time: only one of them is held beside the state.
pub(crate) fn parts(state: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut blocks = state.chunks(BLOCK);
    std::iter::from_fn(move || {
        let mut part = Vec::new();
        while part.len() < PART {
            let Some(block) = blocks.next() else { break };
            let packed = lz4_flex::block::compress(block);
            let lengths = [(block.len() as u32).to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat();
            part.extend_from_slice(&lengths);
            part.extend_from_slice(&crc32c(&[&lengths, &packed]).to_le_bytes());
            part.extend_from_slice(&packed);
        }
        (!part.is_empty()).then_some(part)
    })
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
        state.extend(lz4_flex::block::decompress(packed, length).map_err(|e| e.to_string())?);
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

impl Manifest {
    /// Of a state at a commit; its parts are named when they are written.
    pub(crate) fn new(taken: i64, mark: &str, cut: &Cut) -> Self {
        Self {
            form: FORM,
            program: program(),
            format: Task::SAVED_FORMAT,
            taken,
            mark: mark.to_owned(),
            cut: cut.clone(),
            bytes: 0,
            digest: String::new(),
            parts: Vec::new(),
        }
    }

    /// Says what its parts hold together.
    pub(crate) fn seal(&mut self, state: &[u8], parts: Vec<Part>) {
        self.bytes = state.len() as u64;
        self.digest = digest(&self.mark, &self.cut, state);
        self.parts = parts;
    }

    /// As it is written down: lines, so that people can read it.
    pub(crate) fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
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
        serde_json::from_slice(text).map_err(damaged)
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

    /// The state must be the one that was saved.
    pub(crate) fn check(&self, state: &[u8]) -> Result<(), String> {
        let is_own = state.len() as u64 == self.bytes && digest(&self.mark, &self.cut, state) == self.digest;
        if is_own { Ok(()) } else { Err("its digest does not fit".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that compress somewhat.
    fn state(length: usize) -> Vec<u8> {
        (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (60 - at % 7)) as u8).collect()
    }

    #[test]
    fn a_state_comes_back_from_its_parts_and_damage_is_found() {
        for length in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5, 2 * PART + 17] {
            let state = state(length);
            let parts: Vec<Vec<u8>> = parts(&state).collect();
            let mut found = Vec::new();
            for part in &parts {
                unpack(part, &mut found).unwrap();
                assert!(part.len() < PART + 2 * BLOCK);
            }
            assert_eq!(found, state);
        }
        let whole = parts(&state(5_000)).next().unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            assert!(unpack(&bytes, &mut Vec::new()).is_err(), "a flipped bit in byte {at}");
            assert!(at == 0 || unpack(&whole[..at], &mut Vec::new()).is_err(), "cut short at {at}");
        }
    }
}
