//! One run: workers at their work, and everything that happens to them, all of it drawn from one seed.

use super::check;
use super::client::{GROUP, Simulated};
use super::load;
use super::network::{Faults, Network};
use super::shelf::{Store as Shelf, Wear};
use super::world::{At, Dice, Pid, World, ms, secs};
use crate::config::{Config, Tasks};
use crate::kafka::{Door, work};
use crate::serve::crash::Crashes;
use crate::serve::matcher::{Answer, Ask, Condition, RulesAsk};
use crate::serve::{Refused, Shared};
use crate::store::Store;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use tokio::sync::oneshot;

/// How often the driver looks.
const LOOK: At = ms(100);
/// How long it may take, once nothing goes wrong any more, until all input is read and committed.
const CONVERGE: At = secs(90);

/// What runs of one process share.
pub(super) struct Ground {
    folder: tempfile::TempDir,
    rules: Vec<PathBuf>,
    /// Where HTTP would find alerts: workers hold one, and do nothing with it.
    store: Store,
}

impl Ground {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = load::folders(folder.path());
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { folder, rules, store }
    }

    /// A data folder that is not there: a worker then keeps what it knows of crashes to itself.
    fn no_data(&self) -> PathBuf {
        self.folder.path().join("none")
    }
}

/// What came of a run.
pub(super) struct Outcome {
    pub(super) failure: Option<String>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) trace: String,
}

/// How much happens, each of ten thousand times a look.
#[derive(Debug, Clone, Copy)]
struct Weather {
    kill: u64,
    stop: u64,
    cut: u64,
    outage: u64,
    revoke: u64,
    leave: u64,
    put: u64,
    swap: u64,
}

/// A worker, whatever process it is just now.
struct Slot {
    name: String,
    pid: Option<Pid>,
    shared: Option<Arc<Shared>>,
    shelf: Arc<Shelf>,
    /// When it is started.
    due: At,
    /// Once in a run: of processes that go on taking a name from each other one gives up, and is right.
    was_replaced: bool,
    /// It has been told to stop.
    is_told: bool,
}

type Asked = Pin<Box<dyn Future<Output = Result<Answer, Refused>>>>;

struct Run<'a> {
    ground: &'a Ground,
    world: Arc<World>,
    net: Arc<Network>,
    config: Config,
    dice: Dice,
    weather: Weather,
    /// Of the group.
    tasks: i32,
    slots: Vec<Slot>,
    /// Which folder of rules workers start with.
    rules: usize,
    /// Rules that are being put.
    asked: Vec<(String, String, Asked)>,
    /// Rules that were, as their answers say.
    put: Vec<(String, String)>,
}

/// Runs a seed.
pub(super) fn run(ground: &Ground, seed: u64, traces: bool, shows: bool) -> Outcome {
    let world = World::begin(seed, traces, shows);
    let mut dice = Dice::new(!seed);
    let mut config = config(ground, &mut dice);
    let tasks = if dice.chance(3_333) { dice.between(2, 5) as i32 } else { 1 };
    if tasks > 1 {
        config.kafka.tasks = Tasks::Partitions;
        world.count("runs with several tasks", 1);
    }
    let net = Network::new(&world, &config.kafka.control_topic, config.kafka.commit_wait());
    for topic in load::TOPICS {
        net.broker().create(topic, if tasks > 1 { tasks as usize } else { 2 });
    }
    net.broker().group.has_tasks(tasks);
    let shared_shelf = Shelf::new(&world);
    let is_shared = dice.chance(6_000);
    let count = dice.between(1, 4);
    let slot = |number| Slot {
        name: format!("w{number}"),
        pid: None,
        shared: None,
        shelf: if is_shared { shared_shelf.clone() } else { Shelf::new(&world) },
        due: 0,
        was_replaced: false,
        is_told: false,
    };
    let slots = (0..count).map(slot).collect();
    let weather = weather(&mut dice);
    let mut run = Run {
        ground,
        world: world.clone(),
        net,
        config,
        dice,
        weather,
        tasks,
        slots,
        rules: 0,
        asked: Vec::new(),
        put: Vec::new(),
    };
    let outcome = run.go();
    drop(run);
    let failure = world.failure().or(outcome.err());
    world.end();
    Outcome { failure, counts: world.counts(), trace: world.trace() }
}

fn config(ground: &Ground, dice: &mut Dice) -> Config {
    let mut config = Config { dev: true, ..Config::default() };
    config.kafka.brokers = "simulated:9092".to_owned();
    config.kafka.group = GROUP.to_owned();
    config.kafka.commit_timeout = (*dice.pick(&["1s", "3s", "10s"])).to_owned();
    config.snapshots.every = (*dice.pick(&["1s", "2s", "5s"])).to_owned();
    // A slice ends at once: as much as can be happens between two of them.
    config.snapshots.pause = "0s".to_owned();
    config.snapshots.keep = dice.between(1, 4) as usize;
    config.store.data = ground.no_data();
    config
}

