//! Expressions, read as a tree.

use crate::Event;
use crate::value::{Value, arithmetic, compare, mean, negate, stddev, sum};
use pattern_dsl::ir::{
    Aggregate, BinaryOp, Condition, Content, Expr, Function, Module, Of, Rule, Trend, Window,
};
use pattern_dsl::types::Literal;
use std::borrow::Cow;
use std::cmp::Ordering;

/// An event as one key of one rule sees it.
pub(crate) struct Slot<'a> {
    pub(crate) event: &'a Event,
    /// Its index in the events given.
    pub(crate) index: usize,
    /// Its place in the rule's order over all keys.
    pub(crate) place: usize,
    /// Which of the event's key tuples this key is.
    pub(crate) route: usize,
    /// Index into [`Rule::streams`].
    pub(crate) stream: usize,
    /// The stream's own key fields give this key: seen by absences and windows.
    pub(crate) by_stream: bool,
    /// The steps whose key fields give this key.
    pub(crate) serves: Vec<bool>,
}

/// What a table holds from when on, in order of time.
pub(crate) type Versions<'a> = Vec<(i64, &'a Content)>;

/// All events of one key in the rule's order.
pub(crate) struct Line<'a> {
    pub(crate) module: &'a Module,
    pub(crate) rule: &'a Rule,
    /// By table index.
    pub(crate) tables: &'a [Versions<'a>],
    pub(crate) key: &'a [Literal],
    pub(crate) slots: Vec<Slot<'a>>,
    /// For each `reaches` of the rule and each position: was it true there?
    pub(crate) reached: Vec<Vec<bool>>,
    /// By window, and by leading absence: nothing before this time is known.
    pub(crate) known: (Vec<i64>, Vec<i64>),
}

/// As of when windows, lists and lookups are read.
#[derive(Clone, Copy)]
pub(crate) enum AsOf {
    /// Up to and including the event at this position.
    Event(usize),
    /// All events of this time and before.
    Time(i64),
}

/// What an expression can see.
#[derive(Clone, Copy)]
pub(crate) struct View<'v> {
    /// The event looked at.
    pub(crate) this: Option<usize>,
    /// What each step has taken, as positions; empty if it has not begun.
    pub(crate) taken: &'v [Vec<usize>],
    /// The step whose `where` is read.
    pub(crate) own: Option<usize>,
    pub(crate) as_of: AsOf,
    /// The time whose lists and lookups are read, if it is not that of `as_of`: in a window, of the event in it.
    pub(crate) tables_at: Option<i64>,
}

impl<'a> Line<'a> {
    pub(crate) fn ts(&self, position: usize) -> i64 {
        self.slots[position].event.ts
    }

    /// Every term is true.
    pub(crate) fn holds(&self, condition: &'a Condition, view: View<'_>) -> bool {
        condition.iter().all(|term| self.eval(&term.expr, view).truth() == Some(true))
    }

