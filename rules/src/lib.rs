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

/// The security pack over two recorded logs: one host's ssh log and a cloud account under attack.
pub fn demo() -> Demo {
    Demo {
        rules: pack!("security":
            "streams.cep",
            "brute_force_success.cep",
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
            ("user_guessing", 4),
            ("three_cut_offs", 13),
            ("login_then_sudo", 8),
            ("session_stays_open", 4),
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

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/security");
        let mut on_disk: Vec<_> = std::fs::read_dir(folder)
            .expect("the pack's folder is part of the source")
            .map(|entry| entry.expect("readable entry").file_name().to_string_lossy().into_owned())
            .collect();
        let mut embedded: Vec<_> = demo().rules.iter().map(|(file, _)| (*file).to_owned()).collect();
        on_disk.sort_unstable();
        embedded.sort_unstable();
        assert_eq!(on_disk, embedded);
    }

    #[test]
    fn every_rule_has_two_tests_one_of_them_a_near_miss() {
        for (file, text) in demo().rules {
            let rules = text.lines().filter(|line| line.starts_with("rule ")).count();
            let tests = text.lines().filter(|line| line.starts_with("  test ")).count();
            let misses = text.lines().filter(|line| line.starts_with("  test \"near miss")).count();
            assert!(misses >= rules && tests >= 2 * rules, "{file}: {tests} tests, {misses} near misses");
        }
    }

    #[test]
    fn the_data_is_gzip() {
        for (stream, bytes) in demo().data {
            assert!(bytes.starts_with(&[0x1f, 0x8b]), "{stream}");
        }
    }
}
