//! A task for each partition number: several in one process, shared by processes that come, go, die and are stopped; and what
//! cannot be shared out is refused.
//!
//! `TRIPLINE_LONG` says how many times more often than in CI.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, unique};
use super::crash::{check_determinism, long, mix, program};
use super::kafka::{attempt, setting, start};
use super::kafka_crash::{PARTITIONS, over_http};
use super::kafka_scale::{STOPPED, disturbed};
use super::serve::{Service, spawn, terminate};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const STREAMS: &str = "stream auth { topic \"@.auth\" key user time ts in order id id idle 1h fields { user: string, ok: bool, host: string } }\n";
const RULE: &str = "rule guess { by user match within 10m { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\" }\n";

/// Has the workers of a folder share tasks.
pub(super) fn share(folder: &TempDir) {
    let path = folder.path().join("tripline.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, config.replace("[kafka]\n", "[kafka]\ntasks = \"partitions\"\n")).unwrap();
}

fn shared_setting(node: &Node, test: &str, rules: &str) -> TempDir {
    let folder = setting(node, test, rules);
    share(&folder);
    folder
}

/// The tasks at which a worker is at work.
fn tasks(service: &Service) -> BTreeSet<i32> {
    let told = service.get("/statusz").json();
    let at_work = told["tasks"].as_array().unwrap().iter().filter(|task| task["state"] == "working");
    at_work.map(|task| task["task"].as_str().unwrap().parse().unwrap()).collect()
}

fn metric(service: &Service, name: &str) -> f64 {
    let metrics = service.get("/metrics").body;
    let lines =
        metrics.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok());
    lines.sum()
}

