//! `bench` gives the right answers and says what it measured. No test looks at how long anything took.

use crate::broker::Node;
use crate::command::{err, folder, out, tripline};
use serde_json::Value;

/// One line of JSON from `bench`.
fn bench(arguments: &[&str]) -> Value {
    let f = folder(&[]);
    let arguments = [&["bench"], arguments, &["--rounds", "1", "--json"]].concat();
    let output = tripline(f.path(), &arguments, "");
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    serde_json::from_str(out(&output).trim()).expect("json")
}

#[test]
fn a_published_answer_is_verified() {
    let line = bench(&["W1", "--events", "200000"]);
    assert_eq!(line["matches"], 526);
    assert_eq!(line["checksum"], "90ae8f9832194b5e");
    assert_eq!(line["verified"], "published");
    for field in [
        "workload",
        "events",
        "rounds",
        "cpu_s",
        "wall_s",
        "peak_rss_bytes",
        "events_per_cpu_s",
        "plain_cpu_s",
        "plain_events_per_cpu_s",
        "ratio",
        "goal_events_per_cpu_s",
        "met",
        "load",
    ] {
        assert!(!line[field].is_null(), "{field}: {line}");
    }
}

/// Sizes without a published answer, and another seed: matcher and plain loop agree, else the exit code is 1.
#[test]
fn the_plain_loop_finds_the_same() {
    for workload in ["W0", "W2", "W3", "W4:100", "W5", "W6:3", "W7:1000"] {
        let line = bench(&[workload, "--events", "40000", "--seed", "7"]);
        assert_eq!(line["verified"], "plain loop");
        assert_ne!(line["matches"], 0, "{line}");
    }
}

/// The whole service, without a broker and on one: every alert is compared, else the exit code is 1.
#[test]
fn what_is_delivered_is_verified() {
    assert_ne!(bench(&["ingest", "--events", "40000"])["alerts"], 0.0);
    assert_eq!(bench(&["recovery", "--events", "2000"])["keys"], 2000.0);
    let Some(node) = Node::shared() else { return };
    for what in ["kafka", "tasks", "lag"] {
        let line = bench(&[what, "--events", "60000", "--kafka", &node.bootstrap]);
        assert_eq!((&line["events"], &line["alerts"]), (&60_000.0.into(), &131.0.into()), "{line}");
    }
}

/// The costs beside the workloads, at small sizes; each looks at its own answers.
#[test]
fn costs_are_one_line_each() {
    let f = folder(&[]);
    for (what, names) in [
        ("json", vec!["json"]),
        ("keys", vec!["keys:10000", "keys:100000", "keys:1000000"]),
        ("state", vec!["state"]),
        ("load", vec!["load:1", "load:500", "load:1+500"]),
        ("latency", vec!["latency:W1", "latency:W3"]),
    ] {
        let output = tripline(f.path(), &["bench", what, "--events", "500", "--rounds", "1", "--json"], "");
        assert_eq!(output.status.code(), Some(0), "{what}: {}{}", out(&output), err(&output));
        let lines: Vec<Value> =
            out(&output).lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        let found: Vec<&str> = lines.iter().filter_map(|line| line["bench"].as_str()).collect();
        assert_eq!(found, names);
        for line in &lines {
            assert!(line["figure"].is_number() && line["unit"].is_string(), "{line}");
        }
    }
}

#[test]
fn a_seed_of_0_is_refused() {
    let f = folder(&[]);
    let output = tripline(f.path(), &["bench", "W1", "--seed", "0"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("--seed 0"), "{}", err(&output));
}
