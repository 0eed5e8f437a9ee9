//! Source texts and places in them.

/// A half-open range of bytes in one source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Span {
    /// Which source: index into the slice given to [`crate::compile`].
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A rule file: its name as the user knows it, and its text.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// Path or other name, shown in diagnostics.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl SourceText {
    /// Line and column, both from 1, of a byte offset; columns count characters.
    #[must_use]
    pub fn line_column(&self, offset: u32) -> (u32, u32) {
        let place = Places::new(&self.text).place(offset);
        (place.line, place.column)
    }
}

/// The nearest byte at or before this one at which a character begins, or the end of the text.
pub(crate) fn boundary(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Where a byte of a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Before it on its line, in UTF-16 units, as editors count.
    pub utf16: u32,
}

/// Places of many bytes of one text; fastest when they are asked in order.
#[derive(Debug)]
pub struct Places<'t> {
    text: &'t str,
    /// First bytes of the lines.
    starts: Vec<usize>,
    /// The last byte asked, and its place: the next one on its line is counted from there.
    last: (usize, Place),
}

impl<'t> Places<'t> {
    /// Finds the lines of a text.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { text, starts, last: (0, Place { line: 1, column: 1, utf16: 0 }) }
    }

    /// The place of a byte; of one past the end, the end.
    pub fn place(&mut self, offset: u32) -> Place {
        let offset = boundary(self.text, offset as usize);
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let (from, mut place) = match self.last {
            (at, place) if place.line as usize == line && at <= offset => (at, place),
            _ => (start, Place { line: line as u32, column: 1, utf16: 0 }),
        };
        for c in self.text.get(from..offset).unwrap_or("").chars().filter(|c| *c != '\u{feff}') {
            place.column += 1;
            place.utf16 += c.len_utf16() as u32;
        }
        self.last = (offset, place);
        place
    }

    /// The line of a byte: its first byte and its text without the break.
    #[must_use]
    pub fn line(&self, offset: u32) -> (usize, &'t str) {
        let line = self.starts.partition_point(|start| *start <= offset as usize);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        (start, self.text.get(start..end).unwrap_or(""))
    }
}
