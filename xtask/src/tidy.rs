//! Checks that no compiler makes: how long a file is, what a text may not name, which way dependencies point.

use std::fs;
use std::path::{Path, PathBuf};

/// LIMIT: lines of a source file outside tests; a longer one is two ideas.
const LINES_MAX: usize = 600;

/// Folders that hold no text of ours.
const SKIPPED_FOLDERS: [&str; 3] = ["target", ".git", "node_modules"];

/// What each crate may use of this workspace. `None`: anything.
const MAY_USE: [(&str, Option<&[&str]>); 7] = [
    ("pattern-dsl", Some(&[])),
    ("engine", Some(&["pattern-dsl"])),
    ("rules", Some(&[])),
    ("service", Some(&["pattern-dsl", "engine", "rules"])),
    ("tests/oracle", Some(&["pattern-dsl"])),
    ("tests", None),
    ("xtask", Some(&[])),
];

/// Packages of the workspace, by the names that other crates use.
const PACKAGES: [&str; 7] =
    ["pattern-dsl", "engine", "rules", "service", "oracle", "tripline-tests", "xtask"];

/// Crates that bring a runtime, a network or a clock: not for what must be deterministic.
const WORLDLY: [&str; 9] =
    ["tokio", "async-std", "smol", "reqwest", "hyper", "axum", "chrono", "rdkafka", "rand"];

/// Crates that must be deterministic.
const SANS_IO: [&str; 2] = ["pattern-dsl", "engine"];

/// Prints every finding; true if there is none.
pub(crate) fn check(root: &Path) -> Result<bool, String> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        check_text(&name, &text, &mut findings);
    }
    for (folder, may_use) in MAY_USE {
        let name = format!("{folder}/Cargo.toml");
        let text = fs::read_to_string(root.join(&name)).map_err(|error| format!("{name}: {error}"))?;
        check_dependencies(&name, &text, may_use, SANS_IO.contains(&folder), &mut findings);
    }
    for finding in &findings {
        println!("tidy: {finding}");
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    Ok(findings.is_empty())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let fail = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let kind = entry.file_type().map_err(fail)?;
        if kind.is_file() {
            files.push(entry.path());
        } else if kind.is_dir() && !SKIPPED_FOLDERS.contains(&entry.file_name().to_string_lossy().as_ref()) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

fn check_text(name: &str, text: &str, findings: &mut Vec<String>) {
    let source = name.ends_with(".rs");
    if source && !is_test(name) && text.lines().count() > LINES_MAX {
        findings.push(format!("{name}: {} lines, at most {LINES_MAX}", text.lines().count()));
    }
    // Recorded data says what it says.
    if name.starts_with("tests/data/") && !name.ends_with(".cep") {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        if let Some(path) = machine_path(line) {
            findings.push(format!("{at}: a path of one machine, `{path}`"));
        }
        if source && unfinished(line) {
            findings.push(format!("{at}: unfinished code"));
        }
    }
}

fn is_test(name: &str) -> bool {
    name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs")
}

/// A folder of one machine, if the line names one. The needles are put together so that this file does not hold them.
fn machine_path(line: &str) -> Option<&'static str> {
    const HOMES: [&str; 5] = [
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("C:", "\\Users"),
    ];
    HOMES.into_iter().find(|home| {
        line.match_indices(home).any(|(at, _)| {
            // Inside a longer path or an address such a folder is no root.
            !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "._-}~/".contains(c))
        })
    })
}

fn unfinished(line: &str) -> bool {
    const MARKS: [&str; 4] =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    MARKS.iter().any(|mark| line.contains(mark))
}

fn check_dependencies(
    name: &str,
    manifest: &str,
    may_use: Option<&[&str]>,
    sans_io: bool,
    findings: &mut Vec<String>,
) {
    for dependency in dependencies(manifest) {
        if PACKAGES.contains(&dependency) && may_use.is_some_and(|names| !names.contains(&dependency)) {
            findings.push(format!("{name}: may not use `{dependency}`; dependencies point one way"));
        }
        if sans_io && WORLDLY.contains(&dependency) {
            findings.push(format!("{name}: `{dependency}` brings the world into a crate without I/O"));
        }
    }
}

/// The names in `[dependencies]` and `[build-dependencies]`, also those of `[dependencies.NAME]`. What only tests use
/// shapes nothing that ships.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default();
            inside = false;
            if let Some((before, name)) = header.rsplit_once("dependencies.") {
                if !before.ends_with("dev-") {
                    names.push(name);
                }
            } else {
                inside = header.ends_with("dependencies") && !header.ends_with("dev-dependencies");
            }
        } else if inside && !line.starts_with('#') && line.contains('=') {
            names.extend(line.split(['=', '.', ' ']).next());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check_text(name, text, &mut findings);
        findings
    }

    #[test]
    fn a_long_file_is_found_outside_tests_only() {
        let long = "\n".repeat(LINES_MAX + 1);
        assert_eq!(findings("engine/src/state.rs", &long).len(), 1);
        assert!(findings("engine/src/state/tests.rs", &long).is_empty());
        assert!(findings("tests/it/main.rs", &long).is_empty());
        assert!(findings("engine/src/state.rs", &"\n".repeat(LINES_MAX)).is_empty());
    }

    #[test]
    fn a_machine_path_is_found_and_an_address_is_not() {
        let path = format!("see {}me/somebody/x", "/ho");
        assert_eq!(findings("README.md", &path).len(), 1);
        assert!(findings("README.md", "GET /net/home/x and https://example.com/work/1").is_empty());
    }

    #[test]
    fn unfinished_code_is_found() {
        assert_eq!(findings("service/src/main.rs", &format!("// {}DO: later", "TO")).len(), 1);
        assert_eq!(findings("service/src/main.rs", &format!("    {}!()", "todo")).len(), 1);
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let manifest = "[package]\nname = \"engine\"\n[dependencies]\npattern-dsl = { workspace = true }\n\
                        service.workspace = true\ntokio = \"1\"\n[dev-dependencies]\noracle = { path = \"x\" }\n";
        let mut found = Vec::new();
        check_dependencies("engine/Cargo.toml", manifest, Some(&["pattern-dsl"]), true, &mut found);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn dependency_tables_are_read() {
        let manifest = "[dependencies.a]\npath = \"a\"\n[dev-dependencies.b]\npath = \"b\"\n[target.x.dependencies]\nc = \"1\"\n";
        assert_eq!(dependencies(manifest), ["a", "c"]);
    }
}
