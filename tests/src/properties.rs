//! What must hold of every case, beside the agreement with the definition: the same engine twice, on inputs that differ
//! in something that must not matter, or that must matter in a known way.

use crate::feed::{Engine, Feed, Ran, order, run_beside, run_engine};
use crate::frozen::a_state_saved_in_slices_is_that_of_its_moment;
use crate::why::why_says_what_happened;
use crate::{compile, engine_line, key_text, oracle_line};
use engine::alert::{Alert, Evidence};
use engine::value::Value;
use oracle::random::{Case, case, revised};
use oracle::{Event, Outcome, Revision, run_revisions};
use pattern_dsl::ir::{Absence, Bound, Condition, Module, Rule, Window};
use pattern_dsl::types::Micros;
use std::collections::{BTreeMap, BTreeSet};

/// What a property says of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It says nothing about this case.
    Silent,
    /// It does not: what was expected, what came.
    Broken(String),
}

/// A property by its name.
pub type Property = fn(&Case, &Module) -> Verdict;

/// The properties, by name.
pub const PROPERTIES: [(&str, Property); 9] = [
    ("unwanted", unwanted_events_change_nothing),
    ("beside", rules_beside_change_nothing),
    ("keys", the_run_is_the_union_of_its_keys),
    ("shift", alerts_move_with_time),
    ("why", why_says_what_happened),
    ("swap", a_swap_is_two_revisions),
    ("expiry", candidates_are_within_their_bound),
    ("forgotten", silence_empties_the_state),
    ("frozen", a_state_saved_in_slices_is_that_of_its_moment),
];

const DAY: Micros = 86_400_000_000;

/// Tries a property on `count` cases from the seed `first` on: on how many it says something, and the first that break it.
///
/// # Panics
/// If there is no property of that name.
#[must_use]
pub fn try_property(name: &str, first: u64, count: u64) -> (u64, Vec<String>) {
    let (_, property) = PROPERTIES.iter().find(|(known, _)| *known == name).expect("a known property");
    let (mut said, mut broken) = (0, Vec::new());
    for seed in first..first + count {
        let case = case(seed);
        let Ok(module) = compile(&case) else { continue };
        match property(&case, &module) {
            Verdict::Silent => {}
            Verdict::Holds => said += 1,
            Verdict::Broken(_) => {
                broken.push(format!("{name}: {}", shrunk(case, *property)));
                if broken.len() == 3 {
                    break;
                }
            }
        }
    }
    (said, broken)
}

fn shrunk(case: Case, property: Property) -> String {
    let seed = case.seed;
    let breaks = |case: &Case| match compile(case).map(|module| property(case, &module)) {
        Ok(Verdict::Broken(why)) => Some(why),
        _ => None,
    };
    let small = oracle::random::shrink(case, &mut |case| breaks(case).is_some());
    let why = breaks(&small).unwrap_or_default();
    format!("seed {seed}\n{}{why}", crate::show(&small))
}

pub(crate) fn same<T: PartialEq + std::fmt::Display>(expected: &[T], got: &[T]) -> Verdict {
    if expected == got {
        return Verdict::Holds;
    }
    let lines = |of: &[T]| of.iter().map(|line| format!("\n  {line}")).collect::<String>();
    Verdict::Broken(format!("expected{}\ngot{}", lines(expected), lines(got)))
}

/// Everything that an alert says.
pub(crate) fn whole(alerts: &[Alert]) -> Vec<String> {
    alerts.iter().map(|alert| format!("{alert:?}")).collect()
}

pub(crate) fn feed(case: &Case) -> Feed {
    match case.seed % 4 {
        0 => Feed::Sorted,
        1 => Feed::Interleaved(case.seed),
        2 => Feed::Late(case.seed),
        _ => Feed::Direct,
    }
}

/// The events, each with an id of its own, so that leaving out some renames none.
fn with_ids(case: &Case) -> Vec<Event> {
    let named = |(number, event): (usize, &Event)| Event { id: Some(number.to_string()), ..event.clone() };
    case.events.iter().enumerate().map(named).collect()
}

pub(crate) fn end(case: &Case) -> Micros {
    case.events.last().map_or(0, |event| event.ts)
}

/// (4) Events that no rule wants may as well not be there.
fn unwanted_events_change_nothing(case: &Case, module: &Module) -> Verdict {
    let events = with_ids(case);
    let all = run_engine(module, &case.tables, &events, end(case), feed(case));
    if all.wanted.len() == events.len() {
        return Verdict::Silent;
    }
    let wanted: Vec<Event> = events
        .iter()
        .enumerate()
        .filter(|(number, _)| all.wanted.contains(number))
        .map(|(_, event)| event.clone())
        .collect();
    let fewer = run_engine(module, &case.tables, &wanted, end(case), feed(case));
    same(&whole(&all.alerts), &whole(&fewer.alerts))
}

