//! Records that kill the matcher, records that are no events, times from the future: what must go on beside them.
//!
//! The faults are `TRIPLINE_FAULT`'s, which only a build with debug assertions knows.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, Record, unique};
use super::crash::check_determinism;
use super::kafka::setting;
use super::serve::{Answer, Service, exchange, folder};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

const STREAM: &str =
    "stream auth { time ts in order id id idle 1h fields { id: string, user: string, ok: bool } }\n";
/// `each` sees every event; `guess` is the one that faults strike.
const RULES: &str = "\
rule each { by user match { auth as seen } reason \"{user}\" emit { event: seen.id } }
rule guess { by user match within 10m { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\" }
";
const NDJSON: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

/// An event of a second of the hour.
fn event(second: usize) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!(
        "{{\"ts\":\"2026-03-01T10:{minute:02}:{second:02}Z\",\"id\":\"e{}\",\"user\":\"u{}\",\"ok\":{}}}\n",
        minute * 60 + second,
        second % 3,
        second % 7 == 0,
    )
}

/// A fault of `guess` at the event of that second.
fn fault(kind: &str, second: usize) -> String {
    format!("{kind} guess 2026-03-01T10:{:02}:{:02}.000Z", second / 60, second % 60)
}

fn post(service: &Service, lines: &str) -> std::io::Result<Answer> {
    exchange(&service.address, "POST", "/v1/events/auth", &NDJSON, lines.as_bytes())
}

/// The events that `each` has told of, in order.
fn told(service: &Service) -> Vec<String> {
    let page = service.get("/v1/alerts?limit=1000&rule=each").json();
    let items = page["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["data"]["fields"]["event"].as_str().unwrap().to_owned()).collect()
}

fn names(seconds: impl IntoIterator<Item = usize>) -> Vec<String> {
    seconds.into_iter().map(|second| format!("e{second}")).collect()
}

fn check_quarantine(service: &Service) {
    let rule = service.get("/v1/rules/guess").json();
    assert_eq!(rule["state"], "quarantined", "{rule}");
    let status = service.get("/statusz").json();
    assert!(status["quarantined"]["guess"]["why"].is_string(), "{status}");
    assert_eq!(service.get("/v1/rules/each").json()["state"], "active");
    assert!(service.get("/metrics").body.contains("tripline_rules{state=\"quarantined\"} 1"));
}

fn has_metric(service: &Service, line: &str) {
    let metrics = service.get("/metrics").body;
    assert!(metrics.lines().any(|other| other == line), "{line} is not in\n{metrics}");
}

#[test]
fn an_event_that_panics_the_matcher_does_so_twice() {
    let folder = folder(&[("a.cep", &format!("{STREAM}{RULES}"))]);
    let service = Service::start_with(folder.path(), &[], &[("TRIPLINE_FAULT", &fault("panic", 5))]);
    for second in 0..5 {
        service.events("auth", &event(second));
    }
    // All of the batch is refused, and may be sent again.
    let batch = [event(5), event(6)].concat();
    for _ in 0..2 {
        assert_eq!(post(&service, &batch).unwrap().status, 503);
        assert_eq!(service.get("/readyz").status, 200);
    }
    let answer = service.events("auth", &batch);
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["code"]), (&1.into(), &"poison".into()));
    service.events("auth", &event(7));
    check_quarantine(&service);
    has_metric(&service, "tripline_quarantines_total{rule=\"guess\"} 1");
    has_metric(&service, "tripline_matcher_panics_total 2");
    assert_eq!(told(&service), names([0, 1, 2, 3, 4, 6, 7]));
    let before = service.alert_ids();
    // A decision: it outlives a kill, and a replay without a snapshot finds the same.
    service.kill();
    let _ = std::fs::remove_dir_all(folder.path().join("data/snapshots"));
    let service = Service::start(folder.path(), &[]);
    check_determinism(&service);
    check_quarantine(&service);
    assert_eq!(service.alert_ids(), before);
    assert_eq!(service.events("auth", &event(5))["rejected"][0]["code"], "poison");
    // Changed, it is a rule like any other.
    let rules = format!("{STREAM}{RULES}").replace("within 10m", "within 11m");
    std::fs::write(folder.path().join("rules/a.cep"), rules).unwrap();
    service.kill();
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.get("/v1/rules/guess").json()["state"], "active");
    // What was refused because of it is taken.
    assert_eq!(service.events("auth", &event(5))["accepted"], 1);
    let lines: String = (100..130).map(event).collect();
    service.events("auth", &lines);
    assert!(service.alert_ids().len() > before.len() + 30, "no alert of guess");
}

