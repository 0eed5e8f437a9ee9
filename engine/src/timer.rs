//! Deadlines of rules: which are due, and in which order they ring.
//!
//! A timer due at t rings after every event of time t. INVARIANT: the agenda knows of each rule when its earliest timer or
//! sweep is due.

use crate::event::PartitionId;
use crate::interface::Outputs;
use crate::overlap::Surroundings;
use crate::row::Position;
use crate::task::Task;
use pattern_dsl::types::Micros;
use std::collections::BTreeSet;
use std::ops::Range;

/// When rules have something due, so that time looks at no others.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// By partition whose events they see as they come, and last for the merged ones: when, and the rule.
    groups: Vec<BTreeSet<(Micros, usize)>>,
    /// By group: when the first is due. `Micros::MAX` = nothing is.
    first: Vec<Micros>,
    /// By rule.
    due: Vec<Option<Micros>>,
}

impl Agenda {
    fn note(&mut self, at: usize, rule: usize, due: Option<Micros>) {
        let (Some(group), Some(known)) = (self.groups.get_mut(at), self.due.get_mut(rule)) else { return };
        known.map(|known| group.remove(&(known, rule)));
        due.map(|due| group.insert((due, rule)));
        *known = due;
        if let Some(first) = self.first.get_mut(at) {
            *first = group.first().map_or(Micros::MAX, |(due, _)| *due);
        }
    }

    /// Rules that have something due by `until`.
    pub(crate) fn due(&self, until: Micros) -> impl Iterator<Item = usize> {
        let groups = self.groups.iter().zip(&self.first).filter(move |(_, first)| **first <= until);
        groups.flat_map(move |(group, _)| {
            group.iter().take_while(move |(due, _)| *due <= until).map(|(_, rule)| *rule)
        })
    }

    /// When the first of all is due. `Micros::MAX` = nothing is.
    pub(crate) fn earliest(&self) -> Micros {
        self.first.iter().copied().min().unwrap_or(Micros::MAX)
    }
}

impl Task {
    /// Begins the agenda anew: other rules, or another state of theirs.
    pub(crate) fn note_all_due(&mut self) {
        let groups = vec![BTreeSet::new(); self.partition_names.len() + 1];
        let first = vec![Micros::MAX; groups.len()];
        self.agenda = Agenda { groups, first, due: vec![None; self.rules.len()] };
        for rule in 0..self.rules.len() {
            self.note_due(rule);
        }
        self.weigh_all();
    }

    /// Writes down when the rule has its next timer or sweep.
    pub(crate) fn note_due(&mut self, rule: usize) {
        let due = self.rules.get(rule).and_then(|run| run.next_due());
        if self.agenda.due.get(rule) == Some(&due) {
            return;
        }
        let group = self.group(self.direct.get(rule).copied().flatten());
        self.agenda.note(group, rule, due);
    }

    /// Something of the group is due at or before this time.
    pub(crate) fn is_due(&self, group: Option<PartitionId>, until: Micros) -> bool {
        self.agenda.first.get(self.group(group)).is_some_and(|due| *due <= until)
    }

    /// Place in the agenda.
    fn group(&self, partition: Option<PartitionId>) -> usize {
        partition.map_or(self.partition_names.len(), |partition| partition as usize)
    }

    /// Timers of all rules that see events as they come.
    pub(crate) fn ring_direct(&mut self, until: Micros, out: &mut Outputs) {
        for partition in 0..self.partition_names.len() {
            self.ring(Some(partition as PartitionId), until, out);
        }
    }

    /// Fires timers due at or before `until` of the rules of a partition, or of the merged ones, in order of time.
    #[inline(never)]
    pub(crate) fn ring(&mut self, group: Option<PartitionId>, until: Micros, out: &mut Outputs) {
        let before = out.alerts.len();
        let agenda = self.agenda.groups.get(self.group(group)).into_iter().flatten();
        let due = agenda.take_while(|(due, _)| *due <= until).map(|(_, rule)| self.family(*rule));
        let mut families: Vec<usize> = due.collect();
        families.sort_unstable();
        families.dedup();
        for family in families {
            let family = self.revisions_from(family);
            self.ring_family(family.clone(), group, until, out);
            for rule in family {
                if self.direct.get(rule) == Some(&group) {
                    self.sweep(rule, until);
                } else {
                    self.note_due(rule);
                }
            }
        }
        if let Some(fresh) = out.alerts.get_mut(before..) {
            fresh.sort_by_key(|alert| alert.time);
        }
    }

    /// Drops what time has made useless in a rule, up to `until`.
    pub(crate) fn sweep(&mut self, rule: usize, until: Micros) {
        let before = self.weight_of(rule..rule + 1);
        if let Some(run) = self.rules.get_mut(rule) {
            run.sweep(until);
        }
        self.weigh(rule..rule + 1, before);
        self.note_due(rule);
    }

    /// The revisions of the rule whose first revision has this number.
    pub(crate) fn revisions_from(&self, first: usize) -> Range<usize> {
        let rules = self.rules.get(first..).unwrap_or_default();
        let name = rules.first().map(|run| &run.program.name);
        first..first + rules.iter().take_while(|run| Some(&run.program.name) == name).count()
    }

    /// Fires timers due at or before `until` of the revisions of one rule that see events in this group. They share what is
    /// used up, so their timers ring in one order: by time, by the event that each counts from, the older revision's first.
    pub(crate) fn ring_family(
        &mut self,
        family: Range<usize>,
        group: Option<PartitionId>,
        until: Micros,
        out: &mut Outputs,
    ) {
        let own = |task: &Self, number: &usize| task.direct.get(*number) == Some(&group);
        if family.len() == 1 {
            if own(self, &family.start) {
                self.ring_rule(family.start, until, Position::MAX, out);
            }
            return;
        }
        loop {
            let timers = family.clone().filter(|number| own(self, number));
            let timers = timers.filter_map(|number| Some((self.rules.get(number)?.next_timer()?, number)));
            let Some(((due, event), number)) = timers.min().filter(|((due, _), _)| *due <= until) else {
                return;
            };
            self.ring_rule(number, due, event, out);
        }
    }

    /// Fires timers of one rule that are due before `until`, or then and count from the event `last` or one before it.
    fn ring_rule(&mut self, rule: usize, until: Micros, last: Position, out: &mut Outputs) {
        let before = out.alerts.len();
        self.tell(rule, until);
        let around = Surroundings {
            partitions: &self.partition_names,
            limits: &self.options.limits,
            full: self.is_full(),
            refused: false,
            count_only: self.options.count_only,
            alone: self.alone.get(rule).copied().unwrap_or_default(),
            is_read: self.chain.is_read(rule),
            tables: &self.tables,
            journal: None,
        };
        let weight = self.weight_of(rule..rule + 1);
        let Some(run) = self.rules.get_mut(rule) else { return };
        run.ring(until, last, &around, &mut out.alerts, &mut self.used);
        self.weigh(rule..rule + 1, weight);
        self.share_used_up(rule, 0);
        if self.chain.active {
            self.derive(rule, before, out);
        }
    }
}
