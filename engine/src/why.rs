//! Why a rule did or did not fire for a key: its attempts, step by step, with the comparison that failed.
//!
//! Over the events of one key, from each that fits the first step: at each later step the first event that fits, as far as
//! that goes. The tests are those that the matcher runs; only the walk is simpler, and "fired" is what did fire.

use crate::alert::{Alert, Evidence};
use crate::event::Event;
use crate::expr::{Scope, identity};
use crate::program::{BoundProgram, Program, StepProgram};
use crate::row::Row;
use crate::task::Task;
use crate::value::{Value, format_duration};
use pattern_dsl::types::Micros;
use std::sync::Arc;

/// One attempt, as `why` tells it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// True if this attempt fired.
    pub fired: bool,
    /// For each step begun: its name, time, event ids.
    pub steps: Vec<(String, Micros, Vec<String>)>,
    /// The step or clause that failed: name.
    pub failed_at: Option<String>,
    /// The comparison's text with both values, or why nothing came (`no transfer within 1h of entry`).
    pub because: Option<String>,
}

/// Attempts shown for one rule.
const SHOWN: usize = 3;

impl Task {
    /// The closest attempts of a rule for one key, best first; those that fired before all. Needs `keep_history`.
    #[must_use]
    pub fn attempts(&self, rule: &str, key: &[String]) -> Vec<Attempt> {
        let Some(run) = self.rules.iter().rfind(|run| run.program.name == rule) else { return Vec::new() };
        let walk = Walk::new(self, &run.program, key);
        let Some(first) = run.program.steps.first() else { return Vec::new() };
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut closest: Option<Attempt> = None;
        for (at, row) in walk.rows.iter().enumerate() {
            if !walk.has_key(first, row) {
                continue;
            }
            match walk.failing(0, &[], row) {
                None => attempts.push(walk.attempt(at)),
                Some(because) => {
                    closest = Some(Attempt {
                        fired: false,
                        steps: Vec::new(),
                        failed_at: Some(first.name.to_string()),
                        because: Some(format!("{} at {}: {because}", first.stream_name, walk.name(row))),
                    });
                }
            }
        }
        if attempts.is_empty() {
            attempts.extend(closest);
        }
        attempts.sort_by_key(|attempt| (!attempt.fired, std::cmp::Reverse(attempt.steps.len())));
        attempts.truncate(SHOWN.max(attempts.iter().filter(|attempt| attempt.fired).count()));
        attempts
    }

    pub(crate) fn remember(&mut self, alerts: &[Alert]) {
        for alert in alerts {
            let first = alert.evidence.iter().find_map(|evidence| match evidence {
                Evidence::Step { events, .. } => events.first().map(|event| event.id.clone()),
                Evidence::Absence { .. } => None,
            });
            self.fired.extend(first.map(|first| (alert.rule.clone(), first)));
        }
    }
}

/// The events of one key, in the rule's order.
struct Walk<'a> {
    task: &'a Task,
    program: &'a Program,
    key: Vec<Value>,
    rows: Vec<Row>,
}

impl<'a> Walk<'a> {
    fn new(task: &'a Task, program: &'a Program, wanted: &[String]) -> Self {
        let mut events: Vec<(usize, &Arc<Event>)> = Vec::new();
        let mut key = Vec::new();
        for event in &task.history {
            let rank = program.streams.iter().position(|stream| *stream == event.stream);
            let Some(rank) = rank else { continue };
            let slots = program.roles.iter().filter(|role| role.stream == rank).find(|role| {
                role.keys.len() == wanted.len()
                    && role
                        .keys
                        .iter()
                        .zip(wanted)
                        .all(|(slot, part)| event.view().slot(*slot).to_string() == *part)
            });
            if let Some(role) = slots {
                key = role.keys.iter().map(|slot| event.view().slot(*slot).clone()).collect();
                events.push((rank, event));
            }
        }
        events.sort_by_key(|(rank, event)| (event.ts, *rank, event.partition, event.offset));
        let rows = events.iter().enumerate().map(|(at, (_, event))| Row {
            pos: at as u64 + 1,
            ts: event.ts,
            reach_ts: event.ts,
            own_before: 0,
            union_before: 0,
            floor: 0,
            seen: Box::default(),
            marked: false,
            event: Arc::clone(event),
            windows: Box::default(),
        });
        Self { task, program, key, rows: rows.collect() }
    }

    fn has_key(&self, step: &StepProgram, row: &Row) -> bool {
        self.program.streams.get(step.stream) == Some(&row.event.stream)
    }

    fn name(&self, row: &Row) -> String {
        format!(
            "{} ({})",
            crate::value::format_instant(row.ts),
            identity(&row.event.view(), &self.task.partition_names)
        )
    }

