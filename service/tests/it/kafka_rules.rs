//! Rules that are put and deleted over HTTP at workers that share tasks, while these come, go and die: what was answered is in
//! force in every task, in one order, and each task's alerts are those of its own decisions.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, unique};
use super::crash::{RULES, check_determinism, event, long, mix};
use super::kafka::{setting, start};
use super::kafka_crash::{PARTITIONS, create, flush, partition_of, produce, streams};
use super::kafka_tasks::{await_shared, share};
use super::serve::{Service, terminate};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rules that are put, each again and again with another limit; and one that is put and deleted.
const MARKS: [&str; 3] = ["mark0", "mark1", "mark2"];
const GONE: &str = "gone";

fn text(id: &str, limit: u64) -> String {
    format!("rule {id} {{ by user match {{ pay as hit where amount > {limit} }} reason \"{{user}}\" }}\n")
}

fn limit(text: &str) -> u64 {
    text.split("amount > ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Changes that were asked for and answered: the rule, and its text; none if it was deleted.
#[derive(Default)]
struct Asked {
    number: u64,
    answered: Vec<(String, Option<String>)>,
}

impl Asked {
    /// Asks a worker for one more change, whether it succeeds or not.
    fn again(&mut self, service: &Service) {
        self.number += 1;
        let known = |id: &str| self.answered.iter().rev().find(|(own, _)| own == id).map(|(_, text)| text);
        let (id, is_deleted) = match mix(self.number) % 5 {
            4 => (GONE, known(GONE).is_some_and(Option::is_some)),
            other => (MARKS[other as usize % 3], false),
        };
        let any = [("if-match", "*")];
        let headers: &[_] = if known(id).is_some_and(Option::is_some) { &any } else { &[] };
        let text = text(id, mix(self.number + 1000) % 80);
        let answer = match is_deleted {
            true => service.call("DELETE", &format!("/v1/rules/{id}"), headers, b""),
            false => service.put_rule(id, &text, headers),
        };
        if matches!(answer.status, 200 | 201 | 204) && (is_deleted || answer.json()["change"] != "none") {
            self.answered.push((id.to_owned(), (!is_deleted).then_some(text)));
        } else {
            assert!(
                matches!(answer.status, 200 | 404 | 412 | 428 | 503),
                "{}: {}",
                answer.status,
                answer.body
            );
        }
    }
}

/// A decision about a rule put over HTTP: the change's number, the rule, its text, its revision and from when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decided {
    change: u64,
    id: String,
    text: Option<String>,
    revision: u64,
    at: i64,
}

/// The decisions of every task, in its order.
fn decisions(node: &Node, test: &str) -> Vec<Vec<Decided>> {
    let mut all = vec![Vec::new(); PARTITIONS as usize];
    for record in node.committed(&format!("{test}.control")) {
        let value: Value = serde_json::from_str(&record.value).unwrap();
        let control = &value["control"];
        if !record.key.starts_with(test) || (control["kind"] != "put" && control["kind"] != "delete") {
            continue;
        }
        all[record.partition as usize].push(Decided {
            change: value["changes"].as_u64().unwrap(),
            id: control["id"].as_str().unwrap().to_owned(),
            text: control["text"].as_str().map(str::to_owned),
            revision: control["revision"].as_u64().unwrap_or(0),
            at: control["at"].as_i64().unwrap_or(0),
        });
    }
    all
}

/// Waits until every change that was answered is among the decisions of every task, and checks their order.
fn await_taken(node: &Node, test: &str, asked: &Asked) -> Vec<Vec<Decided>> {
    let begun = Instant::now();
    let missing = |own: &Vec<Decided>| {
        let has = |(id, text): &&(String, Option<String>)| own.iter().any(|d| d.id == *id && d.text == *text);
        asked.answered.iter().filter(|change| !has(change)).count()
    };
    loop {
        let all = decisions(node, test);
        let is_one = all.iter().all(|own| own.len() == all[0].len());
        if is_one && all.iter().all(|own| missing(own) == 0) {
            for own in &all {
                assert!(own.windows(2).all(|two| two[0].change < two[1].change), "a change twice: {own:?}");
                let order = |own: &Vec<Decided>| -> Vec<_> {
                    own.iter().map(|d| (d.change, d.id.clone(), d.text.clone(), d.revision)).collect()
                };
                assert_eq!(order(own), order(&all[0]));
            }
            return all;
        }
        let missing: Vec<usize> = all.iter().map(missing).collect();
        assert!(begun.elapsed() < Duration::from_secs(30), "answered, and not decided by task: {missing:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A mark's alert: rule, revision, event.
type Mark = (String, u64, String);

/// What the marks find, by each task's own decisions.
fn wanted(all: &[Vec<Decided>], count: usize) -> BTreeSet<Mark> {
    let mut wanted = BTreeSet::new();
    for number in 0..count {
        let line = event(1, number);
        let event: Value = serde_json::from_str(&line).unwrap();
        let (at, name) = (event["ts"].as_i64().unwrap(), event["id"].as_str().unwrap());
        for id in MARKS {
            let mut own = all[partition_of(&line) as usize].iter().filter(|decided| decided.id == id);
            let Some(holds) = own.rfind(|decided| decided.at <= at * 1000) else { continue };
            if event["amount"].as_u64().unwrap() > limit(holds.text.as_ref().unwrap()) {
                wanted.insert((id.to_owned(), holds.revision, name.to_owned()));
            }
        }
    }
    wanted
}

/// What the marks have found. None may stand twice.
fn found(node: &Node, test: &str) -> BTreeSet<Mark> {
    let mut found = BTreeSet::new();
    for record in node.committed(&format!("{test}.alerts")) {
        let data: Value = serde_json::from_str(&record.value).unwrap();
        let rule = data["rule"].as_str().unwrap();
        if !MARKS.contains(&rule) {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let event = text(&data["why"][0]["events"][0]["id"]);
        let mark = (text(&data["rule"]), data["revision"].as_u64().unwrap(), event);
        assert!(found.insert(mark.clone()), "{mark:?} stands twice");
    }
    found
}

/// One worker, then three, then two without one of them, and so on; rules are changed at each step, wherever it is just then.
fn come_and_go(folders: &[tempfile::TempDir; 3], rounds: usize, asked: &mut Asked) -> Vec<Service> {
    let mut workers = vec![start(&folders[0])];
    await_shared(&workers.iter().collect::<Vec<_>>());
    let mut change = |workers: &[Service], count: usize| {
        for turn in 0..count {
            asked.again(&workers[turn % workers.len()]);
        }
    };
    change(&workers, 4);
    workers.extend(folders[1..].iter().map(start));
    for round in 0..rounds {
        // While the tasks move.
        change(&workers, 4);
        await_shared(&workers.iter().collect::<Vec<_>>());
        let gone = round % 3;
        change(&workers[gone..=gone], 1);
        let service = workers.remove(gone);
        if round % 2 == 0 {
            service.kill();
        } else {
            terminate(service);
        }
        change(&workers, 3);
        await_shared(&workers.iter().collect::<Vec<_>>());
        workers.insert(gone, start(&folders[gone]));
    }
    change(&workers, 2);
    workers
}

#[test]
fn rules_changed_while_workers_come_and_go_are_in_force_in_every_task() {
    let Some(node) = Node::shared() else { return };
    let (test, rounds) = (unique("shared-rules"), 2 * long());
    create(node, &test);
    let folders = [(); 3].map(|()| setting(node, &test, &format!("{}{RULES}", streams(&test))));
    folders.iter().for_each(share);
    let (writer, stop, mut asked) = (node.producer(), AtomicBool::new(false), Asked::default());
    let (workers, count) = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&writer, &test, &stop));
        let workers = come_and_go(&folders, rounds, &mut asked);
        stop.store(true, Ordering::Release);
        (workers, producer.join().unwrap())
    });
    flush(&writer, &test, count);
    let all = await_taken(node, &test, &asked);
    let wanted = wanted(&all, count);
    let begun = Instant::now();
    while found(node, &test).len() < wanted.len() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(200));
    }
    let found = found(node, &test);
    let missing: Vec<&Mark> = wanted.difference(&found).collect();
    let extra: Vec<&Mark> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, unexpected {extra:?}");
    let in_use = workers[0].get("/v1/rules").json();
    assert!(in_use["items"].as_array().unwrap().iter().any(|rule| rule["id"] == MARKS[0]), "{in_use}");
    workers.iter().for_each(check_determinism);
    println!("{} of {} changes answered, {} alerts", asked.answered.len(), asked.number, found.len());
}
