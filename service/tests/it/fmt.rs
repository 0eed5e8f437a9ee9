//! `fmt`: what it rewrites, what it leaves alone, and what it tells.

use crate::command::{err, folder, out, tripline};
use std::path::Path;

const LOOSE: &str = "rule  a{ by k\nmatch within 1m{ s as x   then s as y }   # tail\n}\n";
const NEAT: &str = "rule a {\n  by k\n  match within 1m { s as x then s as y }\n}\n";

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("read")
}

#[test]
fn files_are_rewritten_once_and_named() {
    let f = folder(&[("a.cep", LOOSE), ("b.cep", NEAT), ("notes.txt", LOOSE)]);
    let first = tripline(f.path(), &["fmt", "."], "");
    assert_eq!((first.status.code(), out(&first).as_str()), (Some(0), "./a.cep\n"), "{}", err(&first));
    assert!(err(&first).contains("1 of 2 files formatted"), "{}", err(&first));
    let shaped = read(f.path(), "a.cep");
    let tail = shaped.lines().position(|line| line.contains("# tail"));
    assert!(tail.is_some() && shaped.starts_with("rule a {\n  by k\n"), "{shaped}");
    assert_eq!(read(f.path(), "notes.txt"), LOOSE);
    let second = tripline(f.path(), &["fmt", ".", "a.cep"], "");
    assert_eq!((second.status.code(), out(&second).as_str()), (Some(0), ""), "{}", err(&second));
    assert_eq!(read(f.path(), "a.cep"), shaped);
    let left: Vec<_> = std::fs::read_dir(f.path()).expect("folder").collect();
    assert_eq!(left.len(), 3, "nothing is left beside the files");
}

#[cfg(unix)]
#[test]
fn mode_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let f = folder(&[("a.cep", LOOSE)]);
    let file = f.path().join("a.cep");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("mode");
    symlink("a.cep", f.path().join("link.cep")).expect("link");
    let output = tripline(f.path(), &["fmt", "link.cep"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_ne!(read(f.path(), "a.cep"), LOOSE);
    assert_eq!(std::fs::metadata(&file).expect("file").permissions().mode() & 0o777, 0o640);
    let link = std::fs::symlink_metadata(f.path().join("link.cep")).expect("link");
    assert!(link.file_type().is_symlink());
}

#[test]
fn check_shows_the_difference_and_changes_nothing() {
    let f = folder(&[("a.cep", LOOSE)]);
    let output = tripline(f.path(), &["fmt", "--check", "a.cep"], "");
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let shown = out(&output);
    assert!(shown.starts_with("a.cep:1\n-rule  a{ by k\n"), "{shown}");
    assert!(shown.contains("\n+rule a {\n+  by k\n"), "{shown}");
    assert!(err(&output).contains("1 of 1 file would be formatted"), "{}", err(&output));
    assert_eq!(read(f.path(), "a.cep"), LOOSE);
    tripline(f.path(), &["fmt", "a.cep"], "");
    let output = tripline(f.path(), &["fmt", "--check", "a.cep"], "");
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""), "{}", err(&output));
}

#[test]
fn a_file_with_errors_stays_and_the_others_are_done() {
    let broken = "rule a { by k match within { s } }\n";
    let f = folder(&[("a.cep", broken), ("b.cep", LOOSE), ("c.cep", "")]);
    std::fs::write(f.path().join("c.cep"), [0x72, 0xff, 0x0a]).expect("write");
    let output = tripline(f.path(), &["fmt", "."], "");
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(err(&output).contains("error[E101]") && err(&output).contains("./a.cep: not touched"));
    assert!(err(&output).contains("./c.cep: "), "{}", err(&output));
    assert_eq!(read(f.path(), "a.cep"), broken);
    assert_ne!(read(f.path(), "b.cep"), LOOSE);
    let alone = tripline(f.path(), &["fmt", "a.cep"], "");
    assert_eq!(alone.status.code(), Some(1), "{}", err(&alone));
}

#[test]
fn stdin_goes_to_stdout() {
    let f = folder(&[("auth.jsonl", "{}\n")]);
    let output = tripline(f.path(), &["fmt", "-"], LOOSE);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let again = tripline(f.path(), &["fmt", "-"], &out(&output));
    assert_eq!(out(&again), out(&output));
    assert_eq!(tripline(f.path(), &["fmt", "-", "--check"], LOOSE).status.code(), Some(1));
    assert_eq!(tripline(f.path(), &["fmt", "-"], "rule {").status.code(), Some(1));
    // What is no rule file is never rewritten.
    assert_eq!(tripline(f.path(), &["fmt", "auth.jsonl"], "").status.code(), Some(2));
    assert_eq!(tripline(f.path(), &["fmt", "missing.cep"], "").status.code(), Some(2));
}

#[test]
fn shipped_rules_are_formatted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = tripline(&root, &["fmt", "--check", "rules"], "");
    assert_eq!(output.status.code(), Some(0), "run `tripline fmt rules`:\n{}", out(&output));
}
