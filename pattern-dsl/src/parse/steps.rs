//! The inside of `match`: steps, arrows, quantifiers and absences.
//!
//! Repeated groups are parsed and refused (E390).

use super::{Fail, Parsed, Parser};
use crate::ast::{Absence, Bound, Cancel, Event, Ident, Match, Quantifier, Set, Unit, UnitKind};
use crate::diagnostic::Diagnostic;
use crate::ir::{self, Arrow};
use crate::lex::Kind;
use crate::source::Span;

/// Words that no bare stream name in a step may be.
const STEP_WORDS: &[&str] =
    &["no", "all", "one", "any", "at", "optional", "consecutive", "first", "immediately", "after", "within"];
/// Words that no bare alias may be.
const ALIAS_WORDS: &[&str] = &["if", "not", "true", "false", "null", "and", "or", "in", "is"];

/// `then`'s second word and bounds.
struct Join {
    arrow: Arrow,
    span: Option<Span>,
    after: Option<Bound>,
    within: Option<Bound>,
}

impl Parser<'_> {
    pub(super) fn pattern(&mut self, span: Span) -> Parsed<Match> {
        let within = if self.eat_word("within") { Some(self.atom()?) } else { None };
        self.sign("{")?;
        let mut units: Vec<Unit> = Vec::new();
        if self.eat_sign("}") {
            self.report(Diagnostic::error("E326", span, "a rule needs an event").help("add a step"));
            return Ok(Match { span, within, units, cancels: Vec::new() });
        }
        let plain = Join { arrow: Arrow::Then, span: None, after: None, within: None };
        self.unit(&mut units, plain)?;
        let mut cancels = Vec::new();
        loop {
            if self.eat_sign("}") {
                break;
            }
            if self.at_word("cancel") && self.word_ahead(1, "on") {
                let start = self.span();
                self.bump();
                self.bump();
                let stream = self.name("a stream")?;
                let condition = if self.eat_word("where") { Some(self.expr()?) } else { None };
                cancels.push(Cancel { stream, condition, span: self.since(start) });
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
            if self.at_word("where") {
                let span = self.span();
                self.bump();
                self.expr()?;
                self.report(
                    Diagnostic::error("E118", span, "`where` filters one step")
                        .help("`where` at the member, or `having` after the match"),
                );
                continue;
            }
            if !cancels.is_empty() {
                return Err(self.expected_with("`cancel on` or `}`", "`cancel on` stands after the steps"));
            }
            if !self.eat_word("then") {
                return Err(self.expected_with("`then` or `}`", "steps are joined by `then`"));
            }
            let join = self.arrow()?;
            self.unit(&mut units, join)?;
        }
        Ok(Match { span, within, units, cancels })
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

    fn arrow(&mut self) -> Parsed<Join> {
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
        let mut after = None;
        if self.keyword_here("after") {
            self.bump();
            after = Some(self.bound()?);
        }
        let mut within = None;
        if self.keyword_here("within") {
            self.bump();
            within = Some(self.bound()?);
        }
        Ok(Join { arrow, span: arrow_span, after, within })
    }

    fn bound(&mut self) -> Parsed<Bound> {
        let value = self.atom()?;
        let mut max = None;
        if self.eat_word("max") {
            let span = self.span();
            max = Some((self.duration()?, span));
        }
        Ok(Bound { value, max })
    }

    /// One unit; a refused group adds nothing.
    fn unit(&mut self, units: &mut Vec<Unit>, join: Join) -> Parsed<()> {
        let start = self.span();
        let Join { arrow, span: arrow_span, after, within } = join;
        if self.keyword_here("no") {
            self.bump();
            let absence = self.absence()?;
            let kind = UnitKind::Absence(absence);
            units.push(Unit { arrow, arrow_span, after, within, span: self.since(start), kind });
            return Ok(());
        }
        if (self.at_word("all") || self.at_word("one")) && self.word_ahead(1, "of") {
            let kind = if self.at_word("all") { ir::UnitKind::All } else { ir::UnitKind::One };
            self.bump();
            self.bump();
            let kind = UnitKind::Set(self.set(kind, start)?);
            units.push(Unit { arrow, arrow_span, after, within, span: self.since(start), kind });
            return Ok(());
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
        if let Some((Quantifier::AtLeast(least), _)) = quantifier
            && self.at_word("of")
            && self.sign_ahead(1, "{")
        {
            self.bump();
            let kind = UnitKind::Set(self.set(ir::UnitKind::AtLeast(least), start)?);
            units.push(Unit { arrow, arrow_span, after, within, span: self.since(start), kind });
            return Ok(());
        }
        let event = self.event(quantifier, start)?;
        let kind = UnitKind::Event(event);
        units.push(Unit { arrow, arrow_span, after, within, span: self.since(start), kind });
        Ok(())
    }

    fn set(&mut self, kind: ir::UnitKind, start: Span) -> Parsed<Set> {
        let kind_span = self.since(start);
        self.sign("{")?;
        if self.at_sign("}") {
            return Err(self.expected_with("a step", "a set has members: `all of { a, b }`"));
        }
        let members = self.list_until("}", |p| {
            let start = p.span();
            let inner_set = (p.at_word("all") || p.at_word("one")) && p.word_ahead(1, "of");
            if inner_set || p.at_word("no") && matches!(p.peek(1), Kind::Name(_) | Kind::Quoted(_)) {
                return Err(
                    p.expected_with("a step", "a set holds steps; an absence stands before or after it")
                );
            }
            let quantifier = p.quantifier()?;
            p.event(quantifier, start)
        })?;
        let alias = self.alias()?;
        Ok(Set { kind, kind_span, members, alias })
    }

    fn quantifier(&mut self) -> Parsed<Option<(Quantifier, Span)>> {
        let start = self.span();
        let quantifier = if self.at_word("at") && self.word_ahead(1, "least") {
            self.bump();
            self.bump();
            Quantifier::AtLeast(self.count("a number")?)
        } else if matches!(self.kind(), Kind::Number(_)) {
            let min = self.count("a number")?;
            if self.at_word("to") && matches!(self.peek(1), Kind::Number(_)) {
                self.bump();
                Quantifier::Between(min, self.count("a number")?)
            } else {
                Quantifier::Exactly(min)
            }
        } else if self.at_word("any") && self.word_ahead(1, "number") {
            self.bump();
            self.bump();
            self.word("of")?;
            Quantifier::AnyNumber
        } else if self.keyword_here("optional") {
            self.bump();
            Quantifier::Optional
        } else {
            return Ok(None);
        };
        let span = self.since(start);
        let empty = match quantifier {
            Quantifier::Exactly(max) => max == 0,
            Quantifier::Between(min, max) => max < min || max == 0,
            _ => false,
        };
        if empty {
            let written = self.slice(span).to_owned();
            let help = match quantifier {
                Quantifier::Between(min, max) if max < min && max > 0 => {
                    format!("did you mean `{max} to {min}`?")
                }
                _ => "at least 1, or leave the step out".to_owned(),
            };
            self.report(Diagnostic::error("E334", span, format!("`{written}` holds nothing")).help(help));
        }
        Ok(Some((quantifier, span)))
    }

    fn event(&mut self, quantifier: Option<(Quantifier, Span)>, start: Span) -> Parsed<Event> {
        let mut consecutive = None;
        if self.keyword_here("consecutive") {
            let span = self.span();
            consecutive = Some(span);
            self.bump();
            if quantifier.is_none_or(|(q, _)| q == Quantifier::Optional) {
                self.report(
                    Diagnostic::error("E333", span, "`consecutive` what?").help("`at least 2 consecutive X`"),
                );
            }
        }
        let stream = self.step_stream()?;
        let alias = self.alias()?;
        let condition = if self.eat_word("where") { Some(self.expr()?) } else { None };
        let mut quiet = None;
        if self.at_word("until") && self.word_ahead(1, "quiet") {
            let span = self.span();
            self.bump();
            self.bump();
            self.word("for")?;
            quiet = Some((self.bound()?, span));
        }
        Ok(Event { span: self.since(start), quantifier, consecutive, stream, alias, condition, quiet })
    }

    fn step_stream(&mut self) -> Parsed<Ident> {
        let stream = self.name("a stream")?;
        if !stream.quoted && STEP_WORDS.contains(&stream.name.as_str()) {
            return Err(self.keyword(&stream));
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
            if self.at_sign("}") {
                return Err(self.expected("a stream"));
            }
            self.list_until("}", Self::step_stream)?
        } else {
            vec![self.step_stream()?]
        };
        if self.at_word("as") {
            return Err(self
                .expected_with("`for`, `where`, `then` or `}`", "an absence is no event and has no alias"));
        }
        let mut duration = if self.eat_word("for") { Some(self.bound()?) } else { None };
        if duration.is_none() && self.at_word("within") {
            self.within_after_absence(&streams);
            duration = Some(self.bound()?);
        }
        let condition = if self.eat_word("where") { Some(self.expr()?) } else { None };
        if duration.is_none() && self.at_word("for") {
            return Err(
                self.expected_with("`then` or `}`", "`for` stands before `where`: `no X for D where ..`")
            );
        }
        Ok(Absence { streams, duration, condition })
    }
}
