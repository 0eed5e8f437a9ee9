//! `PatternIr`: a checked rule, the contract between the language and whatever runs it.
//!
//! Everything is resolved: streams, fields and steps are indices, bounds are microseconds, `const` and names are gone.
//! The engine compiles it; the oracle in the tests interprets it directly. Both read the meaning in LANGUAGE section 5.
//!
//! INVARIANT: indices are in range (`crate::lower` is the only producer); a rule has at least one step.

mod expr;
mod mask;
mod roles;

pub use expr::{Aggregate, BinaryOp, Expr, Function, Of, Trend};
pub use mask::MaskedFields;
pub use roles::{LATCHES_MAX, ROLES_MAX};

use crate::source::Span;
use crate::types::{Literal, Micros, Type};

/// All that a set of rule files declares.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// Streams, declared or inferred. [`RuleStream::stream`] indexes them.
    pub streams: Vec<Stream>,
    /// Lists and lookups. [`Expr::InList`] and [`Expr::Lookup`] index them.
    pub tables: Vec<Table>,
    /// Rules in the order of the files.
    pub rules: Vec<Rule>,
}

/// A stream of events with one schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Its name in rules.
    pub name: String,
    /// The topic it is read from; none = the stream's name.
    pub topic: Option<String>,
    /// `topic .. where`: only those records belong to the stream. Reads [`Of::This`] only.
    pub topic_filter: Option<Expr>,
    /// The topic's key, as an index into `fields`.
    pub key: Option<usize>,
    /// Path of the event's unique id.
    pub id: Option<Vec<String>>,
    /// How long an id is remembered, in microseconds; none = `late`; 0 = no check.
    pub dedupe: Option<Micros>,
    /// Known fields. A field that is not listed cannot be read.
    pub fields: Vec<Field>,
    /// Where the event time is.
    pub time: TimeField,
    /// Lateness bound in microseconds.
    pub late: Micros,
    /// Silence after which a partition is idle, in microseconds.
    pub idle: Micros,
    /// False if it was inferred from data.
    pub declared: bool,
}

/// One field of a stream.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Field {
    /// Names from the event's root inwards.
    pub path: Vec<String>,
    /// Its type.
    pub ty: Type,
    /// May be absent or null.
    pub nullable: bool,
    /// Shown hashed only.
    pub mask: bool,
}

/// Where and how an event's time is written.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeField {
    /// Path of the time field.
    pub path: Vec<String>,
    /// How it is written.
    pub format: TimeFormat,
    /// Zone of times without an offset, an IANA name; none = UTC.
    pub zone: Option<String>,
    /// Partitions promise to be sorted.
    pub in_order: bool,
}

/// How a time is written in events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// An RFC 3339 string, or a number read by its size (10 digits seconds, 16 microseconds, others milliseconds).
    Auto,
    /// RFC 3339 string.
    Rfc3339,
    /// Seconds since the epoch.
    EpochSeconds,
    /// Milliseconds since the epoch.
    EpochMillis,
    /// Microseconds since the epoch.
    EpochMicros,
    /// A pattern of `strftime` fields: `"%d/%m/%Y %H:%M:%S"`.
    Pattern(String),
    /// The record's own time (`time record`); the path is empty.
    Record,
}

/// A named list, list by key, or lookup: data beside the rules that changes without a new revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name, without `@`.
    pub name: String,
    /// What it holds.
    pub kind: TableKind,
    /// File to read from, relative to the rule file. Reading is the caller's.
    pub from: Option<String>,
    /// What the rule file says it holds.
    pub content: Content,
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum TableKind {
    /// `list vips: string`.
    List {
        /// Type of the items.
        item: Type,
    },
    /// `list known_devices by user: string: string`.
    KeyedList {
        /// Name of the key.
        key_name: String,
        /// Type of the key.
        key: Type,
        /// Type of the items.
        item: Type,
    },
    /// `lookup carriers by carrier { ship_within: duration }`.
    Lookup {
        /// Name of the key.
        key_name: String,
        /// Type of the key.
        key: Type,
        /// The columns; paths have one name.
        fields: Vec<Field>,
    },
}

/// The values of a table at one time.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Content {
    /// Of a list.
    Items(Vec<Literal>),
    /// Of a list by key: its items; of a lookup: a value for each column. Keys are distinct.
    ByKey(Vec<(Literal, Vec<Literal>)>),
}

