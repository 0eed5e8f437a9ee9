//! One published workload: the matcher and the plain loop take turns on the same events, and both answers are verified.

use super::BenchArgs;
use super::events::{Generator, Row, SEED};
use super::limit::{self, Found};
use super::matcher::{Decoded, Matcher, compile};
use super::process::{self, Spent, median, spend};
use super::workload::Workload;
use crate::console::say;
use crate::failure::Failure;
use serde::Serialize;

/// What is printed.
#[derive(Debug, Serialize)]
struct Report<'a> {
    workload: &'a str,
    events: u64,
    matches: u64,
    checksum: String,
    /// Against what the answer was verified.
    verified: &'static str,
    rounds: u32,
    cpu_s: f64,
    wall_s: f64,
    peak_rss_bytes: u64,
    events_per_cpu_s: f64,
    plain_cpu_s: f64,
    plain_events_per_cpu_s: f64,
    /// Of the matcher's rate to the plain loop's.
    ratio: f64,
    goal_events_per_cpu_s: Option<f64>,
    met: Option<bool>,
    load: f64,
}

/// Runs it.
///
/// # Errors
/// The seed is 0.
pub(super) fn run(args: &BenchArgs, workload: &Workload) -> Result<u8, Failure> {
    let events = args.events.unwrap_or_else(|| workload.default_events());
    let seed = args.seed()?;
    let mut generator = Generator::new(workload, seed);
    let rows: Vec<Row> = (0..events).map(|_| generator.row()).collect();
    let module = compile(&workload.name, workload.rules())?;
    let decoded = Decoded::new(workload, &rows, &Matcher::new(&module, true)?.fields());
    let (mut matcher_rounds, mut plain_rounds) = (Vec::new(), Vec::new());
    let (mut found, mut plain, mut peak_rss_bytes) = (Found::default(), Found::default(), 0);
    for round in 0..args.rounds {
        let mut matcher = Matcher::new(&module, true)?;
        let (answer, spent) = spend(|| decoded.run(&mut matcher));
        if round == 0 {
            // Before the plain loop has taken memory of its own.
            peak_rss_bytes = process::peak_rss();
        }
        drop(matcher);
        matcher_rounds.push(spent);
        let (plain_answer, spent) = spend(|| limit::find(workload, rows.iter().copied()));
        plain_rounds.push(spent);
        (found, plain) = (answer, plain_answer);
    }
    let (matcher, plain_loop) = (median(matcher_rounds), median(plain_rounds));
    let (rate, goal) = (matcher.rate(events), workload.goal(events, found.matches));
    let published = workload.answer(events).filter(|_| seed == SEED);
    let report = Report {
        workload: &workload.name,
        events,
        matches: found.matches,
        checksum: format!("{:016x}", found.checksum),
        verified: if published.is_some() { "published" } else { "plain loop" },
        rounds: args.rounds,
        cpu_s: matcher.cpu_s,
        wall_s: matcher.wall_s,
        peak_rss_bytes,
        events_per_cpu_s: rate.round(),
        plain_cpu_s: plain_loop.cpu_s,
        plain_events_per_cpu_s: plain_loop.rate(events).round(),
        ratio: ratio(matcher, plain_loop),
        goal_events_per_cpu_s: goal.map(f64::round),
        met: goal.map(|goal| rate >= goal),
        load: process::load(),
    };
    args.report(&report, &report.text())?;
    if published.is_none() {
        say!("no published answer for {events} events and this seed: verified by the plain loop");
    }
    Ok(u8::from(!verify(found, plain, published)))
}

/// How much of the limit's rate is reached.
fn ratio(measured: Spent, limit: Spent) -> f64 {
    if measured.cpu_s > 0.0 { (limit.cpu_s / measured.cpu_s * 1e4).round() / 1e4 } else { 0.0 }
}

/// Both answers are the published one, or at least the same.
fn verify(found: Found, plain: Found, published: Option<(u64, u64)>) -> bool {
    let expected = published.map_or(plain, |(matches, checksum)| Found { matches, checksum });
    let mut right = true;
    for (who, answer) in [("the matcher", found), ("the plain loop", plain)] {
        if answer != expected {
            let Found { matches, checksum } = answer;
            say!("wrong: {who} found {matches} matches, checksum {checksum:016x}");
            right = false;
        }
    }
    if !right {
        say!("expected {} matches, checksum {:016x}", expected.matches, expected.checksum);
    }
    right
}

impl Report<'_> {
    fn text(&self) -> String {
        let Self { workload, events, matches, checksum, cpu_s, wall_s, .. } = self;
        let (rate, plain) = (self.events_per_cpu_s, self.plain_events_per_cpu_s);
        let goal = match (self.goal_events_per_cpu_s, self.met) {
            (Some(goal), Some(true)) => format!("goal       {goal:>11.0}: met"),
            (Some(goal), _) => format!("goal       {goal:>11.0}: missed"),
            _ => "no goal for this parameter".to_owned(),
        };
        format!(
            "{workload}: {events} events, {matches} matches, checksum {checksum}\n\
             matcher    {rate:>11.0} events per CPU-second (cpu {cpu_s:.3} s, wall {wall_s:.3} s)\n\
             plain loop {plain:>11.0} events per CPU-second; ratio {:.3}\n\
             {goal}\n\
             medians of {} rounds; peak memory {} MiB (events included), load average {}",
            self.ratio,
            self.rounds,
            self.peak_rss_bytes >> 20,
            self.load
        )
    }
}
