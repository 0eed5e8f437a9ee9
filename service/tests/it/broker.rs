//! A real Kafka node for tests, started on demand and gone with the tests, and what they do with it.
//!
//! `TRIPLINE_KAFKA=HOST:PORT` is used instead of a shared node, if it is set. In CI a test that cannot have Kafka fails; elsewhere it says that it was left out.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A node.
pub(super) struct Node {
    folder: PathBuf,
    pub(super) bootstrap: String,
}

/// A record as an independent reader sees it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) partition: i32,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) headers: BTreeMap<String, String>,
}

/// A name that no other run has used.
pub(super) fn unique(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_millis())
}

fn script(command: &str, folder: &Path) -> Option<String> {
    script_with(command, folder, &[])
}

fn script_with(command: &str, folder: &Path, variables: &[(&str, &str)]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/kafka");
    let output = Command::new(script)
        .arg(command)
        .arg(folder)
        .env("KAFKA_WITH", std::process::id().to_string())
        .envs(variables.iter().copied())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.trim().strip_prefix("bootstrap=").unwrap_or_default().to_owned())
}

/// Whether Kafka can be had here.
fn can_have() -> bool {
    let has = |program: &str| {
        let mut command = Command::new(program);
        let status = command.arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let can = has("java") && has("mvn");
    assert!(can || std::env::var_os("CI").is_none(), "CI needs Java 17 and Maven for Kafka");
    can
}

impl Node {
    /// A node of its own; none if Kafka cannot be had here.
    pub(super) fn start(name: &str) -> Option<Self> {
        Self::start_with(name, &[])
    }

    /// A node of its own that can be reached through a proxy as well: it listens for that at the first port, and tells
    /// clients that come that way to come to the second.
    pub(super) fn start_behind(name: &str, ports: (u16, u16)) -> Option<Self> {
        Self::start_with(name, &[("KAFKA_PROXY", &format!("{}:{}", ports.0, ports.1))])
    }

    /// A node of its own that listens at two more ports: by TLS with SCRAM-SHA-512, and by TLS alone.
    #[cfg(feature = "tls")]
    pub(super) fn start_secure(name: &str, ports: (u16, u16)) -> Option<Self> {
        Self::start_with(name, &[("KAFKA_SECURE", &format!("{}:{}", ports.0, ports.1))])
    }

    /// A certificate that was made with the node: of who signed its own (`ca`), or of somebody else (`other`).
    #[cfg(feature = "tls")]
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join("tls").join(format!("{name}.pem"))
    }

    fn start_with(name: &str, variables: &[(&str, &str)]) -> Option<Self> {
        if !can_have() {
            println!("left out: Kafka needs Java 17 and Maven");
            return None;
        }
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{name}-{}", std::process::id()));
        let bootstrap = script_with("start", &folder, variables).expect("a Kafka node");
        Some(Self { folder, bootstrap })
    }

    /// The node that tests share.
    pub(super) fn shared() -> Option<&'static Self> {
        static NODE: OnceLock<Option<Node>> = OnceLock::new();
        let given = || std::env::var("TRIPLINE_KAFKA").ok();
        let node = || given().map(|bootstrap| Self { folder: PathBuf::new(), bootstrap });
        NODE.get_or_init(|| node().or_else(|| Self::start("shared"))).as_ref()
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(&self) {
        script("kill", &self.folder).unwrap();
    }

    /// The same node again, with its data.
    pub(super) fn restart(&self) {
        script("start", &self.folder).unwrap();
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub(super) fn create(&self, topics: &[(&str, i32)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let new: Vec<_> = topics
            .iter()
            .map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(1)))
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let begun = Instant::now();
        // A node that has just come up does not count itself for some moments.
        let unready =
            |result: &TopicResult| matches!(result, Err((_, RDKafkaErrorCode::InvalidReplicationFactor)));
        loop {
            let results = runtime.block_on(admin.create_topics(&new, &options)).unwrap();
            if !results.iter().any(unready) {
                results.into_iter().for_each(|result| drop(result.unwrap()));
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the node does not come up");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Gives a topic more partitions.
    pub(super) fn grow(&self, topic: &str, count: usize) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let more = NewPartitions::new(topic, count);
        let results = runtime.block_on(admin.create_partitions([&more], &AdminOptions::new())).unwrap();
        results.into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Names of all topics.
    pub(super) fn topics(&self) -> Vec<String> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(10)).unwrap();
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
    }

    /// Deletes a group with its offsets, once its last member is known to be gone.
    pub(super) fn forget(&self, group: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let begun = Instant::now();
        loop {
            let results = runtime.block_on(admin.delete_groups(&[group], &AdminOptions::new())).unwrap();
            match &results[0] {
                Ok(_) => return,
                Err((_, code)) => assert!(begun.elapsed() < Duration::from_secs(60), "{group}: {code}"),
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Joins a group under the name of one of its members, and is gone.
    pub(super) fn take_name(&self, group: &str, member: &str, topic: &str) {
        let mut config = self.client();
        config.set("group.id", group).set("group.instance.id", member);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "1000");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let begun = Instant::now();
        while consumer.assignment().unwrap().count() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{member} is not let in");
            let _ = consumer.poll(Duration::from_millis(50));
        }
    }

    pub(super) fn producer(&self) -> Writer {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("linger.ms", "2").set("message.timeout.ms", "0");
        Writer(config.create_with_context(Delivery).unwrap())
    }

    /// All that is committed in a topic.
    pub(super) fn committed(&self, topic: &str) -> Vec<Record> {
        let mut config = self.client();
        config.set("group.id", "an independent reader").set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
        let partitions = metadata.topics()[0].partitions().len() as i32;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (mut records, mut ended, begun) = (Vec::new(), 0, Instant::now());
        while ended < partitions {
            assert!(begun.elapsed() < Duration::from_secs(60), "{topic} cannot be read");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let text = |bytes: Option<&[u8]>| {
                        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
                    };
                    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                    records.push(Record {
                        partition: message.partition(),
                        key: text(message.key()),
                        value: text(message.payload()),
                        headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
                    });
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                _ => {}
            }
        }
        records
    }

    /// The committed records of a topic, once there are so many.
    pub(super) fn await_records(&self, topic: &str, count: usize) -> Vec<Record> {
        let begun = Instant::now();
        loop {
            let records = self.committed(topic);
            if records.len() >= count {
                return records;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} records in {topic}, not {count}",
                records.len()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Writes events.
pub(super) struct Writer(ThreadedProducer<Delivery>);

/// Tells of what was not written.
pub(super) struct Delivery;

impl rdkafka::ClientContext for Delivery {}

impl rdkafka::producer::ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            println!("not written to {}/{}: {error}", message.topic(), message.partition());
        }
    }
}

impl Writer {
    /// Hands a record over; it may wait while the broker is away.
    pub(super) fn send(&self, topic: &str, partition: i32, key: &str, value: &str) {
        let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
        let begun = Instant::now();
        while let Err((error, back)) = self.0.send(record) {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "{topic}/{partition} is not written: {error}"
            );
            record = back;
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until all of it is there.
    pub(super) fn flush(&self) {
        self.0.flush(Duration::from_secs(60)).unwrap();
    }
}
