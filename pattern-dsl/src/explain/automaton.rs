//! The states that a match goes through and what moves it on.

use super::cost::one_line;
use super::words::{Words, duration, listed, literal};
use crate::ir::{Absence, Arrow, Condition, Module, Rule, Step, Unit, UnitKind};

/// States and edges of one rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Automaton {
    /// The rule's name.
    pub rule: String,
    /// What holds for the whole match: key, filters, bound, overlap.
    pub notes: Vec<String>,
    /// In the order of the match; the first is the start.
    pub states: Vec<State>,
    /// In the order of the states they leave.
    pub edges: Vec<Edge>,
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct State {
    /// Name of the step, set or end.
    pub name: String,
    /// What it takes.
    pub detail: String,
    /// What it is.
    pub kind: StateKind,
}

/// What a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateKind {
    /// Nothing has begun.
    Start,
    /// A unit has begun.
    Unit,
    /// A member of the set that is the state of this index.
    Member(usize),
    /// The rule fires.
    Alert,
    /// The choice is given up.
    Dropped,
    /// `on timeout emit`.
    Timeout,
}

/// What moves a match from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Edge {
    /// Index of the state it leaves.
    pub from: usize,
    /// Index of the state it enters.
    pub to: usize,
    /// How.
    pub kind: EdgeKind,
    /// Bounds and conditions, all of which must hold.
    pub labels: Vec<String>,
}

/// How an edge is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    /// By an event that fits.
    Event,
    /// Without an event: nothing fits an optional unit.
    Skip,
    /// By a further event of a repeat.
    Repeat,
    /// By an event that must not come.
    Kill,
    /// By time.
    Timer,
}

/// The automaton of a rule: a state for each unit, with the members of its sets, and edges with what they ask for.
#[must_use]
pub fn automaton(module: &Module, rule: &Rule) -> Automaton {
    let words = Words { module, rule };
    let mut build = Build { words, out: Automaton::empty(rule), units: Vec::new(), dropped: None };
    build.states();
    build.ends();
    build.notes();
    // Each state's edges together; stable, so that what is written first stays first.
    build.out.edges.sort_by_key(|e| e.from);
    build.out
}

impl Automaton {
    fn empty(rule: &Rule) -> Self {
        let start = State { name: "start".to_owned(), detail: String::new(), kind: StateKind::Start };
        Self { rule: rule.name.clone(), notes: Vec::new(), states: vec![start], edges: Vec::new() }
    }

    fn state(&mut self, name: &str, detail: String, kind: StateKind) -> usize {
        self.states.push(State { name: name.to_owned(), detail, kind });
        self.states.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, kind: EdgeKind, labels: Vec<String>) {
        self.edges.push(Edge { from, to, kind, labels });
    }
}

struct Build<'a> {
    words: Words<'a>,
    out: Automaton,
    /// The state of each unit.
    units: Vec<usize>,
    dropped: Option<usize>,
}

fn terms(condition: &Condition) -> Vec<String> {
    condition.iter().map(|t| one_line(&t.text)).collect()
}

fn absence_text(absence: &Absence) -> String {
    let text = one_line(&absence.text);
    text.strip_prefix("then ").unwrap_or(&text).to_owned()
}

