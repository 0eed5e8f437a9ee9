//! `def`, `let` and `template` worked out on the tree, so that what follows sees plain rules.
//!
//! What is put in keeps the spans of its own text: a wrong field in a `def` is shown in the `def`, a wrong argument at the
//! call. INVARIANT: an expanded rule has no `uses`, calls no `def` and reads no `let`.

use std::collections::BTreeMap;

use super::calls::is_function;
use super::{Fail, Lowered};
use crate::ast::{
    Absence, Bound, Def, Expr, ExprKind, File, Ident, Let, Param, Rule, Template, Unit, UnitKind, Window,
};
use crate::diagnostic::Diagnostic;
use crate::ir::Arrow;

/// Most nodes of one rule's expressions, and the deepest.
const NODES: usize = 20_000;
const DEPTH: usize = 1_100;

/// What can be put in.
#[derive(Default)]
pub(super) struct Macros<'f> {
    pub(super) defs: BTreeMap<&'f str, &'f Def>,
    pub(super) templates: BTreeMap<&'f str, &'f Template>,
}

impl<'f> Macros<'f> {
    /// Those of all files; a name given twice keeps its first meaning and is in the second list, with the first.
    pub(super) fn new(files: &'f [File]) -> (Self, Vec<(&'f Ident, &'f Ident)>) {
        let mut macros = Self::default();
        let mut twice = Vec::new();
        for def in files.iter().flat_map(|f| &f.defs) {
            match macros.defs.get(def.name.name.as_str()) {
                Some(first) => twice.push((&def.name, &first.name)),
                None => drop(macros.defs.insert(&def.name.name, def)),
            }
        }
        for template in files.iter().flat_map(|f| &f.templates) {
            let name = &template.rule.name;
            match macros.templates.get(name.name.as_str()) {
                Some(first) => twice.push((name, &first.rule.name)),
                None => drop(macros.templates.insert(&name.name, template)),
            }
        }
        (macros, twice)
    }
}

/// Expands the expressions of one rule.
pub(super) struct Expander<'m, 'f> {
    macros: &'m Macros<'f>,
    lets: Vec<Let>,
    /// Names being worked out.
    open: Vec<String>,
    nodes: usize,
    /// How deep `expand` is in itself.
    level: usize,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// What a `def`'s parameters stand for.
type Arguments = Vec<(String, Expr)>;

impl<'m, 'f> Expander<'m, 'f> {
    pub(super) fn new(macros: &'m Macros<'f>) -> Self {
        Self { macros, lets: Vec::new(), open: Vec::new(), nodes: 0, level: 0, diagnostics: Vec::new() }
    }

    fn report(&mut self, diagnostic: Diagnostic) -> Fail {
        self.diagnostics.push(diagnostic);
        Fail
    }

    /// An expression outside the clauses after `match`: no `let`.
    pub(super) fn expr(&mut self, e: &Expr) -> Lowered<Expr> {
        let expanded = self.expand(e, &Vec::new(), false)?;
        self.shallow(&expanded)?;
        Ok(expanded)
    }

    /// The expression with another name for one thing it reads.
    pub(super) fn with_argument(&mut self, e: &Expr, name: &str, other: &Ident) -> Lowered<Expr> {
        let kind = ExprKind::Path(vec![other.clone()]);
        let value = Expr { kind, span: other.span, paren: false };
        self.expand(e, &vec![(name.to_owned(), value)], false)
    }

    fn after(&mut self, e: &Expr) -> Lowered<Expr> {
        let expanded = self.expand(e, &Vec::new(), true)?;
        self.shallow(&expanded)?;
        Ok(expanded)
    }

    fn shallow(&mut self, e: &Expr) -> Lowered<()> {
        if depth(e) <= DEPTH { Ok(()) } else { Err(self.too_large(e)) }
    }

    fn too_large(&mut self, e: &Expr) -> Fail {
        self.report(
            Diagnostic::error("E101", e.span, "expected a shorter expression")
                .help("what `def` and `let` stand for counts each time"),
        )
    }

    fn expand(&mut self, e: &Expr, arguments: &Arguments, lets: bool) -> Lowered<Expr> {
        self.nodes += 1;
        if self.nodes > NODES || self.level >= DEPTH {
            return Err(self.too_large(e));
        }
        self.level += 1;
        let expanded = self.expand_one(e, arguments, lets);
        self.level -= 1;
        expanded
    }

