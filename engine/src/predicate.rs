//! Tests of one event: as rules ask them, and in the form in which most events are told apart soonest.

use crate::event::EventRef;
use crate::expr::{Looked, Node, Scope, compare};
use crate::tables::Tables;
use crate::text::Text;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::BinaryOp;
use std::cmp::Ordering;

/// A test of one event.
#[derive(Debug)]
pub(crate) enum Predicate {
    /// A field against a constant.
    Compare(usize, BinaryOp, Value),
    Other(Node),
}

/// Predicates that one look at a field decides together: its slot, the side of a limit, the kind of constant.
pub(crate) type Kin = (usize, Option<Ordering>, u8);

impl Predicate {
    pub(crate) fn new(node: Node, is_float: &dyn Fn(usize) -> bool) -> Self {
        let Node::Binary(op, left, right) = node else { return Self::Other(node) };
        match (*left, *right) {
            (Node::This(slot), Node::Literal(value)) if side(op).is_some() || op == BinaryOp::Equal => {
                // Numbers compare with a float as floats.
                let float = value.as_f64().filter(|_| is_float(slot)).map(Value::Float);
                Self::Compare(slot, op, float.unwrap_or(value))
            }
            (left, right) => Self::Other(Node::Binary(op, Box::new(left), Box::new(right))),
        }
    }

    #[inline(always)]
    pub(crate) fn holds(&self, event: &EventRef<'_>, around: Around<'_>) -> bool {
        if let Self::Compare(slot, op, limit) = self {
            match (event.slot(*slot), limit) {
                (Value::Float(value), Value::Float(limit)) => return orders(*op, value, limit),
                (Value::Int(value), Value::Int(limit)) => return orders(*op, value, limit),
                _ => {}
            }
        }
        self.holds_of_any(event, around)
    }

    /// [`Self::holds`] where two plain numbers do not decide.
    #[inline(never)]
    pub(crate) fn holds_of_any(&self, event: &EventRef<'_>, around: Around<'_>) -> bool {
        match self {
            Self::Compare(slot, op, limit) => compare(*op, event.slot(*slot), limit) == Some(true),
            Self::Other(node) => around.tests(node, event),
        }
    }

    /// What it is decided together with.
    pub(crate) fn kin(&self) -> Option<Kin> {
        let Self::Compare(slot, op, value) = self else { return None };
        let kind = match value {
            Value::String(_) => 0,
            Value::Int(_) => 1,
            Value::Float(value) if !value.is_nan() => 2,
            Value::Decimal(_) => 3,
            Value::Instant(_) => 4,
            Value::Duration(_) => 5,
            _ => return None,
        };
        match side(*op) {
            // Whole numbers and exact decimals are limits of one order.
            Some(side) if kind > 0 => Some((*slot, Some(side), if kind == 3 { 1 } else { kind })),
            None if kind < 2 => Some((*slot, None, kind)),
            _ => None,
        }
    }
}

/// What tests of an event read beside it.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) partitions: &'a [ArcStr],
    pub(crate) tables: &'a Tables,
}

impl Around<'_> {
    pub(crate) fn tests(self, node: &Node, event: &EventRef<'_>) -> bool {
        let scope = Scope {
            this: Some(Looked::Event(event)),
            program: None,
            key: &[],
            taken: &[],
            own: 0,
            windows: &[],
            latches: 0,
            partitions: self.partitions,
            tables: self.tables,
            time: event.ts,
        };
        node.test(&scope) == Some(true)
    }
}

/// An order or equality of two plain numbers; what is not a number is in no order.
#[inline]
fn orders<T: PartialOrd>(op: BinaryOp, value: &T, limit: &T) -> bool {
    match op {
        BinaryOp::Less => value < limit,
        BinaryOp::LessOrEqual => value <= limit,
        BinaryOp::Greater => value > limit,
        BinaryOp::GreaterOrEqual => value >= limit,
        _ => value == limit,
    }
}

/// On which side of a limit the values lie that pass.
pub(crate) fn side(op: BinaryOp) -> Option<Ordering> {
    match op {
        BinaryOp::Less | BinaryOp::LessOrEqual => Some(Ordering::Less),
        BinaryOp::Greater | BinaryOp::GreaterOrEqual => Some(Ordering::Greater),
        _ => None,
    }
}

pub(crate) fn is_inclusive(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::LessOrEqual | BinaryOp::GreaterOrEqual)
}

/// A predicate in the form in which most events are told apart soonest. The range of numbers that pass has both ends in it.
#[derive(Debug)]
pub(crate) enum Quick {
    Floats(usize, f64, f64),
    Ints(usize, i64, i64),
    Word(usize, Text),
    /// It has no such form.
    None,
}

impl Quick {
    pub(crate) fn of(predicate: &Predicate) -> Self {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let Predicate::Compare(slot, op, limit) = predicate else { return Self::None };
        match limit {
            // Beyond infinity there is no next number.
            Value::Float(limit) if limit.is_finite() => match op {
                Less => Self::Floats(*slot, f64::NEG_INFINITY, limit.next_down()),
                LessOrEqual => Self::Floats(*slot, f64::NEG_INFINITY, *limit),
                Greater => Self::Floats(*slot, limit.next_up(), f64::INFINITY),
                GreaterOrEqual => Self::Floats(*slot, *limit, f64::INFINITY),
                Equal => Self::Floats(*slot, *limit, *limit),
                _ => Self::None,
            },
            Value::Int(limit) => match op {
                Less => limit.checked_sub(1).map_or(Self::None, |last| Self::Ints(*slot, i64::MIN, last)),
                LessOrEqual => Self::Ints(*slot, i64::MIN, *limit),
                Greater => {
                    limit.checked_add(1).map_or(Self::None, |first| Self::Ints(*slot, first, i64::MAX))
                }
                GreaterOrEqual => Self::Ints(*slot, *limit, i64::MAX),
                Equal => Self::Ints(*slot, *limit, *limit),
                _ => Self::None,
            },
            Value::String(word) if *op == Equal => Self::Word(*slot, word.clone()),
            _ => Self::None,
        }
    }

    /// For which of some events, at most 32, the predicate holds, and for which it has to be asked itself; one bit each.
    #[inline]
    pub(crate) fn holds(&self, events: &[EventRef<'_>]) -> (u32, u32) {
        match self {
            Self::Floats(slot, low, high) => told(events, *slot, |value| match value {
                Value::Float(value) => Some(low <= value && value <= high),
                _ => None,
            }),
            Self::Ints(slot, low, high) => told(events, *slot, |value| match value {
                Value::Int(value) => Some(low <= value && value <= high),
                _ => None,
            }),
            Self::Word(slot, word) => told(events, *slot, |value| match value {
                Value::String(value) => Some(value == word),
                _ => None,
            }),
            Self::None => (0, u32::MAX),
        }
    }
}

#[inline(always)]
fn told(events: &[EventRef<'_>], slot: usize, holds: impl Fn(&Value) -> Option<bool>) -> (u32, u32) {
    let (mut all, mut open) = (0, 0);
    for (place, event) in events.iter().enumerate() {
        match holds(event.slot(slot)) {
            Some(holds) => all |= u32::from(holds) << place,
            None => open |= 1 << place,
        }
    }
    (all, open)
}
