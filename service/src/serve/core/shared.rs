//! A topic that several streams share: each record is an event of those that it belongs to.

use super::{Arrival, Core, Rejection};
use crate::decode::Decoder;
use engine::task::ActivateError;
use engine::topic::TopicFilter;
use pattern_dsl::ir;

/// Tells the records that belong to a stream from others of its topic.
pub(super) struct Own {
    filter: TopicFilter,
    decoder: Decoder,
}

impl Own {
    pub(super) fn of(stream: &ir::Stream) -> Result<Option<Self>, ActivateError> {
        let Some(filter) = TopicFilter::of(stream)? else { return Ok(None) };
        // It needs neither time nor id, and is to read records of any form.
        let mut any = ir::Stream { id: None, declared: false, ..stream.clone() };
        any.time.format = ir::TimeFormat::Record;
        let decoder = Decoder::new(&any, filter.layout());
        Ok(Some(Self { filter, decoder }))
    }

    /// The record belongs to the stream. One whose fields are of other types does not.
    fn has(&mut self, raw: &[u8], arrived: i64) -> Result<bool, Rejection> {
        self.decoder.set_record_time(arrived);
        match self.decoder.decode(raw) {
            Ok(decoded) => Ok(self.filter.holds(decoded.ts, decoded.slots)),
            Err(error) if error.code == "not_json" => {
                Err(Rejection { code: error.code.to_owned(), message: error.message })
            }
            Err(_) => Ok(false),
        }
    }
}

impl Core {
    /// Takes a record of a topic that several streams share: it is an event of those that it belongs to, and else of none.
    pub(super) fn take_shared(
        &mut self,
        Arrival { lane: at, offset, arrived, raw }: Arrival<'_>,
    ) -> Result<(), Rejection> {
        let readers = self.lanes.get(at).map_or_else(Vec::new, |lane| lane.readers.clone());
        let mut owners = Vec::new();
        for stream in readers {
            let own = self.sources.get_mut(stream.as_str()).and_then(|source| source.own.as_mut());
            if own.map_or(Ok(true), |own| own.has(raw, arrived))? {
                owners.push(stream);
            }
        }
        if owners.is_empty() {
            let topic = self.lanes.get(at).map_or_else(String::new, |lane| lane.topic.clone());
            metrics::counter!("tripline_records_of_no_stream_total", "topic" => topic).increment(1);
        }
        let mut outcome = Ok(());
        for stream in owners {
            outcome = outcome.and(self.feed(&stream, Some((at, offset)), raw, arrived).map(|_| ()));
        }
        // It is one record, however many streams it is late or a repeat for.
        self.out.late.dedup_by_key(|(partition, offset, ..)| (*partition, *offset));
        self.out.duplicates.dedup();
        outcome
    }
}
