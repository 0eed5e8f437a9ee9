//! The inside of `match`, and `test` blocks.
//!
//! A match of one step, or of two of which one has a `where`, stands on one line if it fits; else each step has its own.
//! A step with `where` and `until` is broken before each.

use super::layout::Doc;
use super::{Fail, Walk, Walked, spaced};
use crate::lex::Kind;

/// A step, a set or an absence.
struct Unit {
    doc: Doc,
    filtered: bool,
    split: bool,
}

impl Walk {
    /// After the word `match`, which is `head`.
    pub(super) fn pattern(&mut self, head: Doc) -> Walked<Doc> {
        let mut head = vec![head];
        if self.at("within") {
            head.push(self.token());
            head.push(self.atom()?);
        }
        head.push(self.expect("{")?);
        let mut lines = Vec::new();
        let (mut units, mut filtered, mut split) = (0, 0, false);
        loop {
            let count = lines.len();
            self.own_lines(&mut lines);
            split |= lines.len() > count;
            if self.at("}") {
                break;
            }
            let blank = self.blank() && !lines.is_empty();
            lines.push(if blank { Doc::Blank } else { Doc::Line });
            if self.at("cancel") && self.ahead(1, "on") {
                let words = vec![self.token(), self.token(), self.name()?];
                lines.push(self.filtered(words)?);
                split = true;
                continue;
            }
            let unit = self.joined(units > 0)?;
            units += 1;
            filtered += usize::from(unit.filtered);
            split |= unit.split || blank;
            lines.push(unit.doc);
        }
        if split || units > 2 || filtered > 1 {
            lines.push(Doc::Break);
        }
        let close = self.expect("}")?;
        Ok(Doc::Group(vec![spaced(head), Doc::Indent(lines), Doc::Line, close]))
    }

    /// A unit with the arrow before it.
    fn joined(&mut self, arrow: bool) -> Walked<Unit> {
        let mut words = Vec::new();
        if arrow {
            words.push(self.expect("then")?);
            if self.keyword("immediately") || self.keyword("first") {
                words.push(self.token());
            }
            for bound in ["after", "within"] {
                if self.keyword(bound) {
                    words.push(self.token());
                    words.push(self.bound()?);
                }
            }
        }
        self.unit(words)
    }

    /// The word is a keyword here and not a stream: the same rule as the parser's.
    fn keyword(&self, word: &str) -> bool {
        let bare =
            |ahead: usize| matches!(self.items.get(self.at + ahead).map(|i| &i.kind), Some(Kind::Name(_)));
        if !self.at(word) || !bare(0) || self.ahead(1, "}") || self.ahead(1, ",") {
            return false;
        }
        let follows =
            |ahead: usize, words: &[&str]| bare(ahead) && words.iter().any(|w| self.ahead(ahead, w));
        let stream_named_so = follows(2, &["then", "as", "where", "for"]) || self.ahead(2, "}");
        !follows(1, &["where", "as", "then"]) || stream_named_so
    }

    fn bound(&mut self) -> Walked<Doc> {
        let mut parts = vec![self.atom()?];
        if self.at("max") {
            parts.push(self.token());
            parts.push(self.number()?);
        }
        Ok(spaced(parts))
    }

    fn unit(&mut self, mut words: Vec<Doc>) -> Walked<Unit> {
        if self.keyword("no") {
            words.push(self.token());
            if self.at("one") && self.ahead(1, "of") {
                words.extend([self.token(), self.token()]);
                words.push(self.list("{", "}", Self::name)?);
            } else {
                words.push(self.name()?);
            }
            if self.at("for") {
                words.push(self.token());
                words.push(self.bound()?);
            }
            let filtered = self.at("where");
            return Ok(Unit { doc: self.filtered(words)?, filtered, split: false });
        }
        if (self.at("all") || self.at("one")) && self.ahead(1, "of") {
            words.extend([self.token(), self.token()]);
            return self.set(words);
        }
        self.quantifier(&mut words)?;
        if self.at("of") && self.ahead(1, "{") {
            words.push(self.token());
            return self.set(words);
        }
        self.event(words)
    }

