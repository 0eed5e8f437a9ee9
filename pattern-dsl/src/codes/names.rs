//! Codes E2xx: what names and types mean.

use super::CodeDocument;

pub(super) const CODES: &[CodeDocument] = &[
    CodeDocument {
        code: "E201",
        title: "types do not fit",
        meaning: "Values are never converted silently; only int, decimal and float may be mixed. A comparison that can never be meant is refused here and not null at run time.",
        wrong: r#"rule r { by card_id  match { auth where amount > "5" } }"#,
        mended: "rule r { by card_id  match { auth where amount > 5 } }",
    },
    CodeDocument {
        code: "E202",
        title: "an unknown stream",
        meaning: "No stream of this name is declared or known from data. Declare it with a `stream` block, or give data for it.",
        wrong: "rule r { by card_id  match { auht } }",
        mended: "rule r { by card_id  match { auth } }",
    },
    CodeDocument {
        code: "E203",
        title: "an unknown name",
        meaning: "The name is no step, `let`, key, param or const. After `match` fields are read by the step's alias: `hit.amount`.",
        wrong: "rule r { by card_id  match { auth as hit }  having hits.amount > 5 }",
        mended: "rule r { by card_id  match { auth as hit }  having hit.amount > 5 }",
    },
    CodeDocument {
        code: "E204",
        title: "an unknown field",
        meaning: "The stream has no such field. An undeclared stream has the fields that its data has.",
        wrong: "rule r { by card_id  match { auth where ammount < 5 } }",
        mended: "rule r { by card_id  match { auth where amount < 5 } }",
    },
    CodeDocument {
        code: "E205",
        title: "the time field is not clear",
        meaning: "The time of an undeclared stream is its field `ts`, `time`, `timestamp`, `@timestamp`, `event_time`, `created_at` or `date`. With none of them, or two, it is not guessed: a wrong order of events gives wrong alerts.",
        wrong: "
stream paid { fields { card_id: string, created_at: instant, date: instant } }
rule r { by card_id  match { paid } }",
        mended: "
stream paid { time created_at  fields { card_id: string, created_at: instant, date: instant } }
rule r { by card_id  match { paid } }",
    },
    CodeDocument {
        code: "E206",
        title: "`serve` and no stream block",
        meaning: "A service runs for a long time and cannot guess types from the first events. `tripline infer data.jsonl` writes the block.",
        wrong: "rule r { by card_id  match { paid } }",
        mended: "
stream paid { time ts  fields { card_id: string, amount: decimal } }
rule r { by card_id  match { paid } }",
    },
    CodeDocument {
        code: "E207",
        title: "a function that does not exist, or takes other arguments",
        meaning: "The message shows how it is called. A window is a call's only argument: `count(auth over 1h)`.",
        wrong: "rule r { by card_id  match { auth where ratio(amount) > 1 } }",
        mended: "rule r { by card_id  match { auth where ratio(amount, 100) > 1 } }",
    },
    CodeDocument {
        code: "E208",
        title: "an unknown list, lookup, template or rule",
        meaning: "Lists and lookups are declared beside the rules; their items may change without a new revision, their types may not. A rule that `alert where rule in [..]` names must be in these files; a service does not ask for that, since its rules come and go.",
        wrong: "rule r { by card_id  match { auth where merchant in @bad_merchants } }",
        mended: r#"
list bad_merchants: string = ["m1", "m2"]
rule r { by card_id  match { auth where merchant in @bad_merchants } }"#,
    },
    CodeDocument {
        code: "E209",
        title: "a `def` or `const` is defined by itself",
        meaning: "They are replaced by what they stand for, so a circle would never end.",
        wrong: "
const low = high - 5
const high = low + 5
rule r { by card_id  match { auth where amount < low } }",
        mended: "
const low = 5
const high = low + 5
rule r { by card_id  match { auth where amount < low } }",
    },
    CodeDocument {
        code: "E210",
        title: "not a word of the enum",
        meaning: "The value is none of the words that the field can hold, so the comparison could never be true.",
        wrong: r#"rule r { by card_id  match { auth where channel == "shop" } }"#,
        mended: r#"rule r { by card_id  match { auth where channel == "pos" } }"#,
    },
    CodeDocument {
        code: "E211",
        title: "a stream lacks a part of the key",
        meaning: "Every stream that a rule names must have each part of its key, by the key's name or mapped to a field of its own: events without it could belong to anybody.",
        wrong: "rule r { by user  match within 1h { login then withdrawal } }",
        mended: "rule r { by user (login.user_id, withdrawal.owner)  match within 1h { login then withdrawal } }",
    },
    CodeDocument {
        code: "E212",
        title: "a part of the key has two types",
        meaning: r#"Keys compare by typed values, so the text "1" and the number 1 never meet. Declare both fields with one type."#,
        wrong: "
stream opened { fields { ticket: string } }
stream closed { fields { ticket: int } }
rule r { by ticket  match within 1h { opened then closed } }",
        mended: "
stream opened { fields { ticket: string } }
stream closed { fields { ticket: string } }
rule r { by ticket  match within 1h { opened then closed } }",
    },
    CodeDocument {
        code: "E223",
        title: "an alias has two meanings",
        meaning: "An alias equals a stream, a key, or a field that the rule reads without an alias. Which one is read should not depend on where it stands.",
        wrong: "rule r { by card_id  match { auth as amount where amount > 5 } }",
        mended: "rule r { by card_id  match { auth as hit where amount > 5 } }",
    },
];
