//! `tripline.toml`: typed, an unknown key is an error; `TRIPLINE__SECTION__KEY` overrides the file, flags win over both.

mod kafka;
mod snapshots;
mod units;

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use kafka::{Alerts, Breaker, Content, Kafka, Tasks, Worker};
pub use snapshots::Snapshots;
pub use units::{Network, Retry, duration};

/// Everything that `serve` can be told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: Store,
    /// `[snapshots]`.
    pub snapshots: Snapshots,
    /// `[rules]`.
    pub rules: Rules,
    /// `[auth]`.
    pub auth: Auth,
    /// `[ingest]`.
    pub ingest: Ingest,
    /// `[time]`.
    pub time: Time,
    /// `[limits]`.
    pub limits: Limits,
    /// `[webhooks]`.
    pub webhooks: Webhooks,
    /// `[kafka]`.
    pub kafka: Kafka,
    /// `[breaker]`.
    pub breaker: Breaker,
    /// `[alerts]`.
    pub alerts: Alerts,
    /// `[worker]`.
    pub worker: Worker,
    /// Loopback only and no token; set by `--dev`, not by the file.
    #[serde(skip)]
    pub dev: bool,
}

/// Where the service listens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port.
    pub listen: SocketAddr,
}

/// The embedded store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The data folder.
    pub data: PathBuf,
}

/// Rules from files.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// The folder with `*.cep` files.
    pub folder: Option<PathBuf>,
    /// What holds when a rule is in the folder and was put over HTTP.
    pub on_conflict: OnConflict,
}

/// Who wins when the folder and the API both have a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The service does not start.
    #[default]
    Refuse,
    /// The folder's rule replaces the other.
    Folder,
    /// The folder's rule is passed over.
    Api,
}

/// Who may call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The bearer token, by reference: `file:PATH` or `env:NAME`.
    pub token: Option<String>,
}

/// How events come in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Largest request body in bytes, after decompression.
    pub max_body: usize,
    /// Requests that may wait for the matcher; one more is answered with 429.
    pub queue: usize,
    /// Bytes that may wait for the matcher.
    pub queue_bytes: usize,
}

/// Time on quiet streams.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// Quiet streams move on by the wall clock only if the newest event arrived at most this long after its own time.
    pub live_within: String,
    /// Upper limit of every stream's `idle`.
    pub idle_max: Option<String>,
    /// How much later than its arrival the time of an event may be; `none`: any.
    pub max_future_skew: String,
}

/// Caps (surfaces.md section 2).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Candidates per key and rule.
    pub candidates: usize,
    /// What all keys of all rules hold together: candidates, values in windows, cool-downs, and one for each key.
    pub state: usize,
    /// Alerts of `overlap all` at one moment.
    pub matches_per_moment: usize,
    /// Tests in one search.
    pub search_work: u64,
    /// Alerts of a rule in a day (UTC).
    pub alerts_per_rule_day: u64,
    /// Bytes of events that wait in memory for their time; beyond that only partitions are read that hold time back.
    pub reorder_buffer_bytes: usize,
}

/// Delivery to endpoints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Networks that the guard against internal addresses lets through.
    pub allow: Vec<String>,
    /// First delay, factor, and how long to go on: `"5s,2,3d"`.
    pub retry: String,
    /// How long one attempt may take.
    pub timeout: String,
}

impl Default for Server {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7400)) }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { data: PathBuf::from("data") }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self { max_body: 16 << 20, queue: 256, queue_bytes: 64 << 20 }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self { live_within: "10m".into(), idle_max: None, max_future_skew: "none".into() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            candidates: 10_000,
            state: 10_000_000,
            matches_per_moment: 1_000,
            search_work: 1_000_000,
            alerts_per_rule_day: 10_000,
            reorder_buffer_bytes: 256 << 20,
        }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { allow: Vec::new(), retry: "5s,2,3d".into(), timeout: "10s".into() }
    }
}

impl Config {
    /// Reads the file that is named, else `tripline.toml` here if it is there, and the environment over it.
    ///
    /// # Errors
    /// See [`Self::load`].
    pub fn find(named: Option<PathBuf>) -> Result<Self, String> {
        let usual = PathBuf::from("tripline.toml");
        Self::load(named.or_else(|| usual.is_file().then_some(usual)).as_deref())
    }