    fn whose(&self, of: Of, view: View<'_>) -> Option<&Slot<'a>> {
        let position = match of {
            Of::This => view.this?,
            Of::Step(step) => *view.taken.get(step)?.first()?,
        };
        self.slots.get(position)
    }

    pub(crate) fn eval(&self, expr: &'a Expr, view: View<'_>) -> Value<'a> {
        let known = |truth: Option<bool>| truth.map_or(Value::Null, Value::Bool);
        match expr {
            Expr::Literal(literal) => Value::of(literal),
            Expr::Field(of, field) => {
                self.whose(*of, view).and_then(|s| s.event.fields.get(*field)).map_or(Value::Null, Value::of)
            }
            Expr::Ts(of) => self.whose(*of, view).map_or(Value::Null, |s| Value::Instant(s.event.ts)),
            Expr::Id(of) => self.whose(*of, view).map_or(Value::Null, |s| match &s.event.id {
                Some(id) => Value::Text(Cow::Borrowed(id)),
                None => {
                    let stream = &self.module.streams[s.event.stream];
                    let topic = stream.topic.as_ref().unwrap_or(&stream.name);
                    Value::Text(Cow::Owned(format!("{topic}/{}/{}", s.event.partition, s.event.offset)))
                }
            }),
            Expr::StreamName(of) => self.whose(*of, view).map_or(Value::Null, |s| {
                Value::Text(Cow::Borrowed(self.module.streams[s.event.stream].name.as_str()))
            }),
            Expr::Key(part) => self.key.get(*part).map_or(Value::Null, Value::of),
            Expr::Not(inner) => known(self.eval(inner, view).truth().map(|b| !b)),
            Expr::Neg(inner) => negate(&self.eval(inner, view)),
            Expr::Binary(op, left, right) => self.binary(*op, left, right, view),
            Expr::IsNull(inner) => Value::Bool(self.eval(inner, view).is_null()),
            Expr::If(condition, then, otherwise) => {
                let yes = self.eval(condition, view).truth() == Some(true);
                self.eval(if yes { then } else { otherwise }, view)
            }
            Expr::InList(item, table, key) => {
                let item = self.eval(item, view);
                match key.as_ref().map(|key| self.eval(key, view)) {
                    Some(Value::Null) => Value::Null,
                    key => known(is_in(&item, self.row(*table, key.as_ref(), view).iter().map(Value::of))),
                }
            }
            Expr::Lookup(table, key, column) => {
                let key = self.eval(key, view);
                self.row(*table, Some(&key), view).get(*column).map_or(Value::Null, Value::of)
            }
            Expr::List(items) => Value::List(items.iter().map(|item| self.eval(item, view)).collect()),
            Expr::Call(function, arguments) => {
                let values: Vec<_> = arguments.iter().map(|a| self.eval(a, view)).collect();
                call(*function, &values)
            }
            Expr::Aggregate(aggregate, step, argument) => {
                let taken = view.taken.get(*step).map_or(&[][..], Vec::as_slice);
                self.aggregate(*aggregate, taken, argument.as_deref(), view)
            }
            Expr::Window(number) => {
                let window = &self.rule.windows[*number];
                if self.is_unknown(*number, window, view) {
                    return Value::Null;
                }
                let held = self.windowed(window, view);
                self.aggregate_in(window, &held, view)
            }
            Expr::Reaches(latch, ..) => known(view.this.map(|p| self.reached[*latch][p])),
            Expr::Trend(trend, inner) => {
                let Some(before) = own_before(view) else { return Value::Bool(true) };
                let now = self.eval(inner, view);
                let then = self.eval(inner, View { this: Some(before), ..view });
                known(compare(&now, &then).map(|o| match trend {
                    Trend::Rising => o == Ordering::Greater,
                    Trend::Falling => o == Ordering::Less,
                    Trend::Changed => o != Ordering::Equal,
                }))
            }
            Expr::Prev(inner, default) => match own_before(view) {
                Some(before) => self.eval(inner, View { this: Some(before), ..view }),
                None => self.eval(default, view),
            },
            Expr::Object(pairs) => Value::Object(
                pairs.iter().map(|(name, e)| (Cow::Borrowed(name.as_str()), self.eval(e, view))).collect(),
            ),
        }
    }

    fn binary(&self, op: BinaryOp, left: &'a Expr, right: &'a Expr, view: View<'_>) -> Value<'a> {
        let known = |truth: Option<bool>| truth.map_or(Value::Null, Value::Bool);
        let a = self.eval(left, view);
        match op {
            BinaryOp::And | BinaryOp::Or => {
                // `false and x` is false and `true or x` is true, even if x is unknown.
                let decisive = op == BinaryOp::Or;
                let x = a.truth();
                if x == Some(decisive) {
                    return Value::Bool(decisive);
                }
                let y = self.eval(right, view).truth();
                return if y == Some(decisive) { Value::Bool(decisive) } else { known(x.and(y)) };
            }
            BinaryOp::Coalesce => return if a.is_null() { self.eval(right, view) } else { a },
            _ => {}
        }
        let b = self.eval(right, view);
        let ordered = |test: fn(Ordering) -> bool| known(compare(&a, &b).map(test));
        let text = |test: fn(&str, &str) -> bool| match (&a, &b) {
            (Value::Text(a), Value::Text(b)) => Value::Bool(test(a, b)),
            _ => Value::Null,
        };
        match op {
            BinaryOp::Equal => ordered(Ordering::is_eq),
            BinaryOp::NotEqual => ordered(Ordering::is_ne),
            BinaryOp::Less => ordered(Ordering::is_lt),
            BinaryOp::LessOrEqual => ordered(Ordering::is_le),
            BinaryOp::Greater => ordered(Ordering::is_gt),
            BinaryOp::GreaterOrEqual => ordered(Ordering::is_ge),
            BinaryOp::In => match &b {
                Value::List(items) => known(is_in(&a, items.iter().cloned())),
                _ => Value::Null,
            },
            BinaryOp::Contains => match &a {
                Value::List(items) => known(is_in(&b, items.iter().cloned())),
                _ => text(|a, b| a.contains(b)),
            },
            BinaryOp::StartsWith => text(|a, b| a.starts_with(b)),
            BinaryOp::EndsWith => text(|a, b| a.ends_with(b)),
            BinaryOp::Matches => text(search),
            _ => arithmetic(op, &a, &b),
        }
    }

    /// What a list, a list by key or a lookup holds; nothing for a key that it has not.
    fn row(&self, table: usize, key: Option<&Value<'a>>, view: View<'_>) -> &'a [Literal] {
        let at = view.tables_at.unwrap_or(match view.as_of {
            AsOf::Event(position) => self.ts(position),
            AsOf::Time(time) => time,
        });
        let version = self.tables[table].iter().rev().find(|(from, _)| *from <= at);
        match (version.map(|(_, content)| *content), key) {
            (Some(Content::Items(items)), _) => items,
            (Some(Content::ByKey(rows)), Some(key)) => rows
                .iter()
                .find(|(k, _)| compare(&Value::of(k), key) == Some(Ordering::Equal))
                .map_or(&[], |(_, row)| row),
            _ => &[],
        }
    }

