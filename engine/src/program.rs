//! A compiled rule: what it wants of each stream, its steps, absences and windows, with names turned into slots.
//!
//! Neighbours: [`crate::compile`] makes it; [`crate::index`] finds the roles an event may play; [`crate::advance`] and
//! [`crate::search`] run it.
//! INVARIANT: immutable once active; shared by `Arc`.

use crate::alert::Shown;
use crate::event::StreamId;
use crate::expr::{Node, Scope};
use crate::past::Past;
use crate::row::Source;
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::{Aggregate, BinaryOp, Bound, MaskedFields, Overlap, Rule, UnitKind};
use pattern_dsl::types::Micros;
use smallvec::SmallVec;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A compiled rule: what is its own, beside the [`Shape`] that it shares with rules like it.
#[derive(Debug)]
pub(crate) struct Program {
    /// What its matching reads; found through the program itself.
    pub(crate) shape: Arc<Shape>,
    pub(crate) name: ArcStr,
    pub(crate) revision: u32,
    pub(crate) rule: Rule,
    /// Names of its streams.
    pub(crate) stream_names: Vec<ArcStr>,
    /// What of its streams and tables is masked; [`crate::mask`] sets the flags from it.
    pub(crate) masked: MaskedFields,
    /// Its alerts show a masked field where other rules can read it.
    pub(crate) masks_alerts: bool,
    /// Names of the rule's key parts, and whether they are masked.
    pub(crate) keys: Vec<(ArcStr, bool)>,
    /// By role: predicates of the stream that must hold, by their number in the index.
    pub(crate) predicates: Vec<Vec<u32>>,
    /// By step.
    pub(crate) texts: Vec<StepText>,
    /// Words that its steps ask for: what rows need not keep.
    pub(crate) words: Vec<Value>,
    pub(crate) having: Vec<TermProgram>,
    pub(crate) unless: Vec<TermProgram>,
    pub(crate) severity: Option<Output>,
    pub(crate) score: Option<Output>,
    pub(crate) reason: Vec<ReasonProgram>,
    pub(crate) emit: Vec<(ArcStr, Output)>,
    /// Objects of `on timeout emit`.
    pub(crate) timeout: Option<Vec<(ArcStr, Output)>>,
    /// `cooldown .. per`.
    pub(crate) per: Vec<Node>,
    /// The task's numbers of the lists and lookups that it reads.
    pub(crate) tables: Vec<usize>,
    pub(crate) past: Past,
}

/// What the matching of a rule reads for every event: the same for rules that differ in names, words and limits alone.
#[derive(Debug)]
pub(crate) struct Shape {
    /// By rule stream: the task's stream.
    pub(crate) streams: Vec<StreamId>,
    /// What it wants of events; at most 64.
    pub(crate) roles: Vec<Role>,
    pub(crate) steps: Vec<StepProgram>,
    pub(crate) absences: Vec<AbsenceProgram>,
    pub(crate) windows: Vec<WindowProgram>,
    pub(crate) latches: Vec<LatchProgram>,
    pub(crate) units: Vec<UnitProgram>,
    /// Absences before the first unit, after the last, and `cancel on`s: indices into `absences`.
    pub(crate) leading: Vec<usize>,
    pub(crate) trailing: Vec<usize>,
    pub(crate) cancels: Vec<usize>,
    pub(crate) within: Micros,
    /// What ends a match after its last event.
    pub(crate) ending: Ending,
    /// How long after its first event a choice may still need its rows.
    pub(crate) horizon: Micros,
    /// Somewhere between two steps time must pass: `no X for D`, `until quiet for D`.
    pub(crate) has_timed_gap: bool,
    /// `on timeout`: an alert tells of a first event that began no match.
    pub(crate) times_out: bool,
    /// The search does not meet choices in their order: an event may fit two members of a `one of`, which is one choice;
    /// or `per start` orders those of a leading set by their first events.
    pub(crate) unordered: bool,
    /// Every unit is one step, possibly a repeat, that cannot be skipped.
    pub(crate) chain: bool,
    pub(crate) cooldown: Option<Micros>,
    pub(crate) overlap: Overlap,
    /// Some step looks at what comes directly before it.
    pub(crate) strict: bool,
    /// Every unit after the first follows `immediately` and takes one event: what nothing followed at once is of no more use.
    pub(crate) strict_chain: bool,
    /// A match ends with an event that bars all earlier beginnings of the step before it: what lies before can be forgotten.
    pub(crate) forgets: bool,
    /// A match is one event: of a key it keeps no more than its cool-down.
    pub(crate) brief: bool,
    /// A match is one event, and nothing is kept of it.
    pub(crate) passing: bool,
    /// How long after an event a key is looked through for what has run out.
    pub(crate) sweep_after: Micros,
    /// All roles find the key in the same slots of their stream.
    pub(crate) uniform_keys: bool,
    /// Roles, one bit each: of steps; of `cancel on`; of absences and of what strictness looks at.
    pub(crate) stepping: u64,
    pub(crate) cancelling: u64,
    pub(crate) looking: u64,
    /// Roles that begin something for a key.
    pub(crate) creating: u64,
    /// Roles after which the values of windows are needed.
    pub(crate) reading: u64,
}

