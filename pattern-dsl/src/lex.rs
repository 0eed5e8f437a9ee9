//! Text to tokens.
//!
//! Keywords are plain names here: only the grammar knows where a word is one. Malformed tokens are reported (E101, E102,
//! E104) and replaced by something harmless, so that the grammar has no second complaint.
//!
//! INVARIANT: tokens are in order, their spans do not overlap, and the last is `End`.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{opt, recognize, verify};
use nom::multi::many1_count;
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::types::Micros;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// It is the first on its line.
    pub(crate) first: bool,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A bare word.
    Name(String),
    /// A word in backticks.
    Quoted(String),
    /// A number as written.
    Number(String),
    /// A duration.
    Duration(Micros),
    /// A string, escapes resolved.
    Text(String),
    /// A sign.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// Longest first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "??", "..", "{", "}", "(", ")", "[", "]", ",", ":", ".", "<", ">", "+", "-", "*",
    "/", "%", "?", "@", "=",
];

const UNITS: &[(&str, Micros)] = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

fn name(i: &str) -> IResult<&str, &str> {
    recognize(pair(
        satisfy(|c| c.is_ascii_alphabetic() || c == '_'),
        take_while(|c: char| c.is_ascii_alphanumeric() || c == '_'),
    ))
    .parse(i)
}

fn digits(i: &str) -> IResult<&str, &str> {
    recognize(pair(satisfy(|c| c.is_ascii_digit()), take_while(|c: char| c.is_ascii_digit() || c == '_')))
        .parse(i)
}

fn plain_digits(i: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_digit()).parse(i)
}

fn number(i: &str) -> IResult<&str, &str> {
    let fraction = preceded(char('.'), plain_digits);
    let exponent = (satisfy(|c| c == 'e' || c == 'E'), opt(alt((char('+'), char('-')))), plain_digits);
    recognize((digits, opt(fraction), opt(exponent))).parse(i)
}

fn duration(i: &str) -> IResult<&str, &str> {
    let unit = alt((tag("us"), tag("ms"), tag("s"), tag("m"), tag("h"), tag("d")));
    recognize(many1_count(pair(plain_digits, unit))).parse(i)
}

/// A number or duration must not run into a word.
fn alone<'a>(
    inner: impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>>,
) -> impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>> {
    let mut inner = inner;
    move |i: &'a str| {
        let (rest, found) = inner.parse(i)?;
        let (_, _) =
            verify(take_while(|c: char| c.is_ascii_alphanumeric() || c == '_'), |s: &str| s.is_empty())
                .parse(rest)?;
        Ok((rest, found))
    }
}

fn raw_string(i: &str) -> IResult<&str, &str> {
    let (rest, (_, inner, _)) = (tag("r\""), take_till(|c| c == '"' || c == '\n'), char('"')).parse(i)?;
    Ok((rest, inner))
}

/// `5m`, `1h30m` to microseconds; `None` if it is no duration or overflows.
pub(crate) fn parse_duration(text: &str) -> Option<Micros> {
    let mut rest = text;
    let mut sum: Micros = 0;
    while !rest.is_empty() {
        let at = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: Micros = rest.get(..at)?.parse().ok()?;
        rest = rest.get(at..)?;
        let (unit, scale) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        sum = sum.checked_add(count.checked_mul(*scale)?)?;
        rest = rest.get(unit.len()..)?;
    }
    Some(sum)
}

/// Tokens of `text`, whose spans start at `base` in source `source`.
pub(crate) fn lex(source: u32, text: &str, base: usize, diagnostics: &mut Vec<Diagnostic>) -> Vec<Token> {
    let mut lexer = Lexer { source, base, text, rest: text, first: true, tokens: Vec::new(), diagnostics };
    lexer.run();
    lexer.tokens
}

