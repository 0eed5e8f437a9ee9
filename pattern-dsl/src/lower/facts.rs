//! What the constant tests of a condition say of each field of the event looked at.
//!
//! Only what is certain is kept: a test that is not understood says nothing, so "no event fits both" is never guessed.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::decimal::Decimal;
use crate::ir::{BinaryOp, Condition, Expr, Of};
use crate::types::Literal;

/// Limits of each field's value.
#[derive(Default)]
pub(super) struct Facts {
    fields: BTreeMap<usize, Limits>,
}

#[derive(Default)]
struct Limits {
    /// Lower limits; the flag says that the value itself is out.
    low: Vec<(Literal, bool)>,
    high: Vec<(Literal, bool)>,
    /// The value is in each of these.
    among: Vec<Vec<Literal>>,
    /// The value is none of these.
    not: Vec<Literal>,
    null: bool,
    not_null: bool,
}

impl Facts {
    /// Adds what must hold where the condition is true.
    pub(super) fn add(&mut self, condition: &Condition) {
        for term in condition {
            self.expr(&term.expr, true);
        }
    }

    /// No event passes all that was added.
    pub(super) fn contradict(&self) -> bool {
        self.fields.values().any(Limits::contradict)
    }

    fn expr(&mut self, expr: &Expr, holds: bool) {
        match expr {
            Expr::Field(Of::This, field) => {
                let limits = self.fields.entry(*field).or_default();
                limits.among.push(vec![Literal::Bool(holds)]);
            }
            Expr::Not(inner) => self.expr(inner, !holds),
            Expr::IsNull(inner) => {
                if let Expr::Field(Of::This, field) = inner.as_ref() {
                    let limits = self.fields.entry(*field).or_default();
                    *(if holds { &mut limits.null } else { &mut limits.not_null }) = true;
                }
            }
            Expr::Binary(BinaryOp::And, a, b) if holds => {
                self.expr(a, true);
                self.expr(b, true);
            }
            Expr::Binary(BinaryOp::Or, a, b) if !holds => {
                self.expr(a, false);
                self.expr(b, false);
            }
            Expr::Binary(op, a, b) => match (a.as_ref(), b.as_ref()) {
                (Expr::Field(Of::This, field), Expr::Literal(value)) => self.test(*field, *op, value, holds),
                (Expr::Literal(value), Expr::Field(Of::This, field)) => {
                    if let Some(op) = turned(*op) {
                        self.test(*field, op, value, holds);
                    }
                }
                (Expr::Field(Of::This, field), Expr::List(items)) if *op == BinaryOp::In => {
                    self.among(*field, items, holds);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn among(&mut self, field: usize, items: &[Expr], holds: bool) {
        let values: Option<Vec<Literal>> = items
            .iter()
            .map(|item| match item {
                Expr::Literal(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let Some(values) = values else { return };
        let limits = self.fields.entry(field).or_default();
        if holds {
            limits.among.push(values);
        } else {
            limits.not.extend(values);
        }
    }

    fn test(&mut self, field: usize, op: BinaryOp, value: &Literal, holds: bool) {
        let Some(op) = (if holds { Some(op) } else { opposite(op) }) else { return };
        let limits = self.fields.entry(field).or_default();
        // A comparison that holds has no null side.
        limits.not_null = true;
        match op {
            BinaryOp::Equal => limits.among.push(vec![value.clone()]),
            BinaryOp::NotEqual => limits.not.push(value.clone()),
            BinaryOp::Less => limits.high.push((value.clone(), true)),
            BinaryOp::LessOrEqual => limits.high.push((value.clone(), false)),
            BinaryOp::Greater => limits.low.push((value.clone(), true)),
            BinaryOp::GreaterOrEqual => limits.low.push((value.clone(), false)),
            _ => {}
        }
    }
}

impl Limits {
    fn contradict(&self) -> bool {
        if self.null && (self.not_null || !self.among.is_empty()) {
            return true;
        }
        let crossed = self.low.iter().any(|(low, low_out)| {
            self.high.iter().any(|(high, high_out)| match compare(low, high) {
                Some(Ordering::Greater) => true,
                Some(Ordering::Equal) => *low_out || *high_out,
                _ => false,
            })
        });
        crossed || self.among.first().is_some_and(|first| !first.iter().any(|value| self.allows(value)))
    }

    /// This value is not excluded for certain.
    fn allows(&self, value: &Literal) -> bool {
        let not = |other: &Literal| compare(value, other).is_some_and(Ordering::is_ne);
        let inside = |limits: &[(Literal, bool)], wrong: Ordering| {
            !limits.iter().any(|(limit, out)| match compare(value, limit) {
                Some(Ordering::Equal) => *out,
                Some(order) => order == wrong,
                None => false,
            })
        };
        self.among.iter().all(|values| !values.iter().all(not))
            && !self.not.iter().any(|other| compare(value, other) == Some(Ordering::Equal))
            && inside(&self.low, Ordering::Less)
            && inside(&self.high, Ordering::Greater)
    }
}

/// The sign with its sides exchanged.
pub(super) fn turned(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Equal | BinaryOp::NotEqual => op,
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        _ => return None,
    })
}

fn opposite(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Equal => BinaryOp::NotEqual,
        BinaryOp::NotEqual => BinaryOp::Equal,
        BinaryOp::Less => BinaryOp::GreaterOrEqual,
        BinaryOp::LessOrEqual => BinaryOp::Greater,
        BinaryOp::Greater => BinaryOp::LessOrEqual,
        BinaryOp::GreaterOrEqual => BinaryOp::Less,
        _ => return None,
    })
}

/// The order of two constants of one kind.
fn compare(a: &Literal, b: &Literal) -> Option<Ordering> {
    let decimal = |l: &Literal| match l {
        Literal::Int(i) => Some(Decimal::from_int(*i)),
        Literal::Decimal(d) => Some(*d),
        _ => None,
    };
    match (a, b) {
        (Literal::Bool(a), Literal::Bool(b)) => Some(a.cmp(b)),
        (Literal::String(a), Literal::String(b)) => Some(a.cmp(b)),
        (Literal::Instant(a), Literal::Instant(b)) | (Literal::Duration(a), Literal::Duration(b)) => {
            Some(a.cmp(b))
        }
        (Literal::Ip(a), Literal::Ip(b)) => Some(a.cmp(b)),
        _ => Some(decimal(a)?.cmp(&decimal(b)?)),
    }
}
