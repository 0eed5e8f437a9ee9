//! Values: equality, order and text of addresses and places; sums that do not lose anything.

use engine::task::{Input, Outputs};
use engine::value::Value;
use oracle::Event;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::types::Literal;

fn ip(text: &str) -> Value {
    Value::from_literal(&Literal::Ip(text.parse().expect("an address")))
}

#[test]
fn a_value_is_two_words() {
    assert_eq!(std::mem::size_of::<Value>(), 16);
}

#[test]
fn addresses_and_places() {
    assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
    assert_eq!(ip("::ffff:10.0.0.1").to_string(), "10.0.0.1");
    assert_ne!(ip("10.0.0.1"), ip("10.0.0.2"));
    assert_eq!(ip("2001:DB8::1").to_string(), "2001:db8::1");
    let place = Value::from_literal(&Literal::Geo(52.5, -13.25));
    assert_eq!(place.to_string(), "52.5,-13.25");
    assert_eq!(place, Value::geo(52.5, -13.25));
    assert_ne!(place, Value::geo(52.5, 13.25));
}

/// Keys and reasons of the alerts that events a minute apart raise, each with one of these values as its key.
fn shown(kind: &str, brought: [Literal; 3]) -> Vec<(String, String)> {
    let module = super::compile(&format!(
        "stream a {{ time ts in order fields {{ price: {kind} }} }}
         rule r {{ by price match {{ a as x then no a for 10s }} overlap all reason \"{{price}}\" }}"
    ));
    let mut task = super::task(&module, super::Feed::Sorted, false);
    let mut out = Outputs::default();
    for (number, price) in brought.into_iter().enumerate() {
        let ts = number as i64 * 60_000_000;
        let event =
            Event { stream: 0, ts, partition: 0, offset: number as u64, id: None, fields: vec![price] };
        super::feed_event(&mut task, &module, number, &event, &mut out);
    }
    task.step(Input::Time(300_000_000), &mut out);
    out.alerts.iter().map(|alert| (alert.keys[0].1.value.to_string(), alert.reason.text.clone())).collect()
}

#[test]
fn values_that_are_one_key_are_shown_alike_in_alerts_of_it() {
    let decimal = |text| Literal::Decimal(Decimal::parse(text).expect("a decimal"));
    let alike = |text: &str| vec![(text.to_owned(), text.to_owned()); 3];
    assert_eq!(shown("decimal", ["1.50", "1.5", "1.500"].map(decimal)), alike("1.5"));
    assert_eq!(shown("float", [-0.0, 0.0, -0.0].map(Literal::Float)), alike("0"));
}
