//! `explain`: what a diagnostic code means, or what a rule says: in words, as a picture, with its defaults and its cost.

use super::check;
use crate::cli::rules_and_events;
use crate::config::hint;
use crate::console::show;
use crate::failure::Failure;
use crate::files::FileOptions;
use crate::ruleset::{self, name_path};
use clap::{Args, ValueEnum};
use engine::task::{FoundBy, How, Limits, Options, Task};
use pattern_dsl::diagnostic::nearest;
use pattern_dsl::ir::{Module, Rule};
use pattern_dsl::{CodeDocument, Environment, SourceText, code_documents, explain};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A rule's name, a .cep file or folder (all its rules), or a code such as E301
    #[arg(value_name = "RULE|FILE|CODE")]
    subject: String,
    /// Of a rule: the rules (.cep files or folders), then events to infer undeclared streams from
    #[arg(value_name = "RULES... [EVENTS...]")]
    paths: Vec<PathBuf>,
    /// How it is shown; mermaid, dot and svg draw a rule
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
    /// The time field of inferred streams
    #[arg(long, value_name = "FIELD")]
    time: Option<String>,
    /// A list that the rules use
    #[arg(long = "list", value_name = "NAME=FILE", value_parser = name_path)]
    lists: Vec<(String, PathBuf)>,
}

/// How an explanation is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// Words
    Text,
    /// The automaton as a Mermaid diagram
    Mermaid,
    /// The automaton for Graphviz
    Dot,
    /// The automaton as a picture
    Svg,
    /// Everything, for programs
    Json,
}

/// Runs it.
///
/// # Errors
/// An unknown code or rule, a rule with errors, unreadable input.
pub fn run(args: &ExplainArgs) -> Result<u8, Failure> {
    let subject = args.subject.as_str();
    let shown = match subject {
        _ if is_code(subject) => code(subject, args.format)?,
        _ if is_rules(subject, &args.paths) => every_rule(args)?,
        _ => rule(args)?,
    };
    show(&shown)?;
    Ok(0)
}

/// A `.cep` file, or a lone folder: one beside other paths may have the name of a rule in them.
fn is_rules(subject: &str, others: &[PathBuf]) -> bool {
    let path = Path::new(subject);
    path.extension().is_some_and(|e| e == "cep") || (others.is_empty() && path.is_dir())
}

/// `E301`, in either case.
fn is_code(subject: &str) -> bool {
    let digits = subject.strip_prefix(['E', 'e', 'W', 'w']);
    digits.is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_ascii_digit()))
}

fn code(subject: &str, form: Form) -> Result<String, Failure> {
    let Some(document) = code_documents().find(|d| d.code.eq_ignore_ascii_case(subject)) else {
        let near = nearest(&subject.to_uppercase(), code_documents().map(|d| d.code));
        let hint = near.map_or_else(String::new, |n| format!("; did you mean {n}?"));
        return Err(Failure::usage(format!("no code `{subject}`{hint}")));
    };
    match form {
        Form::Text => Ok(document.to_string()),
        Form::Json => Ok(format!("{}\n", document_json(document))),
        Form::Mermaid | Form::Dot | Form::Svg => {
            Err(Failure::usage("a code has no picture: --format text or json"))
        }
    }
}

fn document_json(document: &CodeDocument) -> Value {
    json!({
        "code": document.code,
        "title": document.title,
        "meaning": document.meaning,
        "wrong": document.wrong,
        "mended": document.mended,
    })
}

fn rule(args: &ExplainArgs) -> Result<String, Failure> {
    let wanted = args.subject.as_str();
    if args.paths.is_empty() {
        let hint =
            format!("name the files that hold the rule `{wanted}`: tripline explain {wanted} FILE.cep...");
        return Err(Failure::usage(hint));
    }
    let (sources, environment) = read(args, &args.paths)?;
    let compiled = pattern_dsl::compile(&sources, &environment);
    if let Some(rule) = compiled.module.rules.iter().find(|rule| rule.name == wanted) {
        let found = found(&compiled.module);
        return Ok(explained(&compiled.module, rule, &found(&rule.name), args.format));
    }
    let names = written_names(&sources);
    if names.iter().any(|name| name == wanted) {
        // What keeps it from being explained may stand elsewhere, as in a stream's block.
        ruleset::compile(&sources, &environment, false)?;
    }
    let near = nearest(wanted, names.iter().map(String::as_str));
    Err(Failure::usage(format!("no rule `{wanted}` in these files{}", hint(near))))
}