    fn expand_one(&mut self, e: &Expr, arguments: &Arguments, lets: bool) -> Lowered<Expr> {
        let kind = match &e.kind {
            ExprKind::Path(path) => return self.path(e, path, arguments, lets),
            ExprKind::Call(name, values) => {
                let values = self.all(values, arguments, lets)?;
                match self.macros.defs.get(name.name.as_str()).copied() {
                    Some(def) => return self.call(name, def, values, lets),
                    None => ExprKind::Call(name.clone(), values),
                }
            }
            ExprKind::Not(a) => ExprKind::Not(self.boxed(a, arguments, lets)?),
            ExprKind::Neg(a) => ExprKind::Neg(self.boxed(a, arguments, lets)?),
            ExprKind::IsNull(a) => ExprKind::IsNull(self.boxed(a, arguments, lets)?),
            ExprKind::Binary(op, a, b) => {
                // Both sides, so that both are reported.
                let (a, b) = (self.boxed(a, arguments, lets), self.boxed(b, arguments, lets));
                ExprKind::Binary(*op, a?, b?)
            }
            ExprKind::If(a, b, c) => ExprKind::If(
                self.boxed(a, arguments, lets)?,
                self.boxed(b, arguments, lets)?,
                self.boxed(c, arguments, lets)?,
            ),
            ExprKind::Table(name, Some(key), column) => {
                ExprKind::Table(name.clone(), Some(self.boxed(key, arguments, lets)?), column.clone())
            }
            ExprKind::List(items) => ExprKind::List(self.all(items, arguments, lets)?),
            ExprKind::Object(pairs) => ExprKind::Object(self.pairs(pairs, arguments, lets)?),
            ExprKind::Window(window) => self.window(window, arguments)?,
            other => other.clone(),
        };
        Ok(Expr { kind, span: e.span, paren: e.paren })
    }

    fn boxed(&mut self, e: &Expr, arguments: &Arguments, lets: bool) -> Lowered<Box<Expr>> {
        self.expand(e, arguments, lets).map(Box::new)
    }

    fn all(&mut self, items: &[Expr], arguments: &Arguments, lets: bool) -> Lowered<Vec<Expr>> {
        items.iter().map(|e| self.expand(e, arguments, lets)).collect()
    }

    fn pairs(
        &mut self,
        pairs: &[(Ident, Expr)],
        arguments: &Arguments,
        lets: bool,
    ) -> Lowered<Vec<(Ident, Expr)>> {
        pairs.iter().map(|(name, e)| Ok((name.clone(), self.expand(e, arguments, lets)?))).collect()
    }

    /// Inside a window no `let` is read: it may hold what the match took.
    fn window(&mut self, window: &Window, arguments: &Arguments) -> Lowered<ExprKind> {
        let before = window.before.as_ref().map(|name| match named(arguments, name) {
            Some(Expr { kind: ExprKind::Path(path), .. }) if path.len() == 1 => {
                path.first().unwrap_or(name).clone()
            }
            _ => name.clone(),
        });
        let condition = window.condition.as_ref().map(|c| self.expand(c, arguments, false)).transpose()?;
        Ok(ExprKind::Window(Box::new(Window {
            function: window.function.clone(),
            argument: self.expand(&window.argument, arguments, false)?,
            over: self.expand(&window.over, arguments, false)?,
            before,
            condition,
        })))
    }

    fn path(&mut self, e: &Expr, path: &[Ident], arguments: &Arguments, lets: bool) -> Lowered<Expr> {
        let Some((first, rest)) = path.split_first() else { return Ok(e.clone()) };
        if let Some(argument) = named(arguments, first) {
            if rest.is_empty() {
                // What is put in counts each time.
                self.nodes = self.nodes.saturating_add(size(argument));
                if self.nodes > NODES {
                    return Err(self.too_large(e));
                }
                return Ok(argument.clone());
            }
            let ExprKind::Path(whole) = &argument.kind else {
                let message = format!("`{}` is a value here: it has no field", first.name);
                self.report(
                    Diagnostic::error("E201", argument.span, message)
                        .help("give a step, a stream or an alias as the argument"),
                );
                return Err(Fail);
            };
            let whole = whole.iter().chain(rest).cloned().collect();
            return Ok(Expr { kind: ExprKind::Path(whole), span: e.span, paren: e.paren });
        }
        if lets && rest.is_empty() {
            let found = self.lets.iter().find(|l| l.name.name == first.name).cloned();
            if let Some(found) = found {
                let mut inner = self.inside(&found.name, |me| me.expand(&found.value, &Vec::new(), true))?;
                inner.paren = false;
                return Ok(inner);
            }
        }
        Ok(e.clone())
    }

