//! Which partition to read next: one that is behind in event time, so that little has to wait in memory for its time.

use super::Trouble;
use super::source::{Next, Record, Source};
use crate::serve::core::{Core, Cut};
use pattern_dsl::types::Micros;

/// How far a partition may be ahead of another that still has records to read.
const DRIFT: Micros = 60_000_000;
/// Records of one partition before the others are looked at again.
const RUN: usize = 256;

/// Where a partition stands.
#[derive(Debug, Clone, Copy)]
struct Stand {
    lane: usize,
    newest: Micros,
    /// Others need not wait for it.
    is_done: bool,
}

/// Partitions that may be read now, the one that is furthest behind first.
fn order(stands: &[Stand]) -> Vec<usize> {
    let mut open: Vec<&Stand> = stands.iter().collect();
    open.sort_by_key(|stand| (stand.newest, stand.lane));
    let may = |stand: &Stand| {
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

/// Reads a turn; with limits, up to them. Returns how many records there were.
pub(crate) fn turn(
    core: &mut Core,
    source: &mut Source,
    limits: Option<&Cut>,
    take: &mut dyn FnMut(&mut Core, usize, Record),
) -> Result<usize, Trouble> {
    let limits: Option<Vec<u64>> =
        limits.map(|cut| core.lanes().map(|name| cut.get(name).copied().unwrap_or(0)).collect());
    let limit = |lane: usize| limits.as_ref().map(|limits| limits.get(lane).copied().unwrap_or(0));
    let stands: Vec<Stand> = (0..core.lanes().count())
        .map(|lane| Stand {
            lane,
            newest: core.newest_of(lane).unwrap_or(Micros::MIN),
            is_done: source.is_at_end(lane)
                || limit(lane).is_some_and(|limit| is_reached(core, source, lane, limit)),
        })
        .collect();
    let mut taken = 0;
    for lane in order(&stands) {
        for _ in 0..RUN {
            if limit(lane).is_some_and(|limit| core.next_offset(lane) >= limit) {
                break;
            }
            match source.next(lane, limit(lane))? {
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
        let stand = |lane, minutes: i64, is_done| Stand { lane, newest: minutes * 60_000_000, is_done };
        assert_eq!(order(&[stand(0, 5, false), stand(1, 3, false)]), [1]);
        assert_eq!(order(&[stand(0, 5, false), stand(1, 4, false)]), [1, 0]);
        assert_eq!(order(&[stand(0, 5, false), stand(1, 3, true)]), [1, 0]);
        let unread = Stand { lane: 1, newest: Micros::MIN, is_done: false };
        assert_eq!(order(&[stand(0, 5, false), unread]), [1]);
    }
}
