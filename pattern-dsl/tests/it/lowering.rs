//! What the IR holds for a text.

use pattern_dsl::ir::{Aggregate, BinaryOp, Content, Expr, Function, Of, ReasonPart, TableKind};
use pattern_dsl::types::{Literal, Type};
use pattern_dsl::{Environment, format_duration};

use super::{compile_text, good, stream};

fn environment() -> Environment {
    let fields = [("k", Type::String), ("v", Type::Decimal), ("n", Type::Int), ("user.id", Type::String)];
    Environment { streams: vec![stream("a", &fields), stream("b", &fields)], ..Environment::default() }
}

#[test]
fn a_rule_in_full() {
    let text = r#"const limit = 5
        const span = 2 * 30m
        rule r { by k match within span { at least 2 a as x where v > limit and user.id != "" then b as y where v > sum(x.v) and ts - last(x.ts) < 5m }
          having y.v > 1 and (y.n > 2 or k == "q") unless y.n == 1 and y.v == 2
          reason "{{x}} \"{y.v}\" {count(x)}" emit { k, o: { n: y.n } } }"#;
    let module = good(text, &environment());
    let rule = module.rules.first().unwrap();
    assert_eq!(rule.within, Some(3_600_000_000));
    let x = rule.steps.first().unwrap();
    assert_eq!((x.min, x.max), (2, None));
    assert_eq!(x.condition.len(), 2);
    let first = x.condition.first().unwrap();
    assert_eq!(first.text, "v > limit");
    let field = Expr::Field(Of::This, 1);
    assert_eq!(
        first.expr,
        Expr::Binary(BinaryOp::Greater, Box::new(field.clone()), Box::new(Expr::Literal(Literal::Int(5))))
    );
    let sum = Expr::Aggregate(Aggregate::Sum, 0, Some(Box::new(field.clone())));
    assert_eq!(
        rule.steps.get(1).unwrap().condition.first().unwrap().expr,
        Expr::Binary(BinaryOp::Greater, Box::new(field), Box::new(sum))
    );
    assert_eq!((rule.having.len(), rule.unless.len()), (2, 1));
    assert_eq!(rule.reason.first(), Some(&ReasonPart::Text("{x} \"".to_owned())));
    assert_eq!(rule.reason.len(), 4);
    assert_eq!(rule.emit.first(), Some(&("k".to_owned(), Expr::Key(0))));
}

#[test]
fn tests_are_merged() {
    let text = r#"rule r { by k match { a } emit { n: 1 } test "t" { start "2026-03-01T09:00:00Z" given a { k: "c", n: 1 }
        at 0s..10m every 5m a { v: 3, user: { id: "u" } } at 2m, 3m a { n: 7 } advance to 1h expect at 5m 2 alerts { n: 1 } expect nothing } }"#;
    let module = good(text, &environment());
    let test = module.rules.first().unwrap().tests.first().unwrap();
    assert_eq!(test.start, Some(1_772_355_600_000_000));
    assert_eq!(test.events.len(), 5);
    let (at, _, fields) = test.events.get(1).unwrap();
    assert_eq!(*at, 300_000_000);
    assert_eq!(fields.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["k", "n", "v", "user.id"]);
    assert_eq!(test.events.last().unwrap().2.get(1), Some(&("n".to_owned(), Literal::Int(7))));
    assert_eq!(test.end, 3_600_000_000);
    assert_eq!(test.expect.iter().map(|e| e.count).collect::<Vec<_>>(), [2, 0]);
}

#[test]
fn a_rule_with_an_error_is_left_out_and_others_stay() {
    let compiled = compile_text(
        "rule bad { by k match { a where q > 1 } } rule fine { by k match { a } }",
        &environment(),
    );
    assert!(compiled.has_errors());
    assert_eq!(compiled.module.rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["fine"]);
}

