//! `topic .. where`: which records of a topic are events of a stream.

use crate::compile::{Compiler, stream_id};
use crate::event::{EventRef, Layout, StreamLayout};
use crate::expr::Node;
use crate::interface::ActivateError;
use crate::predicate::Around;
use crate::tables::Tables;
use crate::value::Value;
use pattern_dsl::ir::{Module, Rule, RuleStream, Stream};
use pattern_dsl::types::Micros;

/// The test of one stream.
#[derive(Debug)]
pub struct TopicFilter {
    layout: StreamLayout,
    node: Node,
}

impl TopicFilter {
    /// That of a stream; none if all records of its topic are its own.
    ///
    /// # Errors
    /// It does not compile, or reads a list or lookup: what a record is must not change with time.
    pub fn of(stream: &Stream) -> Result<Option<Self>, ActivateError> {
        let Some(filter) = &stream.topic_filter else { return Ok(None) };
        let module = Module { streams: vec![stream.clone()], ..Module::default() };
        let own = RuleStream { stream: 0, filter: Vec::new(), keys: None };
        let rule = Rule { streams: vec![own], ..Rule::default() };
        let mut layout = Layout::default();
        let streams = vec![stream_id(&mut layout, stream)];
        let mut compiler = Compiler::new(&module, &rule, &[], streams, &mut layout);
        let node = compiler.node(filter, 0)?;
        if !compiler.read_tables.is_empty() {
            let why = format!("`topic .. where` of stream `{}` reads a list or lookup", stream.name);
            return Err(ActivateError::Pattern(why));
        }
        Ok(layout.streams.pop().map(|layout| Self { layout, node }))
    }

    /// The fields that it reads, in the order of their slots.
    #[must_use]
    pub fn layout(&self) -> &StreamLayout {
        &self.layout
    }

    /// A record with these values is an event of the stream.
    #[must_use]
    pub fn holds(&self, ts: Micros, slots: &[Value]) -> bool {
        let event = EventRef { stream: 0, ts, partition: 0, offset: 0, id: None, slots };
        Around { partitions: &[], tables: &Tables::default() }.tests(&self.node, &event)
    }
}
