//! Rules that read alerts: an alert of time t is an event of time t, after all other events of t.
//!
//! Rules stand in strata: 0 reads no alerts, another reads those of lower ones. At each time stratum 0 sees its events and
//! rings its timers, then stratum 1 sees the events of that time and the alerts of stratum 0, and so on. Readers are
//! always merged; what they read may be evaluated as it comes, since the merged time never passes a partition's.
//! INVARIANT: when time t is processed, every alert of a lower stratum with a time up to t is known.

use crate::advance::RuleRun;
use crate::alert::{ALERTS, Alert, Shown};
use crate::event::{Event, EventHead, EventRef, Layout, PartitionId};
use crate::index::Wanted;
use crate::interface::Outputs;
use crate::predicate::Around;
use crate::task::{Place, Task};
use crate::text::Text;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::{Mode, Rule};
use pattern_dsl::types::{Micros, Type};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// An alert as an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Derived {
    rule: ArcStr,
    key: Vec<Value>,
    /// Its rule reads no alerts.
    first_stratum: bool,
    pub(crate) event: Event,
}

/// Who reads whose alerts, and the alerts that their readers have not yet seen.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Some active rule reads alerts.
    pub(crate) active: bool,
    /// By rule.
    strata: Vec<u32>,
    /// By rule: some other rule reads its alerts.
    read: Vec<bool>,
    /// By their time.
    pub(crate) pending: BTreeMap<Micros, Vec<Derived>>,
}

impl Chain {
    /// Looks anew at who reads whom.
    pub(crate) fn arrange(&mut self, rules: &[RuleRun]) {
        self.active = rules.iter().any(|run| run.program.rule.reads_alerts.is_some());
        if !self.active {
            self.pending.clear();
        }
        self.strata = vec![0; rules.len()];
        self.read = vec![false; rules.len()];
        if !self.active {
            return;
        }
        let readers = || rules.iter().filter_map(|run| run.program.rule.reads_alerts.as_ref());
        // Reading goes one way (the language refuses circles), so as many rounds as rules are enough.
        for _ in 0..rules.len() {
            let mut by_name: BTreeMap<&str, u32> = BTreeMap::new();
            for (run, stratum) in rules.iter().zip(&self.strata) {
                let known = by_name.entry(&run.program.name).or_default();
                *known = (*known).max(*stratum);
            }
            let mut changed = false;
            for (run, stratum) in rules.iter().zip(&mut self.strata) {
                let Some(names) = &run.program.rule.reads_alerts else { continue };
                let above =
                    1 + names.iter().filter_map(|name| by_name.get(name.as_str())).max().unwrap_or(&0);
                changed |= *stratum != above;
                *stratum = above;
            }
            if !changed {
                break;
            }
        }
        let named: BTreeSet<&str> = readers().flatten().map(String::as_str).collect();
        let unnamed = readers().any(Vec::is_empty);
        for (run, read) in rules.iter().zip(&mut self.read) {
            let plain = run.program.rule.reads_alerts.is_none();
            *read = (unnamed && plain) || named.contains(run.program.name.as_str());
        }
    }

    /// The rule's alerts are wanted as events.
    pub(crate) fn is_read(&self, rule: usize) -> bool {
        self.read.get(rule) == Some(&true)
    }

    fn stratum(&self, rule: usize) -> u32 {
        self.strata.get(rule).copied().unwrap_or(0)
    }

    /// Keeps an alert for its readers, with the fields that they read.
    fn derive(&mut self, alert: &Alert, first_stratum: bool, layout: &Layout) -> Option<&Derived> {
        let stream = layout.streams.iter().position(|stream| stream.name == ALERTS)?;
        let wanted = &layout.streams.get(stream)?.fields;
        let head = EventHead {
            stream: stream as u32,
            ts: alert.time,
            partition: PartitionId::MAX,
            offset: 0,
            id: Some(alert.id.as_str().into()),
        };
        let slots = wanted.iter().map(|field| as_type(read(alert, &field.path), &field.ty)).collect();
        let event = Event::new(head, slots);
        let pending = self.pending.entry(alert.time).or_default();
        pending.push(Derived {
            rule: alert.rule.clone(),
            key: alert.keys.iter().map(|(_, shown)| shown.value.clone()).collect(),
            first_stratum,
            event,
        });
        pending.last()
    }
}

