//! Writes one snapshot, beside the work, as the state comes in, for as long as it takes.
//!
//! While the store does not answer, the same part is tried again and again: the work goes on, what is frozen waits, and nothing
//! is frozen anew meanwhile.

use super::form::{BLOCK, Level, Manifest, Packer, Part};
use super::place::Place;
use super::{Reference, kept};
use crate::clock;
use metrics::counter;
use std::io::{self, ErrorKind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::{Duration, Instant};

/// Before the first further try, and at most before any.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Blocks of state that may wait to be packed.
const BLOCKS: usize = 4;
/// How long a state may be on its way; only looked at anew then.
const LONG: Duration = Duration::from_secs(3_600);

/// A snapshot that is durable.
pub(super) struct Written {
    pub(super) reference: Reference,
    /// In microseconds.
    pub(super) taken: i64,
    pub(super) took: Duration,
    /// What its manifest names.
    pub(super) levels: Vec<Level>,
    /// Another one was found damaged.
    pub(super) is_damaged: bool,
}

/// A snapshot that is being written.
pub(super) struct Job {
    /// What became of it; none if it was not written.
    outcome: Receiver<Option<Written>>,
    /// When this is gone, there are no further tries.
    go_on: Option<Sender<()>>,
}

/// A block of state; none = that was all.
pub(super) type Block = Option<Vec<u8>>;

impl Job {
    /// Begins, and says where the state goes. `keep`: of so many of the newest nothing is removed. `scrub`: they are read again
    /// afterwards.
    pub(super) fn begin(
        place: Place,
        reference: Reference,
        manifest: Manifest,
        keep: usize,
        scrub: bool,
    ) -> (Self, SyncSender<Block>) {
        let ((go_on, is_on), (tell, outcome)) = (channel(), channel());
        let (feed, state) = sync_channel(BLOCKS);
        clock::beside(move || {
            let writer = Writer { place, reference, is_on };
            // Whoever began it may be gone by then.
            let _ = tell.send(writer.write_one(manifest, &state, keep, scrub));
        });
        (Self { outcome, go_on: Some(go_on) }, feed)
    }

    /// What became of it; itself if it is still being written.
    pub(super) fn finish(self) -> Result<Option<Written>, Self> {
        match self.outcome.try_recv() {
            Ok(written) => Ok(written),
            Err(TryRecvError::Empty) => Err(self),
            Err(TryRecvError::Disconnected) => {
                counter!("tripline_snapshot_failures_total", "reason" => "write").increment(1);
                Ok(None)
            }
        }
    }

    /// There are no further tries.
    pub(super) fn hurry(&mut self) {
        self.go_on = None;
    }

    /// Waits for it. None if it was not written, or takes longer.
    pub(super) fn wait(mut self, until: Instant) -> Option<Written> {
        loop {
            self = match self.finish() {
                Ok(written) => return written,
                Err(job) => job,
            };
            if clock::now() >= until {
                return None;
            }
            clock::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether the one who began it still wants it.
pub(super) fn is_wanted(is_on: &Receiver<()>, after: Duration) -> bool {
    matches!(clock::receive(is_on, after), Err(RecvTimeoutError::Timeout))
}

/// Where a snapshot is written, and until when.
struct Writer {
    place: Place,
    reference: Reference,
    is_on: Receiver<()>,
}

impl Writer {
    /// Writes one and forgets old ones; at most `keep` of those up to it stay, and are read again if they are to be.
    fn write_one(
        &self,
        mut manifest: Manifest,
        state: &Receiver<Block>,
        keep: usize,
        scrub: bool,
    ) -> Option<Written> {
        let (begun, taken) = (clock::now(), manifest.taken);
        let folder = self.place.within(&kept::name_of(self.reference));
        let put = |name: &str, bytes: &[u8]| self.until_written(|| folder.put(name, bytes.to_vec()));
        let mut level = Level { snapshot: kept::name_of(self.reference), bytes: 0, parts: Vec::new() };
        let mut packer = Packer::default();
        let mut is_more = true;
        while is_more {
            match clock::receive(state, LONG) {
                Ok(Some(block)) => packer.add(&block),
                Ok(None) => is_more = false,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if let Some(bytes) = packer.part(!is_more) {
                let part = Part::of(level.parts.len(), &bytes);
                put(&part.name, &bytes)?;
                level.parts.push(part);
            }
        }
        level.bytes = packer.bytes;
        manifest.levels.push(level);
        self.until_written(|| create(&folder, &manifest))?;
        let took = clock::since(begun);
        if let Err(error) = kept::forget(&self.place, self.reference.0, keep) {
            counter!("tripline_snapshot_failures_total", "reason" => "forget").increment(1);
            tracing::warn!(%error, "old snapshots in {} could not be removed", self.place);
        }
        let is_damaged = scrub && !kept::scrub(&self.place, &self.is_on);
        Some(Written { reference: self.reference, taken, took, is_damaged, levels: manifest.levels })
    }

    /// Tries until it is written, or not wanted any more.
    fn until_written(&self, write: impl Fn() -> io::Result<()>) -> Option<()> {
        let (mut pause, most) = AGAIN;
        loop {
            let Err(error) = write() else { return Some(()) };
            counter!("tripline_snapshot_failures_total", "reason" => "write").increment(1);
            let place = &self.place;
            tracing::warn!(%error, "a snapshot could not be written to {place}; until one is, a restart replays more");
            if !is_wanted(&self.is_on, pause) {
                return None;
            }
            pause = (pause * 2).min(most);
        }
    }
}

/// The manifest that makes the parts a snapshot.
fn create(folder: &Place, manifest: &Manifest) -> io::Result<()> {
    let text = manifest.text();
    match folder.create(kept::MANIFEST, text.clone()) {
        // WHY: the answer to an earlier try may have been lost.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.read(kept::MANIFEST)? == text => {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Writes a snapshot whose levels are at hand, all of them into its own folder.
pub(super) fn write(
    place: &Place,
    reference: Reference,
    mut manifest: Manifest,
    levels: &[Vec<u8>],
) -> io::Result<()> {
    let snapshot = kept::name_of(reference);
    let folder = place.within(&snapshot);
    let mut number = 0;
    for state in levels {
        let mut level = Level { snapshot: snapshot.clone(), bytes: state.len() as u64, parts: Vec::new() };
        let mut packer = Packer::default();
        let mut blocks = state.chunks(BLOCK).peekable();
        while let Some(block) = blocks.next() {
            packer.add(block);
            if let Some(bytes) = packer.part(blocks.peek().is_none()) {
                let part = Part::of(number, &bytes);
                folder.put(&part.name, bytes)?;
                level.parts.push(part);
                number += 1;
            }
        }
        manifest.levels.push(level);
    }
    create(&folder, &manifest)
}
