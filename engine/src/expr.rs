//! Expressions as the matcher evaluates them: names are slots, constants are values, patterns are compiled.
//!
//! Unknown (null) follows SQL: a comparison with null is null, `and`/`or` are three-valued. Overflow and division by
//! zero give null.

use crate::aggregate;
use crate::arithmetic::{arithmetic, negate};
use crate::event::{EventRef, PartitionId};
use crate::function::{self, LocalPart, Network};
use crate::program::Program;
use crate::row::{Known, Row, Rows, Source};
use crate::tables::Tables;
use crate::value::Value;
use arcstr::ArcStr;
use jiff::tz::TimeZone;
use pattern_dsl::ir::{Aggregate, BinaryOp, Function, Of, Trend};
use pattern_dsl::types::Micros;
use std::cmp::Ordering;

/// A compiled expression.
#[derive(Debug)]
pub(crate) enum Node {
    Literal(Value),
    /// Slot of the event looked at.
    This(usize),
    /// Slot of a plain step's event.
    Step(usize, usize),
    Ts(Of),
    Id(Of),
    StreamName(Of, ArcStr),
    Key(usize),
    Not(Box<Node>),
    Neg(Box<Node>),
    Binary(BinaryOp, Box<Node>, Box<Node>),
    IsNull(Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    /// Value, number of the table, key.
    InList(Box<Node>, usize, Option<Box<Node>>),
    /// Number of the table, key, column.
    Lookup(usize, Box<Node>, usize),
    List(Vec<Node>),
    Call(Function, Vec<Node>),
    /// Hour or day of an instant in a zone.
    Local(LocalPart, Box<Node>, Box<TimeZone>),
    /// The address is in the network.
    InNetwork(Box<Node>, Box<Network>),
    Aggregate(Aggregate, usize, Option<Box<Node>>),
    Window(usize),
    /// The value that a window had before the first event of another step; what it is of nothing.
    StepWindow(usize, usize, Value),
    Reaches(usize, Box<Node>, Box<Node>),
    Trend(Trend, Box<Node>),
    /// Value of the event taken before; the default on the first.
    Prev(Box<Node>, Box<Node>),
    Matches(Box<Node>, Box<regex::Regex>),
    Object(Vec<(ArcStr, Node)>),
}

/// An event that an expression looks at.
#[derive(Clone, Copy)]
pub(crate) enum Looked<'a> {
    /// As it came.
    Event(&'a EventRef<'a>),
    /// As a list keeps it, and where that has its fields.
    Row(&'a Row, &'a [Source]),
}

impl<'a> Looked<'a> {
    fn slot(self, slot: usize, scope: &Scope<'a>) -> &'a Value {
        match self {
            Self::Event(event) => event.slot(slot),
            Self::Row(row, sources) => row.slot(slot, sources, scope.known()),
        }
    }

    fn ts(self) -> Micros {
        match self {
            Self::Event(event) => event.ts,
            Self::Row(row, _) => row.ts,
        }
    }

    fn identity(self, partitions: &[ArcStr]) -> ArcStr {
        match self {
            Self::Event(event) => identity(event.id, (event.partition, event.offset), partitions),
            Self::Row(row, _) => identity(row.id(), row.place(), partitions),
        }
    }
}

/// What an expression may read.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The event looked at.
    pub(crate) this: Option<Looked<'a>>,
    /// The rule: where rows of its steps have fields.
    pub(crate) program: Option<&'a Program>,
    /// Key values.
    pub(crate) key: &'a [Value],
    /// What each step has taken so far.
    pub(crate) taken: &'a [Rows<'a>],
    /// The step whose `where` this is: trends look at what it took before.
    pub(crate) own: usize,
    /// Values of the rule's windows, by index.
    pub(crate) windows: &'a [Value],
    /// Bit i: latch i is open.
    pub(crate) latches: u32,
    /// Partition names, for events without a declared id.
    pub(crate) partitions: &'a [ArcStr],
    /// Lists and lookups.
    pub(crate) tables: &'a Tables,
    /// The time as of which they are read: of the event looked at, or of the moment.
    pub(crate) time: Micros,
}

impl<'a> Scope<'a> {
    fn known(&self) -> Known<'a> {
        Known { key: self.key, words: self.program.map_or(&[], |program| &program.words) }
    }

    /// The event that the step itself has taken last.
    fn before(&self) -> Option<Looked<'a>> {
        self.taken.get(self.own).and_then(|rows| rows.last()).map(|row| self.row(self.own, row))
    }

    fn event(&self, of: Of) -> Option<Looked<'a>> {
        match of {
            Of::This => self.this,
            Of::Step(step) => {
                self.taken.get(step).and_then(|rows| rows.first()).map(|row| self.row(step, row))
            }
        }
    }

    /// An event that a step has taken.
    pub(crate) fn row(&self, step: usize, row: &'a Row) -> Looked<'a> {
        let step = self.program.and_then(|program| program.steps.get(step));
        Looked::Row(row, step.map_or(&[], |step| &step.sources))
    }
}

