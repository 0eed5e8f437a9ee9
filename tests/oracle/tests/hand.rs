//! Rules built by hand: the oracle without the compiler.
use oracle::{Event, run};
use pattern_dsl::Span;
use pattern_dsl::ir::*;
use pattern_dsl::types::Literal;
use std::collections::BTreeMap;

const M: i64 = 60_000_000;
fn module() -> Module {
    let stream = |n: &str| Stream {
        name: n.into(),
        topic: None,
        topic_filter: None,
        key: None,
        id: None,
        dedupe: None,
        fields: vec![],
        time: TimeField { path: vec![], format: TimeFormat::Auto, in_order: false },
        late: 0,
        idle: 0,
        declared: true,
    };
    Module { streams: vec![stream("a"), stream("b"), stream("c")], lists: vec![], rules: vec![] }
}
fn step(stream: usize, min: u32, max: Option<u32>) -> Step {
    Step {
        name: format!("s{stream}"),
        stream,
        keys: vec![],
        min,
        max,
        consecutive: false,
        condition: vec![],
        arrow: Arrow::Then,
        within: None,
        gap: vec![],
    }
}
fn rule(steps: Vec<Step>) -> Rule {
    let s = |stream| RuleStream { stream, filter: vec![], keys: Some(vec![]) };
    Rule {
        name: "r".into(),
        text: String::new(),
        title: None,
        about: None,
        owner: None,
        tags: vec![],
        mode: Mode::Live,
        streams: vec![s(0), s(1), s(2)],
        keys: vec![],
        within: Some(10 * M),
        steps,
        trailing: vec![],
        windows: vec![],
        having: vec![],
        unless: vec![],
        severity: None,
        score: None,
        reason: vec![],
        emit: vec![],
        send: vec![],
        cooldown: None,
        overlap: Overlap::None,
        tests: vec![],
    }
}
fn term(expr: Expr) -> Term {
    Term { expr, text: String::new(), span: Span::default() }
}
fn bin(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    Expr::Binary(op, Box::new(a), Box::new(b))
}
fn v(of: Of) -> Expr {
    Expr::Field(of, 0)
}
fn int(i: i64) -> Expr {
    Expr::Literal(Literal::Int(i))
}
fn go(rule: &Rule, text: &str, end: i64) -> String {
    let mut labels = vec![];
    let events: Vec<Event> = text
        .split(' ')
        .enumerate()
        .map(|(i, t)| {
            let (l, val) = t.split_once('(').unwrap_or((t, "0"));
            labels.push(l.to_owned());
            let ts = l[1..].trim_end_matches('\'').parse::<i64>().expect("n") * M;
            Event {
                stream: (l.as_bytes()[0] - b'a') as usize,
                ts,
                partition: 0,
                offset: i as u64,
                id: None,
                fields: vec![val.trim_end_matches(')').parse().map_or(Literal::Null, Literal::Int)],
            }
        })
        .collect();
    let end = end.max(events.last().map_or(0, |e| e.ts) / M) * M;
    let o = run(&module(), rule, &BTreeMap::new(), &events, end);
    let mut out: Vec<String> = o
        .firings
        .iter()
        .map(|f| {
            let s: Vec<String> = f
                .steps
                .iter()
                .map(|t| t.iter().map(|&i| labels[i].clone()).collect::<Vec<_>>().join("+"))
                .collect();
            s.join(">") + &if f.fired_by_timer { format!("@{}", f.time / M) } else { String::new() }
        })
        .collect();
    if o.suppressed_cooldown + o.suppressed_unless > 0 {
        out.push(format!("~{}/{}", o.suppressed_cooldown, o.suppressed_unless));
    }
    out.join(" ")
}
#[test]
fn by_hand() {
    let one = |s| step(s, 1, Some(1));
    let ab = rule(vec![one(0), one(1)]);
    assert_eq!(go(&ab, "a0 a5 b12", 0), "a5>b12");
    assert_eq!(go(&ab, "a0 a5 b9", 0), "a0>b9");
    assert_eq!(go(&ab, "b0 a0", 0), "a0>b0");
    for (o, e) in [
        (Overlap::PerStart, "a0>b2 a1>b2"),
        (Overlap::PerEnd, "a0>b2 a0>b3"),
        (Overlap::All, "a0>b2 a1>b2 a0>b3 a1>b3"),
    ] {
        let r = Rule { overlap: o, ..ab.clone() };
        assert_eq!(go(&r, "a0 a1 b2 b3", 0), e);
    }
    let two = rule(vec![one(0), Step { within: Some(M / 6), ..one(2) }]);
    assert_eq!(go(&two, "a0 c1", 0), "");
    // at least 3 a as x then b where v > 2 * avg(x.v)
    let avg = Expr::Aggregate(Aggregate::Avg, 0, Some(Box::new(v(Of::This))));
    let hit = Step {
        condition: vec![term(bin(BinaryOp::Greater, v(Of::This), bin(BinaryOp::Multiply, int(20), avg)))],
        ..one(1)
    };
    let card = rule(vec![step(0, 3, None), hit]);
    assert_eq!(go(&card, "a0(10) a1(10) a2(10) a3(49) b4(300)", 0), "");
    assert_eq!(go(&card, "a0(49) a1(10) a2(10) a3(10) b4(300)", 0), "a1+a2+a3>b4");
    let sum = |x| Expr::Aggregate(Aggregate::Sum, x, Some(Box::new(v(Of::This))));
    let mut abc = rule(vec![one(0), step(1, 1, None), one(2)]);
    abc.having = vec![term(bin(BinaryOp::Less, sum(1), int(5)))];
    assert_eq!(go(&abc, "a0 b1(3) b2(4) c3", 0), "");
    abc.steps[1].max = Some(9);
    assert_eq!(go(&abc, "a0 b1(3) b2(4) c3", 0), "a0>b2>c3");
    assert_eq!(go(&rule(vec![one(0), step(1, 1, Some(2))]), "a0 b1 b2", 0), "a0>b1");
    assert_eq!(go(&rule(vec![step(0, 2, None)]), "a0 a1 a2 a3", 0), "a0+a1 a2+a3");
    let eq = |j| vec![term(bin(BinaryOp::Equal, v(Of::This), v(Of::Step(j))))];
    let mut rpt = rule(vec![
        one(0),
        Step { arrow: Arrow::First, ..one(1) },
        Step { arrow: Arrow::First, condition: eq(1), ..one(2) },
    ]);
    assert_eq!(go(&rpt, "a0 b1(1) b2(2) c3(2)", 0), "");
    rpt.steps[1].arrow = Arrow::Then;
    assert_eq!(go(&rpt, "a0 b1(1) b2(2) c3(2)", 0), "a0>b2>c3");
    let big = vec![term(bin(BinaryOp::Greater, v(Of::This), int(5)))];
    assert_eq!(
        go(
            &rule(vec![one(0), Step { arrow: Arrow::Immediately, condition: big.clone(), ..one(1) }]),
            "a0 b1(1) b2(6)",
            0
        ),
        ""
    );
    let cons =
        rule(vec![one(0), Step { consecutive: true, condition: big.clone(), ..step(1, 3, None) }, one(2)]);
    assert_eq!(go(&cons, "a0 b1(6) b2(1) b3(6) b4(6) b5(6) c6", 0), "a0>b3+b4+b5>c6");
    let rising = vec![term(Expr::Trend(Trend::Rising, Box::new(v(Of::This))))];
    assert_eq!(
        go(
            &rule(vec![Step { consecutive: true, condition: rising, ..step(0, 3, None) }]),
            "a0(1) a1(100) a2(2) a3(3) a4(4)",
            0
        ),
        "a2+a3+a4"
    );
    let no = |s, d| Absence { streams: vec![s], duration: d, condition: vec![], text: String::new() };
    let mut wait = rule(vec![one(0)]);
    wait.trailing = vec![no(1, Some(30 * M))];
    assert_eq!(go(&wait, "a0 b30", 0), "");
    assert_eq!(go(&wait, "a0 b31", 0), "a0@30");
    assert_eq!(go(&wait, "a0 b0", 90), "");
    wait.trailing = vec![no(0, Some(30 * M))];
    assert_eq!(go(&wait, "a0 a30 a50", 90), "a50@80");
    let mut un = ab.clone();
    un.unless = vec![term(bin(BinaryOp::Equal, v(Of::Step(0)), int(7)))];
    assert_eq!(go(&un, "a0(7) a1 b2", 0), "a1>b2");
    assert_eq!(go(&un, "a0(7) b1", 0), "~0/1");
    let mut cool = rule(vec![one(0)]);
    cool.cooldown = Some(10 * M);
    assert_eq!(go(&cool, "a0 a6 a9 a10 a19", 0), "a0 a10 ~3/0");
    let mut latch = rule(vec![Step {
        condition: vec![term(Expr::Reaches(0, Box::new(Expr::Window(0)), Box::new(int(4))))],
        ..one(0)
    }]);
    latch.windows = vec![Window {
        stream: 0,
        aggregate: Aggregate::Count,
        argument: None,
        filter: vec![],
        span: 60 * M,
        before: None,
        text: String::new(),
    }];
    assert_eq!(go(&latch, "a0 a16 a32 a48 a64 a80 a96 a112 a128", 0), "a48");
    let mut gap = rule(vec![one(0), Step { gap: vec![Absence { condition: big, ..no(1, None) }], ..one(2) }]);
    assert_eq!(go(&gap, "a0 b1(null) c2", 0), "a0>c2");
    assert_eq!(go(&gap, "a0 b1(6) c2", 0), "");
    gap.steps[1].gap[0].condition.clear();
    assert_eq!(go(&gap, "a0 b1(null) a1 c2", 0), "");
    let mut tail = rule(vec![step(0, 2, None)]);
    tail.trailing = vec![no(2, Some(5 * M))];
    assert_eq!(go(&tail, "a0 a1 a2", 20), "a0+a1@6");
    tail.overlap = Overlap::All;
    assert_eq!(go(&tail, "a0 a1 a2", 20), "a0+a1@6 a0+a1+a2@7 a1+a2@7");
}
#[test]
fn speed() {
    let one = |s| step(s, 1, Some(1));
    let lt = |j| vec![term(bin(BinaryOp::GreaterOrEqual, v(Of::This), v(Of::Step(j))))];
    let mut r = rule(vec![
        one(0),
        Step { condition: lt(0), ..step(1, 1, Some(2)) },
        step(0, 1, None),
        Step { condition: lt(0), ..one(1) },
    ]);
    r.overlap = Overlap::All;
    let t = std::time::Instant::now();
    let mut n = 0;
    for _ in 0..2000 {
        n += go(&r, "a0(1) b0(2) a1(3) b1(1) a2(2) b2(3) a3(1) b3(4) a4(2) b4(2) a5(1) b5(9)", 0).len();
    }
    println!("{n} {:?} a case", t.elapsed() / 2000);
}
