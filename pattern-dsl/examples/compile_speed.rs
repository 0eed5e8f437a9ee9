//! How long the compiler takes for generated rules, warnings shown: `cargo run --release -p pattern-dsl --example compile_speed`.

use pattern_dsl::{Environment, SourceText, compile, render};
use std::time::{Duration, Instant};

const STREAMS: &str = r#"stream auth { time ts id id fields {
  card_id: string, user: string, approved: bool, amount: decimal, merchant: string?, country: string?, bin: string,
} }
stream login { time ts fields { user: string, ip: string, ok: bool, device: string? } }
stream payout { time ts fields { user: string, amount: decimal, payee: string } }
list vip: string = ["a", "b"]
const floor = 5
"#;

/// Rules of the shapes that packs have, one after the other; `N` is the rule's number.
const SHAPES: [&str; 6] = [
    r#"rule rN {
  title "Probes, then a hit"
  by card_id
  match within 10m {
    at least 3 auth as probe where approved and amount < floor
    then auth as hit where approved and amount > 20 * avg(probe.amount)
  }
  unless card_id in @vip
  severity if hit.amount >= 1000 then critical else high
  reason "{count(probe)} probes, then {hit.amount} at {hit.merchant}"
  emit { probes: count(probe), amount: hit.amount }
  cooldown 1h
  test "fires" {
    given auth { card_id: "c", user: "u", approved: true, bin: "1" }
    at 0s, 1s, 2s auth { amount: 1 }
    at 3s auth { amount: N }
    advance to 1h
    expect nothing
  }
}
"#,
    r#"rule rN {
  by user
  match { login as l where ok and ip != "N" then no payout for 30m where amount > N }
  severity low
}
"#,
    r#"rule rN {
  by user
  match within 1h {
    all of { login as l where ok, optional auth as a where amount > N }
    then payout as p where amount > 100 and payee != l.user
    cancel on login where not ok
  }
  having p.amount > N
}
"#,
    r#"rule rN {
  by bin
  from auth where country is not null
  match { auth as a where distinct(auth.card_id over 10m) reaches N }
  cooldown 1h
}
"#,
    r#"rule rN {
  by user
  match within 1d {
    no login for 30d where device == first_one.device
    then login as first_one
    then within 1h 2 to 5 payout as out where amount > 10
    then immediately payout as last_one where amount > sum(out.amount)
  }
}
"#,
    r#"rule rN {
  by user (alert.keys.user)
  match within 1d { alert as a where rule == "r1" then alert as b where rule in ["r2", "r4"] and score > 1 }
}
"#,
];

fn rule(number: usize) -> String {
    SHAPES[number % SHAPES.len()].replace('N', &number.to_string())
}

/// Rules in so many files, and a file of streams.
fn files(rules: usize, files: usize) -> Vec<SourceText> {
    let mut all = vec![SourceText { name: "streams.cep".to_owned(), text: STREAMS.to_owned() }];
    for file in 0..files {
        let text = (0..rules).filter(|number| number % files == file).map(rule).collect();
        all.push(SourceText { name: format!("{file}.cep"), text });
    }
    all
}

fn measure(name: &str, sources: &[SourceText]) {
    let begun = Instant::now();
    let compiled = compile(sources, &Environment::default());
    let compiling = begun.elapsed();
    let shown = render(&compiled.diagnostics, sources, false);
    let all = begun.elapsed();
    let errors = compiled.diagnostics.iter().filter(|d| d.is_error()).count();
    println!(
        "{name}: {} rules, compiled in {compiling:.3?}, with {} findings ({errors} errors, {} kB) shown {all:.3?}",
        compiled.module.rules.len(),
        compiled.diagnostics.len(),
        shown.len() / 1000
    );
}

fn main() {
    let one: Vec<SourceText> =
        vec![SourceText { name: "one.cep".to_owned(), text: format!("{STREAMS}{}", rule(0)) }];
    let mut times: Vec<Duration> = (0..1001)
        .map(|_| {
            let begun = Instant::now();
            assert!(!compile(&one, &Environment::default()).has_errors());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("one rule with its streams: median {:.3?}", times[500]);
    measure("1,000 files of a rule", &files(1_000, 1_000));
    measure("1,000 files", &files(10_000, 1_000));
    measure("one file", &files(10_000, 1));
    let mut line = files(1_000, 1);
    line[1].text = line[1].text.replace('\n', " ");
    measure("one line", &line);
    let mut twice = files(10_000, 1);
    twice[1].text = twice[1].text.replace("rule r1", "rule r2");
    measure("names given twice", &twice);
}
