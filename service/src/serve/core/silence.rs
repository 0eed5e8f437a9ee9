//! Time on silent streams: where it has to move, as a decision to record.

use super::{Core, Lane};
use engine::task::Input;
use pattern_dsl::types::Micros;
use std::time::Instant;

/// How far a recorded tick stays behind the wall clock at least, so that an event on its way is not made late.
const TICK_SLACK: Micros = 2_000_000;

impl Core {
    /// Where time has to move because streams are silent, if anywhere: a decision to record. True if all are silent.
    pub(crate) fn due_tick(&self, now: Instant, wall: i64) -> Option<(Micros, bool)> {
        let open: Vec<&Lane> = self.lanes.iter().filter(|t| t.id.is_some()).collect();
        let silent = |t: &Lane| now.duration_since(t.heard).as_micros() as i64 >= t.idle;
        let newest = open.iter().filter_map(|t| t.newest.map(|n| (n, t.lag))).max()?;
        let spoken: Vec<&&Lane> = open.iter().filter(|t| !silent(t) && t.newest.is_some()).collect();
        let all = open.iter().all(|t| silent(t));
        let some =
            !all && open.iter().any(|t| silent(t)) && open.iter().all(|t| silent(t) || t.newest.is_some());
        let to = if all {
            if newest.1 > self.live_within || !self.task.is_waiting() {
                return None;
            }
            wall - open.iter().map(|t| t.late).max().unwrap_or(0).max(TICK_SLACK)
        } else if some {
            spoken.iter().filter_map(|t| t.newest.map(|n| n - t.late)).min()?
        } else {
            return None;
        };
        (to > self.last_tick).then_some((to, all))
    }

    /// Rules that wait for the end of an instant wait for this partition: some rule reads it, and it is not silent.
    pub(crate) fn holds_time(&self, lane: usize, now: Instant) -> bool {
        let holds = |t: &Lane| t.id.is_some() && (now.duration_since(t.heard).as_micros() as i64) < t.idle;
        self.lanes.get(lane).is_some_and(holds)
    }

    /// The instant at which everything accepted so far is complete.
    pub(crate) fn newest(&self) -> Option<Micros> {
        self.lanes.iter().filter_map(|t| t.newest).max()
    }

    /// Time moves to an instant, as recorded.
    pub(crate) fn tick(&mut self, to: Micros) {
        self.last_tick = self.last_tick.max(to);
        self.task.step(Input::Time(to), &mut self.out);
    }
}
