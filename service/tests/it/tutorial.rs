//! The tutorial's commands work as printed, one after the other, and print what it shows.
//!
//! ```` ```sh ```` blocks run in one shell in an empty folder; a `text` block right behind one is what it must print, where a
//! line `...` stands for any lines. `sh build` is how a reader gets the binary.

use std::path::Path;
use std::process::Command;

/// A block of commands, with what it must print.
struct Step {
    line: usize,
    commands: String,
    shown: Option<String>,
}

fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = document.lines().enumerate();
    let mut after_commands = false;
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            after_commands &= line.is_empty();
            continue;
        };
        let block: String =
            lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").map(|l| format!("{l}\n")).collect();
        match (info, steps.last_mut()) {
            ("text", Some(step)) if after_commands => step.shown = Some(block),
            ("sh", _) => steps.push(Step { line: at + 1, commands: block, shown: None }),
            _ => {}
        }
        after_commands = info == "sh";
    }
    steps
}

/// Does the text say what is shown; `...` stands for any lines.
fn fits(shown: &[&str], said: &[&str]) -> bool {
    match (shown, said) {
        ([], []) => true,
        (["...", rest @ ..], _) => (0..=said.len()).any(|skipped| fits(rest, &said[skipped..])),
        ([shown, rest @ ..], [said, others @ ..]) => {
            shown.trim_end() == said.trim_end() && fits(rest, others)
        }
        _ => false,
    }
}

#[test]
fn the_tutorial_does_what_it_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md");
    let steps = steps(&std::fs::read_to_string(path).expect("the tutorial"));
    assert!(steps.len() > 8, "only {} blocks of commands", steps.len());
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = String::from("set -e\n");
    for (number, step) in steps.iter().enumerate() {
        let commands = &step.commands;
        script.push_str(&format!("exec >\"$OUT/{number}\"\n{commands}"));
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_tripline")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let (out, work) = (folder.path().join("out"), folder.path().join("work"));
    for made in [&out, &work] {
        std::fs::create_dir(made).expect("a new folder");
    }
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&work)
        .env("PATH", path)
        .env("OUT", &out)
        .output()
        .expect("bash");
    let mut wrong = String::new();
    for (number, step) in steps.iter().enumerate() {
        let said = std::fs::read_to_string(out.join(number.to_string())).unwrap_or_default();
        if let Some(shown) = &step.shown
            && !fits(&shown.lines().collect::<Vec<_>>(), &said.lines().collect::<Vec<_>>())
        {
            wrong.push_str(&format!("docs/tutorial.md:{}\n{}prints\n{said}", step.line, step.commands));
        }
    }
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{wrong}\n{errors}");
    assert!(wrong.is_empty(), "{wrong}");
}
