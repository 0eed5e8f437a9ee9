//! `[snapshots]`.

use super::duration;
use super::units::some_time;
use crate::serve::snapshot::Place;
use serde::Deserialize;
use std::time::Duration;

/// Where snapshots are kept, how often one is taken, and how many stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshots {
    /// A folder, `file:///FOLDER` or `s3://BUCKET/PREFIX`; none = in the data folder.
    pub url: Option<String>,
    /// How often one is taken, while there are commits.
    pub every: String,
    /// How many of the newest stay.
    pub keep: usize,
    /// How often those that stay are read again.
    pub scrub: String,
    /// How long one request to the object store may take, and the last snapshot of a service that ends.
    pub timeout: String,
    /// For how long matching may stand still at once for a snapshot.
    pub pause: String,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            url: None,
            every: "10s".into(),
            keep: 3,
            scrub: "6h".into(),
            timeout: "30s".into(),
            pause: "2ms".into(),
        }
    }
}

impl Snapshots {
    /// Checks the values whose form serde does not know.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let durations = [
            ("every", &self.every),
            ("scrub", &self.scrub),
            ("timeout", &self.timeout),
            ("pause", &self.pause),
        ];
        for (key, value) in durations {
            some_time(&format!("snapshots.{key}"), value)?;
        }
        if self.keep == 0 {
            return Err("snapshots.keep: it is at least 1".to_owned());
        }
        match &self.url {
            Some(url) => Place::check(url).map_err(|why| format!("snapshots.url: {why}")),
            None => Ok(()),
        }
    }

    /// How often one is taken.
    #[must_use]
    pub fn every(&self) -> Duration {
        duration(&self.every).unwrap_or(Duration::from_secs(10))
    }

    /// How often those that stay are read again.
    #[must_use]
    pub fn scrub(&self) -> Duration {
        duration(&self.scrub).unwrap_or(Duration::from_secs(21_600))
    }

    /// How long one request may take, and the last snapshot of a service that ends.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        duration(&self.timeout).unwrap_or(Duration::from_secs(30))
    }

    /// For how long matching may stand still at once for a snapshot.
    #[must_use]
    pub fn pause(&self) -> Duration {
        duration(&self.pause).unwrap_or(Duration::from_millis(2))
    }
}
