//! Which files are read as what, and what happens to damaged ones.

use crate::command::{EVENTS, RULE, err, folder, out, tripline};
use std::io::Write;

#[test]
fn wrong_usage_is_2() {
    let f = folder(&[("card.cep", RULE), ("auth.txt", EVENTS), ("auth.jsonl", EVENTS)]);
    for arguments in [
        vec!["run", "card.cep", "missing.jsonl"],
        vec!["run", "card.cep", "auth.txt"],
        vec!["run", "card.cep", "--events", "-"],
        vec!["run", "auth.jsonl"],
        vec!["run", "missing.cep", "auth.jsonl"],
        vec!["run", "card.cep", "auth.jsonl", "--limit", "nothing=3"],
        vec!["bench", "W9"],
        vec!["nonsense"],
    ] {
        let output = tripline(f.path(), &arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty());
    }
}

#[test]
fn an_empty_file_is_fine() {
    let f = folder(&[("card.cep", RULE), ("auth.jsonl", "")]);
    let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("compress");
    encoder.finish().expect("compress")
}

#[test]
fn compressed_files_are_read_and_damaged_ones_to_the_damage() {
    let f = folder(&[("card.cep", RULE)]);
    std::fs::write(f.path().join("auth.jsonl.gz"), gzip(EVENTS)).expect("write");
    let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl.gz", "--json"], "");
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(0), 1), "{}", err(&output));
    let packed = zstd::encode_all(EVENTS.as_bytes(), 3).expect("compress");
    std::fs::write(f.path().join("auth.jsonl.zst"), packed).expect("write");
    let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl.zst", "--json"], "");
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(0), 1), "{}", err(&output));
    // Frames follow each other, some to be skipped; what is cut off is damage, also where it would be skipped.
    let (first, rest) = EVENTS.split_at(EVENTS.find('\n').expect("a line") + 1);
    let frame = |text: &str| zstd::encode_all(text.as_bytes(), 3).expect("compress");
    let skipped = |length: u32| [0x184D_2A50_u32.to_le_bytes(), length.to_le_bytes()].concat();
    let whole = [frame(first), skipped(3), b"abc".to_vec(), frame(rest)].concat();
    std::fs::write(f.path().join("auth.jsonl.zst"), &whole).expect("write");
    let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl.zst", "--json"], "");
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(0), 1), "{}", err(&output));
    for damaged in [whole[..whole.len() - 5].to_vec(), [frame(first), skipped(1_000), frame(rest)].concat()] {
        std::fs::write(f.path().join("auth.jsonl.zst"), damaged).expect("write");
        let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl.zst", "--json"], "");
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert!(err(&output).contains("auth.jsonl.zst: damaged"), "{}", err(&output));
    }
    let mut damaged = gzip(EVENTS);
    damaged.truncate(damaged.len() - 6);
    std::fs::write(f.path().join("auth.jsonl.gz"), damaged).expect("write");
    let output = tripline(f.path(), &["run", "card.cep", "auth.jsonl.gz", "--json"], "");
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(err(&output).contains("auth.jsonl.gz: damaged"), "{}", err(&output));
}

