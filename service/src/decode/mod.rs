//! A line of input to typed slots: JSON objects and CSV records through one trie of wanted paths.
//!
//! A [`Decoder`] belongs to one stream and one source (so that a number's time unit, once fixed by its size, holds for
//! that source). It reuses its buffers: nothing is allocated for values that no rule reads.
//!
//! INVARIANT: `a.b` reads the key `b` of the object `a`; only where that object is missing, the literal key `a.b`.

pub mod csv;
mod cursor;
pub mod flat;
pub(crate) mod json;
pub(crate) mod nested;
mod quick;
pub mod time;
mod value;

pub(crate) use self::value::type_name;

use self::time::Unit;
use engine::event::StreamLayout;
use engine::text::Text;
use engine::value::Value;
use jiff::tz::TimeZone;
use pattern_dsl::ir;
use pattern_dsl::types::{Micros, Type};
use std::fmt;

/// Why a line was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// A stable word: `not_json`, `wrong_type`, `no_time`, `bad_time`, `not_csv`.
    pub code: &'static str,
    /// The cause, with the field and its value.
    pub message: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

/// A decoded event; borrows the decoder's buffers until the next call.
#[derive(Debug, Clone, Copy)]
pub struct Decoded<'a> {
    /// Event time in microseconds.
    pub ts: Micros,
    /// Declared id, if the stream has one and this event carries it.
    pub id: Option<&'a str>,
    /// Wanted fields in slot order.
    pub slots: &'a [Value],
}

/// What a leaf of the trie is read into.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    Slot(usize, Type),
    Time,
    Id,
}

/// One level of wanted keys.
#[derive(Debug, Default)]
struct Node {
    children: Vec<Child>,
    /// What stood at each place of the last object.
    guesses: Vec<quick::Guess>,
}

#[derive(Debug)]
struct Child {
    key: Box<str>,
    /// What the value itself is wanted for; `true` marks the literal-key fallback.
    targets: Vec<(Target, bool)>,
    /// Wanted keys below it.
    below: Node,
}

impl Node {
    fn child(&mut self, key: &str) -> &mut Child {
        let at = match self.children.iter().position(|c| &*c.key == key) {
            Some(at) => at,
            None => {
                self.children.push(Child { key: key.into(), targets: Vec::new(), below: Self::default() });
                self.children.len() - 1
            }
        };
        &mut self.children[at]
    }

    fn insert(&mut self, path: &[String], target: &Target) {
        match path {
            [] => {}
            [last] => self.child(last).targets.push((target.clone(), false)),
            [first, rest @ ..] => {
                self.child(&path.join(".")).targets.push((target.clone(), true));
                self.child(first).below.insert(rest, target);
            }
        }
    }

    fn find(&self, key: &str) -> Option<&Child> {
        self.children.iter().find(|c| &*c.key == key)
    }
}

/// Where a target's value came from so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    None,
    Literal,
    Path,
}

/// What is masked, and so is not told of lines that are refused.
#[derive(Debug, Default)]
struct Hides {
    slots: Vec<usize>,
    time: bool,
    /// Something is masked: nothing is told of a line that cannot be read at all.
    lines: bool,
}

impl Hides {
    /// Of a stream's masked fields, in the slots of a layout.
    fn of(stream: &ir::Stream, layout: Option<&StreamLayout>) -> Self {
        let masked = |path: &[String]| stream.fields.iter().any(|field| field.mask && field.path == path);
        let wanted = layout.into_iter().flat_map(|layout| layout.fields.iter().enumerate());
        Self {
            slots: wanted.filter(|(_, field)| masked(&field.path)).map(|(slot, _)| slot).collect(),
            time: masked(&stream.time.path),
            lines: stream.fields.iter().any(|field| field.mask),
        }
    }
}

/// The buffers that one line fills.
#[derive(Debug)]
struct State {
    slots: Vec<Value>,
    /// Of each slot, then of time and id.
    origins: Vec<Origin>,
    ts: Option<Micros>,
    id: String,
    has_id: bool,
    unit: Option<Unit>,
    /// A time whose unit is not fixed is refused.
    keeps_unit: bool,
    format: ir::TimeFormat,
    /// Zone of times without an offset; none = UTC.
    zone: Option<TimeZone>,
    /// `time record`: when the source says that the next record came.
    record_time: Option<Micros>,
    /// Accept scalars of another type as text (inferred streams, where a field mixes types).
    lenient: bool,
    hides: Hides,
    error: Option<DecodeError>,
    strings: Strings,
}

/// Recently seen texts that are too long to lie in a value, so that repeated ones share one allocation.
#[derive(Debug)]
struct Strings {
    recent: Vec<Text>,
}

