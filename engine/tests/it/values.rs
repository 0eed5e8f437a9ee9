//! Values: equality, order and text of addresses and places; sums that do not lose anything.

use engine::value::Value;
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
