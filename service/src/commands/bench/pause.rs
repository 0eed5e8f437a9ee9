//! `bench pause`: how long the matcher stands still for a snapshot. A state of many keys is frozen and saved in slices, as the
//! service does it, with events between them; first all of it, then what has changed, again and again.

use super::BenchArgs;
use super::events::SEED;
use super::growth::{open, opened, patient};
use super::matcher::Matcher;
use super::process::spend;
use super::report::{Cost, Goal};
use crate::config::Snapshots;
use crate::console::say;
use crate::failure::Failure;
use crate::serve::snapshot::{BLOCK, ROWS};
use engine::task::Outputs;
use std::time::Instant;

/// Keys that change between two snapshots, and between two slices.
const CHANGED: (u64, u64) = (50_000, 100);
/// Snapshots of what has changed.
const DELTAS: u32 = 10;

/// A matcher at work, and what saving it has taken.
struct Bed {
    matcher: Matcher,
    fields: Vec<String>,
    keys: u64,
    /// Events so far.
    events: u64,
    /// Each time that it stood still, in milliseconds.
    pauses: Vec<f64>,
    out: Outputs,
}

impl Bed {
    /// Keys change, spread over all.
    fn change(&mut self, count: u64) {
        for _ in 0..count {
            let key = self.events.wrapping_mul(SEED | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
            open(&mut self.matcher, &self.fields, self.events, key % self.keys.max(1), &mut self.out);
            self.events += 1;
        }
    }

    fn pause(&mut self, work: impl FnOnce(&mut Self)) {
        let begun = Instant::now();
        work(self);
        self.pauses.push(begun.elapsed().as_secs_f64() * 1e3);
    }

    /// One snapshot, while keys change: the level, in blocks.
    fn save(&mut self, whole: bool) -> Vec<Vec<u8>> {
        let (mut blocks, mut saved, slice) = (Vec::new(), Vec::new(), Snapshots::default().pause());
        self.pause(|bed| bed.matcher.task.freeze(whole));
        let mut is_more = true;
        while is_more {
            self.change(CHANGED.1);
            self.pause(|bed| {
                let begun = Instant::now();
                while is_more && begun.elapsed() < slice {
                    is_more = bed.matcher.task.save_more(ROWS, &mut saved);
                    // WHY: handed over as by the service. All in one, it would be moved whenever it outgrows its room.
                    if saved.len() >= BLOCK {
                        blocks.push(std::mem::take(&mut saved));
                    }
                }
            });
        }
        blocks.push(saved);
        blocks
    }
}

/// Keys with one open match each.
///
/// # Errors
/// The rule does not compile.
pub(super) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let keys = args.events.unwrap_or(1_000_000);
    let (matcher, _) = opened(keys)?;
    let fields = matcher.fields();
    let (pauses, out) = (Vec::new(), Outputs::default());
    let mut bed = Bed { matcher, fields, keys, events: keys, pauses, out };
    let (base, spent) = spend(|| bed.save(true));
    let mut levels = vec![base.concat()];
    let (base_bytes, base_slices) = (levels[0].len(), bed.pauses.len());
    for _ in 0..DELTAS {
        bed.change(CHANGED.0);
        levels.push(bed.save(false).concat());
    }
    let delta_bytes = levels.iter().skip(1).map(Vec::len).sum::<usize>() / DELTAS as usize;
    // The last has nothing to wait for: so it must be all that is there.
    bed.matcher.task.freeze(false);
    let mut last = Vec::new();
    while bed.matcher.task.save_more(ROWS, &mut last) {}
    levels.push(last);
    let (at_once, whole) = spend(|| bed.matcher.task.save());
    let mut restored = patient(keys)?;
    let put_back = restored.task.restore(&levels);
    let is_right = put_back.is_ok() && restored.task.save() == at_once;
    if !is_right {
        say!("wrong: pause: what was saved in slices is not what is there: {put_back:?}");
    }
    let mut pauses = bed.pauses;
    pauses.sort_by(f64::total_cmp);
    let at = |share: f64| pauses.get(((pauses.len() - 1) as f64 * share) as usize).copied().unwrap_or(0.0);
    Cost {
        bench: "pause".to_owned(),
        figure: at(0.99),
        unit: "ms in which nothing is matched for a snapshot, p99 of all its pauses",
        goal: Goal::AtMost(10.0),
        detail: vec![
            ("keys", keys as f64),
            ("p50_ms", at(0.5)),
            ("max_ms", at(1.0)),
            ("pauses", pauses.len() as f64),
            ("base_pauses", base_slices as f64),
            ("base_cpu_s", spent.cpu_s),
            ("base_bytes", base_bytes as f64),
            ("delta_bytes", delta_bytes as f64),
            ("changed_keys", CHANGED.0 as f64),
            // What it was without slices.
            ("at_once_ms", (whole.wall_s * 1e3).round()),
        ],
    }
    .show(args)?;
    Ok(u8::from(!is_right))
}
