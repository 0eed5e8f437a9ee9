//! A test that failed, in a form that people and programs can read: its text, both values, and the value that would have
//! sufficed.

use crate::alert::{EvidenceEvent, Shown};
use crate::emit::evidence_event;
use crate::expr::{Node, Scope};
use crate::fit::{Breaker, Broken, Misfit};
use crate::program::{BoundProgram, Place, TermProgram};
use crate::row::{Position, Row};
use crate::search::{Search, scope};
use crate::value::{Value, format_duration};
use crate::why::trace::Failed;
use pattern_dsl::ir::{BinaryOp, UnitKind};
use pattern_dsl::types::Micros;

/// What kind of test failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureKind {
    /// No event came that could be the step's.
    #[default]
    Nothing,
    /// A repeat got too few events.
    Few,
    /// An event fitted, but too late.
    TooLate,
    /// An event fitted, but too early.
    TooEarly,
    /// `then immediately`: another event of the two streams lies between.
    Between,
    /// The step's `where` is not true.
    Where,
    /// A longer silence had ended the repeat before its minimum.
    Burst,
    /// A member of a set that may be missing has events, and would have to take them.
    LeftOut,
    /// All members of a set have events, but not each its own, or not within the bounds.
    Apart,
    /// `no X`, between steps, before the first or after the last, is broken.
    Absence,
    /// `until quiet for` is broken.
    Quiet,
    /// `cancel on`.
    Cancelled,
    /// A bound that reads a value is unknown.
    NoDeadline,
    /// `having` is not true.
    Having,
    /// `unless` is true.
    Unless,
    /// The first event came before the rule was active, or after a later revision took over.
    NotActive,
    /// Time has not yet reached the end of what was waited for.
    Open,
}