/// A checked rule. By default it asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Its name; unique in a rule set.
    pub name: String,
    /// The rule's own source text, from `rule` to its closing brace.
    pub text: String,
    /// `title`.
    pub title: Option<String>,
    /// `about`.
    pub about: Option<String>,
    /// `owner`.
    pub owner: Option<String>,
    /// `tags`.
    pub tags: Vec<String>,
    /// The wanted mode.
    pub mode: Mode,
    /// The streams the rule names. Their order is their rank at equal times: by first place inside `match`, then others.
    pub streams: Vec<RuleStream>,
    /// Key parts; empty = one global key.
    pub keys: Vec<Key>,
    /// `match within`, in microseconds.
    pub within: Option<Micros>,
    /// Positive steps in written order, of a set its members.
    pub steps: Vec<Step>,
    /// The units of `match` in order; their steps follow one another and cover all. The first and the last need an event.
    pub units: Vec<Unit>,
    /// Absences before the first unit; each has a duration.
    pub leading: Vec<Absence>,
    /// Absences after the last unit; each has a duration. The rule fires at the latest of their ends.
    pub trailing: Vec<Absence>,
    /// `cancel on`: each has one stream and no duration.
    pub cancels: Vec<Absence>,
    /// `on timeout emit`.
    pub timeout: Option<Vec<(String, Expr)>>,
    /// Windows read anywhere in the rule.
    pub windows: Vec<Window>,
    /// `having`: must be true.
    pub having: Condition,
    /// `unless`: must not be true. Empty = absent.
    pub unless: Condition,
    /// `severity`; yields a word.
    pub severity: Option<Expr>,
    /// `score`.
    pub score: Option<Expr>,
    /// `reason`, split at its braces.
    pub reason: Vec<ReasonPart>,
    /// `emit`, in written order.
    pub emit: Vec<(String, Expr)>,
    /// `send`.
    pub send: Vec<Destination>,
    /// `cooldown` in microseconds.
    pub cooldown: Option<Micros>,
    /// `cooldown .. per`: read after the match.
    pub cooldown_per: Vec<Expr>,
    /// `overlap`.
    pub overlap: Overlap,
    /// `param`s with their values, which are in the expressions already.
    pub params: Vec<(String, Literal)>,
    /// The rule reads the stream `alert`: the rules it names there (none = every rule that does not read `alert`).
    pub reads_alerts: Option<Vec<String>>,
    /// `runbook`.
    pub runbook: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `test` blocks.
    pub tests: Vec<Test>,
}

impl Rule {
    /// The unit that a step belongs to, by its index.
    ///
    /// # Panics
    /// If there is no such step.
    #[must_use]
    pub fn unit_of(&self, step: usize) -> usize {
        self.units
            .iter()
            .position(|unit| unit.steps.contains(&step))
            .unwrap_or_else(|| panic!("no step {step}"))
    }
}

/// A stream as one rule sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleStream {
    /// Index into [`Module::streams`].
    pub stream: usize,
    /// `from s where c`: events that fail it do not exist for the rule. Reads [`Of::This`] only. Empty = all pass.
    pub filter: Condition,
    /// Key fields of the stream for absences, windows and steps without a mapping of their own; an index into the
    /// stream's fields for each part of [`Rule::keys`]. None if only step aliases map the key.
    pub keys: Option<Vec<usize>>,
}

/// One part of a rule's key.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its name in alerts.
    pub name: String,
    /// Its type, the same in every stream.
    pub ty: Type,
}

/// A positive step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Alias, or the stream's name.
    pub name: String,
    /// Index into [`Rule::streams`].
    pub stream: usize,
    /// Key fields of this step: indices into its stream's fields, one for each part of [`Rule::keys`].
    pub keys: Vec<usize>,
    /// How many events it needs (1 for a plain step).
    pub min: u32,
    /// The most it takes; none = no maximum. A plain step has 1.
    pub max: Option<u32>,
    /// `optional`, `any number of`, `0 to n`: it may have none, but only if nothing fits. `min` is then what it takes once
    /// it begins (1).
    pub optional: bool,
    /// The repeat ends before the first event of its stream that does not fit.
    pub consecutive: bool,
    /// `where`.
    pub condition: Condition,
    /// `until quiet for`: a longer gap between two events that fit ends the repeat. Never in a set.
    pub quiet: Option<Bound>,
}

/// A step, or a set of steps, with how it follows the unit before.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Indices into [`Rule::steps`].
    pub steps: std::ops::Range<usize>,
    /// What its steps are to one another.
    pub kind: UnitKind,
    /// `one of { .. } as done`.
    pub name: Option<String>,
    /// How it follows the unit before; ignored on the first unit.
    pub arrow: Arrow,
    /// `then after D`: each of its events at least this long after the last event of the unit before.
    pub after: Option<Bound>,
    /// `then within D`: each of its events at most this long after the last event of the unit before.
    pub within: Option<Bound>,
    /// Absences between the unit before and this one, in written order.
    pub gap: Vec<Absence>,
}

impl Unit {
    /// It may have no event at all.
    #[must_use]
    pub fn may_be_empty(&self, steps: &[Step]) -> bool {
        let mut own = self.steps.clone().filter_map(|step| steps.get(step));
        match self.kind {
            UnitKind::Step | UnitKind::All => own.all(|step| step.optional),
            UnitKind::One | UnitKind::AtLeast(_) => false,
        }
    }
}

/// What the steps of a unit are to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// One step.
    Step,
    /// `all of`: every one that is not optional.
    All,
    /// `one of`: exactly one.
    One,
    /// `at least n of`.
    AtLeast(u32),
}

