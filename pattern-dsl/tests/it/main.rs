//! The language from outside: golden diagnostics, the rules of the language document, words as names, and the IR.
//!
//! `UPDATE=1 cargo test -p pattern-dsl` rewrites the expected texts in `tests/golden/err`; read the diff.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

mod codes;
mod explain;
mod format;
mod dump;
mod golden;
mod grammar;
mod lowering;
mod rules;
mod structure;
mod words;

use pattern_dsl::{Compiled, Environment, SourceText, compile, ir, render, types::Type};

fn source(text: &str) -> Vec<SourceText> {
    vec![SourceText { name: "rules.cep".to_owned(), text: text.to_owned() }]
}

fn compile_text(text: &str, environment: &Environment) -> Compiled {
    compile(&source(text), environment)
}

/// Compiles what must have no errors.
fn good(text: &str, environment: &Environment) -> ir::Module {
    let sources = source(text);
    let compiled = compile(&sources, environment);
    assert!(!compiled.has_errors(), "{}", render(&compiled.diagnostics, &sources, false));
    compiled.module
}

/// An inferred stream; fields as `name: type` with `?`.
fn stream(name: &str, fields: &[(&str, Type)]) -> ir::Stream {
    ir::Stream {
        name: name.to_owned(),
        topic: None,
        topic_filter: None,
        key: None,
        id: None,
        dedupe: None,
        fields: fields
            .iter()
            .map(|(path, ty)| ir::Field {
                path: path.split('.').map(str::to_owned).collect(),
                ty: ty.clone(),
                nullable: false,
                mask: false,
            })
            .collect(),
        time: ir::TimeField {
            path: vec!["ts".to_owned()],
            format: ir::TimeFormat::Auto,
            zone: None,
            in_order: false,
        },
        late: 0,
        idle: 60_000_000,
        declared: false,
    }
}
