//! Masked fields: what is computed from them is hashed wherever it is shown, and nothing else is.

use crate::command::{err, folder, out, tripline};
use crate::serve::Service;
use serde_json::{Value, json};

const STREAM: &str = r#"stream pay {
  id ref
  time ts
  fields {
    ref: string mask, user: string, card: string mask, amount: decimal mask, level: enum(gold, iron) mask,
    wait: duration? mask, shop: string
  }
}
lookup limits by card { most: int, phone: string mask } from "limits.csv"
"#;

const EVENTS: &str = r#"{"ts":"2026-03-01T10:00:00Z","ref":"rf-1001","user":"u1","card":"kc-77aa","amount":31337,"level":"gold","wait":"97s","shop":"d"}
{"ts":"2026-03-01T10:01:00Z","ref":"rf-1002","user":"u1","card":"kc-77aa","amount":4242,"level":"iron","shop":"d"}
{"ts":"2026-03-01T10:02:00Z","ref":"rf-1003","user":"u1","card":"kc-88bb","amount":5353,"level":"gold","shop":"w"}
{"ts":"2026-03-01T10:03:00Z","ref":"rf-1004","user":"u1","card":"kc-77aa","amount":6464,"level":"gold","shop":"k"}
"#;

/// Whatever of the events and of the table must not be read.
const SECRETS: [&str; 10] =
    ["rf-1", "kc-", "KC-", "31337", "4242", "5353", "6464", "ph-0815", "1m37s", "97s"];