#[test]
fn a_declaration_wins_and_streams_are_ranked_by_place() {
    let text = "stream b { fields { k: string, z: int } } rule r { by k from b match within 1m { b as x where z > 1 then a as y where count(b over 1m) > 1 } cooldown 1m }";
    let module = good(text, &environment());
    assert_eq!(
        module.streams.iter().map(|s| (s.name.as_str(), s.declared)).collect::<Vec<_>>(),
        [("b", true), ("a", false)]
    );
    assert_eq!(module.rules.first().unwrap().streams.iter().map(|s| s.stream).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn durations_print_as_written() {
    for (text, micros) in [
        ("1h30m", 5_400_000_000),
        ("0s", 0),
        ("2d", 172_800_000_000),
        ("1ms5us", 1_005),
        ("-5m", -300_000_000),
    ] {
        assert_eq!(format_duration(micros), text);
    }
}

#[test]
fn tables_are_declared_read_and_set() {
    let text = r#"
        list vips: string = ["a", "b"]
        list known by user: string: string from "known.csv"
        lookup carriers by carrier: int { promise: duration, zone: string? } from "carriers.csv"
        rule r { by k match { a where k in @vips and k not in @known[k] and @vips contains user.id } having @carriers[a.n].promise > 1h
          test "t" { set @known = { "x": ["1", "2"] } at 5m set @carriers = { "7": { promise: 2h } } set @vips = [] } }"#;
    let module = good(text, &environment());
    let kinds: Vec<&TableKind> = module.tables.iter().map(|t| &t.kind).collect();
    let [
        TableKind::List { .. },
        TableKind::KeyedList { key_name, .. },
        TableKind::Lookup { key, fields, .. },
    ] = kinds.as_slice()
    else {
        panic!("{kinds:?}")
    };
    assert_eq!((key_name.as_str(), key, fields.len()), ("user", &Type::Int, 2));
    let rule = module.rules.first().unwrap();
    let condition = &rule.steps.first().unwrap().condition;
    assert_eq!(
        condition.get(1).unwrap().expr,
        Expr::Not(Box::new(Expr::InList(
            Box::new(Expr::Field(Of::This, 0)),
            1,
            Some(Box::new(Expr::Field(Of::This, 0)))
        )))
    );
    assert!(matches!(condition.get(2).unwrap().expr, Expr::InList(_, 0, None)));
    let Expr::Binary(_, lookup, _) = &rule.having.first().unwrap().expr else { panic!() };
    assert_eq!(**lookup, Expr::Lookup(2, Box::new(Expr::Field(Of::Step(0), 2)), 0));
    let strings = |items: &[&str]| items.iter().map(|s| Literal::String((*s).to_owned())).collect::<Vec<_>>();
    let text = |s: &str| Literal::String(s.to_owned());
    assert_eq!(
        rule.tests.first().unwrap().sets,
        [
            (None, 1, Content::ByKey(vec![(text("x"), strings(&["1", "2"]))])),
            (None, 0, Content::Items(Vec::new())),
            (
                Some(300_000_000),
                2,
                Content::ByKey(vec![(
                    Literal::Int(7),
                    vec![Literal::Duration(7_200_000_000), Literal::Null]
                )])
            ),
        ]
    );
}

/// The rule of both texts, without what differs by the text alone.
fn same_rules(short: &str, long: &str) {
    let strip = |text: &str| {
        let mut module = good(text, &environment());
        let mut rule = module.rules.pop().unwrap();
        rule.text.clear();
        rule.params.clear();
        let conditions = rule.steps.iter_mut().map(|s| &mut s.condition);
        for condition in conditions.chain([&mut rule.having, &mut rule.unless]) {
            for term in condition {
                term.text.clear();
                term.span = pattern_dsl::Span::default();
            }
        }
        for window in &mut rule.windows {
            window.text.clear();
        }
        for absence in rule.units.iter_mut().flat_map(|u| &mut u.gap) {
            absence.text.clear();
            for term in &mut absence.condition {
                (term.text, term.span) = (String::new(), pattern_dsl::Span::default());
            }
        }
        format!("{rule:#?}")
    };
    assert_eq!(strip(short), strip(long), "{short}");
}

#[test]
fn defs_lets_params_and_templates_are_worked_out() {
    same_rules(
        "def small(e) = e.v < 5 and e.n > limit def often(s, x) = count(s over 1h before x) > 2 const limit = 2 * 3
         rule r { by k match within 1m { a as x where small(a) and often(b, x) then b as y where small(y) and not small(x) } cooldown 1m }",
        "rule r { by k match within 1m { a as x where a.v < 5 and a.n > 6 and count(b over 1h before x) > 2
           then b as y where y.v < 5 and y.n > 6 and not (x.v < 5 and x.n > 6) } cooldown 1m }",
    );
    same_rules(
        "rule r { param limit: int = 5 param span: duration = 90m by k match within span { a where v > limit then b }
           let sum = a.v + b.v let twice = 2 * sum having twice > limit reason \"{sum} in {span}\" emit { twice, k } cooldown span }",
        "rule r { by k match within 90m { a where v > 5 then b } having 2 * (a.v + b.v) > 5
           reason \"{a.v + b.v} in 90m\" emit { twice: 2 * (a.v + b.v), k } cooldown 90m }",
    );
    same_rules(
        "template t(limit: int = 4, span: duration = 1h) { by k match { a where count(a over span) reaches limit } severity low owner \"x\" }
         rule r uses t(limit: 15) { severity high cooldown 1d }",
        "rule r { by k match { a where count(a over 1h) reaches 15 } severity high owner \"x\" cooldown 1d }",
    );
    same_rules(
        "const big = if 2 > 1 then max(3, 4) else 0 const none = not (big == 4) ?? true rule r { by k match { a where v > big } }",
        "rule r { by k match { a where v > 4 } }",
    );
    same_rules(
        "rule r { by k match within 1m { a as x then no one of { a, b } where v > x.v then b as y } }",
        "rule r { by k match within 1m { a as x then no a where v > x.v then no b where v > x.v then b as y } }",
    );
    let module = good(
        "template t(limit: int = 4) { param x: string = \"q\" by k match { a where n > limit } } rule r uses t(limit: 7) { }",
        &environment(),
    );
    let param = |name: &str, value: Literal| (name.to_owned(), value);
    assert_eq!(
        module.rules.first().unwrap().params,
        [param("limit", Literal::Int(7)), param("x", Literal::String("q".to_owned()))]
    );
}

