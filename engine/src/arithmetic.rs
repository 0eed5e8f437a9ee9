//! Sums, products and quotients of values. Overflow and division by zero give null.

use crate::value::Value;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::BinaryOp;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count for operators; nothing in the engine reads it.
static NULLS: AtomicU64 = AtomicU64::new(0);

/// How often overflow or division by zero has given null since the process began.
#[must_use]
pub fn nulls() -> u64 {
    NULLS.load(Ordering::Relaxed)
}

/// `-value`; null on overflow.
pub(crate) fn negate(value: &Value) -> Value {
    match value {
        Value::Int(value) => value.checked_neg().map_or(Value::Null, Value::Int),
        Value::Decimal(value) => value.checked_neg().map_or(Value::Null, Value::decimal),
        Value::Float(value) => Value::Float(-value),
        Value::Duration(value) => value.checked_neg().map_or(Value::Null, Value::Duration),
        _ => Value::Null,
    }
}

/// `left op right`; null on overflow and division by zero, which is counted.
pub(crate) fn arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Value {
    let value = unchecked(op, left, right);
    if value.is_null() && !left.is_null() && !right.is_null() {
        NULLS.fetch_add(1, Ordering::Relaxed);
    }
    value
}

fn unchecked(op: BinaryOp, left: &Value, right: &Value) -> Value {
    use BinaryOp::{Add, Divide, Multiply, Subtract};
    match (left, right) {
        (Value::Int(a), Value::Int(b)) if op != Divide => {
            let result = match op {
                Add => a.checked_add(*b),
                Subtract => a.checked_sub(*b),
                Multiply => a.checked_mul(*b),
                // The least int by -1 leaves nothing, which `checked_rem` calls an overflow.
                _ => (*b != 0).then(|| a.wrapping_rem(*b)),
            };
            result.map_or(Value::Null, Value::Int)
        }
        (Value::Float(_), Value::Int(_) | Value::Decimal(_) | Value::Float(_))
        | (Value::Int(_) | Value::Decimal(_), Value::Float(_)) => {
            let (Some(a), Some(b)) = (left.as_f64(), right.as_f64()) else { return Value::Null };
            let result = match op {
                Add => a + b,
                Subtract => a - b,
                Multiply => a * b,
                Divide => a / b,
                _ => a % b,
            };
            if result.is_finite() { Value::Float(result) } else { Value::Null }
        }
        (Value::Int(_) | Value::Decimal(_), Value::Int(_) | Value::Decimal(_)) => {
            let (Some(a), Some(b)) = (left.as_decimal(), right.as_decimal()) else { return Value::Null };
            decimal_arithmetic(op, a, b)
        }
        _ => time_arithmetic(op, left, right),
    }
}

fn decimal_arithmetic(op: BinaryOp, a: Decimal, b: Decimal) -> Value {
    let result = match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Subtract => a.checked_sub(b),
        BinaryOp::Multiply => a.checked_mul(b),
        BinaryOp::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    result.map_or(Value::Null, Value::decimal)
}

fn time_arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Value {
    use BinaryOp::{Add, Divide, Multiply, Subtract};
    let duration = |value: Option<i64>| value.map_or(Value::Null, Value::Duration);
    match (op, left, right) {
        (Subtract, Value::Instant(a), Value::Instant(b)) => duration(a.checked_sub(*b)),
        (Add, Value::Instant(a), Value::Duration(b)) | (Add, Value::Duration(b), Value::Instant(a)) => {
            a.checked_add(*b).map_or(Value::Null, Value::Instant)
        }
        (Subtract, Value::Instant(a), Value::Duration(b)) => {
            a.checked_sub(*b).map_or(Value::Null, Value::Instant)
        }
        (Add, Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        (Subtract, Value::Duration(a), Value::Duration(b)) => duration(a.checked_sub(*b)),
        (Multiply, Value::Duration(a), Value::Int(b)) | (Multiply, Value::Int(b), Value::Duration(a)) => {
            duration(a.checked_mul(*b))
        }
        (Divide, Value::Duration(a), Value::Int(b)) => duration(a.checked_div(*b)),
        (Divide, Value::Duration(a), Value::Duration(b)) => {
            decimal_arithmetic(Divide, Decimal::from_int(*a), Decimal::from_int(*b))
        }
        _ => Value::Null,
    }
}