/// (4) Rules beside a rule change nothing for it, whether they fire or not.
fn rules_beside_change_nothing(case: &Case, module: &Module) -> Verdict {
    if module.rules.iter().any(|rule| rule.reads_alerts.as_ref().is_some_and(Vec::is_empty)) {
        return Verdict::Silent;
    }
    let beside: Vec<Module> = (1..=3)
        .filter_map(|nth| {
            let mut other = oracle::random::case(case.seed.wrapping_mul(31).wrapping_add(nth));
            other.streams.clone_from(&case.streams);
            let mut other = compile(&other).ok().filter(|other| other.streams.len() == case.streams.len())?;
            other.rules.truncate(1);
            // Before the rule and after it in the order of names.
            let name = if nth == 2 { "z" } else { "c" };
            other.rules.iter_mut().for_each(|rule| rule.name = format!("{name}{nth}"));
            Some(other)
        })
        .collect();
    if module.streams.len() != case.streams.len() {
        return Verdict::Silent;
    }
    let alone = run_engine(module, &case.tables, &case.events, end(case), feed(case));
    let together = run_beside(module, &beside, &case.tables, &case.events, end(case), feed(case));
    let own = |ran: Ran| {
        let mut lines: Vec<String> = Vec::new();
        for rule in &module.rules {
            let alerts = ran.alerts.iter().filter(|alert| alert.rule == rule.name.as_str());
            lines.extend(alerts.map(|alert| format!("{alert:?}")));
        }
        lines
    };
    same(&own(alone), &own(together))
}

/// The fields that are the key wherever the rule looks, if they are the same everywhere.
fn plain_key(rule: &Rule) -> Option<Vec<usize>> {
    let key = rule.steps.first()?.keys.clone();
    let everywhere = rule.steps.iter().all(|step| step.keys == key)
        && rule.streams.iter().all(|stream| stream.keys.as_ref() == Some(&key));
    (everywhere && !key.is_empty()).then_some(key)
}

/// (5) Each key is matched by itself.
fn the_run_is_the_union_of_its_keys(case: &Case, module: &Module) -> Verdict {
    let ([rule], Some(key)) = (module.rules.as_slice(), module.rules.first().and_then(plain_key)) else {
        return Verdict::Silent;
    };
    let mut by_key: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut used: BTreeSet<usize> = rule.streams.iter().map(|stream| stream.stream).collect();
    used.retain(|stream| *stream < case.streams.len());
    let events = with_ids(case);
    for event in events.iter().filter(|event| used.contains(&event.stream)) {
        let value = |field: &usize| Value::from_literal(&event.fields[*field]);
        by_key.entry(key_text(key.iter().map(value))).or_default().push(event.clone());
    }
    if by_key.len() < 2 {
        return Verdict::Silent;
    }
    let run = |events: &[Event]| run_engine(module, &case.tables, events, end(case), feed(case)).alerts;
    let mut whole_run = whole(&run(&events));
    let mut parts: Vec<String> = by_key.values().flat_map(|events| whole(&run(events))).collect();
    whole_run.sort_unstable();
    parts.sort_unstable();
    same(&parts, &whole_run)
}

fn shift_value(value: &mut Value, by: Micros) {
    match value {
        Value::Instant(at) => *at += by,
        Value::List(items) => items.iter_mut().for_each(|item| shift_value(item, by)),
        Value::Object(pairs) => pairs.iter_mut().for_each(|(_, value)| shift_value(value, by)),
        _ => {}
    }
}

fn shift_alert(alert: &mut Alert, by: Micros) {
    alert.id.clear();
    for time in [&mut alert.time, &mut alert.started, &mut alert.ended] {
        *time += by;
    }
    alert.fields.iter_mut().for_each(|(_, shown)| shift_value(&mut shown.value, by));
    for evidence in &mut alert.evidence {
        match evidence {
            Evidence::Absence { from, until, .. } => {
                *from = from.saturating_add(by);
                *until = until.saturating_add(by);
            }
            Evidence::Step { events, held, .. } => {
                for event in events {
                    event.ts += by;
                }
                for held in held {
                    shift_value(&mut held.left.value, by);
                    shift_value(&mut held.right.value, by);
                }
            }
        }
    }
}

