//! What an undisturbed run over the same input, with the same decisions at their places, would have written.

use super::broker::Entry;
use super::client::Simulated;
use super::load::TOPICS;
use super::network::{Network, name_of};
use crate::config::Config;
use crate::kafka::control::{self, Committed, Decision};
use crate::kafka::record::{self, Outgoing};
use crate::kafka::recover::take;
use crate::serve::core::{Core, Cut};
use crate::serve::recover::new_core;
use crate::store::{Control, Entry as Logged};
use pattern_dsl::ir::Mode;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// By what names it: how often, and what it was last.
type Found<T> = BTreeMap<String, (usize, T)>;

/// All that was written, or should have been.
#[derive(Debug, Default)]
struct Written {
    alerts: Found<(Vec<u8>, Vec<u8>)>,
    late: Found<()>,
    dead: Found<String>,
}

fn add<T>(found: &mut Found<T>, name: String, what: T) {
    let entry = found.entry(name).or_insert((0, what));
    entry.0 += 1;
}

/// Where the input ends: the offset after the last committed record of each partition.
pub(super) fn input_end(net: &Network) -> Cut {
    let broker = net.broker();
    let logs = TOPICS.iter().filter_map(|topic| Some(((*topic).to_owned(), broker.logs.get(*topic)?)));
    let all = logs.flat_map(|(topic, logs)| (0..).zip(logs).map(move |(at, log)| ((topic.clone(), at), log)));
    all.filter_map(|(partition, log)| Some((name_of(&partition), log.committed().last()?.0 + 1))).collect()
}

/// Compares what readers of committed records see with an undisturbed run of each task. How many alerts there are.
///
/// # Errors
/// What is missing, doubled, other than it should be, or out of order.
pub(super) fn check(net: &Arc<Network>, config: &Config, tasks: i32) -> Result<u64, String> {
    show_input(net);
    let mut wanted = Written::default();
    for task in 0..tasks {
        undisturbed(net, config, task, &mut wanted).map_err(|why| format!("task {task}: {why}"))?;
    }
    let found = written(net, config)?;
    compare("alerts", &found.alerts, &wanted.alerts)?;
    compare("late events", &found.late, &wanted.late)?;
    compare("dead letters", &found.dead, &wanted.dead)?;
    Ok(wanted.alerts.len() as u64)
}

/// What a task would have written, had nothing disturbed it.
fn undisturbed(net: &Arc<Network>, config: &Config, task: i32, wanted: &mut Written) -> Result<(), String> {
    let Committed { decisions, head } = committed(net, config, task)?;
    let Some((mark, cut)) = head else { return Err("nothing was committed".to_owned()) };
    net.world.note(format_args!("the last commit of task {task}: {} at {cut:?}", mark.epoch));
    let before = wanted.alerts.len();
    let mut core = new_core(config).of_partition(config.kafka.only(task));
    for decision in &decisions {
        net.world.note(format_args!("decided: {}", told(decision)));
        feed(net, &mut core, &decision.cut, config, wanted);
        core.replay(&Logged::Control(Box::new(decision.control.clone())))?;
        collect(&mut core, config, wanted);
    }
    feed(net, &mut core, &cut, config, wanted);
    let alerts = wanted.alerts.len() - before;
    if mark.tally.alerts != alerts as u64 {
        return Err(format!("the last commit counts {} alerts, not {alerts}", mark.tally.alerts));
    }
    for (name, offset) in &cut {
        let committed = net.broker().offset(name);
        if committed != *offset {
            return Err(format!("{name}: offset {committed}, and the last commit says {offset}"));
        }
    }
    Ok(())
}

fn committed(net: &Arc<Network>, config: &Config, task: i32) -> Result<Committed, String> {
    control::read(&Simulated::new(net), &config.kafka, task).map_err(|e| e.to_string())
}

/// The number of a change, the rule and its text; none if it was deleted.
pub(super) type Changed = (u64, (String, String));

/// Rules that were put or deleted: as the decisions of a task say, in its order.
pub(super) fn changes(net: &Network, config: &Config, task: i32) -> Vec<Changed> {
    let prefix = format!("{}/", config.kafka.group);
    let broker = net.broker();
    let log = broker.log(&config.kafka.control_topic, task as usize);
    let records = log.map(|log| log.committed()).unwrap_or_default();
    let own = records.iter().filter(|(_, entry)| entry.record.key.starts_with(prefix.as_bytes()));
    // Heads are none.
    let decisions = own.filter_map(|(_, entry)| serde_json::from_slice::<Decision>(&entry.record.value).ok());
    let change = |decision: Decision| match decision.control {
        Control::Put { id, text, .. } => Some((decision.changes, (id, text))),
        Control::Delete { id, .. } => Some((decision.changes, (id, String::new()))),
        _ => None,
    };
    decisions.filter_map(change).collect()
}