    /// E209 where a name is reached from itself.
    fn inside<T>(&mut self, name: &Ident, f: impl FnOnce(&mut Self) -> Lowered<T>) -> Lowered<T> {
        if self.open.contains(&name.name) {
            let message = format!("`{}` is defined by itself", name.name);
            return Err(self.report(Diagnostic::error("E209", name.span, message).help("break the circle")));
        }
        self.open.push(name.name.clone());
        let result = f(self);
        self.open.pop();
        result
    }

    fn call(&mut self, name: &Ident, def: &Def, values: Vec<Expr>, lets: bool) -> Lowered<Expr> {
        if def.parameters.len() != values.len() {
            let names: Vec<&str> = def.parameters.iter().map(|p| p.name.as_str()).collect();
            let what = match names.len() {
                1 => "one thing".to_owned(),
                n => format!("{n} things"),
            };
            let message = format!("`{}` takes {what}", name.name);
            let help = format!("`{}({})`", name.name, names.join(", "));
            return Err(self.report(Diagnostic::error("E207", name.span, message).help(help)));
        }
        let arguments: Arguments = def.parameters.iter().map(|p| p.name.clone()).zip(values).collect();
        let mut inner = self.inside(&def.name, |me| me.expand(&def.body, &arguments, lets))?;
        // Arguments are put in as they are, so the result may be deeper than the way here.
        self.shallow(&inner)?;
        inner.paren = false;
        Ok(inner)
    }

    /// Circles in `def`s, whether or not they are called; a `def` that hides a function.
    pub(super) fn check_defs(&mut self) {
        for def in self.macros.defs.values() {
            if is_function(&def.name.name) {
                let message = format!("`{}` is already declared: it is a function", def.name.name);
                self.report(Diagnostic::error("E109", def.name.span, message).help("rename it"));
            }
            self.nodes = 0;
            let _ = self.inside(&def.name, |me| me.expand(&def.body, &Vec::new(), false));
        }
    }

    /// The rule with its template's clauses, and with `def`s and `let`s put in.
    pub(super) fn rule(&mut self, rule: &Rule) -> Lowered<Rule> {
        let mut rule = self.with_template(rule)?;
        self.nodes = 0;
        self.lets.clone_from(&rule.lets);
        let errors = self.diagnostics.len();
        for (at, one) in rule.lets.iter().enumerate() {
            if rule.lets.iter().take(at).any(|other| other.name.name == one.name.name) {
                let message = format!("`{}` is given twice", one.name.name);
                self.report(Diagnostic::error("E106", one.name.span, message).help("rename one of them"));
            }
        }
        self.clauses(&mut rule)?;
        if self.diagnostics.len() == errors { Ok(rule) } else { Err(Fail) }
    }

    fn clauses(&mut self, rule: &mut Rule) -> Lowered<()> {
        for (_, condition) in &mut rule.from {
            self.replace(condition, false)?;
        }
        if let Some(pattern) = &mut rule.pattern {
            self.replace(&mut pattern.within, false)?;
            let mut units = Vec::new();
            for unit in std::mem::take(&mut pattern.units) {
                self.unit(unit, &mut units)?;
            }
            pattern.units = units;
            for cancel in &mut pattern.cancels {
                self.replace(&mut cancel.condition, false)?;
            }
        }
        for param in &mut rule.params {
            self.replace(&mut param.value, false)?;
        }
        for one in &mut rule.lets {
            let name = one.name.clone();
            one.value = self.inside(&name, |me| me.after(&one.value))?;
        }
        for e in [&mut rule.having, &mut rule.unless, &mut rule.severity, &mut rule.score] {
            self.replace(e, true)?;
        }
        for part in &mut rule.reason {
            if let crate::ast::ReasonPart::Value(e) = part {
                *e = self.after(e)?;
            }
        }
        let timeout = rule.timeout.iter_mut().flat_map(|(pairs, _)| pairs);
        for (_, e) in rule.emit.iter_mut().chain(timeout) {
            *e = self.after(e)?;
        }
        if let Some((e, _)) = &mut rule.cooldown {
            *e = self.expr(e)?;
        }
        Ok(())
    }

