//! What crosses crates. Goal: the engine gives exactly the alerts of the definition; method: random rules and streams.

mod golden;
mod language;
mod properties;

#[test]
fn the_engine_agrees_with_the_definition() {
    let (reports, compiled) = tripline_tests::compare(1, 20_000);
    assert!(reports.is_empty(), "{}", reports.join("\n"));
    assert!(compiled >= 19_000, "only {compiled} of 20,000 random rules compile");
}
