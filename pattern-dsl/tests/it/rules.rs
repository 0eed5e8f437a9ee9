//! The example rules of the language document compile with declared streams, and mean what is recorded.

use std::fs;
use std::path::Path;

use pattern_dsl::types::{Literal, Type};
use pattern_dsl::{Environment, SourceText, compile, ir, render};

fn sources() -> Vec<SourceText> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    ["streams.cep", "examples.cep"]
        .map(|name| SourceText { name: name.to_owned(), text: fs::read_to_string(data.join(name)).unwrap() })
        .to_vec()
}

fn module() -> ir::Module {
    let sources = sources();
    let compiled = compile(&sources, &Environment { require_declared: true, ..Environment::default() });
    assert!(!compiled.has_errors(), "{}", render(&compiled.diagnostics, &sources, false));
    compiled.module
}

#[test]
fn the_documents_rules_compile() {
    let module = module();
    let names: Vec<&str> = module.rules.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names.len(), 27, "{names:?}");
    let rule = |name: &str| module.rules.iter().find(|r| r.name == name).unwrap();
    let proc = rule("shell_from_browser");
    assert_eq!(proc.streams.first().unwrap().keys, None);
    assert_eq!(proc.steps.iter().map(|s| s.keys.clone()).collect::<Vec<_>>(), [vec![0], vec![1]]);
    assert_eq!(rule("risk_rollup").reads_alerts, Some(Vec::new()));
    assert_eq!(rule("risk_rollup").keys.first().unwrap().ty, Type::String);
    assert_eq!(
        rule("card_velocity_hour").params,
        [("limit".to_owned(), Literal::Int(4)), ("span".to_owned(), Literal::Duration(3_600_000_000))]
    );
    assert_eq!(rule("order_not_shipped").tests.first().unwrap().sets.len(), 1);
    assert_eq!(rule("card_testing").text.lines().next(), Some("rule card_testing {  # 1"));
    assert!(rule("card_testing").text.ends_with('}'));
    assert_eq!(pattern_dsl::stream_names(&sources()).len(), 35);
}

#[test]
fn the_documents_rules_mean_what_is_recorded() {
    let module = module();
    let shown: String = module.rules.iter().map(|rule| super::dump::dump(&module, rule) + "\n").collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/examples.ir");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &shown).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), shown);
}

#[test]
fn a_repeated_group_is_refused() {
    let text = "rule valve_stuck { by valve_id
        match within 10m { 3 times { command as c then no ack for 30s where command_id == c.command_id } } }";
    let mut sources = sources();
    sources.push(SourceText { name: "valve.cep".to_owned(), text: text.to_owned() });
    let compiled = compile(&sources, &Environment::default());
    let errors: Vec<&str> = compiled.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect();
    assert_eq!(errors, ["E390"]);
}

/// Of the warnings about the shape of a match the examples give the one that the document shows.
#[test]
fn the_documents_rules_are_rarely_warned_about() {
    let sources = sources();
    let compiled = compile(&sources, &Environment { require_declared: true, ..Environment::default() });
    let warned: Vec<String> = compiled
        .diagnostics
        .iter()
        .filter(|d| !matches!(d.code, "W110" | "W208" | "W210" | "W220"))
        .map(|d| format!("{} {}", d.code, d.message))
        .collect();
    assert_eq!(warned, ["W214 one event can be both `probe` and `hit`; it will be taken as `hit`"]);
}
