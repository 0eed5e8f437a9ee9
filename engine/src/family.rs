//! Rules that ask for words or limits of one field: the field's value finds them all at once.

use crate::collections::Map;
use crate::index::{Wanted, merge_rules};
use crate::predicate::{Kin, Predicate, is_inclusive};
use crate::value::Value;
use std::cmp::Ordering;
use std::ops::Range;

/// Most wants of a family that are written down for each limit that may be the last passed.
const WRITTEN: usize = 16_384;

/// Wants that are found by the value of one field; ranges are places in the order of the stream's wants.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) slot: usize,
    pub(crate) by: By,
    /// None of its wants asks more.
    pub(crate) decides: bool,
    /// Its predicates, for values that it has no order or hash for.
    pub(crate) predicates: Vec<(u32, Range<usize>)>,
    /// By how many limits are passed: its part of `written`. Empty = not written down.
    passed: Vec<Range<usize>>,
    /// In the order of rules, each once.
    written: Vec<Wanted>,
}

#[derive(Debug)]
pub(crate) enum By {
    /// Equal to a word or whole number.
    Equal(Map<Value, Range<usize>>),
    /// Limits, those that most values pass first; passed by values on this side, and by equal ones where it says so.
    Limit(Ordering, Vec<Limit>),
    /// The same of floats, with each limit moved to the first number that passes it.
    Float(Ordering, Vec<(f64, usize)>),
}

#[derive(Debug)]
pub(crate) struct Limit {
    value: Value,
    inclusive: bool,
    /// End of the wants of this and all limits before it.
    end: usize,
}

/// What a value finds.
pub(crate) enum Hit<'a> {
    /// As they are to be told.
    Written(&'a [Wanted]),
    /// Wants, which may ask more.
    Range(Range<usize>),
}

impl Family {
    /// None if these are not predicates of one kin.
    pub(crate) fn new<'p>(
        (slot, side, _): Kin,
        predicates: Vec<(u32, Range<usize>)>,
        predicate: impl Fn(u32) -> Option<&'p Predicate>,
    ) -> Option<Self> {
        let mut words = Map::default();
        let mut limits = Vec::new();
        for (number, wants) in &predicates {
            let Predicate::Compare(_, op, value) = predicate(*number)? else { return None };
            if side.is_some() {
                limits.push(Limit { value: value.clone(), inclusive: is_inclusive(*op), end: wants.end });
            } else {
                words.insert(value.clone(), wants.clone());
            }
        }
        let by = side.map_or(By::Equal(words), |side| {
            let floats = limits.iter().map(|limit| limit.first(side)).collect::<Option<Vec<_>>>();
            floats.map_or(By::Limit(side, limits), |floats| By::Float(side, floats))
        });
        Some(Self { slot, by, decides: false, predicates, passed: Vec::new(), written: Vec::new() })
    }

    /// Says that its wants ask nothing more, and writes them down for each number of limits passed if they are few.
    pub(crate) fn write(mut self, wanted: &[Wanted]) -> Self {
        self.decides = true;
        let ends: Vec<usize> = match &self.by {
            By::Equal(_) => return self,
            By::Limit(_, limits) => limits.iter().map(|limit| limit.end).collect(),
            By::Float(_, limits) => limits.iter().map(|(_, end)| *end).collect(),
        };
        let first = self.first();
        if ends.iter().map(|end| end - first).sum::<usize>() > WRITTEN {
            return self;
        }
        for end in std::iter::once(first).chain(ends) {
            let start = self.written.len();
            self.written.extend_from_slice(wanted.get(first..end).unwrap_or_default());
            merge_rules(&mut self.written, start);
            self.passed.push(start..self.written.len());
        }
        self
    }

    fn first(&self) -> usize {
        self.predicates.first().map_or(0, |(_, wants)| wants.start)
    }

    /// The wants that a value finds; none = it must be tested against each predicate.
    pub(crate) fn find(&self, value: &Value) -> Option<Hit<'_>> {
        let (passed, end) = match (&self.by, value) {
            (_, Value::Null) => return Some(Hit::Range(0..0)),
            (By::Equal(words), Value::String(_) | Value::Int(_)) => {
                return Some(Hit::Range(words.get(value).cloned().unwrap_or(0..0)));
            }
            (By::Float(side, limits), Value::Float(value)) => {
                let passed = match side {
                    Ordering::Greater => limits.partition_point(|(first, _)| value >= first),
                    _ => limits.partition_point(|(first, _)| value <= first),
                };
                (passed, passed.checked_sub(1).and_then(|last| limits.get(last)).map(|(_, end)| *end))
            }
            (By::Limit(side, limits), _) => {
                let exact = |value: &Value| matches!(value, Value::Int(_) | Value::Decimal(_));
                let first = limits.first()?;
                let same = std::mem::discriminant(value) == std::mem::discriminant(&first.value);
                if !(same || exact(value) && exact(&first.value)) {
                    return None;
                }
                let passed = limits.partition_point(|limit| match value.compare(&limit.value) {
                    Some(Ordering::Equal) => limit.inclusive,
                    order => order == Some(*side),
                });
                (passed, passed.checked_sub(1).and_then(|last| limits.get(last)).map(|limit| limit.end))
            }
            _ => return None,
        };
        if let Some(written) = self.passed.get(passed) {
            return self.written.get(written.clone()).map(Hit::Written);
        }
        let first = self.first();
        Some(Hit::Range(first..end.unwrap_or(first)))
    }
}

impl Limit {
    /// Of a float: the first number on its side that passes it, and the end of its wants. None if there is none.
    fn first(&self, side: Ordering) -> Option<(f64, usize)> {
        let Value::Float(limit) = self.value else { return None };
        let first = match (self.inclusive, side) {
            (true, _) => limit,
            (false, Ordering::Greater) => limit.next_up(),
            (false, _) => limit.next_down(),
        };
        limit.is_finite().then_some((first, self.end))
    }
}
