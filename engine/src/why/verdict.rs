//! From a replay to attempts: what fired, and for every other first event why it did not.

use crate::alert::FiredBy;
use crate::alert::Shown;
use crate::emit::{evidence_event, shown_row};
use crate::expr::Scope;
use crate::overlap::{Fired, used_from};
use crate::program::Ending;
use crate::row::{Position, Row, Rows};
use crate::search::Question;
use crate::why::failure::{Failure, FailureKind, of_term};
use crate::why::replay::Replay;
use crate::why::trace::{Complete, Rejected, Trace, clause, silencing, trace};
use crate::why::{Attempt, Taken, Verdict, Why};
use pattern_dsl::ir::{Expr, Overlap, Term};
use pattern_dsl::types::Micros;
use std::collections::BTreeMap;

/// Tests made for one first event.
const WORK: u64 = 50_000;

/// Fills in attempts, misses and the closest of them.
pub(crate) fn attempts(replay: &Replay<'_>, why: &mut Why) {
    let lists = replay.program.first_steps().map(|step| replay.held.lists.of(step));
    let firsts: BTreeMap<Position, &Row> = lists.flatten().map(|row| (row.pos, row)).collect();
    let mut closest: Option<Rejected<'_>> = None;
    for (pos, row) in firsts {
        let fired: Vec<&Fired> = replay.fired.iter().filter(|fired| first_of(fired) == Some(pos)).collect();
        for fired in &fired {
            debug_assert!(
                found_complete(replay, row, fired),
                "the search for `why` finds what fired: {fired:?}"
            );
            why.attempts.push(fired_attempt(replay, fired));
        }
        if !fired.is_empty() {
            continue;
        }
        let trace = trace(replay.question(pos, row.ts, WORK), replay.now);
        if let Some(best) = trace.best.as_ref().filter(|best| best.at_once && trace.complete.is_empty()) {
            why.misses += 1;
            if closest.as_ref().is_none_or(|closest| best.beats(closest)) {
                closest = trace.best;
            }
            continue;
        }
        why.attempts.push(unfired(replay, row, trace));
    }
    why.closest = closest.map(|closest| closest.failure);
}

fn first_of(fired: &Fired) -> Option<Position> {
    fired.taken.iter().filter_map(|taken| taken.first().copied()).min()
}

/// What fired is among the choices that the search finds complete. A time-out is not complete.
fn found_complete(replay: &Replay<'_>, first: &Row, fired: &Fired) -> bool {
    if fired.by == FiredBy::Timeout {
        return true;
    }
    let trace = trace(replay.question(first.pos, first.ts, WORK), replay.now);
    let same = |complete: &Complete<'_>| {
        complete.moment == fired.time
            && complete
                .taken
                .iter()
                .map(|rows| rows.iter().map(|row| row.pos).collect::<Vec<_>>())
                .eq(fired.taken.iter().cloned())
    };
    trace.cut || trace.complete.len() >= 64 || trace.complete.iter().any(same)
}

fn fired_attempt(replay: &Replay<'_>, fired: &Fired) -> Attempt {
    let verdict = match (&fired.alert, fired.cooled_since) {
        (Some(alert), _) => Verdict::Fired(Box::new(alert.clone())),
        (None, Some(since)) => Verdict::CoolDown(since, fired.time),
        (None, None) => Verdict::Capped,
    };
    Attempt { steps: steps(replay, &rows_of(replay, fired)), verdict }
}

/// What each step of a fired choice took.
fn rows_of<'r>(replay: &'r Replay<'_>, fired: &Fired) -> Vec<Rows<'r>> {
    let taken = fired.taken.iter().enumerate().map(|(step, taken)| {
        let list = replay.held.lists.of(step);
        let row = |pos: &Position| list.get(list.binary_search_by_key(pos, |row| row.pos).ok()?);
        taken.iter().filter_map(row).collect()
    });
    taken.collect()
}

