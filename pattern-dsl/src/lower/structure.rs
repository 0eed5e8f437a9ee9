//! Refusals of what no match could mean: arrows, sets, bounds, and clauses that do not go with the steps.

use super::rule::{Place, RuleLowering, Scope};
use super::steps::{Parts, counts, members};
use super::{Fail, Lowered, Lowering};
use crate::ast::{self, ExprKind, UnitKind};
use crate::check::DURATION;
use crate::diagnostic::Diagnostic;
use crate::ir::{self, Arrow, Bound};

/// Most members of a set.
const MEMBERS: usize = 8;

impl Lowering<'_> {
    /// E335 of a whole rule.
    pub(super) fn too_large(&mut self, name: &ast::Ident, count: usize, what: &str) -> Fail {
        let message =
            format!("rule `{}` has {count} {what}, at most {} are possible", name.name, ir::ROLES_MAX);
        let help = "two rules, the second over the alerts of the first; a step, an absence, a window are a part each";
        self.report(Diagnostic::error("E335", name.span, message).help(help))
    }
}

impl RuleLowering<'_, '_> {
    /// E335 of the whole rule, before anything is compared with anything.
    pub(super) fn check_size(&mut self, rule: &ast::Rule, pattern: &ast::Match) -> Lowered<()> {
        let absences = pattern.units.iter().filter(|unit| matches!(unit.kind, UnitKind::Absence(_))).count();
        let steps: usize = pattern.units.iter().map(|unit| members(unit).len()).sum();
        match steps + absences + pattern.cancels.len() {
            count if count > ir::ROLES_MAX => {
                Err(self.all.too_large(&rule.name, count, "steps and absences"))
            }
            _ => Ok(()),
        }
    }

    /// E331, E332 at an absence.
    pub(super) fn check_arrow_of_absence(&mut self, unit: &ast::Unit) {
        if let Some(span) = unit.arrow_span {
            let (code, message) = match unit.arrow {
                Arrow::Immediately => {
                    ("E331", "`immediately` has no single neighbour here: an absence is no event")
                }
                _ => ("E332", "an absence takes no arrow but `then`"),
            };
            self.report(Diagnostic::error(code, span, message).help("`then no X`"));
        }
        for bound in [&unit.after, &unit.within].into_iter().flatten() {
            self.report(
                Diagnostic::error("E332", bound.value.span, "an absence has its own bound")
                    .help("`then no X for 1h`"),
            );
        }
    }

    /// E331, E332 at a step or set.
    pub(super) fn check_join(&mut self, unit: &ast::Unit, leading: bool, after_absence: bool) {
        if leading {
            if let Some(span) = unit.arrow_span {
                let message = "after a leading absence there is no step before that this one could follow";
                self.report(Diagnostic::error("E332", span, message).help("`then`"));
            }
            for bound in [&unit.after, &unit.within].into_iter().flatten() {
                let message = "after a leading absence there is no step before to count from";
                self.report(
                    Diagnostic::error("E332", bound.value.span, message)
                        .help("`then`; how far the absence looks back is its `for`"),
                );
            }
            return;
        }
        let Some(span) = unit.arrow_span.filter(|_| unit.arrow == Arrow::Immediately) else { return };
        if after_absence {
            let message = "`immediately` has no single neighbour here: an absence stands before it";
            self.report(Diagnostic::error("E331", span, message).help("`then`"));
        }
        if let UnitKind::Set(set) = &unit.kind
            && set.kind != ir::UnitKind::One
        {
            let words = self.all.slice(set.kind_span).to_owned();
            let message = format!(
                "`immediately` has no single neighbour here: `{words}` begins with any of its members"
            );
            self.report(Diagnostic::error("E331", span, message).help("`then`, or `one of`"));
        }
    }

