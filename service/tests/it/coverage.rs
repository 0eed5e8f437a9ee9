//! `test`: what no test of a rule reached, and what a failed expectation hints at.

use crate::command::{RULE, err, folder, out, tripline};
use serde_json::Value;

const RULES: &str = r#"rule chain {
  by k
  match within 10m {
    one of { a as first_a, b as first_b }
    then no stop
    then optional c as extra
    then d as last
    cancel on gone
  }
  unless last.v == 9
  cooldown 1h
  test "plain" { at 0s a { k: "x" }   at 1s d { k: "x", v: 1 }   expect at 1s 1 alert }
  MORE
}
rule untested { by k match { d as only } }
stream a { fields { k: string } }
stream b { fields { k: string } }
stream c { fields { k: string } }
stream d { fields { k: string, v: int? } }
stream stop { fields { k: string } }
stream gone { fields { k: string } }
"#;

const REST: &str = r#"test "silenced" {
    at 0s b { k: "x" }   at 1s c { k: "x" }   at 2s d { k: "x", v: 9 }
    at 1h a { k: "x" }   at 61m d { k: "x", v: 9 }
    expect nothing
  }
  test "the other ways" {
    at 0s b { k: "x" }   at 1s c { k: "x" }   at 2s d { k: "x", v: 1 }
    expect at 2s 1 alert
  }
  test "stopped and gone" {
    at 0s a { k: "x" }   at 1s stop { k: "x" }   at 2s d { k: "x", v: 1 }
    at 1m a { k: "x" }   at 61s gone { k: "x" }   at 62s d { k: "x", v: 1 }
    expect nothing
  }
  test "once an hour" {
    at 0s a { k: "x" }   at 1s d { k: "x", v: 1 }   at 1m a { k: "x" }   at 61s d { k: "x", v: 1 }
    expect at 1s 1 alert
  }"#;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("json")).collect()
}

#[test]
fn what_no_test_reached_is_told() {
    let f = folder(&[("r.cep", &RULES.replace("MORE", ""))]);
    let output = tripline(f.path(), &["test", "r.cep"], "");
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    let wanted = "ok   chain / plain\n\
        rule chain: step `first_b` never reached\n\
        rule chain: step `extra` never reached\n\
        rule chain: absence `no stop` never reached\n\
        rule chain: cancel `cancel on gone` never reached\n\
        rule chain: `unless` never reached\n\
        rule chain: `cooldown` never reached\n\
        rule untested: has no test\n\
        coverage: 2 rules, 2 of 5 steps and 0 of 4 clauses reached\n\
        1 test, 0 failed\n";
    assert_eq!(out(&output), wanted);
    let strict = tripline(f.path(), &["test", "r.cep", "--require-coverage"], "");
    assert_eq!(strict.status.code(), Some(1));
    let filtered = tripline(f.path(), &["test", "r.cep", "--filter", "plain"], "");
    assert_eq!(out(&filtered), "ok   chain / plain\n1 test, 0 failed\n");
    let json = tripline(f.path(), &["test", "r.cep", "--json"], "");
    let json = lines(&out(&json));
    assert_eq!(json.len(), 4);
    assert_eq!((&json[0]["type"], &json[0]["passed"]), (&Value::from("test"), &Value::from(true)));
    assert_eq!(json[1]["unreached"][2]["name"], "no stop");
    assert_eq!(json[3]["coverage"]["steps"]["reached"], 2);
}

#[test]
fn a_whole_rule_has_nothing_to_tell() {
    let rules = RULES.replace("MORE", REST).replace("rule untested { by k match { d as only } }\n", "");
    let f = folder(&[("r.cep", &rules)]);
    let output = tripline(f.path(), &["test", "r.cep", "--require-coverage"], "");
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    assert!(
        out(&output)
            .contains("\ncoverage: 1 rule, 4 of 4 steps and 4 of 4 clauses reached\n5 tests, 0 failed\n")
    );
}

/// An event that comes before what an absence guards, or that ends the step itself, breaks nothing.
#[test]
fn only_what_could_break_a_match_reaches_an_absence() {
    let rule = |test: &str| {
        format!(
            "stream h {{ fields {{ k: string }} }}\n\
             rule lost {{ by k match {{ h as seen then no h for 5m }} test \"t\" {{ {test} }} }}\n"
        )
    };
    let alone = "at 0s h { k: \"x\" } advance to 1h expect at 5m 1 alert";
    let f = folder(&[("r.cep", &rule(alone))]);
    let output = tripline(f.path(), &["test", "r.cep"], "");
    assert!(out(&output).contains("absence `no h for 5m` never reached"), "{}{}", out(&output), err(&output));
    let again = "at 0s, 1m h { k: \"x\" } advance to 1h expect at 6m 1 alert";
    let f = folder(&[("r.cep", &rule(again))]);
    let output = tripline(f.path(), &["test", "r.cep"], "");
    assert!(
        out(&output).contains("1 of 1 step and 1 of 1 clause reached"),
        "{}{}",
        out(&output),
        err(&output)
    );
}

/// The test's own events tell what stopped the alert.
#[test]
fn a_missing_alert_is_told_why_it_did_not_come() {
    let said = |rule: &str| {
        let f = folder(&[("r.cep", &format!("stream p {{ fields {{ k: string, retry: bool? }} }}\n{rule}"))]);
        let output = tripline(f.path(), &["test", "r.cep"], "");
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        out(&output)
    };
    let text = said(
        "rule r { by k match within 10m { p as a then p as b where not retry } overlap none\n\
         test \"t\" { at 0s, 1m p { k: \"x\" }\n expect 1 alert } }",
    );
    assert!(text.contains("     r.cep:4:2: expected 1 alert, 0 fit; no event fits step `b`\n"), "{text}");
    assert!(text.contains("key x: from 2026-01-01T00:00:00.000Z: `b`: `not retry` is unknown"), "{text}");
    assert!(text.contains("since a value is null"), "{text}");
    let text = said(
        "rule r { by k match within 10m { p as a then p as b } overlap none\n\
         test \"t\" { at 0s, 1m, 2m p { k: \"x\" }\n expect 2 alerts } }",
    );
    assert!(text.contains("used up by the alert of 2026-01-01T00:01:00.000Z that began with"), "{text}");
    assert!(text.contains("key x: `overlap` says what an alert leaves for the next"), "{text}");
}

#[test]
fn a_failed_expectation_names_what_comes_nearest() {
    let first = |rule: &str| {
        let f = folder(&[("card.cep", rule)]);
        let output = tripline(f.path(), &["test", "card.cep", "--filter", "three probes"], "");
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        out(&output)
    };
    let text = first(&RULE.replace("expect at 5m 1 alert { probes: 3,", "expect at 6m 1 alert { probes: 4,"));
    let wanted = "expected 1 alert at 6m { probes: 4, severity: high }, 0 fit; the nearest is the one at 5m: \
                  at 5m, not 6m, probes is 3, not 4\n";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains("\n1 test, 1 failed\n"), "{text}");
    let line = RULE.lines().position(|line| line.contains("expect at 5m 1 alert")).expect("a line") + 1;
    assert!(text.contains(&format!("     card.cep:{line}:")), "{text}");
    let text =
        first(&RULE.replace("{ amount: 900.00 }\n    expect at 5m", "{ amount: 4.00 }\n    expect at 5m"));
    assert!(
        text.contains("0 fit; events fit every step, but no choice of them meets all conditions"),
        "{text}"
    );
    let text = first(&RULE.replace("cooldown 1h", "unless hit.amount == 900"));
    assert!(text.contains("`unless` silenced 1 match\n"), "{text}");
}
