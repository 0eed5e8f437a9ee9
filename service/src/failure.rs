//! How a command ends when it cannot go on: a message and the exit code that goes with it.
//!
//! 1 = findings (a rule error, a failed test, damaged input after what could be read); 2 = wrong usage or input that
//! cannot be opened. 0 is never a failure.

use std::fmt;

/// Why a command stopped.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// What is said on stderr; empty if it has been said already.
    pub message: String,
}

impl Failure {
    /// Wrong usage or unreadable input.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// Findings.
    #[must_use]
    pub fn finding(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // Whoever read our output has seen enough.
            return Self { code: 0, message: String::new() };
        }
        Self { code: 1, message: format!("input or output failed: {error}") }
    }
}
