//! Which expressions of a rule show a masked field (LANGUAGE section 3, `mask`).
//!
//! The mask follows the expression, not the text of values: what is computed from a masked field is masked as well.
//! Fields of alerts are masked where a rule that they come from masks them; that is for the caller to say, who knows those
//! rules ([`MaskedFields::mask_alerts`]).

use super::{Aggregate, BinaryOp, Expr, Function, Module, Of, Rule};
use std::collections::BTreeSet;

/// What of a rule's streams and tables is masked.
#[derive(Debug, Clone, Default)]
pub struct MaskedFields {
    /// By rule stream.
    streams: Vec<MaskedStream>,
    /// Columns of lookups: table, column.
    columns: BTreeSet<(usize, usize)>,
}

/// Of one stream of the rule.
#[derive(Debug, Clone, Default)]
struct MaskedStream {
    fields: BTreeSet<usize>,
    /// Its `id` is a masked field.
    id: bool,
    /// Of the stream of alerts the paths of its fields; else empty.
    paths: Vec<Vec<String>>,
}

impl MaskedFields {
    /// What the declarations say.
    #[must_use]
    pub fn of(module: &Module, rule: &Rule) -> Self {
        let streams = rule.streams.iter().map(|stream| {
            let Some(stream) = module.streams.get(stream.stream) else { return MaskedStream::default() };
            let masked = || stream.fields.iter().enumerate().filter(|(_, field)| field.mask);
            let is_alerts = stream.name == crate::lower::ALERT;
            let paths = stream.fields.iter().filter(|_| is_alerts).map(|field| field.path.clone());
            MaskedStream {
                fields: masked().map(|(number, _)| number).collect(),
                id: masked().any(|(_, field)| Some(&field.path) == stream.id.as_ref()),
                paths: paths.collect(),
            }
        });
        let tables = module.tables.iter().enumerate().filter_map(|(number, table)| match &table.kind {
            super::TableKind::Lookup { fields, .. } => Some((number, fields)),
            _ => None,
        });
        let columns = tables.flat_map(|(table, fields)| {
            let masked = fields.iter().enumerate().filter(|(_, field)| field.mask);
            masked.map(move |(column, _)| (table, column))
        });
        Self { streams: streams.collect(), columns: columns.collect() }
    }

    /// Masks the fields of alerts whose paths (`keys.x`, `data.x`, `score`) are masked in a rule that they come from. True if
    /// that is new of any.
    pub fn mask_alerts(&mut self, is_masked: &dyn Fn(&[String]) -> bool) -> bool {
        let mut changed = false;
        for stream in &mut self.streams {
            for (number, path) in stream.paths.iter().enumerate() {
                if is_masked(path) {
                    changed |= stream.fields.insert(number);
                }
            }
        }
        changed
    }

    /// Takes back every mask of fields of alerts.
    pub fn unmask_alerts(&mut self) {
        self.streams
            .iter_mut()
            .filter(|stream| !stream.paths.is_empty())
            .for_each(|stream| stream.fields.clear());
    }

    /// Paths of the masked fields of alerts.
    pub fn alert_paths(&self) -> impl Iterator<Item = &[String]> {
        self.streams.iter().flat_map(|stream| {
            stream.fields.iter().filter_map(|field| stream.paths.get(*field).map(Vec::as_slice))
        })
    }

