//! Sliding windows: the values of `(now - span, now]` of one key, and their aggregate.
//!
//! INVARIANT: a window's value equals its recomputation from the events it holds.

use crate::aggregate;
use crate::arithmetic::arithmetic;
use crate::program::WindowProgram;
use crate::value::Value;
use pattern_dsl::ir::{Aggregate, BinaryOp};
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The events of one window of one key, oldest first, each reduced to the value it adds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WindowState {
    entries: VecDeque<(Micros, Value)>,
    /// Running sum of exact numbers; floats are re-added at each read, since subtracting would drift.
    sum: Option<Value>,
    known: i64,
}

impl WindowState {
    pub(crate) fn new(window: &WindowProgram) -> Self {
        let summed = matches!(window.aggregate, Aggregate::Sum | Aggregate::Avg);
        Self { entries: VecDeque::new(), sum: summed.then_some(Value::Int(0)), known: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops entries that have left the window at time `now`.
    pub(crate) fn evict(&mut self, window: &WindowProgram, now: Micros) {
        while self.entries.front().is_some_and(|(ts, _)| *ts <= now.saturating_sub(window.span)) {
            if let Some((_, value)) = self.entries.pop_front() {
                self.account(BinaryOp::Subtract, &value, -1);
            }
        }
        if self.entries.is_empty() && self.sum.is_none() {
            *self = Self::new(window);
        }
    }

    /// Adds an event's value.
    pub(crate) fn push(&mut self, ts: Micros, value: Value) {
        self.account(BinaryOp::Add, &value, 1);
        self.entries.push_back((ts, value));
    }

    fn account(&mut self, op: BinaryOp, value: &Value, count: i64) {
        if value.is_null() {
            return;
        }
        self.known += count;
        if let Some(sum) = &self.sum {
            let exact = matches!(value, Value::Int(_) | Value::Decimal(_) | Value::Duration(_));
            let start = matches!(sum, Value::Int(0)) && op == BinaryOp::Add;
            let next = if start { value.clone() } else { arithmetic(op, sum, value) };
            // A float or an overflow: from here on the window is walked, until it is empty again.
            self.sum = (exact && !next.is_null()).then_some(next);
        }
    }

    /// The aggregate of what it holds.
    pub(crate) fn value(&self, window: &WindowProgram) -> Value {
        match (window.aggregate, &self.sum) {
            (Aggregate::Count, _) => Value::Int(self.known),
            (Aggregate::Sum, Some(sum)) if self.known > 0 => sum.clone(),
            (Aggregate::Avg, Some(sum)) if self.known > 0 => {
                arithmetic(BinaryOp::Divide, sum, &Value::Int(self.known))
            }
            (kind, _) => aggregate::of_values(kind, self.entries.iter().map(|(_, value)| value.clone())),
        }
    }
}
