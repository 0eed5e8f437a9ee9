//! The way back from a case that fails to a small one.

use super::{Case, KEY, SECOND};
use pattern_dsl::types::Literal;

/// Leaves out events, parts of the rules and versions of tables, merges keys and closes gaps between times, as long as
/// `fails` stays true. A rule with a part less may not compile: `fails` must say false of it.
pub fn shrink(case: Case, fails: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut best = case;
    let mut smaller = true;
    while smaller {
        smaller = fewer_events(&mut best, fails);
        smaller |= less_text(&mut best, fails);
        smaller |= fewer_versions(&mut best, fails);
        if !smaller {
            smaller = plainer_events(&mut best, fails);
        }
    }
    best
}

fn accept(best: &mut Case, next: Case, fails: &mut dyn FnMut(&Case) -> bool) -> bool {
    let fails = fails(&next);
    if fails {
        *best = next;
    }
    fails
}

/// First halves, then less, at last single ones.
fn fewer_events(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) -> bool {
    let mut smaller = false;
    let mut size = best.events.len().div_ceil(2);
    while size > 0 {
        let mut end = best.events.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut next = best.clone();
            next.events.drain(start..end);
            smaller |= accept(best, next, fails);
            end = start;
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    smaller
}

fn less_text(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) -> bool {
    let (mut smaller, mut at) = (false, 0);
    loop {
        // What was tried before stays tried: an edit that is accepted makes place for the next at the same number.
        let Some(file) = best.file.smaller().into_iter().nth(at) else { return smaller };
        let next = Case { text: file.text(), file, ..best.clone() };
        if next.text != best.text && accept(best, next, fails) {
            smaller = true;
        } else {
            at += 1;
        }
    }
}

fn fewer_versions(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) -> bool {
    let mut smaller = false;
    let names: Vec<String> = best.tables.keys().cloned().collect();
    for name in names {
        let mut next = best.clone();
        next.tables.remove(&name);
        if accept(best, next, fails) {
            smaller = true;
            continue;
        }
        for at in (0..best.tables[&name].len()).rev() {
            let mut next = best.clone();
            if let Some(versions) = next.tables.get_mut(&name) {
                versions.remove(at);
            }
            smaller |= accept(best, next, fails);
        }
    }
    smaller
}

/// One key for all, no value where there need be none, one partition, no time between.
fn plainer_events(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) -> bool {
    let mut smaller = false;
    if let Some(first) = best.events.first().map(|e| e.ts).filter(|ts| *ts != 0) {
        let mut next = best.clone();
        next.events.iter_mut().for_each(|event| event.ts -= first);
        let versions = next.tables.values_mut().flatten().filter(|(from, _)| *from > i64::MIN);
        versions.for_each(|(from, _)| *from -= first);
        smaller |= accept(best, next, fails);
    }
    for at in 0..best.events.len() {
        let mut plain = vec![(KEY, Literal::Int(1)), (1, Literal::Int(0)), (2, Literal::Null)];
        plain.push((3, Literal::String("p".to_owned())));
        plain.extend((4..best.events[at].fields.len()).map(|field| (field, Literal::Null)));
        for (field, to) in plain {
            if best.events[at].fields[field] != to {
                let mut next = best.clone();
                next.events[at].fields[field] = to;
                smaller |= accept(best, next, fails);
            }
        }
        if best.events[at].partition != 0 {
            let mut next = best.clone();
            next.events[at].partition = 0;
            next.events[at].offset = 100 + at as u64;
            smaller |= accept(best, next, fails);
        }
        // All from here on one second earlier.
        if at > 0 && best.events[at].ts - best.events[at - 1].ts >= SECOND {
            let mut next = best.clone();
            next.events[at..].iter_mut().for_each(|event| event.ts -= SECOND);
            smaller |= accept(best, next, fails);
        }
    }
    smaller
}
