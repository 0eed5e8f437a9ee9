//! One rule: its parts put together, and the checks that need all of it.

use super::steps::Parts;
use super::{Fail, Lowered, Lowering, rule_streams};
use crate::ast::{self, Expr, ExprKind, Ident};
use crate::check::Ty;
use crate::diagnostic::Diagnostic;
use crate::ir::{self, Condition, Key, Mode, ReasonPart, Rule, RuleStream, Term, Window};
use crate::source::Span;
use crate::types::{Literal, Type};

/// Where an expression stands, which decides what it can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `topic .. where`, `from .. where`.
    Filter,
    /// `where` of a step.
    Where,
    /// `where` of an absence or a `cancel on`.
    Absence,
    /// A bound that is read.
    Bound,
    /// Inside a window; the limit of `reaches`.
    Window,
    /// Inside an aggregate.
    Aggregate,
    /// Clauses after `match`.
    After,
}

/// What an expression can read.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) place: Place,
    /// Streams of the event looked at, in the module; several for `no one of`.
    pub(super) this: Vec<usize>,
    /// The step whose `where` it is.
    pub(super) own: Option<usize>,
    /// Steps with a smaller index can be read.
    pub(super) visible: usize,
    /// Inside an aggregate: over which step.
    pub(super) aggregate: Option<usize>,
}

impl Scope {
    pub(super) fn new(place: Place, this: &[usize], own: Option<usize>, visible: usize) -> Self {
        Self { place, this: this.to_vec(), own, visible, aggregate: None }
    }
}

/// A step while names are resolved.
pub(super) struct StepName {
    /// Alias, or the stream's name.
    pub(super) name: String,
    pub(super) alias: Option<Ident>,
    /// In the rule.
    pub(super) stream: usize,
    /// In the module.
    pub(super) module_stream: usize,
    /// It takes several events.
    pub(super) repeated: bool,
    pub(super) consecutive: bool,
    /// Its name means this step only.
    pub(super) nameable: bool,
    /// Steps of the set that it is a member of.
    pub(super) set: Option<std::ops::Range<usize>>,
}

/// `one of { .. } as alias`.
pub(super) struct SetName {
    pub(super) alias: Ident,
    /// Its steps.
    pub(super) members: std::ops::Range<usize>,
}

pub(super) struct RuleLowering<'m, 'a> {
    pub(super) all: &'m mut Lowering<'a>,
    pub(super) streams: Vec<RuleStream>,
    pub(super) names: Vec<StepName>,
    pub(super) sets: Vec<SetName>,
    pub(super) keys: Vec<Key>,
    pub(super) windows: Vec<Window>,
    /// The first window in a `where`.
    pub(super) window_in_where: Option<Span>,
    pub(super) latches: usize,
    /// Fields read without alias.
    pub(super) bare: Vec<String>,
    /// What was read that may be null and stands under no `??` or `is null`: where, and what.
    pub(super) unknowns: Vec<(Span, ir::Expr)>,
    /// What an `is null` looks at.
    pub(super) looked_at: Vec<ir::Expr>,
    /// Names of `let`s, which only clauses after `match` read.
    pub(super) lets: Vec<String>,
}

fn push_text(parts: &mut Vec<ReasonPart>, text: &str) {
    match parts.last_mut() {
        Some(ReasonPart::Text(last)) => last.push_str(text),
        _ => parts.push(ReasonPart::Text(text.to_owned())),
    }
}

/// `topic .. where`.
pub(super) fn topic_filter(all: &mut Lowering<'_>, stream: usize, e: &Expr) -> Option<ir::Expr> {
    let mut lowering = RuleLowering::new(all);
    let scope = Scope::new(Place::Filter, &[stream], None, 0);
    let (expr, ty) = lowering.expr(e, &scope, None).ok()?;
    lowering.need_bool(e, &ty).ok()?;
    Some(expr)
}

/// A rule; `None` if it has an error.
pub(super) fn lower(all: &mut Lowering<'_>, rule: &ast::Rule) -> Option<Rule> {
    let before = all.diagnostics.len();
    let outer = (!rule.params.is_empty()).then(|| (all.consts.clone(), all.written.clone()));
    let params = all.params(rule);
    let lowered = params.and_then(|params| RuleLowering::new(all).rule(rule, params));
    if let Some((consts, written)) = outer {
        all.consts = consts;
        all.written = written;
    }
    for diagnostic in all.diagnostics.iter_mut().skip(before) {
        // Text of a `def` or template: say whose rule it serves.
        let own = diagnostic.span.source == rule.span.source
            && (rule.span.start..=rule.span.end).contains(&diagnostic.span.start);
        if !own && let Some(help) = &mut diagnostic.help {
            help.push_str(&format!(" (found for rule `{}`)", rule.name.name));
        }
    }
    let errors = all.diagnostics.iter().skip(before).any(Diagnostic::is_error);
    lowered.ok().filter(|_| !errors)
}

