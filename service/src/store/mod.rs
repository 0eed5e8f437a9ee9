//! The embedded store: one fjall database whose commits are atomic and fsynced.
//!
//! INVARIANT: whatever the service acknowledged is in one [`Commit`] that was on disk before the answer left.

mod records;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

pub use records::{
    AlertHead, Control, Delivery, Endpoint, Entry, FolderState, Head, IdempotentReply, StoredAlert,
};

/// Any failure of the store, as text for the log.
#[derive(Debug)]
pub struct StoreError(String);

impl StoreError {
    /// Something that has to be there is not.
    pub fn missing(what: &str) -> Self {
        Self(format!("{what} are missing"))
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "store: {}", self.0)
    }
}

impl std::error::Error for StoreError {}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("a damaged record: {error}"))
    }
}

/// Result of a store call.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    db: Database,
    log: Keyspace,
    /// Where the log holds decisions other than ticks.
    decisions: Keyspace,
    topics: Keyspace,
    alerts: Keyspace,
    meta: Keyspace,
    idempotency: Keyspace,
    endpoints: Keyspace,
    deliveries: Keyspace,
}

impl Store {
    /// Opens or creates the store in a folder.
    ///
    /// # Errors
    /// The folder cannot be used, or another process holds it.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| StoreError(format!("{}: {e}", folder.display())))?;
        let db = Database::builder(folder.join("store")).open().map_err(|e| match e {
            fjall::Error::Locked => StoreError(format!("{} is in use by another process", folder.display())),
            other => other.into(),
        })?;
        let open = |name: &str| db.keyspace(name, KeyspaceCreateOptions::default);
        Ok(Self {
            log: open("log")?,
            decisions: open("decisions")?,
            topics: open("topics")?,
            alerts: open("alerts")?,
            meta: open("meta")?,
            idempotency: open("idempotency")?,
            endpoints: open("endpoints")?,
            deliveries: open("deliveries")?,
            db,
        })
    }

    /// Opens the store that is in the folder.
    ///
    /// # Errors
    /// There is none; see [`Self::open`].
    pub fn open_known(folder: &Path) -> Result<Self> {
        match folder.join("store").is_dir() {
            true => Self::open(folder),
            false => Err(StoreError(format!("no store in {}", folder.display()))),
        }
    }

    /// Refuses a folder that was used with another source of events.
    ///
    /// # Errors
    /// It was, or the store cannot be used.
    pub fn belongs_to(&self, source: &str) -> Result<()> {
        let known = match self.meta.get("source")? {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None if self.log.first_key_value().is_some() => "embedded".to_owned(),
            None => {
                let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
                batch.insert(&self.meta, "source", source);
                return Ok(batch.commit()?);
            }
        };
        if known != source {
            return Err(StoreError(format!(
                "this data folder belongs to another service ({known}, not {source}): use another one"
            )));
        }
        Ok(())
    }

    /// An empty commit.
    pub fn commit(&self) -> Commit {
        Commit {
            store: self.clone(),
            batch: self.db.batch().durability(Some(PersistMode::SyncAll)),
            empty: true,
        }
    }

    /// The head of the last commit.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn head(&self) -> Result<Head> {
        match self.meta.get("head")? {
            Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
            None => Ok(Head::default()),
        }
    }

    /// How far something has been read, by its name; 0 if it never was.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn place(&self, name: &str) -> Result<u64> {
        Ok(self.meta.get(name)?.map_or(0, |v| position(&v)))
    }

    /// The input log from `seq` on, in order.
    pub fn log_from(&self, seq: u64) -> impl Iterator<Item = Result<(u64, Entry)>> {
        self.log.range(seq.to_be_bytes()..).map(|guard| {
            let (key, value) = guard.into_inner()?;
            Ok((position(&key), Entry::read(&value)?))
        })
    }

    /// The decisions of the input log before `seq`, in order, without ticks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn decisions_before(&self, seq: u64) -> Result<Vec<Control>> {
        let mut decisions = Vec::new();
        for guard in self.decisions.range(..seq.to_be_bytes()) {
            let entry = self.log.get(guard.key()?)?.ok_or_else(|| StoreError::missing("decisions"))?;
            match Entry::read(&entry)? {
                Entry::Control(control) => decisions.push(*control),
                Entry::Event { .. } => return Err(StoreError::missing("decisions")),
            }
        }
        Ok(decisions)
    }

    /// Names the decisions of the log, for a store that was written before they were named one by one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn name_decisions(&self, known: &[u64]) -> Result<()> {
        let named = self.decisions.range(u64::MIN.to_be_bytes()..).count();
        if named == known.len() {
            return Ok(());
        }
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        known.iter().for_each(|seq| batch.insert(&self.decisions, seq.to_be_bytes(), []));
        Ok(batch.commit()?)
    }

    /// A print of the log's last entry before `seq`; none if there is none. Entries bear the time at which they came: equal
    /// prints at one place mean one history.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn print_before(&self, seq: u64) -> Result<Option<String>> {
        let Some(last) = seq.checked_sub(1) else { return Ok(None) };
        Ok(self.log.get(last.to_be_bytes())?.map(|entry| crate::serve::sha256_hex(&entry)))
    }

    /// Next offset of a local topic.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn topic_end(&self, topic: &str) -> Result<u64> {
        match self.topics.prefix(topic_prefix(topic)).next_back() {
            Some(guard) => Ok(position(&guard.key()?) + 1),
            None => Ok(0),
        }
    }

    /// Records of a local topic with offset >= `from`: offset and entry.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn topic_records(&self, topic: &str, from: u64, limit: usize) -> Result<Vec<(u64, Entry)>> {
        let mut out = Vec::new();
        for guard in self.topics.range(topic_key(topic, from)..=topic_key(topic, u64::MAX)).take(limit) {
            let (key, seq) = guard.into_inner()?;
            if let Some(bytes) = self.log.get(&seq)? {
                out.push((position(&key), Entry::read(&bytes)?));
            }
        }
        Ok(out)
    }

    /// Committed alerts with a sequence > `after`.
    pub fn alerts_after(&self, after: u64) -> impl Iterator<Item = Result<StoredAlert>> {
        self.alerts.range(after.saturating_add(1).to_be_bytes()..).map(|guard| {
            let (key, value) = guard.into_inner()?;
            StoredAlert::read(position(&key), &value)
        })
    }

    /// One committed alert.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn alert(&self, seq: u64) -> Result<Option<StoredAlert>> {
        self.alerts.get(seq.to_be_bytes())?.map(|v| StoredAlert::read(seq, &v)).transpose()
    }

    /// The answer that an idempotency key got.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn idempotent(&self, key: &str) -> Result<Option<IdempotentReply>> {
        self.idempotency.get(key)?.map(|v| Ok(serde_json::from_slice(&v)?)).transpose()
    }

    /// Forgets idempotency keys older than `before` (microseconds).
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn forget_idempotency(&self, before: i64) -> Result<usize> {
        let mut old = Vec::new();
        for guard in self.idempotency.iter() {
            let (key, value) = guard.into_inner()?;
            if serde_json::from_slice::<IdempotentReply>(&value).map_or(true, |r| r.at < before) {
                old.push(key);
            }
        }
        let mut batch = self.db.batch();
        let count = old.len();
        for key in old {
            batch.remove(&self.idempotency, key);
        }
        batch.commit()?;
        Ok(count)
    }

    /// Every endpoint, in name order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn endpoints(&self) -> Result<Vec<(String, Endpoint)>> {
        let mut out = Vec::new();
        for guard in self.endpoints.iter() {
            let (key, value) = guard.into_inner()?;
            out.push((String::from_utf8_lossy(&key).into_owned(), serde_json::from_slice(&value)?));
        }
        Ok(out)
    }

    /// One endpoint.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn endpoint(&self, name: &str) -> Result<Option<Endpoint>> {
        self.endpoints.get(name)?.map(|v| Ok(serde_json::from_slice(&v)?)).transpose()
    }

    /// Stores an endpoint durably. A new one begins after the alerts committed so far.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_endpoint(&self, name: &str, endpoint: &Endpoint, cursor: Option<u64>) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.endpoints, name, serde_json::to_vec(endpoint)?);
        if let Some(cursor) = cursor {
            batch.insert(&self.meta, format!("endpoint/{name}"), cursor.to_be_bytes());
        }
        Ok(batch.commit()?)
    }

    /// The last alert that was queued for an endpoint.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn endpoint_cursor(&self, name: &str) -> Result<u64> {
        self.place(&format!("endpoint/{name}"))
    }

    /// Writes deliveries and, if given, the endpoint's cursor, in one batch.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_deliveries(&self, name: &str, items: &[(u64, Delivery)], cursor: Option<u64>) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        for (seq, delivery) in items {
            batch.insert(&self.deliveries, topic_key(name, *seq), serde_json::to_vec(delivery)?);
        }
        if let Some(cursor) = cursor {
            batch.insert(&self.meta, format!("endpoint/{name}"), cursor.to_be_bytes());
        }
        Ok(batch.commit()?)
    }

    /// Deliveries of an endpoint after an alert's sequence.
    pub fn deliveries(&self, name: &str, after: u64) -> impl Iterator<Item = Result<(u64, Delivery)>> {
        let from = topic_key(name, after.saturating_add(1));
        self.deliveries.range(from..=topic_key(name, u64::MAX)).map(|guard| {
            let (key, value) = guard.into_inner()?;
            Ok((position(&key), serde_json::from_slice(&value)?))
        })
    }
}