/// For the trace: what was read.
fn show_input(net: &Network) {
    let broker = net.broker();
    for (topic, logs) in TOPICS.iter().filter_map(|topic| broker.logs.get_key_value(*topic)) {
        for (number, log) in logs.iter().enumerate() {
            for (at, entry) in log.committed() {
                let text = String::from_utf8_lossy(&entry.record.value);
                net.world.note(format_args!("{topic}/{number}/{at} {text}"));
            }
        }
    }
}

/// For the trace: a decision, without its texts.
fn told(decision: &Decision) -> String {
    let what = match &decision.control {
        Control::Folder { at, .. } => format!("the folder from {at:?}"),
        other => format!("{other:?}"),
    };
    format!("{what} at {:?}", decision.cut)
}

/// The records up to a cut, one partition after the other.
fn feed(net: &Network, core: &mut Core, cut: &Cut, config: &Config, wanted: &mut Written) {
    let names: Vec<String> = core.lanes().map(str::to_owned).collect();
    for (lane, name) in names.iter().enumerate() {
        let limit = cut.get(name).copied().unwrap_or(0);
        let Some((topic, number)) = name.rsplit_once('/') else { continue };
        let broker = net.broker();
        let Some(log) = broker.log(topic, number.parse().unwrap_or_default()) else { continue };
        while let Some((at, entry)) = log.next(core.next_offset(lane)).filter(|(at, _)| *at < limit) {
            let place = format!("{name}/{at}");
            if let Some((code, _)) = take(core, lane, &entry.to_record(at)) {
                add(&mut wanted.dead, place.clone(), code);
            }
            core.out.late.iter().for_each(|_| add(&mut wanted.late, place.clone(), ()));
            collect(core, config, wanted);
        }
    }
}

fn collect(core: &mut Core, config: &Config, wanted: &mut Written) {
    core.out.late.clear();
    core.out.duplicates.clear();
    for alert in core.out.alerts.drain(..).filter(|alert| alert.mode != Mode::Off) {
        let Outgoing { key, value, .. } =
            record::of_alert(&alert, &config.kafka.alerts_topic, config.alerts.is_structured());
        add(&mut wanted.alerts, alert.id.clone(), (key, value));
    }
}

/// What readers of committed records see.
fn written(net: &Network, config: &Config) -> Result<Written, String> {
    let mut found = Written::default();
    let broker = net.broker();
    let all = |topic: &str| -> Vec<&Entry> {
        let logs = broker.logs.get(topic).into_iter().flatten();
        logs.flat_map(|log| log.committed().into_iter().map(|(_, entry)| entry)).collect()
    };
    // By key: the time of its last alert.
    let mut last: BTreeMap<&[u8], String> = BTreeMap::new();
    for entry in all(&config.kafka.alerts_topic) {
        let Outgoing { key, value, .. } = &entry.record;
        // Without the `Z` texts of times are in the order of times.
        let (id, time) = (entry.header("ce_id"), entry.header("ce_time").trim_end_matches('Z').to_owned());
        if last.get(key.as_slice()).is_some_and(|before| *before > time) {
            return Err(format!("alert {id} of {time} comes after one of a later time of its key"));
        }
        last.insert(key, time);
        add(&mut found.alerts, id, (key.clone(), value.clone()));
    }
    let place = |entry: &Entry| {
        let of = |name: &str| entry.header(&format!("tripline_origin_{name}"));
        format!("{}/{}/{}", of("topic"), of("partition"), of("offset"))
    };
    for entry in all(&config.kafka.late_topic) {
        add(&mut found.late, place(entry), ());
    }
    for entry in all(&config.kafka.dead_letters_topic) {
        add(&mut found.dead, place(entry), entry.header("tripline_error_code"));
    }
    Ok(found)
}

fn compare<T: PartialEq + Debug>(what: &str, found: &Found<T>, wanted: &Found<T>) -> Result<(), String> {
    let missing: Vec<&String> = wanted.keys().filter(|name| !found.contains_key(*name)).collect();
    let extra: Vec<&String> = found.keys().filter(|name| !wanted.contains_key(*name)).collect();
    let count = |name: &String| wanted.get(name).map_or(1, |(count, _)| *count);
    let doubled: Vec<&String> =
        found.iter().filter(|(name, (times, _))| *times > count(name)).map(|(name, _)| name).collect();
    let other: Vec<&String> = found
        .iter()
        .filter(|(name, (times, own))| {
            let wanted = wanted.get(*name);
            wanted.is_some_and(|(count, wanted)| times < count || own != wanted)
        })
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() && extra.is_empty() && doubled.is_empty() && other.is_empty() {
        return Ok(());
    }
    Err(format!("{what}: missing {missing:?}, unexpected {extra:?}, doubled {doubled:?}, other {other:?}"))
}
