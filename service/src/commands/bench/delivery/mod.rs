//! What delivery costs: the whole service, as a process of its own where there is something to deliver to, beside what limits
//! it. Every alert is compared with those that a plain loop finds; how fast it was is only printed.

mod ingest;
mod kafka;
mod lag;
mod node;
mod recovery;
mod served;
mod tasks;

pub(super) use ingest::run as ingest;
pub(super) use kafka::run as kafka;
pub(super) use lag::run as lag;
pub(super) use recovery::run as recovery;
pub(super) use tasks::run as tasks;

use super::BenchArgs;
use super::events::{BASE_MS, Generator, Row};
use super::json::Lines;
use super::workload::Workload;
use crate::console::say;
use crate::failure::Failure;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Keys of the events.
const KEYS: u64 = 10_000;
/// Five of nine fields are read, and both steps test two of them.
const RULE: &str = "rule pair {
  by key
  match within 10m {
    ev as a where amount < 10 and country != \"NG\"
    then first ev as b where amount > 900 and type != \"logout\"
  }
  overlap all
  reason \"{key}\"
}
";

/// The stream of the events; `how` says what its time is and where it comes from.
fn stream(how: &str) -> String {
    format!(
        "stream ev {{ {how} key key fields {{ key: string, type: string, amount: float, country: string }} }}\n"
    )
}

/// The rule with its stream.
fn pair_of(how: &str) -> String {
    stream(how) + RULE
}

/// Events of W1's generator, the same as lines of JSON, and the alerts that they raise.
fn events_of(args: &BenchArgs, events: u64) -> Result<(Vec<Row>, Lines, Alerts), Failure> {
    let workload = Workload { number: 1, parameter: 0, name: "delivery".to_owned(), keys: KEYS };
    let mut generator = Generator::new(&workload, args.seed()?);
    let rows: Vec<Row> = (0..events).map(|_| generator.row()).collect();
    let (lines, expected) = (Lines::new(&rows), Alerts::expected(rows.iter()));
    Ok((rows, lines, expected))
}

/// Alerts by key and time, each as often as it is raised.
#[derive(Debug, Default, PartialEq, Eq)]
struct Alerts {
    count: u64,
    times: BTreeMap<(String, String), u64>,
}

impl Alerts {
    /// Those of a plain loop over events in order of time.
    fn expected<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        const WITHIN_MS: i64 = 600_000;
        let mut open: Vec<VecDeque<i64>> = vec![VecDeque::new(); KEYS as usize];
        let mut found = Self::default();
        for row in rows {
            let open = &mut open[row.key as usize];
            if row.amount < 10.0 && row.country() != "NG" {
                open.push_back(row.ts);
            } else if row.amount > 900.0 && row.kind() != "logout" {
                let raised = open.drain(..).filter(|start| row.ts - start <= WITHIN_MS).count();
                let time = crate::decode::time::format_rfc3339(row.ts * 1_000);
                (0..raised).for_each(|_| found.add(format!("card-{:06}", row.key), time.clone()));
            }
        }
        found
    }

    fn add(&mut self, key: String, time: String) {
        self.count += 1;
        *self.times.entry((key, time)).or_default() += 1;
    }
}

/// What a reader has found of what should be there.
#[derive(Debug, Default)]
struct Reader {
    found: Alerts,
    ids: BTreeSet<String>,
    doubled: u64,
}

impl Reader {
    fn add(&mut self, id: String, key: String, time: String) {
        if self.ids.insert(id) {
            self.found.add(key, time);
        } else {
            self.doubled += 1;
        }
    }

    /// Compares; true if none is missing, none doubled, and no other was raised.
    fn is_right(&self, what: &str, expected: &Alerts) -> bool {
        let right = self.doubled == 0 && self.found == *expected;
        if !right {
            let missing: u64 = lacking(expected, &self.found);
            let more: u64 = lacking(&self.found, expected);
            say!(
                "wrong: {what}: {} alerts of {}, {missing} missing, {more} that should not be, {} doubled",
                self.found.count,
                expected.count,
                self.doubled
            );
        }
        right
    }
}

/// How many of one are not in the other.
fn lacking(all: &Alerts, other: &Alerts) -> u64 {
    let missing = |(key, count): (&(String, String), &u64)| {
        count.saturating_sub(other.times.get(key).copied().unwrap_or(0))
    };
    all.times.iter().map(missing).sum()
}

/// The event of a time as alerts show it: its place among all.
fn place_of(time: &str) -> Option<usize> {
    let micros = crate::decode::time::parse_rfc3339(time.as_bytes())?;
    usize::try_from(micros / 1_000 - BASE_MS).ok()
}

/// The value in the middle; 0 of none.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_doubled_or_too_many_is_wrong() {
        let mut expected = Alerts::default();
        let alert = |number: u32| (format!("a{number}"), "card-000001".to_owned(), format!("t{number}"));
        (0..3).for_each(|number| expected.add(alert(number).1, alert(number).2));
        let of = |numbers: &[u32]| {
            let mut reader = Reader::default();
            for (id, key, time) in numbers.iter().map(|number| alert(*number)) {
                reader.add(id, key, time);
            }
            reader.is_right("test", &expected)
        };
        assert!(of(&[0, 1, 2]));
        assert!(!of(&[0, 2]), "missing");
        assert!(!of(&[0, 1, 2, 2]), "doubled");
        assert!(!of(&[0, 1, 2, 3]), "too many");
        assert!(!of(&[0, 1, 3]), "another");
    }

    #[test]
    fn the_place_of_an_event_is_in_its_time() {
        let time = crate::decode::time::format_rfc3339((BASE_MS + 41_007) * 1_000);
        assert_eq!(place_of(&time), Some(41_007));
    }
}
