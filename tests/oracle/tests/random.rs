//! The random rules are rules, and they say something.

use oracle::random::{case, shrink};
use oracle::run;
use pattern_dsl::{Environment, SourceText, compile};
use std::collections::BTreeMap;

#[test]
fn random_rules_compile_and_fire() {
    let (total, mut refused, mut firing, mut firings, mut suppressed) = (5000, Vec::new(), 0, 0, 0);
    let (mut by_steps, mut spent) = ([0; 4], std::time::Duration::ZERO);
    for seed in 0..total {
        let case = case(seed);
        let sources = [SourceText { name: "r.cep".into(), text: case.text.clone() }];
        let environment =
            Environment { streams: case.streams.clone(), tables: Vec::new(), require_declared: false };
        let compiled = compile(&sources, &environment);
        let Some(rule) = compiled.module.rules.first() else {
            let codes: Vec<_> = compiled.diagnostics.iter().filter(|d| d.is_error()).collect();
            refused.push(format!("{codes:?}\n{}", case.text));
            continue;
        };
        let end = case.events.last().map_or(0, |e| e.ts);
        let started = std::time::Instant::now();
        let outcome = run(&compiled.module, rule, &BTreeMap::new(), &case.events, end);
        spent += started.elapsed();
        let fires = usize::from(!outcome.firings.is_empty());
        firing += fires;
        by_steps[rule.steps.len() - 1] += fires;
        firings += outcome.firings.len();
        suppressed += usize::from(outcome.suppressed_cooldown + outcome.suppressed_unless > 0);
    }
    println!(
        "{firing} of {total} cases fire, {firings} times; {suppressed} suppress; {} refused",
        refused.len()
    );
    println!("firing by number of steps: {by_steps:?}; the oracle took {spent:?}");
    assert!(
        refused.len() * 100 < total as usize,
        "{} refused:\n{}",
        refused.len(),
        refused[..refused.len().min(12)].join("\n")
    );
    assert!(
        by_steps.iter().all(|&n| n * 200 > total as usize),
        "{by_steps:?}: each length should fire often"
    );
    assert!(firing * 5 > total as usize, "only {firing} of {total} cases fire");
}

#[test]
fn a_case_follows_from_its_seed_and_shrinks() {
    assert_eq!(case(7).text, case(7).text);
    assert_eq!(case(7).events, case(7).events);
    let small = shrink(case(7), &mut |case| case.events.len() >= 2);
    assert_eq!(small.events.len(), 2);
    assert!(small.events.iter().all(|e| e.ts == 0));
}
