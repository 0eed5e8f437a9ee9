//! The golden cases of language section 5.3 through the engine, however it is fed.

use oracle::golden::golden;
use tripline_tests::Feed;

#[test]
fn golden_cases() {
    let mut wrong = Vec::new();
    for golden in golden() {
        let golden = golden.expect("a case that compiles");
        for feed in [Feed::Sorted, Feed::Restored, Feed::Interleaved(7), Feed::Direct] {
            let got = tripline_tests::golden(&golden, feed);
            if got != golden.expected {
                wrong.push(format!("{}: {} ({feed:?})\n    got {got}", golden.number, golden.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
