//! Operators and functions of constants; `None` where the values do not fit or the result does not.

use std::cmp::Ordering;

use crate::decimal::{Decimal, ONE};
use crate::ir::BinaryOp;
use crate::types::Literal;

/// The least `int` without its sign.
const LEAST: Decimal = Decimal { units: (i64::MAX as i128 + 1) * ONE, scale: 0 };

/// `a op b`.
pub(super) fn binary(op: BinaryOp, a: &Literal, b: &Literal) -> Option<Literal> {
    use BinaryOp as B;
    use Literal as L;
    match op {
        B::Coalesce => Some(if *a == L::Null { b.clone() } else { a.clone() }),
        B::And => match (a, b) {
            (L::Bool(false), L::Bool(_) | L::Null) | (L::Null, L::Bool(false)) => Some(L::Bool(false)),
            (L::Bool(true), L::Bool(b)) => Some(L::Bool(*b)),
            (L::Bool(true) | L::Null, L::Null) | (L::Null, L::Bool(true)) => Some(L::Null),
            _ => None,
        },
        B::Or => match (a, b) {
            (L::Bool(true), L::Bool(_) | L::Null) | (L::Null, L::Bool(true)) => Some(L::Bool(true)),
            (L::Bool(false), L::Bool(b)) => Some(L::Bool(*b)),
            (L::Bool(false) | L::Null, L::Null) | (L::Null, L::Bool(false)) => Some(L::Null),
            _ => None,
        },
        B::Equal => compare(a, b).map(|o| L::Bool(o == Ordering::Equal)),
        B::NotEqual => compare(a, b).map(|o| L::Bool(o != Ordering::Equal)),
        B::Less => compare(a, b).map(|o| L::Bool(o == Ordering::Less)),
        B::LessOrEqual => compare(a, b).map(|o| L::Bool(o != Ordering::Greater)),
        B::Greater => compare(a, b).map(|o| L::Bool(o == Ordering::Greater)),
        B::GreaterOrEqual => compare(a, b).map(|o| L::Bool(o != Ordering::Less)),
        _ => arithmetic(op, a, b),
    }
}

/// The order of two constants of one kind; none for those that have no order.
pub(super) fn compare(a: &Literal, b: &Literal) -> Option<Ordering> {
    use Literal as L;
    match (a, b) {
        (L::Int(a), L::Int(b)) | (L::Instant(a), L::Instant(b)) | (L::Duration(a), L::Duration(b)) => {
            Some(a.cmp(b))
        }
        (L::Bool(a), L::Bool(b)) => Some(a.cmp(b)),
        (L::String(a), L::String(b)) => Some(a.cmp(b)),
        (L::Ip(a), L::Ip(b)) => Some(a.cmp(b)),
        (L::Float(a), L::Float(b)) => a.partial_cmp(b),
        (L::Float(a), b) => a.partial_cmp(&decimal(b)?.to_f64()),
        (a, L::Float(b)) => decimal(a)?.to_f64().partial_cmp(b),
        (a, b) => Some(decimal(a)?.cmp(&decimal(b)?)),
    }
}

fn decimal(literal: &Literal) -> Option<Decimal> {
    match literal {
        Literal::Int(i) => Some(Decimal::from_int(*i)),
        Literal::Decimal(d) => Some(*d),
        _ => None,
    }
}

/// `-a`. The least `int` is written as a number that only fits with its sign.
pub(super) fn negate(a: &Literal) -> Option<Literal> {
    match a {
        Literal::Int(i) => i.checked_neg().map(Literal::Int),
        Literal::Decimal(d) if d.scale == 0 && *d == LEAST => Some(Literal::Int(i64::MIN)),
        Literal::Decimal(d) => d.checked_neg().map(Literal::Decimal),
        Literal::Duration(d) => d.checked_neg().map(Literal::Duration),
        _ => None,
    }
}

/// A function of constants.
pub(super) fn call(name: &str, values: &[Literal]) -> Option<Literal> {
    match (name, values) {
        ("abs", [Literal::Int(i)]) => i.checked_abs().map(Literal::Int),
        ("abs", [Literal::Decimal(d)]) if *d < Decimal::from_int(0) => d.checked_neg().map(Literal::Decimal),
        ("abs", [Literal::Decimal(d)]) => Some(Literal::Decimal(*d)),
        ("lower", [Literal::String(s)]) => Some(Literal::String(s.to_lowercase())),
        ("upper", [Literal::String(s)]) => Some(Literal::String(s.to_uppercase())),
        ("length", [Literal::String(s)]) => Some(Literal::Int(s.chars().count() as i64)),
        ("min" | "max", [first, rest @ ..]) if !rest.is_empty() => {
            let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
            let mut best = first;
            for value in rest {
                if compare(value, best)? == wanted {
                    best = value;
                }
            }
            Some(best.clone())
        }
        _ => None,
    }
}

fn arithmetic(op: BinaryOp, a: &Literal, b: &Literal) -> Option<Literal> {
    use BinaryOp as B;
    use Literal as L;
    match (a, b) {
        (L::Int(a), L::Int(b)) => match op {
            B::Add => a.checked_add(*b).map(L::Int),
            B::Subtract => a.checked_sub(*b).map(L::Int),
            B::Multiply => a.checked_mul(*b).map(L::Int),
            B::Divide => Decimal::from_int(*a).checked_div(Decimal::from_int(*b)).map(L::Decimal),
            B::Remainder => (*b != 0).then(|| L::Int(a.wrapping_rem(*b))),
            _ => None,
        },
        (L::Int(a), L::Decimal(_)) => arithmetic(op, &L::Decimal(Decimal::from_int(*a)), b),
        (L::Decimal(_), L::Int(b)) => arithmetic(op, a, &L::Decimal(Decimal::from_int(*b))),
        (L::Decimal(a), L::Decimal(b)) => match op {
            B::Add => a.checked_add(*b),
            B::Subtract => a.checked_sub(*b),
            B::Multiply => a.checked_mul(*b),
            B::Divide => a.checked_div(*b),
            B::Remainder => a.checked_rem(*b),
            _ => None,
        }
        .map(L::Decimal),
        (L::Duration(a), L::Duration(b)) => match op {
            B::Add => a.checked_add(*b).map(L::Duration),
            B::Subtract => a.checked_sub(*b).map(L::Duration),
            _ => None,
        },
        (L::Duration(a), L::Int(b)) | (L::Int(b), L::Duration(a)) if op == B::Multiply => {
            a.checked_mul(*b).map(L::Duration)
        }
        _ => None,
    }
}
