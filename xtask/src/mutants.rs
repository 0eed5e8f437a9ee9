//! Whether the net of random rules is tight: the matcher broken in one place at a time, each of which must be noticed.
//!
//! Works in a copy of the sources below the target folder, so that a broken place never stands in the tree.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than the cases of a sound engine take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is broken, where, what stands there, what is put there.
const MUTANTS: &[(&str, &str, &str, &str)] = &[
    (
        "the end of `match within` is left out",
        "search.rs",
        "row.ts - first.ts > self.question.program.within",
        "row.ts - first.ts >= self.question.program.within",
    ),
    ("the end of `then within` is left out", "fit.rs", "passed > within", "passed >= within"),
    ("the end of `then after` is left out", "fit.rs", "passed < after", "passed <= after"),
    (
        "`no X for D` may end with its step",
        "fit.rs",
        "is_none_or(|wait| row.ts - last.ts <= wait)",
        "is_none_or(|wait| row.ts - last.ts < wait)",
    ),
    (
        "a gap of just D ends `until quiet`",
        "fit.rs",
        ".is_some_and(|quiet| row.ts - last.ts > quiet)",
        ".is_some_and(|quiet| row.ts - last.ts >= quiet)",
    ),
    (
        "a leading absence leaves out its start",
        "step.rs",
        "is_some_and(|ts| ts >= from)",
        "is_some_and(|ts| ts > from)",
    ),
    (
        "the floor of an absence counts the event before",
        "fit.rs",
        "row.floor() > last.pos",
        "row.floor() >= last.pos",
    ),
    (
        "rows expire a moment early",
        "state.rs",
        "now - row.reach_ts > horizon",
        "now - row.reach_ts >= horizon",
    ),
    ("an optional step is left out although it fits", "search.rs", "limit.min(first_fit)", "limit"),
    ("`first` takes any", "search.rs", "if step.first_only || self.skip_first {", "if self.skip_first {"),
    (
        "a member of a set is left out although it is there",
        "set.rs",
        "if count >= program.min {",
        "if count > program.min {",
    ),
    (
        "an event goes to the first that fits, though another lacks its minimum",
        "fit.rs",
        "taken < min",
        "taken > min",
    ),
    ("`cancel on` drops nothing", "step.rs", "self.state.cancel();", ""),
    ("`per start` marks nothing", "overlap.rs", "row.mark(true);", "row.mark(false);"),
    ("an alert uses nothing up", "overlap.rs", "Overlap::None => moment.end,", "Overlap::None => 0,"),
    (
        "a cool-down includes its end",
        "overlap.rs",
        "moment.time - last < cooldown",
        "moment.time - last <= cooldown",
    ),
    ("latches stay open", "overlap.rs", "held.set_latches(close_latches(program, held.beside.latches));", ""),
    (
        "a latch opens at its limit",
        "advance.rs",
        "== Some(std::cmp::Ordering::Less)",
        "!= Some(std::cmp::Ordering::Greater)",
    ),
    (
        "a window holds its far edge",
        "window.rs",
        "*ts <= now.saturating_sub(window.span)",
        "*ts < now.saturating_sub(window.span)",
    ),
    (
        "a comparison with null is false",
        "expr.rs",
        "if left.is_null() || right.is_null() {\n        return None;",
        "if left.is_null() || right.is_null() {\n        return Some(false);",
    ),
    (
        "ties are taken as stored, not by rank",
        "task.rs",
        "rank: rank.unwrap_or(0),",
        "rank: rank.map_or(0, |_| 0),",
    ),
    (
        "a new revision knows a past that it has not seen",
        "step.rs",
        "if from < program.past.leading(place) {",
        "if from < program.past.leading(place).min(Micros::MIN) {",
    ),
    (
        "timers of two revisions ring one revision after the other",
        "timer.rs",
        "timers.min().filter",
        "timers.min_by_key(|(_, number)| *number).filter",
    ),
    (
        "the event that closed a latch opens it again",
        "advance.rs",
        "!program.latches.is_empty() && self.closed_at != pos;",
        "!program.latches.is_empty();",
    ),
    ("an alert of one revision uses nothing up for another", "revision.rs", "held.use_up(used.last);", ""),
    (
        "what has run out is dropped a moment late",
        "state.rs",
        "if now >= self.expires_at {",
        "if now > self.expires_at {",
    ),
    (
        "what something followed at once is dropped as if nothing had",
        "step.rs",
        "binary_search_by_key(&row.pos, Row::union_before).is_ok()",
        "binary_search_by_key(&row.pos, Row::union_before).is_err()",
    ),
    (
        "what an earlier end has barred begins again",
        "plain.rs",
        "if step.bars {",
        "if step.bars && lower.is_empty() {",
    ),
    (
        "a key added since the look ahead is not seen",
        "keys.rs",
        "matches!(near, Near::Absent(added) if added == self.added)",
        "matches!(near, Near::Absent(_))",
    ),
    (
        "a word that a step asks for is the next one of the rule",
        "row.rs",
        "known.words.get(*word)",
        "known.words.get(*word + 1)",
    ),
    (
        "a limit leaves out its own value",
        "predicate.rs",
        "Value::Int(value) => Some(low <= value && value <= high),",
        "Value::Int(value) => Some(low <= value && value < high),",
    ),
    ("a rule of one event forgets its cool-down", "shape.rs", "&& rule.cooldown.is_none()", ""),
    (
        "a timer is forgotten when another of its rule is due first",
        "advance.rs",
        "self.next_timer().map(|(due, _)| due).into_iter().chain(self.state.keys.next_sweep()).min()",
        "self.next_timer().map(|(due, _)| due).into_iter().chain(self.state.keys.next_sweep()).max()",
    ),
];

