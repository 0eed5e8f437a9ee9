//! Declarations, and the clauses of rules and streams.
//!
//! Declarations of several lines have an empty line before and after; between others an empty line stays if it was there.

use super::layout::Doc;
use super::{Fail, Walk, Walked, spaced};
use crate::lex::Kind;
use crate::parse::CLAUSES;

impl Walk {
    pub(super) fn file(&mut self) -> Walked<Doc> {
        let mut out = Vec::new();
        let mut tall_before = false;
        loop {
            let comments = self.comments();
            let kept = comments.first().map_or(self.blank(), |c| c.blank);
            let blank = self.blank();
            let end = *self.kind() == Kind::End;
            let item = if end { Doc::Nil } else { self.declaration()? };
            let tall = !end && item.broken();
            let apart = kept || tall_before || tall;
            for (index, comment) in comments.iter().enumerate() {
                let blank = if index == 0 { apart } else { comment.blank };
                out.push(if blank && !out.is_empty() { Doc::Blank } else { Doc::Hard });
                out.push(Doc::Text(comment.text.clone()));
            }
            if end {
                return Ok(Doc::Concat(out));
            }
            let blank = if comments.is_empty() { apart } else { blank };
            out.push(if blank && !out.is_empty() { Doc::Blank } else { Doc::Hard });
            out.push(item);
            tall_before = tall;
        }
    }

    fn declaration(&mut self) -> Walked<Doc> {
        match self.text_ahead(0) {
            "stream" => {
                let head = vec![self.token(), self.name()?];
                let body = self.block(Self::stream_clause)?;
                Ok(spaced([head, vec![body]].concat()))
            }
            "list" => self.list_declaration(),
            "lookup" => {
                let mut words = vec![self.token(), self.name()?, self.expect("by")?];
                let key = self.name()?;
                words.push(self.typed(key)?);
                words.push(self.list("{", "}", Self::field)?);
                self.from(&mut words)?;
                Ok(spaced(words))
            }
            "const" => Ok(spaced(vec![self.token(), self.name()?, self.expect("=")?, self.expr()?])),
            "def" => {
                let word = self.token();
                let head = Doc::Concat(vec![self.name()?, self.list("(", ")", Self::name)?]);
                Ok(spaced(vec![word, head, self.expect("=")?, self.expr()?]))
            }
            "template" => {
                let word = self.token();
                let head = Doc::Concat(vec![self.name()?, self.list("(", ")", Self::parameter)?]);
                Ok(spaced(vec![word, head, self.block(Self::clause)?]))
            }
            "rule" => {
                let mut words = vec![self.token(), self.name()?];
                if self.at("uses") {
                    words.push(self.token());
                    let template = self.name()?;
                    words.push(Doc::Concat(vec![template, self.list("(", ")", Self::argument)?]));
                }
                words.push(self.block(Self::clause)?);
                Ok(spaced(words))
            }
            _ => Err(Fail),
        }
    }

    fn list_declaration(&mut self) -> Walked<Doc> {
        let word = self.token();
        let name = self.name()?;
        let mut words = vec![word];
        if self.at("by") {
            words.extend([name, self.token()]);
            let key = self.name()?;
            let key = self.typed(key)?;
            words.push(self.typed(key)?);
        } else {
            words.push(self.typed(name)?);
        }
        if self.at("=") {
            words.push(self.token());
            words.push(self.list("[", "]", Self::value)?);
        }
        self.from(&mut words)?;
        Ok(spaced(words))
    }

    fn from(&mut self, words: &mut Vec<Doc>) -> Walked<()> {
        if self.at("from") {
            words.extend([self.token(), self.string()?]);
        }
        Ok(())
    }

    /// `: type` behind what it is the type of, if one follows.
    fn typed(&mut self, of: Doc) -> Walked<Doc> {
        if !self.at(":") {
            return Ok(of);
        }
        let of = Doc::Concat(vec![of, self.token()]);
        Ok(spaced(vec![of, self.type_name()?]))
    }

    fn type_name(&mut self) -> Walked<Doc> {
        let mut parts = vec![self.name()?];
        if self.at("(") {
            parts.push(self.list("(", ")", Self::name)?);
        }
        if self.at("<") {
            parts.extend([self.token(), self.type_name()?, self.expect(">")?]);
        }
        if self.at("?") {
            parts.push(self.token());
        }
        Ok(Doc::Concat(parts))
    }

    fn field(&mut self) -> Walked<Doc> {
        let path = self.path()?;
        let mut words = vec![self.typed(path)?];
        if self.at("mask") {
            words.push(self.token());
        }
        Ok(spaced(words))
    }

