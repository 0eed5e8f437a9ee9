//! What happens at a moment at which choices may be complete: which of them fire, and what they use up.
//!
//! In the order of the language: `unless` (inside the search), `overlap`, cool-down. A match that the cool-down or the
//! cap of a day silences counts as fired: it uses events up and closes latches, but does not restart the cool-down.

use crate::alert::{Alert, FiredBy};
use crate::emit;
use crate::expr::Scope;
use crate::interface::{Limits, RuleStats};
use crate::key::Key;
use crate::program::{Program, all_hold};
use crate::row::{Position, Row, Rows, first_of, last_of};
use crate::search::{Ask, Next, Question, search, whole_scope};
use crate::state::{Cooldowns, KeyState, Sent};
use crate::tables::Tables;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::{Overlap, UnitKind};
use pattern_dsl::types::Micros;
use std::cell::RefCell;

/// What the task lends to a rule.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) partitions: &'a [ArcStr],
    pub(crate) limits: &'a Limits,
    /// All keys of all rules hold as much as they may: no key and no candidate is added.
    pub(crate) full: bool,
    /// That has kept something out of the rule that may matter at this moment.
    pub(crate) refused: bool,
    pub(crate) count_only: bool,
    /// The rule has no other revision.
    pub(crate) alone: bool,
    /// Alerts are built even where they are only counted: another rule reads them.
    pub(crate) is_read: bool,
    pub(crate) tables: &'a Tables,
    /// Of `why`: every match that counts as fired is written down.
    pub(crate) journal: Option<&'a RefCell<Vec<Fired>>>,
}

/// A match that counts as fired, for `why`.
#[derive(Debug, Clone)]
pub(crate) struct Fired {
    /// What each step took.
    pub(crate) taken: Vec<Vec<Position>>,
    pub(crate) time: Micros,
    pub(crate) by: FiredBy,
    /// The last event of the choice; of a time-out the first.
    pub(crate) end: Position,
    /// The alert; none if the cool-down or the cap on alerts of a day silenced it.
    pub(crate) alert: Option<Alert>,
    /// When the alert was sent whose cool-down silenced this one.
    pub(crate) cooled_since: Option<Micros>,
}

/// A fired match, for the other revisions of the rule.
#[derive(Debug, Clone)]
pub(crate) struct UsedUp {
    pub(crate) key: Key,
    /// Every event up to here is used up.
    pub(crate) last: Position,
    /// The cool-downs that changed.
    pub(crate) sent: Vec<(Key, Sent)>,
}

/// A moment at which choices may be complete.
pub(crate) struct Moment<'a> {
    pub(crate) time: Micros,
    pub(crate) by: FiredBy,
    pub(crate) end: Position,
    pub(crate) key: &'a [Value],
    /// Values of windows without `before` at the moment.
    pub(crate) windows: &'a [Value],
}

/// Finds the choices complete at a moment and fires those that `overlap` allows. True if any did.
pub(crate) fn complete(
    program: &Program,
    held: &mut KeyState,
    stats: &mut RuleStats,
    moment: &Moment<'_>,
    around: &Surroundings<'_>,
    out: &mut Vec<Alert>,
    used: &mut Vec<UsedUp>,
) -> bool {
    let mut fired = false;
    loop {
        let round = fire(program, held, stats, moment, around, out);
        stats.suppressed_unless += u64::from(!fired && round.fired == 0 && round.silenced);
        if round.fired == 0 {
            return fired;
        }
        fired = true;
        if moment.by != FiredBy::Timeout {
            held.set_latches(close_latches(program, held.beside.latches));
        }
        let from = round.from;
        use_up(program, held, moment, round, around.alone, used);
        // After `overlap from x` the same moment is looked at again: a later beginning may be complete as well.
        let again = matches!(program.overlap, Overlap::From(_) | Overlap::FromLast(_));
        if !again || from == 0 || moment.by == FiredBy::Timeout {
            return true;
        }
    }
}

/// What one look at a moment gave.
#[derive(Default)]
struct Round {
    fired: usize,
    silenced: bool,
    /// First events of the alerts.
    firsts: Vec<Position>,
    /// Of `overlap from x`: where x begins or ends.
    from: Position,
    /// The cool-downs that it has changed.
    sent: Vec<(Key, Sent)>,
}

