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
        let upto = self.text.get(..(offset as usize).min(self.text.len())).unwrap_or("");
        let line = upto.matches('\n').count() as u32 + 1;
        let column = upto.rsplit('\n').next().map_or(0, |l| l.chars().count()) as u32 + 1;
        (line, column)
    }
}
