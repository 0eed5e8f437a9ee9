//! Logs and metrics.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::sync::OnceLock;

static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

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
        metrics::set_global_recorder(recorder).ok()?;
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
        Some(handle)
    });
}

/// All metrics in Prometheus text form.
pub(crate) fn render_metrics() -> String {
    match METRICS.get() {
        Some(Some(handle)) => {
            handle.run_upkeep();
            handle.render()
        }
        _ => String::new(),
    }
}