    fn replace(&mut self, e: &mut Option<Expr>, after: bool) -> Lowered<()> {
        if let Some(e) = e {
            *e = if after { self.after(e)? } else { self.expr(e)? };
        }
        Ok(())
    }

    fn bound(&mut self, bound: &mut Option<Bound>) -> Lowered<()> {
        if let Some(bound) = bound {
            bound.value = self.expr(&bound.value)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &mut crate::ast::Event) -> Lowered<()> {
        self.replace(&mut event.condition, false)?;
        if let Some((quiet, _)) = &mut event.quiet {
            quiet.value = self.expr(&quiet.value)?;
        }
        Ok(())
    }

    /// A condition on `no one of { a, b }` reads fields of each: it becomes an absence for each, side by side.
    fn unit(&mut self, mut unit: Unit, out: &mut Vec<Unit>) -> Lowered<()> {
        self.bound(&mut unit.after)?;
        self.bound(&mut unit.within)?;
        match &mut unit.kind {
            UnitKind::Event(event) => self.event(event)?,
            UnitKind::Set(set) => {
                for member in &mut set.members {
                    self.event(member)?;
                }
            }
            UnitKind::Absence(absence) => {
                self.bound(&mut absence.duration)?;
                self.replace(&mut absence.condition, false)?;
                if absence.streams.len() > 1 && absence.condition.is_some() {
                    let absence = absence.clone();
                    for (at, stream) in absence.streams.iter().enumerate() {
                        let mut one = unit.clone();
                        one.kind =
                            UnitKind::Absence(Absence { streams: vec![stream.clone()], ..absence.clone() });
                        if at > 0 {
                            (one.arrow, one.arrow_span) = (Arrow::Then, None);
                        }
                        out.push(one);
                    }
                    return Ok(());
                }
            }
        }
        out.push(unit);
        Ok(())
    }

    /// `uses`: the template's clauses, those of the rule itself instead where it has them; parameters become `param`s.
    fn with_template(&mut self, rule: &Rule) -> Lowered<Rule> {
        let Some(uses) = &rule.uses else { return Ok(rule.clone()) };
        let Some(template) = self.macros.templates.get(uses.template.name.as_str()).copied() else {
            let message = format!("no template `{}`", uses.template.name);
            let diagnostic = Diagnostic::error("E208", uses.template.span, message)
                .nearest(&uses.template.name, self.macros.templates.keys().copied())
                .or_help(format!("declare it: `template {}(limit: int = 4) {{ .. }}`", uses.template.name));
            return Err(self.report(diagnostic));
        };
        let params = self.parameters(template, uses)?;
        let base = template.rule.clone();
        let mut out = rule.clone();
        out.uses = None;
        out.params = params;
        let own = |name: &Ident| rule.params.iter().any(|p| p.name.name == name.name);
        out.params.extend(base.params.into_iter().filter(|p| !own(&p.name)));
        out.params.extend(rule.params.iter().cloned());
        let lets: Vec<Let> =
            base.lets.into_iter().filter(|l| !rule.lets.iter().any(|o| o.name.name == l.name.name)).collect();
        out.lets.splice(0..0, lets);
        out.tests.splice(0..0, base.tests);
        out.title = out.title.or(base.title);
        out.about = out.about.or(base.about);
        out.owner = out.owner.or(base.owner);
        out.runbook = out.runbook.or(base.runbook);
        out.version = out.version.or(base.version);
        out.mode = out.mode.or(base.mode);
        out.pattern = out.pattern.or(base.pattern);
        out.having = out.having.or(base.having);
        out.unless = out.unless.or(base.unless);
        out.severity = out.severity.or(base.severity);
        out.score = out.score.or(base.score);
        out.timeout = out.timeout.or(base.timeout);
        out.overlap = out.overlap.or(base.overlap);
        if out.cooldown.is_none() {
            out.cooldown = base.cooldown;
            out.cooldown_per = base.cooldown_per;
        }
        or_base(&mut out.tags, base.tags);
        or_base(&mut out.from, base.from);
        or_base(&mut out.by, base.by);
        or_base(&mut out.reason, base.reason);
        or_base(&mut out.emit, base.emit);
        or_base(&mut out.send, base.send);
        Ok(out)
    }

    /// The template's parameters with the values that `uses` gives.
    fn parameters(&mut self, template: &Template, uses: &crate::ast::Uses) -> Lowered<Vec<Param>> {
        let names: Vec<&str> = template.parameters.iter().map(|p| p.name.name.as_str()).collect();
        let signature = format!("`{}({}: ..)`", uses.template.name, names.join(": .., "));
        let errors = self.diagnostics.len();
        for (name, _) in &uses.arguments {
            if !names.contains(&name.name.as_str()) {
                let message = format!("`{}` takes {}", uses.template.name, list(&names));
                let diagnostic = Diagnostic::error("E207", name.span, message)
                    .nearest(&name.name, names.iter().copied())
                    .or_help(signature.clone());
                self.report(diagnostic);
            }
        }
        let mut params = Vec::new();
        for parameter in &template.parameters {
            let mut param = parameter.clone();
            if let Some((_, value)) = uses.arguments.iter().find(|(n, _)| n.name == param.name.name) {
                param.value = Some(value.clone());
            }
            if param.value.is_none() && self.diagnostics.len() == errors {
                let message = format!("`{}` takes {}", uses.template.name, list(&names));
                let help = format!("say `{}: ..`", param.name.name);
                self.report(Diagnostic::error("E207", uses.span, message).help(help));
            }
            params.push(param);
        }
        if self.diagnostics.len() == errors { Ok(params) } else { Err(Fail) }
    }
}

fn or_base<T>(own: &mut Vec<T>, base: Vec<T>) {
    if own.is_empty() {
        *own = base;
    }
}

fn list(names: &[&str]) -> String {
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => format!("`{last}`"),
        Some((last, most)) => format!("`{}` and `{last}`", most.join("`, `")),
    }
}

fn named<'a>(arguments: &'a Arguments, name: &Ident) -> Option<&'a Expr> {
    arguments.iter().find(|(n, _)| *n == name.name).map(|(_, e)| e)
}

