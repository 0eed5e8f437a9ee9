//! Which parts of a program show masked fields: flags beside all that alerts and `why` show.
//!
//! What a rule's own streams mask is known when it is compiled. Alerts that it reads are masked where the rules that they
//! come from mask them; those come and go on their own, so their masks are spread whenever the set of rules changes.
//! INVARIANT: a mask is never taken back, since a reader may hold alerts of a rule that is gone.

use crate::advance::RuleRun;
use crate::program::{BoundProgram, Output, Program, ReasonProgram, Shape, TermProgram};
use crate::why::history::History;
use pattern_dsl::ir::{Bound, Expr, MaskedFields, ReasonPart, Rule, Term};
use std::sync::Arc;

/// Sets every flag of a program.
pub(crate) fn mark(program: &mut Program) {
    let Program { rule, masked, keys, severity, score, reason, emit, timeout, .. } = program;
    for (part, (_, flag)) in keys.iter_mut().enumerate() {
        *flag = masked.key(rule, part);
    }
    let set = |output: &mut Output, expr: &Expr| output.masked = masked.shows(rule, expr, None);
    severity.iter_mut().zip(&rule.severity).for_each(|(output, expr)| set(output, expr));
    score.iter_mut().zip(&rule.score).for_each(|(output, expr)| set(output, expr));
    let emitted = emit.iter_mut().zip(&rule.emit);
    let emitted = emitted.chain(timeout.iter_mut().flatten().zip(rule.timeout.iter().flatten()));
    emitted.for_each(|((_, output), (_, expr))| set(output, expr));
    for parts in reason.iter_mut().zip(&rule.reason) {
        if let (ReasonProgram::Value(output), ReasonPart::Value(expr)) = parts {
            set(output, expr);
        }
    }
    program.masks_alerts = program.keys.iter().any(|(_, masked)| *masked)
        || program.outputs().any(|(_, output)| output.masked)
        || program.severity.iter().chain(&program.score).any(|output| output.masked);
    mark_steps(program);
    mark_bounds(program);
}

fn mark_steps(program: &mut Program) {
    let Program { rule, masked, texts, having, unless, .. } = program;
    for (step, checked) in texts.iter_mut().zip(&rule.steps) {
        for field in &mut step.shown {
            field.masked = masked.field(checked.stream, field.field);
        }
        let filter: &[Term] = rule.streams.get(checked.stream).map_or(&[], |stream| &stream.filter);
        let terms = checked.condition.iter().chain(filter);
        mark_terms(masked, rule, &mut step.terms, terms, Some(checked.stream));
    }
    mark_terms(masked, rule, having, &rule.having, None);
    mark_terms(masked, rule, unless, &rule.unless, None);
}

fn mark_terms<'r>(
    masked: &MaskedFields,
    rule: &Rule,
    terms: &mut [TermProgram],
    checked: impl IntoIterator<Item = &'r Term>,
    this: Option<usize>,
) {
    for (term, checked) in terms.iter_mut().zip(checked) {
        term.masked = masked.shows_sides(rule, &checked.expr, this);
    }
}

/// Bounds that a masked field gives.
fn mark_bounds(program: &mut Program) {
    let Program { rule, masked, shape, .. } = program;
    // A shape with such a bound is its rule's own.
    let Some(Shape { units, steps, absences, .. }) = Arc::get_mut(shape) else { return };
    let mark = |bound: Option<&mut BoundProgram>, checked: Option<&Bound>| {
        if let (Some(BoundProgram::Read(read)), Some(Bound::Read { expr, .. })) = (bound, checked) {
            read.masked = masked.shows(rule, expr, None);
        }
    };
    for (unit, checked) in units.iter_mut().zip(&rule.units) {
        mark(unit.within.as_mut(), checked.within.as_ref());
        mark(unit.after.as_mut(), checked.after.as_ref());
    }
    for (step, checked) in steps.iter_mut().zip(&rule.steps) {
        mark(step.quiet.as_mut(), checked.quiet.as_ref());
    }
    // The compiler numbers absences in this order.
    let gaps = rule.units.iter().flat_map(|unit| &unit.gap);
    let checked = gaps.chain(&rule.leading).chain(&rule.trailing).chain(&rule.cancels);
    for (absence, checked) in absences.iter_mut().zip(checked) {
        mark(absence.duration.as_mut(), checked.duration.as_ref());
    }
}

/// A field of the program's alerts, by its path in the stream of alerts, is masked.
fn masks_path(program: &Program, path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let is = |output: &Option<Output>| output.as_ref().is_some_and(|output| output.masked);
    match path.as_slice() {
        ["severity"] => is(&program.severity),
        ["score"] => is(&program.score),
        ["keys", name, ..] => program.keys.iter().any(|(known, masked)| known == name && *masked),
        ["data", name, ..] => program.outputs().any(|(known, output)| known == name && output.masked),
        _ => false,
    }
}

/// Lets the rules that read alerts know which of their fields are masked.
pub(crate) fn spread(rules: &mut [RuleRun], mut history: Option<&mut History>) {
    // A reader may be read itself; reading goes one way, so as many rounds as rules are enough.
    for _ in 0..rules.len() {
        let programs = rules.iter().map(|run| &run.program);
        let sources: Vec<Arc<Program>> = programs.filter(|program| program.masks_alerts).cloned().collect();
        if sources.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for (number, run) in rules.iter().enumerate() {
            let Some(names) = &run.program.rule.reads_alerts else { continue };
            let read = sources.iter().filter(|source| match names.as_slice() {
                [] => source.rule.reads_alerts.is_none(),
                names => names.iter().any(|name| *name == source.name.as_str()),
            });
            let read: Vec<&Arc<Program>> = read.collect();
            let mut masked = run.program.masked.clone();
            if masked.mask_alerts(&|path| read.iter().any(|source| masks_path(source, path))) {
                found.push((number, masked));
            }
        }
        drop(sources);
        if found.is_empty() {
            return;
        }
        for (number, masked) in found {
            let Some(run) = rules.get_mut(number) else { continue };
            let whole =
                history.as_mut().and_then(|history| history.programs.get_mut(run.program.name.as_str()));
            [Some(&mut run.program), whole]
                .into_iter()
                .flatten()
                .for_each(|program| remask(program, &masked));
        }
    }
}

fn remask(program: &mut Arc<Program>, masked: &MaskedFields) {
    // INVARIANT: nobody else holds a program between two steps.
    if let Some(program) = Arc::get_mut(program) {
        let paths: Vec<Vec<String>> = masked.alert_paths().map(<[String]>::to_vec).collect();
        mask_alerts(program, &paths);
    }
}

/// Adds masks of fields of alerts, by their paths.
pub(crate) fn mask_alerts(program: &mut Program, paths: &[Vec<String>]) {
    if program.masked.mask_alerts(&|path| paths.iter().any(|known| known == path)) {
        mark(program);
    }
}

/// Paths of the fields of alerts that a program masks.
pub(crate) fn alert_paths(program: &Program) -> Vec<Vec<String>> {
    program.masked.alert_paths().map(<[String]>::to_vec).collect()
}
