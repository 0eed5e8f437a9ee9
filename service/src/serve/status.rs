//! What the tasks of a process tell readers: whether they live and work, why not, which rules they have, how far they are.

use super::view::View;
use super::{Shared, now_micros, rfc3339};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a task does just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Getting to where it can work.
    Starting,
    /// Another process has it, or nobody.
    Standby,
    Working,
    /// It has given up; the log says why.
    Stopped,
}

/// How far a task is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// By partition, the offset to read next.
    pub(crate) next: BTreeMap<String, u64>,
    /// Commits so far.
    pub(crate) commits: u64,
    /// The newest event time, in microseconds.
    pub(crate) newest: Option<i64>,
    /// How long ago the record that was read last came into its topic, in microseconds; 0 = everything is read.
    pub(crate) lag: i64,
    /// Of changes of rules that the group's tasks share: the last that is committed, how many come after it, and why the next
    /// could not be taken.
    pub(crate) changes: u64,
    pub(crate) waiting: usize,
    pub(crate) behind: Option<String>,
}

#[derive(Debug)]
struct Said {
    state: State,
    /// Why some input is not read just now.
    paused: Option<String>,
    view: Arc<View>,
    progress: Option<Progress>,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Status {
    /// As metrics name it.
    pub(crate) label: String,
    beat: AtomicI64,
    said: Mutex<Said>,
}

impl Status {
    pub(crate) fn new(number: i32) -> Self {
        let said = Said { state: State::Starting, paused: None, view: Arc::default(), progress: None };
        Self { label: number.to_string(), beat: AtomicI64::new(now_micros()), said: Mutex::new(said) }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sign of life.
    pub(crate) fn beat(&self, now: i64) {
        self.beat.store(now, Ordering::Relaxed);
    }

    /// What it does from now on. True if that is something else than before.
    pub(crate) fn enter(&self, state: State) -> bool {
        let mut said = self.said();
        if state != State::Working {
            (said.paused, said.progress) = (None, None);
        }
        std::mem::replace(&mut said.state, state) != state
    }

    pub(crate) fn state(&self) -> State {
        self.said().state
    }

    /// Why some input is not read just now, if that is so.
    pub(crate) fn pause(&self, why: Option<String>) {
        self.said().paused = why;
    }

    /// How far it is.
    pub(crate) fn progress(&self, progress: Progress) {
        self.said().progress = Some(progress);
    }

    fn told(&self) -> Value {
        let said = self.said();
        let state = match (said.state, &said.paused) {
            (State::Starting, None) => "starting",
            (State::Standby, _) => "standby",
            (State::Stopped, _) => "stopped: the log says why",
            (State::Starting | State::Working, Some(why)) => why.as_str(),
            (State::Working, None) => "working",
        };
        let mut told = json!({"task": self.label, "state": state});
        if let Some(progress) = &said.progress {
            told["commits"] = json!(progress.commits);
            told["partitions"] = json!(progress.next);
            told["newest"] = json!(progress.newest.map(rfc3339));
            if progress.changes > 0 || progress.waiting > 0 {
                told["changes"] = json!(progress.changes);
                told["changes_waiting"] = json!(progress.waiting);
                told["changes_wait_for"] = json!(progress.behind);
            }
            told["lag_seconds"] = json!(progress.lag.max(0) as f64 / 1e6);
        }
        told
    }
}

impl Shared {
    /// Microseconds since the last sign of life of the task that has said nothing for the longest time.
    pub(crate) fn silence(&self) -> i64 {
        let oldest = self.tasks().iter().map(|task| task.beat.load(Ordering::Relaxed)).min();
        oldest.map_or(0, |oldest| now_micros() - oldest)
    }

    /// No task is at work here; others have them.
    pub(crate) fn stands_by(&self) -> bool {
        self.tasks().iter().all(|task| task.state() == State::Standby)
    }

    /// Why some input is not read just now.
    pub(crate) fn why_paused(&self) -> Option<String> {
        let why: Vec<String> = self.tasks().iter().filter_map(|task| task.said().paused.clone()).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }

    /// Tasks at work here that have not committed this change of rules yet.
    pub(crate) fn tasks_behind(&self, change: u64) -> Vec<String> {
        let tasks = self.tasks();
        let is_behind = |task: &&Arc<Status>| {
            let said = task.said();
            let changes = said.progress.as_ref().map_or(0, |progress| progress.changes);
            said.state == State::Working && changes < change
        };
        tasks.iter().filter(is_behind).map(|task| task.label.clone()).collect()
    }

    /// Shows readers the rules and streams of a task, and of the others that are at work here.
    pub(crate) fn set_view(&self, task: &Status, view: View) {
        let mut shown = self.view.write().unwrap_or_else(PoisonError::into_inner);
        task.said().view = Arc::new(view);
        let tasks = self.tasks();
        let is_here = |other: &&Arc<Status>| other.label == task.label || other.state() == State::Working;
        let views: Vec<Arc<View>> =
            tasks.iter().filter(is_here).map(|task| task.said().view.clone()).collect();
        *shown = View::of_tasks(&views);
    }

    /// The tasks that are here, as status pages show them.
    pub(crate) fn tasks_told(&self) -> Vec<Value> {
        let is_here = |task: &&Arc<Status>| task.state() != State::Standby;
        self.tasks().iter().filter(is_here).map(|task| task.told()).collect()
    }
}
