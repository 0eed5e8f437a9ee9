//! `why`: tells for one key how far each rule got, and what dropped its events.

use crate::cli::{EventArgs, rules_and_events};
use crate::console::show;
use crate::failure::Failure;
use crate::input::{Rejects, sorted};
use crate::pipeline::{Setup, Tally, prepare};
use crate::render::why::{why_json, why_text};
use crate::ruleset::name_path;
use clap::Args;
use engine::task::Limits;
use std::path::PathBuf;

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Rules (.cep files or folders) and events
    #[arg(required = true, value_name = "RULES... EVENTS...")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    events: EventArgs,
    /// Fill a list from a file
    #[arg(long = "list", value_name = "NAME=FILE", value_parser = name_path)]
    lists: Vec<(String, PathBuf)>,
    /// Only this rule
    #[arg(long)]
    rule: Option<String>,
    /// The key: its value, or the values of its parts joined by commas; once a part where one holds a comma
    #[arg(long, required = true)]
    key: Vec<String>,
    /// Take files as they stand
    #[arg(long)]
    arrival_order: bool,
    /// Let time run out after the last event
    #[arg(long)]
    to_end: bool,
    /// Every attempt, not only those that got furthest
    #[arg(long)]
    all: bool,
    /// One JSON object a rule
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// Rules with errors, unreadable input, an unknown rule.
pub fn run(args: &WhyArgs) -> Result<u8, Failure> {
    let (rules, events) = rules_and_events(&args.paths)?;
    let setup = Setup {
        rules,
        files: args.events.options(&events),
        lists: args.lists.clone(),
        time: args.events.time.clone(),
        arrival: args.arrival_order,
        to_end: args.to_end,
        limits: Limits::default(),
        sort_memory: sorted::DEFAULT_MEMORY,
        threads: 1,
        keep_history: true,
    };
    let mut ready = prepare(&setup)?;
    let names: Vec<String> = ready.module.rules.iter().map(|r| r.name.clone()).collect();
    if let Some(wanted) = &args.rule
        && !names.contains(wanted)
    {
        return Err(Failure::usage(format!("no rule `{wanted}`; there are {}", names.join(", "))));
    }
    let mut rejects = Rejects::new(None, false)?;
    let split = |key: &String| key.split(',').map(str::to_owned).collect::<Vec<String>>();
    // Whether a comma joins parts depends on how many the rule's key has.
    let key_of = |parts: usize| match args.key.as_slice() {
        [joined] if parts > 1 || !joined.contains(',') => split(joined),
        key => key.to_vec(),
    };
    let keys: Vec<(String, Vec<String>)> =
        ready.module.rules.iter().map(|rule| (rule.name.clone(), key_of(rule.keys.len()))).collect();
    let mut distinct: Vec<Vec<String>> = keys.iter().map(|(_, key)| key.clone()).collect();
    distinct.sort();
    distinct.dedup();
    ready.task.remember_only(&distinct);
    let tally = ready.drive(&mut rejects, &mut |_| Ok(()))?;
    let mut first = true;
    for (name, key) in keys.iter().filter(|(name, _)| args.rule.as_ref().is_none_or(|r| r == name)) {
        let Some(why) = ready.task.why(name, key) else { continue };
        if args.json {
            show(&format!("{}\n", why_json(name, &why)))?;
            continue;
        }
        let gap = if first { "" } else { "\n" };
        first = false;
        show(&format!("{gap}{}", why_text(name, &why, args.all)))?;
    }
    if !args.json {
        show(&dropped(&tally, rejects.count))?;
    }
    Ok(u8::from(tally.broken > 0))
}

/// What was dropped of all keys.
fn dropped(tally: &Tally, rejected: u64) -> String {
    let counts = [(tally.late, "late"), (tally.duplicates, "with a repeated id"), (rejected, "rejected")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if counts.is_empty() {
        return String::new();
    }
    format!("\nof all {} events: {}\n", tally.events, counts.join(", "))
}
