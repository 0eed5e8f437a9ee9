//! What one key of one rule holds: candidates, absences, windows, and what outlives a match.
//!
//! INVARIANT: every list is sorted by position; after [`KeyState::expire`] no row is older than the rule's horizon.

use crate::program::Program;
use crate::row::{Position, Row};
use crate::value::Value;
use crate::window::WindowState;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Key values of a rule, in the order of its parts.
pub(crate) type Key = Box<[Value]>;

/// What is known of one absence.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct AbsenceState {
    /// The last forbidding event, where no other step decides whether it forbids.
    pub(crate) floor: Position,
    /// Possibly forbidding events, where their condition reads steps.
    pub(crate) rows: VecDeque<Row>,
}

/// The state of one key of one rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyState {
    /// Candidates by step.
    pub(crate) lists: Vec<VecDeque<Row>>,
    /// By absence of the program.
    pub(crate) absences: Vec<AbsenceState>,
    /// Last event by rule stream; kept for strict rules only.
    pub(crate) seen: Vec<Position>,
    /// By window of the program.
    pub(crate) windows: Vec<WindowState>,
    /// Bit i: latch i is open.
    pub(crate) latches: u32,
    /// When the last alert was sent.
    pub(crate) last_sent: Option<Micros>,
    /// Matches silenced by the cool-down since then.
    pub(crate) suppressed: u64,
    /// The candidate cap was met and the lists are not yet below half of it.
    pub(crate) saturated: bool,
    /// An alert of another revision has used up every event up to here.
    pub(crate) used_to: Position,
    /// Stands in the sweep queue.
    pub(crate) queued: bool,
}

impl KeyState {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            lists: vec![VecDeque::new(); program.steps.len()],
            absences: vec![AbsenceState::default(); program.absences.len()],
            seen: if program.strict { vec![0; program.streams.len()] } else { Vec::new() },
            windows: program.windows.iter().map(WindowState::new).collect(),
            latches: u32::MAX,
            last_sent: None,
            suppressed: 0,
            saturated: false,
            used_to: 0,
            queued: false,
        }
    }

    /// Drops what no choice can use any more at time `now`.
    pub(crate) fn expire(&mut self, program: &Program, now: Micros) {
        let horizon = program.horizon;
        for list in &mut self.lists {
            while list.front().is_some_and(|row| now - row.reach_ts > horizon) {
                list.pop_front();
            }
        }
        for absence in &mut self.absences {
            while absence.rows.front().is_some_and(|row| now - row.ts > horizon) {
                absence.rows.pop_front();
            }
        }
        for (state, window) in self.windows.iter_mut().zip(&program.windows) {
            state.evict(window, now);
        }
    }

    /// Uses up every event up to and including `last`.
    pub(crate) fn use_up(&mut self, last: Position) {
        for list in &mut self.lists {
            while list.front().is_some_and(|row| row.pos <= last) {
                list.pop_front();
            }
        }
    }

    /// Candidates held.
    pub(crate) fn rows(&self) -> usize {
        self.lists.iter().map(VecDeque::len).sum()
    }

    /// Nothing in it can influence anything later than `now`.
    pub(crate) fn is_idle(&self, program: &Program, now: Micros) -> bool {
        self.lists.iter().all(VecDeque::is_empty)
            && self.absences.iter().all(|absence| absence.rows.is_empty())
            && self.windows.iter().all(WindowState::is_empty)
            && self.latches == u32::MAX
            && self.suppressed == 0
            && self.last_sent.is_none_or(|sent| now - sent >= program.cooldown.unwrap_or(0))
    }
}
