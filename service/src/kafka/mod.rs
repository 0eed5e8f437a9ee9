//! Exactly once on Kafka: topics in, alerts out, in one transaction with the offsets that they come from.
//!
//! ```text
//! source -> core -> point (gathers a burst) -> transactions (writes it) -> topics -> mirror -> local store -> HTTP
//! ```
//!
//! `worker` drives; `recover` brings a core to what stands committed. What is committed where: `RELIABILITY.md`.
//!
//! INVARIANT: input is read `read_committed`, and no offset, decision or alert is written outside a transaction.

mod adopt;
mod breaker;
mod brokers;
mod changes;
mod cluster;
mod control;
mod door;
mod lease;
mod ledger;
mod mark;
mod mirror;
mod point;
mod probe;
mod reading;
mod record;
mod recover;
mod rounds;
pub(crate) mod savepoint;
mod share;
#[cfg(test)]
mod simulation;
mod source;
mod tasks;
mod topics;
mod transactions;
mod worker;

pub use adopt::{RecoverArgs, run as recover_command};
pub(crate) use brokers::Brokers;
pub(crate) use cluster::Cluster;
pub(crate) use door::Door;
pub(crate) use mirror::spawn as spawn_mirror;
pub use probe::{CheckArgs, run as check_command};
pub(crate) use tasks::work;

use lease::Lease;

use crate::clock;
use crate::config::Kafka;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a record that are handed to a broker, which has a limit of its own.
const MESSAGE_MAX: &str = "10000000";
/// How long one call to a broker may take.
const CALL: Duration = Duration::from_secs(10);
/// Transactions older than this are ended by the broker: no reader waits longer for a worker that is gone.
const TRANSACTION_MS: u64 = 10_000;

/// Why there is nothing to go on with.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The broker cannot be reached, or does not do as asked just now: try again.
    Away(String),
    /// Another member has joined under this worker's name; or it was this one, and the answer was lost: join again.
    Fenced(String),
    /// Going on could lose or double something, or is not allowed: a person has to decide.
    Refused(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) | Self::Fenced(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

/// An error in words.
fn told(error: &KafkaError) -> String {
    match error {
        // WHY: its own words tell the value too, which may be a secret.
        KafkaError::ClientConfig(_, why, name, _) => format!("kafka.client: `{name}`: {why}"),
        other => other.to_string(),
    }
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let text = told(&error);
        match error.rdkafka_error_code() {
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedVersion,
            ) => Self::Refused(text),
            _ => match error {
                KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => Self::Refused(text),
                _ => Self::Away(match last_failure() {
                    Some(why) => format!("{text}: {why}"),
                    None => text,
                }),
            },
        }
    }
}

/// Why a connection of this process failed last, and when.
///
/// WHY: a call that fails since no broker can be reached does not say why none can be, such as a wrong password. The client
/// tells it in its log alone.
static FAILED: Mutex<Option<(Instant, String)>> = Mutex::new(None);
/// For so long it says why a call has failed: the client tells the same again after 30 s.
const FAILED_LATELY: Duration = Duration::from_secs(45);

/// A connection has failed, as the client's log says it: with its thread before, and how long it took behind.
fn failed(message: &str) {
    let why = message.split_once("]: ").map_or(message, |(_, why)| why);
    let why = why.split(" (after ").next().unwrap_or(why).to_owned();
    *FAILED.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock::now(), why));
}

/// Asks brokers something. If that fails, what the client has logged of it is heard first: that waits to be polled for.
fn ask<T>(
    consumer: &BaseConsumer<Context>,
    call: impl FnOnce(&BaseConsumer<Context>) -> KafkaResult<T>,
) -> Result<T, Trouble> {
    call(consumer).map_err(|error| {
        // A poll ends with an error that it finds, or when there was nothing for so long.
        for _ in 0..100 {
            if consumer.poll(Duration::from_millis(50)).is_none() {
                break;
            }
        }
        error.into()
    })
}

fn last_failure() -> Option<String> {
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    failed.as_ref().filter(|(at, _)| clock::since(*at) < FAILED_LATELY).map(|(_, why)| why.clone())
}

/// What every client of this process tells.
#[derive(Debug, Clone)]
pub(crate) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // It is told of with the calls that fail for it.
        let level = if facility == "FAIL" {
            failed(message);
            RDKafkaLogLevel::Debug
        } else {
            level
        };
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "{message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, "{message}"),
            _ => tracing::debug!(facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // Everything that there is has been read: no error.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            // Told of every client each second; each connection that fails is told of once.
            Some(RDKafkaErrorCode::AllBrokersDown) => tracing::debug!(%error, "{reason}"),
            // Told of every connection each second, and with the calls that fail for it.
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
                tracing::debug!(%error, "{reason}")
            }
            _ => tracing::warn!(%error, "{reason}"),
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            tracing::debug!(%error, "a record was not delivered; its transaction will not commit");
        }
    }
}

/// What all clients have in common.
fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in &kafka.client {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &kafka.brokers).set("client.id", "tripline");
    // A broker that comes back is found soon.
    config.set("reconnect.backoff.max.ms", "1000");
    config
}

/// Consumers see committed records only, and never choose an offset by themselves.
fn consumer(kafka: &Kafka) -> ClientConfig {
    let mut config = client(kafka);
    config
        .set("group.id", &kafka.group)
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set("check.crcs", "true");
    config
}
