//! Every code is documented, and each document's example gives that code; its mended form does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pattern_dsl::{Environment, code_documents, compile, types::Type};

use super::{source, stream};

/// Codes of the table in the language document.
const TABLE: &str = "E101 E102 E103 E104 E105 E106 E107 E108 E109 E117 E118 E119 \
    E201 E202 E203 E204 E205 E206 E207 E208 E209 E210 E211 E212 E223 \
    E301 E302 E303 E321 E322 E323 E324 E325 E326 E331 E332 E333 E334 E335 E336 E341 E342 E343 E344 E345 \
    E351 E352 E353 E361 E390 \
    W110 W208 W210 W211 W214 W216 W217 W218 W219 W220 W221 W345";

/// Reported by the service, which has the request.
const ELSEWHERE: &[&str] = &["E108"];

fn environment(declared: bool) -> Environment {
    use Type::{Bool, Decimal, Enum, String as Text};
    let words = Enum(vec!["pos".to_owned(), "ecom".to_owned()]);
    let mut auth = stream(
        "auth",
        &[
            ("card_id", Text),
            ("amount", Decimal),
            ("tip", Decimal),
            ("approved", Bool),
            ("merchant", Text),
            ("channel", words),
        ],
    );
    auth.fields[2].nullable = true;
    let streams = vec![
        auth,
        stream("login", &[("user_id", Text), ("ok", Bool), ("country", Text)]),
        stream("logout", &[("user_id", Text)]),
        stream("reset", &[("user_id", Text)]),
        stream("withdrawal", &[("owner", Text), ("amount", Decimal)]),
        stream("paid_order", &[("order_id", Text), ("carrier", Text)]),
        stream("shipped", &[("order_id", Text)]),
        stream("temp", &[("machine", Text), ("celsius", Decimal)]),
        stream("vibration", &[("machine", Text), ("rms", Decimal)]),
    ];
    Environment { streams, require_declared: declared, ..Environment::default() }
}

/// Codes that a text gives. That a rule has no test is of interest to its own code only.
fn codes(text: &str, code: &str) -> BTreeSet<&'static str> {
    let compiled = compile(&source(text), &environment(code == "E206"));
    compiled.diagnostics.iter().map(|d| d.code).filter(|c| *c != "W110" || code == "W110").collect()
}

#[test]
fn every_example_gives_its_code_and_the_mended_form_none() {
    let mut wrong = Vec::new();
    for document in code_documents() {
        let code = document.code;
        if ELSEWHERE.contains(&code) {
            continue;
        }
        let (bad, good) = (codes(document.wrong, code), codes(document.mended, code));
        if !bad.iter().eq([&code]) || !good.is_empty() {
            wrong.push(format!("{code}: wrong gives {bad:?}, mended gives {good:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_complete() {
    let documented: Vec<&str> = code_documents().map(|d| d.code).collect();
    assert_eq!(documented, TABLE.split_whitespace().collect::<Vec<_>>());
    for document in code_documents() {
        let shown = pattern_dsl::explain_code(&document.code.to_lowercase()).unwrap();
        assert!(shown.starts_with(document.code) && shown.contains("Mended:"), "{shown}");
    }
    assert_eq!(pattern_dsl::explain_code("E999"), None);
}

fn emitted(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            emitted(&path, found);
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for quoted in text.split('"').skip(1) {
            let digits = quoted.get(1..).unwrap_or("");
            if quoted.len() == 4
                && quoted.starts_with(['E', 'W'])
                && digits.chars().all(|c| c.is_ascii_digit())
            {
                found.insert(quoted.to_owned());
            }
        }
    }
}

#[test]
fn every_code_of_the_sources_is_documented() {
    let mut found = BTreeSet::new();
    emitted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 50);
    for code in found {
        assert!(pattern_dsl::explain_code(&code).is_some(), "{code}");
    }
}
