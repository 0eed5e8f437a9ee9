//! Whose turn it is: threads of which one works at a time, in the order of simulated time.
//!
//! A thread gives its turn away only where it waits, and time passes only then. So a run is a function of its seed.
//!
//! INVARIANT: of a world's threads exactly one is not parked: the one that `turn` names.

use super::counts::Counts;
use crate::clock::simulated::{Time, go_by};
use crate::serve::snapshot::simulated::{Shelf, keep_at};
use std::any::Any;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Simulated time since a world began, in microseconds.
pub(super) type At = u64;
/// A process: threads that are stopped and killed together.
pub(super) type Pid = usize;

/// The wall clock when a world begins, in microseconds: an arbitrary day.
pub(super) const EPOCH: i64 = 1_770_000_000_000_000;
/// Turns after which a run is taken to have got stuck.
const TURNS: u64 = 3_000_000;
/// The process of the thread that began the world: it is never stopped or killed.
const DRIVER: Pid = 0;

/// Milliseconds.
pub(super) const fn ms(count: u64) -> At {
    count * 1_000
}

/// Seconds.
pub(super) const fn secs(count: u64) -> At {
    count * 1_000_000
}

/// What a thread of a killed process unwinds with.
struct Killed;

/// Draws of one seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to, not including, `high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low).max(1)
    }

    /// True so many times out of ten thousand.
    pub(super) fn chance(&mut self, of_ten_thousand: u64) -> bool {
        self.bits() % 10_000 < of_ten_thousand
    }

    /// One of them.
    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.bits() as usize % all.len()]
    }
}

type Deed = Box<dyn FnOnce(&Arc<World>) + Send>;

enum What {
    /// A thread's wait is over, unless it has been woken since.
    Wake(usize, u64),
    Do(Deed),
}

struct Entry {
    at: At,
    seq: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

struct Actor {
    pid: Pid,
    thread: Option<Thread>,
    /// Which of its wakes counts.
    wake: u64,
    is_done: bool,
    /// Its wait ended while its process was stopped.
    is_deferred: bool,
}

#[derive(Default)]
struct Process {
    is_stopped: bool,
    is_dead: bool,
    /// Where its snapshots are kept.
    shelf: Option<Arc<dyn Shelf>>,
}

struct Plan {
    queue: BinaryHeap<Reverse<Entry>>,
    seq: u64,
    turns: u64,
    actors: Vec<Actor>,
    processes: Vec<Process>,
    handles: Vec<JoinHandle<()>>,
    dice: Dice,
    /// Why the run has failed.
    failure: Option<String>,
    counts: BTreeMap<&'static str, u64>,
    trace: Option<String>,
    shows: bool,
}

/// A world.
pub(super) struct World {
    base: Instant,
    now: AtomicU64,
    turn: AtomicUsize,
    plan: Mutex<Plan>,
}

thread_local! {
    static HERE: RefCell<Option<(Arc<World>, usize, Pid)>> = const { RefCell::new(None) };
}

struct Clock(Arc<World>);

impl Time for Clock {
    fn now(&self) -> Instant {
        self.0.base + Duration::from_micros(self.0.now())
    }

    fn micros(&self) -> i64 {
        EPOCH + self.0.now() as i64
    }

    fn sleep(&self, long: Duration) {
        self.0.sleep(long.as_micros() as u64);
    }

    fn beside(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn(pid(), work);
    }
}

/// The process of this thread.
pub(super) fn pid() -> Pid {
    HERE.with_borrow(|here| here.as_ref().map_or(DRIVER, |(_, _, pid)| *pid))
}

fn me() -> usize {
    HERE.with_borrow(|here| here.as_ref().map_or(0, |(_, actor, _)| *actor))
}

impl World {
    /// A world that this thread drives. `traces`: what happens is written down; `shows`: on the terminal.
    pub(super) fn begin(seed: u64, traces: bool, shows: bool) -> Arc<Self> {
        let driver = Actor {
            pid: DRIVER,
            thread: Some(std::thread::current()),
            wake: 0,
            is_done: false,
            is_deferred: false,
        };
        let plan = Plan {
            queue: BinaryHeap::new(),
            seq: 0,
            turns: 0,
            actors: vec![driver],
            processes: vec![Process::default()],
            handles: Vec::new(),
            dice: Dice::new(seed),
            failure: None,
            counts: BTreeMap::new(),
            trace: traces.then(String::new),
            shows,
        };
        let world = Arc::new(Self {
            base: Instant::now(),
            now: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            plan: Mutex::new(plan),
        });
        world.enter(0, DRIVER);
        world
    }

