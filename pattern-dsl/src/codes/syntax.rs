//! Codes E1xx: what the text looks like.

use super::CodeDocument;

pub(super) const CODES: &[CodeDocument] = &[
    CodeDocument {
        code: "E101",
        title: "something else must stand here",
        meaning: "The message names what can stand here and what was found. The rest of the clause is not looked at, so that one slip gives one message.",
        wrong: "rule r { by card_id  match { auth where amount < } }",
        mended: "rule r { by card_id  match { auth where amount < 5 } }",
    },
    CodeDocument {
        code: "E102",
        title: "a string, quoted name or escape is malformed",
        meaning: r#"Strings are ".." on one line with the escapes \" \\ \n \t \u{..}; raw strings are r"..". The right side of `matches` must be a valid regular expression."#,
        wrong: r#"
rule r {
  title "Small probes
  by card_id  match { auth }
}"#,
        mended: r#"
rule r {
  title "Small probes"
  by card_id  match { auth }
}"#,
    },
    CodeDocument {
        code: "E103",
        title: "an unknown clause",
        meaning: "A rule or block holds a word that is none of its clauses. A misspelled clause is never skipped: the rule would mean something else.",
        wrong: r#"rule r { titel "Probes"  by card_id  match { auth } }"#,
        mended: r#"rule r { title "Probes"  by card_id  match { auth } }"#,
    },
    CodeDocument {
        code: "E104",
        title: "a number, duration or date is malformed",
        meaning: "Durations are whole numbers with us, ms, s, m, h or d, the longest first: `5m`, `1h30m`. Times of tests are written in RFC 3339.",
        wrong: "rule r { by card_id  match within 5min { at least 3 auth } }",
        mended: "rule r { by card_id  match within 5m { at least 3 auth } }",
    },
    CodeDocument {
        code: "E105",
        title: "a keyword stands as a stream or alias",
        meaning: "Most words may be names, but here this one would be read as a keyword. Quote it in backticks, or take another name.",
        wrong: "rule r { by card_id  match within 1h { auth as in where approved then auth as out where not approved } }",
        mended: "rule r { by card_id  match within 1h { auth as `in` where approved then auth as out where not approved } }",
    },
    CodeDocument {
        code: "E106",
        title: "a clause is given twice",
        meaning: "Only `let`, `param`, `test` and `cancel on` may be repeated. Of two others one would silently win.",
        wrong: "rule r { by card_id  match { auth }  cooldown 1h  cooldown 2h }",
        mended: "rule r { by card_id  match { auth }  cooldown 2h }",
    },
    CodeDocument {
        code: "E107",
        title: "a rule without `match` and `uses`",
        meaning: "A rule needs a `match` block of its own, or one from the template that it uses; else it matches nothing.",
        wrong: "rule r { by card_id  severity high }",
        mended: "rule r { by card_id  match { auth }  severity high }",
    },
    CodeDocument {
        code: "E108",
        title: "the body of a PUT is not the rule that the path names",
        meaning: "`PUT /v1/rules/{id}` takes exactly one rule, named as in the path, so that a rule has one address. Several rules go in a bundle.",
        wrong: "
PUT /v1/rules/probes
rule small_probes { by card_id  match { auth } }",
        mended: "
PUT /v1/rules/small_probes
rule small_probes { by card_id  match { auth } }",
    },
    CodeDocument {
        code: "E109",
        title: "a name is declared twice",
        meaning: "Two rules, streams, lists, steps or other things of one kind have the same name, so it would not say which is meant.",
        wrong: "
rule r { by card_id  match { auth } }
rule r { by card_id  match { auth where amount > 5 } }",
        mended: "
rule r { by card_id  match { auth } }
rule s { by card_id  match { auth where amount > 5 } }",
    },
    CodeDocument {
        code: "E117",
        title: "`within` behind a step",
        meaning: "The bound of the whole match stands on `match`, that of one step before it: `then within 1h x`. Behind the last step it could mean either.",
        wrong: "rule r { by card_id  match { at least 3 auth as probe within 10m } }",
        mended: "rule r { by card_id  match within 10m { at least 3 auth as probe } }",
    },
    CodeDocument {
        code: "E118",
        title: "`where` outside a step",
        meaning: "`where` filters one step or one stream of `from`. A condition on the whole match is `having`: behind `from` a `where` would filter the stream.",
        wrong: "
rule r {
  by card_id
  match within 10m { at least 3 auth as probe }
  where sum(probe.amount) > 5000
}",
        mended: "
rule r {
  by card_id
  match within 10m { at least 3 auth as probe }
  having sum(probe.amount) > 5000
}",
    },
    CodeDocument {
        code: "E119",
        title: "`+` or `-` beside `??` without parentheses",
        meaning: "`??` binds more loosely than `+` and `-`: `a + b ?? c` is `(a + b) ?? c`, which is seldom meant. Say which.",
        wrong: "rule r { by card_id  match { auth where amount + tip ?? 0 > 500 } }",
        mended: "rule r { by card_id  match { auth where amount + (tip ?? 0) > 500 } }",
    },
];