fn fire(
    program: &Program,
    held: &mut KeyState,
    stats: &mut RuleStats,
    moment: &Moment<'_>,
    around: &Surroundings<'_>,
    out: &mut Vec<Alert>,
) -> Round {
    let question = question(program, held, moment, around);
    let mut round = Round::default();
    let mut sent = Sending { known: &held.beside.sent, fresh: Vec::new() };
    let mut fresh: Vec<Alert> = Vec::new();
    let cap = around.limits.matches_per_moment.unwrap_or(usize::MAX);
    let mut capped = false;
    let by_first = program.overlap == Overlap::PerStart;
    let in_order = program.units.first().is_none_or(|unit| unit.kind == UnitKind::Step);
    let found = search(question, &mut |taken| {
        let first = if by_first { ends(program, taken).0.map_or(0, |row| row.pos) } else { 0 };
        if program.overlap == Overlap::All && round.fired >= cap {
            capped = true;
            return Next::Stop;
        }
        if by_first && round.firsts.contains(&first) {
            return Next::Choice;
        }
        round.fired += 1;
        if by_first {
            round.firsts.push(first);
        }
        round.from = used_from(program, taken);
        let truncated = held.beside.saturated || around.refused;
        let choice = Choice { taken, scope: &|| whole_scope(&question, taken), truncated };
        send(program, &mut sent, stats, moment, around, &choice, &mut fresh);
        match program.overlap {
            _ if moment.by == FiredBy::Timeout => Next::Stop,
            Overlap::None | Overlap::PerEnd | Overlap::From(_) | Overlap::FromLast(_) => Next::Stop,
            Overlap::PerStart if in_order => Next::FirstEvent,
            Overlap::PerStart | Overlap::All => Next::Choice,
        }
    });
    fresh.iter_mut().for_each(|alert| alert.truncated |= capped || found.cut);
    out.append(&mut fresh);
    round.silenced = found.silenced > 0;
    stats.no_deadline += u64::from(found.endless > 0 && found.choices == 0);
    stats.searches += 1;
    stats.rows_walked += found.work;
    stats.capped += u64::from(capped || found.cut);
    if program.cooldown.is_some() && moment.by != FiredBy::Timeout {
        round.sent = sent.fresh;
        for (values, sent) in &round.sent {
            held.beside.sent.set(values.clone(), *sent, program.cooldown.unwrap_or(0));
        }
        held.expires_by(Micros::MIN);
    }
    round
}

/// Fires the choice of one event that a rule without cool-down, latches and windows has, unless its clauses forbid it.
pub(crate) fn fire_alone(
    program: &Program,
    stats: &mut RuleStats,
    moment: &Moment<'_>,
    around: &Surroundings<'_>,
    scope: &Scope<'_>,
    out: &mut Vec<Alert>,
) -> bool {
    stats.searches += 1;
    stats.rows_walked += 1;
    if !all_hold(&program.having, scope) {
        return false;
    }
    if !program.unless.is_empty() && all_hold(&program.unless, scope) {
        stats.suppressed_unless += 1;
        return false;
    }
    let choice = Choice { taken: scope.taken, scope: &|| *scope, truncated: around.refused };
    let mut sent = Sending { known: &Cooldowns::new(), fresh: Vec::new() };
    send(program, &mut sent, stats, moment, around, &choice, out);
    true
}

/// What a search looks at for a moment.
pub(crate) fn question<'a>(
    program: &'a Program,
    held: &'a KeyState,
    moment: &Moment<'a>,
    around: &Surroundings<'a>,
) -> Question<'a> {
    Question {
        program,
        state: held,
        key: moment.key,
        partitions: around.partitions,
        ask: if moment.by == FiredBy::Timeout { Ask::Partial } else { Ask::Complete },
        end: moment.end,
        windows: moment.windows,
        latches: held.beside.latches,
        tables: around.tables,
        time: moment.time,
        work: around.limits.search_work.unwrap_or(u64::MAX),
    }
}

/// The cool-downs of a key while a moment is looked at.
struct Sending<'a> {
    known: &'a Cooldowns,
    /// Those that it has changed.
    fresh: Vec<(Key, Sent)>,
}

impl Sending<'_> {
    fn of(&mut self, values: &Key) -> &mut Sent {
        let at = self.fresh.iter().position(|(known, _)| known == values).unwrap_or_else(|| {
            self.fresh.push((values.clone(), self.known.get(values).unwrap_or_default()));
            self.fresh.len() - 1
        });
        &mut self.fresh[at].1
    }
}

/// A choice that fires.
struct Choice<'c, 'a> {
    taken: &'c [Rows<'a>],
    /// What its outputs read: most choices of `overlap all` are only counted.
    scope: &'c dyn Fn() -> Scope<'c>,
    truncated: bool,
}

