//! Warnings about conditions: what can never hold (W211), `is_new` alone (W219), unknown that counts as false (W221).

use std::cmp::Ordering;

use super::fold;
use super::rule::{RuleLowering, Scope};
use crate::ast::{self, ExprKind};
use crate::diagnostic::Diagnostic;
use crate::ir::{BinaryOp, Expr, Of, Term};
use crate::source::Span;
use crate::types::Literal;

/// What a term says about one value.
enum Says<'e> {
    /// It is one of these.
    OneOf(Vec<&'e Literal>),
    /// `value op literal`, of `!= < <= > >=`.
    Compares(BinaryOp, &'e Literal),
    /// It is null.
    Null,
}

const YES: Literal = Literal::Bool(true);
const NO: Literal = Literal::Bool(false);

fn literal(e: &Expr) -> Option<&Literal> {
    match e {
        Expr::Literal(literal) if *literal != Literal::Null => Some(literal),
        _ => None,
    }
}

/// The value that a term tests against constants, and what it says about it.
fn test(e: &Expr) -> Option<(&Expr, Says<'_>)> {
    use BinaryOp as B;
    let (subject, says) = match e {
        Expr::Field(..) => (e, Says::OneOf(vec![&YES])),
        Expr::Not(inner) if matches!(**inner, Expr::Field(..)) => (&**inner, Says::OneOf(vec![&NO])),
        Expr::IsNull(inner) => (&**inner, Says::Null),
        Expr::Binary(B::In, a, list) => {
            let Expr::List(items) = &**list else { return None };
            (&**a, Says::OneOf(items.iter().map(literal).collect::<Option<_>>()?))
        }
        Expr::Binary(op, a, b) => {
            let (subject, op, literal) = match (literal(a), literal(b)) {
                (None, Some(literal)) => (&**a, *op, literal),
                (Some(literal), None) => (&**b, mirrored(*op), literal),
                _ => return None,
            };
            let says = match op {
                B::Equal => Says::OneOf(vec![literal]),
                B::NotEqual | B::Less | B::LessOrEqual | B::Greater | B::GreaterOrEqual => {
                    Says::Compares(op, literal)
                }
                _ => return None,
            };
            (subject, says)
        }
        _ => return None,
    };
    (!matches!(subject, Expr::Literal(_))).then_some((subject, says))
}

fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        other => other,
    }
}

/// No value can satisfy both.
fn contradict(a: &Says<'_>, b: &Says<'_>) -> bool {
    use BinaryOp as B;
    match (a, b) {
        (Says::Null, Says::Null) => false,
        (Says::Null, _) | (_, Says::Null) => true,
        (Says::OneOf(values), other) | (other, Says::OneOf(values)) => {
            !values.iter().any(|v| may_be(v, other))
        }
        (Says::Compares(op, x), Says::Compares(other, y)) => {
            let Some(order) = fold::compare(x, y) else { return false };
            let below = |op: B| matches!(op, B::Less | B::LessOrEqual);
            let above = |op: B| matches!(op, B::Greater | B::GreaterOrEqual);
            let strict = |op: B| matches!(op, B::Less | B::Greater);
            let opposite = below(*op) && above(*other) || above(*op) && below(*other);
            match order {
                Ordering::Less => below(*op) && above(*other),
                Ordering::Greater => above(*op) && below(*other),
                Ordering::Equal => opposite && (strict(*op) || strict(*other)),
            }
        }
    }
}

fn may_be(value: &Literal, says: &Says<'_>) -> bool {
    let holds = |op: BinaryOp, other: &Literal| fold::binary(op, value, other) != Some(Literal::Bool(false));
    match says {
        Says::OneOf(values) => values.iter().any(|other| holds(BinaryOp::Equal, other)),
        Says::Compares(op, other) => holds(*op, other),
        Says::Null => false,
    }
}

/// An event that passes this test of its stream's `from` has a value in the field.
fn needs_a_value(test: &Expr, field: usize) -> bool {
    let is_field = |e: &Expr| *e == Expr::Field(Of::This, field);
    match test {
        Expr::Not(inner) => match &**inner {
            Expr::IsNull(inner) => is_field(inner),
            other => is_field(other),
        },
        // Unknown passes no filter.
        Expr::Binary(BinaryOp::And | BinaryOp::Or | BinaryOp::Coalesce, ..) => false,
        Expr::Binary(_, a, b) => is_field(a) || is_field(b),
        other => is_field(other),
    }
}

impl RuleLowering<'_, '_> {
    /// W211: two terms of one conjunction that no event satisfies both.
    pub(super) fn warn_never(&mut self, terms: &[Term]) {
        for (at, second) in terms.iter().enumerate() {
            let Some((subject, says)) = test(&second.expr) else { continue };
            let clash = terms.iter().take(at).find(|first| {
                test(&first.expr).is_some_and(|(other, first)| other == subject && contradict(&first, &says))
            });
            if let Some(first) = clash {
                let message = format!("never true: `{}` and `{}`", first.text, second.text);
                self.report(Diagnostic::warning("W211", second.span, message).help("keep one of them"));
            }
        }
    }

    /// W219: `is_new` in a conjunction that counts nothing.
    pub(super) fn warn_new(&mut self, condition: &ast::Expr) {
        let mut new: Option<Span> = None;
        let mut counted = false;
        condition.walk(&mut |e| {
            if let ExprKind::Window(window) = &e.kind {
                match window.function.name.as_str() {
                    "is_new" => new = new.or(Some(e.span)),
                    "count" | "distinct" => counted = true,
                    _ => {}
                }
            }
        });
        if let (Some(span), false) = (new, counted) {
            self.report(
                Diagnostic::warning("W219", span, "also true for a key never seen before")
                    .help("and a history: `count(s over 90d before a) > 0`"),
            );
        }
    }

    /// Takes what was read since `from` and may be null; `W221` where unknown then counts as false.
    pub(super) fn warn_unknown(&mut self, from: usize, counts_as_false: bool) {
        let read = self.unknowns.split_off(from.min(self.unknowns.len()));
        if !counts_as_false {
            return;
        }
        let mut told: Vec<Expr> = Vec::new();
        for (span, value) in read {
            if self.looked_at.contains(&value) || told.contains(&value) {
                continue;
            }
            let text = self.all.slice(span).to_owned();
            let message = format!("`{text}` may be null, and unknown counts as false here");
            let help = format!("say what null means: `{text} ?? ..`, or `{text} is null`");
            self.report(Diagnostic::warning("W221", span, message).help(help));
            told.push(value);
        }
    }

    /// Remembers a field that may be null.
    pub(super) fn note_unknown(&mut self, span: Span, value: &Expr, scope: &Scope) {
        let Expr::Field(of, field) = value else { return };
        let stream = match of {
            Of::Step(step) => self.names.get(*step).map(|n| n.module_stream),
            Of::This => scope.this.first().copied(),
        };
        let filtered = self.streams.iter().filter(|s| Some(s.stream) == stream).flat_map(|s| &s.filter);
        if filtered.into_iter().any(|term| needs_a_value(&term.expr, *field)) {
            return;
        }
        let stream = stream.and_then(|stream| self.all.streams.get(stream));
        if stream.and_then(|s| s.fields.get(*field)).is_some_and(|f| f.nullable) {
            self.unknowns.push((span, value.clone()));
        }
    }
}
