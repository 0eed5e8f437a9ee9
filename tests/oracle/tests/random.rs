//! The random rules are rules, and they say something.

use oracle::random::{Case, Features, case, case_with, shrink};
use oracle::run_all;
use pattern_dsl::{Compiled, Environment, SourceText, compile};
use std::collections::BTreeMap;

fn compiled(case: &Case) -> Compiled {
    let sources = [SourceText { name: "r.cep".into(), text: case.text.clone() }];
    let environment =
        Environment { streams: case.streams.clone(), tables: Vec::new(), require_declared: false };
    compile(&sources, &environment)
}

#[test]
fn random_rules_compile_and_fire() {
    let (total, mut refused, mut firing) = (5000, Vec::new(), 0);
    let mut by_construct: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let (mut spent, mut longest) = (std::time::Duration::ZERO, (std::time::Duration::ZERO, 0));
    for seed in 0..total {
        let case = case(seed);
        let compiled = compiled(&case);
        for construct in &case.constructs {
            by_construct.entry(construct).or_default().0 += 1;
        }
        if compiled.has_errors() || compiled.module.rules.is_empty() {
            let errors: Vec<_> = compiled.diagnostics.iter().filter(|d| d.is_error()).collect();
            refused.push(format!("{errors:?}\n{}", case.text));
            continue;
        }
        let end = case.events.last().map_or(0, |e| e.ts);
        let started = std::time::Instant::now();
        let all =
            run_all(&compiled.module, &case.tables, &case.events, end, &|f, _| format!("{:?}", f.steps));
        let took = started.elapsed();
        spent += took;
        longest = longest.max((took, seed));
        let fires = all.outcomes.last().is_some_and(|outcome| !outcome.firings.is_empty());
        firing += usize::from(fires);
        for construct in &case.constructs {
            let counts = by_construct.entry(construct).or_default();
            counts.1 += 1;
            counts.2 += usize::from(fires);
        }
    }
    println!("{firing} of {total} cases fire; {} refused; {spent:?}, longest {longest:?}", refused.len());
    for (construct, (made, taken, fired)) in &by_construct {
        println!("{construct:32} {made:5} {taken:5} {fired:5}");
    }
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for text in &refused {
        *codes
            .entry(text.split("message: ").nth(1).unwrap_or("").split(", span").next().unwrap_or(""))
            .or_default() += 1;
    }
    println!("{codes:?}");
    assert!(
        refused.len() * 10 < total as usize,
        "{} refused:\n{}",
        refused.len(),
        refused[..refused.len().min(6)].join("\n")
    );
    let dead: Vec<_> = by_construct.iter().filter(|(_, (.., fired))| *fired < 5).collect();
    assert!(dead.is_empty(), "hardly ever fire: {dead:?}");
    assert!(firing * 5 > total as usize, "only {firing} of {total} cases fire");
}

#[test]
fn a_case_follows_from_its_seed_and_shrinks() {
    assert_eq!(case(7).text, case(7).text);
    assert_eq!(case(7).events, case(7).events);
    let small = shrink(case(7), &mut |case| case.events.len() >= 2 && !compiled(case).has_errors());
    assert_eq!(small.events.len(), 2);
    assert!(small.events.iter().all(|e| e.ts == 0));
    assert!(small.text.lines().count() <= 6, "{}", small.text);
}

#[test]
fn features_switch_constructs_off() {
    let plain = Features::only("").expect("no name is wrong");
    let sets = Features::only("sets,optional").expect("these are features");
    for seed in 0..300 {
        let constructs = case_with(seed, plain).constructs;
        assert!(constructs.iter().all(|c| ["by", "test across steps"].contains(c)), "{constructs:?}");
        assert!(!case_with(seed, sets).text.contains("at least 1 a"));
    }
    assert!(Features::only("set").is_err());
}