/// A test that failed.
#[derive(Debug, Clone, Default)]
pub struct Failure {
    /// What kind of test.
    pub kind: FailureKind,
    /// The step that could not go on (of a set without a name its members), or the clause.
    pub step: String,
    /// The step's stream.
    pub stream: String,
    /// The test as the rule writes it: `amount > 20 * avg(probe.amount)`, `within 10m`, `no mfa_passed`.
    pub test: String,
    /// What was found: the left side, the time that passed, the count.
    pub found: Shown,
    /// What it was held against: the right side, the bound, the minimum.
    pub limit: Shown,
    /// What `found` had to be, where that is one value: how it compares, and with what.
    pub enough: Option<(&'static str, Shown)>,
    /// The event that was tested, or that broke a silence.
    pub event: Option<EvidenceEvent>,
    /// Its stream.
    pub event_stream: String,
    /// The last event of the step before: the step's name and the time from which bounds count.
    pub after: Option<(String, Micros)>,
    /// Of a repeat that lacks events: how many it has, and its minimum.
    pub so_far: Option<(usize, usize)>,
    /// Until when another event could still help.
    pub deadline: Option<Micros>,
}

/// The failure of a row (or of the choice as it stands) at a step.
pub(crate) fn failure(
    search: &Search<'_, '_>,
    number: usize,
    before: Option<usize>,
    row: Option<&Row>,
    failed: Failed<'_>,
) -> Failure {
    let program = search.question.program;
    let (Some(step), Some(text)) = (program.steps.get(number), program.texts.get(number)) else {
        return Failure::default();
    };
    let last = before.and_then(|before| search.last_of(before));
    let mut told = Failure {
        step: unit_name(search, number, failed),
        stream: text.stream_name.to_string(),
        event: row.map(|row| {
            evidence_event(program, row, Some(number), search.question.key, search.question.partitions)
        }),
        event_stream: row.map(|row| stream_of(search, row)).unwrap_or_default(),
        after: before.and_then(|before| Some((name_of(search, before), search.last_of(before)?.ts))),
        so_far: Some((search.taken_of(number).len(), step.min))
            .filter(|(taken, min)| *taken > 0 && taken < min),
        deadline: deadline(search, number, last, failed),
        ..Failure::default()
    };
    match failed {
        Failed::Nothing => {}
        Failed::Few => few(search, number, &mut told),
        Failed::Apart => told.kind = FailureKind::Apart,
        Failed::Burst => {
            told.kind = FailureKind::Burst;
            let quiet = step.quiet.as_ref().and_then(|quiet| search.silence(quiet, before));
            let passed = search.taken_of(number).last().zip(row).map(|(last, row)| row.ts - last.ts);
            let masked = step.quiet.as_ref().and_then(BoundProgram::masked_text);
            bound(&mut told, "until quiet for", passed, quiet, masked, "at most");
        }
        Failed::Beyond => {
            told.kind = FailureKind::TooLate;
            told.after = None;
            let passed = search.first.zip(row).map(|(first, row)| row.ts - first.ts);
            bound(&mut told, "within", passed, Some(program.within), None, "within");
        }
        Failed::Arrow(misfit) => arrow(search, number, last, row, misfit, &mut told),
        Failed::Term(term) => {
            if let Some(term) = text.terms.get(term) {
                let scope = scope(&search.question, &search.taken, number, row);
                let after = told.after.take();
                told = Failure { after, ..with_term(told, term, &scope) };
            }
        }
        Failed::LeftOut(member) => {
            told.kind = FailureKind::LeftOut;
            told.test = program.texts.get(member).map(|text| text.name.to_string()).unwrap_or_default();
        }
        Failed::Barred => barred(search, row, &mut told),
        Failed::Broken(breaker) | Failed::Dead(breaker) => broken(search, breaker, &mut told),
        Failed::NoDeadline => {
            told.kind = FailureKind::NoDeadline;
            told.test = endless(search, last);
        }
        Failed::Open(due) => {
            told.kind = FailureKind::Open;
            told.deadline = Some(due);
            let names = program.absences_of(&program.trailing);
            let names: Vec<&str> = names.map(|absence| absence.text.as_str()).collect();
            told.test = if names.is_empty() { "until quiet".to_owned() } else { names.join(" and ") };
        }
    }
    told
}

/// A clause after `match` whose term does not hold (or, of `unless`, does).
pub(crate) fn of_term(clause: &str, term: &TermProgram, scope: &Scope<'_>) -> Failure {
    let told = Failure { step: clause.to_owned(), ..Failure::default() };
    let kind = if clause == "unless" { FailureKind::Unless } else { FailureKind::Having };
    Failure { kind, ..with_term(told, term, scope) }
}

fn with_term(told: Failure, term: &TermProgram, scope: &Scope<'_>) -> Failure {
    let test = term.text.clone();
    let (Some((left, right)), Some((found, limit))) = (&term.sides, term.shown(scope)) else {
        let found = term.test.eval(scope).into();
        return Failure { kind: FailureKind::Where, test, found, ..told };
    };
    // Of `5 < amount` it is the right side that could have been another.
    let fixed = matches!(left, Node::Literal(_)) && !matches!(right, Node::Literal(_));
    let (op, needed) = if fixed { (term.op.and_then(mirrored), &found) } else { (term.op, &limit) };
    let enough = op.and_then(relation).filter(|_| !needed.value.is_null()).map(|word| (word, needed.clone()));
    let (found, limit) = if fixed { (limit, found) } else { (found, limit) };
    Failure { kind: FailureKind::Where, test, found, limit, enough, ..told }
}

fn relation(op: BinaryOp) -> Option<&'static str> {
    Some(match op {
        BinaryOp::Greater => "more than",
        BinaryOp::GreaterOrEqual => "at least",
        BinaryOp::Less => "less than",
        BinaryOp::LessOrEqual => "at most",
        BinaryOp::Equal => "equal to",
        _ => return None,
    })
}

fn mirrored(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Equal => BinaryOp::Equal,
        _ => return None,
    })
}

/// How near the value of a term was to what it had to be; the greater the nearer.
pub(crate) fn nearness(search: &Search<'_, '_>, step: usize, term: usize, row: &Row) -> f64 {
    let sides = search.question.program.texts.get(step).and_then(|text| text.terms.get(term)?.sides.as_ref());
    let number = |value: Value| match value {
        Value::Instant(micros) | Value::Duration(micros) => Some(micros as f64),
        other => other.as_f64(),
    };
    let distance = sides.and_then(|(left, right)| {
        let scope = scope(&search.question, &search.taken, step, Some(row));
        Some((number(left.eval(&scope))? - number(right.eval(&scope))?).abs())
    });
    distance.map_or(f64::NEG_INFINITY, |distance| -distance)
}

/// A time that passed against a bound; `masked` is the source text of a bound that shows a masked field.
fn bound(
    told: &mut Failure,
    word: &str,
    passed: Option<Micros>,
    bound: Option<Micros>,
    masked: Option<&str>,
    enough: &'static str,
) {
    let text = match (masked, bound) {
        (Some(text), _) => text.to_owned(),
        (None, Some(bound)) => format_duration(bound),
        (None, None) => "an unknown time".to_owned(),
    };
    told.test = if text.starts_with(word) { text } else { format!("{word} {text}") };
    told.found = passed.map_or(Value::Null, Value::Duration).into();
    told.limit = Shown { value: bound.map_or(Value::Null, Value::Duration), masked: masked.is_some() };
    // Of an upper bound it is the bound that a rule would have to widen.
    told.enough = match enough {
        "within" | "at most" => passed.map(|passed| ("within", Value::Duration(passed).into())),
        word => bound.map(|_| (word, told.limit.clone())),
    };
}

