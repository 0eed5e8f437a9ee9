//! Two revisions of one rule: what the newer takes over, and what they share while the older drains.
//!
//! The older takes first events before the change, the newer from then on; both see every event.

use crate::advance::RuleRun;
use crate::overlap::{UsedUp, close_latches};
use crate::past::Past;
use crate::program::Program;
use crate::row::Position;
use crate::state::KeyState;
use pattern_dsl::ir::{Absence, Bound, Condition, Overlap, RuleStream, Window};
use pattern_dsl::types::Micros;

/// What means the same in a revision and in the one that it replaces, so that its history goes on: by window and by leading
/// absence of the newer, the place of the older's.
pub(crate) struct Same {
    windows: Vec<Option<usize>>,
    leading: Vec<Option<usize>>,
}

impl Same {
    pub(crate) fn of(program: &Program, older: &Program) -> Self {
        let windows = same_windows(program, older);
        let leading = same_leading(program, older, &windows);
        Self { windows, leading }
    }

    /// What the newer then knows of the past, if it replaces the older at the time `at`.
    pub(crate) fn past(&self, older: &Program, at: Micros) -> Past {
        let windows = self.windows.iter().map(|same| same.map_or(at, |window| older.past.window(window)));
        let leading = self.leading.iter().map(|same| {
            let Some(place) = *same else { return at };
            let bound = older.rule.leading.get(place).and_then(|absence| absence.duration.as_ref());
            // The older revision kept what its own bound needed, no more.
            let kept = at.saturating_sub(bound.map_or(0, Bound::longest));
            kept.max(older.past.leading(place))
        });
        Past { windows: windows.collect(), leading: leading.collect() }
    }
}

impl RuleRun {
    /// Takes over what outlives a revision that it replaces at the time `at`: cool-downs, the alerts of the day, latches, and
    /// the windows and leading absences that mean the same.
    pub(crate) fn inherit(&mut self, older: &Self, same: &Same, at: Micros) {
        let program = &self.program;
        self.state.stats.day = older.state.stats.day;
        for (key, held) in older.state.keys.iter() {
            let mut state = KeyState::new(program);
            if !held.beside.sent.is_empty() {
                let known = held.beside.sent.active(older.program.cooldown.unwrap_or(0), at);
                state.beside.sent.take_over(known, program.cooldown.unwrap_or(0));
            }
            if program.latches.len() == older.program.latches.len() {
                state.set_latches(held.beside.latches);
            }
            for (window, from) in state.beside.windows.iter_mut().zip(&same.windows) {
                if let Some(kept) = from.and_then(|from| held.beside.windows.get(from)) {
                    window.clone_from(kept);
                }
            }
            for (number, from) in program.leading.iter().zip(&same.leading) {
                let from = from.and_then(|from| held.beside.absences.get(*older.program.leading.get(from)?));
                if let (Some(state), Some(kept)) = (state.beside.absences.get_mut(*number), from) {
                    state.clone_from(kept);
                }
            }
            let outlives = !state.beside.sent.is_empty()
                || state.beside.latches != u32::MAX
                || state.beside.windows.iter().any(|window| !window.is_empty())
                || state
                    .beside
                    .absences
                    .iter()
                    .any(|absence| !absence.rows.is_empty() || absence.floor_ts.is_some());
            if outlives {
                self.state.keys.of_key(key, || state);
            }
        }
    }

    /// Another revision of this rule has used up events of a key, by an alert at the event at `pos`.
    pub(crate) fn used_elsewhere(&mut self, used: &UsedUp, pos: Position) {
        let program = &self.program;
        let uses_up = matches!(program.overlap, Overlap::None | Overlap::From(_) | Overlap::FromLast(_));
        if !uses_up && program.cooldown.is_none() && program.latches.is_empty() {
            return;
        }
        let handle = self.state.keys.of_key(&used.key, || KeyState::new(program));
        self.state.keys.change(handle, |_, held| {
            held.expires_by(Micros::MIN);
            if uses_up {
                held.use_up(used.last);
                held.beside.used_to = held.beside.used_to.max(used.last);
            }
            for (values, sent) in &used.sent {
                held.beside.sent.set(values.clone(), *sent, program.cooldown.unwrap_or(0));
            }
            held.set_latches(close_latches(program, held.beside.latches));
        });
        self.closed_at = pos;
    }

    /// A later revision has taken over by `now` and no match is open.
    pub(crate) fn is_drained(&mut self, now: Micros) -> bool {
        if self.state.until.is_none_or(|until| now < until) {
            return false;
        }
        self.state.keys.expire(&self.program, now);
        let mut states = self.state.keys.iter().map(|(_, held)| held);
        self.open_timers().next().is_none() && states.all(|held| held.lists.is_empty())
    }
}

/// By window: the window of the older revision with the same history. Names in its text decide too, since tables are
/// numbered by rule file.
fn same_windows(program: &Program, older: &Program) -> Vec<Option<usize>> {
    let same = |window: &Window, other: &Window| {
        window.aggregate == other.aggregate
            && window.argument == other.argument
            && window.span == other.span
            && same_terms(&window.filter, &other.filter)
            && same_stream(program, older, window.stream, other.stream)
    };
    // Windows that hold the same may be read at different moments: each keeps its place where it can.
    let find = |window: &Window| {
        let mut others = older.rule.windows.iter();
        let as_read = others.position(|other| same(window, other) && window.before == other.before);
        as_read.or_else(|| older.rule.windows.iter().position(|other| same(window, other)))
    };
    program.rule.windows.iter().map(find).collect()
}

/// By leading absence: that of the older revision which forbids the same events and keeps them in the same way.
fn same_leading(program: &Program, older: &Program, windows: &[Option<usize>]) -> Vec<Option<usize>> {
    let keeps = |program: &Program, place: usize| {
        program.leading.get(place).and_then(|number| Some(program.absences.get(*number)?.keeps_rows))
    };
    let same = |absence: &Absence, other: &Absence| {
        absence.streams.len() == other.streams.len()
            && absence.streams.iter().zip(&other.streams).all(|(a, b)| same_stream(program, older, *a, *b))
            && same_terms(&absence.condition, &other.condition)
    };
    // What an absence has kept may hold values of windows, by their number.
    let numbered = program.rule.windows.len() == older.rule.windows.len()
        && windows.iter().enumerate().all(|(number, same)| *same == Some(number));
    let find = |(place, absence)| {
        let mut others = older.rule.leading.iter().enumerate();
        let same = |(other, known): &(usize, &Absence)| {
            same(absence, known) && keeps(program, place) == keeps(older, *other)
        };
        others.find(|other| numbered && same(other)).map(|(other, _)| other)
    };
    program.rule.leading.iter().enumerate().map(find).collect()
}

/// A stream of both revisions, with the same keys and the same filter.
fn same_stream(program: &Program, older: &Program, stream: usize, other: usize) -> bool {
    let same = |a: &RuleStream, b: &RuleStream| a.keys == b.keys && same_terms(&a.filter, &b.filter);
    let known = program.streams.get(stream).is_some_and(|id| older.streams.get(other) == Some(id));
    let (stream, other) = (program.rule.streams.get(stream), older.rule.streams.get(other));
    known && program.rule.keys == older.rule.keys && stream.zip(other).is_some_and(|(a, b)| same(a, b))
}

fn same_terms(a: &Condition, b: &Condition) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.expr == b.expr && a.text == b.text)
}
