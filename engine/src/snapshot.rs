//! The whole state of a task as plain rows, and back.
//!
//! What rules say is not saved: a state is put back into a task in which the same revisions are active.
//! INVARIANT: a task with what was saved put back continues exactly as the other would, and saves to equal bytes.

use crate::advance::RuleState;
use crate::chain::Derived;
use crate::deadlines::Deadlines;
use crate::event::Layout;
use crate::freeze::Frozen;
use crate::interface::RuleStats;
use crate::keys::{KeyTable, places_in};
use crate::mask;
use crate::past::Past;
use crate::pieces::{Piece, append, append_rows, each_row, take};
use crate::queue::Queue;
use crate::row::Position;
use crate::tables::SavedTable;
use crate::task::Task;
use crate::time::Clock;
use arcstr::ArcStr;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Raised with every change of the format.
const VERSION: u32 = 9;

/// What is small, as it stood at a cut.
#[derive(Serialize)]
struct Saved<'a> {
    layout: &'a Layout,
    clock: &'a Clock,
    position: Position,
    /// By stream: the number of the first id.
    ids: Vec<u64>,
    /// None = as in the level before.
    tables: Option<Vec<SavedTable<'a>>>,
    alerts: &'a BTreeMap<Micros, Vec<Derived>>,
    rules: Vec<SavedRule<'a>>,
}

#[derive(Serialize)]
struct SavedRule<'a> {
    name: &'a str,
    revision: u32,
    /// [`Deadlines::numbers`].
    timers: (u64, u64),
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
    layout: Layout,
    clock: Clock,
    position: Position,
    ids: Vec<u64>,
    tables: Option<Vec<SavedTable<'static>>>,
    alerts: BTreeMap<Micros, Vec<Derived>>,
    rules: Vec<LoadedRule>,
}

#[derive(Deserialize)]
struct LoadedRule {
    name: String,
    revision: u32,
    timers: (u64, u64),
    from: Option<Micros>,
    until: Option<Micros>,
    refused_until: Option<Micros>,
    past: Past,
    masked: Vec<Vec<String>>,
    stats: RuleStats,
}

/// A rule with its revision.
type Name = (String, u32);

/// The rows of some levels, put together.
#[derive(Default)]
struct Rows {
    rules: BTreeMap<Name, (KeyTable, Deadlines)>,
    /// By stream.
    ids: Vec<Queue<(Micros, ArcStr)>>,
}

/// What rows of this number belong to.
fn of<T>(all: &mut [T], number: u32) -> Result<&mut T, String> {
    all.get_mut(number as usize).ok_or_else(|| "rows of no rule or stream".to_owned())
}

/// Makes room for the keys of a level.
///
/// WHY: a large table that grows while they are put back is moved again and again.
fn expect(mut level: &[u8], rules: &mut [(KeyTable, Deadlines)]) -> Result<(), String> {
    let mut places = vec![0; rules.len()];
    loop {
        match take(&mut level)? {
            Piece::Keys { rule, rows } => {
                let known = of(&mut places, rule)?;
                *known = places_in(rows).max(*known);
            }
            Piece::End => break,
            _ => {}
        }
    }
    rules.iter_mut().zip(places).for_each(|((keys, _), places)| keys.expect(places));
    Ok(())
}

impl Rows {
    /// Adds a level. Its head.
    fn add(&mut self, mut level: &[u8]) -> Result<Loaded, String> {
        let Piece::Head(mut head) = take(&mut level)? else {
            return Err("a state without a head".to_owned());
        };
        // WHY: first alone, since whatever follows may look otherwise in another format.
        let version: u32 = take(&mut head)?;
        if version != VERSION {
            return Err(format!("a state of format {version}, not {VERSION}"));
        }
        let head: Loaded = take(&mut head)?;
        let mut rules: Vec<(KeyTable, Deadlines)> = Vec::new();
        for rule in &head.rules {
            let mut known = self.rules.remove(&(rule.name.clone(), rule.revision)).unwrap_or_default();
            known.1.forget_others();
            rules.push(known);
        }
        expect(level, &mut rules)?;
        self.ids.resize_with(head.ids.len().max(self.ids.len()), Queue::default);
        loop {
            match take(&mut level)? {
                Piece::Head(_) => return Err("a state with two heads".to_owned()),
                Piece::Keys { rule, rows } => {
                    let (keys, _) = of(&mut rules, rule)?;
                    each_row(rows, |row| keys.put(row))?;
                }
                Piece::Timers { rule, rows } => {
                    let (_, timers) = of(&mut rules, rule)?;
                    each_row(rows, |row| timers.put(row))?;
                }
                Piece::Others { rule, rows } => {
                    let (_, timers) = of(&mut rules, rule)?;
                    each_row(rows, |row| timers.put_other(row))?;
                }
                Piece::Ids { stream, rows } => {
                    let ids = of(&mut self.ids, stream)?;
                    each_row(rows, |(number, id)| ids.put(number, id))?;
                }
                Piece::End if level.is_empty() => break,
                Piece::End => return Err("a state that goes on behind its end".to_owned()),
            }
        }
        // Rules that are in no later head are gone for good.
        let names = head.rules.iter().map(|rule| (rule.name.clone(), rule.revision));
        self.rules = names.zip(rules).collect();
        Ok(head)
    }
}

