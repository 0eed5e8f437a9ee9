//! Lists and lookups by time.

use crate::{Feed, compile, event, feed_event, task};
use engine::task::{Input, Outputs};
use pattern_dsl::ir::{BinaryOp, Content, Expr, Function, Module, Of, Term};
use pattern_dsl::types::Literal;

const SECOND: i64 = 1_000_000;

fn text(text: &str) -> Literal {
    Literal::String(text.to_owned())
}

fn module() -> Module {
    compile(
        r#"
        stream a { fields { u: string, ts: instant } time ts }
        list bad: string = ["u1"]
        list devices by user: string: string
        lookup limits by u { most: int }
        rule listed { by u match { a where u in @bad } }
        rule keyed { by u match { a where "d1" in @devices[u] } }
        rule looked { by u match { a where @limits[u].most > 3 } reason "{@limits[a.u].most}" }
        "#,
    )
}

/// Alerts as `time rule` in order.
fn alerts(out: &Outputs) -> Vec<String> {
    let mut alerts: Vec<String> = out
        .alerts
        .iter()
        .map(|alert| format!("{} {}{}", alert.time / SECOND, alert.rule, alert.reason.text))
        .collect();
    alerts.sort();
    alerts
}

#[test]
fn a_change_is_seen_from_its_time_on() {
    let module = module();
    for restore_at in [0, 3, 5, 9] {
        let mut running = task(&module, Feed::Sorted, false);
        let mut out = Outputs::default();
        for ts in 0..8 {
            if ts == restore_at {
                let saved = running.save();
                running = task(&module, Feed::Sorted, false);
                running.restore(&[&saved]).expect("its own state");
            }
            if ts == 3 {
                let empty = Content::Items(Vec::new());
                assert!(running.set_table("bad", &empty, Some(5 * SECOND)));
                let devices = Content::ByKey(vec![(text("u1"), vec![text("d1"), text("d2")])]);
                assert!(running.set_table("devices", &devices, Some(4 * SECOND)));
                let limits = |most| Content::ByKey(vec![(text("u1"), vec![Literal::Int(most)])]);
                assert!(running.set_table("limits", &limits(9), Some(6 * SECOND)));
                assert!(running.set_table("limits", &limits(4), Some(6 * SECOND)), "it replaces");
                assert!(!running.set_table("nothing", &empty, None));
            }
            let event = event(&module, "a", ts * SECOND, ts as u64, &[("u", text("u1"))]);
            feed_event(&mut running, &module, ts as usize, &event, &mut out);
        }
        running.step(Input::End, &mut out);
        let listed = (0..5).map(|ts| format!("{ts} listed"));
        let keyed = (4..8).map(|ts| format!("{ts} keyed"));
        let looked = (6..8).map(|ts| format!("{ts} looked4"));
        let mut must: Vec<String> = listed.chain(keyed).chain(looked).collect();
        must.sort();
        assert_eq!(alerts(&out), must, "restored at {restore_at}");
    }
}

#[test]
fn an_event_that_waits_reads_what_holds_at_its_time() {
    let mut module = module();
    module.streams[0].late = 10 * SECOND;
    let mut running = task(&module, Feed::Interleaved(0), false);
    let mut out = Outputs::default();
    let send = |running: &mut engine::task::Task, ts: i64, user: &str, out: &mut Outputs| {
        let event = event(&module, "a", ts * SECOND, ts as u64, &[("u", text(user))]);
        feed_event(running, &module, ts as usize, &event, out);
    };
    send(&mut running, 1, "u2", &mut out);
    send(&mut running, 4, "u2", &mut out);
    assert!(running.set_table("bad", &Content::Items(vec![text("u2")]), Some(3 * SECOND)));
    running.step(Input::End, &mut out);
    assert_eq!(alerts(&out), ["4 listed"]);
}

