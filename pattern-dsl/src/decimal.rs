//! Exact decimals: an `i128` count of 10^-18, with the scale as written.
//!
//! INVARIANT: comparison and hashing ignore the scale; only printing uses it. Overflow yields `None`, never a wrong value.

use std::fmt;

/// Digits after the point that a decimal can hold.
pub const MAX_SCALE: u8 = 18;
/// Units of one.
pub const ONE: i128 = 1_000_000_000_000_000_000;

/// An exact decimal number.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    /// Value times 10^18.
    pub units: i128,
    /// Digits after the point to print; more are printed where the value needs them.
    pub scale: u8,
}

/// WHY by hand: formats for people have no numbers of 128 bits, or lose them inside tagged values; there the units are text.
impl serde::Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => (self.units.to_string(), self.scale).serialize(serializer),
            false => (self.units, self.scale).serialize(serializer),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Decimal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let (units, scale) = serde::Deserialize::deserialize(deserializer)?;
            return Ok(Self { units, scale });
        }
        let (text, scale): (String, u8) = serde::Deserialize::deserialize(deserializer)?;
        let units = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self { units, scale })
    }
}

impl Decimal {
    /// A whole number.
    #[must_use]
    pub const fn from_int(value: i64) -> Self {
        Self { units: value as i128 * ONE, scale: 0 }
    }

    /// Reads `-12.50` or `1e-3`. `None` if it is not a number, has more than 18 digits after the point, or overflows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if let Some(plain) = Self::plain(rest.as_bytes()) {
            return Some(Self { units: if negative { -plain.units } else { plain.units }, ..plain });
        }
        let (number, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?.trim_start_matches('+').parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut digits: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if byte == b'_' {
                continue;
            }
            if !byte.is_ascii_digit() {
                return None;
            }
            digits = digits.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        }
        // digits * 10^(exponent - fraction digits) = units * 10^-18
        let power = 18 + exponent - i32::try_from(fraction.len()).ok()?;
        let units = if digits == 0 {
            0
        } else if power >= 0 {
            digits.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?
        } else {
            let divisor = 10i128.checked_pow(power.unsigned_abs())?;
            if digits % divisor != 0 {
                return None;
            }
            digits / divisor
        };
        let scale = (i32::try_from(fraction.len()).ok()? - exponent).clamp(0, 18) as u8;
        Some(Self { units: if negative { -units } else { units }, scale })
    }

    /// Digits, with a point perhaps, that fit 64 bits: what nearly all amounts are.
    fn plain(text: &[u8]) -> Option<Self> {
        let (mut digits, mut fraction) = (0u64, None);
        for byte in text {
            match byte {
                b'0'..=b'9' => digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')),
                b'.' if fraction.is_none() => {
                    fraction = Some(0);
                    continue;
                }
                _ => return None,
            }
            fraction = fraction.map(|count| count + 1);
        }
        let scale = fraction.unwrap_or(0u32);
        let count = text.len() - usize::from(fraction.is_some());
        let fits = (1..=18).contains(&count) && scale <= 18;
        fits.then(|| Self { units: i128::from(digits) * 10i128.pow(18 - scale), scale: scale as u8 })
    }

    /// Sum; `None` on overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self { units: self.units.checked_add(other.units)?, scale: self.scale.max(other.scale) })
    }

    /// Difference; `None` on overflow.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self { units: self.units.checked_sub(other.units)?, scale: self.scale.max(other.scale) })
    }

    /// Product, rounded half-even at 18 places; `None` on overflow.
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let scale = (self.scale + other.scale).min(MAX_SCALE);
        Some(Self { units: mul_div(self.units, other.units, ONE)?, scale })
    }

    /// Quotient, rounded half-even at 18 places; `None` on overflow or division by zero.
    #[must_use]
    pub fn checked_div(self, other: Self) -> Option<Self> {
        Some(Self { units: mul_div(self.units, ONE, other.units)?, scale: 0 })
    }

    /// Remainder with the sign of the left side; `None` for a zero divisor.
    #[must_use]
    pub fn checked_rem(self, other: Self) -> Option<Self> {
        // The least number by the least step below nothing leaves nothing, which `checked_rem` calls an overflow.
        let units = (other.units != 0).then(|| self.units.wrapping_rem(other.units))?;
        Some(Self { units, scale: self.scale.max(other.scale) })
    }

    /// Negation.
    #[must_use]
    pub fn checked_neg(self) -> Option<Self> {
        Some(Self { units: self.units.checked_neg()?, scale: self.scale })
    }

    /// Nearest double.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        let whole = self.units / ONE;
        let fraction = self.units % ONE;
        whole as f64 + fraction as f64 / ONE as f64
    }
}

/// `a * b / c` with a 256-bit product, rounded half-even. `None` if `c` is 0 or the result does not fit.
fn mul_div(a: i128, b: i128, c: i128) -> Option<i128> {
    if c == 0 {
        return None;
    }
    let negative = (a < 0) ^ (b < 0) ^ (c < 0);
    let (high, low) = wide_mul(a.unsigned_abs(), b.unsigned_abs());
    let (quotient, remainder) = wide_div(high, low, c.unsigned_abs())?;
    let twice = remainder.checked_mul(2);
    let half = c.unsigned_abs();
    let up = match twice {
        Some(twice) => twice > half || (twice == half && quotient % 2 == 1),
        None => true,
    };
    let rounded = if up { quotient.checked_add(1)? } else { quotient };
    let signed = i128::try_from(rounded).ok()?;
    Some(if negative { -signed } else { signed })
}

fn wide_mul(a: u128, b: u128) -> (u128, u128) {
    const MASK: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & MASK, b >> 64, b & MASK);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let middle2 = a0 * b1 + (middle & MASK);
    (a1 * b1 + (middle >> 64) + (middle2 >> 64), (middle2 << 64) | (low & MASK))
}

fn wide_div(high: u128, low: u128, divisor: u128) -> Option<(u128, u128)> {
    if high == 0 {
        return Some((low / divisor, low % divisor));
    }
    if high >= divisor {
        return None;
    }
    let (mut remainder, mut quotient) = (high, 0u128);
    for bit in (0..128).rev() {
        let carry = remainder >> 127;
        remainder = (remainder << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry == 1 || remainder >= divisor {
            remainder = remainder.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    Some((quotient, remainder))
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.units == other.units
    }
}
impl Eq for Decimal {}
impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.units.cmp(&other.units)
    }
}
impl std::hash::Hash for Decimal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.units.hash(state);
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.units.unsigned_abs();
        let (whole, fraction) = (magnitude / ONE as u128, magnitude % ONE as u128);
        let digits = format!("{fraction:018}");
        let needed = digits.trim_end_matches('0').len().max(usize::from(self.scale));
        if self.units < 0 {
            f.write_str("-")?;
        }
        write!(f, "{whole}")?;
        match digits.get(..needed) {
            Some(shown) if !shown.is_empty() => write!(f, ".{shown}"),
            _ => Ok(()),
        }
    }
}
