//! The engine beside the definition: one case through both, and what differs.
//!
//! The oracle says which alerts a rule must give; here the engine runs the same rule on the same events, in several ways
//! that must not matter: at once, saved and restored at every position, with its partitions interleaved otherwise.

pub mod why;

use engine::alert::{Alert, Evidence, FiredBy};
use engine::event::EventRef;
use engine::task::{Input, Limits, Options, Outputs, Partition, Task};
use engine::value::Value;
use oracle::random::Case;
use oracle::{Event, Everything, Firing, Tables};
use pattern_dsl::ir::Module;
use pattern_dsl::types::Literal;
use pattern_dsl::{Environment, SourceText};
use std::collections::BTreeMap;

/// How the engine is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// In event-time order, as files are.
    Sorted,
    /// In event-time order, the state saved and put into a new task before every event.
    Restored,
    /// One partition a stream, each in order, interleaved by the seed.
    Interleaved(u64),
    /// One partition whose streams promise order, in the rule's own order: every event is looked at as it comes.
    Direct,
}

/// Compiles the case's text with its streams.
///
/// # Errors
/// The diagnostics, if there are errors.
pub fn compile(case: &Case) -> Result<Module, String> {
    let sources = [SourceText { name: "case.cep".to_owned(), text: case.text.clone() }];
    let environment = Environment { streams: case.streams.clone(), ..Environment::default() };
    let compiled = pattern_dsl::compile(&sources, &environment);
    if compiled.has_errors() {
        return Err(pattern_dsl::render(&compiled.diagnostics, &sources, false));
    }
    Ok(compiled.module)
}

/// A task without limits, with the module's rules and one partition (or one a stream).
fn task(module: &Module, feed: Feed, keep_history: bool) -> Task {
    let limits = Limits { candidates: None, matches_per_moment: None, search_work: None };
    let sorted_input = matches!(feed, Feed::Sorted | Feed::Restored);
    let mut module = module.clone();
    if feed == Feed::Direct {
        for stream in &mut module.streams {
            stream.time.in_order = true;
            stream.topic = Some("all".to_owned());
        }
    }
    let module = &module;
    let mut task = Task::new(Options { limits, count_only: false, sorted_input, keep_history });
    let streams: Vec<u32> = module.streams.iter().map(|stream| task.add_stream(stream)).collect();
    for (number, _) in streams.iter().enumerate() {
        let held = match feed {
            Feed::Sorted | Feed::Restored => streams.clone(),
            Feed::Interleaved(_) => vec![number as u32],
            Feed::Direct if number == 0 => streams.clone(),
            Feed::Direct => Vec::new(),
        };
        task.add_partition(Partition { name: format!("p{number}"), streams: held });
    }
    task.activate(module, &BTreeMap::new(), None).expect("a compiled rule activates");
    task
}

/// The order in which events are given to the engine.
fn order(module: &Module, events: &[Event], feed: Feed) -> Vec<usize> {
    let mut order: Vec<usize> = (0..events.len()).collect();
    if feed == Feed::Direct {
        let rule = module.rules.first();
        order.sort_by_key(|number| {
            let event = &events[*number];
            let rank =
                rule.and_then(|rule| rule.streams.iter().position(|stream| stream.stream == event.stream));
            (event.ts, rank, event.partition, event.offset)
        });
    }
    let Feed::Interleaved(mut seed) = feed else { return order };
    let mut queues: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, event) in events.iter().enumerate().rev() {
        queues.entry(event.stream).or_default().push(number);
    }
    order.clear();
    while !queues.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stream = *queues.keys().nth((seed >> 33) as usize % queues.len()).expect("a queue is left");
        let queue = queues.get_mut(&stream).expect("it is a key");
        order.extend(queue.pop());
        if queue.is_empty() {
            queues.remove(&stream);
        }
    }
    order
}

/// Runs the engine; gives its alerts and the counts of suppressed matches.
#[must_use]
pub fn run_engine(
    module: &Module,
    tables: &Tables,
    events: &[Event],
    end: i64,
    feed: Feed,
) -> (Vec<Alert>, u64, u64) {
    let (out, engine) = drive(task(module, feed, false), module, tables, events, end, feed);
    let stats = engine.stats();
    let (cooldown, unless) =
        stats.iter().fold((0, 0), |(a, b), (_, s)| (a + s.suppressed_cooldown, b + s.suppressed_unless));
    (out.alerts, cooldown, unless)
}

