//! `tripline feed`: sends files of events to a running service at their own pace.

mod client;
mod load;

use crate::failure::Failure;
use crate::files::FileOptions;
use crate::ruleset::name_path;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use client::{Client, Sent};
pub(crate) use load::{Event, time_of};

/// Most events in one request.
const BATCH: usize = 1_000;

/// Arguments of `feed`.
#[derive(Debug, Args)]
pub struct FeedArgs {
    /// Files of events (.jsonl, .ndjson, .csv, each also .gz or .zst).
    events: Vec<PathBuf>,
    /// The service, such as http://127.0.0.1:7400.
    #[arg(long, value_name = "URL")]
    to: String,
    /// How much faster than event time: 1x, 100x, or `max`.
    #[arg(long, default_value = "max", value_parser = speed)]
    speed: Speed,
    /// Events of this stream are in that file.
    #[arg(long = "stream", value_name = "NAME=PATH", value_parser = name_path)]
    streams: Vec<(String, PathBuf)>,
    /// Each event's stream is the value of this field.
    #[arg(long, value_name = "FIELD")]
    split_by: Option<String>,
    /// The field that holds the event's time.
    #[arg(long, value_name = "FIELD")]
    time: Option<String>,
    /// Bearer token; better in the variable `TRIPLINE_TOKEN`.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

/// How fast event time runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    /// As fast as the service takes them.
    Max,
    /// This many times real time.
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(times) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
        _ => Err(format!("`{text}` is no speed; write 1x, 100x or max")),
    }
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, or a service that does not take the events.
pub async fn run(args: FeedArgs) -> Result<(), Failure> {
    let options =
        FileOptions { events: args.events, streams: args.streams, split_by: args.split_by, format: None };
    let files = options.resolve()?;
    if files.is_empty() {
        return Err(Failure::usage("no files of events were named"));
    }
    let mut events = Vec::new();
    for file in &files {
        load::read(file, args.time.as_deref(), &mut events)?;
    }
    events.sort_by_key(|e| e.ts);
    let token = args.token.or_else(|| std::env::var("TRIPLINE_TOKEN").ok());
    let client = Client::new(&args.to, token)?;
    let bar = indicatif::ProgressBar::new(events.len() as u64);
    if let Ok(style) =
        indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} events  {per_sec}  {msg}")
    {
        bar.set_style(style);
    }
    let begun = Instant::now();
    let mut total = Sent::default();
    let first = events.first().map_or(0, |e| e.ts);
    let mut rest = events.as_slice();
    while let Some(next) = rest.first() {
        let count = match args.speed {
            Speed::Max => rest.len().min(BATCH),
            Speed::Times(times) => {
                let due = Duration::from_secs_f64(((next.ts - first) as f64 / 1e6 / times).max(0.0));
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
                let upto = first + (begun.elapsed().as_secs_f64() * times * 1e6) as i64;
                rest.partition_point(|e| e.ts <= upto).clamp(1, BATCH.min(rest.len()))
            }
        };
        let (batch, later) = rest.split_at(count);
        total.add(send(&client, batch).await?);
        bar.inc(batch.len() as u64);
        bar.set_message(crate::decode::time::format_rfc3339(batch[count - 1].ts));
        rest = later;
    }
    bar.finish_and_clear();
    total.print(begun.elapsed());
    if total.rejected > 0 { Err(Failure::finding("")) } else { Ok(()) }
}

/// Sends one batch, a request for each of its streams; their order among one another does not matter to the service.
pub(crate) async fn send(client: &Client, batch: &[Event]) -> Result<Sent, Failure> {
    let mut bodies: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for event in batch {
        let body = bodies.entry(&event.stream).or_default();
        body.extend_from_slice(&event.line);
        body.push(b'\n');
    }
    let mut sent = Sent::default();
    for (stream, body) in bodies {
        sent.add(client.post(stream, body).await?);
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_factors() {
        assert_eq!(speed("100x"), Ok(Speed::Times(100.0)));
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert!(speed("0").is_err() && speed("fast").is_err());
    }
}
