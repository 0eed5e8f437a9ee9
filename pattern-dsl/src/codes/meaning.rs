//! Codes E3xx: what a match means.

use super::CodeDocument;

pub(super) const CODES: &[CodeDocument] = &[
    CodeDocument {
        code: "E301",
        title: "no time bound",
        meaning: "A match that awaits two or more events needs `match within`, an absence at either end needs `for`: else it waits for ever, and the memory for it grows for ever.",
        wrong: "rule r { by card_id  match { auth as a where approved then auth as b where not approved } }",
        mended: "rule r { by card_id  match within 1h { auth as a where approved then auth as b where not approved } }",
    },
    CodeDocument {
        code: "E302",
        title: "a looked-up bound without limit",
        meaning: "A bound that is read from a lookup or an event could be any length, so the state could too. `max` limits it; longer is cut, and the alert says so.",
        wrong: "
lookup carriers by carrier { ship_within: duration }
rule r { by order_id  match { paid_order as o then no shipped for @carriers[o.carrier].ship_within } }",
        mended: "
lookup carriers by carrier { ship_within: duration }
rule r { by order_id  match { paid_order as o then no shipped for @carriers[o.carrier].ship_within max 30d } }",
    },
    CodeDocument {
        code: "E303",
        title: "`match within` is not constant",
        meaning: "The bound of the whole match decides how long events are held and takes literals, consts and params only. A bound that depends on data stands on an arrow or on `no`.",
        wrong: r#"
lookup carriers by carrier { ship_within: duration }
rule r { by order_id  match within @carriers["dhl"].ship_within { paid_order as o then shipped } }"#,
        mended: "rule r { by order_id  match within 30d { paid_order as o then shipped } }",
    },
    CodeDocument {
        code: "E321",
        title: "a condition reads a later step",
        meaning: "A `where` can only read what has happened: this event and the steps before it. Test the two at the later step.",
        wrong: "rule r { by card_id  match within 1h { auth as a where amount < b.amount then auth as b }  overlap from b }",
        mended: "rule r { by card_id  match within 1h { auth as a then auth as b where a.amount < amount }  overlap from b }",
    },
    CodeDocument {
        code: "E322",
        title: "needs a fixed event before it",
        meaning: "`prev`, `rising`, `falling`, `changed` and aggregates of the step itself look at what the repeat has taken before. Only in a `consecutive` repeat is that fixed; else events in between could be left out at will.",
        wrong: "rule r { by machine  match within 1h { at least 3 temp as t where rising(celsius) } }",
        mended: "rule r { by machine  match within 1h { at least 3 consecutive temp as t where rising(celsius) } }",
    },
    CodeDocument {
        code: "E323",
        title: "the first or last unit may be empty",
        meaning: "A match cannot begin or end with nothing: there would be no event to count time from.",
        wrong: "rule r { by user_id  match within 1h { optional reset then login } }",
        mended: "rule r { by user_id  match within 1h { reset then login } }",
    },
    CodeDocument {
        code: "E324",
        title: "a member of a set reads another",
        meaning: "Members of a set come in any order, so the other may not have happened yet. `having` sees them all.",
        wrong: "rule r { by machine  match within 1h { all of { temp as t, vibration as v where rms > t.celsius } } }",
        mended: "rule r { by machine  match within 1h { all of { temp as t, vibration as v } }  having v.rms > t.celsius }",
    },
    CodeDocument {
        code: "E325",
        title: "an alias on a set other than `one of`",
        meaning: "Only a `one of` is a single event. Of other sets name the members.",
        wrong: "rule r { by machine  match within 1h { all of { temp, vibration } as both } }",
        mended: "rule r { by machine  match within 1h { all of { temp as t, vibration as v } } }",
    },
    CodeDocument {
        code: "E326",
        title: "no positive step",
        meaning: "Absences alone have no moment to count from: a rule needs an event.",
        wrong: "rule r { by machine  match { no temp for 5m } }",
        mended: "rule r { by machine  match { temp then no temp for 5m } }",
    },
    CodeDocument {
        code: "E331",
        title: "`immediately` at an absence or a set",
        meaning: "`then immediately` lets nothing come between two neighbours; an absence is no event, and of a set other than `one of` it is open which event is the neighbour.",
        wrong: "rule r { by user_id  match { login then immediately no logout for 5m } }",
        mended: "rule r { by user_id  match { login then no logout for 5m } }",
    },
    CodeDocument {
        code: "E332",
        title: "a bound or another arrow at an absence",
        meaning: "An absence has a bound of its own, `no x for D`, and takes no arrow but `then`. After a leading absence there is no step before, so nothing to be first or immediate to.",
        wrong: "rule r { by user_id  match { login then within 5m no logout for 5m } }",
        mended: "rule r { by user_id  match { login then no logout for 5m } }",
    },
    CodeDocument {
        code: "E333",
        title: "`consecutive` without a quantifier",
        meaning: "`consecutive` says that a repeat is not interrupted by events of its stream that do not fit; one event has no such thing.",
        wrong: "rule r { by machine  match { consecutive temp } }",
        mended: "rule r { by machine  match within 1h { at least 2 consecutive temp } }",
    },
    CodeDocument {
        code: "E334",
        title: "a quantifier or a range that holds nothing",
        meaning: "A step takes at least one event, and the upper number is not below the lower; a range of times in a test ends after it begins.",
        wrong: "rule r { by card_id  match within 1h { auth as a then 3 to 2 auth as b } }",
        mended: "rule r { by card_id  match within 1h { auth as a then 2 to 3 auth as b } }",
    },
    CodeDocument {
        code: "E335",
        title: "a set of more than eight members, or a rule of more than 64 parts",
        meaning: "The orders in which a set can come are tried together; more than eight members would cost too much. `at least n` of one stream, or two rules, often say the same. A rule has at most 64 parts (steps, windows, streams of absences, what strict steps look at) and 32 `reaches`.",
        wrong: "
rule r {
  by merchant
  match within 1h {
    all of { auth as a where amount > 1, auth as b where amount > 2, auth as c where amount > 3,
      auth as d where amount > 4, auth as e where amount > 5, auth as f where amount > 6,
      auth as g where amount > 7, auth as h where amount > 8, auth as i where amount > 9 }
  }
}",
        mended: "rule r { by merchant  match within 1h { at least 9 auth where amount > 1 } }",
    },
    CodeDocument {
        code: "E336",
        title: "`until quiet` in a set",
        meaning: "A set has one end, and it would not be clear which silence that is.",
        wrong: "rule r { by machine  match within 1h { all of { at least 3 temp as t until quiet for 5m, vibration } } }",
        mended: "rule r { by machine  match within 1h { vibration then at least 3 temp as t until quiet for 5m } }",
    },
    CodeDocument {
        code: "E341",
        title: "`overlap from` the first step, or one that may be absent",
        meaning: "`overlap from x` uses up what lies before x. From the first step nothing would be used up and the same match would come again; a step that may be absent gives no place at all.",
        wrong: "rule r { by card_id  match within 1h { auth as a then auth as b where amount > 5 }  overlap from a }",
        mended: "rule r { by card_id  match within 1h { auth as a then auth as b where amount > 5 }  overlap from b }",
    },
    CodeDocument {
        code: "E342",
        title: "`overlap all` with `cooldown`",
        meaning: "`overlap all` wants every match, `cooldown` one a while: drop one of them.",
        wrong: "rule r { by card_id  match within 1h { auth as a then auth as b }  overlap all  cooldown 1h }",
        mended: "rule r { by card_id  match within 1h { auth as a then auth as b }  overlap all }",
    },
    CodeDocument {
        code: "E343",
        title: "`per` reads what is no single value",
        meaning: "`cooldown D per x` adds a value to the rule's key: a field of a step of one event. It cannot drop the key; one alert per merchant over all cards is a rule on `alert`.",
        wrong: "rule r { by card_id  match within 1h { at least 3 auth as probe }  cooldown 1h per probe.merchant }",
        mended: "rule r { by card_id  match within 1h { at least 3 auth as probe where amount < 5 then auth as hit where amount > 500 }  cooldown 1h per hit.merchant }",
    },
    CodeDocument {
        code: "E344",
        title: "no one time-out here",
        meaning: "`on timeout emit` needs `match within`, a first step of one event to count from, no timer at the end of the match, and an `overlap` other than `per end` and `all`.",
        wrong: "rule r { by user_id  match { login as l then no logout for 1h }  on timeout emit { user: l.user_id } }",
        mended: "rule r { by user_id  match within 1h { login as l then logout }  on timeout emit { user: l.user_id } }",
    },
    CodeDocument {
        code: "E345",
        title: "too many steps linked by other than `==`",
        meaning: "More than three steps are linked by comparisons other than `==`, so about n to the fourth choices may have to be tried at one event. An equality is looked up; a chain of `then immediately` has no choice.",
        wrong: "
rule r {
  by card_id
  match within 1h {
    auth as a
    then auth as b where amount > a.amount
    then auth as c where amount > b.amount
    then auth as d where amount > c.amount
  }
  overlap from b
}",
        mended: "
rule r {
  by card_id
  match within 1h {
    auth as a
    then auth as b where merchant == a.merchant
    then auth as c where merchant == b.merchant
    then auth as d where merchant == c.merchant
  }
  overlap from b
}",
    },
    CodeDocument {
        code: "E351",
        title: "`reaches` elsewhere",
        meaning: "`reaches` has one latch for the rule and key: it stands as a top-level `and` term of the only step of a rule. Elsewhere it would not be clear when the latch opens again.",
        wrong: "rule r { by card_id  match { auth where amount > 500 or count(auth over 1h) reaches 4 } }",
        mended: "rule r { by card_id  match { auth where amount > 500 and count(auth over 1h) reaches 4 } }",
    },
    CodeDocument {
        code: "E352",
        title: "`by` inside a window",
        meaning: "A window counts events of the rule's own key; another key is another partition of the work. Write a rule by that key, then a rule that reads its alerts.",
        wrong: "rule r { by card_id  match { auth where count(auth over 1h by merchant) reaches 20 } }",
        mended: "rule r { by merchant  match { auth where count(auth over 1h) reaches 20 } }",
    },
    CodeDocument {
        code: "E353",
        title: "a window over another key",
        meaning: "The windowed stream has no such key, so its events cannot be found by it. Write a rule by a key that both have.",
        wrong: "rule r { by card_id  match { auth where count(temp over 1h) reaches 20 } }",
        mended: "rule r { by card_id  match { auth where count(auth over 1h) reaches 20 } }",
    },
    CodeDocument {
        code: "E361",
        title: "rules read one another's alerts in a circle",
        meaning: "A rule reads the alerts of lower strata only: else an alert could cause itself. Name the rules that are read: `from alert where rule in [..]`.",
        wrong: r#"
rule a { by card (alert.keys.card)  from alert where rule in ["b"]  match { alert } }
rule b { by card (alert.keys.card)  from alert where rule in ["a"]  match { alert } }"#,
        mended: r#"
rule a { by card (auth.card_id)  match { auth where amount > 5 } }
rule b { by card (alert.keys.card)  from alert where rule in ["a"]  match { alert } }"#,
    },
    CodeDocument {
        code: "E390",
        title: "a repeated group",
        meaning: "`n times { .. }` is not supported yet. Write the steps out, or let a second rule count the alerts of one round.",
        wrong: "rule r { by user_id  match within 1h { 2 times { login then logout } } }",
        mended: "rule r { by user_id  match within 1h { login as l1 then logout as o1 then login as l2 then logout as o2 } }",
    },
];
