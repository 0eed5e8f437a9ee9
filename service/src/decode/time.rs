//! Times and durations as text and numbers, read and written by hand for speed.
//!
//! Everything is whole microseconds; finer digits are cut. A number is read by its size unless the stream names a
//! unit: 10 digits are seconds, 16 microseconds, all others milliseconds.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pattern_dsl::ir::TimeFormat;
use pattern_dsl::types::Micros;

/// Microseconds of a second.
pub const SECOND: Micros = 1_000_000;
/// Microseconds of a day.
pub const DAY: Micros = 86_400 * SECOND;

/// The unit of a time written as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
}

impl Unit {
    /// The unit a format fixes; none for `rfc3339` and for reading by size.
    #[must_use]
    pub fn of(format: &TimeFormat) -> Option<Self> {
        match format {
            TimeFormat::Auto | TimeFormat::Rfc3339 | TimeFormat::Pattern(_) | TimeFormat::Record => None,
            TimeFormat::EpochSeconds => Some(Self::Seconds),
            TimeFormat::EpochMillis => Some(Self::Millis),
            TimeFormat::EpochMicros => Some(Self::Micros),
        }
    }

    /// The unit of a number by its size.
    #[must_use]
    pub fn by_size(number: i64) -> Self {
        match number.unsigned_abs() {
            1_000_000_000..=9_999_999_999 => Self::Seconds,
            1_000_000_000_000_000..=9_999_999_999_999_999 => Self::Micros,
            _ => Self::Millis,
        }
    }

