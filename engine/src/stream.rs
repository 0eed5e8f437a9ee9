//! What a task knows of a stream beside its fields: its promises about time, and the ids it has seen.

use crate::collections::Map;
use crate::event::EventRef;
use crate::queue::Queue;
use crate::time::Clock;
use arcstr::ArcStr;
use pattern_dsl::ir::Stream;
use pattern_dsl::types::Micros;
use smallvec::SmallVec;

/// What a task knows of a stream beside its fields.
#[derive(Debug)]
pub(crate) struct StreamTime {
    pub(crate) topic: String,
    pub(crate) late: Micros,
    pub(crate) in_order: bool,
    dedupe: Micros,
    /// Ids of the last `dedupe`, with their times; in order of arrival for forgetting.
    pub(crate) ids: Map<ArcStr, SmallVec<[Micros; 1]>>,
    pub(crate) id_order: Queue<(Micros, ArcStr)>,
}

impl StreamTime {
    pub(crate) fn new(stream: &Stream) -> Self {
        Self {
            topic: stream.topic.clone().unwrap_or_else(|| stream.name.clone()),
            late: stream.late,
            in_order: stream.time.in_order,
            dedupe: if stream.id.is_some() { stream.dedupe.unwrap_or(stream.late) } else { 0 },
            ids: Map::default(),
            id_order: Queue::default(),
        }
    }

    /// The event's id was seen less than `dedupe` before it (or after it). Remembers the id otherwise.
    #[inline(never)]
    pub(crate) fn is_duplicate(&mut self, event: &EventRef<'_>, clock: &Clock) -> bool {
        let (Some(id), true) = (event.id, self.dedupe > 0) else { return false };
        let over = clock.watermark().saturating_sub(self.dedupe);
        while self.id_order.front().is_some_and(|(ts, _)| *ts <= over) {
            if let Some((ts, id)) = self.id_order.pop()
                && let Some(times) = self.ids.get_mut(&id)
            {
                times.retain(|known| *known != ts);
                if times.is_empty() {
                    self.ids.remove(&id);
                }
            }
        }
        // WHY: how long an id stays in memory hangs on other partitions too. Of one that this partition has left behind nothing
        // is known any more, or a late event would count as late in one run and as a repeat in the next.
        let known = clock.watermark_of(event.partition).saturating_sub(self.dedupe);
        let is_same = |ts: &Micros| *ts > known && (event.ts - ts).abs() < self.dedupe;
        if self.ids.get(id).into_iter().flatten().any(is_same) {
            return true;
        }
        let id = ArcStr::from(id);
        self.ids.entry(id.clone()).or_default().push(event.ts);
        self.id_order.push((event.ts, id));
        false
    }
}
