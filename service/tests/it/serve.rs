//! The service as a process: events over HTTP, rules, preconditions, and what a kill must not change.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STREAMS: &str = "stream auth { time ts in order id id fields { user: string, ok: bool } }\n";
const RULE: &str = "rule guess { by user (auth.user) match within 10m { 2 auth as failed where not ok then auth as hit where ok } reason \"{user}\" }\n";

/// A running service; killed when dropped.
pub(super) struct Service {
    child: Child,
    log: PathBuf,
    pub(super) address: String,
}

/// An answer: status, headers in lower case, body.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<String> {
        let line = self.head.lines().find(|l| l.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }
}

impl Service {
    pub(super) fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = spawn(Path::new(env!("CARGO_BIN_EXE_tripline")), folder, more);
        let address = ready(&mut child);
        Self { child, log: log_in(folder), address }
    }

    /// The same with these variables set.
    pub(super) fn start_with(folder: &Path, more: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::try_start(folder, more, variables).expect("the ready line")
    }

    /// The same, if it lives to say that it is ready.
    pub(super) fn try_start(folder: &Path, more: &[&str], variables: &[(&str, &str)]) -> Option<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_tripline"));
        let mut child = command(program, folder, more).envs(variables.iter().copied()).spawn().unwrap();
        let address = ready_line(&mut child);
        let service = Self { child, log: log_in(folder), address: address.clone().unwrap_or_default() };
        address.map(|_| service)
    }

    /// The process is gone.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The same of another build of the binary.
    pub(super) fn start_of(program: &Path, folder: &Path) -> Self {
        let mut child = spawn(program, folder, &[]);
        let address = ready(&mut child);
        Self { child, log: log_in(folder), address }
    }

    pub(super) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        exchange(&self.address, method, path, headers, body).unwrap()
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    pub(super) fn events(&self, stream: &str, lines: &str) -> Value {
        let path = format!("/v1/events/{stream}");
        let answer = self.call("POST", &path, &[("content-type", "application/x-ndjson")], lines.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    pub(super) fn put_rule(&self, id: &str, text: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("content-type", "text/plain")];
        all.extend_from_slice(headers);
        self.call("PUT", &format!("/v1/rules/{id}"), &all, text.as_bytes())
    }

    pub(super) fn alert_ids(&self) -> Vec<String> {
        let page = self.get("/v1/alerts?limit=1000").json();
        page["items"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends it a signal, such as `STOP`.
    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success(), "kill -{name}");
    }

    /// Ends it at once, as `kill -9` does.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What it said last is half of why a test failed.
        if std::thread::panicking() {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("the service's log:\n{}", lines[lines.len().saturating_sub(80)..].join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Begins a service without waiting for it.
pub(super) fn spawn(program: &Path, folder: &Path, more: &[&str]) -> Child {
    command(program, folder, more).spawn().unwrap()
}

fn command(program: &Path, folder: &Path, more: &[&str]) -> Command {
    let log = File::options().create(true).append(true).open(log_in(folder)).unwrap();
    let mut command = Command::new(program);
    command
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .arg("--rules")
        .arg(folder.join("rules"))
        .args(more)
        .stdout(Stdio::piped())
        .stderr(log);
    command
}

/// Waits for the ready line; the address in it.
fn ready(child: &mut Child) -> String {
    ready_line(child).expect("the ready line")
}

fn ready_line(child: &mut Child) -> Option<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line.trim().strip_prefix("listening http://").map(str::to_owned)
}

/// One request and its answer; an error if the service goes away meanwhile.
pub(super) fn exchange(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    socket.write_all(head.as_bytes())?;
    let _ = socket.write_all(body);
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Ok(Answer { status, head: head.to_owned(), body })
}

fn unchunk(mut text: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        out.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
    out
}

pub(super) fn folder(rules: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    for (name, text) in rules {
        std::fs::write(folder.path().join("rules").join(name), text).unwrap();
    }
    folder
}

/// Two failures and a success of each user, one user a minute.
fn attacks(users: std::ops::Range<u32>) -> String {
    let mut lines = String::new();
    for user in users {
        for (second, ok) in [(0, false), (1, false), (2, true)] {
            let minute = user % 60;
            let hour = user / 60;
            lines.push_str(&format!(
                "{{\"ts\":\"2026-03-01T{hour:02}:{minute:02}:{second:02}Z\",\"id\":\"u{user}-{second}\",\"user\":\"u{user}\",\"ok\":{ok}}}\n"
            ));
        }
    }
    lines
}

#[test]
fn events_become_alerts() {
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]);
    let service = Service::start(folder.path(), &[]);
    let answer = service.events("auth", &attacks(0..3));
    assert_eq!(answer["accepted"], 9);
    assert_eq!(answer["rejected"], json!([]));
    service.events("auth", &attacks(3..4));
    let ids = service.alert_ids();
    assert!(ids.len() >= 3, "{ids:?}");
    let page = service.get("/v1/alerts?limit=1").json();
    assert_eq!(page["items"][0]["data"]["rule"], "guess");
    let next = page["next"].as_str().unwrap();
    let second = service.get(&format!("/v1/alerts?limit=1&after={next}")).json();
    assert_eq!(second["items"][0]["id"].as_str(), Some(ids[1].as_str()));
    assert_eq!(service.get("/v1/alerts?key=u1").json()["items"].as_array().unwrap().len(), 1);
    let records = service.get("/v1/topics/auth/records?limit=2").json();
    assert_eq!(records["items"][0]["value"]["id"], "u0-0");
    assert_eq!(records["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a_kill_changes_no_alert() {
    let rules = format!("{STREAMS}{RULE}");
    let undisturbed = {
        let folder = folder(&[("a.cep", &rules)]);
        let service = Service::start(folder.path(), &[]);
        service.events("auth", &attacks(0..40));
        service.alert_ids()
    };
    assert!(undisturbed.len() >= 39, "{}", undisturbed.len());
    let folder = folder(&[("a.cep", &rules)]);
    let lines = attacks(0..40);
    let all: Vec<&str> = lines.lines().collect();
    for part in all.chunks(17) {
        let service = Service::start(folder.path(), &[]);
        service.events("auth", &part.join("\n"));
        service.kill();
    }
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.alert_ids(), undisturbed);
    assert!(service.get("/metrics").body.contains("tripline_determinism_violations_total 0"));
}

#[test]
fn rules_over_http_outlive_a_kill() {
    let folder = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(folder.path(), &[]);
    let created = service.put_rule("guess", RULE, &[]);
    assert_eq!(created.status, 201, "{}", created.body);
    let tag = created.header("etag").unwrap();
    assert_eq!(created.json()["revision"], 1);
    service.events("auth", &attacks(0..2));
    service.kill();
    let service = Service::start(folder.path(), &[]);
    let shown = service.get("/v1/rules/guess");
    assert_eq!(shown.header("etag"), Some(tag.clone()));
    assert_eq!(shown.json()["source"], RULE);
    service.events("auth", &attacks(2..4));
    assert!(service.alert_ids().len() >= 3);
    let deleted = service.call("DELETE", "/v1/rules/guess", &[("if-match", &tag)], b"");
    assert_eq!(deleted.status, 204);
    assert_eq!(service.get("/v1/rules/guess").status, 404);
}

#[test]
fn preconditions_guard_rules() {
    let folder = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(folder.path(), &[]);
    let tag = service.put_rule("guess", RULE, &[("if-none-match", "*")]).header("etag").unwrap();
    let changed = RULE.replace("10m", "20m");
    assert_eq!(service.put_rule("guess", RULE, &[]).json()["revision"], 1, "same content");
    assert_eq!(service.put_rule("guess", &changed, &[]).status, 428);
    assert_eq!(service.put_rule("guess", &changed, &[("if-match", "\"old\"")]).status, 412);
    assert_eq!(service.put_rule("guess", &changed, &[("if-none-match", "*")]).status, 412);
    let updated = service.put_rule("guess", &changed, &[("if-match", &tag)]);
    assert_eq!((updated.status, updated.json()["revision"].as_u64()), (200, Some(2)), "{}", updated.body);
    assert_eq!(service.call("DELETE", "/v1/rules/guess", &[], b"").status, 428);
    assert_eq!(service.call("DELETE", "/v1/rules/guess", &[("if-match", &tag)], b"").status, 412);
    let other = service.put_rule("other", RULE, &[]);
    assert_eq!(
        (other.status, other.json()["diagnostics"][0]["code"].as_str()),
        (422, Some("E108")),
        "{}",
        other.body
    );
    let broken = service.put_rule("x", "rule x {", &[]);
    assert_eq!(broken.status, 422);
    assert!(broken.json()["diagnostics"][0]["range"]["start"]["line"].is_u64(), "{}", broken.body);
    assert_eq!(broken.header("content-type").unwrap(), "application/problem+json");
}

#[test]
fn bad_lines_are_listed_and_good_ones_taken() {
    let folder = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(folder.path(), &[]);
    let good =
        "{\"ts\":\"2026-03-01T00:00:00Z\",\"id\":\"1\",\"user\":\"u\",\"ok\":true,\"stream\":\"auth\"}";
    let answer = service.events("auth", &format!("{good}\nnot json\n\n{{\"id\":\"2\"}}\n"));
    assert_eq!(answer["accepted"], 1);
    let lines: Vec<_> =
        answer["rejected"].as_array().unwrap().iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 4]);
    let json = [("content-type", "application/json")];
    let mixed = service
        .call("POST", "/v1/events", &json, format!("[{good}, {{\"stream\":\"aut\"}}]").as_bytes())
        .json();
    assert_eq!((&mixed["accepted"], &mixed["rejected"][0]["line"]), (&json!(1), &json!(2)));
    assert_eq!(service.call("POST", "/v1/events/aut", &json, b"").status, 404);
    assert!(service.call("POST", "/v1/events/aut", &json, b"").body.contains("auth"), "the nearest name");
    assert_eq!(service.call("POST", "/v1/events/auth", &[("content-type", "image/png")], b"").status, 415);
    assert_eq!(service.call("POST", "/v1/events/auth", &[("content-encoding", "br")], b"").status, 415);
    assert_eq!(service.call("POST", "/v1/events/auth", &json, b"[1,").status, 400);
    assert_eq!(service.call("POST", "/v1/events/auth", &json, &vec![b' '; 17 << 20]).status, 413);
}

