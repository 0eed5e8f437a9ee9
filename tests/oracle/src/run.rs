//! Keys, moments, overlap, suppression.

use crate::choice::{Choice, choices};
use crate::eval::{AsOf, Line, Slot, View};
use crate::value::Value;
use crate::{Event, Firing, Outcome};
use pattern_dsl::ir::{Condition, Expr, Module, Overlap, ReasonPart, Rule};
use pattern_dsl::types::Literal;
use std::collections::BTreeMap;

/// One event, or one timer with the end event it counts from.
struct Moment {
    time: i64,
    timer: bool,
    end: usize,
}

/// A firing and where it stands among those of all keys.
type Placed = ((i64, bool, usize, usize), Firing);

/// What the rule says about the events: they may be given in any order, time ends at `end`.
///
/// Timers due at `end` or before fire, later ones do not. `lists` by name; a list not given holds the items of its
/// declaration. What comes before a rule sees an event is the caller's: topic filters, duplicates, lateness.
#[must_use]
pub fn run(
    module: &Module,
    rule: &Rule,
    lists: &BTreeMap<String, Vec<Literal>>,
    events: &[Event],
    end: i64,
) -> Outcome {
    let items: Vec<&[Literal]> =
        module.lists.iter().map(|list| lists.get(&list.name).unwrap_or(&list.items).as_slice()).collect();
    let mut keys: Vec<Vec<Literal>> = Vec::new();
    let mut slots: Vec<Vec<Slot<'_>>> = Vec::new();
    for (place, (stream, index)) in in_order(rule, events).into_iter().enumerate() {
        let event = &events[index];
        if !exists(module, rule, &items, &rule.streams[stream].filter, event, stream) {
            continue;
        }
        for (route, (key, by_stream, serves)) in routes(rule, stream, event).into_iter().enumerate() {
            let at = keys.iter().position(|k| *k == key).unwrap_or_else(|| {
                keys.push(key);
                slots.push(Vec::new());
                keys.len() - 1
            });
            slots[at].push(Slot { event, index, place, route, stream, by_stream, serves });
        }
    }
    let mut outcome = Outcome::default();
    let mut placed: Vec<Placed> = Vec::new();
    for (key, slots) in keys.iter().zip(slots) {
        let line = line(module, rule, &items, key, slots);
        run_key(line, end, &mut outcome, &mut placed);
    }
    placed.sort_by_key(|(place, _)| *place);
    outcome.firings = placed.into_iter().map(|(_, firing)| firing).collect();
    outcome
}

/// The events of the rule's streams in the rule's order: rank of the stream, index of the event.
fn in_order(rule: &Rule, events: &[Event]) -> Vec<(usize, usize)> {
    let mut order: Vec<(usize, usize)> = events
        .iter()
        .enumerate()
        .filter_map(|(index, e)| {
            rule.streams.iter().position(|s| s.stream == e.stream).map(|rank| (rank, index))
        })
        .collect();
    order.sort_by_key(|&(rank, index)| {
        let e = &events[index];
        (e.ts, rank, e.partition, e.offset, index)
    });
    order
}

fn line<'a>(
    module: &'a Module,
    rule: &'a Rule,
    lists: &'a [&'a [Literal]],
    key: &'a [Literal],
    slots: Vec<Slot<'a>>,
) -> Line<'a> {
    let latches = latches(rule).iter().map(|(latch, ..)| latch + 1).max().unwrap_or(0);
    let reached = vec![vec![false; slots.len()]; latches];
    Line { module, rule, lists, key, slots, reached }
}

/// `from s where c`: an event that fails c does not exist for the rule.
fn exists(
    module: &Module,
    rule: &Rule,
    lists: &[&[Literal]],
    filter: &Condition,
    event: &Event,
    stream: usize,
) -> bool {
    if filter.is_empty() {
        return true;
    }
    let slot = Slot { event, index: 0, place: 0, route: 0, stream, by_stream: false, serves: Vec::new() };
    let line = Line { module, rule, lists, key: &[], slots: vec![slot], reached: Vec::new() };
    line.holds(filter, View { this: Some(0), taken: &[], own: None, as_of: AsOf::Event(0) })
}

/// The distinct keys of an event (those with no null part), and what it is under each.
fn routes(rule: &Rule, stream: usize, event: &Event) -> Vec<(Vec<Literal>, bool, Vec<bool>)> {
    let key = |fields: &[usize]| -> Option<Vec<Literal>> {
        fields.iter().map(|&f| event.fields.get(f).filter(|v| **v != Literal::Null).cloned()).collect()
    };
    let mut routes: Vec<(Vec<Literal>, bool, Vec<bool>)> = Vec::new();
    let mut add = |key: Vec<Literal>, step: Option<usize>| {
        let at = routes.iter().position(|(k, ..)| *k == key).unwrap_or_else(|| {
            routes.push((key, false, vec![false; rule.steps.len()]));
            routes.len() - 1
        });
        match step {
            Some(step) => routes[at].2[step] = true,
            None => routes[at].1 = true,
        }
    };
    // Without `by` there is one global key.
    let global: Option<&[usize]> = rule.keys.is_empty().then_some(&[]);
    if let Some(key) = rule.streams[stream].keys.as_deref().or(global).and_then(key) {
        add(key, None);
    }
    for (index, step) in rule.steps.iter().enumerate() {
        if step.stream == stream
            && let Some(key) = key(&step.keys)
        {
            add(key, Some(index));
        }
    }
    routes
}

