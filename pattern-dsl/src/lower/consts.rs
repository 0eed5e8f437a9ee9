//! Constants: folded to literals before anything else is looked at.

use std::collections::BTreeMap;

use super::{Fail, Lowered, Lowering, fold};
use crate::ast::{Expr, ExprKind, File, Ident, Op};
use crate::check::{literal_type, show_type};
use crate::decimal::Decimal;
use crate::diagnostic::Diagnostic;
use crate::instant::parse_instant;
use crate::types::{Literal, Micros, Type};

impl Lowering<'_> {
    pub(super) fn consts(&mut self, files: &[File]) {
        let mut known: BTreeMap<&str, (&Ident, &Expr)> = BTreeMap::new();
        for c in files.iter().flat_map(|f| &f.consts) {
            if let Some((first, _)) = known.get(c.name.name.as_str()) {
                let first = first.span;
                self.twice(&c.name, first);
            } else {
                known.insert(&c.name.name, (&c.name, &c.value));
            }
        }
        for name in known.keys() {
            self.const_value(name, &known, &mut Vec::new());
        }
    }

    fn const_value(&mut self, name: &str, known: &BTreeMap<&str, (&Ident, &Expr)>, open: &mut Vec<String>) {
        let Some((ident, expr)) = known.get(name) else { return };
        if self.consts.contains_key(name) {
            return;
        }
        if open.iter().any(|o| o == name) {
            let message = format!("`{name}` is defined by itself");
            self.report(Diagnostic::error("E209", ident.span, message).help("break the circle"));
            self.consts.insert(name.to_owned(), None);
            return;
        }
        let Some(expr) = self.expanded(|e| e.expr(expr)) else {
            self.consts.insert(name.to_owned(), None);
            return;
        };
        open.push(name.to_owned());
        let mut names = Vec::new();
        expr.walk(&mut |e| {
            if let ExprKind::Path(path) = &e.kind
                && let [single] = path.as_slice()
            {
                names.push(single.name.clone());
            }
        });
        for other in names {
            self.const_value(&other, known, open);
        }
        open.pop();
        if !self.consts.contains_key(name) {
            let value = self.fold(&expr, false).ok();
            self.consts.insert(name.to_owned(), value);
            self.write_down(name, &expr);
        }
    }

    fn write_down(&mut self, name: &str, e: &Expr) {
        self.written.remove(name);
        if let ExprKind::Duration(_) = e.kind {
            let text = self.slice(e.span).to_owned();
            self.written.insert(name.to_owned(), text);
        }
    }

    /// Values of a rule's `param`s, which stand beside the `const`s while the rule is looked at.
    pub(super) fn params(&mut self, rule: &crate::ast::Rule) -> Lowered<Vec<(String, Literal)>> {
        let mut params: Vec<(String, Literal)> = Vec::new();
        for param in &rule.params {
            let name = &param.name.name;
            if params.iter().any(|(n, _)| n == name) {
                let message = format!("`{name}` is given twice");
                self.report(Diagnostic::error("E106", param.name.span, message).help("rename one of them"));
                continue;
            }
            let e = param.value.as_ref().ok_or(Fail)?;
            let ty = super::streams::lower_type(&param.ty);
            let value = self.fold(e, matches!(ty, Type::Enum(_)))?;
            let value = self.coerce(value, &ty, e)?;
            if value == Literal::Null && !param.ty.optional {
                let message = format!("expected {}, found null", show_type(&ty));
                return Err(
                    self.report(Diagnostic::error("E201", e.span, message).help("or a type with `?`"))
                );
            }
            self.consts.insert(name.clone(), Some(value.clone()));
            self.write_down(name, e);
            params.push((name.clone(), value));
        }
        Ok(params)
    }

    /// The value of a constant expression. `words`: an unknown bare word is a string (enum words in tests and lists).
    pub(super) fn fold(&mut self, e: &Expr, words: bool) -> Lowered<Literal> {
        Ok(match &e.kind {
            ExprKind::Null => Literal::Null,
            ExprKind::Bool(b) => Literal::Bool(*b),
            ExprKind::Int(i) => Literal::Int(*i),
            ExprKind::Decimal(d) => Literal::Decimal(*d),
            ExprKind::String(s) => Literal::String(s.clone()),
            ExprKind::Duration(d) => Literal::Duration(*d),
            ExprKind::List(items) => {
                Literal::List(items.iter().map(|i| self.fold(i, words)).collect::<Result<_, _>>()?)
            }
            ExprKind::Object(pairs) => {
                let pairs: Result<_, Fail> =
                    pairs.iter().map(|(k, v)| Ok((k.name.clone(), self.fold(v, words)?))).collect();
                Literal::Object(pairs?)
            }
            ExprKind::Path(path) => match path.as_slice() {
                [name] => match self.consts.get(&name.name) {
                    Some(Some(value)) => value.clone(),
                    Some(None) => return Err(Fail),
                    None if words => Literal::String(name.name.clone()),
                    None => {
                        let consts: Vec<&str> = self.consts.keys().map(String::as_str).collect();
                        let diagnostic = Diagnostic::error(
                            "E203",
                            name.span,
                            format!("`{}` is not known here", name.name),
                        )
                        .nearest(&name.name, consts)
                        .or_help("a constant: a literal or the name of a `const`");
                        return Err(self.report(diagnostic));
                    }
                },
                _ => return Err(self.not_constant(e)),
            },
            ExprKind::Neg(inner) => {
                let value = self.fold(inner, words)?;
                fold::negate(&value).ok_or(()).map_err(|()| self.not_constant(e))?
            }
            ExprKind::Call(name, arguments) if name.name == "instant" => match arguments.as_slice() {
                [Expr { kind: ExprKind::String(text), span, .. }] => match parse_instant(text) {
                    Some(at) => Literal::Instant(at),
                    None => {
                        let message = format!("`{text}` is not a time");
                        return Err(self.report(
                            Diagnostic::error("E104", *span, message).help("`2026-03-01T00:00:00Z`"),
                        ));
                    }
                },
                _ => {
                    return Err(self.report(
                        Diagnostic::error("E207", name.span, "`instant` takes a time in quotes")
                            .help("`instant(\"2026-03-01T00:00:00Z\")`"),
                    ));
                }
            },
            ExprKind::Call(name, _) if self.macros.defs.contains_key(name.name.as_str()) => {
                let expanded = self.expanded(|x| x.expr(e)).ok_or(Fail)?;
                self.fold(&expanded, words)?
            }
            ExprKind::Call(name, arguments) => {
                let values: Vec<Literal> =
                    arguments.iter().map(|a| self.fold(a, words)).collect::<Result<_, _>>()?;
                fold::call(&name.name, &values).ok_or(()).map_err(|()| self.not_constant(e))?
            }
            ExprKind::Not(inner) => match self.fold(inner, words)? {
                Literal::Bool(b) => Literal::Bool(!b),
                Literal::Null => Literal::Null,
                _ => return Err(self.not_constant(e)),
            },
            ExprKind::IsNull(inner) => Literal::Bool(self.fold(inner, words)? == Literal::Null),
            ExprKind::If(condition, yes, no) => {
                let (yes, no) = (self.fold(yes, words)?, self.fold(no, words)?);
                match self.fold(condition, words)? {
                    Literal::Bool(true) => yes,
                    Literal::Bool(false) | Literal::Null => no,
                    _ => return Err(self.not_constant(condition)),
                }
            }
            ExprKind::Binary(Op::Plain(op), a, b) => {
                let (a, b) = (self.fold(a, words)?, self.fold(b, words)?);
                match fold::binary(*op, &a, &b) {
                    Some(value) => value,
                    None => return Err(self.not_constant(e)),
                }
            }
            _ => return Err(self.not_constant(e)),
        })
    }

    fn not_constant(&mut self, e: &Expr) -> Fail {
        let text = self.slice(e.span).to_owned();
        self.report(
            Diagnostic::error("E201", e.span, format!("expected a constant, found `{text}`"))
                .help("a literal, a `const`, or a calculation with them"),
        )
    }

    /// A constant bound: a literal duration, a `const` or `param`, or a calculation with them; E303.
    pub(super) fn bound(&mut self, e: &Expr) -> Lowered<Micros> {
        if let ExprKind::Path(path) = &e.kind {
            let name = path.first().map(|p| p.name.clone()).unwrap_or_default();
            if path.len() > 1 || !self.consts.contains_key(&name) {
                let text = self.slice(e.span).to_owned();
                let consts: Vec<&str> = self.consts.keys().map(String::as_str).collect();
                let diagnostic = if path.len() == 1 {
                    Diagnostic::error("E203", e.span, format!("`{text}` is not known here"))
                        .nearest(&name, consts)
                        .or_help("a duration like `10m`, a `const` or a `param`")
                } else {
                    Diagnostic::error("E303", e.span, "this bound must be constant")
                        .help("a duration like `10m`, a `const` or a `param`")
                };
                return Err(self.report(diagnostic));
            }
        }
        match self.fold(e, false)? {
            Literal::Duration(d) if d >= 0 => Ok(d),
            Literal::Duration(_) => {
                let message = format!("`{}` is less than nothing", self.slice(e.span));
                Err(self.report(Diagnostic::error("E201", e.span, message).help("for example `10m`")))
            }
            other => {
                let text = self.slice(e.span).to_owned();
                let message = format!("expected duration, found {} `{text}`", literal_type(&other).show());
                let diagnostic = Diagnostic::error("E201", e.span, message);
                let diagnostic = match other {
                    Literal::Int(_) => {
                        diagnostic.help(format!("did you mean `{text}s`?")).replace(format!("{text}s"))
                    }
                    _ => diagnostic.help("for example `10m`"),
                };
                Err(self.report(diagnostic))
            }
        }
    }

    /// A literal as a field of this type holds it.
    pub(super) fn coerce(&mut self, literal: Literal, ty: &Type, e: &Expr) -> Lowered<Literal> {
        Ok(match (literal, ty) {
            (Literal::Null, _) => Literal::Null,
            (l @ Literal::Bool(_), Type::Bool)
            | (l @ Literal::Int(_), Type::Int)
            | (l @ Literal::Decimal(_), Type::Decimal) => l,
            (l @ Literal::String(_), Type::String)
            | (l @ Literal::Duration(_), Type::Duration)
            | (l @ Literal::Instant(_), Type::Instant) => l,
            (Literal::Int(i), Type::Decimal) => Literal::Decimal(Decimal::from_int(i)),
            (Literal::Int(i), Type::Float) => Literal::Float(i as f64),
            (Literal::Decimal(d), Type::Float) => Literal::Float(d.to_f64()),
            (Literal::String(s), Type::Instant) if parse_instant(&s).is_some() => {
                Literal::Instant(parse_instant(&s).unwrap_or(0))
            }
            (Literal::String(s), Type::Ip) if s.parse::<std::net::IpAddr>().is_ok() => {
                s.parse().map(Literal::Ip).map_err(|_| Fail)?
            }
            (l @ Literal::Ip(_), Type::Ip) | (l @ Literal::Geo(..), Type::Geo) => l,
            (l, Type::Geo) if l.place().is_some() => {
                l.place().map(|(lat, lon)| Literal::Geo(lat, lon)).ok_or(Fail)?
            }
            (Literal::List(items), Type::List(item)) => Literal::List(
                items.into_iter().map(|one| self.coerce(one, item, e)).collect::<Result<_, _>>()?,
            ),
            (Literal::String(s), Type::Enum(words)) => {
                if !words.contains(&s) {
                    return Err(self.not_a_word(&s, words, e.span));
                }
                Literal::String(s)
            }
            (other, _) => {
                let text = self.slice(e.span).to_owned();
                let message =
                    format!("expected {}, found {} `{text}`", show_type(ty), literal_type(&other).show());
                let diagnostic = Diagnostic::error("E201", e.span, message);
                return Err(self.report(match (other, ty) {
                    (Literal::Int(_), Type::Duration) => {
                        diagnostic.help(format!("did you mean `{text}s`?")).replace(format!("{text}s"))
                    }
                    (_, Type::Geo) => diagnostic.help("latitude and longitude: `[52.5, 13.4]`"),
                    (_, Type::Instant) => diagnostic.help("`instant(\"2026-03-01T00:00:00Z\")`"),
                    _ => diagnostic.help(format!("a value of type {}", show_type(ty))),
                }));
            }
        })
    }

    /// E210.
    pub(super) fn not_a_word(&mut self, word: &str, words: &[String], span: crate::source::Span) -> Fail {
        let message = format!("`{word}` is none of {}", words.join(", "));
        let diagnostic = Diagnostic::error("E210", span, message)
            .nearest(word, words.iter().map(String::as_str))
            .or_help("one of these words");
        self.report(diagnostic)
    }
}
