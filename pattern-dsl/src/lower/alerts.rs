//! The stream `alert`: alerts as events of rules in higher strata (language section 5.2, "Alerts as events").
//!
//! Its fields are those that rules read: the types of `keys.x` and `data.x` are those of the keys and emitted values of
//! that name. Rules that read no alerts are lowered first, the others by stratum.

use std::collections::BTreeMap;

use super::{Lowering, rule, rule_streams};
use crate::Environment;
use crate::ast::{self, Expr, ExprKind, Ident, Op, UnitKind};
use crate::check::{Ty, join};
use crate::diagnostic::{Diagnostic, nearest};
use crate::ir::{BinaryOp, Field, Rule, Stream, TimeField, TimeFormat};
use crate::source::Span;
use crate::types::{Literal, Type};

/// Its name.
pub(crate) const ALERT: &str = "alert";

/// What keys and emitted values of a name hold: by `keys` or `data`, and the name.
pub(super) type AlertTypes = BTreeMap<(&'static str, String), Type>;

/// Names of rules as they are written, with where.
type Names = Vec<(String, Span)>;

fn words(words: &[&str]) -> Type {
    Type::Enum(words.iter().map(|w| (*w).to_owned()).collect())
}

fn field(path: &[&str], ty: Type, nullable: bool) -> Field {
    Field { path: path.iter().map(|p| (*p).to_owned()).collect(), ty, nullable, mask: false }
}

fn kind_of(word: &str) -> Option<&'static str> {
    ["keys", "data"].into_iter().find(|kind| *kind == word)
}

/// The stream without keys and data.
fn stream() -> Stream {
    Stream {
        name: ALERT.to_owned(),
        topic: None,
        topic_filter: None,
        key: None,
        id: None,
        dedupe: None,
        fields: vec![
            field(&["rule"], Type::String, false),
            field(&["severity"], words(&["info", "low", "medium", "high", "critical"]), false),
            field(&["score"], Type::Decimal, false),
            field(&["mode"], words(&["live", "shadow"]), false),
        ],
        time: TimeField {
            path: vec!["ts".to_owned()],
            format: TimeFormat::Auto,
            zone: None,
            in_order: false,
        },
        late: 0,
        idle: 60_000_000,
        declared: true,
    }
}

/// The rule reads alerts.
pub(super) fn reads_alerts(rule: &ast::Rule) -> bool {
    rule_streams(rule).iter().any(|name| name.name == ALERT)
}

/// Every expression of a rule.
fn each_expr<'a>(rule: &'a ast::Rule, f: &mut dyn FnMut(&'a Expr)) {
    let mut walk = |e: &'a Expr| e.walk(f);
    rule.from.iter().filter_map(|(_, c)| c.as_ref()).for_each(&mut walk);
    for unit in rule.pattern.iter().flat_map(|p| &p.units) {
        [&unit.after, &unit.within].into_iter().flatten().for_each(|b| walk(&b.value));
        match &unit.kind {
            UnitKind::Absence(absence) => {
                absence.condition.iter().for_each(&mut walk);
                absence.duration.iter().for_each(|b| walk(&b.value));
            }
            _ => {
                for event in super::steps::members(unit) {
                    event.condition.iter().for_each(&mut walk);
                    event.quiet.iter().for_each(|(b, _)| walk(&b.value));
                }
            }
        }
    }
    rule.pattern.iter().flat_map(|p| &p.cancels).filter_map(|c| c.condition.as_ref()).for_each(&mut walk);
    [&rule.having, &rule.unless, &rule.severity, &rule.score].into_iter().flatten().for_each(&mut walk);
    let timeout = rule.timeout.iter().flat_map(|(pairs, _)| pairs);
    rule.emit.iter().chain(timeout).for_each(|(_, e)| walk(e));
    for part in &rule.reason {
        if let ast::ReasonPart::Value(e) = part {
            walk(e);
        }
    }
}

