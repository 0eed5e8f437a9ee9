//! What those write who think in SQL, and how it is said here: each is read as it was meant, and reported once with the fix.

use super::{CLAUSES, Parsed, Parser};
use crate::ast::{Expr, ExprKind, Ident, Op};
use crate::decimal::Decimal;
use crate::diagnostic::Diagnostic;
use crate::ir::BinaryOp;
use crate::lex::Kind;
use crate::source::Span;
use crate::types::Micros;

/// Units in words, their short form and their length.
const UNITS: &[(&[&str], &str, Micros)] = &[
    (&["millis", "millisecond", "milliseconds"], "ms", 1_000),
    (&["sec", "secs", "second", "seconds"], "s", 1_000_000),
    (&["min", "mins", "minute", "minutes"], "m", 60_000_000),
    (&["hr", "hrs", "hour", "hours"], "h", 3_600_000_000),
    (&["day", "days"], "d", 86_400_000_000),
];

/// Words that may stand behind an operand.
const FOLLOWS: &[&str] = &[
    "and", "or", "in", "is", "not", "contains", "starts", "ends", "matches", "reaches", "then", "else",
    "over", "before", "where", "until", "cancel", "within", "for", "max", "as",
];

impl Parser<'_> {
    /// `15 minutes` at the number; none if no unit follows.
    pub(super) fn spelled_duration(&mut self) -> Option<Micros> {
        let (Kind::Number(count), Kind::Name(unit)) = (self.kind(), self.peek(1)) else { return None };
        let count: Micros = count.parse().ok()?;
        let unit = unit.to_lowercase();
        let (_, short, length) = UNITS.iter().find(|(words, _, _)| words.contains(&unit.as_str()))?;
        let start = self.span();
        self.bump();
        self.bump();
        let span = self.since(start);
        let meant = format!("{count}{short}");
        self.report(
            Diagnostic::error("E104", span, format!("`{}` is not a duration", self.slice(span)))
                .help(format!("did you mean `{meant}`?"))
                .replace(meant),
        );
        Some(count.saturating_mul(*length))
    }

    /// `no x within 15m`, at `within`.
    pub(super) fn within_after_absence(&mut self, streams: &[Ident]) {
        let span = self.span();
        let stream = streams.first().map_or("x", |s| s.name.as_str());
        self.bump();
        let length = self.slice(self.span());
        let help = format!("an absence lasts: did you mean `no {stream} for {length}`?");
        self.report(
            Diagnostic::error("E117", span, "`within` belongs on the arrow or on `match`")
                .help(help)
                .replace("for"),
        );
    }

    /// `like`, `between` and `<>` after their left side, perhaps behind `not`.
    pub(super) fn sql_comparison(&mut self, left: Expr) -> Parsed<Result<Expr, Expr>> {
        let negated = self.at_word("not");
        let at = usize::from(negated);
        let word = |p: &Self, word: &str| match p.peek(at) {
            Kind::Name(name) => name.eq_ignore_ascii_case(word),
            _ => false,
        };
        let read = if word(self, "like") || word(self, "ilike") {
            self.like(left, negated)?
        } else if word(self, "between") {
            self.between(left, negated)?
        } else if self.at_sign("<") && self.sign_ahead(1, ">") {
            let start = self.span();
            self.bump();
            self.bump();
            let span = self.since(start);
            self.report(
                Diagnostic::error("E101", span, "expected `!=`, found `<>`")
                    .help("did you mean `!=`?")
                    .replace("!="),
            );
            let right = self.coalesce()?;
            self.binary(Op::Plain(BinaryOp::NotEqual), left, right)
        } else {
            return Ok(Err(left));
        };
        Ok(Ok(read))
    }

    fn like(&mut self, left: Expr, negated: bool) -> Parsed<Expr> {
        if negated {
            self.bump();
        }
        let word = self.slice(self.span()).to_owned();
        let ignore_case = word.len() == "ilike".len();
        self.bump();
        let right = self.coalesce()?;
        let span = Span { end: right.span.end, ..left.span };
        let subject = self.slice(left.span).to_owned();
        let pattern = match &right.kind {
            ExprKind::String(text) if !text.contains('"') => regex_of(text, ignore_case),
            _ => "..".to_owned(),
        };
        let meant = match negated {
            true => format!("not ({subject} matches r\"{pattern}\")"),
            false => format!("{subject} matches r\"{pattern}\""),
        };
        let diagnostic = Diagnostic::error("E101", span, format!("`{word}` is not an operator"))
            .help(format!("did you mean `{meant}`? it takes a regular expression"));
        let known = matches!(&right.kind, ExprKind::String(_)) && pattern != "..";
        self.report(if known { diagnostic.replace(meant) } else { diagnostic });
        Ok(self.binary(Op::Plain(BinaryOp::Equal), left, right))
    }

    fn between(&mut self, left: Expr, negated: bool) -> Parsed<Expr> {
        if negated {
            self.bump();
        }
        self.bump();
        let low = self.coalesce()?;
        self.word("and")?;
        let high = self.coalesce()?;
        let span = Span { end: high.span.end, ..left.span };
        let [subject, from, to] = [left.span, low.span, high.span].map(|span| self.slice(span).to_owned());
        let meant = match negated {
            true => format!("({subject} < {from} or {subject} > {to})"),
            false => format!("{subject} >= {from} and {subject} <= {to}"),
        };
        self.report(
            Diagnostic::error("E101", span, "`between` is not an operator")
                .help(format!("did you mean `{meant}`?"))
                .replace(meant),
        );
        let above = self.binary(Op::Plain(BinaryOp::GreaterOrEqual), left.clone(), low);
        let below = self.binary(Op::Plain(BinaryOp::LessOrEqual), left, high);
        Ok(self.binary(Op::Plain(BinaryOp::And), above, below))
    }

    /// `("a", "b")` behind `in`; none if what stands here is no list in parentheses.
    pub(super) fn list_in_parentheses(&mut self) -> Parsed<Option<Expr>> {
        if !self.lists_in_parentheses() {
            return Ok(None);
        }
        let start = self.span();
        self.bump();
        let items = self.list_until(")", Self::value)?;
        let span = self.since(start);
        let written = self.slice(span);
        let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or("");
        let meant = format!("[{inner}]");
        self.report(
            Diagnostic::error("E101", span, "expected a list in `[ ]`, found one in `( )`")
                .help(format!("did you mean `{meant}`?"))
                .replace(meant),
        );
        Ok(Some(Expr { kind: ExprKind::List(items), span, paren: false }))
    }

    /// Parentheses begin here that hold a comma.
    fn lists_in_parentheses(&self) -> bool {
        if !self.at_sign("(") {
            return false;
        }
        let mut depth = 0usize;
        for ahead in 0.. {
            match self.peek(ahead) {
                Kind::Sign("(" | "[" | "{") => depth += 1,
                Kind::Sign(")" | "]" | "}") => depth = depth.saturating_sub(1),
                Kind::Sign(",") if depth == 1 => return true,
                Kind::End => return false,
                _ => {}
            }
            if depth == 0 {
                return false;
            }
        }
        false
    }

    /// `count(distinct host ..`, at `distinct`: the function that is meant.
    pub(super) fn count_distinct(&mut self, function: Ident) -> Ident {
        // A field may be called `distinct`: then an operator or the window's span follows.
        let named = matches!(self.peek(1), Kind::Name(word) if !FOLLOWS.contains(&word.as_str()));
        if function.name != "count" || !self.at_word("distinct") || !named {
            return function;
        }
        let span = Span { end: self.span().end, ..function.span };
        self.bump();
        self.report(
            Diagnostic::error("E101", span, "`distinct` is a function of its own")
                .help("did you mean `distinct(`, without `count`?")
                .replace("distinct("),
        );
        Ident { name: "distinct".to_owned(), ..function }
    }

    /// `80%`: a number whose `%` has no right side, at the `%`.
    pub(super) fn percentage(&mut self, left: &Expr) -> Option<Expr> {
        let value = match &left.kind {
            ExprKind::Int(value) => Decimal::from_int(*value),
            ExprKind::Decimal(value) => *value,
            _ => return None,
        };
        let share = Decimal::parse(&format!("{value}e-2")).filter(|_| self.lacks_right_side())?;
        self.bump();
        let span = self.since(left.span);
        let text = share.to_string();
        let meant = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        self.report(
            Diagnostic::error("E101", span, format!("`{}` is not a number", self.slice(span)))
                .help(format!("did you mean `{meant}`?"))
                .replace(meant),
        );
        Some(Expr { kind: ExprKind::Decimal(share), span, paren: false })
    }

    /// No operand stands behind the sign. `and` behind it could be a field: it is none if an operand follows it in turn.
    fn lacks_right_side(&self) -> bool {
        match self.peek(1) {
            Kind::End => true,
            Kind::Sign(sign) => !["(", "[", "@", "-"].contains(sign),
            Kind::Name(word) if ["and", "or", "then", "else"].contains(&word.as_str()) => {
                match self.peek(2) {
                    Kind::Name(next) => {
                        !FOLLOWS.contains(&next.as_str()) && !CLAUSES.contains(&next.as_str())
                    }
                    next => matches!(next, Kind::Number(_) | Kind::Text(_) | Kind::Quoted(_)),
                }
            }
            Kind::Name(_) => self.clause_ahead(1),
            _ => false,
        }
    }
}

/// A pattern of `like` as a regular expression.
fn regex_of(pattern: &str, ignore_case: bool) -> String {
    let open = (pattern.starts_with('%'), pattern.ends_with('%'));
    let mut regex = String::from(if ignore_case { "(?i)" } else { "" });
    regex.push_str(if open.0 { "" } else { "^" });
    for c in pattern.trim_matches('%').chars() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            _ if c.is_alphanumeric() || c.is_whitespace() => regex.push(c),
            _ => regex.extend(['\\', c]),
        }
    }
    regex.push_str(if open.1 { "" } else { "$" });
    regex
}

/// The type that another language's name means.
pub(super) fn type_meant(name: &str) -> Option<&'static str> {
    Some(match name.to_lowercase().as_str() {
        "number" | "numeric" | "money" => "decimal",
        "text" | "str" | "varchar" | "char" | "uuid" => "string",
        "boolean" => "bool",
        "integer" | "bigint" | "smallint" | "long" => "int",
        "double" | "real" => "float",
        "time" | "timestamp" | "timestamptz" | "datetime" | "date" => "instant",
        "interval" => "duration",
        "inet" => "ip",
        "array" => "list",
        _ => return None,
    })
}