    /// The field of a rule stream is masked.
    #[must_use]
    pub fn field(&self, stream: usize, field: usize) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.fields.contains(&field))
    }

    /// The ids of a rule stream's events are masked.
    #[must_use]
    pub fn id(&self, stream: usize) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.id)
    }

    /// The key part is a masked field in some stream or step of the rule.
    #[must_use]
    pub fn key(&self, rule: &Rule, part: usize) -> bool {
        let of_streams = rule.streams.iter().enumerate();
        let of_streams = of_streams.filter_map(|(stream, own)| Some((stream, own.keys.as_ref()?)));
        let of_steps = rule.steps.iter().map(|step| (step.stream, &step.keys));
        let mut all = of_streams.chain(of_steps);
        all.any(|(stream, keys)| keys.get(part).is_some_and(|field| self.field(stream, *field)))
    }

    /// The expression's value shows a masked field. Fields of [`Of::This`] are those of the rule stream `this`.
    ///
    /// Masked: a masked field, an id that is one, a key part that is one in any stream, a masked column of a lookup, and
    /// what is computed from those: arithmetic, functions, the branches of `if`, `??`, lists, objects, `prev`, and all
    /// aggregates (over steps and in windows) but counts.
    /// Not masked: truth values, whatever they compare; `count` and `distinct`; the condition of an `if`; other columns of
    /// a lookup that a masked value is the key of; times, names of streams and constants.
    #[must_use]
    pub fn shows(&self, rule: &Rule, expr: &Expr, this: Option<usize>) -> bool {
        let shows = |expr: &Expr| self.shows(rule, expr, this);
        let stream_of = |of: &Of| match of {
            Of::This => this,
            Of::Step(step) => rule.steps.get(*step).map(|step| step.stream),
        };
        let is_value = |aggregate: &Aggregate| !matches!(aggregate, Aggregate::Count | Aggregate::Distinct);
        match expr {
            Expr::Field(of, field) => stream_of(of).is_some_and(|stream| self.field(stream, *field)),
            Expr::Id(of) => stream_of(of).is_some_and(|stream| self.id(stream)),
            Expr::Key(part) => self.key(rule, *part),
            Expr::Lookup(table, _, column) => self.columns.contains(&(*table, *column)),
            Expr::Aggregate(aggregate, step, Some(argument)) => {
                let own = rule.steps.get(*step).map(|step| step.stream);
                is_value(aggregate) && self.shows(rule, argument, own)
            }
            Expr::Window(window) => rule.windows.get(*window).is_some_and(|window| {
                let argument = window.argument.as_ref();
                is_value(&window.aggregate)
                    && argument.is_some_and(|argument| self.shows(rule, argument, Some(window.stream)))
            }),
            Expr::Neg(a) => shows(a),
            Expr::Binary(op, a, b) => !is_truth(*op) && (shows(a) || shows(b)),
            Expr::Prev(a, b) | Expr::If(_, a, b) => shows(a) || shows(b),
            Expr::Call(Function::Cidr, _) => false,
            Expr::List(items) | Expr::Call(_, items) => items.iter().any(shows),
            Expr::Object(pairs) => pairs.iter().any(|(_, value)| shows(value)),
            Expr::Literal(_)
            | Expr::Ts(_)
            | Expr::StreamName(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::InList(..)
            | Expr::Reaches(..)
            | Expr::Trend(..)
            | Expr::Aggregate(_, _, None) => false,
        }
    }

    /// As [`Self::shows`], of the two sides of a comparison. Of an equality and of `in`, both are masked if one is: where it
    /// holds, the one would show the other.
    #[must_use]
    pub fn shows_sides(&self, rule: &Rule, expr: &Expr, this: Option<usize>) -> (bool, bool) {
        let (op, a, b) = match expr {
            Expr::Binary(op, a, b) => (*op, a, b),
            Expr::Reaches(_, a, b) => (BinaryOp::GreaterOrEqual, a, b),
            _ => return (false, false),
        };
        let (left, right) = (self.shows(rule, a, this), self.shows(rule, b, this));
        let tied = matches!(op, BinaryOp::Equal | BinaryOp::In) && (left || right);
        (left || tied, right || tied)
    }
}

/// The operator yields a truth value.
fn is_truth(op: BinaryOp) -> bool {
    match op {
        BinaryOp::Add
        | BinaryOp::Subtract
        | BinaryOp::Multiply
        | BinaryOp::Divide
        | BinaryOp::Remainder
        | BinaryOp::Coalesce => false,
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual
        | BinaryOp::In
        | BinaryOp::Contains
        | BinaryOp::StartsWith
        | BinaryOp::EndsWith
        | BinaryOp::Matches => true,
    }
}