    /// The positions a window holds.
    pub(crate) fn windowed(&self, window: &'a Window, view: View<'_>) -> Vec<usize> {
        // Everything before `stop`, later than `time - span`.
        let (stop, time) = match (window.before, view.as_of) {
            (Some(step), _) => {
                let at = if view.own == Some(step) {
                    view.this
                } else {
                    view.taken.get(step).and_then(|taken| taken.first()).copied()
                };
                let Some(at) = at else { return Vec::new() };
                (at, self.ts(at))
            }
            (None, AsOf::Event(at)) => (at + 1, self.ts(at)),
            (None, AsOf::Time(time)) => (self.slots.iter().take_while(|s| s.event.ts <= time).count(), time),
        };
        self.window_events(window, stop, time, view)
    }

    /// The window looks back from a step to before all that is known.
    fn is_unknown(&self, number: usize, window: &Window, view: View<'_>) -> bool {
        let since = self.known.0[number];
        let at = match window.before {
            Some(step) if view.own == Some(step) => view.this,
            Some(step) => view.taken.get(step).and_then(|taken| taken.first()).copied(),
            None => None,
        };
        since > i64::MIN && at.is_some_and(|at| self.ts(at).saturating_sub(window.span) < since)
    }

    /// The view of an event in a window.
    fn within<'v>(&self, position: usize, view: View<'v>) -> View<'v> {
        View { this: Some(position), tables_at: Some(self.ts(position)), ..view }
    }

    fn aggregate_in(&self, window: &'a Window, held: &[usize], view: View<'_>) -> Value<'a> {
        let Some(argument) = &window.argument else { return Value::Int(held.len() as i64) };
        let values = held.iter().map(|&p| self.eval(argument, self.within(p, view))).collect();
        aggregate(window.aggregate, values)
    }

    fn window_events(&self, window: &'a Window, stop: usize, time: i64, view: View<'_>) -> Vec<usize> {
        let after = time.saturating_sub(window.span);
        let number = self.rule.windows.iter().position(|other| std::ptr::eq(other, window));
        let since = number.map_or(i64::MIN, |number| self.known.0[number]);
        (0..stop)
            .filter(|&p| {
                let slot = &self.slots[p];
                slot.stream == window.stream
                    && slot.by_stream
                    && slot.event.ts > after
                    && slot.event.ts >= since
                    && self.holds(&window.filter, self.within(p, view))
            })
            .collect()
    }

    /// True if `expr` reads windows and just before the event at `position` every one of them was empty.
    fn silent(&self, expr: &'a Expr, position: usize, view: View<'_>) -> bool {
        let mut windows = Vec::new();
        windows_of(expr, &mut windows);
        !windows.is_empty()
            && windows.iter().all(|&w| {
                self.window_events(&self.rule.windows[w], position, self.ts(position), view).is_empty()
            })
    }

    /// Looks at one `reaches` for the event at `position`: opens the latch where it must, and says whether it holds.
    pub(crate) fn look(
        &self,
        value: &'a Expr,
        limit: &'a Expr,
        open: &mut bool,
        position: usize,
        view: View<'_>,
    ) -> bool {
        if self.silent(value, position, view) {
            *open = true;
        }
        match compare(&self.eval(value, view), &self.eval(limit, view)) {
            None => false,
            Some(Ordering::Less) => {
                *open = true;
                false
            }
            Some(_) => *open,
        }
    }

    fn aggregate(
        &self,
        what: Aggregate,
        positions: &[usize],
        argument: Option<&'a Expr>,
        view: View<'_>,
    ) -> Value<'a> {
        let Some(argument) = argument else { return Value::Int(positions.len() as i64) };
        let each = positions.iter().map(|&p| self.eval(argument, View { this: Some(p), ..view }));
        aggregate(what, each.collect())
    }
}

