//! Which topics there are, with how many partitions, from which offset to which; and making those that are missing.

use super::{CALL, Context, Trouble, client, consumer};
use crate::config::Kafka;
use pattern_dsl::ir;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Looks at topics.
pub(crate) struct Topics {
    kafka: Kafka,
    create: bool,
    consumer: BaseConsumer<Context>,
}

/// What a topic is made for, which says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Decisions and heads: one partition, and the last of each key for ever.
    Control,
    /// Anything else, as the broker sees fit.
    Records,
}

impl Topics {
    pub(crate) fn new(kafka: &Kafka, create: bool) -> Result<Self, Trouble> {
        let consumer = consumer(kafka).create_with_context(Context)?;
        Ok(Self { kafka: kafka.clone(), create: create || kafka.create_topics, consumer })
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
            self.make(&missing)?;
            // Brokers hear of a new topic a little later.
            let begun = Instant::now();
            while counts.len() < wanted.len() && begun.elapsed() < CALL {
                std::thread::sleep(Duration::from_millis(50));
                counts = self.counts(wanted)?;
            }
        }
        for (name, purpose) in wanted {
            let count = counts.get(*name).copied().unwrap_or(0);
            if count == 0 {
                return Err(Trouble::Away(format!("topic `{name}` is not there yet")));
            }
            if *purpose == Purpose::Control && count != 1 {
                return Err(Trouble::Refused(format!(
                    "topic `{name}` has {count} partitions, but decisions need one, for their order"
                )));
            }
        }
        Ok(counts)
    }

    fn counts(&self, wanted: &[(&str, Purpose)]) -> Result<BTreeMap<String, usize>, Trouble> {
        let mut counts = BTreeMap::new();
        for (name, _) in wanted {
            let metadata = self.consumer.fetch_metadata(Some(name), CALL)?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == *name);
            match topic.map(|topic| (topic.error().map(RDKafkaErrorCode::from), topic.partitions().len())) {
                Some((None, count)) if count > 0 => {
                    counts.insert((*name).to_owned(), count);
                }
                Some((Some(RDKafkaErrorCode::TopicAuthorizationFailed), _)) => {
                    return Err(Trouble::Refused(format!("topic `{name}`: not allowed to read it")));
                }
                Some((
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic),
                    _,
                ))
                | None => {}
                Some((error, _)) => {
                    let why = error.map_or_else(|| "it has no partitions yet".to_owned(), |e| e.to_string());
                    return Err(Trouble::Away(format!("topic `{name}`: {why}")));
                }
            }
        }
        Ok(counts)
    }

    fn make(&self, missing: &[(&str, Purpose)]) -> Result<(), Trouble> {
        let admin: AdminClient<Context> = client(&self.kafka).create_with_context(Context)?;
        // -1: what the broker is set to.
        let topics: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|(name, purpose)| match purpose {
                Purpose::Control => NewTopic::new(name, 1, TopicReplication::Fixed(-1))
                    .set("cleanup.policy", "compact")
                    .set("segment.bytes", "16777216"),
                Purpose::Records => NewTopic::new(name, -1, TopicReplication::Fixed(-1)),
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(CALL)).operation_timeout(Some(CALL));
        for result in blocking()?.block_on(admin.create_topics(&topics, &options))? {
            match result {
                Ok(name) => tracing::info!(topic = name, "created"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code @ RDKafkaErrorCode::InvalidReplicationFactor)) => {
                    return Err(Trouble::Away(format!(
                        "topic `{name}`: {code}; brokers may still be coming up"
                    )));
                }
                Err((name, code)) => {
                    return Err(Trouble::Refused(format!("topic `{name}` cannot be created: {code}")));
                }
            }
        }
        Ok(())
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

    /// How long records of topics are kept, of the one where that is shortest; none = for ever, or as long as there is room.
    pub(crate) fn retention(&self, topics: &BTreeSet<String>) -> Result<Option<Duration>, Trouble> {
        let admin: AdminClient<Context> = client(&self.kafka).create_with_context(Context)?;
        let asked: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(CALL));
        let mut least = None;
        for answer in blocking()?.block_on(admin.describe_configs(&asked, &options))? {
            // WHY: a metric hangs on this and nothing else, so that a broker need not allow it.
            let Ok(config) = answer else { continue };
            let entry = config.get("retention.ms").and_then(|entry| entry.value.as_deref());
            let kept = entry.and_then(|text| text.parse().ok()).map(Duration::from_millis);
            least = [least, kept].into_iter().flatten().min();
        }
        Ok(least)
    }

    /// The first offset that is still there, and the one after the last.
    pub(crate) fn range(&self, topic: &str, partition: i32) -> Result<(u64, u64), Trouble> {
        let (low, high) = self.consumer.fetch_watermarks(topic, partition, CALL)?;
        Ok((low.max(0) as u64, high.max(0) as u64))
    }
}

/// To wait for the client's futures.
fn blocking() -> Result<tokio::runtime::Runtime, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|e| Trouble::Refused(e.to_string()))
}
