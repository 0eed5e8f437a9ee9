//! Expressions: operators and their types.

use super::fold;
use super::names::Typed;
use super::rule::{Place, RuleLowering, Scope};
use super::tables::{Use, usage};
use super::{Fail, Lowered};
use crate::ast::{self, ExprKind, Op};
use crate::check::{self, BOOL, DURATION, Ty, binary, join};
use crate::diagnostic::Diagnostic;
use crate::ir::{BinaryOp, Expr, LATCHES_MAX, TableKind};
use crate::source::Span;
use crate::types::{Literal, Type};

impl RuleLowering<'_, '_> {
    /// Lowers and types an expression. `expected`: the enum whose words may stand here.
    pub(super) fn expr(&mut self, e: &ast::Expr, scope: &Scope, expected: Option<&Type>) -> Lowered<Typed> {
        match &e.kind {
            ExprKind::Null => Ok((Expr::Literal(Literal::Null), Ty::Null)),
            ExprKind::String(text) => {
                if let Some(Type::Enum(words)) = expected
                    && !words.contains(text)
                {
                    let words = words.clone();
                    return Err(self.all.not_a_word(text, &words, e.span));
                }
                Ok((Expr::Literal(Literal::String(text.clone())), check::STRING))
            }
            ExprKind::Bool(_) | ExprKind::Int(_) | ExprKind::Decimal(_) | ExprKind::Duration(_) => {
                let literal = self.all.fold(e, false)?;
                let ty = check::literal_type(&literal);
                Ok((Expr::Literal(literal), ty))
            }
            ExprKind::Path(path) => {
                let typed = self.path(path, scope, expected)?;
                self.note_unknown(e.span, &typed.0, scope);
                Ok(typed)
            }
            ExprKind::Not(inner) => {
                let (lowered, ty) = self.expr(inner, scope, None)?;
                self.need_bool(inner, &ty)?;
                Ok((Expr::Not(Box::new(lowered)), BOOL))
            }
            ExprKind::Neg(inner) => self.negate(inner, scope),
            ExprKind::IsNull(inner) => {
                let from = self.unknowns.len();
                let (lowered, _) = self.expr(inner, scope, None)?;
                self.unknowns.truncate(from);
                self.looked_at.push(lowered.clone());
                Ok((Expr::IsNull(Box::new(lowered)), BOOL))
            }
            ExprKind::If(condition, yes, no) => {
                let condition_ = self.expr(condition, scope, None);
                let yes_ = self.expr(yes, scope, expected);
                let no_ = self.expr(no, scope, expected);
                let ((c, c_ty), (y, y_ty), (n, n_ty)) = (condition_?, yes_?, no_?);
                self.need_bool(condition, &c_ty)?;
                let Some(ty) = join(&y_ty, &n_ty) else {
                    return Err(self.mismatch(&y_ty.show(), no, &n_ty));
                };
                Ok((Expr::If(Box::new(c), Box::new(y), Box::new(n)), ty))
            }
            ExprKind::Table(name, key, column) => {
                self.lookup(e, name, key.as_deref(), column.as_ref(), scope)
            }
            ExprKind::List(items) => self.list(items, scope, expected),
            ExprKind::Object(pairs) => {
                if scope.place != Place::After {
                    return Err(self.report(
                        Diagnostic::error("E101", e.span, "expected a value, found an object")
                            .help("objects stand in `emit` and tests"),
                    ));
                }
                let mut lowered = Vec::new();
                for (name, value) in pairs {
                    lowered.push((name.name.clone(), self.expr(value, scope, None)?.0));
                }
                Ok((Expr::Object(lowered), Ty::Object))
            }
            ExprKind::Call(name, arguments) => self.call(e, name, arguments, scope),
            ExprKind::Window(window) => self.window(e, window, scope),
            ExprKind::Binary(Op::Reaches, ..) => Err(self.no_latch(e)),
            ExprKind::Binary(Op::Plain(op), a, b) => self.binary(e, *op, a, b, scope, expected),
        }
    }