    /// The first term that does not hold for a row as the step's event, with its values.
    fn failing(&self, number: usize, taken: &[Vec<&Row>], row: &Row) -> Option<String> {
        let step = self.program.steps.get(number)?;
        // Windows are not replayed here: terms that read them are left to the run itself.
        let scope = Scope {
            this: Some(row.event.view()),
            key: &self.key,
            taken,
            own: number,
            windows: &[],
            latches: u32::MAX,
            partitions: &self.task.partition_names,
            tables: &self.task.tables,
            time: row.ts,
        };
        let failed = step.terms.iter().find(|term| {
            let unread =
                term.sides.as_ref().is_some_and(|(left, right)| left.reads_window() || right.reads_window());
            !unread && term.test.test(&scope) != Some(true)
        })?;
        Some(match &failed.sides {
            Some((left, right)) => {
                format!("`{}` is {} against {}", failed.text, left.eval(&scope), right.eval(&scope))
            }
            None => format!("`{}` is {}", failed.text, failed.test.eval(&scope)),
        })
    }

    fn attempt(&self, at: usize) -> Attempt {
        let mut taken: Vec<Vec<&Row>> = Vec::new();
        let (mut from, mut failure) = (at, None);
        for (number, step) in self.program.steps.iter().enumerate() {
            let (rows, next, because) = self.follow(number, step, &taken, from);
            let enough = rows.len() >= step.min;
            if !rows.is_empty() {
                taken.push(rows);
            }
            from = next;
            if !enough {
                failure = Some((step.name.to_string(), because));
                break;
            }
        }
        let first = taken.first().and_then(|rows| rows.first()).map(|row| self.id(row)).unwrap_or_default();
        let fired = self.task.fired.iter().any(|(rule, id)| *rule == self.program.name && *id == first);
        let steps = self.program.steps.iter().zip(&taken).map(|(step, rows)| {
            let ts = rows.first().map_or(0, |row| row.ts);
            (step.name.to_string(), ts, rows.iter().map(|row| self.id(row)).collect())
        });
        if !fired && failure.is_none() {
            let why = "every step has its event, but an absence, an arrow, a window, `having`, `unless`, the cool-down or an \
                       earlier alert stands against it";
            failure = Some(("match".to_owned(), why.to_owned()));
        }
        Attempt {
            fired,
            steps: steps.collect(),
            failed_at: failure.as_ref().filter(|_| !fired).map(|(step, _)| step.clone()),
            because: failure.filter(|_| !fired).map(|(_, because)| because),
        }
    }

    fn id(&self, row: &Row) -> String {
        identity(&row.event.view(), &self.task.partition_names).to_string()
    }

    /// The events that a step takes from `from` on, where to go on, and what failed last if they are too few.
    fn follow<'w>(
        &'w self,
        number: usize,
        step: &StepProgram,
        taken: &[Vec<&Row>],
        from: usize,
    ) -> (Vec<&'w Row>, usize, String) {
        let first = taken.first().and_then(|rows| rows.first()).map(|row| row.ts);
        let before = taken.last().and_then(|rows| rows.last()).map(|row| row.ts);
        let mut rows: Vec<&Row> = Vec::new();
        let mut because = format!("no `{}` came after it", step.stream_name);
        for (at, row) in self.rows.iter().enumerate().skip(from) {
            if !self.has_key(step, row) {
                continue;
            }
            if let Some(late) = self.too_late(step, row.ts, first.or(rows.first().map(|row| row.ts)), before)
            {
                return (rows, at, if because.starts_with('`') { because } else { late + &self.name(row) });
            }
            match self.failing(number, taken, row) {
                None => rows.push(row),
                Some(failed) => because = format!("{failed}, at {}", self.name(row)),
            }
            if rows.len() >= step.min {
                return (rows, at + 1, String::new());
            }
        }
        (rows, self.rows.len(), because)
    }

    fn too_late(
        &self,
        step: &StepProgram,
        ts: Micros,
        first: Option<Micros>,
        before: Option<Micros>,
    ) -> Option<String> {
        let unit = self.program.units.get(step.unit)?;
        if let (Some(within), Some(before)) = (unit.within.as_ref().map(BoundProgram::longest), before)
            && ts - before > within
        {
            let over = format_duration(ts - before);
            return Some(format!(
                "within {} of the step before, but {over} passed until ",
                format_duration(within)
            ));
        }
        let first = first?;
        let within = self.program.rule.within?;
        let over = format_duration(ts - first);
        (ts - first > within).then(|| format!("within {}, but {over} passed until ", format_duration(within)))
    }
}
