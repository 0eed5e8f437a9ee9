//! A choice becomes an alert: its clauses evaluated, its evidence written down, its id derived.
//!
//! INVARIANT: the id depends on rule name, key, what fired it, its time and the identities of its events - on nothing else.

use crate::alert::{Alert, BoundUsed, Evidence, EvidenceEvent, FiredBy, Held, Reason, Shown};
use crate::event::{Event, EventRef};
use crate::expr::{Scope, identity};
use crate::program::{BoundProgram, FieldShown, Program, ReasonProgram, StepText};
use crate::row::{Known, Row, Rows, first_of, last_of};
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::types::Micros;

/// What an alert says beside its choice.
pub(crate) struct Facts {
    pub(crate) time: Micros,
    pub(crate) by: FiredBy,
    pub(crate) suppressed: u64,
    pub(crate) truncated: bool,
}

/// Builds the alert of a complete choice.
pub(crate) fn alert(program: &Program, taken: &[Rows<'_>], scope: &Scope<'_>, facts: &Facts) -> Alert {
    let (first, last) = (first_of(taken), last_of(taken));
    let (started, ended) = (first.map_or(facts.time, |row| row.ts), last.map_or(facts.time, |row| row.ts));
    let severity = match program.severity.as_ref().map(|output| output.eval(scope)) {
        Some(severity @ Shown { value: Value::String(_), .. }) => severity,
        _ => Value::String("medium".into()).into(),
    };
    let score = match program.score.as_ref().map(|output| output.eval(scope)) {
        Some(score) if !score.value.is_null() => score,
        _ => Value::Int(default_score(&severity.value)).into(),
    };
    let timeout = program.timeout.as_ref().filter(|_| facts.by == FiredBy::Timeout);
    let fields = timeout.unwrap_or(&program.emit);
    Alert {
        id: alert_id(program, taken, scope, facts),
        rule: program.name.clone(),
        revision: program.revision,
        title: program.rule.title.as_deref().map(ArcStr::from),
        mode: program.rule.mode,
        keys: keys(program, scope.key),
        fired_by: facts.by,
        time: facts.time,
        started,
        ended,
        severity,
        score,
        reason: reason(program, scope),
        fields: fields.iter().map(|(name, output)| (name.clone(), output.eval(scope))).collect(),
        evidence: evidence(program, taken, scope, facts),
        bounds: bounds(program, taken, scope, ended - started),
        lists: program.tables.iter().filter_map(|table| scope.tables.version(*table, facts.time)).collect(),
        send: program.rule.send.clone(),
        suppressed_since_last: facts.suppressed,
        truncated: facts.truncated,
    }
}

fn keys(program: &Program, key: &[Value]) -> Vec<(ArcStr, Shown)> {
    let parts = program.keys.iter().zip(key);
    parts
        .map(|((name, masked), value)| (name.clone(), Shown { value: value.as_key(), masked: *masked }))
        .collect()
}

/// `match within`, and looked-up bounds that their limit has cut. Each is read as of the last event before it.
fn bounds(program: &Program, taken: &[Rows<'_>], scope: &Scope<'_>, used: Micros) -> Vec<BoundUsed> {
    let mut bounds = Vec::new();
    if program.rule.within.is_some() {
        let text = format!("within {}", crate::value::format_duration(program.within));
        bounds.push(BoundUsed { text, used, cut_from: None, masked: false });
    }
    let mut note = |bound: &Option<BoundProgram>, time: Micros| {
        let cut = bound.as_ref().and_then(|bound| bound.cut(&Scope { time, ..*scope }));
        bounds.extend(cut.map(|(text, max, read)| BoundUsed {
            text: text.to_owned(),
            used: max,
            cut_from: Some(read),
            masked: bound.as_ref().is_some_and(|bound| bound.masked_text().is_some()),
        }));
    };
    let mut last = first_of(taken).map_or(scope.time, |row| row.ts);
    program.absences_of(&program.leading).for_each(|absence| note(&absence.duration, last));
    for unit in &program.units {
        let own = taken.get(unit.steps.clone()).unwrap_or_default();
        let Some(end) = last_of(own) else { continue };
        note(&unit.within, last);
        note(&unit.after, last);
        program.absences_of(&unit.gap).for_each(|absence| note(&absence.duration, last));
        for step in program.steps.get(unit.steps.clone()).unwrap_or_default() {
            note(&step.quiet, last);
        }
        last = end.ts;
    }
    program.absences_of(&program.trailing).for_each(|absence| note(&absence.duration, last));
    bounds
}

fn default_score(severity: &Value) -> i64 {
    let Value::String(severity) = severity else { return 50 };
    match severity.as_str() {
        "info" => 10,
        "low" => 25,
        "high" => 75,
        "critical" => 100,
        _ => 50,
    }
}

fn reason(program: &Program, scope: &Scope<'_>) -> Reason {
    let mut reason = Reason::default();
    for part in &program.reason {
        match part {
            ReasonProgram::Text(part) => reason.text.push_str(part),
            ReasonProgram::Value(output) => {
                let (start, shown) = (reason.text.len(), output.eval(scope));
                reason.text.push_str(&shown.value.to_string());
                if shown.masked {
                    reason.masked.push((start..reason.text.len(), shown.value));
                }
            }
        }
    }
    reason
}

/// One entry a step that has begun and an absence that held, in written order.
fn evidence(program: &Program, taken: &[Rows<'_>], scope: &Scope<'_>, facts: &Facts) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let started = first_of(taken).map_or(facts.time, |row| row.ts);
    for absence in program.absences_of(&program.leading) {
        let wait = absence.duration.as_ref().and_then(|bound| bound.value(scope)).unwrap_or(0);
        let from = started.saturating_sub(wait);
        evidence.push(Evidence::Absence { absent: absence.text.clone(), from, until: started });
    }
    let mut before: Option<&Row> = None;
    let mut passed: Vec<usize> = Vec::new();
    for unit in &program.units {
        passed.extend(&unit.gap);
        let own = taken.get(unit.steps.clone()).unwrap_or_default();
        let Some(first) = first_of(own) else { continue };
        for absence in passed.drain(..).filter_map(|gap| program.absences.get(gap)) {
            let from = before.map_or(first.ts, |row| row.ts);
            let bound =
                absence.duration.as_ref().and_then(|bound| bound.value(&Scope { time: from, ..*scope }));
            let until = bound.map_or(first.ts, |wait| from.saturating_add(wait));
            evidence.push(Evidence::Absence { absent: absence.text.clone(), from, until });
        }
        for number in unit.steps.clone() {
            let (Some(text), Some(rows)) = (program.texts.get(number), taken.get(number)) else { continue };
            if !rows.is_empty() {
                let name = unit.name.as_ref().unwrap_or(&text.name);
                evidence.push(step_evidence(program, (text, name), number, rows, taken, scope));
            }
        }
        before = last_of(own);
    }
    let end = last_of(taken).map_or(facts.time, |row| row.ts);
    for absence in program.absences_of(&program.trailing) {
        let bound = absence.duration.as_ref().and_then(|bound| bound.value(&Scope { time: end, ..*scope }));
        let until = end.saturating_add(bound.unwrap_or(0));
        evidence.push(Evidence::Absence { absent: absence.text.clone(), from: end, until });
    }
    evidence
}

/// A step's events, and the comparisons of its `where` at its first.
fn step_evidence(
    program: &Program,
    (text, name): (&StepText, &ArcStr),
    number: usize,
    rows: &[&Row],
    taken: &[Rows<'_>],
    scope: &Scope<'_>,
) -> Evidence {
    let held = rows.first().map_or_else(Vec::new, |row| {
        // Its terms read what the steps before have taken, and of itself nothing yet.
        let earlier: Vec<Rows<'_>> = taken.iter().take(number).cloned().collect();
        let scope = Scope {
            this: Some(scope.row(number, row)),
            taken: &earlier,
            own: number,
            windows: row.windows(),
            time: row.ts,
            ..*scope
        };
        let held = text.terms.iter().filter_map(|term| {
            let (left, right) = term.shown(&scope)?;
            Some(Held { text: term.text.clone(), left, right })
        });
        held.collect()
    });
    let events = rows
        .iter()
        .map(|row| evidence_event(program, row, Some(number), scope.key, scope.partitions))
        .collect();
    Evidence::Step { place: number, step: name.clone(), stream: text.stream_name.clone(), events, held }
}

/// An event with the fields that its step shows; none of another.
pub(crate) fn evidence_event(
    program: &Program,
    row: &Row,
    step: Option<usize>,
    key: &[Value],
    partitions: &[ArcStr],
) -> EvidenceEvent {
    let step = step.and_then(|number| program.steps.get(number).zip(program.texts.get(number)));
    let shown = step.iter().flat_map(|(step, text)| text.shown.iter().map(|field| (field, &step.sources)));
    let known = Known { key, words: &program.words };
    let fields = shown.map(|(field, sources)| {
        let value = row.slot(field.slot, sources, known).clone();
        (field.name.clone(), Shown { value, masked: field.masked })
    });
    EvidenceEvent { id: shown_row(program, row, partitions), ts: row.ts, fields: fields.collect() }
}

/// An event with the fields shown.
pub(crate) fn evidence_event_of(
    program: &Program,
    event: &Event,
    shown: &[FieldShown],
    partitions: &[ArcStr],
) -> EvidenceEvent {
    let view = event.view();
    let fields = shown.iter().map(|field| {
        (field.name.clone(), Shown { value: view.slot(field.slot).clone(), masked: field.masked })
    });
    EvidenceEvent { id: shown_id(program, &view, partitions), ts: event.ts, fields: fields.collect() }
}

/// The identity of an event, masked if its stream's `id` is a masked field. A source position shows nothing.
pub(crate) fn shown_id(program: &Program, event: &EventRef<'_>, partitions: &[ArcStr]) -> Shown {
    let masked = event.id.is_some() && program.masks_id(event.stream);
    let identity = identity(event.id, (event.partition, event.offset), partitions);
    Shown { value: Value::String(identity.into()), masked }
}

/// [`shown_id`] of an event that a list keeps.
pub(crate) fn shown_row(program: &Program, row: &Row, partitions: &[ArcStr]) -> Shown {
    let masked = row.id().is_some() && program.masks_id(row.stream());
    Shown { value: Value::String(identity(row.id(), row.place(), partitions).into()), masked }
}

/// First 128 bits of BLAKE3 over length-prefixed parts, base32 (RFC 4648, lower case) without padding.
fn alert_id(program: &Program, taken: &[Rows<'_>], scope: &Scope<'_>, facts: &Facts) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(program.name.as_bytes());
    for value in scope.key {
        part(value.as_key().to_string().as_bytes());
    }
    part(match facts.by {
        FiredBy::Event => b"event",
        FiredBy::Timer => b"timer",
        FiredBy::Timeout => b"timeout",
    });
    part(&facts.time.to_le_bytes());
    for (step, rows) in taken.iter().enumerate() {
        for row in rows.iter() {
            part(&(step as u32).to_le_bytes());
            part(identity(row.id(), row.place(), scope.partitions).as_bytes());
        }
    }
    base32(hasher.finalize().as_bytes())
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(26);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes.iter().take(16) {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - held) & 31) as usize]));
    }
    text
}
