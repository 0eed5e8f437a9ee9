//! What one key of one rule holds: candidates, absences, windows, and what outlives a match.
//!
//! INVARIANT: every list is sorted by position; after [`KeyState::expire`] no row is older than the rule's horizon.

use crate::collections::Map;
use crate::key::Key;
use crate::list::{List, Lists};
use crate::program::{BoundProgram, Place, Program};
use crate::row::{Position, Row};
use crate::window::WindowState;
use pattern_dsl::types::Micros;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};

const DAY: Micros = 86_400_000_000;

/// What is known of one absence.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct AbsenceState {
    /// The last forbidding event, where no other step decides whether it forbids.
    pub(crate) floor: Position,
    /// Of a leading absence: its time.
    pub(crate) floor_ts: Option<Micros>,
    /// Possibly forbidding events, where their condition reads steps.
    pub(crate) rows: List,
}

/// The cool-down of one key, or of some values of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// When the last alert was sent.
    pub(crate) last: Option<Micros>,
    /// Matches silenced by the cool-down since then.
    pub(crate) suppressed: u64,
}

impl Sent {
    /// So long after the cool-down that it no longer matters what was silenced.
    pub(crate) fn is_forgotten(&self, cooldown: Micros, now: Micros) -> bool {
        self.last.is_none_or(|last| now - last >= cooldown.saturating_add(DAY))
    }

    /// From then on it silences nothing and has nothing to tell.
    fn over(&self, cooldown: Micros) -> Micros {
        let last = self.last.unwrap_or(Micros::MIN);
        let told = if self.suppressed == 0 { 0 } else { DAY };
        last.saturating_add(cooldown).saturating_add(told)
    }
}

/// The cool-downs of one key, by the values of `cooldown .. per` (none = one entry).
#[derive(Debug, Clone, Default)]
pub(crate) struct Cooldowns {
    by_values: Option<Box<Map<Key, Sent>>>,
    /// All of them are over by then.
    until: Micros,
    /// How many there were when those that were over were last dropped.
    kept: usize,
}

impl Cooldowns {
    pub(crate) const fn new() -> Self {
        Self { by_values: None, until: Micros::MIN, kept: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_values.as_ref().is_none_or(|map| map.is_empty())
    }

    pub(crate) fn get(&self, values: &Key) -> Option<Sent> {
        self.by_values.as_ref()?.get(values).copied()
    }

    pub(crate) fn set(&mut self, values: Key, sent: Sent, cooldown: Micros) {
        self.until = self.until.max(sent.over(cooldown));
        self.by_values.get_or_insert_default().insert(values, sent);
    }

    /// Those that silence something at a time. Of the others some are still kept, as chance will have it.
    pub(crate) fn active(&self, cooldown: Micros, now: Micros) -> impl Iterator<Item = (&Key, &Sent)> {
        let known = self.by_values.iter().flat_map(|map| map.iter());
        known.filter(move |(_, sent)| sent.last.is_some_and(|last| last.saturating_add(cooldown) > now))
    }

    /// Takes over what another revision has kept.
    pub(crate) fn take_over<'a>(
        &mut self,
        known: impl IntoIterator<Item = (&'a Key, &'a Sent)>,
        cooldown: Micros,
    ) {
        known.into_iter().for_each(|(values, sent)| self.set(values.clone(), *sent, cooldown));
    }

    /// Drops those that are over at `now`; not each time, since that looks at all of them.
    fn drop_over(&mut self, cooldown: Micros, now: Micros) {
        let Some(map) = &mut self.by_values else { return };
        if now >= self.until || map.len() >= 2 * self.kept {
            map.retain(|_, sent| now < sent.over(cooldown));
            self.kept = map.len().max(8);
        }
    }

    /// In an order that depends on nothing else.
    fn sorted(&self) -> Vec<(&Key, &Sent)> {
        let mut all: Vec<(&Key, &Sent)> = self.by_values.iter().flat_map(|map| map.iter()).collect();
        all.sort_by_cached_key(|(key, _)| postcard::to_allocvec(key).unwrap_or_default());
        all
    }
}

