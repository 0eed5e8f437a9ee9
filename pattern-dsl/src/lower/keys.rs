//! The rule's key: which field of each stream and step holds each part of it.

use super::rule::RuleLowering;
use super::streams::find;
use super::{Fail, Lowered};
use crate::ast::{self, Ident, UnitKind};
use crate::check::show_type;
use crate::diagnostic::Diagnostic;
use crate::ir::{Field, Key};
use crate::types::Type;

fn same(a: &Type, b: &Type) -> bool {
    let text = |t: &Type| matches!(t, Type::String | Type::Enum(_));
    a == b || (text(a) && text(b))
}

impl RuleLowering<'_, '_> {
    fn fields(&self, stream: usize) -> &[Field] {
        self.streams.get(stream).and_then(|s| self.all.streams.get(s.stream)).map_or(&[], |s| &s.fields)
    }

    fn stream_name(&self, stream: usize) -> String {
        self.streams
            .get(stream)
            .and_then(|s| self.all.streams.get(s.stream))
            .map(|s| s.name.clone())
            .unwrap_or_default()
    }

    /// Sets `keys` of the rule and its streams; gives the key fields of each step.
    pub(super) fn keys(&mut self, rule: &ast::Rule, pattern: &ast::Match) -> Lowered<Vec<Vec<usize>>> {
        let mut by_stream: Vec<Vec<Option<usize>>> = vec![Vec::new(); self.streams.len()];
        let mut by_step: Vec<Vec<Option<usize>>> = vec![Vec::new(); self.names.len()];
        let mut failed = false;
        for key in &rule.by {
            if self.keys.iter().any(|k| k.name == key.name.name) {
                self.report(
                    Diagnostic::error("E106", key.name.span, format!("`{}` is given twice", key.name.name))
                        .help("keep one"),
                );
                failed = true;
            }
            let alone = [key.name.clone()];
            let mut streams: Vec<Option<usize>> =
                (0..self.streams.len()).map(|s| find(self.fields(s), &alone)).collect();
            let mut steps: Vec<Option<usize>> = vec![None; self.names.len()];
            let mut mapped: Vec<&str> = Vec::new();
            for path in &key.paths {
                let Some((first, rest)) = path.split_first() else { continue };
                if mapped.contains(&first.name.as_str()) {
                    self.report(
                        Diagnostic::error("E106", first.span, format!("`{}` is given twice", first.name))
                            .help("map single steps by their aliases"),
                    );
                    failed = true;
                }
                mapped.push(&first.name);
                match self.map_path(first, rest, &mut streams, &mut steps) {
                    Ok(()) => {}
                    Err(Fail) => failed = true,
                }
            }
            let ty = self.key_type(key, &streams, &steps, &mut failed);
            self.keys.push(Key { name: key.name.name.clone(), ty });
            for (all, one) in by_stream.iter_mut().zip(streams) {
                all.push(one);
            }
            for (all, one) in by_step.iter_mut().zip(steps) {
                all.push(one);
            }
        }
        if failed {
            return Err(Fail);
        }
        self.missing(rule, pattern, &by_stream, &by_step)?;
        let mut resolved = Vec::new();
        for (step, own) in self.names.iter().zip(&by_step) {
            let general = by_stream.get(step.stream);
            let parts = own
                .iter()
                .enumerate()
                .map(|(at, own)| own.or_else(|| general.and_then(|g| g.get(at).copied().flatten())));
            resolved.push(parts.collect::<Option<Vec<usize>>>().ok_or(Fail)?);
        }
        for (stream, parts) in self.streams.iter_mut().zip(by_stream) {
            stream.keys = parts.into_iter().collect();
        }
        Ok(resolved)
    }

    fn map_path(
        &mut self,
        first: &Ident,
        rest: &[Ident],
        streams: &mut [Option<usize>],
        steps: &mut [Option<usize>],
    ) -> Lowered<()> {
        let step = self.names.iter().position(|n| n.alias.as_ref().is_some_and(|a| a.name == first.name));
        let stream = match step {
            Some(step) => self.names.get(step).map(|n| n.stream),
            None => self.rule_stream(&first.name),
        };
        let Some(stream) = stream else {
            let mut known: Vec<String> = self.names.iter().map(|n| n.name.clone()).collect();
            known.extend((0..self.streams.len()).map(|s| self.stream_name(s)));
            let diagnostic =
                Diagnostic::error("E203", first.span, format!("`{}` is not known here", first.name))
                    .nearest(&first.name, known.iter().map(String::as_str))
                    .or_help("a stream or an alias of this rule");
            return Err(self.report(diagnostic));
        };
        let Some(field) = find(self.fields(stream), rest) else {
            let module_stream = self.streams.get(stream).map_or(0, |s| s.stream);
            return Err(self.no_field(module_stream, rest));
        };
        let slot = match step {
            Some(step) => steps.get_mut(step),
            None => streams.get_mut(stream),
        };
        if let Some(slot) = slot {
            *slot = Some(field);
        }
        Ok(())
    }

