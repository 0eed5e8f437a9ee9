//! The golden cases of language section 5.3: `golden.txt` says how it is read.
//!
//! Each line becomes a checked rule and its events; what a runner of rules says about them is written in the table's form.

use crate::{Event, FiredBy, Tables};
use pattern_dsl::ir::{Content, Field, Module, Stream, TimeField, TimeFormat};
use pattern_dsl::types::{Literal, Type};
use pattern_dsl::{Environment, SourceText, compile, decimal::Decimal};

const FIELDS: [&str; 5] = ["v", "vpn", "u", "id", "parent"];

/// A stream of the table: fields `v`, `vpn`, `u`, `id`, `parent`.
#[must_use]
pub fn stream(name: &str) -> Stream {
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

/// A time of the table in microseconds: minutes, `m:s`, or seconds with an `s`.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn time(text: &str) -> i64 {
    let number = |text: &str| text.parse::<f64>().expect("a time is a number");
    let seconds = match (text.strip_suffix('s'), text.split_once(':')) {
        (Some(seconds), _) => number(seconds),
        (None, Some((minutes, seconds))) => number(minutes) * 60.0 + number(seconds),
        (None, None) => number(text) * 60.0,
    };
    (seconds * 1e6).round() as i64
}

/// An event of the table, with its label.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn event(streams: &[Stream], token: &str, offset: usize) -> (String, Event) {
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

/// A line of the table.
#[derive(Debug)]
pub struct Golden {
    /// Its number, from 1.
    pub number: usize,
    /// The line.
    pub line: String,
    /// What it expects.
    pub expected: String,
    /// The rule, checked; it is the only one.
    pub module: Module,
    /// Its events.
    pub events: Vec<Event>,
    /// Their names in the table.
    pub labels: Vec<String>,
    /// Lists that change.
    pub tables: Tables,
    /// When time ends.
    pub end: i64,
}

/// One alert: what it took by step, what completed it, when.
pub type Fired = (Vec<Vec<usize>>, FiredBy, i64);

/// All lines of `golden.txt`.
///
/// # Panics
/// If a line cannot be read.
#[must_use]
pub fn golden() -> Vec<Result<Golden, String>> {
    golden_in(include_str!("../tests/golden.txt"))
}

/// All lines of a text that is written as `golden.txt` is.
///
/// # Panics
/// If a line cannot be read.
#[must_use]
pub fn golden_in(text: &str) -> Vec<Result<Golden, String>> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let [rule, stream, expected] = parts[..] else { panic!("line {}: three parts", number + 1) };
            let read = read(rule, stream).map_err(|error| format!("{}: {line}\n    {error}", number + 1))?;
            Ok(Golden { number: number + 1, line: line.to_owned(), expected: expected.to_owned(), ..read })
        })
        .collect()
}

impl Golden {
    /// What happened, in the table's form.
    #[must_use]
    pub fn write(&self, fired: &[Fired], suppressed_cooldown: u64, suppressed_unless: u64) -> String {
        let firing = |(steps, by, time): &Fired| {
            let step = |taken: &Vec<usize>| {
                if taken.is_empty() {
                    "-".into()
                } else {
                    taken.iter().map(|&i| self.labels[i].as_str()).collect::<Vec<_>>().join("+")
                }
            };
            let steps = steps.iter().map(step).collect::<Vec<_>>().join(" > ");
            let minutes = *time as f64 / 60e6;
            let timer = match by {
                FiredBy::Event => String::new(),
                FiredBy::Timer => format!(" @{minutes}"),
                FiredBy::Timeout => format!(" timeout @{minutes}"),
            };
            steps + &timer
        };
        let mut text = fired.iter().map(firing).collect::<Vec<_>>().join(", ");
        if text.is_empty() {
            text = "none".into();
        }
        for (name, count) in [("cooldown", suppressed_cooldown), ("unless", suppressed_unless)] {
            if count > 0 {
                text += &format!(" ~{name} {count}");
            }
        }
        text
    }
}

fn read(rule: &str, stream_text: &str) -> Result<Golden, String> {
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
    if compiled.has_errors() || module.rules.is_empty() {
        return Err(format!("{text} does not compile: {:?}", compiled.diagnostics));
    }
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
    let (line, expected) = (String::new(), String::new());
    Ok(Golden { number: 0, line, expected, module: compiled.module, events, labels, tables, end })
}
