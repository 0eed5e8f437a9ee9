//! `[kafka]` and `[alerts]`.

use super::secret;
use super::units::{duration, some_time};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Kafka as the source of events and the place of alerts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// `HOST:PORT`, several with commas; empty = the embedded mode.
    pub brokers: String,
    /// Whose work this is: it names the consumer group and the transactional id.
    pub group: String,
    /// Missing topics are made; `--dev` does that too.
    pub create_topics: bool,
    /// Where alerts go.
    pub alerts_topic: String,
    /// Where alerts of rules in shadow mode go.
    pub shadow_topic: String,
    /// Where events go that came too late.
    pub late_topic: String,
    /// Where records go that are no events.
    pub dead_letters_topic: String,
    /// Where decisions are kept.
    pub control_topic: String,
    /// How long an answer to a commit is waited for; after that its outcome is found out in another way.
    pub commit_timeout: String,
    /// What is one task: all partitions, or each partition number; fixed when the group begins.
    pub tasks: Tasks,
    /// Settings of the Kafka client that say how to reach and to trust brokers: `security.protocol` and its kin.
    pub client: BTreeMap<String, String>,
}

/// Client settings that are secrets, and given by reference.
const SECRETS: [&str; 8] = [
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// What the tasks of a group are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tasks {
    /// One task reads all partitions; one worker has it, the others stand by.
    #[default]
    One,
    /// A task for each partition number reads that partition of every topic; workers share them.
    Partitions,
}

impl Tasks {
    /// As it is set.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Partitions => "partitions",
        }
    }
}

/// This process among those of its group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Its name, the same after a restart; none = of the host and the data folder.
    pub id: Option<String>,
}

/// The name of a worker by its host and its data folder.
pub(super) fn usual_worker(data: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let folder = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    let print = crate::serve::sha256_hex(folder.to_string_lossy().as_bytes());
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    format!("{host}-{}", &print[..8])
}

/// When so much of a topic is no event that its reading pauses: something is wrong with whoever writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// More than this part of the records, from 0 to 1.
    pub share: f64,
    /// Of at least so many.
    pub records: u64,
    /// Within so long.
    pub within: String,
    /// For how long the topic is not read then.
    pub pause: String,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { share: 0.5, records: 1_000, within: "60s".into(), pause: "60s".into() }
    }
}

impl Breaker {
    /// Checks the values whose form serde does not know.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(format!("breaker.share: {} is not between 0 and 1", self.share));
        }
        for (key, value) in [("within", &self.within), ("pause", &self.pause)] {
            some_time(&format!("breaker.{key}"), value)?;
        }
        if self.records == 0 {
            return Err("breaker.records: it is at least 1".to_owned());
        }
        Ok(())
    }
}

/// What alerts look like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// How a CloudEvent is written to Kafka.
    pub content: Content,
}

/// How a CloudEvent is written to Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Its data as value, its attributes as `ce_` headers.
    #[default]
    Binary,
    /// All of it as value.
    Structured,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            group: "tripline".into(),
            create_topics: false,
            alerts_topic: "tripline.alerts".into(),
            shadow_topic: "tripline.alerts.shadow".into(),
            late_topic: "tripline.late".into(),
            dead_letters_topic: "tripline.dead-letters".into(),
            control_topic: "tripline.control".into(),
            commit_timeout: "10s".into(),
            tasks: Tasks::One,
            client: BTreeMap::new(),
        }
    }
}

impl Alerts {
    /// Alerts are whole CloudEvents.
    #[must_use]
    pub fn is_structured(&self) -> bool {
        self.content == Content::Structured
    }
}

impl Kafka {
    /// Events come from Kafka.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// How long an answer to a commit is waited for.
    #[must_use]
    pub fn commit_wait(&self) -> Duration {
        duration(&self.commit_timeout).unwrap_or(Duration::from_secs(10))
    }

    /// The one partition of each topic that a task reads; none = all of them.
    #[must_use]
    pub fn only(&self, task: i32) -> Option<i32> {
        (self.tasks == Tasks::Partitions).then_some(task)
    }

    /// Names the source of events, so that a data folder is not used with two.
    #[must_use]
    pub fn source(&self) -> String {
        if self.is_used() { format!("kafka group {}", self.group) } else { "embedded".to_owned() }
    }

    /// The topics that Tripline writes.
    #[must_use]
    pub fn own_topics(&self) -> [&str; 5] {
        [
            &self.control_topic,
            &self.alerts_topic,
            &self.shadow_topic,
            &self.late_topic,
            &self.dead_letters_topic,
        ]
    }

