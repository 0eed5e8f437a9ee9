//! The binary: exit codes and output.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) const RULE: &str = r#"rule card_testing {
  title "Small probes, then a large purchase"
  by card_id
  match within 10m {
    at least 3 auth as probe where approved and amount < 5
    then auth as hit where approved and amount > 20 * avg(probe.amount)
  }
  severity if hit.amount >= 1000 then critical else high
  reason "{count(probe)} approvals under 5, then {hit.amount} at {hit.merchant}"
  emit { probes: count(probe), probe_total: sum(probe.amount), amount: hit.amount, merchant: hit.merchant }
  cooldown 1h
  test "three probes and a hit" {
    given auth { card_id: "c1", approved: true, merchant: "m1" }
    at 0s, 40s, 80s auth { amount: 1.10 }   at 5m auth { amount: 900.00 }
    expect at 5m 1 alert { probes: 3, severity: high }
  }
  test "probes too far apart" {
    given auth { card_id: "c1", approved: true, merchant: "m1" }
    at 0s, 6m, 12m auth { amount: 1.10 }   at 13m auth { amount: 900.00 }
    expect nothing
  }
}
"#;

pub(crate) const EVENTS: &str = r#"{"id":"a4","ts":"2026-03-01T10:05:00Z","card_id":"c1","approved":true,"amount":900.00,"merchant":"m1"}
{"id":"a1","ts":"2026-03-01T10:00:00Z","card_id":"c1","approved":true,"amount":1.10,"merchant":"m1"}
{"id":"a2","ts":"2026-03-01T10:00:40Z","card_id":"c1","approved":true,"amount":1.10,"merchant":"m1"}
{"id":"a3","ts":"2026-03-01T10:01:20Z","card_id":"c1","approved":true,"amount":1.10,"merchant":"m1"}
"#;

pub(crate) fn tripline(folder: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // The child may end before it has read its input.
    let _ = child.stdin.take().expect("stdin").write_all(stdin.as_bytes());
    child.wait_with_output().expect("ends")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("write");
    }
    folder
}

#[test]
fn run_finds_the_card_tester_whatever_the_order_of_lines() {
    let f = folder(&[("card.cep", RULE), ("auth.jsonl", EVENTS)]);
    let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl", "--json"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    let alert: serde_json::Value = serde_json::from_str(text.trim()).expect("one alert");
    let data = &alert["data"];
    assert_eq!(alert["subject"], "card_id=c1");
    assert_eq!(alert["time"], "2026-03-01T10:05:00.000Z");
    assert_eq!(alert["severitytext"], "HIGH");
    assert_eq!(data["reason"], "3 approvals under 5, then 900.00 at m1");
    assert_eq!(data["why"][0]["count"], 3);
    assert_eq!(data["why"][0]["more"], 2);
    assert!(text.contains("\"probe_total\":3.30,\"amount\":900.00"), "{text}");
    let full = tripline(f.path(), &["run", "card.cep", "auth.jsonl", "--json", "--evidence", "full"], "");
    let alert: serde_json::Value = serde_json::from_str(out(&full).trim()).expect("one alert");
    assert_eq!(alert["data"]["why"][0]["events"].as_array().map(Vec::len), Some(3));
    assert!(err(&full).contains("4 events, 1 alert\n"), "{}", err(&full));
}

#[test]
fn sorting_on_disk_and_stdin_give_the_same_alerts() {
    let f = folder(&[("card.cep", RULE), ("auth.jsonl", EVENTS)]);
    let memory = out(&tripline(f.path(), &["run", "card.cep", "auth.jsonl", "--json"], ""));
    let disk =
        out(&tripline(f.path(), &["run", "card.cep", "auth.jsonl", "--json", "--sort-memory", "200"], ""));
    let stdin = out(&tripline(
        f.path(),
        &["run", "card.cep", "--stream", "auth=-", "--format", "jsonl", "--json"],
        EVENTS,
    ));
    assert!(!memory.is_empty());
    assert_eq!(memory, disk);
    assert_eq!(memory, stdin);
}

#[test]
fn arrival_order_drops_what_is_late() {
    let f = folder(&[("card.cep", RULE), ("auth.jsonl", EVENTS)]);
    let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl", "--arrival-order"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "");
    assert!(err(&output).contains("late: 3"), "{}", err(&output));
}

