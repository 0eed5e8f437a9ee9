//! The golden cases of language section 5.3, through the compiler and the oracle.

use oracle::golden::golden;
use oracle::run;

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
