//! Events as the engine sees them, and which fields of them are wanted.

use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::types::{Micros, Type};

/// Index of a stream in the task's [`Layout`].
pub type StreamId = u32;
/// Index of a declared partition of the task.
pub type PartitionId = u32;

/// Streams with the fields that some rule reads: what a decoder has to fill.
///
/// INVARIANT: append-only while a task lives, so that slots of buffered events keep their meaning.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// Streams by [`StreamId`].
    pub streams: Vec<StreamLayout>,
}

/// One stream's wanted fields, in slot order.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StreamLayout {
    /// The stream's name.
    pub name: ArcStr,
    /// Wanted fields, in slot order.
    pub fields: Vec<WantedField>,
}

/// A field that a decoder has to deliver.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WantedField {
    /// Names from the root inwards.
    pub path: Vec<String>,
    /// The type to read it as.
    pub ty: Type,
}

/// A decoded event, borrowed from the decoder's reused buffers.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    /// Which stream.
    pub stream: StreamId,
    /// Event time in microseconds.
    pub ts: Micros,
    /// Which partition it came from.
    pub partition: PartitionId,
    /// Its place in that partition (line number or offset).
    pub offset: u64,
    /// Declared id, if the stream has one.
    pub id: Option<&'a str>,
    /// Wanted fields in slot order; missing trailing slots read as null.
    pub slots: &'a [Value],
}

/// An event that some rule wants, kept for as long as a rule may still use it and shared by all that do.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// Which stream.
    pub stream: StreamId,
    /// Event time in microseconds.
    pub ts: Micros,
    /// Which partition it came from.
    pub partition: PartitionId,
    /// Its place in that partition.
    pub offset: u64,
    /// Declared id.
    pub id: Option<ArcStr>,
    /// Wanted fields in slot order.
    pub slots: Box<[Value]>,
}

static NULL: Value = Value::Null;

impl Event {
    /// The same event, borrowed.
    #[must_use]
    pub fn view(&self) -> EventRef<'_> {
        EventRef {
            stream: self.stream,
            ts: self.ts,
            partition: self.partition,
            offset: self.offset,
            id: self.id.as_deref(),
            slots: &self.slots,
        }
    }
}

impl<'a> EventRef<'a> {
    /// The value in a slot; null where the event is older than the wish for the field.
    #[must_use]
    pub fn slot(&self, slot: usize) -> &'a Value {
        self.slots.get(slot).unwrap_or(&NULL)
    }

    /// A copy to keep.
    #[must_use]
    pub fn to_event(&self) -> Event {
        Event {
            stream: self.stream,
            ts: self.ts,
            partition: self.partition,
            offset: self.offset,
            id: self.id.map(ArcStr::from),
            slots: self.slots.into(),
        }
    }
}
