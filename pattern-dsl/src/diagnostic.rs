//! Diagnostics: what is wrong, where, and how to fix it.
//!
//! Every stage makes them through [`Diagnostic::error`] and [`Diagnostic::warning`]; [`render`] shows them with source
//! lines, [`locate`] turns byte spans into lines and columns for JSON.
//!
//! INVARIANT: a message starts in lower case, has the user's text in backticks, and no parser library's words.

mod render;

use std::collections::BTreeMap;

use crate::source::{Place, Places, SourceText, Span};

pub use render::render;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rule or declaration cannot be used.
    Error,
    /// It can be used, but look at it.
    Warning,
}

/// A text that would fix the problem.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Suggestion {
    /// What to replace.
    pub span: Span,
    /// The new text.
    pub replacement: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// Stable code, as `E204`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One cause, lower case.
    pub message: String,
    /// The guilty text.
    pub span: Span,
    /// One fix.
    pub help: Option<String>,
    /// Edits that fix it.
    pub suggestions: Vec<Suggestion>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            help: None,
            suggestions: Vec::new(),
        }
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// With a fix in words.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the text that should stand at the span instead.
    #[must_use]
    pub fn replace(mut self, replacement: impl Into<String>) -> Self {
        self.suggestions.push(Suggestion { span: self.span, replacement: replacement.into() });
        self
    }

    /// With "did you mean", if one of the candidates is near to what was written.
    #[must_use]
    pub fn nearest<'a>(self, written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(written, candidates) {
            Some(best) => {
                let best = best.to_owned();
                self.help(format!("did you mean `{best}`?")).replace(best)
            }
            None => self,
        }
    }

    /// With this help if there is none yet.
    #[must_use]
    pub fn or_help(self, help: impl Into<String>) -> Self {
        if self.help.is_some() { self } else { self.help(help) }
    }

    /// Is it an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The candidate nearest to `written` by edit distance, at most max(1, len/3) away.
#[must_use]
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = written.chars().count();
    let limit = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|c| c.chars().count().abs_diff(length) <= limit)
        .map(|c| (strsim::damerau_levenshtein(&written.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= limit && *c != written)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// A place in a text; line and column from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// A range of places; the end is one past the last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Range {
    /// First.
    pub start: Position,
    /// One past the last.
    pub end: Position,
}

/// An edit with its place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LocatedSuggestion {
    /// What to replace.
    pub range: Range,
    /// The new text.
    pub replacement: String,
}

/// A diagnostic with lines and columns, ready for JSON.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Located {
    /// Name of the source.
    pub file: String,
    /// Place.
    pub range: Range,
    /// Stable code.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One cause.
    pub message: String,
    /// One fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Edits that fix it.
    pub suggestions: Vec<LocatedSuggestion>,
}

/// Turns byte spans into lines and columns.
#[must_use]
pub fn locate(diagnostics: &[Diagnostic], sources: &[SourceText]) -> Vec<Located> {
    let mut known: BTreeMap<u32, Places<'_>> = BTreeMap::new();
    let mut range = |span: Span| {
        let text = sources.get(span.source as usize).map_or("", |s| s.text.as_str());
        let places = known.entry(span.source).or_insert_with(|| Places::new(text));
        let mut position = |offset| {
            let Place { line, column, .. } = places.place(offset);
            Position { line, column }
        };
        Range { start: position(span.start), end: position(span.end) }
    };
    let mut located = Vec::new();
    for d in diagnostics {
        let suggestions = d.suggestions.iter();
        located.push(Located {
            file: sources.get(d.span.source as usize).map(|s| s.name.clone()).unwrap_or_default(),
            range: range(d.span),
            code: d.code,
            severity: d.severity,
            message: d.message.clone(),
            help: d.help.clone(),
            suggestions: suggestions
                .map(|s| LocatedSuggestion { range: range(s.span), replacement: s.replacement.clone() })
                .collect(),
        });
    }
    located
}
