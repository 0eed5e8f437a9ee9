//! The syntax tree: what was written, with spans, before any name is looked up.
//!
//! Made by `crate::parse`, read by `crate::lower`. It holds only the supported part of the language: the rest was refused
//! with E390 or E391 while parsing, so nothing here is silently ignored later.

use crate::decimal::Decimal;
use crate::ir::{Arrow, Destination, Mode, Overlap, TimeFormat};
use crate::source::Span;
use crate::types::Micros;

/// A rule file.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// `stream` blocks.
    pub streams: Vec<Stream>,
    /// `list` declarations.
    pub lists: Vec<List>,
    /// `const` declarations.
    pub consts: Vec<Const>,
    /// Rules.
    pub rules: Vec<Rule>,
}

/// A name as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    /// Its text, without backticks.
    pub name: String,
    /// Where.
    pub span: Span,
    /// Written in backticks or as a string.
    pub quoted: bool,
}

/// Names joined by dots.
pub type Path = Vec<Ident>;

/// A type as written.
#[derive(Debug, Clone)]
pub struct TypeName {
    /// Its name.
    pub name: Ident,
    /// The words of `enum(..)`.
    pub words: Vec<Ident>,
    /// `?`.
    pub optional: bool,
}

/// A field of a `stream` block.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its path.
    pub path: Path,
    /// Its type.
    pub ty: TypeName,
    /// `mask`.
    pub mask: bool,
}

/// `time path [in order] [as ..]`.
#[derive(Debug, Clone)]
pub struct Time {
    /// The field.
    pub path: Path,
    /// `in order`.
    pub in_order: bool,
    /// `as ..`.
    pub format: TimeFormat,
}

/// A `stream` block.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: Ident,
    /// From `stream` to the closing brace.
    pub span: Span,
    /// `topic`.
    pub topic: Option<String>,
    /// `topic .. where`.
    pub topic_filter: Option<Expr>,
    /// `key`.
    pub key: Option<Path>,
    /// `id`.
    pub id: Option<Path>,
    /// `dedupe`.
    pub dedupe: Option<Micros>,
    /// `fields`.
    pub fields: Vec<Field>,
    /// `time`.
    pub time: Option<Time>,
    /// `late`.
    pub late: Option<Micros>,
    /// `idle`.
    pub idle: Option<Micros>,
}

/// A `list`.
#[derive(Debug, Clone)]
pub struct List {
    /// Its name.
    pub name: Ident,
    /// Type of its items.
    pub ty: TypeName,
    /// `from`.
    pub from: Option<String>,
    /// `= [..]`.
    pub items: Vec<Expr>,
}

/// A `const`.
#[derive(Debug, Clone)]
pub struct Const {
    /// Its name.
    pub name: Ident,
    /// Its value.
    pub value: Expr,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub name: Ident,
    /// From `rule` to the closing brace.
    pub span: Span,
    /// `title`.
    pub title: Option<String>,
    /// `about`.
    pub about: Option<String>,
    /// `owner`.
    pub owner: Option<String>,
    /// `runbook`.
    pub runbook: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `tags`.
    pub tags: Vec<Ident>,
    /// `mode`.
    pub mode: Option<Mode>,
    /// `from`.
    pub from: Vec<(Ident, Option<Expr>)>,
    /// `by`.
    pub by: Vec<Key>,
    /// `match`.
    pub pattern: Option<Match>,
    /// `having`.
    pub having: Option<Expr>,
    /// `unless`.
    pub unless: Option<Expr>,
    /// `severity`.
    pub severity: Option<Expr>,
    /// `score`.
    pub score: Option<Expr>,
    /// `reason`.
    pub reason: Vec<ReasonPart>,
    /// `emit`.
    pub emit: Vec<(Ident, Expr)>,
    /// `send`.
    pub send: Vec<Destination>,
    /// `cooldown`, with the word's span.
    pub cooldown: Option<(Expr, Span)>,
    /// `overlap`, with its span.
    pub overlap: Option<(Overlap, Span)>,
    /// `test` blocks.
    pub tests: Vec<Test>,
}

/// A part of `by`.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: Ident,
    /// `(stream.field, alias.field)`.
    pub paths: Vec<Path>,
}

/// `match`.
#[derive(Debug, Clone)]
pub struct Match {
    /// The word `match`.
    pub span: Span,
    /// `within`.
    pub within: Option<Expr>,
    /// Steps and absences in written order.
    pub units: Vec<Unit>,
}

