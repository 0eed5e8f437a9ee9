//! The state of a task on its way to a snapshot: frozen at once, then saved a little at a time between other work.

use super::form::BLOCK;
use super::writer::Block;
use crate::clock;
use crate::serve::core::Core;
use metrics::{gauge, histogram};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

/// Rows that are saved between two looks at the clock.
pub(crate) const ROWS: usize = if cfg!(test) { 2 } else { 64 };
/// After a slice the work has so many times as long as it took.
const REST: u32 = 4;
/// While nothing else is done.
const WAIT: Duration = Duration::from_millis(1);

/// What is frozen, and where it goes.
#[derive(Debug)]
pub(super) struct Slices {
    feed: SyncSender<Block>,
    saved: Vec<u8>,
    /// What is handed over of it.
    given: usize,
    /// All of it is saved.
    is_whole: bool,
    /// All the time that it took.
    spent: Duration,
    next: Instant,
}

/// What a slice came to.
#[derive(Debug, PartialEq, Eq)]
enum Fed {
    /// There is room for more.
    Taken,
    /// The writer has enough for now.
    Full,
    /// Nothing more is wanted: that was all, or it is not going to be written.
    Over,
}

impl Slices {
    pub(super) fn new(feed: SyncSender<Block>) -> Self {
        Self { feed, saved: Vec::new(), given: 0, is_whole: false, spent: Duration::ZERO, next: clock::now() }
    }

    /// Of a state that is saved already.
    #[cfg(test)]
    pub(super) fn of(self, saved: Vec<u8>) -> Self {
        Self { saved, is_whole: true, ..self }
    }

    /// Freezes a core: all of it if `whole`, else what has changed since the last time.
    pub(super) fn freeze(mut self, core: &mut Core, whole: bool) -> Self {
        let begun = clock::now();
        core.freeze(whole, &mut self.saved);
        self.paused(begun);
        self
    }

    /// Saves more for about so long, if it is time. True if nothing is left to do.
    pub(super) fn go_on(&mut self, core: &mut Core, pause: Duration) -> bool {
        let begun = clock::now();
        if begun < self.next {
            return false;
        }
        let fed = loop {
            let fed = self.step(core);
            if fed != Fed::Taken || clock::since(begun) >= pause {
                break fed;
            }
        };
        gauge!("tripline_snapshot_buffered_bytes")
            .set((self.saved.len() - self.given + core.task().save_waiting()) as f64);
        self.paused(begun);
        fed == Fed::Over
    }

    /// Saves the rest, as fast as it is written.
    pub(super) fn finish(&mut self, core: &mut Core, until: Instant) {
        loop {
            match self.step(core) {
                Fed::Over => return,
                Fed::Full if clock::now() >= until => return,
                Fed::Full => clock::sleep(WAIT),
                Fed::Taken => {}
            }
        }
    }

    /// All the time that it has taken from other work.
    pub(super) fn spent(&self) -> Duration {
        self.spent
    }

    fn paused(&mut self, begun: Instant) {
        let took = clock::since(begun);
        histogram!("tripline_snapshot_pause_seconds").record(took.as_secs_f64());
        self.spent += took;
        self.next = clock::now() + took * REST;
    }

    /// Hands over what is saved, or else saves more.
    fn step(&mut self, core: &mut Core) -> Fed {
        if self.saved.len() - self.given < BLOCK && !self.is_whole {
            self.saved.drain(..std::mem::take(&mut self.given));
            self.is_whole = !core.save_more(ROWS, &mut self.saved);
            return Fed::Taken;
        }
        let rest = self.saved.get(self.given..).unwrap_or_default();
        let block = rest.get(..BLOCK).unwrap_or(rest).to_vec();
        let (given, is_last) = (block.len(), block.is_empty());
        match self.feed.try_send((!is_last).then_some(block)) {
            Ok(()) if is_last => Fed::Over,
            Ok(()) => {
                self.given += given;
                Fed::Taken
            }
            Err(TrySendError::Full(_)) => Fed::Full,
            Err(TrySendError::Disconnected(_)) => Fed::Over,
        }
    }
}
