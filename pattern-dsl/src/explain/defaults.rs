//! What holds for a rule although it does not say so.

use super::words::{Words, duration, listed};
use crate::ir::{Arrow, Bound, Expr, Mode, Module, Overlap, Rule, UnitKind};

/// The defaults that apply to this rule, each a sentence: what is ignored, what an alert uses up, when it fires, how
/// bounds and nulls count, what time waits for.
#[must_use]
pub fn defaults(module: &Module, rule: &Rule) -> Vec<String> {
    let words = Words { module, rule };
    let mut all = vec![words.ignored()];
    all.extend(words.choice());
    all.extend(words.ending());
    all.push(words.overlap());
    all.push(words.cooldown());
    all.extend(words.latch());
    all.extend(words.bounds());
    all.extend(words.unknown());
    all.extend(words.warming());
    all.extend(words.alerts());
    all.extend(words.time());
    all.push(words.sent());
    all.into_iter().filter(|sentence| !sentence.is_empty()).collect()
}

impl Words<'_> {
    fn several(&self) -> bool {
        self.rule.steps.len() > 1 || self.rule.steps.iter().any(|s| s.max != Some(1))
    }

    fn ignored(&self) -> String {
        if !self.several() {
            return "One event is enough; others are ignored.".to_owned();
        }
        let mut strict: Vec<String> = Vec::new();
        for unit in self.rule.units.iter().skip(1).filter(|u| u.arrow == Arrow::Immediately) {
            strict.push(format!("{} before `immediately`", self.neighbours(unit)));
        }
        for step in self.rule.steps.iter().filter(|s| s.consecutive) {
            strict.push(format!("{} that do not fit, while {} repeats", self.stream(step.stream), step.name));
        }
        match strict.is_empty() {
            true => "Other events in between are ignored.".to_owned(),
            false => format!("Other events in between are ignored, but for {}.", listed(&strict, "and")),
        }
    }

    fn choice(&self) -> Vec<String> {
        let mut all = Vec::new();
        let repeated: Vec<String> =
            self.rule.steps.iter().filter(|s| s.max != Some(1)).map(|s| s.name.clone()).collect();
        if !repeated.is_empty() {
            let names = listed(&repeated, "and");
            all.push(format!(
                "{names}: takes every event that fits until the next step begins, never a part of them."
            ));
        }
        let optional: Vec<String> =
            self.rule.steps.iter().filter(|s| s.optional).map(|s| s.name.clone()).collect();
        if !optional.is_empty() {
            let names = listed(&optional, "and");
            all.push(format!("{names}: left out only if no event fits before the next step begins."));
        }
        if self.rule.steps.first().is_some_and(|s| s.max.is_some_and(|m| m > 1))
            && self.rule.leading.is_empty()
        {
            all.push(
                "The first step may begin late, so its upper number can be met by leaving out the first events (W216)."
                    .to_owned(),
            );
        }
        all
    }

    /// When a repeat, a set or a timer at the end fires.
    fn ending(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.timer() {
            all.push(
                "It fires by a timer when time has passed, not by an event; `run` and `backtest` report what is still open at the end, `--to-end` lets it fire."
                    .to_owned(),
            );
            return all;
        }
        let Some(last) = self.rule.units.last() else { return all };
        let step = self.rule.steps.get(last.steps.start);
        match (last.kind, step) {
            (UnitKind::Step, Some(step)) if step.max != Some(1) => {
                let (name, least) = (&step.name, step.min);
                // What may still turn the choice down when the minimum is there: it is looked at again.
                let clause = match (self.rule.having.is_empty(), self.rule.unless.is_empty()) {
                    (true, true) => None,
                    (false, true) => Some("`having` holds"),
                    (true, false) => Some("`unless` does not hold"),
                    (false, false) => Some("`having` holds and `unless` does not"),
                };
                all.push(match clause {
                    None => format!(
                        "A repeat at the end fires at its minimum: at {name} number {least}, later ones are not waited for."
                    ),
                    Some(clause) => format!(
                        "A repeat at the end is looked at from {name} number {least} on, again with each later one, until {clause}: then it fires."
                    ),
                });
            }
            (UnitKind::All, _) => {
                all.push("The set at the end fires with the last member that it needs.".to_owned());
            }
            (UnitKind::AtLeast(least), _) => {
                all.push(format!("The set at the end fires with its member number {least}."));
            }
            _ => {}
        }
        all
    }

    fn overlap(&self) -> String {
        let named = |step: usize| {
            let unit = self.rule.units.iter().find(|u| u.steps.contains(&step));
            unit.and_then(|u| u.name.clone()).unwrap_or_else(|| self.step(step).to_owned())
        };
        match self.rule.overlap {
            Overlap::None if self.several() => {
                "An alert closes everything up to its last event: the next needs a new beginning.".to_owned()
            }
            Overlap::None => "Each event begins one alert at most.".to_owned(),
            Overlap::PerStart => {
                "A first event begins one alert; every other event may serve in several.".to_owned()
            }
            Overlap::PerEnd => "One alert at a moment; events may serve in later ones again.".to_owned(),
            Overlap::From(step) => {
                format!("An alert uses up what lies before its first {}: that may begin the next.", named(step))
            }
            Overlap::FromLast(step) => {
                format!("An alert uses up what lies before its last {}: that may begin the next.", named(step))
            }
            Overlap::All => {
                "Every choice of events is an alert of its own, 1,000 at one moment at most; nothing is used up."
                    .to_owned()
            }
        }
    }

    fn cooldown(&self) -> String {
        let Some(cooldown) = self.rule.cooldown else {
            let window = self.rule.steps.iter().flat_map(|s| &s.condition).any(|t| reads_window(&t.expr));
            return match window && self.limits().is_empty() {
                true => "No cool-down: every event may alert while the window says so (W210).".to_owned(),
                false => "No cool-down: every match alerts.".to_owned(),
            };
        };
        let mut per: Vec<String> = self.rule.keys.iter().map(|k| k.name.clone()).collect();
        per.extend(self.rule.cooldown_per.iter().map(|e| self.expr(e, None)));
        let per = if per.is_empty() { String::new() } else { format!(" per {}", listed(&per, "and")) };
        let span = duration(cooldown);
        format!(
            "One alert{per} in {span}, counted from the last one sent; after exactly {span} it fires again. A match it silences still uses up its events."
        )
    }

    /// `reaches` terms: value and limit.
    fn limits(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for step in &self.rule.steps {
            for term in &step.condition {
                if let Expr::Reaches(_, value, limit) = &term.expr {
                    let this = Some(step.stream);
                    found.push((self.expr(value, this), self.expr(limit, this)));
                }
            }
        }
        found
    }

    fn latch(&self) -> Vec<String> {
        let one = |(value, limit): (String, String)| {
            format!(
                "`reaches` fires once when {value} comes to {limit}, then only after it was below {limit}: an hour's outage gives one alert, whatever the cool-down."
            )
        };
        self.limits().into_iter().map(one).collect()
    }

    fn bounds(&self) -> Vec<String> {
        let rule = self.rule;
        let absences = || {
            let gaps = rule.units.iter().flat_map(|u| &u.gap);
            rule.leading.iter().chain(&rule.trailing).chain(gaps)
        };
        let read = |b: &Option<Bound>| matches!(b, Some(Bound::Read { .. }));
        let mut all = Vec::new();
        let arrows = rule.units.iter().any(|u| u.after.is_some() || u.within.is_some());
        if (rule.within.is_some() && self.several()) || arrows {
            all.push("Bounds include their ends: an event at exactly the bound still counts.".to_owned());
        }
        if absences().any(|a| a.duration.is_some()) {
            all.push(
                "`for` includes its end: an event at exactly its end still breaks the absence.".to_owned(),
            );
        }
        let quiet = rule.steps.iter().any(|s| s.quiet.is_some());
        if quiet {
            all.push("`until quiet` ends a repeat at a gap longer than its bound; a burst below its minimum is nothing.".to_owned());
        }
        let arrows = rule.units.iter().any(|u| read(&u.after) || read(&u.within));
        if arrows || absences().any(|a| read(&a.duration)) || rule.steps.iter().any(|s| read(&s.quiet)) {
            all.push("A bound that is read is cut to its limit, and the alert says so; null is no deadline, and counted.".to_owned());
        }
        let guarded = rule.units.windows(2).any(|pair| match pair {
            [before, after] => !after.gap.is_empty() && before.steps.clone().any(|s| self.open_ended(s)),
            _ => false,
        });
        if guarded {
            all.push("A `no` in between starts at the last event of the step before, whatever that took; `cancel on` guards the whole match (W217).".to_owned());
        }
        all
    }

    fn open_ended(&self, step: usize) -> bool {
        self.rule.steps.get(step).is_some_and(|s| s.optional || s.max != Some(1))
    }

    fn unknown(&self) -> Vec<String> {
        let mut places = Vec::new();
        let gaps = self.rule.units.iter().flat_map(|u| &u.gap);
        let mut absences = self.rule.leading.iter().chain(&self.rule.trailing).chain(gaps);
        if absences.any(|a| !a.condition.is_empty()) {
            places.push("breaks no absence".to_owned());
        }
        if self.rule.cancels.iter().any(|c| !c.condition.is_empty()) {
            places.push("cancels nothing".to_owned());
        }
        if !self.rule.unless.is_empty() {
            places.push("silences nothing".to_owned());
        }
        let conditions =
            self.rule.steps.iter().any(|s| !s.condition.is_empty()) || !self.rule.having.is_empty();
        if conditions {
            places.insert(0, "matches nothing".to_owned());
        }
        if places.is_empty() {
            return Vec::new();
        }
        vec![format!("Unknown (null) {}.", listed(&places, "and"))]
    }

    fn warming(&self) -> Vec<String> {
        let leading = !self.rule.leading.is_empty();
        let baseline = self.rule.windows.iter().any(|w| w.before.is_some());
        match leading || baseline {
            true => vec![
                "In `serve` it waits until what it looks back on is covered (`warming`); in `run` and `test` the past before the first event is empty."
                    .to_owned(),
            ],
            false => Vec::new(),
        }
    }

    fn alerts(&self) -> Option<String> {
        Some(match self.rule.reads_alerts.as_deref()? {
            [] => {
                "It reads alerts, shadow ones too, of every rule that does not read alerts itself.".to_owned()
            }
            names => format!("It reads alerts, shadow ones too, of {}.", listed(names, "and")),
        })
    }

    /// What time waits for, streams of the same settings together.
    fn time(&self) -> Vec<String> {
        let mut groups: Vec<((i64, i64, bool), Vec<String>)> = Vec::new();
        for (index, stream) in self.rule.streams.iter().enumerate() {
            let Some(stream) = self.module.streams.get(stream.stream) else { continue };
            if self.rule.reads_alerts.is_some() && stream.name == "alert" {
                continue;
            }
            let settings = (stream.late, stream.idle, stream.time.in_order);
            let name = self.stream(index).to_owned();
            match groups.iter_mut().find(|(s, _)| *s == settings) {
                Some((_, names)) => names.push(name),
                None => groups.push((settings, vec![name])),
            }
        }
        let one = |((late, idle, in_order), names): ((i64, i64, bool), Vec<String>)| {
            let names = listed(&names, "and");
            let late = match (late, in_order) {
                (_, true) => "partitions are in order".to_owned(),
                (0, false) => "no late events are waited for (late 0s)".to_owned(),
                (late, false) => format!("events up to {} late are waited for", duration(late)),
            };
            format!("{names}: {late}; a partition silent for {} holds nothing up.", duration(idle))
        };
        groups.into_iter().map(one).collect()
    }

    fn sent(&self) -> String {
        let mode = match self.rule.mode {
            Mode::Live => "live",
            Mode::Shadow => "shadow: alerts go to the shadow topic only",
            Mode::Off => "off",
        };
        let place = if self.rule.send.is_empty() { "Sent to the default alerts topic. " } else { "" };
        format!("{place}Mode: {mode}.")
    }
}

fn reads_window(e: &Expr) -> bool {
    let mut found = false;
    super::cost::walk(e, &mut |e| found |= matches!(e, Expr::Window(_)));
    found
}
