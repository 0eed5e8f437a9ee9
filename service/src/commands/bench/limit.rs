//! The limit that the matcher is compared with: each workload as a loop written by hand, without an engine.
//!
//! It knows its workload, its keys are numbers, and it keeps nothing that this one workload does not need. It has to give the
//! same matches, so it is also a second opinion where no answer is published.

use super::events::{BASE_MS, Row, TYPES};
use super::workload::Workload;
use std::collections::VecDeque;

const MINUTE_MS: i64 = 60_000;

/// Matches, and their checksum whatever their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) matches: u64,
    pub(super) checksum: u64,
}

impl Found {
    /// A match from its first to its last event (of an absence: to its first).
    fn add(&mut self, first_ms: i64, last_ms: i64) {
        let ends = (first_ms - BASE_MS).wrapping_mul(1_000_003).wrapping_add(last_ms - BASE_MS);
        let mixed = (ends as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ ((last_ms as u64) << 7);
        self.checksum = self.checksum.wrapping_add(mixed);
        self.matches += 1;
    }
}

/// The workload's matches.
pub(super) fn find(workload: &Workload, rows: impl Iterator<Item = Row>) -> Found {
    let keys = workload.keys as usize;
    match workload.number {
        0 => large(rows),
        1 => low_high_high(rows, keys, |row| row.amount < 10.0, |row| row.amount > 900.0),
        2 => contiguous(rows, keys),
        3 => login_transfers_withdraw(rows, keys),
        4 => every_combination(rows, workload.parameter as i64),
        5 => unconfirmed(rows, keys),
        6 => many_thresholds(rows, keys, workload.parameter as usize),
        _ => many_merchants(rows, keys, workload.parameter as usize),
    }
}

/// The number of a type.
fn kind(name: &str) -> u8 {
    TYPES.iter().position(|known| *known == name).unwrap_or(TYPES.len()) as u8
}

fn large(rows: impl Iterator<Item = Row>) -> Found {
    let mut found = Found::default();
    for row in rows.filter(|row| row.amount > 900.0) {
        found.add(row.ts, row.ts);
    }
    found
}

/// Starts of one key, oldest first.
#[derive(Debug, Clone, Default)]
struct Starts {
    times: Vec<i64>,
    /// So many of them, from the front, have had their second step.
    armed: usize,
}

impl Starts {
    /// Those that have had their second step take `ts` as their last.
    fn complete(&mut self, ts: i64, within: i64, found: &mut Found) {
        for start in self.times.drain(..self.armed).filter(|start| ts - start <= within) {
            found.add(start, ts);
        }
        self.armed = 0;
    }

