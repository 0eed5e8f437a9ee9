//! Keys, moments, overlap, suppression.

use crate::choice::{Choice, Taken, choices, order, timeout};
use crate::eval::{AsOf, Line, Slot, Versions, View};
use crate::value::{Value, compare, same};
use crate::{Event, FiredBy, Firing, Outcome, Tables};
use pattern_dsl::ir::{Condition, Expr, Mode, Module, Overlap, ReasonPart, Rule, UnitKind};
use pattern_dsl::types::Literal;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// A time, whether a timer rings (after the events of that time), and the event it is or counts from.
type Moment = (i64, bool, usize);

/// A firing and where it stands among those of all keys.
type Placed = ((i64, bool, usize, usize), Firing);

/// What the rule says about the events: they may be given in any order, time ends at `end`.
///
/// Timers due at `end` or before fire, later ones do not. What comes before a rule sees an event is the caller's: topic
/// filters, duplicates, lateness. Alerts of other rules are not read: see [`run_all`].
#[must_use]
pub fn run(module: &Module, rule: &Rule, tables: &Tables, events: &[Event], end: i64) -> Outcome {
    let (windows, leading) = (vec![i64::MIN; rule.windows.len()], vec![i64::MIN; rule.leading.len()]);
    let only = Revision { module, rule, from: i64::MIN, until: i64::MAX, known: (&windows, &leading) };
    run_revisions(&[only], tables, events, end).pop().unwrap_or_default()
}

/// A rule as it stands for first events of some time.
#[derive(Debug, Clone, Copy)]
pub struct Revision<'a> {
    /// Where its tables are.
    pub module: &'a Module,
    /// The rule.
    pub rule: &'a Rule,
    /// It accepts first events from this time on.
    pub from: i64,
    /// It accepts first events before this time.
    pub until: i64,
    /// From when on the past is known to it: by window, and by leading absence.
    pub known: (&'a [i64], &'a [i64]),
}

/// What the revisions of one rule say, by revision, in the order in which they follow each other: all see every event, and
/// what one uses up or sends counts for all.
///
/// They must name the same streams in the same order, with the same keys and filters; latches must be the same.
#[must_use]
pub fn run_revisions(
    revisions: &[Revision<'_>],
    tables: &Tables,
    events: &[Event],
    end: i64,
) -> Vec<Outcome> {
    let versions: Vec<Vec<Versions<'_>>> =
        revisions.iter().map(|revision| versions(revision.module, tables)).collect();
    let mut keys: Vec<Vec<Literal>> = Vec::new();
    let mut slots: Vec<Vec<Vec<Slot<'_>>>> = Vec::new();
    for (number, (revision, versions)) in revisions.iter().zip(&versions).enumerate() {
        let lines = slots_by_key(*revision, versions, events, &mut keys);
        slots.resize_with(keys.len(), || revisions.iter().map(|_| Vec::new()).collect());
        for (key, line) in lines.into_iter().enumerate() {
            slots[key][number] = line;
        }
    }
    let mut outcomes = vec![Outcome::default(); revisions.len()];
    let mut placed: Vec<Vec<Placed>> = vec![Vec::new(); revisions.len()];
    for (key, slots) in keys.iter().zip(slots) {
        let lines = revisions.iter().zip(&versions).zip(slots).map(|((revision, versions), slots)| {
            let rule = revision.rule;
            let latches = latches(rule).iter().map(|(latch, ..)| latch + 1).max().unwrap_or(0);
            let reached = vec![vec![false; slots.len()]; latches];
            let known = (revision.known.0.to_vec(), revision.known.1.to_vec());
            Line { module: revision.module, rule, tables: versions, key, slots, reached, known }
        });
        run_key(lines.collect(), revisions, end, &mut outcomes, &mut placed);
    }
    for (outcome, mut placed) in outcomes.iter_mut().zip(placed) {
        placed.sort_by_key(|(place, _)| *place);
        outcome.firings = placed.into_iter().map(|(_, firing)| firing).collect();
    }
    outcomes
}

/// The events as each key of the rule sees them; adds keys that are new.
fn slots_by_key<'a>(
    revision: Revision<'a>,
    versions: &'a [Versions<'a>],
    events: &'a [Event],
    keys: &mut Vec<Vec<Literal>>,
) -> Vec<Vec<Slot<'a>>> {
    let Revision { module, rule, .. } = revision;
    let mut slots: Vec<Vec<Slot<'a>>> = keys.iter().map(|_| Vec::new()).collect();
    for (place, (stream, index)) in in_order(module, rule, events).into_iter().enumerate() {
        let event = &events[index];
        if !exists(module, rule, versions, &rule.streams[stream].filter, event, stream) {
            continue;
        }
        for (route, (key, by_stream, serves)) in routes(rule, stream, event).into_iter().enumerate() {
            let at = keys.iter().position(|k| same_all(k, &key)).unwrap_or_else(|| {
                keys.push(key);
                slots.push(Vec::new());
                keys.len() - 1
            });
            slots[at].push(Slot { event, index, place, route, stream, by_stream, serves });
        }
    }
    slots
}

