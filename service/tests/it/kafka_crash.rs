//! What an independent reader finds after kills of the service and of the broker, against an undisturbed run on files.
//!
//! `TRIPLINE_LONG` says how many times more often than in CI; the service lives longer between two kills then.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, Record, Writer, unique};
use super::crash::{BASE_MS, NAMES, RULES, STREAMS, compare, event, long, mix, pages, program};
use super::kafka::{setting, start};
use super::serve::Service;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Partitions of each topic.
pub(super) const PARTITIONS: i32 = 4;

/// The streams with a topic each, keyed by user.
pub(super) fn streams(test: &str) -> String {
    let mut text = STREAMS.to_owned();
    for name in NAMES {
        text = text.replace(
            &format!("stream {name} {{"),
            &format!("stream {name} {{ topic \"{test}.{name}\" key user"),
        );
    }
    text
}

/// The partition of an event: that of its user.
pub(super) fn partition_of(line: &str) -> i32 {
    let user = line.split("\"user\":\"u").nth(1).and_then(|rest| rest.bytes().next()).unwrap();
    i32::from(user - b'0') % PARTITIONS
}

/// Sends both streams' events until told to stop. How many of each there were.
pub(super) fn produce(writer: &Writer, test: &str, stop: &AtomicBool) -> usize {
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        for (stream, name) in NAMES.iter().enumerate() {
            let line = event(stream, number);
            let line = line.trim_end();
            let partition = partition_of(line);
            writer.send(&format!("{test}.{name}"), partition, &format!("k{partition}"), line);
        }
        number += 1;
        if number % 5 == 0 {
            std::thread::sleep(Duration::from_millis(8));
        }
    }
    number
}

/// The last events of a partition, an hour after all others.
fn last(stream: usize, partition: i32, count: usize) -> String {
    let rest = ["\"ok\":true,\"act\":\"use\"", "\"amount\":1"][stream];
    let ts = BASE_MS + (count + 3600) * 1000;
    format!("{{\"ts\":{ts},\"id\":\"last{partition}\",\"user\":\"last{partition}\",{rest}}}")
}

/// Time of every partition moves past all that was sent.
pub(super) fn flush(writer: &Writer, test: &str, count: usize) {
    for (stream, name) in NAMES.iter().enumerate() {
        for partition in 0..PARTITIONS {
            writer.send(&format!("{test}.{name}"), partition, "last", &last(stream, partition, count));
        }
    }
    writer.flush();
}

/// The broker holds every event once, in the order in which it was sent: else the comparison means nothing.
pub(super) fn check_input(node: &Node, test: &str, count: usize) {
    for (stream, name) in NAMES.iter().enumerate() {
        let mut wanted: Vec<String> =
            (0..count).map(|number| event(stream, number).trim_end().to_owned()).collect();
        wanted.extend((0..PARTITIONS).map(|partition| last(stream, partition, count)));
        let held = node.committed(&format!("{test}.{name}"));
        for partition in 0..PARTITIONS {
            let is_own = |line: &&String| match line.split("\"id\":\"last").nth(1) {
                Some(rest) => rest.starts_with(&partition.to_string()),
                None => partition_of(line) == partition,
            };
            let wanted: Vec<&String> = wanted.iter().filter(is_own).collect();
            let held: Vec<&String> = held
                .iter()
                .filter(|record| record.partition == partition)
                .map(|record| &record.value)
                .collect();
            assert_eq!(wanted.len(), held.len(), "events in {name}/{partition}");
            assert!(wanted == held, "{name}/{partition} is not in order");
        }
    }
    assert_eq!(node.committed(&format!("{test}.late")).len(), 0, "late events");
}

