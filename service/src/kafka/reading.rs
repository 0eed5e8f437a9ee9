//! Which partition to read next: one that is behind in event time, so that little has to wait in memory for its time.

use super::Trouble;
use super::cluster::Record;
use super::source::{Next, Source};
use crate::clock;
use crate::serve::core::{Core, Cut};
use pattern_dsl::types::Micros;

/// How far a partition may be ahead of another that still has records to read.
const DRIFT: Micros = 60_000_000;
/// Records of one partition before the others are looked at again.
const RUN: usize = 256;

/// What of the input may be read.
#[derive(Debug, Default)]
pub(crate) struct Gate<'a> {
    /// Up to here.
    pub(crate) limits: Option<&'a Cut>,
    /// By partition: not now.
    pub(crate) paused: &'a [bool],
    /// Too much waits in memory for its time: only what holds time back is read.
    pub(crate) is_full: bool,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy)]
struct Stand {
    lane: usize,
    newest: Micros,
    /// Others need not wait for it.
    is_done: bool,
    is_paused: bool,
    /// Rules wait for it.
    holds_time: bool,
}

/// Partitions that may be read now, the one that is furthest behind first.
fn order(stands: &[Stand], is_full: bool) -> Vec<usize> {
    let mut open: Vec<&Stand> = stands.iter().collect();
    open.sort_by_key(|stand| (stand.newest, stand.lane));
    let slowest = stands.iter().filter(|stand| stand.holds_time).map(|stand| stand.newest).min();
    let may = |stand: &Stand| {
        if stand.is_paused || (is_full && slowest.is_some_and(|slowest| stand.newest > slowest)) {
            return false;
        }
        let behind = open.iter().filter(|other| other.lane != stand.lane && !other.is_done);
        let floor = behind.map(|other| other.newest).min();
        floor.is_none_or(|floor| stand.newest <= floor.saturating_add(DRIFT))
    };
    open.iter().filter(|stand| may(stand)).map(|stand| stand.lane).collect()
}

/// A partition has been read up to its limit, as far as that can be read at all.
fn is_reached(core: &Core, source: &Source, lane: usize, limit: u64) -> bool {
    core.next_offset(lane) >= limit
        || source.kept_offset(lane).is_some_and(|offset| offset >= limit)
        || source.is_at_end(lane)
}

/// Reads a turn. Returns how many records there were.
pub(crate) fn turn(
    core: &mut Core,
    source: &mut Source,
    gate: &Gate<'_>,
    take: &mut dyn FnMut(&mut Core, usize, Record),
) -> Result<usize, Trouble> {
    let limits: Option<Vec<u64>> =
        gate.limits.map(|cut| core.lanes().map(|name| cut.get(name).copied().unwrap_or(0)).collect());
    let limit = |lane: usize| limits.as_ref().map(|limits| limits.get(lane).copied().unwrap_or(0));
    let now = clock::now();
    let stands: Vec<Stand> = (0..core.lanes().count())
        .map(|lane| {
            let is_paused = gate.paused.get(lane).copied().unwrap_or_default();
            let is_read = limit(lane).is_some_and(|limit| is_reached(core, source, lane, limit));
            Stand {
                lane,
                newest: core.newest_of(lane).unwrap_or(Micros::MIN),
                is_done: is_paused || is_read || source.is_at_end(lane),
                is_paused,
                holds_time: core.holds_time(lane, now),
            }
        })
        .collect();
    let mut taken = 0;
    for lane in order(&stands, gate.is_full) {
        for _ in 0..RUN {
            if limit(lane).is_some_and(|limit| core.next_offset(lane) >= limit) {
                break;
            }
            match source.next(lane, limit(lane))? {
                // A decision has passed it over.
                Next::Record(record) if record.offset < core.next_offset(lane) => {}
                Next::Record(record) => take(core, lane, record),
                Next::Nothing => break,
            }
            taken += 1;
        }
    }
    Ok(taken)
}

/// Every partition has been read up to the cut.
pub(crate) fn is_at(core: &Core, source: &Source, cut: &Cut) -> bool {
    let names = core.lanes().enumerate();
    names
        .into_iter()
        .all(|(lane, name)| cut.get(name).is_none_or(|limit| is_reached(core, source, lane, *limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_is_ahead_waits_for_those_that_have_more() {
        let stand = |lane, minutes: i64, is_done| Stand {
            lane,
            newest: minutes * 60_000_000,
            is_done,
            is_paused: false,
            holds_time: true,
        };
        let free = |stands: &[Stand]| order(stands, false);
        assert_eq!(free(&[stand(0, 5, false), stand(1, 3, false)]), [1]);
        assert_eq!(free(&[stand(0, 5, false), stand(1, 4, false)]), [1, 0]);
        assert_eq!(free(&[stand(0, 5, false), stand(1, 3, true)]), [1, 0]);
        let unread = Stand { newest: Micros::MIN, ..stand(1, 0, false) };
        assert_eq!(free(&[stand(0, 5, false), unread]), [1]);
        // What is paused is not read, and nobody waits for it.
        let paused = Stand { is_paused: true, ..stand(1, 3, true) };
        assert_eq!(free(&[stand(0, 5, false), paused]), [0]);
        // What is full reads only what holds time back, though there be nothing to read there.
        assert_eq!(order(&[stand(0, 5, false), stand(1, 4, true)], true), [1]);
        let silent = Stand { holds_time: false, ..stand(1, 4, true) };
        assert_eq!(order(&[stand(0, 5, false), silent], true), [1, 0]);
    }
}
