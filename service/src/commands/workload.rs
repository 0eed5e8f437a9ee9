//! The published workloads: the event generator, the rules as text, and the right answers (performance.md 1 and 2).
//!
//! Any program can make the same events, so that other engines can be measured on them.

use arcstr::ArcStr;
use engine::value::Value;

/// Default seed of the generator.
pub const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const TYPES: [&str; 8] =
    ["login", "transfer", "withdraw", "deposit", "confirm", "payment", "logout", "balance"];
const COUNTRIES: [&str; 8] = ["US", "GB", "DE", "FR", "IN", "BR", "JP", "NG"];
/// Milliseconds of the first event.
pub const BASE_MS: i64 = 1_700_000_000_000;

/// One workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its number, 0 to 7.
    pub number: u8,
    /// Its parameter, if it takes one.
    pub parameter: u64,
    /// As written: `W4:1000`.
    pub name: String,
}

/// Published answers: workload, parameter, events, matches, checksum. The first of each is its default.
const ANSWERS: [(u8, u64, u64, u64, u64); 17] = [
    (0, 0, 4_000_000, 400_747, 0x52db_1ec9_fda3_aff0),
    (1, 0, 3_000_000, 27_547, 0x0157_2d39_9d47_1d1e),
    (1, 0, 200_000, 526, 0x90ae_8f98_3219_4b5e),
    (2, 0, 3_000_000, 75_028, 0x8d05_87a6_46dc_2d0a),
    (3, 0, 3_000_000, 353_329, 0x8a5e_fe48_2f34_8441),
    (4, 100, 300_000, 27_612, 0x2bdb_c11b_d63f_bb65),
    (4, 1_000, 300_000, 2_054_187, 0xdb26_0ca6_dd4a_5f70),
    (4, 10_000, 100_000, 13_911_183, 0xd8d1_6873_784b_4280),
    (5, 0, 3_000_000, 255_005, 0x2e5a_916d_819f_9538),
    (6, 1, 3_000_000, 13_762, 0xb092_f91f_d898_c8c4),
    (6, 10, 3_000_000, 143_359, 0x43cc_fa05_4aca_44d0),
    (6, 100, 1_500_000, 862_364, 0xede2_fe12_78b2_fb43),
    (7, 10, 3_000_000, 703, 0xf22c_7100_7c68_f86d),
    (7, 1_000, 3_000_000, 66_341, 0x5279_dd42_cd1a_687e),
    (7, 10_000, 1_000_000, 97_476, 0xce0e_e8c2_faad_d936),
    (7, 10_000, 3_000_000, 666_832, 0x9d99_4979_4467_3a3a),
    (7, 10_000, 5_000_000, 1_437_992, 0xa3c4_ddf8_2da1_2cc8),
];

impl Workload {
    /// Reads `W1` or `W4:1000`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, parameter) = match text.split_once(':') {
            Some((name, parameter)) => (name, Some(parameter.parse().ok()?)),
            None => (text, None),
        };
        let number: u8 = name.strip_prefix(['W', 'w'])?.parse().ok()?;
        let takes = matches!(number, 4 | 6 | 7);
        if number > 7 || takes != parameter.is_some() || parameter == Some(0) {
            return None;
        }
        Some(Self { number, parameter: parameter.unwrap_or(0), name: text.to_uppercase() })
    }

    /// Events of the published answer, or 3,000,000.
    #[must_use]
    pub fn default_events(&self) -> u64 {
        let mine = ANSWERS.iter().find(|a| a.0 == self.number && a.1 == self.parameter);
        mine.map_or(if self.number == 4 { 100_000 } else { 3_000_000 }, |a| a.2)
    }

    /// Matches and checksum, where they are published.
    #[must_use]
    pub fn answer(&self, events: u64) -> Option<(u64, u64)> {
        let mine = ANSWERS.iter().find(|a| (a.0, a.1, a.2) == (self.number, self.parameter, events));
        mine.map(|a| (a.3, a.4))
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> u64 {
        match self.number {
            4 => 1,
            7 => 100,
            _ => 10_000,
        }
    }

    /// The rules, with the stream they read.
    #[must_use]
    pub fn rules(&self) -> String {
        let mut text = String::from(
            "stream ev {\n  time ts in order as epoch_ms\n  key key\n  fields { key: string, type: string, \
             amount: float, country: string, merchant: string }\n}\n",
        );
        let mut rule = |name: &str, body: &str| {
            text.push_str(&format!("rule {name} {{\n  by key\n  {body}\n  overlap all\n}}\n"));
        };
        let p = self.parameter;
        match self.number {
            0 => rule("w0", "match { ev as a where amount > 900 }"),
            1 => rule("w1", &three("10m", "10", "900")),
            2 => rule(
                "w2",
                "match within 1d { ev as a where amount < 100 then immediately ev as b where amount > 500 \
                 then immediately ev as c where amount > 500 }",
            ),
            3 => rule(
                "w3",
                "match within 10m { ev as l where type == \"login\" then first at least 1 ev as t where type == \
                 \"transfer\" then first ev as w where type == \"withdraw\" }",
            ),
            4 => rule(
                "w4",
                &format!(
                    "match within {p}ms {{ ev as l where type == \"login\" then ev as t where type == \"transfer\" \
                     then first ev as w where type == \"withdraw\" and amount < 10 }}"
                ),
            ),
            5 => rule(
                "w5",
                "match { ev as t where type == \"transfer\" then no ev for 29999ms where type == \"confirm\" }",
            ),
            6 => {
                for j in 0..p {
                    let (low, high) = (500 + 5 * j, 9_000 + 5 * j);
                    let low = format!("{}.{:02}", low / 100, low % 100);
                    let high = format!("{}.{}", high / 10, high % 10);
                    rule(&format!("w6_{j}"), &three("10m", &low, &high));
                }
            }
            _ => {
                for j in 0..p {
                    let test = format!("merchant == \"m-{j:06}\" and amount > {}", 500 + j % 50);
                    let body =
                        format!("match within 1h {{ ev as a where {test} then first ev as b where {test} }}");
                    rule(&format!("w7_{j}"), &body);
                }
            }
        }
        text
    }
}

