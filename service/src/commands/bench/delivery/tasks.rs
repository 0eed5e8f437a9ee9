//! `bench tasks`: a process with a task for each of the two partitions, beside one with a single task, on the same topic.

use super::kafka::{Input, worked};
use super::middle;
use super::node::PARTITIONS;
use crate::commands::bench::BenchArgs;
use crate::commands::bench::report::{Cost, Goal};
use crate::config::Tasks;
use crate::failure::Failure;

/// The rule of `bench kafka`, twice a round.
///
/// # Errors
/// Kafka cannot be used, or the service does not start.
pub(in crate::commands::bench) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let Input { node, events, expected, .. } = Input::written(args)?;
    let (mut right, mut rates) = (true, Vec::new());
    for round in 0..args.rounds {
        let mut rate = |tasks: Tasks| {
            let name = format!("{}{round}", tasks.name());
            let (rate, _, is_right) = worked(&node, &name, tasks, events, &expected)?;
            right &= is_right;
            Ok::<f64, Failure>(rate)
        };
        let (one, several) = (rate(Tasks::One)?, rate(Tasks::Partitions)?);
        rates.push((several / one, several, one));
    }
    let of = |part: fn(&(f64, f64, f64)) -> f64| middle(rates.iter().map(part).collect());
    Cost {
        bench: format!("tasks:{PARTITIONS}"),
        figure: of(|rate| rate.0),
        unit: "of the rate of one task, in one process",
        goal: Goal::AtLeast(1.8),
        detail: vec![
            ("events", events as f64),
            ("alerts", expected.count as f64),
            ("events_per_s", of(|rate| rate.1).round()),
            ("one_task_per_s", of(|rate| rate.2).round()),
        ],
    }
    .show(args)?;
    Ok(u8::from(!right))
}