/// What one atomic step writes.
pub struct Commit {
    store: Store,
    batch: fjall::OwnedWriteBatch,
    empty: bool,
}

impl Commit {
    /// Appends to the input log.
    pub fn log(&mut self, seq: u64, entry: &Entry) {
        self.batch.insert(&self.store.log, seq.to_be_bytes(), entry.bytes());
        if entry.is_lasting() {
            self.batch.insert(&self.store.decisions, seq.to_be_bytes(), []);
        }
        self.empty = false;
    }

    /// Names the log's entry in its topic.
    pub fn topic(&mut self, topic: &str, offset: u64, seq: u64) {
        self.batch.insert(&self.store.topics, topic_key(topic, offset), seq.to_be_bytes());
    }

    /// Adds an alert.
    pub fn alert(&mut self, alert: &StoredAlert) {
        self.batch.insert(&self.store.alerts, alert.seq.to_be_bytes(), alert.bytes());
        self.empty = false;
    }

    /// Remembers what an idempotency key was answered.
    ///
    /// # Errors
    /// Never in practice; the reply cannot be written as JSON.
    pub fn idempotent(&mut self, key: &str, reply: &IdempotentReply) -> Result<()> {
        self.batch.insert(&self.store.idempotency, key, serde_json::to_vec(reply)?);
        self.empty = false;
        Ok(())
    }

    /// Remembers how far something has been read.
    pub fn place(&mut self, name: &str, next: u64) {
        self.batch.insert(&self.store.meta, name, next.to_be_bytes());
        self.empty = false;
    }

    /// True if there is nothing to make durable.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// Writes all of it, atomically and fsynced, with the new head.
    ///
    /// # Errors
    /// Nothing of it may be acknowledged then.
    pub fn finish(mut self, head: &Head) -> Result<()> {
        self.batch.insert(&self.store.meta, "head", serde_json::to_vec(head)?);
        Ok(self.batch.commit()?)
    }
}

fn topic_prefix(topic: &str) -> Vec<u8> {
    let mut key = topic.as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&0u32.to_be_bytes());
    key
}

/// Topic, partition 0, offset.
fn topic_key(topic: &str, offset: u64) -> Vec<u8> {
    let mut key = topic_prefix(topic);
    key.extend_from_slice(&offset.to_be_bytes());
    key
}

/// The number in the last eight bytes of a key.
fn position(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let tail = &key[key.len().saturating_sub(8)..];
    bytes[8 - tail.len()..].copy_from_slice(tail);
    u64::from_be_bytes(bytes)
}
