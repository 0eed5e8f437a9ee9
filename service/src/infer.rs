//! Streams without a block: names, types, time and id guessed from the events (language section 4.1).
//!
//! Every event of a file is looked at before types are fixed: each field gets the narrowest type that fits all its
//! values, and is optional if any event lacks it. A field that mixes text with other scalars is read as text; so are not the
//! items of a list, which must be of one kind.

use crate::decode::csv::is_null;
use crate::decode::flat::{Flat, Member, Token};
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::{Field, Stream, TimeField, TimeFormat};
use pattern_dsl::types::Type;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Names that a time field may have.
pub const TIME_NAMES: [&str; 7] =
    ["ts", "time", "timestamp", "@timestamp", "event_time", "created_at", "date"];

const BOOL: u8 = 1;
const INT: u8 = 2;
const DECIMAL: u8 = 4;
const FLOAT: u8 = 8;
const TEXT: u8 = 16;
/// A list of scalars.
const LIST: u8 = 32;
/// A list of lists or objects, or an object where a scalar may be: no type of a field.
const OTHER: u8 = 64;

/// What was seen at one place of the events.
#[derive(Debug, Default, Clone)]
pub struct Shape {
    /// Kinds of values.
    kinds: u8,
    /// Kinds of the items of lists.
    items: u8,
    /// How many values were not null.
    seen: u64,
    /// Fields below.
    fields: Vec<(String, Shape)>,
    /// Fields and kinds of the line being looked at.
    pending: Vec<(usize, u8)>,
}

