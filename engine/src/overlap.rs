//! What happens at a moment at which choices may be complete: which of them fire, and what they use up.
//!
//! In the order of the language: `unless` (inside the search), `overlap`, cool-down. A match that the cool-down silences
//! counts as fired: it uses events up and closes latches, but does not restart the cool-down.

use crate::alert::{Alert, FiredBy};
use crate::emit;
use crate::interface::{Limits, RuleStats};
use crate::program::Program;
use crate::row::{Position, Row};
use crate::search::{Next, Question, search};
use crate::state::{Key, KeyState};
use crate::tables::Tables;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::Overlap;
use pattern_dsl::types::Micros;

/// What the task lends to a rule.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) partitions: &'a [ArcStr],
    pub(crate) limits: &'a Limits,
    pub(crate) count_only: bool,
    /// Alerts are built even where they are only counted: another rule reads them.
    pub(crate) is_read: bool,
    pub(crate) tables: &'a Tables,
}

/// A fired match, for the other revisions of the rule.
#[derive(Debug, Clone)]
pub(crate) struct UsedUp {
    pub(crate) key: Key,
    pub(crate) last: Position,
    pub(crate) sent: Option<Micros>,
}

/// A moment at which choices may be complete.
pub(crate) struct Moment<'a> {
    pub(crate) time: Micros,
    pub(crate) by: FiredBy,
    pub(crate) end: Position,
    pub(crate) key: &'a [Value],
    /// Values of windows without `before` at the moment.
    pub(crate) windows: &'a [Value],
}

/// Finds the choices complete at a moment and fires those that `overlap` allows. True if any did.
pub(crate) fn complete(
    program: &Program,
    held: &mut KeyState,
    stats: &mut RuleStats,
    moment: &Moment<'_>,
    around: Surroundings<'_>,
    out: &mut Vec<Alert>,
    used: &mut Vec<UsedUp>,
) -> bool {
    let question = Question {
        program,
        state: held,
        key: moment.key,
        partitions: around.partitions,
        end: moment.end,
        windows: moment.windows,
        latches: held.latches,
        tables: around.tables,
        time: moment.time,
        work: around.limits.search_work.unwrap_or(u64::MAX),
    };
    let (mut last_sent, mut suppressed, mut fired) = (held.last_sent, held.suppressed, 0_usize);
    let mut firsts: Vec<Position> = Vec::new();
    let cap = around.limits.matches_per_moment.unwrap_or(usize::MAX);
    let mut capped = false;
    let found = search(question, &mut |taken, scope| {
        if program.overlap == Overlap::All && fired >= cap {
            capped = true;
            return Next::Stop;
        }
        fired += 1;
        if program.overlap == Overlap::PerStart {
            firsts.extend(taken.first().and_then(|rows| rows.first()).map(|row| row.pos));
        }
        let cooling =
            program.cooldown.zip(last_sent).is_some_and(|(cooldown, sent)| moment.time - sent < cooldown);
        if cooling {
            stats.suppressed_cooldown += 1;
            suppressed += 1;
        } else {
            last_sent = Some(moment.time);
            stats.matches += 1;
            if around.count_only {
                stats.checksum = stats.checksum.wrapping_add(checksum(taken));
            }
            if !around.count_only || around.is_read {
                let facts =
                    emit::Facts { time: moment.time, by: moment.by, suppressed, truncated: held.saturated };
                out.push(emit::alert(program, taken, scope, &facts));
            }
            stats.alerts += 1;
            suppressed = 0;
        }
        match program.overlap {
            Overlap::None | Overlap::PerEnd | Overlap::From(_) | Overlap::FromLast(_) => Next::Stop,
            Overlap::PerStart => Next::FirstEvent,
            Overlap::All => Next::Choice,
        }
    });
    stats.suppressed_unless += u64::from(fired == 0 && found.silenced > 0);
    stats.capped += u64::from(capped || found.cut);
    if fired == 0 {
        return false;
    }
    if program.cooldown.is_some() {
        (held.last_sent, held.suppressed) = (last_sent, suppressed);
    }
    held.latches = close_latches(program, held.latches);
    used_up(program, held, moment, &firsts, used);
    true
}

pub(crate) fn close_latches(program: &Program, latches: u32) -> u32 {
    (0..program.latches.len()).fold(latches, |open, bit| open & !(1 << bit))
}

/// Applies `overlap` after alerts.
fn used_up(
    program: &Program,
    held: &mut KeyState,
    moment: &Moment<'_>,
    firsts: &[Position],
    used: &mut Vec<UsedUp>,
) {
    match program.overlap {
        Overlap::None => held.use_up(moment.end),
        Overlap::PerStart => {
            if let Some(list) = held.lists.first_mut() {
                for first in firsts {
                    if let Ok(at) = list.binary_search_by_key(first, |row| row.pos)
                        && let Some(row) = list.get_mut(at)
                    {
                        row.marked = true;
                    }
                }
            }
        }
        Overlap::PerEnd | Overlap::All | Overlap::From(_) | Overlap::FromLast(_) => {}
    }
    let latched = !program.latches.is_empty();
    if program.overlap == Overlap::None || program.cooldown.is_some() || latched {
        used.push(UsedUp { key: moment.key.into(), last: moment.end, sent: held.last_sent });
    }
}

/// The order-free checksum of one match of the published workloads (times in milliseconds from a fixed base).
fn checksum(taken: &[Vec<&Row>]) -> u64 {
    const BASE_MS: i64 = 1_700_000_000_000;
    let first = taken.first().and_then(|rows| rows.first()).map_or(0, |row| row.ts / 1000);
    let last = taken.last().and_then(|rows| rows.last()).map_or(0, |row| row.ts / 1000);
    let (from, to) = ((first - BASE_MS) as u64, (last - BASE_MS) as u64);
    let mixed = from.wrapping_mul(1_000_003).wrapping_add(to).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ ((last as u64) << 7)
}
