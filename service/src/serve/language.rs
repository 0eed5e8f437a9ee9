//! The service's view of the rule language: folders and single rules compiled, diagnostics as JSON.

use crate::store::FolderState;
use engine::task::ActivateError;
use pattern_dsl::diagnostic::Diagnostic;
use pattern_dsl::ir::Content;
use pattern_dsl::{Environment, SourceText, ir};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A rule that may be put, with its warnings.
pub(crate) struct Checked {
    pub(crate) module: ir::Module,
    pub(crate) warnings: Vec<Value>,
}

/// Why a text cannot be used.
#[derive(Debug)]
pub(crate) struct CompileError {
    /// For people, with source lines.
    pub(crate) rendered: String,
    /// For programs.
    pub(crate) diagnostics: Vec<Value>,
    /// The text is fine, but too many older revisions of the rule still have open matches.
    pub(crate) drain_full: bool,
}

impl CompileError {
    /// An error without a place.
    pub(crate) fn text(message: String) -> Self {
        Self { rendered: message, diagnostics: Vec::new(), drain_full: false }
    }

    fn of(diagnostics: &[Diagnostic], sources: &[SourceText]) -> Self {
        Self {
            rendered: pattern_dsl::render(diagnostics, sources, false),
            diagnostics: located(diagnostics, sources),
            drain_full: false,
        }
    }
}

impl From<ActivateError> for CompileError {
    fn from(error: ActivateError) -> Self {
        let drain_full = matches!(error, ActivateError::DrainFull(_));
        Self { drain_full, ..Self::text(error.to_string()) }
    }
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = |d: &Value, what: &str| d.get(what).and_then(Value::as_str).map(str::to_owned);
        let is_error = |d: &&Value| told(d, "code").is_some_and(|code| code.starts_with('E'));
        let first = self.diagnostics.iter().find(is_error).and_then(|d| told(d, "message"));
        f.write_str(first.as_ref().unwrap_or(&self.rendered))
    }
}

fn located(diagnostics: &[Diagnostic], sources: &[SourceText]) -> Vec<Value> {
    pattern_dsl::locate(diagnostics, sources)
        .iter()
        .map(|d| serde_json::to_value(d).unwrap_or_default())
        .collect()
}

fn environment(streams: &[ir::Stream], tables: &[ir::Table]) -> Environment {
    Environment {
        streams: streams.to_vec(),
        tables: tables.iter().map(|table| (table.name.clone(), Some(table.kind.clone()))).collect(),
        require_declared: true,
    }
}

/// Compiles the body of `PUT /v1/rules/{id}`.
pub(crate) fn compile_rule(
    id: &str,
    text: &str,
    streams: &[ir::Stream],
    tables: &[ir::Table],
) -> Result<Checked, CompileError> {
    let sources = [SourceText { name: format!("{id}.cep"), text: text.to_owned() }];
    let compiled = pattern_dsl::compile(&sources, &environment(streams, tables));
    if compiled.has_errors() {
        return Err(CompileError::of(&compiled.diagnostics, &sources));
    }
    let names: Vec<&str> = compiled.module.rules.iter().map(|r| r.name.as_str()).collect();
    let extra_stream =
        compiled.module.streams.iter().find(|s| streams.iter().all(|known| known.name != s.name));
    let message = match (names.as_slice(), extra_stream) {
        ([name], None) if *name == id => None,
        ([name], None) => Some(format!("the body holds `{name}`, the path says `{id}`")),
        ([], _) => Some(format!("the body holds no rule, the path says `{id}`")),
        (_, Some(stream)) => Some(format!(
            "the body declares the stream `{}`; streams come from the rules folder",
            stream.name
        )),
        (many, None) => Some(format!("the body holds {} rules, the path says `{id}`", many.len())),
    };
    if let Some(message) = message {
        return Err(CompileError::of(&[not_the_one(id, text, &names, message)], &sources));
    }
    Ok(Checked { warnings: located(&compiled.diagnostics, &sources), module: compiled.module })
}

/// E108 at the name of the rule, or of the whole text.
fn not_the_one(id: &str, text: &str, names: &[&str], message: String) -> Diagnostic {
    let (file, _) = pattern_dsl::parse(0, text);
    match (names, file.rules.as_slice()) {
        ([name], [rule]) if *name != id => Diagnostic::error("E108", rule.name.span, message)
            .help(format!("name the rule `{id}`, or put it to /v1/rules/{name}"))
            .replace(id),
        _ => {
            let end = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let span = pattern_dsl::Span { source: 0, start: 0, end };
            Diagnostic::error("E108", span, message).help(format!("send the one rule `{id}`"))
        }
    }
}

/// The files of the rules folder.
pub(crate) fn sources(state: &FolderState) -> Vec<SourceText> {
    let files = state.files.iter();
    files.map(|(name, text)| SourceText { name: name.clone(), text: text.clone() }).collect()
}

/// Compiles all files of the rules folder.
pub(crate) fn compile_folder(state: &FolderState) -> Result<ir::Module, CompileError> {
    let sources = sources(state);
    let compiled =
        pattern_dsl::compile(&sources, &Environment { require_declared: true, ..Environment::default() });
    if compiled.has_errors() {
        return Err(CompileError::of(&compiled.diagnostics, &sources));
    }
    Ok(compiled.module)
}

/// The answer of `POST /v1/rules:check`.
pub(crate) fn check_text(text: &str, streams: &[ir::Stream], tables: &[ir::Table]) -> Value {
    let sources = [SourceText { name: "rules.cep".into(), text: text.to_owned() }];
    let compiled = pattern_dsl::compile(&sources, &environment(streams, tables));
    let rules: Vec<&str> = compiled.module.rules.iter().map(|r| r.name.as_str()).collect();
    json!({
        "ok": !compiled.has_errors(),
        "rules": rules,
        "diagnostics": located(&compiled.diagnostics, &sources),
    })
}

/// What every list and lookup holds, as written in rules or read from its file. One whose file was not read is left out.
pub(crate) fn contents(tables: &[ir::Table], files: &BTreeMap<String, Content>) -> BTreeMap<String, Content> {
    let known = tables.iter().filter(|table| table.from.is_none() || files.contains_key(&table.name));
    known
        .map(|table| (table.name.clone(), files.get(&table.name).unwrap_or(&table.content).clone()))
        .collect()
}

/// Debug text of a rule without the places in its file: `Span { .. }`.
pub(crate) fn without_spans(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("Span {") {
        out.push_str(&rest[..at]);
        rest = rest[at..].find('}').map_or("", |end| &rest[at + end + 1..]);
    }
    out.push_str(rest);
    out
}
