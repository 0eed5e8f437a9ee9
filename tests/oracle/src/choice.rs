//! All choices that begin at a given event, by trying every beginning.
//!
//! The events after the first are walked in order. Each of them may begin a later unit, may begin a further member of
//! the set at hand, or is offered to the repeats that have begun: the first two are tried, the third follows.

use crate::eval::{AsOf, Line, View};
use pattern_dsl::ir::{Absence, Arrow, Bound, Rule, Step, UnitKind};

/// What each step took, as positions in the key's line; nothing = it has not begun.
pub(crate) type Taken = Vec<Vec<usize>>;

/// A choice that satisfies all but `having` and `unless`.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) taken: Taken,
    /// Position of its last event.
    pub(crate) last: usize,
    /// When its timer rings; none = it is complete at its last event.
    pub(crate) due: Option<i64>,
}

/// Every choice whose first event is the one at `first`.
pub(crate) fn choices(line: &Line<'_>, first: usize) -> Vec<Choice> {
    walked(line, first).map_or_else(Vec::new, |walk| walk.complete)
}

/// What a time-out of the event at `first` reports: the choice that reached most units, the earliest of those.
pub(crate) fn timeout(line: &Line<'_>, first: usize) -> Option<Taken> {
    let begun = |taken: &Taken| {
        line.rule.units.iter().filter(|unit| unit.steps.clone().any(|step| !taken[step].is_empty())).count()
    };
    let partial = walked(line, first)?.partial;
    partial.into_iter().min_by_key(|taken| (usize::MAX - begun(taken), order(line.rule, taken)))
}

/// Choices compare by this: step by step in written order the earlier beginning first, begun before not begun. A `one of`
/// is one step.
pub(crate) fn order(rule: &Rule, taken: &Taken) -> Vec<usize> {
    let begins = |step: usize| taken[step].first().copied().unwrap_or(usize::MAX);
    let mut order = Vec::new();
    for unit in &rule.units {
        match unit.kind {
            UnitKind::One => order.extend(unit.steps.clone().map(begins).min()),
            _ => order.extend(unit.steps.clone().map(begins)),
        }
    }
    order
}

/// None if no choice begins at `first`.
fn walked<'s, 'a>(line: &'s Line<'a>, first: usize) -> Option<Walk<'s, 'a>> {
    let (rule, steps) = (line.rule, line.rule.steps.len());
    let long = |p: usize| rule.within.is_some_and(|d| line.ts(p).saturating_sub(line.ts(first)) > d);
    let stop = (first..line.slots.len()).find(|&p| long(p)).unwrap_or(line.slots.len());
    let mut walk = Walk {
        line,
        first,
        stop,
        taken: vec![Vec::new(); steps],
        ended: vec![false; steps],
        complete: Vec::new(),
        partial: Vec::new(),
    };
    let beginnings: Vec<usize> =
        rule.units[0].steps.clone().filter(|&step| walk.fits(step, first, &walk.taken)).collect();
    if beginnings.is_empty() || walk.barred() {
        return None;
    }
    for step in beginnings {
        walk.take(0, first, Some(step));
    }
    Some(walk)
}

struct Walk<'s, 'a> {
    line: &'s Line<'a>,
    /// The choice's first event.
    first: usize,
    /// The first event that is too late for `match within`.
    stop: usize,
    taken: Taken,
    /// Steps that take no more: their run of `consecutive` events, or their burst, is over.
    ended: Vec<bool>,
    complete: Vec<Choice>,
    /// What stands when time is out.
    partial: Vec<Taken>,
}

