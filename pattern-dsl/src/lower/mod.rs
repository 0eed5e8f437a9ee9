//! The syntax tree to the IR: names to indices, types checked, bounds folded.
//!
//! `Lowering` holds what all files declare; each rule is lowered by `rule::RuleLowering` and left out if it has an error.
//! Parts: `expand` works out `def`, `let` and templates, `consts` folds constants, `names` resolves paths, `expr` and `calls` type expressions, `keys`, `steps`, `test`.
//!
//! INVARIANT: indices in the IR are in range; a rule whose text did not parse is not looked at (no cascades).

mod alerts;
mod calls;
mod consts;
mod doubts;
mod expand;
mod expr;
mod facts;
mod fold;
mod functions;
mod keys;
mod links;
mod lints;
mod names;
mod rule;
mod sets;
mod steps;
mod streams;
mod structure;
mod tables;
mod test;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use alerts::ALERT;
use expand::{Expander, Macros};
use streams::rule_streams;

use crate::ast::{self, File, Ident};
use crate::diagnostic::Diagnostic;
use crate::ir::{Module, Rule, Stream, Table};
use crate::source::{Places, SourceText, Span};
use crate::types::Literal;
use crate::{Compiled, Environment, parse};

/// A diagnostic was pushed; the value is lost.
pub(crate) struct Fail;

pub(crate) type Lowered<T> = Result<T, Fail>;

/// A table and whether the type of its items is known.
struct TableInfo {
    table: Table,
    typed: bool,
}

struct Lowering<'a> {
    sources: &'a [SourceText],
    require_declared: bool,
    streams: Vec<Stream>,
    tables: Vec<TableInfo>,
    /// Streams whose block has an error: rules that read them are not looked at.
    broken: Vec<usize>,
    /// `None`: its definition has an error, reported already.
    consts: BTreeMap<String, Option<Literal>>,
    /// Durations of `const`s and `param`s as they are written.
    written: BTreeMap<String, String>,
    macros: &'a Macros<'a>,
    alert_types: alerts::AlertTypes,
    outside_alert_types: alerts::AlertTypes,
    /// Names of all rules, also of those with errors.
    rule_names: BTreeSet<String>,
    diagnostics: Vec<Diagnostic>,
    errors: Errors,
    places: BTreeMap<u32, Places<'a>>,
}

/// Where errors begin, so that asking for those in a span does not look at all of them.
#[derive(Default)]
struct Errors {
    starts: BTreeSet<(u32, u32)>,
    /// Diagnostics looked at.
    seen: usize,
}

impl Errors {
    fn update(&mut self, diagnostics: &[Diagnostic]) {
        if self.seen > diagnostics.len() {
            *self = Self::default();
        }
        let fresh = diagnostics.iter().skip(self.seen).filter(|d| d.is_error());
        self.starts.extend(fresh.map(|d| (d.span.source, d.span.start)));
        self.seen = diagnostics.len();
    }
}

/// Compiles files together.
pub(crate) fn compile(sources: &[SourceText], environment: &Environment) -> Compiled {
    let mut diagnostics = Vec::new();
    let mut files = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let (file, found) = parse(index as u32, &source.text);
        files.push(file);
        diagnostics.extend(found);
    }
    let (macros, twice) = Macros::new(&files);
    let mut lowering = Lowering {
        sources,
        require_declared: environment.require_declared,
        streams: Vec::new(),
        tables: Vec::new(),
        broken: Vec::new(),
        consts: BTreeMap::new(),
        written: BTreeMap::new(),
        macros: &macros,
        alert_types: alerts::AlertTypes::new(),
        outside_alert_types: alerts::AlertTypes::new(),
        rule_names: files.iter().flat_map(|f| &f.rules).map(|rule| rule.name.name.clone()).collect(),
        diagnostics,
        errors: Errors::default(),
        places: BTreeMap::new(),
    };
    for (name, first) in twice {
        lowering.twice(name, first.span);
    }
    lowering.expanded(|e| {
        e.check_defs();
        Ok(())
    });
    lowering.consts(&files);
    lowering.declare(&files, environment);
    let rules = lowering.rules(&files);
    let module = Module {
        streams: lowering.streams,
        tables: lowering.tables.into_iter().map(|t| t.table).collect(),
        rules,
    };
    Compiled { module, diagnostics: tidy(lowering.diagnostics) }
}

/// Names of the streams that rules name, as [`crate::stream_names`].
pub(crate) fn stream_names(files: &[File]) -> Vec<String> {
    let (macros, _) = Macros::new(files);
    let mut names: Vec<String> = Vec::new();
    for rule in files.iter().flat_map(|f| &f.rules) {
        let expanded = Expander::new(&macros).rule(rule).unwrap_or_else(|_| rule.clone());
        for name in rule_streams(&expanded) {
            if name.name != alerts::ALERT && !names.contains(&name.name) {
                names.push(name.name.clone());
            }
        }
    }
    names
}

