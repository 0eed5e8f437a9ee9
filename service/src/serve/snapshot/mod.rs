//! Snapshots: the task as it stood at a commit, so that recovery reads on from there.
//!
//! A snapshot is a few objects in a folder or bucket: parts, then the manifest that names them ([`form`], [`place`]). The task is
//! frozen at a commit, saved in slices between its steps ([`slices`]), and written beside the work ([`writer`]). One that is
//! damaged, is missing, or cannot be read costs a longer replay and nothing else: any older one does, and so does none.
//!
//! INVARIANT: what is removed is older than the oldest of those that are kept ([`kept`]), whoever else writes there, and none of
//! those names it.

mod bucket;
mod form;
mod kept;
mod place;
mod portable;
#[cfg(test)]
pub(crate) mod simulated;
mod slices;
mod writer;

pub(crate) use form::{BLOCK, Snapshot};
pub(crate) use kept::{Kept, all as kept};
pub(crate) use place::Place;
pub(crate) use portable::{Savepoint, export};
pub(crate) use slices::ROWS;

use super::core::{Core, Cut};
use super::now_micros;
use crate::clock;
use crate::config::Config;
use form::{Level, Manifest};
use kept::Fault;
use metrics::{counter, gauge, histogram};
use slices::Slices;
use std::time::{Duration, Instant};
use writer::{Job, Written};

/// A large state is saved less often: at most one part in so many of the time goes there.
const SHARE: u32 = 20;

/// A snapshot by the number of its commit, and the attempt of the process that took it; zeros if there is none.
pub(crate) type Reference = (u64, u64);

/// A state is saved anew as a whole when so many levels build on one another,
const LEVELS: usize = 64;
/// or what has changed since is more than one part in so many of the base.
const GROWN: u64 = 2;

/// How many stay, how often they are read again, how long a service that ends waits for its last one, and for how long the work
/// may stand still at once.
#[derive(Debug, Clone, Copy)]
struct Policy {
    keep: usize,
    scrub: Duration,
    last: Duration,
    pause: Duration,
}

/// Takes snapshots and finds them again; writes one at a time.
pub(crate) struct Snapshots {
    place: Place,
    attempt: u64,
    every: Duration,
    policy: Policy,
    writing: Option<Job>,
    /// What of the task's state is frozen and on its way to what is being written.
    slices: Option<Slices>,
    /// Of the last snapshot, if the next can build on it.
    levels: Vec<Level>,
    due: Instant,
    /// None is taken earlier, so that saving has no more than its share of the time.
    not_before: Instant,
    /// The number of the last one that was begun, or that the work began with.
    last: Option<u64>,
    /// When the newest durable one was taken; before there is one, when this began.
    since: i64,
    /// How long the input is kept; none = for ever.
    pub(crate) retention: Option<Duration>,
    scrub_due: Instant,
    /// Why the place could not be read when one was looked for.
    pub(crate) unreachable: Option<String>,
}

impl Snapshots {
    /// Where the configuration says, apart from those of other tasks by a name.
    pub(crate) fn open(config: &Config, name: &str) -> Result<Self, String> {
        let settings = &config.snapshots;
        let policy = Policy {
            keep: settings.keep,
            scrub: settings.scrub(),
            last: settings.timeout(),
            pause: settings.pause(),
        };
        Ok(Self::new(Place::of(config)?.within(name), now_micros() as u64, settings.every(), policy))
    }

    /// In a place; `attempt` tells this process from others.
    fn new(place: Place, attempt: u64, every: Duration, policy: Policy) -> Self {
        Self {
            place,
            attempt,
            every,
            policy,
            writing: None,
            slices: None,
            levels: Vec::new(),
            due: clock::now() + every,
            not_before: clock::now(),
            last: None,
            since: now_micros(),
            retention: None,
            scrub_due: clock::now() + policy.scrub,
            unreachable: None,
        }
    }

    /// Has the next commit leave one.
    ///
    /// WHY: a service that dies again and again would else replay more each time.
    pub(crate) fn hurry(&mut self) {
        self.due = clock::now();
    }

    /// Begins a snapshot of a core that stands at a commit, if one is due and none is being written. `mark` is asked for then.
    pub(crate) fn take(&mut self, number: u64, mark: impl FnOnce() -> Option<String>, core: &mut Core) {
        self.tell();
        if clock::now() < self.due || self.writing.is_some() || self.last == Some(number) {
            return;
        }
        let Some(mark) = mark() else { return };
        self.last = Some(number);
        let slices = self.begin(number, &mark, &core.cut());
        self.slices = Some(slices.freeze(core, self.levels.is_empty()));
        self.due = clock::now() + self.every;
    }

    /// Saves more of what is frozen, for a moment: called often.
    pub(crate) fn go_on(&mut self, core: &mut Core) {
        let Some(slices) = &mut self.slices else { return };
        if slices.go_on(core, self.policy.pause) {
            // WHY: however large the state, saving it has no more than its share of the time.
            self.not_before = clock::now() + slices.spent() * SHARE;
            self.due = self.due.max(self.not_before);
            self.slices = None;
        }
    }

    /// Something is frozen, so that [`Self::go_on`] has something to do.
    pub(crate) fn is_saving(&self) -> bool {
        self.slices.is_some()
    }

