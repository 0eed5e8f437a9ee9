//! Events as the engine sees them, and which fields of them are wanted.

use crate::index::Wanted;
use crate::keys::hash_of;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::types::{Micros, Type};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::{Cell, OnceCell};
use std::ops::Deref;
use triomphe::ThinArc;

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

/// An event that some rule wants, kept for as long as a rule may still use it and shared by all that do: one allocation.
#[derive(Debug, Clone)]
pub(crate) struct Event(ThinArc<EventHead, Value>);

/// What an event is beside its fields.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct EventHead {
    /// Which stream.
    pub(crate) stream: StreamId,
    /// Event time in microseconds.
    pub(crate) ts: Micros,
    /// Which partition it came from.
    pub(crate) partition: PartitionId,
    /// Its place in that partition.
    pub(crate) offset: u64,
    /// Declared id.
    pub(crate) id: Option<ArcStr>,
}

/// What a slot holds that nothing has filled.
pub(crate) static NULL: Value = Value::Null;

impl Event {
    pub(crate) fn new(head: EventHead, slots: Vec<Value>) -> Self {
        Self(ThinArc::from_header_and_iter(head, slots.into_iter()))
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let id = self.id.as_ref().map_or(0, |id| id.len());
        size_of::<EventHead>() + id + self.0.slice.iter().map(Value::bytes).sum::<usize>()
    }

    /// The same event, borrowed.
    pub(crate) fn view(&self) -> EventRef<'_> {
        let EventHead { stream, ts, partition, offset, ref id } = **self;
        EventRef { stream, ts, partition, offset, id: id.as_deref(), slots: &self.0.slice }
    }
}

impl Deref for Event {
    type Target = EventHead;

    fn deref(&self) -> &EventHead {
        &self.0.header.header
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&**self, &self.0.slice).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (head, slots) = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(head, slots))
    }
}

/// An event on its way through the rules: copied once, and only if one of them keeps it.
pub(crate) struct Arriving<'a> {
    pub(crate) view: EventRef<'a>,
    kept: OnceCell<Event>,
    /// A slot and the hash of its value as a key.
    hash: Cell<Option<(usize, u64)>>,
}

impl<'a> Arriving<'a> {
    pub(crate) fn new(view: EventRef<'a>) -> Self {
        Self::hashed(view, None)
    }

    /// With a slot and the hash of its value as a key.
    pub(crate) fn hashed(view: EventRef<'a>, hash: Option<(usize, u64)>) -> Self {
        Self { view, kept: OnceCell::new(), hash: Cell::new(hash) }
    }

    pub(crate) fn again(event: &'a Event) -> Self {
        Self { view: event.view(), kept: OnceCell::from(event.clone()), hash: Cell::new(None) }
    }

    /// The hash of the key that a rule knows the event by, where that is one field.
    #[inline]
    pub(crate) fn key_hash(&self, wanted: Wanted) -> Option<u64> {
        let slot = usize::from(wanted.slot?);
        (!self.view.slot(slot).is_null()).then(|| self.hash(slot))
    }

    /// The hash of the value in a slot as a key; worked out once for the rules that share it.
    pub(crate) fn hash(&self, slot: usize) -> u64 {
        match self.hash.get() {
            Some((known, hash)) if known == slot => hash,
            _ => {
                let hash = hash_of([self.view.slot(slot)]);
                self.hash.set(Some((slot, hash)));
                hash
            }
        }
    }

    /// A copy to keep.
    pub(crate) fn keep(&self) -> &Event {
        self.kept.get_or_init(|| self.view.to_event())
    }
}

impl<'a> EventRef<'a> {
    /// The value in a slot; null where the event is older than the wish for the field.
    #[must_use]
    pub fn slot(&self, slot: usize) -> &'a Value {
        self.slots.get(slot).unwrap_or(&NULL)
    }

    /// A copy to keep.
    pub(crate) fn to_event(self) -> Event {
        let EventRef { stream, ts, partition, offset, .. } = self;
        let head = EventHead { stream, ts, partition, offset, id: self.id.map(ArcStr::from) };
        Event(ThinArc::from_header_and_iter(head, self.slots.iter().cloned()))
    }
}