fn few(search: &Search<'_, '_>, number: usize, told: &mut Failure) {
    let min = search.question.program.steps.get(number).map_or(1, |step| step.min);
    told.kind = FailureKind::Few;
    told.test = format!("at least {min}");
    told.found = Value::Int(search.taken_of(number).len() as i64).into();
    told.limit = Value::Int(min as i64).into();
}

fn arrow<'a>(
    search: &Search<'a, '_>,
    number: usize,
    last: Option<&'a Row>,
    row: Option<&Row>,
    misfit: Misfit,
    told: &mut Failure,
) {
    let program = search.question.program;
    let unit = program.steps.get(number).and_then(|step| program.units.get(step.unit));
    let (Some(unit), Some(last), Some(row)) = (unit, last, row) else { return };
    let passed = Some(row.ts - last.ts);
    let wait =
        |limit: &Option<BoundProgram>| limit.as_ref().and_then(|limit| search.bound_value(limit, last));
    fn masked(limit: &Option<BoundProgram>) -> Option<&str> {
        limit.as_ref().and_then(BoundProgram::masked_text)
    }
    match misfit {
        Misfit::Within => {
            told.kind = FailureKind::TooLate;
            bound(told, "within", passed, wait(&unit.within), masked(&unit.within), "within");
        }
        Misfit::After => {
            told.kind = FailureKind::TooEarly;
            bound(told, "after", passed, wait(&unit.after), masked(&unit.after), "at least");
        }
        Misfit::Between => {
            told.kind = FailureKind::Between;
            told.test = "immediately".to_owned();
            let number = program.steps.get(number).map_or(0, |step| step.unit);
            let between = search.unit_before(number).map(|before| search.neighbour(row, before, number));
            if let Some(between) = between.and_then(|pos| row_at(search, pos)) {
                told.event_stream = stream_of(search, between);
                told.event = Some(evidence_event(program, between, None, &[], search.question.partitions));
            }
        }
        Misfit::Waits => {
            told.kind = FailureKind::TooEarly;
            let own = program.steps.get(number).map_or(0, |step| step.unit);
            let unended = search.unit_before(own).and_then(|before| search.unended(before, own, last, row));
            let silence = unended.as_ref().and_then(|(broken, _)| match broken {
                Broken::Absence(gap) => program.absences.get(*gap)?.duration.as_ref(),
                Broken::Quiet(step) => program.steps.get(*step)?.quiet.as_ref(),
            });
            let masked = silence.and_then(BoundProgram::masked_text);
            bound(told, "until quiet for", passed, unended.and_then(|(_, wait)| wait), masked, "more than");
            if let Some((Broken::Absence(gap), _)) = unended {
                told.test = program.absences.get(gap).map(|absence| absence.text.clone()).unwrap_or_default();
            }
        }
        Misfit::Term(_) => {}
    }
}

/// A first event that begins nothing: a leading absence forbids it, or the rule was not active.
fn barred(search: &Search<'_, '_>, row: Option<&Row>, told: &mut Failure) {
    let question = &search.question;
    told.kind = FailureKind::NotActive;
    told.deadline = None;
    let (Some(row), true) = (row, !question.program.leading.is_empty()) else { return };
    let forbidding = crate::step::forbidding(question, row);
    if let Some((number, forbidding, wait)) = forbidding {
        told.kind = FailureKind::Absence;
        told.test =
            question.program.absences.get(number).map(|absence| absence.text.clone()).unwrap_or_default();
        if let Some(forbidding) = forbidding {
            let passed = row.ts - forbidding.ts;
            let bound = question.program.absences.get(number).and_then(|absence| absence.duration.as_ref());
            let masked = bound.is_some_and(|bound| bound.masked_text().is_some());
            told.found = Value::Duration(passed).into();
            told.limit = Shown { value: wait.map_or(Value::Null, Value::Duration), masked };
            told.enough = Some(("less than", Value::Duration(passed).into()));
            told.event_stream = stream_of(search, forbidding);
            told.event = Some(evidence_event(question.program, forbidding, None, &[], question.partitions));
        }
    }
}

