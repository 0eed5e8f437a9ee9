//! A table that is saved while it changes: what was there at a moment is written in pieces, and a place that changes meanwhile is
//! written before it does.
//!
//! Every change of a place marks it with the number of the time between two freezes, so that the next one writes the places
//! that have changed. INVARIANT: a place whose mark is the present one is in `changed`, once; no place has a mark of a time
//! before the last freeze once that is written.

use super::{Entry, Handle, Held, KeyTable, Place, hash_of};
use crate::key::Key;
use crate::pieces::{Piece, append, append_rows, take};
use crate::state::KeyState;
use std::ops::Range;

/// Of a table that was never frozen: its changes are not written down.
const NEVER: u8 = 0;

/// What of a table has changed, and what of it is frozen.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Of places that have changed since the last freeze.
    pub(super) now: u8,
    changed: Vec<Handle>,
    saving: Option<Box<Saving>>,
}

/// What of a table is frozen.
#[derive(Debug)]
struct Saving {
    rest: Rest,
    rows: Vec<u8>,
}

/// The places that are still to be looked at.
#[derive(Debug)]
enum Rest {
    /// All of these that have no new mark.
    All(Range<Handle>),
    /// Those of these that still have the mark of the time before the freeze.
    Changed(u8, Vec<Handle>),
}

impl Saving {
    /// A place is as it was, and not written.
    fn lacks(&self, handle: Handle, mark: u8) -> bool {
        match &self.rest {
            Rest::All(handles) => handles.contains(&handle),
            Rest::Changed(before, _) => mark == *before,
        }
    }

    fn write(&mut self, handle: Handle, place: &Place) {
        // Of a place that was empty all along there is nothing to say.
        if place.held.is_some() || matches!(self.rest, Rest::Changed(..)) {
            append_place(handle, place, &mut self.rows);
        }
    }
}

fn append_place(handle: Handle, place: &Place, out: &mut Vec<u8>) {
    append(&(handle, place.held.as_ref().map(|held| (&held.key, &held.state))), out);
}

/// About how many places there are, by the rows of a piece, which are in their order.
pub(crate) fn places_in(mut rows: &[u8]) -> usize {
    // WHY not by the length: a row may be a key with a large window, and a piece has few rows.
    take::<Handle>(&mut rows).map_or(0, |first| first as usize + 1)
}

