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

#[test]
fn values_that_are_one_key_are_shown_alike_in_alerts_of_it() {
    let module = super::compile(
        "stream a { time ts in order fields { price: decimal } }
         rule r { by price match { a as x then no a for 10s } overlap all }",
    );
    let mut task = super::task(&module, super::Feed::Sorted, false);
    let mut out = Outputs::default();
    let text = |text| Literal::Decimal(Decimal::parse(text).expect("a decimal"));
    for (number, (price, at)) in [("1.50", 0), ("1.5", 100), ("1.500", 200)].into_iter().enumerate() {
        let ts = at * 1_000_000;
        let event =
            Event { stream: 0, ts, partition: 0, offset: number as u64, id: None, fields: vec![text(price)] };
        super::feed_event(&mut task, &module, number, &event, &mut out);
    }
    task.step(Input::Time(300_000_000), &mut out);
    let keys: Vec<String> = out.alerts.iter().map(|alert| alert.keys[0].1.value.to_string()).collect();
    assert_eq!(keys, ["1.5", "1.5", "1.5"]);
}