    /// `value in @name`, `value in @name[key]`.
    fn in_table(
        &mut self,
        value: &ast::Expr,
        name: &ast::Ident,
        key: Option<&ast::Expr>,
        scope: &Scope,
    ) -> Lowered<Typed> {
        let lowered_key = key.map(|key| self.expr(key, scope, None)).transpose();
        let lowered = self.expr(value, scope, None)?;
        let lowered_key = lowered_key?;
        let plain = |ty: &Ty| match ty {
            Ty::Of(ty) => Some(ty.clone()),
            _ => None,
        };
        let used = match &lowered_key {
            Some((_, key)) => Use::KeyedList { key: plain(key), item: plain(&lowered.1) },
            None => Use::List { item: plain(&lowered.1) },
        };
        let index = self.all.table(name, used)?;
        let table = self.all.tables.get(index).map(|t| t.table.clone()).ok_or(Fail)?;
        match (&table.kind, key, lowered_key) {
            (TableKind::List { item }, None, None) => {
                let lowered = self.fit(value, lowered, item)?;
                Ok((Expr::InList(Box::new(lowered), index, None), BOOL))
            }
            (TableKind::KeyedList { key: key_type, item, .. }, Some(key), Some(lowered_key)) => {
                let lowered = self.fit(value, lowered, item);
                let lowered_key = self.fit(key, lowered_key, key_type)?;
                Ok((Expr::InList(Box::new(lowered?), index, Some(Box::new(lowered_key))), BOOL))
            }
            _ => {
                let span = key.map_or(name.span, |k| Span { end: k.span.end, ..name.span });
                let expected = if key.is_some() { "a list by key" } else { "a list" };
                let found = match &table.kind {
                    TableKind::List { .. } => "list",
                    TableKind::KeyedList { .. } => "list by key",
                    TableKind::Lookup { .. } => "lookup",
                };
                let message = format!("expected {expected}, found {found} `@{}`", name.name);
                Err(self.report(Diagnostic::error("E201", span, message).help(usage(&table))))
            }
        }
    }

    /// A value where the type is given.
    fn fit(&mut self, e: &ast::Expr, (mut lowered, mut ty): Typed, wanted: &Type) -> Lowered<Expr> {
        let wanted = Ty::from(wanted.clone());
        check::adapt(&mut lowered, &mut ty, &wanted);
        if join(&ty, &wanted).is_none() {
            return Err(self.mismatch(&wanted.show(), e, &ty));
        }
        Ok(lowered)
    }

    /// `@name[key].column`.
    fn lookup(
        &mut self,
        e: &ast::Expr,
        name: &ast::Ident,
        key: Option<&ast::Expr>,
        column: Option<&ast::Ident>,
        scope: &Scope,
    ) -> Lowered<Typed> {
        let (Some(key), Some(column)) = (key, column) else {
            let known = self.all.tables.iter().find(|t| t.table.name == name.name && t.typed);
            let help = known.map_or_else(
                || format!("a list stands after `in`: `x in @{}`", name.name),
                |t| usage(&t.table),
            );
            let message = format!("expected a value, found `{}`", self.all.slice(e.span));
            return Err(self.report(Diagnostic::error("E101", e.span, message).help(help)));
        };
        let lowered_key = self.expr(key, scope, None);
        let index = self.all.table(name, Use::Lookup)?;
        let table = self.all.tables.get(index).map(|t| t.table.clone()).ok_or(Fail)?;
        let TableKind::Lookup { key: key_type, fields, .. } = &table.kind else {
            return Err(self.all.no_column(&table, column));
        };
        let Some(at) = fields.iter().position(|f| f.path.join(".") == column.name) else {
            return Err(self.all.no_column(&table, column));
        };
        let lowered_key = self.fit(key, lowered_key?, key_type)?;
        let ty = fields.get(at).map_or(Ty::Null, |f| Ty::from(f.ty.clone()));
        let lookup = Expr::Lookup(index, Box::new(lowered_key), at);
        if fields.get(at).is_some_and(|f| f.nullable) {
            self.unknowns.push((e.span, lookup.clone()));
        }
        Ok((lookup, ty))
    }

    fn negate(&mut self, inner: &ast::Expr, scope: &Scope) -> Lowered<Typed> {
        let (lowered, ty) = self.expr(inner, scope, None)?;
        if !(ty.is_numeric() && ty != Ty::Null || ty == DURATION) {
            return Err(self.mismatch("a number", inner, &ty));
        }
        let folded = match Self::literal(&lowered) {
            Some(literal) => fold::negate(literal),
            None => None,
        };
        Ok(match folded {
            Some(literal) => {
                let ty = check::literal_type(&literal);
                (Expr::Literal(literal), ty)
            }
            None => (Expr::Neg(Box::new(lowered)), ty),
        })
    }

