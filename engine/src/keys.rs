//! The keys of a rule with their states: found by hash, named by a handle while they live.
//!
//! INVARIANT: a handle names the same key until that is removed; then the place may serve another key.

use crate::state::{Key, KeyState};
use crate::value::Value;
use hashbrown::HashTable;
use pattern_dsl::types::Micros;
use rustc_hash::FxHasher;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

/// Names a key of a rule while its state lives.
pub(crate) type Handle = u32;

/// Most rows of a state whose lists are kept for the next key.
const SPARE_ROWS: usize = 64;

/// The hash under which a key is found.
pub(crate) fn hash_of<'v>(key: impl IntoIterator<Item = &'v Value>) -> u64 {
    let mut hasher = FxHasher::default();
    key.into_iter().for_each(|value| value.hash(&mut hasher));
    hasher.finish()
}

/// Keys and their states.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    handles: HashTable<Handle>,
    places: Vec<Place>,
    free: Vec<Handle>,
    /// An empty state of a key that was removed, for the lists that it has room for.
    spare: Option<KeyState>,
    /// Places to look through for what has run out, by when: each at most once, whichever key it serves by then.
    sweeps: VecDeque<(Micros, Handle)>,
}

#[derive(Debug, Default)]
struct Place {
    held: Option<Held>,
    /// Stands in `sweeps`.
    queued: bool,
}

#[derive(Debug)]
struct Held {
    hash: u64,
    key: Key,
    state: KeyState,
}

impl KeyTable {
    pub(crate) fn find(&self, hash: u64, key: &[Value]) -> Option<Handle> {
        let same = |handle: &Handle| {
            let held = self.places.get(*handle as usize).and_then(|place| place.held.as_ref());
            held.is_some_and(|held| held.hash == hash && held.key.as_slice() == key)
        };
        self.handles.find(hash, same).copied()
    }

    /// Adds a key that is not there yet; `make` gives its state where none is at hand.
    pub(crate) fn insert(&mut self, hash: u64, key: Key, make: impl FnOnce() -> KeyState) -> Handle {
        let state = self.spare.take().unwrap_or_else(make);
        let handle = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as Handle
        });
        let places = &mut self.places;
        if let Some(place) = places.get_mut(handle as usize) {
            place.held = Some(Held { hash, key, state });
        }
        let hash_at = |handle: &Handle| {
            let held = places.get(*handle as usize).and_then(|place| place.held.as_ref());
            held.map_or(0, |held| held.hash)
        };
        self.handles.insert_unique(hash, handle, hash_at);
        handle
    }

    /// The state of a key, added where there is none.
    pub(crate) fn of_key(&mut self, key: &Key, make: impl FnOnce() -> KeyState) -> Option<&mut KeyState> {
        let hash = hash_of(key);
        let handle = self.find(hash, key).unwrap_or_else(|| self.insert(hash, key.clone(), make));
        self.queue(handle, Micros::MIN);
        Some(self.get_mut(handle)?.1)
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<(&[Value], &mut KeyState)> {
        let held = self.places.get_mut(handle as usize)?.held.as_mut()?;
        Some((&held.key, &mut held.state))
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<(&Key, &KeyState)> {
        let held = self.places.get(handle as usize)?.held.as_ref()?;
        Some((&held.key, &held.state))
    }

    /// Removes a key with all that it holds.
    pub(crate) fn remove(&mut self, handle: Handle) {
        let Some(held) = self.places.get_mut(handle as usize).and_then(|place| place.held.take()) else {
            return;
        };
        if let Ok(entry) = self.handles.find_entry(held.hash, |known| *known == handle) {
            entry.remove();
        }
        self.free.push(handle);
        if self.spare.is_none() && held.state.room() <= SPARE_ROWS {
            self.spare = held.state.emptied();
        }
    }

    /// Has the place looked through after `due`, if it is not going to be anyway.
    pub(crate) fn queue(&mut self, handle: Handle, due: Micros) {
        if let Some(place) = self.places.get_mut(handle as usize)
            && !place.queued
        {
            place.queued = true;
            self.sweeps.push_back((due, handle));
        }
    }

    /// When the next place is to be looked through.
    pub(crate) fn next_sweep(&self) -> Option<Micros> {
        self.sweeps.front().map(|(due, _)| *due)
    }

    /// The key to look through by `now`, if one is; it is queued no more.
    pub(crate) fn pop_sweep(&mut self, now: Micros) -> Option<Handle> {
        let (_, handle) = *self.sweeps.front().filter(|(due, _)| *due <= now)?;
        self.sweeps.pop_front();
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

    pub(crate) fn states_mut(&mut self) -> impl Iterator<Item = &mut KeyState> {
        self.places.iter_mut().filter_map(|place| place.held.as_mut()).map(|held| &mut held.state)
    }
}