/// The output of a command on a rule, with nothing masked in it.
fn said(rules: &str, events: &str, arguments: &[&str]) -> String {
    let limits = "card,most,phone\nkc-77aa,5,ph-0815\n";
    let f = folder(&[("r.cep", &format!("{STREAM}{rules}")), ("pay.jsonl", events), ("limits.csv", limits)]);
    let mut all = vec![arguments[0], "r.cep", "pay.jsonl"];
    all.extend(&arguments[1..]);
    let output = tripline(f.path(), &all, "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    without_secrets(&format!("{}{}", out(&output), rejected(&err(&output))));
    out(&output)
}

/// What is said of refused lines.
fn rejected(stderr: &str) -> String {
    stderr.lines().filter(|line| line.starts_with("pay.jsonl:")).collect::<Vec<_>>().join("\n")
}

fn without_secrets(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// The `data` of the only alert of a rule, in full.
fn alert(rules: &str) -> Value {
    said(rules, EVENTS, &["run"]);
    let lines = said(rules, EVENTS, &["run", "--json", "--evidence", "full"]);
    let event: Value = serde_json::from_str(lines.trim()).unwrap_or_else(|e| panic!("{e}: {lines}"));
    event["data"].clone()
}

/// Is it a hash?
fn hashed(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("sha256:"))
}

#[test]
fn windows_of_masked_fields_are_masked_and_counts_are_not() {
    let data = alert(
        r#"rule r {
  by user
  match { pay as last where shop == "w" and max(pay.amount over 1h before last) > 10 }
  emit {
    highest: max(pay.amount over 1h before last), low: min(pay.amount over 1h), all: collect(pay.card over 1h),
    mean: avg(pay.amount over 1h), total: sum(pay.amount over 1h), mid: median(pay.amount over 1h),
    spread: stddev(pay.amount over 1h), kinds: distinct(pay.card over 1h), seen: count(pay over 1h),
    shops: collect(pay.shop over 1h)
  }
  reason "{max(pay.amount over 1h)} of {distinct(pay.card over 1h)}"
}"#,
    );
    for name in ["highest", "low", "all", "mean", "total", "mid", "spread"] {
        assert!(hashed(&data["fields"][name]), "{name}: {data}");
    }
    assert_eq!(data["fields"]["kinds"], 2);
    assert_eq!(data["fields"]["seen"], 3);
    assert_eq!(data["fields"]["shops"], json!(["d", "d", "w"]));
    let reason = data["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("sha256:") && reason.ends_with(" of 2"), "{reason}");
    assert!(hashed(&data["why"][0]["held"][1]["left"]), "{data}");
    assert_eq!(data["why"][0]["held"][1]["right"], 10);
}

#[test]
fn what_is_computed_from_a_masked_field_is_masked() {
    let data = alert(
        r#"def loud(x) = upper(x)
rule r {
  by user
  let last_amount = last(p.amount)
  match within 1h { 2 pay as p where shop == "d" and amount + 1 > 2 }
  score last_amount / 100
  severity if last_amount > 10 then high else low
  reason "{last(p.level)} {collect(p.card)} {max(p.amount)} of {count(p)} at {last(p.shop)}"
  emit {
    more: last_amount * 2 + 1, minus: -last_amount, loud: loud(first(p.card)), size: length(first(p.card)),
    list: [last(p.card), "x"], object: { inner: last(p.card) }, total: sum(p.amount), all: collect(p.card),
    either: first(p.card) ?? "none", choice: if count(p) > 1 then first(p.card) else "none", name: last(p.id), phone: @limits[first(p.card)].phone,
    most: @limits[first(p.card)].most, same: first(p.card) == "x", word: if first(p.card) == "x" then "a" else "b",
    kinds: distinct(p.card), shop: last(p.shop)
  }
}"#,
    );
    let open = ["most", "same", "word", "kinds", "shop"];
    for (name, value) in data["fields"].as_object().expect("fields") {
        assert_eq!(hashed(value), !open.contains(&name.as_str()), "{name}: {data}");
    }
    assert!(hashed(&data["score"]), "{data}");
    assert_eq!((&data["severity"], &data["fields"]["most"]), (&json!("high"), &json!(5)));
    let reason: Vec<&str> = data["reason"].as_str().unwrap_or_default().split(' ').collect();
    assert!(reason[..3].iter().all(|word| word.starts_with("sha256:")), "{reason:?}");
    assert_eq!(reason[3..], ["of", "2", "at", "d"]);
    // A field of evidence and the value elsewhere have one hash.
    assert_eq!(data["why"][0]["events"][0]["card"], data["fields"]["choice"]);
    assert!(hashed(&data["why"][0]["events"][0]["id"]), "{data}");
    assert!(hashed(&data["why"][0]["held"][1]["left"]), "{data}");
}

#[test]
fn a_word_that_is_a_masked_field_too_is_shown_where_it_is_not() {
    let events = EVENTS.replace("\"user\":\"u1\"", "\"user\":\"gold\"");
    let rule = r#"rule r { by user match { pay as p where shop == "k" } emit { level: p.level } reason "gold for {user}" }"#;
    let said = said(rule, &events, &["run"]);
    assert!(said.contains("gold for gold\n") && said.contains("level: sha256:"), "{said}");
}

#[test]
fn a_masked_key_is_masked_everywhere_and_also_where_another_stream_maps_to_it() {
    let rule = r#"stream shop { time ts fields { card_no: string } }
rule r {
  by card (pay.card, shop.card_no)
  match { pay as p where shop == "k" then no shop for 1m }
  reason "{card}"
}"#;
    let line = said(rule, EVENTS, &["run", "--json", "--to-end"]);
    let event: Value = serde_json::from_str(line.trim()).unwrap_or_else(|e| panic!("{e}: {line}"));
    let hash = &event["data"]["keys"]["card"];
    assert!(hashed(hash), "{event}");
    let hash = hash.as_str().unwrap_or_default();
    assert_eq!((&event["partitionkey"], &event["data"]["reason"]), (&json!(hash), &json!(hash)));
    assert_eq!(event["subject"], format!("card={hash}"));
}

#[test]
fn rules_on_alerts_mask_what_the_rules_below_them_mask() {
    let rules = r#"rule keyed {
  by card
  match { pay as p where shop == "k" }
  score p.amount
  emit { twice: p.amount * 2, shop: p.shop }
}
rule reader {
  by card (alert.keys.card)
  match { alert as a where rule == "keyed" and score > 1 }
  emit { got: a.data.twice, most: max(alert.score over 1h), shop: a.data.shop }
  reason "{a.keys.card} {a.data.twice} {a.data.shop}"
}
rule second {
  match { alert as b where rule == "reader" }
  emit { again: b.data.got / 4, shop: b.data.shop }
}
"#;
    let lines = said(rules, EVENTS, &["run", "--json", "--evidence", "full"]);
    let alerts: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let of = |rule: &str| {
        let found = alerts.iter().find(|alert| alert["data"]["rule"] == rule);
        found.unwrap_or_else(|| panic!("no {rule} in {lines}"))["data"].clone()
    };
    let reader = of("reader");
    assert!(hashed(&reader["keys"]["card"]) && hashed(&reader["fields"]["most"]), "{reader}");
    assert_eq!(reader["fields"]["got"], of("keyed")["fields"]["twice"]);
    assert!(hashed(&reader["fields"]["got"]) && hashed(&of("second")["fields"]["again"]), "{lines}");
    assert_eq!(of("second")["fields"]["shop"], "k");
    for rule in ["keyed", "reader"] {
        said(rules, EVENTS, &["why", "--rule", rule, "--key", "kc-77aa"]);
        said(rules, EVENTS, &["why", "--rule", rule, "--key", "kc-77aa", "--json", "--all"]);
    }
}

