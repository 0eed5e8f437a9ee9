//! What workers count, as far as it is of interest to a simulation.

use super::world::{World, pid};
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::sync::Arc;

/// Counts for a world.
pub(super) struct Counts(pub(super) Arc<World>);

struct Count(Arc<World>, &'static str);

impl CounterFn for Count {
    fn increment(&self, by: u64) {
        self.0.count(self.1, by);
        match self.1 {
            "determinism violations" => {
                self.0.fail("a replay has found other alerts than were committed".to_owned())
            }
            // To the worker its end is a panic as well.
            "kills at work" if !self.0.is_dead(pid()) => self.0.fail("a worker has panicked".to_owned()),
            _ => {}
        }
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let label = key.labels().next().map(metrics::Label::value);
        let name = match (key.name(), label) {
            ("tripline_determinism_violations_total", _) => "determinism violations",
            ("tripline_matcher_panics_total", _) => "kills at work",
            ("tripline_unknown_commits_total", _) => "unknown outcomes",
            ("tripline_commits_total", Some("ok")) => "commits",
            ("tripline_fenced_commits_total", _) => "tasks taken away",
            ("tripline_fenced_members_total", _) => "members fenced",
            ("tripline_replayed_events_total", _) => "events replayed",
            ("tripline_snapshot_failures_total", Some("damaged")) => "damaged snapshots found",
            ("tripline_snapshot_failures_total", Some("unfit")) => "snapshots that did not fit",
            ("tripline_late_events_total", _) => "late events",
            ("tripline_dead_letters_total", _) => "dead letters",
            _ => return Counter::noop(),
        };
        Counter::from_arc(Arc::new(Count(self.0.clone(), name)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
