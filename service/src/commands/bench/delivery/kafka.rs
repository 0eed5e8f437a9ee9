//! `bench kafka`: exactly once from topic to topic, beside a consumer that only counts the same topic on the same broker.

use super::node::{Next, Node, PARTITIONS, await_alerts, next, read_on};
use super::served::Served;
use super::{Alerts, events_of, middle, pair_of};
use crate::commands::bench::BenchArgs;
use crate::commands::bench::report::{Cost, Goal};
use crate::config::Tasks;
use crate::console::say;
use crate::failure::Failure;
use std::time::Instant;

/// A rule of two steps over JSON.
///
/// # Errors
/// Kafka cannot be used, or the service does not start.
pub(in crate::commands::bench) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let Input { node, topic, events, bytes_per_event, expected } = Input::written(args)?;
    let (mut right, mut rates) = (true, Vec::new());
    for round in 0..args.rounds {
        let bare = counted(&node, &topic, events)?;
        let (worker, cpu, is_right) = worked(&node, &format!("r{round}"), Tasks::One, events, &expected)?;
        right &= is_right;
        rates.push((worker / bare, worker, bare, cpu));
    }
    let of = |part: fn(&(f64, f64, f64, f64)) -> f64| middle(rates.iter().map(part).collect());
    Cost {
        bench: "kafka".to_owned(),
        figure: of(|rate| rate.0),
        unit: "of the rate of a consumer that only counts the same topic",
        goal: Goal::AtLeast(0.6),
        detail: vec![
            ("events", events as f64),
            ("alerts", expected.count as f64),
            ("bytes_per_event", bytes_per_event),
            ("events_per_s", of(|rate| rate.1).round()),
            ("counted_per_s", of(|rate| rate.2).round()),
            ("worker_cpu_us_per_event", of(|rate| rate.3) * 1e6),
        ],
    }
    .show(args)?;
    Ok(u8::from(!right))
}

/// A topic of events on a node, and what the rule says of them.
pub(super) struct Input {
    pub(super) node: Node,
    topic: String,
    pub(super) events: u64,
    bytes_per_event: f64,
    pub(super) expected: Alerts,
}

impl Input {
    /// Writes them.
    pub(super) fn written(args: &BenchArgs) -> Result<Self, Failure> {
        let node = Node::of(args)?;
        let events = args.events.unwrap_or(1_000_000);
        let (rows, lines, expected) = events_of(args, events)?;
        let topic = node.topic("ev");
        node.create(&[(&topic, PARTITIONS)])?;
        node.writer(5)?.send_all(&rows, &lines)?;
        Ok(Self { node, topic, events, bytes_per_event: lines.bytes_per_line(), expected })
    }
}

/// Records a second, from the first to the last.
fn counted(node: &Node, topic: &str, events: u64) -> Result<f64, Failure> {
    let consumer = node.reader(topic, 100)?;
    let (mut count, mut ended, mut begun) = (0u64, 0, None);
    while ended < PARTITIONS {
        match next(&consumer)? {
            Next::Record(_) => {
                begun.get_or_insert_with(Instant::now);
                count += 1;
            }
            Next::End => ended += 1,
            Next::Nothing => {}
        }
    }
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    if count != events {
        return Err(Failure::finding(format!("{topic} holds {count} records, not {events}")));
    }
    Ok(count as f64 / seconds)
}

/// Events a second of the service, from when it says that it is ready until the last alert is committed; its CPU seconds an
/// event; and whether the alerts are right.
pub(super) fn worked(
    node: &Node,
    round: &str,
    tasks: Tasks,
    events: u64,
    expected: &Alerts,
) -> Result<(f64, f64, bool), Failure> {
    let read = |served: &Served| {
        (0..PARTITIONS)
            .map(|task| served.metric(&format!("tripline_events_processed_total{{task=\"{task}\"}}")))
            .sum::<Result<f64, Failure>>()
    };
    let alerts = node.alerts_topic(round);
    node.create(&[(&alerts, 1)])?;
    let consumer = node.reader(&alerts, 10)?;
    let rules = pair_of(&format!("topic \"{}\" time ts in order as epoch_ms", node.topic("ev")));
    let served = Served::start(&rules, &node.config(round, tasks))?;
    let before = read(&served)?;
    let (begun, cpu) = (Instant::now(), served.cpu_seconds());
    let mut reader = await_alerts(&consumer, expected, |_| {})?;
    let seconds = begun.elapsed().as_secs_f64();
    let (rest, cpu) = (events as f64 - before, served.cpu_seconds() - cpu);
    if rest < events as f64 / 2.0 {
        say!("{before} of {events} events were read before the clock started: more --events tell more");
    }
    read_on(&consumer, &mut reader)?;
    let read = read(&served)?;
    let is_all = read == events as f64;
    if !is_all {
        say!("wrong: kafka: {read} events were read, not {events}");
    }
    Ok((rest / seconds, cpu / rest, reader.is_right("kafka", expected) && is_all))
}