/// What all rules of the module say, with alerts as events of the stream `alert`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Everything {
    /// By rule of the module.
    pub outcomes: Vec<Outcome>,
    /// Alerts as events. The steps of a firing count them after the events given.
    pub derived: Vec<Event>,
}

/// Runs every rule of the module (but those that are off), rules that read alerts after the rules they read.
///
/// `id_of` names the id of an alert: derived events of one time are in the order of rule, key, id, and a rule may read
/// the id. The oracle has no ids of its own, so that it can be given those of an engine. It is told the derived events so
/// far.
pub fn run_all(
    module: &Module,
    tables: &Tables,
    events: &[Event],
    end: i64,
    id_of: &dyn Fn(&Firing, &[Event]) -> String,
) -> Everything {
    let strata = strata(module);
    let mut all = Everything { outcomes: vec![Outcome::default(); module.rules.len()], derived: Vec::new() };
    // By derived event: the rule, and the key.
    let mut origins: Vec<(usize, Vec<Literal>)> = Vec::new();
    let stream = module.streams.iter().position(|stream| stream.name == "alert");
    for stratum in 0..=strata.iter().copied().max().unwrap_or(0) {
        for (index, rule) in module.rules.iter().enumerate() {
            if strata[index] != stratum || rule.mode == Mode::Off {
                continue;
            }
            let reads = |from: usize| match &rule.reads_alerts {
                None => false,
                Some(names) if names.is_empty() => strata[from] == 0,
                Some(names) => names.contains(&module.rules[from].name),
            };
            let mut read: Vec<usize> = (0..origins.len()).filter(|&d| reads(origins[d].0)).collect();
            read.sort_by(|&a, &b| {
                let name = |d: usize| &module.rules[origins[d].0].name;
                let ids = all.derived[a].id.cmp(&all.derived[b].id);
                name(a).cmp(name(b)).then_with(|| by_key(&origins[a].1, &origins[b].1)).then(ids)
            });
            let mut seen = events.to_vec();
            for (offset, &derived) in read.iter().enumerate() {
                seen.push(Event { offset: offset as u64, ..all.derived[derived].clone() });
            }
            let mut outcome = run(module, rule, tables, &seen, end);
            for event in outcome.firings.iter_mut().flat_map(|firing| firing.steps.iter_mut().flatten()) {
                if let Some(place) = event.checked_sub(events.len()) {
                    *event = events.len() + read[place];
                }
            }
            all.outcomes[index] = outcome;
        }
        let Some(stream) = stream else { continue };
        for (index, rule) in module.rules.iter().enumerate().filter(|(index, _)| strata[*index] == stratum) {
            for firing in &all.outcomes[index].firings {
                origins.push((index, firing.key.clone()));
                let id = id_of(firing, &all.derived);
                all.derived.push(derived(module, stream, rule, firing, id));
            }
        }
    }
    all
}

