//! `explain`, of codes and of rules, and the same over HTTP.

use crate::command::{RULE, err, folder, out, tripline};
use crate::serve::Service;

#[test]
fn a_code_shows_its_document() {
    let f = folder(&[]);
    for code in ["E301", "e301"] {
        let output = tripline(f.path(), &["explain", code], "");
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).starts_with("E301: no time bound\n"), "{}", out(&output));
        assert!(out(&output).contains("\nMended:\n"), "{}", out(&output));
    }
    let output = tripline(f.path(), &["explain", "w110", "--format", "json"], "");
    let document: serde_json::Value = serde_json::from_str(&out(&output)).expect("json");
    assert_eq!(document["code"], "W110");
    let output = tripline(f.path(), &["explain", "E309"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("no code `E309`; did you mean E"), "{}", err(&output));
    assert_eq!(tripline(f.path(), &["explain", "E301", "--format", "svg"], "").status.code(), Some(2));
}

#[test]
fn a_rule_is_told_in_every_form() {
    let f = folder(&[("card.cep", RULE)]);
    let explain = |more: &[&str]| {
        let output = tripline(f.path(), &[&["explain", "card_testing", "card.cep"], more].concat(), "");
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        out(&output)
    };
    let text = explain(&[]);
    assert!(
        text.starts_with("card_testing: Small probes, then a large purchase\n\nFor each card_id: "),
        "{text}"
    );
    let found = "\nFound by its events, with all rules given:\n- `probe`: a test is tested for every `auth`";
    for head in ["\nDefaults:\n- ", "\nCost:\n- ", "\nrule card_testing: one for each card_id", found] {
        assert!(text.contains(head), "{head}: {text}");
    }
    assert!(explain(&["--format", "mermaid"]).contains("-->"));
    assert!(explain(&["--format", "dot"]).starts_with("digraph"));
    assert!(explain(&["--format", "svg"]).starts_with("<svg"));
    let shown: serde_json::Value = serde_json::from_str(&explain(&["--format", "json"])).expect("json");
    assert_eq!(shown["rule"], "card_testing");
    assert_eq!(shown["automaton"]["states"][1]["name"], "probe");
    assert_eq!(shown["automaton"]["states"][1]["kind"], "unit");
}

#[test]
fn unknown_rules_and_rules_with_errors_are_told_apart() {
    let broken = RULE.replace("card_testing", "other").replace("amount < 5", "ammount < 5");
    let f = folder(&[("card.cep", RULE), ("other.cep", &broken)]);
    let output = tripline(f.path(), &["explain", "card_testin", "."], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("did you mean `card_testing`?"), "{}", err(&output));
    let output = tripline(f.path(), &["explain", "other", "."], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("error[E204]"), "{}", err(&output));
    // Another rule's error is no reason not to explain this one.
    assert_eq!(tripline(f.path(), &["explain", "card_testing", "."], "").status.code(), Some(0));
    let output = tripline(f.path(), &["explain", "card_testing"], "");
    assert!(err(&output).contains("tripline explain card_testing FILE.cep..."), "{}", err(&output));
}

#[test]
fn a_file_or_folder_of_rules_is_explained_as_a_whole() {
    let two = format!("{RULE}{}", rule_of(RULE).replace("card_testing", "other"));
    let f = folder(&[("card.cep", RULE)]);
    let known = tripline(f.path(), &["explain", "card_testing", "card.cep"], "");
    for one in ["card.cep", "."] {
        let output = tripline(f.path(), &["explain", one], "");
        assert_eq!(out(&output), out(&known), "{}", err(&output));
    }
    let f = folder(&[("two.cep", &two), ("empty.cep", "")]);
    let explain = |args: &[&str]| tripline(f.path(), &[&["explain"], args].concat(), "");
    let text = out(&explain(&["two.cep"]));
    let (first, second) = (text.find("card_testing: "), text.find("\nother: "));
    assert!(first.is_some() && first < second, "{text}");
    assert_eq!(out(&explain(&["two.cep", "--format", "json"])).lines().count(), 2);
    let output = explain(&["two.cep", "--format", "svg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("name one of card_testing, other"), "{}", err(&output));
    for (wrong, said) in [("empty.cep", "no rule in these files"), ("gone.cep", "gone.cep")] {
        let output = explain(&[wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(err(&output).contains(said), "{}", err(&output));
    }
}

/// The text from the rule on: without the streams, which cannot be declared twice.
fn rule_of(text: &str) -> &str {
    text.find("rule ").and_then(|at| text.get(at..)).expect("a rule")
}

#[test]
fn a_running_service_explains_its_rules() {
    let f = folder(&[]);
    std::fs::create_dir(f.path().join("rules")).expect("folder");
    let stream = "stream auth { time ts in order fields { user: string, ok: bool } }\n";
    let rule = "rule guess { title \"T\" by user match within 1m { 2 auth as a where not ok } }\n";
    std::fs::write(f.path().join("rules/r.cep"), format!("{stream}{rule}")).expect("write");
    let service = Service::start(f.path(), &[]);
    let answer = service.get("/v1/rules/guess/explain");
    assert_eq!((answer.status, answer.json()["rule"].as_str()), (200, Some("guess")), "{}", answer.body);
    let answer = service.get("/v1/rules/guess/explain?format=svg");
    assert!(answer.body.starts_with("<svg"), "{}", answer.body);
    let text = service.get("/v1/rules/guess/explain?format=text").body;
    assert!(text.starts_with("guess: T\n\nFor each user: "), "{text}");
    let put = "rule put_one { by user match within 1m { 2 auth as b where ok } }";
    let answer = service.call("PUT", "/v1/rules/put_one", &[("content-type", "text/plain")], put.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = service.get("/v1/rules/put_one/explain");
    assert!(answer.body.contains("2 auth"), "{}", answer.body);
    assert_eq!(service.get("/v1/rules/gues/explain").status, 404);
    assert_eq!(service.get("/v1/rules/guess/explain?format=png").status, 400);
}