/// Paths of `keys.x` and `data.x` that the rule reads.
fn read_paths(rule: &ast::Rule, out: &mut Vec<Vec<String>>) {
    let mut found = |path: &[Ident]| {
        let at = path.iter().take(2).position(|part| part.name == "keys" || part.name == "data");
        if let Some(at) = at
            && path.len() > at + 1
        {
            let names: Vec<String> = path.iter().skip(at).map(|part| part.name.clone()).collect();
            if !out.contains(&names) {
                out.push(names);
            }
        }
    };
    each_expr(rule, &mut |e| {
        if let ExprKind::Path(path) = &e.kind {
            found(path);
        }
    });
    rule.by.iter().flat_map(|key| &key.paths).for_each(|path| found(path));
    rule.cooldown_per.iter().for_each(|path| found(path));
}

/// The conditions under which the rule reads alerts, one for each place; none = unconditionally.
fn alert_conditions(rule: &ast::Rule) -> Vec<Option<&Expr>> {
    let mut out = Vec::new();
    let is_alert = |name: &Ident| name.name == ALERT;
    for unit in rule.pattern.iter().flat_map(|p| &p.units) {
        match &unit.kind {
            UnitKind::Absence(absence) if absence.streams.iter().any(is_alert) => {
                out.push(absence.condition.as_ref());
            }
            _ => {
                for event in super::steps::members(unit).iter().filter(|e| is_alert(&e.stream)) {
                    out.push(event.condition.as_ref());
                }
            }
        }
    }
    for cancel in rule.pattern.iter().flat_map(|p| &p.cancels).filter(|c| is_alert(&c.stream)) {
        out.push(cancel.condition.as_ref());
    }
    each_expr(rule, &mut |e| {
        if let ExprKind::Window(window) = &e.kind
            && super::streams::window_stream(&window.argument).is_some_and(is_alert)
        {
            out.push(window.condition.as_ref());
        }
    });
    out
}

