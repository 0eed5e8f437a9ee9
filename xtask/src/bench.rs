//! Speed, as a table: every workload and every other cost through the release binary. Its answers are verified; how fast
//! it was is only printed.

use crate::counts;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Workloads, with the events of `--quick`.
const WORKLOADS: [(&str, u64); 14] = [
    ("W0", 400_000),
    ("W1", 200_000),
    ("W2", 200_000),
    ("W3", 200_000),
    ("W4:100", 100_000),
    ("W4:1000", 50_000),
    ("W4:10000", 30_000),
    ("W5", 200_000),
    ("W6:1", 200_000),
    ("W6:10", 200_000),
    ("W6:100", 100_000),
    ("W7:10", 200_000),
    ("W7:1000", 200_000),
    ("W7:10000", 200_000),
];

/// Other costs, with the size of `--quick`.
const COSTS: [(&str, u64); 5] =
    [("json", 100_000), ("keys", 300_000), ("state", 100_000), ("load", 1_000), ("latency", 20_000)];

/// Measures, or compares instructions with what is recorded; false if an answer is wrong or instructions have grown.
pub(crate) fn run(
    root: &Path,
    target: &Path,
    args: &[String],
    build: impl FnOnce() -> Result<PathBuf, String>,
) -> Result<bool, String> {
    let has = |option: &str| args.iter().any(|arg| arg == option);
    if let Some(unknown) = args.iter().find(|arg| !["--quick", "--check", "--update"].contains(&arg.as_str()))
    {
        return Err(format!("bench: `{unknown}` is none of --quick, --check, --update"));
    }
    let binary = &build()?;
    if has("--update") {
        return counts::update(root, target, binary);
    }
    if has("--check") {
        return counts::check(root, target, binary);
    }
    let (table, right) = tables(binary, has("--quick"))?;
    let path = target.join("bench.md");
    fs::write(&path, table).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\nwritten to {}; instructions: cargo xtask bench --check", path.display());
    Ok(right)
}

/// The Markdown, printed as it comes.
fn tables(binary: &Path, quick: bool) -> Result<(String, bool), String> {
    let mut text = String::new();
    let mut right = true;
    let mut say = |line: String| {
        println!("{line}");
        text.push_str(&line);
        text.push('\n');
    };
    say("| workload | events | matches | events/CPU-s | plain loop, same run | ratio | goal | met | load |"
        .to_owned());
    say("|---|---|---|---|---|---|---|---|---|".to_owned());
    for (what, events) in WORKLOADS {
        let (lines, ok) = measure(binary, what, quick.then_some(events))?;
        right &= ok;
        for line in &lines {
            let get = |name| field(line, name).unwrap_or_default();
            say(format!(
                "| {what} | {} | {} {} | {} | {} | {} | {} | {} | {} |",
                get("events"),
                get("matches"),
                if ok { "ok" } else { "WRONG" },
                millions(get("events_per_cpu_s")),
                millions(get("plain_events_per_cpu_s")),
                get("ratio"),
                millions(get("goal_events_per_cpu_s")),
                met(get("met")),
                get("load"),
            ));
        }
    }
    say("\n| cost | figure | of what | goal | met | load |\n|---|---|---|---|---|---|".to_owned());
    for (what, size) in COSTS {
        let (lines, ok) = measure(binary, what, quick.then_some(size))?;
        right &= ok;
        for line in &lines {
            say(cost(line, ok));
        }
    }
    Ok((text, right))
}

/// Lines of JSON of one benchmark, and whether its answers were right.
fn measure(binary: &Path, what: &str, size: Option<u64>) -> Result<(Vec<String>, bool), String> {
    let mut command = Command::new(binary);
    command.args(["bench", what, "--json"]);
    if what == "json" {
        command.args(["--threads", "2"]);
    }
    if let Some(size) = size {
        command.args(["--events", &size.to_string()]);
    }
    let output = command.output().map_err(|error| failed_to_start(binary, &error))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(format!("`bench {what}` printed nothing"));
    }
    Ok((lines, output.status.success()))
}

pub(crate) fn failed_to_start(binary: &Path, error: &std::io::Error) -> String {
    format!("cannot start {}: {error}", binary.display())
}

/// The row of a cost, by its line of JSON.
pub(crate) fn cost(line: &str, is_right: bool) -> String {
    let get = |name| field(line, name).unwrap_or_default();
    format!(
        "| {} | {} | {}{} | {} | {} | {} |",
        get("bench"),
        figure(get("figure")),
        get("unit"),
        if is_right { "" } else { " WRONG" },
        get("goal").replace("null", "-"),
        met(get("met")),
        get("load"),
    )
}

/// A field of a flat line of JSON whose strings need no escapes.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = line.split_once(&format!("\"{name}\":"))?;
    match after.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => after.split([',', '}']).next(),
    }
}

fn millions(number: &str) -> String {
    number.parse::<f64>().map_or_else(|_| "-".to_owned(), |number| format!("{:.2} M", number / 1e6))
}

fn figure(number: &str) -> String {
    number.parse::<f64>().map_or_else(|_| number.to_owned(), |number| format!("{number:.3}"))
}

fn met(value: &str) -> &'static str {
    match value {
        "true" => "yes",
        "false" => "no",
        _ => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_line_are_found() {
        let line = "{\"bench\":\"keys:10\",\"unit\":\"of a, and b\",\"goal\":null,\"figure\":0.5}";
        assert_eq!(field(line, "unit"), Some("of a, and b"));
        assert_eq!(field(line, "goal"), Some("null"));
        assert_eq!(field(line, "figure"), Some("0.5"));
        assert_eq!(field(line, "met"), None);
    }
}
