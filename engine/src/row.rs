//! A candidate: an event in its place, with what the lists need to know of what came before it.

use crate::event::Event;
use crate::value::Value;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// A place in the order of the events that a rule sees; 0 is before all.
pub(crate) type Position = u64;

/// An event that fits a step (or that an absence with a condition across steps looks at).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) pos: Position,
    pub(crate) ts: Micros,
    /// Time of the newest first event of any prefix that may end before this row.
    pub(crate) reach_ts: Micros,
    pub(crate) event: Event,
    /// What the way here is asked for, where it is.
    pub(crate) context: Option<Box<Context>>,
    /// It begins no choice: it began an alert (`per start`), a leading absence forbids it, or it belongs to another revision.
    pub(crate) marked: bool,
}

/// What lay before a row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Context {
    /// The last event of the step's own stream before this one.
    pub(crate) own_before: Position,
    /// The last event of this step's or the step before's streams.
    pub(crate) union_before: Position,
    /// The last event that breaks a gap's local absences.
    pub(crate) floor: Position,
    /// Where a unit before may have been skipped: the last event of every stream before this one, by rule stream.
    pub(crate) seen: Box<[Position]>,
    /// Values of all windows at this event, if something later reads them.
    pub(crate) windows: Box<[Value]>,
}

impl Row {
    pub(crate) fn own_before(&self) -> Position {
        self.context.as_ref().map_or(0, |context| context.own_before)
    }

    pub(crate) fn union_before(&self) -> Position {
        self.context.as_ref().map_or(0, |context| context.union_before)
    }

    pub(crate) fn floor(&self) -> Position {
        self.context.as_ref().map_or(0, |context| context.floor)
    }

    pub(crate) fn seen(&self) -> &[Position] {
        self.context.as_ref().map_or(&[], |context| &context.seen)
    }

    pub(crate) fn windows(&self) -> &[Value] {
        self.context.as_ref().map_or(&[], |context| &context.windows)
    }
}

/// What a step has taken: most take one event, and need no heap.
#[derive(Debug, Clone, Default)]
pub(crate) enum Rows<'a> {
    #[default]
    None,
    One(&'a Row),
    Many(Vec<&'a Row>),
}

impl<'a> Rows<'a> {
    pub(crate) fn push(&mut self, row: &'a Row) {
        match self {
            Self::None => *self = Self::One(row),
            Self::One(first) => *self = Self::Many(vec![first, row]),
            Self::Many(rows) => rows.push(row),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Many(rows) => rows.clear(),
            _ => *self = Self::None,
        }
    }

    /// Keeps the first row only.
    pub(crate) fn keep_first(&mut self) {
        if let Self::Many(rows) = self {
            rows.truncate(1);
        }
    }
}

impl<'a> Deref for Rows<'a> {
    type Target = [&'a Row];

    fn deref(&self) -> &[&'a Row] {
        match self {
            Self::None => &[],
            Self::One(row) => std::slice::from_ref(row),
            Self::Many(rows) => rows,
        }
    }
}

impl<'a> FromIterator<&'a Row> for Rows<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Row>>(rows: I) -> Self {
        let mut taken = Self::None;
        rows.into_iter().for_each(|row| taken.push(row));
        taken
    }
}

/// The first event of a choice.
pub(crate) fn first_of<'a>(taken: &[Rows<'a>]) -> Option<&'a Row> {
    taken.iter().filter_map(|rows| rows.first().copied()).min_by_key(|row| row.pos)
}

/// The last event of a choice.
pub(crate) fn last_of<'a>(taken: &[Rows<'a>]) -> Option<&'a Row> {
    taken.iter().filter_map(|rows| rows.last().copied()).max_by_key(|row| row.pos)
}
