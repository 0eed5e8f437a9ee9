//! The event generator of the published workloads. Any program can make the same events: four draws each, five in W7.

use super::workload::Workload;
use engine::text::Text;
use engine::value::Value;

/// Default seed of the generator.
pub(super) const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
/// What an event can be; `Row::kind` counts in it.
pub(super) const TYPES: [&str; 8] =
    ["login", "transfer", "withdraw", "deposit", "confirm", "payment", "logout", "balance"];
const COUNTRIES: [&str; 8] = ["US", "GB", "DE", "FR", "IN", "BR", "JP", "NG"];
/// Milliseconds of the first event.
pub(super) const BASE_MS: i64 = 1_700_000_000_000;

/// One generated event, with numbers for its words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    /// Milliseconds.
    pub(super) ts: i64,
    /// Amount.
    pub(super) amount: f64,
    /// Of its card.
    pub(super) key: u32,
    /// Of its merchant, in W7.
    pub(super) merchant: Option<u32>,
    /// Of its type.
    pub(super) kind: u8,
    country: u8,
}

/// Makes the events of a workload.
#[derive(Debug)]
pub(super) struct Generator {
    state: u64,
    keys: u64,
    merchants: bool,
    index: i64,
}

impl Generator {
    /// From its seed.
    pub(super) fn new(workload: &Workload, seed: u64) -> Self {
        Self { state: seed, keys: workload.keys, merchants: workload.number == 7, index: 0 }
    }

    fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// The next event.
    pub(super) fn row(&mut self) -> Row {
        let key = ((self.draw() >> 33) % self.keys) as u32;
        let kind = ((self.draw() >> 33) % 8) as u8;
        let amount = (self.draw() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0) * 1000.0;
        let country = ((self.draw() >> 33) % 8) as u8;
        let merchant = if self.merchants { Some(((self.draw() >> 33) % 10_000) as u32) } else { None };
        let ts = BASE_MS + self.index;
        self.index += 1;
        Row { ts, amount, key, merchant, kind, country }
    }
}

impl Row {
    /// Its type in words.
    pub(super) fn kind(&self) -> &'static str {
        TYPES.get(usize::from(self.kind)).unwrap_or(&"")
    }

    /// Its country in words.
    pub(super) fn country(&self) -> &'static str {
        COUNTRIES.get(usize::from(self.country)).unwrap_or(&"")
    }
}

/// Strings of the generator, made once.
#[derive(Debug)]
pub(super) struct Words {
    keys: Vec<Text>,
    merchants: Vec<Text>,
    types: Vec<Text>,
    countries: Vec<Text>,
}

impl Words {
    /// For a workload.
    pub(super) fn new(workload: &Workload) -> Self {
        Self {
            keys: (0..workload.keys).map(|k| Text::from(format!("card-{k:06}"))).collect(),
            merchants: (0..10_000).map(|m| Text::from(format!("m-{m:06}"))).collect(),
            types: TYPES.iter().map(|t| Text::from(*t)).collect(),
            countries: COUNTRIES.iter().map(|c| Text::from(*c)).collect(),
        }
    }

    /// A row's field as a value.
    pub(super) fn value(&self, row: &Row, field: &str) -> Value {
        let word =
            |words: &[Text], at: usize| words.get(at).map_or(Value::Null, |w| Value::String(w.clone()));
        match field {
            "key" => word(&self.keys, row.key as usize),
            "type" => word(&self.types, usize::from(row.kind)),
            "amount" => Value::Float(row.amount),
            "country" => word(&self.countries, usize::from(row.country)),
            "merchant" => row.merchant.map_or(Value::Null, |m| word(&self.merchants, m as usize)),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(row: &Row) -> String {
        let mut line =
            format!("{},card-{:06},{},{},{}", row.ts, row.key, row.kind(), row.amount, row.country());
        if let Some(merchant) = row.merchant {
            line.push_str(&format!(",m-{merchant:06}"));
        }
        line
    }

    #[test]
    fn the_first_events_are_the_published_ones() {
        let lines = |name: &str, count: usize| {
            let workload = Workload::parse(name).expect("workload");
            let mut generator = Generator::new(&workload, SEED);
            (0..count).map(|_| csv(&generator.row())).collect::<Vec<_>>()
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
