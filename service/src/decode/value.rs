//! Typed values of one line put into the buffers, and what is said when they do not fit.

use super::nested::from_text;
use super::time::{Unit, parse_pattern, parse_rfc3339_in};
use super::{DecodeError, Origin, State, Target};
use engine::value::Value;
use jiff::tz::TimeZone;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::TimeFormat;
use pattern_dsl::types::Type;

/// A scalar as the JSON parser saw it.
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    /// A whole number past `i64`.
    Big(u64),
    Float(f64),
    Text(&'a str),
}

impl std::fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::Big(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v}"),
            Self::Text(v) => {
                let short: String = v.chars().take(60).collect();
                write!(f, "{short:?}")
            }
        }
    }
}

/// `decimal`, `string`, ... as the language writes it.
pub(crate) fn type_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Int => "int".to_owned(),
        Type::Decimal => "decimal".to_owned(),
        Type::Float => "float".to_owned(),
        Type::String => "string".to_owned(),
        Type::Instant => "instant".to_owned(),
        Type::Duration => "duration".to_owned(),
        Type::Enum(words) => format!("enum({})", words.join(", ")),
        Type::Ip => "ip".to_owned(),
        Type::Geo => "geo".to_owned(),
        Type::List(item) => format!("list<{}>", type_name(item)),
    }
}

pub(super) fn wrong(field: &str, wanted: &str, value: &dyn std::fmt::Display) -> DecodeError {
    DecodeError { code: "wrong_type", message: format!("field `{field}`: expected {wanted}, found {value}") }
}

/// As [`wrong`], of a masked field: its value is not told.
pub(super) const MASKED: &str = "a value that is masked";

fn bad_time(format: &TimeFormat, field: &str, value: &dyn std::fmt::Display) -> DecodeError {
    let wanted = match format {
        TimeFormat::Pattern(pattern) => format!("as {pattern:?}"),
        _ => "(RFC 3339, or epoch number)".to_owned(),
    };
    let message = format!("time field `{field}`: {value} is not a time {wanted}");
    DecodeError { code: "bad_time", message }
}

impl State {
    /// Before a line.
    pub(super) fn reset(&mut self) {
        self.origins.fill(Origin::None);
        self.ts = self.record_time;
        self.has_id = false;
        self.error = None;
    }

    /// Forgets what an earlier line has left in slots that this one did not claim. (What it claims is written over, so that
    /// a decimal keeps its place in memory.)
    pub(super) fn settle(&mut self) {
        for (slot, origin) in self.slots.iter_mut().zip(&self.origins) {
            if *origin == Origin::None {
                *slot = Value::Null;
            }
        }
    }

    fn place(&self, target: &Target) -> usize {
        match target {
            Target::Slot(slot, _) => *slot,
            Target::Time => self.slots.len(),
            Target::Id => self.slots.len() + 1,
        }
    }

    /// This line has claimed it.
    pub(super) fn is_claimed(&self, target: &Target) -> bool {
        self.origins.get(self.place(target)).is_some_and(|origin| *origin != Origin::None)
    }

    /// Claims a target for a value; false if a better place has given it already.
    pub(super) fn claim(&mut self, target: &Target, literal: bool) -> bool {
        let at = self.place(target);
        let Some(origin) = self.origins.get_mut(at) else { return false };
        if literal && *origin == Origin::Path {
            return false;
        }
        *origin = if literal { Origin::Literal } else { Origin::Path };
        true
    }

    pub(super) fn put_null(&mut self, target: &Target) {
        match target {
            Target::Slot(slot, _) => self.slots[*slot] = Value::Null,
            Target::Time => self.ts = None,
            Target::Id => self.has_id = false,
        }
    }

    /// Puts a scalar into a target, in the target's type.
    pub(super) fn put(
        &mut self,
        target: &Target,
        value: &Scalar<'_>,
        field: &str,
    ) -> Result<(), DecodeError> {
        match target {
            Target::Slot(slot, ty) => {
                let typed = self.typed(ty, value);
                let typed = typed.ok_or_else(|| self.wrong(*slot, field, &type_name(ty), value))?;
                self.slots[*slot] = typed;
            }
            Target::Time => {
                let ts = self.time(value);
                let told: &dyn std::fmt::Display = if self.hides.time { &MASKED } else { value };
                self.ts = Some(ts.ok_or_else(|| bad_time(&self.format, field, told))?);
            }
            Target::Id => {
                self.id.clear();
                match value {
                    Scalar::Text(text) => self.id.push_str(text),
                    other => self.id.push_str(&other.to_string()),
                }
                self.has_id = true;
            }
        }
        Ok(())
    }

    /// A field's value is of the wrong type; that of a masked field is not told.
    pub(super) fn wrong(
        &self,
        slot: usize,
        field: &str,
        wanted: &str,
        value: &dyn std::fmt::Display,
    ) -> DecodeError {
        if self.hides.slots.contains(&slot) {
            wrong(field, wanted, &MASKED)
        } else {
            wrong(field, wanted, value)
        }
    }