/// (6) All times moved by so much move the alerts by so much, and nothing else of them.
fn alerts_move_with_time(case: &Case, module: &Module) -> Verdict {
    // A reason may write out a time, and another hour of the day may mean something else.
    let reads_clock = ["hour(", "day("].iter().any(|name| case.text.contains(name));
    // Ids of alerts depend on their time; where rules read them, so does what is read.
    if case.text.contains(".ts}") || module.rules.len() > 1 {
        return Verdict::Silent;
    }
    let weeks = 7 * DAY * (1 + (case.seed % 700) as Micros);
    let by = if reads_clock { weeks } else { weeks + 1_234_567 };
    let mut moved = case.clone();
    moved.events.iter_mut().for_each(|event| event.ts += by);
    let versions = moved.tables.values_mut().flatten().filter(|(from, _)| *from > i64::MIN);
    versions.for_each(|(from, _)| *from += by);
    // A late feed depends on the times themselves.
    let feed = if case.seed.is_multiple_of(2) { Feed::Sorted } else { Feed::Interleaved(case.seed) };
    let run = |case: &Case| run_engine(module, &case.tables, &case.events, end(case), feed).alerts;
    let (mut before, after) = (run(case), run(&moved));
    before.iter_mut().for_each(|alert| shift_alert(alert, by));
    let after = after.into_iter().map(|alert| Alert { id: String::new(), ..alert }).collect::<Vec<_>>();
    same(&whole(&before), &whole(&after))
}

/// Every event has the same place under both rules.
fn same_input(old: &Rule, new: &Rule) -> bool {
    let keys = |rule: &Rule| -> BTreeSet<(usize, Vec<usize>)> {
        rule.steps.iter().map(|step| (step.stream, step.keys.clone())).collect()
    };
    let latches = |rule: &Rule| {
        let terms = rule.steps.iter().flat_map(|step| &step.condition);
        terms.map(|term| term.text.clone()).filter(|text| text.contains("reaches")).collect::<Vec<_>>()
    };
    old.streams == new.streams
        && keys(old) == keys(new)
        && old.keys == new.keys
        && old.overlap == new.overlap
        && old.cooldown_per == new.cooldown_per
        // A cool-down that is over is forgotten, so a longer one finds nothing of it.
        && new.cooldown.unwrap_or(0) <= old.cooldown.unwrap_or(0)
        && latches(old) == latches(new)
        && (latches(old).is_empty() || old.windows == new.windows)
}

/// From when on the new revision knows what its windows hold: all of it where the old one had the same window.
fn known_windows(old: &Rule, new: &Rule, at: Micros) -> Vec<Micros> {
    let same = |a: &Window, b: &Window| {
        (a.stream, a.aggregate, &a.argument, a.span) == (b.stream, b.aggregate, &b.argument, b.span)
            && same_terms(&a.filter, &b.filter)
    };
    let known = |window| old.windows.iter().any(|other| same(window, other));
    new.windows.iter().map(|window| if known(window) { Micros::MIN } else { at }).collect()
}

/// The same of its leading absences: as far back as the old one looked.
fn known_leading(old: &Rule, new: &Rule, at: Micros) -> Vec<Micros> {
    let same = |a: &Absence, b: &Absence| a.streams == b.streams && same_terms(&a.condition, &b.condition);
    let windows = old.windows.len() == new.windows.len()
        && known_windows(old, new, 0).iter().all(|known| *known == Micros::MIN);
    let known = |absence: &Absence| {
        let other = old.leading.iter().find(|other| windows && same(absence, other))?;
        Some(at.saturating_sub(other.duration.as_ref().map_or(0, Bound::longest)))
    };
    new.leading.iter().map(|absence| known(absence).unwrap_or(at)).collect()
}

fn same_terms(a: &Condition, b: &Condition) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.expr == b.expr && a.text == b.text)
}

