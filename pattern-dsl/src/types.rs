//! Value types of the language and the literals that carry them.
//!
//! Neighbours: [`crate::ir`] refers to both; the engine and the oracle each have their own run-time values.

use crate::decimal::Decimal;

/// Microseconds: of a duration, or since 1970-01-01T00:00:00Z for an instant.
pub type Micros = i64;

/// The type of a field or expression (language section 5.2). Nullability is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// 64-bit signed integer.
    Int,
    /// Exact decimal, at most 18 digits after the point.
    Decimal,
    /// IEEE double; only where declared.
    Float,
    /// Unicode text, compared by code point.
    String,
    /// Microseconds since the epoch.
    Instant,
    /// A span of time in microseconds.
    Duration,
    /// One of the listed words; held as a string.
    Enum(Vec<String>),
    /// An IP address, version 4 or 6.
    Ip,
    /// A place: latitude and longitude in degrees.
    Geo,
    /// Values of one type.
    List(Box<Type>),
}

/// A constant of the language.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Literal {
    /// Unknown.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// An exact decimal, with the scale as written.
    Decimal(Decimal),
    /// A binary floating-point number.
    Float(f64),
    /// Text, or an enum's word.
    String(String),
    /// Microseconds since the epoch.
    Instant(Micros),
    /// Microseconds.
    Duration(Micros),
    /// An IP address; a version 4 address in version 6 form is the same address.
    Ip(std::net::IpAddr),
    /// Latitude and longitude in degrees.
    Geo(f64, f64),
    /// `[a, b]`.
    List(Vec<Literal>),
    /// `{ a: 1 }`, in written order; only in tests and `emit`.
    Object(Vec<(String, Literal)>),
}

impl Literal {
    /// Latitude and longitude of a place: `[52.5, 13.4]`, `{ lat: 52.5, lon: 13.4 }` or `"52.5,13.4"`.
    #[must_use]
    pub fn place(&self) -> Option<(f64, f64)> {
        let degrees = |literal: &Self| match literal {
            Self::Int(i) => Some(*i as f64),
            Self::Decimal(d) => Some(d.to_f64()),
            Self::Float(f) => Some(*f),
            _ => None,
        };
        let (lat, lon) = match self {
            Self::Geo(lat, lon) => (*lat, *lon),
            Self::List(both) => match both.as_slice() {
                [lat, lon] => (degrees(lat)?, degrees(lon)?),
                _ => return None,
            },
            Self::Object(pairs) => {
                let named = |a: &str, b: &str| {
                    pairs.iter().find(|(n, _)| n == a || n == b).and_then(|(_, value)| degrees(value))
                };
                (named("lat", "latitude")?, named("lon", "longitude")?)
            }
            Self::String(text) => {
                let (lat, lon) = text.split_once(',')?;
                (lat.trim().parse().ok()?, lon.trim().parse().ok()?)
            }
            _ => return None,
        };
        let fits = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        fits.then_some((lat, lon))
    }
}