#[test]
fn bad_lines_are_reported_and_kept_and_strict_stops() {
    let events = format!("{EVENTS}not json\n{{\"card_id\":\"c1\"}}\n");
    let f = folder(&[("card.cep", RULE), ("auth.jsonl", &events)]);
    let output =
        tripline(f.path(), &["run", "card.cep", "auth.jsonl", "--rejected", "bad.jsonl", "--json"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output).lines().count(), 1);
    assert!(err(&output).contains("auth.jsonl:5: not a JSON object"), "{}", err(&output));
    assert!(err(&output).contains("auth.jsonl:6: no time"), "{}", err(&output));
    let kept = std::fs::read_to_string(f.path().join("bad.jsonl")).expect("rejected file");
    assert_eq!(kept.lines().count(), 2);
    let strict = tripline(f.path(), &["run", "card.cep", "auth.jsonl", "--strict"], "");
    assert_eq!(strict.status.code(), Some(1));
}

#[test]
fn tests_in_rules_run_and_failures_are_told() {
    let f = folder(&[
        ("card.cep", RULE),
        ("bad.cep", &RULE.replace("probes: 3", "probes: 4").replace("card_testing", "other")),
    ]);
    let good = tripline(f.path(), &["test", "card.cep", "--junit", "report.xml"], "");
    assert_eq!(good.status.code(), Some(0), "{}{}", out(&good), err(&good));
    assert!(out(&good).contains("ok   card_testing / three probes and a hit"), "{}", out(&good));
    assert!(std::fs::read_to_string(f.path().join("report.xml")).expect("report").contains("failures=\"0\""));
    let bad = tripline(f.path(), &["test", "bad.cep", "--filter", "three probes"], "");
    assert_eq!(bad.status.code(), Some(1), "{}", err(&bad));
    assert!(out(&bad).contains("1 test, 1 failed"), "{}", out(&bad));
}

#[test]
fn check_names_the_place_and_the_fix() {
    let f = folder(&[("card.cep", &RULE.replace("amount < 5", "ammount < 5")), ("auth.jsonl", EVENTS)]);
    let output = tripline(f.path(), &["check", "card.cep", "auth.jsonl", "--json"], "");
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = out(&output);
    let finding: serde_json::Value =
        serde_json::from_str(text.lines().next().expect("a finding")).expect("json");
    assert_eq!(finding["code"], "E204");
    assert_eq!(finding["range"]["start"]["line"], 4);
    assert_eq!(finding["suggestions"][0]["text"], "amount");
}

#[test]
fn why_tells_how_far_a_key_got() {
    let short: String = EVENTS.lines().filter(|l| !l.contains("a3")).map(|l| format!("{l}\n")).collect();
    let f = folder(&[("card.cep", RULE), ("auth.jsonl", &short)]);
    let output = tripline(f.path(), &["why", "card.cep", "auth.jsonl", "--key", "c1"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("rule card_testing, key c1"), "{}", out(&output));
}

/// A closed pipe is no fault of the command: it ends quietly, and what it writes elsewhere is written.
#[test]
fn nobody_has_to_read_the_output() {
    let f = folder(&[("card.cep", RULE), ("auth.jsonl", EVENTS), ("alerts.jsonl", "")]);
    // Closed before the command starts, so that it has not said all by then.
    let closed = || std::io::pipe().expect("pipe").1;
    let unread = |arguments: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
            .args(arguments)
            .current_dir(f.path())
            .stdin(Stdio::null())
            .stdout(closed())
            .stderr(closed())
            .spawn()
            .expect("starts");
        child.wait().expect("ends").code()
    };
    for arguments in [
        vec!["run", "card.cep", "auth.jsonl", "--json"],
        vec!["run", "card.cep", "auth.jsonl", "--json", "--alerts", "alerts.jsonl"],
        vec!["check", "card.cep"],
        vec!["check", "card.cep", "--json"],
        vec!["test", "card.cep"],
        vec!["explain", "E301"],
        vec!["infer", "auth.jsonl"],
        vec!["fmt", "card.cep", "--check"],
        vec!["bench", "W1", "--events", "1000", "--rounds", "1"],
    ] {
        assert_eq!(unread(&arguments), Some(0), "{arguments:?}");
    }
    let alerts = std::fs::read_to_string(f.path().join("alerts.jsonl")).expect("alerts");
    assert_eq!(alerts.lines().count(), 1);
}