/// A rule that was put over HTTP begins anew when the same text is put again.
#[test]
fn a_quarantined_rule_is_put_again() {
    let folder = folder(&[("a.cep", STREAM)]);
    let service = Service::start_with(folder.path(), &[], &[("TRIPLINE_FAULT", &fault("panic", 5))]);
    let text = RULES.lines().nth(1).unwrap();
    assert_eq!(service.put_rule("guess", text, &[]).status, 201);
    for _ in 0..2 {
        assert_eq!(post(&service, &event(5)).unwrap().status, 503);
    }
    let shown = service.get("/v1/rules/guess").json();
    assert_eq!(shown["state"], "quarantined");
    assert_eq!(service.put_rule("guess", text, &[]).status, 428);
    let put = service.put_rule("guess", text, &[("if-match", shown["etag"].as_str().unwrap())]);
    assert_eq!((put.status, &put.json()["revision"]), (200, &2.into()), "{}", put.body);
    assert_eq!(service.get("/v1/rules/guess").json()["state"], "active");
    // The rule is another, so what was refused because of it is not any more; it kills this one twice as well.
    for _ in 0..2 {
        assert_eq!(post(&service, &event(5)).unwrap().status, 503);
    }
    assert_eq!(service.events("auth", &event(5))["rejected"][0]["code"], "poison");
    service.kill();
    let service = Service::start(folder.path(), &[]);
    check_determinism(&service);
    assert_eq!(service.events("auth", &event(5))["rejected"][0]["code"], "poison");
    let tag = service.get("/v1/rules/guess").json()["etag"].as_str().unwrap().to_owned();
    let deleted = service.call("DELETE", "/v1/rules/guess", &[("if-match", &tag)], b"");
    assert_eq!(deleted.status, 204);
    assert_eq!(service.events("auth", &event(5))["accepted"], 1);
}

/// The event that a fault strikes was taken long ago, and waits for its time: what releases it is left out, and the rule.
#[test]
fn an_instant_that_panics_the_matcher_when_it_is_released() {
    let stream = STREAM.replace("in order", "late 10s");
    let folder = folder(&[("a.cep", &format!("{stream}{RULES}"))]);
    let service = Service::start_with(folder.path(), &[], &[("TRIPLINE_FAULT", &fault("panic", 5))]);
    for second in 0..15 {
        service.events("auth", &event(second));
    }
    for _ in 0..2 {
        assert_eq!(post(&service, &event(20)).unwrap().status, 503);
    }
    assert_eq!(service.events("auth", &event(20))["rejected"][0]["code"], "poison");
    service.events("auth", &event(60));
    check_quarantine(&service);
    assert_eq!(told(&service), names(0..15));
    service.kill();
    let service = Service::start(folder.path(), &[]);
    check_determinism(&service);
    check_quarantine(&service);
}

/// Of a process that is gone nothing is left but what it wrote down while it was careful.
#[test]
fn an_event_that_kills_the_process_does_so_three_times() {
    let folder = folder(&[("a.cep", &format!("{STREAM}{RULES}"))]);
    let fault = fault("abort", 5);
    let start = || Service::start_with(folder.path(), &[], &[("TRIPLINE_FAULT", &fault)]);
    let mut service = start();
    let mut deaths = 0;
    for second in 0..10 {
        let answer = loop {
            match post(&service, &event(second)) {
                Ok(answer) => break answer,
                Err(_) => deaths += 1,
            }
            assert!(deaths < 9, "the same event kills it again and again");
            service = start();
        };
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["accepted"], u32::from(second != 5), "{}", answer.body);
    }
    // The first was not careful, the second knew the event, the third the rule.
    assert_eq!(deaths, 3);
    check_quarantine(&service);
    assert_eq!(told(&service), names((0..10).filter(|second| *second != 5)));
    service.kill();
    let service = start();
    check_determinism(&service);
    check_quarantine(&service);
}

