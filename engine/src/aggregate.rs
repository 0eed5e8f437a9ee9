//! Aggregates by walking their values, as the language defines them: nulls skipped, floats added in event order.

use crate::arithmetic::arithmetic;
use crate::collections::Map;
use crate::value::Value;
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::{Aggregate, BinaryOp};
use std::cmp::Ordering;

/// The aggregate of the values in event order. `count` counts non-null values (one per event where it has no argument).
pub(crate) fn of_values(kind: Aggregate, values: impl Iterator<Item = Value>) -> Value {
    match kind {
        Aggregate::First => values.into_iter().next().unwrap_or_default(),
        Aggregate::Last => values.last().unwrap_or_default(),
        Aggregate::Collect => {
            let known: Vec<Value> = values.filter(|value| !value.is_null()).collect();
            if known.is_empty() { Value::Null } else { Value::List(Box::new(known)) }
        }
        _ => of_known(kind, values.filter(|value| !value.is_null())),
    }
}

fn of_known(kind: Aggregate, mut values: impl Iterator<Item = Value>) -> Value {
    match kind {
        Aggregate::Count => Value::Int(values.count() as i64),
        Aggregate::Sum => sum(values),
        Aggregate::SumDurations => match sum(values) {
            Value::Int(_) => Value::Duration(0),
            total => total,
        },
        Aggregate::Avg => {
            let mut count = 0;
            let total = sum(values.inspect(|_| count += 1).map(exact));
            if count == 0 { Value::Null } else { arithmetic(BinaryOp::Divide, &total, &Value::Int(count)) }
        }
        Aggregate::Min | Aggregate::Max => {
            let wanted = if kind == Aggregate::Min { Ordering::Less } else { Ordering::Greater };
            let Some(first) = values.next() else { return Value::Null };
            values.fold(first, |best, value| if value.compare(&best) == Some(wanted) { value } else { best })
        }
        Aggregate::Distinct => {
            let mut seen: Map<Value, ()> = Map::default();
            for value in values {
                seen.insert(value, ());
            }
            Value::Int(seen.len() as i64)
        }
        Aggregate::Median => median(values.collect()),
        Aggregate::Stddev => stddev(&values.filter_map(|value| value.as_f64()).collect::<Vec<_>>()),
        Aggregate::First | Aggregate::Last | Aggregate::Collect => Value::Null,
    }
}

/// An int as a decimal, which has room for sums of ints.
fn exact(value: Value) -> Value {
    match value {
        Value::Int(value) => Value::decimal(Decimal::from_int(value)),
        other => other,
    }
}

/// The sum of nothing is 0; ints add exactly, so that only a sum that does not fit is null.
fn sum(mut values: impl Iterator<Item = Value>) -> Value {
    let mut whole: i128 = 0;
    while let Some(value) = values.next() {
        match value {
            Value::Int(value) => whole += i128::from(value),
            first => {
                let start = match (i64::try_from(whole), whole) {
                    (_, 0) => first,
                    (Ok(whole), _) => arithmetic(BinaryOp::Add, &Value::Int(whole), &first),
                    (Err(_), _) => Value::Null,
                };
                return values.fold(start, |total, value| arithmetic(BinaryOp::Add, &total, &value));
            }
        }
    }
    i64::try_from(whole).map_or(Value::Null, Value::Int)
}

fn median(mut values: Vec<Value>) -> Value {
    values.sort_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal));
    let middle = values.len() / 2;
    let Some(upper) = values.get(middle).cloned() else { return Value::Null };
    if values.len() % 2 == 1 {
        return upper;
    }
    let Some(lower) = values.get(middle - 1).cloned() else { return Value::Null };
    arithmetic(BinaryOp::Divide, &arithmetic(BinaryOp::Add, &exact(lower), &exact(upper)), &Value::Int(2))
}

/// Of a sample, in two passes; a float that is not finite is null.
fn stddev(values: &[f64]) -> Value {
    if values.len() < 2 {
        return Value::Null;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    let deviation = (squares / (count - 1.0)).sqrt();
    if deviation.is_finite() { Value::Float(deviation) } else { Value::Null }
}
