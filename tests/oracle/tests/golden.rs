//! The golden cases of language section 5.3, through the compiler and the oracle. `golden.txt` says how it is read.

use oracle::{Event, FiredBy, Tables, run, run_all};
use pattern_dsl::ir::{Content, Field, Stream, TimeField, TimeFormat};
use pattern_dsl::types::{Literal, Type};
use pattern_dsl::{Environment, SourceText, compile, decimal::Decimal};

const FIELDS: [&str; 5] = ["v", "vpn", "u", "id", "parent"];

fn stream(name: &str) -> Stream {
    let types = [Type::Decimal, Type::Bool, Type::String, Type::Int, Type::Int];
    let field =
        |(name, ty): (&&str, Type)| Field { path: vec![(*name).to_owned()], ty, nullable: true, mask: false };
    Stream {
        name: name.to_owned(),
        topic: None,
        topic_filter: None,
        key: None,
        id: None,
        dedupe: None,
        fields: FIELDS.iter().zip(types).map(field).collect(),
        time: TimeField {
            path: vec!["ts".to_owned()],
            format: TimeFormat::Auto,
            zone: None,
            in_order: false,
        },
        late: 0,
        idle: 60_000_000,
        declared: true,
    }
}

fn time(text: &str) -> i64 {
    let number = |text: &str| text.parse::<f64>().expect("a time is a number");
    let seconds = match (text.strip_suffix('s'), text.split_once(':')) {
        (Some(seconds), _) => number(seconds),
        (None, Some((minutes, seconds))) => number(minutes) * 60.0 + number(seconds),
        (None, None) => number(text) * 60.0,
    };
    (seconds * 1e6).round() as i64
}

fn event(streams: &[Stream], token: &str, offset: usize) -> (String, Event) {
    let (label, values) = token.split_once('(').unwrap_or((token, ""));
    let mut fields = vec![Literal::Null; FIELDS.len()];
    for value in values.trim_end_matches(')').split(',').filter(|v| !v.is_empty()) {
        let (name, value) = match value.split_once('=') {
            Some(pair) => pair,
            None if value == "vpn" => ("vpn", "true"),
            None => ("v", value),
        };
        let at = FIELDS.iter().position(|f| *f == name).expect("a known field");
        fields[at] = match (name, value) {
            (_, "null") => Literal::Null,
            ("v", value) => Literal::Decimal(Decimal::parse(value).expect("a decimal")),
            ("vpn", value) => Literal::Bool(value == "true"),
            ("u", value) => Literal::String(value.to_owned()),
            (_, value) => Literal::Int(value.parse().expect("a whole number")),
        };
    }
    let stream = streams.iter().position(|s| label.starts_with(&s.name)).expect("a known stream");
    let ts = time(label[1..].trim_end_matches('\''));
    (label.to_owned(), Event { stream, ts, partition: 0, offset: offset as u64, id: None, fields })
}

fn answer(rule: &str, stream_text: &str) -> Result<String, String> {
    let (steps, clauses) = rule.split_once(";;").unwrap_or((rule, ""));
    let words: Vec<&str> = steps.split_whitespace().collect();
    let streams: Vec<Stream> = ["a", "b", "c", "d", "e", "l", "p", "r", "s", "t", "w", "x"]
        .into_iter()
        .filter(|name| !words.windows(2).any(|w| w == ["as", *name]))
        .map(stream)
        .collect();
    let list = if rule.contains("@bad") { "list bad: string " } else { "" };
    let text = format!("{list}rule g {{ match within 10m {{ {steps} }} {clauses} }}");
    let sources = [SourceText { name: "golden.cep".into(), text: text.clone() }];
    let environment = Environment { streams, tables: Vec::new(), require_declared: false };
    let compiled = compile(&sources, &environment);
    let module = &compiled.module;
    let (false, Some(rule)) = (compiled.has_errors(), module.rules.first()) else {
        return Err(format!("{text} does not compile: {:?}", compiled.diagnostics));
    };
    let (mut labels, mut events, mut end, mut tables) = (Vec::new(), Vec::new(), 0, Tables::new());
    for token in stream_text.split_whitespace() {
        if let Some((from, items)) = token.strip_prefix("@bad").and_then(|set| set.split_once('=')) {
            let items = items.split(',').map(|item| Literal::String(item.to_owned())).collect();
            let versions: &mut Vec<_> = tables.entry("bad".to_owned()).or_default();
            versions.push((time(from), Content::Items(items)));
        } else if let Some(until) = token.strip_prefix('@') {
            end = time(until);
        } else {
            let (label, event) = event(&module.streams, token, events.len());
            end = event.ts;
            labels.push(label);
            events.push(event);
        }
    }
    let outcome = run(module, rule, &tables, &events, end);
    let firing = |f: &oracle::Firing| {
        let step = |taken: &Vec<usize>| {
            if taken.is_empty() {
                "-".into()
            } else {
                taken.iter().map(|&i| labels[i].as_str()).collect::<Vec<_>>().join("+")
            }
        };
        let steps = f.steps.iter().map(step).collect::<Vec<_>>().join(" > ");
        let minutes = f.time as f64 / 60e6;
        let timer = match f.fired_by {
            FiredBy::Event => String::new(),
            FiredBy::Timer => format!(" @{minutes}"),
            FiredBy::Timeout => format!(" timeout @{minutes}"),
        };
        steps + &timer
    };
    let mut text = outcome.firings.iter().map(firing).collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        text = "none".into();
    }
    for (name, count) in [("cooldown", outcome.suppressed_cooldown), ("unless", outcome.suppressed_unless)] {
        if count > 0 {
            text += &format!(" ~{name} {count}");
        }
    }
    Ok(text)
}

