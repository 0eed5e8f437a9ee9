//! Writes one snapshot, beside the work, for as long as it takes.
//!
//! While the store does not answer, the same state is tried again and again: the work goes on, and nothing is saved anew
//! meanwhile, since that would hold it up for nothing.

use super::form::{Manifest, Part, parts};
use super::place::Place;
use super::{Reference, kept};
use crate::clock;
use metrics::counter;
use std::io::{self, ErrorKind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Before the first further try, and at most before any.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A snapshot that is durable.
pub(super) struct Written {
    pub(super) reference: Reference,
    /// In microseconds.
    pub(super) taken: i64,
    pub(super) took: Duration,
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

impl Job {
    /// Begins. `keep`: of so many of the newest nothing is removed. `scrub`: they are read again afterwards.
    pub(super) fn begin(
        place: Place,
        reference: Reference,
        manifest: Manifest,
        state: Vec<u8>,
        keep: usize,
        scrub: bool,
    ) -> Self {
        let ((go_on, is_on), (tell, outcome)) = (channel(), channel());
        clock::beside(move || {
            // Whoever began it may be gone by then.
            let _ = tell.send(write_one(&place, reference, manifest, state, (keep, scrub), &is_on));
        });
        Self { outcome, go_on: Some(go_on) }
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

    /// Waits for it, without further tries. None if it was not written, or takes longer.
    pub(super) fn wait(mut self, until: Instant) -> Option<Written> {
        self.go_on = None;
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

/// Writes one and forgets old ones; at most `keep` of those up to it stay, and are read again if they are to be.
fn write_one(
    place: &Place,
    reference: Reference,
    manifest: Manifest,
    state: Vec<u8>,
    (keep, scrub): (usize, bool),
    is_on: &Receiver<()>,
) -> Option<Written> {
    let begun = clock::now();
    let taken = manifest.taken;
    until_written(place, reference, manifest, &state, is_on)?;
    drop(state);
    let took = clock::since(begun);
    if let Err(error) = kept::forget(place, reference.0, keep) {
        counter!("tripline_snapshot_failures_total", "reason" => "forget").increment(1);
        tracing::warn!(%error, "old snapshots in {place} could not be removed");
    }
    let is_damaged = scrub && !kept::scrub(place, is_on);
    Some(Written { reference, taken, took, is_damaged })
}

/// Whether the one who began it still wants it.
pub(super) fn is_wanted(is_on: &Receiver<()>, after: Duration) -> bool {
    matches!(clock::receive(is_on, after), Err(RecvTimeoutError::Timeout))
}

/// Tries until it is written, or not wanted any more.
fn until_written(
    place: &Place,
    reference: Reference,
    mut manifest: Manifest,
    state: &[u8],
    is_on: &Receiver<()>,
) -> Option<()> {
    let (mut pause, most) = AGAIN;
    loop {
        let Err(error) = write(place, reference, &mut manifest, state) else { return Some(()) };
        counter!("tripline_snapshot_failures_total", "reason" => "write").increment(1);
        tracing::warn!(%error, "a snapshot could not be written to {place}; until one is, a restart replays more");
        if !is_wanted(is_on, pause) {
            return None;
        }
        pause = (pause * 2).min(most);
    }
}

/// Parts first, then the manifest that makes them a snapshot.
pub(super) fn write(
    place: &Place,
    reference: Reference,
    manifest: &mut Manifest,
    state: &[u8],
) -> io::Result<()> {
    let folder = place.within(&kept::name_of(reference));
    let mut known = Vec::new();
    for (number, bytes) in parts(state).enumerate() {
        let part = Part::of(number, &bytes);
        folder.put(&part.name, bytes)?;
        known.push(part);
    }
    manifest.seal(state, known);
    let text = manifest.text();
    match folder.create(kept::MANIFEST, text.clone()) {
        // WHY: the answer to an earlier try may have been lost.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.read(kept::MANIFEST)? == text => {
            Ok(())
        }
        outcome => outcome,
    }
}