impl Serialize for Cooldowns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.until, self.sorted()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cooldowns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (until, all): (Micros, Vec<(Key, Sent)>) = Deserialize::deserialize(deserializer)?;
        let by_values = (!all.is_empty()).then(|| Box::new(all.into_iter().collect::<Map<_, _>>()));
        Ok(Self { by_values, until, kept: 0 })
    }
}

/// The state of one key of one rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyState {
    /// Candidates by step.
    pub(crate) lists: Lists,
    pub(crate) beside: Beside,
    /// Nothing of what it holds has run out before this time. `Micros::MIN` = not known, found at the next look.
    #[serde(skip, default = "not_known")]
    expires_at: Micros,
}

/// What a key may hold beside candidates; most hold none of it, and have no room for it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Beside(Option<Box<Held>>);

/// What lies [`Beside`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Held {
    /// By absence of the program.
    pub(crate) absences: Vec<AbsenceState>,
    /// Last event by rule stream; kept for strict rules only.
    pub(crate) seen: Vec<Position>,
    /// By window of the program.
    pub(crate) windows: Vec<WindowState>,
    /// Bit i: latch i is open.
    pub(crate) latches: u32,
    /// By the values of `cooldown .. per` (none = one entry): what was sent.
    pub(crate) sent: Cooldowns,
    /// An alert of another revision has used up every event up to here.
    pub(crate) used_to: Position,
    /// The candidate cap was met and the lists are not yet below half of it.
    pub(crate) saturated: bool,
}

impl Held {
    const NOTHING: Self = Self {
        absences: Vec::new(),
        seen: Vec::new(),
        windows: Vec::new(),
        latches: u32::MAX,
        sent: Cooldowns::new(),
        used_to: 0,
        saturated: false,
    };
}

impl Deref for Beside {
    type Target = Held;

