//! `bench`: the matcher alone on a published workload; wrong answers exit with 1.
//!
//! Events are made before the clock starts. CPU time and peak memory are the process's own, from `/proc`.

use super::workload::{Generator, SEED, Words, Workload};
use crate::console::{say, tell};
use crate::failure::Failure;
use clap::Args;
use engine::event::EventRef;
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use pattern_dsl::{Environment, SourceText};
use std::collections::BTreeMap;
use std::time::Instant;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// W0, W1, W2, W3, W4:P, W5, W6:P or W7:P
    workload: String,
    /// How many events
    #[arg(long)]
    events: Option<u64>,
    /// Seed of the generator
    #[arg(long)]
    seed: Option<u64>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug)]
struct Measured {
    matches: u64,
    checksum: u64,
    cpu_s: f64,
    wall_s: f64,
}

/// Runs it.
///
/// # Errors
/// An unknown workload.
pub fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let Some(workload) = Workload::parse(&args.workload) else {
        return Err(Failure::usage(format!(
            "`{}`: expected W0 W1 W2 W3 W4:P W5 W6:P or W7:P",
            args.workload
        )));
    };
    let events = args.events.unwrap_or_else(|| workload.default_events());
    let seed = args.seed.unwrap_or(SEED);
    if seed == 0 {
        return Err(Failure::usage("--seed 0: the generator needs a seed other than 0"));
    }
    let measured = measure(&workload, events, seed)?;
    let Measured { matches, checksum, cpu_s, wall_s } = &measured;
    let peak = peak_rss();
    if args.json {
        let name = &workload.name;
        tell!(
            "{{\"workload\":\"{name}\",\"events\":{events},\"matches\":{matches},\"checksum\":\"{checksum:016x}\",\
             \"cpu_s\":{cpu_s:.6},\"wall_s\":{wall_s:.6},\"peak_rss_bytes\":{peak}}}"
        );
    } else {
        let rate = |seconds: f64| if seconds > 0.0 { events as f64 / seconds } else { 0.0 };
        tell!("{}: {events} events, {matches} matches, checksum {checksum:016x}", workload.name);
        tell!("cpu {cpu_s:.3} s ({:.0} events per CPU-second), wall {wall_s:.3} s", rate(*cpu_s));
        tell!("peak memory {} MiB (events included), load average {}", peak >> 20, load());
    }
    match workload.answer(events).filter(|_| seed == SEED) {
        Some((m, c)) if (m, c) != (*matches, *checksum) => {
            say!("wrong: expected {m} matches, checksum {c:016x}");
            Ok(1)
        }
        Some(_) => Ok(0),
        None => {
            say!("no published answer for {events} events and this seed");
            Ok(0)
        }
    }
}

fn measure(workload: &Workload, events: u64, seed: u64) -> Result<Measured, Failure> {
    let sources = [SourceText { name: format!("{}.cep", workload.name), text: workload.rules() }];
    let compiled = crate::ruleset::compile(&sources, &Environment::default(), false)?;
    let limits = Limits::default();
    let mut task = Task::new(Options { limits, count_only: true, sorted_input: false, keep_history: false });
    task.activate(&compiled.module, &BTreeMap::new(), None)
        .map_err(|error| Failure::finding(error.to_string()))?;
    let stream =
        task.stream_id("ev").ok_or_else(|| Failure::finding("the task does not know stream `ev`"))?;
    let partition = task.add_partition(Partition { name: "bench".to_owned(), streams: vec![stream] });
    let fields: Vec<String> = task
        .layout()
        .streams
        .get(stream as usize)
        .map_or_else(Vec::new, |layout| layout.fields.iter().map(|f| f.path.join(".")).collect());
    let words = Words::new(workload);
    let mut generator = Generator::new(workload, seed);
    let count = usize::try_from(events).unwrap_or(usize::MAX);
    let mut times = Vec::with_capacity(count);
    let mut values: Vec<Value> = Vec::with_capacity(count.saturating_mul(fields.len()));
    for _ in 0..count {
        let row = generator.row();
        times.push(row.ts * 1_000);
        values.extend(fields.iter().map(|f| words.value(&row, f)));
    }
    let mut out = Outputs::default();
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    for (at, ts) in times.iter().enumerate() {
        let slots = values.get(at * fields.len()..(at + 1) * fields.len()).unwrap_or_default();
        let event = EventRef { stream, ts: *ts, partition, offset: at as u64, id: None, slots };
        task.step(Input::Event(event), &mut out);
    }
    task.step(Input::End, &mut out);
    let (cpu_s, wall_s) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let mut measured = Measured { matches: 0, checksum: 0, cpu_s, wall_s };
    for (_, stats) in task.stats() {
        measured.matches += stats.matches;
        measured.checksum = measured.checksum.wrapping_add(stats.checksum);
    }
    Ok(measured)
}

/// CPU seconds of all threads of this process.
fn cpu_seconds() -> f64 {
    let mut nanoseconds = 0u64;
    if let Ok(threads) = std::fs::read_dir("/proc/self/task") {
        for thread in threads.flatten() {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    nanoseconds as f64 / 1e9
}

/// Peak resident memory of this process in bytes.
fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
