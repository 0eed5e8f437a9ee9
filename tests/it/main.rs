//! Cross-crate tests.
fn main() {}