impl KeyTable {
    /// A place is about to change, for the first time since the last freeze.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_change(&mut self, handle: Handle) {
        let Some(place) = self.places.get_mut(handle as usize) else { return };
        let Marks { now, changed, saving } = &mut self.marks;
        if let Some(saving) = saving.as_mut().filter(|saving| saving.lacks(handle, place.mark)) {
            saving.write(handle, place);
        }
        place.mark = *now;
        changed.push(handle);
    }

    /// What is here now is to be written: what has changed since the last freeze, or all of it, if it was never frozen or
    /// `whole`. False if that is nothing.
    pub(crate) fn freeze(&mut self, whole: bool) -> bool {
        let Marks { now, changed, saving } = &mut self.marks;
        let before = std::mem::replace(now, if *now == 1 { 2 } else { 1 });
        let changed = std::mem::take(changed);
        let rest = match whole || before == NEVER {
            true => Rest::All(0..self.places.len() as Handle),
            false => Rest::Changed(before, changed),
        };
        let is_some = match &rest {
            Rest::All(handles) => !handles.is_empty(),
            Rest::Changed(_, handles) => !handles.is_empty(),
        };
        *saving = is_some.then(|| Box::new(Saving { rest, rows: Vec::new() }));
        is_some
    }

    /// Writes at most so many of the places that are frozen. True if these are all.
    pub(crate) fn save_more(&mut self, rule: u32, most: &mut usize, out: &mut Vec<u8>) -> bool {
        let (places, Marks { now, saving, .. }) = (&mut self.places, &mut self.marks);
        let Some(saved) = saving else { return true };
        while *most > 0 {
            let next = match &mut saved.rest {
                Rest::All(handles) => handles.next(),
                Rest::Changed(_, handles) => handles.pop(),
            };
            let Some(handle) = next else {
                append_rows(&mut saved.rows, out, |rows| Piece::Keys { rule, rows });
                *saving = None;
                return true;
            };
            *most -= 1;
            if let Some(place) = places.get_mut(handle as usize).filter(|place| place.mark != *now) {
                place.mark = NEVER;
                saved.write(handle, place);
            }
        }
        append_rows(&mut saved.rows, out, |rows| Piece::Keys { rule, rows });
        false
    }

    /// Bytes of rows that wait to be fetched.
    pub(crate) fn waiting(&self) -> usize {
        self.marks.saving.as_ref().map_or(0, |saving| saving.rows.len())
    }

    /// All that is here.
    pub(crate) fn save(&self, rule: u32, out: &mut Vec<u8>) {
        let mut rows = Vec::new();
        for (handle, place) in (0..).zip(&self.places).filter(|(_, place)| place.held.is_some()) {
            append_place(handle, place, &mut rows);
        }
        append_rows(&mut rows, out, |rows| Piece::Keys { rule, rows });
    }

    /// So many places are about to be put back.
    pub(crate) fn expect(&mut self, places: usize) {
        // WHY: some more, or the first new key would have all of them moved.
        self.places.reserve((places + places / 4).saturating_sub(self.places.len()));
    }

    /// Puts a place back; [`Self::arrange`] has to follow when all are.
    pub(crate) fn put(&mut self, (handle, held): (Handle, Option<(Key, KeyState)>)) {
        let at = handle as usize;
        if self.places.len() <= at {
            self.places.resize_with(at + 1, Place::default);
        }
        if let Some(place) = self.places.get_mut(at) {
            // WHY: here, since the key is at hand.
            place.hash = held.as_ref().map_or(0, |(key, _)| Entry::new(hash_of(&**key), handle).hash);
            place.held = held.map(|(key, state)| Held { key, state });
        }
    }

    /// Finds keys again that were put back, and has each looked through.
    pub(crate) fn arrange(&mut self) {
        let count = self.places.iter().filter(|place| place.held.is_some()).count();
        self.handles.reserve(count, Entry::spread);
        self.sweeps.reserve(count);
        let mut near = Neighbours::new(self.handles.capacity());
        for (handle, place) in (0..).zip(&mut self.places) {
            let Some(held) = &place.held else {
                self.free.push(handle);
                continue;
            };
            place.queued = true;
            near.add(Entry { hash: place.hash, handle });
            self.sweeps.push_now(handle);
            self.weight += held.state.weight();
        }
        for entry in near.groups.into_iter().flatten() {
            self.handles.insert_unique(entry.spread(), entry, Entry::spread);
        }
        self.free.reverse();
        self.added = count as u32;
        self.next_sweep = self.sweeps.first();
    }
}

/// Entries in groups that lie beside each other in a table.
///
/// WHY: one after the other in no order, each is a miss of the cache in a large table.
struct Neighbours {
    groups: Vec<Vec<Entry>>,
    /// Bits of a hash below those that tell the group.
    below: u32,
}

impl Neighbours {
    /// Entries of a group: what is to be written then stays in the cache.
    const GROUP: usize = 1 << 14;

    /// For a table with room for so many.
    fn new(room: usize) -> Self {
        let groups = (room / Self::GROUP).next_power_of_two();
        // The table takes the lowest bits of a hash.
        let below = (room.next_power_of_two() / groups).ilog2();
        Self { groups: vec![Vec::new(); groups], below }
    }

    fn add(&mut self, entry: Entry) {
        let group = (entry.spread() >> self.below) as usize % self.groups.len();
        if let Some(group) = self.groups.get_mut(group) {
            group.push(entry);
        }
    }
}