#[test]
fn an_idempotency_key_takes_a_batch_once() {
    let folder = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(folder.path(), &[]);
    let headers = [("content-type", "application/x-ndjson"), ("idempotency-key", "k1")];
    let body = attacks(0..1);
    let first = service.call("POST", "/v1/events/auth", &headers, body.as_bytes());
    service.kill();
    let service = Service::start(folder.path(), &[]);
    let second = service.call("POST", "/v1/events/auth", &headers, body.as_bytes());
    assert_eq!((first.status, first.json()), (second.status, second.json()));
    let records = service.get("/v1/topics/auth/records").json();
    assert_eq!(records["items"].as_array().unwrap().len(), 3);
    assert_eq!(service.call("POST", "/v1/events/auth", &headers, attacks(1..2).as_bytes()).status, 422);
}

/// Ends it as a service manager does, and waits for that.
pub(super) fn terminate(mut service: Service) {
    Command::new("kill").arg(service.child.id().to_string()).status().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = service.child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_term_signal_drains() {
    let folder = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.get("/readyz").status, 200);
    assert_eq!(service.get("/livez").status, 200);
    terminate(service);
}

/// Entries of the log that the service had to take again when it started.
pub(super) fn replayed(service: &Service) -> u64 {
    let metrics = service.get("/metrics").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("tripline_replayed_events_total "));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Stopped in good order, a service goes on where it stood, with no replay; killed after that, it replays what came since.