    /// Reads the file, if any, and the environment over it.
    ///
    /// # Errors
    /// A sentence that names the file or variable and what is wrong with it.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        let mut table = match file {
            None => toml::Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                toml::from_str::<Self>(&text).map_err(|e| format!("{}: {}", path.display(), explain(&e)))?;
                text.parse().map_err(|e| format!("{}: {e}", path.display()))?
            }
        };
        let mut variables: Vec<_> =
            std::env::vars().filter(|(name, _)| name.starts_with("TRIPLINE__")).collect();
        variables.sort();
        for (name, value) in &variables {
            overlay(&mut table, name, value)?;
        }
        let mut config: Self = table.try_into().map_err(|e: toml::de::Error| match variables.is_empty() {
            true => explain(&e),
            false => format!("TRIPLINE__ variables: {}", explain(&e)),
        })?;
        config.check()?;
        config.kafka.read_secrets()?;
        Ok(config)
    }

    /// Checks the values whose form serde does not know.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let of = |key: &str, value: &str| {
            duration(value).ok_or_else(|| format!("{key}: `{value}` is not a duration such as 10s"))
        };
        of("time.live_within", &self.time.live_within)?;
        of("webhooks.timeout", &self.webhooks.timeout)?;
        if let Some(idle) = &self.time.idle_max {
            of("time.idle_max", idle)?;
        }
        if self.time.max_future_skew != "none" {
            of("time.max_future_skew", &self.time.max_future_skew)?;
        }
        self.kafka.check()?;
        self.snapshots.check()?;
        self.breaker.check()?;
        Retry::parse(&self.webhooks.retry)
            .ok_or_else(|| format!("webhooks.retry: `{}` is not of the form 5s,2,3d", self.webhooks.retry))?;
        for network in &self.webhooks.allow {
            Network::parse(network)
                .ok_or_else(|| format!("webhooks.allow: `{network}` is not a network such as 10.0.0.0/8"))?;
        }
        Ok(())
    }

    /// How much later than its arrival the time of an event may be, in microseconds.
    #[must_use]
    pub fn future_skew(&self) -> Option<i64> {
        duration(&self.time.max_future_skew).map(|most| most.as_micros() as i64)
    }

    /// The name of this worker in its group: as set, else of this host and data folder.
    #[must_use]
    pub fn worker_id(&self) -> String {
        self.worker.id.clone().unwrap_or_else(|| kafka::usual_worker(&self.store.data))
    }

    /// The bearer token, read from where the reference points.
    ///
    /// # Errors
    /// No reference, or one that cannot be read.
    pub fn token(&self) -> Result<String, String> {
        let Some(reference) = &self.auth.token else {
            return Err(
                "no token: set `[auth] token = \"file:PATH\"` or `TRIPLINE__AUTH__TOKEN=env:NAME`, or use --dev on this machine"
                    .into(),
            );
        };
        secret("auth.token", reference)
    }
}

/// A secret, read from where its reference points.
fn secret(key: &str, reference: &str) -> Result<String, String> {
    let text = if let Some(path) = reference.strip_prefix("file:") {
        std::fs::read_to_string(path).map_err(|e| format!("{key}: {path}: {e}"))?
    } else if let Some(name) = reference.strip_prefix("env:") {
        std::env::var(name).map_err(|_| format!("{key}: the variable {name} is not set"))?
    } else {
        return Err(format!("{key}: a secret is given by reference, `file:PATH` or `env:NAME`"));
    };
    let text = text.trim().to_owned();
    if text.is_empty() { Err(format!("{key}: it is empty")) } else { Ok(text) }
}

/// Puts one `TRIPLINE__SECTION__KEY` into the table.
fn overlay(table: &mut toml::Table, name: &str, value: &str) -> Result<(), String> {
    let path = name.trim_start_matches("TRIPLINE__").to_lowercase();
    let Some((section, key)) = path.split_once("__") else {
        return Err(format!("{name}: the form is TRIPLINE__SECTION__KEY"));
    };
    let parsed = format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match entry {
        toml::Value::Table(inner) => {
            inner.insert(key.to_owned(), parsed);
            Ok(())
        }
        _ => Err(format!("{name}: `{section}` is not a section")),
    }
}

/// The error with a suggestion where a key is unknown.
fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let mut ticked = text.split('`').skip(1).step_by(2);
    if !text.contains("unknown field") {
        return text;
    }
    let Some(wrong) = text.split("unknown field `").nth(1).and_then(|t| t.split('`').next()) else {
        return text;
    };
    let known: Vec<&str> = ticked.by_ref().filter(|t| *t != wrong).collect();
    match nearest(wrong, known.iter().copied()) {
        Some(near) => format!("{}; did you mean `{near}`?", text.trim_end()),
        None => text,
    }
}

/// `; did you mean ..?`, or nothing.
pub fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// The name nearest to `wrong`, if it is near enough to suggest.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = names.into_iter().map(|n| (strsim::levenshtein(wrong, n), n)).min()?;
    (best.0 <= (wrong.chars().count().max(3) / 2)).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_gets_a_suggestion() {
        let error = toml::from_str::<Config>("[server]\nlisen = \"127.0.0.1:1\"").unwrap_err();
        assert!(explain(&error).contains("did you mean `listen`?"), "{}", explain(&error));
    }

    #[test]
    fn a_variable_overrides_a_key() {
        let mut table = toml::Table::new();
        overlay(&mut table, "TRIPLINE__INGEST__QUEUE", "3").unwrap();
        overlay(&mut table, "TRIPLINE__SERVER__LISTEN", "127.0.0.1:9").unwrap();
        let config: Config = table.try_into().unwrap();
        assert_eq!((config.ingest.queue, config.server.listen.port()), (3, 9));
    }
}
