//! The table of diagnostic codes: what each means, why, and an example with its mended form, for `tripline explain CODE`.
//!
//! Codes never change their meaning; new ones are added. The order is that of the numbers.

mod syntax;
mod names;
mod meaning;
mod warnings;

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeDocument {
    /// As `E204`.
    pub code: &'static str,
    /// When it is reported, in a few words.
    pub title: &'static str,
    /// What it means and why the language refuses it or warns.
    pub meaning: &'static str,
    /// The smallest text that gives it. Streams that are not declared in it are known from data.
    pub wrong: &'static str,
    /// The same, mended.
    pub mended: &'static str,
}

impl std::fmt::Display for CodeDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inset = |text: &str| text.trim().lines().map(|l| format!("  {l}\n")).collect::<String>();
        writeln!(f, "{}: {}\n\n{}\n", self.code, self.title, self.meaning)?;
        write!(f, "Wrong:\n\n{}\nMended:\n\n{}", inset(self.wrong), inset(self.mended))
    }
}

/// The documents of all codes in the order of their numbers: errors, then warnings.
pub fn code_documents() -> impl Iterator<Item = &'static CodeDocument> {
    syntax::CODES.iter().chain(names::CODES).chain(meaning::CODES).chain(warnings::CODES)
}

/// What a code means, why, and an example with its mended form; `None` for an unknown code.
#[must_use]
pub fn explain_code(code: &str) -> Option<String> {
    code_documents().find(|d| d.code.eq_ignore_ascii_case(code)).map(ToString::to_string)
}
