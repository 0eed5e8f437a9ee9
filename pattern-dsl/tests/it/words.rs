//! "No word is reserved everywhere" (language section 4, "Words").

use pattern_dsl::{Environment, types::Type};

const KEYWORDS: &[&str] = &[
    "stream",
    "topic",
    "where",
    "key",
    "id",
    "dedupe",
    "fields",
    "mask",
    "time",
    "in",
    "order",
    "as",
    "zone",
    "late",
    "idle",
    "list",
    "by",
    "from",
    "lookup",
    "const",
    "def",
    "template",
    "rule",
    "uses",
    "title",
    "about",
    "owner",
    "runbook",
    "version",
    "reason",
    "tags",
    "mode",
    "shadow",
    "live",
    "off",
    "param",
    "match",
    "within",
    "cancel",
    "on",
    "having",
    "unless",
    "let",
    "severity",
    "score",
    "emit",
    "timeout",
    "send",
    "webhook",
    "cooldown",
    "per",
    "overlap",
    "none",
    "start",
    "end",
    "last",
    "all",
    "test",
    "then",
    "immediately",
    "first",
    "after",
    "until",
    "quiet",
    "for",
    "at",
    "least",
    "to",
    "any",
    "number",
    "of",
    "optional",
    "consecutive",
    "no",
    "one",
    "times",
    "max",
    "if",
    "else",
    "or",
    "and",
    "not",
    "is",
    "null",
    "starts",
    "with",
    "ends",
    "contains",
    "matches",
    "reaches",
    "true",
    "false",
    "over",
    "before",
    "given",
    "set",
    "advance",
    "every",
    "expect",
    "nothing",
    "alert",
    "alerts",
];
/// Not names where an operand is expected.
const OPERANDS: &[&str] = &["if", "not", "true", "false", "null"];
const NO_ALIAS: &[&str] = &["if", "not", "true", "false", "null", "and", "or", "in", "is"];
const NO_STREAM: &[&str] =
    &["no", "all", "one", "any", "at", "optional", "consecutive", "first", "immediately", "after", "within"];

#[test]
fn keywords_are_names_in_name_positions() {
    for word in KEYWORDS {
        let bare = if OPERANDS.contains(word) { format!("`{word}`") } else { (*word).to_owned() };
        let alias = if NO_ALIAS.contains(word) { format!("`{word}`") } else { (*word).to_owned() };
        let operand = if OPERANDS.contains(word) { format!("`{word}`") } else { alias.clone() };
        let text = format!(
            "stream s {{ fields {{ {word}: int, k: string, o.{word}: int }} }}
            rule field {{ by k match {{ s as a where {bare} > 1 and o.{word} > 2 }} having a.{word} < 9 emit {{ {word}: a.{word} }} test \"t\" {{ at 1s s {{ {word}: 1 }} }} }}
            rule alias {{ by k match within 1m {{ s as {alias} then s as other where k == {operand}.k }} having {operand}.k == other.k emit {{ {word}: 1, x: {{ {word}: 2 }} }} }}
            list {word}: string
            rule list_name {{ by k match {{ s as a where k in @{word} }} }}
            rule key_name {{ by {word} (s.k) match {{ s as a }} reason \"{{a.k}}\" }}"
        );
        super::good(&text, &Environment::default());
    }
}

#[test]
fn keywords_are_streams_unless_the_step_would_read_otherwise() {
    for word in KEYWORDS.iter().filter(|w| **w != "alert") {
        let name = if NO_STREAM.contains(word) { format!("`{word}`") } else { (*word).to_owned() };
        let text = format!(
            "rule r {{ from {word} where k != \"\" by k match within 1m {{ {name} as a then 2 {name} as b then no {name} then first {name} as c }} cooldown 1m }}"
        );
        let streams = vec![super::stream(word, &[("k", Type::String)])];
        super::good(&text, &Environment { streams, ..Environment::default() });
    }
}

#[test]
fn quoted_names_and_dotted_keys() {
    let text = "stream s { fields { `user-agent`: string, `status.code`: int, `if`: bool } }
        rule r { by `user-agent` match { s as a where `user-agent` starts with \"x\" and status.code > 3 and `if` } having a.`status.code` > 1 }";
    super::good(text, &Environment::default());
}