    /// E325, E334, E335, E336.
    pub(super) fn check_set(&mut self, set: &ast::Set) {
        let words = self.all.slice(set.kind_span).to_owned();
        let count = set.members.len();
        if let Some(alias) = &set.alias
            && set.kind != ir::UnitKind::One
        {
            let message = format!("`{}` would be several events: only `one of` is one", alias.name);
            self.report(Diagnostic::error("E325", alias.span, message).help("alias the members"));
        }
        if let ir::UnitKind::AtLeast(least) = set.kind
            && (least == 0 || least as usize > count)
        {
            let message = format!("`{words}` {count} members holds nothing");
            let help = format!("a number from 1 to {count}");
            self.report(Diagnostic::error("E334", set.kind_span, message).help(help));
        }
        if let Some(ninth) = set.members.get(MEMBERS) {
            let message = format!("this set has {count} members, at most {MEMBERS} are possible");
            self.report(Diagnostic::error("E335", ninth.span, message).help("two rules, or fewer members"));
        }
        for (bound, span) in set.members.iter().filter_map(|m| m.quiet.as_ref()) {
            let text = self.all.slice(bound.value.span).to_owned();
            self.report(
                Diagnostic::error("E336", *span, "`until quiet` in a set: which silence ends the set?")
                    .help(format!("after the set: `then no X for {text}`")),
            );
        }
    }

    /// A value that needs nothing but consts.
    fn is_constant(&self, e: &ast::Expr) -> bool {
        let mut constant = true;
        e.walk(&mut |e| match &e.kind {
            ExprKind::Path(path) => {
                constant &= path.len() == 1
                    && path.first().is_some_and(|name| {
                        self.all.consts.contains_key(&name.name)
                            && !self.keys.iter().any(|k| k.name == name.name)
                    });
            }
            ExprKind::Table(..) | ExprKind::Window(_) | ExprKind::Call(..) => constant = false,
            _ => {}
        });
        constant
    }

    /// A bound on an arrow, of an absence or of `until quiet`; steps with a smaller index than `visible` can be read. E302.
    pub(super) fn bound(&mut self, bound: &ast::Bound, visible: usize) -> Lowered<Bound> {
        if self.is_constant(&bound.value) {
            let micros = self.all.bound(&bound.value)?;
            return Ok(Bound::Fixed(bound.max.map_or(micros, |(max, _)| max.min(micros))));
        }
        let scope = Scope::new(Place::Bound, &[], None, visible);
        let (expr, ty) = self.expr(&bound.value, &scope, None)?;
        if ty != DURATION {
            return Err(self.mismatch("duration", &bound.value, &ty));
        }
        let text = self.all.slice(bound.value.span).to_owned();
        let Some((max, _)) = bound.max else {
            let limited = format!("{text} max 30d");
            return Err(self.report(
                Diagnostic::error("E302", bound.value.span, format!("`{text}` could be any length"))
                    .help(format!("say how long at most: `{limited}`"))
                    .replace(limited),
            ));
        };
        Ok(Bound::Read { expr, max, text })
    }

    /// A bound that events and lookups cannot change. E303.
    pub(super) fn constant_bound(&mut self, e: &ast::Expr, help: &str) -> Lowered<crate::types::Micros> {
        let mut reads = false;
        e.walk(&mut |e| match &e.kind {
            ExprKind::Path(path) => {
                reads |= path.len() > 1
                    || path.first().is_some_and(|name| self.keys.iter().any(|k| k.name == name.name));
            }
            ExprKind::Table(..) | ExprKind::Window(_) => reads = true,
            _ => {}
        });
        if reads {
            return Err(
                self.report(Diagnostic::error("E303", e.span, "this bound must be constant").help(help))
            );
        }
        self.all.bound(e)
    }

