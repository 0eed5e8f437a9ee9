//! What a service must keep through kills and through rules swapped under load.
//!
//! `TRIPLINE_LONG` says how many times more often than in CI, `TRIPLINE_BIN` which binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::serve::{Service, exchange, folder, spawn};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// `idle` is longer than any restart, so that time never moves for want of events.
pub(super) const STREAMS: &str = "\
stream auth { time ts in order id id idle 1h fields { user: string, ok: bool, act: string } }
stream pay { time ts id id idle 1h fields { user: string, amount: int } }
";
pub(super) const RULES: &str = "\
rule left_open { by user match { auth as opened where act == \"open\" then no auth for 20s where act == \"close\" } reason \"{user}\" }
rule burst { by user match { auth as hit where count(auth over 30s) reaches 5 } cooldown 1m reason \"{user}\" }
rule guess { by user match within 1m { 2 auth as failed where not ok then pay as hit where amount > 50 } reason \"{user}\" }
rule unpaid { by user match { auth as begun where act == \"open\" then no pay for 15s } reason \"{user}\" }
";
/// Rules that are swapped: `@` is the title and the bound, neither of which changes what matches in the data.
const SWAPPED: [(&str, &str); 3] = [
    (
        "s_guess",
        "by user match within @h { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\"",
    ),
    (
        "s_burst",
        "by user match { auth as hit where count(auth over 30s) reaches 5 } cooldown 1m reason \"{user}\"",
    ),
    (
        "s_open",
        "by user match { auth as opened where act == \"open\" then no auth for 20s where act == \"close\" } reason \"{user}\"",
    ),
];
/// The same of rules that wait for a second stream, or for the end of an instant.
const SWAPPED_MERGED: [(&str, &str); 2] = [
    (
        "s_pair",
        "by user match within @h { 2 auth as failed where not ok then pay as hit where amount > 50 } reason \"{user}\"",
    ),
    ("s_wave", "by user match { pay as hit where count(pay over 30s) reaches 4 } reason \"{user}\""),
];
pub(super) const NAMES: [&str; 2] = ["auth", "pay"];
/// Events of a batch; one a second.
const BATCH: usize = 10;
/// Batches that one stream may be ahead of the other.
const LEAD: usize = 8;
pub(super) const BASE_MS: usize = 1_772_323_200_000;

/// Well mixed bits of a number.
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How many times more than CI has time for: `TRIPLINE_LONG`, 1 unless set.
pub(super) fn long() -> usize {
    std::env::var("TRIPLINE_LONG").map_or(1, |text| text.parse().unwrap())
}

pub(super) fn program() -> PathBuf {
    std::env::var_os("TRIPLINE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_tripline").into(), PathBuf::from)
}

/// The `number`-th event of a stream: always the same.
pub(super) fn event(stream: usize, number: usize) -> String {
    let bits = mix((number * 2 + stream) as u64);
    let (user, ts) = (bits % 9, BASE_MS + number * 1000 + stream * (bits >> 8 & 1) as usize * 500);
    let rest = if stream == 0 {
        let act = ["open", "close", "use"][(bits >> 16) as usize % 3];
        format!("\"ok\":{},\"act\":\"{act}\"", bits >> 24 & 3 == 0)
    } else {
        format!("\"amount\":{}", (bits >> 16) % 100)
    };
    format!("{{\"ts\":{ts},\"id\":\"{}{number}\",\"user\":\"u{user}\",{rest}}}\n", NAMES[stream])
}

fn batch(stream: usize, number: usize) -> String {
    (number * BATCH..(number + 1) * BATCH).map(|event_number| event(stream, event_number)).collect()
}

/// Two producers, one a stream, that send on until told to stop, whatever becomes of the service.
struct Load {
    address: RwLock<String>,
    stop: AtomicBool,
    sent: [AtomicUsize; 2],
    resent: AtomicUsize,
}

impl Load {
    fn new(address: &str) -> Self {
        Self {
            address: RwLock::new(address.to_owned()),
            stop: AtomicBool::new(false),
            sent: Default::default(),
            resent: AtomicUsize::new(0),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|stream: usize| self.sent[stream].load(Ordering::Acquire))
    }

    fn produce(&self, stream: usize) {
        while !self.stopped() {
            let [own, other] = [stream, 1 - stream].map(|s| self.sent[s].load(Ordering::Acquire));
            if own < other + LEAD {
                self.deliver(stream, own);
                self.sent[stream].fetch_add(1, Ordering::AcqRel);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a batch until it has been answered.
    fn deliver(&self, stream: usize, number: usize) {
        let (path, body) = (format!("/v1/events/{}", NAMES[stream]), batch(stream, number));
        let key = format!("{}-{number}", NAMES[stream]);
        let headers = [("content-type", "application/x-ndjson"), ("idempotency-key", key.as_str())];
        let begun = Instant::now();
        loop {
            let address = self.address.read().unwrap().clone();
            match exchange(&address, "POST", &path, &headers, body.as_bytes()) {
                Ok(answer) if answer.status == 200 => {
                    assert_eq!(answer.json()["accepted"], BATCH, "{}", answer.body);
                    return;
                }
                Ok(answer) => assert!([429, 503].contains(&answer.status), "{}", answer.body),
                Err(_) => {}
            }
            self.resent.fetch_add(1, Ordering::Relaxed);
            assert!(begun.elapsed() < Duration::from_secs(60), "{key} is never taken");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The last event of each stream, an hour after all others: every timer before it fires.
fn flush(service: &Service, counts: [usize; 2]) {
    let last = BASE_MS + (counts[0].max(counts[1]) * BATCH + 3600) * 1000;
    for (stream, rest) in [(0, "\"ok\":true,\"act\":\"use\""), (1, "\"amount\":1")] {
        let line = format!("{{\"ts\":{last},\"id\":\"last\",\"user\":\"last\",{rest}}}\n");
        let path = format!("/v1/events/{}", NAMES[stream]);
        let answer =
            service.call("POST", &path, &[("content-type", "application/x-ndjson")], line.as_bytes());
        assert_eq!(answer.json()["accepted"], 1, "{}", answer.body);
    }
}

/// All items of a list, page by page.
pub(super) fn pages(service: &Service, path: &str) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = service.get(&format!("{path}?limit=1000{after}")).json();
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

/// Rule and id of every alert; none may stand twice.
fn alerts(service: &Service) -> BTreeSet<(String, String)> {
    let all = pages(service, "/v1/alerts");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let set: BTreeSet<_> = all.iter().map(|a| (text(&a["data"]["rule"]), text(&a["id"]))).collect();
    assert_eq!(set.len(), all.len(), "an alert stands twice");
    set
}

/// No event is lost or doubled: each topic holds every id once, in order.
fn check_topics(service: &Service, counts: [usize; 2]) {
    for (name, count) in NAMES.iter().zip(counts) {
        let records = pages(service, &format!("/v1/topics/{name}/records"));
        let found: Vec<_> = records.iter().map(|r| r["value"]["id"].as_str().unwrap().to_owned()).collect();
        let mut wanted: Vec<_> = (0..count * BATCH).map(|number| format!("{name}{number}")).collect();
        wanted.push("last".to_owned());
        assert_eq!(found, wanted);
    }
}

pub(super) fn check_determinism(service: &Service) {
    let metrics = service.get("/metrics").body;
    assert!(metrics.contains("tripline_determinism_violations_total 0"), "{metrics}");
}

/// The text of a swapped rule in its `version`.
fn swapped(name: &str, body: &str, version: usize) -> String {
    let bound = (1 + version % 2).to_string();
    format!("rule {name} {{ title \"Version {version}\" {} }}\n", body.replace('@', &bound))
}

/// What the same events give when nothing disturbs the service.
fn undisturbed(rules: &str, counts: [usize; 2]) -> BTreeSet<(String, String)> {
    let folder = folder(&[("a.cep", &format!("{STREAMS}{rules}"))]);
    let service = Service::start_of(&program(), folder.path());
    for number in 0..counts[0].max(counts[1]) {
        for stream in [0, 1].into_iter().filter(|stream: &usize| number < counts[*stream]) {
            let path = format!("/v1/events/{}", NAMES[stream]);
            let body = batch(stream, number);
            let answer =
                service.call("POST", &path, &[("content-type", "application/x-ndjson")], body.as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    flush(&service, counts);
    alerts(&service)
}

pub(super) fn compare(
    found: &BTreeSet<(String, String)>,
    wanted: &BTreeSet<(String, String)>,
    rules: &[&str],
) {
    let missing: Vec<_> = wanted.difference(found).take(9).collect();
    let extra: Vec<_> = found.difference(wanted).take(9).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}\nextra {extra:?}");
    for rule in rules {
        assert!(found.iter().any(|(name, _)| name == rule), "no alert of {rule}: the load proves nothing");
    }
}

#[test]
fn kills_under_load_lose_and_double_nothing() {
    let (kills, begun) = (5 * long(), Instant::now());
    let seed = u64::from(std::process::id());
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULES}"))]);
    let mut service = Service::start_of(&program(), folder.path());
    let load = Load::new(&service.address);
    service = std::thread::scope(|scope| {
        for stream in [0, 1] {
            let load = &load;
            scope.spawn(move || load.produce(stream));
        }
        for kill in 0..kills as u64 {
            let bits = mix(seed.wrapping_add(kill));
            std::thread::sleep(Duration::from_micros(10_000 + bits % 190_000));
            service.kill();
            if bits >> 32 & 3 == 0 {
                // A start that does not live to see its end.
                let mut child = spawn(&program(), folder.path(), &[]);
                std::thread::sleep(Duration::from_micros((bits >> 40) % 60_000));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            service = Service::start_of(&program(), folder.path());
            load.address.write().unwrap().clone_from(&service.address);
        }
        load.stop.store(true, Ordering::Release);
        service
    });
    let counts = load.counts();
    flush(&service, counts);
    check_determinism(&service);
    check_topics(&service, counts);
    let found = alerts(&service);
    let disturbed = begun.elapsed();
    compare(&found, &undisturbed(RULES, counts), &["left_open", "burst", "guess", "unpaid"]);
    println!(
        "{kills} kills in {disturbed:.1?}: {} events, {} batches sent again, {} alerts, none lost, none twice",
        (counts[0] + counts[1]) * BATCH,
        load.resent.load(Ordering::Relaxed),
        found.len(),
    );
}

/// Puts a version of every swapped rule; how often it had to wait for older revisions.
fn put_all(service: &Service, rules: &[(&str, &str)], version: usize) -> usize {
    let mut refused = 0;
    for (name, body) in rules {
        let headers = [("content-type", "text/plain"), ("if-match", "*")];
        let headers = if version == 0 { &headers[..1] } else { &headers[..] };
        let begun = Instant::now();
        loop {
            let text = swapped(name, body, version);
            let answer = service.call("PUT", &format!("/v1/rules/{name}"), headers, text.as_bytes());
            if answer.status < 300 {
                assert_eq!(answer.json()["revision"], version + 1, "{}", answer.body);
                break;
            }
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (409, &"drain_full".into()),
                "{}",
                answer.body
            );
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} never drains");
            refused += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    refused
}

#[test]
fn swaps_under_load_lose_and_double_nothing() {
    swap_under_load(&SWAPPED);
}

#[test]
fn swaps_of_merged_rules_lose_and_double_nothing() {
    swap_under_load(&SWAPPED_MERGED);
}

/// The ninth revision that would drain is refused, and the refusal leaves no trace.
#[test]
fn a_ninth_draining_revision_is_refused() {
    let folder = folder(&[("a.cep", STREAMS)]);
    let service = Service::start_of(&program(), folder.path());
    let path = "/v1/rules/s_guess";
    let put = |version: usize| {
        // Every bound is long, so that no revision drains.
        let text = swapped(SWAPPED[0].0, &SWAPPED[0].1.replace('@', &(24 + version).to_string()), version);
        service.call("PUT", path, &[("if-match", "*")][..version.min(1)], text.as_bytes())
    };
    for version in 0..9 {
        assert!(put(version).status < 300);
        let line = format!(
            "{{\"ts\":{},\"id\":\"{version}\",\"user\":\"u\",\"ok\":false,\"act\":\"use\"}}",
            BASE_MS + version
        );
        let headers = [("content-type", "application/x-ndjson")];
        assert_eq!(service.call("POST", "/v1/events/auth", &headers, line.as_bytes()).status, 200);
    }
    let refused = put(9);
    assert_eq!((refused.status, &refused.json()["code"]), (409, &"drain_full".into()), "{}", refused.body);
    assert_eq!(service.get(path).json()["revision"], 9);
    service.kill();
    let service = Service::start_of(&program(), folder.path());
    assert_eq!(service.get(path).json()["revision"], 9);
    check_determinism(&service);
}

fn swap_under_load(swapped_rules: &[(&str, &str)]) {
    let (swaps, begun) = (6 * long(), Instant::now());
    let folder = folder(&[("a.cep", STREAMS)]);
    let service = Service::start_of(&program(), folder.path());
    put_all(&service, swapped_rules, 0);
    let load = Load::new(&service.address);
    let mut refused = 0;
    std::thread::scope(|scope| {
        for stream in [0, 1] {
            let load = &load;
            scope.spawn(move || load.produce(stream));
        }
        for version in 1..=swaps {
            std::thread::sleep(Duration::from_micros(20_000 + mix(version as u64) % 100_000));
            refused += put_all(&service, swapped_rules, version);
        }
        load.stop.store(true, Ordering::Release);
    });
    let counts = load.counts();
    flush(&service, counts);
    check_topics(&service, counts);
    let found = alerts(&service);
    let duration = begun.elapsed();
    let rules: String = swapped_rules.iter().map(|(name, body)| swapped(name, body, 0)).collect();
    let names: Vec<&str> = swapped_rules.iter().map(|(name, _)| *name).collect();
    compare(&found, &undisturbed(&rules, counts), &names);
    service.kill();
    let service = Service::start_of(&program(), folder.path());
    check_determinism(&service);
    assert_eq!(alerts(&service), found);
    println!(
        "{swaps} swaps of {} rules in {duration:.1?}: {} events, {refused} refused while draining, {} alerts, none lost, none twice",
        swapped_rules.len(),
        (counts[0] + counts[1]) * BATCH,
        found.len(),
    );
}
