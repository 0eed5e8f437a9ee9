//! What rows keep of events: the fields that something reads later, less those that are known without the event.
//!
//! INVARIANT: whatever an expression reads of a row has a [`Source`] there, and is the event's own value, as it was written.

use crate::compile::Compiler;
use crate::program::FieldShown;
use crate::row::Source;
use crate::value::Value;
use pattern_dsl::ir::{BinaryOp, Expr, Of, Step, Term};
use pattern_dsl::types::{Literal, Type};

/// What the rows of a step keep.
#[derive(Default)]
pub(crate) struct Captured {
    /// Slots, in the order in which rows keep their values.
    pub(crate) kept: Vec<usize>,
    /// By slot, as far as they are read.
    pub(crate) sources: Vec<Source>,
}

impl Compiler<'_> {
    /// What rows of a step keep: `shown` are the fields that the rule reads of it; what its stream's `from` reads is shown
    /// with its evidence. `tested` are terms that hold for each of its rows.
    pub(crate) fn captured(&mut self, step: &Step, shown: &[FieldShown], tested: &[&Term]) -> Captured {
        let filter = self.rule.streams.get(step.stream).map_or(&[][..], |stream| &stream.filter);
        let mut fields: Vec<usize> = shown.iter().map(|shown| shown.field).collect();
        for term in filter {
            term.expr.walk(&mut |expr| {
                if let Expr::Field(Of::This, field) = expr {
                    fields.push(*field);
                }
            });
        }
        let mut captured = Captured::default();
        for field in fields {
            let slot = self.slot(step.stream, field);
            if captured.sources.len() <= slot {
                captured.sources.resize(slot + 1, Source::Nowhere);
            }
            let Some(place) = captured.sources.get_mut(slot).filter(|place| matches!(place, Source::Nowhere))
            else {
                continue;
            };
            let part = step.keys.iter().position(|key| *key == field).filter(|part| self.is_exact_key(*part));
            let word = tested.iter().find_map(|term| word_of(term, field));
            *place = match (part, word) {
                (Some(part), _) => Source::Key(part),
                (None, Some(word)) => {
                    self.words.push(word);
                    Source::Word(self.words.len() - 1)
                }
                (None, None) => {
                    captured.kept.push(slot);
                    Source::Kept(captured.kept.len() - 1)
                }
            };
        }
        captured
    }

    /// Events under one key have this part written alike: `1.0` and `1.00` are one key, and not one text.
    fn is_exact_key(&self, part: usize) -> bool {
        let of_steps = self.rule.steps.iter().map(|step| (step.stream, &step.keys));
        let of_streams = self.rule.streams.iter().enumerate();
        let of_streams = of_streams.filter_map(|(number, stream)| Some((number, stream.keys.as_ref()?)));
        let mut types = of_steps.chain(of_streams).map(|(stream, keys)| {
            let field = keys.get(part).and_then(|field| self.stream(stream)?.fields.get(*field));
            field.map(|field| &field.ty)
        });
        let first = types.next().flatten();
        matches!(first, Some(Type::String | Type::Int | Type::Bool)) && types.all(|ty| ty == first)
    }
}

/// The word that a term asks of a field.
fn word_of(term: &Term, field: usize) -> Option<Value> {
    let Expr::Binary(BinaryOp::Equal, left, right) = &term.expr else { return None };
    match (&**left, &**right) {
        (Expr::Field(Of::This, known), Expr::Literal(word @ Literal::String(_))) if *known == field => {
            Some(Value::from_literal(word))
        }
        _ => None,
    }
}
