//! The order of calls that writes one burst after another exactly once through Kafka transactions. No I/O, no clock.
//!
//! A transaction is begun only when all that it will hold is known, and is written and committed in one go. Whatever call
//! does not plainly succeed leaves its outcome unknown, and ends the producer: the same transactional id is taken anew,
//! which fences whatever of the old one is still under way and settles its transaction; then the epoch that stands
//! committed says which of two worlds this is.
//!
//! INVARIANT: epochs are committed one after another, and a burst is written again only if reading back has shown that
//! the one before it is still the last.

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until there is a burst.
    Rest,
    /// Begin a transaction.
    Begin,
    /// Hand over every record of the burst.
    Produce,
    /// Add the offsets, whose metadata names this epoch.
    SendOffsets(u64),
    /// Commit.
    Commit,
    /// Drop the producer and take its transactional id anew.
    Renew,
    /// Read the committed offsets and their metadata.
    ReadBack,
    /// The burst is committed: forget it, answer who waits.
    Settle,
    /// Somebody else has gone on from here: drop all state and begin at what is committed.
    Recover,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// It failed, or nobody knows.
    Unknown,
    /// Another producer has taken the transactional id; of [`Action::ReadBack`]: it has made the commit of this number.
    Fenced,
    /// Of [`Action::ReadBack`]: the epoch that stands committed; none if nothing was ever committed.
    Committed(Option<u64>),
}

/// Where the writing of bursts stands.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// The last epoch known to be committed; 0 before the first.
    epoch: u64,
    next: Action,
    /// A burst waits, or is being written.
    burst: bool,
    /// How often an outcome was unknown.
    unknown: u64,
}

impl Protocol {
    /// After recovery to `epoch`, with a producer that was just made.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { epoch, next: Action::Rest, burst: false, unknown: 0 }
    }

    /// The last epoch known to be committed.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How often an outcome was unknown.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// No burst is under way.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.next == Action::Rest && !self.burst
    }

    /// There is a burst to write. It must stay as it is until [`Action::Settle`].
    pub fn offer(&mut self) {
        self.burst = true;
        if self.next == Action::Rest {
            self.next = Action::Begin;
        }
    }

    /// Work was interrupted: somebody else may have gone on meanwhile. Read back before anything else.
    pub fn doubt(&mut self) {
        if self.next != Action::Recover {
            self.next = Action::Renew;
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Action {
        self.next
    }

    /// What came of it.
    pub fn done(&mut self, outcome: Outcome) {
        self.next = match (self.next, outcome) {
            (Action::Rest | Action::Recover, _) => self.next,
            (Action::Begin, Outcome::Done) => Action::Produce,
            (Action::Produce, Outcome::Done) => Action::SendOffsets(self.epoch + 1),
            (Action::SendOffsets(_), Outcome::Done) => Action::Commit,
            (Action::Commit, Outcome::Done) => {
                self.epoch += 1;
                Action::Settle
            }
            (Action::Settle, _) => {
                self.burst = false;
                Action::Rest
            }
            (Action::Renew, Outcome::Done) => Action::ReadBack,
            (Action::ReadBack, Outcome::Committed(found)) => self.compare(found.unwrap_or(0)),
            (_, Outcome::Fenced) => Action::Recover,
            // Reading back can be tried again; a producer that could not be made, too.
            (Action::ReadBack, _) => Action::ReadBack,
            (Action::Renew, _) => Action::Renew,
            _ => {
                self.unknown += 1;
                Action::Renew
            }
        };
    }

    fn compare(&mut self, found: u64) -> Action {
        match (self.burst, found) {
            (true, found) if found == self.epoch + 1 => {
                self.epoch = found;
                Action::Settle
            }
            (true, found) if found == self.epoch => Action::Begin,
            (false, found) if found == self.epoch => Action::Rest,
            _ => Action::Recover,
        }
    }
}

/// When a burst is due: alerts and decisions at once but not more often than this, offsets alone seldom.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From the begin of a commit to the end of the next while there is something to say, in milliseconds: how long an alert
    /// may wait.
    pub speak_ms: u64,
    /// Least time between two commits if only offsets have moved.
    pub idle_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { speak_ms: 200, idle_ms: 2_000 }
    }
}

/// What [`Pace::is_due`] goes by.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Since the last commit ended.
    pub since_ms: u64,
    /// How long it took: the next will take about as long.
    pub took_ms: u64,
    /// There are alerts, decisions, dead letters or late events.
    pub has_words: bool,
    /// Offsets have moved.
    pub has_moved: bool,
    /// A cap was met, or somebody waits for an answer.
    pub is_urgent: bool,
}

impl Pace {
    /// Whether to commit now.
    #[must_use]
    pub fn is_due(&self, due: Due) -> bool {
        let Due { since_ms, took_ms, has_words, has_moved, is_urgent } = due;
        // WHY: an alert may wait for all of the commit before and of its own. Where that leaves little time for reading, it
        // waits longer.
        let reading = took_ms.min(self.speak_ms / 2);
        let wait = self.speak_ms.saturating_sub(2 * took_ms).max(reading);
        let words = has_words && (is_urgent || since_ms >= wait);
        words || (has_moved && since_ms >= self.idle_ms)
    }
}

#[cfg(test)]
mod tests;
