//! The tasks of a process, each on a thread of its own; and the requests that come to all of them.
//!
//! Of a group with a task for each partition number every process has a thread for every task: those whose lease it has
//! work, the others stand by.

use super::Trouble;
use super::changes::Changes;
use super::cluster::Cluster;
use super::door::{Door, Ready};
use super::ledger::Ledger;
use super::recover::{Ground, ensure_outputs};
use super::rounds::Rounds;
use super::share::{self, ONLY, TaskNumber};
use super::topics::Topics;
use super::worker::{AGAIN, Worker};
use crate::clock::{self, Thread};
use crate::config::Tasks;
use crate::serve::Shared;
use crate::serve::crash::Crashes;
use crate::serve::matcher::{Ask, Request};
use crate::telemetry;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long requests and the threads' first words are waited for before the others are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Works until told to stop. `crashes` says what the first task has died of.
pub(crate) fn work(mut door: Door, cluster: Arc<dyn Cluster>, crashes: Crashes) {
    if door.shared.config.kafka.tasks == Tasks::One {
        return Worker::new(door, ONLY, cluster, crashes).run();
    }
    let Some((of, ground)) = known(&mut door, &cluster) else { return };
    if of == ONLY.of {
        // Nothing is shared: the group is one that has one task, whatever its setting says.
        return Worker::new(door, ONLY, cluster, crashes).on(Arc::new(ground)).run();
    }
    match Fleet::start(door, &cluster, crashes, of, Arc::new(ground)) {
        Ok(fleet) => fleet.run(),
        Err((mut door, why)) => door.give_up(why),
    }
}

/// How many tasks there are, as soon as that can be told. None: it never will, and the process was told to stop.
fn known(door: &mut Door, cluster: &Arc<dyn Cluster>) -> Option<(i32, Ground)> {
    loop {
        match count(&door.shared, cluster) {
            Ok(known) => return Some(known),
            Err(Trouble::Refused(why)) => {
                door.give_up(why);
                return None;
            }
            Err(Trouble::Away(why) | Trouble::Fenced(why)) => door.waits(&why),
        }
        if door.is_stopped(AGAIN) {
            return None;
        }
    }
}

/// How many tasks the group has, or is to have if it begins now; and what the rules folder says.
fn count(shared: &Shared, cluster: &Arc<dyn Cluster>) -> Result<(i32, Ground), Trouble> {
    let config = &shared.config;
    let topics = Topics::new(cluster, &config.kafka, config.dev);
    let ground = Ground::of(config)?;
    let counts = topics.ensure_inputs(&ground.inputs)?;
    // One partition is what a group has that began with one task.
    let began = cluster.partitions(&config.kafka.control_topic)?.filter(|count| *count > 1);
    let tasks = match began.and_then(|count| i32::try_from(count).ok()) {
        Some(began) => began,
        None => share::count(&counts).map_err(Trouble::Refused)?,
    };
    share::check(&ground.module, &counts, tasks).map_err(Trouble::Refused)?;
    ensure_outputs(&topics, &config.kafka, tasks)?;
    Ok((tasks, ground))
}

/// All tasks at work.
struct Fleet {
    door: Door,
    queues: Vec<SyncSender<Request>>,
    threads: Vec<Thread>,
    /// Those that have not said yet whether they are ready.
    starting: Vec<oneshot::Receiver<Result<(), String>>>,
    rounds: Rounds,
    ledger: Ledger,
}

impl Fleet {
    fn start(
        door: Door,
        cluster: &Arc<dyn Cluster>,
        crashes: Crashes,
        of: i32,
        ground: Arc<Ground>,
    ) -> Result<Self, (Door, String)> {
        let statuses = door.shared.has_tasks(of);
        let (changes, config) = (Arc::<Changes>::default(), &door.shared.config);
        let topics = Topics::new(cluster, &config.kafka, config.dev);
        let ledger = Ledger::new((cluster, &config.kafka), topics, ground.clone(), changes.clone());
        let mut fleet = Self {
            door,
            queues: Vec::new(),
            threads: Vec::new(),
            starting: Vec::new(),
            rounds: Rounds::default(),
            ledger,
        };
        let data = fleet.door.shared.config.store.data.clone();
        let mut notes: Vec<Crashes> = (1..of).map(|number| crashes.beside(&data, number)).collect();
        notes.insert(0, crashes);
        for ((number, status), crashes) in (0..of).zip(statuses.iter()).zip(notes) {
            let shared = fleet.door.shared.clone();
            let (queue, requests) = sync_channel(shared.config.ingest.queue.max(1));
            let (say, ready): (Ready, _) = oneshot::channel();
            let own = Door::new(shared, status.clone(), requests, say);
            let own = Door { changes: changes.clone(), ..own };
            let worker =
                Worker::new(own, TaskNumber { number, of }, cluster.clone(), crashes).on(ground.clone());
            let work = move || telemetry::of_task(number, || worker.run());
            match clock::thread(format!("task {number}"), work) {
                Ok(thread) => fleet.threads.push(thread),
                Err(error) => return Err((fleet.end(), error.to_string())),
            }
            fleet.queues.push(queue);
            fleet.starting.push(ready);
        }
        Ok(fleet)
    }

    /// Hands requests round until one of them is to stop.
    fn run(mut self) {
        loop {
            self.hear();
            self.rounds.hear();
            self.ledger.go_on(&self.door.shared);
            match clock::receive(&self.door.queue, LOOK) {
                Ok(Request { ask: Ask::Stop, reply }) => {
                    self.end();
                    let _ = reply.send(Ok((200, serde_json::Value::Null, None)));
                    return;
                }
                Ok(request) => {
                    let with = (request, &mut self.ledger);
                    self.rounds.begin(&self.door.shared, with, &self.queues);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.end();
                    return;
                }
            }
        }
    }

    /// All are ready, or one of them never will be.
    fn hear(&mut self) {
        let Some(ready) = self.door.ready.take() else { return };
        let mut refused = None;
        self.starting.retain_mut(|starting| match starting.try_recv() {
            Ok(Ok(())) => false,
            Ok(Err(why)) => {
                refused.get_or_insert(why);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => {
                refused.get_or_insert("the thread of a task is gone".to_owned());
                false
            }
        });
        if let Some(why) = refused {
            let _ = ready.send(Err(why));
        } else if self.starting.is_empty() {
            let _ = ready.send(Ok(()));
        } else {
            self.door.ready = Some(ready);
        }
    }

    /// Has every task end in good order.
    fn end(self) -> Door {
        for queue in &self.queues {
            let (reply, _) = oneshot::channel();
            // A task that is gone has ended.
            let _ = queue.send(Request { ask: Ask::Stop, reply });
        }
        for thread in self.threads {
            if !thread.join() {
                tracing::error!("the thread of a task has panicked");
            }
        }
        self.door
    }
}
