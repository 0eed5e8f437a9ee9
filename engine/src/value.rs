//! Run-time values: 16 bytes each, short texts among them.
//!
//! INVARIANT: two values of one type are equal exactly if the language says so; hashing agrees (decimals ignore scale).

use crate::text::Text;
use arcstr::ArcStr;
use pattern_dsl::decimal::{Decimal, ONE};
use pattern_dsl::types::{Literal, Micros};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

/// A value of a field or expression.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Value {
    /// Unknown.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// An exact decimal; boxed, as money is compared far more often than it is made.
    Decimal(Box<Decimal>),
    /// IEEE double.
    Float(f64),
    /// Text or an enum's word.
    String(Text),
    /// Microseconds since the epoch.
    Instant(Micros),
    /// Microseconds.
    Duration(Micros),
    /// An IP address; one of version 4 in its version 6 form.
    Ip(Box<Ipv6Addr>),
    /// Latitude and longitude in degrees.
    Geo(Box<[f64; 2]>),
    /// A list.
    List(Box<Vec<Value>>),
    /// Named values, in written order.
    Object(Box<Vec<(ArcStr, Value)>>),
}

impl Value {
    /// True for `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// As a part of a key: values that are one key are one value, whichever event was the first to bring it.
    pub(crate) fn as_key(&self) -> Self {
        match self {
            Self::Decimal(value) => Self::decimal(Decimal { scale: 0, ..**value }),
            // Of zeros with and without a sign.
            Self::Float(value) => Self::Float(*value + 0.0),
            Self::Geo(place) => Self::geo(place[0] + 0.0, place[1] + 0.0),
            value => value.clone(),
        }
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let behind = match self {
            Self::String(text) => text.len(),
            Self::Decimal(_) | Self::Ip(_) | Self::Geo(_) => 16,
            Self::List(values) => values.iter().map(Self::bytes).sum(),
            Self::Object(fields) => fields.iter().map(|(name, value)| name.len() + value.bytes()).sum(),
            _ => 0,
        };
        size_of::<Self>() + behind
    }

    /// A decimal value.
    #[must_use]
    pub fn decimal(value: Decimal) -> Self {
        Self::Decimal(Box::new(value))
    }

    /// The truth value, or none if it is unknown or no truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An address; version 4 and its version 6 form are the same one.
    #[must_use]
    pub fn ip(address: IpAddr) -> Self {
        Self::Ip(Box::new(mapped(address)))
    }

    /// A place, in degrees.
    #[must_use]
    pub fn geo(latitude: f64, longitude: f64) -> Self {
        Self::Geo(Box::new([latitude, longitude]))
    }

    /// An int or decimal as a decimal.
    #[must_use]
    pub fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Self::Int(value) => Some(Decimal::from_int(*value)),
            Self::Decimal(value) => Some(**value),
            _ => None,
        }
    }

    /// Any number as a double.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Decimal(value) => Some(value.to_f64()),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Order of two values that the language can compare; none if one is null or they do not compare.
    #[must_use]
    #[inline]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Ip(a), Self::Ip(b)) => Some(a.cmp(b)),
            (Self::Instant(a), Self::Instant(b)) | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Float(_), Self::Int(_) | Self::Decimal(_))
            | (Self::Int(_) | Self::Decimal(_), Self::Float(_)) => {
                self.as_f64()?.partial_cmp(&other.as_f64()?)
            }
            (Self::Int(_) | Self::Decimal(_), Self::Int(_) | Self::Decimal(_)) => {
                Some(self.as_decimal()?.cmp(&other.as_decimal()?))
            }
            _ => None,
        }
    }

    /// The run-time form of a literal.
    #[must_use]
    pub fn from_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Int(value) => Self::Int(*value),
            Literal::Decimal(value) => Self::decimal(*value),
            Literal::Float(value) => Self::Float(*value),
            Literal::String(value) => Self::String(Text::from(value.as_str())),
            Literal::Instant(value) => Self::Instant(*value),
            Literal::Duration(value) => Self::Duration(*value),
            Literal::Ip(address) => Self::ip(*address),
            Literal::Geo(latitude, longitude) => Self::geo(*latitude, *longitude),
            Literal::List(items) => Self::List(Box::new(items.iter().map(Self::from_literal).collect())),
            Literal::Object(pairs) => Self::Object(Box::new(
                pairs
                    .iter()
                    .map(|(name, value)| (ArcStr::from(name.as_str()), Self::from_literal(value)))
                    .collect(),
            )),
        }
    }
}

impl PartialEq for Value {
    /// Identity for keys, `distinct` and lists: null equals null here, unlike in a comparison of the language.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Null, Self::Null) => true,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits() || a == b,
            (Self::Geo(a), Self::Geo(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }
}
impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Null => state.write_u8(0),
            Self::Bool(value) => value.hash(state),
            // Numbers that compare equal hash alike: whole ones as integers, others as doubles.
            Self::Int(value) => state.write_i64(*value),
            Self::Decimal(value) => match i64::try_from(value.units / ONE) {
                Ok(whole) if value.units % ONE == 0 => state.write_i64(whole),
                _ => hash_number(value.to_f64(), state),
            },
            Self::Float(value) => hash_number(*value, state),
            Self::String(value) => value.hash(state),
            Self::Instant(value) | Self::Duration(value) => state.write_i64(*value),
            Self::Ip(address) => address.hash(state),
            Self::Geo(place) => place.iter().for_each(|degrees| hash_number(*degrees, state)),
            Self::List(items) => items.hash(state),
            Self::Object(pairs) => pairs.hash(state),
        }
    }
}

/// An address in its version 6 form.
pub(crate) fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn hash_number<H: Hasher>(value: f64, state: &mut H) {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        state.write_i64(value as i64);
    } else {
        state.write_u64(value.to_bits());
    }
}

impl std::fmt::Display for Value {
    /// As `reason` prints it: null is `-`, instants RFC 3339 in UTC, durations as the language writes them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("-"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
            Self::Instant(value) => f.write_str(&format_instant(*value)),
            Self::Duration(value) => f.write_str(&format_duration(*value)),
            Self::Ip(address) => write!(f, "{}", address.to_canonical()),
            Self::Geo(place) => write!(f, "{},{}", place[0], place[1]),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::Object(pairs) => {
                for (index, (name, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// RFC 3339 in UTC with milliseconds, or microseconds where there are any.
#[must_use]
pub fn format_instant(micros: Micros) -> String {
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    // Civil date from a day count: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let head = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction % 1000 == 0 {
        format!("{head}.{:03}Z", fraction / 1000)
    } else {
        format!("{head}.{fraction:06}Z")
    }
}

/// `1h30m`, `250ms`, `-5s`, `0s`.
#[must_use]
pub fn format_duration(micros: Micros) -> String {
    if micros == 0 {
        return "0s".to_owned();
    }
    let mut rest = micros.unsigned_abs();
    let mut text = String::from(if micros < 0 { "-" } else { "" });
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ];
    for (size, unit) in units {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}