/// A file that says nothing may have said anything: it is kept, and the process is careful from its start.
#[test]
fn crashes_that_cannot_be_read_are_set_aside() {
    let unreadable: [&dyn Fn(&Path); 2] =
        [&|path| std::fs::write(path, "{\"running\":tr").unwrap(), &|path| {
            std::fs::create_dir(path).unwrap()
        }];
    for damage in unreadable {
        let folder = folder(&[("a.cep", &format!("{STREAM}{RULES}"))]);
        let fault = fault("abort", 1);
        let start = || Service::start_with(folder.path(), &[], &[("TRIPLINE_FAULT", &fault)]);
        let path = folder.path().join("data/crashes.json");
        std::fs::create_dir(folder.path().join("data")).unwrap();
        damage(&path);
        let mut service = start();
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("crashes.json: what it says of crashes cannot be read"), "{log}");
        assert!(folder.path().join("data/crashes.json.damaged").exists());
        let mut deaths = 0;
        while post(&service, &event(1)).is_err() {
            deaths += 1;
            assert!(deaths < 9, "the same event kills it again and again");
            service = start();
        }
        assert_eq!(deaths, 2, "the first was careful");
        check_quarantine(&service);
    }
}

/// Events of now, a second apart, that wait for time to move: of a stream that falls silent, by the clock.
fn of_now(count: i64) -> (Vec<String>, String) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let lines = (0..count).map(|number| {
        let ts = (now - count + 1 + number) * 1_000;
        format!("{{\"ts\":{ts},\"id\":\"e{number}\",\"user\":\"u\",\"ok\":{}}}\n", number % 3 == 2)
    });
    let at = |number: i64| service::decode::time::format_rfc3339((now - count + 1 + number) * 1_000_000);
    // The last but one: no other event releases it.
    (lines.collect(), format!("abort guess {}", at(count - 2)))
}

const SILENT: &str = "late 3s id id idle 1s";

/// No record brings the rule to it, so there is none to leave out: the rule alone is put aside.
#[test]
fn an_instant_that_kills_the_process_when_the_clock_releases_it() {
    let stream = STREAM.replace("in order id id idle 1h", SILENT);
    let folder = folder(&[("a.cep", &format!("{stream}{RULES}"))]);
    let (lines, fault) = of_now(8);
    let start = || Service::start_with(folder.path(), &[], &[("TRIPLINE_FAULT", &fault)]);
    let mut service = start();
    assert_eq!(service.events("auth", &lines.concat())["accepted"], 8);
    let mut deaths = 0;
    wait_until("the rule is not put aside", || {
        if service.has_ended() {
            deaths += 1;
            assert!(deaths <= 3, "the same instant kills it again and again");
            service = start();
        }
        exchange(&service.address, "GET", "/v1/rules/guess", &[], b"")
            .is_ok_and(|rule| rule.json()["state"] == "quarantined")
    });
    // The first was not careful, the others knew the rule.
    assert_eq!(deaths, 3);
    wait_until("not all events are told of", || told(&service).len() == 8);
    assert_eq!(told(&service), names(0..8));
    check_quarantine(&service);
    service.kill();
    let service = start();
    check_determinism(&service);
    check_quarantine(&service);
}

#[test]
fn an_event_from_the_future_is_refused() {
    let folder = folder(&[("a.cep", &format!("{STREAM}{RULES}"))]);
    let start =
        |most: &str| Service::start_with(folder.path(), &[], &[("TRIPLINE__TIME__MAX_FUTURE_SKEW", most)]);
    let at = |days: u64, id: &str| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let ts = now + u128::from(days) * 86_400_000;
        format!("{{\"ts\":{ts},\"id\":\"{id}\",\"user\":\"u\",\"ok\":true}}\n")
    };
    let service = start("2d");
    let answer = service.events("auth", &[at(0, "a"), at(9, "b"), at(1, "c")].concat());
    assert_eq!(answer["accepted"], 2);
    assert_eq!(
        (&answer["rejected"][0]["line"], &answer["rejected"][0]["code"]),
        (&2.into(), &"future_time".into())
    );
    has_metric(&service, "tripline_decode_errors_total{topic=\"auth\",code=\"future_time\"} 1");
    // A replay judges what was taken by the setting of its time.
    service.kill();
    let service = start("1h");
    check_determinism(&service);
    assert_eq!(service.events("auth", &at(1, "d"))["accepted"], 0);
    service.kill();
    let _ = std::fs::remove_dir_all(folder.path().join("data/snapshots"));
    let service = start("none");
    check_determinism(&service);
    assert_eq!(service.events("auth", &at(400, "e"))["accepted"], 1);
    assert_eq!(told(&service), ["a", "c", "e"]);
}