/// Rule and id of every alert of an undisturbed run over the same events.
pub(super) fn undisturbed(folder: &Path, rules: &str, count: usize) -> BTreeSet<(String, String)> {
    for (stream, name) in NAMES.iter().enumerate() {
        let mut lines: String = (0..count).map(|number| event(stream, number)).collect();
        for partition in 0..PARTITIONS {
            lines.push_str(&last(stream, partition, count));
            lines.push('\n');
        }
        std::fs::write(folder.join(format!("{name}.jsonl")), lines).unwrap();
    }
    std::fs::write(folder.join("all.cep"), format!("{STREAMS}{rules}")).unwrap();
    let output = Command::new(program())
        .current_dir(folder)
        .args(["run", "all.cep", "auth.jsonl", "pay.jsonl", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let alert: serde_json::Value = serde_json::from_str(line).unwrap();
            (alert["data"]["rule"].as_str().unwrap().to_owned(), alert["id"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// Rule and id of every record. None may stand twice; those of a key are in one partition and in order of time.
pub(super) fn checked(records: &[Record]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut keys: BTreeMap<(String, String), (i32, String)> = BTreeMap::new();
    for record in records {
        let data: serde_json::Value = serde_json::from_str(&record.value).unwrap();
        let rule = data["rule"].as_str().unwrap().to_owned();
        let (id, time) = (record.headers["ce_id"].clone(), record.headers["ce_time"].clone());
        assert!(found.insert((rule.clone(), id.clone())), "{rule} {id} stands twice");
        if let Some((partition, before)) =
            keys.insert((rule, record.key.clone()), (record.partition, time.clone()))
        {
            assert_eq!(partition, record.partition, "a key in two partitions");
            assert!(before <= time, "{} after {before}", time);
        }
    }
    found
}

/// Waits until the reader has found as many alerts as there should be, or no more come. After many kills of the broker a
/// worker may need longer than a session, and a call to the broker, and once more, before it goes on.
pub(super) fn settled(node: &Node, topic: &str, wanted: usize) -> Vec<Record> {
    let patience = Duration::from_secs(if long() > 1 { 120 } else { 20 });
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let records = node.committed(topic);
        if records.len() != before {
            (before, since) = (records.len(), Instant::now());
        }
        if records.len() >= wanted || since.elapsed() > patience {
            return records;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The same alerts over HTTP.
pub(super) fn over_http(service: &Service, wanted: usize) -> BTreeSet<(String, String)> {
    let begun = Instant::now();
    loop {
        let all = pages(service, "/v1/alerts");
        if all.len() >= wanted || begun.elapsed() > Duration::from_secs(20) {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let set: BTreeSet<_> = all.iter().map(|a| (text(&a["data"]["rule"]), text(&a["id"]))).collect();
            assert_eq!(set.len(), all.len(), "an alert stands twice");
            return set;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(super) fn create(node: &Node, test: &str) {
    let names: Vec<String> = NAMES.iter().map(|name| format!("{test}.{name}")).collect();
    let topics: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), PARTITIONS)).collect();
    node.create(&topics);
    node.create(&[(&format!("{test}.alerts"), 3)]);
}

#[test]
fn kills_of_the_service_lose_and_double_nothing() {
    let Some(node) = Node::shared() else { return };
    let test = &unique("kills");
    create(node, test);
    let folder = setting(node, test, &format!("{}{RULES}", streams(test)));
    let (least, more) = if long() > 1 { (5_000, 10_000) } else { (200, 3_000) };
    let kills = 4 * long() as u64;
    let seed = u64::from(std::process::id());
    let (writer, stop) = (node.producer(), AtomicBool::new(false));
    let begun = Instant::now();
    let mut restarts = Vec::new();
    let (service, count) = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&writer, test, &stop));
        let mut service = start(&folder);
        for kill in 0..kills {
            std::thread::sleep(Duration::from_millis(least + mix(seed.wrapping_add(kill)) % more));
            service.kill();
            let down = Instant::now();
            service = start(&folder);
            restarts.push(down.elapsed());
        }
        stop.store(true, Ordering::Release);
        (service, producer.join().unwrap())
    });
    flush(&writer, test, count);
    let wanted = undisturbed(folder.path(), RULES, count);
    check_input(node, test, count);
    let found = checked(&settled(node, &format!("{test}.alerts"), wanted.len()));
    compare(&found, &wanted, &["left_open", "burst", "guess", "unpaid"]);
    assert_eq!(over_http(&service, wanted.len()), wanted);
    super::crash::check_determinism(&service);
    restarts.sort();
    println!(
        "{kills} kills of the service in {:.1?}: {} events, {} alerts, none lost, none twice; back after {:.1?} at most",
        begun.elapsed(),
        count * 2,
        found.len(),
        restarts.last(),
    );
}

#[test]
fn kills_of_the_broker_lose_and_double_nothing() {
    let Some(node) = Node::start("killed") else { return };
    let test = &unique("brokers");
    create(&node, test);
    let folder = setting(&node, test, &format!("{}{RULES}", streams(test)));
    let kills = 2 * long() as u64;
    let (writer, stop) = (node.producer(), AtomicBool::new(false));
    let service = start(&folder);
    let begun = Instant::now();
    let count = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&writer, test, &stop));
        for kill in 0..kills {
            std::thread::sleep(Duration::from_millis(1_500 + mix(kill) % 1_500));
            node.kill();
            std::thread::sleep(Duration::from_millis(500));
            node.restart();
        }
        std::thread::sleep(Duration::from_millis(1_500));
        stop.store(true, Ordering::Release);
        producer.join().unwrap()
    });
    flush(&writer, test, count);
    let wanted = undisturbed(folder.path(), RULES, count);
    check_input(&node, test, count);
    let found = checked(&settled(&node, &format!("{test}.alerts"), wanted.len()));
    compare(&found, &wanted, &["left_open", "burst", "guess", "unpaid"]);
    assert_eq!(over_http(&service, wanted.len()), wanted);
    println!(
        "{kills} kills of the broker in {:.1?}: {} events, {} alerts, none lost, none twice",
        begun.elapsed(),
        count * 2,
        found.len(),
    );
}