    /// Puts the exact text of a number into a decimal target.
    pub(super) fn put_decimal(&mut self, slot: usize, text: &str, field: &str) -> Result<(), DecodeError> {
        let Some(decimal) = Decimal::parse(text) else {
            let wanted = "decimal (at most 18 digits after the point; declare the field `float`)";
            return Err(self.wrong(slot, field, wanted, &text));
        };
        match &mut self.slots[slot] {
            Value::Decimal(place) => **place = decimal,
            place => *place = Value::Decimal(Box::new(decimal)),
        }
        Ok(())
    }

    fn typed(&mut self, ty: &Type, value: &Scalar<'_>) -> Option<Value> {
        Some(match (ty, value) {
            (Type::Bool, Scalar::Bool(v)) => Value::Bool(*v),
            (Type::Int, Scalar::Int(v)) => Value::Int(*v),
            (Type::Int, Scalar::Float(v)) if v.fract() == 0.0 && v.abs() < 9.0e15 => Value::Int(*v as i64),
            (Type::Float, Scalar::Int(v)) => Value::Float(*v as f64),
            (Type::Float, Scalar::Big(v)) => Value::Float(*v as f64),
            (Type::Float, Scalar::Float(v)) => Value::Float(*v),
            (Type::String, Scalar::Text(v)) => Value::String(self.strings.get(v)),
            (Type::String, other) if self.lenient => Value::String(self.strings.get(&other.to_string())),
            (Type::Enum(words), Scalar::Text(v)) if words.iter().any(|w| w == v) => {
                Value::String(self.strings.get(v))
            }
            (Type::Instant, _) => Value::Instant(instant(value, None, self.zone.as_ref())?),
            (Type::Duration | Type::Ip | Type::Geo | Type::List(_), Scalar::Text(v)) => {
                from_text(ty, v, None)?
            }
            (Type::Decimal, Scalar::Int(v)) => Value::Decimal(Box::new(Decimal::from_int(*v))),
            (Type::Decimal, Scalar::Big(v)) => Value::Decimal(Box::new(Decimal::parse(&v.to_string())?)),
            _ => return None,
        })
    }

    /// Reads the time; the first number fixes the unit. A pattern reads what the number says as text.
    pub(super) fn time(&mut self, value: &Scalar<'_>) -> Option<i64> {
        match (&self.format, value) {
            (TimeFormat::Rfc3339, Scalar::Text(_)) => {}
            (TimeFormat::Rfc3339, _) => return None,
            (TimeFormat::Pattern(pattern), Scalar::Text(text)) => {
                return parse_pattern(pattern, text, self.zone.as_ref());
            }
            (TimeFormat::Pattern(pattern), number) => {
                return parse_pattern(pattern, &number.to_string(), self.zone.as_ref());
            }
            _ => {}
        }
        if self.unit.is_none() {
            match value {
                Scalar::Int(_) | Scalar::Float(_) if self.keeps_unit => return None,
                Scalar::Text(text) if self.keeps_unit && text.parse::<i64>().is_ok() => return None,
                Scalar::Int(v) => self.unit = Some(Unit::by_size(*v)),
                Scalar::Float(v) => self.unit = Some(Unit::by_size(*v as i64)),
                _ => {}
            }
        }
        instant(value, self.unit, self.zone.as_ref())
    }

    /// Puts the text of a CSV field into a target.
    pub(super) fn put_text(&mut self, target: &Target, text: &str, field: &str) -> Result<(), DecodeError> {
        let scalar = match target {
            Target::Slot(
                _,
                Type::String | Type::Enum(_) | Type::Ip | Type::Geo | Type::List(_) | Type::Duration,
            )
            | Target::Id => Scalar::Text(text),
            Target::Time if matches!(self.format, TimeFormat::Pattern(_)) => Scalar::Text(text),
            Target::Slot(slot, Type::Decimal) => return self.put_decimal(*slot, text, field),
            Target::Slot(_, Type::Bool) => match text {
                "true" | "True" | "TRUE" => Scalar::Bool(true),
                "false" | "False" | "FALSE" => Scalar::Bool(false),
                _ => Scalar::Text(text),
            },
            _ => match text.parse::<i64>() {
                Ok(v) => Scalar::Int(v),
                Err(_) => match text.parse::<f64>() {
                    Ok(v) if v.is_finite() => Scalar::Float(v),
                    _ => Scalar::Text(text),
                },
            },
        };
        self.put(target, &scalar, field)
    }
}

fn instant(value: &Scalar<'_>, unit: Option<Unit>, zone: Option<&TimeZone>) -> Option<i64> {
    match value {
        Scalar::Text(text) => match text.parse::<i64>() {
            Ok(number) => unit.unwrap_or_else(|| Unit::by_size(number)).to_micros(number),
            Err(_) => parse_rfc3339_in(text.as_bytes(), zone),
        },
        Scalar::Int(v) => unit.unwrap_or_else(|| Unit::by_size(*v)).to_micros(*v),
        Scalar::Float(v) if v.abs() < 9.0e15 => {
            let unit = unit.unwrap_or_else(|| Unit::by_size(*v as i64));
            let scale = unit.to_micros(1)? as f64;
            Some((v * scale).round() as i64)
        }
        _ => None,
    }
}
