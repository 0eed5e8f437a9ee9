//! A copy of the committed alerts in the local store, for readers of HTTP and for webhooks.
//!
//! It reads the alerts' topics as anybody else does, `read_committed`, so it shows what is committed and nothing else. Its
//! place in them is written with the copies, in one batch: a restart neither skips nor repeats.

use super::cluster::Purpose;
use super::record::to_stored;
use super::topics::Topics;
use super::{Brokers, Cluster, Context, Trouble, consumer};
use crate::serve::Shared;
use crate::store::Commit;
use metrics::counter;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Alerts copied in one batch.
const BATCH: usize = 1_000;

/// Copies until the service stops.
pub(crate) fn spawn(shared: Arc<Shared>) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("mirror".into()).spawn(move || {
        while !*shared.stopping.borrow() {
            match copy(&shared) {
                Ok(()) => return,
                Err(Trouble::Away(why) | Trouble::Fenced(why)) => {
                    tracing::debug!(why, "the copy of alerts waits")
                }
                Err(Trouble::Refused(why)) => tracing::error!(why, "alerts cannot be copied"),
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    })
}

/// One partition's place in the store.
fn place_name(topic: &str, partition: i32) -> String {
    format!("mirror/{topic}/{partition}")
}

fn copy(shared: &Shared) -> Result<(), Trouble> {
    let kafka = &shared.config.kafka;
    let store = &shared.store;
    let failed = |e: crate::store::StoreError| Trouble::Refused(e.to_string());
    let cluster: Arc<dyn Cluster> = Arc::new(Brokers::new(kafka)?);
    let topics = Topics::new(&cluster, kafka, shared.config.dev);
    let wanted =
        [(kafka.alerts_topic.as_str(), Purpose::Records), (kafka.shadow_topic.as_str(), Purpose::Records)];
    let mut assignment = TopicPartitionList::new();
    for (topic, count) in topics.ensure(&wanted)? {
        for partition in 0..count as i32 {
            let next = store.place(&place_name(&topic, partition)).map_err(failed)?;
            let (low, _) = cluster.range(&topic, partition)?;
            assignment.add_partition_offset(&topic, partition, Offset::Offset(next.max(low) as i64))?;
        }
    }
    let consumer: BaseConsumer<Context> = consumer(kafka).create_with_context(Context)?;
    consumer.assign(&assignment)?;
    let mut head = store.head().map_err(failed)?;
    while !*shared.stopping.borrow() {
        let mut commit: Commit = store.commit();
        let mut places: BTreeMap<String, u64> = BTreeMap::new();
        let before = head.alerts;
        let begun = Instant::now();
        // What is there goes together; what comes next is waited for only a little.
        while places.len() < BATCH && begun.elapsed() < Duration::from_millis(50) {
            let most = if head.alerts == before { 50 } else { 0 };
            let message = match consumer.poll(Duration::from_millis(most)) {
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => continue,
                Some(Err(error)) => {
                    tracing::debug!(%error, "copying alerts");
                    continue;
                }
                None => break,
            };
            places.insert(place_name(message.topic(), message.partition()), message.offset() as u64 + 1);
            match to_stored(&message, head.alerts + 1) {
                Some(alert) => {
                    head.add(&alert.head.id);
                    commit.alert(&alert);
                }
                None => counter!("tripline_decode_errors_total", "topic" => message.topic().to_owned(),
                    "code" => "not_an_alert")
                .increment(1),
            }
            if head.alerts - before >= BATCH as u64 {
                break;
            }
        }
        if places.is_empty() {
            continue;
        }
        for (name, next) in &places {
            commit.place(name, *next);
        }
        commit.finish(&head).map_err(failed)?;
        shared.committed.send_replace(head.alerts);
    }
    Ok(())
}
