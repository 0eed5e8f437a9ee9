//! Rule packs shipped with Tripline.
//!
//! A pack is a folder of rule files with one file, `streams.cep`, that declares the streams they read; every rule carries
//! its tests. This crate only embeds text and data: it parses nothing and knows no engine, so that `tripline demo` works
//! from the binary alone. That the rules compile and their tests pass is checked by the workspace's tests.

/// What `tripline demo` shows: rules, events for them, and how many alerts must come of it.
pub struct Demo {
    /// Rule files as (file name, text), the file with the streams first.
    pub rules: &'static [(&'static str, &'static str)],
    /// Events as (stream, gzipped JSON lines).
    pub data: &'static [(&'static str, &'static [u8])],
    /// How many alerts each rule raises on this data. The numbers were computed without a rule engine.
    pub expected_alerts: &'static [(&'static str, usize)],
}

macro_rules! pack {
    ($folder:literal: $($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../", $folder, "/", $file)))),*]
    };
}

/// What of the security pack reads two recorded logs: one host's ssh log and a cloud account under attack.
pub fn demo() -> Demo {
    Demo {
        rules: pack!("security":
            "streams.cep",
            "backdoor_admin.cep",
            "brute_force_success.cep",
            "burst_over.cep",
            "flow_log_removed.cep",
            "left_shared.cep",
            "login_then_sudo.cep",
            "new_console_password_used.cep",
            "permission_probing.cep",
            "role_forced.cep",
            "secrets_looted.cep",
            "session_stays_open.cep",
            "three_cut_offs.cep",
            "user_guessing.cep",
        ),
        data: &[
            ("auth", include_bytes!("../../tests/data/ssh-auth/events.jsonl.gz")),
            ("cloudtrail", include_bytes!("../../tests/data/cloudtrail-attack/events.jsonl.gz")),
        ],
        expected_alerts: &[
            ("brute_force_success", 1),
            ("burst_over", 10),
            ("user_guessing", 4),
            ("three_cut_offs", 13),
            ("login_then_sudo", 8),
            ("session_stays_open", 4),
            ("backdoor_admin", 1),
            ("new_console_password_used", 1),
            ("permission_probing", 2),
            ("secrets_looted", 2),
            ("flow_log_removed", 1),
            ("left_shared", 1),
            ("volume_snapshot_left_shared", 0),
            ("image_left_shared", 0),
            ("role_forced", 5),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    const ANSWERS: [&str; 2] = [
        include_str!("../../tests/data/ssh-auth/answers.json"),
        include_str!("../../tests/data/cloudtrail-attack/answers.json"),
    ];

    /// The number behind `"alerts":` of a question.
    fn answer(question: &str) -> Option<usize> {
        let id = format!("\"id\": \"{question}\"");
        let found = ANSWERS.iter().find_map(|text| text.split_once(&id))?.1;
        let number = found.split_once("\"alerts\": ")?.1;
        number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    fn rule_names() -> Vec<&'static str> {
        let lines = demo().rules.iter().flat_map(|(_, text)| text.lines());
        lines.filter_map(|line| line.strip_prefix("rule ")?.split_whitespace().next()).collect()
    }

    #[test]
    fn every_rule_has_an_expected_number_of_alerts() {
        let mut expected: Vec<_> = demo().expected_alerts.iter().map(|(rule, _)| *rule).collect();
        let mut names = rule_names();
        expected.sort_unstable();
        names.sort_unstable();
        assert_eq!(expected, names);
    }

    #[test]
    fn expected_numbers_are_the_recorded_answers() {
        for (rule, alerts) in demo().expected_alerts {
            if let Some(answer) = answer(rule) {
                assert_eq!(answer, *alerts, "{rule}");
            } else {
                assert_eq!(*alerts, 0, "{rule} has no recorded answer");
            }
        }
    }

    /// The rule files of a pack as (name, text), sorted.
    fn files(pack: &Path) -> Vec<(String, String)> {
        let entries = std::fs::read_dir(pack).expect("the pack's folder is part of the source");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("readable entry").path())
            .filter(|path| path.extension().is_some_and(|suffix| suffix == "cep"))
            .map(|path| {
                let name = path.file_name().expect("a file").to_string_lossy().into_owned();
                (name, std::fs::read_to_string(&path).expect("rules are text"))
            })
            .collect();
        files.sort_unstable();
        files
    }

    /// The folders with rules.
    fn packs() -> Vec<PathBuf> {
        let entries = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("this crate's folder");
        let folders = entries.map(|entry| entry.expect("readable entry").path());
        folders.filter(|folder| folder.join("streams.cep").is_file()).collect()
    }

    #[test]
    fn every_file_that_reads_a_recorded_stream_is_embedded() {
        let streams: Vec<_> = demo().data.iter().map(|(stream, _)| format!(" {stream} {{")).collect();
        let mut on_disk = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("security"));
        on_disk.retain(|(_, text)| streams.iter().any(|stream| text.contains(stream)));
        let mut embedded: Vec<_> =
            demo().rules.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        embedded.sort_unstable();
        assert_eq!(on_disk, embedded);
    }

    #[test]
    fn every_rule_has_two_tests_one_of_them_a_near_miss() {
        let packs = packs();
        assert!(packs.len() >= 7, "{packs:?}");
        for (file, text) in packs.iter().flat_map(|pack| files(pack)) {
            let rules = text.lines().filter(|line| line.starts_with("rule ")).count();
            let tests = text.lines().filter(|line| line.starts_with("  test ")).count();
            let misses = text.lines().filter(|line| line.starts_with("  test \"near miss")).count();
            assert!(misses >= rules && tests >= 2 * rules, "{file}: {tests} tests, {misses} near misses");
        }
    }

    #[test]
    fn every_rule_says_what_it_is_and_whose() {
        for (file, text) in packs().iter().flat_map(|pack| files(pack)) {
            let rules = text.lines().filter(|line| line.starts_with("rule ")).count();
            let uses = |line: &&str| line.starts_with("rule ") && line.contains(" uses ");
            let templates = text.lines().filter(|line| line.starts_with("template ")).count();
            let bodies = rules - text.lines().filter(uses).count() + templates;
            for clause in ["title", "about", "owner", "tags"] {
                let there = text.lines().filter(|line| line.starts_with(&format!("  {clause} "))).count();
                assert_eq!(there, bodies, "{file}: {clause}");
            }
            let severities = text.lines().filter(|line| line.starts_with("  severity ")).count();
            assert_eq!(severities, rules, "{file}: severity");
        }
    }

    #[test]
    fn the_data_is_gzip() {
        for (stream, bytes) in demo().data {
            assert!(bytes.starts_with(&[0x1f, 0x8b]), "{stream}");
        }
    }
}
