//! What a revision knows of the time before it: the history of its windows and of what its leading absences forbid.
//!
//! A revision that begins at some time knows nothing of the events before, but for what the revision that it replaces had
//! kept for the same window or the same absence. Windows read `before` a step, and leading absences, need the whole of
//! their span: until then the former are null and the latter forbid (language section 5.2, day one; section 9).

use pattern_dsl::ir::{Bound, Rule};
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};

/// From when on the past is known; `Micros::MIN` = all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// By window of the program.
    pub(crate) windows: Vec<Micros>,
    /// By leading absence, in written order.
    pub(crate) leading: Vec<Micros>,
}

impl Past {
    /// Nothing before `at` is known.
    pub(crate) fn from(rule: &Rule, at: Micros) -> Self {
        Self { windows: vec![at; rule.windows.len()], leading: vec![at; rule.leading.len()] }
    }

    /// The window holds no event before this time.
    pub(crate) fn window(&self, window: usize) -> Micros {
        self.windows.get(window).copied().unwrap_or(Micros::MIN)
    }

    /// What the leading absence forbids is known from this time on.
    pub(crate) fn leading(&self, place: usize) -> Micros {
        self.leading.get(place).copied().unwrap_or(Micros::MIN)
    }

    /// When all that the rule looks back on will be known; none if that is so since ever.
    pub(crate) fn warm_at(&self, rule: &Rule) -> Option<Micros> {
        let windows = rule.windows.iter().zip(&self.windows);
        let baselines =
            windows.filter(|(window, _)| window.before.is_some()).map(|(w, since)| (w.span, since));
        let leading = rule
            .leading
            .iter()
            .zip(&self.leading)
            .map(|(absence, since)| (absence.duration.as_ref().map_or(0, Bound::longest), since));
        let waits = baselines.chain(leading).filter(|(_, since)| **since > Micros::MIN);
        waits.map(|(span, since)| since.saturating_add(span)).max()
    }
}
