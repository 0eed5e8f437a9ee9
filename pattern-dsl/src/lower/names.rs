//! Paths to what they read (language section 5.2, "Names").
//!
//! In a `where`: an alias's field, a field of the event, then key and const. After `match`: key, const, an alias's field.

use super::rule::{Place, RuleLowering, Scope};
use super::streams::find;
use super::{Fail, Lowered, Lowering};
use crate::ast::{ExprKind, Ident};
use crate::check::{INSTANT, STRING, Ty, literal_type};
use crate::diagnostic::{Diagnostic, nearest};
use crate::ir::{Expr, Of};
use crate::source::Span;
use crate::types::{Literal, Type};

pub(super) type Typed = (Expr, Ty);

fn span_of(path: &[Ident]) -> Span {
    let (Some(first), Some(last)) = (path.first(), path.last()) else { return Span::default() };
    // A `def`'s argument stands elsewhere than the field behind it: the field is what is meant.
    let together = path.iter().zip(path.iter().skip(1)).all(|(a, b)| {
        a.span.source == b.span.source && b.span.start.checked_sub(a.span.end).is_some_and(|gap| gap < 8)
    });
    if together { Span { end: last.span.end, ..first.span } } else { last.span }
}

fn dotted(path: &[Ident]) -> String {
    path.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(".")
}

