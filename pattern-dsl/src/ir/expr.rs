//! Typed expressions of a checked rule.

use crate::types::Literal;

/// Whose field is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Of {
    /// The event looked at: of a `where`; inside an aggregate or window, each event counted.
    This,
    /// The event of a step that takes one at most; null if it has none.
    Step(usize),
}

/// A typed expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A constant.
    Literal(Literal),
    /// A field: index into the stream's fields.
    Field(Of, usize),
    /// The event's time, an instant.
    Ts(Of),
    /// The event's id as text (its source position if it has none declared).
    Id(Of),
    /// The name of the event's stream.
    StreamName(Of),
    /// A key part: index into [`Rule::keys`](super::Rule::keys).
    Key(usize),
    /// `not x`.
    Not(Box<Expr>),
    /// `-x`.
    Neg(Box<Expr>),
    /// `a op b`.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `x is null`.
    IsNull(Box<Expr>),
    /// `if c then a else b`; an unknown condition takes `else`.
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `x in @list`, `x in @list[key]`: index into [`Module::tables`](super::Module::tables). As of the time of the event or moment that reads.
    InList(Box<Expr>, usize, Option<Box<Expr>>),
    /// `@lookup[key].column`: index into [`Module::tables`](super::Module::tables), key, column. Null where there is no such key.
    Lookup(usize, Box<Expr>, usize),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// A function of values.
    Call(Function, Vec<Expr>),
    /// An aggregate over what a step took. The argument reads each of its events as [`Of::This`]; `count(x)` has none.
    /// In the `where` of the step itself (with `consecutive`): over what it has taken before this event.
    Aggregate(Aggregate, usize, Option<Box<Expr>>),
    /// A window's value: index into [`Rule::windows`](super::Rule::windows).
    Window(usize),
    /// `value reaches limit`; a top-level term of the only step. The index numbers the latches of the rule.
    Reaches(usize, Box<Expr>, Box<Expr>),
    /// `rising(x)`, `falling(x)`, `changed(x)` in a `consecutive` step: this event's value against the one taken before.
    Trend(Trend, Box<Expr>),
    /// `prev(x, default)` in a `consecutive` step: x of the event taken before; the default on the first.
    Prev(Box<Expr>, Box<Expr>),
    /// `{ a: x }` in `emit`.
    Object(Vec<(String, Expr)>),
}

impl Expr {
    /// Calls `f` on this expression and all in it, outermost first.
    pub fn walk<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        f(self);
        match self {
            Self::Not(a)
            | Self::Neg(a)
            | Self::IsNull(a)
            | Self::Trend(_, a)
            | Self::Lookup(_, a, _)
            | Self::Aggregate(_, _, Some(a)) => a.walk(f),
            Self::Binary(_, a, b) | Self::Reaches(_, a, b) | Self::Prev(a, b) => {
                a.walk(f);
                b.walk(f);
            }
            Self::If(a, b, c) => {
                a.walk(f);
                b.walk(f);
                c.walk(f);
            }
            Self::InList(a, _, key) => {
                a.walk(f);
                if let Some(key) = key {
                    key.walk(f);
                }
            }
            Self::List(items) | Self::Call(_, items) => items.iter().for_each(|e| e.walk(f)),
            Self::Object(pairs) => pairs.iter().for_each(|(_, e)| e.walk(f)),
            Self::Literal(_)
            | Self::Field(..)
            | Self::Ts(_)
            | Self::Id(_)
            | Self::StreamName(_)
            | Self::Key(_)
            | Self::Aggregate(_, _, None)
            | Self::Window(_) => {}
        }
    }
}

/// Operators of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named after its sign or word in the language")]
pub enum BinaryOp {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    /// `a ?? b`.
    Coalesce,
    /// `x in [a, b]` or `x in collect(..)`.
    In,
    Contains,
    StartsWith,
    EndsWith,
    /// Unanchored search; the right side is a literal that is a valid regular expression.
    Matches,
}

impl BinaryOp {
    /// As it is written in a rule.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Coalesce => "??",
            Self::In => "in",
            Self::Contains => "contains",
            Self::StartsWith => "starts with",
            Self::EndsWith => "ends with",
            Self::Matches => "matches",
        }
    }
}

/// Functions of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `ratio(a, b)`: a / b, null when b is 0.
    Ratio,
    /// `min(a, b, ..)` of values.
    Min,
    /// `max(a, b, ..)` of values.
    Max,
    /// `abs(x)`.
    Abs,
    /// `lower(s)`.
    Lower,
    /// `upper(s)`.
    Upper,
    /// `length(s)` in code points; of a list, its items.
    Length,
    /// `distance_km(a, b)` of two geo values, float.
    DistanceKm,
    /// `speed_kmh(a, b)`: geo, instant, geo, instant; float; null if no time passed.
    SpeedKmh,
    /// `hour(t, zone)`: 0 to 23; the zone is a literal IANA name, default UTC.
    Hour,
    /// `day(t, zone)`: 1 (Monday) to 7 (Sunday).
    Day,
    /// `cidr(ip, "10.0.0.0/8")`: the address is in the network; the network is a literal.
    Cidr,
}

/// How an event's value compares with the one that its repeat took before; true on the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trend {
    /// Greater than before.
    Rising,
    /// Less than before.
    Falling,
    /// Not equal to the one before.
    Changed,
}

/// Aggregates over a repeat or a window. Nulls are skipped; of nothing `count`, `sum`, `distinct` are 0, others null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named after its word in the language")]
pub enum Aggregate {
    Count,
    Sum,
    /// A sum of durations: of nothing it is 0s.
    SumDurations,
    Avg,
    Min,
    Max,
    Distinct,
    /// Value of the first event (null if that is null).
    First,
    /// Value of the last event.
    Last,
    /// All values as a list.
    Collect,
    /// Middle value; the mean of the middle two of an even count.
    Median,
    /// Sample standard deviation, float; null below two.
    Stddev,
}
