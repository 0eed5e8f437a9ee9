//! Rule files: found, read, compiled.
//!
//! `*.cep` files are rules, a folder stands for all of them below it. What is wrong in them is rendered once, on
//! stderr, and ends the command with 1.

use crate::console::say;
use crate::failure::Failure;
use engine::alert::ALERTS;
use pattern_dsl::types::Literal;
use pattern_dsl::{Compiled, Environment, SourceText, ir};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Arguments told apart: rules and events.
#[must_use]
pub fn split_arguments(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let is_rule = |p: &&PathBuf| p.is_dir() || p.extension().is_some_and(|e| e == "cep");
    (paths.iter().filter(is_rule).cloned().collect(), paths.iter().filter(|p| !is_rule(p)).cloned().collect())
}

/// Reads rule files, folders in name order.
///
/// # Errors
/// A path that is missing or unreadable, or a folder without rules.
pub fn load(paths: &[PathBuf]) -> Result<Vec<SourceText>, Failure> {
    if paths.is_empty() {
        return Err(Failure::usage("no rules given: name a .cep file or a folder of them"));
    }
    let mut sources = Vec::new();
    for file in files(paths)? {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        sources.push(SourceText { name: file.display().to_string(), text });
    }
    Ok(sources)
}

/// The rule files that arguments name, each once, folders in name order.
///
/// # Errors
/// A folder that is unreadable or without rules.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            walk(path, &mut files)?;
            if files.len() == before {
                return Err(Failure::usage(format!("{}: no .cep file below this folder", path.display())));
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut known = BTreeSet::new();
    files.retain(|file| known.insert(file.clone()));
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error| Failure::usage(format!("{}: {error}", folder.display()));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "cep") {
            files.push(path);
        }
    }
    Ok(())
}

/// Compiles; findings are shown on stderr.
///
/// # Errors
/// Any error in the rules.
pub fn compile(
    sources: &[SourceText],
    environment: &Environment,
    warnings: bool,
) -> Result<Compiled, Failure> {
    let compiled = pattern_dsl::compile(sources, environment);
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let shown: Vec<_> = compiled.diagnostics.iter().filter(|d| warnings || d.is_error()).cloned().collect();
    if !shown.is_empty() {
        say!("{}", pattern_dsl::render(&shown, sources, colour).trim_end());
    }
    if compiled.has_errors() {
        let count = compiled.diagnostics.iter().filter(|d| d.is_error()).count();
        return Err(Failure::finding(format!(
            "{count} error{} in the rules",
            if count == 1 { "" } else { "s" }
        )));
    }
    Ok(compiled)
}

/// Streams that these files declare themselves.
#[must_use]
pub fn declared_streams(sources: &[SourceText], environment: &Environment) -> Vec<ir::Stream> {
    let compiled = pattern_dsl::compile(sources, environment);
    compiled.module.streams.into_iter().filter(|s| s.declared).collect()
}

/// `NAME=VALUE` of an option.
///
/// # Errors
/// There is no `=`.
pub fn name_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

/// `NAME=PATH` of an option.
///
/// # Errors
/// There is no `=`.
pub fn name_path(text: &str) -> Result<(String, PathBuf), String> {
    name_value(text).map(|(name, path)| (name, PathBuf::from(path)))
}

/// Streams as the events of the rules' own tests show them: for files without `stream` blocks.
#[must_use]
pub fn streams_of_tests(sources: &[SourceText]) -> Vec<ir::Stream> {
    use crate::infer::Shape;
    use pattern_dsl::ast::TestLine;
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    for (at, source) in sources.iter().enumerate() {
        let (file, _) = pattern_dsl::parse(at as u32, &source.text);
        for line in file.rules.iter().flat_map(|r| &r.tests).flat_map(|t| &t.lines) {
            if let TestLine::Given(stream, fields) | TestLine::At(_, stream, fields) = line
                && stream.name != ALERTS
            {
                let shape = shapes.entry(stream.name.clone()).or_default();
                for (name, value) in fields {
                    add_expression(shape, std::slice::from_ref(&name.name), value);
                }
            }
        }
    }
    let mut streams = Vec::new();
    for (name, shape) in &shapes {
        if let Ok(mut stream) = shape.stream(name, Some("ts")) {
            for field in &mut stream.fields {
                field.nullable = true;
            }
            streams.push(stream);
        }
    }
    streams
}

fn add_expression(shape: &mut crate::infer::Shape, path: &[String], value: &pattern_dsl::ast::Expr) {
    if let pattern_dsl::ast::ExprKind::Object(pairs) = &value.kind {
        for (name, inner) in pairs {
            let mut below = path.to_vec();
            below.push(name.name.clone());
            add_expression(shape, &below, inner);
        }
        return;
    }
    shape.add_literal(path, &kind_of(value));
}

/// A literal of the kind that an expression of a test gives.
fn kind_of(value: &pattern_dsl::ast::Expr) -> Literal {
    use pattern_dsl::ast::ExprKind;
    match &value.kind {
        ExprKind::Bool(v) => Literal::Bool(*v),
        ExprKind::Int(v) => Literal::Int(*v),
        ExprKind::Decimal(v) => Literal::Decimal(*v),
        ExprKind::String(v) => Literal::String(v.clone()),
        ExprKind::Path(_) => Literal::String(String::new()),
        ExprKind::Duration(v) => Literal::Duration(*v),
        ExprKind::Neg(inner) => kind_of(inner),
        ExprKind::List(items) => Literal::List(items.iter().map(kind_of).collect()),
        ExprKind::Object(_) => Literal::Object(Vec::new()),
        _ => Literal::Null,
    }
}
