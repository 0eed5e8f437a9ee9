//! Codes W: allowed, but look at it.

use super::CodeDocument;

pub(super) const CODES: &[CodeDocument] = &[
    CodeDocument {
        code: "W110",
        title: "a live rule without a test",
        meaning: "A `test` block shows that the rule fires when it should and keeps quiet when it should not; `tripline test` runs it, and the next author keeps it true.",
        wrong: "rule r { by card_id  match { auth where amount > 500 } }",
        mended: r#"
rule r {
  by card_id
  match { auth where amount > 500 }
  test "a large one" {
    at 0s auth { card_id: "c1", amount: 600 }
    expect 1 alert
  }
}"#,
    },
    CodeDocument {
        code: "W208",
        title: "no `by`",
        meaning: "Without a key all events are one sequence, worked on in one place: it does not spread over partitions, and events of different people are mixed.",
        wrong: "rule r { match within 1m { at least 100 auth } }",
        mended: "rule r { by merchant  match within 1m { at least 100 auth } }",
    },
    CodeDocument {
        code: "W210",
        title: "a window, and every event may alert",
        meaning: "The condition stays true while the window is full, so every further event alerts. `reaches` fires once on crossing; `cooldown` limits how often.",
        wrong: "rule r { by card_id  match { auth where count(auth over 1h) >= 4 } }",
        mended: "rule r { by card_id  match { auth where count(auth over 1h) reaches 4 } }",
    },
    CodeDocument {
        code: "W211",
        title: "can never hold",
        meaning: "The terms exclude one another, so the step never fits and the rule never fires, or `unless` never silences.",
        wrong: "rule r { by card_id  match { auth where amount < 5 and amount > 9 } }",
        mended: "rule r { by card_id  match { auth where amount > 5 and amount < 9 } }",
    },
    CodeDocument {
        code: "W214",
        title: "one event can be both of two steps",
        meaning: "An event serves one step of a choice, and where one fits both, a repeat ends at it and it is taken as the later step. Tell the steps apart if that is not meant.",
        wrong: "rule r { by card_id  match within 10m { at least 3 auth as probe where amount < 5 then auth as hit where approved } }",
        mended: "rule r { by card_id  match within 10m { at least 3 auth as probe where amount < 5 then auth as hit where amount > 500 } }",
    },
    CodeDocument {
        code: "W216",
        title: "an upper limit on a leading repeat",
        meaning: r#"A choice may begin later and so leave out the first events: `2 to 3` also matches the last three of ten. To mean "no more than", put an absence before it."#,
        wrong: "
rule r {
  by user_id
  match within 1h { 2 to 3 login as tries where not ok then login as entry where ok }
}",
        mended: "
rule r {
  by user_id
  match within 1h {
    no login for 1h where not ok
    then 2 to 3 login as tries where not ok
    then login as entry where ok
  }
}",
    },
    CodeDocument {
        code: "W217",
        title: "a `no` after an optional step or a repeat",
        meaning: "An absence starts at the last event of the step before, whatever that took: what comes earlier, between the events of the repeat, escapes it. `cancel on` guards the whole match.",
        wrong: "
rule r {
  by user_id
  match within 1h { at least 3 login as tries where not ok then no reset then login as entry where ok }
}",
        mended: "
rule r {
  by user_id
  match within 1h {
    at least 3 login as tries where not ok
    then login as entry where ok
    cancel on reset
  }
}",
    },
    CodeDocument {
        code: "W218",
        title: "an end that could begin the next match",
        meaning: "By default an alert uses up its last event too, so of a chain a, b, c the pair (b, c) is not seen. `overlap from` or `per end` keeps it.",
        wrong: "rule r { by user_id  match within 1h { login as here then login as there where country != here.country } }",
        mended: "rule r { by user_id  match within 1h { login as here then login as there where country != here.country }  overlap from there }",
    },
    CodeDocument {
        code: "W219",
        title: "`is_new` alone",
        meaning: "A value is also new for a key that was never seen before, so every first event alerts. Ask for some history too.",
        wrong: "rule r { by user_id  match { login as l where is_new(login.country over 90d before l) }  cooldown 1h }",
        mended: "
rule r {
  by user_id
  match { login as l where is_new(login.country over 90d before l) and count(login over 90d before l) > 0 }
  cooldown 1h
}",
    },
    CodeDocument {
        code: "W220",
        title: "a key named after a column",
        meaning: "Alerts of different rules join by the name of the key. Name it after the entity (`user`), not after one stream's column (`user_id`).",
        wrong: "rule r { by user_id (login.user_id, withdrawal.owner)  match within 1h { login then withdrawal } }",
        mended: "rule r { by user (login.user_id, withdrawal.owner)  match within 1h { login then withdrawal } }",
    },
    CodeDocument {
        code: "W221",
        title: "`no`, `cancel on` or `unless` on an optional field",
        meaning: "A comparison with null is unknown, and here unknown counts as false: the event breaks nothing, the match is not silenced. Say what null means with `??` or `is null`.",
        wrong: "rule r { by card_id  match { auth as a where amount > 500 }  unless a.tip > 5 }",
        mended: "rule r { by card_id  match { auth as a where amount > 500 }  unless (a.tip ?? 0) > 5 }",
    },
    CodeDocument {
        code: "W345",
        title: "three steps linked by other than `==`",
        meaning: "About n to the third choices may have to be tried at one event, n being the events that fit within the bound. An equality between the steps makes it a lookup.",
        wrong: "
rule r {
  by card_id
  match within 1h {
    auth as a
    then auth as b where amount > a.amount
    then auth as c where amount > b.amount
  }
  overlap from b
}",
        mended: "
rule r {
  by card_id
  match within 1h {
    auth as a
    then auth as b where merchant == a.merchant and amount > a.amount
    then auth as c where merchant == b.merchant and amount > b.amount
  }
  overlap from b
}",
    },
];
