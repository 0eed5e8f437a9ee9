//! The summary of a run: counts by rule and day, what was silenced, dropped and rejected, and how long it took.
//!
//! A run without an alert shows how far each rule got, step by step.

use crate::console::plural;
use crate::decode::time::format_rfc3339;
use crate::pipeline::Tally;
use engine::alert::Alert;
use engine::task::RuleStats;
use pattern_dsl::ir::Module;
use std::collections::BTreeMap;
use std::time::Duration;

/// Alerts counted while they come.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_rule: BTreeMap<String, u64>,
    by_day: BTreeMap<String, u64>,
    pub(super) total: u64,
}

impl Counts {
    pub(super) fn add(&mut self, alert: &Alert) {
        self.total += 1;
        *self.by_rule.entry(alert.rule.to_string()).or_default() += 1;
        let day: String = format_rfc3339(alert.time).chars().take(10).collect();
        *self.by_day.entry(day).or_default() += 1;
    }
}

/// Everything the summary says.
pub(super) struct Summary<'a> {
    pub(super) counts: &'a Counts,
    pub(super) tally: &'a Tally,
    pub(super) rejected: u64,
    pub(super) stats: &'a [(String, RuleStats)],
    pub(super) module: &'a Module,
    pub(super) took: Duration,
}

fn counted(count: u64, word: &str) -> String {
    plural(usize::try_from(count).unwrap_or(usize::MAX), word)
}

impl Summary<'_> {
    /// Several lines.
    pub(super) fn text(&self) -> String {
        let sum = |f: fn(&RuleStats) -> u64| self.stats.iter().map(|(_, s)| f(s)).sum::<u64>();
        let (cooldown, unless) = (sum(|s| s.suppressed_cooldown), sum(|s| s.suppressed_unless));
        let (counts, tally) = (self.counts, self.tally);
        let mut out = format!("{}, {}\n", counted(tally.events, "event"), counted(counts.total, "alert"));
        for (rule, count) in &counts.by_rule {
            out.push_str(&format!("  {rule:<40} {count}\n"));
        }
        if counts.total > 0 {
            let days: Vec<_> = counts.by_day.iter().map(|(day, n)| format!("{day}: {n}")).collect();
            let shown = days.len().min(31);
            let more = if shown < days.len() {
                format!(", and {} more days", days.len() - shown)
            } else {
                String::new()
            };
            out.push_str(&format!("by day: {}{more}\n", days.get(..shown).unwrap_or_default().join(", ")));
        }
        let day = sum(|s| s.suppressed_day);
        let suppressed = cooldown + unless + day;
        let capped = if day > 0 { format!(", alerts_per_rule_day {day}") } else { String::new() };
        out.push_str(&format!("suppressed: {suppressed} (cool-down {cooldown}, unless {unless}{capped})\n"));
        out.push_str(&format!(
            "late: {}, null keys: {}, rejected: {}, duplicates: {}, still open: {}\n",
            tally.late,
            sum(|s| s.null_keys),
            self.rejected,
            tally.duplicates,
            sum(|s| s.still_open)
        ));
        for (rule, stats) in self.stats {
            let met = stats.capped + stats.suppressed_day;
            if met > 0 {
                let times = counted(met, "time");
                out.push_str(&format!("{rule}: met a limit {times}; --limit NAME=none lifts one\n"));
            }
        }
        if counts.total == 0 {
            out.push_str(&self.drop_off());
        }
        let seconds = self.took.as_secs_f64();
        let rate = if seconds > 0.0 { tally.events as f64 / seconds } else { 0.0 };
        out.push_str(&format!("took {seconds:.2} s ({rate:.0} events/s)\n"));
        out
    }

    fn drop_off(&self) -> String {
        let mut out = String::new();
        for (name, stats) in self.stats {
            let Some(rule) = self.module.rules.iter().find(|r| r.name == *name) else { continue };
            out.push_str(&format!("{name}: no alert; how far it got:\n"));
            for (at, step) in rule.steps.iter().enumerate() {
                let fitted = stats.step_events.get(at).copied().unwrap_or(0);
                let reached = stats.step_reached.get(at).copied().unwrap_or(0);
                out.push_str(&format!(
                    "  {:<24} {fitted} events fit it, reached {reached} times\n",
                    step.name
                ));
            }
        }
        out
    }
}
