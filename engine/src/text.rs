//! The text of a value: most words are short and lie in the value itself, so that comparing, copying and hashing one looks
//! nowhere else; longer ones are shared.
//!
//! INVARIANT: a text that can be short is; so two texts are equal exactly if their forms are.

use arcstr::ArcStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Most bytes of a short text.
const SHORT: usize = 14;

/// Text of a value, cheap to copy.
#[derive(Clone)]
pub struct Text(Form);

/// It lies in the value with room for the value's own tag: 16 bytes.
#[derive(Clone)]
enum Form {
    /// Its bytes, zeros, and in the last place how many they are.
    Short([u8; SHORT + 1]),
    Shared(ArcStr),
}

impl Text {
    /// The text.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Short(bytes) => short(bytes),
            Form::Shared(text) => text,
        }
    }

    #[inline]
    fn try_short(text: &str) -> Option<Self> {
        let mut bytes = [0; SHORT + 1];
        bytes.get_mut(..SHORT)?.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        bytes[SHORT] = text.len() as u8;
        Some(Self(Form::Short(bytes)))
    }
}

#[inline]
fn short(bytes: &[u8; SHORT + 1]) -> &str {
    let text = bytes.get(..usize::from(bytes[SHORT])).unwrap_or_default();
    // It was text when it was copied.
    std::str::from_utf8(text).unwrap_or_default()
}

impl From<&str> for Text {
    #[inline]
    fn from(text: &str) -> Self {
        Self::try_short(text).unwrap_or_else(|| Self(Form::Shared(ArcStr::from(text))))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<ArcStr> for Text {
    fn from(text: ArcStr) -> Self {
        Self::try_short(&text).unwrap_or(Self(Form::Shared(text)))
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Short(a), Form::Short(b)) => a == b,
            (Form::Shared(a), Form::Shared(b)) => ArcStr::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }
}
impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    /// By code points, as texts are compared.
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Zeros come before all other bytes, and of two texts that differ in zeros at the end the count decides.
            (Form::Short(a), Form::Short(b)) => a.cmp(b),
            _ => self.as_str().cmp(other.as_str()),
        }
    }
}

impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Form::Short(bytes) => {
                let (first, last) = (bytes.first_chunk(), bytes.last_chunk());
                state.write_u64(first.map_or(0, |eight| u64::from_le_bytes(*eight)));
                state.write_u64(last.map_or(0, |eight| u64::from_le_bytes(*eight)));
            }
            Form::Shared(text) => text.as_str().hash(state),
        }
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl serde::de::Visitor<'_> for Reads {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::from(text))
            }
        }
        deserializer.deserialize_str(Reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use rustc_hash::FxHasher;

    #[test]
    fn a_value_has_room_for_it() {
        assert_eq!(size_of::<Value>(), 16);
        assert_eq!(size_of::<Option<Value>>(), 16);
    }

    fn hash(text: &Text) -> u64 {
        let mut hasher = FxHasher::default();
        text.hash(&mut hasher);
        hasher.finish()
    }

    /// Short and long texts, with zeros and letters of several bytes among them, behave as the texts they were made of.
    #[test]
    fn it_is_the_text_that_it_was_made_of() {
        let parts = ["", "\0", "a", "b", "é", "€", "abcdefgh", "abcdefghijkl"];
        let pairs = || parts.iter().flat_map(|a| parts.iter().map(move |b| format!("{a}{b}")));
        let texts: Vec<String> =
            pairs().flat_map(|ab| parts.iter().map(move |c| format!("{ab}{c}"))).collect();
        for a in &texts {
            let of_a = Text::from(a.as_str());
            assert_eq!(of_a.as_str(), a);
            let bytes = postcard::to_allocvec(&of_a).expect("it is written");
            assert_eq!(bytes, postcard::to_allocvec(a).expect("it is written"));
            assert_eq!(postcard::from_bytes::<Text>(&bytes).expect("it is read"), of_a);
            for b in &texts {
                let of_b = Text::from(ArcStr::from(b.as_str()));
                assert_eq!(of_a == of_b, a == b, "{a:?} {b:?}");
                assert_eq!(of_a.cmp(&of_b), a.cmp(b), "{a:?} {b:?}");
                assert!(a != b || hash(&of_a) == hash(&of_b), "{a:?}");
            }
        }
    }
}
