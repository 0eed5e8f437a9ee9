//! `test` blocks: events with their `given` values merged in, and what is expected.

use std::collections::BTreeMap;

use super::streams::find;
use super::{Fail, Lowered, Lowering};
use crate::ast::{self, Expr, ExprKind, Ident, TestLine};
use crate::diagnostic::Diagnostic;
use crate::ir::{AlertPart, Expectation, Key, Test};
use crate::types::{Literal, Micros};

type Values = Vec<(String, Literal)>;

fn merge(into: &mut Values, values: Values) {
    for (name, value) in values {
        match into.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => into.push((name, value)),
        }
    }
}

impl Lowering<'_> {
    pub(super) fn test(&mut self, test: &ast::Test, emitted: &[&str], keys: &[Key]) -> Test {
        let mut given: BTreeMap<usize, Values> = BTreeMap::new();
        let mut out = Test {
            name: test.name.clone(),
            start: None,
            events: Vec::new(),
            sets: Vec::new(),
            end: 0,
            expect: Vec::new(),
            span: test.span,
        };
        for line in &test.lines {
            match line {
                TestLine::Start(at) => out.start = Some(*at),
                TestLine::Given(stream, pairs) => {
                    if let Ok((stream, values)) = self.event(stream, pairs) {
                        merge(given.entry(stream).or_default(), values);
                    }
                }
                TestLine::At(times, stream, pairs) => {
                    if let Ok((stream, values)) = self.event(stream, pairs) {
                        let mut all = given.get(&stream).cloned().unwrap_or_default();
                        merge(&mut all, values);
                        out.events.extend(times.iter().map(|time| (*time, stream, all.clone())));
                    }
                    out.end = times.iter().copied().fold(out.end, Micros::max);
                }
                TestLine::Set { at, table, value } => {
                    if let Ok((table, content)) = self.content(table, value) {
                        out.sets.push((*at, table, content));
                    }
                    out.end = out.end.max(at.unwrap_or(0));
                }
                TestLine::Advance(to) => out.end = out.end.max(*to),
                TestLine::Expect { at, count, fields, span } => {
                    let mut values = Vec::new();
                    for (name, e) in fields {
                        // What is wrong is reported; the rule is left out for it.
                        let _ = self.expected_values(name, e, emitted, keys, &mut values);
                    }
                    out.expect.push(Expectation { at: *at, count: *count, values, span: *span });
                }
            }
        }
        // What holds from the beginning comes first, then by time; of one time the last written.
        out.sets.sort_by_key(|(at, _, _)| *at);
        out
    }

    /// A name means a field, else a key, else the alert's own value; `alert: { .. }` and `keys: { .. }` say which.
    fn expected_values(
        &mut self,
        name: &Ident,
        e: &Expr,
        emitted: &[&str],
        keys: &[Key],
        out: &mut Vec<(AlertPart, Literal)>,
    ) -> Lowered<()> {
        let field = |name: &str| emitted.contains(&name).then(|| AlertPart::Field(name.to_owned()));
        let key = |name: &str| keys.iter().any(|k| k.name == name).then(|| AlertPart::Key(name.to_owned()));
        let own = |name: &str| AlertPart::OWN.into_iter().find(|(word, _)| *word == name).map(|(_, own)| own);
        let words = AlertPart::OWN.map(|(word, _)| word);
        let key_names = || keys.iter().map(|k| k.name.as_str());
        let plain = field(&name.name).or_else(|| key(&name.name)).or_else(|| own(&name.name));
        match (plain, name.name.as_str(), &e.kind) {
            (Some(part), ..) => out.push((part, self.fold(e, true)?)),
            (None, "alert", ExprKind::Object(pairs)) => {
                for (name, e) in pairs {
                    let part = own(&name.name).ok_or(()).map_err(|()| self.no_such_value(name, &words))?;
                    out.push((part, self.fold(e, true)?));
                }
            }
            (None, "keys", ExprKind::Object(pairs)) => {
                let known: Vec<&str> = key_names().collect();
                for (name, e) in pairs {
                    let part = key(&name.name).ok_or(()).map_err(|()| self.no_such_value(name, &known))?;
                    out.push((part, self.fold(e, true)?));
                }
            }
            (None, ..) => {
                let known: Vec<&str> = emitted.iter().copied().chain(key_names()).chain(words).collect();
                return Err(self.no_such_value(name, &known));
            }
        }
        Ok(())
    }

    fn no_such_value(&mut self, name: &Ident, known: &[&str]) -> Fail {
        let message = format!("`{}` is not known here: the alert has no such value", name.name);
        self.report(
            Diagnostic::error("E203", name.span, message)
                .nearest(&name.name, known.iter().copied())
                .or_help("emit it"),
        )
    }

    fn event(&mut self, stream: &Ident, pairs: &[(Ident, Expr)]) -> Lowered<(usize, Values)> {
        let stream = self.stream(stream)?;
        let mut values = Vec::new();
        for (name, e) in pairs {
            self.flatten(stream, std::slice::from_ref(name), e, &mut values)?;
        }
        Ok((stream, values))
    }

    /// Nested objects become dotted names.
    fn flatten(&mut self, stream: usize, path: &[Ident], e: &Expr, out: &mut Values) -> Lowered<()> {
        let dotted = path.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(".");
        let declared = self.streams.get(stream).ok_or(Fail)?;
        if let Some(field) = find(&declared.fields, path).and_then(|f| declared.fields.get(f)).cloned() {
            let value = self.fold(e, true)?;
            out.push((field.path.join("."), self.coerce(value, &field.ty, e)?));
            return Ok(());
        }
        if let ExprKind::Object(pairs) = &e.kind {
            for (name, value) in pairs {
                let mut longer = path.to_vec();
                longer.push(name.clone());
                self.flatten(stream, &longer, value, out)?;
            }
            return Ok(());
        }
        if declared.id.as_ref().is_some_and(|id| id.join(".") == dotted) || dotted == "id" {
            let value = self.fold(e, true)?;
            out.push((dotted, value));
            return Ok(());
        }
        let known: Vec<String> = declared.fields.iter().map(|f| f.path.join(".")).collect();
        let span = path.last().map(|p| p.span).unwrap_or_default();
        let help = if known.iter().any(|k| *k == "ts") || dotted != declared.time.path.join(".") {
            format!("it has `{}`", known.join("`, `"))
        } else {
            "the time is what `at` says".to_owned()
        };
        let diagnostic =
            Diagnostic::error("E204", span, format!("stream `{}` has no field `{dotted}`", declared.name))
                .nearest(&dotted, known.iter().map(String::as_str))
                .or_help(help);
        Err(self.report(diagnostic))
    }
}
