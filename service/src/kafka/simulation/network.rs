//! The way between workers and the broker: calls take time, get lost, lose their answers, arrive late; processes die at them.

use super::broker::{Broker, Marker, Partition, Refusal};
use super::world::{At, Pid, World, ms, pid, secs};
use crate::kafka::TRANSACTION_MS;
use crate::kafka::lease::SESSION_MS;
use crate::serve::core::partition_name;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much goes wrong, in calls of ten thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Lost, or their answer, or late.
    pub(super) lost: u64,
    pub(super) slow: u64,
    /// The process dies at it.
    pub(super) deadly: u64,
    /// The process is stopped at it, and let go on later.
    pub(super) stopping: u64,
    /// Of ten thousand ends of transactions: told late.
    pub(super) late_marks: u64,
}

/// The broker, and all that is between it and the workers.
pub(super) struct Network {
    pub(super) world: Arc<World>,
    broker: Mutex<Broker>,
    state: Mutex<State>,
    pub(super) control: String,
    /// How long a worker waits for the answer to a commit.
    pub(super) patience: At,
}

#[derive(Default)]
struct State {
    faults: Faults,
    /// The broker is away until then.
    away: At,
    /// A process cannot reach it until then.
    cut: BTreeMap<Pid, At>,
}

impl Network {
    pub(super) fn new(world: &Arc<World>, control: &str, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            broker: Mutex::default(),
            state: Mutex::default(),
            control: control.to_owned(),
            patience: patience.as_micros() as u64,
        })
    }

    pub(super) fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    fn faults(&self) -> Faults {
        self.state().faults
    }

    /// The broker's wall clock, in milliseconds.
    pub(super) fn clock_ms(&self) -> i64 {
        (super::world::EPOCH + self.world.now() as i64) / 1_000
    }

    /// The broker is away for a while. Sessions begin anew when it is back.
    pub(super) fn outage(self: &Arc<Self>, long: At) {
        self.state().away = self.world.now() + long;
        self.world.count("outages of the broker", 1);
    }

    /// A process cannot reach the broker for a while.
    pub(super) fn cut_off(self: &Arc<Self>, pid: Pid, long: At) {
        let until = self.world.now() + long;
        self.state().cut.insert(pid, until);
        self.silence(pid);
        self.world.count("processes cut off", 1);
        let net = self.clone();
        self.world.later(long, move |world| {
            if !world.is_dead(pid) && !world.is_stopped(pid) {
                net.broker().group.silence(pid, None);
            }
        });
    }

    /// Everything can be reached again.
    pub(super) fn heal(&self) {
        *self.state() = State::default();
    }

    /// Nothing is heard of a process any more; after a session the group goes on without it.
    pub(super) fn silence(self: &Arc<Self>, pid: Pid) {
        self.broker().group.silence(pid, Some(self.world.now()));
        let net = self.clone();
        self.world.later(ms(SESSION_MS), move |_| net.expire());
    }

    fn expire(self: &Arc<Self>) {
        let away = self.state().away;
        let now = self.world.now();
        if away > now {
            let net = self.clone();
            return self.world.later(away - now + ms(SESSION_MS), move |_| net.expire());
        }
        if self.broker().group.expire(now - ms(SESSION_MS)) {
            self.world.count("sessions that ran out", 1);
            self.rearrange();
        }
    }

    /// The group is arranged anew, once everybody in it has been heard.
    pub(super) fn rearrange(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.broker().group.is_preparing, true) {
            let net = self.clone();
            self.world.later(self.world.between(ms(50), ms(1_500)), move |_| net.arrange());
        }
    }

    fn arrange(self: &Arc<Self>) {
        let mut broker = self.broker();
        if !broker.group.is_complete() {
            let net = self.clone();
            return self.world.later(ms(200), move |_| net.arrange());
        }
        broker.group.arrange(|of| self.world.between(0, of as u64) as usize);
        let generation = broker.group.generation;
        drop(broker);
        self.world.note(format_args!("group: generation {generation}"));
    }

    /// Has the ends of transactions reach where they belong, each in its time.
    pub(super) fn tell(self: &Arc<Self>, markers: Vec<Marker>) {
        let late = self.faults().late_marks;
        for marker in markers {
            let after = match self.world.chance(late) {
                true => self.world.between(ms(5), ms(3_000)),
                false => self.world.between(100, ms(5)),
            };
            let net = self.clone();
            self.world.later(after, move |_| {
                let at = net.clock_ms();
                net.broker().mark(&marker, at);
            });
        }
    }

    pub(super) fn is_away(&self) -> bool {
        let (state, now) = (self.state(), self.world.now());
        state.away > now || state.cut.get(&pid()).is_some_and(|until| *until > now)
    }

    fn latency(&self) -> At {
        match self.world.chance(self.faults().slow) {
            true => self.world.between(ms(10), ms(2_000)),
            false => self.world.between(50, ms(3)),
        }
    }

    /// The process may die here, or be stopped for a while.
    pub(super) fn edge(self: &Arc<Self>) {
        let faults = self.faults();
        if self.world.chance(faults.deadly) {
            self.die("a call");
        }
        if self.world.chance(faults.stopping) {
            self.world.note(format_args!("stopped at a call"));
            self.stop(pid(), self.world.between(ms(100), secs(25)));
            // It goes on from here when it is let.
            self.world.sleep(0);
        }
    }

    /// A process is stopped for a while, as by SIGSTOP and SIGCONT.
    pub(super) fn stop(self: &Arc<Self>, pid: Pid, long: At) {
        self.world.count("processes stopped", 1);
        self.world.stop(pid, true);
        self.silence(pid);
        let net = self.clone();
        self.world.later(long, move |world| {
            world.note(format_args!("p{pid} goes on"));
            if !world.is_dead(pid) {
                net.broker().group.silence(pid, None);
            }
            world.stop(pid, false);
        });
    }

    fn die(&self, at: &str) -> ! {
        self.world.count("processes killed at a call", 1);
        self.world.note(format_args!("killed at {at}"));
        self.world.die()
    }

    /// Asks the broker something. None: nobody knows what became of it.
    pub(super) fn call<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        patience: At,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Option<T> {
        let world = &self.world;
        self.edge();
        if self.is_away() {
            world.sleep(world.between(ms(1), ms(400)));
            return None;
        }
        let wait = |most: At| match world.chance(5_000) {
            true => world.sleep(most),
            false => world.sleep(world.between(ms(1), most)),
        };
        if world.chance(self.faults().lost) {
            world.count("calls lost, unanswered or late", 1);
            match world.between(0, 3) {
                0 => world.note(format_args!("{name}: lost")),
                1 => {
                    world.note(format_args!("{name}: done, and the answer lost"));
                    world.sleep(self.latency());
                    drop(work(self));
                }
                _ => {
                    world.note(format_args!("{name}: late"));
                    let net = self.clone();
                    world.later(world.between(ms(1), patience * 2), move |_| drop(work(&net)));
                }
            }
            wait(patience);
            // WHY: of all moments this is the one in which most hangs on what others do meanwhile; and most of all if it is
            // just over when another has taken over.
            if world.chance(self.faults().stopping * 100) {
                self.stop(pid(), world.between(secs(9), secs(14)));
                world.sleep(0);
            }
            return None;
        }
        world.sleep(self.latency());
        self.edge();
        if world.chance(self.faults().deadly) {
            // It is on its way, and may arrive.
            if world.chance(5_000) {
                let net = self.clone();
                world.later(world.between(1, ms(2_000)), move |_| drop(work(&net)));
            }
            self.die(name);
        }
        let answer = work(self);
        world.note(format_args!("{name}"));
        self.edge();
        if world.chance(3_000) {
            world.sleep(self.latency());
        }
        Some(answer)
    }

    /// The same, as long as the broker says that it is busy.
    pub(super) fn insist<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        patience: At,
        work: impl Fn(&Arc<Self>) -> Result<T, Refusal> + Clone + Send + 'static,
    ) -> Option<Result<T, Refusal>> {
        let until = self.world.now() + patience;
        loop {
            match self.call(name, patience, work.clone())? {
                Err(Refusal::Busy) if self.world.now() < until => self.world.sleep(ms(20)),
                Err(Refusal::Busy) => return None,
                answer => return Some(answer),
            }
        }
    }

    /// A transaction has begun: it may not take for ever.
    pub(super) fn begun(self: &Arc<Self>, txn: Option<u64>) {
        let Some(txn) = txn else { return };
        let net = self.clone();
        self.world.later(ms(TRANSACTION_MS), move |_| {
            let markers = net.broker().expire(txn);
            if !markers.is_empty() {
                net.world.count("transactions that ran out", 1);
            }
            net.tell(markers);
        });
    }
}

/// The name of a partition, as offsets have it.
pub(super) fn name_of((topic, partition): &Partition) -> String {
    partition_name(topic, partition)
}
