//! All choices whose last event is a given one, by trying every beginning.

use crate::eval::{AsOf, Line, View};
use pattern_dsl::ir::{Absence, Arrow};

/// What each step took, as positions in the key's line.
pub(crate) type Choice = Vec<Vec<usize>>;

/// Every choice of unused events (from position `unused` on) whose last event is at `end` and that satisfies the steps,
/// the absences and `match within`. In order: the earlier beginning first, step by step.
pub(crate) fn choices(line: &Line<'_>, unused: usize, end: usize) -> Vec<Choice> {
    let last = line.rule.steps.len() - 1;
    if !line.slots[end].serves[last] {
        return Vec::new();
    }
    let mut search = Search { line, end, taken: vec![Vec::new(); last + 1], found: Vec::new() };
    for first in unused..=end {
        // The last event less the first: at most the bound of the match.
        let long = line.rule.within.is_some_and(|d| line.ts(end).saturating_sub(line.ts(first)) > d);
        if !long && search.fits(0, first) {
            search.begin(0, first);
        }
    }
    let mut found = search.found;
    found.sort_by(|a, b| beginnings(a).cmp(beginnings(b)));
    found
}

fn beginnings(choice: &Choice) -> impl Iterator<Item = usize> {
    choice.iter().filter_map(|taken| taken.first().copied())
}

struct Search<'s, 'a> {
    line: &'s Line<'a>,
    end: usize,
    taken: Choice,
    found: Vec<Choice>,
}

impl<'a> Search<'_, 'a> {
    /// Step `step` begins at `position`, which fits: everything after that, until the choice ends at `end`.
    fn begin(&mut self, step: usize, position: usize) {
        let rule = self.line.rule;
        let this = &rule.steps[step];
        let (min, max) = (this.min as usize, this.max.map_or(usize::MAX, |max| max as usize));
        let mut ended = false;
        self.taken[step].push(position);
        for next in position + 1..=self.end {
            if let Some(after) = rule.steps.get(step + 1) {
                // The next step may begin after the event at which this one reached its minimum.
                if self.taken[step].len() >= min && self.fits(step + 1, next) && self.near(step + 1, next) {
                    if after.gap.iter().all(|absence| self.absent_before(absence, step, next)) {
                        self.begin(step + 1, next);
                    }
                    let only_first =
                        after.arrow == Arrow::First || (after.max.is_none() && !after.consecutive);
                    if only_first {
                        break;
                    }
                }
            }
            // It did not begin here, so this step takes the event if it fits.
            if ended || self.taken[step].len() >= max {
                if self.taken[step].len() < min {
                    break;
                }
            } else if self.fits(step, next) {
                self.taken[step].push(next);
            } else if this.consecutive && self.line.slots[next].stream == this.stream {
                ended = true;
            }
        }
        // The last step ends at any of its events from its minimum on: here, at `end`.
        if step + 1 == rule.steps.len()
            && self.taken[step].len() >= min
            && self.taken[step].last() == Some(&self.end)
            && rule.trailing.iter().all(|absence| self.absent_after(absence))
        {
            self.found.push(self.taken.clone());
        }
        self.taken[step].clear();
    }

    /// The event at `position` fits the step after what the steps have taken so far.
    fn fits(&self, step: usize, position: usize) -> bool {
        let line = self.line;
        let this = &line.rule.steps[step];
        if !line.slots[position].serves[step] {
            return false;
        }
        if let (Some(within), Some(last)) = (this.within, self.last_before(step))
            && line.ts(position).saturating_sub(line.ts(last)) > within
        {
            return false;
        }
        let view =
            View { this: Some(position), taken: &self.taken, own: Some(step), as_of: AsOf::Event(position) };
        line.holds(&this.condition, view)
    }

    /// `then immediately`: no event of the two steps' streams between.
    fn near(&self, step: usize, position: usize) -> bool {
        let steps = &self.line.rule.steps;
        if steps[step].arrow != Arrow::Immediately {
            return true;
        }
        let Some(last) = self.last_before(step) else { return true };
        let streams = [steps[step - 1].stream, steps[step].stream];
        !self.line.slots[last + 1..position].iter().any(|slot| streams.contains(&slot.stream))
    }

    /// The last event of the step before.
    fn last_before(&self, step: usize) -> Option<usize> {
        step.checked_sub(1).and_then(|before| self.taken[before].last()).copied()
    }

    /// Nothing of the absence strictly between the last event of `step` and `next`.
    fn absent_before(&self, absence: &'a Absence, step: usize, next: usize) -> bool {
        let Some(&last) = self.taken[step].last() else { return true };
        !(last + 1..next).any(|p| self.breaks(absence, p))
    }

    /// Nothing of the absence after the choice, up to the end of its duration.
    fn absent_after(&self, absence: &'a Absence) -> bool {
        let until = self.line.ts(self.end).saturating_add(absence.duration.unwrap_or(0));
        let later = self.end + 1..self.line.slots.len();
        !later.take_while(|&p| self.line.ts(p) <= until).any(|p| self.breaks(absence, p))
    }

    /// The event is one that the absence forbids.
    fn breaks(&self, absence: &'a Absence, position: usize) -> bool {
        let slot = &self.line.slots[position];
        let view = View { this: Some(position), taken: &self.taken, own: None, as_of: AsOf::Event(position) };
        slot.by_stream && absence.streams.contains(&slot.stream) && self.line.holds(&absence.condition, view)
    }
}
