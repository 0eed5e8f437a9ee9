//! What a task tells of itself: what holds it back, what is open, counters.

use crate::advance::RuleRun;
use crate::interface::RuleStats;
use crate::task::Task;
use pattern_dsl::types::Micros;

impl Task {
    /// What holds the newest accepted events back: a stream and the time up to which events are released. None = nothing.
    #[must_use]
    pub fn held_until(&self) -> Option<(String, Micros)> {
        if self.clock.is_empty() && self.chain.pending.is_empty() {
            return None;
        }
        let (partition, watermark) = self.clock.slowest()?;
        let stream = self.partition_streams.get(partition as usize).and_then(|streams| streams.first());
        let name =
            stream.and_then(|id| self.layout.streams.get(*id as usize)).map(|stream| stream.name.to_string());
        Some((name.unwrap_or_default(), watermark))
    }

    /// Bytes of the events that wait for their time, about; every one of them is looked at.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.clock.bytes()
    }

    /// Matches that `alerts_per_rule_day` silenced, of the rules that have any.
    pub fn silenced_by_day(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.rules.iter().map(|run| (run.program.name.as_str(), run.state.stats.suppressed_day));
        counts.filter(|(_, count)| *count > 0)
    }

    /// When the past that a rule looks back on will be known: until then its baselines are null and its leading absences
    /// forbid (`warming`). None if it is known.
    #[must_use]
    pub fn warm_at(&self, rule: &str) -> Option<Micros> {
        let run = self.rules.iter().rfind(|run| run.program.name == rule)?;
        let at = run.program.past.warm_at(&run.program.rule)?;
        self.clock.newest.is_some_and(|newest| newest < at).then_some(at)
    }

    /// Something is open that time alone may complete or end.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.held_until().is_some() || self.rules.iter().any(RuleRun::is_open)
    }

    /// Counters by rule name, in name order; revisions of one rule are added up.
    #[must_use]
    pub fn stats(&self) -> Vec<(String, RuleStats)> {
        let mut stats: Vec<(String, RuleStats)> = Vec::new();
        for run in &self.rules {
            let mut one = run.state.stats.clone();
            one.still_open = run.still_open();
            one.candidates = run.state.keys.iter().map(|(_, held)| held.rows() as u64).sum();
            match stats.last_mut() {
                Some((name, sum)) if *name == run.program.name.as_str() => sum.add(&one),
                _ => stats.push((run.program.name.to_string(), one)),
            }
        }
        stats
    }
}