    /// Checks what would else fail late, or quietly break the promise.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.is_used() && (self.group.is_empty() || self.group.contains(['/', ';'])) {
            return Err(format!("kafka.group: `{}` is empty or has a `/` or `;`", self.group));
        }
        some_time("kafka.commit_timeout", &self.commit_timeout)?;
        let bad = self.brokers.split(',').find(|b| self.is_used() && !b.trim().contains(':'));
        if let Some(broker) = bad {
            return Err(format!("kafka.brokers: `{broker}` is not of the form HOST:PORT"));
        }
        let mut own = self.own_topics().to_vec();
        own.sort_unstable();
        if let Some(twice) = own.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("kafka: topic `{}` is named for two things", twice[0]));
        }
        let wrong = self.client.keys().find(|name| {
            !["security.", "sasl.", "ssl.", "client.", "socket.", "broker.", "enable.ssl."]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        });
        if let Some(name) = wrong {
            return Err(format!(
                "kafka.client: `{name}` cannot be set: only how to reach and to trust brokers (`security.`, `sasl.`, \
                 `ssl.`, `client.`, `socket.`, `broker.`) is open; the rest is what exactly once rests on"
            ));
        }
        match self.client.iter().find(|(name, value)| needs_tls(name, value)) {
            Some((name, _)) if !cfg!(feature = "tls") => Err(format!(
                "kafka.client: `{name}` as it is set needs TLS, which this program was built without: build it with \
                 `--features tls`; that needs OpenSSL's headers (Debian: `apt-get install libssl-dev pkg-config`)"
            )),
            _ => Ok(()),
        }
    }

    /// Puts secrets in the place of their references.
    ///
    /// # Errors
    /// One that is not given by reference, or cannot be read.
    pub(super) fn read_secrets(&mut self) -> Result<(), String> {
        for name in SECRETS {
            if let Some(value) = self.client.get_mut(name) {
                *value = secret(&format!("kafka.client: `{name}`"), value)?;
            }
        }
        Ok(())
    }
}

/// The client refuses this setting if it was built without OpenSSL: TLS itself, and what SCRAM reckons with.
fn needs_tls(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match name {
        "security.protocol" => value.ends_with("ssl"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram"),
        _ => name.starts_with("ssl.") || name.starts_with("enable.ssl."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exactly_once_rests_on_cannot_be_set() {
        let mut kafka = Kafka { brokers: "a:1,b:2".into(), ..Kafka::default() };
        assert_eq!(kafka.check(), Ok(()));
        kafka.client.insert("isolation.level".into(), "read_uncommitted".into());
        assert!(kafka.check().unwrap_err().contains("isolation.level"));
        assert!(Kafka { brokers: "a".into(), ..Kafka::default() }.check().is_err());
        let twice = Kafka { late_topic: "tripline.alerts".into(), ..Kafka::default() };
        assert!(twice.check().is_err());
    }

    #[test]
    fn a_build_without_tls_says_what_is_missing() {
        for (name, value, needs) in [
            ("security.protocol", "SASL_SSL", true),
            ("security.protocol", "ssl", true),
            ("security.protocol", "sasl_plaintext", false),
            ("sasl.mechanism", "SCRAM-SHA-512", true),
            ("sasl.mechanisms", "PLAIN", false),
            ("ssl.ca.location", "ca.pem", true),
            ("socket.keepalive.enable", "true", false),
        ] {
            assert_eq!(needs_tls(name, value), needs, "{name} {value}");
            let client = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let checked = Kafka { brokers: "a:1".into(), client, ..Kafka::default() }.check();
            assert_eq!(checked.is_err(), needs && !cfg!(feature = "tls"), "{name} {value}");
            checked.err().iter().for_each(|why| assert!(why.contains("--features tls"), "{why}"));
        }
    }

    #[test]
    fn secrets_are_given_by_reference() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "of the broker\n").unwrap();
        let with = |value: String| {
            let client = BTreeMap::from([("sasl.password".to_owned(), value)]);
            let mut kafka = Kafka { client, ..Kafka::default() };
            kafka.read_secrets().map(|()| kafka.client["sasl.password"].clone())
        };
        assert_eq!(with(format!("file:{}", file.path().display())).unwrap(), "of the broker");
        let why = with("of the broker".into()).unwrap_err();
        assert!(
            why.contains("sasl.password") && why.contains("file:PATH") && !why.contains("of the"),
            "{why}"
        );
    }
}
