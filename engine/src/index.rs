//! Which rules want an event: distinct predicates are kept once per stream and evaluated at most once per event.
//!
//! INVARIANT: sound - an event that fits a role's predicates is always reported.

use crate::collections::Map;
use crate::event::{EventRef, StreamId};
use crate::expr::{Node, Scope};
use crate::tables::Tables;
use arcstr::ArcStr;

/// Predicates and wants of every stream.
#[derive(Debug, Default)]
pub(crate) struct Index {
    streams: Vec<StreamIndex>,
}

#[derive(Debug, Default)]
struct StreamIndex {
    names: Map<String, u32>,
    predicates: Vec<Node>,
    wants: Vec<Want>,
    /// Results of the event looked at: `2 * epoch` = false, `2 * epoch + 1` = true, less = not yet known.
    memo: Vec<u64>,
    epoch: u64,
}

#[derive(Debug)]
struct Want {
    rule: u32,
    role: u32,
    predicates: Box<[u32]>,
}

impl Index {
    /// Makes room for streams `0..count`.
    pub(crate) fn ensure(&mut self, count: usize) {
        while self.streams.len() < count {
            self.streams.push(StreamIndex::default());
        }
    }

    /// The number of a predicate in its stream; equal names are one predicate.
    pub(crate) fn intern(&mut self, stream: StreamId, name: &str, node: Node) -> u32 {
        let Some(index) = self.streams.get_mut(stream as usize) else { return u32::MAX };
        if let Some(number) = index.names.get(name) {
            return *number;
        }
        let number = index.predicates.len() as u32;
        index.names.insert(name.to_owned(), number);
        index.predicates.push(node);
        index.memo.push(0);
        number
    }

    /// Forgets all wants; the caller adds those of the active rules again.
    pub(crate) fn clear_wants(&mut self) {
        for stream in &mut self.streams {
            stream.wants.clear();
        }
    }

    /// Rules must be added in their order.
    pub(crate) fn want(&mut self, stream: StreamId, rule: u32, role: u32, predicates: &[u32]) {
        if let Some(index) = self.streams.get_mut(stream as usize) {
            index.wants.push(Want { rule, role, predicates: predicates.into() });
        }
    }

    /// The predicate holds for the event.
    pub(crate) fn holds(&self, stream: StreamId, number: u32, scope: &Scope<'_>) -> bool {
        let predicate =
            self.streams.get(stream as usize).and_then(|index| index.predicates.get(number as usize));
        predicate.is_some_and(|node| node.test(scope) == Some(true))
    }

    /// The rules that want the event, in their order, each with the roles (one bit each) that its tests leave open.
    pub(crate) fn wanted(
        &mut self,
        event: &EventRef<'_>,
        partitions: &[ArcStr],
        tables: &Tables,
        found: &mut Vec<(u32, u64)>,
    ) {
        found.clear();
        let Some(index) = self.streams.get_mut(event.stream as usize) else { return };
        index.epoch += 1;
        let scope = Scope {
            this: Some(*event),
            key: &[],
            taken: &[],
            own: 0,
            windows: &[],
            latches: 0,
            partitions,
            tables,
            time: event.ts,
        };
        let StreamIndex { predicates, wants, memo, epoch, .. } = index;
        for want in wants.iter() {
            let holds = want.predicates.iter().all(|number| {
                let number = *number as usize;
                let (Some(known), Some(node)) = (memo.get_mut(number), predicates.get(number)) else {
                    return false;
                };
                if *known < 2 * *epoch {
                    *known = 2 * *epoch + u64::from(node.test(&scope) == Some(true));
                }
                *known & 1 == 1
            });
            if holds {
                match found.last_mut() {
                    Some((rule, roles)) if *rule == want.rule => *roles |= 1 << want.role,
                    _ => found.push((want.rule, 1 << want.role)),
                }
            }
        }
    }
}