/// A step or an absence, with the arrow before it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The arrow; the first unit has `Then`.
    pub arrow: Arrow,
    /// Span of the arrow's second word, if any.
    pub arrow_span: Option<Span>,
    /// `then within D`.
    pub within: Option<Expr>,
    /// All of it, without the arrow.
    pub span: Span,
    /// What it is.
    pub kind: UnitKind,
}

/// What a unit is.
#[derive(Debug, Clone)]
pub enum UnitKind {
    /// A step.
    Event(Event),
    /// `no X`.
    Absence(Absence),
}

/// A step.
#[derive(Debug, Clone)]
pub struct Event {
    /// Least and most; none for a plain step.
    pub quantifier: Option<(u32, Option<u32>)>,
    /// `consecutive`.
    pub consecutive: bool,
    /// The stream.
    pub stream: Ident,
    /// `as`.
    pub alias: Option<Ident>,
    /// `where`.
    pub condition: Option<Expr>,
}

/// `no X`, `no one of { X, Y }`.
#[derive(Debug, Clone)]
pub struct Absence {
    /// The streams.
    pub streams: Vec<Ident>,
    /// `for`.
    pub duration: Option<Expr>,
    /// `where`.
    pub condition: Option<Expr>,
}

/// A piece of `reason`.
#[derive(Debug, Clone)]
pub enum ReasonPart {
    /// Text.
    Text(String),
    /// `{expr}`.
    Value(Expr),
}

/// A `test` block.
#[derive(Debug, Clone)]
pub struct Test {
    /// Its title.
    pub name: String,
    /// From `test` to the closing brace.
    pub span: Span,
    /// Its lines.
    pub lines: Vec<TestLine>,
}

/// A line of a `test` block.
#[derive(Debug, Clone)]
pub enum TestLine {
    /// `start`.
    Start(Micros),
    /// `given s { .. }`.
    Given(Ident, Vec<(Ident, Expr)>),
    /// `at .. s { .. }`.
    At(Vec<Micros>, Ident, Vec<(Ident, Expr)>),
    /// `advance to`.
    Advance(Micros),
    /// `expect [at D] n alerts { .. }`; `nothing` is 0.
    Expect {
        /// `at`.
        at: Option<Micros>,
        /// How many.
        count: usize,
        /// Values.
        fields: Vec<(Ident, Expr)>,
        /// All of it.
        span: Span,
    },
}

/// An expression.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where.
    pub span: Span,
    /// It stands in parentheses of its own.
    pub paren: bool,
}

/// What an expression is.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named after its form in the grammar")]
pub enum ExprKind {
    Null,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    String(String),
    Duration(Micros),
    Path(Path),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `@name`, right of `in`.
    ListRef(Ident),
    List(Vec<Expr>),
    Object(Vec<(Ident, Expr)>),
    Call(Ident, Vec<Expr>),
    Window(Box<Window>),
}

/// `f(x over D before s where c)`.
#[derive(Debug, Clone)]
pub struct Window {
    /// The function.
    pub function: Ident,
    /// What is aggregated.
    pub argument: Expr,
    /// `over`.
    pub over: Expr,
    /// `before`.
    pub before: Option<Ident>,
    /// `where`.
    pub condition: Option<Expr>,
}

/// Operators of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// One that the IR has too.
    Plain(crate::ir::BinaryOp),
    /// `reaches`.
    Reaches,
}

impl Expr {
    /// Calls `f` on this expression and all in it, outermost first.
    pub fn walk<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        f(self);
        match &self.kind {
            ExprKind::Not(a) | ExprKind::Neg(a) | ExprKind::IsNull(a) => a.walk(f),
            ExprKind::Binary(_, a, b) => {
                a.walk(f);
                b.walk(f);
            }
            ExprKind::If(a, b, c) => {
                a.walk(f);
                b.walk(f);
                c.walk(f);
            }
            ExprKind::List(items) | ExprKind::Call(_, items) => items.iter().for_each(|e| e.walk(f)),
            ExprKind::Object(pairs) => pairs.iter().for_each(|(_, e)| e.walk(f)),
            ExprKind::Window(w) => {
                w.argument.walk(f);
                w.over.walk(f);
                if let Some(c) = &w.condition {
                    c.walk(f);
                }
            }
            _ => {}
        }
    }
}