    /// E301 and E323.
    pub(super) fn check_ends(&mut self, pattern: &ast::Match, parts: &Parts) {
        let units: Vec<&ast::Unit> = pattern.units.iter().filter(|u| !members(u).is_empty()).collect();
        let empty = |unit: Option<&ir::Unit>| unit.is_some_and(|unit| unit.may_be_empty(&parts.steps));
        for (at, unit) in [(0, parts.units.first()), (units.len().saturating_sub(1), parts.units.last())] {
            let Some(written) = units.get(at).filter(|_| empty(unit)) else { continue };
            let (verb, last) = if at == 0 { ("begin", false) } else { ("end", true) };
            let span = match &written.kind {
                UnitKind::Event(event) => event.quantifier.map_or(written.span, |(_, span)| span),
                UnitKind::Set(set) => set.kind_span,
                UnitKind::Absence(_) => written.span,
            };
            let help = match (&written.kind, last) {
                (UnitKind::Set(_), _) => "a member that is not optional",
                (_, false) => "`at least 1`, or leave it out",
                (_, true) => "`at least 1`, or leave it out: the match is complete without it",
            };
            self.report(
                Diagnostic::error("E323", span, format!("a match cannot {verb} with nothing")).help(help),
            );
        }
        if pattern.within.is_none() && awaits_more(&units) {
            self.report(
                Diagnostic::error("E301", pattern.span, "this match can wait for ever")
                    .help("`match within 24h { .. }`"),
            );
        }
        let first = pattern.units.iter().position(|u| !members(u).is_empty()).unwrap_or(0);
        let last = pattern.units.iter().rposition(|u| !members(u).is_empty()).unwrap_or(0);
        for (at, unit) in pattern.units.iter().enumerate() {
            let UnitKind::Absence(absence) = &unit.kind else { continue };
            if absence.duration.is_some() || (first < at && at < last) {
                continue;
            }
            let message =
                if at < first { "this absence looks back for ever" } else { "this match can wait for ever" };
            let name = absence.streams.first().map(|s| s.name.clone()).unwrap_or_default();
            self.report(
                Diagnostic::error("E301", unit.span, message)
                    .help(format!("say how long: `no {name} for 1h`")),
            );
        }
    }

    /// `overlap`, with E341 and E342.
    pub(super) fn overlap(&mut self, rule: &ast::Rule, parts: Option<&Parts>) -> ir::Overlap {
        let Some((overlap, _)) = &rule.overlap else { return ir::Overlap::None };
        if let (ast::Overlap::All, Some((_, span))) = (overlap, &rule.cooldown) {
            self.report(
                Diagnostic::error("E342", *span, "`overlap all` with `cooldown`: all, or one in a while?")
                    .help("drop one of them"),
            );
        }
        match overlap {
            ast::Overlap::None => ir::Overlap::None,
            ast::Overlap::PerStart => ir::Overlap::PerStart,
            ast::Overlap::PerEnd => ir::Overlap::PerEnd,
            ast::Overlap::All => ir::Overlap::All,
            ast::Overlap::From(name) => {
                self.later_step(name, parts).map_or(ir::Overlap::None, ir::Overlap::From)
            }
            ast::Overlap::FromLast(name) => {
                self.later_step(name, parts).map_or(ir::Overlap::None, ir::Overlap::FromLast)
            }
        }
    }

    /// A step after the first unit that every choice has; of a `one of`'s alias its first member. E341, E203.
    fn later_step(&mut self, name: &ast::Ident, parts: Option<&Parts>) -> Lowered<usize> {
        let set = self.set_named(&name.name).and_then(|set| self.sets.get(set)).map(|set| set.members.start);
        let Some(step) = set.or_else(|| self.step_named(&name.name)) else {
            let mut names: Vec<String> = self.names.iter().map(|n| n.name.clone()).collect();
            names.extend(self.sets.iter().map(|s| s.alias.name.clone()));
            let diagnostic =
                Diagnostic::error("E203", name.span, format!("`{}` is not known here", name.name))
                    .nearest(&name.name, names.iter().map(String::as_str))
                    .or_help("`overlap from` takes a step of this match");
            return Err(self.report(diagnostic));
        };
        let parts = parts.ok_or(Fail)?;
        let unit = parts.units.iter().position(|u| u.steps.contains(&step)).ok_or(Fail)?;
        let kind = parts.units.get(unit).map(|u| u.kind).ok_or(Fail)?;
        let optional = parts.steps.get(step).is_some_and(|s| s.optional);
        let may_be_absent = set.is_none() && matches!(kind, ir::UnitKind::One | ir::UnitKind::AtLeast(_));
        let (why, help) = if unit == 0 {
            ("it is where the match begins", "a later step, or `overlap per start`")
        } else if optional || may_be_absent {
            ("it may be absent", "a later step that always begins")
        } else {
            return Ok(step);
        };
        let message = format!("`from {}` would not move on: {why}", name.name);
        Err(self.report(Diagnostic::error("E341", name.span, message).help(help)))
    }

