//! What the IR holds for a text.

use pattern_dsl::ir::{Aggregate, BinaryOp, Expr, Of, ReasonPart};
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