/// Every `reaches` of the only step: number, value, limit.
fn latches(rule: &Rule) -> Vec<(usize, &Expr, &Expr)> {
    let terms = rule.steps.iter().flat_map(|step| &step.condition);
    terms
        .filter_map(|term| match &term.expr {
            Expr::Reaches(latch, value, limit) => Some((*latch, &**value, &**limit)),
            _ => None,
        })
        .collect()
}

fn run_key(mut line: Line<'_>, end: i64, outcome: &mut Outcome, placed: &mut Vec<Placed>) {
    let rule = line.rule;
    let latches = latches(rule);
    let mut open = vec![true; line.reached.len()];
    let (mut unused, mut begun): (usize, Vec<usize>) = (0, Vec::new());
    let mut last_sent: Option<i64> = None;

    for moment in moments(&line, end) {
        if !moment.timer && line.slots[moment.end].serves[0] {
            let at = moment.end;
            for &(latch, value, limit) in &latches {
                let view = View { this: Some(at), taken: &[], own: Some(0), as_of: AsOf::Event(at) };
                let holds = line.look(value, limit, &mut open[latch], at, view);
                line.reached[latch][at] = holds;
            }
        }
        if !moment.timer && !rule.trailing.is_empty() {
            continue;
        }
        let as_of = if moment.timer { AsOf::Time(moment.time) } else { AsOf::Event(moment.end) };
        let mut complete = choices(&line, unused, moment.end);
        complete.retain(|choice| line.holds(&rule.having, after(choice, as_of)));
        let mut fired: Vec<Choice> = Vec::new();
        loop {
            // What `overlap` allows now.
            complete.retain(|choice| match rule.overlap {
                Overlap::None => choice[0][0] >= unused,
                Overlap::PerStart => !begun.contains(&choice[0][0]),
                Overlap::PerEnd => fired.is_empty(),
                Overlap::All => !fired.contains(choice),
            });
            let silenced =
                |choice: &Choice| !rule.unless.is_empty() && line.holds(&rule.unless, after(choice, as_of));
            let Some(earliest) = complete.iter().find(|choice| !silenced(choice)).cloned() else {
                if fired.is_empty() && !complete.is_empty() {
                    outcome.suppressed_unless += 1;
                }
                break;
            };
            match rule.overlap {
                Overlap::None => unused = moment.end + 1,
                Overlap::PerStart => begun.push(earliest[0][0]),
                Overlap::PerEnd | Overlap::All => {}
            }
            open.fill(false);
            let held_back =
                rule.cooldown.zip(last_sent).is_some_and(|(d, last)| moment.time.saturating_sub(last) < d);
            if held_back {
                outcome.suppressed_cooldown += 1;
            } else {
                last_sent = Some(moment.time);
                let slot = &line.slots[moment.end];
                let place = (moment.time, moment.timer, slot.place, slot.route);
                placed.push((place, firing(&line, &moment, &earliest, as_of)));
            }
            fired.push(earliest);
        }
    }
}

/// The key's moments in order.
fn moments(line: &Line<'_>, end: i64) -> Vec<Moment> {
    let mut moments: Vec<Moment> =
        (0..line.slots.len()).map(|p| Moment { time: line.ts(p), timer: false, end: p }).collect();
    // Trailing absences end together: at the latest of their ends.
    if let Some(wait) = line.rule.trailing.iter().filter_map(|absence| absence.duration).max() {
        for p in 0..line.slots.len() {
            let due = line.ts(p).saturating_add(wait);
            if due <= end {
                moments.push(Moment { time: due, timer: true, end: p });
            }
        }
    }
    moments.sort_by_key(|m| (m.time, m.timer, m.end));
    moments
}

/// What the clauses after `match` see.
fn after(choice: &Choice, as_of: AsOf) -> View<'_> {
    View { this: None, taken: choice, own: None, as_of }
}

fn firing(line: &Line<'_>, moment: &Moment, choice: &Choice, as_of: AsOf) -> Firing {
    let (rule, view) = (line.rule, after(choice, as_of));
    let severity = match rule.severity.as_ref().map_or(Value::Null, |e| line.eval(e, view)) {
        Value::Text(word) => word.into_owned(),
        _ => "medium".to_owned(),
    };
    let score = match rule.score.as_ref().map_or(Value::Null, |e| line.eval(e, view)) {
        Value::Null => Literal::Int(match severity.as_str() {
            "info" => 10,
            "low" => 25,
            "high" => 75,
            "critical" => 100,
            _ => 50,
        }),
        score => score.literal(),
    };
    let reason = rule.reason.iter().map(|part| match part {
        ReasonPart::Text(text) => text.clone(),
        ReasonPart::Value(expr) => line.eval(expr, view).text(),
    });
    Firing {
        rule: rule.name.clone(),
        key: line.key.to_vec(),
        fired_by_timer: moment.timer,
        time: moment.time,
        steps: choice.iter().map(|taken| taken.iter().map(|&p| line.slots[p].index).collect()).collect(),
        reason: (!rule.reason.is_empty()).then(|| reason.collect()),
        severity: Literal::String(severity),
        score,
        fields: rule.emit.iter().map(|(name, e)| (name.clone(), line.eval(e, view).literal())).collect(),
    }
}