fn broken(search: &Search<'_, '_>, breaker: Breaker<'_>, told: &mut Failure) {
    let program = search.question.program;
    told.deadline = None;
    match breaker.broken {
        Some(Broken::Absence(number)) => {
            let absence = program.absences.get(number);
            let cancels = absence.is_some_and(|absence| absence.place == Place::Cancel);
            told.kind = if cancels { FailureKind::Cancelled } else { FailureKind::Absence };
            told.test = absence.map(|absence| absence.text.clone()).unwrap_or_default();
            if cancels {
                told.after = None;
                if !told.test.starts_with("cancel on") {
                    told.test = format!("cancel on {}", told.test.trim_start_matches("no "));
                }
            }
        }
        Some(Broken::Quiet(step)) => {
            told.kind = FailureKind::Quiet;
            let name = program.texts.get(step).map(|text| text.name.to_string()).unwrap_or_default();
            told.test = format!("{name} until quiet");
        }
        None => told.kind = FailureKind::Absence,
    }
    if let Some(row) = breaker.row {
        told.event_stream = stream_of(search, row);
        told.event = Some(evidence_event(program, row, None, &[], search.question.partitions));
    }
}

/// The bound that is unknown.
fn endless(search: &Search<'_, '_>, last: Option<&Row>) -> String {
    let program = search.question.program;
    let end = search.begun.last().and_then(|unit| search.last_of(*unit)).or(last);
    let absences = program.absences_of(&program.trailing);
    let unknown = absences.into_iter().find(|absence| {
        absence
            .duration
            .as_ref()
            .zip(end)
            .is_some_and(|(bound, end)| search.bound_value(bound, end).is_none())
    });
    unknown.map_or_else(|| "until quiet".to_owned(), |absence| absence.text.clone())
}

/// Until when another event could take the place of what failed.
fn deadline(
    search: &Search<'_, '_>,
    number: usize,
    last: Option<&Row>,
    failed: Failed<'_>,
) -> Option<Micros> {
    let program = search.question.program;
    let step = program.steps.get(number)?;
    let broken = step.consecutive && !search.taken_of(number).is_empty();
    let helps = matches!(failed, Failed::Nothing | Failed::Few)
        || matches!(failed, Failed::Arrow(Misfit::After | Misfit::Waits))
        || (matches!(failed, Failed::Term(_)) && !broken);
    if !helps {
        return None;
    }
    // While the first unit is a set that is not complete, its first event is the one asked for.
    let first = search.first.map_or(search.question.time, |first| first.ts);
    let whole = first.saturating_add(program.within);
    let within = program.units.get(step.unit).and_then(|unit| unit.within.as_ref());
    let arrow = within
        .zip(last)
        .and_then(|(bound, last)| Some(last.ts.saturating_add(search.bound_value(bound, last)?)));
    Some(arrow.map_or(whole, |arrow| arrow.min(whole)))
}

/// The name of a unit, or of its steps.
fn name_of(search: &Search<'_, '_>, unit: usize) -> String {
    let program = search.question.program;
    let Some(unit) = program.units.get(unit) else { return String::new() };
    if let Some(name) = &unit.name {
        return name.to_string();
    }
    let names =
        program.texts.get(unit.steps.clone()).unwrap_or_default().iter().map(|text| text.name.as_str());
    let joint = if unit.kind == UnitKind::All { " and " } else { " or " };
    names.collect::<Vec<_>>().join(joint)
}

/// The step, or where it is one of several that could go on, all of them.
fn unit_name(search: &Search<'_, '_>, number: usize, failed: Failed<'_>) -> String {
    let program = search.question.program;
    let (Some(step), Some(text)) = (program.steps.get(number), program.texts.get(number)) else {
        return String::new();
    };
    let kind = program.units.get(step.unit).map_or(UnitKind::Step, |unit| unit.kind);
    let any = matches!(failed, Failed::Nothing | Failed::Dead(_)) && kind == UnitKind::One;
    let all = matches!(failed, Failed::Apart | Failed::LeftOut(_) | Failed::Open(_) | Failed::NoDeadline)
        || matches!(failed, Failed::Broken(_));
    if any || (all && kind != UnitKind::Step) { name_of(search, step.unit) } else { text.name.to_string() }
}

fn stream_of(search: &Search<'_, '_>, row: &Row) -> String {
    let program = search.question.program;
    let at = program.streams.iter().position(|stream| *stream == row.stream());
    at.and_then(|at| program.stream_names.get(at)).map(|name| name.to_string()).unwrap_or_default()
}

/// Any row that stands at a position.
fn row_at<'a>(search: &Search<'a, '_>, pos: Position) -> Option<&'a Row> {
    let lists = &search.question.state.lists;
    lists.iter().find_map(|list| list.get(list.binary_search_by_key(&pos, |row| row.pos).ok()?))
}
