//! What a `test` block says: events, lists, and what it expects of alerts.

use crate::command::{err, folder, out, tripline};

const LOGIN: &str = r#"stream login { fields { user: string, place: geo, seen: instant, from: ip, severity: string, at_all: list<instant> } }
stream logout { fields { user: string } }
list watched: string
"#;

/// What `tripline test` says of one rule.
fn tested(rule: &str) -> (Option<i32>, String) {
    let f = folder(&[("r.cep", &format!("{LOGIN}{rule}"))]);
    let output = tripline(f.path(), &["test", "r.cep"], "");
    (output.status.code(), out(&output) + &err(&output))
}

fn passes(rule: &str) {
    let (code, text) = tested(rule);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn what_a_time_out_emits_can_be_expected() {
    passes(
        r#"rule r {
  by user
  match within 10m { login as l then logout }
  emit { whole: true }
  on timeout emit { since: l.ts }
  test "no logout" {
    start "2026-03-01T00:00:00Z"
    at 1m login { user: "u1" }
    advance to 20m
    expect at 11m 1 alert { since: "2026-03-01T00:01:00Z" }
  }
}"#,
    );
}

#[test]
fn lists_of_a_test_change_by_their_times_whatever_the_order_of_lines() {
    let lines = [
        "at 3m set @watched = []",
        "at 2m set @watched = []",
        "at 1m set @watched = [\"u1\"]",
        "set @watched = [\"u2\"]",
    ];
    let mut reversed = lines;
    reversed.reverse();
    for lines in [lines, reversed, [lines[1], lines[3], lines[0], lines[2]]] {
        passes(&format!(
            r#"rule r {{
  by user
  match {{ login where user in @watched }}
  test "in time" {{
    {}
    at 0s, 1m, 2m, 3m login {{ user: "u1" }}
    at 0s, 1m, 2m, 3m login {{ user: "u2" }}
    expect at 0s 1 alert {{ user: "u2" }}
    expect at 1m 1 alert {{ user: "u1" }}
  }}
}}"#,
            lines.join("\n    ")
        ));
    }
}

#[test]
fn a_place_an_instant_and_an_address_may_be_written_in_any_form() {
    let rule = |expect: &str| {
        format!(
            r#"rule r {{
  by user
  match {{ login as l }}
  emit {{ place: l.place, seen: l.seen, from: l.from, at_all: l.at_all }}
  test "forms" {{
    at 0s login {{
      user: "u1", place: {{ lat: 52.5, lon: 13.4 }}, seen: "2026-03-01T00:00:00Z", from: "2001:db8::1",
      at_all: ["2026-03-01T00:00:00Z"],
    }}
    expect 1 alert {{ {expect} }}
  }}
}}"#
        )
    };
    for expect in [
        "place: [52.5, 13.4]",
        "place: { lat: 52.5, lon: 13.4 }",
        "place: \"52.5,13.4\"",
        "seen: \"2026-03-01T00:00:00Z\"",
        "seen: \"2026-03-01T00:00:00.000Z\"",
        "seen: \"2026-03-01T01:00:00+01:00\"",
        "seen: instant(\"2026-02-28T23:00:00-01:00\")",
        "at_all: [\"2026-03-01T01:00:00+01:00\"]",
        "from: \"2001:db8:0::1\"",
    ] {
        passes(&rule(expect));
    }
    for expect in [
        "place: [52.5, 13.5]",
        "place: { lat: 52.5 }",
        "seen: \"2026-03-01T00:00:00+01:00\"",
        "at_all: []",
        "at_all: [\"2026-03-01T00:00:01Z\"]",
        "from: \"2001:db8::2\"",
    ] {
        let (code, text) = tested(&rule(expect));
        assert_eq!(code, Some(1), "{expect}: {text}");
    }
}

#[test]
fn an_emitted_field_called_like_a_part_of_the_alert_hides_nothing() {
    let rule = |expect: &str| {
        format!(
            r#"rule r {{
  by user
  match {{ login as l }}
  severity high
  emit {{ severity: l.severity, user: lower(l.user) }}
  test "both" {{
    at 0s login {{ user: "U1", severity: "none" }}
    expect 1 alert {{ {expect} }}
  }}
}}"#
        )
    };
    passes(&rule(
        "severity: none, user: \"u1\", alert: { severity: high, score: 75 }, keys: { user: \"U1\" }",
    ));
    for expect in ["severity: high", "alert: { severity: none }", "keys: { user: \"u1\" }"] {
        let (code, text) = tested(&rule(expect));
        assert_eq!(code, Some(1), "{expect}: {text}");
    }
    let (_, text) = tested(&rule("alert: { severty: high }"));
    assert!(text.contains("E203") && text.contains("did you mean `severity`"), "{text}");
    let (_, text) = tested(&rule("keys: { severity: high }"));
    assert!(text.contains("E203"), "{text}");
}

#[test]
fn a_remainder_is_the_same_of_constants_and_of_values_and_never_overflows() {
    passes(
        r#"const LEAST = -9223372036854775808
const REST = LEAST % -1
stream count { fields { k: string, v: int } }
rule r {
  by k
  match { count as c where v % -1 == REST and v == LEAST }
  emit {
    a: c.v % -1, b: LEAST % -1, c: c.v % 10, d: LEAST % 10, e: -7.5 % 2, f: c.v % 0,
    g: -c.v, h: abs(c.v), i: c.v / -1, j: c.v * -1, k: -(c.ts - instant("2026-01-01T00:00:01Z")),
  }
  test "the least of all" {
    at 0s count { k: "k", v: -9223372036854775808 }
    expect 1 alert {
      a: 0, b: 0, c: -8, d: -8, e: -1.5, f: null, g: null, h: null, i: 9223372036854775808, j: null, k: 1s,
    }
  }
}"#,
    );
    let (code, text) = tested("const BACK = 0s - 9223372036854775807us - 1us\nconst MORE = -BACK\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("error[E201]"), "{text}");
}
