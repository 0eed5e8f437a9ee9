//! Why a rule did or did not fire for a key: every attempt, how far it got, and the first test that failed.
//!
//! `replay` runs the key's events through the rule once more and keeps everything; `trace` has the matcher's own search
//! write down what it turns down; `verdict` puts both together. There is no second matcher: "fired" is what the rule
//! fired, and a test that failed is one that the search made.

pub(crate) mod failure;
pub(crate) mod history;
mod replay;
pub(crate) mod trace;
mod verdict;

use crate::alert::{Alert, EvidenceEvent, Shown};
use crate::emit::evidence_event_of;
use crate::event::Event;
use crate::program::Program;
use crate::task::Task;
use crate::value::Value;
use pattern_dsl::types::Micros;

use history::is_named;

pub use failure::{Failure, FailureKind};

/// What is known of one rule and key.
#[derive(Debug, Clone, Default)]
pub struct Why {
    /// The key asked for, by its parts.
    pub key: Vec<Shown>,
    /// The rule's alerts and the attempts that gave none, in order of their first events.
    pub attempts: Vec<Attempt>,
    /// Events that could be a first one but for their own values: how many, and the test that the nearest failed.
    pub misses: u64,
    /// The test that the nearest of them failed.
    pub closest: Option<Failure>,
    /// Events of the key in the rule's streams.
    pub events: u64,
    /// The streams whose events may begin a match.
    pub begins: Vec<String>,
    /// Events of the key that were dropped, or that the rule does not see.
    pub dropped: Vec<Dropped>,
    /// Events of the rule's streams with a null key.
    pub null_keys: u64,
    /// The names of the first of them.
    pub null_samples: Vec<Shown>,
    /// Where time stands; none before the first event.
    pub now: Option<Micros>,
    /// Where no event has the key: those that look most like it, by their parts.
    pub near: Vec<Vec<Shown>>,
}

/// One attempt: a choice that fired, or the furthest choice from a first event that began none that did.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What the steps took, in written order; steps without events are left out.
    pub steps: Vec<Taken>,
    /// How it ended.
    pub verdict: Verdict,
}

/// What one step took.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Alias or stream.
    pub step: String,
    /// The stream.
    pub stream: String,
    /// The events.
    pub events: Vec<EvidenceEvent>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It raised this alert.
    Fired(Box<Alert>),
    /// It is a match, but the cool-down that began at the first time silenced it at the second.
    CoolDown(Micros, Micros),
    /// An alert used up its events before it was complete: the alert's time and first event.
    UsedUp(Micros, Shown),
    /// At the moment it was complete an earlier choice was reported: the moment and that choice's first event.
    Beaten(Micros, Shown),
    /// A test failed: which, and how many more events it turned down.
    Stopped(Box<Failure>, u64),
    /// It is a match, and a cap kept it from being found or sent.
    Capped,
    /// It is a match and did not fire: a fault of the matcher. Tests look for this.
    Missed,
}

/// Why an event was not matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// Older than the watermark it missed.
    Late(Micros),
    /// Its id was seen before.
    Duplicate,
    /// It fails the rule's `from .. where`.
    Filtered,
    /// Before the rule was active.
    NotActive(Micros),
    /// Time has not yet reached it.
    Waiting,
}

/// An event that the rule did not match.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// Its stream.
    pub stream: String,
    /// The event.
    pub event: EvidenceEvent,
    /// Why.
    pub why: Drop,
}

