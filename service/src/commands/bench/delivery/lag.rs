//! `bench lag`: how long after an event was handed to the client its alert can be read, committed, at a fixed pace.

use super::node::{Node, PARTITIONS, await_alerts, read_on};
use super::served::Served;
use super::{events_of, pair_of, place_of};
use crate::commands::bench::BenchArgs;
use crate::commands::bench::report::{Cost, Goal};
use crate::commit::protocol::Pace;
use crate::config::Tasks;
use crate::failure::Failure;
use std::time::{Duration, Instant};

const PER_SECOND: u64 = 20_000;
/// Events that are handed over at once: a millisecond's.
const AT_ONCE: u64 = PER_SECOND / 1_000;
/// What the clients of Kafka 4 linger for unless told otherwise; it counts towards the lag.
const LINGER_MS: u32 = 5;
/// Events before those that are measured, at the same pace: connections are made, the broker has warmed up.
const AHEAD: usize = 2 * PER_SECOND as usize;
/// Beyond the time between two commits.
const MORE_MS: f64 = 25.0;

/// 20,000 events a second of a stream in order whose key is the topic's.
///
/// # Errors
/// Kafka cannot be used, or the service does not start.
pub(in crate::commands::bench) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let node = Node::of(args)?;
    let events = args.events.unwrap_or(15 * PER_SECOND);
    let (rows, lines, expected) = events_of(args, events)?;
    let (topic, alerts) = (node.topic("ev"), node.alerts_topic("lag"));
    node.create(&[(&topic, PARTITIONS), (&alerts, 1)])?;
    let consumer = node.reader(&alerts, 5)?;
    let rules = pair_of(&format!("topic \"{topic}\" time ts in order as epoch_ms"));
    let served = Served::start(&rules, &node.config("lag", Tasks::One))?;
    let writer = node.writer(LINGER_MS)?;
    let mut seen = Vec::new();
    let (sent, mut reader) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<Vec<Instant>, Failure> {
            let (mut sent, begun) = (Vec::with_capacity(rows.len()), Instant::now());
            for (at, row) in rows.iter().enumerate() {
                let due = Duration::from_millis(at as u64 / AT_ONCE);
                if let Some(early) = due.checked_sub(begun.elapsed()) {
                    writer.poll();
                    std::thread::sleep(early);
                }
                sent.push(Instant::now());
                writer.send(row, lines.get(at).unwrap_or_default())?;
            }
            writer.flush()?;
            Ok(sent)
        });
        let reader = await_alerts(&consumer, &expected, |time| seen.push((place_of(time), Instant::now())));
        let sent = sender.join().unwrap_or_else(|_| Err(Failure::finding("the sender panicked")));
        Ok::<_, Failure>((sent?, reader?))
    })?;
    read_on(&consumer, &mut reader)?;
    let right = reader.is_right("lag", &expected);
    let paced = sent.last().zip(sent.first()).map_or(0.0, |(last, first)| (*last - *first).as_secs_f64());
    let lag = |(place, seen): &(Option<usize>, Instant)| {
        let sent = place.filter(|place| *place >= AHEAD).and_then(|place| sent.get(place))?;
        Some(seen.saturating_duration_since(*sent).as_secs_f64() * 1e3)
    };
    let mut lags: Vec<f64> = seen.iter().filter_map(lag).collect();
    lags.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (lags.len().saturating_sub(1) as f64 * share) as usize;
        lags.get(place).copied().unwrap_or(0.0)
    };
    let commit_ms = Pace::default().speak_ms as f64;
    Cost {
        bench: "lag".to_owned(),
        figure: at(0.99),
        unit: "ms from an event to its committed alert at 20,000 events a second, 99th percentile",
        goal: Goal::AtMost(commit_ms + MORE_MS),
        detail: vec![
            ("events", events as f64),
            ("events_per_s", if paced > 0.0 { (events as f64 / paced).round() } else { 0.0 }),
            ("alerts", expected.count as f64),
            ("alerts_measured", lags.len() as f64),
            ("commit_interval_ms", commit_ms),
            ("p50_ms", at(0.5)),
            ("max_ms", at(1.0)),
            ("service_cpu_s", served.cpu_seconds()),
        ],
    }
    .show(args)?;
    Ok(u8::from(!right))
}