/// Waits until every task is at work in one of these workers, and each of them has one.
pub(super) fn await_shared(workers: &[&Service]) {
    let begun = Instant::now();
    loop {
        let held: Vec<BTreeSet<i32>> = workers.iter().map(|worker| tasks(worker)).collect();
        let all: BTreeSet<i32> = held.iter().flatten().copied().collect();
        if all.len() == PARTITIONS as usize && held.iter().all(|own| !own.is_empty()) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "tasks at work: {held:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until each of these workers has committed something more.
fn await_commits(workers: &[&Service]) {
    let commits = |worker: &&Service| metric(worker, "tripline_commits_total{outcome=\"ok\"}");
    let before: Vec<f64> = workers.iter().map(commits).collect();
    let begun = Instant::now();
    while workers.iter().zip(&before).any(|(worker, before)| commits(worker) <= *before) {
        assert!(begun.elapsed() < Duration::from_secs(30), "not all workers commit");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_process_has_several_tasks() {
    let Some(node) = Node::shared() else { return };
    let test = unique("tasks");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 2)]);
    let folder = shared_setting(node, &test, &format!("{STREAMS}{RULE}"));
    let service = start(&folder);
    let writer = node.producer();
    let attack = |minute: u32| {
        for (partition, user) in ["ann", "bob"].into_iter().enumerate() {
            for (after, ok) in [(0, false), (1, false), (2, true)] {
                writer.send(&topic("auth"), partition as i32, user, &attempt(minute + after, user, ok));
            }
        }
        writer.flush();
    };
    attack(0);
    let users = |count: usize| {
        let alerts = node.await_records(&topic("alerts"), count);
        alerts.iter().map(|alert| alert.key.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(users(2), BTreeSet::from(["ann".to_owned(), "bob".to_owned()]));
    assert_eq!(tasks(&service), BTreeSet::from([0, 1]));
    let told = service.get("/statusz").json();
    let auth = |task: usize| {
        told["tasks"][task]["partitions"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!((auth(0), auth(1)), (vec![topic("auth/0")], vec![topic("auth/1")]));
    // What is asked of the service is asked of all of them.
    let stats = service.get("/v1/rules/guess/stats").json();
    assert_eq!(
        (&stats["wanted"], &stats["alerts"], &stats["revision"]),
        (&6.into(), &2.into(), &1.into()),
        "{stats}"
    );
    assert_eq!(stats["steps"][0]["events"], 4, "{stats}");
    assert_eq!(stats["share_of_work"], 1.0, "{stats}");
    let checked = service.call("POST", "/v1/rules:check", &[("content-type", "text/plain")], RULE.as_bytes());
    assert_eq!(checked.status, 200, "{}", checked.body);
    let put = service.put_rule("guess", RULE, &[]);
    assert!(put.status == 409 && put.body.contains("rules folder"), "{}", put.body);
    let unfit = RULE.replace("guess", "other").replace("by user", "by host").replace("{user}", "{host}");
    let put = service.put_rule("other", &unfit, &[]);
    assert!(put.status == 422 && put.body.contains("by KEY (auth.user)"), "{}", put.body);
    let put = service.put_rule("other", &RULE.replace("guess", "other"), &[]);
    let told = put.json();
    assert_eq!((put.status, &told["revision"]), (201, &1.into()), "{}", put.body);
    assert!(told["effective_from"].is_string() && told["tasks_behind"] == serde_json::json!([]), "{told}");
    let shown = service.get("/v1/rules/other").json();
    let again = service.put_rule("other", &RULE.replace("guess", "other"), &[]);
    assert_eq!((again.status, &again.json()["change"]), (200, &"none".into()), "{}", again.body);
    let etag = shown["etag"].as_str().unwrap();
    let told = service.get("/statusz").json();
    assert_eq!(
        (&told["tasks"][0]["changes_waiting"], &told["tasks"][1]["changes_waiting"]),
        (&0.into(), &0.into())
    );
    assert_eq!(service.call("DELETE", "/v1/rules/other", &[("if-match", "\"1-x\"")], b"").status, 412);
    assert_eq!(service.call("DELETE", "/v1/rules/other", &[("if-match", etag)], b"").status, 204);
    assert_eq!(service.get("/v1/rules/other").status, 404);
    assert_eq!(metric(&service, "tripline_events_processed_total{task=\"1\"}"), 3.0);
    assert_eq!(
        metric(&service, "tripline_commit_epoch{task=\"0\"}"),
        metric(&service, "tripline_commit_epoch{task=\"1\"}")
    );
    // Neither a kill nor an end in good order doubles anything.
    service.kill();
    let service = start(&folder);
    attack(10);
    assert_eq!(users(4).len(), 2);
    terminate(service);
    let service = start(&folder);
    attack(20);
    assert_eq!(users(6).len(), 2);
    assert_eq!(node.committed(&topic("alerts")).len(), 6);
    check_determinism(&service);
    terminate(service);
    // A rule that was the folder's is put: the ETag that is shown is the one that counts, whatever revisions there were before.
    let path = folder.path().join("rules/a.cep");
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace(RULE, "")).unwrap();
    let service = start(&folder);
    let put = service.put_rule("guess", RULE, &[]);
    assert!(put.status == 201 && put.json()["effective_from"].is_string(), "{}", put.body);
    let shown = service.get("/v1/rules/guess").json();
    let etag = shown["etag"].as_str().unwrap();
    assert_eq!(service.call("DELETE", "/v1/rules/guess", &[("if-match", etag)], b"").status, 204);
}

/// Starts a worker, and then leaves its rules folder as somebody does who has saved half of a rule: what works goes on by the rules
/// that were there when it began, also with tasks that come to it later.
fn start_and_spoil(folder: &TempDir) -> Service {
    let half = folder.path().join("rules/half.cep");
    let _ = std::fs::remove_file(&half);
    let service = start(folder);
    std::fs::write(half, "rule half {").unwrap();
    service
}

/// One worker, then three, then two without one of them, then three again, and so on; by SIGTERM and `kill -9` in turn.
fn come_and_go(folders: &[TempDir; 3], rounds: usize) -> Vec<Service> {
    folders.iter().for_each(share);
    let mut workers = vec![start_and_spoil(&folders[0])];
    await_shared(&workers.iter().collect::<Vec<_>>());
    workers.extend(folders[1..].iter().map(start_and_spoil));
    for round in 0..=rounds {
        let all: Vec<&Service> = workers.iter().collect();
        await_shared(&all);
        await_commits(&all);
        if round == rounds {
            break;
        }
        let gone = round % 3;
        let service = workers.remove(gone);
        if round % 2 == 0 {
            terminate(service);
        } else {
            service.kill();
        }
        await_shared(&workers.iter().collect::<Vec<_>>());
        workers.insert(gone, start_and_spoil(&folders[gone]));
    }
    workers
}

#[test]
fn tasks_that_workers_share_lose_and_double_nothing() {
    let Some(node) = Node::shared() else { return };
    let rounds = 2 * long();
    let after = disturbed(node, &unique("shared-tasks"), |folders: &[_; 3]| come_and_go(folders, rounds));
    assert_eq!(over_http(&after.left[0], after.wanted.len()), after.wanted);
    after.left.iter().for_each(check_determinism);
    println!("{PARTITIONS} tasks, 1-3-2-3 workers, {rounds} rounds {}", after.told);
}

#[test]
fn a_worker_with_tasks_that_is_stopped_and_goes_on_loses_and_doubles_nothing() {
    let Some(node) = Node::shared() else { return };
    let rounds = long();
    let after = disturbed(node, &unique("stopped-tasks"), |folders: &[_; 2]| {
        folders.iter().for_each(share);
        let workers = folders.each_ref().map(start);
        for round in 0..rounds {
            await_shared(&[&workers[0], &workers[1]]);
            std::thread::sleep(Duration::from_millis(mix(round as u64) % 400));
            let (gone, other) = (&workers[round % 2], &workers[1 - round % 2]);
            gone.signal("STOP");
            let stopped = Instant::now();
            await_shared(&[other]);
            std::thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
            gone.signal("CONT");
            await_shared(&[gone, other]);
        }
        workers
    });
    after.left.iter().for_each(check_determinism);
    println!("a worker with tasks stopped {rounds} times {}", after.told);
}

/// A task that moves commits and leaves a snapshot first: whoever takes it reads nothing again.
#[test]
fn a_task_that_moves_is_handed_over() {
    let Some(node) = Node::shared() else { return };
    let test = unique("moved");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 2)]);
    let place = tempfile::tempdir().unwrap();
    let folders = [(); 2].map(|()| {
        let folder = shared_setting(node, &test, &format!("{STREAMS}{RULE}"));
        let path = folder.path().join("tripline.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let snapshots = format!("[snapshots]\nurl = \"{}\"\nevery = \"1h\"\n", place.path().display());
        std::fs::write(path, config + &snapshots).unwrap();
        folder
    });
    let first = start(&folders[0]);
    let writer = node.producer();
    let send = |minute: u32, ok: bool| {
        for partition in [0, 1] {
            let user = format!("u{partition}");
            writer.send(&topic("auth"), partition, &user, &attempt(minute, &user, ok));
        }
        writer.flush();
    };
    send(0, false);
    send(1, false);
    let begun = Instant::now();
    while metric(&first, "tripline_events_processed_total") < 4.0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the events are not read");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = start(&folders[1]);
    let begun = Instant::now();
    while (tasks(&first).len(), tasks(&second).len()) != (1, 1) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the tasks are not shared out");
        std::thread::sleep(Duration::from_millis(50));
    }
    send(2, true);
    assert_eq!(node.await_records(&topic("alerts"), 2).len(), 2);
    // The event after the move; those before it were committed, and are in the state that it began with.
    assert_eq!(metric(&second, "tripline_events_processed_total"), 1.0);
    assert_eq!(metric(&second, "tripline_replayed_events_total"), 0.0);
    [first, second].iter().for_each(check_determinism);
}