#[test]
fn infer_writes_blocks() {
    let csv = "id,ts,amount,zip,ok,note\n1,1700000000,2.5,007,true,NA\n2,1700000001,3,100,false,x\n";
    let f = folder(&[
        ("pay.csv", csv),
        ("all.jsonl", "{\"type\":\"a\",\"time\":1,\"x\":{\"y\":1}}\n{\"type\":\"b\",\"time\":2}\n"),
    ]);
    let output = tripline(f.path(), &["infer", "pay.csv"], "");
    let wanted = "stream pay {\n  time ts\n  id id\n  fields {\n    id: int,\n    amount: decimal,\n    zip: string,\n    \
                  ok: bool,\n    note: string?,\n  }\n}\n";
    assert_eq!(out(&output), wanted, "{}", err(&output));
    let output = tripline(f.path(), &["infer", "all.jsonl", "--split-by", "type"], "");
    assert!(out(&output).contains("stream a {\n  time time\n"), "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("x.y: int"), "{}", out(&output));
    let two = folder(&[("x.jsonl", "{\"ts\":1,\"date\":\"2026-01-01T00:00:00Z\"}\n")]);
    let output = tripline(two.path(), &["infer", "x.jsonl"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("E205"), "{}", err(&output));
    let output = tripline(two.path(), &["infer", "x.jsonl", "--time", "date"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn what_infer_writes_is_a_rule_file() {
    let lines = [
        r#"{"ts":1,"user-agent":"x","a b":1,"été":2,"we`ird":1,"two\nlines":1,"":1,"status.code":4,"status":{"code":5},"if":1,"tags":["a"],"sizes":[1,2],"rates":[1,2.5,null],"big":[1e300],"flags":[true],"none":[],"mixed":["a",1],"deep":[[1]],"rows":[{"x":1}],"empty":{},"now_and_then":[1]}"#,
        r#"{"ts":2,"user-agent":"y","a b":1,"été":2,"status":{"code":5},"tags":[],"sizes":[],"rates":[],"none":[]}"#,
    ];
    let f = folder(&[
        ("no such.jsonl", &lines.join("\n")),
        ("b`d.jsonl", r#"{"ts":1}"#),
        ("record.jsonl", r#"{"record":1}"#),
    ]);
    let output = tripline(f.path(), &["infer", "no such.jsonl"], "");
    let text = out(&output);
    for line in [
        "stream `no such` {",
        "`user-agent`: string,",
        "`a b`: int,",
        "`été`: int,",
        "if: int?,",
        "`status.code`: int?,",
        "status.code: int,",
        "tags: list<string>,",
        "sizes: list<int>,",
        "rates: list<decimal>,",
        "big: list<float>?,",
        "flags: list<bool>?,",
        "none: list<string>,",
        "now_and_then: list<int>?,",
        "# left out: no name of a rule file is \"we`ird\"",
        "# left out: no name of a rule file is \"two\\nlines\"",
        "# left out: no name of a rule file is \"\"",
    ] {
        assert!(text.lines().any(|had| had.trim() == line), "{line}\n{text}");
    }
    for name in ["mixed", "deep", "rows", "empty"] {
        assert!(!text.contains(name), "{name}\n{text}");
    }
    let rule = "rule r {\n  match { `no such` as e where \"a\" in tags and 2 in sizes and `user-agent` == \"x\" }\n}\n";
    std::fs::write(f.path().join("r.cep"), text + rule).expect("write");
    let output = tripline(f.path(), &["run", "r.cep", "no such.jsonl", "--json"], "");
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(0), 1), "{}", err(&output));

    let output = tripline(f.path(), &["infer", "b`d.jsonl"], "");
    assert_eq!(out(&output), "# left out: no name of a rule file is \"b`d\"\n");
    let output = tripline(f.path(), &["infer", "record.jsonl", "--time", "record"], "");
    assert!(out(&output).contains("time `record`\n"), "{}", out(&output));
}

#[test]
fn lists_are_known_without_a_block() {
    let rule = "rule r {\n  match { order as o where \"gift\" in labels and length(labels) > 1 }\n}\n";
    let lines = "{\"ts\":1,\"labels\":[\"gift\",\"red\"]}\n{\"ts\":2,\"labels\":[\"gift\"]}\n";
    let f = folder(&[("r.cep", rule), ("order.jsonl", lines)]);
    let output = tripline(f.path(), &["run", "r.cep", "order.jsonl", "--json"], "");
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(0), 1), "{}", err(&output));
    let tested = format!(
        "{}  test \"t\" {{ at 0s order {{ labels: [\"gift\", \"a\"] }} expect 1 alert }}\n}}\n",
        rule.trim_end().trim_end_matches('}')
    );
    std::fs::write(f.path().join("r.cep"), tested).expect("write");
    let output = tripline(f.path(), &["test", "r.cep"], "");
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
}

#[test]
fn csv_and_split_files_feed_rules() {
    let csv = "id,ts,card_id,approved,amount,merchant\n\
               a1,1772359200,c1,true,1.10,m1\na2,1772359240,c1,true,1.10,m1\n\
               a3,1772359280,c1,true,1.10,m1\na4,1772359500,c1,true,900.00,m1\n";
    let split = EVENTS.replace("\"id\":", "\"type\":\"auth\",\"id\":");
    let f = folder(&[("card.cep", RULE), ("auth.csv", csv), ("all.jsonl", &split)]);
    let from_csv = tripline(f.path(), &["run", "card.cep", "auth.csv", "--json"], "");
    assert_eq!(out(&from_csv).lines().count(), 1, "{}", err(&from_csv));
    let from_split =
        tripline(f.path(), &["run", "card.cep", "all.jsonl", "--split-by", "type", "--json"], "");
    assert_eq!(out(&from_split).lines().count(), 1, "{}", err(&from_split));
    let ids =
        |text: &str| serde_json::from_str::<serde_json::Value>(text.trim()).expect("json")["id"].clone();
    assert_eq!(ids(&out(&from_csv)), ids(&out(&from_split)), "declared ids name the events");
}
