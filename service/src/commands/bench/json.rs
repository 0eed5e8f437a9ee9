//! `bench json`: from bytes to matches through the decoder of `run`, beside the fastest parse alone.

use super::BenchArgs;
use super::events::{Generator, Row};
use super::limit::{self, Found};
use super::matcher::{Matcher, compile};
use super::process::{median, spend};
use super::report::{Cost, Goal};
use super::threads;
use super::workload::Workload;
use crate::console::say;
use crate::decode::Decoder;
use crate::failure::Failure;
use crate::pipeline::stream_infos;
use engine::event::EventRef;
use engine::task::{Input, Outputs};
use pattern_dsl::ir;
use serde::Deserialize;
use std::hint::black_box;

/// Five of the nine fields are read.
const RULES: &str = "stream ev {
  time ts in order as epoch_ms
  key key
  fields { key: string, type: string, amount: float, country: string }
}
rule json {
  by key
  match within 10m {
    ev as a where amount < 10 and country != \"NG\"
    then first ev as b where amount > 900 and type != \"logout\"
    then first ev as c where amount > 900 and type != \"logout\"
  }
  overlap all
}
";

/// What the parse alone reads: the same five fields, its text borrowed from the line.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "parsed, and then thrown away")]
struct Wanted<'a> {
    ts: i64,
    #[serde(borrow)]
    key: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    amount: f64,
    country: &'a str,
}

/// Runs it.
///
/// # Errors
/// The seed is 0.
pub(super) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let workload = Workload { number: 1, parameter: 0, name: "json".to_owned(), keys: 10_000 };
    let events = args.events.unwrap_or(1_000_000);
    let mut generator = Generator::new(&workload, args.seed()?);
    let rows: Vec<Row> = (0..events).map(|_| generator.row()).collect();
    let lines = Lines::new(&rows);
    let low = |row: &Row| row.amount < 10.0 && row.country() != "NG";
    let high = |row: &Row| row.amount > 900.0 && row.kind() != "logout";
    let expected = limit::low_high_high(rows.iter().copied(), workload.keys as usize, low, high);
    let module = compile(&workload.name, RULES.to_owned())?;
    let (mut ours, mut parses) = (Vec::new(), Vec::new());
    let mut right = true;
    for _ in 0..args.rounds {
        let (found, spent) = spend(|| matches(&module, &lines));
        ours.push(spent);
        let found = found?;
        if found != expected {
            say!("wrong: {found:?}, expected {expected:?}");
            right = false;
        }
        let (parsed, spent) = spend(|| parse(&lines));
        parses.push(spent);
        parsed?;
    }
    let (ours, parse) = (median(ours), median(parses));
    let cost = Cost {
        bench: workload.name,
        figure: if ours.cpu_s > 0.0 { parse.cpu_s / ours.cpu_s } else { 0.0 },
        unit: "of the rate of the parse alone (serde_json, typed and borrowed)",
        goal: Goal::AtLeast(0.8),
        detail: vec![
            ("events", events as f64),
            ("bytes_per_event", lines.bytes_per_line()),
            ("matches", expected.matches as f64),
            ("events_per_cpu_s", ours.rate(events).round()),
            ("parse_events_per_cpu_s", parse.rate(events).round()),
        ],
    };
    cost.show(args)?;
    if args.threads > 1 {
        right &= threads::run(args, &module, &lines, expected)?;
    }
    Ok(u8::from(!right))
}

/// Lines of JSON; where each ends is known, so that neither side looks for it.
pub(super) struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn new(rows: &[Row]) -> Self {
        let mut lines = Self { bytes: Vec::new(), ends: Vec::new() };
        for (at, row) in rows.iter().enumerate() {
            let line = format!(
                "{{\"ts\":{},\"id\":\"e-{at:08}\",\"key\":\"card-{:06}\",\"type\":\"{}\",\"amount\":{},\
                 \"currency\":\"EUR\",\"country\":\"{}\",\"merchant\":\"m-{:06}\",\"terminal\":{}}}",
                row.ts,
                row.key,
                row.kind(),
                row.amount,
                row.country(),
                at % 10_000,
                row.key % 97,
            );
            lines.bytes.extend_from_slice(line.as_bytes());
            lines.ends.push(lines.bytes.len());
        }
        lines
    }

    /// On average.
    pub(super) fn bytes_per_line(&self) -> f64 {
        (self.bytes.len() / self.count().max(1)) as f64
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// One of them.
    pub(super) fn get(&self, at: usize) -> Option<&[u8]> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(start..*self.ends.get(at)?)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count()).map_while(|at| self.get(at))
    }
}

/// From bytes to matches.
pub(super) fn matches(module: &ir::Module, lines: &Lines) -> Result<Found, Failure> {
    let mut matcher = Matcher::new(module, true)?;
    let infos = stream_infos(&mut matcher.task, module);
    let info = infos.iter().find(|info| info.id == matcher.stream);
    let info = info.ok_or_else(|| Failure::finding("the rules declare no stream"))?;
    let mut decoder = Decoder::new(&info.stream, &info.layout);
    let (stream, partition) = (matcher.stream, matcher.partition);
    let mut out = Outputs::default();
    for (offset, line) in lines.iter().enumerate() {
        let decoded = decoder.decode(line).map_err(|error| Failure::finding(error.to_string()))?;
        let event = EventRef {
            stream,
            ts: decoded.ts,
            partition,
            offset: offset as u64,
            id: decoded.id,
            slots: decoded.slots,
        };
        matcher.task.step(Input::Event(event), &mut out);
    }
    Ok(matcher.end(&mut out))
}

/// The parse alone.
fn parse(lines: &Lines) -> Result<(), Failure> {
    for line in lines.iter() {
        let wanted: Wanted<'_> =
            serde_json::from_slice(line).map_err(|error| Failure::finding(error.to_string()))?;
        black_box(&wanted);
    }
    Ok(())
}
