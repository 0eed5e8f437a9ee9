//! Expressions: long ones break before `and` and `or`, then before other operators, `then` and `else`.

use super::layout::Doc;
use super::{Fail, Walk, Walked, spaced};
use crate::lex::Kind;

const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">=", "in", "contains", "matches", "reaches"];

impl Walk {
    pub(super) fn expr(&mut self) -> Walked<Doc> {
        if !self.at("if") {
            return self.chain(&["or"], |w| w.chain(&["and"], Self::negation));
        }
        let head = spaced(vec![self.token(), self.expr()?]);
        let yes = spaced(vec![self.expect("then")?, self.expr()?]);
        let no = spaced(vec![self.expect("else")?, self.expr()?]);
        Ok(Doc::Group(vec![head, Doc::Indent(vec![Doc::Line, yes, Doc::Line, no])]))
    }

    /// `a op b op c`, broken before each operator or before none.
    fn chain(&mut self, signs: &[&str], mut part: impl FnMut(&mut Self) -> Walked<Doc>) -> Walked<Doc> {
        let first = part(self)?;
        let mut rest = Vec::new();
        while signs.iter().any(|s| self.at(s)) {
            rest.push(Doc::Line);
            rest.push(spaced(vec![self.token(), part(self)?]));
        }
        Ok(if rest.is_empty() { first } else { Doc::Group(vec![first, Doc::Indent(rest)]) })
    }

    fn negation(&mut self) -> Walked<Doc> {
        let mut parts = Vec::new();
        while self.at("not") {
            parts.push(self.token());
        }
        parts.push(self.comparison()?);
        Ok(spaced(parts))
    }

    fn comparison(&mut self) -> Walked<Doc> {
        let left = self.coalesce()?;
        if self.at("is") {
            let mut parts = vec![left, self.token()];
            if self.at("not") {
                parts.push(self.token());
            }
            parts.push(self.expect("null")?);
            return Ok(spaced(parts));
        }
        let mut operator = Vec::new();
        if (self.at("not") && self.ahead(1, "in"))
            || ((self.at("starts") || self.at("ends")) && self.ahead(1, "with"))
        {
            operator.push(self.token());
            operator.push(self.token());
        } else if COMPARISONS.iter().any(|s| self.at(s)) {
            operator.push(self.token());
        } else {
            return Ok(left);
        }
        operator.push(self.coalesce()?);
        Ok(Doc::Group(vec![left, Doc::Indent(vec![Doc::Line, spaced(operator)])]))
    }

    fn coalesce(&mut self) -> Walked<Doc> {
        self.chain(&["??"], |w| w.chain(&["+", "-"], |w| w.chain(&["*", "/", "%"], Self::unary)))
    }

    fn unary(&mut self) -> Walked<Doc> {
        let mut parts = Vec::new();
        while self.at("-") {
            parts.push(self.token());
        }
        parts.push(self.atom()?);
        Ok(Doc::Concat(parts))
    }

    pub(super) fn atom(&mut self) -> Walked<Doc> {
        match self.kind() {
            Kind::Number(_) | Kind::Duration(_) | Kind::Text(_) => Ok(self.token()),
            Kind::Name(_) | Kind::Quoted(_) => self.named(),
            Kind::Sign("(") => {
                let open = self.token();
                let inner = vec![Doc::Soft, self.expr()?];
                let close = self.closing(inner, ")", Doc::Soft)?;
                Ok(Doc::Group(vec![open, close]))
            }
            Kind::Sign("[") => self.list("[", "]", Self::value),
            Kind::Sign("@") => {
                let mut parts = vec![self.token(), self.name()?];
                if self.at("[") {
                    parts.push(self.token());
                    parts.push(self.expr()?);
                    parts.push(self.expect("]")?);
                    if self.at(".") {
                        parts.push(self.token());
                        parts.push(self.name()?);
                    }
                }
                Ok(Doc::Concat(parts))
            }
            _ => Err(Fail),
        }
    }

    /// What stands inside a bracket, the comments before its end, and the end.
    fn closing(&mut self, mut inner: Vec<Doc>, close: &str, edge: Doc) -> Walked<Doc> {
        self.own_lines(&mut inner);
        Ok(Doc::Concat(vec![Doc::Indent(inner), edge, self.expect(close)?]))
    }

    pub(super) fn path(&mut self) -> Walked<Doc> {
        let mut parts = vec![self.name()?];
        while self.at(".") {
            parts.push(self.token());
            parts.push(self.name()?);
        }
        Ok(Doc::Concat(parts))
    }

    /// A path, a call or a window.
    fn named(&mut self) -> Walked<Doc> {
        let path = self.path()?;
        if !self.at("(") {
            return Ok(path);
        }
        let start = self.at;
        if let Ok(arguments) = self.window() {
            return Ok(Doc::Concat(vec![path, arguments]));
        }
        self.at = start;
        Ok(Doc::Concat(vec![path, self.list("(", ")", Self::value)?]))
    }

    /// The window at the parenthesis; fails on a plain call, before it has taken a comment.
    fn window(&mut self) -> Walked<Doc> {
        if !self.is_window() {
            return Err(Fail);
        }
        let open = self.token();
        let argument = self.expr()?;
        let mut head = vec![argument, self.expect("over")?, self.atom()?];
        if self.at("before") {
            head.push(self.token());
            head.push(self.name()?);
        }
        let mut inner = vec![Doc::Soft, spaced(head)];
        if self.at("where") {
            inner.push(Doc::Line);
            inner.push(spaced(vec![self.token(), self.expr()?]));
        }
        let close = self.closing(inner, ")", Doc::Soft)?;
        Ok(Doc::Group(vec![open, close]))
    }

    /// `over` follows the first argument: a name alone, not a path's part or an operand.
    fn is_window(&self) -> bool {
        let mut depth = 0usize;
        for ahead in 0.. {
            let Some(item) = self.items.get(self.at + ahead) else { return false };
            match &item.kind {
                Kind::Sign("(" | "[" | "{") => depth += 1,
                Kind::Sign(")" | "]" | "}") if depth <= 1 => return false,
                Kind::Sign(")" | "]" | "}") => depth -= 1,
                Kind::Sign(",") if depth == 1 => return false,
                Kind::Name(word) if depth == 1 && word == "over" && ahead > 1 => {
                    let before = self.items.get(self.at + ahead - 1).map(|i| &i.kind);
                    let operand = match before {
                        Some(Kind::Sign(sign)) => matches!(*sign, ")" | "]"),
                        Some(Kind::Name(word)) => !is_operator(word) || self.ahead(ahead - 2, "."),
                        Some(Kind::End) | None => false,
                        Some(_) => true,
                    };
                    if operand {
                        return true;
                    }
                }
                Kind::End => return false,
                _ => {}
            }
        }
        false
    }

    /// `expr | object`.
    pub(super) fn value(&mut self) -> Walked<Doc> {
        if self.at("{") { self.object() } else { self.expr() }
    }

    /// `{ a: 1, b }`.
    pub(super) fn object(&mut self) -> Walked<Doc> {
        self.list("{", "}", |w| {
            let key = w.string().or_else(|Fail| w.name())?;
            if !w.at(":") {
                return Ok(key);
            }
            let key = Doc::Concat(vec![key, w.token()]);
            Ok(spaced(vec![key, w.value()?]))
        })
    }
}

/// A word after which an operand comes.
fn is_operator(word: &str) -> bool {
    matches!(
        word,
        "and" | "or" | "not" | "in" | "contains" | "with" | "matches" | "reaches" | "if" | "then" | "else"
    )
}
