//! One layout for rule files: `tripline fmt`.
//!
//! Tokens with the comments around them (`trivia`) -> a walk in the shape of the grammar that says where a line may break
//! (`items`, `steps`, `expr`) -> lines of at most [`WIDTH`] columns (`layout`). Tokens keep their spelling and order; only
//! commas at the end of a list are added where it is broken.
//!
//! INVARIANT: the result has the same tokens and comments as the text, else the text comes back as it was.

mod trivia;
mod items;
mod steps;
mod expr;
mod layout;

use crate::diagnostic::Diagnostic;
use crate::lex::{Kind, lex, without_mark};
use crate::parse;
use layout::Doc;
use trivia::{Comment, Item};

/// Columns that a line should not pass. A string or a comment may.
const WIDTH: usize = 100;

/// The text in the one layout. Formatting twice gives the same as once.
///
/// # Errors
/// The diagnostics, if the text has errors of syntax: it is not touched then.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let (_, found) = parse(0, text);
    if found.iter().any(Diagnostic::is_error) {
        return Err(found);
    }
    let text = without_mark(text);
    let mut ignored = Vec::new();
    let tokens = lex(0, text, 0, &mut ignored);
    let mut walk = Walk { items: trivia::attach(text, &tokens), at: 0 };
    let shaped = walk.file().map(|doc| layout::print(&doc, WIDTH));
    Ok(match shaped {
        Ok(shaped) if keeps_all(text, &shaped) => shaped,
        _ => text.to_owned(),
    })
}

/// The walk met what the grammar does not have.
struct Fail;

type Walked<T> = Result<T, Fail>;

/// The tokens and how far the walk has come.
struct Walk {
    items: Vec<Item>,
    at: usize,
}

impl Walk {
    fn text_ahead(&self, ahead: usize) -> &str {
        self.items.get(self.at + ahead).map_or("", |i| i.text.as_str())
    }

    fn kind(&self) -> &Kind {
        self.items.get(self.at).map_or(&Kind::End, |i| &i.kind)
    }

    /// The token is this bare word or sign.
    fn at(&self, text: &str) -> bool {
        self.ahead(0, text)
    }

    fn ahead(&self, ahead: usize, text: &str) -> bool {
        let quoted = matches!(self.items.get(self.at + ahead).map(|i| &i.kind), Some(Kind::Text(_)));
        !quoted && self.text_ahead(ahead) == text
    }

    /// The token and the comments around it; the walk goes on.
    fn token(&mut self) -> Doc {
        let Some(item) = self.items.get_mut(self.at) else { return Doc::Nil };
        self.at += 1;
        let mut parts: Vec<Doc> =
            std::mem::take(&mut item.before).into_iter().map(|c| Doc::Own(c.text)).collect();
        parts.push(Doc::Text(item.text.clone()));
        parts.extend(item.after.take().map(Doc::Trailing));
        Doc::Concat(parts)
    }

    /// This word or sign.
    fn expect(&mut self, text: &str) -> Walked<Doc> {
        if self.at(text) { Ok(self.token()) } else { Err(Fail) }
    }

    fn name(&mut self) -> Walked<Doc> {
        if matches!(self.kind(), Kind::Name(_) | Kind::Quoted(_)) { Ok(self.token()) } else { Err(Fail) }
    }

    fn string(&mut self) -> Walked<Doc> {
        if matches!(self.kind(), Kind::Text(_)) { Ok(self.token()) } else { Err(Fail) }
    }

    fn number(&mut self) -> Walked<Doc> {
        if matches!(self.kind(), Kind::Number(_) | Kind::Duration(_)) { Ok(self.token()) } else { Err(Fail) }
    }

    /// Takes the comments on lines of their own before the token.
    fn comments(&mut self) -> Vec<Comment> {
        self.items.get_mut(self.at).map(|i| std::mem::take(&mut i.before)).unwrap_or_default()
    }

    /// An empty line stands before the token (after its comments).
    fn blank(&self) -> bool {
        self.items.get(self.at).is_some_and(|i| i.blank)
    }

    /// `{ item item }`, each on its own lines; empty lines between them are kept, one at most.
    fn block(&mut self, mut item: impl FnMut(&mut Self) -> Walked<Doc>) -> Walked<Doc> {
        let open = self.expect("{")?;
        let mut inner = Vec::new();
        loop {
            self.own_lines(&mut inner);
            if self.at("}") {
                break;
            }
            let blank = self.blank() && !inner.is_empty();
            inner.push(if blank { Doc::Blank } else { Doc::Hard });
            inner.push(item(self)?);
        }
        let close = self.expect("}")?;
        Ok(match inner.is_empty() {
            true => Doc::Concat(vec![open, Doc::Space, close]),
            false => Doc::Concat(vec![open, Doc::Indent(inner), Doc::Hard, close]),
        })
    }

    fn own_lines(&mut self, into: &mut Vec<Doc>) {
        for comment in self.comments() {
            into.push(if comment.blank && !into.is_empty() { Doc::Blank } else { Doc::Hard });
            into.push(Doc::Text(comment.text));
        }
    }

    /// `{ a, b }`, `[a, b]`, `(a, b)`: on one line, or one item a line. A comma at the end asks for the second.
    fn list(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Walked<Doc>,
    ) -> Walked<Doc> {
        let edge = if open == "{" { Doc::Line } else { Doc::Soft };
        let mut parts = vec![self.expect(open)?];
        let mut inner = Vec::new();
        let mut comma = false;
        while !self.at(close) {
            inner.push(if inner.is_empty() { edge.clone() } else { Doc::Line });
            inner.push(item(self)?);
            comma = self.at(",");
            if comma {
                inner.push(self.token());
            } else if !self.at(close) {
                return Err(Fail);
            }
        }
        if comma {
            inner.push(Doc::Break);
        } else if !inner.is_empty() {
            inner.push(Doc::IfBroken(","));
        }
        self.own_lines(&mut inner);
        let empty = inner.is_empty();
        if !empty {
            parts.push(Doc::Indent(inner));
        }
        parts.push(if empty && open == "{" { Doc::Space } else { edge });
        parts.push(self.expect(close)?);
        Ok(Doc::Group(parts))
    }

    /// `a, b` without brackets: on one line, or one item a line.
    fn commas(&mut self, mut item: impl FnMut(&mut Self) -> Walked<Doc>) -> Walked<Doc> {
        let first = item(self)?;
        let mut rest = Vec::new();
        while self.at(",") {
            rest.extend([self.token(), Doc::Line, item(self)?]);
        }
        Ok(if rest.is_empty() { first } else { Doc::Group(vec![first, Doc::Indent(rest)]) })
    }
}

/// Joined by single spaces.
fn spaced(parts: Vec<Doc>) -> Doc {
    let mut out = Vec::new();
    for part in parts {
        if !out.is_empty() {
            out.push(Doc::Space);
        }
        out.push(part);
    }
    Doc::Concat(out)
}

/// The last guard: the same tokens, but for commas before a closing sign, the same comments, and no error.
fn keeps_all(before: &str, after: &str) -> bool {
    let (_, found) = parse(0, after);
    !found.iter().any(Diagnostic::is_error) && trivia::essence(before) == trivia::essence(after)
}
