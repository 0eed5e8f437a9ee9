//! A candidate: an event in its place, with what is asked of it later and of what came before it.

use crate::event::{EventRef, NULL, PartitionId, StreamId};
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// A place in the order of the events that a rule sees; 0 is before all.
pub(crate) type Position = u64;

/// An event that fits a step (or that an absence with a condition across steps looks at), and what is asked of it later.
///
/// It fits a line of the cache: most rows keep one value or none, and nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) pos: Position,
    pub(crate) ts: Micros,
    /// Time of the newest first event of any prefix that may end before this row.
    pub(crate) reach_ts: Micros,
    /// Its place in its partition.
    offset: u64,
    partition: PartitionId,
    /// Above the step, which is above one bit for a row that is marked.
    stream: StreamId,
    kept: Kept,
}

/// The lowest bit of the stream in [`Row::stream`]: a rule has no more than 64 steps.
const STREAM: u32 = 8;

/// What a row keeps of its event.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Kept {
    One(Value),
    More(Box<More>),
}

/// What few rows have.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct More {
    values: Box<[Value]>,
    /// Declared id.
    id: Option<ArcStr>,
    context: Context,
}

/// What lay before a row, where the way here is asked for.
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

/// Where a row of a step has the value of a field.
#[derive(Debug, Clone, Default)]
pub(crate) enum Source {
    /// Nobody reads it.
    #[default]
    Nowhere,
    /// It is a part of the key.
    Key(usize),
    /// The step takes only events with this word of the rule.
    Word(usize),
    /// The row keeps it, at this place.
    Kept(usize),
}

/// What is known of an event without its row.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) key: &'a [Value],
    /// [`Program::words`](crate::program::Program::words).
    pub(crate) words: &'a [Value],
}

impl More {
    fn of(event: &EventRef<'_>, kept: &[usize], context: Option<Context>) -> Box<Self> {
        let values = kept.iter().map(|slot| event.slot(*slot).clone()).collect();
        Box::new(Self { values, id: event.id.map(ArcStr::from), context: context.unwrap_or_default() })
    }
}

impl Row {
    /// A row of an event with the values of some of its slots; it can be reached from itself alone.
    #[inline]
    pub(crate) fn new(event: &EventRef<'_>, pos: Position, kept: &[usize], context: Option<Context>) -> Self {
        let has_one = event.id.is_none() && kept.len() <= 1 && context.is_none();
        Self {
            pos,
            ts: event.ts,
            reach_ts: event.ts,
            offset: event.offset,
            partition: event.partition,
            stream: event.stream << STREAM,
            kept: match has_one {
                true => Kept::One(kept.first().map_or(Value::Null, |slot| event.slot(*slot).clone())),
                false => Kept::More(More::of(event, kept, context)),
            },
        }
    }

    /// It begins no choice: it began an alert (`per start`), a leading absence forbids it, or it belongs to another revision.
    pub(crate) fn is_marked(&self) -> bool {
        self.stream & 1 == 1
    }

    pub(crate) fn mark(&mut self, marked: bool) {
        self.stream = self.stream & !1 | u32::from(marked);
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream >> STREAM
    }

    /// The step that it is kept for.
    #[inline]
    pub(crate) fn step(&self) -> usize {
        (self.stream >> 1) as usize & 0x7f
    }

    pub(crate) fn set_step(&mut self, step: usize) {
        self.stream = self.stream & !0xfe | (step as u32) << 1;
    }

    fn more(&self) -> Option<&More> {
        match &self.kept {
            Kept::One(_) => None,
            Kept::More(more) => Some(more),
        }
    }

    /// The event's declared id.
    pub(crate) fn id(&self) -> Option<&str> {
        self.more()?.id.as_deref()
    }

    /// The event's partition and its place in it.
    pub(crate) fn place(&self) -> (PartitionId, u64) {
        (self.partition, self.offset)
    }

    /// The value of a slot. No `sources`: the row keeps all slots in their order.
    pub(crate) fn slot<'a>(&'a self, slot: usize, sources: &[Source], known: Known<'a>) -> &'a Value {
        let place = match sources.get(slot) {
            Some(Source::Kept(place)) => *place,
            Some(Source::Key(part)) => return known.key.get(*part).unwrap_or(&NULL),
            Some(Source::Word(word)) => return known.words.get(*word).unwrap_or(&NULL),
            Some(Source::Nowhere) => return &NULL,
            None if sources.is_empty() => slot,
            None => return &NULL,
        };
        match &self.kept {
            Kept::One(value) if place == 0 => value,
            Kept::One(_) => &NULL,
            Kept::More(more) => more.values.get(place).unwrap_or(&NULL),
        }
    }

    fn context(&self) -> Option<&Context> {
        self.more().map(|more| &more.context)
    }

    pub(crate) fn own_before(&self) -> Position {
        self.context().map_or(0, |context| context.own_before)
    }

    pub(crate) fn union_before(&self) -> Position {
        self.context().map_or(0, |context| context.union_before)
    }

    pub(crate) fn floor(&self) -> Position {
        self.context().map_or(0, |context| context.floor)
    }

    pub(crate) fn seen(&self) -> &[Position] {
        self.context().map_or(&[], |context| &context.seen)
    }

    pub(crate) fn windows(&self) -> &[Value] {
        self.context().map_or(&[], |context| &context.windows)
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