/// One of two topics says nothing for a while: the other is read no further than memory may hold, and nothing is lost.
#[test]
fn a_topic_that_stalls_holds_the_other_back() {
    const CAP: usize = 200_000;
    let Some(node) = Node::shared() else { return };
    let test = &unique("stall");
    create(node, test);
    let folder = setting(node, test, &format!("{}{RULES}", streams(test)));
    let config = folder.path().join("tripline.toml");
    let cap = CAP.to_string();
    let service = Service::start_with(
        folder.path(),
        &["--config", config.to_str().unwrap()],
        &[("TRIPLINE__LIMITS__REORDER_BUFFER_BYTES", &cap)],
    );
    let (writer, count) = (node.producer(), 6_000);
    let send = |stream: usize| {
        for number in 0..count {
            let line = event(stream, number);
            let line = line.trim_end();
            let partition = partition_of(line);
            writer.send(&format!("{test}.{}", NAMES[stream]), partition, &format!("k{partition}"), line);
        }
        writer.flush();
    };
    let number = |name: &str| {
        let metrics = service.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
    };
    send(0);
    let (mut read, mut since, mut peak) = (0, Instant::now(), 0);
    while read == 0 || since.elapsed() < Duration::from_secs(3) {
        let now = number("tripline_events_processed_total");
        if now != read {
            (read, since) = (now, Instant::now());
        }
        peak = peak.max(number("tripline_reorder_buffer_bytes"));
        assert!(since.elapsed() < Duration::from_secs(30), "nothing is read");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(read < count, "all {count} events of the topic wait in memory");
    // Beyond the cap by what one turn reads at most.
    assert!(peak > CAP / 2 && peak < CAP * 3, "{peak} bytes wait");
    send(1);
    flush(&writer, test, count);
    let wanted = undisturbed(folder.path(), RULES, count);
    check_input(node, test, count);
    let found = checked(&settled(node, &format!("{test}.alerts"), wanted.len()));
    compare(&found, &wanted, &["left_open", "burst", "guess", "unpaid"]);
    println!(
        "{read} of {count} events were read while the other topic said nothing; {peak} bytes waited at most"
    );
}
