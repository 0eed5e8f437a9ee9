//! `bench json --threads T`: the same lines decoded by several threads and matched by one, beside one thread.

use super::BenchArgs;
use super::json::{Lines, matches};
use super::limit::Found;
use super::matcher::Matcher;
use super::process::thread_seconds;
use super::report::{Cost, Goal};
use crate::console::say;
use crate::failure::Failure;
use crate::files::{Compression, EventFile, Format, StreamOf};
use crate::input::Lane;
use crate::input::arrival::Arrived;
use crate::input::parallel::{Batch, Crew, Source, Units, in_order};
use crate::pipeline::stream_infos;
use engine::event::EventRef;
use engine::task::{Input, Outputs};
use pattern_dsl::ir;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;

/// Measures it; false if an answer is wrong.
///
/// # Errors
/// The rules cannot be activated.
pub(super) fn run(
    args: &BenchArgs,
    module: &ir::Module,
    lines: &Lines,
    expected: Found,
) -> Result<bool, Failure> {
    let mut rounds = Vec::new();
    let mut right = true;
    for _ in 0..args.rounds {
        let (wall, cpu) = (Instant::now(), thread_seconds());
        let alone = matches(module, lines)?;
        let (one_wall, one_cpu) = (wall.elapsed().as_secs_f64(), thread_seconds() - cpu);
        let wall = Instant::now();
        let (found, busiest) = together(args.threads as usize, module, lines)?;
        rounds.push((one_wall / wall.elapsed().as_secs_f64(), one_cpu / busiest));
        if found != expected || alone != expected {
            say!("wrong: {found:?} and {alone:?}, expected {expected:?}");
            right = false;
        }
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(0.0)
    };
    Cost {
        bench: format!("json, {} threads", args.threads),
        figure: median(|round| round.0),
        unit: "times as fast as one thread, by the clock",
        goal: if args.threads == 2 { Goal::AtLeast(1.8) } else { Goal::Open },
        detail: vec![
            ("events", lines.count() as f64),
            // What the clock would say if no other process took a core.
            ("by_cpu_of_busiest_thread", median(|round| round.1)),
        ],
    }
    .show(args)?;
    Ok(right)
}

/// What is found, and the CPU seconds of the thread that had most of them.
fn together(threads: usize, module: &ir::Module, lines: &Lines) -> Result<(Found, f64), Failure> {
    let begun = thread_seconds();
    let mut matcher = Matcher::new(module, true)?;
    let infos = stream_infos(&mut matcher.task, module);
    let file = EventFile {
        path: "ev.jsonl".into(),
        name: "ev.jsonl".to_owned(),
        format: Format::Jsonl,
        compression: Compression::None,
        stream: StreamOf::Named("ev".to_owned()),
    };
    let lane = || Lane::new(&file, matcher.partition, None, &infos, false);
    let units = Arc::new(Units::new(&[lane()?]));
    let crews = (0..threads).map(|_| Ok(Crew::new(vec![lane()?], units.clone(), false)));
    let crews = crews.collect::<Result<Vec<_>, Failure>>()?;
    let used = Mutex::new(Vec::new());
    let partition = matcher.partition;
    let mut out = Outputs::default();
    in_order(Feed { lines, next: 0, used: &used }, crews, &mut |arrived| match arrived {
        Arrived::Event { line, stream, decoded, .. } => {
            let event = EventRef {
                stream,
                ts: decoded.ts,
                partition,
                offset: line,
                id: decoded.id,
                slots: decoded.slots,
            };
            matcher.task.step(Input::Event(event), &mut out);
            Ok(())
        }
        _ => Err(Failure::finding("a line was not decoded")),
    })?;
    let found = matcher.end(&mut out);
    let own = thread_seconds() - begun;
    let used = used.into_inner().unwrap_or_else(PoisonError::into_inner);
    let others = used.iter().filter(|(id, ..)| *id != std::thread::current().id());
    Ok((found, others.map(|(_, first, last)| last - first).fold(own, f64::max)))
}

/// Lines, and what each thread that asks for them has used from its first time to its last.
struct Feed<'a> {
    lines: &'a Lines,
    next: usize,
    used: &'a Mutex<Vec<(ThreadId, f64, f64)>>,
}

impl Source for Feed<'_> {
    fn fill(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let (id, now) = (std::thread::current().id(), thread_seconds());
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.iter_mut().find(|(known, ..)| *known == id) {
            Some((.., last)) => *last = now,
            None => used.push((id, now, now)),
        }
        while !batch.is_full()
            && let Some(line) = self.lines.get(self.next)
        {
            batch.push(0, self.next as u64, line);
            self.next += 1;
        }
        Ok(())
    }
}
