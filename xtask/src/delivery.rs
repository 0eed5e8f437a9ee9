//! What delivery costs, as a table: on a Kafka node that is started for it and gone afterwards, and in the embedded service.
//! Its answers are verified, alert by alert; how fast it was is only printed.

use crate::bench::{cost, failed_to_start, field};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Keys of a large state, unless `--keys` says otherwise.
const KEYS: &str = "5000000";

/// One benchmark: its arguments, and those of `--quick`. `@` is the node, `#` the number of keys.
type Part = (&'static str, &'static [&'static str], &'static [&'static str]);

const PARTS: [Part; 8] = [
    ("kafka", &["--kafka", "@"], &["--kafka", "@", "--events", "200000", "--rounds", "1"]),
    ("tasks", &["--kafka", "@"], &["--kafka", "@", "--events", "200000", "--rounds", "1"]),
    ("lag", &["--kafka", "@"], &["--kafka", "@", "--events", "100000"]),
    ("ingest", &[], &["--events", "300000", "--rounds", "1"]),
    ("pause", &["--events", "#"], &["--events", "100000"]),
    ("recovery", &["--events", "#"], &["--events", "100000"]),
    ("keys", &["--full"], &["--events", "300000", "--rounds", "1"]),
    ("json", &["--threads", "2"], &["--threads", "2", "--events", "100000"]),
];

/// Measures; false if an answer is wrong.
pub(crate) fn run(
    root: &Path,
    target: &Path,
    args: &[String],
    build: impl FnOnce() -> Result<PathBuf, String>,
) -> Result<bool, String> {
    let (mut quick, mut json, mut keys, mut only) = (false, false, KEYS, Vec::new());
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match arg {
            "--quick" => quick = true,
            "--json" => json = true,
            "--keys" => keys = rest.next().ok_or("bench delivery: --keys takes a number")?,
            name if PARTS.iter().any(|(part, ..)| *part == name) => only.push(name),
            other => {
                return Err(format!(
                    "bench delivery: `{other}` is none of --quick, --json, --keys N, {}",
                    PARTS.map(|(name, ..)| name).join(", ")
                ));
            }
        }
    }
    let parts = || PARTS.iter().filter(|(name, ..)| only.is_empty() || only.contains(name));
    let binary = build()?;
    let node = match parts().any(|(_, arguments, _)| arguments.contains(&"@")) {
        true => Some(Node::start(root, target)?),
        false => None,
    };
    let mut text = String::new();
    let mut say = |line: String| {
        println!("{line}");
        text.push_str(&line);
        text.push('\n');
    };
    if !json {
        say("| cost | figure | of what | goal | met | load | worked out from |\n|---|---|---|---|---|---|---|".to_owned());
    }
    let mut right = true;
    for (name, full, small) in parts() {
        let arguments = if quick { *small } else { *full };
        let given = arguments.iter().map(|argument| match *argument {
            "@" => node.as_ref().map_or("", |node| &node.bootstrap),
            "#" => keys,
            other => other,
        });
        let mut command = Command::new(&binary);
        command.args(["bench", name, "--json"]).args(given);
        let output = command.output().map_err(|error| failed_to_start(&binary, &error))?;
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        right &= output.status.success();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            say(if json { line.to_owned() } else { row(line, output.status.success()) });
        }
    }
    let path = target.join(if json { "delivery.jsonl" } else { "delivery.md" });
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("written to {}", path.display());
    Ok(right)
}

/// A row: the figure, and all that it was worked out from.
fn row(line: &str, is_right: bool) -> String {
    let known = ["bench", "figure", "unit", "goal", "met", "load"];
    let names = line.split("\"").skip(1).step_by(2).filter(|name| line.contains(&format!("\"{name}\":")));
    let detail = names.filter(|name| !known.contains(name));
    let detail: Vec<String> =
        detail.map(|name| format!("{name} {}", short(field(line, name).unwrap_or("")))).collect();
    format!("{} {} |", cost(line, is_right), detail.join(", "))
}

/// Numbers with three digits after the point.
fn short(number: &str) -> String {
    match number.parse::<f64>() {
        Ok(value) if value.fract() != 0.0 => format!("{value:.3}"),
        Ok(value) => format!("{value:.0}"),
        Err(_) => number.to_owned(),
    }
}

/// A Kafka node that goes with this process.
struct Node {
    script: PathBuf,
    folder: PathBuf,
    bootstrap: String,
}

impl Node {
    fn start(root: &Path, target: &Path) -> Result<Self, String> {
        let (script, folder) = (root.join("xtask/kafka"), target.join("kafka-bench"));
        // What an earlier run has left would be read again.
        let run = |verb: &str| {
            let mut command = Command::new(&script);
            command.arg(verb).arg(&folder).env("KAFKA_WITH", std::process::id().to_string());
            command.output().map_err(|error| failed_to_start(&script, &error))
        };
        run("wipe")?;
        let output = run("start")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match said.trim().strip_prefix("bootstrap=") {
            Some(bootstrap) => Ok(Self { bootstrap: bootstrap.to_owned(), script, folder }),
            None => Err(format!("no Kafka node: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("wipe").arg(&self.folder).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_what_a_figure_was_worked_out_from() {
        let line = "{\"bench\":\"lag\",\"figure\":0.5,\"unit\":\"ms\",\"goal\":225.0,\"met\":true,\"load\":1.5,\"events\":10.0,\"p50_ms\":1.23456}";
        assert_eq!(row(line, true), "| lag | 0.500 | ms | 225.0 | yes | 1.5 | events 10, p50_ms 1.235 |");
    }
}