    fn enter(self: &Arc<Self>, actor: usize, pid: Pid) {
        HERE.set(Some((self.clone(), actor, pid)));
        go_by(Some(Rc::new(Clock(self.clone()))));
        keep_at(self.plan().processes[pid].shelf.clone());
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> At {
        self.now.load(Ordering::Acquire)
    }

    pub(super) fn dice<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.plan().dice)
    }

    pub(super) fn chance(&self, of_ten_thousand: u64) -> bool {
        of_ten_thousand > 0 && self.dice(|dice| dice.chance(of_ten_thousand))
    }

    pub(super) fn between(&self, low: u64, high: u64) -> u64 {
        self.dice(|dice| dice.between(low, high))
    }

    /// Something that shows how much a run tried out.
    pub(super) fn count(&self, name: &'static str, by: u64) {
        *self.plan().counts.entry(name).or_default() += by;
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.plan().counts.clone()
    }

    /// Something that happened.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        let mut plan = self.plan();
        let (shows, now) = (plan.shows, self.now());
        let Some(trace) = &mut plan.trace else { return };
        let line = format!("{:>10.3} p{} {what}\n", now as f64 / 1e3, pid());
        if shows {
            print!("{line}");
        }
        trace.push_str(&line);
    }

    pub(super) fn trace(&self) -> String {
        self.plan().trace.clone().unwrap_or_default()
    }

    /// The run has failed; the first reason stays.
    pub(super) fn fail(&self, why: String) {
        self.note(format_args!("FAILED: {why}"));
        self.plan().failure.get_or_insert(why);
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.plan().failure.clone()
    }

    /// Has something happen later.
    pub(super) fn later(&self, after: At, deed: impl FnOnce(&Arc<World>) + Send + 'static) {
        let at = self.now() + after;
        self.plan().push(at, What::Do(Box::new(deed)));
    }

    /// A process without threads yet.
    pub(super) fn process(&self, shelf: Option<Arc<dyn Shelf>>) -> Pid {
        let mut plan = self.plan();
        plan.processes.push(Process { shelf, ..Process::default() });
        plan.processes.len() - 1
    }

    /// A thread of a process, which begins at once.
    pub(super) fn spawn(self: &Arc<Self>, pid: Pid, work: impl FnOnce() + Send + 'static) {
        let mut plan = self.plan();
        let actor = plan.actors.len();
        plan.actors.push(Actor { pid, thread: None, wake: 0, is_done: false, is_deferred: false });
        let world = self.clone();
        let handle = std::thread::spawn(move || {
            world.enter(actor, pid);
            while world.turn.load(Ordering::Acquire) != actor {
                std::thread::park();
            }
            if !world.is_dead(pid)
                && let Err(payload) = catch_unwind(AssertUnwindSafe(|| {
                    metrics::with_local_recorder(&Counts(world.clone()), work)
                }))
                && !payload.is::<Killed>()
            {
                world.fail(format!("a thread panicked: {}", said(&*payload)));
            }
            world.plan().actors[actor].is_done = true;
            world.run(actor);
        });
        plan.actors[actor].thread = Some(handle.thread().clone());
        plan.handles.push(handle);
        let now = self.now();
        plan.wake(actor, now);
    }

    /// This thread waits.
    pub(super) fn sleep(self: &Arc<Self>, long: At) {
        let (me, pid) = (me(), pid());
        if self.is_dead(pid) {
            // It may be on its way out already.
            if !std::thread::panicking() {
                resume_unwind(Box::new(Killed));
            }
            return;
        }
        let until = self.now() + long;
        self.plan().wake(me, until);
        self.run(me);
        if self.is_dead(pid) && !std::thread::panicking() {
            resume_unwind(Box::new(Killed));
        }
    }

    /// Does what comes next until it is this thread's turn again; one that is done gives its turn away for good.
    fn run(self: &Arc<Self>, me: usize) {
        loop {
            match self.next() {
                Next::Deed(deed) => deed(self),
                Next::Turn(actor) if actor == me => return,
                Next::Turn(actor) => {
                    let (thread, is_done) = {
                        let plan = self.plan();
                        (plan.actors[actor].thread.clone(), plan.actors[me].is_done)
                    };
                    self.turn.store(actor, Ordering::Release);
                    if let Some(thread) = thread {
                        thread.unpark();
                    }
                    while !is_done && self.turn.load(Ordering::Acquire) != me {
                        std::thread::park();
                    }
                    return;
                }
            }
        }
    }

    fn next(&self) -> Next {
        let mut plan = self.plan();
        loop {
            plan.turns += 1;
            let stuck = plan.turns > TURNS;
            // The driver always waits for something.
            let Some(Reverse(entry)) = plan.queue.pop() else { return Next::Turn(0) };
            self.now.store(entry.at, Ordering::Release);
            let (actor, wake) = match entry.what {
                What::Do(deed) => return Next::Deed(deed),
                What::Wake(actor, wake) => (actor, wake),
            };
            let pid = plan.actors[actor].pid;
            if plan.actors[actor].wake != wake || plan.actors[actor].is_done {
                continue;
            }
            if stuck && actor == 0 {
                plan.failure.get_or_insert("it goes round and round".to_owned());
            }
            let process = &plan.processes[pid];
            if process.is_stopped && !process.is_dead {
                plan.actors[actor].is_deferred = true;
                continue;
            }
            return Next::Turn(actor);
        }
    }

    pub(super) fn is_dead(&self, pid: Pid) -> bool {
        self.plan().processes[pid].is_dead
    }

    pub(super) fn is_stopped(&self, pid: Pid) -> bool {
        self.plan().processes[pid].is_stopped
    }

    /// As `kill -9` does.
    pub(super) fn kill(&self, pid: Pid) {
        let mut plan = self.plan();
        plan.processes[pid].is_dead = true;
        let now = self.now();
        for actor in 0..plan.actors.len() {
            if plan.actors[actor].pid == pid && !plan.actors[actor].is_done {
                plan.wake(actor, now);
            }
        }
    }

    /// This thread's process is killed just here.
    pub(super) fn die(&self) -> ! {
        self.kill(pid());
        resume_unwind(Box::new(Killed))
    }

    /// As SIGSTOP and SIGCONT do.
    pub(super) fn stop(&self, pid: Pid, is_stopped: bool) {
        let mut plan = self.plan();
        plan.processes[pid].is_stopped = is_stopped;
        let now = self.now();
        for actor in 0..plan.actors.len() {
            if plan.actors[actor].pid == pid && !is_stopped && plan.actors[actor].is_deferred {
                plan.actors[actor].is_deferred = false;
                plan.wake(actor, now);
            }
        }
    }

    /// The world ends: all processes are killed, all threads are gone afterwards.
    pub(super) fn end(self: &Arc<Self>) {
        let processes = self.plan().processes.len();
        let all: BTreeSet<Pid> = (1..processes).collect();
        all.into_iter().for_each(|pid| self.kill(pid));
        while self.plan().actors.iter().skip(1).any(|actor| !actor.is_done) {
            self.sleep(ms(1));
        }
        let handles = std::mem::take(&mut self.plan().handles);
        handles.into_iter().for_each(|handle| drop(handle.join()));
        self.plan().queue.clear();
        go_by(None);
        HERE.set(None);
    }
}

enum Next {
    Turn(usize),
    Deed(Deed),
}

impl Plan {
    fn push(&mut self, at: At, what: What) {
        self.seq += 1;
        self.queue.push(Reverse(Entry { at, seq: self.seq, what }));
    }

    fn wake(&mut self, actor: usize, at: At) {
        self.actors[actor].wake += 1;
        let wake = self.actors[actor].wake;
        self.push(at, What::Wake(actor, wake));
    }
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
