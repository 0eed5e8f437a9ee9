//! Functions of values, and those that need a place of their own: of two steps, of a repeat's last event, of a history.

use super::names::Typed;
use super::rule::{Place, RuleLowering, Scope};
use super::{Fail, Lowered};
use crate::ast::{self, ExprKind, Ident};
use crate::check::{self, BOOL, DECIMAL, DURATION, FLOAT, GEO, INSTANT, INT, IP, STRING, Ty, join};
use crate::diagnostic::Diagnostic;
use crate::ir::{Aggregate, BinaryOp, Expr, Function, Trend};
use crate::types::{Literal, Type};

/// Functions that are no aggregates, with how they are called.
pub(super) const FUNCTIONS: &[(&str, &str)] = &[
    ("ratio", "ratio(part, whole)"),
    ("abs", "abs(x)"),
    ("lower", "lower(text)"),
    ("upper", "upper(text)"),
    ("length", "length(text)"),
    ("distance_km", "distance_km(a.place, b.place)"),
    ("speed_kmh", "speed_kmh(a, b)"),
    ("hour", "hour(ts, \"Europe/Berlin\")"),
    ("day", "day(ts, \"Europe/Berlin\")"),
    ("cidr", "cidr(address, \"10.0.0.0/8\")"),
    ("instant", "instant(\"2026-03-01T00:00:00Z\")"),
    ("rising", "rising(field)"),
    ("falling", "falling(field)"),
    ("changed", "changed(field)"),
    ("prev", "prev(field, default)"),
    ("is_new", "is_new(stream.field over 90d before step)"),
];

fn signature(name: &str) -> &'static str {
    FUNCTIONS.iter().find(|(n, _)| *n == name).map_or("", |(_, signature)| signature)
}

/// An address and the length of its network's part.
fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u32>().is_ok_and(|bits| bits <= most)
}

impl RuleLowering<'_, '_> {
    /// A function of values; `None` if there is none of this name.
    pub(super) fn function(
        &mut self,
        e: &ast::Expr,
        name: &Ident,
        arguments: &[ast::Expr],
        scope: &Scope,
    ) -> Option<Lowered<Typed>> {
        Some(match name.name.as_str() {
            "min" | "max" if arguments.len() > 1 => self.least_or_most(name, arguments, scope),
            "ratio" => self.ratio(name, arguments, scope),
            "abs" => self.abs(name, arguments, scope),
            "lower" => self.of_text(name, Function::Lower, STRING, arguments, scope),
            "upper" => self.of_text(name, Function::Upper, STRING, arguments, scope),
            "length" => self.of_text(name, Function::Length, INT, arguments, scope),
            "distance_km" => self.distance(name, arguments, scope),
            "speed_kmh" => self.speed(name, arguments, scope),
            "hour" => self.local_time(name, Function::Hour, arguments, scope),
            "day" => self.local_time(name, Function::Day, arguments, scope),
            "cidr" => self.cidr(name, arguments, scope),
            "instant" => self.all.fold(e, false).map(|literal| {
                let ty = check::literal_type(&literal);
                (Expr::Literal(literal), ty)
            }),
            "rising" => self.trend(name, Trend::Rising, arguments, scope),
            "falling" => self.trend(name, Trend::Falling, arguments, scope),
            "changed" => self.trend(name, Trend::Changed, arguments, scope),
            "prev" => self.prev(name, arguments, scope),
            "is_new" => Err(self.takes(name, "a field over a time before a step", signature("is_new"))),
            _ => return None,
        })
    }

