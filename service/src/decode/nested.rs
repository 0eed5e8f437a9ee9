//! Values with an inside: places and lists, from JSON text and from CSV fields.

use super::time::{parse_duration, parse_rfc3339_in};
use engine::value::Value;
use jiff::tz::TimeZone;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::types::Type;
use serde_json::value::RawValue;

/// A value of a type from its JSON text: what stands in lists, places, and table files. None if it is something else.
pub(crate) fn from_json(ty: &Type, text: &str, zone: Option<&TimeZone>) -> Option<Value> {
    let text = text.trim();
    if text == "null" {
        return Some(Value::Null);
    }
    match ty {
        Type::Geo => geo(text),
        Type::List(item) => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items = items.into_iter().map(|raw| from_json(item, raw.get(), zone));
            Some(Value::List(Box::new(items.collect::<Option<_>>()?)))
        }
        Type::Bool => serde_json::from_str(text).ok().map(Value::Bool),
        Type::Int => match text.parse() {
            Ok(whole) => Some(Value::Int(whole)),
            Err(_) => {
                let number: f64 = serde_json::from_str(text).ok()?;
                (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(Value::Int(number as i64))
            }
        },
        Type::Decimal => Decimal::parse(text).map(Value::decimal),
        Type::Float => serde_json::from_str(text).ok().map(Value::Float),
        Type::Instant if !text.starts_with('"') => {
            let number: i64 = text.parse().ok()?;
            super::Unit::by_size(number).to_micros(number).map(Value::Instant)
        }
        Type::String | Type::Enum(_) | Type::Ip | Type::Instant | Type::Duration => {
            let text: String = serde_json::from_str(text).ok()?;
            from_text(ty, &text, zone)
        }
    }
}

/// A value of a type from plain text, such as a CSV field.
pub(crate) fn from_text(ty: &Type, text: &str, zone: Option<&TimeZone>) -> Option<Value> {
    match ty {
        Type::String => Some(Value::String(text.into())),
        Type::Enum(words) => words.iter().any(|word| word == text).then(|| Value::String(text.into())),
        Type::Ip => text.parse().ok().map(Value::ip),
        Type::Duration => parse_duration(text).map(Value::Duration),
        Type::Instant => match text.parse::<i64>() {
            Ok(number) => super::Unit::by_size(number).to_micros(number),
            Err(_) => parse_rfc3339_in(text.as_bytes(), zone),
        }
        .map(Value::Instant),
        Type::Geo => match text.split_once(',') {
            Some((latitude, longitude)) if !text.starts_with(['{', '[']) => {
                place(latitude.trim().parse().ok()?, longitude.trim().parse().ok()?)
            }
            _ => from_json(ty, text, zone),
        },
        Type::Bool => match text {
            "true" | "True" | "TRUE" => Some(Value::Bool(true)),
            "false" | "False" | "FALSE" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Int | Type::Decimal | Type::Float | Type::List(_) => from_json(ty, text, zone),
    }
}

fn place(latitude: f64, longitude: f64) -> Option<Value> {
    let on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
    on_earth.then(|| Value::geo(latitude, longitude))
}

/// `{"lat": 52.5, "lon": 13.4}` (also `latitude`, `longitude`, `lng`), a GeoJSON point, or `"52.5,13.4"`. A bare list is
/// refused: which of its numbers comes first differs from source to source.
fn geo(text: &str) -> Option<Value> {
    match serde_json::from_str(text).ok()? {
        serde_json::Value::String(text) if !text.starts_with(['{', '[']) => {
            from_text(&Type::Geo, &text, None)
        }
        serde_json::Value::Object(object) => {
            if object.get("type").and_then(serde_json::Value::as_str) == Some("Point") {
                let coordinates = object.get("coordinates")?.as_array()?;
                return place(coordinates.get(1)?.as_f64()?, coordinates.first()?.as_f64()?);
            }
            let named = |names: &[&str]| names.iter().find_map(|name| object.get(*name)?.as_f64());
            place(named(&["lat", "latitude"])?, named(&["lon", "lng", "longitude"])?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_their_usual_forms() {
        let berlin = Some(Value::geo(52.5, 13.25));
        for good in [
            r#"{"lat":52.5,"lon":13.25}"#,
            r#"{"latitude":52.5,"longitude":13.25,"accuracy":3}"#,
            r#"{"lat":52.5,"lng":13.25}"#,
            r#""52.5, 13.25""#,
            r#"{"type":"Point","coordinates":[13.25,52.5]}"#,
        ] {
            assert_eq!(from_json(&Type::Geo, good, None), berlin, "{good}");
        }
        assert_eq!(from_text(&Type::Geo, "52.5,13.25", None), berlin);
        for bad in
            [r#"{"lat":91,"lon":0}"#, r#"{"lat":1}"#, "[13.25,52.5]", r#""here""#, "7", r#"{"type":"Point"}"#]
        {
            assert_eq!(from_json(&Type::Geo, bad, None), None, "{bad}");
        }
    }

    #[test]
    fn lists_keep_exact_numbers() {
        let list = from_json(&Type::List(Box::new(Type::Decimal)), "[0.1, 2, null]", None);
        assert_eq!(list.map(|list| list.to_string()).as_deref(), Some("0.1, 2, -"));
        assert_eq!(from_json(&Type::List(Box::new(Type::Int)), r#"["1"]"#, None), None);
    }
}