impl<'a> Build<'a> {
    fn rule(&self) -> &'a Rule {
        self.words.rule
    }

    fn dropped(&mut self) -> usize {
        match self.dropped {
            Some(state) => state,
            None => {
                let state = self.out.state("dropped", "given up".to_owned(), StateKind::Dropped);
                self.dropped = Some(state);
                state
            }
        }
    }

    fn kill(&mut self, from: usize, label: String) {
        let to = self.dropped();
        self.out.edge(from, to, EdgeKind::Kill, vec![label]);
    }

    fn states(&mut self) {
        for unit in &self.rule().units {
            let state = match unit.kind {
                UnitKind::Step => self.single(unit),
                _ => self.set(unit),
            };
            self.units.push(state);
        }
        for (index, unit) in self.rule().units.iter().enumerate() {
            self.enter(index, unit);
        }
    }

    fn single(&mut self, unit: &Unit) -> usize {
        let Some(step) = self.rule().steps.get(unit.steps.start) else { return 0 };
        let state = self.step_state(step, StateKind::Unit);
        self.repeat(state, step);
        state
    }

    fn step_state(&mut self, step: &Step, kind: StateKind) -> usize {
        let detail = format!("{} {}", Words::quantity(step), self.words.stream(step.stream));
        self.out.state(&step.name, detail, kind)
    }

    fn set(&mut self, unit: &Unit) -> usize {
        let (name, detail) = match unit.kind {
            UnitKind::All => ("all of".to_owned(), "every member, in any order".to_owned()),
            UnitKind::AtLeast(n) => {
                (format!("at least {n} of"), format!("{n} or more members, in any order"))
            }
            _ => ("one of".to_owned(), "exactly one member".to_owned()),
        };
        let state = self.out.state(unit.name.as_deref().unwrap_or(&name), detail, StateKind::Unit);
        for step in self.rule().steps.get(unit.steps.clone()).unwrap_or(&[]) {
            let member = self.step_state(step, StateKind::Member(state));
            self.out.edge(state, member, EdgeKind::Event, terms(&step.condition));
            self.repeat(member, step);
        }
        state
    }

    fn repeat(&mut self, state: usize, step: &Step) {
        if step.max == Some(1) {
            return;
        }
        let last = self.rule().steps.last() == Some(step);
        let most = match (step.max, last) {
            (Some(max), _) => format!("up to {max}"),
            (None, true) => "any number more".to_owned(),
            (None, false) => "until the next step begins".to_owned(),
        };
        let mut labels = vec![most];
        if step.consecutive {
            labels
                .push(format!("ends before the first {} that does not fit", self.words.stream(step.stream)));
        }
        self.out.edge(state, state, EdgeKind::Repeat, labels);
    }

    /// Edges into a unit: from the one before, and over units that may be empty.
    fn enter(&mut self, index: usize, unit: &Unit) {
        let Some(&to) = self.units.get(index) else { return };
        let before = match index.checked_sub(1) {
            Some(before) => self.units.get(before).copied().unwrap_or(0),
            None => 0,
        };
        let labels = self.entry(index, unit);
        let mut from = before;
        let mut skipped = index;
        self.out.edge(from, to, EdgeKind::Event, labels.clone());
        while let Some(earlier) = skipped.checked_sub(1)
            && earlier > 0
            && self.rule().units.get(earlier).is_some_and(|u| u.may_be_empty(&self.rule().steps))
        {
            skipped = earlier;
            from = self.units.get(earlier - 1).copied().unwrap_or(0);
            let name =
                self.out.states.get(self.units.get(earlier).copied().unwrap_or(0)).map(|s| s.name.clone());
            let mut labels = labels.clone();
            labels.push(format!("no {} fits before", name.unwrap_or_default()));
            self.out.edge(from, to, EdgeKind::Skip, labels);
        }
        if index == 0 {
            for absence in &self.rule().leading {
                self.kill(0, absence_text(absence));
            }
        }
        for absence in &unit.gap {
            self.kill(before, absence_text(absence));
        }
    }

    fn entry(&self, index: usize, unit: &Unit) -> Vec<String> {
        let mut labels = Vec::new();
        if index > 0 {
            match unit.arrow {
                Arrow::Then => {}
                Arrow::First => labels.push("first that fits".to_owned()),
                Arrow::Immediately => {
                    labels.push(format!("immediately: no other {}", self.words.neighbours(unit)));
                }
            }
            let before = self.rule().units.get(index - 1).map(|u| u.steps.clone()).unwrap_or_default();
            for step in self.rule().steps.get(before).unwrap_or(&[]) {
                if let Some(quiet) = &step.quiet {
                    labels.push(format!("quiet for {}", self.words.bound(quiet, None)));
                }
            }
        }
        for absence in unit.gap.iter().filter(|a| a.duration.is_some()) {
            labels.push(format!("after `{}`", absence_text(absence)));
        }
        if let Some(after) = &unit.after {
            labels.push(format!("after {}", self.words.bound(after, None)));
        }
        if let Some(within) = &unit.within {
            labels.push(format!("within {}", self.words.bound(within, None)));
        }
        if unit.kind == UnitKind::Step
            && let Some(step) = self.rule().steps.get(unit.steps.start)
        {
            labels.extend(terms(&step.condition));
        }
        labels
    }

    /// The alert, the time-out, and what cancels.
    fn ends(&mut self) {
        let Some((&last, earlier)) = self.units.split_last() else { return };
        let earlier = earlier.to_vec();
        let alert = self.out.state("alert", "the rule fires".to_owned(), StateKind::Alert);
        let mut labels = self.completion();
        let timer = self.words.timer();
        labels.extend(terms(&self.rule().having).into_iter().map(|t| format!("having {t}")));
        labels.extend(terms(&self.rule().unless).into_iter().map(|t| format!("unless {t}")));
        self.out.edge(last, alert, if timer { EdgeKind::Timer } else { EdgeKind::Event }, labels);
        for absence in &self.rule().trailing {
            self.kill(last, absence_text(absence));
        }
        let stays = timer || self.rule().units.last().is_some_and(|u| self.open(u));
        let waiting: Vec<usize> = earlier.iter().copied().chain(stays.then_some(last)).collect();
        for cancel in &self.rule().cancels {
            for state in &waiting {
                self.kill(*state, one_line(&cancel.text));
            }
        }
        if self.rule().timeout.is_some()
            && let Some(within) = self.rule().within
        {
            let timeout = self.out.state("time-out", "an alert of its own".to_owned(), StateKind::Timeout);
            for state in &waiting {
                let label = format!("{} after the first event", duration(within));
                self.out.edge(*state, timeout, EdgeKind::Timer, vec![label]);
            }
        }
    }

    /// The unit has begun and is not complete at once.
    fn open(&self, unit: &Unit) -> bool {
        let several = match unit.kind {
            UnitKind::All => unit.steps.len() > 1,
            UnitKind::AtLeast(least) => least > 1,
            UnitKind::Step | UnitKind::One => false,
        };
        several || self.rule().steps.get(unit.steps.clone()).unwrap_or(&[]).iter().any(|s| s.min > 1)
    }

    /// What makes the last unit complete.
    fn completion(&self) -> Vec<String> {
        let Some(unit) = self.rule().units.last() else { return Vec::new() };
        let mut labels = Vec::new();
        match (unit.kind, self.rule().steps.get(unit.steps.start)) {
            (UnitKind::Step, Some(step)) => {
                if step.max != Some(1) {
                    labels.push(format!("from number {} on", step.min));
                }
                if let Some(quiet) = &step.quiet {
                    labels.push(format!("quiet for {}", self.words.bound(quiet, None)));
                }
            }
            (UnitKind::All, _) => labels.push("all members have their minimum".to_owned()),
            (UnitKind::AtLeast(n), _) => labels.push(format!("{n} members have their minimum")),
            _ => {}
        }
        labels.extend(self.rule().trailing.iter().map(absence_text));
        labels
    }

    fn notes(&mut self) {
        let mut notes = vec![match self.rule().keys.is_empty() {
            true => "one for all events".to_owned(),
            false => format!("one for each {}", self.words.keys()),
        }];
        if let Some(within) = self.rule().within {
            notes.push(format!("from first to last event at most {}", duration(within)));
        }
        for (index, stream) in self.rule().streams.iter().enumerate().filter(|(_, s)| !s.filter.is_empty()) {
            notes.push(format!(
                "{} only where {}",
                self.words.stream(index),
                listed(&terms(&stream.filter), "and")
            ));
        }
        notes.extend(self.rule().params.iter().map(|(name, value)| format!("{name} = {}", literal(value))));
        self.out.notes = notes;
    }
}
