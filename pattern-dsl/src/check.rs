//! Types of expressions: which fit together, and what comes out.
//!
//! Pure functions; `crate::lower` asks them and reports.

use crate::ir::{Aggregate, BinaryOp, Expr};
use crate::types::{Literal, Type};

/// The type of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ty {
    /// A value.
    Of(Type),
    /// `null`.
    Null,
    /// A list of values.
    List(Box<Ty>),
    /// `{ .. }`.
    Object,
}

pub(crate) const BOOL: Ty = Ty::Of(Type::Bool);
pub(crate) const INT: Ty = Ty::Of(Type::Int);
pub(crate) const DECIMAL: Ty = Ty::Of(Type::Decimal);
pub(crate) const FLOAT: Ty = Ty::Of(Type::Float);
pub(crate) const STRING: Ty = Ty::Of(Type::String);
pub(crate) const INSTANT: Ty = Ty::Of(Type::Instant);
pub(crate) const DURATION: Ty = Ty::Of(Type::Duration);
pub(crate) const IP: Ty = Ty::Of(Type::Ip);
pub(crate) const GEO: Ty = Ty::Of(Type::Geo);

impl From<Type> for Ty {
    fn from(ty: Type) -> Self {
        match ty {
            Type::List(item) => Ty::List(Box::new(Ty::from(*item))),
            other => Ty::Of(other),
        }
    }
}

/// Text in quotes beside an address is an address: `ip == "10.0.0.1"`, also in a list. Left as it is if it is none.
pub(crate) fn adapt(e: &mut Expr, ty: &mut Ty, beside: &Ty) {
    let item = match beside {
        Ty::List(item) => item.as_ref(),
        other => other,
    };
    if *item != IP {
        return;
    }
    match (e, &mut *ty) {
        (Expr::Literal(literal), Ty::Of(Type::String)) => {
            if let Literal::String(text) = &*literal
                && let Ok(address) = text.parse()
            {
                *literal = Literal::Ip(address);
                *ty = IP;
            }
        }
        (Expr::List(items), Ty::List(of)) if **of == STRING => {
            let addresses: Option<Vec<Expr>> = items
                .iter()
                .map(|item| match item {
                    Expr::Literal(Literal::String(text)) => {
                        text.parse().ok().map(|a| Expr::Literal(Literal::Ip(a)))
                    }
                    _ => None,
                })
                .collect();
            if let Some(addresses) = addresses {
                *items = addresses;
                **of = IP;
            }
        }
        _ => {}
    }
}

impl Ty {
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Ty::Of(Type::Int | Type::Decimal | Type::Float) | Ty::Null)
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Ty::Of(Type::String | Type::Enum(_)) | Ty::Null)
    }

    pub(crate) fn is_bool(&self) -> bool {
        matches!(self, Ty::Of(Type::Bool) | Ty::Null)
    }

    fn is_ordered(&self) -> bool {
        !matches!(self, Ty::Of(Type::Bool | Type::Ip | Type::Geo) | Ty::List(_) | Ty::Object)
    }

    /// The words of an enum.
    pub(crate) fn words(&self) -> Option<&Type> {
        match self {
            Ty::Of(ty @ Type::Enum(_)) => Some(ty),
            Ty::List(inner) => inner.words(),
            _ => None,
        }
    }

    pub(crate) fn show(&self) -> String {
        match self {
            Ty::Of(ty) => show_type(ty),
            Ty::Null => "null".to_owned(),
            Ty::List(inner) => format!("list of {}", inner.show()),
            Ty::Object => "object".to_owned(),
        }
    }
}

/// A type as rules write it.
pub(crate) fn show_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Int => "int".to_owned(),
        Type::Decimal => "decimal".to_owned(),
        Type::Float => "float".to_owned(),
        Type::String => "string".to_owned(),
        Type::Instant => "instant".to_owned(),
        Type::Duration => "duration".to_owned(),
        Type::Enum(words) => format!("enum({})", words.join(", ")),
        Type::Ip => "ip".to_owned(),
        Type::Geo => "geo".to_owned(),
        Type::List(item) => format!("list<{}>", show_type(item)),
    }
}

