//! Logs and metrics.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};

static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();

struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

/// Logs to stderr: JSON, or text on a terminal. `RUST_LOG` chooses what.
pub fn install_logs() {
    install_logs_at("info,fjall=warn,lsm_tree=warn,object_store=warn");
}

/// The same from this level on, unless `RUST_LOG` says otherwise.
pub(crate) fn install_logs_at(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as in tests, changes nothing.
    let _ = if std::io::stderr().is_terminal() { logs.try_init() } else { logs.json().try_init() };
}

/// The recorder of this process, installed once; every counter that alerting rules read begins at 0.
pub(crate) fn install_metrics() {
    METRICS.get_or_init(|| {
        let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
        let recorder = PrometheusBuilder::new().set_buckets(&seconds).ok()?.build_recorder();
        let handle = recorder.handle();
        let recorder = Arc::new(recorder);
        metrics::set_global_recorder(recorder.clone()).ok()?;
        for name in [
            "tripline_determinism_violations_total",
            "tripline_duplicates_total",
            "tripline_matcher_panics_total",
            "tripline_replayed_events_total",
        ] {
            metrics::counter!(name).increment(0);
        }
        metrics::counter!("tripline_late_events_total", "reason" => "late").increment(0);
        metrics::counter!("tripline_events_processed_total", "task" => "0").increment(0);
        metrics::counter!("tripline_commits_total", "outcome" => "ok").increment(0);
        metrics::counter!("tripline_commits_total", "outcome" => "failed").increment(0);
        metrics::counter!("tripline_snapshot_failures_total", "reason" => "write").increment(0);
        metrics::gauge!("tripline_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Some(Metrics { recorder, handle })
    });
}

/// Does the work of one task among several: what is measured there, rather than counted, bears the task's number.
pub(crate) fn of_task<T>(number: i32, work: impl FnOnce() -> T) -> T {
    match METRICS.get() {
        Some(Some(Metrics { recorder, .. })) => {
            let own = OfTask { recorder: recorder.clone(), label: Label::new("task", number.to_string()) };
            metrics::with_local_recorder(&own, work)
        }
        _ => work(),
    }
}

/// WHY: counters of several tasks add up, and of gauges the last one set would stand for all.
struct OfTask {
    recorder: Arc<PrometheusRecorder>,
    label: Label,
}

/// A counter that tasks set rather than add to.
const SET: &str = "tripline_alerts_suppressed_total";

impl OfTask {
    fn own(&self, key: &Key) -> Key {
        match key.labels().any(|label| label.key() == self.label.key()) {
            true => key.clone(),
            false => key.with_extra_labels(vec![self.label.clone()]),
        }
    }
}

impl Recorder for OfTask {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.recorder.describe_counter(name, unit, text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.recorder.describe_gauge(name, unit, text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.recorder.describe_histogram(name, unit, text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if key.name() == SET {
            return self.recorder.register_counter(&self.own(key), metadata);
        }
        self.recorder.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(&self.own(key), metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.recorder.register_histogram(key, metadata)
    }
}

/// All metrics in Prometheus text form.
pub(crate) fn render_metrics() -> String {
    match METRICS.get() {
        Some(Some(Metrics { handle, .. })) => {
            handle.run_upkeep();
            handle.render()
        }
        _ => String::new(),
    }
}