/// What a text with no meaning was probably meant as, so that the grammar has no second complaint; and what follows it.
fn stand_in(rest: &str, next: char) -> (&str, Option<Kind>) {
    let after = |length: usize| rest.get(length..).unwrap_or("");
    match next {
        '&' | '|' => {
            let to = rest.trim_start_matches(next);
            (to, Some(Kind::Name(if next == '&' { "and" } else { "or" }.to_owned())))
        }
        '\'' => match after(1).find(['\'', '\n']) {
            Some(at) if after(1 + at).starts_with('\'') => {
                (after(at + 2), Some(Kind::Text(after(1).get(..at).unwrap_or("").to_owned())))
            }
            _ => (after(1), None),
        },
        _ if next.is_alphabetic() => {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (after(end), Some(Kind::Quoted(rest.get(..end).unwrap_or("").to_owned())))
        }
        _ => (after(next.len_utf8()), None),
    }
}

/// The text behind the mark that some editors put in front of UTF-8.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

struct Lexer<'a, 'd> {
    source: u32,
    base: usize,
    text: &'a str,
    rest: &'a str,
    first: bool,
    tokens: Vec<Token>,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl<'a> Lexer<'a, '_> {
    fn span(&self, from: &str, to: &str) -> Span {
        let at = |rest: &str| (self.base + self.text.len() - rest.len()) as u32;
        Span { source: self.source, start: at(from), end: at(to) }
    }

    fn push(&mut self, kind: Kind, to: &'a str) {
        let span = self.span(self.rest, to);
        self.tokens.push(Token { kind, span, first: self.first });
        self.first = false;
        self.rest = to;
    }