    fn deref(&self) -> &Held {
        static NOTHING: Held = Held::NOTHING;
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Beside {
    fn deref_mut(&mut self) -> &mut Held {
        self.0.get_or_insert_with(|| Box::new(Held::NOTHING))
    }
}

fn not_known() -> Micros {
    Micros::MIN
}

impl KeyState {
    pub(crate) fn new(program: &Program) -> Self {
        let held = || Held {
            absences: vec![AbsenceState::default(); program.absences.len()],
            seen: if program.strict { vec![0; program.streams.len()] } else { Vec::new() },
            windows: program.windows.iter().map(WindowState::new).collect(),
            ..Held::NOTHING
        };
        let holds = program.strict || !(program.absences.is_empty() && program.windows.is_empty());
        Self { lists: Lists::None, beside: Beside(holds.then(|| Box::new(held()))), expires_at: Micros::MIN }
    }

    /// Sets whether the candidate cap was met, if that changes anything.
    pub(crate) fn set_saturated(&mut self, saturated: bool) {
        if self.beside.saturated != saturated {
            self.beside.saturated = saturated;
        }
    }

    /// Sets the latches, if that changes any.
    pub(crate) fn set_latches(&mut self, latches: u32) {
        if self.beside.latches != latches {
            self.beside.latches = latches;
        }
    }

    /// Drops what no choice can use any more at time `now`.
    #[inline]
    pub(crate) fn expire(&mut self, program: &Program, now: Micros) {
        if self.runs_out(now) {
            self.drop_expired(program, now);
        }
    }

    /// [`Self::expire`] may change it.
    #[inline]
    pub(crate) fn runs_out(&self, now: Micros) -> bool {
        now >= self.expires_at
    }

    fn drop_expired(&mut self, program: &Program, now: Micros) {
        let horizon = program.horizon;
        let next = Cell::new(Micros::MAX);
        let keep_until = |time: Micros, bound: Micros| next.set(next.get().min(time.saturating_add(bound)));
        self.lists.drop_each(|row| now - row.reach_ts > horizon);
        let oldest = self.lists.iter().filter_map(|list| list.first());
        oldest.for_each(|row| keep_until(row.reach_ts, horizon.saturating_add(1)));
        self.expires_at = next.get();
        let Some(held) = &mut self.beside.0 else { return };
        for (state, absence) in held.absences.iter_mut().zip(&program.absences) {
            let leading = absence.place == Place::Leading;
            let bound = absence.duration.as_ref().map_or(0, BoundProgram::longest);
            let kept = if leading { bound } else { horizon };
            state.rows.drop_while(|row| now - row.ts > kept);
            state.rows.first().into_iter().for_each(|row| keep_until(row.ts, kept.saturating_add(1)));
            if leading && state.floor_ts.is_some_and(|ts| now - ts > bound) {
                state.floor_ts = None;
            }
            state.floor_ts.into_iter().for_each(|ts| keep_until(ts, bound.saturating_add(1)));
        }
        if !held.sent.is_empty() {
            held.sent.drop_over(program.cooldown.unwrap_or(0), now);
            keep_until(held.sent.until, 0);
        }
        for (state, window) in held.windows.iter_mut().zip(&program.windows) {
            state.evict(window, now);
            state.oldest().into_iter().for_each(|ts| keep_until(ts, window.span));
        }
        self.expires_at = next.get();
    }

    /// Something was added that has run out at `time`.
    pub(crate) fn expires_by(&mut self, time: Micros) {
        self.expires_at = self.expires_at.min(time);
    }

    /// Adds a candidate of a step.
    pub(crate) fn push(&mut self, step: usize, row: Row, program: &Program) {
        self.expires_by(row.reach_ts.saturating_add(program.horizon).saturating_add(1));
        self.lists.push(step, row, program.steps.len());
    }

    /// The state of a new key of the same rule, with what this one had beside candidates; none if that is no gain.
    pub(crate) fn emptied(mut self) -> Option<Self> {
        let held = self.beside.0.as_mut()?;
        if !held.windows.is_empty() || !held.absences.is_empty() {
            return None;
        }
        held.seen.fill(0);
        **held = Held { seen: std::mem::take(&mut held.seen), ..Held::NOTHING };
        Some(Self { lists: Lists::None, beside: self.beside, expires_at: Micros::MIN })
    }

    /// Uses up every event up to and including `last`.
    pub(crate) fn use_up(&mut self, last: Position) {
        self.lists.drop_each(|row| row.pos <= last);
    }

    /// Drops every prefix: what `cancel on` does where it reads no step.
    pub(crate) fn cancel(&mut self) {
        self.lists.clear();
    }

    /// Some first event is held.
    pub(crate) fn has_first(&self, program: &Program) -> bool {
        program.first_steps().any(|step| !self.lists.of(step).is_empty())
    }

    /// What it holds, one for itself included.
    pub(crate) fn weight(&self) -> usize {
        1 + self.rows() + self.beside.0.as_ref().map_or(0, |held| held.weight())
    }

    /// Candidates held.
    pub(crate) fn rows(&self) -> usize {
        self.lists.len()
    }

    /// Nothing in it can influence anything later than `now`.
    pub(crate) fn is_idle(&self, program: &Program, now: Micros) -> bool {
        self.lists.is_empty() && self.beside.0.as_ref().is_none_or(|held| held.is_idle(program, now))
    }
}

impl Held {
    fn weight(&self) -> usize {
        let forbidding: usize = self.absences.iter().map(|absence| absence.rows.len()).sum();
        let values: usize = self.windows.iter().map(WindowState::len).sum();
        forbidding + values + self.sent.by_values.as_ref().map_or(0, |sent| sent.len())
    }

    fn is_idle(&self, program: &Program, now: Micros) -> bool {
        self.absences.iter().all(|absence| absence.rows.is_empty() && absence.floor_ts.is_none())
            && self.windows.iter().all(WindowState::is_empty)
            && program
                .latches
                .iter()
                .enumerate()
                .all(|(bit, latch)| latch.reopens || self.latches >> bit & 1 == 1)
            && (self.sent.is_empty() || now >= self.sent.until)
    }
}
