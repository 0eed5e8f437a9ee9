//! What `match` and the clauses around it become: `tests/golden/ir` holds rules and their IR as text.

use std::fs;
use std::path::Path;

use pattern_dsl::{Environment, SourceText, compile, render};

use super::dump::dump;

#[test]
fn every_construct_is_lowered_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ir");
    let update = std::env::var_os("UPDATE").is_some();
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|e| e != "cep") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let sources = vec![SourceText { name: "rules.cep".to_owned(), text }];
        let compiled = compile(&sources, &Environment::default());
        assert!(!compiled.has_errors(), "{}", render(&compiled.diagnostics, &sources, false));
        let module = compiled.module;
        let shown: Vec<String> = module.rules.iter().map(|rule| dump(&module, rule)).collect();
        let shown = shown.join("\n");
        let expected = file.with_extension("txt");
        if update {
            fs::write(&expected, &shown).unwrap();
        } else {
            assert_eq!(fs::read_to_string(&expected).unwrap_or_default(), shown, "{}", file.display());
        }
    }
}
