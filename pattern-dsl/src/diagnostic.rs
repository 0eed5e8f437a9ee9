//! Diagnostics: what is wrong, where, and how to fix it.
//!
//! Every stage makes them through [`Diagnostic::error`] and [`Diagnostic::warning`]; [`render`] shows them with source
//! lines, [`locate`] turns byte spans into lines and columns for JSON.
//!
//! INVARIANT: a message starts in lower case, has the user's text in backticks, and no parser library's words.

use ariadne::{Color, Config, IndexType, Label, Report, ReportKind};

use crate::source::{SourceText, Span};

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
    let limit = (written.chars().count() / 3).max(1);
    candidates
        .into_iter()
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

fn range_of(span: Span, sources: &[SourceText]) -> Range {
    let place = |offset| {
        let (line, column) = sources.get(span.source as usize).map_or((1, 1), |s| s.line_column(offset));
        Position { line, column }
    };
    Range { start: place(span.start), end: place(span.end) }
}

/// Turns byte spans into lines and columns.
#[must_use]
pub fn locate(diagnostics: &[Diagnostic], sources: &[SourceText]) -> Vec<Located> {
    diagnostics
        .iter()
        .map(|d| Located {
            file: sources.get(d.span.source as usize).map(|s| s.name.clone()).unwrap_or_default(),
            range: range_of(d.span, sources),
            code: d.code,
            severity: d.severity,
            message: d.message.clone(),
            help: d.help.clone(),
            suggestions: d
                .suggestions
                .iter()
                .map(|s| LocatedSuggestion {
                    range: range_of(s.span, sources),
                    replacement: s.replacement.clone(),
                })
                .collect(),
        })
        .collect()
}

/// Shows diagnostics with their source lines.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &[SourceText], colour: bool) -> String {
    let names: Vec<String> = sources.iter().map(|s| s.name.clone()).collect();
    let mut out = Vec::new();
    for diagnostic in diagnostics {
        let Some(name) = names.get(diagnostic.span.source as usize) else {
            let line = format!("{}: {}\n", diagnostic.code, diagnostic.message);
            out.extend_from_slice(line.as_bytes());
            continue;
        };
        let (kind, word, paint) = match diagnostic.severity {
            Severity::Error => (ReportKind::Error, "error", Color::Red),
            Severity::Warning => (ReportKind::Warning, "warning", Color::Yellow),
        };
        let range = diagnostic.span.start as usize
            ..(diagnostic.span.end as usize).max(diagnostic.span.start as usize);
        let label = Label::new((name.clone(), range.clone()))
            .with_color(paint)
            .with_message(diagnostic.help.as_deref().unwrap_or("here"));
        let report = Report::build(kind, (name.clone(), range))
            .with_config(Config::default().with_color(colour).with_index_type(IndexType::Byte))
            .with_label(label)
            .finish();
        let header = format!("{word}[{}]:", diagnostic.code);
        let header = match (colour, diagnostic.severity) {
            (false, _) => header,
            (true, Severity::Error) => format!("\u{1b}[31m{header}\u{1b}[0m"),
            (true, Severity::Warning) => format!("\u{1b}[33m{header}\u{1b}[0m"),
        };
        out.extend_from_slice(format!("{header} {}\n", diagnostic.message).as_bytes());
        let cache = ariadne::sources(sources.iter().map(|s| (s.name.clone(), s.text.as_str())));
        // Writing to a Vec does not fail; were it to, the header above is still worth showing. Its own first line is the kind.
        let mut body = Vec::new();
        if report.write(cache, &mut body).is_ok() {
            let first = body.iter().position(|b| *b == b'\n').map_or(body.len(), |at| at + 1);
            out.extend_from_slice(body.get(first..).unwrap_or(&[]));
        }
    }
    let text = String::from_utf8_lossy(&out).into_owned();
    text.lines().map(str::trim_end).fold(String::new(), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    })
}
