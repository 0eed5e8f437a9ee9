//! What a revision knows of the time before it: the history of its windows and of what its leading absences forbid.
//!
//! A revision that begins at some time knows nothing of the events before, but for what the revision that it replaces had
//! kept for the same window or the same absence. Windows read `before` a step, and leading absences, need the whole of
//! their span: until then the former are null and the latter forbid (language section 5.2, day one; section 9).

use crate::program::Program;
use pattern_dsl::ir::{Absence, Bound, Condition, Rule, RuleStream, Window};
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};

/// From when on the past is known; `Micros::MIN` = all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// By window of the program.
    windows: Vec<Micros>,
    /// By leading absence, in written order.
    leading: Vec<Micros>,
}

impl Past {
    /// Nothing before `at` is known.
    pub(crate) fn from(rule: &Rule, at: Micros) -> Self {
        Self { windows: vec![at; rule.windows.len()], leading: vec![at; rule.leading.len()] }
    }

    /// Takes over from the revision that this one replaces at the time `at` what means the same in both.
    pub(crate) fn inherit(program: &Program, older: &Program, at: Micros) -> Self {
        let mut past = program.past.clone();
        for (known, same) in past.windows.iter_mut().zip(same_windows(program, older)) {
            if let Some(window) = same {
                *known = older.past.window(window);
            }
        }
        for (known, same) in past.leading.iter_mut().zip(same_leading(program, older)) {
            let Some(place) = same else { continue };
            let bound = older.rule.leading.get(place).and_then(|absence| absence.duration.as_ref());
            // The older revision kept what its own bound needed, no more.
            let kept = at.saturating_sub(bound.map_or(0, Bound::longest));
            *known = kept.max(older.past.leading(place));
        }
        past
    }

    /// The window holds no event before this time.
    pub(crate) fn window(&self, window: usize) -> Micros {
        self.windows.get(window).copied().unwrap_or(Micros::MIN)
    }

    /// What the leading absence forbids is known from this time on.
    pub(crate) fn leading(&self, place: usize) -> Micros {
        self.leading.get(place).copied().unwrap_or(Micros::MIN)
    }

    /// When all that the rule looks back on will be known; none if that is so since ever.
    pub(crate) fn warm_at(&self, rule: &Rule) -> Option<Micros> {
        let windows = rule.windows.iter().zip(&self.windows);
        let baselines =
            windows.filter(|(window, _)| window.before.is_some()).map(|(w, since)| (w.span, since));
        let leading = rule
            .leading
            .iter()
            .zip(&self.leading)
            .map(|(absence, since)| (absence.duration.as_ref().map_or(0, Bound::longest), since));
        let waits = baselines.chain(leading).filter(|(_, since)| **since > Micros::MIN);
        waits.map(|(span, since)| since.saturating_add(span)).max()
    }
}

/// By window: the window of the older revision with the same history. Names in its text decide too, since tables are
/// numbered by rule file.
pub(crate) fn same_windows(program: &Program, older: &Program) -> Vec<Option<usize>> {
    let same = |window: &Window, other: &Window| {
        window.aggregate == other.aggregate
            && window.argument == other.argument
            && window.span == other.span
            && same_terms(&window.filter, &other.filter)
            && same_stream(program, older, window.stream, other.stream)
    };
    let find = |window| older.rule.windows.iter().position(|other| same(window, other));
    program.rule.windows.iter().map(find).collect()
}

/// By leading absence: that of the older revision which forbids the same events and keeps them in the same way.
pub(crate) fn same_leading(program: &Program, older: &Program) -> Vec<Option<usize>> {
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
        && same_windows(program, older).iter().enumerate().all(|(number, same)| *same == Some(number));
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
