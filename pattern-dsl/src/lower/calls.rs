//! Functions, aggregates over steps, trends, and windows.

use super::functions::FUNCTIONS;
use super::names::Typed;
use super::rule::{Place, RuleLowering, Scope};
use super::streams::window_stream;
use super::{Fail, Lowered};
use crate::ast::{self, ExprKind, Ident};
use crate::check::{self, INT, Ty};
use crate::diagnostic::Diagnostic;
use crate::ir::{Aggregate, Expr, Window};

const AGGREGATES: &[(&str, Aggregate)] = &[
    ("count", Aggregate::Count),
    ("sum", Aggregate::Sum),
    ("avg", Aggregate::Avg),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("distinct", Aggregate::Distinct),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
    ("collect", Aggregate::Collect),
    ("median", Aggregate::Median),
    ("stddev", Aggregate::Stddev),
];

/// A name that a `def` cannot take.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(n, _)| *n == name) || aggregate_named(name).is_some()
}

fn aggregate_named(name: &str) -> Option<Aggregate> {
    AGGREGATES.iter().find(|(n, _)| *n == name).map(|(_, a)| *a)
}

/// The aggregate that gives the type, also where there is nothing to sum.
fn of_type(kind: Aggregate, result: &Ty) -> Aggregate {
    if kind == Aggregate::Sum && *result == check::DURATION { Aggregate::SumDurations } else { kind }
}

impl RuleLowering<'_, '_> {
    pub(super) fn call(
        &mut self,
        e: &ast::Expr,
        name: &Ident,
        arguments: &[ast::Expr],
        scope: &Scope,
    ) -> Lowered<Typed> {
        if let Some(lowered) = self.function(e, name, arguments, scope) {
            return lowered;
        }
        match aggregate_named(&name.name) {
            Some(kind) => self.aggregate(kind, name, arguments, scope),
            None => Err(self.unknown_function(name)),
        }
    }

    fn unknown_function(&mut self, name: &Ident) -> Fail {
        let defs = self.all.macros.defs.keys().copied();
        let known = AGGREGATES.iter().map(|(n, _)| *n).chain(FUNCTIONS.iter().map(|(n, _)| *n)).chain(defs);
        let diagnostic = Diagnostic::error("E207", name.span, format!("no function `{}`", name.name))
            .nearest(&name.name, known)
            .or_help(match name.name.as_str() {
                "mean" | "average" => "`avg`",
                "len" | "size" => "`length(text)`, `count(step)`",
                "unique" | "uniq" | "count_distinct" => "`distinct`",
                "weekday" => "`day(ts, zone)`: 1 is Monday",
                "geo_distance" | "distance" => "`distance_km`",
                _ => "count sum avg min max distinct first last collect median stddev ratio abs lower upper length distance_km speed_kmh hour day cidr instant is_new prev rising falling changed",
            });
        self.report(diagnostic)
    }

    /// E207.
    pub(super) fn takes(&mut self, name: &Ident, what: &str, signature: &str) -> Fail {
        let message = format!("`{}` takes {what}", name.name);
        self.report(Diagnostic::error("E207", name.span, message).help(format!("`{signature}`")))
    }

    /// The step that an aggregate is over: of those its argument names, a repeated one first.
    fn aggregated_step(&self, argument: &ast::Expr) -> Option<(usize, Ident)> {
        let mut found: Option<(usize, Ident)> = None;
        argument.walk(&mut |e| {
            if let ExprKind::Path(path) = &e.kind
                && let Some(first) = path.first()
                && let Some(step) = self.step_named(&first.name)
            {
                let repeated = |step: usize| self.names.get(step).is_some_and(|n| n.repeated);
                if found.as_ref().is_none_or(|(old, _)| !repeated(*old) && repeated(step)) {
                    found = Some((step, first.clone()));
                }
            }
        });
        found
    }

    fn aggregate(
        &mut self,
        kind: Aggregate,
        name: &Ident,
        arguments: &[ast::Expr],
        scope: &Scope,
    ) -> Lowered<Typed> {
        let signature = if kind == Aggregate::Count {
            "count(step)".to_owned()
        } else {
            format!("{}(step.field)", name.name)
        };
        let [argument] = arguments else {
            return Err(self.takes(name, "one thing", &signature));
        };
        if let Some((set, set_name)) = self.set_in(argument) {
            return self.set_aggregate(set, &set_name, |this, step| {
                this.aggregate_over(kind, name, argument, (step, &set_name), scope)
            });
        }
        let target = self.aggregated_step(argument);
        let Some((step, step_name)) = target else {
            let stream =
                window_stream(argument).map(|i| i.name.clone()).filter(|n| self.rule_stream(n).is_some());
            let example = match (kind, stream) {
                (Aggregate::Count, Some(stream)) => format!("count({stream} over 1h)"),
                (_, Some(stream)) => format!("{}({stream}.field over 1h)", name.name),
                _ => signature,
            };
            return Err(self.takes(name, "a step of this match, or a stream `over` a time", &example));
        };
        self.aggregate_over(kind, name, argument, (step, &step_name), scope)
    }