/// The event that the step whose `where` is read took before.
fn own_before(view: View<'_>) -> Option<usize> {
    view.own.and_then(|step| view.taken.get(step)).and_then(|taken| taken.last()).copied()
}

fn aggregate<'a>(aggregate: Aggregate, mut values: Vec<Value<'a>>) -> Value<'a> {
    match aggregate {
        Aggregate::First => return values.into_iter().next().unwrap_or(Value::Null),
        Aggregate::Last => return values.pop().unwrap_or(Value::Null),
        _ => values.retain(|v| !v.is_null()),
    }
    let extreme = |wanted: Ordering| {
        let mut best: Option<&Value<'a>> = None;
        for value in &values {
            if best.is_none_or(|b| compare(value, b) == Some(wanted)) {
                best = Some(value);
            }
        }
        best.cloned().unwrap_or(Value::Null)
    };
    match aggregate {
        Aggregate::Count => Value::Int(values.len() as i64),
        Aggregate::Sum => sum(&values),
        Aggregate::SumDurations if values.is_empty() => Value::Duration(0),
        Aggregate::SumDurations => sum(&values),
        Aggregate::Avg => mean(&values),
        Aggregate::Min => extreme(Ordering::Less),
        Aggregate::Max => extreme(Ordering::Greater),
        Aggregate::Distinct => {
            let mut seen: Vec<&Value<'a>> = Vec::new();
            for value in &values {
                if !seen.iter().any(|s| compare(s, value) == Some(Ordering::Equal)) {
                    seen.push(value);
                }
            }
            Value::Int(seen.len() as i64)
        }
        Aggregate::Collect if values.is_empty() => Value::Null,
        Aggregate::Collect => Value::List(values),
        Aggregate::Median => {
            values.sort_by(|a, b| compare(a, b).unwrap_or(Ordering::Equal));
            let middle = values.len() / 2;
            match values.len() {
                0 => Value::Null,
                n if n % 2 == 1 => values.swap_remove(middle),
                _ => mean(&values[middle - 1..=middle]),
            }
        }
        Aggregate::Stddev => stddev(&values),
        Aggregate::First | Aggregate::Last => Value::Null,
    }
}

/// `x == a or x == b ..`, unknown where that is.
fn is_in<'b>(item: &Value<'_>, items: impl Iterator<Item = Value<'b>>) -> Option<bool> {
    if item.is_null() {
        return None;
    }
    let mut unknown = false;
    for other in items {
        match compare(item, &other) {
            Some(Ordering::Equal) => return Some(true),
            Some(_) => {}
            None => unknown = true,
        }
    }
    if unknown { None } else { Some(false) }
}

/// `matches` for the patterns the tests use: literal text with `^` and `$`. The oracle has no regular expressions.
fn search(text: &str, pattern: &str) -> bool {
    let (front, rest) = pattern.strip_prefix('^').map_or((false, pattern), |r| (true, r));
    let (back, body) = rest.strip_suffix('$').map_or((false, rest), |r| (true, r));
    assert!(
        !body.contains(['.', '*', '+', '?', '(', '[', '\\', '|', '{']),
        "the oracle cannot read `{pattern}`"
    );
    match (front, back) {
        (true, true) => text == body,
        (true, false) => text.starts_with(body),
        (false, true) => text.ends_with(body),
        (false, false) => text.contains(body),
    }
}