fn steps(replay: &Replay<'_>, taken: &[Rows<'_>]) -> Vec<Taken> {
    let Question { key, partitions, .. } = replay.question(0, 0, 0);
    let steps = replay.program.steps.iter().zip(&replay.program.texts).zip(taken).enumerate();
    let begun = steps.filter(|(_, (_, rows))| !rows.is_empty());
    let told = begun.map(|(number, ((step, text), rows))| Taken {
        step: replay
            .program
            .units
            .get(step.unit)
            .and_then(|unit| unit.name.as_ref())
            .unwrap_or(&text.name)
            .to_string(),
        stream: text.stream_name.to_string(),
        events: rows
            .iter()
            .map(|row| evidence_event(replay.program, row, Some(number), key, partitions))
            .collect(),
    });
    told.collect()
}

/// Why a first event began no choice that fired.
fn unfired<'a>(replay: &'a Replay<'_>, first: &Row, trace: Trace<'a>) -> Attempt {
    if let Some((complete, verdict)) = not_fired(replay, first, &trace) {
        return Attempt { steps: steps(replay, &complete.taken), verdict };
    }
    let Some(best) = trace.best else {
        let verdict = if trace.cut { Verdict::Capped } else { Verdict::Missed };
        return Attempt { steps: Vec::new(), verdict };
    };
    let (steps, others) = (steps(replay, &best.taken), best.others());
    // What was still open when an alert used its events up was stopped by that.
    let open = |time: Micros| match (&best.failure.deadline, &best.failure.event) {
        (Some(deadline), _) => *deadline > time,
        (None, Some(event)) => event.ts > time,
        (None, None) => true,
    };
    let used = replay.fired.iter().filter(|fired| uses_up(replay, fired, first.pos));
    let verdict = match used.min_by_key(|fired| fired.time).filter(|fired| open(fired.time)) {
        Some(fired) => Verdict::UsedUp(fired.time, first_name(replay, fired)),
        None => match foreseen(replay, first, &best) {
            Some(failure) => Verdict::Stopped(Box::new(failure), 0),
            None => Verdict::Stopped(Box::new(best.failure), others),
        },
    };
    Attempt { steps, verdict }
}

/// `having` or `unless` of an attempt that is still open, where what is to come cannot change it: it reads keys and constants
/// only, or the steps of a choice that only waits for time.
fn foreseen(replay: &Replay<'_>, first: &Row, best: &Rejected<'_>) -> Option<Failure> {
    let whole = best.failure.kind == FailureKind::Open;
    if best.failure.deadline.is_none_or(|deadline| deadline < replay.now) {
        return None;
    }
    let settled = |term: &Term| {
        let mut settled = true;
        term.expr.walk(&mut |expr| {
            settled &= match expr {
                Expr::Window(_) | Expr::Reaches(..) | Expr::InList(..) | Expr::Lookup(..) => false,
                Expr::Field(..) | Expr::Ts(_) | Expr::Id(_) | Expr::StreamName(_) | Expr::Aggregate(..) => {
                    whole
                }
                _ => true,
            };
        });
        settled
    };
    let (program, rule) = (replay.program, &replay.program.rule);
    let question = replay.question(first.pos, first.ts, 0);
    let scope = crate::search::scope(&question, &best.taken, 0, None);
    let mut having = rule.having.iter().zip(&program.having).filter(|(term, _)| settled(term));
    if let Some((_, term)) = having.find(|(_, term)| term.test.test(&scope) != Some(true)) {
        return Some(of_term("having", term, &scope));
    }
    rule.unless.iter().all(settled).then(|| silencing(program, &scope)).flatten()
}