#[test]
fn what_is_put_in_many_times_is_refused_in_time() {
    let mut text = String::from("def f0(x) = x + x\n");
    for at in 1..40 {
        text.push_str(&format!("def f{at}(x) = f{}(x) + f{}(x)\n", at - 1, at - 1));
    }
    text.push_str("rule r { by k match { a where f39(v) > 1 } }");
    assert!(compile_text(&text, &environment()).has_errors());
}

const PLACES: &str =
    "stream p { fields { k: string, at: geo, ip: ip, n: int, s: string?, tags: list<string> } }\n";

/// The terms of the last step's `where`.
fn last_where(rule: &str) -> Vec<Expr> {
    let module = good(&format!("{PLACES}{rule}"), &environment());
    let steps = &module.rules.first().unwrap().steps;
    steps.last().unwrap().condition.iter().map(|t| t.expr.clone()).collect()
}

#[test]
fn functions_are_lowered_to_what_they_read() {
    let text = |s: &str| Expr::Literal(Literal::String(s.to_owned()));
    let this = |field| Expr::Field(Of::This, field);
    let terms = last_where(
        "rule r { by k match within 1h { p as x then p as y where speed_kmh(x, y) > 900 and hour(ts) < 6 and day(x.ts, \"Europe/Paris\") > 5
           and cidr(ip, \"10.0.0.0/8\") and ip in [\"::1\"] and tags contains s } }",
    );
    let left = |at: usize| match terms.get(at).unwrap() {
        Expr::Binary(_, left, _) => (**left).clone(),
        other => other.clone(),
    };
    let step = |field| Expr::Field(Of::Step(0), field);
    assert_eq!(
        left(0),
        Expr::Call(Function::SpeedKmh, vec![step(1), Expr::Ts(Of::Step(0)), this(1), Expr::Ts(Of::This)])
    );
    assert_eq!(left(1), Expr::Call(Function::Hour, vec![Expr::Ts(Of::This), text("UTC")]));
    assert_eq!(left(2), Expr::Call(Function::Day, vec![Expr::Ts(Of::Step(0)), text("Europe/Paris")]));
    assert_eq!(left(3), Expr::Call(Function::Cidr, vec![this(2), text("10.0.0.0/8")]));
    let address = Expr::Literal(Literal::Ip("::1".parse().unwrap()));
    assert_eq!(
        terms.get(4),
        Some(&Expr::Binary(BinaryOp::In, Box::new(this(2)), Box::new(Expr::List(vec![address]))))
    );
    assert_eq!(terms.get(5), Some(&Expr::Binary(BinaryOp::In, Box::new(this(4)), Box::new(this(5)))));
}

#[test]
fn is_new_looks_the_value_up_in_its_history() {
    let terms = last_where(
        "rule r { by k cooldown 1h match { p as x where is_new(p.n over 90d before x) and count(p over 90d before x) > 0 } }",
    );
    let seen = Expr::Binary(BinaryOp::Coalesce, Box::new(Expr::Window(0)), Box::new(Expr::List(Vec::new())));
    let among = Expr::Binary(BinaryOp::In, Box::new(Expr::Field(Of::This, 3)), Box::new(seen));
    assert_eq!(terms.first(), Some(&Expr::Not(Box::new(among))));
}

#[test]
fn prev_and_trends_stand_in_a_consecutive_step() {
    let terms = last_where(
        "rule r { by k match within 1h { at least 3 consecutive p as x where n - prev(n, 0) >= 2 and changed(ip) and max(x.n) < 9 } }",
    );
    let Some(Expr::Binary(_, difference, _)) = terms.first() else { panic!("{terms:?}") };
    let Expr::Binary(BinaryOp::Subtract, _, prev) = &**difference else { panic!("{terms:?}") };
    assert_eq!(
        **prev,
        Expr::Prev(Box::new(Expr::Field(Of::This, 3)), Box::new(Expr::Literal(Literal::Int(0))))
    );
}

#[test]
fn alerts_are_a_stream() {
    let text = r#"
        const early = ["one", "two"]
        rule top { by user (alert.keys.user) cooldown 1d from alert where rule in ["roll"] match { alert as a where data.total > 3 } }
        rule roll { by user (alert.keys.user) cooldown 1d match { alert as a where sum(alert.score over 24h) > 100 and mode == live } emit { total: a.score } }
        rule stage { by user (alert.keys.user, b.k)
          match within 1d { alert as a where rule == "one" then alert as z where rule in early and keys.user == a.keys.user then no alert where rule == "one" then b } }
        rule one { by user (a.k) match { a } emit { total: a.n, total_text: a.k } }
        rule two { by user (a.k) match { a } emit { total: a.n } }"#;
    let module = good(text, &environment());
    assert_eq!(
        module.rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
        ["top", "roll", "stage", "one", "two"]
    );
    let reads = |name: &str| module.rules.iter().find(|r| r.name == name).unwrap().reads_alerts.clone();
    let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
    assert_eq!(reads("one"), None);
    assert_eq!(reads("roll"), names(&[]));
    assert_eq!(reads("top"), names(&["roll"]));
    assert_eq!(reads("stage"), names(&["one", "two"]));
    let alert = module.streams.iter().find(|s| s.name == "alert").unwrap();
    assert!(alert.declared);
    let fields: Vec<(String, &Type)> = alert.fields.iter().map(|f| (f.path.join("."), &f.ty)).collect();
    assert_eq!(
        fields.get(4..).unwrap(),
        [("data.total".to_owned(), &Type::Decimal), ("keys.user".to_owned(), &Type::String)]
    );
    assert!(!pattern_dsl::stream_names(&super::source(text)).contains(&"alert".to_owned()));
}