impl Task {
    /// Why a rule did or did not fire for a key, given by the text of each of its parts. Needs `keep_history`. None if there
    /// is no such rule.
    #[must_use]
    pub fn why(&self, rule: &str, key: &[String]) -> Option<Why> {
        let number = self.rules.iter().rposition(|run| run.program.name == rule)?;
        let history = self.history.as_ref()?;
        let program = history.programs.get(rule)?;
        let (null_keys, samples) = history.nulls.get(rule).cloned().unwrap_or_default();
        let mut why = Why {
            null_keys,
            null_samples: samples,
            key: shown_key(program, key),
            now: self.clock.newest,
            ..Why::default()
        };
        let from = self.rules.get(number).and_then(|run| run.state.from);
        let Some(values) = self.key_values(program, key) else {
            why.near =
                history.near(rule, &key.join(",")).iter().map(|near| shown_key(program, near)).collect();
            return Some(why);
        };
        // Of a masked part the value itself is hashed, as it is in alerts.
        for (part, value) in why.key.iter_mut().zip(&values).filter(|(part, _)| part.masked) {
            part.value = value.clone();
        }
        let replay = replay::Replay::new(self, number, history, program, values);
        why.events = replay.events;
        let first = program.first_steps();
        why.begins =
            program.texts.get(first).unwrap_or_default().iter().map(|s| s.stream_name.to_string()).collect();
        why.begins.dedup();
        let late = history.events.iter().filter_map(|(event, dropped)| Some((event, (*dropped)?)));
        let late = late.filter(|(event, _)| is_of_key(program, event, key));
        let filtered = replay.filtered.iter().map(|event| (event, Drop::Filtered));
        let waiting = replay.waiting.iter().map(|event| (event, Drop::Waiting));
        let mut dropped: Vec<Dropped> = late
            .chain(filtered)
            .chain(waiting)
            .map(|(event, why)| self.dropped(program, event, why))
            .collect();
        if let Some(from) = from {
            let kept = history.events.iter().filter(|(event, dropped)| dropped.is_none() && event.ts < from);
            let early = kept.filter(|(event, _)| is_of_key(program, event, key));
            dropped.extend(early.map(|(event, _)| self.dropped(program, event, Drop::NotActive(from))));
        }
        why.dropped = dropped;
        verdict::attempts(&replay, &mut why);
        Some(why)
    }

    /// The key's values as some event has them.
    fn key_values(&self, program: &Program, key: &[String]) -> Option<Vec<Value>> {
        let history = self.history.as_ref()?;
        let alerts = history.alerts.iter().map(|alert| &alert.event);
        let mut events = history.events.iter().map(|(event, _)| event).chain(alerts);
        events.find_map(|event| {
            let slots = slots_of(program, event, key)?;
            Some(slots.iter().map(|slot| event.view().slot(*slot).clone()).collect())
        })
    }

    fn dropped(&self, program: &Program, event: &Event, why: Drop) -> Dropped {
        let at = program.streams.iter().position(|stream| *stream == event.stream);
        let stream = at.and_then(|at| program.stream_names.get(at)).map(ToString::to_string);
        let shown = at.and_then(|at| program.steps.iter().position(|step| step.stream == at));
        let shown = shown.and_then(|step| program.texts.get(step)).map_or(&[][..], |text| &text.shown);
        let event = evidence_event_of(program, event, shown, &self.partition_names);
        Dropped { stream: stream.unwrap_or_default(), event, why }
    }
}

/// A key by the texts of its parts.
fn shown_key(program: &Program, key: &[String]) -> Vec<Shown> {
    let masked = |part: usize| program.keys.get(part).is_some_and(|(_, masked)| *masked);
    let parts = key.iter().enumerate();
    parts
        .map(|(part, text)| Shown { value: Value::String(text.as_str().into()), masked: masked(part) })
        .collect()
}

/// The slots in which some role finds the key.
fn slots_of<'p>(program: &'p Program, event: &Event, key: &[String]) -> Option<&'p [usize]> {
    let roles = program.roles.iter().filter(|role| program.streams.get(role.stream) == Some(&event.stream));
    let mut found = roles.filter(|role| {
        role.keys.len() == key.len()
            && role.keys.iter().zip(key).all(|(slot, part)| is_named(event.view().slot(*slot), part))
    });
    found.next().map(|role| role.keys.as_slice())
}

fn is_of_key(program: &Program, event: &Event, key: &[String]) -> bool {
    slots_of(program, event, key).is_some()
}
