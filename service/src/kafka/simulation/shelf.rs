//! Where the workers of a simulation keep snapshots: a store that is slow, fails, loses answers, and damages what it holds.

use super::world::{World, ms};
use crate::serve::snapshot::simulated::Shelf;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much goes wrong, of ten thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wear {
    /// Requests that fail; of half of them only the answer is lost.
    pub(super) lost: u64,
    pub(super) slow: u64,
    /// Objects that are damaged as they are put.
    pub(super) damaged: u64,
    /// The process dies at a request.
    pub(super) deadly: u64,
}

/// A store.
pub(super) struct Store {
    world: Arc<World>,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    wear: Mutex<Wear>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated store")
    }
}

impl Store {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), objects: Mutex::default(), wear: Mutex::default() })
    }

    pub(super) fn set_wear(&self, wear: Wear) {
        *self.wear.lock().unwrap_or_else(PoisonError::into_inner) = wear;
    }

    fn wear(&self) -> Wear {
        *self.wear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request takes its time; true if its answer is lost, an error if nothing came of it.
    fn request(&self, name: &str) -> io::Result<bool> {
        let (world, wear) = (&self.world, self.wear());
        if world.chance(wear.deadly) {
            world.count("processes killed at a snapshot", 1);
            world.note(format_args!("killed at {name} of a snapshot"));
            world.die();
        }
        world.sleep(match world.chance(wear.slow) {
            true => world.between(ms(50), ms(15_000)),
            false => world.between(100, ms(5)),
        });
        if !world.chance(wear.lost) {
            return Ok(false);
        }
        world.count("requests of snapshots that failed", 1);
        if world.chance(5_000) { Ok(true) } else { Err(failed()) }
    }
}

fn failed() -> io::Error {
    io::Error::other("the store does not answer")
}

fn answer<T>(is_lost: bool, outcome: io::Result<T>) -> io::Result<T> {
    if is_lost { Err(failed()) } else { outcome }
}

impl Shelf for Store {
    fn names(&self, prefix: &str) -> io::Result<Vec<String>> {
        let is_lost = self.request("names")?;
        let objects = self.objects();
        let own = objects.keys().filter_map(|name| name.strip_prefix(prefix));
        answer(is_lost, Ok(own.map(str::to_owned).collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let is_lost = self.request("read")?;
        if name.ends_with(".part") {
            self.world.count("parts of snapshots read", 1);
        }
        answer(is_lost, self.objects().get(name).cloned().ok_or_else(|| ErrorKind::NotFound.into()))
    }

    fn put(&self, name: &str, mut bytes: Vec<u8>, is_new: bool) -> io::Result<()> {
        let is_lost = self.request("put")?;
        let world = &self.world;
        if is_new && self.objects().contains_key(name) {
            return answer(is_lost, Err(ErrorKind::AlreadyExists.into()));
        }
        if world.chance(self.wear().damaged) {
            world.count("snapshots damaged", 1);
            let at = world.between(0, bytes.len() as u64) as usize;
            match world.between(0, 3) {
                0 => bytes.truncate(at),
                1 => bytes.clear(),
                _ => bytes[at] ^= 1 << world.between(0, 8),
            }
        }
        if is_new {
            world.count("snapshots written", 1);
        }
        self.objects().insert(name.to_owned(), bytes);
        answer(is_lost, Ok(()))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let is_lost = self.request("delete")?;
        let gone = self.objects().remove(name).map(drop);
        answer(is_lost, gone.ok_or_else(|| ErrorKind::NotFound.into()))
    }
}
