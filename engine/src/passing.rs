//! A rule whose match is one event, and that keeps nothing of it: no key's state is looked at, and no search is needed.
//!
//! INVARIANT: what it does is what [`crate::step`] would do with the event in the state of a key that holds nothing.

use crate::advance::Turn;
use crate::alert::FiredBy;
use crate::expr::{Looked, Scope};
use crate::overlap::{Moment, UsedUp, fire_alone};
use crate::program::RoleKind;
use crate::row::{Row, Rows};
use crate::search::all_true;
use crate::value::Value;
use pattern_dsl::ir::Overlap;

impl Turn<'_, '_> {
    /// Takes an event under a key of which nothing is held.
    pub(crate) fn pass(&mut self, roles: u64, key: &[Value]) {
        let (program, view, around) = (self.program, self.event.view, self.around);
        let scope = Scope {
            this: Some(Looked::Event(&view)),
            program: Some(program),
            key,
            taken: &[],
            own: 0,
            windows: &[],
            latches: u32::MAX,
            partitions: around.partitions,
            tables: around.tables,
            time: view.ts,
        };
        let accepts = self.state.accepts(view.ts);
        for role in program.playing(roles & program.stepping) {
            let RoleKind::Step(number) = role.kind else { continue };
            if !all_true(&role.keyed, &scope) {
                continue;
            }
            let stats = &mut self.state.stats;
            stats.step_events.get_mut(number).into_iter().for_each(|count| *count += 1);
            if !accepts {
                continue;
            }
            stats.step_reached.get_mut(number).into_iter().for_each(|count| *count += 1);
            let kept = program.steps.get(number).map_or(&[][..], |step| &step.kept);
            let row = Row::new(&view, self.pos, kept, None);
            let taken = [Rows::One(&row)];
            let scope = Scope { this: None, taken: &taken, ..scope };
            let moment = Moment { time: view.ts, by: FiredBy::Event, end: self.pos, key, windows: &[] };
            let fired = fire_alone(program, stats, &moment, around, &scope, self.out);
            if fired && program.overlap == Overlap::None && !around.alone {
                self.used.push(UsedUp { key: key.into(), last: self.pos, sent: Vec::new() });
            }
        }
    }
}