    /// An aggregate over what one step took; `step_name` is how the argument calls it.
    fn aggregate_over(
        &mut self,
        kind: Aggregate,
        name: &Ident,
        argument: &ast::Expr,
        (step, step_name): (usize, &Ident),
        scope: &Scope,
    ) -> Lowered<Typed> {
        let alone = matches!(&argument.kind, ExprKind::Path(p) if p.len() == 1);
        if alone != (kind == Aggregate::Count) {
            let what = if alone { "a field of the step" } else { "a step" };
            let example = if alone {
                format!("{}({}.field)", name.name, step_name.name)
            } else {
                format!("count({})", step_name.name)
            };
            return Err(self.takes(name, what, &example));
        }
        match scope.place {
            Place::Window | Place::Filter | Place::Aggregate => {
                let message = format!("`{}` over a step cannot stand here", name.name);
                return Err(
                    self.report(Diagnostic::error("E207", name.span, message).help("test it in `having`"))
                );
            }
            Place::Where
                if scope.own == Some(step) && !self.names.get(step).is_some_and(|n| n.consecutive) =>
            {
                return Err(self.needs_consecutive(name));
            }
            Place::Where | Place::Absence | Place::Bound
                if step >= scope.visible && scope.own != Some(step) =>
            {
                return Err(self.too_early(step, step_name, scope));
            }
            _ => {}
        }
        if alone {
            return Ok((Expr::Aggregate(kind, step, None), INT));
        }
        let inner = Scope {
            place: Place::Aggregate,
            this: Vec::new(),
            own: None,
            visible: scope.visible,
            aggregate: Some(step),
        };
        let unknowns = self.unknowns.len();
        let (lowered, ty) = self.expr(argument, &inner, None)?;
        self.unknowns.truncate(unknowns);
        let Some(result) = check::aggregate(kind, &ty) else {
            return Err(self.mismatch("a number", argument, &ty));
        };
        Ok((Expr::Aggregate(of_type(kind, &result), step, Some(Box::new(lowered))), result))
    }

    pub(super) fn window(&mut self, e: &ast::Expr, window: &ast::Window, scope: &Scope) -> Lowered<Typed> {
        let name = &window.function;
        if name.name == "is_new" {
            return self.is_new(e, window, scope);
        }
        let Some(kind) = aggregate_named(&name.name) else {
            return Err(self.unknown_function(name));
        };
        if !matches!(scope.place, Place::Where | Place::Absence | Place::After) {
            let place = match scope.place {
                Place::Filter => "in a filter of a stream",
                Place::Window => "inside another",
                Place::Aggregate => "inside an aggregate over a step",
                _ => "in a bound",
            };
            let message = format!("a window cannot stand {place}");
            return Err(self.report(
                Diagnostic::error("E207", e.span, message)
                    .help("test it in the `where` of a step or in `having`"),
            ));
        }
        let named = window_stream(&window.argument);
        let Some(stream) = named.and_then(|n| self.rule_stream(&n.name)) else {
            return Err(self.takes(
                name,
                "a stream or its field",
                &format!("{}(stream.field over 1h)", name.name),
            ));
        };
        let stream_name = named.map(|n| n.name.clone()).unwrap_or_default();
        let module_stream = self.streams.get(stream).map(|s| s.stream).ok_or(Fail)?;
        let alone = matches!(&window.argument.kind, ExprKind::Path(p) if p.len() == 1);
        if alone != (kind == Aggregate::Count) {
            let example = if alone {
                format!("{}({stream_name}.field over 1h)", name.name)
            } else {
                format!("count({stream_name} over 1h)")
            };
            return Err(self.takes(name, if alone { "a field" } else { "a stream" }, &example));
        }
        let span = self.all.bound(&window.over);
        let before = match &window.before {
            Some(step) => Some(self.before(step, scope)?),
            None => None,
        };
        let inner = Scope::new(Place::Window, &[module_stream], None, 0);
        let unknowns = self.unknowns.len();
        let (mut result, mut kind) = (INT, kind);
        let mut argument = None;
        if !alone {
            let (lowered, ty) = self.expr(&window.argument, &inner, None)?;
            result = match check::aggregate(kind, &ty) {
                Some(result) => result,
                None => return Err(self.mismatch("a number", &window.argument, &ty)),
            };
            kind = of_type(kind, &result);
            argument = Some(lowered);
        }
        let filter = window.condition.as_ref().map_or_else(Vec::new, |c| self.condition(c, &inner));
        self.unknowns.truncate(unknowns);
        if scope.place == Place::Where && self.window_in_where.is_none() {
            self.window_in_where = Some(e.span);
        }
        let text = self.all.slice(e.span).to_owned();
        let lowered = Window { stream, aggregate: kind, argument, filter, span: span?, before, text };
        Ok((Expr::Window(self.intern(lowered)), result))
    }

    /// Equal windows are one.
    fn intern(&mut self, window: Window) -> usize {
        let same = |other: &Window| {
            let plain = |w: &Window| Window { text: String::new(), filter: Vec::new(), ..w.clone() };
            plain(other) == plain(&window)
                && other.filter.len() == window.filter.len()
                && other.filter.iter().zip(&window.filter).all(|(a, b)| a.expr == b.expr)
        };
        if let Some(index) = self.windows.iter().position(same) {
            return index;
        }
        self.windows.push(window);
        self.windows.len() - 1
    }

    fn before(&mut self, name: &Ident, scope: &Scope) -> Lowered<usize> {
        match self.step_named(&name.name) {
            Some(step)
                if matches!(scope.place, Place::Where | Place::Absence)
                    && scope.own != Some(step)
                    && step >= scope.visible =>
            {
                Err(self.too_early(step, name, scope))
            }
            Some(step) => Ok(step),
            None => {
                let names: Vec<String> = self.names.iter().map(|n| n.name.clone()).collect();
                let diagnostic =
                    Diagnostic::error("E203", name.span, format!("`{}` is not known here", name.name))
                        .nearest(&name.name, names.iter().map(String::as_str))
                        .or_help("`before` takes a step of this match");
                Err(self.report(diagnostic))
            }
        }
    }
}
