//! Every file of `tests/golden/err` gives exactly the text next to it.

use std::fs;
use std::path::Path;

use pattern_dsl::{Environment, SourceText, code_documents, compile, explain_code, locate, render};

#[test]
fn diagnostics_are_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/err");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "cep"))
        .collect();
    files.sort();
    assert!(files.len() > 30);
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let sources =
            vec![SourceText { name: format!("{stem}.cep"), text: fs::read_to_string(&file).unwrap() }];
        // Only a service wants every stream declared.
        let require_declared = stem == "E206";
        let compiled = compile(&sources, &Environment { require_declared, ..Environment::default() });
        let shown = render(&compiled.diagnostics, &sources, false);
        let code = stem.get(..4).unwrap_or("");
        if explain_code(code).is_some() {
            assert!(compiled.diagnostics.iter().any(|d| d.code == code), "{stem} gives no {code}:\n{shown}");
        }
        for d in &compiled.diagnostics {
            assert!(explain_code(d.code).is_some(), "{} is not in the table", d.code);
            assert!(d.help.is_some(), "{stem}: {} `{}` has no fix", d.code, d.message);
            assert!(!d.message.starts_with(char::is_uppercase), "{}", d.message);
        }
        let json = serde_json::to_value(locate(&compiled.diagnostics, &sources)).unwrap();
        assert!(json.as_array().unwrap().iter().all(|d| d["range"]["start"]["line"].as_u64().unwrap() > 0));
        let expected = file.with_extension("txt");
        if update {
            fs::write(&expected, &shown).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{stem}:\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// E108 depends on the address that a rule is put to: its golden file is the service's.
#[test]
fn every_code_has_a_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/err");
    let files: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    for code in code_documents().map(|document| document.code) {
        let file = files.iter().find(|file| file.starts_with(code) && file.ends_with(".txt"));
        println!("{code} {}", file.map_or("-", String::as_str));
        assert!(code == "E108" || file.is_some(), "{code} has no golden file");
    }
}

/// No text makes the compiler panic or loop: prefixes of every golden file, and the file with one character less.
#[test]
fn broken_texts_end() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/err");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "cep") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        // Of the long ones, whose rules are alike, not every place.
        let step = text.len() / 400 + 1;
        for (at, c) in text.char_indices().step_by(step) {
            let mut less = text.clone();
            less.replace_range(at..at + c.len_utf8(), "");
            for broken in [text.get(..at).unwrap().to_owned(), less] {
                let sources = super::source(&broken);
                let compiled = compile(&sources, &Environment::default());
                assert!(compiled.diagnostics.iter().filter(|d| d.is_error()).count() <= 20);
                if at % 16 == 0 {
                    let _ = render(&compiled.diagnostics, &sources, true);
                }
            }
        }
    }
}

#[test]
fn deep_and_long_texts_do_not_overflow_the_stack() {
    let many = 20_000;
    let bodies = [
        "(",
        "not ",
        "-",
        "[",
        "f(",
        "a and ",
        "a + ",
        "a ?? ",
        "a * ",
        "if a then b else ",
        "count(a over 1h where ",
    ];
    for body in bodies {
        let text = format!("rule r {{ by k match {{ a where {} }} }}", body.repeat(many));
        assert!(super::compile_text(&text, &Environment::default()).has_errors(), "{body}");
    }
    for body in ["{ a: ", "[", "{ a: ["] {
        let text = format!("rule r {{ by k match {{ a }} emit {{ x: {} }}", body.repeat(many));
        assert!(super::compile_text(&text, &Environment::default()).has_errors(), "{body}");
    }
    let text = format!("stream s {{ fields {{ a: {}int }} }}", "list<".repeat(many));
    assert!(super::compile_text(&text, &Environment::default()).has_errors());
    // Chains in parentheses at the left of chains, and chains of definitions: deep trees from shallow text.
    let chain = "+ 1 ".repeat(200);
    let deep = format!("{}a.n{}", "(".repeat(60), format!(" {chain})").repeat(60));
    for text in [
        format!("rule r {{ by k match {{ a where {deep} > 1 }} }}"),
        format!("const c = {deep}"),
        format!("list l: int = [{deep}]"),
        format!("rule r {{ by k match {{ a }} test \"t\" {{ at 1s a {{ n: {deep} }} }} }}"),
        (1..2_000).map(|at| format!("def f{at}(x) = f{}(x) {chain}\n", at - 1)).collect(),
    ] {
        assert!(super::compile_text(&text, &Environment::default()).has_errors());
    }
}
