//! Deadlines of rules: which are due, and in which order they ring.
//!
//! A timer due at t rings after every event of time t. INVARIANT: `due` of a group is never later than its earliest timer.

use crate::event::PartitionId;
use crate::interface::Outputs;
use crate::overlap::Surroundings;
use crate::row::Position;
use crate::task::Task;
use pattern_dsl::types::Micros;
use std::ops::Range;

impl Task {
    /// After a restore: the next timers are to be looked for again.
    pub(crate) fn ring_all_next(&mut self) {
        self.due = vec![Micros::MIN; self.partition_names.len() + 1];
    }

    /// Place in `due`.
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
    pub(crate) fn ring(&mut self, group: Option<PartitionId>, until: Micros, out: &mut Outputs) {
        let before = out.alerts.len();
        let mut next = Micros::MAX;
        let mut number = 0;
        while number < self.rules.len() {
            let family = self.revisions_from(number);
            number = family.end;
            self.ring_family(family.clone(), group, until, out);
            let runs = family.clone().zip(self.rules.get_mut(family).unwrap_or_default());
            for (_, run) in runs.filter(|(number, _)| self.direct.get(*number) == Some(&group)) {
                run.sweep(until);
                next = next.min(run.next_due().unwrap_or(Micros::MAX));
            }
        }
        let place = self.group(group);
        if let Some(due) = self.due.get_mut(place) {
            *due = next;
        }
        if let Some(fresh) = out.alerts.get_mut(before..) {
            fresh.sort_by_key(|alert| alert.time);
        }
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
        let around = Surroundings {
            partitions: &self.partition_names,
            limits: &self.options.limits,
            count_only: self.options.count_only,
            is_read: self.chain.is_read(rule),
            tables: &self.tables,
            journal: None,
        };
        let Some(run) = self.rules.get_mut(rule) else { return };
        run.ring(until, last, around, &mut out.alerts, &mut self.used);
        self.share_used_up(rule, 0);
        if self.chain.active {
            self.derive(rule, before, out);
        }
    }
}
