//! RFC 3339 times in rule files.

use crate::types::Micros;

/// Microseconds since the epoch of `2026-03-01T00:00:00.5Z` or with an offset; `None` if it is no such time.
pub(crate) fn parse_instant(text: &str) -> Option<Micros> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.splitn(3, '-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = whole.splitn(3, ':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let lengths = [
        31,
        if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let length = *lengths.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 || !(1..=9999).contains(&year)
    {
        return None;
    }
    let micros = if fraction.is_empty() { 0 } else { number(format!("{fraction:0<6}").get(..6)?)? };
    let offset = if zone.eq_ignore_ascii_case("z") {
        0
    } else {
        let (h, m) = zone.get(1..)?.split_once(':')?;
        let minutes = number(h)? * 60 + number(m)?;
        if zone.starts_with('-') { -minutes } else { minutes }
    };
    // Days from civil, after Howard Hinnant.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60) * 1_000_000 + micros)
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