/// A snapshot that is damaged costs a longer replay and nothing else.
#[test]
fn a_restart_goes_on_from_a_snapshot() {
    let folder = folder(&[("a.cep", STREAMS)]);
    let lines = attacks(0..30);
    let all: Vec<&str> = lines.lines().collect();
    // In the midst of an attack.
    let (first, rest) = all.split_at(31);
    let (second, third) = rest.split_at(31);
    let service = Service::start(folder.path(), &[]);
    // More revisions than may drain at once: all but the last have drained by the time of the snapshot.
    for (minutes, part) in (10..).zip(first.chunks(3)) {
        let tag = service.get("/v1/rules/guess").header("etag");
        let rule = RULE.replace("10m", &format!("{minutes}s"));
        let known: Vec<(&str, &str)> = tag.iter().map(|tag| ("if-match", tag.as_str())).collect();
        let put = service.put_rule("guess", &rule, &known);
        assert!(put.status < 300, "{}", put.body);
        service.events("auth", &part.join("\n"));
    }
    let raised = service.alert_ids();
    assert!(raised.len() >= 9, "{raised:?}");
    terminate(service);
    let service = Service::start(folder.path(), &[]);
    assert_eq!(replayed(&service), 0, "the snapshot holds all of it");
    assert_eq!(service.alert_ids(), raised);
    service.events("auth", &second.join("\n"));
    service.kill();
    let service = Service::start(folder.path(), &[]);
    assert_eq!(replayed(&service), 31);
    let raised = service.alert_ids();
    assert_eq!(raised.len(), 20, "each of the users whose attack is over: {raised:?}");
    service.kill();
    let data = folder.path().join("data");
    let verify = || {
        let place = ["snapshot", "verify", "--json", "--data", data.to_str().unwrap()];
        let output = Command::new(env!("CARGO_BIN_EXE_tripline")).args(place).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let damaged = |line: &str| !serde_json::from_str::<Value>(line).unwrap()["unusable"].is_null();
        (output.status.code(), lines.lines().map(damaged).collect::<Vec<_>>())
    };
    let (code, damaged) = verify();
    assert!(code == Some(0) && !damaged.is_empty() && !damaged.contains(&true), "{damaged:?}");
    let snapshots = data.join("snapshots/embedded");
    for file in std::fs::read_dir(snapshots).unwrap() {
        let path = file.unwrap().path().join("0000.part");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let (code, damaged) = verify();
    assert!(code == Some(1) && !damaged.contains(&false), "{damaged:?}");
    let service = Service::start(folder.path(), &[]);
    assert!(replayed(&service) > 62, "all of it");
    assert!(service.get("/metrics").body.contains("tripline_snapshot_failures_total{reason=\"damaged\"}"));
    assert_eq!(service.alert_ids(), raised);
    service.events("auth", &third.join("\n"));
    assert_eq!(service.alert_ids().len(), 30);
    assert!(service.get("/metrics").body.contains("tripline_determinism_violations_total 0"));
}

/// What the store keeps of tables and of refused lines is what a restart needs.
#[test]
fn a_restart_reads_tables_and_times_as_they_were_read() {
    let rules = "lookup shop by w { big: decimal } from \"shop.csv\"\n\
                 stream a { time ts fields { u: string, v: int } }\n\
                 rule r { by u match within 1s { a as x then a as y } reason \"{@shop[u].big}\" }\n";
    let folder = folder(&[("a.cep", rules), ("shop.csv", "w,big\nann,1.50\n")]);
    let service = Service::start(folder.path(), &[]);
    // A refused line does not say what the numbers of times mean.
    let refused = service.events("a", "{\"ts\":1767225600,\"u\":\"ann\",\"v\":\"bad\"}\n");
    assert_eq!(refused["accepted"], 0);
    let line = |ts: i64| format!("{{\"ts\":{ts},\"u\":\"ann\",\"v\":1}}\n");
    service.events("a", &[17_672_256, 17_672_258, 17_672_999_000].map(line).concat());
    let raised = service.alert_ids();
    service.kill();
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.alert_ids(), raised);
    service.events("a", &line(17_673_000_000));
    assert!(!service.alert_ids().is_empty(), "read as milliseconds");
    assert!(service.get("/metrics").body.contains("tripline_determinism_violations_total 0"));
    terminate(service);
    assert_eq!(replayed(&Service::start(folder.path(), &[])), 0);
}

