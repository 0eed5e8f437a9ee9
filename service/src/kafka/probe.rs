//! `tripline broker-check`: whether a cluster does what exactly once relies on, tried out on a topic and groups of its own.

use super::transactions::offsets;
use super::{CALL, Context, TRANSACTION_MS, Trouble, ask, client, consumer, told};
use crate::config::{Config, Kafka};
use crate::console::{say, tell};
use crate::failure::Failure;
use crate::serve::core::{Cut, partition_name};
use crate::serve::now_micros;
use clap::Args;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The time that records of the check bear.
const STAMP_MS: i64 = 1_700_000_000_000;
/// The metadata that offsets of the check bear.
const WORD: &str = "v1;broker-check";

/// Arguments of `broker-check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file; `tripline.toml` here if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The brokers.
    #[arg(long, value_name = "HOST:PORT[,..]")]
    kafka: Option<String>,
    /// One line of JSON a check.
    #[arg(long)]
    json: bool,
}

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Exactly once holds, but the cluster may lose what it has acknowledged.
    Warning,
    Failed,
}

/// One check.
#[derive(Debug, Serialize)]
struct Line<'a> {
    check: &'a str,
    result: Verdict,
    detail: &'a str,
}

/// What a check says; an error is why it failed.
type Outcome = Result<String, String>;

/// Runs the command.
///
/// # Errors
/// No brokers are named, or they cannot be reached.
pub fn run(args: CheckArgs) -> Result<u8, Failure> {
    let mut kafka = Config::find(args.config).map_err(Failure::usage)?.kafka;
    kafka.brokers = args.kafka.unwrap_or(kafka.brokers);
    if !kafka.is_used() {
        return Err(Failure::usage("no brokers: --kafka HOST:PORT, or `[kafka] brokers`"));
    }
    let name = format!("tripline-broker-check-{}", now_micros());
    kafka.group.clone_from(&name);
    let mut checks = Checks { json: args.json, failed: 0, warned: 0 };
    let probe = Probe::new(&kafka, name).map_err(|trouble| Failure::finding(trouble.to_string()))?;
    checks.tell("brokers", probe.brokers());
    let made = probe.make_topic();
    let is_made = made.is_ok();
    checks.tell("topic", made);
    if is_made {
        probe.try_transactions(&mut checks);
        probe.remove();
    }
    probe.look_at_settings(&mut checks);
    if checks.failed > 0 {
        say!("{} checks failed: do not rely on exactly once here", checks.failed);
        return Ok(1);
    }
    say!("exactly once can be relied on here; {} warnings", checks.warned);
    Ok(0)
}

/// Tells of checks and counts them.
struct Checks {
    json: bool,
    failed: usize,
    warned: usize,
}

impl Checks {
    fn tell(&mut self, check: &str, outcome: Outcome) -> bool {
        let (result, detail) = match &outcome {
            Ok(detail) => (Verdict::Ok, detail),
            Err(why) => (Verdict::Failed, why),
        };
        self.failed += usize::from(outcome.is_err());
        self.line(check, result, detail);
        outcome.is_ok()
    }

    fn warn(&mut self, check: &str, detail: &str) {
        self.warned += 1;
        self.line(check, Verdict::Warning, detail);
    }

    fn line(&self, check: &str, result: Verdict, detail: &str) {
        if self.json {
            let line = serde_json::to_string(&Line { check, result, detail });
            return tell!("{}", line.unwrap_or_default());
        }
        let word = match result {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        tell!("{word:8} {check}: {detail}");
    }
}

/// A cluster under check.
struct Probe {
    kafka: Kafka,
    /// Of the topic, the group and the transactional id that are its own.
    name: String,
    reader: BaseConsumer<Context>,
    admin: AdminClient<Context>,
    runtime: tokio::runtime::Runtime,
}

type Writer = ThreadedProducer<Context>;

impl Probe {
    fn new(kafka: &Kafka, name: String) -> Result<Self, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let reader: BaseConsumer<Context> = consumer(kafka).create_with_context(Context)?;
        ask(&reader, |reader| reader.fetch_metadata(None, CALL))?;
        Ok(Self {
            kafka: kafka.clone(),
            name,
            reader,
            admin: client(kafka).create_with_context(Context)?,
            runtime: runtime.map_err(|e| Trouble::Refused(e.to_string()))?,
        })
    }

