//! Values while a rule is read: the types of language section 5.2 with null, and arithmetic that yields null where it
//! cannot yield a value.

use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::BinaryOp;
use pattern_dsl::types::{Literal, Type};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

/// A value; text and objects borrow from events and rules where they can.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    Float(f64),
    Text(Cow<'a, str>),
    Instant(i64),
    Duration(i64),
    Ip(IpAddr),
    /// Latitude and longitude in degrees.
    Geo(f64, f64),
    List(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    pub(crate) fn of(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Value::Null,
            Literal::Bool(b) => Value::Bool(*b),
            Literal::Int(i) => Value::Int(*i),
            Literal::Decimal(d) => Value::Decimal(*d),
            Literal::Float(f) => Value::Float(*f),
            Literal::String(s) => Value::Text(Cow::Borrowed(s)),
            Literal::Instant(t) => Value::Instant(*t),
            Literal::Duration(d) => Value::Duration(*d),
            // A version 4 address in version 6 form is the same address.
            Literal::Ip(address) => Value::Ip(address.to_canonical()),
            Literal::Geo(lat, lon) => Value::Geo(*lat, *lon),
            Literal::List(items) => Value::List(items.iter().map(Value::of).collect()),
            Literal::Object(pairs) => Value::Object(
                pairs.iter().map(|(name, v)| (Cow::Borrowed(name.as_str()), Value::of(v))).collect(),
            ),
        }
    }

    pub(crate) fn literal(self) -> Literal {
        match self {
            Value::Null => Literal::Null,
            Value::Bool(b) => Literal::Bool(b),
            Value::Int(i) => Literal::Int(i),
            Value::Decimal(d) => Literal::Decimal(d),
            Value::Float(f) => Literal::Float(f),
            Value::Text(s) => Literal::String(s.into_owned()),
            Value::Instant(t) => Literal::Instant(t),
            Value::Duration(d) => Literal::Duration(d),
            Value::Ip(address) => Literal::Ip(address),
            Value::Geo(lat, lon) => Literal::Geo(lat, lon),
            Value::List(items) => Literal::List(items.into_iter().map(Value::literal).collect()),
            Value::Object(pairs) => {
                Literal::Object(pairs.into_iter().map(|(name, v)| (name.into_owned(), v.literal())).collect())
            }
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// True, false or unknown.
    pub(crate) fn truth(&self) -> Option<bool> {
        if let Value::Bool(b) = self { Some(*b) } else { None }
    }

    pub(crate) fn duration(&self) -> Option<i64> {
        if let Value::Duration(d) = self { Some(*d) } else { None }
    }

    /// The way along the great circle, on a sphere of the mean radius of the earth.
    pub(crate) fn kilometres_to(&self, other: &Value<'_>) -> Option<f64> {
        let (Value::Geo(lat, lon), Value::Geo(other_lat, other_lon)) = (self, other) else { return None };
        let half_sine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let across = lat.to_radians().cos() * other_lat.to_radians().cos();
        let haversine = half_sine(other_lat - lat) + across * half_sine(other_lon - lon);
        Some(2.0 * 6371.0088 * haversine.sqrt().min(1.0).asin())
    }

    fn number(&self) -> Option<Number> {
        match self {
            Value::Int(i) => Some(Number::Int(*i)),
            Value::Decimal(d) => Some(Number::Decimal(*d)),
            Value::Float(f) => Some(Number::Float(*f)),
            _ => None,
        }
    }

    pub(crate) fn float(&self) -> Option<f64> {
        self.number().map(Number::float)
    }

    /// What `reason` prints.
    pub(crate) fn text(&self) -> String {
        match self {
            Value::Null => "-".into(),
            Value::Bool(b) => b.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Decimal(d) => d.to_string(),
            Value::Float(f) => f.to_string(),
            Value::Text(s) => s.to_string(),
            Value::Instant(t) => instant_text(*t),
            Value::Duration(d) => duration_text(*d),
            Value::Ip(address) => address.to_string(),
            Value::Geo(lat, lon) => format!("{lat},{lon}"),
            Value::List(items) => {
                format!("[{}]", items.iter().map(Value::text).collect::<Vec<_>>().join(", "))
            }
            Value::Object(pairs) => {
                let inside: Vec<_> = pairs.iter().map(|(name, v)| format!("{name}: {}", v.text())).collect();
                format!("{{{}}}", inside.join(", "))
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Decimal(Decimal),
    Float(f64),
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Decimal(d) => d.to_f64(),
            Number::Float(f) => f,
        }
    }

    fn decimal(self) -> Option<Decimal> {
        match self {
            Number::Int(i) => Some(Decimal::from_int(i)),
            Number::Decimal(d) => Some(d),
            Number::Float(_) => None,
        }
    }
}

fn duration_text(micros: i64) -> String {
    if micros == 0 {
        return "0s".into();
    }
    let mut out = String::from(if micros < 0 { "-" } else { "" });
    let mut rest = micros.unsigned_abs();
    for (unit, name) in [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ] {
        if rest >= unit {
            out += &format!("{}{name}", rest / unit);
            rest %= unit;
        }
    }
    out
}

fn instant_text(micros: i64) -> String {
    let (days, inside) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, fraction) = (inside / 1_000_000, inside % 1_000_000);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        f if f % 1000 == 0 => format!(".{:03}", f / 1000),
        f => format!(".{f:06}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}{fraction}Z")
}

/// How two values compare; none = unknown.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(x), Value::Int(y)) => Some(x.cmp(y)),
        (Value::Bool(x), Value::Bool(y)) => Some(x.cmp(y)),
        (Value::Text(x), Value::Text(y)) => Some(x.cmp(y)),
        (Value::Instant(x), Value::Instant(y)) | (Value::Duration(x), Value::Duration(y)) => Some(x.cmp(y)),
        (Value::Ip(x), Value::Ip(y)) => Some(x.cmp(y)),
        (Value::Geo(lat, lon), Value::Geo(other_lat, other_lon)) => {
            Some(lat.partial_cmp(other_lat)?.then(lon.partial_cmp(other_lon)?))
        }
        (Value::List(x), Value::List(y)) => {
            for (p, q) in x.iter().zip(y) {
                match compare(p, q)? {
                    Ordering::Equal => {}
                    other => return Some(other),
                }
            }
            Some(x.len().cmp(&y.len()))
        }
        _ => match (a.number()?, b.number()?) {
            (x @ Number::Float(_), y) | (x, y @ Number::Float(_)) => x.float().partial_cmp(&y.float()),
            (x, y) => Some(x.decimal()?.cmp(&y.decimal()?)),
        },
    }
}