    /// How old the newest is, and how long it can still be used.
    fn tell(&self) {
        let age = (now_micros() - self.since) as f64 / 1e6;
        gauge!("tripline_snapshot_age_seconds").set(age);
        if let Some(retention) = self.retention {
            gauge!("tripline_recovery_headroom_seconds").set(retention.as_secs_f64() - age);
        }
    }

    /// Begins to write a snapshot.
    fn begin(&mut self, number: u64, mark: &str, cut: &Cut) -> Slices {
        let grown: u64 = self.levels.iter().skip(1).map(|level| level.bytes).sum();
        if self.levels.len() >= LEVELS || self.levels.first().is_some_and(|base| grown * GROWN > base.bytes) {
            self.levels.clear();
        }
        let manifest = Manifest::new(now_micros(), mark, cut, self.levels.clone());
        let scrub = clock::now() >= self.scrub_due;
        if scrub {
            self.scrub_due = clock::now() + self.policy.scrub;
        }
        let reference = (number, self.attempt);
        let (job, feed) = Job::begin(self.place.clone(), reference, manifest, self.policy.keep, scrub);
        self.writing = Some(job);
        Slices::new(feed)
    }

    /// The one that has been written since this was last asked.
    pub(crate) fn finished(&mut self) -> Option<Reference> {
        match self.writing.take()?.finish() {
            Ok(written) => self.ended(written),
            Err(job) => {
                self.writing = Some(job);
                None
            }
        }
    }

    fn ended(&mut self, written: Option<Written>) -> Option<Reference> {
        let Some(Written { reference, taken, took, is_damaged, levels }) = written else {
            // What it would have held is in no other.
            self.levels.clear();
            return None;
        };
        histogram!("tripline_snapshot_duration_seconds").record(took.as_secs_f64());
        gauge!("tripline_snapshot_bytes").set(levels.iter().map(|level| level.bytes).sum::<u64>() as f64);
        self.levels = levels;
        self.since = taken;
        if is_damaged {
            self.levels.clear();
        }
        // One that took long to write is old already, and one that is damaged is no use.
        if took > self.every || is_damaged {
            self.due = self.due.min(self.not_before.max(clock::now()));
        }
        Some(reference)
    }

    /// Takes one before the service ends, and waits until it is written: the next start replays nothing. Not for longer than
    /// one request may take: a worker that ends still has the task, which another waits for.
    pub(crate) fn take_last(&mut self, number: u64, mark: impl FnOnce() -> Option<String>, core: &mut Core) {
        let until = clock::now() + self.policy.last;
        self.wait(core, until);
        self.hurry();
        self.take(number, mark, core);
        self.wait(core, until);
    }

    /// Waits for what is being written, which is tried no more if it fails.
    fn wait(&mut self, core: &mut Core, until: Instant) -> Option<Reference> {
        let mut job = self.writing.take()?;
        job.hurry();
        if let Some(mut slices) = self.slices.take() {
            slices.finish(core, until);
        }
        let written = self.ended(job.wait(until));
        if written.is_none() {
            tracing::warn!(
                "the last snapshot was not written within {} s (`[snapshots] timeout`): the next start replays more",
                self.policy.last.as_secs_f64()
            );
        }
        written
    }

    /// The newest intact snapshot that is of use: `number` tells of its mark whether its commit fits, and which that is.
    /// `beat` is called often.
    pub(crate) fn newest<T>(
        &mut self,
        beat: &dyn Fn(),
        number: impl Fn(&str) -> Option<u64>,
        mut put_back: impl FnMut(&Snapshot) -> Option<T>,
    ) -> Option<T> {
        let names = match kept::names(&self.place) {
            Ok(names) => names,
            Err(error) => {
                counter!("tripline_snapshot_failures_total", "reason" => "read").increment(1);
                tracing::warn!(%error, "the snapshots in {} cannot be read; the replay is longer", self.place);
                self.unreachable = Some(error.to_string());
                return None;
            }
        };
        for name in names.into_iter().rev() {
            let found = kept::manifest(&self.place, &name).and_then(|manifest| {
                let Some(number) = number(&manifest.mark) else { return Ok(None) };
                let snapshot = kept::load(&self.place, &manifest, beat)?;
                Ok(put_back(&snapshot).map(|found| (found, number, manifest.taken)))
            });
            match found {
                Ok(Some((found, number, taken))) => {
                    (self.last, self.since) = (Some(number), taken);
                    return Some(found);
                }
                Ok(None) => {}
                Err(Fault { reason, why }) => {
                    counter!("tripline_snapshot_failures_total", "reason" => reason).increment(1);
                    tracing::warn!(why, "snapshot {name} cannot be used; the replay is longer");
                    if reason == "read" {
                        self.unreachable = Some(why);
                    }
                }
            }
        }
        None
    }
}

/// Counts a snapshot that is whole but of no use here.
pub(crate) fn unfit(why: &str) {
    counter!("tripline_snapshot_failures_total", "reason" => "unfit").increment(1);
    tracing::warn!(why, "a snapshot does not fit; the replay is longer");
}

#[cfg(test)]
mod tests;