    /// `cooldown .. per`, with E343.
    pub(super) fn cooldown_per(&mut self, rule: &ast::Rule, scope: &Scope) -> Vec<ir::Expr> {
        let is_key = |name: &str| rule.by.iter().any(|k| k.name.name == name);
        let singles: Vec<&str> = rule
            .cooldown_per
            .iter()
            .filter_map(|path| match path.as_slice() {
                [name] => Some(name.name.as_str()),
                _ => None,
            })
            .collect();
        let only_some_keys = singles.len() == rule.cooldown_per.len()
            && singles.iter().all(|name| is_key(name))
            && rule.by.iter().any(|k| !singles.contains(&k.name.name.as_str()));
        let mut lowered = Vec::new();
        for path in &rule.cooldown_per {
            let (Some(first), Some(last)) = (path.first(), path.last()) else { continue };
            let span = crate::source::Span { end: last.span.end, ..first.span };
            let help = format!("one alert per `{}` over all: a rule on `alert`", last.name);
            let several = |step: usize| self.names.get(step).is_some_and(|n| n.repeated);
            let repeated = match self.set_named(&first.name).and_then(|set| self.sets.get(set)) {
                Some(set) => set.members.clone().any(several),
                None => self.step_named(&first.name).is_some_and(several),
            };
            if only_some_keys {
                let message = format!("`per` adds to the key: `{}` is in it already", first.name);
                self.report(Diagnostic::error("E343", span, message).help(help));
            } else if repeated && path.len() > 1 {
                let message = format!("`per` adds one value to the key, `{}` is several events", first.name);
                self.report(
                    Diagnostic::error("E343", span, message).help("a field of a step that is one event"),
                );
            } else if let Ok((expr, _)) = self.path(path, scope, None) {
                lowered.push(expr);
            }
        }
        lowered
    }

    /// E344.
    pub(super) fn check_timeout(&mut self, rule: &ast::Rule, pattern: &ast::Match) {
        let Some((_, span)) = &rule.timeout else { return };
        let first = pattern.units.iter().find(|u| !members(u).is_empty());
        let single = first.is_some_and(|unit| match &unit.kind {
            UnitKind::Event(event) => counts(event).1 == Some(1),
            _ => false,
        });
        let timer = pattern.units.last().is_some_and(|unit| match &unit.kind {
            UnitKind::Event(event) => event.quiet.is_some(),
            UnitKind::Set(_) => false,
            UnitKind::Absence(_) => true,
        });
        let overlap = rule.overlap.as_ref().map(|(overlap, _)| overlap);
        let (why, help) = if pattern.within.is_none() {
            ("`match` has no bound", "`match within 30m { .. }`")
        } else if !single {
            ("the match does not begin with one event", "a first step of one event")
        } else if timer {
            ("the match ends with a timer already", "leave out `on timeout`, or the wait at the end")
        } else if matches!(overlap, Some(ast::Overlap::PerEnd | ast::Overlap::All)) {
            ("one beginning may alert several times", "`overlap none` or `per start`")
        } else {
            return;
        };
        self.report(Diagnostic::error("E344", *span, format!("no one time-out here: {why}")).help(help));
    }
}

/// A choice may hold two or more events.
fn awaits_more(units: &[&ast::Unit]) -> bool {
    let [unit] = units else { return units.len() > 1 };
    let several = |event: &ast::Event| {
        let (min, max, _) = counts(event);
        min > 1 || max != Some(1)
    };
    match &unit.kind {
        UnitKind::Event(event) => several(event),
        UnitKind::Set(set) => {
            set.members.iter().any(several)
                || match set.kind {
                    ir::UnitKind::All | ir::UnitKind::AtLeast(_) => set.members.len() > 1,
                    ir::UnitKind::One | ir::UnitKind::Step => false,
                }
        }
        UnitKind::Absence(_) => false,
    }
}