/// In the order of the text, without repeats, at most so many a file.
fn tidy(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.span.source, d.span.start, d.span.end);
        key(a).cmp(&key(b)).then(a.code.cmp(b.code))
    });
    diagnostics.dedup_by(|b, a| a.span == b.span && a.code == b.code);
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    diagnostics.retain(|d| {
        if !d.is_error() {
            return true;
        }
        let count = counts.entry(d.span.source).or_default();
        *count += 1;
        *count <= parse::LIMIT
    });
    diagnostics
}

impl Lowering<'_> {
    /// Rules without errors, in written order.
    fn rules(&mut self, files: &[File]) -> Vec<Rule> {
        let mut rules: Vec<Option<ast::Rule>> = Vec::new();
        let mut names: BTreeMap<&str, Span> = BTreeMap::new();
        for rule in files.iter().flat_map(|f| &f.rules) {
            let mut fine = !self.has_error_in(rule.span);
            if let Some(uses) = &rule.uses
                && let Some(template) = self.macros.templates.get(uses.template.name.as_str())
                && self.has_error_in(template.rule.span)
            {
                fine = false;
            }
            if let Some(first) = names.get(rule.name.name.as_str()) {
                self.twice(&rule.name, *first);
                fine = false;
            } else {
                names.insert(&rule.name.name, rule.name.span);
            }
            rules.push(if fine { self.expanded(|e| e.rule(rule)) } else { None });
        }
        self.lower_all(&rules).into_iter().flatten().collect()
    }

    /// Puts `def`s, `let`s and templates in, and takes over what is found wrong.
    fn expanded<T>(&mut self, f: impl FnOnce(&mut Expander<'_, '_>) -> Lowered<T>) -> Option<T> {
        let mut expander = Expander::new(self.macros);
        let result = f(&mut expander);
        self.diagnostics.append(&mut expander.diagnostics);
        result.ok()
    }

    fn report(&mut self, diagnostic: Diagnostic) -> Fail {
        self.diagnostics.push(diagnostic);
        Fail
    }

    fn slice(&self, span: Span) -> &str {
        self.sources
            .get(span.source as usize)
            .and_then(|s| s.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }

    fn has_error_in(&mut self, span: Span) -> bool {
        self.errors.update(&self.diagnostics);
        let inside = (span.source, span.start)..(span.source, span.end.max(span.start + 1));
        self.errors.starts.range(inside).next().is_some()
    }

    /// E109.
    fn twice(&mut self, name: &Ident, first: Span) {
        let place = match self.sources.get(first.source as usize) {
            Some(source) => {
                let places = self.places.entry(first.source).or_insert_with(|| Places::new(&source.text));
                format!("{}:{}", source.name, places.place(first.start).line)
            }
            None => "the environment".to_owned(),
        };
        let message = format!("`{}` is already declared at {place}", name.name);
        self.report(Diagnostic::error("E109", name.span, message).help("rename one of them"));
    }

    /// A stream by name, or E202, E206.
    fn stream(&mut self, name: &Ident) -> Lowered<usize> {
        if let Some(index) = self.streams.iter().position(|s| s.name == name.name) {
            if self.require_declared && self.streams.get(index).is_some_and(|s| !s.declared) {
                return Err(self.undeclared(name));
            }
            return Ok(index);
        }
        if self.require_declared {
            return Err(self.undeclared(name));
        }
        let names: Vec<&str> = self.streams.iter().map(|s| s.name.as_str()).collect();
        let help = if names.is_empty() {
            format!("declare it: `stream {} {{ .. }}`, or give data for it", name.name)
        } else {
            format!("declare it; known: `{}`", names.iter().take(8).copied().collect::<Vec<_>>().join("`, `"))
        };
        let diagnostic = Diagnostic::error("E202", name.span, format!("no stream `{}`", name.name))
            .nearest(&name.name, names)
            .or_help(help);
        Err(self.report(diagnostic))
    }

    fn undeclared(&mut self, name: &Ident) -> Fail {
        let declared: Vec<&str> =
            self.streams.iter().filter(|s| s.declared).map(|s| s.name.as_str()).collect();
        let diagnostic =
            Diagnostic::error("E206", name.span, format!("stream `{}` is not declared", name.name))
                .nearest(&name.name, declared)
                .or_help("`tripline infer data.jsonl` writes the block");
        self.report(diagnostic)
    }
}