    fn run(&mut self) {
        if self.base == 0 {
            self.rest = without_mark(self.rest);
        }
        loop {
            self.blank();
            let rest = self.rest;
            let Some(next) = rest.chars().next() else { break };
            if next == '"' {
                self.string();
            } else if next == '`' {
                self.quoted();
            } else if next == 'r' && rest.starts_with("r\"") {
                match raw_string(rest) {
                    Ok((to, inner)) => self.push(Kind::Text(inner.to_owned()), to),
                    Err(_) => self.unclosed(),
                }
            } else if let Ok((to, word)) = name(rest) {
                self.push(Kind::Name(word.to_owned()), to);
            } else if next.is_ascii_digit() {
                self.numeric();
            } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
                self.push(Kind::Sign(sign), rest.get(sign.len()..).unwrap_or(""));
            } else {
                let (to, stand_in) = stand_in(rest, next);
                let shown = rest.get(..rest.len() - to.len()).unwrap_or("");
                let message = format!("`{shown}` cannot stand here");
                let help = match next {
                    '!' => "`not`, or `!=`",
                    '&' => "`and`",
                    '|' => "`or`",
                    '\'' => "strings are in double quotes",
                    ';' => "no semicolons are needed",
                    _ => "remove it, or quote the name in backticks",
                };
                self.diagnostics.push(Diagnostic::error("E101", self.span(rest, to), message).help(help));
                match stand_in {
                    Some(kind) => self.push(kind, to),
                    None => self.rest = to,
                }
            }
        }
        self.push(Kind::End, self.rest);
    }

    fn blank(&mut self) {
        loop {
            let next = self.rest.trim_start();
            let skipped = self.rest.get(..self.rest.len() - next.len()).unwrap_or("");
            self.first |= skipped.contains('\n');
            self.rest = next;
            if !next.starts_with('#') {
                return;
            }
            self.rest = next.find('\n').and_then(|at| next.get(at..)).unwrap_or("");
        }
    }

    fn unclosed(&mut self) {
        let to = self.rest.find('\n').and_then(|at| self.rest.get(at..)).unwrap_or("");
        let span = self.span(self.rest, to);
        let shown = Span { end: span.start + 1, ..span };
        self.diagnostics.push(
            Diagnostic::error("E102", shown, "this string is not closed")
                .help("close it on the same line: `\"..\"` or `r\"..\"`"),
        );
        let inner = self.rest.get(1..self.rest.len() - to.len()).unwrap_or("").to_owned();
        self.push(Kind::Text(inner), to);
    }

    fn quoted(&mut self) {
        let rest = self.rest;
        let end = rest.get(1..).and_then(|r| r.find(['`', '\n']));
        match end {
            Some(at) if at > 0 && rest.as_bytes().get(at + 1) == Some(&b'`') => {
                let inner = rest.get(1..=at).unwrap_or("").to_owned();
                self.push(Kind::Quoted(inner), rest.get(at + 2..).unwrap_or(""));
            }
            _ => {
                let to = rest.find('\n').and_then(|at| rest.get(at..)).unwrap_or("");
                let span = self.span(rest, to);
                let shown = Span { end: span.start + 1, ..span };
                self.diagnostics.push(
                    Diagnostic::error("E102", shown, "this quoted name is not closed or is empty")
                        .help("close it with a backtick on the same line"),
                );
                let inner =
                    rest.get(1..rest.len() - to.len()).unwrap_or("").trim_matches('`').trim().to_owned();
                self.push(Kind::Quoted(inner), to);
            }
        }
    }

    fn string(&mut self) {
        let whole = self.rest;
        let mut value = String::new();
        let mut chars = whole.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.push(Kind::Text(value), whole.get(at + 1..).unwrap_or(""));
                    return;
                }
                '\n' => break,
                '\\' => {
                    let escape = chars.next().map_or('\n', |(_, c)| c);
                    match escape {
                        '"' | '\\' => value.push(escape),
                        'n' => value.push('\n'),
                        't' => value.push('\t'),
                        'u' => {
                            let rest = whole.get(at + 2..).unwrap_or("");
                            let inner =
                                rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|(hex, _)| hex);
                            let decoded = inner
                                .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                                .and_then(char::from_u32);
                            let length = inner.map_or(0, |hex| hex.len() + 2);
                            match decoded {
                                Some(c) => value.push(c),
                                None => self.bad_escape(whole, at, 2 + length),
                            }
                            for _ in 0..length {
                                chars.next();
                            }
                        }
                        '\n' => break,
                        other => self.bad_escape(whole, at, 1 + other.len_utf8()),
                    }
                }
                other => value.push(other),
            }
        }
        self.unclosed();
    }

    fn bad_escape(&mut self, whole: &str, at: usize, length: usize) {
        let start = self.span(whole, whole).start + at as u32;
        let span = Span { source: self.source, start, end: start + length as u32 };
        let text = whole.get(at..at + length).unwrap_or("\\");
        self.diagnostics.push(
            Diagnostic::error("E102", span, format!("`{text}` is not an escape"))
                .help("one of `\\\"`, `\\\\`, `\\n`, `\\t`, `\\u{..}`, or a raw string `r\"..\"`"),
        );
    }

    fn numeric(&mut self) {
        let rest = self.rest;
        if let Ok((to, text)) = alone(duration).parse(rest) {
            match parse_duration(text) {
                Some(value) => self.push(Kind::Duration(value), to),
                None => self.bad_number(text, to, "is too long a duration", "at most about 290,000 years"),
            }
        } else if let Ok((to, text)) = alone(number).parse(rest) {
            self.push(Kind::Number(text.replace('_', "")), to);
        } else {
            let (to, text) =
                take_while::<_, _, nom::error::Error<&str>>(|c: char| c.is_ascii_alphanumeric() || c == '_')
                    .parse(rest)
                    .unwrap_or(("", rest));
            let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
            let (count, unit) = text.split_at(at);
            let short = match unit.to_ascii_lowercase().as_str() {
                "min" | "mins" | "minute" | "minutes" => "m",
                "sec" | "secs" | "second" | "seconds" => "s",
                "hr" | "hrs" | "hour" | "hours" => "h",
                "day" | "days" => "d",
                "millis" | "msec" => "ms",
                _ => "",
            };
            let help = if short.is_empty() {
                "a whole number with `us`, `ms`, `s`, `m`, `h` or `d`: `1h30m`".to_owned()
            } else {
                format!("did you mean `{count}{short}`?")
            };
            self.bad_number(text, to, "is not a duration", &help);
        }
    }

    fn bad_number(&mut self, text: &str, to: &'a str, what: &str, help: &str) {
        let span = self.span(self.rest, to);
        self.diagnostics.push(Diagnostic::error("E104", span, format!("`{text}` {what}")).help(help));
        self.push(Kind::Duration(1), to);
    }
}
