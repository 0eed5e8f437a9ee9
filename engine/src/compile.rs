//! From a checked rule to its [`Program`]: fields become slots, terms become predicates, roles and nodes.
//!
//! Terms are sorted by what they read: those of the event alone are interned in the index, those of key, windows or latches
//! stay with the role, those of other steps with the step.

use crate::capture::Captured;
use crate::event::{Layout, StreamId, StreamLayout, WantedField};
use crate::expr::Node;
use crate::index::Index;
use crate::interface::ActivateError;
use crate::node::{is_comparison, needs_key, reads_steps};
use crate::past::Past;
use crate::program::{
    AbsenceProgram, BoundProgram, Ending, LatchProgram, Output, Place, Program, ReadBound, ReasonProgram,
    Role, RoleKind, Shape, StepProgram, StepText, TermProgram, UnitProgram, WindowProgram,
};
use crate::shape::{is_brief, is_strict_chain, look_behind, mark_plain, passes, sweep_after};
use crate::value::Value;
use arcstr::ArcStr;
use pattern_dsl::ir::{
    Absence, Arrow, BinaryOp, Bound, Expr, LATCHES_MAX, MaskedFields, Module, Overlap, ROLES_MAX, ReasonPart,
    Rule, Step, Stream, Term, UnitKind,
};
use pattern_dsl::types::Type;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) struct Compiler<'a> {
    pub(crate) module: &'a Module,
    pub(crate) rule: &'a Rule,
    /// By table of the module: its number in the task.
    pub(crate) tables: &'a [usize],
    /// The task's numbers of those that the rule reads.
    pub(crate) read_tables: BTreeSet<usize>,
    pub(crate) streams: Vec<StreamId>,
    pub(crate) layout: &'a mut Layout,
    pub(crate) latches: Vec<LatchProgram>,
    /// See [`Program::predicates`].
    predicates: Vec<Vec<u32>>,
    /// See [`Program::words`].
    pub(crate) words: Vec<Value>,
    /// The step whose `where` is compiled.
    pub(crate) own: Option<usize>,
    /// For `why`: see [`compile`].
    whole: bool,
}

/// What steps and absences add to while they are compiled.
struct Parts<'i> {
    roles: Vec<Role>,
    absences: Vec<AbsenceProgram>,
    index: &'i mut Index,
}

/// Compiles a rule; adds the fields it reads to the layout and its predicates to the index.
///
/// `whole`, for `why`: every event of a step's or an absence's stream is its candidate, and all that a `where` says is tested
/// by the search, term by term as written.
pub(crate) fn compile(
    module: &Module,
    rule: &Rule,
    revision: u32,
    tables: &[usize],
    layout: &mut Layout,
    index: &mut Index,
    whole: bool,
) -> Result<Program, ActivateError> {
    let streams: Vec<StreamId> = rule
        .streams
        .iter()
        .filter_map(|stream| module.streams.get(stream.stream))
        .map(|stream| stream_id(layout, stream))
        .collect();
    index.ensure(layout.streams.len());
    let mut compiler = Compiler { whole, ..Compiler::new(module, rule, tables, streams, layout) };
    let mut program = compiler.program(revision, index)?;
    crate::mask::mark(&mut program);
    Ok(program)
}

/// Id of a stream in the layout, added if it is new.
pub(crate) fn stream_id(layout: &mut Layout, stream: &Stream) -> StreamId {
    if let Some(id) = layout.streams.iter().position(|known| known.name == stream.name) {
        return id as StreamId;
    }
    layout.streams.push(StreamLayout { name: stream.name.as_str().into(), fields: Vec::new() });
    (layout.streams.len() - 1) as StreamId
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(
        module: &'a Module,
        rule: &'a Rule,
        tables: &'a [usize],
        streams: Vec<StreamId>,
        layout: &'a mut Layout,
    ) -> Self {
        Self {
            module,
            rule,
            tables,
            read_tables: BTreeSet::new(),
            streams,
            layout,
            latches: Vec::new(),
            predicates: Vec::new(),
            words: Vec::new(),
            own: None,
            whole: false,
        }
    }
}

