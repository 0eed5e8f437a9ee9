//! Which topics there are, and with how many partitions; those that are missing are made.

use super::cluster::{Cluster, Purpose};
use super::{CALL, Trouble};
use crate::clock;
use crate::config::Kafka;
use pattern_dsl::ir;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Looks at topics.
pub(crate) struct Topics {
    kafka: Kafka,
    create: bool,
    cluster: Arc<dyn Cluster>,
}

impl Topics {
    pub(crate) fn new(cluster: &Arc<dyn Cluster>, kafka: &Kafka, create: bool) -> Self {
        Self { kafka: kafka.clone(), create: create || kafka.create_topics, cluster: cluster.clone() }
    }

    /// [`Self::ensure`] of topics that events are read from.
    pub(crate) fn ensure_inputs<'n>(
        &self,
        names: impl IntoIterator<Item = &'n String>,
    ) -> Result<BTreeMap<String, usize>, Trouble> {
        let wanted: Vec<_> = names.into_iter().map(|name| (name.as_str(), Purpose::Records)).collect();
        self.ensure(&wanted)
    }

    /// The number of partitions of each topic. Those that are missing are made, if that is allowed.
    pub(crate) fn ensure(&self, wanted: &[(&str, Purpose)]) -> Result<BTreeMap<String, usize>, Trouble> {
        let mut counts = self.counts(wanted)?;
        let missing: Vec<(&str, Purpose)> =
            wanted.iter().filter(|(name, _)| !counts.contains_key(*name)).copied().collect();
        if !missing.is_empty() {
            if !self.create {
                let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
                return Err(Trouble::Refused(format!(
                    "no topic `{}`: create it, or set `kafka.create_topics = true`",
                    names.join("`, `")
                )));
            }
            self.cluster.create(&missing)?;
            // Brokers hear of a new topic a little later.
            let begun = clock::now();
            while counts.len() < wanted.len() && clock::since(begun) < CALL {
                clock::sleep(Duration::from_millis(50));
                counts = self.counts(wanted)?;
            }
        }
        for (name, purpose) in wanted {
            let count = counts.get(*name).copied().unwrap_or(0);
            if count == 0 {
                return Err(Trouble::Away(format!("topic `{name}` is not there yet")));
            }
            if let Purpose::Control(tasks) = purpose
                && count != *tasks as usize
            {
                return Err(Trouble::Refused(format!(
                    "topic `{name}` has {count} partitions, one for each task of the groups that keep their decisions \
                     there; with `kafka.tasks = \"{}\"` group `{}` has {tasks}. A group keeps the tasks that it began \
                     with: put the setting back; or begin anew with another --group and `kafka.control_topic`",
                    self.kafka.tasks.name(),
                    self.kafka.group,
                )));
            }
        }
        Ok(counts)
    }

    fn counts(&self, wanted: &[(&str, Purpose)]) -> Result<BTreeMap<String, usize>, Trouble> {
        let mut counts = BTreeMap::new();
        for (name, _) in wanted {
            if let Some(count) = self.cluster.partitions(name)? {
                counts.insert((*name).to_owned(), count);
            }
        }
        Ok(counts)
    }

    /// Where rules send alerts must be topics that others read: they are there, and neither read nor written by Tripline.
    pub(crate) fn check_sends(&self, rules: &[ir::Rule], inputs: &[&str]) -> Result<(), Trouble> {
        for rule in rules {
            for destination in &rule.send {
                let ir::Destination::Topic(topic) = destination else { continue };
                if *topic == self.kafka.alerts_topic {
                    continue;
                }
                if self.kafka.own_topics().contains(&topic.as_str()) || inputs.contains(&topic.as_str()) {
                    return Err(Trouble::Refused(format!(
                        "rule `{}` sends to topic `{topic}`, which Tripline reads or writes for itself",
                        rule.name
                    )));
                }
                self.ensure(&[(topic, Purpose::Records)])?;
            }
        }
        Ok(())
    }
}
