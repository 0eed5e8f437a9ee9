//! What ships: the rule packs pass their own tests, and the recorded sets give the answers that plain loops computed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn tripline(arguments: &[&Path]) -> (bool, Vec<u8>) {
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("the binary starts");
    (output.status.success(), output.stdout)
}

/// The folders under `rules/` with rule files.
fn packs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("rules")).expect("the packs' folder");
    let folders = entries.map(|entry| entry.expect("readable entry").path());
    let mut packs: Vec<_> = folders.filter(|folder| folder.join("streams.cep").is_file()).collect();
    packs.sort_unstable();
    packs
}

#[test]
fn every_pack_checks_by_itself_and_passes_its_tests() {
    let packs = packs();
    assert!(packs.iter().any(|pack| pack.ends_with("security")), "{packs:?}");
    for pack in packs {
        for command in ["check", "test"] {
            let (fine, said) = tripline(&[Path::new(command), &pack]);
            assert!(fine, "{command} {}: {}", pack.display(), String::from_utf8_lossy(&said));
        }
    }
}

/// No two packs declare one name.
#[test]
fn all_packs_check_as_one_set() {
    let (fine, said) = tripline(&[Path::new("check"), &root().join("rules")]);
    assert!(fine, "{}", String::from_utf8_lossy(&said));
}

/// Runs a set's rules; gives the lines of `compare.py`, one a question.
fn answers(set: &str) -> Vec<String> {
    let data = root().join("tests/data");
    let folder = data.join(set);
    let (fine, alerts) = tripline(&[
        Path::new("run"),
        &folder.join("rules.cep"),
        &folder.join("events.jsonl.gz"),
        Path::new("--json"),
    ]);
    assert!(fine, "{set} runs");
    let mut compare = Command::new("python3")
        .arg(data.join("compare.py"))
        .arg(folder.join("answers.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    compare.stdin.take().expect("piped").write_all(&alerts).expect("compare.py reads");
    let output = compare.wait_with_output().expect("compare.py ends");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn recorded_sets_give_the_computed_answers() {
    for (set, questions) in [("ssh-auth", 6), ("cloudtrail-attack", 7)] {
        let lines = answers(set);
        assert_eq!(lines.len(), questions, "{set}: {lines:?}");
        for line in lines {
            assert!(line.contains(": ok,"), "{set}: {line}");
        }
    }
}