impl Strings {
    const SIZE: usize = 1024;

    #[inline]
    fn get(&mut self, text: &str) -> Text {
        match text.len() {
            15..=40 => self.shared(text),
            _ => Text::from(text),
        }
    }

    fn shared(&mut self, text: &str) -> Text {
        let mut hash = text.len() as u64;
        let mut mix = |bytes| {
            hash = (hash.rotate_left(5) ^ u64::from_le_bytes(bytes)).wrapping_mul(0x517c_c1b7_2722_0a95)
        };
        let (eights, rest) = text.as_bytes().as_chunks();
        eights.iter().for_each(|eight| mix(*eight));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(byte, given)| *byte = *given);
        mix(last);
        let place = &mut self.recent[(hash >> 54) as usize % Self::SIZE];
        if place.as_str() != text {
            *place = Text::from(text);
        }
        place.clone()
    }
}

/// Turns lines of one stream into slots.
#[derive(Debug)]
pub struct Decoder {
    trie: Node,
    state: State,
    time_name: String,
    columns: Vec<Vec<(Target, String)>>,
}

impl Decoder {
    /// A decoder for the fields of `layout`, in its slot order, with the stream's time and id.
    #[must_use]
    pub fn new(stream: &ir::Stream, layout: &StreamLayout) -> Self {
        let mut trie = Node::default();
        for (slot, field) in layout.fields.iter().enumerate() {
            trie.insert(&field.path, &Target::Slot(slot, field.ty.clone()));
        }
        if let Some(id) = &stream.id {
            trie.insert(id, &Target::Id);
        }
        Self::with_trie(trie, layout.fields.len(), stream, Hides::of(stream, Some(layout)))
    }

    /// A decoder that reads nothing but the time.
    #[must_use]
    pub fn time_only(stream: &ir::Stream) -> Self {
        Self::with_trie(Node::default(), 0, stream, Hides::of(stream, None))
    }

    fn with_trie(mut trie: Node, slots: usize, stream: &ir::Stream, hides: Hides) -> Self {
        trie.insert(&stream.time.path, &Target::Time);
        let state = State {
            slots: vec![Value::Null; slots],
            origins: vec![Origin::None; slots + 2],
            ts: None,
            id: String::new(),
            has_id: false,
            unit: Unit::of(&stream.time.format),
            keeps_unit: false,
            format: stream.time.format.clone(),
            zone: stream.time.zone.as_deref().and_then(|name| TimeZone::get(name).ok()),
            record_time: None,
            lenient: !stream.declared,
            hides,
            error: None,
            strings: Strings { recent: vec![Text::from(""); Strings::SIZE] },
        };
        Self { trie, state, time_name: stream.time.path.join("."), columns: Vec::new() }
    }

    /// The unit of times written as numbers, once an event has fixed it.
    #[must_use]
    pub fn time_unit(&self) -> Option<Unit> {
        self.state.unit
    }

    /// Fixes the unit of times written as numbers, as an earlier decoder of the same source did.
    pub fn set_time_unit(&mut self, unit: Option<Unit>) {
        if unit.is_some() {
            self.state.unit = unit;
        }
    }

    /// From now on no line fixes the unit: one that would is refused.
    pub fn keep_time_unit(&mut self) {
        self.state.keeps_unit = true;
    }

    /// Moves the slots of the event decoded last to the end of `slots`.
    pub fn move_slots(&mut self, slots: &mut Vec<Value>) {
        slots.extend(self.state.slots.iter_mut().map(std::mem::take));
    }

    /// When the next record came, for a stream with `time record`; others have their own time.
    pub fn set_record_time(&mut self, time: Micros) {
        self.state.record_time = (self.state.format == ir::TimeFormat::Record).then_some(time);
    }