fn by_key(a: &[Literal], b: &[Literal]) -> Ordering {
    let parts = a.iter().zip(b).map(|(a, b)| compare(&Value::of(a), &Value::of(b)));
    parts.flatten().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// How far each rule is from those that read no alerts.
fn strata(module: &Module) -> Vec<usize> {
    let mut strata = vec![0; module.rules.len()];
    // Reading goes one way (E361), so as many rounds as rules are enough.
    for _ in 0..module.rules.len() {
        for (index, rule) in module.rules.iter().enumerate() {
            if let Some(names) = &rule.reads_alerts {
                let named = module.rules.iter().zip(&strata).filter(|(other, _)| names.contains(&other.name));
                strata[index] = 1 + named.map(|(_, stratum)| *stratum).max().unwrap_or(0);
            }
        }
    }
    strata
}

/// An alert as an event of the stream `alert`.
fn derived(module: &Module, stream: usize, rule: &Rule, firing: &Firing, id: String) -> Event {
    let of = |pairs: &[(String, Literal)], path: &[String]| {
        let mut found = pairs.iter().find(|(name, _)| Some(name) == path.first()).map(|(_, value)| value);
        for name in path.iter().skip(1) {
            found = match found {
                Some(Literal::Object(inside)) => inside.iter().find(|(n, _)| n == name).map(|(_, v)| v),
                _ => None,
            };
        }
        found.cloned().unwrap_or(Literal::Null)
    };
    let keys: Vec<(String, Literal)> =
        rule.keys.iter().map(|key| key.name.clone()).zip(firing.key.iter().cloned()).collect();
    let mode = if rule.mode == Mode::Shadow { "shadow" } else { "live" };
    let fields = module.streams[stream].fields.iter().map(|field| {
        let value = match field.path.first().map(String::as_str) {
            Some("rule") => Literal::String(rule.name.clone()),
            Some("severity") => firing.severity.clone(),
            Some("score") => firing.score.clone(),
            Some("mode") => Literal::String(mode.to_owned()),
            Some("keys") => of(&keys, &field.path[1..]),
            Some("data") => of(&firing.fields, &field.path[1..]),
            _ => Literal::Null,
        };
        crate::value::as_type(value, &field.ty)
    });
    Event { stream, ts: firing.time, partition: 0, offset: 0, id: Some(id), fields: fields.collect() }
}

/// The events of the rule's streams in the rule's order: rank of the stream, index of the event.
fn in_order(module: &Module, rule: &Rule, events: &[Event]) -> Vec<(usize, usize)> {
    let mut order: Vec<(usize, usize)> = events
        .iter()
        .enumerate()
        .filter_map(|(index, e)| {
            rule.streams.iter().position(|s| s.stream == e.stream).map(|rank| (rank, index))
        })
        .collect();
    order.sort_by_key(|&(rank, index)| {
        let e = &events[index];
        // Alerts of a time come after all else of that time.
        let alert = module.streams[e.stream].name == "alert";
        (e.ts, alert, rank, e.partition, e.offset, index)
    });
    order
}

/// For each table its versions: from when, what it holds. What the declaration says holds before all of them.
fn versions<'a>(module: &'a Module, tables: &'a Tables) -> Vec<Versions<'a>> {
    let of = |table: &'a pattern_dsl::ir::Table| {
        let mut versions = vec![(i64::MIN, &table.content)];
        versions
            .extend(tables.get(&table.name).into_iter().flatten().map(|(from, content)| (*from, content)));
        versions.sort_by_key(|(from, _)| *from);
        versions
    };
    module.tables.iter().map(of).collect()
}

/// `from s where c`: an event that fails c does not exist for the rule.
fn exists(
    module: &Module,
    rule: &Rule,
    tables: &[Versions<'_>],
    filter: &Condition,
    event: &Event,
    stream: usize,
) -> bool {
    if filter.is_empty() {
        return true;
    }
    let slot = Slot { event, index: 0, place: 0, route: 0, stream, by_stream: false, serves: Vec::new() };
    let known = (vec![i64::MIN; rule.windows.len()], Vec::new());
    let line = Line { module, rule, tables, key: &[], slots: vec![slot], reached: Vec::new(), known };
    let view = View { this: Some(0), taken: &[], own: None, as_of: AsOf::Event(0), tables_at: None };
    line.holds(filter, view)
}

fn same_all(a: &[Literal], b: &[Literal]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y))
}

