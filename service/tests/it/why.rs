//! `why` as people read it, one golden case a construct: rule, events, what it says. `UPDATE=1` writes the last part anew.

use crate::command::{err, folder, out, tripline};
use std::path::Path;

/// What the command says on a case.
fn said(rule: &str, events: &str, arguments: &str) -> String {
    let f = folder(&[("r.cep", rule), ("all.jsonl", events)]);
    let mut all = vec!["why", "r.cep", "all.jsonl", "--split-by", "type"];
    all.extend(arguments.split_whitespace());
    let output = tripline(f.path(), &all, "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    out(&output)
}

#[test]
fn why_tells_of_every_construct() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/why");
    let mut paths: Vec<_> =
        std::fs::read_dir(cases).expect("cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut wrong = String::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a case");
        let (rule, rest) = text.split_once("--- events\n").expect("events");
        let (events, rest) = rest.split_once("--- why ").expect("arguments");
        let (arguments, expected) = rest.split_once('\n').expect("a line");
        let said = said(rule, events, arguments);
        if said == expected {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            let text = format!("{rule}--- events\n{events}--- why {arguments}\n{said}");
            std::fs::write(path, text).expect("written");
        } else {
            wrong.push_str(&format!("{}\nsays\n{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(paths.len() >= 30, "only {} cases", paths.len());
}

#[test]
fn a_key_may_hold_a_comma() {
    let rules = r#"stream login { id id fields { name: string, host: string } time ts }
rule one { by name  match { login } }
rule two { by name, host  match { login } }
"#;
    let event = |id: &str, name: &str, host: &str| {
        format!(r#"{{"id":"{id}","ts":"2026-03-01T10:00:00Z","name":"{name}","host":"{host}"}}"#)
    };
    let events = [event("e1", "Doe, J", "h1"), event("e2", "a", "b")].join("\n");
    let f = folder(&[("r.cep", rules), ("login.jsonl", &events)]);
    let fired = |rule: &str, key: &[&str]| {
        let mut all = vec!["why", "r.cep", "login.jsonl", "--rule", rule];
        all.extend(key.iter().flat_map(|part| ["--key", part]));
        let output = tripline(f.path(), &all, "");
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let text = out(&output);
        assert!(text.contains(&format!("key {}", key.join(","))), "{text}");
        text.contains("1 alert")
    };
    for (rule, key) in [
        ("one", &["Doe, J"][..]),
        ("one", &["a"]),
        ("two", &["a,b"]),
        ("two", &["a", "b"]),
        ("two", &["Doe, J", "h1"]),
    ] {
        assert!(fired(rule, key), "{rule} {key:?}");
    }
    for (rule, key) in [("one", &["a,b"][..]), ("one", &["a", "b"]), ("two", &["Doe, J,h1"]), ("two", &["a"])]
    {
        assert!(!fired(rule, key), "{rule} {key:?}");
    }
}