#[test]
fn golden_cases() {
    let mut wrong = Vec::new();
    for (number, line) in include_str!("golden.txt").lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [rule, stream, expected] = parts[..] else { panic!("line {}: three parts", number + 1) };
        match answer(rule, stream) {
            Ok(got) if got == expected => {}
            Ok(got) => wrong.push(format!("{}: {line}\n    got {got}", number + 1)),
            Err(error) => wrong.push(format!("{}: {line}\n    {error}", number + 1)),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// By rule: time in minutes and steps of each firing; derived events count from the last one given.
fn chained(text: &str, stream_text: &str, end: &str) -> Vec<String> {
    let streams = ["a", "b", "c"].map(stream).to_vec();
    let sources = [SourceText { name: "golden.cep".into(), text: text.to_owned() }];
    let compiled = compile(&sources, &Environment { streams, ..Environment::default() });
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    let tokens = stream_text.split_whitespace().enumerate();
    let events: Vec<Event> =
        tokens.map(|(offset, token)| event(&compiled.module.streams, token, offset).1).collect();
    let all = run_all(&compiled.module, &Tables::new(), &events, time(end), &|firing| firing.rule.clone());
    let shown = |outcome: &oracle::Outcome| {
        let firings = outcome.firings.iter().map(|f| format!("{}{:?}", f.time / 60_000_000, f.steps));
        firings.collect::<Vec<_>>().join(" ")
    };
    all.outcomes.iter().map(shown).collect()
}

#[test]
fn alerts_are_events_of_higher_rules() {
    let pair = "rule r { match within 10m { a then b } }";
    let twice = "rule s { match within 10m { alert as x then alert as y } }";
    assert_eq!(
        chained(&format!("{pair} {twice}"), "a0 b1 a2 b3", "9"),
        ["1[[0], [1]] 3[[2], [3]]", "3[[4], [5]]"]
    );
    // A timer's alert comes after all events of its time.
    let lone = "rule r { match { a then no b for 5m } }";
    let then = "rule s { match within 10m { alert as x then c } }";
    assert_eq!(chained(&format!("{lone} {then}"), "a0 c5 c6", "9"), ["5[[0]]", "6[[3], [2]]"]);
    // Alerts of one time are in the order of the rules' names; a rule that names none reads those that read none.
    let both = "rule q { match { b as x } } rule p { match { b as x } } rule all { match { alert as x } emit { n: x.rule } }";
    assert_eq!(chained(both, "b1", "9"), ["1[[0]]", "1[[0]]", "1[[2]] 1[[1]]"]);
    let above = "rule u { from alert where rule == \"s\" match { alert as x then no alert for 2m } }";
    assert_eq!(
        chained(&format!("{pair} {twice} {above}"), "a0 b1 a2 b3", "9"),
        ["1[[0], [1]] 3[[2], [3]]", "3[[4], [5]]", "5[[6]]"]
    );
}
