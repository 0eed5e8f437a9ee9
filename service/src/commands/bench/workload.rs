//! The published workloads: the rules as text, how many events, the right answers and the goals.
//!
//! Any program can make the same events (`events`), so that other engines can be measured on them.

/// One workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    /// Its number, 0 to 7.
    pub(super) number: u8,
    /// Its parameter, if it takes one.
    pub(super) parameter: u64,
    /// As written: `W4:1000`.
    pub(super) name: String,
    /// How many keys there are.
    pub(super) keys: u64,
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

/// Goals: workload, parameter, events per CPU-second.
const GOALS: [(u8, u64, f64); 11] = [
    (0, 0, 20e6),
    (1, 0, 15e6),
    (2, 0, 15e6),
    (3, 0, 6e6),
    (5, 0, 12e6),
    (6, 1, 15e6),
    (6, 10, 6e6),
    (6, 100, 1e6),
    (7, 10, 10e6),
    (7, 1_000, 6e6),
    (7, 10_000, 3e6),
];

impl Workload {
    /// Reads `W1` or `W4:1000`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, parameter) = match text.split_once(':') {
            Some((name, parameter)) => (name, Some(parameter.parse().ok()?)),
            None => (text, None),
        };
        let number: u8 = name.strip_prefix(['W', 'w'])?.parse().ok()?;
        let takes = matches!(number, 4 | 6 | 7);
        if number > 7 || takes != parameter.is_some() || parameter == Some(0) {
            return None;
        }
        let keys = match number {
            4 => 1,
            7 => 100,
            _ => 10_000,
        };
        Some(Self { number, parameter: parameter.unwrap_or(0), name: text.to_uppercase(), keys })
    }

    /// Events of the published answer, or 3,000,000.
    pub(super) fn default_events(&self) -> u64 {
        let mine = ANSWERS.iter().find(|a| a.0 == self.number && a.1 == self.parameter);
        mine.map_or(if self.number == 4 { 100_000 } else { 3_000_000 }, |a| a.2)
    }

    /// Matches and checksum, where they are published.
    pub(super) fn answer(&self, events: u64) -> Option<(u64, u64)> {
        let mine = ANSWERS.iter().find(|a| (a.0, a.1, a.2) == (self.number, self.parameter, events));
        mine.map(|a| (a.3, a.4))
    }

    /// Events per CPU-second that the matcher alone is meant to reach, where a goal is set. In W4 each match is
    /// listed, which has a goal of its own.
    pub(super) fn goal(&self, events: u64, matches: u64) -> Option<f64> {
        if self.number == 4 {
            let seconds = events as f64 / 5e6 + matches as f64 / 50e6;
            return Some(events as f64 / seconds);
        }
        GOALS.iter().find(|goal| (goal.0, goal.1) == (self.number, self.parameter)).map(|goal| goal.2)
    }

    /// The rules, with the stream they read.
    pub(super) fn rules(&self) -> String {
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
