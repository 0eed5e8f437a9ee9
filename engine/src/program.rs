//! A compiled rule: what it wants of each stream, its steps, absences and windows, with names turned into slots.
//!
//! Neighbours: [`crate::compile`] makes it; [`crate::index`] finds the roles an event may play; [`crate::advance`] and
//! [`crate::search`] run it.
//! INVARIANT: immutable once compiled; shared by `Arc`.

use crate::event::StreamId;
use crate::expr::Node;
use arcstr::ArcStr;
use pattern_dsl::ir::{Aggregate, Bound, Overlap, Rule};
use pattern_dsl::types::Micros;

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: ArcStr,
    pub(crate) revision: u32,
    pub(crate) rule: Rule,
    /// By rule stream: the task's stream.
    pub(crate) streams: Vec<StreamId>,
    /// Names of the rule's key parts.
    pub(crate) key_names: Vec<ArcStr>,
    /// What it wants of events; at most 64.
    pub(crate) roles: Vec<Role>,
    pub(crate) steps: Vec<StepProgram>,
    pub(crate) absences: Vec<AbsenceProgram>,
    pub(crate) windows: Vec<WindowProgram>,
    pub(crate) latches: Vec<LatchProgram>,
    pub(crate) having: Vec<Node>,
    pub(crate) unless: Vec<Node>,
    pub(crate) severity: Option<Node>,
    pub(crate) score: Option<Node>,
    pub(crate) reason: Vec<ReasonProgram>,
    pub(crate) emit: Vec<(ArcStr, Node)>,
    pub(crate) within: Micros,
    /// Longest trailing absence; 0 if there is none.
    pub(crate) trailing: Micros,
    /// How long after its first event a choice may still need its rows.
    pub(crate) horizon: Micros,
    pub(crate) cooldown: Option<Micros>,
    pub(crate) overlap: Overlap,
    /// Some step looks at what comes directly before it.
    pub(crate) strict: bool,
    /// All roles find the key in the same slots of their stream.
    pub(crate) uniform_keys: bool,
    /// Roles that begin something for a key.
    pub(crate) creating: u64,
    /// Roles after which the values of windows are needed.
    pub(crate) reading: u64,
}

impl Program {
    /// How far before a moment the events lie that it looks at.
    pub(crate) fn reads_back(&self) -> Micros {
        let leading = self.rule.leading.iter().filter_map(|absence| absence.duration.as_ref());
        let leading = leading.map(Bound::longest).max().unwrap_or(0);
        self.horizon.saturating_add(leading)
    }
}

/// One thing a rule wants events for.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) kind: RoleKind,
    /// Rule stream.
    pub(crate) stream: usize,
    /// Slots of the key parts.
    pub(crate) keys: Vec<usize>,
    /// Predicates of the stream that must hold, by their number in the index.
    pub(crate) predicates: Vec<u32>,
    /// Further terms that need the key, windows or latches, but no step.
    pub(crate) keyed: Vec<Node>,
}

/// What the event would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleKind {
    Step(usize),
    Absence(usize),
    Window(usize),
    /// Looked at for strictness, whatever it says.
    Look,
    /// Looked at by the latches, whatever it says.
    Latch,
}

#[derive(Debug)]
pub(crate) struct StepProgram {
    pub(crate) name: ArcStr,
    pub(crate) stream_name: ArcStr,
    pub(crate) stream: usize,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) consecutive: bool,
    pub(crate) immediately: bool,
    /// It may begin only at the first event that fits.
    pub(crate) first_only: bool,
    pub(crate) within: Option<Micros>,
    /// Terms that read other steps, or what the step itself has taken.
    pub(crate) cross: Vec<Node>,
    /// Absences between the step before and this one: indices into `absences`.
    pub(crate) gap: Vec<usize>,
    /// Rows keep the values of windows.
    pub(crate) keeps_windows: bool,
    /// Rows must be kept after they have been looked at as an end.
    pub(crate) keeps_end: bool,
    /// For evidence: slot, dotted name, masked.
    pub(crate) shown: Vec<(usize, ArcStr, bool)>,
    /// Its `where` and its stream's `from`, term by term, for evidence and for `why`.
    pub(crate) terms: Vec<TermProgram>,
}

/// A term with its text; a comparison also with its sides.
#[derive(Debug)]
pub(crate) struct TermProgram {
    pub(crate) text: String,
    pub(crate) test: Node,
    pub(crate) sides: Option<(Node, Node)>,
}

#[derive(Debug)]
pub(crate) struct AbsenceProgram {
    pub(crate) text: String,
    pub(crate) duration: Micros,
    /// By its streams: terms that read steps. None has any = the floor decides.
    pub(crate) cross: Vec<(StreamId, Vec<Node>)>,
    /// Forbidding events must be kept: their condition reads steps, or several trailing ends differ.
    pub(crate) keeps_rows: bool,
    /// It comes after the last step.
    pub(crate) trailing: bool,
}

#[derive(Debug)]
pub(crate) struct WindowProgram {
    pub(crate) aggregate: Aggregate,
    pub(crate) argument: Option<Node>,
    pub(crate) span: Micros,
    pub(crate) before: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct LatchProgram {
    pub(crate) value: Node,
    pub(crate) limit: Node,
    /// Windows that `value` reads.
    pub(crate) windows: Vec<usize>,
}

#[derive(Debug)]
pub(crate) enum ReasonProgram {
    Text(String),
    Value(Node),
}
