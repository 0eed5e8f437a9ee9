//! Instructions inside the matcher, which a busy machine does not change: counted by callgrind, compared with a record.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The record, from the workspace's root.
const RECORD: &str = "xtask/instructions.txt";
/// More than this share on top is said loudly.
const GROWTH_MAX: f64 = 0.10;
/// Counting is on inside this function only.
const COUNTED: &str = "*Task*step_all*";

/// Workloads and events: small, since each instruction is interpreted.
const COUNTS: [(&str, u64); 13] = [
    ("W0", 20_000),
    ("W1", 60_000),
    ("W2", 60_000),
    ("W3", 60_000),
    ("W4:100", 20_000),
    ("W4:1000", 10_000),
    ("W5", 60_000),
    ("W6:1", 60_000),
    ("W6:10", 60_000),
    ("W6:100", 20_000),
    ("W7:10", 60_000),
    ("W7:1000", 60_000),
    ("W7:10000", 30_000),
];

/// One workload's count.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    workload: String,
    events: u64,
    instructions: u64,
}

/// Writes the record anew.
pub(crate) fn update(root: &Path, target: &Path, binary: &Path) -> Result<bool, String> {
    let Some(counts) = count_all(target, binary)? else { return Ok(true) };
    let mut text = String::from(
        "# Instructions inside the matcher: workload, events, instructions. Written by `cargo xtask bench --update`.\n",
    );
    writeln!(text, "# {}", compiler()).map_err(|error| error.to_string())?;
    for Count { workload, events, instructions } in &counts {
        writeln!(text, "{workload} {events} {instructions}").map_err(|error| error.to_string())?;
    }
    let path = root.join(RECORD);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("written to {RECORD}");
    Ok(true)
}

/// Compares with the record; false if a workload takes clearly more instructions.
pub(crate) fn check(root: &Path, target: &Path, binary: &Path) -> Result<bool, String> {
    let path = root.join(RECORD);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("{RECORD}: {error}; `cargo xtask bench --update` writes it"))?;
    let recorded = read(&text)?;
    let Some(counts) = count_all(target, binary)? else { return Ok(true) };
    if !text.lines().any(|line| line.strip_prefix("# ") == Some(compiler().as_str())) {
        println!("note: the record is of another compiler; this is {}", compiler());
    }
    let grown = compare(&recorded, &counts);
    for Count { workload, .. } in &grown {
        println!("MORE INSTRUCTIONS: {workload}, over {:.0} % more than recorded", GROWTH_MAX * 100.0);
    }
    Ok(grown.is_empty())
}

/// Prints every difference; the counts that have grown too much.
fn compare<'a>(recorded: &[Count], counts: &'a [Count]) -> Vec<&'a Count> {
    let mut grown = Vec::new();
    for count in counts {
        let Count { workload, events, instructions } = count;
        let each = *instructions as f64 / *events as f64;
        let before = recorded.iter().find(|old| old.workload == *workload && old.events == *events);
        let Some(before) = before else {
            println!("{workload:<9} {each:>10.0} instructions an event, not recorded");
            continue;
        };
        let growth = *instructions as f64 / before.instructions as f64 - 1.0;
        println!("{workload:<9} {each:>10.0} instructions an event, {:+.1} %", growth * 100.0);
        if growth > GROWTH_MAX {
            grown.push(count);
        }
    }
    grown
}

fn read(text: &str) -> Result<Vec<Count>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let workload = words.next().unwrap_or_default().to_owned();
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).filter(|n| *n > 0);
            match (number(), number()) {
                (Some(events), Some(instructions)) => Ok(Count { workload, events, instructions }),
                _ => Err(format!("{RECORD}: `{line}` is not WORKLOAD EVENTS INSTRUCTIONS")),
            }
        })
        .collect()
}

/// Counts every workload; none without valgrind.
fn count_all(target: &Path, binary: &Path) -> Result<Option<Vec<Count>>, String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: instructions are not counted");
        return Ok(None);
    }
    let counts: Result<_, _> =
        COUNTS.iter().map(|(what, events)| count(target, binary, what, *events)).collect();
    counts.map(Some)
}

fn count(target: &Path, binary: &Path, workload: &str, events: u64) -> Result<Count, String> {
    let out = target.join(format!("callgrind.{}", workload.replace(':', "-")));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--toggle-collect={COUNTED}")])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(binary)
        .args(["bench", workload, "--rounds", "1", "--json", "--events", &events.to_string()])
        .output()
        .map_err(|error| format!("cannot start valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{workload}: {said}"));
    }
    let collected =
        said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    match collected.and_then(|count| count.parse::<u64>().ok()) {
        Some(instructions) if instructions > 0 => {
            Ok(Count { workload: workload.to_owned(), events, instructions })
        }
        _ => Err(format!("{workload}: no instruction was counted; is `{COUNTED}` a function of its own?")),
    }
}

/// The compiler, which decides on the instructions.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("{}, {}", version.unwrap_or_default(), std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_found_and_a_little_is_not() {
        let recorded = read("# head\nW0 10 1000\nW1 10 1000\n").expect("a record");
        let now = read("W0 10 1090\nW1 10 1110\nW2 10 5\n").expect("counts");
        let grown = compare(&recorded, &now);
        assert_eq!(grown, [&now[1]]);
        assert!(read("W0 ten 1000\n").is_err());
    }
}
