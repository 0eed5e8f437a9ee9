//! The golden cases of language section 5.3, through the compiler and the oracle.

use oracle::golden::{event, golden, stream, time};
use oracle::{Event, Tables, run, run_all};
use pattern_dsl::{Environment, SourceText, compile};

#[test]
fn golden_cases() {
    let mut wrong = Vec::new();
    for golden in golden() {
        let golden = match golden {
            Ok(golden) => golden,
            Err(error) => {
                wrong.push(error);
                continue;
            }
        };
        let outcome =
            run(&golden.module, &golden.module.rules[0], &golden.tables, &golden.events, golden.end);
        let fired: Vec<_> = outcome.firings.iter().map(|f| (f.steps.clone(), f.fired_by, f.time)).collect();
        let got = golden.write(&fired, outcome.suppressed_cooldown, outcome.suppressed_unless);
        if got != golden.expected {
            wrong.push(format!("{}: {}\n    got {got}", golden.number, golden.line));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// By rule: time in minutes and steps of each firing; derived events count from the last one given.
fn chained(text: &str, stream_text: &str, end: &str) -> Vec<String> {
    let streams = ["a", "b", "c"].map(stream).to_vec();
    let sources = [SourceText { name: "golden.cep".into(), text: text.to_owned() }];
    let compiled = compile(&sources, &Environment { streams, ..Environment::default() });
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    let tokens = stream_text.split_whitespace().enumerate();
    let events: Vec<Event> =
        tokens.map(|(offset, token)| event(&compiled.module.streams, token, offset).1).collect();
    let all = run_all(&compiled.module, &Tables::new(), &events, time(end), &|firing, _| firing.rule.clone());
    let shown = |outcome: &oracle::Outcome| {
        let firings = outcome.firings.iter().map(|f| format!("{}{:?}", f.time / 60_000_000, f.steps));
        firings.collect::<Vec<_>>().join(" ")
    };
    all.outcomes.iter().map(shown).collect()
}

#[test]
fn alerts_are_events_of_higher_rules() {
    let pair = "rule r { match within 10m { a then b } }";
    let twice = "rule s { match within 10m { alert as x then alert as y } }";
    assert_eq!(
        chained(&format!("{pair} {twice}"), "a0 b1 a2 b3", "9"),
        ["1[[0], [1]] 3[[2], [3]]", "3[[4], [5]]"]
    );
    // A timer's alert comes after all events of its time.
    let lone = "rule r { match { a then no b for 5m } }";
    let then = "rule s { match within 10m { alert as x then c } }";
    assert_eq!(chained(&format!("{lone} {then}"), "a0 c5 c6", "9"), ["5[[0]]", "6[[3], [2]]"]);
    // Alerts of one time are in the order of the rules' names; a rule that names none reads those that read none.
    let both = "rule q { match { b as x } } rule p { match { b as x } } rule all { match { alert as x } emit { n: x.rule } }";
    assert_eq!(chained(both, "b1", "9"), ["1[[0]]", "1[[0]]", "1[[2]] 1[[1]]"]);
    let above = "rule u { from alert where rule == \"s\" match { alert as x then no alert for 2m } }";
    assert_eq!(
        chained(&format!("{pair} {twice} {above}"), "a0 b1 a2 b3", "9"),
        ["1[[0], [1]] 3[[2], [3]]", "3[[4], [5]]", "5[[6]]"]
    );
}
