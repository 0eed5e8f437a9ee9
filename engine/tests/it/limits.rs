//! How large a rule may be: what is checked can be activated, and what is too large is refused when it is checked.

use super::{Feed, task};
use pattern_dsl::{Environment, SourceText};

const STREAMS: &str =
    "stream a { fields { k: string, v: int } }\nstream b { fields { k: string, v: int } }\n";

/// Parts joined, each with its number.
fn joined(count: usize, by: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(by)
}

/// A rule of so many parts of one kind, all others counted.
fn rule(kind: &str, parts: usize) -> String {
    let within = |steps: String| format!("match within 1h {{ {steps} }}");
    let body = match kind {
        "steps" => within(joined(parts, " then ", |n| format!("a as s{n} where v > {n}"))),
        "members" => {
            let pair = |n| format!("one of {{ a as s{n} where v == {n}, b as t{n} where v == {n} }}");
            within(joined(parts / 2, " then ", pair) + if parts % 2 == 1 { " then a as last" } else { "" })
        }
        "absences" => within(format!(
            "a as first then {} then a as last",
            joined(parts - 2, " then ", |n| format!("no b where v == {n}"))
        )),
        "streams of absences" => {
            let pairs = joined((parts - 2) / 2, " then ", |_| "no one of { a, b } where v > 1".to_owned());
            let odd = if parts % 2 == 1 { "then no a" } else { "" };
            within(format!("a as first then {pairs} {odd} then b as last"))
        }
        "cancels" => within(format!(
            "a as first then a as last {}",
            joined(parts - 2, " ", |n| format!("cancel on b where v == {n}"))
        )),
        "windows" => format!(
            "match {{ a as s where {} }}",
            joined(parts - 1, " and ", |n| format!("count(b over {}m) > {n}", n + 1))
        ),
        // One more for the events of the stream that do not fit.
        "consecutive" => within(joined(parts - 1, " then ", |n| {
            format!("at least 2 consecutive a as s{n} where v == {n}")
        })),
        // Two more for what lies between the last two steps.
        "immediate" => within(format!(
            "{} then immediately b as last",
            joined(parts - 3, " then ", |n| format!("a as s{n} where v == {n}"))
        )),
        // A window and the latches are one each.
        _ => {
            let latches = joined(parts, " and ", |n| format!("count(b over 5m) reaches {}", n + 1));
            format!("match {{ a as s where {latches} }}")
        }
    };
    format!("{STREAMS}rule r {{ by k {body} }}")
}

fn codes(text: &str) -> Vec<&'static str> {
    let sources = [SourceText { name: "r.cep".to_owned(), text: text.to_owned() }];
    let compiled = pattern_dsl::compile(&sources, &Environment::default());
    compiled.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect()
}

#[test]
fn the_largest_rule_is_activated_and_a_larger_one_refused_when_it_is_checked() {
    let kinds = [
        "steps",
        "members",
        "absences",
        "streams of absences",
        "cancels",
        "windows",
        "consecutive",
        "immediate",
    ];
    for (kind, most) in kinds.map(|kind| (kind, 64)).into_iter().chain([("reaches", 32)]) {
        let largest = rule(kind, most);
        assert_eq!(codes(&largest), [""; 0], "{kind}: {largest}");
        task(&super::compile(&largest), Feed::Sorted, false);
        assert_eq!(codes(&rule(kind, most + 1)), ["E335"], "{kind}");
    }
    assert_eq!(codes(&rule("steps", 5_000)), ["E335"]);
}
