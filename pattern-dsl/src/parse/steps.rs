//! The inside of `match`: steps, arrows, quantifiers and absences.
//!
//! Optional steps, sets, groups, looking back and bounds that are computed are parsed and refused (E390, E391).

use super::{Fail, Parsed, Parser};
use crate::ast::{Absence, Event, Expr, Ident, Match, Unit, UnitKind};
use crate::diagnostic::Diagnostic;
use crate::ir::Arrow;
use crate::lex::Kind;
use crate::source::Span;

/// Words that no bare stream name in a step may be.
const STEP_WORDS: &[&str] =
    &["no", "all", "one", "any", "at", "optional", "consecutive", "first", "immediately", "after", "within"];
/// Words that no bare alias may be.
const ALIAS_WORDS: &[&str] = &["if", "not", "true", "false", "null", "and", "or", "in", "is"];

type Quantifier = Option<(u32, Option<u32>)>;

impl Parser<'_> {
    pub(super) fn pattern(&mut self, span: Span) -> Parsed<Match> {
        let within = if self.eat_word("within") { Some(self.atom()?) } else { None };
        self.sign("{")?;
        let mut units: Vec<Unit> = Vec::new();
        if self.eat_sign("}") {
            self.report(Diagnostic::error("E326", span, "a rule needs an event").help("add a step"));
            return Ok(Match { span, within, units });
        }
        self.unit(&mut units, Arrow::Then, None, None)?;
        loop {
            if self.eat_sign("}") {
                break;
            }
            if self.at_word("cancel") && self.word_ahead(1, "on") {
                let start = self.span();
                self.bump();
                let span = self.since(start);
                self.bump();
                self.name("a stream")?;
                if self.eat_word("where") {
                    self.expr()?;
                }
                self.unsupported(Span { end: span.end + 3, ..span }, "cancel on", "`no X` between two steps");
                continue;
            }
            if self.at_word("within") {
                let start = self.span();
                self.bump();
                self.atom()?;
                self.report(
                    Diagnostic::error("E117", start, "`within` belongs on the arrow or on `match`")
                        .help("`then within 1h X`, or `match within 1h { .. }`"),
                );
                continue;
            }
            if !self.eat_word("then") {
                return Err(self.expected_with("`then` or `}`", "steps are joined by `then`"));
            }
            let (arrow, arrow_span, within) = self.arrow()?;
            self.unit(&mut units, arrow, arrow_span, within)?;
        }
        Ok(Match { span, within, units })
    }

    /// A keyword, unless what follows can only mean that it stands as a stream (E105 then).
    fn keyword_here(&self, word: &str) -> bool {
        if !self.at_word(word) || matches!(self.peek(1), Kind::Sign("}" | ",") | Kind::End) {
            return false;
        }
        let follows =
            |ahead, words: &[&str]| matches!(self.peek(ahead), Kind::Name(n) if words.contains(&n.as_str()));
        let stream_named_so = follows(2, &["then", "as", "where", "for"]) || self.sign_ahead(2, "}");
        !follows(1, &["where", "as", "then"]) || stream_named_so
    }

    fn arrow(&mut self) -> Parsed<(Arrow, Option<Span>, Option<Expr>)> {
        let mut arrow = Arrow::Then;
        let mut arrow_span = None;
        let span = self.span();
        if self.keyword_here("immediately") {
            arrow = Arrow::Immediately;
        } else if self.keyword_here("first") {
            arrow = Arrow::First;
        }
        if arrow != Arrow::Then {
            self.bump();
            arrow_span = Some(span);
        }
        if self.keyword_here("after") {
            let start = self.span();
            self.bump();
            self.bound()?;
            self.unsupported(start, "after", "");
        }
        let mut within = None;
        if self.keyword_here("within") {
            self.bump();
            within = Some(self.bound()?);
        }
        Ok((arrow, arrow_span, within))
    }

    fn bound(&mut self) -> Parsed<Expr> {
        let bound = self.atom()?;
        if self.at_word("max") {
            let span = self.span();
            self.unsupported(span, "max", "a constant bound");
            self.bump();
            self.duration()?;
        }
        Ok(bound)
    }

    /// One unit; a refused set or group adds nothing.
    fn unit(
        &mut self,
        units: &mut Vec<Unit>,
        arrow: Arrow,
        arrow_span: Option<Span>,
        within: Option<Expr>,
    ) -> Parsed<()> {
        let start = self.span();
        if self.keyword_here("no") {
            self.bump();
            let absence = self.absence()?;
            let kind = UnitKind::Absence(absence);
            units.push(Unit { arrow, arrow_span, within, span: self.since(start), kind });
            return Ok(());
        }
        if (self.at_word("all") || self.at_word("one")) && self.word_ahead(1, "of") {
            let what = if self.at_word("all") { "all of" } else { "one of" };
            self.bump();
            self.bump();
            let span = self.since(start);
            return self.refused_set(span, what, arrow_span, arrow);
        }
        let quantifier = self.quantifier()?;
        if quantifier.is_some() && self.at_word("times") && self.sign_ahead(1, "{") {
            let span = self.span();
            self.bump();
            self.report(
                Diagnostic::error("E390", span, "groups are not supported yet")
                    .help("repeat the steps, or count alerts"),
            );
            self.skip_group();
            return Ok(());
        }
        if quantifier.is_some() && self.at_word("of") && self.sign_ahead(1, "{") {
            self.bump();
            let span = self.since(start);
            return self.refused_set(span, "at least n of", arrow_span, arrow);
        }
        let event = self.event(quantifier)?;
        units.push(Unit { arrow, arrow_span, within, span: self.since(start), kind: UnitKind::Event(event) });
        Ok(())
    }

    fn refused_set(&mut self, span: Span, what: &str, arrow: Option<Span>, kind: Arrow) -> Parsed<()> {
        if let Some(arrow) = arrow
            && kind == Arrow::Immediately
            && what != "one of"
        {
            self.report(
                Diagnostic::error("E331", arrow, "`immediately` has no single neighbour here").help("`then`"),
            );
        }
        self.unsupported(span, what, "write the steps one after the other, or one rule for each");
        self.skip_group();
        if self.eat_word("as") {
            self.name("a name")?;
        }
        Ok(())
    }

    fn quantifier(&mut self) -> Parsed<Quantifier> {
        let start = self.span();
        let (min, max) = if self.at_word("at") && self.word_ahead(1, "least") {
            self.bump();
            self.bump();
            (self.count("a number")?, None)
        } else if matches!(self.kind(), Kind::Number(_)) {
            let min = self.count("a number")?;
            if self.at_word("to") && matches!(self.peek(1), Kind::Number(_)) {
                self.bump();
                (min, Some(self.count("a number")?))
            } else {
                (min, Some(min))
            }
        } else if self.at_word("any") && self.word_ahead(1, "number") {
            self.bump();
            self.bump();
            self.word("of")?;
            let span = self.since(start);
            self.unsupported(span, "any number of", "`at least 1`");
            return Ok(Some((1, None)));
        } else if self.keyword_here("optional") {
            self.bump();
            self.unsupported(start, "optional", "two rules: with and without it");
            return Ok(None);
        } else {
            return Ok(None);
        };
        let span = self.since(start);
        if min == 0 || max.is_some_and(|max| max < min) {
            let written = self.slice(span).to_owned();
            let help = match max {
                Some(max) if max < min && max > 0 => format!("did you mean `{max} to {min}`?"),
                _ => "at least 1, or leave the step out".to_owned(),
            };
            self.report(Diagnostic::error("E334", span, format!("`{written}` holds nothing")).help(help));
        }
        Ok(Some((min, max)))
    }

    fn event(&mut self, quantifier: Quantifier) -> Parsed<Event> {
        let mut consecutive = false;
        if self.keyword_here("consecutive") {
            let span = self.span();
            consecutive = true;
            self.bump();
            if quantifier.is_none() {
                self.report(
                    Diagnostic::error("E333", span, "`consecutive` what?").help("`at least 2 consecutive X`"),
                );
            }
        }
        let stream = self.step_stream()?;
        let alias = self.alias()?;
        let condition = if self.eat_word("where") { Some(self.expr()?) } else { None };
        if self.at_word("until") && self.word_ahead(1, "quiet") {
            let start = self.span();
            self.bump();
            self.bump();
            let span = self.since(start);
            self.word("for")?;
            self.bound()?;
            self.unsupported(span, "until quiet", "`then no X for D`");
        }
        Ok(Event { quantifier, consecutive, stream, alias, condition })
    }

    fn step_stream(&mut self) -> Parsed<Ident> {
        let stream = self.name("a stream")?;
        if !stream.quoted && STEP_WORDS.contains(&stream.name.as_str()) {
            return Err(self.keyword(&stream));
        }
        if stream.name == "alert" && !stream.quoted {
            self.unsupported(stream.span, "alert", "rules on alerts are not");
        }
        Ok(stream)
    }

    fn keyword(&mut self, name: &Ident) -> Fail {
        let quoted = format!("`{}`", name.name);
        self.report(
            Diagnostic::error("E105", name.span, format!("`{}` reads as a keyword here", name.name))
                .help("quote it in backticks")
                .replace(quoted),
        );
        Fail
    }

    fn alias(&mut self) -> Parsed<Option<Ident>> {
        if !self.eat_word("as") {
            return Ok(None);
        }
        let alias = self.name("an alias")?;
        if !alias.quoted && ALIAS_WORDS.contains(&alias.name.as_str()) {
            return Err(self.keyword(&alias));
        }
        Ok(Some(alias))
    }

    fn absence(&mut self) -> Parsed<Absence> {
        let streams = if self.at_word("one") && self.word_ahead(1, "of") {
            self.bump();
            self.bump();
            self.sign("{")?;
            self.list_until("}", Self::step_stream)?
        } else {
            vec![self.step_stream()?]
        };
        if self.at_word("as") {
            return Err(self
                .expected_with("`for`, `where`, `then` or `}`", "an absence is no event and has no alias"));
        }
        let duration = if self.eat_word("for") { Some(self.bound()?) } else { None };
        let condition = if self.eat_word("where") { Some(self.expr()?) } else { None };
        if duration.is_none() && self.at_word("for") {
            return Err(
                self.expected_with("`then` or `}`", "`for` stands before `where`: `no X for D where ..`")
            );
        }
        Ok(Absence { streams, duration, condition })
    }
}