/// Builds each mutant whose description has these words and compares it with the definition on random cases; false if one survives.
pub(crate) fn check(root: &Path, target: &Path, cases: u64, words: &str) -> Result<bool, String> {
    let copy = target.join("mutants");
    let text = |error: std::io::Error| format!("cannot copy the sources: {error}");
    let listed = Command::new("git").args(["ls-files"]).current_dir(root).output().map_err(text)?;
    for file in String::from_utf8_lossy(&listed.stdout).lines() {
        let (from, to) = (root.join(file), copy.join(file));
        let contents = fs::read(&from).map_err(text)?;
        if fs::read(&to).ok().as_ref() != Some(&contents) {
            fs::create_dir_all(to.parent().unwrap_or(&copy)).map_err(text)?;
            fs::write(&to, contents).map_err(text)?;
        }
    }
    let mut survivors = 0;
    for (what, file, old, _) in MUTANTS {
        if !fs::read_to_string(copy.join("engine/src").join(file)).map_err(text)?.contains(old) {
            return Err(format!("`{old}` is not in engine/src/{file} any more: mend the mutant \"{what}\""));
        }
    }
    let chosen = MUTANTS.iter().filter(|(what, ..)| what.contains(words));
    for (what, file, old, new) in chosen {
        let path = copy.join("engine/src").join(file);
        let whole = fs::read_to_string(&path).map_err(text)?;
        fs::write(&path, whole.replacen(old, new, 1)).map_err(text)?;
        let killed = killed(&copy, cases);
        fs::write(&path, whole).map_err(text)?;
        let killed = killed?;
        survivors += u32::from(!killed);
        println!("{} {what} ({file})", if killed { "noticed " } else { "SURVIVED" });
    }
    println!("{survivors} survived of {} mutants in all", MUTANTS.len());
    Ok(survivors == 0)
}

fn killed(copy: &Path, cases: u64) -> Result<bool, String> {
    let mut cargo = super::cargo();
    cargo.current_dir(copy).args([
        "build",
        "--release",
        "--quiet",
        "-p",
        "tripline-tests",
        "--bin",
        "compare",
        "--config",
        "profile.release.package.engine.codegen-units=16",
    ]);
    // The mutants differ in one line each: quick builds matter more than quick code.
    cargo.env("CARGO_TARGET_DIR", copy.join("target")).env("CARGO_PROFILE_RELEASE_LTO", "off");
    cargo.env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    if !cargo.status().map_err(|error| error.to_string())?.success() {
        return Err("a mutant does not build".to_owned());
    }
    let compare = copy.join("target/release/compare");
    // First beside the definition; then what only several runs of one case show.
    for arguments in [vec![cases.to_string()], vec!["all".to_owned(), (cases / 4).to_string()]] {
        let mut compare = Command::new(&compare);
        if !ends_well(compare.args(arguments).stderr(Stdio::null())).map_err(|error| error.to_string())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The command succeeds, and within [`PATIENCE`]: a mutant may also never end.
fn ends_well(command: &mut Command) -> std::io::Result<bool> {
    let mut running = command.spawn()?;
    let begun = Instant::now();
    loop {
        if let Some(status) = running.try_wait()? {
            return Ok(status.success());
        }
        if begun.elapsed() > PATIENCE {
            running.kill()?;
            running.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
}