/// What a service says that does not start.
fn refusal(folder: &TempDir) -> String {
    let config = folder.path().join("tripline.toml");
    let mut child = spawn(&program(), folder.path(), &["--config", config.to_str().unwrap()]);
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begun.elapsed() > Duration::from_secs(60) => {
                child.kill().unwrap();
                panic!("it is not refused");
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let text = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    text
}

#[test]
fn what_cannot_be_shared_out_is_refused() {
    let Some(node) = Node::shared() else { return };
    let test = unique("unshared");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 2), (&topic("pay"), 3)]);
    let pay = "stream pay { topic \"@.pay\" key user time ts id id fields { user: string } }\n";
    let says = |rules: &str, wanted: &[&str]| {
        let text = refusal(&shared_setting(node, &test, rules));
        wanted.iter().for_each(|wanted| assert!(text.contains(wanted), "{wanted}: {text}"));
    };
    let one = "kafka.tasks = ";
    says(&format!("{STREAMS}{pay}"), &["auth` has 2 partitions and", "pay` 3", one]);
    says("", &["[rules] folder"]);
    let rule = |text: &str| format!("{STREAMS}rule r {{ {text} }}\n");
    says(&rule("by host match { auth } reason \"x\""), &["rule `r` cannot", "by KEY (auth.user)", one]);
    says(&rule("match { auth } reason \"x\""), &["rule `r` cannot", "it has no key", one]);
    let alert = rule("by user match { auth } reason \"x\"")
        + "rule s { by user (alert.keys.user) match { alert } reason \"x\" }\n";
    says(&alert, &["rule `s` cannot", "it reads `alert`", one]);
    let no_key = format!("{}{RULE}", STREAMS.replace(" key user", ""));
    says(&no_key, &["rule `guess` cannot", "stream auth { key FIELD .. }", one]);
    // A key that has that of the topic as one of its parts is whole in a partition.
    let folder = shared_setting(node, &test, &rule("by user, host match { auth } reason \"x\""));
    drop(start(&folder));
}

/// How many tasks there are is decided once.
#[test]
fn a_group_keeps_the_tasks_that_it_began_with() {
    let Some(node) = Node::shared() else { return };
    let test = unique("kept");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 2)]);
    let rules = format!("{STREAMS}{RULE}");
    let shared = shared_setting(node, &test, &rules);
    drop(start(&shared));
    let text = refusal(&setting(node, &test, &rules));
    assert!(text.contains("A group keeps the tasks that it began with"), "{text}");
    node.grow(&topic("auth"), 3);
    let text = refusal(&shared);
    assert!(text.contains("the input topics have 3 partitions, and the group has 2 tasks"), "{text}");
    // The other way round, and with the name of another control topic: what stands committed is the other's.
    let other = unique("kept-one");
    node.create(&[(&format!("{other}.auth"), 2)]);
    drop(start(&setting(node, &other, &rules)));
    let text = refusal(&shared_setting(node, &other, &rules));
    assert!(text.contains("A group keeps the tasks that it began with"), "{text}");
}
