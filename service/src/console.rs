//! What commands say: results on stdout, everything else on stderr. A reader that has gone away is no fault of theirs.

use crate::failure::Failure;
use std::io::Write;

/// Writes results to stdout.
///
/// # Errors
/// Nobody reads them any more: the command ends quietly.
pub fn show(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// `1 file`, `2 files`, `2 matches`.
#[must_use]
pub fn plural(count: usize, word: &str) -> String {
    let ending = match count {
        1 => "",
        _ if word.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{count} {word}{ending}")
}

/// A line on stderr. What cannot be said there is not said: the work goes on.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

/// A line on stdout of a command that goes on whether it is read or not.
macro_rules! tell {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}
pub(crate) use {say, tell};