/// A service on Kafka whose configuration these variables override.
fn on_kafka(folder: &tempfile::TempDir, variables: &[(&str, &str)]) -> Service {
    let config = folder.path().join("tripline.toml");
    Service::start_with(folder.path(), &["--config", config.to_str().unwrap()], variables)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The events that `each` has told of; none may stand twice.
fn told_to(alerts: &[Record]) -> BTreeSet<String> {
    let data = alerts.iter().map(|alert| serde_json::from_str::<serde_json::Value>(&alert.value).unwrap());
    let own: Vec<String> = data
        .filter(|data| data["rule"] == "each")
        .map(|data| data["fields"]["event"].as_str().unwrap().to_owned())
        .collect();
    let set: BTreeSet<String> = own.iter().cloned().collect();
    assert_eq!(set.len(), own.len(), "an alert stands twice");
    set
}

/// Offsets of the dead letters; none may stand twice.
fn offsets(letters: &[Record]) -> BTreeSet<u64> {
    let all = letters.iter().map(|letter| letter.headers["tripline_origin_offset"].parse().unwrap());
    let set: BTreeSet<u64> = all.collect();
    assert_eq!(set.len(), letters.len(), "a dead letter stands twice");
    set
}

/// A topic for the stream's events, and the setting of a service that reads it.
fn of_topic(node: &Node, test: &str) -> tempfile::TempDir {
    let topic = format!("{test}.auth");
    node.create(&[(&topic, 1)]);
    let stream = STREAM.replace("{ time", &format!("{{ topic \"{topic}\" time"));
    setting(node, test, &format!("{stream}{RULES}"))
}

/// One record of a hundred is no event, one kills the matcher, and then nothing is an event any more.
#[test]
fn poison_on_kafka_stops_nothing_else() {
    let Some(node) = Node::shared() else { return };
    let test = unique("poison");
    let topic = |name: &str| format!("{test}.{name}");
    let folder = of_topic(node, &test);
    let fault = fault("panic", 555);
    let variables = [
        ("TRIPLINE_FAULT", fault.as_str()),
        ("TRIPLINE__BREAKER__PAUSE", "1s"),
        ("TRIPLINE__BREAKER__RECORDS", "100"),
    ];
    let service = on_kafka(&folder, &variables);
    let writer = node.producer();
    let is_bad = |second: &usize| second % 100 == 50;
    for second in 0..2_000 {
        let line = if is_bad(&second) { "no event".to_owned() } else { event(second) };
        writer.send(&topic("auth"), 0, "k", line.trim_end());
    }
    writer.flush();
    let good = names((0..2_000).filter(|second| !is_bad(second) && *second != 555));
    let good: BTreeSet<String> = good.into_iter().collect();
    wait_until("not all events are told of", || {
        told_to(&node.committed(&topic("alerts"))).len() >= good.len()
    });
    assert_eq!(told_to(&node.committed(&topic("alerts"))), good);
    let letters = node.await_records(&topic("dead"), 21);
    assert_eq!(offsets(&letters).len(), 21);
    let killer: Vec<&Record> =
        letters.iter().filter(|letter| letter.headers["tripline_error_code"] == "poison").collect();
    assert_eq!(killer.len(), 1);
    assert_eq!(killer[0].headers["tripline_origin_offset"], "555");
    assert_eq!(killer[0].value, event(555).trim_end());
    check_quarantine(&service);
    has_metric(&service, "tripline_quarantines_total{rule=\"guess\"} 1");
    assert_eq!(service.get("/readyz").status, 200, "one of a hundred is no reason to pause");
    // Nothing but poison: it is not read as fast as it comes, and nothing of it is lost.
    for _ in 0..1_000 {
        writer.send(&topic("auth"), 0, "k", "no event");
    }
    writer.flush();
    wait_until("the service does not say that it pauses", || {
        let ready = service.get("/readyz");
        ready.status == 503 && ready.body.contains(&topic("auth"))
    });
    has_metric(&service, &format!("tripline_input_paused{{topic=\"{}\"}} 1", topic("auth")));
    assert!(node.committed(&topic("dead")).len() < 1_021, "all of it has been read");
    service.kill();
    let service = on_kafka(&folder, &variables);
    check_determinism(&service);
    check_quarantine(&service);
    let letters = node.await_records(&topic("dead"), 1_021);
    assert_eq!(offsets(&letters).len(), 1_021);
    for second in 2_000..2_100 {
        writer.send(&topic("auth"), 0, "k", event(second).trim_end());
    }
    writer.flush();
    wait_until("it does not go on", || told_to(&node.committed(&topic("alerts"))).len() == good.len() + 100);
    wait_until("it is not ready again", || service.get("/readyz").status == 200);
}

#[test]
fn a_record_that_kills_the_process_is_passed_over_on_kafka() {
    let Some(node) = Node::shared() else { return };
    let test = unique("deadly");
    let topic = |name: &str| format!("{test}.{name}");
    let folder = of_topic(node, &test);
    let writer = node.producer();
    let fault = fault("abort", 55);
    for second in 0..100 {
        writer.send(&topic("auth"), 0, "k", event(second).trim_end());
    }
    writer.flush();
    let config = folder.path().join("tripline.toml");
    let start = || {
        let arguments = ["--config", config.to_str().unwrap()];
        Service::try_start(folder.path(), &arguments, &[("TRIPLINE_FAULT", &fault)])
    };
    let good: BTreeSet<String> = names((0..100).filter(|second| *second != 55)).into_iter().collect();
    let mut deaths = 0;
    let service = loop {
        if let Some(mut service) = start() {
            wait_until("not all events are told of", || {
                service.has_ended() || told_to(&node.committed(&topic("alerts"))).len() >= 99
            });
            if !service.has_ended() {
                break service;
            }
        }
        deaths += 1;
        assert!(deaths <= 3, "the same record kills it again and again");
    };
    assert!(deaths > 0, "nothing has killed it");
    assert_eq!(told_to(&node.committed(&topic("alerts"))), good);
    let letters = node.committed(&topic("dead"));
    assert_eq!((letters.len(), letters[0].headers["tripline_origin_offset"].as_str()), (1, "55"));
    check_quarantine(&service);
}

/// The same on Kafka, where a replay brings the task to the moment before.
#[test]
fn an_instant_that_kills_the_process_by_the_clock_on_kafka() {
    let Some(node) = Node::shared() else { return };
    let test = unique("clock");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let stream = STREAM.replace("in order id id idle 1h", SILENT);
    let stream = stream.replace("{ time", &format!("{{ topic \"{}\" time", topic("auth")));
    let folder = setting(node, &test, &format!("{stream}{RULES}"));
    let (lines, fault) = of_now(8);
    let writer = node.producer();
    lines.iter().for_each(|line| writer.send(&topic("auth"), 0, "k", line.trim_end()));
    writer.flush();
    let config = folder.path().join("tripline.toml");
    let mut deaths = 0;
    let service = loop {
        let arguments = ["--config", config.to_str().unwrap()];
        if let Some(mut service) =
            Service::try_start(folder.path(), &arguments, &[("TRIPLINE_FAULT", &fault)])
        {
            wait_until("not all events are told of", || {
                service.has_ended() || told_to(&node.committed(&topic("alerts"))).len() == 8
            });
            if !service.has_ended() {
                break service;
            }
        }
        deaths += 1;
        assert!(deaths <= 3, "the same instant kills it again and again");
    };
    assert!(deaths > 0, "nothing has killed it");
    check_quarantine(&service);
    assert_eq!(told_to(&node.committed(&topic("alerts"))), names(0..8).into_iter().collect());
    assert!(node.committed(&topic("dead")).is_empty(), "no record is at fault");
    service.kill();
    let service = on_kafka(&folder, &[("TRIPLINE_FAULT", &fault)]);
    check_determinism(&service);
    check_quarantine(&service);
}

/// A clock that is wrong makes one event a dead letter, and not all others late.
#[test]
fn an_event_from_the_future_is_a_dead_letter() {
    let Some(node) = Node::shared() else { return };
    let test = unique("future");
    let topic = |name: &str| format!("{test}.{name}");
    let folder = of_topic(node, &test);
    let writer = node.producer();
    let service = on_kafka(&folder, &[("TRIPLINE__TIME__MAX_FUTURE_SKEW", "1d")]);
    writer.send(&topic("auth"), 0, "k", event(0).trim_end());
    writer.send(&topic("auth"), 0, "k", &event(1).trim_end().replace("2026", "2999"));
    writer.send(&topic("auth"), 0, "k", event(2).trim_end());
    writer.flush();
    wait_until("not all events are told of", || node.committed(&topic("alerts")).len() == 2);
    let letters = node.await_records(&topic("dead"), 1);
    assert_eq!(letters[0].headers["tripline_error_code"], "future_time");
    has_metric(&service, "tripline_dead_letters_total{reason=\"future_time\"} 1");
    // A replay judges by the setting of its time, whatever it is now.
    service.kill();
    let service = on_kafka(&folder, &[("TRIPLINE__TIME__MAX_FUTURE_SKEW", "none")]);
    check_determinism(&service);
    writer.send(&topic("auth"), 0, "k", &event(3).trim_end().replace("2026", "2999"));
    writer.flush();
    wait_until("it is refused for ever", || node.committed(&topic("alerts")).len() == 3);
    assert_eq!(node.committed(&topic("dead")).len(), 1);
}