/// (8) A rule replaced at some instant is the definition with two revisions.
fn a_swap_is_two_revisions(case: &Case, module: &Module) -> Verdict {
    let Some(next) = revised(case, 1).filter(|next| next.text != case.text) else { return Verdict::Silent };
    let Ok(new_module) = compile(&next) else { return Verdict::Silent };
    let ([old], [new]) = (module.rules.as_slice(), new_module.rules.as_slice()) else {
        return Verdict::Silent;
    };
    if !same_input(old, new) {
        return Verdict::Silent;
    }
    let feed = feed(case);
    let order = order(module, &case.events, feed);
    let place = (case.seed >> 3) as usize % (order.len() + 1);
    let mut engine = Engine::new(module, &[], &case.tables, feed);
    let mut at = Micros::MIN;
    for (nth, number) in order.iter().enumerate() {
        if nth == place {
            at = engine.swap(&new_module);
        }
        engine.event(*number, &case.events[*number]);
    }
    if place == order.len() {
        at = engine.swap(&new_module);
    }
    engine.time(end(case) + 1);
    let ran = engine.end();
    let always = (vec![Micros::MIN; old.windows.len()], vec![Micros::MIN; old.leading.len()]);
    let known = (known_windows(old, new, at), known_leading(old, new, at));
    let always: (&[Micros], &[Micros]) = (&always.0, &always.1);
    let known: (&[Micros], &[Micros]) = (&known.0, &known.1);
    let revisions = [
        Revision { module, rule: old, from: Micros::MIN, until: at, known: always },
        Revision { module: &new_module, rule: new, from: at, until: Micros::MAX, known },
    ];
    let outcomes = run_revisions(&revisions, &case.tables, &case.events, end(case));
    let mut expected: Vec<String> = Vec::new();
    let mut got: Vec<String> = Vec::new();
    for (number, outcome) in outcomes.iter().enumerate() {
        let own = case.events.len();
        let lines =
            outcome.firings.iter().map(|firing| format!("{}: {}", number + 1, oracle_line(firing, own, &[])));
        expected.extend(lines);
    }
    got.extend(ran.alerts.iter().map(|alert| format!("{}: {}", alert.revision, engine_line(alert))));
    expected.sort_unstable();
    got.sort_unstable();
    let sum = |count: fn(&Outcome) -> u64| outcomes.iter().map(count).sum::<u64>();
    expected.push(format!("suppressed {} {}", sum(|o| o.suppressed_cooldown), sum(|o| o.suppressed_unless)));
    let (cooldown, unless) = ran.suppressed();
    got.push(format!("suppressed {cooldown} {unless}"));
    match same(&expected, &got) {
        Verdict::Broken(why) => Verdict::Broken(format!("at {at}, place {place}:\n{}\n{why}", next.text)),
        verdict => verdict,
    }
}

/// The longest time for which an event can matter as a step's; none if only arrows bound the rule.
fn horizon(rule: &Rule) -> Option<Micros> {
    let longest = |bound: &Option<Bound>| bound.as_ref().map_or(0, Bound::longest);
    let quiet = rule.steps.iter().map(|step| longest(&step.quiet)).max().unwrap_or(0);
    let trailing = rule.trailing.iter().map(|absence| longest(&absence.duration)).max().unwrap_or(0);
    let single = rule.steps.len() == 1 && rule.steps.iter().all(|step| step.max == Some(1));
    Some(rule.within.or(single.then_some(0))? + quiet.max(trailing))
}

/// (9) After an event of the only key no candidate of it is older than the rule's bound.
fn candidates_are_within_their_bound(case: &Case, module: &Module) -> Verdict {
    let [rule] = module.rules.as_slice() else { return Verdict::Silent };
    let key = if rule.keys.is_empty() { Some(Vec::new()) } else { plain_key(rule) };
    let (Some(horizon), Some(key)) = (horizon(rule), key) else { return Verdict::Silent };
    let read = |event: &Event| key_text(key.iter().map(|field| Value::from_literal(&event.fields[*field])));
    if case.events.iter().map(read).collect::<BTreeSet<_>>().len() > 1 {
        return Verdict::Silent;
    }
    let mut engine = Engine::new(module, &[], &case.tables, Feed::Direct);
    let order = order(module, &case.events, Feed::Direct);
    let mut seen: Vec<Micros> = Vec::new();
    for number in order {
        let event = &case.events[number];
        let wanted = engine.event(number, event);
        let Some(place) = rule.streams.iter().position(|stream| stream.stream == event.stream) else {
            continue;
        };
        let steps = rule.steps.iter().filter(|step| step.stream == place).count();
        seen.extend(std::iter::repeat_n(event.ts, steps));
        let held = engine.stats().iter().map(|(_, stats)| stats.candidates).sum::<u64>();
        let within = seen.iter().filter(|ts| event.ts - **ts <= horizon).count() as u64;
        if wanted && held > within {
            return Verdict::Broken(format!(
                "at event {number}: {held} candidates, {within} events in bound"
            ));
        }
    }
    Verdict::Holds
}

/// (9) A long silence leaves no candidate and no open match.
fn silence_empties_the_state(case: &Case, module: &Module) -> Verdict {
    let mut engine = Engine::new(module, &[], &case.tables, feed(case));
    for number in order(module, &case.events, feed(case)) {
        engine.event(number, &case.events[number]);
    }
    engine.time(end(case) + 30 * DAY);
    engine.time(end(case) + 60 * DAY);
    let held: Vec<String> = engine
        .stats()
        .iter()
        .filter(|(_, stats)| stats.candidates + stats.still_open > 0)
        .map(|(name, stats)| {
            format!("{name} holds {} candidates, {} open", stats.candidates, stats.still_open)
        })
        .collect();
    same(&[], &held)
}
