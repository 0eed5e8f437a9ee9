//! A rule in a few sentences.

use super::words::{Words, duration, listed};
use crate::ir::{Absence, Arrow, Expr, Module, Rule, Unit, UnitKind};
use crate::types::Literal;

/// What the rule looks for, in plain English: the match in one sentence, then what narrows it, then what the alert says.
#[must_use]
pub fn paraphrase(module: &Module, rule: &Rule) -> String {
    let words = Words { module, rule };
    let mut sentences = vec![words.matched()];
    sentences.extend(words.filters());
    sentences.extend(rule.cancels.iter().map(|c| words.cancelled(c)));
    if !rule.having.is_empty() {
        sentences.push(format!("Only if {}.", words.condition(&rule.having, None)));
    }
    if !rule.unless.is_empty() {
        sentences.push(format!("Not if {}.", words.condition(&rule.unless, None)));
    }
    sentences.extend(words.timed_out());
    sentences.extend(words.graded());
    sentences.join("\n")
}

impl Words<'_> {
    /// `For each card_id: .., all within 10 minutes.`
    fn matched(&self) -> String {
        let mut text = match self.rule.keys.is_empty() {
            true => "Over all events together: ".to_owned(),
            false => format!("For each {}: ", self.keyed()),
        };
        for absence in &self.rule.leading {
            let span = absence.duration.as_ref().map(|d| self.bound(d, None)).unwrap_or_default();
            text += &format!("no {} in the {span} before, then ", self.absent(absence));
        }
        for (index, unit) in self.rule.units.iter().enumerate() {
            if index > 0 {
                text += &self.joined(unit);
            }
            text += &self.unit(unit);
        }
        let ends: Vec<String> = self.rule.trailing.iter().map(|a| self.trailing(a)).collect();
        if !ends.is_empty() {
            text += &format!(", then {}", listed(&ends, "and"));
        }
        if let Some(within) = self.rule.within {
            text += &format!(", all within {}", duration(within));
        }
        text + "."
    }

    /// The key's parts, with the fields they are where those have other names.
    fn keyed(&self) -> String {
        let parts = self.rule.keys.iter().enumerate().map(|(part, key)| {
            let mut places: Vec<String> = Vec::new();
            let of_streams = self.rule.streams.iter().enumerate().filter_map(|(index, stream)| {
                let field = *stream.keys.as_ref()?.get(part)?;
                Some((self.stream(index).to_owned(), index, field))
            });
            let of_steps = self.rule.steps.iter().filter_map(|step| {
                let field = *step.keys.get(part)?;
                let plain = self.rule.streams.get(step.stream).and_then(|s| s.keys.as_ref()?.get(part));
                (plain != Some(&field)).then(|| (step.name.clone(), step.stream, field))
            });
            for (name, stream, field) in of_streams.chain(of_steps) {
                places.push(format!("{name}.{}", self.field(stream, field)));
            }
            let own = format!(".{}", key.name);
            match places.iter().all(|place| place.ends_with(&own)) {
                true => key.name.clone(),
                false => format!("{} ({})", key.name, places.join(", ")),
            }
        });
        listed(&parts.collect::<Vec<_>>(), "and")
    }

    /// The arrow, its bounds and what must not come in between.
    fn joined(&self, unit: &Unit) -> String {
        let mut text = String::from(", then ");
        if unit.arrow == Arrow::Immediately {
            text += &format!("with no other {} in between, ", self.neighbours(unit));
        }
        for absence in &unit.gap {
            text += &match &absence.duration {
                None => format!("with no {} in between, ", self.absent(absence)),
                Some(d) => {
                    let (what, span) = (self.absent(absence), self.bound(d, None));
                    format!("after {span} without {what}, ")
                }
            };
        }
        let after = unit.after.as_ref().map(|b| format!("at least {}", self.bound(b, None)));
        let within = unit.within.as_ref().map(|b| format!("at most {}", self.bound(b, None)));
        let bounds: Vec<String> = after.into_iter().chain(within).collect();
        if !bounds.is_empty() {
            text += &format!("{} later, ", listed(&bounds, "and"));
        }
        if unit.arrow == Arrow::First {
            text += "taking the first that fits, ";
        }
        text
    }

    /// Streams that an `immediately` looks at: those of the unit and of the one before.
    pub(super) fn neighbours(&self, unit: &Unit) -> String {
        let own = self.rule.units.iter().position(|u| u == unit).unwrap_or(0);
        let first = self.rule.units.get(own.saturating_sub(1)).map_or(0, |u| u.steps.start);
        let mut names: Vec<String> = Vec::new();
        for step in self.rule.steps.get(first..unit.steps.end).unwrap_or(&[]) {
            let name = self.stream(step.stream).to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        listed(&names, "or")
    }

    fn unit(&self, unit: &Unit) -> String {
        let steps: Vec<String> = unit.steps.clone().map(|step| self.member(step)).collect();
        let name = unit.name.as_ref().map(|n| format!(" (as {n})")).unwrap_or_default();
        match unit.kind {
            UnitKind::Step => steps.join(""),
            UnitKind::All => format!("all of these in any order: {}", joined_by(&steps)),
            UnitKind::One => format!("one of these{name}: {}", listed(&steps, "or")),
            UnitKind::AtLeast(least) => {
                format!("at least {least} of these in any order: {}", joined_by(&steps))
            }
        }
    }

    fn member(&self, index: usize) -> String {
        let Some(step) = self.rule.steps.get(index) else { return String::new() };
        let condition = self.condition_after(&step.condition, Some(step.stream));
        let quiet = step.quiet.as_ref().map(|d| format!(" until no more comes for {}", self.bound(d, None)));
        format!("{}{condition}{}", self.step_head(step), quiet.unwrap_or_default())
    }

    fn trailing(&self, absence: &Absence) -> String {
        let span = absence.duration.as_ref().map(|d| self.bound(d, None)).unwrap_or_default();
        format!("no {} for {span}", self.absent(absence))
    }

    fn filters(&self) -> Vec<String> {
        let streams = self.rule.streams.iter().enumerate().filter(|(_, s)| !s.filter.is_empty());
        streams
            .map(|(index, s)| {
                let condition = self.condition(&s.filter, Some(index));
                format!("Of {} only events with {condition} count.", self.stream(index))
            })
            .collect()
    }

    fn cancelled(&self, cancel: &Absence) -> String {
        let until = match self.timer() {
            true => "before the timer",
            false => "up to the last event",
        };
        format!("Cancelled by any {} after the first event and {until}.", self.absent(cancel))
    }

    /// The match ends by a timer.
    pub(super) fn timer(&self) -> bool {
        let last = self.rule.units.last();
        let quiet = last.is_some_and(|u| u.steps.clone().any(|s| self.quiet(s)));
        quiet || !self.rule.trailing.is_empty()
    }

    fn quiet(&self, step: usize) -> bool {
        self.rule.steps.get(step).is_some_and(|s| s.quiet.is_some())
    }

    fn timed_out(&self) -> Option<String> {
        let pairs = self.rule.timeout.as_ref()?;
        let (first, within) = (self.rule.steps.first()?, self.rule.within?);
        Some(format!(
            "If {} pass after {} that began no alert and was not cancelled, an alert with {} says how far it came.",
            duration(within),
            self.step_head(first),
            self.object(pairs)
        ))
    }

    fn graded(&self) -> Option<String> {
        let severity = match &self.rule.severity {
            None => "Severity: medium".to_owned(),
            Some(Expr::Literal(Literal::String(word))) => format!("Severity: {word}"),
            Some(e) => format!("Severity: {}", plain_words(&self.expr(e, None))),
        };
        let score = self.rule.score.as_ref().map(|e| format!("; score: {}", self.expr(e, None)));
        Some(format!("{severity}{}.", score.unwrap_or_default()))
    }
}

/// Words of an enum without quotes.
fn plain_words(text: &str) -> String {
    ["info", "low", "medium", "high", "critical"]
        .iter()
        .fold(text.to_owned(), |text, word| text.replace(&format!("\"{word}\""), word))
}

/// `a; b; c`: members have commas of their own.
fn joined_by(members: &[String]) -> String {
    members.join("; ")
}
