//! A rule and its clauses, but for `match` and `test`.

use super::{Parsed, Parser};
use crate::ast::{Expr, Ident, Key, Let, Overlap, ReasonPart, Rule, Uses};
use crate::diagnostic::Diagnostic;
use crate::ir::{Destination, Mode};
use crate::lex::{Kind, lex};
use crate::source::Span;

pub(crate) const CLAUSES: &[&str] = &[
    "title", "about", "owner", "runbook", "version", "reason", "tags", "mode", "param", "from", "by",
    "match", "having", "unless", "let", "severity", "score", "emit", "on", "send", "cooldown", "overlap",
    "test",
];

impl Parser<'_> {
    pub(super) fn rule(&mut self) -> Parsed<Rule> {
        let start = self.span();
        self.bump();
        let name = self.name("the name of the rule")?;
        let uses = if self.at_word("uses") { Some(self.uses()?) } else { None };
        let errors = self.diagnostics.len();
        let rule = self.body(start, name, uses)?;
        if rule.uses.is_none() && rule.pattern.is_none() && self.diagnostics.len() == errors {
            let message = format!("rule `{}` matches nothing", rule.name.name);
            self.report(
                Diagnostic::error("E107", rule.name.span, message).help("add `match within 10m { .. }`"),
            );
        }
        Ok(rule)
    }

    fn uses(&mut self) -> Parsed<Uses> {
        let start = self.span();
        self.bump();
        let template = self.name("the name of a template")?;
        self.sign("(")?;
        let arguments = self.list_until(")", |p| {
            let name = p.name("a parameter")?;
            p.sign(":")?;
            Ok((name, p.expr()?))
        })?;
        for (at, (name, _)) in arguments.iter().enumerate() {
            if arguments.iter().take(at).any(|(other, _)| other.name == name.name) {
                self.report(
                    Diagnostic::error("E106", name.span, format!("`{}` is given twice", name.name))
                        .help("keep one"),
                );
            }
        }
        Ok(Uses { template, arguments, span: self.since(start) })
    }

    /// The clauses of a rule or template.
    pub(super) fn body(&mut self, start: Span, name: Ident, uses: Option<Uses>) -> Parsed<Rule> {
        let mut rule = Rule {
            name,
            span: start,
            uses,
            params: Vec::new(),
            lets: Vec::new(),
            title: None,
            about: None,
            owner: None,
            runbook: None,
            version: None,
            tags: Vec::new(),
            mode: None,
            from: Vec::new(),
            by: Vec::new(),
            pattern: None,
            having: None,
            unless: None,
            severity: None,
            score: None,
            reason: Vec::new(),
            emit: Vec::new(),
            send: Vec::new(),
            timeout: None,
            cooldown: None,
            cooldown_per: Vec::new(),
            overlap: None,
            tests: Vec::new(),
        };
        self.sign("{")?;
        let mut seen: Vec<String> = Vec::new();
        loop {
            if self.eat_sign("}") {
                break;
            }
            if *self.kind() == Kind::End || self.at_rule() {
                self.expected("a clause or `}`");
                break;
            }
            let at = self.at;
            if self.clause(&mut rule, &mut seen).is_err() {
                self.recover(at, CLAUSES);
            }
        }
        rule.span = self.since(start);
        Ok(rule)
    }

    fn clause(&mut self, rule: &mut Rule, seen: &mut Vec<String>) -> Parsed<()> {
        let span = self.span();
        let Kind::Name(word) = self.kind().clone() else {
            return Err(self.expected("a clause or `}`"));
        };
        if !CLAUSES.contains(&word.as_str()) {
            return self.unknown_clause(&word, span);
        }
        if !matches!(word.as_str(), "let" | "param" | "test") {
            if seen.contains(&word) {
                self.report(
                    Diagnostic::error("E106", span, format!("`{word}` is given twice")).help("keep one"),
                );
            }
            seen.push(word.clone());
        }
        self.bump();
        match word.as_str() {
            "title" => rule.title = Some(self.string("a string")?),
            "about" => rule.about = Some(self.string("a string")?),
            "owner" => rule.owner = Some(self.string("a string")?),
            "runbook" => rule.runbook = Some(self.string("a string")?),
            "version" => rule.version = Some(self.string("a string")?),
            "reason" => rule.reason = self.reason()?,
            "tags" => rule.tags = self.commas(|p| p.name("a tag"))?,
            "mode" => rule.mode = Some(self.mode()?),
            "from" => {
                rule.from = self.commas(|p| {
                    let name = p.name("a stream")?;
                    let condition = if p.eat_word("where") { Some(p.expr()?) } else { None };
                    Ok((name, condition))
                })?;
            }
            "by" => rule.by = self.commas(Self::key)?,
            "match" => rule.pattern = Some(self.pattern(span)?),
            "having" => rule.having = Some(self.expr()?),
            "unless" => rule.unless = Some(self.expr()?),
            "severity" => rule.severity = Some(self.expr()?),
            "score" => rule.score = Some(self.expr()?),
            "emit" => rule.emit = self.object()?,
            "send" => rule.send = self.commas(Self::destination)?,
            "cooldown" => {
                let bound = self.atom()?;
                if self.eat_word("per") {
                    rule.cooldown_per = self.commas(|p| p.path("a field"))?;
                }
                rule.cooldown = Some((bound, span));
            }
            "overlap" => rule.overlap = Some(self.overlap(span)?),
            "test" => {
                let test = self.test(span)?;
                rule.tests.push(test);
            }
            "let" => {
                let name = self.name("a name")?;
                self.sign("=")?;
                let value = self.expr()?;
                rule.lets.push(Let { name, value });
            }
            "param" => {
                let param = self.param()?;
                if param.value.is_none() {
                    let message = format!("expected `=` and a value after `{}`", param.name.name);
                    self.report(
                        Diagnostic::error("E101", param.name.span, message)
                            .help("a `param` of a rule has its value; one of a template may be left open"),
                    );
                }
                rule.params.push(param);
            }
            _ => {
                self.word("timeout")?;
                let span = self.since(span);
                self.word("emit")?;
                rule.timeout = Some((self.object()?, span));
            }
        }
        Ok(())
    }

    /// A clause word begins the line and what follows fits no operand: the expression before it is not finished.
    pub(super) fn clause_begins(&self) -> bool {
        self.clause_ahead(0)
    }

    /// The same for a later token.
    pub(super) fn clause_ahead(&self, from: usize) -> bool {
        const OPERATORS: &[&str] = &[
            "and", "or", "in", "is", "not", "contains", "starts", "ends", "matches", "reaches", "then",
            "else", "over", "before", "where", "until", "cancel", "within",
        ];
        let first = |ahead: usize| self.tokens.get(self.at + from + ahead).is_some_and(|t| t.first);
        let follows = match self.peek(from + 1) {
            Kind::Text(_) | Kind::Duration(_) | Kind::Number(_) | Kind::Sign("{") => true,
            Kind::Name(next) => !OPERATORS.contains(&next.as_str()),
            _ => false,
        };
        first(0)
            && !first(1)
            && follows
            && matches!(self.peek(from), Kind::Name(n) if CLAUSES.contains(&n.as_str()))
    }

    fn unknown_clause(&mut self, word: &str, span: Span) -> Parsed<()> {
        let diagnostic = match word {
            "where" => Diagnostic::error("E118", span, "`where` filters one step or one stream").help("did you mean `having`?").replace("having"),
            "within" => Diagnostic::error("E117", span, "`within` belongs on an arrow or on `match`").help("write `match within 1h { .. }`"),
            "then" => Diagnostic::error("E101", span, "expected a clause, found `then`").help("steps stand inside `match { .. }`"),
            _ => Diagnostic::error("E103", span, format!("`{word}` is not a clause"))
                .nearest(word, CLAUSES.iter().copied())
                .or_help(match word {
                    "and" | "or" | "in" | "is" => "the expression before it ended here",
                    "when" | "if" | "filter" | "condition" => "a condition on the match is `having`",
                    "window" | "timeframe" | "maxspan" => "the bound of the match is `match within 10m { .. }`",
                    "group" | "key" => "the key is `by`",
                    "description" => "`about`",
                    _ => "clauses: `title owner tags mode from by match having unless severity score reason emit send cooldown overlap test`",
                }),
        };
        self.report(diagnostic);
        Err(super::Fail)
    }

    pub(super) fn commas<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_sign(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn mode(&mut self) -> Parsed<Mode> {
        for (word, mode) in [("live", Mode::Live), ("shadow", Mode::Shadow), ("off", Mode::Off)] {
            if self.eat_word(word) {
                return Ok(mode);
            }
        }
        Err(self.expected_with("a mode", "`live`, `shadow` or `off`"))
    }

    fn key(&mut self) -> Parsed<Key> {
        let name: Ident = self.name("a key")?;
        if self.at_sign(".") {
            return Err(self.expected_with(
                "the key's name alone",
                "name the key and map it: `by user (login.user_id)`",
            ));
        }
        let mut paths = Vec::new();
        if self.eat_sign("(") {
            paths = self.list_until(")", |p| {
                let path = p.path("`stream.field`")?;
                if path.len() < 2 {
                    let span = p.last_span();
                    let message = format!("expected `stream.field`, found `{}`", p.slice(span));
                    p.report(Diagnostic::error("E101", span, message).help("say whose field it is"));
                    return Err(super::Fail);
                }
                Ok(path)
            })?;
        }
        Ok(Key { name, paths })
    }

    fn destination(&mut self) -> Parsed<Destination> {
        if self.eat_word("topic") {
            return Ok(Destination::Topic(self.string("a topic in quotes")?));
        }
        if self.eat_word("webhook") {
            return Ok(Destination::Webhook(self.string("a webhook in quotes")?));
        }
        Err(self.expected_with("a destination", "`topic \"..\"` or `webhook \"..\"`"))
    }

    fn overlap(&mut self, start: Span) -> Parsed<(Overlap, Span)> {
        let mode = if self.eat_word("none") {
            Overlap::None
        } else if self.eat_word("all") {
            Overlap::All
        } else if self.eat_word("per") {
            if self.eat_word("start") {
                Overlap::PerStart
            } else if self.eat_word("end") {
                Overlap::PerEnd
            } else {
                return Err(self.expected("`start` or `end`"));
            }
        } else if self.at_word("from") {
            self.bump();
            let names_a_step = match self.peek(1) {
                Kind::Name(next) => !CLAUSES.contains(&next.as_str()),
                next => matches!(next, Kind::Quoted(_)),
            };
            if self.at_word("last") && names_a_step {
                self.bump();
                Overlap::FromLast(self.name("a step")?)
            } else {
                Overlap::From(self.name("a step")?)
            }
        } else {
            return Err(self.expected_with(
                "an overlap",
                "`none`, `per start`, `per end`, `from STEP`, `from last STEP` or `all`",
            ));
        };
        Ok((mode, self.since(start)))
    }

    /// The string after `reason`, with its `{expr}` parts parsed in place.
    fn reason(&mut self) -> Parsed<Vec<ReasonPart>> {
        let span = self.span();
        let decoded = self.string("a string")?;
        let whole = self.slice(span).to_owned();
        let prefix = if whole.starts_with('r') { 2 } else { 1 };
        let raw = whole.get(prefix..whole.len().saturating_sub(1)).unwrap_or("");
        let base = span.start as usize + prefix;
        if !raw.contains(['{', '}']) {
            return Ok(vec![ReasonPart::Text(decoded)]);
        }
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut at = 0;
        while let Some(next) = raw.get(at..).and_then(|r| r.chars().next()) {
            let rest = raw.get(at..).unwrap_or("");
            if rest.starts_with("{{") || rest.starts_with("}}") {
                text.push(next);
                at += 2;
            } else if rest.starts_with("\\u{") && prefix == 1 {
                let end = rest.find('}').map_or(rest.len(), |e| e + 1);
                text.push_str(rest.get(..end).unwrap_or(""));
                at += end;
            } else if next == '{' {
                let Some(length) = rest.find('}') else {
                    let open = Span { start: (base + at) as u32, end: (base + at + 1) as u32, ..span };
                    self.report(
                        Diagnostic::error("E102", open, "this brace is not closed")
                            .help("`{{` is a brace in text"),
                    );
                    return Err(super::Fail);
                };
                if !text.is_empty() {
                    parts.push(ReasonPart::Text(self.unescape(&std::mem::take(&mut text), prefix)));
                }
                let inner = rest.get(1..length).unwrap_or("");
                parts.push(ReasonPart::Value(self.embedded(inner, base + at + 1)?));
                at += length + 1;
            } else if next == '}' {
                let close = Span { start: (base + at) as u32, end: (base + at + 1) as u32, ..span };
                self.report(
                    Diagnostic::error("E102", close, "this brace is not opened")
                        .help("`}}` is a brace in text"),
                );
                return Err(super::Fail);
            } else {
                text.push(next);
                at += next.len_utf8();
            }
        }
        if !text.is_empty() {
            parts.push(ReasonPart::Text(self.unescape(&text, prefix)));
        }
        Ok(parts)
    }

    fn unescape(&self, raw: &str, prefix: usize) -> String {
        if prefix == 2 {
            return raw.to_owned();
        }
        let mut ignored = Vec::new();
        match lex(self.source, &format!("\"{raw}\""), 0, &mut ignored).into_iter().next().map(|t| t.kind) {
            Some(Kind::Text(text)) => text,
            _ => raw.to_owned(),
        }
    }

    /// Parses an expression inside a string; `\"` counts as `"`.
    fn embedded(&mut self, inner: &str, base: usize) -> Parsed<Expr> {
        let plain = inner.replace("\\\"", " \"");
        let mut diagnostics = Vec::new();
        let tokens = lex(self.source, &plain, base, &mut diagnostics);
        let mut nested = Parser {
            source: self.source,
            text: self.text,
            tokens,
            at: 0,
            diagnostics,
            depth: 0,
            operators: 0,
        };
        let parsed = nested.expr();
        let rest =
            if parsed.is_ok() && *nested.kind() != Kind::End { Some(nested.expected("`}`")) } else { None };
        for diagnostic in &mut nested.diagnostics {
            diagnostic.message = diagnostic.message.replace("the end of the file", "the closing brace");
        }
        self.diagnostics.append(&mut nested.diagnostics);
        match rest {
            Some(fail) => Err(fail),
            None => parsed,
        }
    }
}