    /// Reads one JSON object.
    ///
    /// # Errors
    /// Not a JSON object, a field of the wrong type, or no readable time.
    pub fn decode(&mut self, line: &[u8]) -> Result<Decoded<'_>, DecodeError> {
        self.read(line)?;
        self.finish()
    }

    /// The time of one JSON object of which nothing else is wanted. A line that is damaged past its time may pass here:
    /// decoding it in full refuses it.
    ///
    /// # Errors
    /// As for [`Self::decode`].
    pub fn decode_time(&mut self, line: &[u8]) -> Result<Micros, DecodeError> {
        match self.quick_time(line) {
            Some(ts) => Ok(ts),
            None => self.decode(line).map(|decoded| decoded.ts),
        }
    }

    /// Stops at the time, if it is plain and certain to be the line's only one.
    fn quick_time(&mut self, line: &[u8]) -> Option<Micros> {
        let [child] = self.trie.children.as_slice() else { return None };
        if child.targets != [(Target::Time, false)] {
            return None;
        }
        let key = child.key.as_bytes();
        let mut flat = flat::Flat::new(line)?;
        let token = loop {
            match flat.member() {
                flat::Member::Pair(found, token) if found == key => break token,
                flat::Member::Pair(..) => {}
                flat::Member::End | flat::Member::Unsure => return None,
            }
        };
        let rest = flat.rest();
        let again = rest.iter().enumerate().any(|(at, byte)| match byte {
            b'\\' => true,
            b'"' => rest.get(at + 1..).is_some_and(|r| r.starts_with(key)),
            _ => false,
        });
        match token {
            _ if again => None,
            // The first number fixes the unit; only a sound line may do so.
            flat::Token::Int(v) if self.state.unit.is_some() => self.state.time(&value::Scalar::Int(v)),
            flat::Token::Text(text) => self.state.time(&value::Scalar::Text(std::str::from_utf8(text).ok()?)),
            _ => None,
        }
    }

    /// Says which columns the following records have.
    pub fn set_columns<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.columns = names.map(|name| self.wanted(name)).collect();
    }

    fn wanted(&self, column: &str) -> Vec<(Target, String)> {
        let targets = self.trie.find(column).into_iter().flat_map(|c| c.targets.iter());
        targets.map(|(target, _)| (target.clone(), column.to_owned())).collect()
    }

    /// Reads one record of the columns set before; `NA` and empty are null.
    ///
    /// # Errors
    /// A field of the wrong type, or no readable time.
    pub fn decode_record<'a>(
        &mut self,
        fields: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Decoded<'_>, DecodeError> {
        let unit = self.state.unit;
        self.state.reset();
        for (targets, bytes) in self.columns.iter().zip(fields) {
            if targets.is_empty() || csv::is_null(bytes) {
                continue;
            }
            let Ok(text) = std::str::from_utf8(bytes) else {
                return Err(DecodeError { code: "not_csv", message: "a field is not UTF-8".to_owned() });
            };
            for (target, name) in targets {
                self.state.claim(target, false);
                self.state.put_text(target, text, name).inspect_err(|_| self.state.unit = unit)?;
            }
        }
        self.state.settle();
        self.finish()
    }

    fn read(&mut self, line: &[u8]) -> Result<(), DecodeError> {
        let unit = self.state.unit;
        self.state.reset();
        if quick::read(&mut self.trie, &mut self.state, line).is_none() {
            self.state.reset();
            self.state.unit = unit;
            let outcome = json::read(&self.trie, &mut self.state, line);
            // WHY: what is refused is in no log, so it must not fix the unit of what is.
            outcome.inspect_err(|_| self.state.unit = unit)?;
        }
        self.state.settle();
        Ok(())
    }

    fn finish(&self) -> Result<Decoded<'_>, DecodeError> {
        let Some(ts) = self.state.ts else {
            let message = format!("no time: field `{}` is missing or null", self.time_name);
            return Err(DecodeError { code: "no_time", message });
        };
        let id = self.state.has_id.then_some(self.state.id.as_str());
        Ok(Decoded { ts, id, slots: &self.state.slots })
    }
}

/// Reads one field as text: the stream's name of a split file.
#[derive(Debug)]
pub struct FieldReader {
    decoder: Decoder,
}

impl FieldReader {
    /// For a dotted path; `hides`: nothing is told of a line that cannot be read.
    #[must_use]
    pub fn new(path: &str, hides: bool) -> Self {
        let mut trie = Node::default();
        let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
        trie.insert(&parts, &Target::Slot(0, Type::String));
        let state = State {
            slots: vec![Value::Null],
            origins: vec![Origin::None; 3],
            ts: None,
            id: String::new(),
            has_id: false,
            unit: None,
            keeps_unit: false,
            format: ir::TimeFormat::Auto,
            zone: None,
            record_time: None,
            lenient: true,
            hides: Hides { lines: hides, ..Hides::default() },
            error: None,
            strings: Strings { recent: vec![Text::from(""); Strings::SIZE] },
        };
        Self { decoder: Decoder { trie, state, time_name: String::new(), columns: Vec::new() } }
    }

    /// The field's text in a JSON line; none if it is absent or null.
    ///
    /// # Errors
    /// Not a JSON object.
    pub fn read(&mut self, line: &[u8]) -> Result<Option<Text>, DecodeError> {
        let decoder = &mut self.decoder;
        decoder.read(line)?;
        Ok(match decoder.state.slots.first() {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        })
    }
}
