//! Run-time values: 16 bytes each, strings behind one shared thin pointer.
//!
//! INVARIANT: two values of one type are equal exactly if the language says so; hashing agrees (decimals ignore scale).

use arcstr::ArcStr;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::types::{Literal, Micros};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A value of a field or expression.
#[derive(Debug, Clone, Default)]
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
    String(ArcStr),
    /// Microseconds since the epoch.
    Instant(Micros),
    /// Microseconds.
    Duration(Micros),
    /// A list.
    List(Box<Vec<Value>>),
    /// Named values, in written order.
    Object(Box<Vec<(ArcStr, Value)>>),
}
