//! Snapshots in a place that workers share: a take-over, an outage, damage.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, unique};
use super::bucket::{Bucket, Door};
use super::crash::check_determinism;
use super::kafka::{attack, attempt, setting};
use super::serve::{Service, folder, replayed, terminate};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const STREAMS: &str = "stream auth { time ts in order id id idle 1h fields { user: string, ok: bool } }\n";
const RULE: &str = "rule guess { by user match within 10m { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\" }\n";

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(40), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Says in a configuration where snapshots are kept.
fn keep(folder: &Path, url: &str, every: &str) {
    let path = folder.join("tripline.toml");
    let config = std::fs::read_to_string(&path).unwrap_or_default();
    let more = format!("[snapshots]\nurl = \"{url}\"\nevery = \"{every}\"\ntimeout = \"1s\"\n");
    std::fs::write(path, format!("{config}{more}")).unwrap();
}

fn start(folder: &Path, bucket: &Bucket) -> Service {
    let config = folder.join("tripline.toml");
    let variables = bucket.variables();
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    Service::start_with(folder, &["--config", config.to_str().unwrap()], &variables)
}

fn tripline(bucket: &Bucket, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tripline")).args(arguments).envs(bucket.variables()).output().unwrap()
}

/// What `tripline snapshot ls` or `verify` says of each, and its exit code.
fn listed(bucket: &Bucket, action: &str, url: &str) -> (i32, Vec<Value>) {
    let output = tripline(bucket, &["snapshot", action, "--json", "--url", url]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let found = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), found)
}

/// The newest is of so many records of the one partition.
fn reaches(bucket: &Bucket, url: &str, partition: &str, count: u64) -> bool {
    let (_, found) = listed(bucket, "ls", url);
    found.last().is_some_and(|newest| newest["cut"][partition] == count)
}

/// The value of a metric; 0 if it is not there.
fn metric(service: &Service, name: &str) -> f64 {
    let text = service.get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Events of one user that raise one alert; its users are their own.
fn events(number: usize) -> String {
    let line = |second: usize, ok: bool| {
        format!(
            "{{\"ts\":{},\"id\":\"{number}-{second}\",\"user\":\"u{number}\",\"ok\":{ok}}}\n",
            1_772_323_200_000 + number * 60_000 + second * 1_000
        )
    };
    [line(0, false), line(1, false), line(2, true)].concat()
}

const WRITE_FAILURES: &str = "tripline_snapshot_failures_total{reason=\"write\"}";

#[test]
fn a_worker_takes_over_from_the_snapshot_of_another() {
    let (Some(node), Some(bucket)) = (Node::shared(), Bucket::start()) else { return };
    let test = unique("bucket");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 1)]);
    let rules = format!("{}{RULE}", STREAMS.replace("time ts", "topic \"@.auth\" time ts"));
    let folders = [setting(node, &test, &rules), setting(node, &test, &rules)];
    let url = bucket.url("a/b");
    folders.iter().for_each(|folder| keep(folder.path(), &url, "200ms"));
    let [first, second] = [0, 1].map(|number: usize| start(folders[number].path(), &bucket));
    let mut sent = 0;
    let mut raise = |upto: usize| {
        while sent < upto {
            attack(node, &topic("auth"), sent as u32 * 9);
            sent += 1;
        }
        node.await_records(&topic("alerts"), upto)
    };
    raise(3);
    until("no snapshot of all of it", || {
        // Commits of offsets alone come every two seconds.
        reaches(&bucket, &url, &format!("{}/0", topic("auth")), 9)
    });
    assert!(metric(&first, "tripline_recovery_headroom_seconds") > 0.0, "the node keeps input for days");
    assert!(!folders[0].path().join("data/snapshots").exists());
    // What comes now is in no snapshot.
    bucket.set(Door::Shut);
    raise(5);
    first.kill();
    bucket.set(Door::Open);
    let alerts = raise(6);
    assert_eq!(alerts.len(), 6, "each once");
    assert_eq!(alerts.iter().map(|alert| &alert.headers["ce_id"]).collect::<BTreeSet<_>>().len(), 6);
    let read = replayed(&second);
    assert!((6..9).contains(&read), "{read} records read again: what the snapshot does not hold, of 15");
    check_determinism(&second);
}

