//! Runs the recorded event sets through the binary and compares the alerts with the recorded answers.
//!
//! The rules are this repository's (`tests/data/SET/rules.cep`); events, answers and the comparing script come from the
//! folder given, so that sets which may not be copied can stay where they are.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// Folder and further arguments of each set.
const SETS: [(&str, &[&str]); 4] = [
    ("ssh-auth", &[]),
    ("cloudtrail-attack", &[]),
    ("traffic-fines", &[]),
    ("machine-sensors", &["--split-by", "stream"]),
];

/// What became of one question.
struct Answer {
    question: String,
    verdict: Verdict,
    detail: String,
}

#[derive(PartialEq)]
enum Verdict {
    Same,
    Differs,
    NoRule,
}

/// Prints a table of all questions; true if none differs.
pub(crate) fn compare(folder: Option<&Path>) -> Result<bool, String> {
    let rules = super::root().join("tests/data");
    let folder = match folder {
        Some(folder) => fs::canonicalize(folder).map_err(|error| format!("{}: {error}", folder.display()))?,
        None => rules.clone(),
    };
    let binary = super::build_binary(&["--package", "service", "--profile", "release"])?;
    let (mut same, mut differs, mut missing) = (0, 0, Vec::new());
    println!("{:<20} {:<28} {:<8} detail", "set", "question", "verdict");
    for (set, options) in SETS {
        if !folder.join(set).join("events.jsonl.gz").is_file() {
            println!("{set:<20} {:<28} {:<8} not in this folder", "-", "-");
            continue;
        }
        for Answer { question, verdict, detail } in answers(&binary, &rules, &folder, set, options)? {
            let word = match verdict {
                Verdict::Same => "ok",
                Verdict::Differs => "DIFFERS",
                Verdict::NoRule => "no rule",
            };
            println!("{set:<20} {question:<28} {word:<8} {detail}");
            match verdict {
                Verdict::Same => same += 1,
                Verdict::Differs => differs += 1,
                Verdict::NoRule => missing.push(format!("{set}/{question}")),
            }
        }
    }
    println!("{same} as recorded, {differs} differ, {} without a rule", missing.len());
    if !missing.is_empty() {
        println!("without a rule: {}", missing.join(", "));
    }
    if same + differs == 0 {
        return Err(format!("no event set in {}", folder.display()));
    }
    Ok(differs == 0)
}

fn answers(
    binary: &Path,
    rules: &Path,
    folder: &Path,
    set: &str,
    options: &[&str],
) -> Result<Vec<Answer>, String> {
    let rules = rules.join(set).join("rules.cep");
    let text = fs::read_to_string(&rules).map_err(|error| format!("{}: {error}", rules.display()))?;
    let mut tripline = Command::new(binary)
        .arg("run")
        .arg(&rules)
        .arg(folder.join(set).join("events.jsonl.gz"))
        .args(options)
        .arg("--json")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    let alerts = tripline.stdout.take().ok_or("the binary's output is not open")?;
    let mut script = Command::new("python3")
        .arg(folder.join("compare.py"))
        .arg(folder.join(set).join("answers.json"))
        .stdin(Stdio::from(alerts))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start python3: {error}"))?;
    let mut report = String::new();
    let mut output = script.stdout.take().ok_or("the script's output is not open")?;
    output.read_to_string(&mut report).map_err(|error| format!("compare.py: {error}"))?;
    let code = script.wait().map_err(|error| format!("compare.py: {error}"))?.code();
    let ran = tripline.wait().map_err(|error| format!("tripline: {error}"))?.success();
    let mut answers: Vec<_> = report.lines().filter_map(|line| answer(line, &text)).collect();
    if answers.is_empty() || !matches!(code, Some(0 | 1 | 3)) {
        return Err(format!("compare.py could not judge {set}"));
    }
    if !ran {
        let detail = "the run itself failed, see above".to_owned();
        answers.push(Answer { question: "(run)".to_owned(), verdict: Verdict::Differs, detail });
    }
    Ok(answers)
}

/// One line of the script's report. It cannot tell a silent rule from none; the rule file can.
fn answer(line: &str, rules: &str) -> Option<Answer> {
    let (question, detail) = line.split_once(": ")?;
    let has_rule = rules
        .lines()
        .filter_map(|line| line.strip_prefix("rule "))
        .any(|rest| rest.split([' ', '{']).next() == Some(question));
    let verdict = if detail.starts_with("ok,") || (has_rule && detail.ends_with("expected 0")) {
        Verdict::Same
    } else if has_rule {
        Verdict::Differs
    } else {
        Verdict::NoRule
    };
    let detail = detail.trim_start_matches("ok, ").trim_start_matches("DIFFERS, ");
    let detail = match verdict {
        Verdict::Differs => detail.replace("no alert or no rule", "no alert"),
        Verdict::NoRule => detail.replace("no alert or no rule, ", ""),
        Verdict::Same => detail.to_owned(),
    };
    Some(Answer { question: question.to_owned(), verdict, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "rule loud { }\nrule silent{\n}\n";

    fn verdict(line: &str) -> Verdict {
        answer(line, RULES).expect("a line of the report").verdict
    }

    #[test]
    fn a_silent_rule_is_not_a_missing_one() {
        assert!(verdict("silent: no alert or no rule, expected 3") == Verdict::Differs);
        assert!(verdict("silent: no alert or no rule, expected 0") == Verdict::Same);
        assert!(verdict("absent: no alert or no rule, expected 3") == Verdict::NoRule);
    }

    #[test]
    fn counts_are_judged_by_the_script() {
        assert!(verdict("loud: ok, 4 alerts") == Verdict::Same);
        assert!(verdict("loud: DIFFERS, 4 alerts, expected 5") == Verdict::Differs);
    }
}
