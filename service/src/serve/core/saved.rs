//! What of a core goes into a snapshot: all that events have changed. What decisions have made is made by taking them again.

use super::Core;
use crate::decode::time::Unit;
use crate::serve::snapshot::Snapshot;
use crate::store::{Control, Entry};
use engine::task::Outputs;
use pattern_dsl::types::Micros;

/// What a core saves beside its task.
#[derive(serde::Serialize, serde::Deserialize)]
struct Saved {
    lanes: Vec<(String, u64, Option<Micros>, i64)>,
    units: Vec<(String, Option<Unit>)>,
    last_tick: Micros,
}

impl Core {
    /// Begins to save all that events have changed, for a core that took the same decisions; all of it if `whole`, else what has
    /// changed since it was last frozen. The first of it is appended; [`Self::save_more`] gives the rest.
    pub(crate) fn freeze(&mut self, whole: bool, out: &mut Vec<u8>) {
        let lanes = self.lanes.iter().map(|l| (l.name.clone(), l.next, l.newest, l.lag)).collect();
        let units = self.sources.iter().map(|(name, s)| (name.clone(), s.decoder.time_unit()));
        let saved = Saved { lanes, units: units.collect(), last_tick: self.last_tick };
        out.extend(serde_json::to_vec(&saved).unwrap_or_default());
        out.push(b'\n');
        self.task.freeze(whole);
    }

    /// Appends more of what is frozen, about so many rows. True if there is more.
    pub(crate) fn save_more(&mut self, rows: usize, out: &mut Vec<u8>) -> bool {
        self.task.save_more(rows, out)
    }

    /// Of a new core: what a snapshot is of, by the decisions before it and its state.
    pub(crate) fn rebuild<'a>(
        &mut self,
        decisions: impl IntoIterator<Item = &'a Control>,
        snapshot: &Snapshot,
    ) -> Result<(), String> {
        self.task.rebuild();
        for control in decisions.into_iter().filter(|control| control.is_lasting()) {
            self.replay(&Entry::Control(Box::new(control.clone())))?;
        }
        self.restore(&snapshot.levels)?;
        self.out = Outputs::default();
        for (name, rule) in &mut self.rules {
            rule.warm_at = self.task.warm_at(name);
        }
        if self.cut() == snapshot.cut { Ok(()) } else { Err("a state of another cut".to_owned()) }
    }

    /// Puts back what another core has saved that took the same decisions.
    fn restore(&mut self, levels: &[Vec<u8>]) -> Result<(), String> {
        let mut saved = None;
        let mut states = Vec::new();
        for level in levels {
            let end = level.iter().position(|b| *b == b'\n').ok_or("no state")?;
            saved = Some(&level[..end]);
            states.push(&level[end + 1..]);
        }
        let saved: Saved =
            serde_json::from_slice(saved.ok_or("no state")?).map_err(|error| error.to_string())?;
        if !saved.lanes.iter().map(|lane| &lane.0).eq(self.lanes.iter().map(|lane| &lane.name)) {
            return Err("a state of other partitions".to_owned());
        }
        self.task.restore(&states)?;
        for (lane, (_, next, newest, lag)) in self.lanes.iter_mut().zip(saved.lanes) {
            (lane.next, lane.newest, lane.lag) = (next, newest, lag);
        }
        for (name, unit) in saved.units {
            if let Some(source) = self.sources.get_mut(&name) {
                source.decoder.set_time_unit(unit);
            }
        }
        self.last_tick = saved.last_tick;
        Ok(())
    }
}
