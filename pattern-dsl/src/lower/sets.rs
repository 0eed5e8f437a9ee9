//! The alias of a `one of` set: it reads the member that began.

use super::names::Typed;
use super::rule::{RuleLowering, Scope};
use super::{Fail, Lowered};
use crate::ast::{self, ExprKind, Ident};
use crate::check::{Ty, join};
use crate::diagnostic::Diagnostic;
use crate::ir::{Aggregate, BinaryOp, Expr, Of};
use crate::types::Literal;

impl RuleLowering<'_, '_> {
    /// A `one of` by its alias.
    pub(super) fn set_named(&self, name: &str) -> Option<usize> {
        self.sets.iter().position(|s| s.alias.name == name)
    }

    /// A `one of` that an expression names.
    pub(super) fn set_in(&self, e: &ast::Expr) -> Option<(usize, Ident)> {
        let mut found = None;
        e.walk(&mut |e| {
            if let ExprKind::Path(path) = &e.kind
                && let Some(first) = path.first()
                && let Some(set) = self.set_named(&first.name)
            {
                found.get_or_insert((set, first.clone()));
            }
        });
        found
    }

    /// E324: one member reads another of its set.
    pub(super) fn in_own_set(&mut self, step: usize, name: &Ident, scope: &Scope) -> Option<Fail> {
        let own = self.names.get(scope.own?)?;
        if !own.set.as_ref()?.contains(&step) {
            return None;
        }
        let message = format!("`{}` is of the same set: members come in any order", name.name);
        Some(self.report(Diagnostic::error("E324", name.span, message).help("test it in `having`")))
    }

    /// `done.f`: the field of each member; those that did not begin give null.
    pub(super) fn set_field(
        &mut self,
        set: usize,
        first: &Ident,
        rest: &[Ident],
        scope: &Scope,
    ) -> Lowered<Typed> {
        let members = self.sets.get(set).map(|s| s.members.clone()).ok_or(Fail)?;
        if let Some(step) = scope.aggregate.filter(|step| members.contains(step)) {
            let stream = self.names.get(step).map(|n| n.module_stream).ok_or(Fail)?;
            return self.field(Of::This, stream, rest);
        }
        let mut typed = Vec::new();
        for step in members {
            typed.push(self.step_field(step, first, rest, scope)?);
        }
        self.either(typed, first, |_, member, rest| {
            Expr::Binary(BinaryOp::Coalesce, Box::new(member), Box::new(rest))
        })
    }

    /// An aggregate over what the member that began took; `over` gives that of one member.
    pub(super) fn set_aggregate(
        &mut self,
        set: usize,
        name: &Ident,
        mut over: impl FnMut(&mut Self, usize) -> Lowered<Typed>,
    ) -> Lowered<Typed> {
        let members = self.sets.get(set).map(|s| s.members.clone()).ok_or(Fail)?;
        let mut typed = Vec::new();
        for step in members.clone() {
            typed.push(over(self, step)?);
        }
        self.either(typed, name, |at, member, rest| {
            let count = Expr::Aggregate(Aggregate::Count, members.start + at, None);
            let begun =
                Expr::Binary(BinaryOp::Greater, Box::new(count), Box::new(Expr::Literal(Literal::Int(0))));
            Expr::If(Box::new(begun), Box::new(member), Box::new(rest))
        })
    }

    /// Folds the members' values from the last; `choose` has a member's place, its value, and what stands for those after it.
    fn either(
        &mut self,
        typed: Vec<Typed>,
        name: &Ident,
        choose: impl Fn(usize, Expr, Expr) -> Expr,
    ) -> Lowered<Typed> {
        let mut ty = Ty::Null;
        for (_, one) in &typed {
            ty = match join(&ty, one) {
                Some(joined) => joined,
                None => {
                    let message = format!(
                        "expected one type, found {} in one member of `{}` and {} in another",
                        ty.show(),
                        name.name,
                        one.show()
                    );
                    return Err(self.report(
                        Diagnostic::error("E201", name.span, message)
                            .help("read it from the member by its alias"),
                    ));
                }
            };
        }
        let mut members = typed.into_iter().map(|(expr, _)| expr).enumerate().rev();
        let (_, mut value) = members.next().ok_or(Fail)?;
        for (at, member) in members {
            value = choose(at, member, value);
        }
        Ok((value, ty))
    }
}