impl Compiler<'_> {
    fn program(&mut self, revision: u32, index: &mut Index) -> Result<Program, ActivateError> {
        let rule = self.rule;
        let ending = self.ending();
        let mut parts = Parts { roles: Vec::new(), absences: Vec::new(), index };
        // Roles of steps come first, in their order: `advance` goes through them from the last to the first.
        let steps = (rule.steps.iter().enumerate())
            .map(|(number, step)| self.step(number, step, ending, &mut parts))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut steps, texts): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
        let units = (0..rule.units.len())
            .map(|number| self.unit(number, &mut parts))
            .collect::<Result<Vec<_>, _>>()?;
        let leading = self.absences(&rule.leading, Place::Leading, false, &mut parts)?;
        let uniform = matches!(ending, Ending::After(_)) && self.ends_together();
        let trailing = self.absences(&rule.trailing, Place::Trailing, !uniform, &mut parts)?;
        let cancels = self.absences(&rule.cancels, Place::Cancel, false, &mut parts)?;
        let Parts { mut roles, mut absences, index } = parts;
        look_behind(&mut absences, &units);
        let has_timed_gap = absences
            .iter()
            .any(|absence: &AbsenceProgram| absence.place == Place::Gap && absence.duration.is_some())
            || steps.iter().rev().skip(1).any(|step: &StepProgram| step.quiet.is_some());
        mark_plain(&mut steps, &units, has_timed_gap);
        let windows = self.windows(&mut roles, index)?;
        let strict = self.look_roles(&mut roles, index)?;
        self.latch_roles(&mut roles, index)?;
        // INVARIANT: a checked rule keeps to these limits; roles and latches are a bit each.
        debug_assert_eq!(roles.len(), rule.roles());
        if roles.len() > ROLES_MAX || self.latches.len() > LATCHES_MAX {
            return Err(ActivateError::TooWide(rule.name.clone()));
        }
        let within = rule.within.unwrap_or(0);
        let mask = |wanted: &dyn Fn(RoleKind) -> bool| {
            roles
                .iter()
                .enumerate()
                .filter(|(_, role)| wanted(role.kind))
                .fold(0, |mask, (bit, _)| mask | 1 << bit)
        };
        let latched = !self.latches.is_empty();
        let creating = mask(&|kind| match kind {
            RoleKind::Step(step) => steps.get(step).is_some_and(|step| step.unit == 0),
            RoleKind::Absence(absence) => leading.contains(&absence),
            RoleKind::Window(_) => true,
            RoleKind::Latch => latched,
            RoleKind::Look | RoleKind::Cancel(_) => false,
        });
        let reading = mask(&|kind| !matches!(kind, RoleKind::Window(_)));
        let quiet = steps.iter().filter_map(|step| step.quiet.as_ref()).map(BoundProgram::longest).max();
        let horizon = within.saturating_add(ending.longest().max(quiet.unwrap_or(0)));
        let chain = units.iter().all(|unit| unit.kind == UnitKind::Step && !unit.skippable);
        let shape = Shape {
            within,
            ending,
            horizon,
            has_timed_gap,
            times_out: rule.timeout.is_some(),
            unordered: units.iter().any(|unit| unit.kind == UnitKind::One && shares_stream(&steps, unit))
                || (rule.overlap == Overlap::PerStart
                    && units.first().is_some_and(|unit| unit.kind != UnitKind::Step)),
            chain,
            cooldown: rule.cooldown,
            overlap: rule.overlap,
            strict,
            strict_chain: is_strict_chain(rule, &units, &steps),
            forgets: chain
                && ending == Ending::Event
                && rule.timeout.is_none()
                && steps.last().is_some_and(|step| step.max == 1 && step.bars),
            brief: is_brief(rule, &steps),
            passing: !latched && passes(rule, &steps),
            sweep_after: sweep_after(rule, horizon),
            uniform_keys: uniform_keys(&roles),
            stepping: mask(&|kind| matches!(kind, RoleKind::Step(_))),
            cancelling: mask(&|kind| matches!(kind, RoleKind::Cancel(_))),
            looking: mask(&|kind| matches!(kind, RoleKind::Absence(_) | RoleKind::Look)),
            creating,
            reading,
            streams: self.streams.clone(),
            latches: std::mem::take(&mut self.latches),
            roles,
            units,
            leading,
            trailing,
            cancels,
            steps,
            absences,
            windows,
        };
        Ok(Program {
            shape: Arc::new(shape),
            name: rule.name.as_str().into(),
            revision,
            masked: MaskedFields::of(self.module, rule),
            masks_alerts: false,
            keys: rule.keys.iter().map(|key| (key.name.as_str().into(), false)).collect(),
            having: self.terms(&rule.having)?,
            unless: self.terms(&rule.unless)?,
            severity: rule.severity.as_ref().map(|expr| self.output(expr)).transpose()?,
            score: rule.score.as_ref().map(|expr| self.output(expr)).transpose()?,
            reason: self.reason()?,
            emit: self.object(&rule.emit)?,
            timeout: rule.timeout.as_ref().map(|pairs| self.object(pairs)).transpose()?,
            per: rule.cooldown_per.iter().map(|expr| self.node(expr, 0)).collect::<Result<_, _>>()?,
            stream_names: (0..self.streams.len())
                .filter_map(|stream| self.stream(stream))
                .map(|stream| stream.name.as_str().into())
                .collect(),
            predicates: std::mem::take(&mut self.predicates),
            texts,
            words: std::mem::take(&mut self.words),
            tables: self.read_tables.iter().copied().collect(),
            past: Past::from(rule, i64::MIN),
            rule: rule.clone(),
        })
    }

    /// Absences and silence after the last event.
    fn ending(&self) -> Ending {
        let bounds = || self.ends();
        let Some(longest) = bounds().map(Bound::longest).max() else { return Ending::Event };
        if bounds().any(|bound| matches!(bound, Bound::Read { .. })) {
            return Ending::Read(longest);
        }
        Ending::After(longest)
    }

    fn ends(&self) -> impl Iterator<Item = &Bound> {
        let quiet = self.rule.steps.last().and_then(|step| step.quiet.as_ref());
        self.rule.trailing.iter().filter_map(|absence| absence.duration.as_ref()).chain(quiet)
    }

    fn ends_together(&self) -> bool {
        let longest = self.ends().map(Bound::longest).max();
        self.rule.trailing.iter().all(|absence| absence.duration.as_ref().map(Bound::longest) == longest)
    }

    fn object(&mut self, pairs: &[(String, Expr)]) -> Result<Vec<(ArcStr, Output)>, ActivateError> {
        pairs.iter().map(|(name, expr)| Ok((name.as_str().into(), self.output(expr)?))).collect()
    }

    fn output(&mut self, expr: &Expr) -> Result<Output, ActivateError> {
        Ok(Output { node: self.node(expr, 0)?, masked: false })
    }

    fn bound(&mut self, bound: &Bound, stream: usize) -> Result<BoundProgram, ActivateError> {
        Ok(match bound {
            Bound::Fixed(micros) => BoundProgram::Fixed(*micros),
            Bound::Read { expr, max, text } => BoundProgram::Read(Box::new(ReadBound {
                value: self.node(expr, stream)?,
                max: *max,
                text: text.clone(),
                masked: false,
            })),
        })
    }

    fn step(
        &mut self,
        number: usize,
        step: &Step,
        ending: Ending,
        parts: &mut Parts<'_>,
    ) -> Result<(StepProgram, StepText), ActivateError> {
        let stream = step.stream;
        self.own = Some(number);
        let (local, cross): (Vec<&Term>, Vec<&Term>) =
            (step.condition.iter()).partition(|term| self.is_local(Some(number), term));
        let keys = step.keys.iter().map(|field| self.slot(stream, *field)).collect();
        let role = self.role(RoleKind::Step(number), stream, keys, &local, parts.index)?;
        parts.roles.push(role);
        let filter: &[Term] = self.rule.streams.get(stream).map_or(&[], |stream| &stream.filter);
        let terms = step
            .condition
            .iter()
            .chain(filter)
            .map(|term| self.term(term, stream))
            .collect::<Result<_, ActivateError>>()?;
        let plain = step.max == Some(1);
        let number_of_unit = self.rule.unit_of(number);
        let last = number_of_unit + 1 == self.rule.units.len();
        let Some(unit) = self.rule.units.get(number_of_unit) else {
            return Err(ActivateError::TooWide(self.rule.name.clone()));
        };
        let unbounded = step.max.is_none() && !step.consecutive && step.quiet.is_none();
        let first_only = number_of_unit > 0 && (unit.arrow == Arrow::First || unbounded);
        let single = matches!(unit.kind, UnitKind::Step | UnitKind::One);
        let cross = cross.iter().map(|term| self.node(&term.expr, stream)).collect::<Result<_, _>>()?;
        self.own = None;
        let shown = self.shown(number, step);
        let Captured { kept, sources } = self.captured(step, &shown, &local);
        let program = StepProgram {
            stream,
            unit: number_of_unit,
            min: step.min as usize,
            max: step.max.map_or(usize::MAX, |max| max as usize),
            optional: step.optional,
            consecutive: step.consecutive,
            first_only,
            quiet: step.quiet.as_ref().map(|bound| self.bound(bound, stream)).transpose()?,
            cross,
            plain: false,
            bars: false,
            keeps_windows: !self.rule.windows.is_empty(),
            keeps_context: step.consecutive
                || unit.arrow == Arrow::Immediately
                || !unit.gap.is_empty()
                || !self.rule.windows.is_empty(),
            keeps_end: !last
                || !plain
                || !single
                || first_only
                || ending != Ending::Event
                || self.rule.timeout.is_some(),
            kept,
            sources,
        };
        let stream_name = self.stream(stream).map_or_else(ArcStr::new, |stream| stream.name.as_str().into());
        Ok((program, StepText { name: step.name.as_str().into(), stream_name, shown, terms }))
    }

    /// The term can be tested before any step is chosen.
    fn is_local(&self, own: Option<usize>, term: &Term) -> bool {
        !self.whole && !reads_steps(self.rule, own, &term.expr)
    }

    fn unit(&mut self, number: usize, parts: &mut Parts<'_>) -> Result<UnitProgram, ActivateError> {
        let rule = self.rule;
        let Some(unit) = rule.units.get(number) else {
            return Err(ActivateError::TooWide(rule.name.clone()));
        };
        let skippable = unit.may_be_empty(&rule.steps);
        let members = rule.steps.get(unit.steps.clone()).unwrap_or_default();
        let streams: BTreeSet<usize> = members.iter().map(|step| step.stream).collect();
        let stream = rule.steps.get(unit.steps.start).map_or(0, |step| step.stream);
        Ok(UnitProgram {
            steps: unit.steps.clone(),
            kind: unit.kind,
            name: unit.name.as_deref().map(ArcStr::from),
            immediately: number > 0 && unit.arrow == Arrow::Immediately,
            first: number > 0 && unit.arrow == Arrow::First,
            after: unit.after.as_ref().map(|bound| self.bound(bound, stream)).transpose()?,
            within: unit.within.as_ref().map(|bound| self.bound(bound, stream)).transpose()?,
            // Of a unit that may be skipped, the absences also guard the way to the next one.
            gap: self.absences(&unit.gap, Place::Gap, skippable, parts)?,
            skippable,
            before: rule.units_before(number),
            streams: streams.into_iter().collect(),
        })
    }

    fn term(&mut self, term: &Term, stream: usize) -> Result<TermProgram, ActivateError> {
        let sides = match &term.expr {
            Expr::Binary(op, left, right) if is_comparison(*op) => Some((left, right)),
            Expr::Reaches(_, left, right) => Some((left, right)),
            _ => None,
        };
        let sides = match sides {
            Some((left, right)) => Some((self.node(left, stream)?, self.node(right, stream)?)),
            None => None,
        };
        let op = match &term.expr {
            Expr::Binary(op, ..) => Some(*op),
            Expr::Reaches(..) => Some(BinaryOp::GreaterOrEqual),
            _ => None,
        };
        let test = self.node(&term.expr, stream)?;
        Ok(TermProgram { text: term.text.clone(), test, op, sides, masked: (false, false) })
    }

    /// Compiles absences; gives their numbers.
    fn absences(
        &mut self,
        absences: &[Absence],
        place: Place,
        keep: bool,
        parts: &mut Parts<'_>,
    ) -> Result<Vec<usize>, ActivateError> {
        absences.iter().map(|absence| self.absence(absence, place, keep, parts)).collect()
    }

    fn absence(
        &mut self,
        absence: &Absence,
        place: Place,
        keep: bool,
        parts: &mut Parts<'_>,
    ) -> Result<usize, ActivateError> {
        let number = parts.absences.len();
        let (local, cross): (Vec<&Term>, Vec<&Term>) =
            absence.condition.iter().partition(|term| self.is_local(None, term));
        let kind = if place == Place::Cancel { RoleKind::Cancel(number) } else { RoleKind::Absence(number) };
        let mut cross_nodes = Vec::new();
        for stream in &absence.streams {
            let keys = self.stream_keys(*stream);
            let role = self.role(kind, *stream, keys, &local, parts.index)?;
            parts.roles.push(role);
            let terms = cross.iter().map(|term| self.node(&term.expr, *stream));
            let terms: Vec<Node> = terms.collect::<Result<_, _>>()?;
            cross_nodes.push((self.streams.get(*stream).copied().unwrap_or(0), terms));
        }
        let first = self.rule.steps.first().map_or(0, |step| step.stream);
        let duration = absence.duration.as_ref().map(|bound| self.bound(bound, first)).transpose()?;
        let bounded_gap = place == Place::Gap && duration.is_some();
        parts.absences.push(AbsenceProgram {
            text: absence.text.clone(),
            place,
            duration,
            behind: Vec::new(),
            keeps_rows: self.whole || keep || bounded_gap || !cross.is_empty(),
            cross: cross_nodes,
        });
        Ok(number)
    }

    fn windows(
        &mut self,
        roles: &mut Vec<Role>,
        index: &mut Index,
    ) -> Result<Vec<WindowProgram>, ActivateError> {
        let rule = self.rule;
        let mut windows = Vec::new();
        for (number, window) in rule.windows.iter().enumerate() {
            let keys = self.stream_keys(window.stream);
            let filter: Vec<&Term> = window.filter.iter().collect();
            roles.push(self.role(RoleKind::Window(number), window.stream, keys, &filter, index)?);
            windows.push(WindowProgram {
                aggregate: window.aggregate,
                argument: window
                    .argument
                    .as_ref()
                    .map(|argument| self.node(argument, window.stream))
                    .transpose()?,
                span: window.span,
                before: window.before,
            });
        }
        Ok(windows)
    }

    /// Latches look at every event of their step's stream.
    fn latch_roles(&mut self, roles: &mut Vec<Role>, index: &mut Index) -> Result<(), ActivateError> {
        let rule = self.rule;
        for step in &rule.steps {
            if step.condition.iter().any(|term| matches!(term.expr, Expr::Reaches(..))) {
                let keys = step.keys.iter().map(|field| self.slot(step.stream, *field)).collect();
                roles.push(self.role(RoleKind::Latch, step.stream, keys, &[], index)?);
            }
        }
        Ok(())
    }

    /// Roles of events that strict steps look at. True if some step is strict.
    fn look_roles(&mut self, roles: &mut Vec<Role>, index: &mut Index) -> Result<bool, ActivateError> {
        let looks = self.rule.looks();
        let strict = !looks.is_empty();
        for (stream, fields) in looks {
            let keys = fields.iter().map(|field| self.slot(stream, *field)).collect();
            roles.push(self.role(RoleKind::Look, stream, keys, &[], index)?);
        }
        Ok(strict)
    }

    fn role(
        &mut self,
        kind: RoleKind,
        stream: usize,
        keys: Vec<usize>,
        terms: &[&Term],
        index: &mut Index,
    ) -> Result<Role, ActivateError> {
        let mut predicates = Vec::new();
        let mut keyed = Vec::new();
        let filter: &[Term] = self.rule.streams.get(stream).map_or(&[], |stream| &stream.filter);
        let id = self.streams.get(stream).copied().unwrap_or(0);
        for term in filter.iter().chain(terms.iter().copied()) {
            let node = self.node(&term.expr, stream)?;
            if needs_key(&term.expr) {
                keyed.push(node);
            } else {
                // Slots, not field numbers: equal texts mean equal predicates, whatever module they came from.
                let name = format!("{node:?}");
                let fields = self.layout.streams.get(id as usize).map_or(&[][..], |stream| &stream.fields);
                let is_float = |slot: usize| fields.get(slot).is_some_and(|field| field.ty == Type::Float);
                predicates.push(index.intern(id, &name, node, &is_float));
            }
        }
        let unit = match kind {
            RoleKind::Step(step) => self.rule.unit_of(step),
            _ => 0,
        };
        self.predicates.push(predicates);
        Ok(Role { kind, stream, keys: keys.into(), keyed, unit })
    }

    pub(crate) fn stream(&self, stream: usize) -> Option<&Stream> {
        self.rule.streams.get(stream).and_then(|stream| self.module.streams.get(stream.stream))
    }

    fn stream_keys(&mut self, stream: usize) -> Vec<usize> {
        let keys = self.rule.streams.get(stream).and_then(|stream| stream.keys.clone()).unwrap_or_default();
        keys.iter().map(|field| self.slot(stream, *field)).collect()
    }

    /// The slot of a stream's field, wanted from now on.
    pub(crate) fn slot(&mut self, stream: usize, field: usize) -> usize {
        let Some(declared) = self.stream(stream).and_then(|stream| stream.fields.get(field)).cloned() else {
            return usize::MAX;
        };
        let wanted = WantedField { path: declared.path, ty: declared.ty };
        let id = self.streams.get(stream).copied().unwrap_or(0);
        let Some(layout) = self.layout.streams.get_mut(id as usize) else { return usize::MAX };
        layout.fields.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            layout.fields.push(wanted);
            layout.fields.len() - 1
        })
    }

    fn terms(&mut self, terms: &[Term]) -> Result<Vec<TermProgram>, ActivateError> {
        terms.iter().map(|term| self.term(term, 0)).collect()
    }

    fn reason(&mut self) -> Result<Vec<ReasonProgram>, ActivateError> {
        let rule = self.rule;
        rule.reason
            .iter()
            .map(|part| {
                Ok(match part {
                    ReasonPart::Text(text) => ReasonProgram::Text(text.clone()),
                    ReasonPart::Value(expr) => ReasonProgram::Value(self.output(expr)?),
                })
            })
            .collect()
    }
}

/// Two members of a set read the same stream.
fn shares_stream(steps: &[StepProgram], unit: &UnitProgram) -> bool {
    let members = steps.get(unit.steps.clone()).unwrap_or_default();
    members
        .iter()
        .enumerate()
        .any(|(at, member)| members.iter().skip(at + 1).any(|other| other.stream == member.stream))
}

fn uniform_keys(roles: &[Role]) -> bool {
    roles.iter().all(|role| roles.iter().all(|other| other.stream != role.stream || other.keys == role.keys))
}
