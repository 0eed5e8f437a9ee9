//! Rules that are alike but for names, words and limits: each keeps to its own.

use engine::event::EventRef;
use engine::task::{Input, Outputs};
use engine::value::Value;
use pattern_dsl::decimal::Decimal;
use std::fmt::Write;

const SECOND: i64 = 1_000_000;
const STREAM: &str =
    "stream ev { time ts in order fields { k: string, kind: string, n: int, amount: decimal } }\n";

/// Gives a task events of one second each: `kind`, `n`, `amount`. What the alerts emit, `rule: name=value ..`.
fn alerts(rules: &str, events: &[(&str, i64, &str)]) -> Vec<String> {
    let module = super::compile(&format!("{STREAM}{rules}"));
    let mut task = super::task(&module, super::Feed::Sorted, false);
    let mut out = Outputs::default();
    for (second, (kind, n, amount)) in (1..).zip(events) {
        let slots: Vec<Value> = task.layout().streams[0]
            .fields
            .iter()
            .map(|field| match field.path.join(".").as_str() {
                "k" => Value::String("k".into()),
                "kind" => Value::String((*kind).into()),
                "n" => Value::Int(*n),
                _ => Value::decimal(Decimal::parse(amount).expect("a decimal")),
            })
            .collect();
        let ts = second * SECOND;
        task.step(
            Input::Event(EventRef {
                stream: 0,
                ts,
                partition: 0,
                offset: ts as u64,
                id: None,
                slots: &slots,
            }),
            &mut out,
        );
    }
    let told = out.alerts.iter().map(|alert| {
        let mut line = format!("{}:", alert.rule);
        for (name, shown) in &alert.fields {
            write!(line, " {name}={}", shown.value).expect("a string takes it");
        }
        line
    });
    told.collect()
}

fn rule(name: &str, first: &str, second: &str, least: u32, factor: &str) -> String {
    format!(
        "rule {name} {{ by k match within 1m {{
           ev as a where kind == \"{first}\" and n > {least}
           then first ev as b where kind == \"{second}\" and amount > a.amount * {factor}
         }} emit {{ first: a.kind, second: b.kind, times: a.amount * {factor} }} overlap all }}\n"
    )
}

#[test]
fn each_has_its_own_words_and_limits() {
    let rules = [
        rule("one", "x", "y", 1, "2"),
        rule("two", "u", "v", 1, "2"),
        rule("three", "x", "v", 5, "2"),
        rule("four", "x", "y", 1, "2.00"),
    ];
    let events = [("x", 2, "1.5"), ("u", 2, "1"), ("y", 0, "4"), ("v", 0, "4"), ("x", 6, "1"), ("v", 0, "4")];
    let mut told = alerts(&rules.concat(), &events);
    told.sort();
    assert_eq!(
        told,
        [
            "four: first=x second=y times=3.000",
            "one: first=x second=y times=3.0",
            "three: first=x second=v times=2",
            "two: first=u second=v times=2",
        ]
    );
}

#[test]
fn many_rules_of_many_forms_keep_apart() {
    // More forms than are remembered, each twice, one after the other and again after all others.
    let form = |turn: u32, seconds: u32| {
        format!(
            "rule r{turn}_{seconds} {{ by k match within {seconds}s {{ ev as a where kind == \"x{turn}\" then ev as b \
             where kind == \"y\" }} emit {{ first: a.kind }} overlap all }}\n"
        )
    };
    let rules: String = (0..2).flat_map(|turn| (1..=100).map(move |seconds| form(turn, seconds))).collect();
    let events: Vec<(&str, i64, &str)> = std::iter::once(("x0", 0, "0"))
        .chain(std::iter::once(("x1", 0, "0")))
        .chain(std::iter::repeat_n(("z", 0, "0"), 48))
        .chain(std::iter::once(("y", 0, "0")))
        .collect();
    let mut told = alerts(&rules, &events);
    // The first event is 50 s before the last, the second 49 s.
    let expected = |turn: u32, from: u32| (from..=100).map(move |s| format!("r{turn}_{s}: first=x{turn}"));
    let mut expected: Vec<String> = expected(0, 50).chain(expected(1, 49)).collect();
    expected.sort();
    told.sort();
    assert_eq!(told, expected);
}