/// How many nodes an expression has.
fn size(e: &Expr) -> usize {
    let all = |items: &[Expr]| items.iter().map(size).sum::<usize>();
    1 + match &e.kind {
        ExprKind::Not(a) | ExprKind::Neg(a) | ExprKind::IsNull(a) | ExprKind::Table(_, Some(a), _) => size(a),
        ExprKind::Binary(_, a, b) => size(a) + size(b),
        ExprKind::If(a, b, c) => size(a) + size(b) + size(c),
        ExprKind::List(items) | ExprKind::Call(_, items) => all(items),
        ExprKind::Object(pairs) => pairs.iter().map(|(_, e)| size(e)).sum(),
        ExprKind::Window(w) => size(&w.argument) + size(&w.over) + w.condition.as_ref().map_or(0, size),
        _ => 0,
    }
}

fn depth(e: &Expr) -> usize {
    let deepest = |items: &[&Expr]| items.iter().map(|e| depth(e)).max().unwrap_or(0);
    1 + match &e.kind {
        ExprKind::Not(a) | ExprKind::Neg(a) | ExprKind::IsNull(a) | ExprKind::Table(_, Some(a), _) => {
            depth(a)
        }
        ExprKind::Binary(_, a, b) => depth(a).max(depth(b)),
        ExprKind::If(a, b, c) => deepest(&[a, b, c]),
        ExprKind::List(items) | ExprKind::Call(_, items) => items.iter().map(depth).max().unwrap_or(0),
        ExprKind::Object(pairs) => pairs.iter().map(|(_, e)| depth(e)).max().unwrap_or(0),
        ExprKind::Window(w) => {
            depth(&w.argument).max(depth(&w.over)).max(w.condition.as_ref().map_or(0, depth))
        }
        _ => 0,
    }
}