/// The rules of the files, in order of the files; none of them may have an error.
fn every_rule(args: &ExplainArgs) -> Result<String, Failure> {
    let mut paths = vec![PathBuf::from(&args.subject)];
    paths.extend(args.paths.iter().cloned());
    let (sources, environment) = read(args, &paths)?;
    let compiled = ruleset::compile(&sources, &environment, false)?;
    let rules = &compiled.module.rules;
    if rules.is_empty() {
        return Err(Failure::usage("no rule in these files"));
    }
    if matches!(args.format, Form::Mermaid | Form::Dot | Form::Svg) && rules.len() > 1 {
        let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let message = format!("a picture shows one rule: name one of {}", names.join(", "));
        return Err(Failure::usage(message));
    }
    let found = found(&compiled.module);
    let explained = |rule: &Rule| explained(&compiled.module, rule, &found(&rule.name), args.format);
    let all: Vec<String> = rules.iter().map(explained).collect();
    Ok(all.join(if args.format == Form::Text { "\n" } else { "" }))
}

/// The rules' text, and what they stand on.
fn read(args: &ExplainArgs, paths: &[PathBuf]) -> Result<(Vec<SourceText>, Environment), Failure> {
    let (rules, events) = rules_and_events(paths)?;
    let sources = ruleset::load(&rules)?;
    let options = FileOptions { events, ..FileOptions::default() };
    let environment = check::environment(&sources, &options, args.time.as_deref(), &args.lists)?;
    Ok((sources, environment))
}

/// Names of all rules, also of those with errors.
fn written_names(sources: &[SourceText]) -> Vec<String> {
    let files = sources.iter().map(|source| pattern_dsl::parse(0, &source.text).0);
    files.flat_map(|file| file.rules).map(|rule| rule.name.name).collect()
}

/// How events find the steps of a rule by its name, when all rules of a module are active.
fn found(module: &Module) -> impl Fn(&str) -> Vec<FoundBy> {
    let mut task = Task::new(Options {
        limits: Limits::default(),
        count_only: false,
        sorted_input: true,
        keep_history: false,
    });
    let active = task.activate(module, &BTreeMap::new(), None).is_ok();
    move |rule| if active { task.found_by(rule) } else { Vec::new() }
}

/// One step in words.
fn found_text(rule: &Rule, module: &Module, found: &FoundBy) -> String {
    let step = rule.steps.iter().find(|step| step.name == found.step);
    let stream = step.and_then(|step| rule.streams.get(step.stream)).map(|stream| stream.stream);
    let stream =
        stream.and_then(|stream| module.streams.get(stream)).map_or("event", |stream| stream.name.as_str());
    let test = found.test.as_ref().map_or_else(|| "a test".to_owned(), |test| format!("`{test}`"));
    let step = &found.step;
    match found.how {
        How::Every => format!("`{step}`: asks nothing of one event alone; every `{stream}` is looked at"),
        How::Tested => {
            format!("`{step}`: {test} is tested for every `{stream}`, once for all rules that ask it")
        }
        How::Word => format!("`{step}`: an event finds it by hash, as one of the words of {test}"),
        How::Limit => format!("`{step}`: an event finds it by the order of all limits such as {test}"),
    }
}

/// A rule in one of the forms; how events find it is told where it is known.
pub(crate) fn explained(module: &Module, rule: &Rule, found: &[FoundBy], form: Form) -> String {
    let found: Vec<String> = found.iter().map(|found| found_text(rule, module, found)).collect();
    let automaton = explain::automaton(module, rule);
    match form {
        Form::Mermaid => automaton.to_mermaid(),
        Form::Dot => automaton.to_dot(),
        Form::Svg => automaton.to_svg(),
        Form::Json => format!("{}\n", rule_json(module, rule, &found)),
        Form::Text => {
            let title = rule.title.as_ref().map_or_else(String::new, |title| format!(": {title}"));
            let mut out = format!("{}{title}\n\n{}\n", rule.name, explain::paraphrase(module, rule));
            let parts = [
                ("Defaults", explain::defaults(module, rule)),
                ("Cost", explain::cost(module, rule)),
                ("Found by its events, with all rules given", found),
            ];
            for (head, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
                out.push_str(&format!("\n{head}:\n"));
                lines.iter().for_each(|line| out.push_str(&format!("- {line}\n")));
            }
            format!("{out}\n{}", automaton.to_text())
        }
    }
}

fn rule_json(module: &Module, rule: &Rule, found: &[String]) -> Value {
    json!({
        "rule": rule.name,
        "title": rule.title,
        "text": explain::paraphrase(module, rule),
        "defaults": explain::defaults(module, rule),
        "cost": explain::cost(module, rule),
        "found_by": found,
        "automaton": explain::automaton(module, rule),
    })
}
