//! What `explain` says of rules that together use every construct, and that its pictures are well-formed.

use std::fs;
use std::path::Path;

use pattern_dsl::{Environment, SourceText, compile, explain, ir, render};

fn module() -> ir::Module {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/explain.cep")).unwrap();
    super::good(&text, &Environment::default())
}

fn shown(module: &ir::Module, rule: &ir::Rule) -> String {
    let lines = |lines: Vec<String>| lines.into_iter().map(|l| format!("- {l}\n")).collect::<String>();
    format!(
        "{}\n\nDefaults:\n{}\nCost:\n{}\n{}",
        explain::paraphrase(module, rule),
        lines(explain::defaults(module, rule)),
        lines(explain::cost(module, rule)),
        explain::automaton(module, rule).to_text()
    )
}

#[test]
fn rules_are_explained_as_recorded() {
    let module = module();
    assert_eq!(module.rules.len(), 16);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/explain");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for rule in &module.rules {
        let (file, text) = (folder.join(format!("{}.txt", rule.name)), shown(&module, rule));
        if update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(file, text).unwrap();
        } else if fs::read_to_string(file).unwrap_or_default() != text {
            wrong.push(text);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every tag is closed in order and every `&` begins an entity.
fn well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("{piece}"));
        assert!(!text.contains('>'), "{piece}");
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{svg}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for entity in svg.split('&').skip(1) {
        assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|e| entity.starts_with(e)), "{entity}");
    }
}

#[test]
fn pictures_are_well_formed() {
    let module = module();
    for rule in &module.rules {
        let automaton = explain::automaton(&module, rule);
        let last = automaton.states.len();
        assert!(automaton.edges.iter().all(|e| e.from < last && e.to < last));
        assert!(automaton.edges.iter().any(|e| automaton.states[e.to].kind == explain::StateKind::Alert));
        well_formed(&automaton.to_svg());
        for line in automaton.to_dot().lines().chain(automaton.to_mermaid().lines()) {
            assert_eq!(line.replace("\\\\", "").replace("\\\"", "").matches('"').count() % 2, 0, "{line}");
        }
    }
}

/// Every example rule of the language can be explained, and says something of each of its steps.
#[test]
fn the_example_rules_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let sources: Vec<SourceText> = ["examples.cep", "example_streams.cep"]
        .map(|name| SourceText {
            name: name.to_owned(),
            text: fs::read_to_string(folder.join(name)).unwrap(),
        })
        .to_vec();
    let compiled = compile(&sources, &Environment::default());
    assert!(!compiled.has_errors(), "{}", render(&compiled.diagnostics, &sources, false));
    let module = compiled.module;
    assert_eq!(module.rules.len(), 27);
    for rule in &module.rules {
        let (text, automaton) = (shown(&module, rule), explain::automaton(&module, rule));
        assert!(!text.contains('?') || text.contains(")?"), "{text}");
        for step in &rule.steps {
            assert!(text.contains(&format!("`{}`", step.name)), "{text}");
            assert!(automaton.states.iter().any(|s| s.name == step.name), "{text}");
        }
        well_formed(&automaton.to_svg());
    }
}

#[test]
fn text_of_a_rule_cannot_break_the_picture() {
    let text = "stream s { fields { k: string, v: string } }
        rule r { by k match within 1m { s as a where v == \"<b>&\\\"\" then s as b where v < \"]]>\" } }";
    let module = super::good(text, &Environment::default());
    let automaton = explain::automaton(&module, &module.rules[0]);
    let svg = automaton.to_svg();
    well_formed(&svg);
    assert!(svg.contains("&lt;b&gt;&amp;"), "{svg}");
    assert!(!automaton.to_mermaid().contains("<b>"));
    assert!(automaton.to_dot().contains("\\\"<b>&\\\\\\\"\\\""), "{}", automaton.to_dot());
}
