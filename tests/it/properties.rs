//! The engine's own properties on random cases (`tests/src/properties.rs` says which), and what they have found.

use tripline_tests::properties::try_property;

/// A property on its share of random cases; `TRIPLINE_CASES` says how many more to try.
fn holds(name: &str, cases: u64, at_least: u64) {
    let times = std::env::var("TRIPLINE_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let (said, broken) = try_property(name, 1_000, cases * times);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(said >= at_least * times, "`{name}` says something about only {said} of {} cases", cases * times);
}

#[test]
fn events_that_no_rule_wants_change_nothing() {
    holds("unwanted", 2_000, 600);
}

#[test]
fn rules_beside_a_rule_change_nothing() {
    holds("beside", 1_000, 800);
}

#[test]
fn each_key_is_matched_by_itself() {
    holds("keys", 2_000, 500);
}

#[test]
fn alerts_move_with_time() {
    holds("shift", 2_000, 1_600);
}

#[test]
fn why_says_fired_exactly_where_the_rule_fired() {
    holds("why", 2_000, 1_900);
}

#[test]
fn a_swap_is_the_definition_with_two_revisions() {
    holds("swap", 2_000, 1_000);
}

#[test]
fn candidates_are_no_older_than_the_bound() {
    holds("expiry", 2_000, 800);
}

#[test]
fn silence_empties_the_state() {
    holds("forgotten", 2_000, 1_900);
}

#[test]
fn what_is_saved_in_slices_is_the_state_of_its_moment() {
    holds("frozen", 2_000, 1_000);
}
