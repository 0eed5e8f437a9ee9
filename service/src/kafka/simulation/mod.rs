//! Workers as they ship, against a cluster, a clock and a store of snapshots that are simulated: what happens is drawn from a
//! seed, and a seed always gives the same run.
//!
//! Processes are killed at any call, stopped and let go on, cut off; the broker is away; calls are lost, unanswered, late;
//! leases are taken away; snapshots are lost, late, torn and damaged; producers send twice, and rules change meanwhile. Then
//! all of it ends: within a bound everything must be committed, and be what an undisturbed run finds.
//!
//! `TRIPLINE_SIM_SEEDS` says how many seeds are run (2,000 unless set), `TRIPLINE_SIM_FIRST` from which on.
//! `TRIPLINE_SIM_SEED` runs that one alone and shows what happens.

mod broker;
mod check;
mod client;
mod counts;
mod group;
mod load;
mod network;
mod run;
mod shelf;
mod world;

use run::{Ground, Outcome, run};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}

/// What has to happen in so many runs, or they prove little.
const MUST: [&str; 16] = [
    "runs with several tasks",
    "alerts",
    "late events",
    "dead letters",
    "rules put",
    "rules put in every task",
    "unknown outcomes",
    "transactions ended by a successor",
    "transactions that ran out",
    "sessions that ran out",
    "tasks taken away",
    "members fenced",
    "leases given back",
    "processes killed at a call",
    "damaged snapshots found",
    "parts of snapshots read",
];

#[test]
fn whatever_happens_every_alert_is_committed_once() {
    if let Some(seed) = setting("TRIPLINE_SIM_SEED") {
        let Outcome { failure, counts, .. } = run(&Ground::new(), seed, true, true);
        println!("{counts:#?}");
        assert!(failure.is_none(), "seed {seed}: {}", failure.unwrap_or_default());
        return;
    }
    let first = setting("TRIPLINE_SIM_FIRST").unwrap_or(0);
    let end = first + setting("TRIPLINE_SIM_SEEDS").unwrap_or(2_000);
    let (next, has_failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let work = || {
        let ground = Ground::new();
        let mut all: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut failures = Vec::new();
        while !has_failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            let Outcome { failure, counts, .. } = run(&ground, seed, false, false);
            counts.into_iter().for_each(|(name, count)| *all.entry(name).or_default() += count);
            if let Some(why) = failure {
                has_failed.store(true, Ordering::Relaxed);
                failures.push(format!("TRIPLINE_SIM_SEED={seed}: {why}"));
            }
        }
        (all, failures)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut all, mut failures) = (BTreeMap::<&str, u64>::new(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (counts, failed) = worker.join().expect("a thread that runs seeds does not panic");
            counts.into_iter().for_each(|(name, count)| *all.entry(name).or_default() += count);
            failures.extend(failed);
        }
    });
    println!("{all:#?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if end - first >= 500 {
        let missing: Vec<_> = MUST.iter().filter(|name| !all.contains_key(*name)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    let ground = Ground::new();
    for seed in 0..8 {
        let trace = || run(&ground, seed, true, false).trace;
        let (first, second) = (trace(), trace());
        assert!(first.lines().count() > 100, "seed {seed}: little happens");
        if let Some((one, other)) = first.lines().zip(second.lines()).find(|(one, other)| one != other) {
            panic!("seed {seed}: once\n{one}\nand then\n{other}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}
