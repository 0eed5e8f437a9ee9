//! Requests that are refused, and limits of a running service.

use crate::serve::{Service, folder};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const STREAMS: &str = "stream auth { time ts in order id id fields { user: string, ok: bool } }\n";

/// A body that is not the one rule of its path, with its golden file: every diagnostic as the client gets it.
#[test]
fn put_takes_the_one_rule_of_its_path() {
    let rule = |name: &str| format!("rule {name} {{ by user match {{ auth as a where ok }} }}\n");
    let f = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(f.path(), &[]);
    let mut shown = String::new();
    for (case, text) in [
        ("another name", rule("mine")),
        ("two rules", rule("yours") + &rule("mine")),
        ("no rule", "const x = 1\n".to_owned()),
        ("a stream", format!("stream other {{ fields {{ user: string }} }}\n{}", rule("yours"))),
    ] {
        let answer =
            service.call("PUT", "/v1/rules/yours", &[("content-type", "text/plain")], text.as_bytes());
        let problem = answer.json();
        let _ =
            writeln!(shown, "{case}: {}\n{}", answer.status, problem["detail"].as_str().unwrap_or_default());
        for diagnostic in problem["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let _ = writeln!(shown, "{diagnostic:#}");
        }
        shown.push('\n');
    }
    assert_eq!(service.get("/v1/rules").json()["items"], Value::Array(Vec::new()), "nothing was taken");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/E108.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &shown).expect("write");
    }
    assert_eq!(shown, std::fs::read_to_string(&golden).unwrap_or_default());
}

#[test]
fn a_page_of_nothing_is_refused() {
    let f = folder(&[("streams.cep", STREAMS)]);
    let service = Service::start(f.path(), &[]);
    for path in ["/v1/alerts", "/v1/rules", "/v1/topics/auth/records"] {
        let answer = service.get(&format!("{path}?limit=0"));
        assert_eq!(
            (answer.status, answer.json()["detail"].as_str()),
            (400, Some("limit is 1 to 1000, not 0")),
            "{path}"
        );
    }
    assert_eq!(service.get("/v1/alerts?limit=1000").status, 200);
}

#[test]
fn a_rule_that_floods_is_silenced_for_the_day_and_counted() {
    let rule = "rule each { by user match { auth as a where ok } }\n";
    let f = folder(&[("a.cep", &format!("{STREAMS}{rule}"))]);
    let config = f.path().join("tripline.toml");
    std::fs::write(&config, "[limits]\nalerts_per_rule_day = 2\n").expect("write");
    let service = Service::start(f.path(), &["--config", &config.display().to_string()]);
    let lines: String = (0..10)
        .map(|n| {
            format!(
                "{{\"ts\":\"2026-03-0{}T00:00:0{}Z\",\"id\":\"{n}\",\"user\":\"u\",\"ok\":true}}\n",
                1 + n / 5,
                n % 5
            )
        })
        .collect();
    let headers = [("content-type", "application/x-ndjson")];
    assert_eq!(service.call("POST", "/v1/events/auth", &headers, lines.as_bytes()).status, 200);
    let alerts = service.get("/v1/alerts").json();
    assert_eq!(alerts["items"].as_array().map(Vec::len), Some(4), "{alerts}");
    let metrics = service.get("/metrics").body;
    let counted = "tripline_alerts_suppressed_total{rule=\"each\",reason=\"day\"} 6";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn feed_says_once_why_it_tries_again() {
    let f = crate::command::folder(&[("auth.jsonl", "{\"ts\":1}\n")]);
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("port").port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["feed", "auth.jsonl", "--to", &format!("http://127.0.0.1:{port}")])
        .current_dir(f.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut said = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut said).expect("a line");
    child.kill().and_then(|()| child.wait()).expect("ends");
    assert!(said.contains("refused") && said.contains("trying again"), "{said}");
}

#[test]
fn a_rule_tells_what_it_costs() {
    let streams = "stream auth { time ts in order fields { user: string, ok: bool, kind: string } }\n";
    let rule = |n: u32| {
        format!(
            "rule w{n} {{ by user match within 1m {{ auth as a where kind == \"k{n}\" then first auth as b where ok }} \
             cooldown 1h }}\n"
        )
    };
    let rules: String = (0..5).map(rule).collect();
    let f = folder(&[("a.cep", &format!("{streams}{rules}"))]);
    let service = Service::start(f.path(), &[]);
    let mut lines = String::new();
    for (second, kind, ok) in
        [(0, 0, false), (1, 0, false), (2, 9, true), (3, 0, true), (4, 1, false), (5, 0, true)]
    {
        let _ = writeln!(
            lines,
            "{{\"ts\":\"2026-03-01T00:00:0{second}Z\",\"user\":\"u\",\"ok\":{ok},\"kind\":\"k{kind}\"}}"
        );
    }
    service.events("auth", &lines);
    let stats = |id: &str| service.get(&format!("/v1/rules/{id}/stats")).json();
    let first = stats("w0");
    let step = |at: usize, events: u64, reached: u64, how: &str, test: Value| {
        let step = &first["steps"][at];
        assert_eq!((&step["events"], &step["reached"]), (&events.into(), &reached.into()), "{first}");
        assert_eq!((&step["found_by"]["how"], &step["found_by"]["test"]), (&how.into(), &test), "{first}");
    };
    // The last one completes a match, which uses it up.
    step(0, 3, 3, "hash", "kind == \"k0\"".into());
    step(1, 3, 2, "test", Value::Null);
    let counts = [("wanted", 5), ("alerts", 1), ("capped", 0), ("null_keys", 0), ("revision", 1)];
    for (name, count) in counts {
        assert_eq!(first[name], count, "{name}: {first}");
    }
    assert_eq!(first["suppressed"]["cooldown"], 1, "{first}");
    let shares: f64 = (0..5).filter_map(|n| stats(&format!("w{n}"))["share_of_work"].as_f64()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let unknown = service.get("/v1/rules/w/stats");
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    assert!(unknown.body.contains("did you mean"), "{}", unknown.body);
}
