//! Random rules with events, to compare an engine with [`crate::run`]; and the way back to a small case.
//!
//! A case follows from its seed and its features alone. Times are whole seconds with many ties, values are few, so that
//! much fits.

mod rule;
mod shrink;
mod terms;
mod text;

pub use shrink::shrink;

use crate::{Event, Tables};
use pattern_dsl::decimal::Decimal;
use pattern_dsl::ir::{Content, Field, Stream, TimeField, TimeFormat};
use pattern_dsl::types::{Literal, Type};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// One rule or a few, events for them, and lists and lookups.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it was made from.
    pub seed: u64,
    /// The rule file: the rule `r`, perhaps rules `s` and `t` that read alerts (then [`crate::run_all`] answers), and what
    /// they need.
    pub text: String,
    /// Events in event-time order.
    pub events: Vec<Event>,
    /// What the lists and lookups hold, from when.
    pub tables: Tables,
    /// The streams `a`, `b`, `c`, all with the same fields.
    pub streams: Vec<Stream>,
    /// The constructs of the language in the text.
    pub constructs: BTreeSet<&'static str>,
    file: text::FileText,
}

/// The parts of the language that a case may use, beside plain steps with conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features(u64);

/// The names of the features, by their bits.
const FEATURES: [&str; 32] = [
    "repeats",
    "consecutive",
    "optional",
    "sets",
    "first",
    "immediately",
    "bounds",
    "read",
    "between",
    "leading",
    "trailing",
    "quiet",
    "cancel",
    "timeout",
    "having",
    "unless",
    "cooldown",
    "per",
    "overlap",
    "keys",
    "filters",
    "output",
    "windows",
    "reaches",
    "trends",
    "tables",
    "changes",
    "functions",
    "types",
    "names",
    "template",
    "alerts",
];

impl Features {
    /// The whole language.
    pub const ALL: Self = Self(u64::MAX);

    /// Only the features named, between commas.
    ///
    /// # Errors
    /// Names what is no feature.
    pub fn only(names: &str) -> Result<Self, String> {
        let mut bits = 0;
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let bit = FEATURES.iter().position(|feature| *feature == name);
            bits |= 1 << bit.ok_or_else(|| format!("no feature `{name}`: {}", FEATURES.join(" ")))?;
        }
        Ok(Self(bits))
    }

    fn has(self, name: &str) -> bool {
        FEATURES.iter().position(|feature| *feature == name).is_some_and(|bit| self.0 >> bit & 1 == 1)
    }
}

const SECOND: i64 = 1_000_000;
const STREAMS: [&str; 3] = ["a", "b", "c"];
const WORDS: [&str; 3] = ["p", "q", "r"];
const KEY: usize = 0;

/// The case of a seed, over the whole language.
#[must_use]
pub fn case(seed: u64) -> Case {
    case_with(seed, Features::ALL)
}

/// The case of a seed that uses these features only.
#[must_use]
pub fn case_with(seed: u64, features: Features) -> Case {
    let mut random = Random(seed);
    let nullable_key = random.chance(50);
    let streams: Vec<Stream> = STREAMS.iter().map(|name| stream(name, nullable_key)).collect();
    let mut writer = rule::Writer::new(random, features);
    let file = writer.file();
    let (mut random, used) = (writer.random, writer.used);
    let events = events(&mut random, &used, nullable_key);
    let times: Vec<i64> = events.iter().map(|event| event.ts).collect();
    let tables = tables(&mut random, &writer.tables, &times, features.has("changes"));
    Case { seed, text: file.text(), events, tables, streams, constructs: writer.constructs, file }
}

/// The case with its only rule changed in one place, or one part less; it may not compile. None if it has several rules.
#[must_use]
pub fn revised(case: &Case, seed: u64) -> Option<Case> {
    let mut random = Random(seed ^ case.seed.rotate_left(32));
    if case.file.rules.len() != 1 {
        return None;
    }
    if random.chance(30) {
        let smaller = case.file.smaller();
        let file = smaller.get(random.below(smaller.len()))?.clone();
        return Some(Case { text: file.text(), file, ..case.clone() });
    }
    // A number's last digit.
    let bytes = case.text.as_bytes();
    let number = |at: usize| {
        let before = bytes.get(at.wrapping_sub(1)).copied().unwrap_or(b' ');
        bytes[at].is_ascii_digit() && !(before.is_ascii_alphanumeric() || matches!(before, b'_' | b'.'))
    };
    let digits: Vec<usize> = (0..bytes.len()).filter(|at| number(*at)).collect();
    let at = *digits.get(random.below(digits.len()))?;
    let mut text = case.text.clone();
    let digit = (bytes[at] - b'0' + 1 + random.below(3) as u8) % 10;
    text.replace_range(at..=at, &digit.to_string());
    Some(Case { text, ..case.clone() })
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// An index, as often as its weight says.
    pub(crate) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        0
    }
}

