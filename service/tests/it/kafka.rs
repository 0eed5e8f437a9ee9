//! Exactly once on a real Kafka: what an independent `read_committed` reader sees.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, Record, unique};
use super::crash::{check_determinism, program};
use super::serve::{Service, folder, spawn};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STREAMS: &str =
    "stream auth { topic \"@.auth\" time ts in order id id idle 1h fields { user: string, ok: bool } }\n";
const RULE: &str = "rule guess { by user match within 10m { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\" }\n";

/// A folder with rules and a configuration; topics and group bear the name of the test.
pub(super) fn setting(node: &Node, name: &str, rules: &str) -> tempfile::TempDir {
    let folder = folder(&[("a.cep", &rules.replace("@.", &format!("{name}.")))]);
    let config = format!(
        "[kafka]\nbrokers = \"{}\"\ngroup = \"{name}\"\nalerts_topic = \"{name}.alerts\"\nshadow_topic = \"{name}.shadow\"\n\
         late_topic = \"{name}.late\"\ndead_letters_topic = \"{name}.dead\"\ncontrol_topic = \"{name}.control\"\n\
         [limits]\nalerts_per_rule_day = 1000000\n",
        node.bootstrap
    );
    std::fs::write(folder.path().join("tripline.toml"), config).unwrap();
    folder
}

pub(super) fn start(folder: &tempfile::TempDir) -> Service {
    let config = folder.path().join("tripline.toml");
    Service::start(folder.path(), &["--config", config.to_str().unwrap()])
}

pub(super) fn attempt(minute: u32, user: &str, ok: bool) -> String {
    format!(
        "{{\"ts\":\"2026-03-01T10:{minute:02}:00Z\",\"id\":\"{user}{minute}\",\"user\":\"{user}\",\"ok\":{ok}}}"
    )
}

/// Waits until the service has read so many records since it started.
fn await_events(service: &Service, count: u32) {
    let line = format!("tripline_events_processed_total{{task=\"0\"}} {count}");
    let begun = Instant::now();
    while !service.get("/metrics").body.contains(&line) {
        assert!(begun.elapsed() < Duration::from_secs(30), "the service does not read {count} records");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.headers["ce_id"].as_str()).collect()
}

#[test]
fn events_of_a_topic_become_alerts_of_another() {
    let Some(node) = Node::shared() else { return };
    let test = unique("thin");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let folder = setting(node, &test, &format!("{STREAMS}{RULE}"));
    let service = start(&folder);
    let writer = node.producer();
    attack(node, &topic("auth"), 0);
    writer.send(&topic("auth"), 0, "ann", "no event");
    writer.send(&topic("auth"), 0, "ann", &attempt(1, "bob", false));
    writer.flush();
    let alerts = node.await_records(&topic("alerts"), 1);
    assert_eq!(alerts[0].key, "ann");
    assert_eq!(alerts[0].headers["ce_type"], "tripline.alert.v1");
    let data: serde_json::Value = serde_json::from_str(&alerts[0].value).unwrap();
    assert_eq!(data["rule"], "guess");
    let dead = node.await_records(&topic("dead"), 1);
    assert_eq!(
        (dead[0].value.as_str(), dead[0].headers["tripline_origin_offset"].as_str()),
        ("no event", "3")
    );
    let late = node.await_records(&topic("late"), 1);
    assert_eq!(late[0].headers["tripline_origin_topic"], topic("auth"));
    let page = loop {
        let page = service.get("/v1/alerts").json();
        if page["items"].as_array().is_some_and(|items| !items.is_empty()) {
            break page;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(page["items"][0]["id"], ids(&alerts)[0]);
    assert_eq!(page["items"][0]["data"], data);
    // A restart replays, and raises nothing twice.
    service.kill();
    let service = start(&folder);
    check_determinism(&service);
    attack(node, &topic("auth"), 10);
    assert_eq!(node.await_records(&topic("alerts"), 2).len(), 2);
}

/// Several kinds of events in one topic, each a stream of its own.
#[test]
fn streams_share_a_topic() {
    let Some(node) = Node::shared() else { return };
    let test = unique("shared");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("events"), 1)]);
    let stream = |name: &str, kind: &str, fields: &str| {
        format!(
            "stream {name} {{ topic \"@.events\" where type == \"{kind}\" time ts in order id id idle 1h fields {{ type: string, user: string, {fields} }} }}\n"
        )
    };
    let rules = stream("login", "login", "ok: bool")
        + &stream("pay", "pay", "amount: int")
        + "rule taken { by user match within 10m { 2 login as failed where not ok then pay as paid where amount > 50 } reason \"{user}\" }\n\
           rule any_pay { by user match { pay as paid } reason \"{user}\" }\n";
    let folder = setting(node, &test, &rules);
    let service = start(&folder);
    let writer = node.producer();
    let send = |second: u32, kind: &str, rest: &str| {
        let line = format!(
            "{{\"ts\":\"2026-03-01T10:00:{second:02}Z\",\"id\":\"e{second}\",\"type\":{kind},\"user\":\"ann\"{rest}}}"
        );
        writer.send(&topic("events"), 0, "ann", &line);
    };
    send(1, "\"login\"", ",\"ok\":false");
    send(2, "\"login\"", ",\"ok\":false");
    // Of no stream, whatever its fields are: by its word, by the form of that, and by its absence.
    send(3, "\"logout\"", ",\"amount\":\"none\",\"ok\":\"no\"");
    send(4, "[7]", ",\"amount\":70");
    send(5, "null", ",\"amount\":70");
    // Of a stream, and not as that says.
    send(6, "\"pay\"", ",\"amount\":\"seventy\"");
    writer.send(&topic("events"), 0, "ann", "no event");
    send(7, "\"pay\"", ",\"amount\":70");
    // Late by as much as a stream in order allows: one record, late once.
    send(0, "\"pay\"", ",\"amount\":70");
    writer.flush();
    let alerts = node.await_records(&topic("alerts"), 2);
    let rules: Vec<String> = alerts
        .iter()
        .map(|alert| serde_json::from_str::<serde_json::Value>(&alert.value).unwrap()["rule"].to_string())
        .collect();
    assert_eq!(rules, ["\"any_pay\"", "\"taken\""]);
    let dead = node.await_records(&topic("dead"), 2);
    assert!(dead[0].value.contains("seventy") && dead[1].value == "no event", "{dead:?}");
    assert_eq!(node.await_records(&topic("late"), 1).len(), 1);
    let count = format!("tripline_records_of_no_stream_total{{topic=\"{}\"}} 3", topic("events"));
    assert!(service.get("/metrics").body.contains(&count));
    service.kill();
    let service = start(&folder);
    check_determinism(&service);
    assert_eq!(node.committed(&topic("alerts")).len(), 2);
}