impl Deref for Program {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

impl Program {
    /// Absences by their numbers.
    pub(crate) fn absences_of<'p>(
        &'p self,
        numbers: &'p [usize],
    ) -> impl Iterator<Item = &'p AbsenceProgram> {
        numbers.iter().filter_map(|number| self.absences.get(*number))
    }

    /// All that it emits, also on a timeout.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &(ArcStr, Output)> {
        self.emit.iter().chain(self.timeout.iter().flatten())
    }

    /// The id of an event of this stream is masked.
    pub(crate) fn masks_id(&self, stream: StreamId) -> bool {
        let own = self.streams.iter().enumerate().filter(|(_, id)| **id == stream);
        own.into_iter().any(|(number, _)| self.masked.id(number))
    }

    /// The steps that a choice can begin with.
    pub(crate) fn first_steps(&self) -> std::ops::Range<usize> {
        self.units.first().map_or(0..0, |unit| unit.steps.clone())
    }

    /// Some of its roles, one bit each, in their order.
    pub(crate) fn playing(&self, mut roles: u64) -> impl Iterator<Item = &Role> {
        std::iter::from_fn(move || {
            let bit = roles.trailing_zeros() as usize;
            roles &= roles.wrapping_sub(1);
            self.roles.get(bit)
        })
    }

    /// The last of some of its roles, with its bit.
    pub(crate) fn last_of(&self, roles: u64) -> Option<(usize, &Role)> {
        let bit = roles.checked_ilog2()? as usize;
        Some((bit, self.roles.get(bit)?))
    }

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
    pub(crate) keys: SmallVec<[usize; 2]>,
    /// Terms beside its predicates that need the key, windows or latches, but no step.
    pub(crate) keyed: Vec<Node>,
    /// Of a step: its unit.
    pub(crate) unit: usize,
}

/// What the event would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleKind {
    Step(usize),
    Absence(usize),
    Window(usize),
    /// `cancel on`: an absence by its number.
    Cancel(usize),
    /// Looked at for strictness, whatever it says.
    Look,
    /// Looked at by the latches, whatever it says.
    Latch,
}

/// When a choice is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At its last event.
    Event,
    /// So long after its last event.
    After(Micros),
    /// After a time that depends on the choice; at the latest after this.
    Read(Micros),
}

impl Ending {
    /// The longest wait.
    pub(crate) fn longest(self) -> Micros {
        match self {
            Self::Event => 0,
            Self::After(wait) | Self::Read(wait) => wait,
        }
    }
}

/// A step, or a set of steps.
#[derive(Debug)]
pub(crate) struct UnitProgram {
    /// Indices into [`Program::steps`].
    pub(crate) steps: Range<usize>,
    pub(crate) kind: UnitKind,
    /// `one of { .. } as done`.
    pub(crate) name: Option<ArcStr>,
    pub(crate) immediately: bool,
    /// `then first`.
    pub(crate) first: bool,
    pub(crate) after: Option<BoundProgram>,
    pub(crate) within: Option<BoundProgram>,
    /// Absences between the unit before and this one: indices into `absences`.
    pub(crate) gap: Vec<usize>,
    /// It may have no event.
    pub(crate) skippable: bool,
    /// The units that may be the last to have begun before it, nearest first.
    pub(crate) before: Vec<usize>,
    /// Its steps' rule streams, each once.
    pub(crate) streams: SmallVec<[usize; 2]>,
}

/// How long.
#[derive(Debug)]
pub(crate) enum BoundProgram {
    Fixed(Micros),
    /// Read for each choice, cut to the limit.
    Read(Box<ReadBound>),
}

/// A bound that lookups, keys and earlier steps give.
#[derive(Debug)]
pub(crate) struct ReadBound {
    pub(crate) value: Node,
    /// Longer is cut to this.
    pub(crate) max: Micros,
    pub(crate) text: String,
    /// It shows a masked field.
    pub(crate) masked: bool,
}

impl BoundProgram {
    /// The source text of a bound that shows a masked field.
    pub(crate) fn masked_text(&self) -> Option<&str> {
        match self {
            Self::Read(read) if read.masked => Some(&read.text),
            _ => None,
        }
    }

    pub(crate) fn longest(&self) -> Micros {
        match self {
            Self::Fixed(bound) => *bound,
            Self::Read(read) => read.max,
        }
    }