impl<'a> Walk<'_, 'a> {
    /// The unit has begun and the event at `at` comes next.
    fn walk(&mut self, unit: usize, at: usize) {
        let units = &self.line.rule.units;
        if at == self.stop {
            self.time_out(unit);
            return;
        }
        if self.satisfied(unit) {
            for (next, this) in units.iter().enumerate().skip(unit + 1) {
                for step in this.steps.clone() {
                    if self.begins(step, at, &self.taken)
                        && self.is_first(step, at)
                        && self.quiet_between(unit, next, at)
                        && self.rightly_skipped(unit, next, at)
                        && self.rightly_left_out(unit, at)
                    {
                        self.take(next, at, Some(step));
                    }
                }
                if !this.may_be_empty(&self.line.rule.steps) {
                    break;
                }
            }
        }
        if !matches!(units[unit].kind, UnitKind::Step | UnitKind::One) {
            for step in units[unit].steps.clone() {
                if self.taken[step].is_empty()
                    && self.begins(step, at, &self.taken)
                    && self.is_first(step, at)
                {
                    self.take(unit, at, Some(step));
                }
            }
        }
        self.take(unit, at, None);
    }

    /// The event at `at` goes to the step that begins there, else to a repeat of the unit that takes it, else to none;
    /// then on with the next event.
    fn take(&mut self, unit: usize, at: usize, begins: Option<usize>) {
        let rule = self.line.rule;
        let ended_before = self.ended.clone();
        let mut fitting = Vec::new();
        for step in rule.units[unit].steps.clone() {
            let this = &rule.steps[step];
            let Some(&last) = self.taken[step].last() else { continue };
            if self.ended[step] {
                continue;
            }
            if !self.fits(step, at, &self.taken) {
                self.ended[step] = this.consecutive && self.line.slots[at].stream == this.stream;
            } else if self.silent_until(step, &self.taken, last).is_some_and(|end| self.line.ts(at) > end) {
                self.ended[step] = true;
            } else if this.max.is_none_or(|max| self.taken[step].len() < max as usize) {
                fitting.push(step);
            }
        }
        let lacks = |step: &&usize| self.taken[**step].len() < rule.steps[**step].min as usize;
        let taker = begins.or_else(|| fitting.iter().find(lacks).or(fitting.first()).copied());
        if let Some(step) = taker {
            self.taken[step].push(at);
            if unit + 1 == rule.units.len() && self.satisfied(unit) && self.rightly_left_out(unit, at + 1) {
                self.finish(at);
            }
        }
        let lost = |step: usize| {
            let count = self.taken[step].len();
            self.ended[step] && count > 0 && count < rule.steps[step].min as usize
        };
        if !rule.units[unit].steps.clone().any(lost) {
            self.walk(unit, at + 1);
        }
        if let Some(step) = taker {
            self.taken[step].pop();
        }
        self.ended = ended_before;
    }

    /// The last unit ends at `last`: is the choice complete, and when?
    fn finish(&mut self, last: usize) {
        let rule = self.line.rule;
        let mut due = None;
        for absence in &rule.trailing {
            let Some(duration) = absence.duration.as_ref() else { continue };
            let Some(wait) = self.bound(duration, &self.taken, last) else { return };
            let until = self.line.ts(last).saturating_add(wait);
            let mut later = (last + 1..self.line.slots.len()).take_while(|&p| self.line.ts(p) <= until);
            if later.any(|p| self.breaks(absence, p, &self.taken)) {
                return;
            }
            due = due.max(Some(until));
        }
        let unit = &rule.units[rule.units.len() - 1];
        if let (UnitKind::Step, step) = (unit.kind, unit.steps.start)
            && rule.steps[step].quiet.is_some()
        {
            let Some(until) = self.silent_until(step, &self.taken, last) else { return };
            if !self.silent(step, last, until) {
                return;
            }
            due = due.max(Some(until));
        }
        if !self.cancelled(last, due) {
            self.complete.push(Choice { taken: self.taken.clone(), last, due });
        }
    }

    /// `match within` is over while the unit is the last that has begun.
    fn time_out(&mut self, unit: usize) {
        if let (Some(within), Some(_)) = (self.line.rule.within, &self.line.rule.timeout) {
            let due = self.line.ts(self.first).saturating_add(within);
            if self.satisfied(unit)
                && self.rightly_left_out(unit, self.stop)
                && !self.cancelled(self.first, Some(due))
            {
                self.partial.push(self.taken.clone());
            }
        }
    }

    /// Every step of the unit that has begun has its minimum, and enough have begun.
    fn satisfied(&self, unit: usize) -> bool {
        let (steps, this) = (&self.line.rule.steps, &self.line.rule.units[unit]);
        let begun = |step: &usize| !self.taken[*step].is_empty();
        let count = this.steps.clone().filter(begun).count();
        let enough = match this.kind {
            UnitKind::Step | UnitKind::One => count == 1,
            UnitKind::All => count > 0 && this.steps.clone().all(|step| steps[step].optional || begun(&step)),
            UnitKind::AtLeast(n) => count >= n as usize,
        };
        enough && this.steps.clone().filter(begun).all(|s| self.taken[s].len() >= steps[s].min as usize)
    }

    /// The position at which a unit that is satisfied reached its minimum.
    fn reached(&self, unit: usize) -> usize {
        let rule = self.line.rule;
        let own = rule.units[unit].steps.clone();
        own.filter_map(|step| self.taken[step].get(rule.steps[step].min as usize - 1))
            .max()
            .copied()
            .unwrap_or(self.first)
    }

    /// The last unit before this one that has begun, and the position of its last event.
    fn before(&self, unit: usize, taken: &Taken) -> Option<(usize, usize)> {
        let last = |before: usize| {
            self.line.rule.units[before].steps.clone().filter_map(|step| taken[step].last()).max()
        };
        (0..unit).rev().find_map(|before| last(before).map(|&last| (before, last)))
    }

    /// What the steps have taken before `at`.
    fn cut(&self, at: usize) -> Taken {
        self.taken.iter().map(|t| t.iter().copied().take_while(|&p| p < at).collect()).collect()
    }

    /// A bound read after the event at `last`; none = there is no deadline, so nothing is in time.
    fn bound(&self, bound: &'a Bound, taken: &Taken, last: usize) -> Option<i64> {
        match bound {
            Bound::Fixed(micros) => Some(*micros),
            Bound::Read { expr, max, .. } => {
                let view = View { this: None, taken, own: None, as_of: AsOf::Event(last), tables_at: None };
                self.line.eval(expr, view).duration().map(|micros| micros.min(*max))
            }
        }
    }

    /// The event at `at` fits the step: stream, key, `where`, and the arrow's bounds.
    fn fits(&self, step: usize, at: usize, taken: &Taken) -> bool {
        let line = self.line;
        if !line.slots[at].serves[step] {
            return false;
        }
        let unit = line.rule.unit_of(step);
        if let Some((_, last)) = self.before(unit, taken) {
            let this = &line.rule.units[unit];
            let passed = line.ts(at).saturating_sub(line.ts(last));
            let in_time = |bound: &'a Option<Bound>, test: fn(i64, i64) -> bool| {
                bound.as_ref().is_none_or(|b| self.bound(b, taken, last).is_some_and(|d| test(passed, d)))
            };
            if !in_time(&this.within, |passed, d| passed <= d)
                || !in_time(&this.after, |passed, d| passed >= d)
            {
                return false;
            }
        }
        let view = View { this: Some(at), taken, own: Some(step), as_of: AsOf::Event(at), tables_at: None };
        line.holds(&line.rule.steps[step].condition, view)
    }

    /// The event at `at` fits the step as its beginning: also by `immediately`, and by lying after the end of every
    /// `no X for D` and `until quiet for D` before it.
    fn begins(&self, step: usize, at: usize, taken: &Taken) -> bool {
        if !self.fits(step, at, taken) {
            return false;
        }
        let (line, units) = (self.line, &self.line.rule.units);
        let unit = line.rule.unit_of(step);
        let Some((before, last)) = self.before(unit, taken) else { return true };
        let mut gaps =
            units[before + 1..=unit].iter().flat_map(|u| &u.gap).filter_map(|a| a.duration.as_ref());
        let gaps_over = gaps.all(|gap| {
            self.bound(gap, taken, last).is_some_and(|d| line.ts(at) > line.ts(last).saturating_add(d))
        });
        let burst = units[before].steps.start;
        let burst_over = line.rule.steps[burst].quiet.is_none()
            || self.silent_until(burst, taken, last).is_some_and(|end| line.ts(at) > end);
        let strict = units[unit].arrow == Arrow::Immediately;
        let of_either = |p: usize| {
            let mut both = units[before].steps.clone().chain(units[unit].steps.clone());
            both.any(|s| line.rule.steps[s].stream == line.slots[p].stream)
        };
        gaps_over && burst_over && !(strict && (last + 1..at).any(of_either))
    }

    /// A step that must begin at the first event that fits does so at `at`.
    fn is_first(&self, step: usize, at: usize) -> bool {
        let rule = self.line.rule;
        let unit = rule.unit_of(step);
        let Some((before, _)) = self.before(unit, &self.taken) else { return true };
        let (this, first) = (&rule.units[unit], rule.units[unit].arrow == Arrow::First);
        let endless = |s: &Step| s.max.is_none() && !s.consecutive && s.quiet.is_none();
        if !first && !endless(&rule.steps[step]) {
            return true;
        }
        let rivals = if first && this.kind == UnitKind::One { this.steps.clone() } else { step..step + 1 };
        let begins_another = |q: usize| this.steps.clone().any(|s| self.taken[s].first() == Some(&q));
        !(self.reached(before) + 1..at)
            .any(|q| !begins_another(q) && rivals.clone().any(|rival| self.begins(rival, q, &self.cut(q))))
    }

    /// Nothing that the rule forbids lies between `unit` and the beginning of `next` at `at`.
    fn quiet_between(&self, unit: usize, next: usize, at: usize) -> bool {
        let (line, units) = (self.line, &self.line.rule.units);
        let Some((_, last)) = self.before(next, &self.taken) else { return true };
        let absent = |absence: &'a Absence| {
            let until = match &absence.duration {
                None => Some(i64::MAX),
                Some(d) => self.bound(d, &self.taken, last).map(|d| line.ts(last).saturating_add(d)),
            };
            let inside = |p: &usize| until.is_some_and(|until| line.ts(*p) <= until);
            !(last + 1..at).take_while(inside).any(|p| self.breaks(absence, p, &self.taken))
        };
        let burst = units[unit].steps.start;
        let burst_over = line.rule.steps[burst].quiet.is_none()
            || self
                .silent_until(burst, &self.taken, last)
                .is_some_and(|until| self.silent(burst, last, until));
        burst_over && units[unit + 1..=next].iter().flat_map(|u| &u.gap).all(absent)
    }

    /// No event fits a step of the units between, so they may have none.
    fn rightly_skipped(&self, unit: usize, next: usize, at: usize) -> bool {
        let units = &self.line.rule.units[unit + 1..next];
        let mut steps = units.iter().flat_map(|u| u.steps.clone());
        !steps.any(|step| (self.reached(unit) + 1..at).any(|q| self.begins(step, q, &self.cut(q))))
    }

    /// The members of a set that have not begun could not have reached their minimum before `end`, with the events that
    /// no other member takes.
    fn rightly_left_out(&self, unit: usize, end: usize) -> bool {
        let rule = self.line.rule;
        let this = &rule.units[unit];
        if matches!(this.kind, UnitKind::Step | UnitKind::One) {
            return true;
        }
        let from = self.before(unit, &self.taken).map_or(self.first, |(before, _)| self.reached(before));
        let free = |q: usize| !this.steps.clone().any(|s| self.taken[s].contains(&q));
        let could = |step: usize, q: usize| {
            let own = &rule.steps[step];
            let mut taken = self.cut(q);
            if !free(q) || !self.begins(step, q, &taken) {
                return false;
            }
            taken[step].push(q);
            for p in q + 1..end {
                let fits = self.fits(step, p, &taken);
                if fits && free(p) {
                    taken[step].push(p);
                } else if !fits && own.consecutive && self.line.slots[p].stream == own.stream {
                    break;
                }
            }
            taken[step].len() >= own.min as usize
        };
        let mut out = this.steps.clone().filter(|&step| self.taken[step].is_empty());
        !out.any(|step| (from + 1..end).any(|q| could(step, q)))
    }

    /// Until when `until quiet for` waits after the step's event at `last`; none if it has none, or for ever. How long is
    /// read once, when the step begins.
    fn silent_until(&self, step: usize, taken: &Taken, last: usize) -> Option<i64> {
        let quiet = self.line.rule.steps[step].quiet.as_ref()?;
        let unit = self.line.rule.unit_of(step);
        let read_at = self.before(unit, taken).map_or(self.first, |(_, last)| last);
        self.bound(quiet, taken, read_at).map(|d| self.line.ts(last).saturating_add(d))
    }

    /// No event after `last` up to `until` fits the step.
    fn silent(&self, step: usize, last: usize, until: i64) -> bool {
        let mut later = (last + 1..self.line.slots.len()).take_while(|&p| self.line.ts(p) <= until);
        !later.any(|p| self.fits(step, p, &self.taken))
    }

    /// A leading absence forbids the choice's first event.
    fn barred(&self) -> bool {
        let line = self.line;
        let mut taken = self.taken.clone();
        if line.rule.units[0].kind == UnitKind::Step {
            taken[0].push(self.first);
        }
        line.rule.leading.iter().zip(&line.known.1).any(|(absence, known)| {
            let Some(duration) = absence.duration.as_ref() else { return false };
            let Some(back) = self.bound(duration, &taken, self.first) else { return true };
            let since = line.ts(self.first).saturating_sub(back);
            since < *known || (0..self.first).any(|p| line.ts(p) >= since && self.breaks(absence, p, &taken))
        })
    }

    /// `cancel on`: after the first event, up to the one at `last`, or to the timer.
    fn cancelled(&self, last: usize, due: Option<i64>) -> bool {
        let line = self.line;
        let inside = |p: &usize| *p <= last || due.is_some_and(|due| line.ts(*p) <= due);
        let mut until = (self.first + 1..line.slots.len()).take_while(inside);
        !line.rule.cancels.is_empty()
            && until.any(|p| line.rule.cancels.iter().any(|cancel| self.breaks(cancel, p, &self.cut(p))))
    }

    /// The event is one that the absence forbids.
    fn breaks(&self, absence: &'a Absence, at: usize, taken: &Taken) -> bool {
        let slot = &self.line.slots[at];
        let view = View { this: Some(at), taken, own: None, as_of: AsOf::Event(at), tables_at: None };
        slot.by_stream && absence.streams.contains(&slot.stream) && self.line.holds(&absence.condition, view)
    }
}
