//! The keys of a rule with their states: found by hash, named by a handle while they live.
//!
//! INVARIANT: a handle names the same key until that is removed; then the place may serve another key.

mod saving;
mod sweeps;

use crate::key::Key;
use crate::program::Program;
use crate::state::KeyState;
use crate::value::Value;
use hashbrown::HashTable;
use pattern_dsl::types::Micros;
use rustc_hash::FxHasher;
use saving::Marks;
pub(crate) use saving::places_in;
use std::hash::{Hash, Hasher};
use sweeps::Sweeps;

/// Names a key of a rule while its state lives.
pub(crate) type Handle = u32;

/// Where a key was when it was looked for, some events ago.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Near {
    /// It was not looked for.
    #[default]
    Unknown,
    /// Likely here.
    At(Handle),
    /// Nowhere, when so many keys had been added to its table.
    Absent(u32),
}

/// The hash under which a key is found.
pub(crate) fn hash_of<'v>(key: impl IntoIterator<Item = &'v Value>) -> u64 {
    let mut hasher = FxHasher::default();
    key.into_iter().for_each(|value| value.hash(&mut hasher));
    hasher.finish()
}

/// Keys and their states.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    handles: HashTable<Entry>,
    places: Vec<Place>,
    free: Vec<Handle>,
    /// An empty state of a key that was removed, for what it has beside candidates.
    spare: Option<KeyState>,
    /// Places to look through for what has run out: each at most once, whichever key it serves by then.
    sweeps: Sweeps,
    /// When the first of them is due: asked for after each event.
    next_sweep: Option<Micros>,
    /// Of all states together ([`KeyState::weight`]).
    weight: usize,
    /// Keys added so far.
    added: u32,
    marks: Marks,
}

/// Where a key is, beside part of its hash: another key is told apart, and the table grows, without a look at the places.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    handle: Handle,
}

impl Entry {
    fn new(hash: u64, handle: Handle) -> Self {
        Self { hash: (hash >> 32) as u32 ^ hash as u32, handle }
    }

    /// The hash that the table goes by.
    fn spread(&self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
    }
}

/// A key in its table: two lines of the cache at most.
#[derive(Debug, Default)]
struct Place {
    held: Option<Held>,
    /// Of its key, as its entry has it.
    hash: u32,
    /// It stands in `sweeps`.
    queued: bool,
    /// When it last changed ([`Marks::now`]).
    mark: u8,
}

const _: () = assert!(size_of::<Place>() <= 96, "most of the memory of a rule with many keys");

#[derive(Debug)]
struct Held {
    key: Key,
    state: KeyState,
}

