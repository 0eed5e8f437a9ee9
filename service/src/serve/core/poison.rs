//! What is left out so that the rest can go on: a record that kills the matcher, a rule that it dies of, a time from the future.

use super::{Core, Rejection};
use crate::serve::sha256_hex;
use pattern_dsl::types::Micros;

/// Why a rule was put aside.
#[derive(Debug, Clone)]
pub(crate) struct Quarantine {
    pub(crate) why: String,
    /// When, in microseconds.
    pub(crate) since: i64,
}

impl Core {
    /// A record is passed over: the next one of its partition is the one after it.
    pub(crate) fn skip(&mut self, partition: &str, offset: u64) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.name == partition) {
            lane.next = lane.next.max(offset + 1);
        }
    }

    /// From now on an event of this content is refused: until the rule to blame is another, or for ever if none is known.
    pub(crate) fn refuse(&mut self, stream: &str, print: &str, rule: Option<&str>) {
        self.refused.insert((stream.to_owned(), print.to_owned()), rule.map(str::to_owned));
    }

    /// A rule is another, or gone: events that were refused because of it are taken when they are sent again.
    pub(super) fn forgive(&mut self, rule: &str) {
        self.refused.retain(|_, blamed| blamed.as_deref() != Some(rule));
    }

    /// An event that is refused.
    pub(crate) fn check_refused(&self, stream: &str, raw: &[u8]) -> Result<(), Rejection> {
        if self.refused.is_empty() || !self.refused.contains_key(&(stream.to_owned(), sha256_hex(raw))) {
            return Ok(());
        }
        Err(Rejection {
            code: "poison".into(),
            message: "the matcher crashed twice while it took this event".into(),
        })
    }

    /// A rule is put aside: its open matches end, and it begins anew when it is changed or put again. False if there is no
    /// such rule at work.
    pub(crate) fn quarantine(&mut self, rule: &str, why: &str, since: i64) -> bool {
        let Some(active) = self.rules.get_mut(rule).filter(|active| active.quarantine.is_none()) else {
            return false;
        };
        active.quarantine = Some(Quarantine { why: why.to_owned(), since });
        self.task.retire(rule);
        true
    }

    /// From now on an event whose time is later than its arrival by more than this is none; `None`: every event is one.
    pub(crate) fn limit_skew(&mut self, most: Option<Micros>) {
        self.skew_max = most;
    }

    /// How far an event may be from the future.
    pub(crate) fn skew_max(&self) -> Option<Micros> {
        self.skew_max
    }
}

/// An event's time against the time at which it came into its topic; two recorded numbers, so a replay judges the same.
/// `arrived` is 0 or less where the topic does not know.
pub(super) fn check_skew(ts: Micros, arrived: i64, most: Option<Micros>) -> Result<(), Rejection> {
    let Some(most) = most.filter(|_| arrived > 0) else { return Ok(()) };
    let ahead = ts.saturating_sub(arrived);
    if ahead <= most {
        return Ok(());
    }
    let (seconds, most) = (ahead / 1_000_000, most / 1_000_000);
    Err(Rejection {
        code: "future_time".into(),
        message: format!(
            "its time is {seconds} s later than its arrival, and at most {most} s are let through (`time.max_future_skew`)"
        ),
    })
}