    fn list(&mut self, items: &[ast::Expr], scope: &Scope, expected: Option<&Type>) -> Lowered<Typed> {
        let mut lowered = Vec::new();
        let mut ty = Ty::Null;
        for item in items {
            let (expr, item_ty) = self.expr(item, scope, expected)?;
            ty = match join(&ty, &item_ty) {
                Some(joined) => joined,
                None => return Err(self.mismatch(&ty.show(), item, &item_ty)),
            };
            lowered.push(expr);
        }
        Ok((Expr::List(lowered), Ty::List(Box::new(ty))))
    }

    fn binary(
        &mut self,
        e: &ast::Expr,
        op: BinaryOp,
        a: &ast::Expr,
        b: &ast::Expr,
        scope: &Scope,
        expected: Option<&Type>,
    ) -> Lowered<Typed> {
        match (op, &a.kind, &b.kind) {
            (BinaryOp::In, _, ExprKind::Table(name, key, None)) => {
                return self.in_table(a, name, key.as_deref(), scope);
            }
            (BinaryOp::Contains, ExprKind::Table(name, key, None), _) => {
                return self.in_table(b, name, key.as_deref(), scope);
            }
            _ => {}
        }
        // A comparison gives each side the words of the other's enum; `??` hands down what is expected of it.
        let compares = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In | BinaryOp::Coalesce);
        let hint = if op == BinaryOp::Coalesce { expected } else { None };
        let (left, right) = if compares && self.is_loose_word(a, scope) && !self.is_loose_word(b, scope) {
            let right = self.expr(b, scope, hint)?;
            let words = right.1.words().cloned();
            (self.expr(a, scope, words.as_ref().or(hint))?, right)
        } else {
            let left = self.expr(a, scope, hint);
            let words =
                if compares { left.as_ref().ok().and_then(|(_, ty)| ty.words()).cloned() } else { None };
            // An unknown left side says nothing about words on the right.
            if left.is_err() && self.is_loose_word(b, scope) {
                return Err(Fail);
            }
            let right = self.expr(b, scope, words.as_ref().or(hint));
            (left?, right?)
        };
        if op == BinaryOp::Coalesce {
            let inside = |span: Span| {
                span.source == a.span.source && a.span.start <= span.start && span.end <= a.span.end
            };
            self.unknowns.retain(|(span, _)| !inside(*span));
        }
        self.combine(e, op, (a, left), (b, right))
    }

    fn combine(
        &mut self,
        e: &ast::Expr,
        op: BinaryOp,
        (a, (mut left, mut left_ty)): (&ast::Expr, Typed),
        (b, (mut right, mut right_ty)): (&ast::Expr, Typed),
    ) -> Lowered<Typed> {
        check::adapt(&mut left, &mut left_ty, &right_ty);
        check::adapt(&mut right, &mut right_ty, &left_ty);
        if matches!(op, BinaryOp::And | BinaryOp::Or) {
            self.need_bool(a, &left_ty)?;
            self.need_bool(b, &right_ty)?;
        }
        if matches!(op, BinaryOp::Equal | BinaryOp::NotEqual) && (left_ty == Ty::Null || right_ty == Ty::Null)
        {
            let help = if op == BinaryOp::Equal { "`is null`" } else { "`is not null`" };
            return Err(self.report(
                Diagnostic::error("E201", e.span, "a comparison with null is never true").help(help),
            ));
        }
        if op == BinaryOp::Matches {
            self.pattern_is_valid(b, &right)?;
        }
        let Some(ty) = binary(op, &left_ty, &right_ty) else {
            return Err(self.do_not_fit(e, op, (a, &left_ty), (b, &right_ty)));
        };
        if op == BinaryOp::Contains && matches!(left_ty, Ty::List(_)) {
            return Ok((Expr::Binary(BinaryOp::In, Box::new(right), Box::new(left)), ty));
        }
        Ok((Expr::Binary(op, Box::new(left), Box::new(right)), ty))
    }

    fn pattern_is_valid(&mut self, e: &ast::Expr, pattern: &Expr) -> Lowered<()> {
        let Some(Literal::String(text)) = Self::literal(pattern) else {
            let written = self.all.slice(e.span).to_owned();
            let message = format!("expected a string in quotes, found `{written}`");
            return Err(self.report(
                Diagnostic::error("E201", e.span, message).help("a raw string: `path matches r\"^/api/\"`"),
            ));
        };
        if regex_syntax::parse(text).is_ok() {
            return Ok(());
        }
        let message = format!("`{text}` is not a regular expression");
        Err(self.report(
            Diagnostic::error("E102", e.span, message)
                .help("the syntax of Rust's `regex`: no look-around, no back-references"),
        ))
    }

    fn do_not_fit(
        &mut self,
        e: &ast::Expr,
        op: BinaryOp,
        (a, a_ty): (&ast::Expr, &Ty),
        (b, b_ty): (&ast::Expr, &Ty),
    ) -> Fail {
        let text = |e: &ast::Expr| self.all.slice(e.span).to_owned();
        // `duration < 3`: the number lacks its unit.
        if matches!(
            op,
            BinaryOp::Less
                | BinaryOp::LessOrEqual
                | BinaryOp::Greater
                | BinaryOp::GreaterOrEqual
                | BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Add
                | BinaryOp::Subtract
        ) && *a_ty == DURATION
            && *b_ty == check::INT
        {
            return self.mismatch("duration", b, b_ty);
        }
        let message = format!(
            "`{}` does not take {} `{}` and {} `{}`",
            op.sign(),
            a_ty.show(),
            text(a),
            b_ty.show(),
            text(b)
        );
        let help = match op {
            BinaryOp::In if b.paren => {
                let inner = text(b);
                format!("did you mean `[{}]`?", inner.trim_start_matches('(').trim_end_matches(')'))
            }
            BinaryOp::In => "the right side is a list: `[a, b]`, `@name` or `collect(x.f)`".to_owned(),
            BinaryOp::Contains if matches!(a_ty, Ty::List(_)) => {
                "the right side is an item of the list".to_owned()
            }
            BinaryOp::Contains | BinaryOp::StartsWith | BinaryOp::EndsWith | BinaryOp::Matches => {
                "both sides are strings".to_owned()
            }
            _ if *a_ty == check::IP || *b_ty == check::IP => {
                "an address in quotes: `\"10.0.0.1\"`".to_owned()
            }
            _ if a_ty.is_text() || b_ty.is_text() => {
                "is one side a string that should be a number or a time?".to_owned()
            }
            _ => "values of one type; numbers may be mixed".to_owned(),
        };
        self.report(Diagnostic::error("E201", e.span, message).help(help))
    }

    /// E351.
    pub(super) fn no_latch(&mut self, e: &ast::Expr) -> Fail {
        let span = match &e.kind {
            ExprKind::Binary(_, a, b) => {
                let between = crate::source::Span { start: a.span.end, end: b.span.start, ..e.span };
                let text = self.all.slice(between).to_owned();
                let at = between.start + text.find("reaches").unwrap_or(0) as u32;
                crate::source::Span { start: at, end: at + 7, ..e.span }
            }
            _ => e.span,
        };
        let help = "`>=` with a cool-down; or a rule whose only step is one event, with it as a term joined by `and`";
        self.report(Diagnostic::error("E351", span, "`reaches` needs one latch").help(help))
    }

    /// `value reaches limit`, as a term.
    pub(super) fn reaches(
        &mut self,
        e: &ast::Expr,
        value: &ast::Expr,
        limit: &ast::Expr,
        scope: &Scope,
    ) -> Lowered<Expr> {
        let single = self.names.len() == 1 && self.names.iter().all(|n| !n.repeated && !n.consecutive);
        if scope.place != Place::Where || !single || e.paren {
            return Err(self.no_latch(e));
        }
        let left = self.expr(value, scope, None);
        let constant = Scope::new(Place::Window, &[], None, 0);
        let right = self.expr(limit, &constant, None);
        let ((left, left_ty), (right, right_ty)) = (left?, right?);
        if binary(BinaryOp::GreaterOrEqual, &left_ty, &right_ty).is_none() {
            return Err(self.mismatch(&left_ty.show(), limit, &right_ty));
        }
        let latch = self.latches;
        if latch == LATCHES_MAX {
            let message = format!("more than {LATCHES_MAX} `reaches` in one rule");
            self.report(Diagnostic::error("E335", e.span, message).help("two rules"));
        }
        self.latches += 1;
        Ok(Expr::Reaches(latch, Box::new(left), Box::new(right)))
    }
}
