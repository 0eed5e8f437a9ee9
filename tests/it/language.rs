//! The documents of the language say what is true: every fenced block of rules is compiled, every test in one passes, and
//! every row of a `golden` block gives its result in the engine and in the definition.
//!
//! The first line of a fence says what the block is: `cep` compiles without errors, `cep error E204` gives that code and no
//! other error, `cep warning W214` no error and that warning. `golden` is written as the oracle's `golden.txt`. Streams and
//! tables that the blocks of a document use stand in its comments `<!-- cep .. -->`.

use pattern_dsl::{Compiled, Environment, SourceText, compile, render};
use std::fmt::Write;
use std::path::Path;
use tripline_tests::Feed;

/// A fenced block: what its first line says, where it stands, what it holds.
struct Block {
    info: String,
    line: usize,
    text: String,
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block { info: info.trim().to_owned(), line: at + 1, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// What the comments of a document declare.
fn environment(document: &str) -> Environment {
    let parts = document.split("<!-- cep\n").skip(1).filter_map(|rest| rest.split("-->").next());
    let sources = [SourceText { name: "comment.cep".to_owned(), text: parts.collect() }];
    let compiled = compile(&sources, &Environment::default());
    assert!(!compiled.has_errors(), "{}", render(&compiled.diagnostics, &sources, false));
    let tables = compiled.module.tables.into_iter().map(|table| (table.name, Some(table.kind)));
    Environment { streams: compiled.module.streams, tables: tables.collect(), require_declared: false }
}

/// What is wrong with a block of rules.
fn rules(block: &Block, known: &Environment) -> Result<(), String> {
    let sources = [SourceText { name: "block.cep".to_owned(), text: block.text.clone() }];
    let mut environment = known.clone();
    let inferred = service::ruleset::streams_of_tests(&sources);
    environment
        .streams
        .extend(inferred.into_iter().filter(|s| known.streams.iter().all(|k| k.name != s.name)));
    let compiled = compile(&sources, &environment);
    let said = || render(&compiled.diagnostics, &sources, false);
    let codes = |errors: bool| {
        let of_kind = compiled.diagnostics.iter().filter(move |d| d.is_error() == errors);
        of_kind.map(|d| d.code.to_string()).collect::<Vec<_>>()
    };
    match block.info.split_whitespace().collect::<Vec<_>>()[..] {
        ["cep"] if !compiled.has_errors() => {}
        ["cep", "error", code] if codes(true) == [code] => return Ok(()),
        ["cep", "warning", code] if !compiled.has_errors() && codes(false).iter().any(|c| c == code) => {}
        _ => return Err(said()),
    }
    tests(&compiled, &sources)
}

/// The tests in the rules.
fn tests(compiled: &Compiled, sources: &[SourceText]) -> Result<(), String> {
    let module = &compiled.module;
    let tables = service::tables::fill(module, sources, &[]).map_err(|failure| failure.message)?;
    let limits = engine::task::Limits::default();
    let mut wrong = String::new();
    for (rule, test) in module.rules.iter().flat_map(|rule| rule.tests.iter().map(move |test| (rule, test))) {
        let outcome = service::commands::test::run_test(module, rule, test, &tables, &limits, sources)
            .map_err(|failure| failure.message)?;
        for (_, problem) in &outcome.problems {
            let _ = writeln!(wrong, "{} / {}: {problem}", outcome.rule, outcome.test);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// What is wrong with the rows of a block.
fn rows(block: &Block) -> Result<(), String> {
    let mut wrong = String::new();
    for golden in oracle::golden::golden_in(&block.text) {
        let golden = golden?;
        let said =
            oracle::run(&golden.module, &golden.module.rules[0], &golden.tables, &golden.events, golden.end);
        let fired: Vec<_> = said.firings.iter().map(|f| (f.steps.clone(), f.fired_by, f.time)).collect();
        let defined = golden.write(&fired, said.suppressed_cooldown, said.suppressed_unless);
        let got = tripline_tests::golden(&golden, Feed::Sorted);
        if got != golden.expected || defined != golden.expected {
            let _ = writeln!(wrong, "{}\n  engine: {got}\n  definition: {defined}", golden.line);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// How many examples the document has, rows counted each; panics with all that is wrong.
fn check(name: &str) -> usize {
    let text = document(name);
    let known = environment(&text);
    let (mut wrong, mut count) = (String::new(), 0);
    for block in blocks(&text) {
        let outcome = match block.info.split_whitespace().next() {
            Some("cep") => rules(&block, &known),
            Some("golden") => rows(&block),
            Some("sh" | "text" | "ebnf" | "json" | "sql" | "java" | "eql" | "siddhi" | "esper") => continue,
            _ => Err(format!("`{}` says nothing", block.info)),
        };
        let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
        count += if block.info == "golden" { block.text.lines().filter(is_row).count() } else { 1 };
        if let Err(why) = outcome {
            let _ = writeln!(wrong, "{name}:{} {}\n{why}", block.line, block.info);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    count
}

#[test]
fn the_definition_of_the_language() {
    assert!(check("LANGUAGE.md") > 150);
}

#[test]
fn the_tutorial() {
    assert!(check("docs/tutorial.md") > 25);
}

#[test]
fn the_comparison_with_other_engines() {
    assert!(check("docs/coming-from.md") > 10);
}

/// A document names every code.
#[test]
fn every_code_has_its_line() {
    let text = document("LANGUAGE.md");
    for code in pattern_dsl::code_documents() {
        assert!(text.contains(&format!("\n| {} |", code.code)), "{} is not in the table", code.code);
    }
}