    fn arguments(&mut self, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Vec<Typed>> {
        let lowered: Vec<Lowered<Typed>> = arguments.iter().map(|e| self.expr(e, scope, None)).collect();
        lowered.into_iter().collect()
    }

    /// As many arguments as the function takes, or E207.
    fn exactly<const N: usize>(
        &mut self,
        name: &Ident,
        arguments: &[ast::Expr],
        scope: &Scope,
    ) -> Lowered<[Typed; N]> {
        if arguments.len() != N {
            let what = match N {
                1 => "one value",
                2 => "two values",
                _ => "four values",
            };
            return Err(self.takes(name, what, signature(&name.name)));
        }
        self.arguments(arguments, scope)?.try_into().map_err(|_| Fail)
    }

    /// E201 unless the argument has this type.
    fn wants(&mut self, e: Option<&ast::Expr>, ty: &Ty, wanted: &Ty) -> Lowered<()> {
        match e {
            Some(e) if ty != wanted && *ty != Ty::Null => Err(self.mismatch(&wanted.show(), e, ty)),
            _ => Ok(()),
        }
    }

    fn least_or_most(&mut self, name: &Ident, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        let function = if name.name == "min" { Function::Min } else { Function::Max };
        let mut values = Vec::new();
        let mut ty = Ty::Null;
        for ((value, one), e) in self.arguments(arguments, scope)?.into_iter().zip(arguments) {
            ty = match join(&ty, &one).filter(|_| check::aggregate(Aggregate::Min, &one).is_some()) {
                Some(joined) => joined,
                None => return Err(self.mismatch(&ty.show(), e, &one)),
            };
            values.push(value);
        }
        Ok((Expr::Call(function, values), ty))
    }

    fn ratio(&mut self, name: &Ident, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        let [(part, part_type), (whole, whole_type)] = self.exactly(name, arguments, scope)?;
        for (ty, e) in [&part_type, &whole_type].into_iter().zip(arguments) {
            if !ty.is_numeric() && *ty != DURATION {
                return Err(self.mismatch("a number", e, ty));
            }
        }
        if (part_type == DURATION) != (whole_type == DURATION) {
            return Err(self.takes(name, "two values of one kind", signature("ratio")));
        }
        let ty = if part_type == FLOAT || whole_type == FLOAT { FLOAT } else { DECIMAL };
        Ok((Expr::Call(Function::Ratio, vec![part, whole]), ty))
    }

    fn abs(&mut self, name: &Ident, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        let [(value, ty)] = self.exactly(name, arguments, scope)?;
        match arguments.first() {
            Some(e) if !ty.is_numeric() && ty != DURATION => Err(self.mismatch("a number", e, &ty)),
            _ => Ok((Expr::Call(Function::Abs, vec![value]), ty)),
        }
    }

    fn of_text(
        &mut self,
        name: &Ident,
        function: Function,
        result: Ty,
        arguments: &[ast::Expr],
        scope: &Scope,
    ) -> Lowered<Typed> {
        let [(value, ty)] = self.exactly(name, arguments, scope)?;
        let of_list = function == Function::Length && matches!(ty, Ty::List(_));
        match arguments.first() {
            Some(e) if !ty.is_text() && !of_list => Err(self.mismatch("string", e, &ty)),
            _ => Ok((Expr::Call(function, vec![value]), result)),
        }
    }

    fn distance(&mut self, name: &Ident, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        let [(a, a_type), (b, b_type)] = self.exactly(name, arguments, scope)?;
        self.wants(arguments.first(), &a_type, &GEO)?;
        self.wants(arguments.get(1), &b_type, &GEO)?;
        Ok((Expr::Call(Function::DistanceKm, vec![a, b]), FLOAT))
    }

    /// `speed_kmh(a, b)` of two steps, or of place, time, place, time.
    fn speed(&mut self, name: &Ident, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        let values: [Typed; 4] = match arguments {
            [a, b] => {
                let mut values = Vec::new();
                for step in [a, b] {
                    values.extend(self.place_and_time(name, step, scope)?);
                }
                values.try_into().map_err(|_| Fail)?
            }
            [_, _, _, _] => {
                let values: [Typed; 4] = self.exactly(name, arguments, scope)?;
                for ((ty, wanted), e) in
                    values.iter().map(|(_, ty)| ty).zip([GEO, INSTANT, GEO, INSTANT]).zip(arguments)
                {
                    self.wants(Some(e), ty, &wanted)?;
                }
                values
            }
            _ => return Err(self.takes(name, "two steps", signature("speed_kmh"))),
        };
        Ok((Expr::Call(Function::SpeedKmh, values.into_iter().map(|(value, _)| value).collect()), FLOAT))
    }

    /// The only place of a step's event, and its time.
    fn place_and_time(&mut self, name: &Ident, step: &ast::Expr, scope: &Scope) -> Lowered<[Typed; 2]> {
        let alias = match &step.kind {
            ExprKind::Path(path) if path.len() == 1 => path.first(),
            _ => None,
        };
        let stream = alias.and_then(|alias| self.stream_of(alias, scope));
        let (Some(alias), Some(stream)) = (alias, stream) else {
            return Err(self.takes(name, "two steps", signature("speed_kmh")));
        };
        let fields = self.all.streams.get(stream).map_or(&[][..], |s| &s.fields);
        let places: Vec<Vec<String>> =
            fields.iter().filter(|f| f.ty == Type::Geo).map(|f| f.path.clone()).collect();
        let [place] = places.as_slice() else {
            let stream = self.all.streams.get(stream).map(|s| s.name.clone()).unwrap_or_default();
            let (message, help) = if places.is_empty() {
                let message =
                    format!("`speed_kmh` takes two steps with a place: `{stream}` has no field of type geo");
                (message, "declare the place: `geo: geo`".to_owned())
            } else {
                let names: Vec<String> = places.iter().map(|p| format!("`{}`", p.join("."))).collect();
                let message =
                    format!("`speed_kmh` takes steps with one place: `{stream}` has {}", names.join(", "));
                (message, "say which: `speed_kmh(a.place, a.ts, b.place, b.ts)`".to_owned())
            };
            return Err(self.report(Diagnostic::error("E207", step.span, message).help(help)));
        };
        let under = |name: &str| Ident { name: name.to_owned(), span: alias.span, quoted: true };
        let place: Vec<Ident> =
            std::iter::once(alias.clone()).chain(place.iter().map(|part| under(part))).collect();
        let place = self.path(&place, scope, None)?;
        let time = self.path(&[alias.clone(), under("ts")], scope, None)?;
        Ok([place, time])
    }

    /// Stream of a step, of a `one of`, or of the event looked at, by name; in the module.
    fn stream_of(&self, alias: &Ident, scope: &Scope) -> Option<usize> {
        let step = self.step_named(&alias.name).or_else(|| {
            let set = self.set_named(&alias.name)?;
            self.sets.get(set).map(|s| s.members.start)
        });
        match step {
            Some(step) => self.names.get(step).map(|n| n.module_stream),
            None => scope
                .this
                .iter()
                .copied()
                .find(|s| self.all.streams.get(*s).is_some_and(|s| s.name == alias.name)),
        }
    }

    fn local_time(
        &mut self,
        name: &Ident,
        function: Function,
        arguments: &[ast::Expr],
        scope: &Scope,
    ) -> Lowered<Typed> {
        let (Some(time), true) = (arguments.first(), arguments.len() <= 2) else {
            return Err(self.takes(name, "a time and a zone", signature(&name.name)));
        };
        let (value, ty) = self.expr(time, scope, None)?;
        self.wants(Some(time), &ty, &INSTANT)?;
        let zone = match arguments.get(1) {
            Some(zone) => {
                let text = self.literal_text(name, zone, scope, "a zone in quotes")?;
                self.all.zone(&text, zone.span);
                text
            }
            None => "UTC".to_owned(),
        };
        Ok((Expr::Call(function, vec![value, Expr::Literal(Literal::String(zone))]), INT))
    }

    /// A string that is known now: in quotes, a `const` or a `param`.
    fn literal_text(&mut self, name: &Ident, e: &ast::Expr, scope: &Scope, what: &str) -> Lowered<String> {
        match self.expr(e, scope, None)?.0 {
            Expr::Literal(Literal::String(text)) => Ok(text),
            _ => {
                let message = format!("`{}` takes {what}, found `{}`", name.name, self.all.slice(e.span));
                let help = format!("`{}`", signature(&name.name));
                Err(self.report(Diagnostic::error("E207", e.span, message).help(help)))
            }
        }
    }

    fn cidr(&mut self, name: &Ident, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        let [address, network] = arguments else {
            return Err(self.takes(name, "an address and a network", signature("cidr")));
        };
        let (mut value, mut ty) = self.expr(address, scope, None)?;
        check::adapt(&mut value, &mut ty, &IP);
        if ty != IP && !ty.is_text() {
            return Err(self.mismatch("ip", address, &ty));
        }
        let text = self.literal_text(name, network, scope, "a network in quotes")?;
        if !is_network(&text) {
            let message = format!("`{text}` is not a network");
            let help = "an address and how many bits count: `\"10.0.0.0/8\"`, `\"2001:db8::/32\"`";
            return Err(self.report(Diagnostic::error("E207", network.span, message).help(help)));
        }
        Ok((Expr::Call(Function::Cidr, vec![value, Expr::Literal(Literal::String(text))]), BOOL))
    }

    fn in_consecutive(&mut self, name: &Ident, scope: &Scope) -> Lowered<()> {
        let own = scope.own.and_then(|own| self.names.get(own));
        if scope.place == Place::Where && own.is_some_and(|n| n.consecutive) {
            return Ok(());
        }
        Err(self.needs_consecutive(name))
    }

    fn trend(&mut self, name: &Ident, kind: Trend, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        self.in_consecutive(name, scope)?;
        let [(value, ty)] = self.exactly(name, arguments, scope)?;
        match arguments.first() {
            Some(e) if kind != Trend::Changed && check::aggregate(Aggregate::Min, &ty).is_none() => {
                Err(self.mismatch("a number", e, &ty))
            }
            _ => Ok((Expr::Trend(kind, Box::new(value)), BOOL)),
        }
    }

    fn prev(&mut self, name: &Ident, arguments: &[ast::Expr], scope: &Scope) -> Lowered<Typed> {
        self.in_consecutive(name, scope)?;
        let [(value, ty), (mut default, mut default_type)] = self.exactly(name, arguments, scope)?;
        check::adapt(&mut default, &mut default_type, &ty);
        match (join(&ty, &default_type), arguments.get(1)) {
            (Some(joined), _) => Ok((Expr::Prev(Box::new(value), Box::new(default)), joined)),
            (None, Some(e)) => Err(self.mismatch(&ty.show(), e, &default_type)),
            (None, None) => Err(Fail),
        }
    }

    /// E322.
    pub(super) fn needs_consecutive(&mut self, name: &Ident) -> Fail {
        let message = format!("`{}` needs a fixed event before it", name.name);
        self.report(
            Diagnostic::error("E322", name.span, message).help(
                "it stands in the `where` of a `consecutive` step: `at least 3 consecutive x where ..`",
            ),
        )
    }

    /// `is_new(s.f over D before a)`: a's value is not among those of the window.
    pub(super) fn is_new(&mut self, e: &ast::Expr, window: &ast::Window, scope: &Scope) -> Lowered<Typed> {
        let name = &window.function;
        let Some(before) = &window.before else {
            return Err(self.takes(name, "a field over a time before a step", signature("is_new")));
        };
        let stream = super::streams::window_stream(&window.argument).cloned().ok_or(Fail)?;
        let function = Ident { name: "collect".to_owned(), ..name.clone() };
        let history = ast::Window { function, ..window.clone() };
        let (seen, seen_type) = self.window(e, &history, scope)?;
        let argument =
            self.all.expanded(|x| x.with_argument(&window.argument, &stream.name, before)).ok_or(Fail)?;
        let (value, ty) = self.expr(&argument, scope, None)?;
        let Some(_) = check::binary(BinaryOp::In, &ty, &seen_type) else {
            let wanted = match seen_type {
                Ty::List(item) => item.show(),
                other => other.show(),
            };
            return Err(self.mismatch(&wanted, &argument, &ty));
        };
        let seen = Expr::Binary(BinaryOp::Coalesce, Box::new(seen), Box::new(Expr::List(Vec::new())));
        let among = Expr::Binary(BinaryOp::In, Box::new(value), Box::new(seen));
        Ok((Expr::Not(Box::new(among)), BOOL))
    }
}
