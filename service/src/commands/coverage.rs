//! What the tests of a rule reached: its steps, with the members of its sets, and what can silence or end a match.
//!
//! A step is reached by an alert in which it has an event; an absence or `cancel on` by an event that it names while a match
//! is where it looks; `unless` and `cooldown` by a match that they silence; `on timeout` by its alert.

use crate::console::plural;
use engine::alert::{Alert, Evidence, FiredBy};
use engine::task::RuleStats;
use pattern_dsl::ir::Rule;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A part of a rule that a test can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// `step`, or the word of the clause.
    kind: &'static str,
    /// Name of the step, text of the absence; empty for clauses that a rule has once.
    name: String,
    reached: bool,
}

impl Part {
    fn is_step(&self) -> bool {
        self.kind == "step"
    }

    fn describe(&self) -> String {
        if self.name.is_empty() {
            format!("`{}`", self.kind)
        } else {
            format!("{} `{}`", self.kind, self.name)
        }
    }
}

/// The parts of one rule, over all its tests.
#[derive(Debug, Clone)]
pub(super) struct Coverage {
    rule: String,
    tests: usize,
    parts: Vec<Part>,
}

/// What one test reached.
#[derive(Debug, Clone, Default)]
pub struct Reached {
    /// The rule's counters at the end.
    pub stats: RuleStats,
    /// Its `on timeout` fired.
    pub timed_out: bool,
    /// Steps that have an event in an alert.
    taken: BTreeSet<usize>,
}

impl Reached {
    /// From the counters of a task that ran one test, and the rule's alerts.
    pub(super) fn of(stats: Vec<(String, RuleStats)>, rule: &str, alerts: &[Alert]) -> Self {
        let own = stats.into_iter().find(|(name, _)| name == rule);
        Self {
            stats: own.map(|(_, stats)| stats).unwrap_or_default(),
            timed_out: alerts.iter().any(|alert| alert.fired_by == FiredBy::Timeout),
            taken: alerts.iter().flat_map(|alert| &alert.evidence).filter_map(taken).collect(),
        }
    }
}

/// The place of a step that has an event.
fn taken(evidence: &Evidence) -> Option<usize> {
    match evidence {
        Evidence::Step { place, events, .. } if !events.is_empty() => Some(*place),
        _ => None,
    }
}

impl Coverage {
    /// Nothing reached yet.
    pub(super) fn new(rule: &Rule) -> Self {
        let part = |kind, name: &str| Part { kind, name: name.to_owned(), reached: false };
        let mut parts: Vec<Part> = rule.steps.iter().map(|step| part("step", &step.name)).collect();
        // In the order of `RuleStats::absence_met`.
        let gaps = rule.units.iter().flat_map(|unit| &unit.gap);
        let absences = gaps.chain(&rule.leading).chain(&rule.trailing);
        parts.extend(absences.map(|absence| part("absence", &absence.text)));
        parts.extend(rule.cancels.iter().map(|cancel| part("cancel", &cancel.text)));
        let once = [
            ("unless", !rule.unless.is_empty()),
            ("on timeout", rule.timeout.is_some()),
            ("cooldown", rule.cooldown.is_some()),
        ];
        parts.extend(once.into_iter().filter(|(_, has)| *has).map(|(word, _)| part(word, "")));
        Self { rule: rule.name.clone(), tests: 0, parts }
    }

    /// Adds what a further test reached.
    pub(super) fn add(&mut self, reached: &Reached) {
        self.tests += 1;
        let stats = &reached.stats;
        let mut absences = stats.absence_met.iter();
        for (place, part) in self.parts.iter_mut().enumerate() {
            part.reached |= match part.kind {
                // Steps come first, in their order.
                "step" => reached.taken.contains(&place),
                "absence" | "cancel" => absences.next().is_some_and(|count| *count > 0),
                "unless" => stats.suppressed_unless > 0,
                "cooldown" => stats.suppressed_cooldown > 0,
                _ => reached.timed_out,
            };
        }
    }

    fn missing(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !part.reached)
    }

    /// Every part was reached.
    pub(super) fn is_whole(&self) -> bool {
        self.missing().next().is_none()
    }

    /// A line for each part that no test reached.
    pub(super) fn lines(&self) -> Vec<String> {
        let rule = &self.rule;
        if self.tests == 0 {
            return vec![format!("rule {rule}: has no test")];
        }
        self.missing().map(|part| format!("rule {rule}: {} never reached", part.describe())).collect()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let missing: Vec<Value> =
            self.missing().map(|part| json!({ "kind": part.kind, "name": part.name })).collect();
        json!({
            "type": "coverage", "rule": self.rule, "tests": self.tests,
            "parts": self.parts.len(), "reached": self.parts.len() - missing.len(), "unreached": missing,
        })
    }
}

/// Counts over all rules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    rules: usize,
    steps: (usize, usize),
    clauses: (usize, usize),
}

impl Totals {
    pub(super) fn of(all: &[Coverage]) -> Self {
        let count = |steps: bool| {
            let parts = || all.iter().flat_map(|c| &c.parts).filter(|part| part.is_step() == steps);
            (parts().filter(|part| part.reached).count(), parts().count())
        };
        Self { rules: all.len(), steps: count(true), clauses: count(false) }
    }

    /// `coverage: 2 rules, 3 of 4 steps and 1 of 1 clause reached`.
    pub(super) fn line(&self) -> String {
        let of = |(reached, all): (usize, usize), word| format!("{reached} of {}", plural(all, word));
        let rules = plural(self.rules, "rule");
        format!("coverage: {rules}, {} and {} reached", of(self.steps, "step"), of(self.clauses, "clause"))
    }

    /// The members of the summary for programs.
    pub(super) fn json(&self) -> Value {
        let of = |(reached, all): (usize, usize)| json!({ "all": all, "reached": reached });
        json!({ "rules": self.rules, "steps": of(self.steps), "clauses": of(self.clauses) })
    }
}
