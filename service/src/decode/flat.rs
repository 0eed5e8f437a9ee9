//! A quick look at flat JSON objects: plain keys, plain strings, numbers, words. Anything else is left to the parser.
//!
//! INVARIANT: whatever this module accepts, the parser reads the same way; on doubt it gives up.

use super::cursor::{Cursor, Number};

/// A value, as far as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number of at most 18 digits.
    Int(i64),
    /// A number with a point and at most 15 digits.
    Decimal,
    /// A string without escapes.
    Text(&'a [u8]),
}

/// The members of one object.
#[derive(Debug)]
pub struct Flat<'a> {
    cursor: Cursor<'a>,
    first: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// A key and its value.
    Pair(&'a [u8], Token<'a>),
    /// The closing brace.
    End,
    /// Something that only the parser can tell.
    Unsure,
}

impl<'a> Flat<'a> {
    /// Before the first member; none if the line does not begin with an object.
    #[must_use]
    pub fn new(line: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(line);
        (line.first() == Some(&b'{')).then(|| cursor.take(b'{'))?;
        Some(Self { cursor, first: true })
    }

    /// Bytes not yet looked at.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }

    /// The next member.
    pub fn member(&mut self) -> Member<'a> {
        match self.cursor.peek() {
            Some(b'}') => return Member::End,
            Some(b',') if !self.first => {
                self.cursor.at += 1;
                if self.cursor.peek() != Some(b'"') {
                    return Member::Unsure;
                }
            }
            Some(b'"') if self.first => {}
            _ => return Member::Unsure,
        }
        self.first = false;
        self.pair().map_or(Member::Unsure, |(key, token)| Member::Pair(key, token))
    }

    fn pair(&mut self) -> Option<(&'a [u8], Token<'a>)> {
        let cursor = &mut self.cursor;
        let key = cursor.plain()?;
        cursor.take(b':')?;
        let token = match cursor.peek()? {
            b'"' => Token::Text(cursor.plain()?),
            b'-' | b'0'..=b'9' => match cursor.number()? {
                Number::Int(int) => Token::Int(int),
                Number::Float(_, digits) if digits <= 15 => Token::Decimal,
                Number::Float(..) | Number::Other => return None,
            },
            b't' => cursor.word(b"true").map(|()| Token::Bool)?,
            b'f' => cursor.word(b"false").map(|()| Token::Bool)?,
            _ => cursor.word(b"null").map(|()| Token::Null)?,
        };
        Some((key, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(line: &str) -> Member<'_> {
        let Some(mut flat) = Flat::new(line.as_bytes()) else { return Member::Unsure };
        loop {
            match flat.member() {
                Member::Pair(..) => {}
                other => return other,
            }
        }
    }

    #[test]
    fn accepts_flat_objects_only() {
        for good in [
            "{}",
            r#"{"a":1}"#,
            r#"{ "a" : -1.50 , "b":null,"c":true, "d":"x" }"#,
            r#"{"a":0,"b":0.1,"c":false}"#,
        ] {
            assert_eq!(last(good), Member::End, "{good}");
        }
        for unsure in [
            r#"{"a":01}"#,
            r#"{"a":-0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":1.}"#,
            r#"{"a":"\n"}"#,
            r#"{"a":{}}"#,
            r#"{"a":[]}"#,
            r#"{"a":nul}"#,
            r#"{"a":truee}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a" 1}"#,
            r#"{"a":1"#,
            r#"{"a":1234567890123456789}"#,
            "[]",
        ] {
            assert_eq!(last(unsure), Member::Unsure, "{unsure}");
        }
    }
}
