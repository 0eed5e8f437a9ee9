//! `test` blocks.

use super::{Parsed, Parser};
use crate::ast::{Test, TestLine};
use crate::diagnostic::Diagnostic;
use crate::instant::parse_instant;
use crate::lex::Kind;
use crate::source::Span;
use crate::types::Micros;

const LINES: &[&str] = &["start", "given", "at", "set", "advance", "expect"];
/// Most events of one `at`.
const MANY: i64 = 100_000;

impl Parser<'_> {
    pub(super) fn test(&mut self, start: Span) -> Parsed<Test> {
        let name = self.string("the test's title in quotes")?;
        self.sign("{")?;
        let mut lines = Vec::new();
        loop {
            if self.eat_sign("}") {
                break;
            }
            let at = self.at;
            match self.test_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => {}
                Err(fail) => {
                    if *self.kind() == Kind::End || self.at_rule() {
                        return Err(fail);
                    }
                    self.recover(at, LINES);
                    if *self.kind() == Kind::End || self.at_rule() {
                        return Err(fail);
                    }
                }
            }
        }
        Ok(Test { name, span: self.since(start), lines })
    }

    /// A time of the test: a duration, or a bare 0.
    fn test_time(&mut self) -> Parsed<Micros> {
        if matches!(self.kind(), Kind::Number(n) if n == "0") {
            self.bump();
            return Ok(0);
        }
        self.duration()
    }

    fn test_line(&mut self) -> Parsed<Option<TestLine>> {
        let start = self.span();
        if self.eat_word("start") {
            let span = self.span();
            let text = self.string("a time in quotes")?;
            return Ok(match parse_instant(&text) {
                Some(at) => Some(TestLine::Start(at)),
                None => {
                    self.report(
                        Diagnostic::error("E104", span, format!("`{text}` is not a time"))
                            .help("`2026-03-01T00:00:00Z`"),
                    );
                    None
                }
            });
        }
        if self.eat_word("given") {
            let stream = self.name("a stream")?;
            return Ok(Some(TestLine::Given(stream, self.object()?)));
        }
        if self.eat_word("advance") {
            self.word("to")?;
            return Ok(Some(TestLine::Advance(self.test_time()?)));
        }
        if self.eat_word("expect") {
            return self.expectation(start).map(Some);
        }
        if self.at_word("set") && self.sign_ahead(1, "@") {
            return self.set_table(None).map(Some);
        }
        if !self.eat_word("at") {
            return Err(self.expected_with(
                "a line of the test or `}`",
                "`start`, `given`, `at`, `set @list`, `advance to`, `expect`",
            ));
        }
        let from = self.span();
        let first = self.test_time()?;
        let mut times = vec![first];
        if self.eat_sign("..") {
            let last = self.test_time()?;
            let range = self.since(from);
            if last < first {
                self.report(
                    Diagnostic::error("E334", range, "this range holds nothing: it ends before it begins")
                        .help("the earlier time first"),
                );
            }
            self.word("every")?;
            let span = self.span();
            let step = self.duration()?;
            if step <= 0 || (last - first) / step.max(1) >= MANY {
                self.report(Diagnostic::error("E104", span, "too many events").help("a longer step"));
            } else {
                let mut time = first + step;
                while time <= last {
                    times.push(time);
                    time += step;
                }
            }
        } else {
            while self.eat_sign(",") {
                times.push(self.test_time()?);
            }
        }
        if self.at_word("set") && self.sign_ahead(1, "@") {
            if times.len() > 1 {
                return Err(self.expected_with("an event", "`set` takes one time"));
            }
            return self.set_table(Some(first)).map(Some);
        }
        let stream = self.name("a stream")?;
        Ok(Some(TestLine::At(times, stream, self.object()?)))
    }

    fn set_table(&mut self, at: Option<Micros>) -> Parsed<TestLine> {
        self.bump();
        self.bump();
        let table = self.name("a list or lookup")?;
        self.sign("=")?;
        let value = self.value()?;
        Ok(TestLine::Set { at, table, value })
    }

    fn expectation(&mut self, start: Span) -> Parsed<TestLine> {
        if self.eat_word("nothing") {
            return Ok(TestLine::Expect { at: None, count: 0, fields: Vec::new(), span: self.since(start) });
        }
        let at = if self.eat_word("at") { Some(self.test_time()?) } else { None };
        if !matches!(self.kind(), Kind::Number(_)) {
            return Err(self
                .expected_with("a number of alerts", "`expect nothing`, or `expect at 5m 1 alert { .. }`"));
        }
        let count = self.count("a number of alerts")? as usize;
        if !self.eat_word("alert") && !self.eat_word("alerts") {
            return Err(self.expected("`alert` or `alerts`"));
        }
        let fields = if self.at_sign("{") { self.object()? } else { Vec::new() };
        Ok(TestLine::Expect { at, count, fields, span: self.since(start) })
    }
}
