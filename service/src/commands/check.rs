//! `check`: parses and checks rules; findings with places on stdout, exit 1 if any is an error.
//!
//! Undeclared streams are inferred from the events given, else from the events of the rules' own tests.

use crate::cli::{EventArgs, rules_and_events};
use crate::failure::Failure;
use crate::pipeline::infer_files;
use crate::ruleset::{self, name_path};
use clap::Args;
use pattern_dsl::{Diagnostic, Environment, SourceText, Span, locate};
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
    let streams = if options.events.is_empty() && options.streams.is_empty() {
        ruleset::streams_of_tests(&sources)
    } else {
        infer_files(&options, args.events.time.as_deref())?
    };
    let tables = args.lists.iter().map(|(name, _)| (name.clone(), None)).collect();
    let environment = Environment { streams, tables, require_declared: false };
    let compiled = pattern_dsl::compile(&sources, &environment);
    if args.json {
        for line in findings(&compiled.diagnostics, &sources) {
            println!("{line}");
        }
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stdout());
        print!("{}", pattern_dsl::render(&compiled.diagnostics, &sources, colour));
        let errors = compiled.diagnostics.iter().filter(|d| d.is_error()).count();
        let (files, warnings) = (sources.len(), compiled.diagnostics.len() - errors);
        eprintln!(
            "{files} files, {} rules: {errors} errors, {warnings} warnings",
            compiled.module.rules.len()
        );
    }
    Ok(u8::from(compiled.has_errors()))
}

/// One JSON object a finding; `range` counts as LSP does, lines and UTF-16 characters from 0.
#[must_use]
pub fn findings(diagnostics: &[Diagnostic], sources: &[SourceText]) -> Vec<String> {
    let located = locate(diagnostics, sources);
    let rows = diagnostics.iter().zip(located).map(|(diagnostic, place)| {
        let suggestions: Vec<_> = diagnostic
            .suggestions
            .iter()
            .map(|s| serde_json::json!({ "range": range(s.span, sources), "text": s.replacement }))
            .collect();
        serde_json::json!({
            "code": diagnostic.code,
            "severity": if diagnostic.is_error() { "error" } else { "warning" },
            "message": diagnostic.message,
            "help": diagnostic.help,
            "file": place.file,
            "line": place.range.start.line,
            "column": place.range.start.column,
            "range": range(diagnostic.span, sources),
            "suggestions": suggestions,
        })
        .to_string()
    });
    rows.collect()
}

fn range(span: Span, sources: &[SourceText]) -> serde_json::Value {
    let text = sources.get(span.source as usize).map_or("", |s| s.text.as_str());
    let place = |offset: u32| {
        let before = text.get(..(offset as usize).min(text.len())).unwrap_or("");
        let line = before.matches('\n').count();
        let character = before.rsplit('\n').next().map_or(0, |l| l.encode_utf16().count());
        serde_json::json!({ "line": line, "character": character })
    };
    serde_json::json!({ "start": place(span.start), "end": place(span.end) })
}