/// The store is gone, or full of work, or slow: alerts go on, every failure is counted, and snapshots come back with it.
#[test]
fn an_outage_of_the_object_store_stops_no_alert() {
    let Some(mut bucket) = Bucket::start() else { return };
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]);
    let url = bucket.url("p");
    keep(folder.path(), &url, "100ms");
    let service = start(folder.path(), &bucket);
    let mut sent = 0;
    let mut raise = |service: &Service| {
        service.events("auth", &events(sent));
        sent += 1;
        // The last of them is held until the stream has moved on; so all but one are certain.
        until("alerts do not go on", || service.alert_ids().len() + 1 >= sent);
        sent as u64 * 3
    };
    let total = raise(&service);
    until("no snapshot", || {
        service.events("auth", "");
        reaches(&bucket, &url, "auth", total)
    });
    let mut failures = metric(&service, WRITE_FAILURES);
    for door in [Door::Shut, Door::Busy, Door::Slow(Duration::from_secs(3))] {
        bucket.set(door);
        until("no failure is counted", || {
            raise(&service);
            metric(&service, WRITE_FAILURES) > failures
        });
        failures = metric(&service, WRITE_FAILURES);
        assert!(metric(&service, "tripline_snapshot_age_seconds") > 0.0);
    }
    bucket.set(Door::Open);
    let total = raise(&service);
    until("snapshots do not come back", || {
        service.events("auth", "");
        reaches(&bucket, &url, "auth", total)
    });
    assert!(bucket.names().iter().filter(|name| name.ends_with("manifest.json")).count() <= 3);
    // A start while the store is away replays the log instead.
    let raised = service.alert_ids();
    bucket.set(Door::Busy);
    service.kill();
    let service = start(folder.path(), &bucket);
    assert_eq!(service.alert_ids(), raised);
    assert!(replayed(&service) >= total);
    assert!(metric(&service, "tripline_snapshot_failures_total{reason=\"read\"}") > 0.0);
    check_determinism(&service);
    // Another server, which is empty.
    bucket.replace();
    let total = total + 3;
    service.events("auth", &events(total as usize));
    until("snapshots do not begin again", || {
        service.events("auth", "");
        reaches(&bucket, &url, "auth", total)
    });
    terminate(service);
    let service = start(folder.path(), &bucket);
    assert_eq!(replayed(&service), 0);
}

/// One object after another of the newest snapshot is damaged: an older one is taken, or none, and nothing is lost.
#[test]
fn damage_in_the_object_store_costs_a_longer_replay() {
    let Some(bucket) = Bucket::start() else { return };
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]);
    let url = bucket.url("p");
    keep(folder.path(), &url, "50ms");
    let mut sent = 0;
    let mut service = start(folder.path(), &bucket);
    let flip = |name: &str| {
        let mut bytes = bucket.read(name);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bucket.write(name, bytes);
    };
    let cut = |name: &str| bucket.write(name, bucket.read(name)[..20].to_vec());
    let gone = |name: &str| bucket.delete(name);
    type Damage<'a> = (&'a str, &'a dyn Fn(&str));
    let damages: [Damage<'_>; 3] = [("flipped", &flip), ("cut short", &cut), ("gone", &gone)];
    for (what, damage) in damages {
        for object in ["manifest.json", "0000.part"] {
            for _ in 0..2 {
                service.events("auth", &events(sent));
                sent += 1;
                let total = sent as u64 * 3;
                until("no snapshot", || {
                    service.events("auth", "");
                    reaches(&bucket, &url, "auth", total)
                });
            }
            let raised = service.alert_ids();
            service.kill();
            let names = bucket.names();
            let newest = names.iter().rfind(|name| name.ends_with(object)).unwrap();
            damage(newest);
            service = start(folder.path(), &bucket);
            let again = replayed(&service);
            assert!(
                again > 0 && again < sent as u64 * 3,
                "{object} {what}: {again} replayed, of {}",
                sent * 3
            );
            assert_eq!(service.alert_ids(), raised, "{object} {what}");
            check_determinism(&service);
        }
    }
    let raised = service.alert_ids();
    service.kill();
    bucket.names().iter().filter(|name| name.ends_with(".part")).for_each(|name| flip(name));
    let (code, found) = listed(&bucket, "verify", &url);
    assert!(code == 1 && found.iter().all(|one| !one["unusable"].is_null()), "{found:?}");
    let service = start(folder.path(), &bucket);
    assert!(replayed(&service) >= sent as u64 * 3, "all of it");
    assert!(metric(&service, "tripline_snapshot_failures_total{reason=\"damaged\"}") > 0.0);
    assert_eq!(service.alert_ids(), raised);
    check_determinism(&service);
}

/// A service that ends waits for its last snapshot no longer than for one request, since others wait for what it holds.
#[test]
fn a_service_that_ends_does_not_wait_for_a_slow_store() {
    let Some(bucket) = Bucket::start() else { return };
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]);
    keep(folder.path(), &bucket.url("p"), "1h");
    let service = start(folder.path(), &bucket);
    service.events("auth", &events(0));
    // One request is soon enough, all that a snapshot needs are not.
    bucket.set(Door::Slow(Duration::from_millis(700)));
    terminate(service);
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("not written within 1 s (`[snapshots] timeout`)"), "{log}");
    bucket.set(Door::Open);
    let service = start(folder.path(), &bucket);
    assert!(replayed(&service) >= 3, "all events");
    check_determinism(&service);
}

