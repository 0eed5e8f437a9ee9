//! What the store holds: entries of the input log, alerts, deliveries.

use super::{Result, StoreError};
use pattern_dsl::ir::Content;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Where the last commit stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Next position of the input log.
    pub next_seq: u64,
    /// Alerts committed so far; the last one has this sequence.
    pub alerts: u64,
    /// Running hash over their ids.
    pub hash: String,
}

impl Head {
    /// Counts one more alert.
    pub fn add(&mut self, id: &str) {
        let mut hasher = Sha256::new();
        hasher.update(self.hash.as_bytes());
        hasher.update(id.as_bytes());
        self.alerts += 1;
        self.hash = crate::serve::hex(&hasher.finalize()[..16]);
    }
}

/// One entry of the input log.
#[derive(Debug, Clone)]
pub enum Entry {
    /// An accepted event.
    Event {
        /// Its stream.
        stream: String,
        /// Its offset in its topic.
        offset: u64,
        /// When it arrived, in microseconds.
        arrived: i64,
        /// The record as it came.
        raw: Vec<u8>,
    },
    /// A decision.
    Control(Box<Control>),
}

/// A recorded decision: replay takes it at the same place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Control {
    /// The partitions of a topic, each read from an offset on.
    Open {
        /// The topic.
        topic: String,
        /// By partition, the first offset.
        starts: Vec<u64>,
    },
    /// Time moved on a quiet stream.
    Tick {
        /// To this instant.
        to: i64,
    },
    /// A rule was put over HTTP.
    Put {
        /// Its name.
        id: String,
        /// Its source.
        text: String,
        /// Its revision.
        revision: u32,
        /// It sees events from this time on.
        at: i64,
        /// When it was put, in microseconds.
        recorded: i64,
    },
    /// A rule was deleted over HTTP.
    Delete {
        /// Its name.
        id: String,
        /// When, in microseconds.
        recorded: i64,
    },
    /// The rules folder as found at a start.
    Folder {
        /// All of it.
        state: FolderState,
        /// Changed rules see events from this time on; none = all.
        at: Option<i64>,
        /// When it was read, in microseconds.
        recorded: i64,
    },
    /// A record of a partition was passed over: the matcher crashed at it twice.
    Skip {
        /// The partition.
        partition: String,
        /// Of the record.
        offset: u64,
        /// When, in microseconds.
        recorded: i64,
    },
    /// An event is not taken any more: the matcher crashed at it twice.
    Refuse {
        /// Its stream.
        stream: String,
        /// SHA-256 of it.
        print: String,
        /// The rule that was at work: until it is changed, put again or deleted; none: for ever.
        #[serde(default)]
        rule: Option<String>,
        /// When, in microseconds.
        recorded: i64,
    },
    /// A rule was put aside: the matcher crashed in it twice.
    Quarantine {
        /// Its name.
        rule: String,
        /// What the crash said.
        why: String,
        /// When, in microseconds.
        recorded: i64,
    },
    /// How far an event's time may be later than its arrival.
    Skew {
        /// In microseconds; none = without end.
        most: Option<i64>,
    },
}

impl Control {
    /// A state does not hold it. Time is in the state.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Tick { .. })
    }
}

/// The rules folder: its files and what its lists and lookups read from others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FolderState {
    /// Name and text of each file, in name order.
    pub files: Vec<(String, String)>,
    /// Contents of lists and lookups that name a file.
    pub tables: BTreeMap<String, Content>,
    /// Rules that are passed over because the API has them.
    pub skipped: Vec<String>,
}

impl Entry {
    /// A decision that a state does not hold.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Control(control) if control.is_lasting())
    }

    /// As stored.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Event { stream, offset, arrived, raw } => {
                let mut out = Vec::with_capacity(raw.len() + stream.len() + 19);
                out.push(0);
                out.extend_from_slice(&(stream.len() as u16).to_be_bytes());
                out.extend_from_slice(stream.as_bytes());
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&arrived.to_be_bytes());
                out.extend_from_slice(raw);
                out
            }
            Self::Control(control) => {
                let mut out = vec![1];
                out.extend(serde_json::to_vec(control).unwrap_or_default());
                out
            }
        }
    }

    /// Back from bytes.
    ///
    /// # Errors
    /// Bytes that are no entry.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let damaged = || StoreError("a damaged log entry".into());
        match bytes.split_first() {
            Some((0, rest)) => {
                let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
                let length = usize::from(u16::from_be_bytes(*length));
                let (stream, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
                let (offset, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
                let (arrived, raw) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
                Ok(Self::Event {
                    stream: String::from_utf8_lossy(stream).into_owned(),
                    offset: u64::from_be_bytes(*offset),
                    arrived: i64::from_be_bytes(*arrived),
                    raw: raw.to_vec(),
                })
            }
            Some((1, rest)) => Ok(Self::Control(serde_json::from_slice(rest)?)),
            _ => Err(damaged()),
        }
    }
}

/// What filters and webhooks need to know of an alert.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AlertHead {
    /// Its id.
    pub id: String,
    /// Its rule.
    pub rule: String,
    /// Values of its key joined by `,`.
    pub key: String,
    /// Its severity.
    pub severity: String,
    /// Sent to nobody.
    pub shadow: bool,
    /// Endpoints that the rule names.
    pub webhooks: Vec<String>,
}

/// A committed alert.
#[derive(Debug, Clone)]
pub struct StoredAlert {
    /// Its place in commit order, from 1.
    pub seq: u64,
    /// For filters.
    pub head: AlertHead,
    /// The CloudEvent.
    pub event: String,
}

impl StoredAlert {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec(&self.head).unwrap_or_default();
        out.push(b'\n');
        out.extend_from_slice(self.event.as_bytes());
        out
    }

    pub(super) fn read(seq: u64, bytes: &[u8]) -> Result<Self> {
        let cut = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
        let head = serde_json::from_slice(&bytes[..cut])?;
        let event = String::from_utf8_lossy(bytes.get(cut + 1..).unwrap_or_default()).into_owned();
        Ok(Self { seq, head, event })
    }
}

/// The answer that an idempotency key got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdempotentReply {
    /// When, in microseconds.
    pub at: i64,
    /// Hash of what was asked.
    pub asked: String,
    /// The answer's body.
    pub body: serde_json::Value,
}

/// A webhook endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where alerts are posted.
    pub url: String,
    /// `whsec_` and base64.
    pub secret: String,
    /// Why nothing is sent any more.
    #[serde(default)]
    pub disabled: Option<String>,
}

/// The way of one alert to one endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    /// The alert's id.
    pub alert: String,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was queued, in microseconds.
    pub queued: i64,
    /// When the next attempt is due, in microseconds.
    pub next: i64,
    /// Status of the last answer.
    pub status: Option<u16>,
    /// What went wrong last.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_went() {
        let entry = Entry::Event { stream: "auth".into(), offset: 7, arrived: -3, raw: b"{}".to_vec() };
        let Ok(Entry::Event { stream, offset, arrived, raw }) = Entry::read(&entry.bytes()) else {
            panic!("no event")
        };
        assert_eq!((stream.as_str(), offset, arrived, raw.as_slice()), ("auth", 7, -3, b"{}".as_slice()));
        let tick = Entry::Control(Box::new(Control::Tick { to: 5 }));
        assert!(
            matches!(Entry::read(&tick.bytes()), Ok(Entry::Control(c)) if matches!(*c, Control::Tick { to: 5 }))
        );
        assert!(Entry::read(&[0, 9]).is_err());
    }
}