/// The rule reads the alerts of another.
pub(crate) fn reads(reader: &Rule, alert: &Derived) -> bool {
    match &reader.reads_alerts {
        None => false,
        Some(names) if names.is_empty() => alert.first_stratum,
        Some(names) => names.iter().any(|name| *name == alert.rule.as_str()),
    }
}

/// A field of an alert as an event.
fn read(alert: &Alert, path: &[String]) -> Value {
    let (first, rest) = path.split_first().map_or(("", path), |(first, rest)| (first.as_str(), rest));
    match first {
        "rule" => Value::String(alert.rule.clone().into()),
        "severity" => alert.severity.value.clone(),
        "score" => alert.score.value.clone(),
        "mode" => Value::String(Text::from(match alert.mode {
            Mode::Shadow => "shadow",
            Mode::Live | Mode::Off => "live",
        })),
        "keys" => shown(&alert.keys, rest),
        "data" => shown(&alert.fields, rest),
        _ => Value::Null,
    }
}

fn shown(pairs: &[(ArcStr, Shown)], path: &[String]) -> Value {
    let Some((name, rest)) = path.split_first() else { return Value::Null };
    match pairs.iter().find(|(known, _)| known == name).map(|(_, shown)| &shown.value) {
        Some(Value::Object(inside)) if !rest.is_empty() => named(inside, rest),
        Some(value) if rest.is_empty() => value.clone(),
        _ => Value::Null,
    }
}

fn named(pairs: &[(ArcStr, Value)], path: &[String]) -> Value {
    let Some((name, rest)) = path.split_first() else { return Value::Null };
    match pairs.iter().find(|(known, _)| known == name) {
        Some((_, Value::Object(inside))) if !rest.is_empty() => named(inside, rest),
        Some((_, value)) if rest.is_empty() => value.clone(),
        _ => Value::Null,
    }
}

/// Rules may give one field in several types of number.
fn as_type(value: Value, ty: &Type) -> Value {
    match ty {
        Type::Decimal => value.as_decimal().map(Value::decimal),
        Type::Float => value.as_f64().map(Value::Float),
        _ => None,
    }
    .unwrap_or(value)
}

pub(crate) fn in_order(a: &Derived, b: &Derived) -> Ordering {
    let keys = a.key.iter().zip(&b.key).filter_map(|(a, b)| a.compare(b));
    let by_key = keys.fold(Ordering::Equal, Ordering::then);
    a.rule.as_str().cmp(&b.rule).then(by_key).then_with(|| a.event.id.cmp(&b.event.id))
}

impl Task {
    /// The alerts from place `before` on are of this rule: they become events, if somebody reads them.
    pub(crate) fn derive(&mut self, rule: usize, before: usize, out: &mut Outputs) {
        if !self.chain.is_read(rule) || before == out.alerts.len() {
            return;
        }
        let first_stratum = self.chain.stratum(rule) == 0;
        for alert in out.alerts.get(before..).unwrap_or_default() {
            let derived = self.chain.derive(alert, first_stratum, &self.layout);
            if let (Some(history), Some(derived)) = (&mut self.history, derived) {
                history.alerts.push(derived.clone());
            }
        }
        if self.options.count_only {
            out.alerts.truncate(before);
        }
    }

    /// Releases every instant before `watermark` to the merged rules, stratum by stratum, with their timers.
    pub(crate) fn release_strata(&mut self, watermark: Micros, out: &mut Outputs) {
        // Of a partition that nobody waits for, too, no event before the watermark is taken any more.
        if self.agenda.earliest() < watermark {
            self.ring_direct(watermark.saturating_sub(1), out);
        }
        loop {
            let alerts = self.chain.pending.first_key_value().map(|(time, _)| *time);
            let events = self.clock.first();
            let known = alerts.into_iter().chain(events).min().filter(|time| *time < watermark);
            let rings = self.merged_due(known.unwrap_or(watermark));
            let Some(time) = rings.or(known) else { break };
            let events = self.clock.pop(time.saturating_add(1)).map_or_else(Vec::new, |(_, events)| events);
            self.strata_at(time, &events, out);
        }
        self.clock.released = self.clock.released.max(watermark);
    }