    /// `name: type = value`.
    fn parameter(&mut self) -> Walked<Doc> {
        let name = self.name()?;
        let mut words = vec![self.typed(name)?];
        if self.at("=") {
            words.extend([self.token(), self.expr()?]);
        }
        Ok(spaced(words))
    }

    /// `name: value`.
    fn argument(&mut self) -> Walked<Doc> {
        let name = Doc::Concat(vec![self.name()?, self.expect(":")?]);
        Ok(spaced(vec![name, self.expr()?]))
    }

    fn stream_clause(&mut self) -> Walked<Doc> {
        let word = self.text_ahead(0).to_owned();
        let mut words = vec![self.token()];
        match word.as_str() {
            "topic" => {
                words.push(self.string()?);
                return self.filtered(words);
            }
            "key" => words.push(self.path()?),
            "id" => {
                words.push(self.path()?);
                if self.at("dedupe") {
                    words.extend([self.token(), self.number()?]);
                }
            }
            "fields" => words.push(self.list("{", "}", Self::field)?),
            "late" | "idle" => words.push(self.number()?),
            "time" => self.time(&mut words)?,
            _ => return Err(Fail),
        }
        Ok(spaced(words))
    }

    /// After the word `time`; `late` and `idle` that follow belong to its line.
    fn time(&mut self, words: &mut Vec<Doc>) -> Walked<()> {
        words.push(self.path()?);
        if self.at("in") {
            words.extend([self.token(), self.expect("order")?]);
        }
        if self.at("as") {
            words.push(self.token());
            words.push(self.string().or_else(|Fail| self.name())?);
        }
        if self.at("zone") {
            words.extend([self.token(), self.string()?]);
        }
        for word in ["late", "idle"] {
            let alone = self.items.get(self.at).is_none_or(|i| !i.before.is_empty() || i.blank);
            if self.at(word) && !alone {
                words.extend([self.token(), self.number()?]);
            }
        }
        Ok(())
    }

    fn clause(&mut self) -> Walked<Doc> {
        let word = self.text_ahead(0).to_owned();
        let head = self.token();
        let mut words = vec![head];
        match word.as_str() {
            "title" | "about" | "owner" | "runbook" | "version" | "reason" => words.push(self.string()?),
            "tags" => words.push(self.commas(Self::name)?),
            "mode" => words.push(self.name()?),
            "param" => words.push(self.parameter()?),
            "from" => words.push(self.commas(|w| {
                let words = vec![w.name()?];
                w.filtered(words)
            })?),
            "by" => words.push(self.commas(|w| {
                let name = w.name()?;
                let paths = if w.at("(") { w.list("(", ")", Self::path)? } else { return Ok(name) };
                Ok(spaced(vec![name, paths]))
            })?),
            "match" => return words.pop().map_or(Err(Fail), |head| self.pattern(head)),
            "having" | "unless" | "severity" | "score" => words.push(self.expr()?),
            "let" => words.extend([self.name()?, self.expect("=")?, self.expr()?]),
            "emit" => words.push(self.object()?),
            "on" => words.extend([self.expect("timeout")?, self.expect("emit")?, self.object()?]),
            "send" => {
                words.push(self.commas(|w| Ok(spaced(vec![w.name()?, w.string()?])))?);
            }
            "cooldown" => {
                words.push(self.atom()?);
                if self.at("per") {
                    words.push(self.token());
                    words.push(self.commas(Self::path)?);
                }
            }
            "overlap" => self.overlap(&mut words)?,
            "test" => {
                words.push(self.string()?);
                words.push(self.block(Self::test_line)?);
            }
            _ => return Err(Fail),
        }
        Ok(spaced(words))
    }

    fn overlap(&mut self, words: &mut Vec<Doc>) -> Walked<()> {
        let from = self.at("from");
        let per = self.at("per");
        words.push(self.name()?);
        if per {
            words.push(self.name()?);
        } else if from {
            // `from last x`: a name that stands on the same line and begins no clause.
            let last = self.at("last");
            words.push(self.name()?);
            if last && matches!(self.kind(), Kind::Name(_) | Kind::Quoted(_)) && !self.clause_word() {
                words.push(self.name()?);
            }
        }
        Ok(())
    }

    /// A bare word that begins a clause: the same rule as the parser's.
    fn clause_word(&self) -> bool {
        matches!(self.kind(), Kind::Name(word) if CLAUSES.contains(&word.as_str()))
    }
}