/// The identity of an event: its declared id, else its source position (`auth.jsonl:17`).
pub(crate) fn identity(
    id: Option<&str>,
    (partition, offset): (PartitionId, u64),
    partitions: &[ArcStr],
) -> ArcStr {
    match id {
        Some(id) => ArcStr::from(id),
        None => {
            let name = partitions.get(partition as usize).map_or("?", |name| name.as_str());
            ArcStr::from(format!("{name}:{offset}"))
        }
    }
}

impl Node {
    /// True, false or unknown.
    pub(crate) fn test(&self, scope: &Scope<'_>) -> Option<bool> {
        match self {
            Self::Binary(op, left, right) => match op {
                BinaryOp::And => match (left.test(scope), right.test(scope)) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                },
                BinaryOp::Or => match (left.test(scope), right.test(scope)) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
                BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Less
                | BinaryOp::LessOrEqual
                | BinaryOp::Greater
                | BinaryOp::GreaterOrEqual => {
                    let (a, b);
                    let left = match left.peek(scope) {
                        Some(value) => value,
                        None => {
                            a = left.eval(scope);
                            &a
                        }
                    };
                    let right = match right.peek(scope) {
                        Some(value) => value,
                        None => {
                            b = right.eval(scope);
                            &b
                        }
                    };
                    compare(*op, left, right)
                }
                _ => self.eval(scope).as_bool(),
            },
            Self::Not(inner) => inner.test(scope).map(|value| !value),
            _ => self.eval(scope).as_bool(),
        }
    }

    /// A value that can be had without copying.
    fn peek<'v>(&'v self, scope: &Scope<'v>) -> Option<&'v Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::This(slot) => scope.this.map(|event| event.slot(*slot, scope)),
            Self::Step(step, slot) => scope.event(Of::Step(*step)).map(|event| event.slot(*slot, scope)),
            Self::Key(part) => scope.key.get(*part),
            Self::Window(window) => scope.windows.get(*window),
            Self::StepWindow(step, window, nothing) => {
                match scope.taken.get(*step).and_then(|taken| taken.first()) {
                    Some(row) => row.windows().get(*window),
                    None => Some(nothing),
                }
            }
            _ => None,
        }
    }

    /// The value; null where something it needs is unknown.
    pub(crate) fn eval(&self, scope: &Scope<'_>) -> Value {
        if let Some(value) = self.peek(scope) {
            return value.clone();
        }
        match self {
            Self::Literal(_)
            | Self::This(_)
            | Self::Step(..)
            | Self::Key(_)
            | Self::Window(_)
            | Self::StepWindow(..) => Value::Null,
            Self::Ts(of) => scope.event(*of).map_or(Value::Null, |event| Value::Instant(event.ts())),
            Self::Id(of) => scope
                .event(*of)
                .map_or(Value::Null, |event| Value::String(event.identity(scope.partitions).into())),
            Self::StreamName(of, name) => {
                scope.event(*of).map_or(Value::Null, |_| Value::String(name.clone().into()))
            }
            Self::Not(_) => bool_value(self.test(scope)),
            Self::Neg(inner) => negate(&inner.eval(scope)),
            Self::Binary(op, left, right) => self.binary(*op, left, right, scope),
            Self::IsNull(inner) => Value::Bool(inner.eval(scope).is_null()),
            Self::If(condition, then, otherwise) => {
                if condition.test(scope) == Some(true) {
                    then.eval(scope)
                } else {
                    otherwise.eval(scope)
                }
            }
            Self::InList(inner, table, key) => {
                let (value, key) = (inner.eval(scope), key.as_ref().map(|key| key.eval(scope)));
                if value.is_null() || key.as_ref().is_some_and(Value::is_null) {
                    return Value::Null;
                }
                Value::Bool(scope.tables.holds(*table, key.as_ref(), &value, scope.time))
            }
            Self::Lookup(table, key, column) => match key.eval(scope) {
                Value::Null => Value::Null,
                key => scope.tables.look_up(*table, &key, *column, scope.time),
            },
            Self::List(items) => Value::List(Box::new(items.iter().map(|item| item.eval(scope)).collect())),
            Self::Call(name, arguments) => {
                function::call(*name, arguments.iter().map(|argument| argument.eval(scope)).collect())
            }
            Self::Local(part, inner, zone) => match inner.eval(scope) {
                Value::Instant(instant) => function::local(*part, instant, zone),
                _ => Value::Null,
            },
            Self::InNetwork(inner, network) => match inner.eval(scope) {
                Value::Ip(address) => Value::Bool(network.contains(*address)),
                // An address that is declared or inferred as text.
                Value::String(text) => match text.parse() {
                    Ok(address) => Value::Bool(network.contains(address)),
                    Err(_) => Value::Null,
                },
                _ => Value::Null,
            },
            Self::Aggregate(kind, step, argument) => {
                let rows = scope.taken.get(*step).map_or(&[][..], |rows| rows);
                let values = rows.iter().map(|row| match argument {
                    None => Value::Bool(true),
                    Some(argument) => argument.eval(&Scope { this: Some(scope.row(*step, row)), ..*scope }),
                });
                aggregate::of_values(*kind, values)
            }
            Self::Reaches(latch, value, limit) => {
                let reached = compare(BinaryOp::GreaterOrEqual, &value.eval(scope), &limit.eval(scope));
                bool_value(reached.map(|reached| reached && scope.latches >> latch & 1 == 1))
            }
            Self::Trend(trend, inner) => {
                let Some(before) = scope.before() else {
                    return Value::Bool(true);
                };
                let op = match trend {
                    Trend::Rising => BinaryOp::Greater,
                    Trend::Falling => BinaryOp::Less,
                    Trend::Changed => BinaryOp::NotEqual,
                };
                let earlier = inner.eval(&Scope { this: Some(before), ..*scope });
                bool_value(compare(op, &inner.eval(scope), &earlier))
            }
            Self::Prev(inner, default) => match scope.before() {
                Some(before) => inner.eval(&Scope { this: Some(before), ..*scope }),
                None => default.eval(scope),
            },
            Self::Matches(inner, regex) => match inner.eval(scope) {
                Value::String(text) => Value::Bool(regex.is_match(&text)),
                _ => Value::Null,
            },
            Self::Object(pairs) => Value::Object(Box::new(
                pairs.iter().map(|(name, value)| (name.clone(), value.eval(scope))).collect(),
            )),
        }
    }

    fn binary(&self, op: BinaryOp, left: &Node, right: &Node, scope: &Scope<'_>) -> Value {
        match op {
            BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessOrEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterOrEqual => bool_value(self.test(scope)),
            BinaryOp::Coalesce => match left.eval(scope) {
                Value::Null => right.eval(scope),
                value => value,
            },
            BinaryOp::In => match right.peek(scope) {
                Some(set) => is_in(&left.eval(scope), set),
                None => is_in(&left.eval(scope), &right.eval(scope)),
            },
            BinaryOp::Contains | BinaryOp::StartsWith | BinaryOp::EndsWith => {
                text_test(op, &left.eval(scope), &right.eval(scope))
            }
            BinaryOp::Matches => Value::Null,
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Remainder => arithmetic(op, &left.eval(scope), &right.eval(scope)),
        }
    }
}

