//! A quick look at flat JSON objects: plain keys, plain strings, numbers, words. Anything else is left to the parser.
//!
//! INVARIANT: whatever this module accepts, the parser reads the same way; on doubt it gives up.

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
    line: &'a [u8],
    at: usize,
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
        (line.first() == Some(&b'{')).then_some(Self { line, at: 1, first: true })
    }

    /// Bytes not yet looked at.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.line.get(self.at) {
            if !matches!(byte, b' ' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let rest = self.line.get(self.at + 1..)?;
        let length = rest.iter().position(|b| *b == b'"' || *b == b'\\' || *b < 0x20)?;
        if rest.get(length) != Some(&b'"') {
            return None;
        }
        self.at += length + 2;
        rest.get(..length)
    }

    /// The next member.
    pub fn member(&mut self) -> Member<'a> {
        match self.peek() {
            Some(b'}') => return Member::End,
            Some(b',') if !self.first => {
                self.at += 1;
                if self.peek() != Some(b'"') {
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
        let key = self.string()?;
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        let token = match self.peek()? {
            b'"' => Token::Text(self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word(b"true", Token::Bool)?,
            b'f' => self.word(b"false", Token::Bool)?,
            b'n' => self.word(b"null", Token::Null)?,
            _ => return None,
        };
        Some((key, token))
    }

    fn word(&mut self, word: &[u8], token: Token<'a>) -> Option<Token<'a>> {
        self.rest().starts_with(word).then(|| {
            self.at += word.len();
            token
        })
    }

    fn digits(&mut self) -> (usize, i64) {
        let start = self.at;
        let mut value = 0i64;
        while let Some(digit) = self.line.get(self.at).filter(|b| b.is_ascii_digit()) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at - start, value)
    }

    fn number(&mut self) -> Option<Token<'a>> {
        let negative = self.line.get(self.at) == Some(&b'-');
        self.at += usize::from(negative);
        let zero = self.line.get(self.at) == Some(&b'0');
        let (whole, value) = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return None;
        }
        let fraction = if self.line.get(self.at) == Some(&b'.') {
            self.at += 1;
            Some(self.digits().0)
        } else {
            None
        };
        if matches!(self.line.get(self.at), Some(b'e' | b'E')) {
            return None;
        }
        match fraction {
            // The parser reads `-0` as a double.
            None if whole > 18 || (negative && zero) => None,
            None => Some(Token::Int(if negative { -value } else { value })),
            Some(digits) => (digits > 0 && whole + digits <= 15).then_some(Token::Decimal),
        }
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
