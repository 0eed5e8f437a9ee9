//! The engine beside the definition: one case through both, and what differs.
//!
//! The oracle says which alerts a rule must give; here the engine runs the same rule on the same events, in several ways
//! that must not matter (see [`feed`]). [`properties`] says what else must hold of every case.

pub mod feed;
pub mod properties;
mod frozen;
mod why;

pub use feed::Feed;

use engine::alert::{Alert, Evidence, FiredBy};
use engine::value::Value;
use feed::run_engine;
use oracle::random::Case;
use oracle::{Event, Everything, Firing};
use pattern_dsl::ir::Module;
use pattern_dsl::types::Literal;
use pattern_dsl::{Environment, SourceText};

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

/// An alert as a line that can be compared.
fn engine_line(alert: &Alert) -> String {
    let steps: Vec<String> = alert
        .evidence
        .iter()
        .filter_map(|evidence| match evidence {
            Evidence::Step { place, events, .. } => {
                let ids: Vec<_> = events.iter().map(|event| event.id.value.to_string()).collect();
                Some(format!("{place}: {}", ids.join("+")))
            }
            Evidence::Absence { .. } => None,
        })
        .collect();
    let key: Vec<String> = alert.keys.iter().map(|(_, shown)| shown.value.to_string()).collect();
    let fields: Vec<String> =
        alert.fields.iter().map(|(name, shown)| format!("{name}={}", shown.value)).collect();
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
        alert.severity.value,
        alert.score.value,
        alert.reason.text,
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
    let ran = run_engine(module, &case.tables, &case.events, end, feed);
    let ((cooldown, unless), alerts) = (ran.suppressed(), ran.alerts);
    let own = case.events.len();
    // The order of alerts of one time under different keys is not defined: an event may have several keys.
    let of = |rule: &str| {
        let mut own: Vec<&Alert> = alerts.iter().filter(|alert| alert.rule == rule).collect();
        own.sort_by_cached_key(|alert| {
            (alert.time, key_text(alert.keys.iter().map(|(_, shown)| shown.value.clone())))
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
    let mut text = format!("seed {seed}, {feed:?}\n{}", show(&small));
    text.push_str(&difference(&small, &module, feed).unwrap_or_default());
    text
}

/// A case for people: rules, events, versions of tables.
#[must_use]
pub fn show(case: &Case) -> String {
    let mut text = format!("{}\n", case.text);
    for (number, event) in case.events.iter().enumerate() {
        let stream = &case.streams[event.stream];
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
    for (name, versions) in &case.tables {
        for (from, content) in versions {
            text.push_str(&format!("  @{name} from {from}: {content:?}\n"));
        }
    }
    text
}

/// A rule reads so many alerts of another that the definition would try their choices for minutes.
fn is_huge(case: &Case, module: &Module) -> bool {
    const ALERTS_READ: usize = 60;
    let end = case.events.last().map_or(0, |event| event.ts);
    module.rules.len() > 1
        && run_engine(module, &case.tables, &case.events, end, Feed::Sorted).alerts.len() > ALERTS_READ
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
        if is_huge(&case, &module) {
            continue;
        }
        compiled += 1;
        let direct = if seed % 2 == 0 { Feed::Direct } else { Feed::AtOnce };
        let feeds = [Feed::Sorted, Feed::Interleaved(seed), Feed::Late(seed), direct];
        let restored = match seed % 16 {
            0 => Some(Feed::Restored),
            8 => Some(Feed::LateRestored(seed)),
            _ => None,
        };
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
    let ran = run_engine(module, &golden.tables, &golden.events, golden.end, feed);
    let ((cooldown, unless), alerts) = (ran.suppressed(), ran.alerts);
    let rule = &module.rules[0];
    let fired: Vec<_> = alerts
        .iter()
        .map(|alert| {
            let mut steps = vec![Vec::new(); rule.steps.len()];
            for evidence in &alert.evidence {
                let Evidence::Step { place, events, .. } = evidence else { continue };
                steps[*place] = events
                    .iter()
                    .map(|event| event.id.value.to_string().parse().expect("a number"))
                    .collect();
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