impl KeyTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    pub(crate) fn find(&self, hash: u64, key: &[Value]) -> Option<Handle> {
        let wanted = Entry::new(hash, 0);
        let same = |entry: &Entry| {
            let known = || self.get(entry.handle).map(|(known, _)| &**known);
            entry.hash == wanted.hash && known() == Some(key)
        };
        self.handles.find(wanted.spread(), same).map(|entry| entry.handle)
    }

    /// Where a key with this hash is, likely the only one.
    pub(crate) fn near(&self, hash: u64) -> Near {
        let wanted = Entry::new(hash, 0);
        let entry = self.handles.find(wanted.spread(), |entry| entry.hash == wanted.hash);
        entry.map_or(Near::Absent(self.added), |entry| Near::At(entry.handle))
    }

    /// Where a key is now that was near there; `hash` is that of the key, if it is known.
    #[inline]
    pub(crate) fn nearer(&self, near: Near, hash: impl FnOnce() -> Option<u64>) -> Near {
        match near {
            Near::Absent(added) if added == self.added => near,
            Near::At(_) => near,
            _ => hash().map_or(Near::Unknown, |hash| self.near(hash)),
        }
    }

    /// A key that was near there is not here.
    #[inline]
    pub(crate) fn lacks(&self, near: Near) -> bool {
        matches!(near, Near::Absent(added) if added == self.added)
    }

    /// [`Self::find`] of a key that was near there.
    #[inline]
    pub(crate) fn find_near(&self, near: Near, hash: u64, key: &[Value]) -> Option<Handle> {
        match near {
            Near::At(handle) if self.get(handle).is_some_and(|(known, _)| &**known == key) => Some(handle),
            _ if self.lacks(near) => None,
            _ => self.find(hash, key),
        }
    }

    /// Adds a key that is not there yet; `make` gives its state where none is at hand.
    ///
    /// WHY in the form that all keys have: how long a key is kept that holds nothing any more hangs on when time was looked
    /// at, so which event brought it must not show in an alert that a timer raises.
    pub(crate) fn insert(&mut self, hash: u64, key: &[Value], make: impl FnOnce() -> KeyState) -> Handle {
        let state = self.spare.take().unwrap_or_else(make);
        let handle = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as Handle
        });
        self.touch(handle);
        self.weight += state.weight();
        self.added = self.added.wrapping_add(1);
        let entry = Entry::new(hash, handle);
        if let Some(place) = self.places.get_mut(handle as usize) {
            place.held = Some(Held { key: Key::from(key), state });
            place.hash = entry.hash;
        }
        self.handles.insert_unique(entry.spread(), entry, Entry::spread);
        handle
    }

    /// What all keys hold.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// A state that held so much holds so much now: said after each change of one.
    pub(crate) fn weigh(&mut self, before: usize, after: usize) {
        self.weight = self.weight + after - before;
    }

    /// Changes the state of a key, and weighs it; none if the handle names no key.
    pub(crate) fn change<R>(
        &mut self,
        handle: Handle,
        change: impl FnOnce(&[Value], &mut KeyState) -> R,
    ) -> Option<R> {
        let (key, state) = self.get_mut(handle)?;
        let before = state.weight();
        let outcome = change(key, state);
        let after = state.weight();
        self.weigh(before, after);
        Some(outcome)
    }

    /// A key, added where there is none, and looked through when its turn comes.
    pub(crate) fn of_key(&mut self, key: &Key, make: impl FnOnce() -> KeyState) -> Handle {
        let hash = hash_of(&**key);
        let handle = self.find(hash, key).unwrap_or_else(|| self.insert(hash, key, make));
        self.queue(handle, Sweeps::push_now);
        handle
    }

    /// Every change of a place begins with this.
    #[inline]
    fn touch(&mut self, handle: Handle) {
        if self.places.get(handle as usize).is_some_and(|place| place.mark != self.marks.now) {
            self.begin_change(handle);
        }
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<(&[Value], &mut KeyState)> {
        self.touch(handle);
        let held = self.places.get_mut(handle as usize)?.held.as_mut()?;
        Some((&held.key, &mut held.state))
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<(&Key, &KeyState)> {
        let held = self.places.get(handle as usize)?.held.as_ref()?;
        Some((&held.key, &held.state))
    }

    /// Removes a key with all that it holds.
    pub(crate) fn remove(&mut self, handle: Handle) {
        self.touch(handle);
        let Some(place) = self.places.get_mut(handle as usize) else { return };
        let (Some(held), hash) = (place.held.take(), place.hash) else { return };
        self.weight -= held.state.weight();
        let spread = Entry { hash, handle }.spread();
        if let Ok(entry) = self.handles.find_entry(spread, |known| known.handle == handle) {
            entry.remove();
        }
        self.free.push(handle);
        self.spare = self.spare.take().or_else(|| held.state.emptied());
    }

    /// Has the place looked through once `after` has passed since `now`, if it is not going to be anyway.
    #[inline]
    pub(crate) fn sweep_after(&mut self, handle: Handle, now: Micros, after: Micros) {
        self.queue(handle, |sweeps, handle| sweeps.push(handle, now, after));
    }

    #[inline]
    fn queue(&mut self, handle: Handle, push: impl FnOnce(&mut Sweeps, Handle)) {
        if let Some(place) = self.places.get_mut(handle as usize)
            && !std::mem::replace(&mut place.queued, true)
        {
            push(&mut self.sweeps, handle);
            self.next_sweep = self.sweeps.first();
        }
    }

    /// When the next place is to be looked through.
    pub(crate) fn next_sweep(&self) -> Option<Micros> {
        self.next_sweep
    }

    /// The places to look through by `now`.
    pub(crate) fn swept(&self, now: Micros) -> impl Iterator<Item = Handle> + Clone {
        self.sweeps.due(now)
    }

    /// The key to look through by `now`, if one is; it is queued no more.
    pub(crate) fn pop_sweep(&mut self, now: Micros) -> Option<Handle> {
        let handle = self.sweeps.pop(now)?;
        self.next_sweep = self.sweeps.first();
        self.places.get_mut(handle as usize)?.queued = false;
        Some(handle)
    }

    pub(crate) fn sweeps(&self) -> usize {
        self.sweeps.len()
    }

    /// Keys and states, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &KeyState)> {
        self.places.iter().filter_map(|place| place.held.as_ref()).map(|held| (&held.key, &held.state))
    }

    /// Lets time pass for every key.
    pub(crate) fn expire(&mut self, program: &Program, now: Micros) {
        for handle in 0..self.places.len() as Handle {
            if self.get(handle).is_some_and(|(_, state)| state.runs_out(now)) {
                self.change(handle, |_, state| state.expire(program, now));
            }
        }
    }
}