#[test]
fn why_shows_no_masked_key_id_or_bound() {
    let rules = r#"rule pair {
  by card
  match within 1h { pay as p where shop == "d" then pay as q where amount > p.amount * 3 }
}
rule waits {
  by card
  match within 1h { pay as p where wait is not null then within p.wait max 1h pay as q where shop == "w" }
}
rule quiet {
  by card
  match within 1h { pay as p where wait is not null then no pay for p.wait max 1h then pay as r where shop == "k" }
}
rule late {
  by card
  match within 1h { pay as p where wait is not null then within p.wait max 1h pay as q where shop == "k" }
}
rule cut {
  by card
  match within 1h { pay as p where wait is not null then within p.wait max 1m pay as q where shop == "d" }
}
rule used {
  by user
  match within 1h { pay as p where shop == "d" then pay as q where shop == "w" }
}
"#;
    let cut = said(rules, EVENTS, &["why", "--rule", "cut", "--key", "kc-77aa"]);
    assert!(cut.contains("(cut from sha256:"), "{cut}");
    let lines: Vec<&str> = EVENTS.lines().collect();
    let late = said(rules, &[lines[0], lines[3]].join("\n"), &["why", "--rule", "late", "--key", "kc-77aa"]);
    assert!(late.contains("too late: `within p.wait`"), "{late}");
    let by_card =
        ["pair", "waits", "quiet", "cut"].into_iter().flat_map(|rule| [(rule, "kc-77aa"), (rule, "kc-77ab")]);
    let asked = by_card.chain([("used", "u1")]);
    for (rule, key) in asked {
        for form in ["--all", "--json"] {
            let said = said(rules, EVENTS, &["why", form, "--rule", rule, "--key", key]);
            assert!(said.contains("sha256:"), "{said}");
        }
    }
}

#[test]
fn a_refused_line_is_told_without_masked_values_and_kept_whole() {
    let events = r#"{"ts":"2026-03-01T10:00:00Z","ref":"rf-1","user":"u1","card":"kc-1","amount":"kc-31337","level":"gold","shop":"k"}
{"ts":"2026-03-01T10:00:00Z","ref":"rf-1","user":"u1","card":"kc-1
"kc-1"
{"ts":"2026-03-01T10:00:00Z","ref":"rf-1","user":"u1","card":"kc-1","amount":1,"level":"kc-1","shop":"k"}
{"ts":"2026-03-01T10:00:00Z","ref":"rf-1","user":"u1","card":"kc-1","amount":1e999,"level":"iron","shop":"k"}
{"ts":"2026-03-01T10:00:00Z","ref":"rf-1","user":"u1","card":"kc-1","amount":1,"level":"iron","shop":55}
"#;
    let rules = "rule r { by card match { pay as p where amount > 0 and level == iron and shop == \"k\" } }";
    let f = folder(&[
        ("r.cep", &format!("{STREAM}{rules}")),
        ("pay.jsonl", events),
        ("limits.csv", "card,most,phone\n"),
    ]);
    let output = tripline(f.path(), &["run", "r.cep", "pay.jsonl", "--rejected", "dead.jsonl"], "");
    let told = rejected(&err(&output));
    assert_eq!(told.lines().count(), 6, "{}", err(&output));
    without_secrets(&told);
    assert!(told.contains("field `amount`: expected decimal, found a value that is masked"), "{told}");
    assert!(told.contains("field `shop`: expected string, found 55"), "{told}");
    let dead = std::fs::read_to_string(f.path().join("dead.jsonl")).expect("dead letters");
    for (dead, line) in dead.lines().zip(events.lines()) {
        let dead: Value = serde_json::from_str(dead).expect("a dead letter");
        without_secrets(dead["message"].as_str().unwrap_or_default());
        assert!(events.lines().any(|line| dead["record"] == line), "{dead} {line}");
    }
    // Split by a field, a broken line may be of any stream.
    let all = events.replace("\"ts\"", "\"type\":\"pay\",\"ts\"");
    let f = folder(&[
        ("r.cep", &format!("{STREAM}{rules}")),
        ("all.jsonl", &all),
        ("limits.csv", "card,most,phone\n"),
    ]);
    let output = tripline(f.path(), &["run", "r.cep", "all.jsonl", "--split-by", "type"], "");
    without_secrets(&err(&output));
}

#[test]
fn rules_put_one_by_one_mask_what_they_read_of_each_other() {
    let other = r#"rule other { match { alert as a where rule == "nobody" } }"#;
    let streams = "stream pay { time ts in order fields { card: string mask, shop: string } }\n";
    let f = crate::serve::folder(&[("streams.cep", streams), ("other.cep", other)]);
    let service = Service::start(f.path(), &[]);
    // The reader first: what it reads is not there yet.
    let reader = r#"rule reader { by card (alert.keys.card) match { alert as a where rule == "keyed" } reason "{card} {a.data.loud}" }"#;
    let keyed = r#"rule keyed { by card match { pay as p where shop == "k" } emit { loud: upper(p.card) } }"#;
    for (id, text) in [("reader", reader), ("keyed", keyed)] {
        let answer = service.put_rule(id, text, &[]);
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    service.events("pay", "{\"ts\":\"2026-03-01T10:00:00Z\",\"card\":\"kc-1\",\"shop\":\"k\"}\n{\"ts\":\"2026-03-01T10:09:00Z\",\"card\":\"kc-1\",\"shop\":\"d\"}\n");
    let page = service.get("/v1/alerts?limit=10");
    without_secrets(&page.body);
    let page = page.json();
    let told: Vec<&Value> =
        page["items"].as_array().into_iter().flatten().map(|alert| &alert["data"]["rule"]).collect();
    assert!(told.contains(&&json!("reader")) && told.contains(&&json!("keyed")), "{page}");
}
