//! Lines to slots.

use engine::event::{StreamLayout, WantedField};
use engine::value::Value;
use pattern_dsl::ir::{Stream, TimeField, TimeFormat};
use pattern_dsl::types::Type;
use service::decode::{Decoder, FieldReader};
use service::render::value_text;

fn stream(time: &str, format: TimeFormat) -> Stream {
    Stream {
        name: "auth".to_owned(),
        topic: None,
        topic_filter: None,
        key: None,
        id: Some(vec!["id".to_owned()]),
        dedupe: None,
        fields: Vec::new(),
        time: TimeField { path: vec![time.to_owned()], format, zone: None, in_order: false },
        late: 0,
        idle: 60_000_000,
        declared: true,
    }
}

fn decoder(fields: &[(&str, Type)]) -> Decoder {
    let fields = fields
        .iter()
        .map(|(path, ty)| WantedField { path: path.split('.').map(str::to_owned).collect(), ty: ty.clone() })
        .collect();
    Decoder::new(&stream("ts", TimeFormat::Auto), &StreamLayout { name: "auth".into(), fields })
}

fn texts(slots: &[Value]) -> Vec<String> {
    slots.iter().map(value_text).collect()
}

#[test]
fn every_type_is_read_and_decimals_keep_their_digits() {
    let words = Type::Enum(vec!["pos".to_owned(), "ecom".to_owned()]);
    let mut d = decoder(&[
        ("amount", Type::Decimal),
        ("n", Type::Int),
        ("f", Type::Float),
        ("s", Type::String),
        ("b", Type::Bool),
        ("e", words),
        ("t", Type::Instant),
        ("d", Type::Duration),
        ("ip", Type::Ip),
        ("at", Type::Geo),
        ("at.lat", Type::Decimal),
        ("l", Type::List(Box::new(Type::String))),
        ("absent", Type::Int),
    ]);
    let line =
        br#"{"ts":"2026-03-01T10:00:00Z","id":"a\u00e91","junk":{"a":[1,{"b":null}]},"amount":1.10,"n":-7,
        "f":2,"s":"x\ny","b":true,"e":"ecom","t":1700000000,"d":"5m","ip":"::ffff:10.0.0.1",
        "at":{"lat":52.50,"lon":-13.25},"l":["a","b"],"last":[]}"#;
    let decoded = d.decode(line).expect("decodes");
    assert_eq!(decoded.ts, 1_772_359_200_000_000);
    assert_eq!(decoded.id, Some("a\u{e9}1"));
    let wanted = ["1.10", "-7", "2", "x\ny", "true", "ecom", "2023-11-14T22:13:20.000Z", "5m"];
    let inside = ["10.0.0.1", "52.5,-13.25", "52.50", "[a, b]", "-"];
    let wanted: Vec<String> = wanted.into_iter().chain(inside).map(str::to_owned).collect();
    assert_eq!(texts(decoded.slots), wanted);
    // Nothing of an earlier line is left.
    let decoded = d.decode(br#"{"ts":1772359200}"#).expect("decodes");
    assert_eq!(decoded.ts, 1_772_359_200_000_000);
    assert_eq!(decoded.id, None);
    assert!(texts(decoded.slots).iter().all(|t| t == "-"));
}