    fn set(&mut self, mut words: Vec<Doc>) -> Walked<Unit> {
        words.push(self.list("{", "}", |w| {
            let mut words = Vec::new();
            w.quantifier(&mut words)?;
            Ok(w.event(words)?.doc)
        })?);
        self.alias(&mut words)?;
        Ok(Unit { doc: spaced(words), filtered: false, split: false })
    }

    fn quantifier(&mut self, words: &mut Vec<Doc>) -> Walked<()> {
        if self.at("at") && self.ahead(1, "least") {
            words.extend([self.token(), self.token(), self.number()?]);
        } else if matches!(self.kind(), Kind::Number(_)) {
            words.push(self.token());
            if self.at("to") && matches!(self.items.get(self.at + 1).map(|i| &i.kind), Some(Kind::Number(_)))
            {
                words.extend([self.token(), self.token()]);
            }
        } else if self.at("any") && self.ahead(1, "number") {
            words.extend([self.token(), self.token(), self.expect("of")?]);
        } else if self.keyword("optional") {
            words.push(self.token());
        }
        Ok(())
    }

    fn event(&mut self, mut words: Vec<Doc>) -> Walked<Unit> {
        if self.keyword("consecutive") {
            words.push(self.token());
        }
        words.push(self.name()?);
        self.alias(&mut words)?;
        let filtered = self.at("where");
        let condition = if filtered { Some(spaced(vec![self.token(), self.expr()?])) } else { None };
        let mut quiet = Vec::new();
        if self.at("until") && self.ahead(1, "quiet") {
            quiet.extend([self.token(), self.token(), self.expect("for")?, self.bound()?]);
        }
        let split = condition.is_some() && !quiet.is_empty();
        let doc = match condition {
            Some(condition) if split => {
                let below = vec![Doc::Hard, condition, Doc::Hard, spaced(quiet)];
                Doc::Concat(vec![spaced(words), Doc::Indent(below)])
            }
            condition => {
                words.extend(condition);
                words.extend(quiet);
                spaced(words)
            }
        };
        Ok(Unit { doc, filtered, split })
    }

    fn alias(&mut self, words: &mut Vec<Doc>) -> Walked<()> {
        if self.at("as") {
            words.extend([self.token(), self.name()?]);
        }
        Ok(())
    }

    /// The words, and `where` if it follows.
    pub(super) fn filtered(&mut self, mut words: Vec<Doc>) -> Walked<Doc> {
        if self.at("where") {
            words.push(self.token());
            words.push(self.expr()?);
        }
        Ok(spaced(words))
    }

    /// A line of a `test` block.
    pub(super) fn test_line(&mut self) -> Walked<Doc> {
        if self.at("start") {
            return Ok(spaced(vec![self.token(), self.string()?]));
        }
        if self.at("given") {
            return Ok(spaced(vec![self.token(), self.name()?, self.object()?]));
        }
        if self.at("advance") {
            return Ok(spaced(vec![self.token(), self.expect("to")?, self.number()?]));
        }
        if self.at("expect") {
            return self.expectation();
        }
        let mut words = Vec::new();
        if self.at("at") {
            words.push(self.token());
            words.push(self.times()?);
        }
        if self.at("set") && self.ahead(1, "@") {
            words.push(self.token());
            words.push(Doc::Concat(vec![self.token(), self.name()?]));
            words.extend([self.expect("=")?, self.value()?]);
        } else if words.is_empty() {
            return Err(Fail);
        } else {
            words.extend([self.name()?, self.object()?]);
        }
        Ok(spaced(words))
    }

    fn times(&mut self) -> Walked<Doc> {
        let first = self.number()?;
        if self.at("..") {
            let range = Doc::Concat(vec![first, self.token(), self.number()?]);
            return Ok(spaced(vec![range, self.expect("every")?, self.number()?]));
        }
        let mut parts = vec![first];
        while self.at(",") {
            parts.extend([self.token(), Doc::Line, self.number()?]);
        }
        Ok(Doc::Group(vec![Doc::Indent(parts)]))
    }

    fn expectation(&mut self) -> Walked<Doc> {
        let mut words = vec![self.token()];
        if self.at("nothing") {
            words.push(self.token());
            return Ok(spaced(words));
        }
        if self.at("at") {
            words.extend([self.token(), self.number()?]);
        }
        words.extend([self.number()?, self.name()?]);
        if self.at("{") {
            words.push(self.object()?);
        }
        Ok(spaced(words))
    }
}