    /// None = unknown.
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Option<Micros> {
        match self {
            Self::Fixed(bound) => Some(*bound),
            Self::Read(read) => match read.value.eval(scope) {
                Value::Duration(bound) => Some(bound.min(read.max)),
                _ => None,
            },
        }
    }

    /// What was read, if that is longer than the limit: its source text, the limit, and what it is.
    pub(crate) fn cut(&self, scope: &Scope<'_>) -> Option<(&str, Micros, Micros)> {
        let Self::Read(read) = self else { return None };
        match read.value.eval(scope) {
            Value::Duration(bound) if bound > read.max => Some((&read.text, read.max, bound)),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct StepProgram {
    pub(crate) stream: usize,
    /// Index into [`Program::units`].
    pub(crate) unit: usize,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) optional: bool,
    pub(crate) consecutive: bool,
    /// It may begin only at the first event that fits.
    pub(crate) first_only: bool,
    pub(crate) quiet: Option<BoundProgram>,
    /// Terms that read other steps, or what the step itself has taken.
    pub(crate) cross: Vec<Node>,
    /// Order alone decides where it begins: it and the step before take one event each, and nothing else is asked of the two.
    pub(crate) plain: bool,
    /// In a chain: a row bars all beginnings of the step before that lie before it from later rows.
    pub(crate) bars: bool,
    /// Rows keep the values of windows.
    pub(crate) keeps_windows: bool,
    /// Rows keep what lay before them.
    pub(crate) keeps_context: bool,
    /// Rows must be kept after they have been looked at as an end.
    pub(crate) keeps_end: bool,
    /// Slots of which its rows keep the values.
    pub(crate) kept: Vec<usize>,
    /// By slot, as far as they are read: where its rows have the value.
    pub(crate) sources: Vec<Source>,
}

/// What is told of a step.
#[derive(Debug)]
pub(crate) struct StepText {
    pub(crate) name: ArcStr,
    pub(crate) stream_name: ArcStr,
    /// For evidence.
    pub(crate) shown: Vec<FieldShown>,
    /// Its `where` and its stream's `from`, term by term, for evidence and for `why`.
    pub(crate) terms: Vec<TermProgram>,
}

/// A field that evidence shows.
#[derive(Debug)]
pub(crate) struct FieldShown {
    pub(crate) slot: usize,
    /// Index into the stream's fields.
    pub(crate) field: usize,
    /// Dotted.
    pub(crate) name: ArcStr,
    pub(crate) masked: bool,
}

/// What an alert shows of its match.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) node: Node,
    pub(crate) masked: bool,
}

impl Output {
    pub(crate) fn eval(&self, scope: &Scope<'_>) -> Shown {
        Shown { value: self.node.eval(scope), masked: self.masked }
    }
}

/// A term with its text; a comparison also with its sides.
#[derive(Debug)]
pub(crate) struct TermProgram {
    pub(crate) text: String,
    pub(crate) test: Node,
    /// Its outermost operator; of `reaches` that of its comparison.
    pub(crate) op: Option<BinaryOp>,
    pub(crate) sides: Option<(Node, Node)>,
    /// The left and the right side show a masked field.
    pub(crate) masked: (bool, bool),
}

impl TermProgram {
    /// Both sides of a comparison.
    pub(crate) fn shown(&self, scope: &Scope<'_>) -> Option<(Shown, Shown)> {
        let (left, right) = self.sides.as_ref()?;
        Some((
            Shown { value: left.eval(scope), masked: self.masked.0 },
            Shown { value: right.eval(scope), masked: self.masked.1 },
        ))
    }
}

/// Every term is true: neither false nor unknown.
pub(crate) fn all_hold(terms: &[TermProgram], scope: &Scope<'_>) -> bool {
    terms.iter().all(|term| term.test.test(scope) == Some(true))
}

#[derive(Debug)]
pub(crate) struct AbsenceProgram {
    pub(crate) text: String,
    pub(crate) place: Place,
    pub(crate) duration: Option<BoundProgram>,
    /// By its streams: terms that read steps. None has any = the floor decides.
    pub(crate) cross: Vec<(StreamId, Vec<Node>)>,
    /// Steps of which one must have an event for the absence to matter; none = it always does.
    pub(crate) behind: Vec<usize>,
    /// Forbidding events must be kept, since the last of them does not decide alone.
    pub(crate) keeps_rows: bool,
}

/// Where an absence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Leading,
    Gap,
    Trailing,
    Cancel,
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
    /// It looks at every event that joins its windows: once those are empty it is as good as open.
    pub(crate) reopens: bool,
}

#[derive(Debug)]
pub(crate) enum ReasonProgram {
    Text(String),
    Value(Output),
}