/// How long, in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// A constant.
    Fixed(Micros),
    /// Read from lookups, keys and earlier steps (of a leading absence: also the first step).
    Read {
        /// Yields a duration; null = no deadline.
        expr: Expr,
        /// Longer is cut to this.
        max: Micros,
        /// Source text.
        text: String,
    },
}

impl Bound {
    /// The constant, or the longest it can be.
    #[must_use]
    pub fn longest(&self) -> Micros {
        match self {
            Self::Fixed(micros) | Self::Read { max: micros, .. } => *micros,
        }
    }
}

/// The three arrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrow {
    /// `then`.
    Then,
    /// `then first`.
    First,
    /// `then immediately`.
    Immediately,
}

/// `no X`, or `no one of { X, Y }`; also what `cancel on` names.
#[derive(Debug, Clone, PartialEq)]
pub struct Absence {
    /// Indices into [`Rule::streams`]; their `keys` are set.
    pub streams: Vec<usize>,
    /// `for D`.
    pub duration: Option<Bound>,
    /// Its `where`: unknown counts as false. Reads [`Of::This`] and earlier steps (leading: the first step; `cancel on`:
    /// all steps, as taken before it). A step that has not begun reads as null.
    pub condition: Condition,
    /// The source text, for evidence.
    pub text: String,
}

/// A conjunction; empty = true. Split at its top-level `and`s.
pub type Condition = Vec<Term>;

/// One term of a [`Condition`].
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Yields a truth value or null.
    pub expr: Expr,
    /// Its source text.
    pub text: String,
    /// Where it stands in its file.
    pub span: Span,
}

/// A sliding window over one stream of the rule's own key.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Index into [`Rule::streams`]; its `keys` are set.
    pub stream: usize,
    /// What is computed.
    pub aggregate: Aggregate,
    /// Reads each windowed event as [`Of::This`]; none for `count`.
    pub argument: Option<Expr>,
    /// Reads [`Of::This`], keys and constants. Empty = all.
    pub filter: Condition,
    /// The window is `(t - span, t]`, in microseconds.
    pub span: Micros,
    /// `before s`: the events before that step's event instead of those up to the event looked at.
    pub before: Option<usize>,
    /// The source text, for evidence.
    pub text: String,
}

/// What an alert lets later choices use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Everything up to the last event is used up.
    #[default]
    None,
    /// The first event begins no second choice.
    PerStart,
    /// One alert a moment.
    PerEnd,
    /// Every event before the first event of this step is used up. The step is after the first unit and always begins;
    /// the first member of a `one of` stands for the member that began.
    From(usize),
    /// Every event before the last event of this step is used up; the step as for [`Overlap::From`].
    FromLast(usize),
    /// Every complete choice.
    All,
}

/// Whether a rule's alerts are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after its word in the language")]
pub enum Mode {
    #[default]
    Live,
    Shadow,
    Off,
}

/// A piece of `reason`.
#[derive(Debug, Clone, PartialEq)]
pub enum ReasonPart {
    /// Literal text.
    Text(String),
    /// A value to print; null prints `-`.
    Value(Expr),
}

/// Where alerts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A topic.
    Topic(String),
    /// A webhook endpoint by name.
    Webhook(String),
}

/// When, of which stream, and the fields: an event of a `test` block.
pub type TestEvent = (Micros, usize, Vec<(String, Literal)>);

/// A `test` block.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// Its title.
    pub name: String,
    /// `start`: microseconds since the epoch; time 0s of the test. Default 2026-01-01T00:00:00Z.
    pub start: Option<Micros>,
    /// Events in written order: microseconds from the start, index into [`Module::streams`], fields by dotted name with
    /// `given` values already merged in.
    pub events: Vec<TestEvent>,
    /// `set @x = ..` by time: from when (none = from the beginning of time), index into [`Module::tables`], the content.
    pub sets: Vec<(Option<Micros>, usize, Content)>,
    /// Time of the last `at` or `advance to`, from the start.
    pub end: Micros,
    /// What must happen. Alerts that nothing expects fail the test.
    pub expect: Vec<Expectation>,
    /// Where the block stands.
    pub span: Span,
}

/// An `expect` line.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// When, from the start; none = any time.
    pub at: Option<Micros>,
    /// How many alerts; 0 for `nothing`.
    pub count: usize,
    /// Values to find in the alert.
    pub values: Vec<(AlertPart, Literal)>,
    /// Where it stands.
    pub span: Span,
}

/// What of an alert an `expect` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertPart {
    /// A field of `emit` or `on timeout emit`.
    Field(String),
    /// A part of the key.
    Key(String),
    /// Its severity.
    Severity,
    /// Its score.
    Score,
    /// Its reason.
    Reason,
}

impl AlertPart {
    /// The alert's own values by their words.
    pub const OWN: [(&'static str, Self); 3] =
        [("severity", Self::Severity), ("score", Self::Score), ("reason", Self::Reason)];

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Field(name) | Self::Key(name) => name,
            Self::Severity => "severity",
            Self::Score => "score",
            Self::Reason => "reason",
        }
    }
}