/// The outcome of a command and what it says.
fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn savepoint(action: &str, file: &Path, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.args(["snapshot", action]).arg(file).arg("--data").arg(folder.join("data"));
    command.env("TRIPLINE__KAFKA__CREATE_TOPICS", "true");
    let config = folder.join("tripline.toml");
    if config.exists() {
        command.arg("--config").arg(config);
    }
    command
}

/// A file of which a byte in the middle is another.
fn damaged(file: &Path) -> PathBuf {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let other = file.with_extension("damaged");
    std::fs::write(&other, bytes).unwrap();
    other
}

#[test]
fn a_savepoint_brings_a_snapshot_back_into_its_own_store_only() {
    let folders = [0, 1].map(|_| folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]));
    let file = folders[0].path().join("a.savepoint");
    for (number, folder) in folders.iter().enumerate() {
        let service = Service::start(folder.path(), &[]);
        service.events("auth", &events(number));
        terminate(service);
    }
    let own = folders[0].path();
    let exported = savepoint("export", &file, own).output().unwrap();
    assert_eq!(said(&exported).0, Some(0), "{exported:?}");
    let again = savepoint("export", &file, own).output().unwrap();
    assert_eq!(said(&again).0, Some(1), "no file is written over");
    std::fs::remove_dir_all(own.join("data/snapshots")).unwrap();
    let refused = |file: &Path, folder: &Path, why: &str| {
        let (code, text) = said(&savepoint("import", file, folder).output().unwrap());
        assert!(code == Some(1) && text.contains(why), "{text}");
    };
    refused(&file, folders[1].path(), "of another history");
    refused(&damaged(&file), own, "does not fit");
    let longer = file.with_extension("longer");
    std::fs::write(&longer, [std::fs::read(&file).unwrap(), b"\n".to_vec()].concat()).unwrap();
    refused(&longer, own, "goes on behind its end");
    // A file that is none, and one without an end.
    refused(&own.join("rules/a.cep"), own, "not a savepoint");
    refused(Path::new("/dev/zero"), own, "not a savepoint");
    let nowhere = own.join("nowhere");
    refused(&file, &nowhere, "no store");
    assert!(!nowhere.exists(), "what is refused leaves nothing");
    let (code, text) = said(&savepoint("import", &file, own).args(["--group", "g"]).output().unwrap());
    assert!(code == Some(2) && text.contains("--group g"), "{text}");
    let (code, text) = said(&savepoint("import", &file, own).output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let service = Service::start(own, &[]);
    assert_eq!((replayed(&service), service.alert_ids().len()), (0, 1));
}

/// All that a group has open goes on in another, which writes topics of its own.
#[test]
fn a_new_group_goes_on_from_a_savepoint() {
    let Some(node) = Node::shared() else { return };
    let (one, other) = (unique("saved"), unique("forked"));
    let auth = format!("{one}.auth");
    node.create(&[(&auth, 1)]);
    let stream = STREAMS.replace("time ts", &format!("topic \"{auth}\" time ts"));
    let rules = format!("{stream}{RULE}");
    let folders = [setting(node, &one, &rules), setting(node, &other, &rules)];
    let writer = node.producer();
    let send = |minute: u32, ok: bool| {
        writer.send(&auth, 0, "bob", &attempt(minute, "bob", ok));
        writer.flush();
    };
    let service = super::kafka::start(&folders[0]);
    send(0, false);
    send(1, false);
    attack(node, &auth, 2);
    node.await_records(&format!("{one}.alerts"), 1);
    terminate(service);
    let file = folders[0].path().join("a.savepoint");
    let (code, text) = said(&savepoint("export", &file, folders[0].path()).output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let embedded = folders[1].path().join("embedded");
    let (code, text) = said(&savepoint("import", &file, &embedded).output().unwrap());
    assert!(code == Some(1) && text.contains("of a service that reads Kafka"), "{text}");
    let (code, text) = said(&savepoint("import", &file, folders[1].path()).output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    send(5, true);
    let service = super::kafka::start(&folders[1]);
    let alerts = node.await_records(&format!("{other}.alerts"), 1);
    assert_eq!(alerts.iter().map(|alert| alert.key.as_str()).collect::<Vec<_>>(), ["bob"]);
    assert_eq!(replayed(&service), 0);
    check_determinism(&service);
    terminate(service);
    // It is now of a history that the other group does not share.
    let file = folders[1].path().join("b.savepoint");
    let (code, text) = said(&savepoint("export", &file, folders[1].path()).output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = said(&savepoint("import", &file, folders[0].path()).output().unwrap());
    assert!(code == Some(1) && text.contains("has a history of its own"), "{text}");
}