/// One value of a key: equal, null with null.
pub(crate) fn same(a: &Literal, b: &Literal) -> bool {
    match (Value::of(a), Value::of(b)) {
        (Value::Null, Value::Null) => true,
        (a, b) => compare(&a, &b) == Some(Ordering::Equal),
    }
}

/// A value as a field of this type holds it.
pub(crate) fn as_type(value: Literal, ty: &Type) -> Literal {
    match (value, ty) {
        (Literal::Int(i), Type::Decimal) => Literal::Decimal(Decimal::from_int(i)),
        (Literal::Int(i), Type::Float) => Literal::Float(i as f64),
        (Literal::Decimal(d), Type::Float) => Literal::Float(d.to_f64()),
        (value @ (Literal::Null | Literal::String(_)), Type::String) => value,
        // Rules that emit one name with several types: it is read as text.
        (value, Type::String) => Literal::String(Value::of(&value).text()),
        (value, _) => value,
    }
}

fn finite<'a>(f: f64) -> Value<'a> {
    if f.is_finite() { Value::Float(f) } else { Value::Null }
}

fn or_null<'a, T>(value: Option<T>, wrap: fn(T) -> Value<'a>) -> Value<'a> {
    value.map_or(Value::Null, wrap)
}

/// `a op b` for `+ - * / %`.
pub(crate) fn arithmetic<'a>(op: BinaryOp, a: &Value<'_>, b: &Value<'_>) -> Value<'a> {
    use BinaryOp::{Add, Divide, Multiply, Remainder, Subtract};
    match (op, a, b) {
        (Add, Value::Instant(t), Value::Duration(d)) | (Add, Value::Duration(d), Value::Instant(t)) => {
            return or_null(t.checked_add(*d), Value::Instant);
        }
        (Subtract, Value::Instant(t), Value::Duration(d)) => {
            return or_null(t.checked_sub(*d), Value::Instant);
        }
        (Subtract, Value::Instant(t), Value::Instant(u)) => {
            return or_null(t.checked_sub(*u), Value::Duration);
        }
        (Add, Value::Duration(d), Value::Duration(e)) => return or_null(d.checked_add(*e), Value::Duration),
        (Subtract, Value::Duration(d), Value::Duration(e)) => {
            return or_null(d.checked_sub(*e), Value::Duration);
        }
        (Multiply, Value::Duration(d), Value::Int(n)) | (Multiply, Value::Int(n), Value::Duration(d)) => {
            return or_null(d.checked_mul(*n), Value::Duration);
        }
        (Divide, Value::Duration(d), Value::Duration(e)) => {
            return or_null(Decimal::from_int(*d).checked_div(Decimal::from_int(*e)), Value::Decimal);
        }
        _ => {}
    }
    let (Some(x), Some(y)) = (a.number(), b.number()) else { return Value::Null };
    match (op, x, y) {
        (Add, Number::Int(x), Number::Int(y)) => or_null(x.checked_add(y), Value::Int),
        (Subtract, Number::Int(x), Number::Int(y)) => or_null(x.checked_sub(y), Value::Int),
        (Multiply, Number::Int(x), Number::Int(y)) => or_null(x.checked_mul(y), Value::Int),
        (Remainder, Number::Int(x), Number::Int(y)) => {
            or_null((y != 0).then(|| x.wrapping_rem(y)), Value::Int)
        }
        (_, Number::Float(_), _) | (_, _, Number::Float(_)) => {
            let (x, y) = (x.float(), y.float());
            match op {
                Add => finite(x + y),
                Subtract => finite(x - y),
                Multiply => finite(x * y),
                Divide => finite(x / y),
                _ => finite(x % y),
            }
        }
        _ => {
            let (Some(x), Some(y)) = (x.decimal(), y.decimal()) else { return Value::Null };
            let result = match op {
                Add => x.checked_add(y),
                Subtract => x.checked_sub(y),
                Multiply => x.checked_mul(y),
                Divide => x.checked_div(y),
                _ => x.checked_rem(y),
            };
            or_null(result, Value::Decimal)
        }
    }
}

