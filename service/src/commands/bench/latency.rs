//! `bench latency`: how long one event takes at a fixed pace, alerts built.

use super::BenchArgs;
use super::events::{Generator, Row, Words};
use super::matcher::{Matcher, compile};
use super::report::{Cost, Goal};
use super::workload::Workload;
use crate::failure::Failure;
use engine::task::Outputs;
use engine::value::Value;
use std::time::{Duration, Instant};

const PER_SECOND: u64 = 20_000;
/// Events before the measured ones, as fast as they go, so that matches are open.
const AHEAD: u64 = 200_000;

/// W1 and W3 at 20,000 events a second.
///
/// # Errors
/// The seed is 0.
pub(super) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    for name in ["W1", "W3"] {
        let Some(workload) = Workload::parse(name) else { continue };
        one(args, &workload)?;
    }
    Ok(0)
}

fn one(args: &BenchArgs, workload: &Workload) -> Result<(), Failure> {
    let events = args.events.unwrap_or(5 * PER_SECOND);
    let mut generator = Generator::new(workload, args.seed()?);
    let mut matcher = Matcher::new(&compile(&workload.name, workload.rules())?, false)?;
    let (words, fields) = (Words::new(workload), matcher.fields());
    let mut out = Outputs::default();
    let mut slots: Vec<Value> = Vec::new();
    let mut alerts = 0;
    let mut take = |row: &Row, offset: u64| {
        slots.clear();
        slots.extend(fields.iter().map(|field| words.value(row, field)));
        let before = Instant::now();
        matcher.event(row.ts * 1_000, offset, &slots, &mut out);
        let took = before.elapsed();
        alerts += out.alerts.len();
        out.alerts.clear();
        took
    };
    for offset in 0..AHEAD {
        take(&generator.row(), offset);
    }
    let mut times = Vec::with_capacity(usize::try_from(events).unwrap_or(0));
    let begin = Instant::now();
    for number in 0..events {
        let due = Duration::from_nanos(number * (1_000_000_000 / PER_SECOND));
        if let Some(early) = due.checked_sub(begin.elapsed()) {
            std::thread::sleep(early);
        }
        times.push(take(&generator.row(), AHEAD + number));
    }
    let paced = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let micros = |share: f64| {
        let at = (times.len().saturating_sub(1) as f64 * share) as usize;
        times.get(at).map_or(0.0, |time| time.as_nanos() as f64 / 1e3)
    };
    Cost {
        bench: format!("latency:{}", workload.name),
        figure: micros(0.99),
        unit: "microseconds for one event, 99th percentile",
        goal: Goal::Open,
        detail: vec![
            ("events", events as f64),
            ("events_per_s", if paced > 0.0 { (events as f64 / paced).round() } else { 0.0 }),
            ("alerts", alerts as f64),
            ("p50_us", micros(0.5)),
            ("p99_us", micros(0.99)),
            ("max_us", micros(1.0)),
        ],
    }
    .show(args)
}
