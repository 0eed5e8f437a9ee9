//! What the metadata of committed offsets says: which commit this was, and what had been raised by then.

use super::Trouble;
use super::cluster::Member;
use crate::serve::core::Cut;
use crate::serve::snapshot::Reference;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// How many alerts were raised, and a sum over their ids that does not depend on their order: partitions may be read in
/// another order when they are read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) alerts: u64,
    sum: u128,
}

impl Tally {
    pub(crate) fn add(&mut self, id: &str) {
        let digest = Sha256::digest(id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        self.alerts += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(bytes));
    }
}

/// The metadata of every offset of one commit: `v1;lineage;epoch;snap_epoch;snap_attempt;alert_hash;rules;writer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Names this task since it first began.
    pub(crate) lineage: String,
    /// Commits so far.
    pub(crate) epoch: u64,
    /// Alerts raised so far.
    pub(crate) tally: Tally,
    /// Decisions taken so far.
    pub(crate) decisions: u64,
    /// The newest durable snapshot.
    pub(crate) snapshot: Reference,
    /// Drawn anew with every recovery; empty in commits of older versions.
    ///
    /// WHY: a worker that does not know what became of its commit, and was stopped meanwhile, may find one of the same number
    /// that its successor has made.
    pub(crate) writer: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lineage, epoch, tally, decisions, snapshot: (taken, attempt), writer } = self;
        let Tally { alerts, sum } = tally;
        write!(f, "v1;{lineage};{epoch};{taken};{attempt};{alerts}-{sum:032x};{decisions};{writer}")
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not the metadata of a commit of Tripline");
        let parts: Vec<&str> = text.split(';').collect();
        let ["v1", lineage, epoch, taken, attempt, hash, decisions, rest @ ..] = parts.as_slice() else {
            return Err(bad());
        };
        let writer = match rest {
            [] => "",
            [writer] => writer,
            _ => return Err(bad()),
        };
        let (alerts, sum) = hash.split_once('-').ok_or_else(bad)?;
        Ok(Self {
            lineage: (*lineage).to_owned(),
            epoch: epoch.parse().map_err(|_| bad())?,
            tally: Tally {
                alerts: alerts.parse().map_err(|_| bad())?,
                sum: u128::from_str_radix(sum, 16).map_err(|_| bad())?,
            },
            decisions: decisions.parse().map_err(|_| bad())?,
            snapshot: (taken.parse().map_err(|_| bad())?, attempt.parse().map_err(|_| bad())?),
            writer: writer.to_owned(),
        })
    }
}

/// What stands committed for a group's partitions: what the metadata says, and up to where the offsets go.
pub(crate) fn read_back(
    member: &dyn Member,
    group: &str,
    partitions: &[String],
) -> Result<Option<(Mark, Cut)>, Trouble> {
    let mut cut = Cut::new();
    let mut mark: Option<Mark> = None;
    for (name, offset, metadata) in member.committed(partitions)? {
        let own: Mark = metadata.parse().map_err(|why| {
            Trouble::Refused(format!(
                "group `{group}`: the committed offset {offset} of {name} was not written by Tripline ({why}); put back \
                 what it wrote with `tripline recover --adopt`, or choose another --group"
            ))
        })?;
        // A topic that came later has no offset before the commit that opened it.
        if mark.as_ref().is_some_and(|mark| *mark != own) {
            return Err(Trouble::Refused(format!(
                "group `{group}`: the committed offset of {name} is of another commit than those of other partitions; put \
                 back what Tripline wrote with `tripline recover --adopt`"
            )));
        }
        mark = Some(own);
        cut.insert(name, offset);
    }
    Ok(mark.map(|mark| (mark, cut)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_went() {
        let mut tally = Tally::default();
        tally.add("b");
        tally.add("a");
        let mark = Mark {
            lineage: "k3".into(),
            epoch: 17,
            tally,
            decisions: 4,
            snapshot: (12, 3),
            writer: "w".into(),
        };
        let text = mark.to_string();
        assert_eq!(text.parse(), Ok(mark.clone()));
        let older = text.strip_suffix(";w").unwrap();
        assert_eq!(older.parse(), Ok(Mark { writer: String::new(), ..mark }), "of an older version");
        assert!(text.len() < 256, "{text}");
        let mut other = Tally::default();
        other.add("a");
        other.add("b");
        assert_eq!(tally, other);
        assert!("".parse::<Mark>().is_err());
        assert!("v1;a;b".parse::<Mark>().is_err());
    }
}
