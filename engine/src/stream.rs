//! What a task knows of a stream beside its fields: its promises about time, and the ids it has seen.

use crate::collections::Map;
use crate::event::EventRef;
use arcstr::ArcStr;
use pattern_dsl::ir::Stream;
use pattern_dsl::types::Micros;
use std::collections::VecDeque;

/// What a task knows of a stream beside its fields.
#[derive(Debug)]
pub(crate) struct StreamTime {
    pub(crate) topic: String,
    pub(crate) late: Micros,
    pub(crate) in_order: bool,
    dedupe: Micros,
    /// Ids of the last `dedupe`, with their times; in order of arrival for forgetting.
    pub(crate) ids: Map<ArcStr, Micros>,
    pub(crate) id_order: VecDeque<(Micros, ArcStr)>,
}

impl StreamTime {
    pub(crate) fn new(stream: &Stream) -> Self {
        Self {
            topic: stream.topic.clone().unwrap_or_else(|| stream.name.clone()),
            late: stream.late,
            in_order: stream.time.in_order,
            dedupe: if stream.id.is_some() { stream.dedupe.unwrap_or(stream.late) } else { 0 },
            ids: Map::default(),
            id_order: VecDeque::new(),
        }
    }

    /// The event's id was seen less than `dedupe` before it (or after it). Remembers the id otherwise.
    #[inline(never)]
    pub(crate) fn is_duplicate(&mut self, event: &EventRef<'_>) -> bool {
        let (Some(id), true) = (event.id, self.dedupe > 0) else { return false };
        let keep = self.dedupe + self.late;
        while self.id_order.front().is_some_and(|(ts, _)| event.ts - *ts > keep) {
            if let Some((ts, id)) = self.id_order.pop_front()
                && self.ids.get(&id) == Some(&ts)
            {
                self.ids.remove(&id);
            }
        }
        if self.ids.get(id).is_some_and(|ts| (event.ts - ts).abs() < self.dedupe) {
            return true;
        }
        let id = ArcStr::from(id);
        self.ids.insert(id.clone(), event.ts);
        self.id_order.push_back((event.ts, id));
        false
    }
}