/// Gives the events to a task, and the end of time.
fn drive(
    mut engine: Task,
    module: &Module,
    tables: &Tables,
    events: &[Event],
    end: i64,
    feed: Feed,
) -> (Outputs, Task) {
    for (name, versions) in tables {
        for (from, content) in versions {
            engine.set_table(name, content, Some(*from));
        }
    }
    let mut out = Outputs::default();
    for number in order(module, events, feed) {
        let event = &events[number];
        if feed == Feed::Restored {
            let saved = engine.save();
            engine = task(module, feed, false);
            engine.restore(&saved).expect("its own state");
            assert_eq!(engine.save(), saved, "a restored state saves to the same bytes");
        }
        let layout = &engine.layout().streams[event.stream];
        let fields = &module.streams[event.stream].fields;
        let slots: Vec<Value> = layout
            .fields
            .iter()
            .map(|wanted| {
                let field = fields.iter().position(|field| field.path == wanted.path).expect("a known field");
                Value::from_literal(event.fields.get(field).unwrap_or(&Literal::Null))
            })
            .collect();
        // Names a place in the case: the partition is not the event's own where all share one.
        let partition = match feed {
            Feed::Interleaved(_) => event.stream as u32,
            Feed::Direct => 0,
            Feed::Sorted | Feed::Restored => event.partition,
        };
        let id = format!("{number}");
        engine.step(
            Input::Event(EventRef {
                stream: event.stream as u32,
                ts: event.ts,
                partition,
                offset: u64::from(event.partition) << 32 | event.offset,
                id: Some(&id),
                slots: &slots,
            }),
            &mut out,
        );
    }
    engine.step(Input::Time(end + 1), &mut out);
    engine.step(Input::End, &mut out);
    assert!(out.late.is_empty(), "nothing is late in a case");
    (out, engine)
}

/// An alert as a line that can be compared.
fn engine_line(alert: &Alert) -> String {
    let steps: Vec<String> = alert
        .evidence
        .iter()
        .filter_map(|evidence| match evidence {
            Evidence::Step { place, events, .. } => {
                let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
                Some(format!("{place}: {}", ids.join("+")))
            }
            Evidence::Absence { .. } => None,
        })
        .collect();
    let key: Vec<String> = alert.keys.iter().map(|(_, value)| value.to_string()).collect();
    let fields: Vec<String> = alert.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "{} key {} {} [{}] {} {} {:?} {}",
        alert.time,
        key.join(","),
        match alert.fired_by {
            FiredBy::Event => "event",
            FiredBy::Timer => "timer",
            FiredBy::Timeout => "timeout",
        },
        steps.join(" | "),
        alert.severity,
        alert.score,
        alert.reason,
        fields.join(" ")
    )
}

/// A firing as the same line. Events after the case's own are alerts that the rule read: `derived` names them.
fn oracle_line(firing: &Firing, own: usize, derived: &[Event]) -> String {
    let name = |event: &usize| match event.checked_sub(own) {
        None => event.to_string(),
        Some(place) => derived.get(place).and_then(|event| event.id.clone()).unwrap_or_default(),
    };
    let show = |literal: &Literal| Value::from_literal(literal).to_string();
    let steps: Vec<String> = firing
        .steps
        .iter()
        .enumerate()
        .filter(|(_, taken)| !taken.is_empty())
        .map(|(place, taken)| format!("{place}: {}", taken.iter().map(name).collect::<Vec<_>>().join("+")))
        .collect();
    let key: Vec<String> = firing.key.iter().map(show).collect();
    let fields: Vec<String> =
        firing.fields.iter().map(|(name, value)| format!("{name}={}", show(value))).collect();
    format!(
        "{} key {} {} [{}] {} {} {:?} {}",
        firing.time,
        key.join(","),
        match firing.fired_by {
            oracle::FiredBy::Event => "event",
            oracle::FiredBy::Timer => "timer",
            oracle::FiredBy::Timeout => "timeout",
        },
        steps.join(" | "),
        show(&firing.severity),
        show(&firing.score),
        firing.reason.clone().unwrap_or_default(),
        fields.join(" ")
    )
}

fn key_text(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| value.to_string()).collect::<Vec<_>>().join(",")
}

