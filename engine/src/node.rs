//! From a checked expression to a [`Node`]: fields become slots, constants values, patterns regular expressions.
//!
//! Also what an expression reads, which decides where it is evaluated.

use crate::aggregate;
use crate::compile::Compiler;
use crate::expr::Node;
use crate::function::{LocalPart, Network};
use crate::interface::ActivateError;
use crate::program::{FieldShown, LatchProgram};
use crate::value::Value;
use arcstr::ArcStr;
use jiff::tz::TimeZone;
use pattern_dsl::ir::{Aggregate, BinaryOp, Bound, Expr, Function, Of, ReasonPart, Rule, Step};
use pattern_dsl::types::Literal;

impl Compiler<'_> {
    /// Compiles an expression; `this` fields belong to the rule stream `stream`.
    pub(crate) fn node(&mut self, expr: &Expr, stream: usize) -> Result<Node, ActivateError> {
        let mut inner = |expr: &Expr| self.node(expr, stream).map(Box::new);
        Ok(match expr {
            Expr::Literal(literal) => Node::Literal(Value::from_literal(literal)),
            Expr::Field(Of::This, field) => Node::This(self.slot(stream, *field)),
            Expr::Field(Of::Step(step), field) => {
                let owner = self.rule.steps.get(*step).map_or(0, |step| step.stream);
                Node::Step(*step, self.slot(owner, *field))
            }
            Expr::Ts(of) => Node::Ts(*of),
            Expr::Id(of) => Node::Id(*of),
            Expr::StreamName(of) => {
                let owner = match of {
                    Of::This => stream,
                    Of::Step(step) => self.rule.steps.get(*step).map_or(0, |step| step.stream),
                };
                Node::StreamName(*of, self.stream(owner).map_or_else(ArcStr::new, |s| s.name.as_str().into()))
            }
            Expr::Key(part) => Node::Key(*part),
            Expr::Not(a) => Node::Not(inner(a)?),
            Expr::Neg(a) => Node::Neg(inner(a)?),
            Expr::Binary(BinaryOp::Matches, a, pattern) => {
                let Expr::Literal(Literal::String(pattern)) = &**pattern else {
                    return Err(ActivateError::Pattern("not a literal".to_owned()));
                };
                let regex =
                    regex::Regex::new(pattern).map_err(|error| ActivateError::Pattern(error.to_string()))?;
                Node::Matches(inner(a)?, Box::new(regex))
            }
            Expr::Binary(op, a, b) => Node::Binary(*op, inner(a)?, inner(b)?),
            Expr::IsNull(a) => Node::IsNull(inner(a)?),
            Expr::If(a, b, c) => Node::If(inner(a)?, inner(b)?, inner(c)?),
            Expr::InList(a, table, key) => {
                let key = key.as_ref().map(|key| inner(key)).transpose()?;
                Node::InList(inner(a)?, self.table(*table), key)
            }
            Expr::Lookup(table, key, column) => {
                let key = inner(key)?;
                Node::Lookup(self.table(*table), key, *column)
            }
            Expr::List(items) => {
                Node::List(items.iter().map(|item| self.node(item, stream)).collect::<Result<_, _>>()?)
            }
            Expr::Call(Function::Hour, arguments) => self.local(LocalPart::Hour, arguments, stream)?,
            Expr::Call(Function::Day, arguments) => self.local(LocalPart::Weekday, arguments, stream)?,
            Expr::Call(Function::Cidr, arguments) => {
                let [address, Expr::Literal(Literal::String(text))] = arguments.as_slice() else {
                    return Err(ActivateError::Pattern("the network is not a literal".to_owned()));
                };
                let network = Network::parse(text)
                    .ok_or_else(|| ActivateError::Pattern(format!("`{text}` is no network")))?;
                Node::InNetwork(inner(address)?, Box::new(network))
            }
            Expr::Call(function, arguments) => Node::Call(
                *function,
                arguments.iter().map(|item| self.node(item, stream)).collect::<Result<_, _>>()?,
            ),
            Expr::Aggregate(kind, step, argument) => {
                let owner = self.rule.steps.get(*step).map_or(0, |step| step.stream);
                let argument = argument.as_ref().map(|argument| self.node(argument, owner)).transpose()?;
                Node::Aggregate(*kind, *step, argument.map(Box::new))
            }
            Expr::Window(window) => match self.rule.windows.get(*window).and_then(|window| window.before) {
                Some(step) if self.own != Some(step) => {
                    let kind =
                        self.rule.windows.get(*window).map_or(Aggregate::Count, |window| window.aggregate);
                    Node::StepWindow(step, *window, aggregate::of_values(kind, std::iter::empty()))
                }
                _ => Node::Window(*window),
            },
            Expr::Reaches(latch, value, limit) => self.reaches(*latch, value, limit, stream)?,
            Expr::Trend(trend, a) => Node::Trend(*trend, inner(a)?),
            Expr::Prev(a, default) => Node::Prev(inner(a)?, inner(default)?),
            Expr::Object(pairs) => Node::Object(
                pairs
                    .iter()
                    .map(|(name, value)| Ok((name.as_str().into(), self.node(value, stream)?)))
                    .collect::<Result<_, ActivateError>>()?,
            ),
        })
    }

    fn local(&mut self, part: LocalPart, arguments: &[Expr], stream: usize) -> Result<Node, ActivateError> {
        let zone = match arguments.get(1) {
            None => TimeZone::UTC,
            Some(Expr::Literal(Literal::String(name))) => {
                TimeZone::get(name).map_err(|error| ActivateError::Pattern(error.to_string()))?
            }
            Some(_) => return Err(ActivateError::Pattern("the time zone is not a literal".to_owned())),
        };
        let instant =
            arguments.first().map_or(Ok(Node::Literal(Value::Null)), |expr| self.node(expr, stream));
        Ok(Node::Local(part, Box::new(instant?), Box::new(zone)))
    }

    /// The task's number of a table of the module.
    fn table(&mut self, table: usize) -> usize {
        let number = self.tables.get(table).copied().unwrap_or(usize::MAX);
        self.read_tables.insert(number);
        number
    }

    fn reaches(
        &mut self,
        latch: usize,
        value: &Expr,
        limit: &Expr,
        stream: usize,
    ) -> Result<Node, ActivateError> {
        if self.latches.len() <= latch {
            let mut windows = Vec::new();
            value.walk(&mut |expr| {
                if let Expr::Window(window) = expr {
                    windows.push(*window);
                }
            });
            let keys = self.own.and_then(|own| self.rule.steps.get(own)).map(|step| &step.keys);
            let looked_at = self.rule.streams.get(stream).is_some_and(|stream| stream.keys.as_ref() == keys);
            let of_stream =
                |window: &usize| self.rule.windows.get(*window).is_some_and(|window| window.stream == stream);
            let reopens = looked_at && !windows.is_empty() && windows.iter().all(of_stream);
            let (value, limit) = (self.node(value, stream)?, self.node(limit, stream)?);
            let program = LatchProgram { value, limit, windows, reopens };
            self.latches.push(program);
        }
        Ok(Node::Reaches(latch, Box::new(self.node(value, stream)?), Box::new(self.node(limit, stream)?)))
    }

    /// Fields of a step's events that the rule reads, for evidence.
    pub(crate) fn shown(&mut self, number: usize, step: &Step) -> Vec<FieldShown> {
        let rule = self.rule;
        let mut fields: Vec<usize> = step.keys.clone();
        for term in &step.condition {
            collect_fields(&term.expr, number, true, &mut fields);
        }
        let clauses = rule.having.iter().chain(&rule.unless).map(|term| &term.expr);
        let values = rule.emit.iter().map(|(_, expr)| expr).chain(&rule.severity).chain(&rule.score);
        let reasons = rule.reason.iter().filter_map(|part| match part {
            ReasonPart::Value(expr) => Some(expr),
            ReasonPart::Text(_) => None,
        });
        let outputs = rule.timeout.iter().flatten().map(|(_, expr)| expr).chain(&rule.cooldown_per);
        let others = rule.steps.iter().enumerate().filter(|(other, _)| *other != number);
        let elsewhere = others.flat_map(|(_, step)| step.condition.iter().map(|term| &term.expr));
        let gaps = rule.units.iter().flat_map(|unit| &unit.gap);
        let silent = || gaps.clone().chain(&rule.leading).chain(&rule.trailing).chain(&rule.cancels);
        let forbidden = silent().flat_map(|absence| &absence.condition).map(|term| &term.expr);
        let arrows = rule.units.iter().flat_map(|unit| [&unit.within, &unit.after]).flatten();
        let waits = rule.steps.iter().filter_map(|step| step.quiet.as_ref());
        let waits = waits.chain(silent().filter_map(|absence| absence.duration.as_ref()));
        let looked_up = arrows.chain(waits).filter_map(|bound| match bound {
            Bound::Read { expr, .. } => Some(expr),
            Bound::Fixed(_) => None,
        });
        let after = clauses.chain(values).chain(reasons).chain(outputs);
        for expr in after.chain(elsewhere).chain(forbidden).chain(looked_up) {
            collect_fields(expr, number, false, &mut fields);
        }
        fields.sort_unstable();
        fields.dedup();
        let Some(stream) = self.stream(step.stream).cloned() else { return Vec::new() };
        fields
            .into_iter()
            .filter_map(|field| stream.fields.get(field).map(|declared| (field, declared)))
            .map(|(field, declared)| FieldShown {
                slot: self.slot(step.stream, field),
                field,
                name: ArcStr::from(declared.path.join(".")),
                masked: declared.mask,
            })
            .collect()
    }
}

