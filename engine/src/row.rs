//! A candidate: an event in its place, with what the lists need to know of what came before it.

use crate::event::Event;
use crate::value::Value;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A place in the order of the events that a rule sees; 0 is before all.
pub(crate) type Position = u64;

/// An event that fits a step (or that an absence with a condition across steps looks at).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) pos: Position,
    pub(crate) ts: Micros,
    /// Time of the newest first event of any prefix that may end before this row.
    pub(crate) reach_ts: Micros,
    /// The last event of the step's own stream before this one.
    pub(crate) own_before: Position,
    /// The last event of this step's or the step before's streams.
    pub(crate) union_before: Position,
    /// The last event that breaks a gap's local absences.
    pub(crate) floor: Position,
    /// Where a unit before may have been skipped: the last event of every stream before this one, by rule stream.
    pub(crate) seen: Box<[Position]>,
    /// It begins no choice: it began an alert (`per start`), a leading absence forbids it, or it belongs to another revision.
    pub(crate) marked: bool,
    pub(crate) event: Arc<Event>,
    /// Values of all windows at this event, if something later reads them.
    pub(crate) windows: Box<[Value]>,
}

/// The first event of a choice.
pub(crate) fn first_of<'a>(taken: &[Vec<&'a Row>]) -> Option<&'a Row> {
    taken.iter().filter_map(|rows| rows.first().copied()).min_by_key(|row| row.pos)
}

/// The last event of a choice.
pub(crate) fn last_of<'a>(taken: &[Vec<&'a Row>]) -> Option<&'a Row> {
    taken.iter().filter_map(|rows| rows.last().copied()).max_by_key(|row| row.pos)
}
