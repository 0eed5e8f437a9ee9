//! `tripline demo`: the whole product on shipped data, in one process and a temporary folder.

mod show;

use crate::config::Config;
use crate::console::tell;
use crate::failure::Failure;
use crate::feed::{Client, Event, send, time_of};
use crate::serve::{self, Running};
use clap::Args;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The address to listen on; a free port of this machine if not given.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// End when the data has gone through; exit code 0 only if the expected alerts came.
    #[arg(long)]
    once: bool,
    /// Write the rules and the data to this folder, and do nothing else.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// What was shown so far.
#[derive(Default)]
struct Seen {
    cursor: String,
    counts: BTreeMap<String, usize>,
    /// Time of each stream's last event.
    ends: BTreeMap<String, i64>,
}

impl Seen {
    /// True for an absence that ends after its recording: only the next recording, years later, moved time that far.
    fn is_after_recording(&self, alert: &Value) -> bool {
        let steps = alert["data"]["why"].as_array().into_iter().flatten();
        let end = steps.filter_map(|s| self.ends.get(s["stream"].as_str()?)).max();
        let time = alert["time"].as_str().and_then(|t| crate::decode::time::parse_rfc3339(t.as_bytes()));
        matches!((end, time), (Some(end), Some(time)) if time > *end)
    }
}

fn ends(events: &[Event]) -> BTreeMap<String, i64> {
    events.iter().map(|e| (e.stream.clone(), e.ts)).collect()
}

/// Runs the command.
///
/// # Errors
/// The service cannot start, or with `--once` other alerts came than expected.
pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let demo = rules::demo();
    if let Some(folder) = &args.write {
        return write(&demo, folder);
    }
    crate::telemetry::install_logs_at("error");
    let folder = tempfile::Builder::new().prefix("tripline-demo").tempdir()?;
    write_rules(&demo, &folder.path().join("rules"))?;
    let mut config = Config { dev: true, ..Config::default() };
    config.store.data = folder.path().join("data");
    config.rules.folder = Some(folder.path().join("rules"));
    config.server.listen = args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    // The recordings are from different years: a stream whose data is through must not hold the other for a minute.
    config.time.idle_max = Some("500ms".into());
    let running = serve::start(config).await.map_err(|e| Failure::finding(format!("{e:#}")))?;
    let outcome = tokio::select! {
        outcome = play(&demo, &running, args.once) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    running.stop().await.map_err(|e| Failure::finding(format!("{e:#}")))?;
    outcome
}

/// Feeds the data, shows the alerts, says what to try next.
async fn play(demo: &rules::Demo, running: &Running, once: bool) -> Result<(), Failure> {
    let base = format!("http://{}", running.address);
    let client = Client::new(&base, None)?;
    let events = load(demo)?;
    show::opening(&base, demo.expected_alerts.len(), &events);
    let pause = Duration::from_millis(100);
    let steps = if once { 70 } else { 180 };
    let mut seen = Seen { ends: ends(&events), ..Seen::default() };
    for batch in events.chunks(events.len().div_ceil(steps).max(1)) {
        send(&client, batch).await?;
        show_new(&client, &mut seen).await?;
        tokio::time::sleep(pause).await;
    }
    running.finish_input().await;
    show_new(&client, &mut seen).await?;
    let right = show::summary(demo.expected_alerts, &seen.counts, events.len());
    show::next_steps(&base, once);
    if once {
        return if right { Ok(()) } else { Err(Failure::finding("other alerts came than this data holds")) };
    }
    std::future::pending().await
}

/// Shows the alerts committed since the cursor.
async fn show_new(client: &Client, seen: &mut Seen) -> Result<(), Failure> {
    loop {
        let page = client.get(&format!("/v1/alerts?limit=1000&after={}", seen.cursor)).await?;
        for alert in page["items"].as_array().into_iter().flatten() {
            if !seen.is_after_recording(alert) {
                show::alert(alert);
                let rule = alert["data"]["rule"].as_str().unwrap_or_default();
                *seen.counts.entry(rule.to_owned()).or_default() += 1;
            }
        }
        seen.cursor = page["cursor"].as_str().unwrap_or_default().to_owned();
        if page["next"].is_null() {
            return Ok(());
        }
    }
}

/// All events in order of time.
fn load(demo: &rules::Demo) -> Result<Vec<Event>, Failure> {
    let mut events = Vec::new();
    for (stream, packed) in demo.data {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(*packed).read_to_string(&mut text)?;
        for line in text.lines() {
            let object: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
            let ts = time_of(&object, None).unwrap_or(0);
            events.push(Event { ts, stream: (*stream).to_owned(), line: line.as_bytes().to_vec() });
        }
    }
    events.sort_by_key(|e| e.ts);
    Ok(events)
}

fn write_rules(demo: &rules::Demo, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in demo.rules {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn write(demo: &rules::Demo, folder: &Path) -> Result<(), Failure> {
    write_rules(demo, &folder.join("rules"))?;
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let mut paths = Vec::new();
    for (stream, packed) in demo.data {
        let path = data.join(format!("{stream}.jsonl.gz"));
        std::fs::write(&path, packed)?;
        paths.push(path.display().to_string());
    }
    tell!(
        "Wrote {} rule files and {} recordings to {}. Try:",
        demo.rules.len(),
        paths.len(),
        folder.display()
    );
    tell!("  tripline run {} {}", folder.join("rules").display(), paths.join(" "));
    tell!("  tripline test {}", folder.join("rules").display());
    Ok(())
}
