//! The values by which a rule knows what belongs together, in the order of its key's parts.

use crate::value::Value;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use thin_vec::ThinVec;

/// A key; most have one part, and it lies here.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    One(Value),
    /// None, or several.
    Many(ThinVec<Value>),
}

impl Key {
    fn of(values: SmallVec<[Value; 1]>) -> Self {
        match values.into_inner() {
            Ok([value]) => Self::One(value),
            Err(values) => Self::Many(values.into_iter().collect()),
        }
    }
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
        Self::of(values.into_iter().collect())
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
        SmallVec::deserialize(deserializer).map(Self::of)
    }
}