#[test]
fn a_mark_in_front_of_a_file_is_no_part_of_it() {
    let marked = |text: &str| format!("\u{feff}{text}");
    let commented = marked(&format!("# of cards\n{RULE}"));
    let csv = "ts,id,card_id,approved,amount,merchant\n\
               1772359200,a1,c1,true,1.10,m1\n1772359240,a2,c1,true,1.10,m1\n\
               1772359280,a3,c1,true,1.10,m1\n1772359500,a4,c1,true,900.00,m1\n";
    let quoted = marked(&csv.replace("ts,id", "\"ts\",id"));
    let f = folder(&[("card.cep", &commented), ("auth.jsonl", &marked(EVENTS)), ("auth.csv", &quoted)]);
    for events in ["auth.jsonl", "auth.csv"] {
        let output = tripline(f.path(), &["run", "card.cep", events, "--json"], "");
        assert_eq!(out(&output).lines().count(), 1, "{events}: {}", err(&output));
        assert!(!err(&output).contains("rejected: 1"), "{}", err(&output));
    }
    let output = tripline(f.path(), &["fmt", "-"], &commented);
    assert!(out(&output).starts_with("# of cards\n"), "{}", out(&output));
    let broken = marked("rule x { by k match { nothing_here } }\n");
    std::fs::write(f.path().join("card.cep"), broken).expect("write");
    let output = tripline(f.path(), &["check", "card.cep"], "");
    assert!(out(&output).contains("card.cep:1:23"), "{}", out(&output));
}

#[test]
fn a_day_has_as_many_alerts_as_it_may() {
    let rule = "rule each { by k match { e as x } }\n";
    let line = |day: u32, hour: u32| format!("{{\"ts\":\"2026-03-0{day}T{hour:02}:00:00Z\",\"k\":\"a\"}}\n");
    let events: String =
        (1..=2).flat_map(|day| (0..5).map(move |hour| (day, hour))).map(|(d, h)| line(d, h)).collect();
    let f = folder(&[("r.cep", rule), ("e.jsonl", &events)]);
    let run =
        |more: &[&str]| tripline(f.path(), &[&["run", "r.cep", "e.jsonl", "--json"], more].concat(), "");
    assert_eq!(out(&run(&[])).lines().count(), 10);
    let capped = run(&["--limit", "alerts_per_rule_day=3"]);
    assert_eq!(out(&capped).lines().count(), 6, "{}", err(&capped));
    assert!(
        err(&capped).contains("suppressed: 4 (cool-down 0, unless 0, alerts_per_rule_day 4)"),
        "{}",
        err(&capped)
    );
    assert!(err(&capped).contains("each: met a limit 4 times"), "{}", err(&capped));
}

/// A setting that would mean never, or at once and always.
#[test]
fn settings_of_nothing_are_refused() {
    let f = folder(&[]);
    for (section, key, value) in [
        ("breaker", "records", "0"),
        ("breaker", "within", "\"0s\""),
        ("breaker", "pause", "\"0ms\""),
        ("snapshots", "keep", "0"),
        ("snapshots", "every", "\"0s\""),
        ("snapshots", "scrub", "\"0d\""),
        ("snapshots", "timeout", "\"0s\""),
        ("kafka", "commit_timeout", "\"0s\""),
    ] {
        let config = format!("[{section}]\n{key} = {value}\n");
        std::fs::write(f.path().join("tripline.toml"), config).expect("write");
        let output = tripline(f.path(), &["snapshot", "export", "x"], "");
        assert_eq!(output.status.code(), Some(2), "{section}.{key}: {}", err(&output));
        assert!(err(&output).contains(&format!("{section}.{key}: ")), "{}", err(&output));
    }
}

#[test]
fn a_place_of_snapshots_that_is_none_is_refused() {
    let f = folder(&[]);
    for url in ["", "file:/x", "file://x", "http://host/x", "s3://", "nowhere"] {
        for action in ["ls", "verify"] {
            let output = tripline(f.path(), &["snapshot", action, "--url", url], "");
            assert_eq!(output.status.code(), Some(2), "{url}: {}", err(&output));
            assert!(err(&output).contains(url), "{}", err(&output));
        }
        let config = format!("[snapshots]\nurl = \"{url}\"\n");
        std::fs::write(f.path().join("tripline.toml"), config).expect("write");
        let output = tripline(f.path(), &["snapshot", "export", "x"], "");
        let is_place = url == "nowhere";
        assert_eq!(output.status.code(), Some(if is_place { 1 } else { 2 }), "{url}: {}", err(&output));
        assert_eq!(err(&output).contains("snapshots.url: "), !is_place, "{}", err(&output));
    }
}