fn three(within: &str, low: &str, high: &str) -> String {
    format!(
        "match within {within} {{ ev as a where amount < {low} then first ev as b where amount > {high} then first ev \
         as c where amount > {high} }}"
    )
}

/// One generated event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Milliseconds.
    pub ts: i64,
    key: u64,
    kind: usize,
    /// Amount.
    pub amount: f64,
    country: usize,
    merchant: Option<u64>,
}

/// Makes the events of a workload.
#[derive(Debug)]
pub struct Generator {
    state: u64,
    keys: u64,
    merchants: bool,
    index: i64,
}

impl Generator {
    /// From its seed.
    #[must_use]
    pub fn new(workload: &Workload, seed: u64) -> Self {
        Self { state: seed, keys: workload.keys(), merchants: workload.number == 7, index: 0 }
    }

    fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// The next event.
    pub fn row(&mut self) -> Row {
        let key = (self.draw() >> 33) % self.keys;
        let kind = ((self.draw() >> 33) % 8) as usize;
        let amount = (self.draw() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0) * 1000.0;
        let country = ((self.draw() >> 33) % 8) as usize;
        let merchant = if self.merchants { Some((self.draw() >> 33) % 10_000) } else { None };
        let ts = BASE_MS + self.index;
        self.index += 1;
        Row { ts, key, kind, amount, country, merchant }
    }
}

impl Row {
    /// As one line of CSV.
    #[must_use]
    pub fn csv(&self) -> String {
        let (kind, country) =
            (TYPES.get(self.kind).unwrap_or(&""), COUNTRIES.get(self.country).unwrap_or(&""));
        let mut line = format!("{},card-{:06},{kind},{},{country}", self.ts, self.key, self.amount);
        if let Some(merchant) = self.merchant {
            line.push_str(&format!(",m-{merchant:06}"));
        }
        line
    }
}

/// Strings of the generator, made once.
#[derive(Debug)]
pub struct Words {
    keys: Vec<ArcStr>,
    merchants: Vec<ArcStr>,
    types: Vec<ArcStr>,
    countries: Vec<ArcStr>,
}

impl Words {
    /// For a workload.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        Self {
            keys: (0..workload.keys()).map(|k| ArcStr::from(format!("card-{k:06}"))).collect(),
            merchants: (0..10_000).map(|m| ArcStr::from(format!("m-{m:06}"))).collect(),
            types: TYPES.iter().map(|t| ArcStr::from(*t)).collect(),
            countries: COUNTRIES.iter().map(|c| ArcStr::from(*c)).collect(),
        }
    }

    /// A row's field as a value.
    #[must_use]
    pub fn value(&self, row: &Row, field: &str) -> Value {
        let word =
            |words: &[ArcStr], at: usize| words.get(at).map_or(Value::Null, |w| Value::String(w.clone()));
        match field {
            "key" => word(&self.keys, row.key as usize),
            "type" => word(&self.types, row.kind),
            "amount" => Value::Float(row.amount),
            "country" => word(&self.countries, row.country),
            "merchant" => row.merchant.map_or(Value::Null, |m| word(&self.merchants, m as usize)),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_events_are_the_published_ones() {
        let lines = |name: &str, count: usize| {
            let workload = Workload::parse(name).expect("workload");
            let mut generator = Generator::new(&workload, SEED);
            (0..count).map(|_| generator.row().csv()).collect::<Vec<_>>()
        };
        assert_eq!(
            lines("W1", 3),
            [
                "1700000000000,card-003815,confirm,480.58787404949175,JP",
                "1700000000001,card-002160,balance,604.7802727761426,NG",
                "1700000000002,card-002978,transfer,34.98011821003166,FR",
            ]
        );
        assert_eq!(lines("W7:10", 1), ["1700000000000,card-000015,confirm,480.58787404949175,JP,m-002160"]);
    }
}
