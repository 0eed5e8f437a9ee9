//! Faults that tests ask for: `TRIPLINE_FAULT="panic RULE TIME"` or `"abort RULE TIME"`, where the time is an event's.
//!
//! WHY: what happens when the matcher fails can only be shown by a matcher that fails. A build without debug assertions,
//! such as a release, knows nothing of it.

use crate::decode::time::format_rfc3339;
use pattern_dsl::types::Micros;
use std::sync::OnceLock;

/// What a rule does instead of its work at an instant.
struct Fault {
    kind: String,
    rule: String,
    time: String,
}

fn asked() -> Option<&'static Fault> {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return None;
    }
    let read = || {
        let text = std::env::var("TRIPLINE_FAULT").ok()?;
        let mut words = text.split(' ').map(str::to_owned);
        Some(Fault { kind: words.next()?, rule: words.next()?, time: words.next()? })
    };
    FAULT.get_or_init(read).as_ref()
}

/// A test has asked for a fault.
pub(super) fn is_asked() -> bool {
    asked().is_some()
}

/// A rule is about to work at an instant.
pub(super) fn strike(rule: &str, time: Micros) {
    let Some(fault) = asked().filter(|fault| fault.rule == rule && fault.time == format_rfc3339(time)) else {
        return;
    };
    match fault.kind.as_str() {
        "abort" => std::process::abort(),
        _ => panic!("a fault that a test has asked for"),
    }
}
