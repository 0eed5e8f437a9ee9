//! The syntax tree: what was written, with spans, before any name is looked up.
//!
//! Made by `crate::parse`, read by `crate::lower`. Repeated groups were refused (E390) while parsing, so nothing here is
//! silently ignored later.

use crate::decimal::Decimal;
use crate::ir::{Arrow, Destination, Mode, TimeFormat};
use crate::source::Span;
use crate::types::Micros;

/// A rule file.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// `stream` blocks.
    pub streams: Vec<Stream>,
    /// `list` declarations.
    pub lists: Vec<List>,
    /// `lookup` declarations.
    pub lookups: Vec<Lookup>,
    /// `const` declarations.
    pub consts: Vec<Const>,
    /// `def`s.
    pub defs: Vec<Def>,
    /// `template`s.
    pub templates: Vec<Template>,
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
    /// `list<T>`.
    pub of: Option<Box<TypeName>>,
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
    /// The field; empty for `time record`.
    pub path: Path,
    /// `in order`.
    pub in_order: bool,
    /// `as ..`.
    pub format: TimeFormat,
    /// `zone`.
    pub zone: Option<(String, Span)>,
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
    /// `by name: type`.
    pub by: Option<(Ident, TypeName)>,
    /// Type of its items.
    pub ty: TypeName,
    /// `from`.
    pub from: Option<String>,
    /// `= [..]`.
    pub items: Vec<Expr>,
}

/// A `lookup`.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// Its name.
    pub name: Ident,
    /// Name of its key.
    pub key: Ident,
    /// Type of its key; none = string.
    pub key_type: Option<TypeName>,
    /// Its columns.
    pub fields: Vec<Field>,
    /// `from`.
    pub from: Option<String>,
}

/// A `def`.
#[derive(Debug, Clone)]
pub struct Def {
    /// Its name.
    pub name: Ident,
    /// Names of its parameters.
    pub parameters: Vec<Ident>,
    /// What it stands for.
    pub body: Expr,
}

/// `name: type = value` of a `param` or a template.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: TypeName,
    /// Its default.
    pub value: Option<Expr>,
}

/// A `template`: a rule's body with holes.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its parameters.
    pub parameters: Vec<Param>,
    /// Its name and body, as a rule.
    pub rule: Rule,
}

/// `uses template(name: value)`.
#[derive(Debug, Clone)]
pub struct Uses {
    /// The template.
    pub template: Ident,
    /// Its arguments.
    pub arguments: Vec<(Ident, Expr)>,
    /// From `uses` to the closing parenthesis.
    pub span: Span,
}

/// `let name = expr`.
#[derive(Debug, Clone)]
pub struct Let {
    /// Its name.
    pub name: Ident,
    /// Its value.
    pub value: Expr,
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
    /// `uses`.
    pub uses: Option<Uses>,
    /// `param`s.
    pub params: Vec<Param>,
    /// `let`s.
    pub lets: Vec<Let>,
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
    /// `on timeout emit`, with the span of `on timeout`.
    pub timeout: Option<(Vec<(Ident, Expr)>, Span)>,
    /// `cooldown`, with the word's span.
    pub cooldown: Option<(Expr, Span)>,
    /// `cooldown .. per`.
    pub cooldown_per: Vec<Path>,
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

/// `overlap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlap {
    /// `none`.
    None,
    /// `per start`.
    PerStart,
    /// `per end`.
    PerEnd,
    /// `from x`.
    From(Ident),
    /// `from last x`.
    FromLast(Ident),
    /// `all`.
    All,
}

/// `match`.
#[derive(Debug, Clone)]
pub struct Match {
    /// The word `match`.
    pub span: Span,
    /// `within`.
    pub within: Option<Expr>,
    /// Steps, sets and absences in written order.
    pub units: Vec<Unit>,
    /// `cancel on`s in written order.
    pub cancels: Vec<Cancel>,
}

/// `cancel on x where c`.
#[derive(Debug, Clone)]
pub struct Cancel {
    /// The stream.
    pub stream: Ident,
    /// `where`.
    pub condition: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// A duration, perhaps with a limit.
#[derive(Debug, Clone)]
pub struct Bound {
    /// How long.
    pub value: Expr,
    /// `max D`, with its span.
    pub max: Option<(Micros, Span)>,
}

/// A step, a set or an absence, with the arrow before it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The arrow; the first unit has `Then`.
    pub arrow: Arrow,
    /// Span of the arrow's second word (`first`, `immediately`), if any.
    pub arrow_span: Option<Span>,
    /// `then after D`.
    pub after: Option<Bound>,
    /// `then within D`.
    pub within: Option<Bound>,
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
    /// `all of { .. }` and its like.
    Set(Set),
    /// `no X`.
    Absence(Absence),
}

/// How many events a step takes, as written, with its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// `at least n`.
    AtLeast(u32),
    /// `n`.
    Exactly(u32),
    /// `n to m`.
    Between(u32, u32),
    /// `any number of`.
    AnyNumber,
    /// `optional`.
    Optional,
}

/// A step.
#[derive(Debug, Clone)]
pub struct Event {
    /// All of it.
    pub span: Span,
    /// How many, with its span; none for a plain step.
    pub quantifier: Option<(Quantifier, Span)>,
    /// `consecutive`, with its span.
    pub consecutive: Option<Span>,
    /// The stream.
    pub stream: Ident,
    /// `as`.
    pub alias: Option<Ident>,
    /// `where`.
    pub condition: Option<Expr>,
    /// `until quiet for`, with the span of `until`.
    pub quiet: Option<(Bound, Span)>,
}

/// `all of`, `one of`, `at least n of`.
#[derive(Debug, Clone)]
pub struct Set {
    /// What its members are to one another; never `Step`.
    pub kind: crate::ir::UnitKind,
    /// Span of the words before the brace.
    pub kind_span: Span,
    /// Its members.
    pub members: Vec<Event>,
    /// `as`.
    pub alias: Option<Ident>,
}

/// `no X`, `no one of { X, Y }`.
#[derive(Debug, Clone)]
pub struct Absence {
    /// The streams.
    pub streams: Vec<Ident>,
    /// `for`.
    pub duration: Option<Bound>,
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
    /// `[at D] set @x = value`.
    Set {
        /// `at`.
        at: Option<Micros>,
        /// The list or lookup.
        table: Ident,
        /// Its content.
        value: Expr,
    },
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
    /// `@name`, `@name[key]`, `@name[key].column`.
    Table(Ident, Option<Box<Expr>>, Option<Ident>),
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
            ExprKind::Not(a) | ExprKind::Neg(a) | ExprKind::IsNull(a) | ExprKind::Table(_, Some(a), _) => {
                a.walk(f)
            }
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
