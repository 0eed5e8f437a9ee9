//! `test`: the `test` blocks of rules on the real engine. Alerts that nothing expects fail a test. What no test of a rule
//! reached is told.
//!
//! A test's time 0s is its `start`; time ends at its last `at` or `advance to`, timers included.

use super::check;
use super::coverage::{Coverage, Reached, Totals};
use super::judge::judge;
use crate::cli::{LimitArgs, limits, rules_and_events};
use crate::console::{plural, show};
use crate::decode::time::{parse_duration, parse_rfc3339};
use crate::failure::Failure;
use crate::files::FileOptions;
use crate::render::why::why_sentences;
use crate::render::{parts_text, value_text};
use crate::ruleset::{self, name_path};
use crate::tables::Tables;
use clap::Args;
use engine::alert::{ALERTS, Alert};
use engine::event::{EventRef, StreamLayout};
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use engine::why::Verdict;
use pattern_dsl::SourceText;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::{Mode, Module, Rule, Test};
use pattern_dsl::source::Span;
use pattern_dsl::types::{Literal, Micros, Type};
use serde_json::json;
use std::path::PathBuf;

/// 2026-01-01T00:00:00Z, where a test begins that does not say.
pub const DEFAULT_START: Micros = 1_767_225_600_000_000;

/// Keys of a failed test for which it is told what stopped them.
const KEYS: usize = 3;
/// Attempts that are told of each.
const ATTEMPTS: usize = 3;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Rules (.cep files or folders)
    #[arg(required = true, value_name = "RULES")]
    paths: Vec<PathBuf>,
    /// Only tests whose rule or title contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// One JSON object a line: each test, each rule's coverage, a summary
    #[arg(long)]
    json: bool,
    /// Exit 1 if a step or clause of a rule was reached by none of its tests
    #[arg(long, conflicts_with = "filter")]
    require_coverage: bool,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Fill a list from a file
    #[arg(long = "list", value_name = "NAME=FILE", value_parser = name_path)]
    lists: Vec<(String, PathBuf)>,
    #[command(flatten)]
    limits: LimitArgs,
}

/// How one test ended.
#[derive(Debug)]
pub struct Outcome {
    /// The rule.
    pub rule: String,
    /// The test's title.
    pub test: String,
    /// What was wrong, each with its place; empty = passed.
    pub problems: Vec<(String, String)>,
    /// Where an alert is missing, what stopped it: sentences of `why`.
    pub stopped: Vec<String>,
    /// Where the test stands.
    pub place: String,
    /// What the test reached of its rule.
    pub reached: Reached,
}

/// Runs it.
///
/// # Errors
/// Rules with errors, or unreadable files.
pub fn run(args: &TestArgs) -> Result<u8, Failure> {
    let (rules, _) = rules_and_events(&args.paths)?;
    let sources = ruleset::load(&rules)?;
    let environment = check::environment(&sources, &FileOptions::default(), None, &args.lists)?;
    let compiled = ruleset::compile(&sources, &environment, false)?;
    let tables = crate::tables::fill(&compiled.module, &sources, &args.lists)?;
    let caps = limits(&args.limits.limits)?;
    let named = |rule: &Rule, test: &Test| match &args.filter {
        Some(text) => rule.name.contains(text.as_str()) || test.name.contains(text.as_str()),
        None => true,
    };
    let (mut outcomes, mut coverage) = (Vec::new(), Vec::new());
    for rule in &compiled.module.rules {
        let mut covered = Coverage::new(rule);
        for test in rule.tests.iter().filter(|test| named(rule, test)) {
            let outcome = run_test(&compiled.module, rule, test, &tables, &caps, &sources)?;
            covered.add(&outcome.reached);
            outcomes.push(outcome);
        }
        coverage.push(covered);
    }
    if args.filter.is_some() {
        // Tests that were left out may reach the rest.
        coverage.clear();
    }
    show(&if args.json { json_lines(&outcomes, &coverage) } else { text(&outcomes, &coverage) })?;
    if let Some(path) = &args.junit {
        std::fs::write(path, junit(&outcomes))
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    }
    let uncovered = args.require_coverage && !coverage.iter().all(Coverage::is_whole);
    Ok(u8::from(failed(&outcomes) > 0 || uncovered))
}

fn failed(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|o| !o.problems.is_empty()).count()
}