fn bool_value(value: Option<bool>) -> Value {
    value.map_or(Value::Null, Value::Bool)
}

/// A comparison of the language; none = unknown.
pub(crate) fn compare(op: BinaryOp, left: &Value, right: &Value) -> Option<bool> {
    if left.is_null() || right.is_null() {
        return None;
    }
    if let (BinaryOp::Equal, Value::String(left), Value::String(right)) = (op, left, right) {
        return Some(left == right);
    }
    let order = match (left, right) {
        (Value::List(_), Value::List(_))
        | (Value::Object(_), Value::Object(_))
        | (Value::Geo(_), Value::Geo(_)) => {
            Some(if left == right { Ordering::Equal } else { Ordering::Less })
        }
        _ => left.compare(right),
    };
    // Not a number compares with nothing, and differs from everything.
    let Some(order) = order else { return Some(op == BinaryOp::NotEqual) };
    Some(match op {
        BinaryOp::Equal => order == Ordering::Equal,
        BinaryOp::NotEqual => order != Ordering::Equal,
        BinaryOp::Less => order == Ordering::Less,
        BinaryOp::LessOrEqual => order != Ordering::Greater,
        BinaryOp::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn is_in(value: &Value, set: &Value) -> Value {
    let (false, Value::List(items)) = (value.is_null(), set) else { return Value::Null };
    if items.iter().any(|item| compare(BinaryOp::Equal, value, item) == Some(true)) {
        Value::Bool(true)
    } else if items.iter().any(Value::is_null) {
        Value::Null
    } else {
        Value::Bool(false)
    }
}

fn text_test(op: BinaryOp, left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::String(text), Value::String(part)) => Value::Bool(match op {
            BinaryOp::Contains => text.contains(part.as_str()),
            BinaryOp::StartsWith => text.starts_with(part.as_str()),
            _ => text.ends_with(part.as_str()),
        }),
        (Value::List(_), _) if op == BinaryOp::Contains => is_in(right, left),
        _ => Value::Null,
    }
}