/// Snapshots of another history of the store: none of it may come back.
#[test]
fn a_snapshot_of_another_history_is_not_taken() {
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]);
    let lines = attacks(0..8);
    let all: Vec<&str> = lines.lines().collect();
    let service = Service::start(folder.path(), &[]);
    service.events("auth", &all[..2].join("\n"));
    terminate(service);
    std::fs::remove_dir_all(folder.path().join("data/store")).unwrap();
    let service = Service::start(folder.path(), &[]);
    // As many entries as before, and more.
    service.events("auth", &all[3..8].join("\n"));
    service.kill();
    let service = Service::start(folder.path(), &[]);
    let raised = service.alert_ids().len();
    service.events("auth", &format!("{}\n", all[2].replace("00:00:02", "00:01:30")));
    assert_eq!(service.alert_ids().len(), raised, "its failures are of the store that is gone");
    assert!(service.get("/metrics").body.contains("tripline_determinism_violations_total 0"));
}

#[test]
fn without_dev_a_token_is_needed() {
    let folder = folder(&[("streams.cep", STREAMS)]);
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["serve", "--dev", "--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_live_stream_resumes_after_its_last_event() {
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]);
    let service = Service::start(folder.path(), &[]);
    service.events("auth", &attacks(0..5));
    let mut socket = TcpStream::connect(&service.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(b"GET /v1/alerts/stream HTTP/1.1\r\nhost: t\r\nlast-event-id: 1\r\n\r\n").unwrap();
    let lines = BufReader::new(socket).lines();
    let id = lines.map_while(Result::ok).find_map(|l| l.strip_prefix("id: ").map(str::to_owned));
    assert_eq!(id.as_deref(), Some("2"));
}