/// Sends the alert of a choice, if it is not silenced by the cool-down or the cap of its day, nor only counted.
fn send(
    program: &Program,
    sent: &mut Sending<'_>,
    stats: &mut RuleStats,
    moment: &Moment<'_>,
    around: &Surroundings<'_>,
    choice: &Choice<'_, '_>,
    fresh: &mut Vec<Alert>,
) {
    let timeout = moment.by == FiredBy::Timeout;
    let full = stats.is_day_full(moment.time, around.limits.alerts_per_rule_day);
    let mut own = Sent::default();
    if let Some(cooldown) = program.cooldown.filter(|_| !timeout) {
        let scope = (choice.scope)();
        let per: Key = program.per.iter().map(|node| node.eval(&scope)).collect();
        let known = sent.of(&per);
        if known.last.is_some_and(|last| moment.time - last < cooldown) {
            stats.suppressed_cooldown += 1;
            known.suppressed += 1;
            note(around, moment, choice, None, known.last);
            return;
        }
        if full {
            stats.suppressed_day += 1;
            known.suppressed += 1;
            note(around, moment, choice, None, None);
            return;
        }
        own = if known.is_forgotten(cooldown, moment.time) { Sent::default() } else { *known };
        *known = Sent { last: Some(moment.time), suppressed: 0 };
    }
    if full {
        stats.suppressed_day += 1;
        note(around, moment, choice, None, None);
        return;
    }
    stats.matches += 1;
    stats.sent(moment.time);
    if around.count_only {
        stats.checksum = stats.checksum.wrapping_add(checksum(ends(program, choice.taken)));
    }
    if around.count_only && !around.is_read {
        return;
    }
    let facts = emit::Facts {
        time: moment.time,
        by: moment.by,
        suppressed: own.suppressed,
        truncated: choice.truncated,
    };
    let alert = emit::alert(program, choice.taken, &(choice.scope)(), &facts);
    note(around, moment, choice, Some(&alert), None);
    fresh.push(alert);
}

/// Writes down that a choice counts as fired, if somebody reads that.
fn note(
    around: &Surroundings<'_>,
    moment: &Moment<'_>,
    choice: &Choice<'_, '_>,
    alert: Option<&Alert>,
    cooled_since: Option<Micros>,
) {
    let Some(journal) = around.journal else { return };
    let taken = choice.taken.iter().map(|rows| rows.iter().map(|row| row.pos).collect());
    journal.borrow_mut().push(Fired {
        taken: taken.collect(),
        time: moment.time,
        by: moment.by,
        end: moment.end,
        alert: alert.cloned(),
        cooled_since,
    });
}

/// Of `overlap from x`: every event before this is used up.
pub(crate) fn used_from(program: &Program, taken: &[Rows<'_>]) -> Position {
    // Of `one of { .. } as x` it is the member that has begun.
    let own = |step: &usize| {
        let unit = program.steps.get(*step).and_then(|step| program.units.get(step.unit));
        let steps = match unit {
            Some(unit) if unit.kind == UnitKind::One => unit.steps.clone(),
            _ => *step..*step + 1,
        };
        taken.get(steps).unwrap_or_default()
    };
    let row = match &program.overlap {
        Overlap::From(step) => first_of(own(step)),
        Overlap::FromLast(step) => last_of(own(step)),
        _ => None,
    };
    row.map_or(0, |row| row.pos)
}

pub(crate) fn close_latches(program: &Program, latches: u32) -> u32 {
    (0..program.latches.len()).fold(latches, |open, bit| open & !(1 << bit))
}

/// Applies `overlap` after alerts.
fn use_up(
    program: &Program,
    held: &mut KeyState,
    moment: &Moment<'_>,
    round: Round,
    alone: bool,
    used: &mut Vec<UsedUp>,
) {
    if moment.by == FiredBy::Timeout {
        return;
    }
    let last = match program.overlap {
        Overlap::None => moment.end,
        Overlap::From(_) | Overlap::FromLast(_) => round.from.saturating_sub(1),
        Overlap::PerStart | Overlap::PerEnd | Overlap::All => 0,
    };
    held.use_up(last);
    if program.overlap == Overlap::PerStart {
        for step in program.first_steps() {
            let list = held.lists.of_mut(step);
            for first in &round.firsts {
                if let Ok(at) = list.binary_search_by_key(first, |row| row.pos)
                    && let Some(row) = list.get_mut(at)
                {
                    row.mark(true);
                }
            }
        }
    }
    if !alone && (last > 0 || program.cooldown.is_some() || !program.latches.is_empty()) {
        used.push(UsedUp { key: moment.key.into(), last, sent: round.sent });
    }
}

/// The first and the last event of a choice.
#[inline]
fn ends<'a>(program: &Program, taken: &[Rows<'a>]) -> (Option<&'a Row>, Option<&'a Row>) {
    if program.chain {
        let first = taken.first().and_then(|rows| rows.first());
        return (first.copied(), taken.iter().rev().find_map(|rows| rows.last()).copied());
    }
    (first_of(taken), last_of(taken))
}

/// The order-free checksum of one match of the published workloads (times in milliseconds from a fixed base), from its first
/// and last event.
fn checksum((first, last): (Option<&Row>, Option<&Row>)) -> u64 {
    const BASE_MS: i64 = 1_700_000_000_000;
    let millis = |row: Option<&Row>| row.map_or(0, |row| row.ts / 1000);
    let (first, last) = (millis(first), millis(last));
    let (from, to) = ((first - BASE_MS) as u64, (last - BASE_MS) as u64);
    let mixed = from.wrapping_mul(1_000_003).wrapping_add(to).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ ((last as u64) << 7)
}
