//! Durations, retry schedules and networks as configuration writes them.

use std::net::IpAddr;
use std::time::Duration;

/// Reads `10s`, `1h30m`, `250ms`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[end..];
    }
    Some(Duration::from_micros(total))
}

/// A duration that is longer than none.
///
/// # Errors
/// A sentence that names the key.
pub(super) fn some_time(key: &str, text: &str) -> Result<Duration, String> {
    match duration(text) {
        None => Err(format!("{key}: `{text}` is not a duration such as 10s")),
        Some(Duration::ZERO) => Err(format!("{key}: `{text}` is no time at all")),
        Some(time) => Ok(time),
    }
}

/// `"5s,2,3d"`: the first delay, its growth, and when to give up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Delay after the first failure.
    pub first: Duration,
    /// Each delay is this many times the one before.
    pub factor: f64,
    /// No attempt later than this after the alert was queued.
    pub last: Duration,
}

impl Retry {
    /// Reads the three parts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(str::trim);
        let first = duration(parts.next()?)?;
        let factor: f64 = parts.next()?.parse().ok()?;
        let last = duration(parts.next()?)?;
        (parts.next().is_none() && (1.0..=100.0).contains(&factor)).then_some(Self { first, factor, last })
    }

    /// The delay after `failures` failed attempts.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let exponent = failures.saturating_sub(1).min(1_000) as i32;
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        Duration::from_secs_f64(seconds.min(self.last.as_secs_f64().min(86_400.0)))
    }
}

/// A network in CIDR form, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: u128,
    bits: u8,
    v4: bool,
}

impl Network {
    /// Reads `10.0.0.0/8`, `::1`, `127.0.0.1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((a, b)) => (a, Some(b.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let ip: IpAddr = address.trim().parse().ok()?;
        let (base, v4) = number(ip);
        let width = if v4 { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { base, bits, v4 })
    }

    /// True if the address lies in the network.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (other, v4) = number(ip);
        let width: u32 = if v4 { 32 } else { 128 };
        let shift = width - u32::from(self.bits).min(width);
        v4 == self.v4 && (shift >= 128 || self.base.checked_shr(shift) == other.checked_shr(shift))
    }
}

fn number(ip: IpAddr) -> (u128, bool) {
    match ip {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), true),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => (u128::from(u32::from(v4)), true),
            None => (u128::from(v6), false),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_their_parts() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("10"), None);
        assert_eq!(duration(""), None);
    }

    #[test]
    fn retry_grows_by_its_factor() {
        let retry = Retry::parse("5s,2,3d").unwrap();
        assert_eq!(retry.delay(1), Duration::from_secs(5));
        assert_eq!(retry.delay(3), Duration::from_secs(20));
    }

    #[test]
    fn a_network_holds_its_addresses() {
        let net = Network::parse("10.0.0.0/8").unwrap();
        assert!(net.contains("10.9.9.9".parse().unwrap()));
        assert!(!net.contains("11.0.0.1".parse().unwrap()));
        assert!(net.contains("::ffff:10.1.1.1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
    }
}