#[test]
fn a_webhook_gets_only_what_its_rule_sends_and_no_internal_address_by_default() {
    let rule = RULE.replace("reason", "send webhook \"hook\" reason");
    let other = RULE.replace("rule guess", "rule quiet");
    let folder = folder(&[("a.cep", &format!("{STREAMS}{rule}{other}"))]);
    let service = Service::start(folder.path(), &[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = json!({"url": format!("http://{}/in", listener.local_addr().unwrap())}).to_string();
    let json = [("content-type", "application/json")];
    let put = service.call("PUT", "/v1/endpoints/hook", &json, url.as_bytes());
    assert_eq!(put.status, 201, "{}", put.body);
    assert!(put.json()["secret"].as_str().unwrap().starts_with("whsec_"));
    assert!(service.get("/v1/endpoints/hook").json()["secret"].is_null(), "shown once");
    service.events("auth", &attacks(0..2));
    let begun = Instant::now();
    let delivery = loop {
        let page = service.get("/v1/endpoints/hook/deliveries").json();
        if page["items"][0]["attempts"] == 1 {
            break page["items"][0].clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{page}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(delivery["error"].as_str().unwrap().contains("internal address"), "{delivery}");
    let all = service.get("/v1/alerts?rule=guess").json();
    assert_eq!(delivery["alert"], all["items"][0]["id"]);
    let page = service.get("/v1/endpoints/hook/deliveries").json();
    assert_eq!(page["items"].as_array().unwrap().len(), all["items"].as_array().unwrap().len());
}

#[test]
fn a_rule_in_the_folder_and_over_http_is_refused_at_start() {
    let folder = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.put_rule("guess", RULE, &[]).status, 201);
    service.kill();
    std::fs::write(folder.path().join("rules/guess.cep"), RULE).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--rules")
        .arg(folder.path().join("rules"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("guess.cep") && text.contains("over HTTP"), "{text}");
}

#[test]
fn the_demo_finds_what_its_data_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_tripline")).args(["demo", "--once"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn feed_sends_a_file_once() {
    let folder = folder(&[("a.cep", &format!("{STREAMS}{RULE}"))]);
    let service = Service::start(folder.path(), &[]);
    let file = folder.path().join("auth.jsonl");
    std::fs::write(&file, attacks(0..500)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .arg("feed")
        .arg(&file)
        .args(["--to", &format!("http://{}", service.address), "--speed", "max"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(service.alert_ids().len() >= 499);
}
