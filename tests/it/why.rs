//! `why` says "fired" exactly where the rule fired, and names a test that failed everywhere else. `WHY_CASES` is how many
//! random rules are tried, `WHY_SEED` the first.

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn why_says_fired_exactly_where_the_rule_fired() {
    let (first, count) = (number("WHY_SEED", 1), number("WHY_CASES", 2_000));
    let (reports, compiled) = tripline_tests::why::check(first, count);
    assert!(reports.is_empty(), "{}", reports.join("\n"));
    assert!(compiled * 100 >= count * 95, "only {compiled} of {count} random rules compile");
}
