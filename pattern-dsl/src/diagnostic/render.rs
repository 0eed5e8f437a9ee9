//! Diagnostics for people, with the source lines they are about.
//!
//! A line that is too long to be read is cut down to what stands around the span: else many findings in one line would
//! each show all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ariadne::{Cache, Color, Config, IndexType, Label, Report, ReportKind, Source};

use super::{Diagnostic, Severity};
use crate::lex::without_mark;
use crate::source::{Places, SourceText, boundary};

/// Bytes of a line that are shown whole.
const LONG: usize = 400;
/// Bytes shown before a span in a longer line, of the span itself, and after it.
const BEFORE: usize = 60;
const INSIDE: usize = 120;
const AFTER: usize = 60;

/// Shows diagnostics with their source lines.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &[SourceText], colour: bool) -> String {
    let mut places: BTreeMap<u32, Places<'_>> = BTreeMap::new();
    let mut whole: BTreeMap<u32, Source<&str>> = BTreeMap::new();
    let mut out = String::new();
    for diagnostic in diagnostics {
        let at = diagnostic.span.source;
        let Some(source) = sources.get(at as usize) else {
            let _ = writeln!(out, "{}: {}", diagnostic.code, diagnostic.message);
            continue;
        };
        out.push_str(&header(diagnostic, colour));
        let places = places.entry(at).or_insert_with(|| Places::new(&source.text));
        let (start, end) = (diagnostic.span.start as usize, diagnostic.span.end as usize);
        let (line_start, line) = places.line(diagnostic.span.start);
        if line.len() <= LONG {
            // The mark in front of a file takes no column.
            let shown = without_mark(&source.text);
            let mark = source.text.len() - shown.len();
            let text = whole.entry(at).or_insert_with(|| Source::from(shown));
            let span = start.saturating_sub(mark)..end.max(start).saturating_sub(mark);
            body(diagnostic, (&source.name, text), span, colour, &mut out);
            continue;
        }
        let end = end.clamp(start, line_start + line.len());
        let (text, span) = excerpt(line, start - line_start..end - line_start);
        let place = places.place(diagnostic.span.start);
        let column = text.get(..span.start).map_or(0, |before| before.chars().count()) + 1;
        // Empty lines before it, so that it has its own number.
        let above = place.line as usize - 1;
        let text = "\n".repeat(above) + &text;
        let mut shown = String::new();
        let span = span.start + above..span.end + above;
        body(diagnostic, (&source.name, &Source::from(text.as_str())), span, colour, &mut shown);
        let place_of = |column: usize| format!("{}:{}:{column} ", source.name, place.line);
        out.push_str(&shown.replacen(&place_of(column), &place_of(place.column as usize), 1));
    }
    out.lines().map(str::trim_end).fold(String::with_capacity(out.len()), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    })
}

/// `error[E204]: no field ..`.
fn header(diagnostic: &Diagnostic, colour: bool) -> String {
    let (word, paint) = match diagnostic.severity {
        Severity::Error => ("error", "\u{1b}[31m"),
        Severity::Warning => ("warning", "\u{1b}[33m"),
    };
    let (on, off) = if colour { (paint, "\u{1b}[0m") } else { ("", "") };
    format!("{on}{word}[{}]:{off} {}\n", diagnostic.code, diagnostic.message)
}

/// What of a long line is shown around a span, and where the span is in it.
fn excerpt(line: &str, span: std::ops::Range<usize>) -> (String, std::ops::Range<usize>) {
    let from = boundary(line, span.start.saturating_sub(BEFORE));
    let inner_end = boundary(line, span.end.min(span.start + INSIDE)).max(span.start);
    let to = boundary(line, inner_end + AFTER);
    let mut text = String::from(if from > 0 { ".. " } else { "" });
    let start = text.len() + span.start - from;
    text.push_str(line.get(from..to).unwrap_or_default());
    if to < line.len() {
        text.push_str(" ..");
    }
    (text, start..start + (inner_end - span.start))
}

/// One source by its name.
struct One<'s, 't>(&'s Source<&'t str>);

impl<'t> Cache<String> for One<'_, 't> {
    type Storage = &'t str;

    fn fetch(&mut self, _: &String) -> Result<&Source<&'t str>, impl std::fmt::Debug> {
        Ok::<_, std::convert::Infallible>(self.0)
    }

    fn display<'a>(&self, id: &'a String) -> Option<impl std::fmt::Display + 'a> {
        Some(id)
    }
}

/// The lines with the label.
fn body(
    diagnostic: &Diagnostic,
    (name, source): (&String, &Source<&str>),
    range: std::ops::Range<usize>,
    colour: bool,
    out: &mut String,
) {
    let (kind, paint) = match diagnostic.severity {
        Severity::Error => (ReportKind::Error, Color::Red),
        Severity::Warning => (ReportKind::Warning, Color::Yellow),
    };
    let label = Label::new((name.clone(), range.clone()))
        .with_color(paint)
        .with_message(diagnostic.help.as_deref().unwrap_or("here"));
    let report = Report::build(kind, (name.clone(), range))
        .with_config(Config::default().with_color(colour).with_index_type(IndexType::Byte))
        .with_label(label)
        .finish();
    // Writing to a Vec does not fail; were it to, the header is still worth showing. The report's own first line is the kind.
    let mut body = Vec::new();
    if report.write(One(source), &mut body).is_ok() {
        let text = String::from_utf8_lossy(&body);
        out.push_str(text.split_once('\n').map_or("", |(_, rest)| rest));
    }
}
