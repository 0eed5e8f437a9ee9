//! The Tripline rule language: text -> tokens -> syntax -> names and types -> [`ir`].
//!
//! [`parse`] gives the tree of one file, [`compile`] the checked rules of several; [`render`] shows what is wrong.
//! Neighbours: `engine` runs [`ir::Module`], the oracle in the tests interprets it, `service` reads data and files.
//!
//! INVARIANT: what the language defines but this crate does not support (repeated groups, E390) is refused, never ignored.

pub mod source;
mod lex;
pub mod ast;
mod parse;
mod format;

mod instant;
pub mod decimal;
pub mod types;
mod lower;
mod check;
pub mod ir;

pub mod explain;

mod codes;
pub mod diagnostic;

pub use codes::{CodeDocument, code_documents, explain_code};
pub use diagnostic::{Diagnostic, Severity, locate, render};
pub use format::format;
pub use source::{SourceText, Span};

/// What is known besides the rule files.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Streams known from outside: inferred from data, or from the service's folder. A declaration in a file wins.
    pub streams: Vec<ir::Stream>,
    /// Lists and lookups known from outside, with what they hold if it is known: a table of unknown kind is taken for the
    /// kind of list that its first use reads.
    pub tables: Vec<(String, Option<ir::TableKind>)>,
    /// Streams must be declared (`serve`): one that is not is E206.
    pub require_declared: bool,
}

/// What [`compile`] gives.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    /// All streams and lists, and the rules without errors.
    pub module: ir::Module,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    /// Is there any error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Parses one file; `source_index` goes into the spans.
#[must_use]
pub fn parse(source_index: u32, text: &str) -> (ast::File, Vec<Diagnostic>) {
    parse::parse_file(source_index, text)
}

/// Compiles files that may refer to one another's streams, lists and consts.
#[must_use]
pub fn compile(sources: &[SourceText], environment: &Environment) -> Compiled {
    lower::compile(sources, environment)
}

/// The streams that the rules of these files name, each once, in written order.
#[must_use]
pub fn stream_names(sources: &[SourceText]) -> Vec<String> {
    let parsed = sources.iter().enumerate().map(|(index, source)| parse(index as u32, &source.text).0);
    lower::stream_names(&parsed.collect::<Vec<_>>())
}

/// A duration as rules write it: `1h30m`.
#[must_use]
pub fn format_duration(micros: types::Micros) -> String {
    if micros == 0 {
        return "0s".to_owned();
    }
    let mut rest = micros.unsigned_abs();
    let mut text = String::from(if micros < 0 { "-" } else { "" });
    for (unit, scale) in [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1u64),
    ] {
        if rest >= scale {
            text.push_str(&(rest / scale).to_string());
            text.push_str(unit);
            rest %= scale;
        }
    }
    text
}