    fn brokers(&self) -> Outcome {
        let metadata = self.reader.fetch_metadata(None, CALL).map_err(|e| told(&e))?;
        let cluster = self.reader.client().fetch_cluster_id(CALL).unwrap_or_default();
        Ok(format!("{} of cluster {cluster}", metadata.brokers().len()))
    }

    fn make_topic(&self) -> Outcome {
        let topic = NewTopic::new(&self.name, 1, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(CALL));
        let made =
            self.runtime.block_on(self.admin.create_topics(&[topic], &options)).map_err(|e| told(&e))?;
        for outcome in made {
            outcome.map_err(|(topic, code)| format!("`{topic}` cannot be created: {code}"))?;
        }
        let begun = Instant::now();
        while self.reader.fetch_watermarks(&self.name, 0, Duration::from_secs(1)).is_err() {
            if begun.elapsed() > CALL {
                return Err(format!("`{}` was created and cannot be read", self.name));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(format!("`{}` for the time of the check", self.name))
    }

    /// Removes what the check has made.
    fn remove(&self) {
        let options = AdminOptions::new().operation_timeout(Some(CALL));
        let topics = self.runtime.block_on(self.admin.delete_topics(&[&self.name], &options));
        let topics = topics.map(|outcomes| outcomes.into_iter().all(|outcome| outcome.is_ok()));
        if !topics.unwrap_or(false) {
            say!("topic `{}` could not be deleted", self.name);
        }
        // A group without members goes by itself.
        drop(self.runtime.block_on(self.admin.delete_groups(&[&self.name], &options)));
    }

    /// Everything that a committed burst and its fencing rely on, in an order in which each leaves what the next needs.
    fn try_transactions(&self, checks: &mut Checks) {
        let first = match self.writer() {
            Ok(first) => first,
            Err(error) => {
                checks.tell("transactions", Err(told(&error)));
                return;
            }
        };
        if !checks.tell("transactions", self.commit(&first)) {
            return;
        }
        checks.tell("offset metadata", self.is_at(1));
        checks.tell("times of records", self.keeps_times());
        checks.tell("aborted records", self.abort(&first));
        let opened = self.leave_open(&first);
        checks.tell("open transactions", opened);
        let second = match self.writer() {
            Ok(second) => second,
            Err(error) => {
                checks.tell("fencing", Err(told(&error)));
                return;
            }
        };
        checks.tell("fencing", self.is_fenced(&first));
        checks.tell("stale members", self.refuses_stale_members(&second));
    }

    fn writer(&self) -> Result<Writer, KafkaError> {
        let mut config = client(&self.kafka);
        config
            .set("transactional.id", &self.name)
            .set("transaction.timeout.ms", TRANSACTION_MS.to_string())
            .set("linger.ms", "0");
        let writer: Writer = config.create_with_context(Context)?;
        writer.init_transactions(CALL)?;
        Ok(writer)
    }

    /// Begins a transaction with one record in it, and waits until the broker has that.
    fn begin(&self, writer: &Writer, value: &str) -> Result<(), KafkaError> {
        writer.begin_transaction()?;
        let record = BaseRecord::to(&self.name).partition(0).key("check").payload(value).timestamp(STAMP_MS);
        writer.send(record).map_err(|(error, _)| error)?;
        writer.flush(CALL)
    }

    fn send_offsets(
        &self,
        writer: &Writer,
        offset: u64,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), KafkaError> {
        let cut = Cut::from([(partition_name(&self.name, 0), offset)]);
        writer.send_offsets_to_transaction(&offsets(&cut, WORD)?, group, CALL)
    }

    /// The group as somebody who is no member of it names it.
    fn group(&self) -> Result<ConsumerGroupMetadata, String> {
        self.reader.group_metadata().ok_or_else(|| "the client names no group".to_owned())
    }

    fn commit(&self, writer: &Writer) -> Outcome {
        let group = self.group()?;
        let outcome = self
            .begin(writer, "committed")
            .and_then(|()| self.send_offsets(writer, 1, &group))
            .and_then(|()| writer.commit_transaction(CALL));
        outcome.map_err(|e| told(&e))?;
        self.shows(&["committed"])?;
        Ok("a record and an offset in one".to_owned())
    }

    /// What a reader of committed records sees.
    fn read(&self) -> Result<Vec<(String, i64)>, String> {
        let reader: BaseConsumer<Context> =
            consumer(&self.kafka).create_with_context(Context).map_err(|e| told(&e))?;
        let mut assignment = TopicPartitionList::new();
        let added = assignment.add_partition_offset(&self.name, 0, Offset::Beginning);
        added.and_then(|()| reader.assign(&assignment)).map_err(|e| told(&e))?;
        let (mut seen, begun) = (Vec::new(), Instant::now());
        while begun.elapsed() < CALL {
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                    seen.push((value, message.timestamp().to_millis().unwrap_or(0)));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(seen),
                _ => {}
            }
        }
        Err("the topic cannot be read to its end".to_owned())
    }

    fn shows(&self, wanted: &[&str]) -> Outcome {
        let seen = self.read()?;
        if seen.iter().map(|(value, _)| value.as_str()).eq(wanted.iter().copied()) {
            return Ok("a reader of committed records does not see them".to_owned());
        }
        let seen: Vec<&str> = seen.iter().map(|(value, _)| value.as_str()).collect();
        Err(format!("a reader of committed records sees {seen:?}, not {wanted:?}"))
    }

    fn keeps_times(&self) -> Outcome {
        match self.read()?.first() {
            Some((_, STAMP_MS)) => Ok("kept as the writer gave them".to_owned()),
            Some((_, other)) => Err(format!(
                "{other} instead of {STAMP_MS}: `message.timestamp.type` must be CreateTime where a stream's time is the \
                 record's"
            )),
            None => Err("no record".to_owned()),
        }
    }

    /// The committed offset and its metadata.
    fn is_at(&self, wanted: i64) -> Outcome {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.name, 0);
        let found = self.reader.committed_offsets(asked, CALL).map_err(|e| told(&e))?;
        let found = found.elements();
        let (offset, word) =
            found.first().map_or((Offset::Invalid, ""), |element| (element.offset(), element.metadata()));
        if (offset, word) == (Offset::Offset(wanted), WORD) {
            return Ok("comes back with the offset".to_owned());
        }
        Err(format!("offset {offset:?} with {word:?} is committed, not {wanted} with {WORD:?}"))
    }

