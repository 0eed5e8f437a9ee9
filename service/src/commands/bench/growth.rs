//! `bench keys`, `bench state` and `bench load`: what more keys cost in speed and memory, and what a rule costs to load.

use super::BenchArgs;
use super::events::{BASE_MS, Generator, Row};
use super::limit;
use super::matcher::{Decoded, Matcher, activate, compile};
use super::process::{self, Spent, median, spend};
use super::report::{Cost, Goal};
use super::workload::Workload;
use crate::console::say;
use crate::failure::Failure;
use engine::task::Outputs;
use engine::text::Text;
use engine::value::Value;

const FEW_KEYS: u64 = 10_000;

/// W1 with more and more keys.
///
/// # Errors
/// The seed is 0.
pub(super) fn keys(args: &BenchArgs) -> Result<u8, Failure> {
    let events = args.events.unwrap_or(3_000_000);
    let seed = args.seed()?;
    let sizes = [FEW_KEYS, 100_000, 1_000_000].into_iter().chain(args.full.then_some(10_000_000));
    let mut right = true;
    let mut beds = Vec::new();
    for keys in sizes {
        let workload = Workload { number: 1, parameter: 0, name: format!("keys:{keys}"), keys };
        let mut generator = Generator::new(&workload, seed);
        let rows: Vec<Row> = (0..events).map(|_| generator.row()).collect();
        let module = compile(&workload.name, workload.rules())?;
        let decoded = Decoded::new(&workload, &rows, &Matcher::new(&module, true)?.fields());
        let expected = limit::find(&workload, rows.into_iter());
        beds.push((workload, module, decoded, expected, Vec::new()));
    }
    for _ in 0..args.rounds {
        for (workload, module, decoded, expected, rounds) in &mut beds {
            let mut matcher = Matcher::new(module, true)?;
            let (found, spent) = spend(|| decoded.run(&mut matcher));
            rounds.push(spent);
            if found != *expected {
                say!("wrong: {}: {found:?}, expected {expected:?}", workload.name);
                right = false;
            }
        }
    }
    let mut base = None;
    for (workload, _, _, found, rounds) in beds {
        let rate = median(rounds).rate(events);
        let base = *base.get_or_insert(rate);
        Cost {
            bench: workload.name,
            figure: if base > 0.0 { rate / base } else { 0.0 },
            unit: "of the rate with 10,000 keys",
            goal: if workload.keys == FEW_KEYS { Goal::Open } else { Goal::AtLeast(0.5) },
            detail: vec![
                ("events", events as f64),
                ("matches", found.matches as f64),
                ("events_per_cpu_s", rate.round()),
            ],
        }
        .show(args)?;
    }
    Ok(u8::from(!right))
}

/// A matcher with a rule whose matches stay open while there are others to be opened.
pub(super) fn patient(keys: u64) -> Result<Matcher, Failure> {
    let workload = Workload { number: 1, parameter: 0, name: "state".to_owned(), keys };
    let rules = workload.rules().replace("within 10m", "within 30d");
    Matcher::new(&compile(&workload.name, rules)?, true)
}

/// The event with a number opens a match of a key.
pub(super) fn open(matcher: &mut Matcher, fields: &[String], number: u64, key: u64, out: &mut Outputs) {
    // Made one by one: what the matcher does not keep is gone.
    let slots: Vec<Value> = fields
        .iter()
        .map(|field| match field.as_str() {
            "key" => Value::String(Text::from(format!("card-{key:06}"))),
            "amount" => Value::Float(1.0),
            _ => Value::Null,
        })
        .collect();
    matcher.event((BASE_MS + number as i64) * 1_000, number, &slots, out);
}

/// A matcher with one open match for each of so many keys, and by how much resident memory has grown for it.
pub(super) fn opened(keys: u64) -> Result<(Matcher, u64), Failure> {
    let mut matcher = patient(keys)?;
    let fields = matcher.fields();
    let mut out = Outputs::default();
    let before = process::rss();
    (0..keys).for_each(|key| open(&mut matcher, &fields, key, key, &mut out));
    Ok((matcher, process::rss().saturating_sub(before)))
}

/// Memory of keys with one open match each.
///
/// # Errors
/// The rule does not compile.
pub(super) fn state(args: &BenchArgs) -> Result<u8, Failure> {
    let keys = args.events.unwrap_or(1_000_000);
    let (matcher, grown) = opened(keys)?;
    let open: u64 = matcher.task.stats().iter().map(|(_, stats)| stats.still_open).sum();
    Cost {
        bench: "state".to_owned(),
        figure: grown as f64 / keys.max(1) as f64,
        unit: "bytes per key with one open match (resident memory, its key's text included)",
        goal: Goal::AtMost(96.0),
        detail: vec![("keys", keys as f64), ("open_matches", open as f64), ("bytes", grown as f64)],
    }
    .show(args)?;
    if open != keys {
        say!("wrong: {open} open matches, expected {keys}");
    }
    Ok(u8::from(open != keys))
}

/// Rules from their text until they match.
///
/// # Errors
/// A rule does not compile.
pub(super) fn load(args: &BenchArgs) -> Result<u8, Failure> {
    const LOADS: u32 = 200;
    let one = Workload { number: 1, parameter: 0, name: "load".to_owned(), keys: FEW_KEYS };
    let many =
        Workload { number: 7, parameter: args.events.unwrap_or(10_000), name: "load".to_owned(), keys: 1 };
    let text = |number: u32| one.rules().replace("rule w1 ", &format!("rule w1_{number} "));
    let each =
        |spent: Spent| vec![("loads", f64::from(LOADS)), ("wall_ms", spent.wall_s * 1e3 / f64::from(LOADS))];
    let (loaded, spent) = spend(|| -> Result<(), Failure> {
        for number in 0..LOADS {
            Matcher::new(&compile("load", text(number))?, true)?;
        }
        Ok(())
    });
    loaded?;
    Cost {
        bench: "load:1".to_owned(),
        figure: spent.cpu_s * 1e3 / f64::from(LOADS),
        unit: "CPU ms for one rule, from its text until it matches",
        goal: Goal::AtMost(1.0),
        detail: each(spent),
    }
    .show(args)?;
    let text_of_all = many.rules();
    let (matcher, spent) = spend(|| Matcher::new(&compile("load", text_of_all)?, true));
    let mut matcher = matcher?;
    Cost {
        bench: format!("load:{}", many.parameter),
        figure: spent.cpu_s,
        unit: "CPU s for all rules, from one text until they match",
        goal: if many.parameter <= 10_000 { Goal::AtMost(5.0) } else { Goal::Open },
        detail: vec![("rules", many.parameter as f64), ("wall_s", spent.wall_s)],
    }
    .show(args)?;
    let (loaded, spent) = spend(|| -> Result<(), Failure> {
        (0..LOADS).try_for_each(|number| activate(&mut matcher.task, &compile("load", text(number))?))
    });
    loaded?;
    Cost {
        bench: format!("load:1+{}", many.parameter),
        figure: spent.cpu_s * 1e3 / f64::from(LOADS),
        unit: "CPU ms for one rule beside so many others",
        goal: Goal::Open,
        detail: each(spent),
    }
    .show(args)?;
    Ok(0)
}