/// Puts a rule while events flow, and kills the service as soon as it has answered.
#[test]
fn a_rule_put_over_http_outlives_a_kill() {
    let Some(node) = Node::shared() else { return };
    let test = unique("put");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let folder = setting(node, &test, STREAMS);
    let service = start(&folder);
    let writer = node.producer();
    let send = |minutes: std::ops::Range<u32>| {
        for minute in minutes {
            writer.send(&topic("auth"), 0, "ann", &attempt(minute, "ann", minute % 3 == 2));
        }
        writer.flush();
    };
    send(0..9);
    await_events(&service, 9);
    assert_eq!(service.put_rule("guess", RULE, &[]).status, 201);
    service.kill();
    let service = start(&folder);
    let rule = service.get("/v1/rules/guess");
    assert_eq!((rule.status, &rule.json()["revision"]), (200, &1.into()), "{}", rule.body);
    send(9..18);
    let alerts = node.await_records(&topic("alerts"), 3);
    let times: Vec<&str> = alerts.iter().map(|alert| alert.headers["ce_time"].as_str()).collect();
    assert_eq!(times, ["2026-03-01T10:11:00.000Z", "2026-03-01T10:14:00.000Z", "2026-03-01T10:17:00.000Z"]);
    // Deleted, and gone after the next kill; what was raised stays.
    let etag = service.get("/v1/rules/guess").json()["etag"].as_str().unwrap().to_owned();
    assert_eq!(service.call("DELETE", "/v1/rules/guess", &[("if-match", &etag)], b"").status, 204);
    service.kill();
    let service = start(&folder);
    assert_eq!(service.get("/v1/rules/guess").status, 404);
    check_determinism(&service);
    send(18..27);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(node.committed(&topic("alerts")).len(), 3);
    // Events come from Kafka only.
    let posted = service.call("POST", "/v1/events/auth", &[("content-type", "application/x-ndjson")], b"{}");
    assert_eq!(posted.status, 409, "{}", posted.body);
}

/// Two failures and a success in the three minutes from this one on.
pub(super) fn attack(node: &Node, topic: &str, minute: u32) {
    let writer = node.producer();
    for (after, ok) in [(0, false), (1, false), (2, true)] {
        writer.send(topic, 0, "ann", &attempt(minute + after, "ann", ok));
    }
    writer.flush();
}

#[test]
fn another_worker_stands_by_and_takes_over() {
    let Some(node) = Node::shared() else { return };
    let test = unique("standby");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let rules = format!("{STREAMS}{RULE}");
    let folders = [setting(node, &test, &rules), setting(node, &test, &rules)];
    let state = |service: &Service| service.get("/statusz").json()["state"].clone();
    let (first, second) = (start(&folders[0]), start(&folders[1]));
    assert_eq!((state(&first), state(&second)), ("ready".into(), "standby".into()));
    attack(node, &topic("auth"), 0);
    assert_eq!(node.await_records(&topic("alerts"), 1).len(), 1);
    let refused = second.put_rule("guess", RULE, &[]);
    assert_eq!(refused.status, 503, "{}", refused.body);
    first.kill();
    attack(node, &topic("auth"), 10);
    assert_eq!(node.await_records(&topic("alerts"), 2).len(), 2);
    assert_eq!(state(&second), "ready");
    check_determinism(&second);
    let first = start(&folders[0]);
    assert_eq!(state(&first), "standby");
    attack(node, &topic("auth"), 20);
    assert_eq!(node.await_records(&topic("alerts"), 3).len(), 3);
}