impl<'m, 'a> RuleLowering<'m, 'a> {
    fn new(all: &'m mut Lowering<'a>) -> Self {
        Self {
            all,
            streams: Vec::new(),
            names: Vec::new(),
            sets: Vec::new(),
            keys: Vec::new(),
            windows: Vec::new(),
            window_in_where: None,
            latches: 0,
            bare: Vec::new(),
            unknowns: Vec::new(),
            looked_at: Vec::new(),
            lets: Vec::new(),
        }
    }

    fn rule(mut self, rule: &ast::Rule, params: Vec<(String, Literal)>) -> Lowered<Rule> {
        let before = self.all.diagnostics.len();
        let Some(pattern) = &rule.pattern else {
            let message = format!("rule `{}` matches nothing", rule.name.name);
            return Err(self.report(
                Diagnostic::error("E107", rule.name.span, message).help("add `match within 10m { .. }`"),
            ));
        };
        self.check_size(rule, pattern)?;
        self.lets = rule.lets.iter().map(|l| l.name.name.clone()).collect();
        self.collect_streams(rule)?;
        self.name_steps(rule, pattern)?;
        let step_keys = self.keys(rule, pattern)?;
        for key in &self.keys {
            self.all.learn("keys", &key.name, key.ty.clone());
        }
        self.filters(rule);
        let parts = self.steps(pattern, step_keys);
        let after = Scope::new(Place::After, &[], None, usize::MAX);
        for one in &rule.lets {
            let _ = self.expr(&one.value, &after, None);
        }
        let having = rule.having.as_ref().map_or_else(Vec::new, |e| self.condition(e, &after));
        let unless = rule.unless.as_ref().map_or_else(Vec::new, |e| self.unless(e, &after));
        let severity = rule.severity.as_ref().and_then(|e| self.severity(e, &after).ok());
        let score = rule.score.as_ref().and_then(|e| self.score(e, &after).ok());
        let reason = self.reason(rule, &after);
        let emit = self.pairs(&rule.emit, &after);
        let timeout = rule.timeout.as_ref().map(|(pairs, _)| self.pairs(pairs, &after));
        let cooldown = match &rule.cooldown {
            Some((e, _)) => self.constant_bound(e, "a duration, a `const` or a `param`").ok(),
            None => None,
        };
        let cooldown_per = self.cooldown_per(rule, &after);
        let overlap = self.overlap(rule, parts.as_ref().ok());
        self.check_timeout(rule, pattern);
        self.aliases_clear();
        let at_timeout = rule.timeout.iter().flat_map(|(pairs, _)| pairs);
        let emitted: Vec<&str> = rule.emit.iter().chain(at_timeout).map(|(n, _)| n.name.as_str()).collect();
        let tests: Vec<ir::Test> =
            rule.tests.iter().map(|t| self.all.test(t, &emitted, &self.keys)).collect();
        let within = match &pattern.within {
            Some(e) => Some(self.constant_bound(e, "a duration, or a bound on an arrow")?),
            None => None,
        };
        let parts = parts?;
        self.check_ends(pattern, &parts);
        self.check_width(&parts);
        // With a test left out, what is left may seem to mean something else.
        if !self.all.diagnostics.iter().skip(before).any(Diagnostic::is_error) {
            self.warn_about_match(rule, pattern, &parts, &having);
        }
        let Parts { steps, units, leading, trailing, cancels } = parts;
        self.warn(rule);
        let lowered = Rule {
            name: rule.name.name.clone(),
            text: self.all.slice(rule.span).to_owned(),
            title: rule.title.clone(),
            about: rule.about.clone(),
            owner: rule.owner.clone(),
            tags: rule.tags.iter().map(|t| t.name.clone()).collect(),
            mode: rule.mode.unwrap_or(Mode::Live),
            streams: std::mem::take(&mut self.streams),
            keys: std::mem::take(&mut self.keys),
            within,
            steps,
            units,
            leading,
            trailing,
            cancels,
            timeout,
            windows: std::mem::take(&mut self.windows),
            having,
            unless,
            severity,
            score,
            reason,
            emit,
            send: rule.send.clone(),
            cooldown,
            cooldown_per,
            overlap,
            params,
            reads_alerts: None,
            runbook: rule.runbook.clone(),
            version: rule.version.clone(),
            tests,
        };
        match lowered.roles() {
            roles if roles > ir::ROLES_MAX => Err(self.all.too_large(&rule.name, roles, "parts")),
            _ => Ok(lowered),
        }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) -> Fail {
        self.all.report(diagnostic)
    }

