//! What a task remembers for `why`: the events it was given, with those that it dropped, and the alerts that rules read.

use crate::alert::Shown;
use crate::chain::Derived;
use crate::emit::shown_id;
use crate::event::{Event, EventRef};
use crate::program::Program;
use crate::task::Task;
use crate::value::Value;
use crate::why::Drop;
use arcstr::ArcStr;
use pattern_dsl::decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Keys of one rule that are remembered, to suggest one.
const KEYS: usize = 10_000;
/// Events with a null key that are remembered of one rule.
const NULLS: usize = 3;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Only events of one of these keys, part by part; none = all.
    pub(crate) only: Option<Vec<Vec<String>>>,
    pub(crate) events: Vec<(Event, Option<Drop>)>,
    pub(crate) alerts: Vec<Derived>,
    /// By rule: the newest revision, compiled whole (see [`crate::compile::compile`]).
    pub(crate) programs: BTreeMap<String, Arc<Program>>,
    /// By rule: keys that occurred, by the texts of their parts.
    pub(crate) keys: BTreeMap<String, BTreeSet<Vec<String>>>,
    /// By rule: events with a null key, and the names of the first.
    pub(crate) nulls: BTreeMap<String, (u64, Vec<Shown>)>,
}

/// Is it the value that the text of a key's part names, as far as keys go: `3.1` and `3.10` are one key, as in a rule.
pub(crate) fn is_named(value: &Value, text: &str) -> bool {
    let named = match value {
        Value::Null => return false,
        Value::Int(_) | Value::Decimal(_) => Decimal::parse(text).map(Value::decimal),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Ip(_) => text.parse().ok().map(Value::ip),
        Value::String(text_of) => return text_of.as_str() == text,
        _ => None,
    };
    named.map_or_else(|| value.to_string() == text, |named| *value == named)
}

/// The key of an event in the form of `--key`; none if a part is null.
fn key_text(event: &EventRef<'_>, slots: &[usize]) -> Option<Vec<String>> {
    let parts = slots.iter().map(|slot| Some(event.slot(*slot)).filter(|value| !value.is_null()));
    parts.map(|part| part.map(ToString::to_string)).collect()
}

impl History {
    fn note(&mut self, event: &EventRef<'_>, dropped: Option<Drop>, partitions: &[ArcStr]) {
        let mut wanted = self.only.is_none();
        for (rule, program) in &self.programs {
            let roles =
                program.roles.iter().filter(|role| program.streams.get(role.stream) == Some(&event.stream));
            let mut null = false;
            let mut seen: Vec<&[usize]> = Vec::new();
            for role in roles {
                if seen.contains(&role.keys.as_slice()) {
                    continue;
                }
                seen.push(&role.keys);
                let Some(parts) = key_text(event, &role.keys) else {
                    null = true;
                    continue;
                };
                wanted |= self.only.iter().flatten().any(|only| {
                    only.len() == parts.len()
                        && role.keys.iter().zip(only).all(|(slot, text)| is_named(event.slot(*slot), text))
                });
                let keys = self.keys.entry(rule.clone()).or_default();
                if keys.len() < KEYS {
                    keys.insert(parts);
                }
            }
            if null && dropped.is_none() {
                let (count, samples) = self.nulls.entry(rule.clone()).or_default();
                *count += 1;
                if samples.len() < NULLS {
                    samples.push(shown_id(program, event, partitions));
                }
            }
        }
        if wanted {
            self.events.push((event.to_event(), dropped));
        }
    }

    /// The keys of a rule that look most like a text.
    pub(crate) fn near(&self, rule: &str, text: &str) -> Vec<Vec<String>> {
        let Some(keys) = self.keys.get(rule) else { return Vec::new() };
        let mut near: Vec<(usize, &Vec<String>)> =
            keys.iter().map(|key| (strsim::levenshtein(&key.join(","), text), key)).collect();
        near.retain(|(edits, _)| *edits <= (text.chars().count() / 2).max(2));
        near.sort();
        near.into_iter().take(3).map(|(_, key)| key.clone()).collect()
    }
}

impl Task {
    /// With `keep_history`: from now on only events of these keys are remembered, each given by the text of its parts.
    pub fn remember_only(&mut self, keys: &[Vec<String>]) {
        if let Some(history) = &mut self.history {
            history.only = Some(keys.to_vec());
        }
    }

    /// With `keep_history`: the keys of a rule that occurred, in the form that [`Task::why`] takes, in order of their text.
    #[must_use]
    pub fn keys_of(&self, rule: &str) -> Vec<Vec<String>> {
        let Some(history) = &self.history else { return Vec::new() };
        history.keys.get(rule).into_iter().flatten().cloned().collect()
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn remember(&mut self, event: &EventRef<'_>, dropped: Option<Drop>) {
        if let Some(history) = &mut self.history {
            history.note(event, dropped, &self.partition_names);
        }
    }
}
