//! The whole state of a task as plain rows, and back.
//!
//! What rules say is not saved: a state is put back into a task in which the same revisions are active.
//! INVARIANT: `restore(save(t))` continues exactly as `t` would; equal states save to equal bytes.

use crate::advance::RuleState;
use crate::chain::Derived;
use crate::event::Layout;
use crate::interface::RuleStats;
use crate::keys::{KeyTable, hash_of};
use crate::mask;
use crate::past::Past;
use crate::row::Position;
use crate::state::{Key, KeyState};
use crate::tables::SavedTable;
use crate::task::Task;
use crate::time::Clock;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Raised with every change of the format.
const VERSION: u32 = 7;

#[derive(Serialize)]
struct Saved<'a> {
    version: u32,
    layout: &'a Layout,
    clock: &'a Clock,
    position: Position,
    ids: Vec<Vec<(Micros, arcstr::ArcStr)>>,
    tables: Vec<SavedTable>,
    alerts: &'a BTreeMap<Micros, Vec<Derived>>,
    rules: Vec<SavedRule<'a>>,
}

#[derive(Serialize)]
struct SavedRule<'a> {
    name: &'a str,
    revision: u32,
    keys: Vec<(&'a Key, &'a KeyState)>,
    timers: Vec<(Micros, Position, &'a Key)>,
    from: Option<Micros>,
    until: Option<Micros>,
    refused_until: Option<Micros>,
    past: &'a Past,
    /// Masked fields of alerts that it has read; the rules that masked them may be gone.
    masked: Vec<Vec<String>>,
    stats: &'a RuleStats,
}

#[derive(Deserialize)]
struct Loaded {
    version: u32,
    layout: Layout,
    clock: Clock,
    position: Position,
    ids: Vec<Vec<(Micros, arcstr::ArcStr)>>,
    tables: Vec<SavedTable>,
    alerts: BTreeMap<Micros, Vec<Derived>>,
    rules: Vec<LoadedRule>,
}

#[derive(Deserialize)]
struct LoadedRule {
    name: String,
    revision: u32,
    keys: Vec<(Key, KeyState)>,
    timers: Vec<(Micros, Position, Key)>,
    from: Option<Micros>,
    until: Option<Micros>,
    refused_until: Option<Micros>,
    past: Past,
    masked: Vec<Vec<String>>,
    stats: RuleStats,
}

impl Task {
    /// The format of what [`Self::save`] gives: [`Self::restore`] takes no other.
    pub const SAVED_FORMAT: u32 = VERSION;

    /// The whole state as plain rows.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let states = self.rules.iter().flat_map(|run| run.state.keys.iter());
        debug_assert_eq!(
            self.held(),
            states.map(|(_, state)| state.weight()).sum(),
            "every change was weighed"
        );
        let rules = self.rules.iter().map(|run| {
            let mut keys: Vec<(&Key, &KeyState)> = run.state.keys.iter().collect();
            keys.sort_by_cached_key(|(key, _)| postcard::to_allocvec(key).unwrap_or_default());
            SavedRule {
                name: &run.program.name,
                revision: run.program.revision,
                keys,
                timers: run.open_timers().map(|(due, event, key, _)| (due, event, key)).collect(),
                from: run.state.from,
                until: run.state.until,
                refused_until: run.state.refused_until,
                past: &run.program.past,
                masked: mask::alert_paths(&run.program),
                stats: &run.state.stats,
            }
        });
        let saved = Saved {
            version: VERSION,
            layout: &self.layout,
            clock: &self.clock,
            position: self.position,
            ids: self.streams.iter().map(|stream| stream.id_order.iter().cloned().collect()).collect(),
            tables: self.tables.save(),
            alerts: &self.chain.pending,
            rules: rules.collect(),
        };
        postcard::to_allocvec(&saved).expect("rows of plain values always encode")
    }

    /// Begins to take decisions again without the events between them, for a state to be put back: revisions that have been
    /// replaced stay until then, however many there are.
    pub fn rebuild(&mut self) {
        self.rebuilding = true;
    }

    /// Puts back a saved state into a task with the same streams and partitions, and the same rules or more: revisions that
    /// the state does not know had drained by then.
    ///
    /// # Errors
    /// Bytes that are not such a state, or a state of other rules: the task is of no use then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let loaded: Loaded =
            postcard::from_bytes(bytes).map_err(|error| format!("not a saved state: {error}"))?;
        if loaded.version != VERSION {
            return Err(format!("a state of format {}, not {VERSION}", loaded.version));
        }
        let saved: BTreeSet<(&str, u32)> =
            loaded.rules.iter().map(|rule| (rule.name.as_str(), rule.revision)).collect();
        self.rules.retain(|run| saved.contains(&(run.program.name.as_str(), run.program.revision)));
        let known = self.rules.iter().map(|run| (run.program.name.as_str(), run.program.revision));
        if !known.eq(loaded.rules.iter().map(|rule| (rule.name.as_str(), rule.revision))) {
            return Err("a state of other rules".to_owned());
        }
        let same_slots = self.layout.streams.len() == loaded.layout.streams.len()
            && self
                .layout
                .streams
                .iter()
                .zip(&loaded.layout.streams)
                .all(|(a, b)| a.name == b.name && a.fields == b.fields);
        if !same_slots || self.clock.partitions.len() != loaded.clock.partitions.len() {
            return Err("a state of other streams or partitions".to_owned());
        }
        self.clock = loaded.clock;
        self.position = loaded.position;
        self.tables.restore(loaded.tables);
        self.chain.pending = loaded.alerts;
        for (stream, ids) in self.streams.iter_mut().zip(loaded.ids) {
            stream.ids.clear();
            ids.iter().for_each(|(ts, id)| stream.ids.entry(id.clone()).or_default().push(*ts));
            stream.id_order = ids.into();
        }
        for (run, rule) in self.rules.iter_mut().zip(loaded.rules) {
            // Nobody else holds a program between two steps.
            let program = Arc::get_mut(&mut run.program).ok_or("a rule is at work")?;
            program.past = rule.past;
            let mut keys = KeyTable::default();
            for (key, state) in rule.keys {
                keys.of_key(&key, || state);
            }
            let timers = rule.timers.into_iter();
            let timers =
                timers.filter_map(|(due, event, key)| Some((due, event, keys.find(hash_of(&key), &key)?)));
            // A revision that had drained by then may have masked more of them.
            program.masked.unmask_alerts();
            mask::mark(program);
            mask::mask_alerts(program, &rule.masked);
            run.state = RuleState {
                timers: timers.collect(),
                keys,
                from: rule.from,
                until: rule.until,
                stats: rule.stats,
                refused_until: rule.refused_until,
            };
        }
        self.rebuilding = false;
        self.route();
        Ok(())
    }
}
