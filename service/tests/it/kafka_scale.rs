//! Workers of one group come and go while events flow, and whichever of them has the task is among those that go.
//!
//! It goes by SIGTERM and by `kill -9` in turn, or is stopped for longer than the group waits for it; `TRIPLINE_LONG` says
//! how many times more often than in CI.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, unique};
use super::crash::{RULES, check_determinism, compare, long, mix};
use super::kafka::{setting, start};
use super::kafka_crash::{
    check_input, checked, create, flush, over_http, produce, settled, streams, undisturbed,
};
use super::serve::{Service, terminate};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Which of them has the task.
fn holder(workers: &[Option<Service>]) -> usize {
    let begun = Instant::now();
    loop {
        let has_it = |worker: &Service| worker.get("/statusz").json()["state"] == "ready";
        if let Some(found) = workers.iter().position(|worker| worker.as_ref().is_some_and(has_it)) {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody has taken over");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One worker, then three, then two without the one that had the task, then three again, and so on.
fn come_and_go(folders: &[tempfile::TempDir], rounds: usize) -> (Vec<Option<Service>>, usize) {
    let mut workers = vec![Some(start(&folders[0])), None, None];
    std::thread::sleep(Duration::from_secs(1));
    for (worker, folder) in workers.iter_mut().zip(folders).skip(1) {
        *worker = Some(start(folder));
    }
    let mut handed_over = 0;
    for round in 0..rounds {
        let gone = holder(&workers);
        let service = workers[gone].take().unwrap();
        if round % 2 == 0 {
            terminate(service);
        } else {
            // With one that stood by.
            workers[(gone + 1) % 3].take().unwrap().kill();
            service.kill();
        }
        handed_over += usize::from(holder(&workers) != gone);
        for (worker, folder) in workers.iter_mut().zip(folders) {
            worker.get_or_insert_with(|| start(folder));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    (workers, handed_over)
}

/// What is there after events have flowed while workers were disturbed.
pub(super) struct Aftermath<R> {
    /// What the disturbance gave: the workers, and what else.
    pub(super) left: R,
    /// Of an undisturbed run.
    pub(super) wanted: BTreeSet<(String, String)>,
    /// Events, alerts, and how long it took: to be printed.
    pub(super) told: String,
}

/// Lets events flow while `disturb` starts workers of one group on these folders and does with them what it will; then what a
/// reader finds must be what an undisturbed run gives.
pub(super) fn disturbed<const N: usize, R>(
    node: &Node,
    test: &str,
    disturb: impl FnOnce(&[TempDir; N]) -> R,
) -> Aftermath<R> {
    create(node, test);
    let rules = format!("{}{RULES}", streams(test));
    let folders = [(); N].map(|()| setting(node, test, &rules));
    let (writer, stop) = (node.producer(), AtomicBool::new(false));
    let begun = Instant::now();
    let (left, count) = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&writer, test, &stop));
        let left = disturb(&folders);
        stop.store(true, Ordering::Release);
        (left, producer.join().unwrap())
    });
    flush(&writer, test, count);
    let wanted = undisturbed(folders[0].path(), RULES, count);
    check_input(node, test, count);
    let found = checked(&settled(node, &format!("{test}.alerts"), wanted.len()));
    compare(&found, &wanted, &["left_open", "burst", "guess", "unpaid"]);
    let told = format!(
        "in {:.1?}: {} events, {} alerts, none lost, none twice",
        begun.elapsed(),
        count * 2,
        found.len()
    );
    Aftermath { left, wanted, told }
}

#[test]
fn workers_that_come_and_go_lose_and_double_nothing() {
    let Some(node) = Node::shared() else { return };
    let rounds = 2 * long();
    let after = disturbed(node, &unique("scale"), |folders: &[_; 3]| come_and_go(folders, rounds));
    let (workers, handed_over) = after.left;
    assert_eq!(handed_over, rounds, "the task stayed where it was");
    let at_work = workers[holder(&workers)].as_ref().unwrap();
    assert_eq!(over_http(at_work, after.wanted.len()), after.wanted);
    workers.iter().flatten().for_each(check_determinism);
    println!("1-3-2-3 workers, {rounds} rounds {}", after.told);
}

/// How long a worker is stopped: one and a half times what the group waits for a member that says nothing.
pub(super) const STOPPED: Duration = Duration::from_secs(15);

/// The one that has the task is stopped, wherever it is just then; the other takes over; and it goes on as if nothing had been.
fn stop_and_go_on(workers: &[Service; 2], round: usize) {
    let begun = Instant::now();
    let has_it = |worker: &Service| worker.get("/statusz").json()["state"] == "ready";
    let await_one = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(90), "round {round}: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    await_one("nobody has the task", &|| workers.iter().any(has_it));
    let gone = workers.iter().position(has_it).unwrap();
    let other = &workers[1 - gone];
    std::thread::sleep(Duration::from_millis(mix(round as u64) % 400));
    workers[gone].signal("STOP");
    let stopped = Instant::now();
    await_one("nobody has taken over", &|| has_it(other));
    std::thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
    workers[gone].signal("CONT");
    await_one("it does not stand by", &|| has_it(other) && !has_it(&workers[gone]));
}

#[test]
fn workers_that_are_stopped_and_go_on_lose_and_double_nothing() {
    let Some(node) = Node::shared() else { return };
    let rounds = long();
    let after = disturbed(node, &unique("stopped"), |folders: &[_; 2]| {
        let workers = folders.each_ref().map(start);
        (0..rounds).for_each(|round| stop_and_go_on(&workers, round));
        workers
    });
    after.left.iter().for_each(check_determinism);
    println!("the worker with the task stopped {rounds} times {}", after.told);
}
