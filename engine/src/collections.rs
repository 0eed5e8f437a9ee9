//! Hash maps with a fixed seed: the same log gives the same state, whatever the process.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// A map that never iterates in the hot path; where it is saved, its rows are sorted first.
pub(crate) type Map<K, V> = HashMap<K, V, FxBuildHasher>;