impl Task {
    /// The format of what [`Self::save`] gives: [`Self::restore`] takes no other.
    pub const SAVED_FORMAT: u32 = VERSION;

    /// The whole state at once, as one level; what is frozen stays so.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let states = self.rules.iter().flat_map(|run| run.state.keys.iter());
        debug_assert_eq!(
            self.held(),
            states.map(|(_, state)| state.weight()).sum(),
            "every change was weighed"
        );
        let mut out = Vec::new();
        append(&Piece::Head(&self.head(true)), &mut out);
        for (rule, run) in (0..).zip(&self.rules) {
            run.state.keys.save(rule, &mut out);
            run.state.timers.save(rule, &mut out);
        }
        for (stream, time) in (0..).zip(&self.streams) {
            append_rows(&mut time.id_order.save(), &mut out, |rows| Piece::Ids { stream, rows });
        }
        append(&Piece::End, &mut out);
        out
    }

    /// What is small, encoded; lists and lookups, if they are to be in it.
    pub(crate) fn head(&self, with_tables: bool) -> Vec<u8> {
        let rules = self.rules.iter().map(|run| SavedRule {
            name: &run.program.name,
            revision: run.program.revision,
            timers: run.state.timers.numbers(),
            from: run.state.from,
            until: run.state.until,
            refused_until: run.state.refused_until,
            past: &run.program.past,
            masked: mask::alert_paths(&run.program),
            stats: &run.state.stats,
        });
        let saved = Saved {
            layout: &self.layout,
            clock: &self.clock,
            position: self.position,
            ids: self.streams.iter().map(|stream| stream.id_order.first()).collect(),
            tables: with_tables.then(|| self.tables.save()),
            alerts: &self.chain.pending,
            rules: rules.collect(),
        };
        let mut head = Vec::new();
        append(&VERSION, &mut head);
        append(&saved, &mut head);
        head
    }

    /// Begins to take decisions again without the events between them, for a state to be put back: revisions that have been
    /// replaced stay until then, however many there are.
    pub fn rebuild(&mut self) {
        self.rebuilding = true;
    }

    /// Puts back a saved state into a task with the same streams and partitions, and the same rules or more: revisions that
    /// the state does not know had drained by then. The levels of the state in their order, the whole one first.
    ///
    /// # Errors
    /// Bytes that are not such a state, or a state of other rules: the task is of no use then.
    pub fn restore<L: AsRef<[u8]>>(&mut self, levels: &[L]) -> Result<(), String> {
        let (mut rows, mut head, mut tables) = (Rows::default(), None, Vec::new());
        for level in levels {
            let mut level = rows.add(level.as_ref())?;
            tables = level.tables.take().unwrap_or(tables);
            head = Some(level);
        }
        let head = head.ok_or("no state")?;
        self.check(&head)?;
        self.clock = head.clock;
        self.position = head.position;
        self.tables.restore(tables);
        self.chain.pending = head.alerts;
        for ((stream, mut ids), first) in self.streams.iter_mut().zip(rows.ids).zip(head.ids) {
            ids.begin_at(first);
            stream.ids.clear();
            ids.iter().for_each(|(ts, id)| stream.ids.entry(id.clone()).or_default().push(*ts));
            stream.id_order = ids;
        }
        for (run, rule) in self.rules.iter_mut().zip(head.rules) {
            // Nobody else holds a program between two steps.
            let program = Arc::get_mut(&mut run.program).ok_or("a rule is at work")?;
            program.past = rule.past;
            let (mut keys, mut timers) = rows.rules.remove(&(rule.name, rule.revision)).unwrap_or_default();
            keys.arrange();
            timers.begin_at(rule.timers);
            // A revision that had drained by then may have masked more of them.
            program.masked.unmask_alerts();
            mask::mark(program);
            mask::mask_alerts(program, &rule.masked);
            run.state = RuleState {
                timers,
                keys,
                from: rule.from,
                until: rule.until,
                stats: rule.stats,
                refused_until: rule.refused_until,
                frozen_as: None,
            };
        }
        self.rebuilding = false;
        self.frozen = Frozen::default();
        self.route();
        Ok(())
    }

    /// Drops revisions that a state does not know; the rest must be what it is of.
    fn check(&mut self, head: &Loaded) -> Result<(), String> {
        let saved: BTreeSet<(&str, u32)> =
            head.rules.iter().map(|rule| (rule.name.as_str(), rule.revision)).collect();
        self.rules.retain(|run| saved.contains(&(run.program.name.as_str(), run.program.revision)));
        let known = self.rules.iter().map(|run| (run.program.name.as_str(), run.program.revision));
        if !known.eq(head.rules.iter().map(|rule| (rule.name.as_str(), rule.revision))) {
            return Err("a state of other rules".to_owned());
        }
        let (own, other) = (&self.layout.streams, &head.layout.streams);
        let same_slots = own.len() == other.len()
            && own.iter().zip(other).all(|(a, b)| a.name == b.name && a.fields == b.fields);
        if !same_slots || self.clock.partitions.len() != head.clock.partitions.len() {
            return Err("a state of other streams or partitions".to_owned());
        }
        Ok(())
    }
}