    /// The type of a part, and E212.
    fn key_type(
        &mut self,
        key: &ast::Key,
        streams: &[Option<usize>],
        steps: &[Option<usize>],
        failed: &mut bool,
    ) -> Type {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (stream, field) in streams.iter().enumerate() {
            let overridden = |step: usize| steps.get(step).is_some_and(Option::is_some);
            let used = self.names.iter().enumerate().any(|(at, n)| n.stream == stream && !overridden(at));
            let only_steps = self.names.iter().any(|n| n.stream == stream);
            if let Some(field) = field
                && (used || !only_steps)
            {
                found.push((stream, *field));
            }
        }
        for (step, field) in self.names.iter().zip(steps) {
            if let Some(field) = field {
                found.push((step.stream, *field));
            }
        }
        let typed: Vec<(String, Type)> = found
            .iter()
            .filter_map(|(s, f)| {
                self.fields(*s).get(*f).map(|field| {
                    (format!("{}.{}", self.stream_name(*s), field.path.join(".")), field.ty.clone())
                })
            })
            .collect();
        let Some((first_name, first)) = typed.first() else { return Type::String };
        if let Some((name, ty)) = typed.iter().find(|(_, ty)| !same(ty, first)) {
            let message = format!("`{first_name}` is {}, `{name}` is {}", show_type(first), show_type(ty));
            self.report(
                Diagnostic::error("E212", key.name.span, message)
                    .help("a key has one type: declare or convert one of them"),
            );
            *failed = true;
        }
        first.clone()
    }

    /// E211 and E353: streams that lack a part they need.
    fn missing(
        &mut self,
        rule: &ast::Rule,
        pattern: &ast::Match,
        by_stream: &[Vec<Option<usize>>],
        by_step: &[Vec<Option<usize>>],
    ) -> Lowered<()> {
        let mut failed = false;
        for (stream, parts) in by_stream.iter().enumerate() {
            let name = self.stream_name(stream);
            let in_absence =
                pattern.units.iter().any(
                    |u| matches!(&u.kind, UnitKind::Absence(a) if a.streams.iter().any(|s| s.name == name)),
                ) || pattern.cancels.iter().any(|c| c.stream.name == name);
            let from = rule.from.iter().any(|(f, _)| f.name == name);
            let has_step = self.names.iter().any(|n| n.stream == stream);
            let windowed = self.windowed(rule).contains(&name);
            for (at, part) in parts.iter().enumerate() {
                let Some(key) = rule.by.get(at) else { continue };
                let step_needs = self
                    .names
                    .iter()
                    .zip(by_step)
                    .any(|(n, own)| n.stream == stream && own.get(at).copied().flatten().is_none());
                let needed = in_absence || windowed || step_needs || (from && !has_step);
                if part.is_some() || !needed {
                    continue;
                }
                failed = true;
                let window_only = windowed && !in_absence && !has_step && !from;
                let own_key =
                    self.streams.get(stream).and_then(|s| self.all.streams.get(s.stream)).and_then(|s| {
                        let field = s.fields.get(s.key?)?;
                        Some(field.path.join("."))
                    });
                let diagnostic = if window_only {
                    let message = match own_key {
                        Some(own) => {
                            format!("`{name}` is keyed by `{own}`, this rule by `{}`", key.name.name)
                        }
                        None => format!("the window's stream `{name}` has no key `{}`", key.name.name),
                    };
                    let span = rule_streams_span(rule, &name).unwrap_or(key.name.span);
                    Diagnostic::error("E353", span, message).help(format!(
                        "map it: `by {} ({name}.field)`, or a rule by another key",
                        key.name.name
                    ))
                } else {
                    let message = format!("`{name}` has no key `{}`", key.name.name);
                    let fields: Vec<String> = self.fields(stream).iter().map(|f| f.path.join(".")).collect();
                    let near = crate::diagnostic::nearest(&key.name.name, fields.iter().map(String::as_str))
                        .unwrap_or("field");
                    let near = if name == super::alerts::ALERT {
                        format!("keys.{}", key.name.name)
                    } else {
                        near.to_owned()
                    };
                    Diagnostic::error("E211", key.name.span, message)
                        .help(format!("map it: `by {} ({name}.{near})`", key.name.name))
                };
                self.report(diagnostic);
            }
        }
        if failed { Err(Fail) } else { Ok(()) }
    }

    /// Names of streams that windows of the rule read.
    fn windowed(&self, rule: &ast::Rule) -> Vec<String> {
        let mut steps: Vec<&Ident> = Vec::new();
        for unit in rule.pattern.iter().flat_map(|p| &p.units) {
            match &unit.kind {
                UnitKind::Event(e) => steps.push(&e.stream),
                UnitKind::Set(set) => steps.extend(set.members.iter().map(|e| &e.stream)),
                UnitKind::Absence(a) => steps.extend(&a.streams),
            }
        }
        steps.extend(rule.pattern.iter().flat_map(|p| &p.cancels).map(|c| &c.stream));
        steps.extend(rule.from.iter().map(|(f, _)| f));
        super::rule_streams(rule)
            .into_iter()
            .filter(|name| !steps.iter().any(|s| s.span == name.span))
            .map(|name| name.name.clone())
            .collect()
    }
}

fn rule_streams_span(rule: &ast::Rule, name: &str) -> Option<crate::source::Span> {
    super::rule_streams(rule).into_iter().find(|i| i.name == name).map(|i| i.span)
}