impl Shape {
    /// How many events were looked at.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.seen
    }

    /// Takes in one JSON event. Lines that are not objects are left to the decoder to report.
    pub fn add_json(&mut self, line: &[u8]) {
        if self.add_flat(line).is_some() {
            return;
        }
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        if line.first() == Some(&b'{') {
            // A damaged line may leave a few fields behind; they are then optional.
            let _ = ShapeSeed { shape: self }.deserialize(&mut deserializer);
        }
    }

    /// Takes in a flat object of known fields; none, and nothing taken in, if the line is anything else.
    fn add_flat(&mut self, line: &[u8]) -> Option<()> {
        if !line.is_ascii() {
            std::str::from_utf8(line).ok()?;
        }
        let mut flat = Flat::new(line)?;
        self.pending.clear();
        let mut guess = 0;
        loop {
            let (key, token) = match flat.member() {
                Member::Pair(key, token) => (key, token),
                Member::End => break,
                Member::Unsure => return None,
            };
            let known = |(name, _): &(String, Self)| name.as_bytes() == key;
            let at = match self.fields.get(guess) {
                Some(field) if known(field) => guess,
                _ => self.fields.iter().position(known)?,
            };
            guess = at + 1;
            let kind = match token {
                Token::Null => continue,
                Token::Bool => BOOL,
                Token::Int(_) => INT,
                Token::Decimal => DECIMAL,
                Token::Text(_) => TEXT,
            };
            self.pending.push((at, kind));
        }
        self.seen += 1;
        for (at, kind) in &self.pending {
            if let Some((_, shape)) = self.fields.get_mut(*at) {
                shape.seen += 1;
                shape.kinds |= kind;
            }
        }
        Some(())
    }

    /// Takes in one CSV record.
    pub fn add_record<'a>(&mut self, header: &[String], fields: impl Iterator<Item = &'a [u8]>) {
        self.seen += 1;
        for (name, field) in header.iter().zip(fields) {
            let shape = self.field(name);
            if is_null(field) {
                continue;
            }
            shape.seen += 1;
            shape.kinds |= text_kind(field);
        }
    }

    /// Notes one value of a test's event.
    pub fn add_literal(&mut self, path: &[String], value: &pattern_dsl::types::Literal) {
        use pattern_dsl::types::Literal;
        if let [first, rest @ ..] = path {
            return self.field(first).add_literal(rest, value);
        }
        let kind = match value {
            Literal::Null => return,
            Literal::Bool(_) => BOOL,
            Literal::Int(_) => INT,
            Literal::Decimal(_) => DECIMAL,
            Literal::Float(_) => FLOAT,
            Literal::List(items) => {
                let mut inside = Self::default();
                items.iter().for_each(|item| inside.add_literal(&[], item));
                self.items |= inside.kinds;
                if inside.kinds & (LIST | OTHER) == 0 { LIST } else { OTHER }
            }
            Literal::Object(_) => OTHER,
            _ => TEXT,
        };
        self.seen += 1;
        self.kinds |= kind;
    }

    fn field(&mut self, name: &str) -> &mut Self {
        let at = match self.fields.iter().position(|(n, _)| n == name) {
            Some(at) => at,
            None => {
                self.fields.push((name.to_owned(), Self::default()));
                self.fields.len() - 1
            }
        };
        &mut self.fields[at].1
    }

    fn ty(&self) -> Option<Type> {
        match self.kinds & !(LIST | OTHER) {
            0 if self.kinds == LIST => list(self.items),
            0 if self.kinds != 0 || !self.fields.is_empty() => None,
            kinds => Some(scalar(kinds)),
        }
    }

    fn collect(&self, path: &mut Vec<String>, events: u64, out: &mut Vec<Field>) {
        for (name, shape) in &self.fields {
            path.push(name.clone());
            if let Some(ty) = shape.ty() {
                out.push(Field { path: path.clone(), ty, nullable: shape.seen < events, mask: false });
            }
            shape.collect(path, events, out);
            path.pop();
        }
    }

    /// The stream that fits what was seen.
    ///
    /// # Errors
    /// The time field is not clear: the candidates (E205).
    pub fn stream(&self, name: &str, time: Option<&str>) -> Result<Stream, String> {
        let time_path = match time {
            Some(field) => field.split('.').map(str::to_owned).collect(),
            None => vec![self.time_field(name)?],
        };
        let mut fields = Vec::new();
        self.collect(&mut Vec::new(), self.seen, &mut fields);
        let id = fields
            .iter()
            .any(|f| f.path == ["id"] && !f.nullable && matches!(f.ty, Type::String | Type::Int));
        // Every event has `ts`, `id` and `stream` anyway.
        fields.retain(|f| f.path != ["stream"] && !(f.path == time_path && f.path == ["ts"]));
        for field in &mut fields {
            if field.path == time_path {
                field.ty = Type::Instant;
            }
        }
        Ok(Stream {
            name: name.to_owned(),
            topic: None,
            topic_filter: None,
            key: None,
            id: id.then(|| vec!["id".to_owned()]),
            dedupe: None,
            fields,
            time: TimeField { path: time_path, format: TimeFormat::Auto, zone: None, in_order: false },
            late: 0,
            idle: 60_000_000,
            declared: false,
        })
    }

    fn time_field(&self, name: &str) -> Result<String, String> {
        let found: Vec<&str> = TIME_NAMES
            .into_iter()
            .filter(|n| self.fields.iter().any(|(f, s)| f == n && s.seen > 0))
            .collect();
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] if self.seen == 0 => Ok("ts".to_owned()),
            [] => {
                let fields: Vec<_> = self.fields.iter().map(|(f, _)| format!("`{f}`")).collect();
                let fields = fields.join(", ");
                Err(format!(
                    "error[E205]: no field of `{name}` is named like a time; say --time FIELD (it has {fields})"
                ))
            }
            several => {
                let names: Vec<_> = several.iter().map(|f| format!("`{f}`")).collect();
                let first = several.first().copied().unwrap_or("ts");
                let names = names.join(" or ");
                Err(format!("error[E205]: time of `{name}` could be {names}; say --time {first}"))
            }
        }
    }

    /// Makes integers decimals and all fields optional: for input whose rest has not been seen yet.
    pub fn loosen(stream: &mut Stream) {
        for field in &mut stream.fields {
            field.nullable = true;
            match &mut field.ty {
                ty @ Type::Int => *ty = Type::Decimal,
                Type::List(item) if **item == Type::Int => **item = Type::Decimal,
                _ => {}
            }
        }
    }
}

/// The narrowest type that fits scalars of these kinds; text if there are none.
fn scalar(kinds: u8) -> Type {
    match kinds {
        BOOL => Type::Bool,
        INT => Type::Int,
        kinds if kinds & !(INT | DECIMAL) == 0 && kinds != 0 => Type::Decimal,
        kinds if kinds & !(INT | DECIMAL | FLOAT) == 0 && kinds != 0 => Type::Float,
        _ => Type::String,
    }
}

/// The list that holds items of these kinds. Items are read strictly, so text beside numbers fits none.
fn list(kinds: u8) -> Option<Type> {
    let item = scalar(kinds);
    let mixed = item == Type::String && kinds & !TEXT != 0;
    (!mixed).then(|| Type::List(Box::new(item)))
}

