//! JSON objects through the trie, by hand: most events look like the one before.
//!
//! At each place of an object the key is expected that stood there last, with the same spaces around it, so that a key
//! costs one comparison. Values that no rule wants are passed over. Whatever is not plain goes to the parser as one
//! value; and where that is not enough, the whole line does.
//!
//! INVARIANT: a line that is read here fills the buffers as the parser does; on doubt it is not read.

use super::cursor::{Cursor, Number};
use super::json::scalar;
use super::value::Scalar;
use super::{Child, Node, State, Target};
use engine::value::Value;
use pattern_dsl::types::Type;

/// Levels of wanted keys that are read here.
const DEPTH: usize = 16;

/// Fills `state` from one line; none if the parser has to.
pub(super) fn read(trie: &mut Node, state: &mut State, line: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(line).ok()?;
    let mut reader = Reader { text, cursor: Cursor::new(line), state };
    reader.object(trie, DEPTH)?;
    reader.cursor.peek().is_none().then_some(())
}

/// What stood at a place of an object, up to its value.
#[derive(Debug, Default)]
pub(super) struct Guess {
    /// Its first bytes, compared at once, and which bits of them count.
    head: u128,
    mask: u128,
    text: Vec<u8>,
    child: Option<usize>,
}

impl Guess {
    /// LIMIT: objects with more members, or longer keys, are read without guesses there.
    const PLACES: usize = 64;
    const LENGTH: usize = 64;
    const HEAD: usize = size_of::<u128>();

    fn keep(guesses: &mut Vec<Self>, place: usize, text: &[u8], child: Option<usize>) {
        if place >= Self::PLACES || text.len() > Self::LENGTH {
            return;
        }
        if guesses.len() <= place {
            guesses.resize_with(place + 1, Self::default);
        }
        if let Some(guess) = guesses.get_mut(place) {
            guess.text.clear();
            guess.text.extend_from_slice(text);
            guess.child = child;
            let mut head = [0; Self::HEAD];
            head.iter_mut().zip(text).for_each(|(byte, given)| *byte = *given);
            guess.head = u128::from_le_bytes(head);
            guess.mask = u128::MAX >> (8 * Self::HEAD.saturating_sub(text.len()));
        }
    }

    /// It stands here again.
    #[inline]
    fn holds(&self, rest: &[u8]) -> bool {
        match rest.first_chunk() {
            Some(first) if (u128::from_le_bytes(*first) ^ self.head) & self.mask != 0 => false,
            Some(_) if self.text.len() <= Self::HEAD => !self.text.is_empty(),
            _ => !self.text.is_empty() && rest.starts_with(&self.text),
        }
    }
}

enum Key {
    /// Of a wanted child, or of none.
    Of(Option<usize>),
    /// There is none: the object ends.
    End,
}

struct Reader<'a, 's> {
    text: &'a str,
    cursor: Cursor<'a>,
    state: &'s mut State,
}

impl Reader<'_, '_> {
    fn object(&mut self, node: &mut Node, depth: usize) -> Option<()> {
        self.cursor.take(b'{')?;
        for place in 0.. {
            let child = match node.guesses.get(place) {
                Some(guess) if guess.holds(self.cursor.rest()) => {
                    self.cursor.at += guess.text.len();
                    guess.child
                }
                _ => match self.key(node, place)? {
                    Key::Of(child) => child,
                    Key::End => return Some(()),
                },
            };
            match child.and_then(|at| node.children.get_mut(at)) {
                None => self.cursor.value()?,
                Some(child) => self.value(child, depth)?,
            }
        }
        None
    }

    /// Takes a key with its colon, or the end of the object.
    fn key(&mut self, node: &mut Node, place: usize) -> Option<Key> {
        let start = self.cursor.at;
        match self.cursor.peek()? {
            b'}' => {
                self.cursor.at += 1;
                return Some(Key::End);
            }
            b',' if place > 0 => {
                self.cursor.at += 1;
                self.cursor.peek()?;
            }
            _ if place > 0 => return None,
            _ => {}
        }
        let key = self.cursor.plain()?;
        self.cursor.take(b':')?;
        self.cursor.peek()?;
        let child = node.children.iter().position(|child| child.key.as_bytes() == key);
        let text = self.text.as_bytes().get(start..self.cursor.at)?;
        Guess::keep(&mut node.guesses, place, text, child);
        Some(Key::Of(child))
    }

    fn value(&mut self, child: &mut Child, depth: usize) -> Option<()> {
        let Child { key, targets, below } = child;
        match targets.as_slice() {
            [] if self.cursor.peek()? == b'{' => self.object(below, depth.checked_sub(1)?),
            [] => self.cursor.value(),
            [(target, literal)] if below.children.is_empty() => {
                if self.state.claim(target, *literal) {
                    self.scalar(target, key)
                } else {
                    self.cursor.value()
                }
            }
            _ => None,
        }
    }

    fn scalar(&mut self, target: &Target, field: &str) -> Option<()> {
        let first = self.cursor.peek()?;
        let start = self.cursor.at;
        let value = match (first, target) {
            (_, Target::Slot(_, Type::Geo | Type::List(_))) | (b'{' | b'[', _) => {
                self.cursor.value()?;
                None
            }
            (b'"', _) => {
                let plain = self.cursor.string()?;
                let text = self.text.get(start + 1..self.cursor.at - 1)?;
                plain.then_some(Scalar::Text(text))
            }
            (b'-' | b'0'..=b'9', _) => {
                let number = self.cursor.number()?;
                if let Target::Slot(slot, Type::Decimal) = target {
                    let text = self.text.get(start..self.cursor.at)?;
                    return self.state.put_decimal(*slot, text, field).ok();
                }
                match number {
                    Number::Int(int) => Some(Scalar::Int(int)),
                    Number::Float(float, _) => Some(Scalar::Float(float)),
                    Number::Other => None,
                }
            }
            (b't', _) => self.cursor.word(b"true").map(|()| Some(Scalar::Bool(true)))?,
            (b'f', _) => self.cursor.word(b"false").map(|()| Some(Scalar::Bool(false)))?,
            _ => {
                self.cursor.word(b"null")?;
                self.state.put_null(target);
                return Some(());
            }
        };
        match (value, target) {
            // The most frequent ones at once.
            (Some(Scalar::Text(text)), Target::Slot(slot, Type::String)) => {
                self.state.slots[*slot] = Value::String(self.state.strings.get(text));
                Some(())
            }
            (Some(Scalar::Float(float)), Target::Slot(slot, Type::Float)) => {
                self.state.slots[*slot] = Value::Float(float);
                Some(())
            }
            (Some(value), _) => self.state.put(target, &value, field).ok(),
            (None, _) => {
                let text = self.text.get(start..self.cursor.at)?;
                scalar(target, field, self.state, &mut serde_json::Deserializer::from_str(text)).ok()
            }
        }
    }
}