/// The type of a constant.
pub(crate) fn literal_type(literal: &Literal) -> Ty {
    match literal {
        Literal::Null => Ty::Null,
        Literal::Bool(_) => BOOL,
        Literal::Int(_) => INT,
        Literal::Decimal(_) => DECIMAL,
        Literal::Float(_) => FLOAT,
        Literal::String(_) => STRING,
        Literal::Instant(_) => INSTANT,
        Literal::Duration(_) => DURATION,
        Literal::Ip(_) => Ty::Of(Type::Ip),
        Literal::Geo(..) => Ty::Of(Type::Geo),
        Literal::List(items) => Ty::List(Box::new(items.first().map_or(Ty::Null, literal_type))),
        Literal::Object(_) => Ty::Object,
    }
}

/// The type of either of two: numbers widen, words become strings.
pub(crate) fn join(a: &Ty, b: &Ty) -> Option<Ty> {
    match (a, b) {
        (Ty::Null, other) | (other, Ty::Null) => Some(other.clone()),
        (a, b) if a == b => Some(a.clone()),
        (Ty::List(a), Ty::List(b)) => Some(Ty::List(Box::new(join(a, b)?))),
        (a, b) if a.is_numeric() && b.is_numeric() => {
            Some(if *a == FLOAT || *b == FLOAT { FLOAT } else { DECIMAL })
        }
        (a, b) if a.is_text() && b.is_text() => Some(STRING),
        _ => None,
    }
}

/// What `a op b` gives; `None` if the types do not fit. `and`, `or` and `in` are not asked here.
pub(crate) fn binary(op: BinaryOp, a: &Ty, b: &Ty) -> Option<Ty> {
    use BinaryOp as B;
    match op {
        B::And | B::Or => (a.is_bool() && b.is_bool()).then_some(BOOL),
        B::Equal | B::NotEqual => join(a, b).filter(|_| !matches!(a, Ty::List(_) | Ty::Object)).map(|_| BOOL),
        B::Less | B::LessOrEqual | B::Greater | B::GreaterOrEqual => {
            (a.is_ordered() && b.is_ordered()).then(|| join(a, b)).flatten().map(|_| BOOL)
        }
        B::Coalesce => join(a, b),
        B::In => match b {
            Ty::List(inner) => join(a, inner).map(|_| BOOL),
            _ => None,
        },
        B::Contains if matches!(a, Ty::List(_)) => binary(B::In, b, a),
        B::Contains | B::StartsWith | B::EndsWith | B::Matches => {
            (a.is_text() && b.is_text()).then_some(BOOL)
        }
        B::Add | B::Subtract | B::Multiply | B::Divide | B::Remainder => arithmetic(op, a, b),
    }
}

fn arithmetic(op: BinaryOp, a: &Ty, b: &Ty) -> Option<Ty> {
    use BinaryOp as B;
    if *a == Ty::Null || *b == Ty::Null {
        return None;
    }
    if a.is_numeric() && b.is_numeric() {
        let joined = join(a, b)?;
        return Some(if op == B::Divide && joined == INT { DECIMAL } else { joined });
    }
    let (instant_a, instant_b) = (*a == INSTANT, *b == INSTANT);
    let (duration_a, duration_b) = (*a == DURATION, *b == DURATION);
    match op {
        B::Subtract if instant_a && instant_b => Some(DURATION),
        B::Add | B::Subtract if instant_a && duration_b => Some(INSTANT),
        B::Add if duration_a && instant_b => Some(INSTANT),
        B::Add | B::Subtract if duration_a && duration_b => Some(DURATION),
        B::Multiply if (duration_a && *b == INT) || (*a == INT && duration_b) => Some(DURATION),
        B::Divide if duration_a && duration_b => Some(DECIMAL),
        _ => None,
    }
}

/// What an aggregate of values of a type gives; `None` if it takes no such values.
pub(crate) fn aggregate(kind: Aggregate, of: &Ty) -> Option<Ty> {
    use Aggregate as A;
    match kind {
        A::Count | A::Distinct => Some(INT),
        A::Sum | A::SumDurations => (of.is_numeric() || *of == DURATION).then(|| of.clone()),
        A::Avg | A::Median if of.is_numeric() => Some(if *of == FLOAT { FLOAT } else { DECIMAL }),
        A::Avg | A::Median => None,
        A::Stddev => of.is_numeric().then_some(FLOAT),
        A::Min | A::Max => of.is_ordered().then(|| of.clone()),
        A::First | A::Last => Some(of.clone()),
        A::Collect => Some(Ty::List(Box::new(of.clone()))),
    }
}