impl Lowering<'_> {
    /// E109: the name is taken.
    pub(super) fn no_stream_alert(&mut self, name: &Ident) {
        let message = "`alert` is already declared: it is the stream of alerts";
        self.report(Diagnostic::error("E109", name.span, message).help("rename the stream"));
    }

    /// Takes over what is known of alerts from outside, for what no rule here says.
    pub(super) fn known_alerts(&mut self, environment: &Environment) {
        for field in environment.streams.iter().filter(|s| s.name == ALERT).flat_map(|s| &s.fields) {
            if let [kind, name] = field.path.as_slice()
                && let Some(kind) = kind_of(kind)
            {
                self.outside_alert_types.insert((kind, name.clone()), field.ty.clone());
            }
        }
    }

    /// A key or emitted value of this name has this type; of several types it is text, of several of numbers the wider.
    pub(super) fn learn(&mut self, kind: &str, name: &str, ty: Type) {
        let Some(kind) = kind_of(kind) else { return };
        let known = self.alert_types.entry((kind, name.to_owned())).or_insert_with(|| ty.clone());
        if *known != ty {
            let (a, b) = (Ty::from(known.clone()), Ty::from(ty));
            *known = match join(&a, &b) {
                Some(Ty::Of(wider)) if a.is_numeric() && b.is_numeric() => wider,
                _ => Type::String,
            };
        }
    }

    /// As [`Self::learn`], of an emitted value.
    pub(super) fn learn_emitted(&mut self, name: &str, ty: &Ty) {
        let plain = |ty: &Ty| match ty {
            Ty::Of(ty) => Some(ty.clone()),
            _ => None,
        };
        let ty = match ty {
            Ty::List(item) => plain(item).map(|item| Type::List(Box::new(item))),
            other => plain(other),
        };
        if let Some(ty) = ty {
            self.learn("data", name, ty);
        }
    }

    /// Lowers rules: first those that read no alerts. `None` where a rule has an error, or has none but must not be used.
    pub(super) fn lower_all(&mut self, rules: &[Option<ast::Rule>]) -> Vec<Option<Rule>> {
        let mut lowered: Vec<Option<Rule>> = vec![None; rules.len()];
        let (mut readers, mut plain) = (Vec::new(), Vec::new());
        for (index, expanded) in rules.iter().enumerate() {
            if let Some(expanded) = expanded {
                let list = if reads_alerts(expanded) { &mut readers } else { &mut plain };
                list.push((index, expanded));
            }
        }
        if !readers.is_empty() {
            self.streams.push(stream());
        }
        for (index, expanded) in plain {
            if let Some(slot) = lowered.get_mut(index) {
                *slot = rule::lower(self, expanded);
            }
        }
        let named: Vec<Names> = readers.iter().map(|(_, rule)| self.rules_read(rule)).collect();
        self.check_rules_read(named.iter().flatten());
        let order = self.by_stratum(&readers, &named);
        // Twice: types of what readers emit are known after the first time.
        for last in [false, true] {
            let paths = readers.iter().fold(Vec::new(), |mut paths, (_, rule)| {
                read_paths(rule, &mut paths);
                paths
            });
            for &at in &order {
                self.alert_fields(&paths);
                let Some((index, expanded)) = readers.get(at) else { continue };
                let before = self.diagnostics.len();
                let mut rule = rule::lower(self, expanded);
                if !last {
                    self.diagnostics.truncate(before);
                    continue;
                }
                if let (Some(rule), Some(names)) = (&mut rule, named.get(at)) {
                    rule.reads_alerts = Some(names.iter().map(|(name, _)| name.clone()).collect());
                }
                if let Some(slot) = lowered.get_mut(*index) {
                    *slot = rule;
                }
            }
        }
        lowered
    }

    /// The stream's fields for what is read of it.
    fn alert_fields(&mut self, paths: &[Vec<String>]) {
        let mut paths = paths.to_vec();
        paths.sort();
        let mut fields = stream().fields;
        for path in paths {
            let ty = match path.as_slice() {
                [kind, name] => kind_of(kind).map(|kind| (kind, name.clone())).and_then(|known| {
                    self.alert_types.get(&known).or_else(|| self.outside_alert_types.get(&known)).cloned()
                }),
                _ => None,
            };
            fields.push(Field { path, ty: ty.unwrap_or(Type::String), nullable: true, mask: false });
        }
        if let Some(stream) = self.streams.iter_mut().find(|s| s.name == ALERT) {
            stream.fields = fields;
        }
    }

    /// The rules that a rule names where it reads alerts; empty = none, it reads those that read no alerts.
    fn rules_read(&self, rule: &ast::Rule) -> Names {
        let aliases: Vec<&str> = rule
            .pattern
            .iter()
            .flat_map(|p| &p.units)
            .flat_map(super::steps::members)
            .filter(|event| event.stream.name == ALERT)
            .filter_map(|event| event.alias.as_ref())
            .map(|alias| alias.name.as_str())
            .chain([ALERT])
            .collect();
        let mut from = Names::new();
        for (_, condition) in rule.from.iter().filter(|(name, _)| name.name == ALERT) {
            condition.iter().for_each(|c| self.named_in(c, &aliases, &mut from));
        }
        if !from.is_empty() {
            return from;
        }
        let mut all = Names::new();
        for condition in alert_conditions(rule) {
            let before = all.len();
            condition.iter().for_each(|c| self.named_in(c, &aliases, &mut all));
            if all.len() == before {
                return Names::new();
            }
        }
        let mut once = Names::new();
        for name in all {
            if !once.iter().any(|(known, _)| *known == name.0) {
                once.push(name);
            }
        }
        once
    }

    /// Names in the terms `rule == ".."` and `rule in [..]`.
    fn named_in(&self, e: &Expr, aliases: &[&str], out: &mut Names) {
        let ExprKind::Binary(Op::Plain(op), a, b) = &e.kind else { return };
        if *op == BinaryOp::And && !e.paren {
            self.named_in(a, aliases, out);
            self.named_in(b, aliases, out);
            return;
        }
        let is_rule = |e: &Expr| match &e.kind {
            ExprKind::Path(path) => match path.as_slice() {
                [name] => name.name == "rule",
                [owner, name] => name.name == "rule" && aliases.contains(&owner.name.as_str()),
                _ => false,
            },
            _ => false,
        };
        match op {
            BinaryOp::Equal if is_rule(a) => self.strings(b, out),
            BinaryOp::Equal if is_rule(b) => self.strings(a, out),
            BinaryOp::In if is_rule(a) => self.strings(b, out),
            _ => {}
        }
    }

    fn strings(&self, e: &Expr, out: &mut Names) {
        fn literals(literal: &Literal, span: Span, out: &mut Names) {
            match literal {
                Literal::String(text) => out.push((text.clone(), span)),
                Literal::List(items) => items.iter().for_each(|item| literals(item, span, out)),
                _ => {}
            }
        }
        match &e.kind {
            ExprKind::String(text) => out.push((text.clone(), e.span)),
            ExprKind::List(items) => items.iter().for_each(|item| self.strings(item, out)),
            ExprKind::Path(path) if path.len() == 1 => {
                if let Some(Some(value)) = path.first().and_then(|name| self.consts.get(&name.name)) {
                    literals(value, e.span, out);
                }
            }
            _ => {}
        }
    }

    /// E208: a rule that nothing can read alerts of. In the service rules come and go one by one, so there it is no error.
    fn check_rules_read<'n>(&mut self, names: impl Iterator<Item = &'n (String, Span)>) {
        if self.require_declared {
            return;
        }
        // Looking through all names for each use would take long in a large set that lacks one file.
        let mut near: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for (name, span) in names.filter(|(name, _)| !self.rule_names.contains(name)) {
            let search = || nearest(name, self.rule_names.iter().map(String::as_str)).map(str::to_owned);
            let near = near.entry(name).or_insert_with(search);
            let diagnostic = Diagnostic::error("E208", *span, format!("no rule `{name}`"));
            let diagnostic = match near {
                Some(near) => {
                    // A list that is a `const` is written elsewhere.
                    let written = self.slice(*span).starts_with('"');
                    let diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
                    if written { diagnostic.replace(format!("\"{near}\"")) } else { diagnostic }
                }
                None => diagnostic.help("name a rule of these files, or add the file of that rule"),
            };
            self.diagnostics.push(diagnostic);
        }
    }

    /// Indices of readers, each after those it names; those in a circle are E361 and left out.
    fn by_stratum(&mut self, readers: &[(usize, &ast::Rule)], named: &[Names]) -> Vec<usize> {
        let numbers: BTreeMap<&str, usize> =
            readers.iter().enumerate().rev().map(|(at, (_, rule))| (rule.name.name.as_str(), at)).collect();
        let position = |name: &str| numbers.get(name).copied();
        let edges: Vec<Vec<(usize, Span)>> = named
            .iter()
            .map(|names| names.iter().filter_map(|(name, span)| Some((position(name)?, *span))).collect())
            .collect();
        let mut order: Vec<usize> = Vec::new();
        let mut taken = vec![false; readers.len()];
        // Each round takes what reads only what is taken already; what is left then is in a circle, or reads one.
        loop {
            let next =
                (0..readers.len()).find(|at| !taken[*at] && edges[*at].iter().all(|(to, _)| taken[*to]));
            let Some(next) = next else { break };
            taken[next] = true;
            order.push(next);
        }
        let mut told: Vec<usize> = Vec::new();
        for at in (0..readers.len()).filter(|at| !order.contains(at)) {
            if told.contains(&at) {
                continue;
            }
            let Some(circle) = circle_from(at, &edges, &order) else { continue };
            let names: Vec<String> = circle
                .iter()
                .chain(circle.first())
                .filter_map(|(at, _)| readers.get(*at))
                .map(|(_, rule)| format!("`{}`", rule.name.name))
                .collect();
            let span = circle.first().map(|(_, span)| *span).unwrap_or_default();
            self.report(
                Diagnostic::error("E361", span, names.join(" -> "))
                    .help("one of these rules must not read the next: take its name out of `rule in [..]`"),
            );
            told.extend(circle.iter().map(|(at, _)| *at));
        }
        order
    }
}

/// A circle through this rule, each with the span that names the next one.
fn circle_from(start: usize, edges: &[Vec<(usize, Span)>], outside: &[usize]) -> Option<Vec<(usize, Span)>> {
    // Breadth first: the shortest way back to the start.
    let mut ways: Vec<Vec<(usize, Span)>> = vec![Vec::new()];
    let mut ends = vec![start];
    let mut seen: Vec<usize> = Vec::new();
    let mut at = 0;
    while let (Some(way), Some(end)) = (ways.get(at).cloned(), ends.get(at).copied()) {
        at += 1;
        for (to, span) in edges.get(end).into_iter().flatten() {
            let mut longer = way.clone();
            longer.push((end, *span));
            if *to == start {
                return Some(longer);
            }
            if !outside.contains(to) && !seen.contains(to) {
                seen.push(*to);
                ways.push(longer);
                ends.push(*to);
            }
        }
    }
    None
}