/// Calm or rough, in each respect.
fn weather(dice: &mut Dice) -> Weather {
    let mut of = |most: u64| match dice.between(0, 3) {
        0 => 0,
        _ => dice.between(0, most),
    };
    Weather {
        kill: of(150),
        stop: of(100),
        cut: of(100),
        outage: of(60),
        revoke: of(150),
        leave: of(60),
        put: of(1_000),
        swap: of(100),
    }
}

impl Run<'_> {
    fn go(&mut self) -> Result<(), String> {
        let rough = self.dice.between(secs(8), secs(40));
        let count = self.dice.between(50, 200);
        let events = load::send(&self.net, &mut self.dice, count, rough);
        self.world.count("events", events);
        let faults = self.faults();
        self.net.set_faults(faults);
        for at in 0..self.slots.len() {
            let wear = self.wear();
            self.slots[at].shelf.set_wear(wear);
        }
        while self.world.now() < rough && self.world.failure().is_none() {
            self.tend(true);
            self.happen();
            self.world.sleep(LOOK);
        }
        self.net.heal();
        for slot in &mut self.slots {
            slot.shelf.set_wear(Wear::default());
            slot.due = slot.due.min(self.world.now());
        }
        let healed = self.world.now();
        self.world.note(format_args!("healed"));
        while !self.has_converged() {
            self.tend(false);
            if let Some(why) = self.world.failure() {
                return Err(why);
            }
            if self.world.now() - healed > CONVERGE {
                return Err("it does not come to an end".to_owned());
            }
            self.world.sleep(LOOK);
        }
        self.world.count("milliseconds until all was committed", (self.world.now() - healed) / 1_000);
        let alerts = check::check(&self.net, &self.config, self.tasks)?;
        self.world.count("alerts", alerts);
        self.check_rules()
    }

    /// Every rule whose request was answered is among the decisions of every task, and all have them in one order.
    fn check_rules(&self) -> Result<(), String> {
        let first = check::changes(&self.net, &self.config, 0);
        for task in 0..self.tasks {
            let own = check::changes(&self.net, &self.config, task);
            let has = |put: &(String, String)| own.iter().any(|(_, own)| own == put);
            if let Some((id, text)) = self.put.iter().find(|put| !has(put)) {
                return Err(format!("`{id}` was changed, and it is in no decision of task {task}: {text}"));
            }
            if self.tasks > 1 && own.windows(2).any(|two| two[0].0 >= two[1].0) {
                return Err(format!("task {task} has taken a change twice, or out of order: {own:?}"));
            }
            if own.iter().zip(&first).any(|(one, other)| one != other) {
                return Err(format!("task {task} has other changes, or in another order, than task 0"));
            }
        }
        Ok(())
    }

    fn faults(&mut self) -> Faults {
        let mut of = |most: u64| match self.dice.between(0, 3) {
            0 => 0,
            _ => self.dice.between(0, most),
        };
        Faults { lost: of(600), slow: of(1_000), deadly: of(25), stopping: of(25), late_marks: of(5_000) }
    }

    fn wear(&mut self) -> Wear {
        let mut of = |most: u64| match self.dice.between(0, 3) {
            0 => 0,
            _ => self.dice.between(0, most),
        };
        Wear { lost: of(2_000), slow: of(2_000), damaged: of(2_000), deadly: of(500) }
    }

    /// All input is read, all that it has caused is committed, and who was told to stop has.
    fn has_converged(&self) -> bool {
        if self.slots.iter().any(|slot| slot.is_told && slot.pid.is_some()) {
            return false;
        }
        let is_taken = |task| {
            let own = check::changes(&self.net, &self.config, task);
            self.put.iter().all(|put| own.iter().any(|(_, own)| own == put))
        };
        if self.tasks > 1 && !(0..self.tasks).all(is_taken) {
            return false;
        }
        let end = check::input_end(&self.net);
        let broker = self.net.broker();
        broker.is_quiet() && end.iter().all(|(name, offset)| broker.offset(name) >= *offset)
    }

    /// Starts what is down, and hears answers.
    fn tend(&mut self, is_rough: bool) {
        for at in 0..self.slots.len() {
            let now = self.world.now();
            let slot = &mut self.slots[at];
            if let Some(pid) = slot.pid.filter(|pid| self.world.is_dead(*pid)) {
                (slot.pid, slot.shared) = (None, None);
                self.net.silence(pid);
                slot.due = now
                    + match self.dice.chance(6_000) || !is_rough {
                        true => self.dice.between(0, ms(800)),
                        false => self.dice.between(0, secs(14)),
                    };
            }
            if self.slots[at].pid.is_none() && self.slots[at].due <= now {
                self.start(at);
            }
            let is_failed = |shared: &Arc<Shared>| shared.failed.load(Ordering::Acquire);
            if self.slots[at].shared.as_ref().is_some_and(is_failed) {
                self.world.fail(format!("worker {} has given up", self.slots[at].name));
            }
        }
        self.hear();
    }

    fn start(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let mut config = self.config.clone();
        config.worker.id = Some(slot.name.clone());
        config.rules.folder = Some(self.ground.rules[self.rules].clone());
        let data = config.store.data.clone();
        let (shared, queue) = Shared::new(config, self.ground.store.clone(), None).unwrap();
        let pid = self.world.process(Some(slot.shelf.clone()));
        self.world.note(format_args!("{} starts as p{pid}", slot.name));
        self.world.count("starts", 1);
        (slot.pid, slot.shared, slot.is_told) = (Some(pid), Some(shared.clone()), false);
        let cluster = Arc::new(Simulated::new(&self.net));
        let world = self.world.clone();
        self.world.spawn(pid, move || {
            let (say, mut ready) = oneshot::channel();
            let crashes = Crashes::open(&data);
            let door = Door::new(shared.clone(), shared.first_task(), queue, say);
            work(door, cluster, crashes);
            if let Ok(Err(why)) = ready.try_recv() {
                world.fail(format!("a worker does not start: {why}"));
            }
            world.note(format_args!("ended"));
            // What it has left beside its work ends with it.
            world.kill(pid);
        });
    }

    /// Draws what happens just now.
    fn happen(&mut self) {
        let weather = self.weather;
        for at in 0..self.slots.len() {
            let Some(pid) = self.slots[at].pid.filter(|pid| !self.world.is_stopped(*pid)) else { continue };
            let name = &self.slots[at].name;
            if self.dice.chance(weather.kill) {
                self.world.note(format_args!("{name} is killed"));
                self.world.count("processes killed", 1);
                self.world.kill(pid);
            } else if self.dice.chance(weather.stop) {
                self.world.note(format_args!("{name} is stopped"));
                let long = self.dice.between(ms(100), secs(25));
                self.net.stop(pid, long);
                if !self.slots[at].was_replaced && self.dice.chance(3_000) {
                    self.replace(at, pid, long);
                }
            } else if self.dice.chance(weather.cut) {
                self.world.note(format_args!("{name} is cut off"));
                self.net.cut_off(pid, self.dice.between(ms(100), secs(18)));
            } else if self.dice.chance(weather.leave) {
                self.world.count("processes ended in good order", 1);
                self.slots[at].is_told = self.slots[at].shared.is_some();
                self.ask(at, Ask::Stop, (String::new(), String::new()));
            }
        }
        if self.dice.chance(weather.outage) {
            self.world.note(format_args!("the broker is away"));
            self.net.outage(self.dice.between(ms(100), secs(8)));
        }
        if self.dice.chance(weather.revoke) {
            let task = self.dice.between(0, self.tasks as u64) as i32;
            self.net.broker().group.revoke(task);
        }
        if self.dice.chance(weather.swap) {
            self.rules = self.dice.between(0, self.ground.rules.len() as u64) as usize;
        }
        if self.dice.chance(weather.put) {
            self.put_rule();
        }
    }

    /// Another process is started under the name of one that is stopped, which is killed soon after it goes on.
    fn replace(&mut self, at: usize, pid: Pid, long: At) {
        self.world.count("processes replaced under their name", 1);
        let slot = &mut self.slots[at];
        (slot.pid, slot.shared, slot.was_replaced) = (None, None, true);
        slot.due = self.world.now() + self.dice.between(0, secs(3));
        let net = self.net.clone();
        self.world.later(long + self.dice.between(0, secs(2)), move |world| {
            world.kill(pid);
            net.silence(pid);
        });
    }

    fn put_rule(&mut self) {
        let at = self.dice.between(0, self.slots.len() as u64) as usize;
        let id = format!("put{}", self.dice.between(0, 6));
        let text = load::rule_text(&id, self.dice.between(0, 40));
        let is_known = self.put.iter().any(|(put, _)| *put == id);
        let condition = Condition { if_match: is_known.then(|| "*".to_owned()), if_none_match: None };
        let (ask, text) = match is_known && self.dice.chance(1_500) {
            true => (RulesAsk::Delete { id: id.clone(), condition }, String::new()),
            false => (RulesAsk::Put { id: id.clone(), text: text.clone(), condition, dry_run: false }, text),
        };
        self.ask(at, Ask::Rules(ask), (id, text));
    }

    /// Asks a worker, as HTTP does.
    fn ask(&mut self, at: usize, ask: Ask, (id, text): (String, String)) {
        let Some(shared) = self.slots[at].shared.clone() else { return };
        self.asked.push((id, text, Box::pin(async move { shared.ask(ask).await })));
        self.hear();
    }

    /// Hears what has been answered.
    fn hear(&mut self) {
        let mut context = std::task::Context::from_waker(Waker::noop());
        let put = &mut self.put;
        let world = &self.world;
        self.asked.retain_mut(|(id, text, asked)| {
            let Poll::Ready(answer) = asked.as_mut().poll(&mut context) else { return true };
            if let Ok(Ok((status, body, _))) = answer
                && !id.is_empty()
                && body["change"] != "none"
            {
                world.note(format_args!("{id}: {status}"));
                world.count(if text.is_empty() { "rules deleted" } else { "rules put" }, 1);
                if body["change_number"].is_u64() {
                    world.count("rules put in every task", 1);
                }
                put.push((id.clone(), text.clone()));
            }
            false
        });
    }
}
