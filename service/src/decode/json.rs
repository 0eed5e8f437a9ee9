//! JSON objects through the trie: wanted values are read in their type, all others are skipped unparsed.

use super::nested::from_json;
use super::value::{Scalar, type_name, wrong};
use super::{Child, DecodeError, Node, State, Target};
use pattern_dsl::types::Type;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Fills `state` from one line.
pub(super) fn read(trie: &Node, state: &mut State, line: &[u8]) -> Result<(), DecodeError> {
    let seed = ObjectSeed { node: trie, state: &mut *state, field: "", required: true };
    // Text that was checked at once need not be checked string by string.
    let outcome = match std::str::from_utf8(line) {
        Ok(text) => {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            seed.deserialize(&mut deserializer).and_then(|()| deserializer.end())
        }
        Err(_) => {
            let mut deserializer = serde_json::Deserializer::from_slice(line);
            seed.deserialize(&mut deserializer).and_then(|()| deserializer.end())
        }
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(match state.error.take() {
            Some(known) => known,
            None => {
                let start = String::from_utf8_lossy(line.get(..line.len().min(60)).unwrap_or(line));
                let start = if state.hides.lines { String::new() } else { format!(": {start}") };
                let message = format!("not a JSON object: {}{start}", fault(&error));
                DecodeError { code: "not_json", message }
            }
        }),
    }
}

/// What is wrong with a text, without anything of the text itself.
pub(crate) fn fault(error: &serde_json::Error) -> String {
    // Only of values of another kind than expected does the message tell what they are.
    if error.is_data() {
        return format!("another kind of value at line {} column {}", error.line(), error.column());
    }
    error.to_string()
}

/// An object with wanted keys.
struct ObjectSeed<'t, 's> {
    node: &'t Node,
    state: &'s mut State,
    field: &'t str,
    /// The root has to be an object; further down another value leaves the fields null.
    required: bool,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.required { deserializer.deserialize_map(self) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.required { f.write_str("an object") } else { write!(f, "an object in `{}`", self.field) }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(KeySeed { node: self.node })? {
            match found {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(child) => map.next_value_seed(ChildSeed { child, state: &mut *self.state })?,
            }
        }
        Ok(())
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Looks a key up without copying it.
struct KeySeed<'t> {
    node: &'t Node,
}

impl<'de, 't> DeserializeSeed<'de> for KeySeed<'t> {
    type Value = Option<&'t Child>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, 't> Visitor<'de> for KeySeed<'t> {
    type Value = Option<&'t Child>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.node.find(key))
    }
}

/// The value of a wanted key.
struct ChildSeed<'t, 's> {
    child: &'t Child,
    state: &'s mut State,
}

impl<'de> DeserializeSeed<'de> for ChildSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { child, state } = self;
        match child.targets.as_slice() {
            [] => deserializer.deserialize_any(ObjectSeed {
                node: &child.below,
                state,
                field: &child.key,
                required: false,
            }),
            [(target, literal)] if child.below.children.is_empty() => {
                if !state.claim(target, *literal) {
                    return IgnoredAny::deserialize_into(deserializer);
                }
                scalar(target, &child.key, state, deserializer)
            }
            targets => {
                let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
                for (target, literal) in targets {
                    let first = !state.is_claimed(target);
                    if !state.claim(target, *literal) {
                        continue;
                    }
                    if !raw.get().starts_with('{')
                        || child.below.children.is_empty()
                        || matches!(target, Target::Slot(_, Type::Geo))
                    {
                        let mut inner = serde_json::Deserializer::from_str(raw.get());
                        scalar(target, &child.key, state, &mut inner).map_err(D::Error::custom)?;
                    } else if first {
                        state.put_null(target);
                    }
                }
                if raw.get().starts_with('{') && !child.below.children.is_empty() {
                    let mut inner = serde_json::Deserializer::from_str(raw.get());
                    let seed = ObjectSeed { node: &child.below, state, field: &child.key, required: false };
                    seed.deserialize(&mut inner).map_err(D::Error::custom)?;
                }
                Ok(())
            }
        }
    }
}

/// Skips a value.
trait Skip {
    fn deserialize_into<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error>;
}
impl Skip for IgnoredAny {
    fn deserialize_into<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_ignored_any(Self).map(|_| ())
    }
}

/// Reads one value into a target.
pub(super) fn scalar<'de, D: Deserializer<'de>>(
    target: &Target,
    field: &str,
    state: &mut State,
    deserializer: D,
) -> Result<(), D::Error> {
    if let Target::Slot(slot, Type::Decimal) = target {
        // The number's own text: a double would lose digits.
        let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        let text = raw.get();
        let outcome = match text.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => state.put_decimal(*slot, text, field),
            _ if text == "null" => {
                state.put_null(target);
                Ok(())
            }
            _ => Err(state.wrong(*slot, field, "decimal", &text.chars().take(60).collect::<String>())),
        };
        return outcome.map_err(|error| fail(state, error));
    }
    if let Target::Slot(slot, ty @ (Type::Geo | Type::List(_))) = target {
        let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        let Some(value) = from_json(ty, raw.get(), state.zone.as_ref()) else {
            let found = raw.get().chars().take(60).collect::<String>();
            let error = state.wrong(*slot, field, &type_name(ty), &found);
            return Err(fail(state, error));
        };
        state.slots[*slot] = value;
        return Ok(());
    }
    deserializer.deserialize_any(ScalarVisitor { target, field, state })
}

fn fail<E: serde::de::Error>(state: &mut State, error: DecodeError) -> E {
    state.error = Some(error);
    E::custom("refused")
}

struct ScalarVisitor<'t, 's> {
    target: &'t Target,
    field: &'t str,
    state: &'s mut State,
}

impl ScalarVisitor<'_, '_> {
    fn put<E: serde::de::Error>(self, value: &Scalar<'_>) -> Result<(), E> {
        let Self { target, field, state } = self;
        state.put(target, value, field).map_err(|error| fail(state, error))
    }

    fn refuse<E: serde::de::Error>(self, found: &str) -> E {
        let wanted = match self.target {
            Target::Slot(_, ty) => type_name(ty),
            Target::Time => "a time".to_owned(),
            Target::Id => "an id".to_owned(),
        };
        fail(self.state, wrong(self.field, &wanted, &found))
    }
}

impl<'de> Visitor<'de> for ScalarVisitor<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.state.put_null(self.target);
        Ok(())
    }
    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<(), E> {
        self.put(&Scalar::Bool(v))
    }
    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<(), E> {
        self.put(&Scalar::Int(v))
    }
    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<(), E> {
        match i64::try_from(v) {
            Ok(int) => self.put(&Scalar::Int(int)),
            Err(_) => self.put(&Scalar::Big(v)),
        }
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<(), E> {
        self.put(&Scalar::Float(v))
    }
    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<(), E> {
        self.put(&Scalar::Text(v))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Err(self.refuse("an object"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Err(self.refuse("a list"))
    }
}
