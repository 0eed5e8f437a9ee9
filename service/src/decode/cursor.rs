//! A place in a JSON text: what stands there is taken eight bytes at a time, or not at all.
//!
//! INVARIANT: what is taken here, the parser takes as well, and up to the same byte; on doubt nothing is taken.

/// Containers inside one another that are skipped here.
const DEPTH: u32 = 64;

/// A byte in each of eight.
const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// As the parser divides by them.
const FLOAT_POWERS: [f64; 20] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19,
];

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// A whole number of at most 18 digits.
    Int(i64),
    /// With a point: its value and how many digits it has, at most 19.
    Float(f64, usize),
    /// Sound, but for the parser to read.
    Other,
}

/// Where the next byte is taken.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// How many bytes were taken.
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not yet taken.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no space, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Takes a byte after spaces.
    #[inline]
    pub(super) fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    #[inline]
    fn eight(&self) -> Option<u64> {
        self.rest().first_chunk().map(|eight| u64::from_le_bytes(*eight))
    }

    /// Moves to the next quote, backslash or control character.
    #[inline]
    fn skip_to_mark(&mut self) {
        while let Some(eight) = self.eight() {
            let quote = eight ^ (ONES * u64::from(b'"'));
            let slash = eight ^ (ONES * u64::from(b'\\'));
            let control = eight.wrapping_sub(ONES * 0x20) & !eight;
            let found = control | (quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash);
            let found = found & HIGH;
            if found != 0 {
                // A borrow reaches only bytes after the first that is found.
                self.at += (found.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while self.bytes.get(self.at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
            self.at += 1;
        }
    }

    /// Takes a string; true if it has no escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Option<bool> {
        self.take(b'"')?;
        let mut plain = true;
        loop {
            self.skip_to_mark();
            match self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(plain);
                }
                b'\\' => {
                    plain = false;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    /// Takes a string that has no escapes, without its quotes.
    pub(super) fn plain(&mut self) -> Option<&'a [u8]> {
        let start = self.at + 1;
        if !self.string()? {
            return None;
        }
        self.bytes.get(start..self.at - 1)
    }

    /// Takes digits: how many, and their value as long as there are at most 19.
    #[inline]
    fn digits(&mut self) -> (usize, u64) {
        let start = self.at;
        let mut value = 0u64;
        while let Some(eight) = self.eight() {
            let digits = eight ^ (ONES * u64::from(b'0'));
            let others = (digits.wrapping_add(ONES * 0x76) | digits) & HIGH;
            let count = (others.trailing_zeros() / 8) as usize;
            if count == 0 {
                return (self.at - start, value);
            }
            // The first digit is in the lowest byte; those that are missing become noughts before it.
            let digits = digits << (64 - 8 * count);
            let pairs = (digits.wrapping_mul(2_561) >> 8) & 0x00ff_00ff_00ff_00ff;
            let fours = (pairs.wrapping_mul(6_553_601) >> 16) & 0x0000_ffff_0000_ffff;
            let all = fours.wrapping_mul(42_949_672_960_001) >> 32;
            value = value.wrapping_mul(POWERS.get(count).copied().unwrap_or(1)).wrapping_add(all);
            self.at += count;
            if count < 8 {
                return (self.at - start, value);
            }
        }
        while let Some(digit) = self.bytes.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at - start, value)
    }

    /// Takes a number that begins here.
    pub(super) fn number(&mut self) -> Option<Number> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        self.at += usize::from(negative);
        let zero = self.bytes.get(self.at) == Some(&b'0');
        let (whole, value) = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return None;
        }
        let mut number = match i64::try_from(value) {
            // The parser reads `-0` as a double.
            Ok(value) if whole <= 18 && !(negative && zero) => {
                Number::Int(if negative { -value } else { value })
            }
            _ => Number::Other,
        };
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            let (fraction, tail) = self.digits();
            if fraction == 0 {
                return None;
            }
            number = match (POWERS.get(fraction), FLOAT_POWERS.get(fraction)) {
                (Some(power), Some(divisor)) if whole + fraction <= 19 => {
                    let float = value.wrapping_mul(*power).wrapping_add(tail) as f64 / divisor;
                    Number::Float(if negative { -float } else { float }, whole + fraction)
                }
                _ => Number::Other,
            };
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits().0 == 0 {
                return None;
            }
            number = Number::Other;
        }
        Some(number)
    }

    /// Takes `true`, `false` or `null`.
    pub(super) fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest().starts_with(word).then(|| self.at += word.len())
    }

    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => None,
        }
    }

    /// Takes the colon and all before it, from a key's opening quote.
    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.take(b':')
    }

    /// Takes any value.
    #[inline]
    pub(super) fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' => self.container(),
            first => self.scalar(first),
        }
    }

    fn container(&mut self) -> Option<()> {
        // A bit for each open container, the innermost last: set if it is an object.
        let (mut kinds, mut depth) = (0u64, 0u32);
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    if depth == DEPTH {
                        return None;
                    }
                    self.at += 1;
                    depth += 1;
                    kinds = kinds << 1 | u64::from(open == b'{');
                    if self.peek()? != open + 2 {
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                first => self.scalar(first)?,
            }
            loop {
                let object = kinds & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                self.at += 1;
                depth -= 1;
                kinds >>= 1;
                if depth == 0 {
                    return Some(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    /// Texts that are sound or nearly so, at the borders of eight bytes too.
    fn texts() -> Vec<String> {
        let pieces = [
            "0",
            "-0",
            "01",
            "-",
            "1.",
            ".5",
            "1.5",
            "-12.25",
            "1e3",
            "1E+3",
            "1e",
            "1.5e-7",
            "12345678",
            "123456789",
            "123456789012345678",
            "1234567890123456789",
            "12345678901234567890123",
            "0.1234567890123456789",
            "480.58787404949175",
            "0.000000000000000001",
            "true",
            "tru",
            "truee",
            "false",
            "null",
            "nul",
            "\"\"",
            "\"abcdefg\"",
            "\"abcdefgh\"",
            "\"a\\nb\"",
            "\"\\u00e9\"",
            "\"\\u00g9\"",
            "\"\\x\"",
            "\"\u{e9}\u{20ac}\"",
            "\"a\u{1}\"",
            "\"abc",
            "[]",
            "{}",
            "[1,2]",
            "[1,]",
            "[,1]",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\" : [ { } , null ] }",
            "{\"a\"1}",
            "{a:1}",
            "[}",
            "{]",
            "[1 2]",
            "",
            " ",
            "[[[[]]]]",
            "{\"a\\n\":{\"b\":[1,{\"c\":\"d\"}]}}",
        ];
        let mut texts = Vec::new();
        for piece in pieces {
            for after in ["", " ", "\t\r\n", ",", "        ", "x"] {
                texts.push(format!("{piece}{after}"));
                texts.push(format!("[{piece}{after}]"));
                texts.push(format!("{{\"key\": {piece}{after}}}"));
                texts.push(format!("{{\"a\":{piece}{after},\"b\" :\"{piece}\"}}"));
            }
        }
        texts
    }

    #[test]
    fn takes_what_the_parser_takes() {
        let mut taken = 0;
        for text in texts() {
            let mut cursor = Cursor::new(text.as_bytes());
            let mine = cursor.value().is_some() && cursor.peek().is_none();
            let parsed = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            assert_eq!(mine, parsed, "{text}");
            taken += usize::from(mine);
        }
        assert!(taken > 100, "{taken}");
    }

    #[test]
    fn numbers_are_those_of_the_parser() {
        let mut read = 0;
        for text in texts() {
            let mut cursor = Cursor::new(text.as_bytes());
            let Some(number) = cursor.number() else { continue };
            let text = &text[..cursor.at];
            let parsed: serde_json::Value = serde_json::from_str(text).expect(text);
            match number {
                Number::Int(int) => assert_eq!(parsed.as_i64(), Some(int), "{text}"),
                Number::Float(float, _) => {
                    assert_eq!(parsed.as_f64().map(f64::to_bits), Some(float.to_bits()), "{text}");
                }
                Number::Other => continue,
            }
            read += 1;
        }
        assert!(read > 30, "{read}");
    }

    #[test]
    fn what_is_too_deep_is_left() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Cursor::new(deep(DEPTH as usize).as_bytes()).value().is_some());
        assert!(Cursor::new(deep(DEPTH as usize + 1).as_bytes()).value().is_none());
    }
}
