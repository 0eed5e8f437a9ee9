//! Tokens to the syntax tree: recursive descent, one file per part of the grammar.
//!
//! A word is a keyword only where the grammar asks for one (`Parser::at_word`); everywhere else it is a name. After an
//! error the parser goes on at the next clause or closing brace.
//!
//! INVARIANT: `Fail` is returned only after a diagnostic was pushed.

mod expr;
mod file;
mod rule;
mod sql;
mod steps;
mod test;

pub(crate) use rule::CLAUSES;

use crate::ast::{File, Ident, Path};
use crate::diagnostic::Diagnostic;
use crate::lex::{Kind, Token, lex};
use crate::source::Span;
use crate::types::Micros;

/// A diagnostic was pushed; the construct is lost.
pub(crate) struct Fail;

pub(crate) type Parsed<T> = Result<T, Fail>;

/// Most diagnostics of one file.
pub(crate) const LIMIT: usize = 20;

/// Parses one file.
pub(crate) fn parse_file(source: u32, text: &str) -> (File, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let tokens = lex(source, text, 0, &mut diagnostics);
    let mut parser = Parser { source, text, tokens, at: 0, diagnostics, depth: 0, operators: 0 };
    let file = parser.file();
    let mut diagnostics = parser.diagnostics;
    diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
    diagnostics.dedup_by(|b, a| a.span == b.span && a.code == b.code);
    diagnostics.truncate(LIMIT);
    (file, diagnostics)
}

pub(crate) struct Parser<'a> {
    source: u32,
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    diagnostics: Vec<Diagnostic>,
    /// How deep the expression is nested.
    depth: u32,
    /// Operators of the outermost expression so far.
    operators: u32,
}

const END: Kind = Kind::End;