    fn abort(&self, writer: &Writer) -> Outcome {
        let outcome = self.begin(writer, "aborted").and_then(|()| writer.abort_transaction(CALL));
        outcome.map_err(|e| told(&e))?;
        self.shows(&["committed"])
    }

    /// Leaves a transaction open, with an offset in it.
    fn leave_open(&self, writer: &Writer) -> Outcome {
        let group = self.group()?;
        self.begin(writer, "open")
            .and_then(|()| self.send_offsets(writer, 9, &group))
            .map_err(|e| told(&e))?;
        self.shows(&["committed"])?;
        // Offsets that are pending are not told: the call waits for them, or says that they are not stable.
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.name, 0);
        let found = self.reader.committed_offsets(asked, Duration::from_secs(2));
        let told = found.ok().and_then(|found| found.elements().first().map(|element| element.offset()));
        match told {
            Some(Offset::Offset(offset)) => {
                Err(format!("offset {offset} is told although a transaction has another one pending"))
            }
            _ => Ok("hide their records, and offsets wait for their end".to_owned()),
        }
    }

    /// Somebody else has taken the transactional id since `writer` left a transaction open.
    fn is_fenced(&self, writer: &Writer) -> Outcome {
        if writer.commit_transaction(CALL).is_ok() {
            return Err("a writer commits although another has taken its transactional id".to_owned());
        }
        self.shows(&["committed"])?;
        self.is_at(1)?;
        Ok("whoever takes a transactional id ends what was open under it".to_owned())
    }

    /// A member of a static group that another has taken the place of can commit no offsets.
    fn refuses_stale_members(&self, writer: &Writer) -> Outcome {
        let (older, newer) = (self.member()?, self.member()?);
        let Some(stale) = older.group_metadata() else { return Err("the client names no group".to_owned()) };
        drop(newer);
        let outcome = self
            .begin(writer, "stale")
            .and_then(|()| self.send_offsets(writer, 9, &stale))
            .and_then(|()| writer.commit_transaction(CALL));
        if outcome.is_ok() {
            return Err("a member commits offsets although another has taken its place".to_owned());
        }
        drop(writer.abort_transaction(CALL));
        self.shows(&["committed"])?;
        Ok("can commit no offsets".to_owned())
    }

    /// Joins the group of members, each in the place of the one before.
    fn member(&self) -> Result<BaseConsumer<Context>, String> {
        let mut config = consumer(&self.kafka);
        config
            .set("group.id", format!("{}-members", self.name))
            .set("group.instance.id", "check")
            .set("session.timeout.ms", "10000");
        let member: BaseConsumer<Context> = config.create_with_context(Context).map_err(|e| told(&e))?;
        member.subscribe(&[&self.name]).map_err(|e| told(&e))?;
        let begun = Instant::now();
        while member.assignment().map_err(|e| told(&e))?.count() == 0 {
            if begun.elapsed() > CALL * 2 {
                return Err("a group does not let its member in".to_owned());
            }
            drop(member.poll(Duration::from_millis(50)));
        }
        Ok(member)
    }

    /// What keeps acknowledged records from being lost, as far as the cluster's own settings say it.
    fn look_at_settings(&self, checks: &mut Checks) {
        let brokers = self.reader.fetch_metadata(None, CALL);
        let brokers: Vec<i32> =
            brokers.map(|all| all.brokers().iter().map(|broker| broker.id()).collect()).unwrap_or_default();
        let Some(broker) = brokers.first() else { return };
        let asked = [ResourceSpecifier::Broker(*broker)];
        let found = self.runtime.block_on(self.admin.describe_configs(&asked, &AdminOptions::new()));
        let settings: BTreeMap<String, String> = match found.map(|mut found| found.pop()) {
            Ok(Some(Ok(resource))) => {
                let entries = resource.entries.into_iter();
                entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()
            }
            _ => return checks.warn("settings", "not allowed to read them: nothing is known of replication"),
        };
        let number = |name: &str| settings.get(name).and_then(|value| value.parse::<i64>().ok());
        if number("transaction.max.timeout.ms").is_some_and(|most| most < TRANSACTION_MS as i64) {
            let why = format!("`transaction.max.timeout.ms` is below {TRANSACTION_MS}");
            checks.tell("settings", Err(why));
        }
        let replicas = number("default.replication.factor").unwrap_or(1);
        let in_sync = number("min.insync.replicas").unwrap_or(1);
        if replicas < 3 || in_sync < 2 {
            let why = format!(
                "`default.replication.factor` {replicas}, `min.insync.replicas` {in_sync}: with fewer than 3 and 2 the loss \
                 of one broker's disk may lose records"
            );
            checks.warn("replication", &why);
        }
        if settings.get("unclean.leader.election.enable").is_some_and(|value| value == "true") {
            checks.warn(
                "replication",
                "`unclean.leader.election.enable` lets a broker lead that lacks records",
            );
        }
        if number("offsets.retention.minutes").is_some_and(|minutes| minutes < 7 * 24 * 60) {
            checks.warn(
                "offsets",
                "`offsets.retention.minutes` is below a week: a group that stands still for so long needs `tripline \
                 recover --adopt`",
            );
        }
    }
}