/// Of the complete choices the first that the clauses let pass, and what stood against it; else the first of all, and the
/// clause.
fn not_fired<'c, 'a>(
    replay: &'a Replay<'_>,
    first: &Row,
    trace: &'c Trace<'a>,
) -> Option<(&'c Complete<'a>, Verdict)> {
    let mut complete: Vec<&Complete<'a>> = trace.complete.iter().collect();
    complete.sort_by_key(|choice| (choice.moment, choice.end.pos, &choice.beginnings));
    let mut stopped: Option<(&Complete<'a>, Verdict)> = None;
    let mut silenced: Option<(Micros, Position, &[Position])> = None;
    for choice in complete {
        let place = (choice.moment, choice.end.pos, choice.beginnings.as_slice());
        // Choices that differ only in which member of a `one of` took an event are one.
        if silenced == Some(place) {
            continue;
        }
        match clause_of(replay, first, choice) {
            Some((clause, failure)) => {
                if clause == "unless" {
                    silenced = Some(place);
                }
                if stopped.is_none() {
                    stopped = Some((choice, Verdict::Stopped(Box::new(failure), 0)));
                }
            }
            None => return Some((choice, blocked(replay, first, choice))),
        }
    }
    stopped
}

/// `having` or `unless`, as of the choice's moment.
fn clause_of(replay: &Replay<'_>, first: &Row, choice: &Complete<'_>) -> Option<(&'static str, Failure)> {
    let question = replay.question(first.pos, first.ts, 0);
    let at_timer;
    let (windows, latches) = if replay.program.ending == Ending::Event {
        (choice.end.windows(), replay.latches_at(choice.end.pos))
    } else {
        at_timer = replay.windows_at(choice.moment);
        (&at_timer[..], u32::MAX)
    };
    let scope = Scope {
        windows,
        latches,
        time: choice.moment,
        ..crate::search::scope(&question, &choice.taken, 0, None)
    };
    let (clause, mut failure) = clause(replay.program, &scope)?;
    failure.kind = if clause == "having" { FailureKind::Having } else { FailureKind::Unless };
    Some((clause, failure))
}

/// What kept a complete choice from firing.
fn blocked(replay: &Replay<'_>, first: &Row, choice: &Complete<'_>) -> Verdict {
    let by_then = |fired: &&Fired| (fired.time, fired.end) <= (choice.moment, choice.end.pos);
    let mut used = replay.fired.iter().filter(by_then).filter(|fired| uses_up(replay, fired, first.pos));
    if let Some(fired) = used.next() {
        let name = first_name(replay, fired);
        let same = (fired.time, fired.end) == (choice.moment, choice.end.pos);
        return if same { Verdict::Beaten(fired.time, name) } else { Verdict::UsedUp(fired.time, name) };
    }
    let same = |fired: &&Fired| (fired.time, fired.end) == (choice.moment, choice.end.pos);
    match replay.fired.iter().find(same).filter(|_| replay.program.overlap == Overlap::PerEnd) {
        Some(fired) => Verdict::Beaten(fired.time, first_name(replay, fired)),
        None if replay.capped => Verdict::Capped,
        None => Verdict::Missed,
    }
}

/// The fired choice used up the event at a position.
fn uses_up(replay: &Replay<'_>, fired: &Fired, pos: Position) -> bool {
    if fired.by == FiredBy::Timeout {
        return false;
    }
    match replay.program.overlap {
        Overlap::None => pos <= fired.end,
        Overlap::From(_) | Overlap::FromLast(_) => pos < used_from(replay.program, &rows_of(replay, fired)),
        Overlap::PerStart | Overlap::PerEnd | Overlap::All => false,
    }
}

/// The name of a fired choice's first event.
fn first_name(replay: &Replay<'_>, fired: &Fired) -> Shown {
    let question = replay.question(0, 0, 0);
    let row = first_of(fired).and_then(|pos| {
        let mut lists = replay.held.lists.iter();
        lists.find_map(|list| list.get(list.binary_search_by_key(&pos, |row| row.pos).ok()?))
    });
    row.map(|row| shown_row(replay.program, row, question.partitions)).unwrap_or_default()
}