impl Parser<'_> {
    fn kind(&self) -> &Kind {
        self.peek(0)
    }

    fn peek(&self, ahead: usize) -> &Kind {
        self.tokens.get(self.at + ahead).map_or(&END, |t| &t.kind)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).or(self.tokens.last()).map(|t| t.span).unwrap_or_default()
    }

    /// Span of the token before.
    fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map(|t| t.span).unwrap_or_default()
    }

    fn since(&self, start: Span) -> Span {
        Span { end: self.last_span().end.max(start.start), ..start }
    }

    fn bump(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The token is this bare word.
    fn at_word(&self, word: &str) -> bool {
        self.word_ahead(0, word)
    }

    fn word_ahead(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek(ahead), Kind::Name(n) if n == word)
    }

    fn at_sign(&self, sign: &str) -> bool {
        self.sign_ahead(0, sign)
    }

    fn sign_ahead(&self, ahead: usize, sign: &str) -> bool {
        matches!(self.peek(ahead), Kind::Sign(s) if *s == sign)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.bump();
        }
        found
    }

    fn eat_sign(&mut self, sign: &str) -> bool {
        let found = self.at_sign(sign);
        if found {
            self.bump();
        }
        found
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The token as a message shows it.
    fn found(&self) -> String {
        match self.kind() {
            Kind::End => "the end of the file".to_owned(),
            Kind::Text(_) => "a string".to_owned(),
            _ => format!("`{}`", self.slice(self.span())),
        }
    }

    /// E101 here.
    fn expected(&mut self, what: &str) -> Fail {
        self.expected_with(what, &format!("put {what} here"))
    }

    /// E101 with a fix. Where the next rule begins too early, the guilty place is the end of what stands before it.
    fn expected_with(&mut self, what: &str, help: &str) -> Fail {
        let message = format!("expected {what}, found {}", self.found());
        let span = if self.at_rule() { self.last_span() } else { self.span() };
        self.report(Diagnostic::error("E101", span, message).help(help));
        Fail
    }

    fn sign(&mut self, sign: &'static str) -> Parsed<()> {
        if self.eat_sign(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    /// Any name, bare or quoted.
    fn name(&mut self, what: &str) -> Parsed<Ident> {
        let span = self.span();
        match self.kind().clone() {
            Kind::Name(name) => {
                self.bump();
                Ok(Ident { name, span, quoted: false })
            }
            Kind::Quoted(name) => {
                self.bump();
                Ok(Ident { name, span, quoted: true })
            }
            _ => Err(self.expected(what)),
        }
    }

    fn path(&mut self, what: &str) -> Parsed<Path> {
        let mut path = vec![self.name(what)?];
        while self.eat_sign(".") {
            path.push(self.name("a name after the dot")?);
        }
        Ok(path)
    }

    fn string(&mut self, what: &str) -> Parsed<String> {
        match self.kind().clone() {
            Kind::Text(text) => {
                self.bump();
                Ok(text)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A duration literal.
    fn duration(&mut self) -> Parsed<Micros> {
        if let Some(value) = self.spelled_duration() {
            return Ok(value);
        }
        match self.kind().clone() {
            Kind::Duration(value) => {
                self.bump();
                Ok(value)
            }
            Kind::Number(text) => {
                let span = self.span();
                self.report(
                    Diagnostic::error("E201", span, format!("expected duration, found int `{text}`"))
                        .help(format!("did you mean `{text}s`?"))
                        .replace(format!("{text}s")),
                );
                self.bump();
                Ok(1)
            }
            _ => Err(self.expected_with("a duration", "for example `10m`")),
        }
    }

    /// A whole number without sign.
    fn count(&mut self, what: &str) -> Parsed<u32> {
        match self.kind().clone() {
            Kind::Number(text) => {
                let span = self.span();
                self.bump();
                match text.parse() {
                    Ok(value) => Ok(value),
                    Err(_) => {
                        self.report(
                            Diagnostic::error("E104", span, format!("`{text}` is not a count"))
                                .help("a whole number"),
                        );
                        Ok(1)
                    }
                }
            }
            _ => Err(self.expected(what)),
        }
    }

    /// `item {"," item} [","]` up to the closing sign, which is eaten.
    fn list_until<T>(
        &mut self,
        close: &'static str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            if self.eat_sign(close) {
                return Ok(items);
            }
            items.push(item(self)?);
            if !self.eat_sign(",") {
                return match self.eat_sign(close) {
                    true => Ok(items),
                    false => Err(self.expected(&format!("`,` or `{close}`"))),
                };
            }
        }
    }

    /// Skips a balanced `{ .. }`, `( .. )` or `[ .. ]`, if one begins here.
    fn skip_group(&mut self) {
        let mut depth = 0usize;
        loop {
            match self.kind() {
                Kind::Sign("{" | "(" | "[") => depth += 1,
                Kind::Sign("}" | ")" | "]") => depth = depth.saturating_sub(1),
                Kind::End => return,
                _ => {}
            }
            if depth == 0 && !matches!(self.kind(), Kind::Sign("}" | ")" | "]")) {
                return;
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    /// After an error in what began at token `start`: to the next of `words` that begins a line, or to a closing brace.
    fn recover(&mut self, start: usize, words: &[&str]) {
        let mut depth = 0i32;
        for token in self.tokens.get(start..self.at).unwrap_or(&[]) {
            match token.kind {
                Kind::Sign("{") => depth += 1,
                Kind::Sign("}") => depth -= 1,
                _ => {}
            }
        }
        loop {
            let Some(token) = self.tokens.get(self.at) else { return };
            match &token.kind {
                Kind::End => return,
                Kind::Sign("{") => depth += 1,
                Kind::Sign("}") => {
                    if depth <= 0 {
                        return;
                    }
                    depth -= 1;
                }
                Kind::Name(name) => {
                    let fresh = self.at > start && token.first;
                    if fresh && depth <= 0 && words.contains(&name.as_str()) {
                        return;
                    }
                    if fresh && self.at_rule() {
                        return;
                    }
                }
                _ => {}
            }
            self.bump();
        }
    }

    /// `rule name {` or another declaration begins a line here: a brace before it is missing.
    fn at_rule(&self) -> bool {
        let first = self.tokens.get(self.at).is_some_and(|t| t.first);
        first
            && (self.at_word("rule") || self.at_word("stream") || self.at_word("template"))
            && matches!(self.peek(1), Kind::Name(_) | Kind::Quoted(_))
            && (self.sign_ahead(2, "{") || self.sign_ahead(2, "(") || self.word_ahead(2, "uses"))
    }
}
