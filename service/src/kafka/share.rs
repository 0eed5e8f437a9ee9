//! What can be shared out to a task for each partition number: topics that have the same number of partitions, and rules
//! that find all events of a key in one of them.

use pattern_dsl::ir::{Module, Rule};
use std::collections::BTreeMap;

/// A task among those of its group: it reads the partition of its number, or all partitions if it is the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskNumber {
    pub(crate) number: i32,
    /// How many there are.
    pub(crate) of: i32,
}

/// The only task of a group.
pub(crate) const ONLY: TaskNumber = TaskNumber { number: 0, of: 1 };

/// What to do about rules and topics that cannot be shared out.
const ELSE: &str = "or have one task read all partitions, with `kafka.tasks = \"one\"` and a new --group";

/// How many tasks share topics with so many partitions.
///
/// # Errors
/// They have different numbers, or there are none.
pub(super) fn count(topics: &BTreeMap<String, usize>) -> Result<i32, String> {
    let Some((first, count)) = topics.iter().next() else {
        return Err("`kafka.tasks = \"partitions\"` needs the streams of the rules folder: they say which topics there are \
                    to share (`[rules] folder`)"
            .to_owned());
    };
    match topics.iter().find(|(_, other)| *other != count) {
        None => i32::try_from(*count).map_err(|error| error.to_string()),
        Some((other, theirs)) => Err(format!(
            "topic `{first}` has {count} partitions and `{other}` {theirs}, but a task reads the partition of its number of \
             every topic: give them the same number, {ELSE}"
        )),
    }
}

/// Checks topics and rules for a group of so many tasks.
///
/// # Errors
/// They cannot be shared out to these; why, and what to do.
pub(super) fn check(module: &Module, topics: &BTreeMap<String, usize>, tasks: i32) -> Result<(), String> {
    // WHY: first. Who is told to give all topics the number of one that has grown would be told here that they have too many.
    let other = topics.values().find(|count| i32::try_from(**count).ok() != Some(tasks));
    if let Some(now) = other {
        return Err(format!(
            "the input topics have {now} partitions, and the group has {tasks} tasks: keys have moved between partitions. \
             Begin anew with another --group and `kafka.control_topic`"
        ));
    }
    check_rules(module)
}

/// Checks rules for any group of several tasks.
///
/// # Errors
/// One cannot be shared out; why, and what to do.
pub(super) fn check_rules(module: &Module) -> Result<(), String> {
    module.rules.iter().try_for_each(|rule| {
        let why = unfit(module, rule);
        why.map_or(Ok(()), |why| {
            Err(format!("rule `{}` cannot be shared out to tasks: {why}; {ELSE}", rule.name))
        })
    })
}

/// Why a rule does not find all events of a key in one partition number.
fn unfit(module: &Module, rule: &Rule) -> Option<String> {
    if rule.reads_alerts.is_some() {
        return Some("it reads `alert`, and other tasks raise alerts too".to_owned());
    }
    if rule.keys.is_empty() {
        return Some(
            "it has no key, so it needs the events of all partitions: give it one with `by`".to_owned(),
        );
    }
    let topic_key = |at: usize| {
        let stream = rule.streams.get(at).and_then(|own| module.streams.get(own.stream))?;
        Some((stream, stream.key))
    };
    let streams = || (0..rule.streams.len()).filter_map(topic_key);
    if let Some((stream, _)) = streams().find(|(_, key)| key.is_none()) {
        return Some(format!(
            "stream `{0}` does not say which field its topic's records are keyed by: `stream {0} {{ key FIELD .. }}`",
            stream.name
        ));
    }
    // Where the fields of one part of the key are those of the topics, one value of it is one partition number.
    let is_topics = |part: usize| {
        let fits =
            |at: usize, keys: &[usize]| topic_key(at).is_some_and(|(_, key)| key == keys.get(part).copied());
        rule.steps.iter().all(|step| fits(step.stream, &step.keys))
            && (0..).zip(&rule.streams).all(|(at, own)| own.keys.as_ref().is_none_or(|keys| fits(at, keys)))
    };
    if (0..rule.keys.len()).any(is_topics) {
        return None;
    }
    let fields = streams().map(|(stream, key)| {
        let path = key.and_then(|at| stream.fields.get(at)).map(|field| field.path.join("."));
        format!("{}.{}", stream.name, path.unwrap_or_default())
    });
    Some(format!(
        "its key is not that of the topics' records, which would be `by KEY ({})`",
        fields.collect::<Vec<_>>().join(", ")
    ))
}