    /// `exec.host` for `host`, as in `distinct(host over 10m)`: no stream, but a field of one that the rule has named before.
    fn field_for_stream(&self, name: &str) -> Option<String> {
        if self.all.streams.iter().any(|stream| stream.name == name) {
            return None;
        }
        let named = self.streams.iter().filter_map(|s| self.all.streams.get(s.stream));
        let mut having = named.filter(|s| s.fields.iter().any(|field| field.path == [name]));
        having.next().map(|stream| format!("{}.{name}", stream.name))
    }

    fn collect_streams(&mut self, rule: &ast::Rule) -> Lowered<()> {
        let mut unknown: Vec<&str> = Vec::new();
        for name in rule_streams(rule) {
            if unknown.contains(&name.name.as_str()) {
                continue;
            }
            if let Some(field) = self.field_for_stream(&name.name) {
                let message = format!("no stream `{}`", name.name);
                let help = format!("it is a field: did you mean `{field}`?");
                self.report(Diagnostic::error("E202", name.span, message).help(help).replace(field));
                unknown.push(&name.name);
                continue;
            }
            match self.all.stream(name) {
                Ok(stream) => {
                    if !self.streams.iter().any(|s| s.stream == stream) {
                        self.streams.push(RuleStream { stream, filter: Vec::new(), keys: None });
                    }
                }
                Err(Fail) => unknown.push(&name.name),
            }
        }
        let broken = self.streams.iter().any(|s| self.all.broken.contains(&s.stream));
        if unknown.is_empty() && !broken { Ok(()) } else { Err(Fail) }
    }

    /// A stream of the rule by name; [`Self::collect_streams`] has seen them all.
    pub(super) fn rule_stream(&self, name: &str) -> Option<usize> {
        self.streams.iter().position(|s| self.all.streams.get(s.stream).is_some_and(|s| s.name == name))
    }

    fn filters(&mut self, rule: &ast::Rule) {
        let mut seen: Vec<&str> = Vec::new();
        for (name, condition) in &rule.from {
            if seen.contains(&name.name.as_str()) {
                self.report(
                    Diagnostic::error("E106", name.span, format!("`{}` is given twice", name.name))
                        .help("join the conditions by `and`"),
                );
            }
            seen.push(&name.name);
            let Some(index) = self.rule_stream(&name.name) else { continue };
            if let Some(condition) = condition
                && let Some(stream) = self.streams.get(index).map(|s| s.stream)
            {
                let scope = Scope::new(Place::Filter, &[stream], None, 0);
                let filter = self.condition(condition, &scope);
                if let Some(s) = self.streams.get_mut(index) {
                    s.filter = filter;
                }
            }
        }
    }

    /// Splits at top-level `and`s. Terms with errors are left out; the rule then is too.
    pub(super) fn condition(&mut self, e: &Expr, scope: &Scope) -> Condition {
        let mut terms = Vec::new();
        let from = self.unknowns.len();
        self.split(e, scope, &mut terms);
        self.warn_unknown(from, scope.place == Place::Absence);
        self.warn_never(&terms);
        if !matches!(scope.place, Place::Window | Place::Filter) {
            self.warn_new(e);
        }
        terms
    }

    fn split(&mut self, e: &Expr, scope: &Scope, terms: &mut Condition) {
        if let ExprKind::Binary(ast::Op::Plain(ir::BinaryOp::And), a, b) = &e.kind
            && !e.paren
        {
            self.split(a, scope, terms);
            self.split(b, scope, terms);
        } else if let Ok(term) = self.term(e, scope) {
            terms.push(term);
        }
    }

    fn term(&mut self, e: &Expr, scope: &Scope) -> Lowered<Term> {
        let expr = if let ExprKind::Binary(ast::Op::Reaches, value, limit) = &e.kind {
            self.reaches(e, value, limit, scope)?
        } else {
            let (expr, ty) = self.expr(e, scope, None)?;
            self.need_bool(e, &ty)?;
            expr
        };
        Ok(Term { expr, text: self.all.slice(e.span).to_owned(), span: e.span })
    }

    /// One term: `unless` is not true as a whole.
    fn unless(&mut self, e: &Expr, after: &Scope) -> Condition {
        let from = self.unknowns.len();
        let term = self.term(e, after);
        self.warn_unknown(from, true);
        self.warn_new(e);
        term.into_iter().collect()
    }

    fn severity(&mut self, e: &Expr, scope: &Scope) -> Lowered<ir::Expr> {
        let words = Type::Enum(["info", "low", "medium", "high", "critical"].map(str::to_owned).to_vec());
        let (expr, ty) = self.expr(e, scope, Some(&words))?;
        if !ty.is_text() {
            return Err(self.mismatch("a severity", e, &ty));
        }
        Ok(expr)
    }

