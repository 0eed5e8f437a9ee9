//! How events find the steps of a rule, in words: for `explain`, and for those who ask what a rule costs.
//!
//! Neighbours: [`crate::index`] decides it anew whenever rules change.

use crate::event::StreamLayout;
use crate::index::How;
use crate::predicate::Predicate;
use crate::program::RoleKind;
use crate::task::Task;
use crate::value::Value;

/// How events find a step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBy {
    /// The step's name.
    pub step: String,
    /// How the index comes to it.
    pub how: How,
    /// The test that finds it, where it compares a field with a constant.
    pub test: Option<String>,
}

impl Task {
    /// How events find each step of the newest revision of a rule, with all rules that are active now.
    #[must_use]
    pub fn found_by(&self, rule: &str) -> Vec<FoundBy> {
        let newest = self.rules.iter().enumerate().rev().find(|(_, run)| run.program.name.as_str() == rule);
        let Some((number, run)) = newest else { return Vec::new() };
        let mut all = Vec::new();
        for (bit, role) in run.program.roles.iter().enumerate() {
            let RoleKind::Step(step) = role.kind else { continue };
            let (Some(stream), Some(step)) =
                (run.program.streams.get(role.stream), run.program.rule.steps.get(step))
            else {
                continue;
            };
            let Some((how, predicate)) = self.index.found_by(*stream, number as u32, bit) else { continue };
            let layout = self.layout.streams.get(*stream as usize);
            let test = predicate.zip(layout).and_then(|(predicate, layout)| text(predicate, layout));
            all.push(FoundBy { step: step.name.clone(), how, test });
        }
        all
    }
}

fn text(predicate: &Predicate, layout: &StreamLayout) -> Option<String> {
    let Predicate::Compare(slot, op, value) = predicate else { return None };
    let value = match value {
        Value::String(word) => format!("{word:?}"),
        value => value.to_string(),
    };
    Some(format!("{} {} {value}", layout.fields.get(*slot)?.path.join("."), op.sign()))
}