    fn arm(&mut self) {
        self.armed = self.times.len();
    }
}

/// An event that is low, then the next two that are high, within 10 minutes.
pub(super) fn low_high_high(
    rows: impl Iterator<Item = Row>,
    keys: usize,
    low: impl Fn(&Row) -> bool,
    high: impl Fn(&Row) -> bool,
) -> Found {
    let mut found = Found::default();
    let mut open = vec![Starts::default(); keys];
    for row in rows {
        if low(&row) {
            open[row.key as usize].times.push(row.ts);
        } else if high(&row) {
            let starts = &mut open[row.key as usize];
            starts.complete(row.ts, 10 * MINUTE_MS, &mut found);
            starts.arm();
        }
    }
    found
}

fn contiguous(rows: impl Iterator<Item = Row>, keys: usize) -> Found {
    let mut found = Found::default();
    // Of each key the start whose first event was the last one, and the start whose second event was.
    let mut open = vec![(None::<i64>, None::<i64>); keys];
    for row in rows {
        let (first, second) = &mut open[row.key as usize];
        if row.amount > 500.0 {
            if let Some(start) = second.filter(|start| row.ts - start <= 24 * 60 * MINUTE_MS) {
                found.add(start, row.ts);
            }
            *second = first.take();
        } else {
            *second = None;
            *first = (row.amount < 100.0).then_some(row.ts);
        }
    }
    found
}

fn login_transfers_withdraw(rows: impl Iterator<Item = Row>, keys: usize) -> Found {
    let (login, transfer, withdraw) = (kind("login"), kind("transfer"), kind("withdraw"));
    let mut found = Found::default();
    let mut open = vec![Starts::default(); keys];
    for row in rows {
        if row.kind == login {
            open[row.key as usize].times.push(row.ts);
        } else if row.kind == transfer {
            open[row.key as usize].arm();
        } else if row.kind == withdraw {
            open[row.key as usize].complete(row.ts, 10 * MINUTE_MS, &mut found);
        }
    }
    found
}

fn every_combination(rows: impl Iterator<Item = Row>, within: i64) -> Found {
    let (login, transfer, withdraw) = (kind("login"), kind("transfer"), kind("withdraw"));
    let mut found = Found::default();
    let mut logins = VecDeque::new();
    // Since the last withdrawal that counted: it has completed whatever was before it.
    let mut transfers = Vec::new();
    for row in rows {
        if row.kind == login {
            logins.push_back(row.ts);
        } else if row.kind == transfer {
            transfers.push(row.ts);
        } else if row.kind == withdraw && row.amount < 10.0 {
            while logins.front().is_some_and(|start| row.ts - start > within) {
                logins.pop_front();
            }
            let starts = logins.make_contiguous();
            for middle in transfers.drain(..) {
                let before = starts.partition_point(|start| *start < middle);
                for start in &starts[..before] {
                    found.add(*start, row.ts);
                }
            }
        }
    }
    found
}

fn unconfirmed(rows: impl Iterator<Item = Row>, keys: usize) -> Found {
    const WAIT_MS: i64 = 29_999;
    let (transfer, confirm) = (kind("transfer"), kind("confirm"));
    let mut found = Found::default();
    let mut waiting = VecDeque::new();
    let mut confirmed = vec![i64::MIN; keys];
    for row in rows {
        while let Some((start, key)) = waiting.front().copied().filter(|(start, _)| row.ts - start > WAIT_MS)
        {
            waiting.pop_front();
            if confirmed[key as usize] < start {
                found.add(start, start);
            }
        }
        if row.kind == transfer {
            waiting.push_back((row.ts, row.key));
        } else if row.kind == confirm {
            confirmed[row.key as usize] = row.ts;
        }
    }
    found
}

fn many_thresholds(rows: impl Iterator<Item = Row>, keys: usize, rules: usize) -> Found {
    // As the rules write them: 5.00, 5.05, ..., and 900, 900.5, ...
    let low: Vec<f64> = (0..rules).map(|rule| (500 + 5 * rule) as f64 / 100.0).collect();
    let high: Vec<f64> = (0..rules).map(|rule| (9_000 + 5 * rule) as f64 / 10.0).collect();
    let (lowest_high, highest_low) = (high.first().copied(), low.last().copied());
    let mut found = Found::default();
    let mut open = vec![Starts::default(); keys * rules];
    for row in rows {
        let of_key = row.key as usize * rules;
        if highest_low.is_some_and(|low| row.amount < low) {
            let from = low.partition_point(|low| *low <= row.amount);
            for starts in &mut open[of_key + from..of_key + rules] {
                starts.times.push(row.ts);
            }
        }
        if lowest_high.is_some_and(|high| row.amount > high) {
            let to = high.partition_point(|high| *high < row.amount);
            for starts in &mut open[of_key..of_key + to] {
                starts.complete(row.ts, 10 * MINUTE_MS, &mut found);
                starts.arm();
            }
        }
    }
    found
}

fn many_merchants(rows: impl Iterator<Item = Row>, keys: usize, rules: usize) -> Found {
    let mut found = Found::default();
    let mut open = vec![i64::MIN; keys * rules];
    for row in rows {
        let Some(rule) = row.merchant.map(|merchant| merchant as usize).filter(|rule| *rule < rules) else {
            continue;
        };
        if row.amount > (500 + rule % 50) as f64 {
            let start = &mut open[rule * keys + row.key as usize];
            if row.ts.saturating_sub(*start) <= 60 * MINUTE_MS {
                found.add(*start, row.ts);
            }
            *start = row.ts;
        }
    }
    found
}
