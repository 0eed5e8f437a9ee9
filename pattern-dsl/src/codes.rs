//! The table of diagnostic codes: one paragraph each, for `tripline explain CODE`.
//!
//! Codes never change their meaning; new ones are added. The order is that of the numbers.

/// Every code with its explanation.
const CODES: &[(&str, &str)] = &[
    (
        "E101",
        "Something else is needed at this place. The message names what can stand here and what was found.",
    ),
    (
        "E102",
        "A string, a quoted name or an escape is malformed. Strings are \"..\" on one line with the escapes \\\" \\\\ \\n \\t \\u{..}; raw strings are r\"..\". The right side of `matches` must be a valid regular expression.",
    ),
    ("E103", "A rule or block holds a word that is not one of its clauses."),
    (
        "E104",
        "A number, duration or date is malformed. Durations are whole numbers with us, ms, s, m, h or d: `5m`, `1h30m`.",
    ),
    (
        "E105",
        "A word that reads as a keyword here stands where a stream or alias is named. Quote it in backticks.",
    ),
    ("E106", "A clause is given twice. Keep one."),
    ("E107", "A rule has no `match` block and so matches nothing."),
    (
        "E108",
        "The body of a PUT must hold exactly one rule, named as in the path. Several rules go in a bundle.",
    ),
    ("E109", "Two things of one kind have the same name."),
    (
        "E117",
        "The bound of the whole match stands on `match within D { }`, the bound of one step before it: `then within D x`.",
    ),
    ("E118", "`where` filters one step or one stream of `from`. A condition on the whole match is `having`."),
    ("E119", "`??` binds more loosely than `+` and `-`. Write parentheses to say which is meant."),
    (
        "E201",
        "The types do not fit. Values are never converted silently, but int, decimal and float may be mixed.",
    ),
    ("E202", "No stream of this name is declared or known from data."),
    (
        "E203",
        "The name is no step, key, const or other thing that can be read here. Fields of steps are written `alias.field`.",
    ),
    ("E204", "The stream has no such field."),
    (
        "E205",
        "The time field of an undeclared stream is not clear from its data. Say which with `--time FIELD`.",
    ),
    ("E206", "`serve` reads declared streams only. `tripline infer` writes the block from data."),
    ("E207", "There is no such function, or it takes other arguments."),
    ("E208", "The rule names a list, lookup, template or rule that does not exist."),
    ("E209", "A `const` or `def` is defined by itself."),
    ("E210", "The value is none of the words of the enum it is compared with."),
    (
        "E211",
        "Every stream that a rule names must have each part of its key: by the key's name, or mapped as in `by user (login.user_id)`.",
    ),
    ("E212", "A part of the key has different types in two streams, so their events never meet."),
    (
        "E223",
        "An alias equals a stream, a key or a field that the rule reads without an alias, so the name has two meanings.",
    ),
    (
        "E301",
        "A match that awaits two or more events, or the absence of one, needs a time bound, else it waits for ever.",
    ),
    ("E302", "A bound read from an event or a lookup needs a limit: `max 30d`."),
    ("E303", "The bound on `match` must be a literal or a const."),
    ("E321", "A condition can only read what has happened: this event and the steps before it."),
    (
        "E322",
        "`prev`, `rising`, `falling`, `changed` and aggregates of the step itself need a fixed event before this one: a `consecutive` step.",
    ),
    ("E323", "The first and the last unit of a match must need an event."),
    ("E324", "Members of a set come in any order, so one cannot read another. Use `having`."),
    ("E325", "Only a `one of` set is one event and can have an alias."),
    ("E326", "A match needs at least one step that awaits an event."),
    ("E331", "`then immediately` needs a single neighbour; an absence or a set is none."),
    ("E332", "An absence takes no arrow but `then`; its own bound is `no x for D`."),
    ("E333", "`consecutive` follows a quantifier: `at least 2 consecutive x`."),
    (
        "E334",
        "The quantifier holds nothing: it takes at least one event, and the upper number is not below the lower.",
    ),
    ("E335", "A set has at most 8 members."),
    ("E336", "`until quiet` cannot stand in a set."),
    ("E341", "`overlap from x` needs a later step that always begins."),
    ("E342", "`overlap all` wants every match, `cooldown` wants one: drop one of them."),
    ("E343", "`cooldown per` adds to the rule's key."),
    ("E344", "`on timeout` needs `match within`, a first step of one event and no timer at the end."),
    ("E345", "More than three steps are linked by tests other than `==`, so the search is too wide."),
    ("E351", "`reaches` needs one latch: it stands as a top-level `and` term of the only step of a rule."),
    (
        "E352",
        "A window counts events of the rule's own key and takes no `by`. Write a rule by the other key and roll up its alerts.",
    ),
    ("E353", "A window reads only events of the rule's own key, and this stream has no such key."),
    ("E361", "Rules read one another's alerts in a circle."),
    ("E390", "Repeated groups are not supported yet. Repeat the steps, or count alerts."),
    ("E391", "This part of the language is not supported yet."),
    ("W110", "A live rule has no test. A `test` block shows that it fires when it should."),
    ("W208", "A rule without `by` has one global key: all its events are worked on in one place."),
    (
        "W210",
        "A rule tests a window on every event, with neither `reaches` nor `cooldown`: it may alert on each event.",
    ),
    ("W211", "A condition can never hold."),
    ("W214", "One event can serve either of two steps."),
    ("W216", "An upper limit on a leading repeat can be met by a later beginning."),
    ("W217", "An absence starts at the last event of the step before, whatever that took."),
    ("W218", "An end could begin the next match, so every second pair is skipped."),
    ("W219", "`is_new` is also true for a key never seen before."),
    (
        "W220",
        "Alerts of different rules join by the name of the key. Name it after the entity (`user`), not the column (`user_id`).",
    ),
    ("W221", "Unknown counts as false here; the condition reads an optional field."),
    ("W345", "Three steps are linked by tests other than `==`: about n^3 tests."),
];

/// What a code means and what to do, in one paragraph; `None` for an unknown code.
#[must_use]
pub fn explain_code(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, text)| *text)
}
