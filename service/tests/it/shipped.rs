//! What ships: the rule pack passes its own tests, and the recorded sets give the answers that plain loops computed.

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

#[test]
fn the_security_pack_checks_and_passes_its_tests() {
    let pack = root().join("rules/security");
    for command in ["check", "test"] {
        let (fine, said) = tripline(&[Path::new(command), &pack]);
        assert!(fine, "{command}: {}", String::from_utf8_lossy(&said));
    }
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
    for (set, unsaid) in [("ssh-auth", "burst_over"), ("cloudtrail-attack", "backdoor_admin")] {
        let lines = answers(set);
        assert!(lines.len() >= 6, "{set}: {lines:?}");
        for line in lines {
            let question = line.split(':').next().unwrap_or_default();
            assert!(question == unsaid || line.contains(": ok,"), "{set}: {line}");
        }
    }
}
