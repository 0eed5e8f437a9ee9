//! In how many ways a rule wants events, and how many there may be.

use std::collections::BTreeSet;

use super::{Arrow, Expr, Rule};

/// Most ways in which one rule may want events; see [`Rule::roles`].
pub const ROLES_MAX: usize = 64;
/// Most `reaches` of one rule.
pub const LATCHES_MAX: usize = 32;

impl Rule {
    /// In how many ways the rule wants events: one for each step, window and stream of an absence or `cancel on`, one for
    /// its latches, and those of [`Rule::looks`].
    #[must_use]
    pub fn roles(&self) -> usize {
        let gaps = self.units.iter().flat_map(|unit| &unit.gap);
        let absences = gaps.chain(&self.leading).chain(&self.trailing).chain(&self.cancels);
        let absent: usize = absences.map(|absence| absence.streams.len()).sum();
        let latched = self
            .steps
            .iter()
            .filter(|step| step.condition.iter().any(|term| matches!(term.expr, Expr::Reaches(..))));
        self.steps.len() + absent + self.windows.len() + latched.count() + self.looks().len()
    }

    /// What strict steps look at whether it fits or not: streams, each with the key fields by which its events come, of the
    /// stream itself or of a step.
    #[must_use]
    pub fn looks(&self) -> Vec<(usize, Vec<usize>)> {
        let consecutive = self.steps.iter().filter(|step| step.consecutive).map(|step| step.stream);
        let mut streams: BTreeSet<usize> = consecutive.collect();
        for (number, unit) in self.units.iter().enumerate().skip(1) {
            if unit.arrow != Arrow::Immediately {
                continue;
            }
            for neighbour in self.units_before(number).into_iter().chain([number]) {
                let members = self.units.get(neighbour).map_or(0..0, |unit| unit.steps.clone());
                streams.extend(members.filter_map(|step| self.steps.get(step)).map(|step| step.stream));
            }
        }
        let mut looks = Vec::new();
        for stream in streams {
            let mapped = self.streams.get(stream).and_then(|stream| stream.keys.clone());
            let steps = self.steps.iter().filter(|step| step.stream == stream).map(|step| step.keys.clone());
            for keys in mapped.into_iter().chain(steps) {
                if !looks.contains(&(stream, keys.clone())) {
                    looks.push((stream, keys));
                }
            }
        }
        looks
    }

    /// The units that may be the last that has begun when this one begins, from the nearest back to one that always begins.
    #[must_use]
    pub fn units_before(&self, number: usize) -> Vec<usize> {
        let mut before = Vec::new();
        for (earlier, unit) in self.units.iter().enumerate().take(number).rev() {
            before.push(earlier);
            if !unit.may_be_empty(&self.steps) {
                break;
            }
        }
        before
    }
}