pub(crate) fn is_comparison(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessOrEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterOrEqual
            | BinaryOp::In
    )
}

/// The expression reads what steps have taken.
pub(crate) fn reads_steps(rule: &Rule, own: Option<usize>, expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |expr| {
        let window = |window: &usize| rule.windows.get(*window).and_then(|window| window.before);
        found |= match expr {
            // The window before another step's event was read there.
            Expr::Window(number) => window(number).is_some_and(|step| own != Some(step)),
            _ => matches!(
                expr,
                Expr::Field(Of::Step(_), _)
                    | Expr::Ts(Of::Step(_))
                    | Expr::Id(Of::Step(_))
                    | Expr::StreamName(Of::Step(_))
                    | Expr::Aggregate(..)
                    | Expr::Trend(..)
                    | Expr::Prev(..)
            ),
        };
    });
    found
}

/// The expression reads the key, a window, a latch or a table: it has its value only at the event's place in the order.
pub(crate) fn needs_key(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |expr| {
        found |= matches!(
            expr,
            Expr::Key(_)
                | Expr::Window(_)
                | Expr::Reaches(..)
                | Expr::Id(_)
                | Expr::InList(..)
                | Expr::Lookup(..)
        );
    });
    found
}

/// Fields of a step's events that an expression reads, also in aggregates over the step. In the step's `own` condition bare
/// fields are its event's.
fn collect_fields(expr: &Expr, number: usize, own: bool, fields: &mut Vec<usize>) {
    let mut of_others = Vec::new();
    expr.walk(&mut |inner| match inner {
        Expr::Field(Of::Step(step), field) if *step == number => fields.push(*field),
        Expr::Field(Of::This, field) if own => fields.push(*field),
        Expr::Aggregate(_, step, Some(argument)) if own != (*step == number) => {
            argument.walk(&mut |expr| {
                if let Expr::Field(Of::This, field) = expr {
                    if own { of_others.push(*field) } else { fields.push(*field) }
                }
            });
        }
        _ => {}
    });
    for field in of_others {
        if let Some(at) = fields.iter().rposition(|known| *known == field) {
            fields.swap_remove(at);
        }
    }
}
