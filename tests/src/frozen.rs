//! A task that is saved in slices, while it works, in levels that each hold what has changed since the one before.

use crate::feed::{Engine, Feed, Steps, order};
use crate::properties::{Verdict, feed};
use crate::{compile, properties};
use oracle::random::{Case, revised};
use pattern_dsl::ir::Module;
use pattern_dsl::types::Micros;

/// A run over a case, with a change of its rules at some place.
struct Run<'a> {
    case: &'a Case,
    module: &'a Module,
    next: Option<&'a Module>,
    feed: Feed,
    order: Vec<usize>,
    /// Before this event the rules change.
    place: usize,
}

/// A moment at which the task was frozen.
struct Cut {
    /// Events before it.
    nth: usize,
    alerts: usize,
    /// When the rules had changed, if they had.
    at: Option<Micros>,
    /// What it holds, saved at once.
    full: Vec<u8>,
}

impl<'a> Run<'a> {
    fn engine(&self) -> Engine<'a> {
        Engine::new(self.module, &[], &self.case.tables, self.feed)
    }

    /// The event at this place; before it the rules change, if it is their place.
    fn event(&self, engine: &mut Engine<'a>, nth: usize, at: &mut Option<Micros>) {
        if let Some(next) = self.next.filter(|_| nth == self.place) {
            *at = Some(engine.swap(next));
        }
        let number = self.order[nth];
        engine.event(number, &self.case.events[number]);
    }

    /// A new task with what was saved, which must be what the other was at the cut.
    fn restored(&self, levels: &[Vec<u8>], cut: &Cut) -> Result<Engine<'a>, String> {
        let mut engine = self.engine();
        if let (Some(at), Some(next)) = (cut.at, self.next) {
            engine.task().rebuild();
            engine.swap_at(next, at);
        }
        engine.task().restore(levels)?;
        match engine.task().save() == cut.full {
            true => Ok(engine),
            false => {
                Err(format!("{} levels, saved before event {}, hold another state", levels.len(), cut.nth))
            }
        }
    }

    /// The rest of the run.
    fn goes_on(&self, mut engine: Engine<'a>, cut: &Cut) -> Vec<String> {
        let mut at = cut.at;
        (cut.nth..self.order.len()).for_each(|nth| self.event(&mut engine, nth, &mut at));
        engine.time(properties::end(self.case) + 1);
        properties::whole(&engine.end().alerts)
    }
}

/// (10) What is saved in slices is the state of the moment at which it was frozen, whatever came between them, and a task goes on
/// from there as the other did.
pub(crate) fn a_state_saved_in_slices_is_that_of_its_moment(case: &Case, module: &Module) -> Verdict {
    let next = revised(case, 1).filter(|next| next.text != case.text).and_then(|next| compile(&next).ok());
    let (feed, mut dice) = (feed(case), Steps(case.seed));
    let order = order(module, &case.events, feed);
    let place = dice.below(order.len() + 1);
    let run = Run { case, module, next: next.as_ref(), feed, order, place };
    let (mut engine, mut at) = (run.engine(), None);
    let (mut levels, mut level) = (Vec::new(), Vec::new());
    let mut cut: Option<Cut> = None;
    let mut last = None;
    for nth in 0..run.order.len() {
        match &cut {
            None if dice.below(3) == 0 => {
                if dice.below(6) == 0 {
                    levels.clear();
                }
                let full = engine.task().save();
                engine.task().freeze(levels.is_empty());
                cut = Some(Cut { nth, alerts: engine.alerts(), at, full });
            }
            Some(_) if dice.below(2) == 0 && !engine.task().save_more(dice.below(4), &mut level) => {
                levels.push(std::mem::take(&mut level));
                let whole = cut.take().map(|cut| run.restored(&levels, &cut).map(|engine| (engine, cut)));
                match whole {
                    Some(Ok(restored)) => last = Some(restored),
                    Some(Err(why)) => return Verdict::Broken(why),
                    None => {}
                }
            }
            _ => {}
        }
        run.event(&mut engine, nth, &mut at);
    }
    engine.time(properties::end(case) + 1);
    let Some((restored, cut)) = last else { return Verdict::Silent };
    let alerts = properties::whole(&engine.end().alerts);
    properties::same(&alerts[cut.alerts..], &run.goes_on(restored, &cut))
}