    fn score(&mut self, e: &Expr, scope: &Scope) -> Lowered<ir::Expr> {
        let (expr, ty) = self.expr(e, scope, None)?;
        if !ty.is_numeric() {
            return Err(self.mismatch("a number", e, &ty));
        }
        Ok(expr)
    }

    fn reason(&mut self, rule: &ast::Rule, scope: &Scope) -> Vec<ReasonPart> {
        let mut parts = Vec::new();
        for part in &rule.reason {
            match part {
                ast::ReasonPart::Text(text) => push_text(&mut parts, text),
                ast::ReasonPart::Value(e) => {
                    // A duration that the rule names prints as it is written there: `90m`, not `1h30m`.
                    if let ExprKind::Path(path) = &e.kind
                        && let [name] = path.as_slice()
                        && !self.keys.iter().any(|k| k.name == name.name)
                        && let Some(written) = self.all.written.get(&name.name)
                    {
                        push_text(&mut parts, written);
                        continue;
                    }
                    if let Ok((expr, _)) = self.expr(e, scope, None) {
                        parts.push(ReasonPart::Value(expr));
                    }
                }
            }
        }
        parts
    }

    /// An object's values; those with errors are left out, and the rule then is too.
    fn pairs(&mut self, pairs: &[(Ident, Expr)], scope: &Scope) -> Vec<(String, ir::Expr)> {
        let mut lowered = Vec::new();
        for (name, e) in pairs {
            if let Ok((expr, ty)) = self.expr(e, scope, None) {
                self.all.learn_emitted(&name.name, &ty);
                lowered.push((name.name.clone(), expr));
            }
        }
        lowered
    }

    /// E223 for fields that are read bare.
    fn aliases_clear(&mut self) {
        let clash: Vec<Ident> = self
            .names
            .iter()
            .filter_map(|n| n.alias.clone())
            .chain(self.sets.iter().map(|s| s.alias.clone()))
            .filter(|a| self.bare.contains(&a.name))
            .collect();
        for alias in clash {
            self.two_meanings(&alias, "a step and a field");
        }
    }

    pub(super) fn two_meanings(&mut self, alias: &Ident, what: &str) {
        let message = format!("`{}` has two meanings: {what}", alias.name);
        self.report(Diagnostic::error("E223", alias.span, message).help("rename the step"));
    }

    fn warn(&mut self, rule: &ast::Rule) {
        let name = &rule.name;
        if rule.by.is_empty() {
            let message = format!("`{}` has no `by`: all events in one partition of work", name.name);
            self.report(
                Diagnostic::warning("W208", name.span, message)
                    .help("`by` and the field that its events share"),
            );
        }
        if rule.tests.is_empty() && rule.mode.unwrap_or(Mode::Live) == Mode::Live {
            let message = format!("`{}` has no test", name.name);
            self.report(Diagnostic::warning("W110", name.span, message).help("`test \"..\" { .. }`"));
        }
        if let Some(span) = self.window_in_where
            && self.latches == 0
            && rule.cooldown.is_none()
        {
            self.report(
                Diagnostic::warning("W210", span, "every event may alert")
                    .help("`cooldown 1h`, or `reaches` instead of `>=`"),
            );
        }
        for key in &rule.by {
            if let Some(entity) = key.name.name.strip_suffix("_id")
                && !key.paths.is_empty()
                && !entity.is_empty()
            {
                let message =
                    format!("key `{}` is named after a column: alerts join by key name", key.name.name);
                self.report(
                    Diagnostic::warning("W220", key.name.span, message)
                        .help(format!("name it `{entity}`"))
                        .replace(entity),
                );
            }
        }
    }

    pub(super) fn need_bool(&mut self, e: &Expr, ty: &Ty) -> Lowered<()> {
        if ty.is_bool() { Ok(()) } else { Err(self.mismatch("bool", e, ty)) }
    }

    /// E201.
    pub(super) fn mismatch(&mut self, expected: &str, e: &Expr, ty: &Ty) -> Fail {
        let text = self.all.slice(e.span).to_owned();
        let diagnostic =
            Diagnostic::error("E201", e.span, format!("expected {expected}, found {} `{text}`", ty.show()));
        let diagnostic = match (expected, ty) {
            ("duration", Ty::Of(Type::Int)) => {
                diagnostic.help(format!("did you mean `{text}s`?")).replace(format!("{text}s"))
            }
            ("bool", _) => diagnostic.help("a condition: compare it with something"),
            _ => diagnostic.help(format!("{expected} is needed here")),
        };
        self.report(diagnostic)
    }

    /// The value of an expression that is a constant already.
    pub(super) fn literal(expr: &ir::Expr) -> Option<&Literal> {
        match expr {
            ir::Expr::Literal(literal) => Some(literal),
            _ => None,
        }
    }
}