fn call<'a>(function: Function, values: &[Value<'a>]) -> Value<'a> {
    if values.iter().any(Value::is_null) {
        return Value::Null;
    }
    let best = |wanted: Ordering| {
        let mut values = values.iter();
        let first = values.next();
        let pick = values.fold(first, |best, v| match best {
            Some(b) if compare(v, b) == Some(wanted) => Some(v),
            other => other,
        });
        pick.cloned().unwrap_or(Value::Null)
    };
    match (function, values) {
        (Function::Ratio, [a, b]) => arithmetic(BinaryOp::Divide, a, b),
        (Function::Min, _) => best(Ordering::Less),
        (Function::Max, _) => best(Ordering::Greater),
        (Function::Abs, [a]) => match a {
            Value::Int(i) if *i < 0 => negate(a),
            Value::Duration(d) if *d < 0 => negate(a),
            Value::Decimal(d) if d.units < 0 => negate(a),
            Value::Float(f) => Value::Float(f.abs()),
            other => other.clone(),
        },
        (Function::Lower, [Value::Text(s)]) => Value::Text(Cow::Owned(s.to_lowercase())),
        (Function::Upper, [Value::Text(s)]) => Value::Text(Cow::Owned(s.to_uppercase())),
        (Function::Length, [Value::Text(s)]) => Value::Int(s.chars().count() as i64),
        (Function::Length, [Value::List(items)]) => Value::Int(items.len() as i64),
        (Function::DistanceKm, [a, b]) => a.kilometres_to(b).map_or(Value::Null, Value::Float),
        (Function::SpeedKmh, [a, Value::Instant(from), b, Value::Instant(to)]) => {
            let hours = to.abs_diff(*from) as f64 / 3_600_000_000.0;
            let speed = a.kilometres_to(b).map(|km| km / hours).filter(|speed| speed.is_finite());
            speed.map_or(Value::Null, Value::Float)
        }
        (Function::Hour, [Value::Instant(t), zone @ ..]) => {
            Value::Int(local(*t, zone).rem_euclid(DAY) / 3_600_000_000)
        }
        // 1970-01-01 was a Thursday.
        (Function::Day, [Value::Instant(t), zone @ ..]) => {
            Value::Int((local(*t, zone).div_euclid(DAY) + 3).rem_euclid(7) + 1)
        }
        (Function::Cidr, [Value::Ip(address), Value::Text(network)]) => {
            in_network(*address, network).map_or(Value::Null, Value::Bool)
        }
        (Function::Cidr, [Value::Text(address), Value::Text(network)]) => {
            let address = address.parse().ok();
            address.and_then(|address| in_network(address, network)).map_or(Value::Null, Value::Bool)
        }
        _ => Value::Null,
    }
}

const DAY: i64 = 86_400_000_000;

/// The time of day and date in a zone, for UTC and the zones of a fixed offset (`Etc/GMT-3` is three hours ahead). The
/// oracle has no zone data.
fn local(time: i64, zone: &[Value<'_>]) -> i64 {
    let Some(Value::Text(zone)) = zone.first() else { return time };
    let behind = match zone.strip_prefix("Etc/GMT") {
        None if zone == "UTC" => 0,
        Some(hours) => hours.parse::<i64>().unwrap_or(0),
        None => panic!("the oracle does not know the zone `{zone}`"),
    };
    time - behind * 3_600_000_000
}

/// The address is one of `network`: `10.0.0.0/8`.
fn in_network(address: std::net::IpAddr, network: &str) -> Option<bool> {
    use std::net::IpAddr::{V4, V6};
    let (base, bits) = network.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    let same = |a: u128, b: u128, width: u32| bits == 0 || (a ^ b) >> width.saturating_sub(bits) == 0;
    Some(match (address.to_canonical(), base.parse().ok()?) {
        (V4(a), V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (V6(a), V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    })
}

/// The windows an expression reads.
fn windows_of(expr: &Expr, into: &mut Vec<usize>) {
    match expr {
        Expr::Window(w) => into.push(*w),
        Expr::Not(a) | Expr::Neg(a) | Expr::IsNull(a) | Expr::Trend(_, a) | Expr::Lookup(_, a, _) => {
            windows_of(a, into)
        }
        Expr::InList(a, _, key) => {
            windows_of(a, into);
            key.iter().for_each(|e| windows_of(e, into));
        }
        Expr::Binary(_, a, b) | Expr::Reaches(_, a, b) | Expr::Prev(a, b) => {
            windows_of(a, into);
            windows_of(b, into);
        }
        Expr::If(a, b, c) => {
            for e in [a, b, c] {
                windows_of(e, into);
            }
        }
        Expr::List(items) | Expr::Call(_, items) => items.iter().for_each(|e| windows_of(e, into)),
        Expr::Object(pairs) => pairs.iter().for_each(|(_, e)| windows_of(e, into)),
        Expr::Aggregate(_, _, argument) => argument.iter().for_each(|e| windows_of(e, into)),
        Expr::Literal(_)
        | Expr::Field(..)
        | Expr::Ts(_)
        | Expr::Id(_)
        | Expr::StreamName(_)
        | Expr::Key(_) => {}
    }
}