/// Runs both on a case. `None` if they agree, else what each says.
///
/// # Panics
/// If the engine refuses what the language accepted.
#[must_use]
pub fn difference(case: &Case, module: &Module, feed: Feed) -> Option<String> {
    let end = case.events.last()?.ts;
    let (alerts, cooldown, unless) = run_engine(module, &case.tables, &case.events, end, feed);
    let own = case.events.len();
    // The order of alerts of one time under different keys is not defined: an event may have several keys.
    let of = |rule: &str| {
        let mut own: Vec<&Alert> = alerts.iter().filter(|alert| alert.rule == rule).collect();
        own.sort_by_cached_key(|alert| {
            (alert.time, key_text(alert.keys.iter().map(|(_, value)| value.clone())))
        });
        own.into_iter().map(engine_line).collect::<Vec<_>>()
    };
    // The definition has no ids of its own: alerts that agree lend theirs.
    let id_of = |firing: &Firing, derived: &[Event]| {
        let line = oracle_line(firing, own, derived);
        let same = alerts.iter().find(|alert| alert.rule == firing.rule && engine_line(alert) == line);
        same.map_or_else(|| "unknown".to_owned(), |alert| alert.id.clone())
    };
    let all: Everything = oracle::run_all(module, &case.tables, &case.events, end, &id_of);
    let (mut says, mut must): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut suppressed = (0, 0);
    for (rule, outcome) in module.rules.iter().zip(&all.outcomes) {
        says.extend(of(&rule.name).into_iter().map(|line| format!("{}: {line}", rule.name)));
        let mut firings: Vec<&Firing> = outcome.firings.iter().collect();
        firings
            .sort_by_cached_key(|firing| (firing.time, key_text(firing.key.iter().map(Value::from_literal))));
        let firings = firings.into_iter().map(|firing| oracle_line(firing, own, &all.derived));
        must.extend(firings.map(|line| format!("{}: {line}", rule.name)));
        suppressed.0 += outcome.suppressed_cooldown;
        suppressed.1 += outcome.suppressed_unless;
    }
    says.push(format!("suppressed {cooldown} {unless}"));
    must.push(format!("suppressed {} {}", suppressed.0, suppressed.1));
    if says == must {
        return None;
    }
    Some(format!("the definition says\n  {}\nthe engine says\n  {}\n", must.join("\n  "), says.join("\n  ")))
}

/// A failing case for people: rule, events, both answers, made as small as it gets.
#[must_use]
pub fn report(case: Case, feed: Feed) -> String {
    let seed = case.seed;
    let small = oracle::random::shrink(case, &mut |case| {
        compile(case).is_ok_and(|module| difference(case, &module, feed).is_some())
    });
    let module = match compile(&small) {
        Ok(module) => module,
        Err(why) => return format!("seed {seed}: does not compile\n{why}"),
    };
    let mut text = format!("seed {seed}, {feed:?}\n{}\n", small.text);
    for (number, event) in small.events.iter().enumerate() {
        let stream = &module.streams[event.stream];
        let fields: Vec<String> = stream
            .fields
            .iter()
            .zip(&event.fields)
            .map(|(field, value)| format!("{}={}", field.path.join("."), Value::from_literal(value)))
            .collect();
        text.push_str(&format!(
            "  {number}: {}s {} {}\n",
            event.ts as f64 / 1e6,
            stream.name,
            fields.join(" ")
        ));
    }
    for (name, versions) in &small.tables {
        for (from, content) in versions {
            text.push_str(&format!("  @{name} from {from}: {content:?}\n"));
        }
    }
    text.push_str(&difference(&small, &module, feed).unwrap_or_default());
    text
}

/// Compares `count` cases from `first` on; gives the reports of the first few that differ, and how many compiled.
#[must_use]
pub fn compare(first: u64, count: u64) -> (Vec<String>, u64) {
    let mut reports = Vec::new();
    let mut compiled = 0;
    for seed in first..first + count {
        let case = oracle::random::case(seed);
        let module = match compile(&case) {
            Ok(module) => module,
            Err(why) => {
                if std::env::var_os("SHOW_REFUSED").is_some() {
                    eprintln!("{}\n{why}", case.text);
                }
                continue;
            }
        };
        compiled += 1;
        let feeds = [Feed::Sorted, Feed::Interleaved(seed), Feed::Direct];
        let restored = (seed % 8 == 0).then_some(Feed::Restored);
        for feed in feeds.into_iter().chain(restored) {
            if difference(&case, &module, feed).is_some() {
                reports.push(report(case.clone(), feed));
                break;
            }
        }
        if reports.len() >= 5 {
            break;
        }
    }
    (reports, compiled)
}

/// Runs the engine on a golden case; gives what it says in the table's form.
#[must_use]
pub fn golden(golden: &oracle::golden::Golden, feed: Feed) -> String {
    let module = &golden.module;
    let (alerts, cooldown, unless) = run_engine(module, &golden.tables, &golden.events, golden.end, feed);
    let rule = &module.rules[0];
    let fired: Vec<_> = alerts
        .iter()
        .map(|alert| {
            let mut steps = vec![Vec::new(); rule.steps.len()];
            for evidence in &alert.evidence {
                let Evidence::Step { place, events, .. } = evidence else { continue };
                steps[*place] = events.iter().map(|event| event.id.parse().expect("a number")).collect();
            }
            let by = match alert.fired_by {
                FiredBy::Event => oracle::FiredBy::Event,
                FiredBy::Timer => oracle::FiredBy::Timer,
                FiredBy::Timeout => oracle::FiredBy::Timeout,
            };
            (steps, by, alert.time)
        })
        .collect();
    golden.write(&fired, cooldown, unless)
}
