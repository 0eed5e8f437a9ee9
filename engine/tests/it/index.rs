//! Many rules beside each other, each wanting few events: what the event finds is what the definition says.

use crate::{Dice, Feed, compile, event, run};
use engine::alert::{Alert, Evidence, EvidenceEvent};
use oracle::{Event, Tables};
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::Module;
use pattern_dsl::types::Literal;

const STREAM: &str = "stream e { fields { k: string, word: string?, whole: int?, exact: decimal?, real: float?, at: duration?, ts: instant } time ts in order }\n";

/// A test of one field; each word and limit occurs in several rules.
fn term(dice: &mut Dice) -> String {
    let order = ["<", "<=", ">", ">=", "==", "!="][dice.below(6)];
    match dice.below(6) {
        0 => format!("word == \"{}\"", ["a", "b", "c", "d", "e", "f"][dice.below(6)]),
        1 => format!("whole {order} {}", dice.below(6) as i64 - 2),
        2 => format!("exact {order} {}", ["0.5", "1", "1.50", "2", "2.5", "-1"][dice.below(6)]),
        3 => format!("real {order} {}", ["0.5", "1", "1.5", "2", "2.5", "-1.0"][dice.below(6)]),
        4 => format!("at {order} {}", ["1s", "2s", "3s", "1m", "90s"][dice.below(5)]),
        _ => format!("word in [\"{}\", \"g\"]", ["a", "b"][dice.below(2)]),
    }
}

fn module(dice: &mut Dice) -> Module {
    let mut text = STREAM.to_owned();
    for rule in 0..40 {
        let condition = |dice: &mut Dice| {
            let terms: Vec<String> = (0..dice.below(4)).map(|_| term(dice)).collect();
            if terms.is_empty() { String::new() } else { format!(" where {}", terms.join(" and ")) }
        };
        let (a, b) = (condition(dice), condition(dice));
        // Some rules want events for two steps, by one condition or by two.
        let body = match dice.below(3) {
            0 => format!("match {{ e as a{a} }}"),
            1 => format!("match within 5s {{ e as a{a} then first e as b{a} }}"),
            _ => format!("match within 5s {{ e as a{a} then e as b{b} }}"),
        };
        text.push_str(&format!("rule r{rule:02} {{ by k {body} overlap all }}\n"));
    }
    compile(&text)
}

fn events(module: &Module, dice: &mut Dice) -> Vec<Event> {
    let number = |dice: &mut Dice| {
        Decimal::parse(["-1", "0.5", "1.0", "1.5", "2", "2.50"][dice.below(6)]).expect("a number")
    };
    let mut ts = 0;
    let mut made = Vec::new();
    for offset in 0..25 {
        ts += dice.below(3) as i64 * 1_000_000;
        let mut fields = vec![("k", Literal::String(["x", "y"][dice.below(2)].to_owned()))];
        let values = [
            ("word", Literal::String(["a", "b", "c", "d", "e", "f", "g"][dice.below(7)].to_owned())),
            ("whole", Literal::Int(dice.below(7) as i64 - 2)),
            ("exact", Literal::Decimal(number(dice))),
            ("real", Literal::Float(number(dice).to_f64())),
            ("at", Literal::Duration([1, 2, 3, 60, 90][dice.below(5)] * 1_000_000)),
        ];
        // One in six is unknown.
        fields.extend(values.into_iter().filter(|_| dice.below(6) > 0));
        made.push(event(module, "e", ts, offset, &fields));
    }
    made
}

/// What each step of an alert took: numbers of events.
fn taken(alert: &Alert) -> Vec<Vec<usize>> {
    let steps = alert.evidence.iter().filter_map(|evidence| match evidence {
        Evidence::Step { events, .. } => Some(events),
        Evidence::Absence { .. } => None,
    });
    let number = |event: &EvidenceEvent| event.id.value.to_string().parse().expect("a number");
    steps.map(|events| events.iter().map(number).collect()).collect()
}

#[test]
fn an_event_finds_the_rules_that_want_it() {
    let mut fired = 0;
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let module = module(&mut dice);
        let events = events(&module, &mut dice);
        let (out, _) = run(&module, &events, Feed::Sorted);
        let end = events.last().map_or(0, |event| event.ts);
        for rule in &module.rules {
            let expected = oracle::run(&module, rule, &Tables::new(), &events, end).firings;
            let mut expected: Vec<Vec<Vec<usize>>> =
                expected.into_iter().map(|firing| firing.steps).collect();
            let alerts = out.alerts.iter().filter(|alert| alert.rule == rule.name.as_str());
            let mut found: Vec<Vec<Vec<usize>>> = alerts.map(taken).collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "seed {seed}, rule {}", rule.name);
            fired += expected.len();
        }
    }
    assert!(fired > 10_000, "{fired} alerts are enough to show something");
}