    /// The earliest timer of a merged rule before `until`. Sweeps if something is due before that.
    fn merged_due(&mut self, until: Micros) -> Option<Micros> {
        if !self.is_due(None, until.saturating_sub(1)) {
            return None;
        }
        let merged = || self.direct.iter().enumerate().filter(|(_, place)| place.is_none());
        let timers = merged().filter_map(|(rule, _)| self.rules.get(rule)?.next_timer()).map(|(due, _)| due);
        if let Some(first) = timers.min().filter(|first| *first < until) {
            return Some(first);
        }
        for rule in 0..self.rules.len() {
            if self.direct.get(rule) == Some(&None) {
                self.sweep(rule, until.saturating_sub(1));
            }
        }
        None
    }

    /// All that happens at one time: the events given, the alerts that are pending, and timers.
    fn strata_at(&mut self, time: Micros, events: &[Event], out: &mut Outputs) {
        let mut places = self.places(events);
        let mut derived: Vec<Derived> = Vec::new();
        let top = self.chain.strata.iter().copied().max().unwrap_or(0);
        for stratum in 0..=top {
            derived.extend(self.chain.pending.remove(&time).unwrap_or_default());
            derived.sort_by(in_order);
            let (now, later): (Vec<Place>, Vec<Place>) =
                places.into_iter().partition(|place| self.chain.stratum(place.rule as usize) == stratum);
            places = later;
            let mut now = now;
            if stratum > 0 {
                self.derived_places(stratum, events.len(), &derived, &mut now);
            }
            let seen: Vec<Event> =
                events.iter().cloned().chain(derived.iter().map(|alert| alert.event.clone())).collect();
            self.run_places(now, &seen, out);
            self.ring_stratum(stratum, time, out);
        }
        self.chain.pending.remove(&time);
    }

    /// Adds the places of alerts in the order of the rules that read them: after all events.
    fn derived_places(&mut self, stratum: u32, base: usize, derived: &[Derived], places: &mut Vec<Place>) {
        let mut wanted = std::mem::take(&mut self.wanted);
        for (number, alert) in derived.iter().enumerate() {
            let view: EventRef<'_> = alert.event.view();
            wanted.clear();
            let around = Around { partitions: &self.partition_names, tables: &self.tables };
            self.index.wanted(&view, around, &mut wanted);
            for Wanted { rule, roles, .. } in wanted.iter().copied() {
                let at_stratum = self.chain.stratum(rule as usize) == stratum;
                let Some(run) = self.rules.get_mut(rule as usize).filter(|_| at_stratum) else { continue };
                if reads(&run.program.rule, alert) {
                    run.state.stats.wanted += 1;
                    places.push(Place {
                        family: self.family(rule as usize),
                        rank: usize::MAX,
                        partition: PartitionId::MAX,
                        offset: number as u64,
                        number: base + number,
                        rule,
                        roles,
                    });
                }
            }
        }
        self.wanted = wanted;
    }

    /// Fires the timers due at `time` of the merged rules of a stratum.
    fn ring_stratum(&mut self, stratum: u32, time: Micros, out: &mut Outputs) {
        if !self.is_due(None, time) {
            return;
        }
        let mut rule = 0;
        while rule < self.rules.len() {
            let family = self.revisions_from(rule);
            rule = family.end;
            // A revision may stand in another stratum than the one before it.
            for same in strata(&self.chain, family) {
                if self.chain.stratum(same.start) == stratum {
                    self.ring_family(same.clone(), None, time, out);
                    same.for_each(|revision| self.note_due(revision));
                }
            }
        }
    }
}

/// Revisions of a rule, those of one stratum that follow one another together.
fn strata(chain: &Chain, family: Range<usize>) -> Vec<Range<usize>> {
    let mut same: Vec<Range<usize>> = Vec::new();
    for revision in family {
        match same.last_mut() {
            Some(last) if chain.stratum(last.start) == chain.stratum(revision) => last.end = revision + 1,
            _ => same.push(revision..revision + 1),
        }
    }
    same
}
