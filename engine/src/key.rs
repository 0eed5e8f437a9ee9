//! The values by which a rule knows what belongs together, in the order of its key's parts.

use crate::value::Value;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A key; most have one part, and it lies here.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    One(Value),
    Many(Box<[Value]>),
}

impl Deref for Key {
    type Target = [Value];

    #[inline]
    fn deref(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

impl From<&[Value]> for Key {
    /// In the form that all have that are one key.
    #[inline]
    fn from(values: &[Value]) -> Self {
        match values {
            [value] => Self::One(value.as_key()),
            _ => Self::Many(values.iter().map(Value::as_key).collect()),
        }
    }
}

impl FromIterator<Value> for Key {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        let mut values: Vec<Value> = values.into_iter().collect();
        match values.pop() {
            Some(value) if values.is_empty() => Self::One(value),
            last => Self::Many(values.into_iter().chain(last).collect()),
        }
    }
}

impl Borrow<[Value]> for Key {
    fn borrow(&self) -> &[Value] {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from_iter)
    }
}