    /// Its word after `as`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Seconds => "epoch_s",
            Self::Millis => "epoch_ms",
            Self::Micros => "epoch_us",
        }
    }

    /// Microseconds of a whole number in this unit. `None` outside the years that RFC 3339 can write: arithmetic with
    /// such times and any bound stays far from overflow.
    #[must_use]
    pub fn to_micros(self, number: i64) -> Option<Micros> {
        let micros = match self {
            Self::Seconds => number.checked_mul(SECOND),
            Self::Millis => number.checked_mul(1_000),
            Self::Micros => Some(number),
        };
        micros.filter(|micros| (-62_167_219_200 * SECOND..253_402_300_800 * SECOND).contains(micros))
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn digits(bytes: &[u8], from: usize, count: usize) -> Option<i64> {
    let mut value = 0i64;
    for byte in bytes.get(from..from + count)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(value)
}

/// Reads `2026-03-01T10:00:00.5+01:00`. Exports often leave the offset out: such a time is UTC. A leap second counts as
/// the second after.
#[must_use]
pub fn parse_rfc3339(text: &[u8]) -> Option<Micros> {
    parse_rfc3339_in(text, None)
}

/// The same; a time without an offset is local time of the zone.
#[must_use]
pub fn parse_rfc3339_in(text: &[u8], zone: Option<&TimeZone>) -> Option<Micros> {
    let (year, month, day) = (digits(text, 0, 4)?, digits(text, 5, 2)?, digits(text, 8, 2)?);
    let (hour, minute, second) = (digits(text, 11, 2)?, digits(text, 14, 2)?, digits(text, 17, 2)?);
    let separators = [text.get(4)?, text.get(7)?, text.get(13)?, text.get(16)?];
    if separators != [&b'-', &b'-', &b':', &b':'] || !matches!(text.get(10)?, b'T' | b't' | b' ') {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut fraction = 0i64;
    if text.get(at) == Some(&b'.') {
        at += 1;
        let start = at;
        let mut weight = 100_000;
        while let Some(byte) = text.get(at).filter(|b| b.is_ascii_digit()) {
            fraction += i64::from(byte - b'0') * weight;
            weight /= 10;
            at += 1;
        }
        if at == start {
            return None;
        }
    }
    let offset = match text.get(at).unwrap_or(&b'Z') {
        _ if text.len() == at => match zone {
            None => 0,
            Some(zone) => {
                let local = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
                return in_zone(local, zone).map(|seconds| seconds * SECOND + fraction);
            }
        },
        b'Z' | b'z' if text.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if text.len() == at + 6 && text.get(at + 3) == Some(&b':') => {
            let (hours, minutes) = (digits(text, at + 1, 2)?, digits(text, at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'+' { 60 } else { -60 }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(seconds * SECOND + fraction)
}

/// Seconds since the epoch of a local time, given as the seconds it would be in UTC. A time that the clocks skip counts
/// from before, one that they repeat is the first.
fn in_zone(local: i64, zone: &TimeZone) -> Option<i64> {
    let civil = TimeZone::UTC.to_datetime(Timestamp::from_second(local).ok()?);
    Some(zone.to_timestamp(civil).ok()?.as_second())
}

/// Reads a time by a pattern of `strftime` fields. Without an offset it is local time of the zone (UTC if none is given),
/// without a time of day midnight.
#[must_use]
pub fn parse_pattern(pattern: &str, text: &str, zone: Option<&TimeZone>) -> Option<Micros> {
    let parsed = jiff::fmt::strtime::parse(pattern, text).ok()?;
    let instant = match parsed.to_timestamp() {
        Ok(instant) => instant,
        Err(_) => {
            let date = parsed.to_date().ok()?;
            let civil = date.to_datetime(parsed.to_time().unwrap_or_else(|_| jiff::civil::Time::midnight()));
            zone.unwrap_or(&TimeZone::UTC).to_timestamp(civil).ok()?
        }
    };
    Unit::Micros.to_micros(instant.as_microsecond())
}

/// RFC 3339 in UTC with milliseconds, or microseconds where there are any.
#[must_use]
pub fn format_rfc3339(time: Micros) -> String {
    let (days, rest) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (seconds, micros) = (rest / SECOND, rest % SECOND);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction =
        if micros % 1_000 == 0 { format!("{:03}", micros / 1_000) } else { format!("{micros:06}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z")
}

/// Reads `1h30m`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Micros> {
    let mut rest = text;
    let mut total = 0i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest.get(..end)?.parse().ok()?;
        rest = rest.get(end..)?;
        let length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match rest.get(..length)? {
            "us" => 1,
            "ms" => 1_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3_600 * SECOND,
            "d" => DAY,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(length..)?;
    }
    if text.is_empty() { None } else { Some(total) }
}

/// Writes `1h30m`; zero is `0s`.
#[must_use]
pub fn format_duration(duration: Micros) -> String {
    let mut rest = duration.unsigned_abs();
    let mut text = String::new();
    if duration < 0 {
        text.push('-');
    }
    let units =
        [("d", DAY), ("h", 3_600 * SECOND), ("m", 60 * SECOND), ("s", SECOND), ("ms", 1_000), ("us", 1)];
    for (name, size) in units {
        let size = size.unsigned_abs();
        if rest >= size {
            text.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_and_bad_ones_are_refused() {
        let cases = [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("2026-03-01T10:00:00.1234567+01:00", "2026-03-01T09:00:00.123456Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"),
            ("2024-02-29 12:00:00z", "2024-02-29T12:00:00.000Z"),
            ("2026-05-04 08:00:00", "2026-05-04T08:00:00.000Z"),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_rfc3339(text.as_bytes()).map(format_rfc3339).as_deref(), Some(wanted));
        }
        for bad in
            ["2026-02-29T00:00:00Z", "2026-03-01T10:00:00+1", "2026-03-01", "2026-03-01T10:00:00.Z", ""]
        {
            assert_eq!(parse_rfc3339(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn patterns_and_zones() {
        let utc = |text| parse_rfc3339(text);
        let berlin = TimeZone::get("Europe/Berlin").ok();
        assert!(berlin.is_some());
        let zone = berlin.as_ref();
        let day = "%d/%m/%Y %H:%M:%S";
        assert_eq!(parse_pattern(day, "01/03/2026 10:00:00", None), utc(b"2026-03-01T10:00:00Z"));
        assert_eq!(parse_pattern(day, "01/07/2026 10:00:00", zone), utc(b"2026-07-01T08:00:00Z"));
        assert_eq!(parse_pattern("%Y%m%d", "20260301", zone), utc(b"2026-02-28T23:00:00Z"));
        assert_eq!(
            parse_pattern("%d/%b/%Y:%H:%M:%S %z", "01/Mar/2026:10:00:00 +0200", zone),
            utc(b"2026-03-01T08:00:00Z")
        );
        assert_eq!(parse_pattern(day, "2026-03-01", zone), None);
        assert_eq!(parse_rfc3339_in(b"2026-07-01 10:00:00.5", zone), utc(b"2026-07-01T08:00:00.5Z"));
        assert_eq!(parse_rfc3339_in(b"2026-07-01T10:00:00Z", zone), utc(b"2026-07-01T10:00:00Z"));
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("1h30m"), Some(5_400 * SECOND));
        assert_eq!(parse_duration("5min"), None);
        assert_eq!(format_duration(5_400 * SECOND + 1), "1h30m1us");
        assert_eq!(Unit::by_size(1_700_000_000), Unit::Seconds);
        assert_eq!(Unit::by_size(1_700_000_000_000), Unit::Millis);
        assert_eq!(Unit::by_size(1_700_000_000_000_000), Unit::Micros);
    }
}
