//! How a cost that is no published workload is shown: one figure with its goal, and what it was worked out from.

use super::{BenchArgs, process};
use crate::failure::Failure;
use serde_json::{Value, json};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// None is set.
    Open,
}

impl Goal {
    fn bound(self) -> Option<f64> {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => Some(bound),
            Self::Open => None,
        }
    }

    fn is_met(self, figure: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(figure >= bound),
            Self::AtMost(bound) => Some(figure <= bound),
            Self::Open => None,
        }
    }
}

/// One figure.
#[derive(Debug)]
pub(super) struct Cost {
    /// Such as `keys:100000`.
    pub(super) bench: String,
    pub(super) figure: f64,
    pub(super) unit: &'static str,
    pub(super) goal: Goal,
    /// What it was worked out from.
    pub(super) detail: Vec<(&'static str, f64)>,
}

impl Cost {
    /// Shows it: one line of JSON, or text.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(super) fn show(&self, args: &BenchArgs) -> Result<(), Failure> {
        let met = self.goal.is_met(self.figure);
        let load = process::load();
        let mut fields = json!({
            "bench": self.bench, "figure": self.figure, "unit": self.unit, "goal": self.goal.bound(), "met": met,
            "load": load,
        });
        if let Value::Object(fields) = &mut fields {
            fields.extend(self.detail.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        }
        let verdict = |met: Option<bool>| if met == Some(true) { "met" } else { "missed" };
        let goal = match self.goal {
            Goal::AtLeast(bound) => format!(" (goal: at least {bound}, {})", verdict(met)),
            Goal::AtMost(bound) => format!(" (goal: at most {bound}, {})", verdict(met)),
            Goal::Open => String::new(),
        };
        let mut text = format!("{}: {} {}{goal}\n", self.bench, shown(self.figure), self.unit);
        let detail = self.detail.iter().map(|(name, value)| format!("{name} {}", shown(*value)));
        text.push_str(&format!("  {}, load {load}", detail.collect::<Vec<_>>().join(", ")));
        args.report(&fields, &text)
    }
}

/// Whole where it is large.
fn shown(value: f64) -> String {
    if value.abs() >= 1000.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