/// The name under which a worker is known to its group.
fn name_it(folder: &tempfile::TempDir, worker: &str) {
    let path = folder.path().join("tripline.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{config}[worker]\nid = \"{worker}\"\n")).unwrap();
}

/// As when a broker dies after it took the worker down and before it answered: the group knows a member that nobody is.
#[test]
fn a_worker_whose_name_was_taken_once_joins_again() {
    let Some(node) = Node::shared() else { return };
    let test = unique("namesake");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let folder = setting(node, &test, &format!("{STREAMS}{RULE}"));
    name_it(&folder, "only");
    let service = start(&folder);
    attack(node, &topic("auth"), 0);
    assert_eq!(node.await_records(&topic("alerts"), 1).len(), 1);
    node.take_name(&test, "only", &topic("control"));
    attack(node, &topic("auth"), 10);
    assert_eq!(node.await_records(&topic("alerts"), 2).len(), 2);
    assert!(service.get("/metrics").body.contains("tripline_fenced_members_total 1"));
    check_determinism(&service);
}

#[test]
fn of_two_processes_of_one_name_one_gives_up() {
    let Some(node) = Node::shared() else { return };
    let test = unique("twins");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let rules = format!("{STREAMS}{RULE}");
    let folders = [setting(node, &test, &rules), setting(node, &test, &rules)];
    folders.iter().for_each(|folder| name_it(folder, "twin"));
    let first = start(&folders[0]);
    let config = folders[1].path().join("tripline.toml");
    let mut second = spawn(&program(), folders[1].path(), &["--config", config.to_str().unwrap()]);
    let begun = Instant::now();
    let is_one_left = |second: &mut Child| {
        second.try_wait().unwrap().is_some()
            || first.get("/statusz").json()["state"] == "stopped: its log says why"
    };
    while !is_one_left(&mut second) {
        assert!(begun.elapsed() < Duration::from_secs(60), "both go on");
        attack(node, &topic("auth"), 0);
        std::thread::sleep(Duration::from_millis(200));
    }
    attack(node, &topic("auth"), 10);
    let alerts = node.await_records(&topic("alerts"), 2);
    assert_eq!(alerts.len(), 2, "{:?}", ids(&alerts));
    let _ = second.kill();
    second.wait().unwrap();
}

/// What Tripline relies on holds on the node of the tests, and nothing of the check stays there.
#[test]
fn broker_check_says_what_can_be_relied_on() {
    let Some(node) = Node::shared() else { return };
    let check = |brokers: &str| {
        Command::new(program()).args(["broker-check", "--json", "--kafka", brokers]).output().unwrap()
    };
    let output = check(&node.bootstrap);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |result: &str| {
        let lines = lines.iter().filter(|line| line["result"] == result);
        lines.map(|line| line["check"].as_str().unwrap()).collect::<Vec<_>>()
    };
    let wanted = [
        "brokers",
        "topic",
        "transactions",
        "offset metadata",
        "times of records",
        "aborted records",
        "open transactions",
        "fencing",
        "stale members",
    ];
    assert_eq!(of("ok"), wanted);
    assert_eq!(of("warning"), ["replication"], "one node keeps one copy");
    let left = node.topics().into_iter().filter(|name| name.starts_with("tripline-broker-check"));
    assert_eq!(left.count(), 0);
    let nobody = check("127.0.0.1:1");
    assert_eq!(nobody.status.code(), Some(1), "{}", String::from_utf8_lossy(&nobody.stderr));
}

/// Offsets that are gone, as after `offsets.retention.minutes`, are never guessed.
#[test]
fn lost_offsets_are_refused_until_they_are_put_back() {
    let Some(node) = Node::shared() else { return };
    let test = unique("lost");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let folder = setting(node, &test, &format!("{STREAMS}{RULE}"));
    let config = folder.path().join("tripline.toml");
    let service = start(&folder);
    attack(node, &topic("auth"), 0);
    node.await_records(&topic("alerts"), 1);
    service.kill();
    node.forget(&test);
    let mut serve = Command::new(program())
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap(), "--data"])
        .arg(folder.path().join("data"))
        .arg("--rules")
        .arg(folder.path().join("rules"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while serve.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            serve.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = serve.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("are gone") && text.contains("tripline recover --kafka"), "{text}");
    let adopted = Command::new(program())
        .args(["recover", "--adopt", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));
    let service = start(&folder);
    attack(node, &topic("auth"), 10);
    assert_eq!(node.await_records(&topic("alerts"), 2).len(), 2);
    check_determinism(&service);
}