impl RuleLowering<'_, '_> {
    /// A step by its name.
    pub(super) fn step_named(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n.nameable && n.name == name)
    }

    /// A name that only an enum can give a meaning to.
    pub(super) fn is_loose_word(&self, e: &crate::ast::Expr, scope: &Scope) -> bool {
        let ExprKind::Path(path) = &e.kind else { return false };
        let [name] = path.as_slice() else { return false };
        let field = scope
            .this
            .first()
            .and_then(|s| self.all.streams.get(*s))
            .is_some_and(|s| find(&s.fields, path).is_some());
        let built_in = !scope.this.is_empty() && matches!(name.name.as_str(), "ts" | "id" | "stream");
        let key = scope.place != Place::Filter && self.keys.iter().any(|k| k.name == name.name);
        !(field || built_in || key || self.all.consts.contains_key(&name.name))
    }

    pub(super) fn path(&mut self, path: &[Ident], scope: &Scope, expected: Option<&Type>) -> Lowered<Typed> {
        let (first, rest) = path.split_first().ok_or(Fail)?;
        let this_name =
            scope.this.iter().any(|s| self.all.streams.get(*s).is_some_and(|s| s.name == first.name));
        if !rest.is_empty() {
            if scope.place == Place::Window && this_name {
                return self.this_field(rest, scope);
            }
            if scope.place != Place::Filter
                && let Some(set) = self.set_named(&first.name)
            {
                return self.set_field(set, first, rest, scope);
            }
            if scope.place != Place::Filter
                && let Some(step) = self.step_named(&first.name)
            {
                return self.step_field(step, first, rest, scope);
            }
            if this_name && self.names.iter().filter(|n| n.name == first.name).count() == 0 {
                return self.this_field(rest, scope);
            }
        }
        if let Some(stream) = scope.this.first()
            && self.all.streams.get(*stream).is_some_and(|s| find(&s.fields, path).is_some())
        {
            if rest.is_empty() && scope.place != Place::Window {
                self.bare.push(first.name.clone());
            }
            return self.this_field(path, scope);
        }
        if rest.is_empty() {
            if !scope.this.is_empty() && matches!(first.name.as_str(), "ts" | "id" | "stream") {
                return self.this_field(path, scope);
            }
            if scope.place != Place::Filter
                && let Some(key) = self.keys.iter().position(|k| k.name == first.name)
            {
                let ty = self.keys.get(key).map_or(Ty::Null, |k| Ty::from(k.ty.clone()));
                return Ok((Expr::Key(key), ty));
            }
            match self.all.consts.get(&first.name) {
                Some(Some(value)) => return Ok((Expr::Literal(value.clone()), literal_type(value))),
                Some(None) => return Err(Fail),
                None => {}
            }
            if let Some(Type::Enum(words)) = expected {
                if words.contains(&first.name) {
                    return Ok((Expr::Literal(Literal::String(first.name.clone())), STRING));
                }
                let words = words.clone();
                return Err(self.all.not_a_word(&first.name, &words, first.span));
            }
            return Err(self.unknown_name(first, scope));
        }
        Err(self.unknown_path(path, first, scope))
    }

    /// A field of the event looked at.
    fn this_field(&mut self, path: &[Ident], scope: &Scope) -> Lowered<Typed> {
        let stream = scope.this.first().copied().ok_or(Fail)?;
        self.field(Of::This, stream, path)
    }

    pub(super) fn step_field(
        &mut self,
        step: usize,
        first: &Ident,
        rest: &[Ident],
        scope: &Scope,
    ) -> Lowered<Typed> {
        let (stream, repeated) = self.names.get(step).map(|n| (n.module_stream, n.repeated)).ok_or(Fail)?;
        if scope.aggregate == Some(step) {
            return self.field(Of::This, stream, rest);
        }
        match scope.place {
            Place::Where if scope.own == Some(step) => return self.this_field(rest, scope),
            Place::Where | Place::Absence | Place::Bound | Place::Aggregate if step >= scope.visible => {
                return Err(self.too_early(step, first, scope));
            }
            Place::Window | Place::Filter => {
                let message = format!("`{}` is not known here", first.name);
                return Err(self.report(
                    Diagnostic::error("E203", first.span, message)
                        .help("a window reads its own stream, keys and constants, nothing of the match"),
                ));
            }
            _ => {}
        }
        if repeated {
            let message = format!("`{}` is several events", first.name);
            let help = format!(
                "an aggregate of them: `max({}.{})`, `last(..)`, `count({})`",
                first.name,
                dotted(rest),
                first.name
            );
            return Err(self.report(Diagnostic::error("E201", first.span, message).help(help)));
        }
        self.field(Of::Step(step), stream, rest)
    }

    /// E321, E324.
    pub(super) fn too_early(&mut self, step: usize, name: &Ident, scope: &Scope) -> Fail {
        if let Some(fail) = self.in_own_set(step, name, scope) {
            return fail;
        }
        let message = format!("`{}` has not happened yet", name.name);
        self.report(Diagnostic::error("E321", name.span, message).help(format!("test it at `{}`", name.name)))
    }

    pub(super) fn field(&mut self, of: Of, stream: usize, path: &[Ident]) -> Lowered<Typed> {
        let fields = self.all.streams.get(stream).map_or(&[][..], |s| &s.fields);
        if let Some(index) = find(fields, path) {
            let ty = fields.get(index).map_or(Ty::Null, |f| Ty::from(f.ty.clone()));
            return Ok((Expr::Field(of, index), ty));
        }
        if let [name] = path {
            match name.name.as_str() {
                "ts" => return Ok((Expr::Ts(of), INSTANT)),
                "id" => return Ok((Expr::Id(of), STRING)),
                "stream" => return Ok((Expr::StreamName(of), STRING)),
                _ => {}
            }
        }
        Err(self.no_field(stream, path))
    }

    /// E204.
    pub(super) fn no_field(&mut self, stream: usize, path: &[Ident]) -> Fail {
        self.no_field_or(stream, path, &[])
    }

    fn no_field_or(&mut self, stream: usize, path: &[Ident], others: &[String]) -> Fail {
        let written = dotted(path);
        let Some(stream) = self.all.streams.get(stream) else { return Fail };
        let diagnostic = Diagnostic::error(
            "E204",
            span_of(path),
            format!("stream `{}` has no field `{written}`", stream.name),
        );
        let known: Vec<String> = stream.fields.iter().map(|f| f.path.join(".")).collect();
        let candidates = known.iter().chain(others).map(String::as_str).chain(["ts", "id", "stream"]);
        let diagnostic = match nearest(&written, candidates) {
            Some(best) => {
                let shown = match stream.fields.iter().find(|f| f.path.join(".") == best) {
                    Some(field) => Lowering::show_field(field),
                    None => format!("`{best}`"),
                };
                diagnostic.help(format!("did you mean {shown}?")).replace(best)
            }
            None if known.is_empty() => {
                diagnostic.help("no field of it is known: list them in its `stream` block")
            }
            None => diagnostic.help(format!(
                "it has `{}`",
                known.iter().take(12).cloned().collect::<Vec<_>>().join("`, `")
            )),
        };
        self.report(diagnostic)
    }

    fn other_names(&self, scope: &Scope) -> Vec<String> {
        let mut names: Vec<String> = self.all.consts.keys().cloned().collect();
        if scope.place != Place::Filter {
            names.extend(self.keys.iter().map(|k| k.name.clone()));
        }
        if scope.place == Place::After {
            names.extend(self.lets.iter().cloned());
        }
        names
    }

    /// A single name that nothing has.
    fn unknown_name(&mut self, name: &Ident, scope: &Scope) -> Fail {
        if scope.place != Place::Filter
            && (self.step_named(&name.name).is_some() || self.set_named(&name.name).is_some())
        {
            let message = format!("expected a value, found step `{}`", name.name);
            let help = format!("one of its fields: `{}.field`", name.name);
            return self.report(Diagnostic::error("E201", name.span, message).help(help));
        }
        let mut others = self.other_names(scope);
        if let Some(stream) = scope.this.first()
            && !self.lets.contains(&name.name)
        {
            return self.no_field_or(*stream, std::slice::from_ref(name), &others);
        }
        let diagnostic = Diagnostic::error("E203", name.span, format!("`{}` is not known here", name.name));
        if self.lets.contains(&name.name) {
            return self
                .report(diagnostic.help("a `let` is for the clauses after `match`; use a `def` or `const`"));
        }
        let in_steps: Vec<String> = self
            .names
            .iter()
            .filter(|n| {
                n.nameable
                    && self
                        .all
                        .streams
                        .get(n.module_stream)
                        .is_some_and(|s| find(&s.fields, std::slice::from_ref(name)).is_some())
            })
            .map(|n| {
                if n.repeated {
                    format!("last({}.{})", n.name, name.name)
                } else {
                    format!("{}.{}", n.name, name.name)
                }
            })
            .collect();
        if let Some(best) = in_steps.first() {
            let shown = in_steps.iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(" or ");
            return self
                .report(diagnostic.help(format!("fields need their step here: {shown}")).replace(best));
        }
        others.extend(self.names.iter().map(|n| n.name.clone()));
        let diagnostic = diagnostic
            .nearest(&name.name, others.iter().map(String::as_str))
            .or_help("a key, a const, or a step's field `alias.field`");
        self.report(diagnostic)
    }

    fn unknown_path(&mut self, path: &[Ident], first: &Ident, scope: &Scope) -> Fail {
        if let Some(stream) = scope.this.first()
            && self
                .all
                .streams
                .get(*stream)
                .is_some_and(|s| s.fields.iter().any(|f| f.path.first() == Some(&first.name)))
        {
            return self.no_field(*stream, path);
        }
        let diagnostic = Diagnostic::error("E203", first.span, format!("`{}` is not known here", first.name));
        if self.names.iter().any(|n| !n.nameable && n.name == first.name) {
            return self.report(
                diagnostic.help(format!("more than one step reads `{}`: name each with `as`", first.name)),
            );
        }
        if let Some(stream) = self.rule_stream(&first.name) {
            let aliases: Vec<String> =
                self.names.iter().filter(|n| n.stream == stream).map(|n| format!("`{}`", n.name)).collect();
            let help = match aliases.is_empty() {
                true => "it is no step of this match".to_owned(),
                false => format!("its step is named {}", aliases.join(" or ")),
            };
            return self.report(diagnostic.help(help));
        }
        let names: Vec<String> = self.names.iter().map(|n| n.name.clone()).collect();
        let diagnostic = diagnostic
            .nearest(&first.name, names.iter().map(String::as_str))
            .or_help("a step's alias: `x as alias`");
        self.report(diagnostic)
    }
}