fn stream(name: &str, nullable_key: bool) -> Stream {
    let field = |name: &str, ty, nullable| Field { path: vec![name.to_owned()], ty, nullable, mask: false };
    Stream {
        name: name.to_owned(),
        topic: None,
        topic_filter: None,
        key: None,
        id: None,
        dedupe: None,
        fields: vec![
            field("k", Type::Int, nullable_key),
            field("v", Type::Int, false),
            field("w", Type::Int, true),
            field("u", Type::String, false),
            field("f", Type::Decimal, true),
            field("g", Type::Geo, true),
            field("i", Type::Ip, true),
        ],
        time: TimeField {
            path: vec!["ts".to_owned()],
            format: TimeFormat::Auto,
            zone: None,
            in_order: false,
        },
        late: 0,
        idle: 60 * SECOND,
        declared: true,
    }
}

fn events(random: &mut Random, used: &[usize], nullable_key: bool) -> Vec<Event> {
    let partitions = if random.chance(70) { 1 } else { 2 };
    let keys = 1 + random.weighted(&[68, 24, 8]) as i64;
    let mut offsets = [[0u64; 2]; 3];
    // Now and then around midnight.
    let mut ts = if random.chance(10) { 19_000 * 86_400 * SECOND - 6 * SECOND } else { 0 };
    let mut made = Vec::new();
    for _ in 0..5 + random.below(6) + random.below(5) {
        ts += [0, 1, 2, 4][random.weighted(&[45, 35, 15, 5])] * SECOND;
        let stream = if random.chance(95) { random.pick(used) } else { random.below(3) };
        let partition = random.below(partitions);
        let key = if nullable_key && random.chance(7) {
            Literal::Null
        } else {
            Literal::Int(random.between(1, keys))
        };
        made.push(Event {
            stream,
            ts,
            partition: partition as u32,
            offset: offsets[stream][partition],
            id: None,
            fields: values(random, key),
        });
        offsets[stream][partition] += 1;
    }
    made
}

fn values(random: &mut Random, key: Literal) -> Vec<Literal> {
    let optional = if random.chance(30) { Literal::Null } else { Literal::Int(random.between(0, 3)) };
    let decimal = ["0.5", "1", "1.50", "2.25", "3"][random.below(5)];
    let place = random.pick(&[(52.5, 13.4), (48.1, 11.6), (0.0, 0.0)]);
    let address = ["10.0.0.1", "10.1.0.1", "192.168.0.1", "::1"][random.below(4)];
    let mut or_null = |value: Literal| if random.chance(15) { Literal::Null } else { value };
    let decimal = or_null(Decimal::parse(decimal).map_or(Literal::Null, Literal::Decimal));
    let place = or_null(Literal::Geo(place.0, place.1));
    let address = or_null(address.parse::<IpAddr>().map_or(Literal::Null, Literal::Ip));
    let value = Literal::Int(random.between(0, 4));
    let word = Literal::String(random.pick(&WORDS).to_owned());
    vec![key, value, optional, word, decimal, place, address]
}

/// The lists and lookups that rules may read; the text declares them.
pub(crate) const DECLARATIONS: [(&str, &str); 4] = [
    ("l", "list l: string"),
    ("kl", "list kl by k: int: string"),
    ("lk", "lookup lk by u: string { d: duration, n: int }"),
    ("kk", "lookup kk by k: int { d: duration, n: int }"),
];

fn tables(random: &mut Random, used: &BTreeSet<&'static str>, times: &[i64], changes: bool) -> Tables {
    let mut tables = Tables::new();
    for name in used {
        let mut versions = vec![(i64::MIN, content(random, name))];
        let more = if changes { random.weighted(&[40, 40, 20]) } else { 0 };
        let mut from: Vec<i64> = (0..more).map(|_| random.pick(times)).collect();
        from.sort_unstable();
        from.dedup();
        versions.extend(from.into_iter().map(|from| (from, content(random, name))));
        tables.insert((*name).to_owned(), versions);
    }
    tables
}

fn content(random: &mut Random, table: &str) -> Content {
    let words = |random: &mut Random| -> Vec<Literal> {
        let chosen = WORDS.iter().filter(|_| random.chance(55));
        chosen.map(|word| Literal::String((*word).to_owned())).collect()
    };
    if table == "l" {
        return Content::Items(words(random));
    }
    let keys: Vec<Literal> = match table {
        "lk" => words(random),
        _ => (1..=3).filter(|_| random.chance(75)).map(Literal::Int).collect(),
    };
    let row = |key: Literal| {
        let items = if table == "kl" {
            words(random)
        } else {
            let duration = random.between(0, 4) * SECOND;
            let duration = if random.chance(15) { Literal::Null } else { Literal::Duration(duration) };
            vec![duration, Literal::Int(random.between(0, 4))]
        };
        (key, items)
    };
    Content::ByKey(keys.into_iter().map(row).collect())
}