#[test]
fn nested_paths_walk_objects_and_fall_back_to_the_literal_key() {
    let mut d = decoder(&[("a.b", Type::Int), ("a.c.d", Type::String)]);
    let cases: [(&str, [&str; 2]); 6] = [
        (r#"{"ts":1,"a":{"b":5,"c":{"d":"x"}}}"#, ["5", "x"]),
        (r#"{"ts":1,"a.b":6,"a":{"c.d":"y"}}"#, ["6", "y"]),
        (r#"{"ts":1,"a.c.d":"z"}"#, ["-", "z"]),
        (r#"{"ts":1,"a":{"b":5},"a.b":6}"#, ["5", "-"]),
        (r#"{"ts":1,"a.b":6,"a":{"b":5}}"#, ["5", "-"]),
        (r#"{"ts":1,"a":7}"#, ["-", "-"]),
    ];
    for (line, wanted) in cases {
        assert_eq!(texts(d.decode(line.as_bytes()).expect(line).slots), wanted, "{line}");
    }
}

#[test]
fn what_does_not_fit_says_field_cause_and_value() {
    let mut d = decoder(&[
        ("amount", Type::Decimal),
        ("n", Type::Int),
        ("ts", Type::Instant),
        ("d", Type::Duration),
        ("ip", Type::Ip),
        ("at", Type::Geo),
        ("l", Type::List(Box::new(Type::Int))),
    ]);
    let cases = [
        (r#"{"ts":1,"d":5}"#, "wrong_type", "field `d`: expected duration, found 5"),
        (r#"{"ts":1,"ip":"10.0.0"}"#, "wrong_type", "field `ip`: expected ip, found \"10.0.0\""),
        (r#"{"ts":1,"at":{"lat":91,"lon":0}}"#, "wrong_type", "field `at`: expected geo, found {\"lat\":91"),
        (r#"{"ts":1,"at":[1,2]}"#, "wrong_type", "field `at`: expected geo, found [1,2]"),
        (r#"{"ts":1,"l":[1,"x"]}"#, "wrong_type", "field `l`: expected list<int>, found [1,\"x\"]"),
        (r#"{"ts":1,"n":"seven"}"#, "wrong_type", "field `n`: expected int, found \"seven\""),
        (r#"{"ts":1,"n":1.5}"#, "wrong_type", "field `n`: expected int, found 1.5"),
        (r#"{"ts":1,"n":[1]}"#, "wrong_type", "field `n`: expected int, found a list"),
        (r#"{"ts":1,"amount":"12"}"#, "wrong_type", "field `amount`: expected decimal, found \"12\""),
        (r#"{"ts":1,"amount":0.1234567890123456789}"#, "wrong_type", "field `amount`: expected decimal"),
        (r#"{"n":1}"#, "no_time", "no time: field `ts` is missing or null"),
        (r#"{"ts":null}"#, "no_time", "no time"),
        (r#"{"ts":"yesterday"}"#, "wrong_type", "found \"yesterday\""),
        (r#"{"ts":1"#, "not_json", "not a JSON object"),
        (r#"[1]"#, "not_json", "not a JSON object"),
        (r#"{"ts":1} x"#, "not_json", "not a JSON object"),
        ("", "not_json", "not a JSON object"),
    ];
    for (line, code, message) in cases {
        let error = d.decode(line.as_bytes()).expect_err(line);
        assert_eq!(error.code, code, "{line}: {error}");
        assert!(error.message.contains(message), "{line}: {error}");
    }
    assert!(d.decode(br#"{"ts":1,"n":1}"#).is_ok());
}

#[test]
fn the_first_number_fixes_the_unit_of_time() {
    let mut d = decoder(&[]);
    assert_eq!(d.decode(br#"{"ts":1700000000000}"#).expect("ms").ts, 1_700_000_000_000_000);
    assert_eq!(d.decode(br#"{"ts":1700000000}"#).expect("still ms").ts, 1_700_000_000_000);
    let mut s = Decoder::time_only(&stream("ts", TimeFormat::EpochSeconds));
    assert_eq!(s.decode(br#"{"ts":1.5}"#).expect("seconds").ts, 1_500_000);
    let mut r = Decoder::time_only(&stream("ts", TimeFormat::Rfc3339));
    assert_eq!(r.decode(br#"{"ts":17}"#).expect_err("number").code, "bad_time");
}

#[test]
fn times_by_pattern_by_zone_and_of_the_record() {
    let mut pattern = stream("ts", TimeFormat::Pattern("%d/%m/%Y %H:%M:%S".to_owned()));
    pattern.time.zone = Some("Europe/Berlin".to_owned());
    let mut d = Decoder::time_only(&pattern);
    assert_eq!(d.decode(br#"{"ts":"01/03/2026 11:00:00"}"#).expect("a time").ts, 1_772_359_200_000_000);
    let error = d.decode(br#"{"ts":"2026-03-01"}"#).expect_err("another pattern");
    assert_eq!(error.message, "time field `ts`: \"2026-03-01\" is not a time as \"%d/%m/%Y %H:%M:%S\"");
    d.set_columns(["ts"].into_iter());
    let record = [b"01/03/2026 11:00:00".as_slice()];
    assert_eq!(d.decode_record(record.into_iter()).expect("a time").ts, 1_772_359_200_000_000);
    let mut zoned = stream("ts", TimeFormat::Auto);
    zoned.time.zone = Some("America/New_York".to_owned());
    let mut d = Decoder::time_only(&zoned);
    assert_eq!(d.decode(br#"{"ts":"2026-03-01 05:00:00"}"#).expect("a time").ts, 1_772_359_200_000_000);
    let mut record = stream("ts", TimeFormat::Record);
    record.time.path.clear();
    let mut d = Decoder::time_only(&record);
    d.set_record_time(7);
    assert_eq!(d.decode(b"{}").expect("the record's time").ts, 7);
}

#[test]
fn csv_records_and_split_fields() {
    let mut d = decoder(&[("amount", Type::Decimal), ("s", Type::String), ("n", Type::Int)]);
    d.set_columns(["id", "ts", "n", "other", "amount", "s"].into_iter());
    let record = |fields: [&'static str; 6]| fields.into_iter().map(str::as_bytes);
    let decoded = d.decode_record(record(["7", "1700000000", "NA", "x", "2.50", "007"])).expect("decodes");
    assert_eq!((decoded.ts, decoded.id), (1_700_000_000_000_000, Some("7")));
    assert_eq!(texts(decoded.slots), ["2.50", "007", "-"]);
    let error = d.decode_record(record(["7", "1700000000", "many", "", "", ""])).expect_err("int");
    assert_eq!(error.message, "field `n`: expected int, found \"many\"");
    let mut d = decoder(&[("ip", Type::Ip), ("at", Type::Geo), ("l", Type::List(Box::new(Type::Int)))]);
    d.set_columns(["ts", "ip", "at", "l"].into_iter());
    let record = ["1700000000", "10.0.0.1", "52.5,-13.25", "[1, 2]"].map(str::as_bytes);
    assert_eq!(
        texts(d.decode_record(record.into_iter()).expect("decodes").slots),
        ["10.0.0.1", "52.5,-13.25", "[1, 2]"]
    );
    let mut field = FieldReader::new("event.type", false);
    assert_eq!(field.read(br#"{"event":{"type":"login"}}"#).expect("json").as_deref(), Some("login"));
    assert_eq!(field.read(br#"{"event":{}}"#).expect("json"), None);
}

/// A key with an escape is left to the parser, and so is its whole line: what is read by hand must be what the parser reads.
#[test]
fn lines_read_by_hand_are_read_as_the_parser_does() {
    let fields = [
        ("s", Type::String),
        ("f", Type::Float),
        ("n", Type::Int),
        ("m", Type::Decimal),
        ("b", Type::Bool),
        ("t", Type::Instant),
        ("at", Type::Geo),
        ("l", Type::List(Box::new(Type::Int))),
        ("o.p", Type::String),
        ("o.q.r", Type::Int),
    ];
    let lines = [
        r#"{"ts":1700000000000,"id":"a1","s":"login","f":480.58787404949175,"n":-12,"m":10.50,"b":true,"t":1700000000}"#,
        r#"{"ts":1700000000001,"id":"a2","s":"logout","f":7,"n":3e2,"m":-0.001,"b":false,"t":"2026-03-01T10:00:00Z"}"#,
        r#"{ "ts" : "2026-03-01T10:00:00.5Z" , "x" : {"y":[1,{"z":null}],"w":"\n\u00e9"}, "s" : "caf\u00e9 \"x\"" }"#,
        r#"{"o":{"p":"in","q":{"r":5},"s":[]},"ts":1700000000002,"at":{"lat":1,"lon":2},"l":[1,2],"o.p":"out"}"#,
        r#"{"ts":1700000000003,"ts":1700000000004,"s":"é€","n":null,"f":12345678901234567890.5,"id":7,"o":3}"#,
    ];
    let (mut by_hand, mut by_parser) = (decoder(&fields), decoder(&fields));
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let mut sound = 0;
    for round in 0..40_000 {
        let mut line = lines[draw(lines.len())].as_bytes().to_vec();
        // Some stay as they are.
        for _ in 0..round % 3 {
            let at = 1 + draw(line.len() - 1);
            let other = br#"{}[]":,0129.eE+-\ utfn"#;
            match draw(3) {
                0 => drop(line.remove(at)),
                1 => line[at] = other[draw(other.len())],
                _ => line.insert(at, other[draw(other.len())]),
            }
        }
        let rest = &line[1..];
        if rest.trim_ascii_start().starts_with(b"}") {
            continue;
        }
        let escaped = [br#"{"\u007a":0,"#, rest].concat();
        let shown = |decoder: &mut Decoder, line: &[u8]| match decoder.decode(line) {
            Ok(decoded) => Ok((decoded.ts, decoded.id.map(str::to_owned), decoded.slots.to_vec())),
            Err(error) => Err(error.code),
        };
        let (hand, parser) = (shown(&mut by_hand, &line), shown(&mut by_parser, &escaped));
        assert_eq!(format!("{hand:?}"), format!("{parser:?}"), "{}", String::from_utf8_lossy(&line));
        sound += usize::from(hand.is_ok());
    }
    assert!(sound > 15_000, "{sound}");
}