fn text_kind(field: &[u8]) -> u8 {
    let Ok(text) = std::str::from_utf8(field) else { return TEXT };
    if matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") {
        return BOOL;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if leading_zero || !digits.starts_with(|c: char| c.is_ascii_digit()) || text.contains('_') {
        return TEXT;
    }
    if text.parse::<i64>().is_ok() {
        INT
    } else if Decimal::parse(text).is_some() {
        DECIMAL
    } else if text.parse::<f64>().is_ok() {
        FLOAT
    } else {
        TEXT
    }
}

struct ShapeSeed<'s> {
    shape: &'s mut Shape,
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ShapeSeed<'_> {
    fn note(&mut self, kind: u8) {
        self.shape.seen += 1;
        self.shape.kinds |= kind;
    }
}

/// Finds the shape of a key without copying keys that are known.
struct NameSeed<'s> {
    shape: &'s mut Shape,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed<'_> {
    type Value = usize;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, name: &str) -> Result<usize, E> {
        self.shape.field(name);
        Ok(self.shape.fields.iter().position(|(n, _)| n == name).unwrap_or(0))
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(mut self, _: bool) -> Result<(), E> {
        self.note(BOOL);
        Ok(())
    }
    fn visit_i64<E>(mut self, _: i64) -> Result<(), E> {
        self.note(INT);
        Ok(())
    }
    fn visit_u64<E>(mut self, v: u64) -> Result<(), E> {
        self.note(if i64::try_from(v).is_ok() { INT } else { DECIMAL });
        Ok(())
    }
    fn visit_f64<E>(mut self, v: f64) -> Result<(), E> {
        let plain = v == 0.0 || (v.abs() >= 0.1 && v.abs() < 1e15);
        self.note(if plain || Decimal::parse(&format!("{v}")).is_some() { DECIMAL } else { FLOAT });
        Ok(())
    }
    fn visit_str<E>(mut self, _: &str) -> Result<(), E> {
        self.note(TEXT);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut item = Shape::default();
        while list.next_element_seed(ShapeSeed { shape: &mut item })?.is_some() {}
        self.shape.items |= item.kinds;
        self.note(if item.kinds & (LIST | OTHER) == 0 { LIST } else { OTHER });
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.note(OTHER);
        while let Some(at) = map.next_key_seed(NameSeed { shape: &mut *self.shape })? {
            match self.shape.fields.get_mut(at) {
                Some((_, below)) => map.next_value_seed(ShapeSeed { shape: below })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A name as rules write it; none if they cannot: nothing escapes a backtick or a line break.
fn quoted(name: &str) -> Option<String> {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    let sayable = !name.is_empty() && !name.contains(['`', '\n']);
    if plain { Some(name.to_owned()) } else { sayable.then(|| format!("`{name}`")) }
}

fn path_text(path: &[String]) -> Option<String> {
    Some(path.iter().map(|p| quoted(p)).collect::<Option<Vec<_>>>()?.join("."))
}

/// The `stream` block of an inferred stream. What has a name that rules cannot write is left out, and a comment says so.
#[must_use]
pub fn block(stream: &Stream) -> String {
    let unsayable = |name: &str| format!("# left out: no name of a rule file is {name:?}\n");
    let Some(name) = quoted(&stream.name) else { return unsayable(&stream.name) };
    let time = match stream.time.path.as_slice() {
        // Without quotes it is the broker's time.
        [record] if record == "record" => "`record`".to_owned(),
        path => match path_text(path) {
            Some(time) => time,
            None => return unsayable(&path.join(".")),
        },
    };
    let mut text = format!("stream {name} {{\n  time {time}\n");
    if let Some(id) = stream.id.as_ref().and_then(|id| path_text(id)) {
        text.push_str(&format!("  id {id}\n"));
    }
    if !stream.fields.is_empty() {
        text.push_str("  fields {\n");
        for field in &stream.fields {
            let ty = crate::decode::type_name(&field.ty);
            let optional = if field.nullable { "?" } else { "" };
            text.push_str("    ");
            match path_text(&field.path) {
                Some(path) => text.push_str(&format!("{path}: {ty}{optional},\n")),
                None => text.push_str(&unsayable(&field.path.join("."))),
            }
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
    text
}