fn text(outcomes: &[Outcome], coverage: &[Coverage]) -> String {
    let mut out = String::new();
    for outcome in outcomes {
        let word = if outcome.problems.is_empty() { "ok  " } else { "FAIL" };
        out.push_str(&format!("{word} {} / {}\n", outcome.rule, outcome.test));
        for (place, problem) in &outcome.problems {
            out.push_str(&format!("     {place}: {problem}\n"));
        }
        for sentence in &outcome.stopped {
            out.push_str(&format!("       {sentence}\n"));
        }
    }
    for line in coverage.iter().flat_map(Coverage::lines) {
        out.push_str(&format!("{line}\n"));
    }
    if !coverage.is_empty() {
        out.push_str(&format!("{}\n", Totals::of(coverage).line()));
    }
    out.push_str(&format!("{}, {} failed\n", plural(outcomes.len(), "test"), failed(outcomes)));
    out
}

fn json_lines(outcomes: &[Outcome], coverage: &[Coverage]) -> String {
    let tests = outcomes.iter().map(|outcome| {
        let problems: Vec<_> = outcome.problems.iter().map(|(_, problem)| problem).collect();
        json!({
            "type": "test", "rule": outcome.rule, "test": outcome.test, "place": outcome.place,
            "passed": outcome.problems.is_empty(), "problems": problems,
            "stopped": outcome.stopped,
        })
    });
    let mut summary = json!({ "type": "summary", "tests": outcomes.len(), "failed": failed(outcomes) });
    if !coverage.is_empty() {
        summary["coverage"] = Totals::of(coverage).json();
    }
    let lines = tests.chain(coverage.iter().map(Coverage::json)).chain([summary]);
    lines.map(|line| format!("{line}\n")).collect()
}

/// Runs one test.
///
/// # Errors
/// The rule cannot be activated.
pub fn run_test(
    module: &Module,
    rule: &Rule,
    test: &Test,
    tables: &Tables,
    limits: &Limits,
    sources: &[SourceText],
) -> Result<Outcome, Failure> {
    let start = test.start.unwrap_or(DEFAULT_START);
    let driven = |keep_history| {
        let options = Options { limits: limits.clone(), count_only: false, sorted_input: true, keep_history };
        drive(module, rule, test, tables, options, start)
    };
    let (task, alerts) = driven(false)?;
    let reached = Reached::of(task.stats(), &rule.name, &alerts);
    let found = judge(rule, &test.expect, &alerts, start, &reached);
    let stopped = match found.iter().any(|problem| problem.missing) {
        true => stopped(&driven(true)?.0, &rule.name),
        false => Vec::new(),
    };
    let place = |span: Span| {
        sources.get(span.source as usize).map_or_else(String::new, |source| {
            let (line, column) = source.line_column(span.start);
            format!("{}:{line}:{column}", source.name)
        })
    };
    let problems =
        found.into_iter().map(|problem| (place(problem.at.unwrap_or(test.span)), problem.text)).collect();
    let (rule, test, place) = (rule.name.clone(), test.name.clone(), place(test.span));
    Ok(Outcome { rule, test, problems, stopped, place, reached })
}

/// What stopped the alerts that did not come, key by key.
fn stopped(task: &Task, rule: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    for key in task.keys_of(rule).into_iter().take(KEYS) {
        let Some(why) = task.why(rule, &key) else { continue };
        let name = if key.is_empty() { String::new() } else { format!("key {}: ", parts_text(&why.key)) };
        sentences.extend(why_sentences(&why, ATTEMPTS).into_iter().map(|text| format!("{name}{text}")));
        if why.attempts.iter().any(|attempt| matches!(attempt.verdict, Verdict::UsedUp(..))) {
            let hint = "`overlap` says what an alert leaves for the next; what is in the key is kept apart";
            sentences.push(format!("{name}{hint}"));
        }
    }
    sentences
}