/// Compiles a condition on `a` that rule text need not be able to say.
fn fires(condition: Expr) -> bool {
    let mut module = compile(
        "stream a { fields { u: string, ts: instant } time ts }\nrule r { match { a where u == \"\" } }",
    );
    let span = module.rules[0].steps[0].condition[0].span;
    module.rules[0].steps[0].condition = vec![Term { expr: condition, text: String::new(), span }];
    let mut running = task(&module, Feed::Sorted, false);
    let mut out = Outputs::default();
    feed_event(&mut running, &module, 0, &event(&module, "a", 1_772_323_200 * SECOND, 0, &[]), &mut out);
    running.step(Input::End, &mut out);
    !out.alerts.is_empty()
}

#[test]
fn functions_of_places_times_and_networks() {
    let literal = |value: Literal| Expr::Literal(value);
    let is = |value: Expr, expected: Literal| {
        Expr::Binary(BinaryOp::Equal, Box::new(value), Box::new(Expr::Literal(expected)))
    };
    let call = |function, arguments: Vec<Expr>| Expr::Call(function, arguments);
    let ts = || Expr::Ts(Of::This);
    // 2026-03-01T00:00:00Z, a Sunday.
    assert!(fires(is(call(Function::Hour, vec![ts()]), Literal::Int(0))));
    assert!(fires(is(call(Function::Day, vec![ts()]), Literal::Int(7))));
    let berlin = || literal(text("Europe/Berlin"));
    assert!(fires(is(call(Function::Hour, vec![ts(), berlin()]), Literal::Int(1))));
    let new_york = literal(text("America/New_York"));
    assert!(fires(is(call(Function::Day, vec![ts(), new_york]), Literal::Int(6))), "Saturday evening there");
    let ip = |text: &str| literal(Literal::Ip(text.parse().expect("an address")));
    let cidr = |address, network: &str| call(Function::Cidr, vec![ip(address), literal(text(network))]);
    for (address, network, inside) in [
        ("10.1.2.3", "10.0.0.0/8", true),
        ("::ffff:10.1.2.3", "10.0.0.0/8", true),
        ("11.1.2.3", "10.0.0.0/8", false),
        ("1.2.3.4", "0.0.0.0/0", true),
        ("1.2.3.4", "::/0", false),
        ("2001:db8::1", "2001:db8::/32", true),
        ("2001:db9::1", "2001:db8::/32", false),
        ("1.2.3.4", "1.2.3.4", true),
    ] {
        assert_eq!(fires(cidr(address, network)), inside, "{address} in {network}");
    }
    let geo = |latitude, longitude| literal(Literal::Geo(latitude, longitude));
    let distance = call(Function::DistanceKm, vec![geo(52.52, 13.405), geo(48.8566, 2.3522)]);
    let between = |value: Expr, low: f64, high: f64| {
        let low =
            Expr::Binary(BinaryOp::Greater, Box::new(value.clone()), Box::new(literal(Literal::Float(low))));
        let high = Expr::Binary(BinaryOp::Less, Box::new(value), Box::new(literal(Literal::Float(high))));
        Expr::Binary(BinaryOp::And, Box::new(low), Box::new(high))
    };
    assert!(fires(between(distance, 877.0, 879.0)), "Berlin to Paris");
    let speed = |micros| {
        let (there, here) = (literal(Literal::Instant(0)), literal(Literal::Instant(micros)));
        call(Function::SpeedKmh, vec![geo(52.52, 13.405), there, geo(48.8566, 2.3522), here])
    };
    assert!(fires(between(speed(7200 * SECOND), 438.0, 440.0)));
    assert!(fires(Expr::IsNull(Box::new(speed(0)))));
    let list = literal(Literal::List(vec![Literal::Int(1), Literal::Null]));
    assert!(fires(is(call(Function::Length, vec![list]), Literal::Int(2))));
    assert!(fires(Expr::IsNull(Box::new(call(Function::Lower, vec![literal(Literal::Null)])))));
}
