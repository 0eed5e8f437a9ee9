//! `why`: tells for one key how far each rule got, and what dropped its events.

use crate::cli::{EventArgs, rules_and_events};
use crate::decode::time::format_rfc3339;
use crate::failure::Failure;
use crate::input::{Rejects, sorted};
use crate::pipeline::{Setup, Tally, prepare};
use crate::render::Detail;
use crate::render::text::{alert_text, key_text};
use crate::ruleset::name_path;
use clap::Args;
use engine::task::{Limits, RuleStats};
use engine::why::Attempt;
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
    /// The key: its value, or the values of its parts joined by commas
    #[arg(long)]
    key: String,
    /// Take files as they stand
    #[arg(long)]
    arrival_order: bool,
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
        to_end: false,
        limits: Limits { candidates: None, matches_per_moment: None, search_work: None },
        sort_memory: sorted::DEFAULT_MEMORY,
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
    let mut alerts = Vec::new();
    let tally = ready.drive(&mut rejects, &mut |alert| {
        if key_text(alert) == args.key {
            alerts.push(alert.clone());
        }
        Ok(())
    })?;
    let parts: Vec<String> = args.key.split(',').map(str::to_owned).collect();
    let stats = ready.task.stats();
    for name in names.iter().filter(|n| args.rule.as_ref().is_none_or(|r| r == *n)) {
        println!("rule {name}, key {}", args.key);
        for alert in alerts.iter().filter(|a| a.rule == name.as_str()) {
            print!("{}", alert_text(alert, Detail::Full, false));
        }
        let attempts = ready.task.attempts(name, &parts);
        if attempts.is_empty() && !alerts.iter().any(|a| a.rule == name.as_str()) {
            println!("  no event of this key began a match");
        }
        for attempt in &attempts {
            print!("{}", attempt_text(attempt));
        }
        if let Some((_, stats)) = stats.iter().find(|(n, _)| n == name) {
            print!("{}", rule_counts(stats));
        }
    }
    print!("{}", dropped(&tally, rejects.count));
    Ok(u8::from(tally.broken > 0))
}

fn attempt_text(attempt: &Attempt) -> String {
    let mut out = String::from(if attempt.fired { "  fired:\n" } else { "  attempt:\n" });
    for (name, time, ids) in &attempt.steps {
        out.push_str(&format!("    {name:<20} {}  {}\n", format_rfc3339(*time), ids.join(", ")));
    }
    if let Some(failed) = &attempt.failed_at {
        let because = attempt.because.as_deref().unwrap_or("nothing fitted");
        out.push_str(&format!("    stopped at {failed}: {because}\n"));
    } else if let Some(because) = &attempt.because {
        out.push_str(&format!("    {because}\n"));
    }
    out
}

fn rule_counts(stats: &RuleStats) -> String {
    format!(
        "  over all keys: {} alerts, {} silenced by the cool-down, {} by unless, {} events with a null key\n",
        stats.alerts, stats.suppressed_cooldown, stats.suppressed_unless, stats.null_keys
    )
}

fn dropped(tally: &Tally, rejected: u64) -> String {
    let mut out = format!(
        "{} events; dropped: {} late, {} duplicates, {rejected} rejected\n",
        tally.events, tally.late, tally.duplicates
    );
    for (name, line, ts, watermark) in &tally.late_samples {
        let (ts, watermark) = (format_rfc3339(*ts), format_rfc3339(*watermark));
        out.push_str(&format!("  late: {name}:{line} at {ts}, time was at {watermark}\n"));
    }
    for (name, line) in &tally.duplicate_samples {
        out.push_str(&format!("  duplicate: {name}:{line}\n"));
    }
    out
}