/// The distinct keys of an event (those with no null part), and what it is under each.
fn routes(rule: &Rule, stream: usize, event: &Event) -> Vec<(Vec<Literal>, bool, Vec<bool>)> {
    let key = |fields: &[usize]| -> Option<Vec<Literal>> {
        fields.iter().map(|&f| event.fields.get(f).filter(|v| **v != Literal::Null).cloned()).collect()
    };
    let mut routes: Vec<(Vec<Literal>, bool, Vec<bool>)> = Vec::new();
    let mut add = |key: Vec<Literal>, step: Option<usize>| {
        let at = routes.iter().position(|(k, ..)| same_all(k, &key)).unwrap_or_else(|| {
            routes.push((key, false, vec![false; rule.steps.len()]));
            routes.len() - 1
        });
        match step {
            Some(step) => routes[at].2[step] = true,
            None => routes[at].1 = true,
        }
    };
    for (index, step) in rule.steps.iter().enumerate() {
        if step.stream == stream
            && let Some(key) = key(&step.keys)
        {
            add(key, Some(index));
        }
    }
    // Without `by` there is one global key.
    let global: Option<&[usize]> = rule.keys.is_empty().then_some(&[]);
    if let Some(key) = rule.streams[stream].keys.as_deref().or(global).and_then(key) {
        add(key, None);
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

/// The moments of one key.
struct KeyRun<'l, 'a> {
    /// By revision.
    lines: Vec<Line<'a>>,
    open: Vec<bool>,
    /// Events before this position are used up.
    unused: usize,
    /// First events of alerts, sent or not.
    begun: BTreeSet<usize>,
    /// When an alert was last sent, by the values of `cooldown .. per`.
    sent: Vec<(Vec<Literal>, i64)>,
    outcomes: &'l mut [Outcome],
    placed: &'l mut [Vec<Placed>],
}

fn run_key(
    lines: Vec<Line<'_>>,
    revisions: &[Revision<'_>],
    end: i64,
    outcomes: &mut [Outcome],
    placed: &mut [Vec<Placed>],
) {
    let mut moments: BTreeMap<(Moment, usize), Vec<Choice>> = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        moments.extend((0..line.slots.len()).map(|p| (((line.ts(p), false, p), number), Vec::new())));
    }
    let open = vec![true; lines.iter().map(|line| line.reached.len()).max().unwrap_or(0)];
    let (begun, sent) = (BTreeSet::new(), Vec::new());
    let mut key = KeyRun { lines, open, unused: 0, begun, sent, outcomes, placed };
    while let Some(((moment, number), mut complete)) = moments.pop_first() {
        let (time, timer, at) = moment;
        let Revision { rule, from, until, .. } = revisions[number];
        if timer && rule.timeout.is_some() {
            key.time_out(number, moment);
            continue;
        }
        if !timer {
            // Latches are the same in all revisions, and look at an event once.
            if number == 0 && key.lines[number].slots[at].serves[0] {
                key.look(&latches(rule), at);
            }
            let accepts = from <= time && time < until;
            let beginning = accepts.then(|| choices(&key.lines[number], at)).into_iter().flatten();
            for choice in beginning {
                let completed = match choice.due {
                    None => (key.lines[number].ts(choice.last), false, choice.last),
                    Some(due) => (due, true, choice.last),
                };
                if completed == moment {
                    complete.push(choice);
                } else if completed.0 <= end {
                    moments.entry((completed, number)).or_default().push(choice);
                }
            }
            if let (Some(within), Some(_), true) = (rule.within, &rule.timeout, accepts)
                && time.saturating_add(within) <= end
            {
                moments.insert(((time.saturating_add(within), true, at), number), Vec::new());
            }
        }
        key.fire(number, moment, complete);
    }
}

impl<'a> KeyRun<'_, 'a> {
    /// Looks at every `reaches` for the event at `at`.
    fn look(&mut self, latches: &[(usize, &'a Expr, &'a Expr)], at: usize) {
        for &(latch, value, limit) in latches {
            let view =
                View { this: Some(at), taken: &[], own: Some(0), as_of: AsOf::Event(at), tables_at: None };
            let holds = self.lines[0].look(value, limit, &mut self.open[latch], at, view);
            for line in &mut self.lines {
                line.reached[latch][at] = holds;
            }
        }
    }

    /// One moment: what is complete, what of it `overlap` allows, what of that is sent.
    fn fire(&mut self, number: usize, moment: Moment, mut complete: Vec<Choice>) {
        let rule = self.lines[number].rule;
        let as_of = if moment.1 { AsOf::Time(moment.0) } else { AsOf::Event(moment.2) };
        complete.retain(|choice| self.lines[number].holds(&rule.having, after(&choice.taken, as_of)));
        complete.sort_by_cached_key(|choice| {
            // `per start`: one alert for each first event, in their order.
            let first = if rule.overlap == Overlap::PerStart { first_of(&choice.taken) } else { 0 };
            (first, order(rule, &choice.taken))
        });
        // An event that fits two members of a `one of` is one choice: the first member that works.
        if rule.units.iter().any(|unit| unit.kind == UnitKind::One) {
            complete.dedup_by_key(|choice| order(rule, &choice.taken));
        }
        let silenced: Vec<bool> =
            complete.iter().map(|choice| self.silenced(number, &choice.taken, as_of)).collect();
        let mut fired = vec![false; complete.len()];
        loop {
            let any_fired = fired.contains(&true);
            let allowed = |at: &usize| {
                let first = first_of(&complete[*at].taken);
                match rule.overlap {
                    Overlap::None | Overlap::From(_) | Overlap::FromLast(_) => first >= self.unused,
                    Overlap::PerStart => !self.begun.contains(&first),
                    Overlap::PerEnd => !any_fired,
                    Overlap::All => !fired[*at],
                }
            };
            let Some(at) = (0..complete.len()).find(|at| !silenced[*at] && allowed(at)) else {
                if !any_fired && (0..complete.len()).any(|at| allowed(&at)) {
                    self.outcomes[number].suppressed_unless += 1;
                }
                break;
            };
            let earliest = &complete[at];
            fired[at] = true;
            let used = match rule.overlap {
                Overlap::None => Some(moment.2 + 1),
                Overlap::From(step) => begun_in(rule, step, &earliest.taken).first().copied(),
                Overlap::FromLast(step) => begun_in(rule, step, &earliest.taken).last().copied(),
                Overlap::PerStart | Overlap::PerEnd | Overlap::All => None,
            };
            self.unused = self.unused.max(used.unwrap_or(0));
            self.begun.insert(first_of(&earliest.taken));
            self.open.fill(false);
            if self.cools_down(number, moment.0, after(&earliest.taken, as_of)) {
                self.outcomes[number].suppressed_cooldown += 1;
            } else {
                let by = if moment.1 { FiredBy::Timer } else { FiredBy::Event };
                self.send(number, moment, by, &earliest.taken, as_of);
            }
        }
    }

    /// `on timeout` of the first event at `moment.2`.
    fn time_out(&mut self, number: usize, moment: Moment) {
        let first = moment.2;
        if first < self.unused || self.begun.contains(&first) {
            return;
        }
        let Some(taken) = timeout(&self.lines[number], first) else { return };
        let as_of = AsOf::Time(moment.0);
        if self.silenced(number, &taken, as_of) {
            self.outcomes[number].suppressed_unless += 1;
        } else {
            self.send(number, moment, FiredBy::Timeout, &taken, as_of);
        }
    }

    fn silenced(&self, number: usize, taken: &Taken, as_of: AsOf) -> bool {
        let line = &self.lines[number];
        !line.rule.unless.is_empty() && line.holds(&line.rule.unless, after(taken, as_of))
    }

    /// `cooldown`: less than its time has passed since the last alert that was sent for the same values; else this one
    /// counts as sent.
    fn cools_down(&mut self, number: usize, time: i64, view: View<'_>) -> bool {
        let line = &self.lines[number];
        let Some(cooldown) = line.rule.cooldown else { return false };
        let per: Vec<Literal> = line.rule.cooldown_per.iter().map(|e| line.eval(e, view).literal()).collect();
        match self.sent.iter_mut().find(|(values, _)| same_all(values, &per)) {
            Some((_, last)) if time.saturating_sub(*last) < cooldown => return true,
            Some((_, last)) => *last = time,
            None => self.sent.push((per, time)),
        }
        false
    }

    fn send(&mut self, number: usize, moment: Moment, by: FiredBy, taken: &Taken, as_of: AsOf) {
        let line = &self.lines[number];
        let slot = &line.slots[moment.2];
        let place = (moment.0, moment.1, slot.place, slot.route);
        let firing = firing(line, moment.0, by, taken, as_of);
        self.placed[number].push((place, firing));
    }
}

/// The choice's first event.
fn first_of(taken: &Taken) -> usize {
    taken.iter().filter_map(|taken| taken.first()).min().copied().unwrap_or(0)
}

/// What the step took; of a `one of`, for which its first member stands, the member that began.
fn begun_in<'t>(rule: &Rule, step: usize, taken: &'t Taken) -> &'t [usize] {
    let unit = &rule.units[rule.unit_of(step)];
    let steps = if unit.kind == UnitKind::One { unit.steps.clone() } else { step..step + 1 };
    steps.map(|step| taken[step].as_slice()).find(|taken| !taken.is_empty()).unwrap_or(&[])
}

/// What the clauses after `match` see.
fn after(taken: &Taken, as_of: AsOf) -> View<'_> {
    View { this: None, taken, own: None, as_of, tables_at: None }
}

fn firing(line: &Line<'_>, time: i64, fired_by: FiredBy, taken: &Taken, as_of: AsOf) -> Firing {
    let (rule, view) = (line.rule, after(taken, as_of));
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
    let emit = match (&rule.timeout, fired_by) {
        (Some(emit), FiredBy::Timeout) => emit,
        _ => &rule.emit,
    };
    Firing {
        rule: rule.name.clone(),
        key: line.key.to_vec(),
        fired_by,
        time,
        steps: taken.iter().map(|taken| taken.iter().map(|&p| line.slots[p].index).collect()).collect(),
        reason: (!rule.reason.is_empty()).then(|| reason.collect()),
        severity: Literal::String(severity),
        score,
        fields: emit.iter().map(|(name, e)| (name.clone(), line.eval(e, view).literal())).collect(),
    }
}
