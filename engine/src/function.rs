//! Functions of values: text, places, times of day, networks. Null if any argument is null.

use crate::aggregate;
use crate::arithmetic::{arithmetic, negate};
use crate::value::{Value, mapped};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use pattern_dsl::ir::{Aggregate, BinaryOp, Function};
use pattern_dsl::types::Micros;
use std::net::IpAddr;

/// Mean radius of the earth (IUGG), in kilometres.
const EARTH_KM: f64 = 6371.0088;

/// The function's value; `arguments` are all known.
pub(crate) fn call(function: Function, arguments: Vec<Value>) -> Value {
    if arguments.iter().any(Value::is_null) {
        return Value::Null;
    }
    match (function, arguments.as_slice()) {
        (Function::Ratio, [part, whole]) => arithmetic(BinaryOp::Divide, part, whole),
        (Function::Min, _) => aggregate::of_values(Aggregate::Min, arguments.into_iter()),
        (Function::Max, _) => aggregate::of_values(Aggregate::Max, arguments.into_iter()),
        (Function::Abs, [value]) => abs(value),
        (Function::Lower, [Value::String(text)]) => Value::String(text.to_lowercase().into()),
        (Function::Upper, [Value::String(text)]) => Value::String(text.to_uppercase().into()),
        (Function::Length, [Value::String(text)]) => Value::Int(text.chars().count() as i64),
        (Function::Length, [Value::List(items)]) => Value::Int(items.len() as i64),
        (Function::DistanceKm, [Value::Geo(a), Value::Geo(b)]) => Value::Float(distance_km(**a, **b)),
        (Function::SpeedKmh, [Value::Geo(a), Value::Instant(t), Value::Geo(b), Value::Instant(u)]) => {
            match t.abs_diff(*u) {
                0 => Value::Null,
                micros => Value::Float(distance_km(**a, **b) / (micros as f64 / 3.6e9)),
            }
        }
        _ => Value::Null,
    }
}

fn abs(value: &Value) -> Value {
    let negative = match value {
        Value::Int(value) | Value::Duration(value) => *value < 0,
        Value::Decimal(value) => value.units < 0,
        Value::Float(value) => value.is_sign_negative(),
        _ => return Value::Null,
    };
    if negative { negate(value) } else { value.clone() }
}

/// Great-circle distance of two places (latitude, longitude in degrees) by the haversine formula.
fn distance_km(from: [f64; 2], to: [f64; 2]) -> f64 {
    let ([lat_a, lon_a], [lat_b, lon_b]) = (from.map(f64::to_radians), to.map(f64::to_radians));
    let (north, east) = (((lat_b - lat_a) / 2.0).sin(), ((lon_b - lon_a) / 2.0).sin());
    let chord = north * north + lat_a.cos() * lat_b.cos() * east * east;
    2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
}

/// Which part of the local time is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalPart {
    /// 0 to 23.
    Hour,
    /// 1 (Monday) to 7 (Sunday).
    Weekday,
}

/// The part of an instant in a zone; null outside the years -9999 to 9999.
pub(crate) fn local(part: LocalPart, instant: Micros, zone: &TimeZone) -> Value {
    let Ok(instant) = Timestamp::from_microsecond(instant) else { return Value::Null };
    let local = zone.to_datetime(instant);
    Value::Int(match part {
        LocalPart::Hour => i64::from(local.hour()),
        LocalPart::Weekday => i64::from(local.weekday().to_monday_one_offset()),
    })
}

/// A network of addresses: `10.0.0.0/8`, `2001:db8::/32`; a single address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    bits: u128,
    mask: u128,
    version_4: bool,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        let host = width.checked_sub(length)?;
        let mask = u128::MAX.checked_shl(host).unwrap_or(0);
        let address = mapped(address);
        Some(Self { bits: u128::from(address) & mask, mask, version_4: address.to_ipv4_mapped().is_some() })
    }

    /// The address lies in it; one of version 4 only in a network of version 4, however it is written.
    pub(crate) fn contains(self, address: std::net::Ipv6Addr) -> bool {
        address.to_ipv4_mapped().is_some() == self.version_4 && u128::from(address) & self.mask == self.bits
    }
}
