//! `run --threads`: whatever the number of threads, the same alerts, rejected lines and words, in the same order.

use crate::command::{err, folder, out, tripline};
use std::fmt::Write as _;

const RULES: &str = r#"stream auth { time ts id id late 2m fields { user: string, ok: bool, amount: decimal? } }
stream pay { time ts id id late 2m fields { user: string, amount: decimal } }
rule refused_then_paid {
  by user
  match within 10m { auth as a where not ok then pay as p where amount > 900 }
  emit { amount: p.amount }
}
rule twice {
  by user
  match within 5m { auth as a where not ok then first auth as b where ok and amount > 5 }
}
"#;

/// Sound lines and all kinds of others. What the first numbers say of the unit holds for the numbers after them.
fn auth() -> String {
    let mut text = String::new();
    for n in 0..12_000u64 {
        let at = 1_772_359_200_000 + n * 500 + (n * 7_919 % 61) * 1_000;
        let time = match n {
            0..1_500 => format!("\"2026-03-01T10:{:02}:{:02}Z\"", n / 120, n / 2 % 60),
            _ if n % 53 == 0 => format!("\"{at}\""),
            _ if n % 1_999 == 0 => (at / 1_000).to_string(),
            _ => at.to_string(),
        };
        let id = n - u64::from(n % 37 == 5);
        let (user, ok) = (n * 31 % 97, n % 3 != 0);
        let _ = match n {
            _ if n % 997 == 7 => writeln!(text, "{{\"ts\":{time},\"id\":\"a{id}\",\"user\":\"u{user}\""),
            _ if n % 613 == 9 => {
                writeln!(text, "{{\"ts\":{time},\"id\":\"a{id}\",\"user\":{user},\"ok\":{ok}}}")
            }
            _ if n % 401 == 3 => writeln!(text, "{{\"id\":\"a{id}\",\"user\":\"u{user}\",\"ok\":{ok}}}"),
            _ if n % 211 == 1 => writeln!(text, "\n{{\"us\\u0065r\":\"u{user}\",\"ok\":{ok},\"ts\":{time}}}"),
            _ if n % 2 == 0 => {
                writeln!(
                    text,
                    "{{\"ts\":{time},\"id\":\"a{id}\",\"user\":\"u{user}\",\"ok\":{ok},\"amount\":{}.50}}",
                    n % 11
                )
            }
            _ => writeln!(
                text,
                "{{\"ok\": {ok}, \"ts\": {time}, \"x\": [1, {{}}], \"id\": \"a{id}\", \"user\": \"u{user}\"}}"
            ),
        };
    }
    text
}

fn pay() -> String {
    let mut text = "id,ts,user,amount\n".to_owned();
    for n in 0..4_000u64 {
        let at = 1_772_359_200 + n * 3 / 2;
        let _ = match n {
            _ if n % 701 == 5 => writeln!(text, "p{n},{at},u{}", n % 97),
            _ if n % 307 == 2 => writeln!(text, "p{n},{at},u{},much", n % 97),
            _ => writeln!(text, "p{n},{at},u{},{}.25", n * 13 % 97, n * 7 % 1_000),
        };
    }
    text
}

#[test]
fn any_number_of_threads_tells_the_same() {
    let f = folder(&[("rules.cep", RULES), ("auth.jsonl", &auth()), ("pay.csv", &pay())]);
    for way in [&[][..], &["--arrival-order"], &["--sort-memory", "200000"], &["--strict"]] {
        let told = |threads: &str| {
            let common = [
                "run",
                "rules.cep",
                "auth.jsonl",
                "pay.csv",
                "--json",
                "--rejected",
                "rejected",
                "--threads",
            ];
            let output = tripline(f.path(), &[&common[..], &[threads], way].concat(), "");
            let said = err(&output);
            let said: Vec<_> =
                said.lines().filter(|line| !line.starts_with("took")).map(str::to_owned).collect();
            let rejected = std::fs::read_to_string(f.path().join("rejected")).expect("rejected");
            (output.status.code(), out(&output), said, rejected)
        };
        let one = told("1");
        let rejected = one.3.lines().count();
        if way == ["--strict"] {
            assert_eq!((one.0, rejected), (Some(1), 1), "{:?}", one.2);
        } else {
            assert_eq!(one.0, Some(0), "{:?}", one.2);
            assert!(one.1.lines().count() > 100 && rejected > 60, "{way:?}: {:?}", one.2);
        }
        for threads in ["2", "5"] {
            let many = told(threads);
            assert_eq!(many.2, one.2, "{way:?}, {threads} threads: what is said");
            assert!(many == one, "{way:?}, {threads} threads: alerts or rejected lines differ");
        }
    }
}
