//! `check`: parses and checks rules; findings with places on stdout, exit 1 if any is an error.
//!
//! Undeclared streams are inferred from the events given, else from the events of the rules' own tests.

use crate::cli::{EventArgs, rules_and_events};
use crate::console::{plural, say, show};
use crate::failure::Failure;
use crate::files::FileOptions;
use crate::pipeline::infer_files;
use crate::ruleset::{self, name_path};
use clap::Args;
use pattern_dsl::source::Places;
use pattern_dsl::{Diagnostic, Environment, SourceText, Span, locate};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Rules (.cep files or folders), then events to infer undeclared streams from
    #[arg(required = true, value_name = "RULES... [EVENTS...]")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    events: EventArgs,
    /// A list that the rules use
    #[arg(long = "list", value_name = "NAME=FILE", value_parser = name_path)]
    lists: Vec<(String, PathBuf)>,
    /// One JSON object a finding
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// Unreadable input.
pub fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let (rules, events) = rules_and_events(&args.paths)?;
    let sources = ruleset::load(&rules)?;
    let options = args.events.options(&events);
    let environment = environment(&sources, &options, args.events.time.as_deref(), &args.lists)?;
    let compiled = pattern_dsl::compile(&sources, &environment);
    if args.json {
        let lines = findings(&compiled.diagnostics, &sources);
        show(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stdout());
        show(&pattern_dsl::render(&compiled.diagnostics, &sources, colour))?;
        let errors = compiled.diagnostics.iter().filter(|d| d.is_error()).count();
        let warnings = compiled.diagnostics.len() - errors;
        say!(
            "{}, {}: {}, {}",
            plural(sources.len(), "file"),
            plural(compiled.module.rules.len(), "rule"),
            plural(errors, "error"),
            plural(warnings, "warning")
        );
    }
    Ok(u8::from(compiled.has_errors()))
}

/// What is known besides the rules: undeclared streams as the events show them, else as the rules' own tests do.
pub(super) fn environment(
    sources: &[SourceText],
    events: &FileOptions,
    time: Option<&str>,
    lists: &[(String, PathBuf)],
) -> Result<Environment, Failure> {
    let streams = if events.events.is_empty() && events.streams.is_empty() {
        ruleset::streams_of_tests(sources)
    } else {
        infer_files(events, time)?
    };
    let tables = lists.iter().map(|(name, _)| (name.clone(), None)).collect();
    Ok(Environment { streams, tables, require_declared: false })
}

/// One JSON object a finding; `range` counts as LSP does, lines and UTF-16 characters from 0.
#[must_use]
pub fn findings(diagnostics: &[Diagnostic], sources: &[SourceText]) -> Vec<String> {
    let located = locate(diagnostics, sources);
    let mut known: BTreeMap<u32, Places<'_>> = BTreeMap::new();
    let mut range = |span: Span| {
        let text = sources.get(span.source as usize).map_or("", |s| s.text.as_str());
        let places = known.entry(span.source).or_insert_with(|| Places::new(text));
        let mut place = |offset| {
            let place = places.place(offset);
            json!({ "line": place.line - 1, "character": place.utf16 })
        };
        json!({ "start": place(span.start), "end": place(span.end) })
    };
    let rows = diagnostics.iter().zip(located).map(|(diagnostic, place)| {
        let suggestions: Vec<_> = diagnostic
            .suggestions
            .iter()
            .map(|s| json!({ "range": range(s.span), "text": s.replacement }))
            .collect();
        json!({
            "code": diagnostic.code,
            "severity": if diagnostic.is_error() { "error" } else { "warning" },
            "message": diagnostic.message,
            "help": diagnostic.help,
            "file": place.file,
            "line": place.range.start.line,
            "column": place.range.start.column,
            "range": range(diagnostic.span),
            "suggestions": suggestions,
        })
        .to_string()
    });
    rows.collect()
}