/// `-a`.
pub(crate) fn negate<'a>(a: &Value<'_>) -> Value<'a> {
    match a {
        Value::Int(i) => or_null(i.checked_neg(), Value::Int),
        Value::Decimal(d) => or_null(d.checked_neg(), Value::Decimal),
        Value::Float(f) => Value::Float(-f),
        Value::Duration(d) => or_null(d.checked_neg(), Value::Duration),
        _ => Value::Null,
    }
}

/// `sum`: whole numbers exactly, all else from left to right; 0 of nothing.
pub(crate) fn sum<'a>(values: &[Value<'a>]) -> Value<'a> {
    let mut whole: i128 = 0;
    for value in values {
        match value {
            Value::Int(i) => whole += i128::from(*i),
            _ => {
                let Some((first, rest)) = values.split_first() else { return Value::Null };
                return rest.iter().fold(first.clone(), |so_far, v| arithmetic(BinaryOp::Add, &so_far, v));
            }
        }
    }
    or_null(i64::try_from(whole).ok(), Value::Int)
}

/// The mean: half-even at 18 places, or a float.
pub(crate) fn mean<'a>(values: &[Value<'a>]) -> Value<'a> {
    if values.is_empty() {
        return Value::Null;
    }
    let wide: Vec<Value<'a>> = values
        .iter()
        .map(|v| match v {
            Value::Int(i) => Value::Decimal(Decimal::from_int(*i)),
            Value::Duration(d) => Value::Decimal(Decimal::from_int(*d)),
            other => other.clone(),
        })
        .collect();
    let result = arithmetic(BinaryOp::Divide, &sum(&wide), &Value::Int(values.len() as i64));
    match (values.first(), result) {
        // A duration has whole microseconds; the definition does not say how they round.
        (Some(Value::Duration(_)), Value::Decimal(d)) => {
            or_null(i64::try_from(d.units / pattern_dsl::decimal::ONE).ok(), Value::Duration)
        }
        (_, result) => result,
    }
}

/// Sample standard deviation in two passes.
pub(crate) fn stddev<'a>(values: &[Value<'a>]) -> Value<'a> {
    if values.len() < 2 {
        return Value::Null;
    }
    let floats: Vec<f64> = values.iter().filter_map(Value::float).collect();
    let mean = floats.iter().sum::<f64>() / floats.len() as f64;
    let squares: f64 = floats.iter().map(|f| (f - mean) * (f - mean)).sum();
    finite((squares / (floats.len() - 1) as f64).sqrt())
}
