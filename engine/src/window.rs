//! Sliding windows: the values of `(now - span, now]` of one key, and their aggregate.
//!
//! INVARIANT: a window's value equals its recomputation from the events it holds ([`aggregate::of_values`]).

use crate::aggregate;
use crate::arithmetic::arithmetic;
use crate::collections::Map;
use crate::program::WindowProgram;
use crate::value::Value;
use pattern_dsl::decimal::MAX_SCALE;
use pattern_dsl::ir::{Aggregate, BinaryOp};
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::VecDeque;

/// The events of one window of one key, oldest first, each reduced to the value it adds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WindowState {
    entries: VecDeque<(Micros, Value)>,
    /// What is known of the entries without walking them; worked out again after a restore.
    #[serde(skip)]
    summary: Option<Summary>,
}

#[derive(Debug, Clone)]
enum Summary {
    /// Entries that are not null.
    Count(i64),
    /// Count and sum of exact numbers, with how many decimals have each scale.
    Sum(i64, Value, Option<Box<[u32; MAX_SCALE as usize + 1]>>),
    /// The entries that are or may yet become the least (or greatest), oldest first: number of the oldest entry held, and
    /// numbers of those entries.
    Extreme(u64, VecDeque<u64>),
    /// How many entries have each value.
    Distinct(Map<Value, u32>),
    /// The window is walked at each read. Of sums: a float, since subtracting would drift, or an overflow.
    Nothing,
}

impl WindowState {
    pub(crate) fn new(window: &WindowProgram) -> Self {
        Self { entries: VecDeque::new(), summary: Some(Summary::new(window.aggregate)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Time of the oldest entry.
    pub(crate) fn oldest(&self) -> Option<Micros> {
        self.entries.front().map(|(ts, _)| *ts)
    }

    /// Drops entries that have left the window at time `now`.
    pub(crate) fn evict(&mut self, window: &WindowProgram, now: Micros) {
        self.summarize(window);
        while self.entries.front().is_some_and(|(ts, _)| *ts <= now.saturating_sub(window.span)) {
            if let (Some((_, value)), Some(summary)) = (self.entries.pop_front(), &mut self.summary) {
                summary.remove(&value);
            }
        }
        if self.entries.is_empty() && matches!(self.summary, Some(Summary::Nothing)) {
            self.summary = Some(Summary::new(window.aggregate));
        }
    }

    /// Adds an event's value.
    pub(crate) fn push(&mut self, window: &WindowProgram, ts: Micros, value: Value) {
        self.summarize(window);
        if let Some(summary) = &mut self.summary {
            summary.add(window.aggregate, &self.entries, &value);
        }
        self.entries.push_back((ts, value));
    }

    fn summarize(&mut self, window: &WindowProgram) {
        if self.summary.is_some() {
            return;
        }
        let mut again = Self::new(window);
        for (ts, value) in std::mem::take(&mut self.entries) {
            again.push(window, ts, value);
        }
        *self = again;
    }

    /// The aggregate of what it holds.
    pub(crate) fn value(&self, window: &WindowProgram) -> Value {
        let value = self.known(window.aggregate).unwrap_or_else(|| self.walk(window.aggregate));
        debug_assert!(
            format!("{value}") == format!("{}", self.walk(window.aggregate)),
            "a window's value is that of its entries: {value}"
        );
        value
    }

    fn walk(&self, kind: Aggregate) -> Value {
        aggregate::of_values(kind, self.entries.iter().map(|(_, value)| value.clone()))
    }

    /// The value, where it need not be walked for.
    fn known(&self, kind: Aggregate) -> Option<Value> {
        match (kind, self.summary.as_ref()?) {
            (Aggregate::First, _) => Some(self.entries.front()?.1.clone()),
            (Aggregate::Last, _) => Some(self.entries.back()?.1.clone()),
            (_, Summary::Count(known)) => Some(Value::Int(*known)),
            (Aggregate::Sum | Aggregate::SumDurations, Summary::Sum(known, sum, scales)) if *known > 0 => {
                let (Value::Decimal(sum), Some(scales)) = (sum, scales) else { return Some(sum.clone()) };
                // A sum is written with the most digits that one of its terms has, not one that has left.
                let scale = scales.iter().rposition(|count| *count > 0).unwrap_or(0) as u8;
                Some(Value::decimal(pattern_dsl::decimal::Decimal { scale, ..**sum }))
            }
            (Aggregate::Avg, Summary::Sum(known, sum, _)) if *known > 0 => {
                Some(arithmetic(BinaryOp::Divide, sum, &Value::Int(*known)))
            }
            (_, Summary::Extreme(first, best)) => {
                let at = best.front()?.checked_sub(*first)?;
                self.entries.get(at as usize).map(|(_, value)| value.clone())
            }
            (_, Summary::Distinct(counts)) => Some(Value::Int(counts.len() as i64)),
            _ => None,
        }
    }
}

impl Summary {
    fn new(kind: Aggregate) -> Self {
        match kind {
            Aggregate::Count => Self::Count(0),
            Aggregate::Sum | Aggregate::SumDurations | Aggregate::Avg => Self::Sum(0, Value::Int(0), None),
            Aggregate::Min | Aggregate::Max => Self::Extreme(0, VecDeque::new()),
            Aggregate::Distinct => Self::Distinct(Map::default()),
            _ => Self::Nothing,
        }
    }

    /// The value comes after the entries.
    fn add(&mut self, kind: Aggregate, entries: &VecDeque<(Micros, Value)>, value: &Value) {
        if value.is_null() {
            return;
        }
        match self {
            Self::Count(known) => *known += 1,
            Self::Sum(..) => self.account(BinaryOp::Add, value, 1),
            Self::Extreme(first, best) => {
                let beaten = if kind == Aggregate::Min { Ordering::Less } else { Ordering::Greater };
                while let Some((_, last)) =
                    best.back().and_then(|number| entries.get((*number - *first) as usize))
                    && value.compare(last) == Some(beaten)
                {
                    best.pop_back();
                }
                best.push_back(*first + entries.len() as u64);
            }
            Self::Distinct(counts) => *counts.entry(value.clone()).or_insert(0) += 1,
            Self::Nothing => {}
        }
    }

    /// The value was the oldest entry.
    fn remove(&mut self, value: &Value) {
        if let Self::Extreme(first, best) = self {
            if best.front() == Some(first) {
                best.pop_front();
            }
            *first += 1;
        }
        if value.is_null() {
            return;
        }
        match self {
            Self::Count(known) => *known -= 1,
            Self::Sum(..) => self.account(BinaryOp::Subtract, value, -1),
            Self::Distinct(counts) => {
                if let Some(count) = counts.get_mut(value) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(value);
                    }
                }
            }
            Self::Extreme(..) | Self::Nothing => {}
        }
    }

    fn account(&mut self, op: BinaryOp, value: &Value, count: i64) {
        let Self::Sum(known, sum, scales) = self else { return };
        *known += count;
        if let Value::Decimal(decimal) = value {
            let scales = scales.get_or_insert_default();
            if let Some(held) = scales.get_mut(usize::from(decimal.scale)) {
                *held = held.wrapping_add_signed(count as i32);
            }
        }
        let exact = matches!(value, Value::Int(_) | Value::Decimal(_) | Value::Duration(_));
        let next =
            if *known == 1 && op == BinaryOp::Add { value.clone() } else { arithmetic(op, sum, value) };
        if exact && !next.is_null() {
            *sum = next;
        } else {
            *self = Self::Nothing;
        }
    }
}
