//! Rules that differ in names, words and limits alone are matched by one program: however many they are, it stays near.

use crate::program::{BoundProgram, Shape};
use std::sync::Arc;

/// Shapes that further rules are compared with; of so many that differ, the latest.
const KNOWN: usize = 64;

/// Shapes of rules, the one last met first.
#[derive(Debug, Default)]
pub(crate) struct Shapes(Vec<(String, Arc<Shape>)>);

impl Shapes {
    /// The same shape, as a rule before has it if one does.
    pub(crate) fn share(&mut self, shape: Arc<Shape>) -> Arc<Shape> {
        if has_own(&shape) {
            return shape;
        }
        // Written out, shapes that are alike to the last digit of a number read alike, and no others.
        let text = format!("{shape:?}");
        let known = self.0.iter().position(|(known, _)| *known == text);
        let known = known.map_or_else(|| (text, shape), |known| self.0.remove(known));
        let shape = Arc::clone(&known.1);
        self.0.insert(0, known);
        self.0.truncate(KNOWN);
        shape
    }
}

/// It says what is masked, which depends on the rule.
fn has_own(shape: &Shape) -> bool {
    let read = |bound: &Option<BoundProgram>| matches!(bound, Some(BoundProgram::Read(_)));
    shape.units.iter().any(|unit| read(&unit.within) || read(&unit.after))
        || shape.steps.iter().any(|step| read(&step.quiet))
        || shape.absences.iter().any(|absence| read(&absence.duration))
}