/// Runs the events of a test: the task at its end, and the rule's alerts.
fn drive(
    module: &Module,
    rule: &Rule,
    test: &Test,
    tables: &Tables,
    options: Options,
    start: Micros,
) -> Result<(Task, Vec<Alert>), Failure> {
    let single = with_what_it_reads(module, rule, test);
    let mut task = Task::new(options);
    task.activate(&single, tables, None)
        .map_err(|error| Failure::finding(format!("{}: {error}", rule.name)))?;
    for (at, table, content) in &test.sets {
        if let Some(table) = module.tables.get(*table) {
            task.set_table(&table.name, content, at.map(|at| start.saturating_add(at)));
        }
    }
    let infos = crate::pipeline::stream_infos(&mut task, &single);
    let streams = infos.iter().map(|i| i.id).collect();
    let partition = task.add_partition(Partition { name: "test".to_owned(), streams });
    let mut events: Vec<_> = test.events.iter().enumerate().collect();
    events.sort_by_key(|(_, (at, _, _))| *at);
    let mut out = Outputs::default();
    for (number, (at, stream, fields)) in events {
        let Some(stream) = module.streams.get(*stream) else { continue };
        let Some(info) = infos.iter().find(|i| i.stream.name == stream.name) else { continue };
        let slots = slots(&info.layout, fields);
        let id = stream.id.as_ref().and_then(|path| field(fields, &path.join(".")));
        let id = id.map(|v| value_text(&Value::from_literal(v)));
        let event = EventRef {
            stream: info.id,
            ts: start.saturating_add(*at),
            partition,
            offset: number as u64 + 1,
            id: id.as_deref(),
            slots: &slots,
        };
        task.step(Input::Event(event), &mut out);
    }
    // Time stands at the end of the test; the end of the input completes that very moment, timers included.
    task.step(Input::Time(start.saturating_add(test.end)), &mut out);
    task.step(Input::End, &mut out);
    out.alerts.retain(|alert| alert.rule == rule.name);
    Ok((task, out.alerts))
}

/// The rule, live; and the rules whose alerts it reads, unless the test gives alerts itself.
fn with_what_it_reads(module: &Module, rule: &Rule, test: &Test) -> Module {
    let is_alert = |stream: usize| module.streams.get(stream).is_some_and(|stream| stream.name == ALERTS);
    let given = test.events.iter().any(|(_, stream, _)| is_alert(*stream));
    let mut wanted = vec![rule.clone()];
    let mut next = 0;
    while let (false, Some(reader)) = (given, wanted.get(next)) {
        next += 1;
        let Some(names) = reader.reads_alerts.clone() else { continue };
        let read = module.rules.iter().filter(|rule| match names.as_slice() {
            [] => rule.reads_alerts.is_none(),
            names => names.contains(&rule.name),
        });
        let read: Vec<Rule> =
            read.filter(|rule| wanted.iter().all(|w| w.name != rule.name)).cloned().collect();
        wanted.extend(read);
    }
    if let Some(rule) = wanted.first_mut() {
        rule.mode = Mode::Live;
    }
    Module { streams: module.streams.clone(), tables: module.tables.clone(), rules: wanted }
}

fn field<'a>(fields: &'a [(String, Literal)], name: &str) -> Option<&'a Literal> {
    if let Some((_, value)) = fields.iter().find(|(n, _)| n == name) {
        return Some(value);
    }
    // An object's fields may be written nested.
    let (first, rest) = name.split_once('.')?;
    match fields.iter().find(|(n, _)| n == first) {
        Some((_, Literal::Object(inner))) => field(inner, rest),
        _ => None,
    }
}

fn slots(layout: &StreamLayout, fields: &[(String, Literal)]) -> Vec<Value> {
    let wanted = layout.fields.iter();
    wanted.map(|f| field(fields, &f.path.join(".")).map_or(Value::Null, |v| typed(v, &f.ty))).collect()
}

/// A literal of a test as a value of a field's type.
fn typed(literal: &Literal, ty: &Type) -> Value {
    match (ty, literal) {
        (Type::Decimal, Literal::Int(v)) => Value::Decimal(Box::new(Decimal::from_int(*v))),
        (Type::Float, Literal::Int(v)) => Value::Float(*v as f64),
        (Type::Float, Literal::Decimal(v)) => {
            Value::Float(v.to_string().parse().unwrap_or_else(|_| v.to_f64()))
        }
        (Type::Instant, Literal::String(v)) => {
            parse_rfc3339(v.as_bytes()).map_or(Value::Null, Value::Instant)
        }
        (Type::Duration, Literal::String(v)) => parse_duration(v).map_or(Value::Null, Value::Duration),
        _ => Value::from_literal(literal),
    }
}

fn junit(outcomes: &[Outcome]) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let failed = failed(outcomes);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"tripline\" tests=\"{}\" failures=\"{failed}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let (rule, test) = (escape(&outcome.rule), escape(&outcome.test));
        out.push_str(&format!("  <testcase classname=\"{rule}\" name=\"{test}\""));
        if outcome.problems.is_empty() {
            out.push_str("/>\n");
        } else {
            let problems = outcome.problems.iter().map(|(place, problem)| format!("{place}: {problem}"));
            let all: Vec<String> = problems.chain(outcome.stopped.iter().cloned()).collect();
            let text = escape(&all.join("; "));
            out.push_str(&format!(">\n    <failure message=\"{text}\"/>\n  </testcase>\n"));
        }
    }
    out.push_str("</testsuite>\n");
    out
}
