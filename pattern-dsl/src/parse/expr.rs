//! Expressions, lowest precedence first: `if`, `or`, `and`, `not`, comparisons, `??`, sums, products, unary, atoms.
//!
//! INVARIANT: the span of an expression covers exactly its text, with its parentheses.

use super::{Fail, Parsed, Parser};
use crate::ast::{Expr, ExprKind, Ident, Op, Window};
use crate::decimal::Decimal;
use crate::diagnostic::Diagnostic;
use crate::ir::BinaryOp;
use crate::lex::Kind;
use crate::source::Span;

/// Deeper nesting is refused, so that no text overflows the stack.
const DEPTH: u32 = 64;
/// Longest chain of one operator's level.
const CHAIN: u32 = 256;
/// Most operators of an outermost expression: chains within chains are as deep as they are long together.
const OPERATORS: u32 = 1_000;

impl Parser<'_> {
    fn make(&self, start: Span, kind: ExprKind) -> Expr {
        Expr { kind, span: self.since(start), paren: false }
    }

    pub(super) fn binary(&self, op: Op, left: Expr, right: Expr) -> Expr {
        let start = left.span;
        self.make(start, ExprKind::Binary(op, Box::new(left), Box::new(right)))
    }

    /// One level deeper; ends the parse of what is nested too deeply for a recursive walk.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH {
            return Err(self.expected("a shallower expression"));
        }
        if self.depth == 0 {
            self.operators = 0;
        }
        self.depth += 1;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    /// Counts the operators of a chain, for the same reason.
    fn link(&mut self, count: &mut u32) -> Parsed<()> {
        *count += 1;
        self.operators += 1;
        if *count > CHAIN || self.operators > OPERATORS {
            Err(self.expected("a shorter expression"))
        } else {
            Ok(())
        }
    }

    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(Self::plain_expr)
    }

    fn plain_expr(&mut self) -> Parsed<Expr> {
        let start = self.span();
        if self.at_word("if") {
            self.bump();
            let condition = self.expr()?;
            self.word("then")?;
            let yes = self.expr()?;
            self.word("else")?;
            let no = self.expr()?;
            return Ok(self.make(start, ExprKind::If(Box::new(condition), Box::new(yes), Box::new(no))));
        }
        let mut left = self.and()?;
        let mut count = 0;
        while self.eat_word("or") {
            self.link(&mut count)?;
            let right = self.and()?;
            left = self.binary(Op::Plain(BinaryOp::Or), left, right);
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut left = self.not()?;
        let mut count = 0;
        while self.eat_word("and") {
            self.link(&mut count)?;
            let right = self.not()?;
            left = self.binary(Op::Plain(BinaryOp::And), left, right);
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expr> {
        let mut starts = Vec::new();
        let mut count = 0;
        while self.at_word("not") {
            self.link(&mut count)?;
            starts.push(self.span());
            self.bump();
        }
        let mut inner = self.comparison()?;
        while let Some(start) = starts.pop() {
            inner = self.make(start, ExprKind::Not(Box::new(inner)));
        }
        Ok(inner)
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.coalesce()?;
        let start = left.span;
        if self.eat_word("is") {
            let negated = self.eat_word("not");
            self.word("null")?;
            let inner = self.make(start, ExprKind::IsNull(Box::new(left)));
            return Ok(if negated { self.make(start, ExprKind::Not(Box::new(inner))) } else { inner });
        }
        if self.at_word("not") && self.word_ahead(1, "in") {
            self.bump();
            self.bump();
            let right = self.in_right()?;
            let inner = self.binary(Op::Plain(BinaryOp::In), left, right);
            return Ok(self.make(start, ExprKind::Not(Box::new(inner))));
        }
        let left = match self.sql_comparison(left)? {
            Ok(whole) => return Ok(whole),
            Err(left) => left,
        };
        let op = match self.kind() {
            Kind::Sign("==") => Op::Plain(BinaryOp::Equal),
            Kind::Sign("!=") => Op::Plain(BinaryOp::NotEqual),
            Kind::Sign("<") => Op::Plain(BinaryOp::Less),
            Kind::Sign("<=") => Op::Plain(BinaryOp::LessOrEqual),
            Kind::Sign(">") => Op::Plain(BinaryOp::Greater),
            Kind::Sign(">=") => Op::Plain(BinaryOp::GreaterOrEqual),
            Kind::Sign("=") => {
                let span = self.span();
                self.report(
                    Diagnostic::error("E101", span, "expected `==`, found `=`")
                        .help("did you mean `==`?")
                        .replace("=="),
                );
                Op::Plain(BinaryOp::Equal)
            }
            Kind::Name(word) => match word.as_str() {
                "in" => Op::Plain(BinaryOp::In),
                "contains" => Op::Plain(BinaryOp::Contains),
                "starts" if self.word_ahead(1, "with") => Op::Plain(BinaryOp::StartsWith),
                "ends" if self.word_ahead(1, "with") => Op::Plain(BinaryOp::EndsWith),
                "matches" => Op::Plain(BinaryOp::Matches),
                "reaches" => Op::Reaches,
                _ => return Ok(left),
            },
            _ => return Ok(left),
        };
        self.bump();
        if matches!(op, Op::Plain(BinaryOp::StartsWith | BinaryOp::EndsWith)) {
            self.bump();
        }
        let right = if op == Op::Plain(BinaryOp::In) { self.in_right()? } else { self.coalesce()? };
        let whole = self.binary(op, left, right);
        if let Kind::Sign("==" | "!=" | "<" | "<=" | ">" | ">=") = self.kind() {
            return Err(self.expected_with(
                "`and` or the end of the condition",
                "comparisons do not chain: `a < b and b < c`",
            ));
        }
        Ok(whole)
    }

    fn in_right(&mut self) -> Parsed<Expr> {
        match self.list_in_parentheses()? {
            Some(list) => Ok(list),
            None => self.coalesce(),
        }
    }

    fn is_sum(e: &Expr) -> bool {
        !e.paren && matches!(e.kind, ExprKind::Binary(Op::Plain(BinaryOp::Add | BinaryOp::Subtract), ..))
    }

    pub(super) fn coalesce(&mut self) -> Parsed<Expr> {
        let mut parts = vec![self.sum()?];
        let mut signs = Vec::new();
        let mut count = 0;
        while self.at_sign("??") {
            self.link(&mut count)?;
            signs.push(self.span());
            self.bump();
            parts.push(self.sum()?);
        }
        if let Some(sign) = signs.first()
            && parts.iter().any(Self::is_sum)
        {
            self.report(
                Diagnostic::error("E119", *sign, "`??` binds last: say which you mean")
                    .help("put parentheses around the sum, or around the `??`"),
            );
        }
        let mut right = parts.pop().ok_or(Fail)?;
        while let Some(left) = parts.pop() {
            right = self.binary(Op::Plain(BinaryOp::Coalesce), left, right);
        }
        Ok(right)
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let mut left = self.product()?;
        let mut count = 0;
        loop {
            let op = match self.kind() {
                Kind::Sign("+") => BinaryOp::Add,
                Kind::Sign("-") => BinaryOp::Subtract,
                _ => return Ok(left),
            };
            self.link(&mut count)?;
            self.bump();
            let right = self.product()?;
            left = self.binary(Op::Plain(op), left, right);
        }
    }

    fn product(&mut self) -> Parsed<Expr> {
        let mut left = self.unary()?;
        let mut count = 0;
        loop {
            let op = match self.kind() {
                Kind::Sign("*") => BinaryOp::Multiply,
                Kind::Sign("/") => BinaryOp::Divide,
                Kind::Sign("%") => BinaryOp::Remainder,
                _ => return Ok(left),
            };
            if op == BinaryOp::Remainder
                && let Some(share) = self.percentage(&left)
            {
                left = share;
                continue;
            }
            self.link(&mut count)?;
            self.bump();
            let right = self.unary()?;
            left = self.binary(Op::Plain(op), left, right);
        }
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let mut starts = Vec::new();
        let mut count = 0;
        while self.at_sign("-") {
            self.link(&mut count)?;
            starts.push(self.span());
            self.bump();
        }
        let mut inner = self.atom()?;
        while let Some(start) = starts.pop() {
            inner = self.make(start, ExprKind::Neg(Box::new(inner)));
        }
        Ok(inner)
    }

    pub(super) fn atom(&mut self) -> Parsed<Expr> {
        let start = self.span();
        let kind = match self.kind().clone() {
            Kind::Number(text) => match self.spelled_duration() {
                Some(value) => ExprKind::Duration(value),
                None => {
                    self.bump();
                    self.number(&text, start)
                }
            },
            Kind::Duration(value) => {
                self.bump();
                ExprKind::Duration(value)
            }
            Kind::Text(text) => {
                self.bump();
                ExprKind::String(text)
            }
            Kind::Name(word) => match word.as_str() {
                "true" | "false" => {
                    self.bump();
                    ExprKind::Bool(word == "true")
                }
                "null" => {
                    self.bump();
                    ExprKind::Null
                }
                "if" | "not" => {
                    return Err(self
                        .expected_with("a value", "put it in parentheses, or quote the name in backticks"));
                }
                _ if self.clause_begins() => return Err(self.expected("a value")),
                _ => return self.named(start),
            },
            Kind::Quoted(_) => return self.named(start),
            Kind::Sign("(") => {
                self.bump();
                let inner = self.expr()?;
                self.sign(")")?;
                return Ok(Expr { paren: true, span: self.since(start), ..inner });
            }
            Kind::Sign("[") => {
                self.bump();
                ExprKind::List(self.list_until("]", Self::value)?)
            }
            Kind::Sign("@") => {
                self.bump();
                let name = self.name("the name of a list")?;
                let mut key = None;
                let mut column = None;
                if self.eat_sign("[") {
                    key = Some(Box::new(self.expr()?));
                    self.sign("]")?;
                    if self.eat_sign(".") {
                        column = Some(self.name("a field of the lookup")?);
                    }
                }
                ExprKind::Table(name, key, column)
            }
            // Signs are taken before; it is a bound that is read as an atom.
            Kind::Sign("-") => {
                return Err(self.expected_with("a duration", "a bound is not less than nothing"));
            }
            _ => return Err(self.expected("a value")),
        };
        Ok(self.make(start, kind))
    }

    fn number(&mut self, text: &str, span: Span) -> ExprKind {
        if let Ok(value) = text.parse::<i64>() {
            return ExprKind::Int(value);
        }
        match Decimal::parse(text) {
            Some(value) => ExprKind::Decimal(value),
            None => {
                let message = format!("`{text}` does not fit a number");
                self.report(
                    Diagnostic::error("E104", span, message)
                        .help("at most 18 digits after the point and 20 before it"),
                );
                ExprKind::Null
            }
        }
    }

    /// A path, a call, or a window.
    fn named(&mut self, start: Span) -> Parsed<Expr> {
        let path = self.path("a name")?;
        if path.len() != 1 || !self.at_sign("(") {
            return Ok(self.make(start, ExprKind::Path(path)));
        }
        let function = path.into_iter().next().ok_or(Fail)?;
        self.bump();
        if self.eat_sign(")") {
            return Ok(self.make(start, ExprKind::Call(function, Vec::new())));
        }
        let function = self.count_distinct(function);
        let first = self.value()?;
        if self.at_word("over") {
            return self.window(start, function, first);
        }
        let mut arguments = vec![first];
        if self.eat_sign(",") {
            arguments.extend(self.list_until(")", Self::value)?);
        } else if !self.eat_sign(")") {
            return Err(self.expected("`,`, `over` or `)`"));
        }
        Ok(self.make(start, ExprKind::Call(function, arguments)))
    }

    fn window(&mut self, start: Span, function: Ident, argument: Expr) -> Parsed<Expr> {
        self.bump();
        let over = self.atom()?;
        let mut before = None;
        let mut condition = None;
        if self.eat_word("before") {
            before = Some(self.name("a step")?);
        }
        if self.at_word("by") {
            let span = self.span();
            self.report(
                Diagnostic::error("E352", span, "`by` in a window: this needs a second key")
                    .help("a rule by that key, then a rule on its alerts"),
            );
            self.bump();
            self.path("a field")?;
        }
        if self.eat_word("where") {
            condition = Some(self.expr()?);
        }
        if self.at_word("by") {
            let span = self.span();
            self.report(
                Diagnostic::error("E352", span, "`by` in a window: this needs a second key")
                    .help("a rule by that key, then a rule on its alerts"),
            );
            self.bump();
            self.path("a field")?;
        }
        if !self.eat_sign(")") {
            return Err(self.expected("`before`, `where` or `)`"));
        }
        let window = Window { function, argument, over, before, condition };
        Ok(self.make(start, ExprKind::Window(Box::new(window))))
    }

    /// `expr | object`.
    pub(super) fn value(&mut self) -> Parsed<Expr> {
        if self.at_sign("{") {
            let start = self.span();
            let pairs = self.nested(Self::object)?;
            return Ok(self.make(start, ExprKind::Object(pairs)));
        }
        self.expr()
    }

    /// `{ a: 1, b }`; a pair without value stands for the name looked up.
    pub(super) fn object(&mut self) -> Parsed<Vec<(Ident, Expr)>> {
        self.sign("{")?;
        let pairs = self.list_until("}", |p| {
            let span = p.span();
            let key = match p.kind().clone() {
                Kind::Text(name) => {
                    p.bump();
                    Ident { name, span, quoted: true }
                }
                _ => p.name("a name")?,
            };
            let value = if p.eat_sign(":") {
                p.value()?
            } else {
                Expr { kind: ExprKind::Path(vec![key.clone()]), span, paren: false }
            };
            Ok((key, value))
        })?;
        for (at, (key, _)) in pairs.iter().enumerate() {
            if pairs.iter().take(at).any(|(k, _)| k.name == key.name) {
                self.report(
                    Diagnostic::error("E106", key.span, format!("`{}` is given twice", key.name))
                        .help("keep one"),
                );
            }
        }
        Ok(pairs)
    }
}
