//! Numbers with units, as people write them in a configuration.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `64 KB`, `1 MB`, `2 GB` (powers of 1024) or plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A number as lengths are written in HTTP (RFC 9110, section 8.6): digits and nothing else, no sign that one reader takes and
/// the next does not.
pub fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// A text that is no size or no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitFault {
    /// Not a size.
    #[error("“{0}” is no size: write a number and B, KB, MB or GB, as in \"64 KB\"")]
    Size(String),
    /// Not a duration.
    #[error("“{0}” is no duration: write a number and ms, s, m, h or d, as in \"15 s\"")]
    Duration(String),
}

impl ByteSize {
    /// So many times 1024 bytes.
    pub const fn kib(count: u64) -> Self {
        Self(count * 1024)
    }
    /// So many times 1024 × 1024 bytes.
    pub const fn mib(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }
    /// As a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = UnitFault;
    fn from_str(text: &str) -> Result<Self, UnitFault> {
        let fault = || UnitFault::Size(text.chars().take(40).collect());
        let (number, unit) = split_unit(text).ok_or_else(fault)?;
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KB" | "KiB" => 1 << 10,
            "MB" | "MiB" => 1 << 20,
            "GB" | "GiB" => 1 << 30,
            _ => return Err(fault()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(fault)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (factor, unit) in [(1u64 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(formatter, "{} {unit}", self.0 / factor);
            }
        }
        write!(formatter, "{} B", self.0)
    }
}

/// Reads `250 ms`, `15 s`, `2 m`, `1 h` or `400 d`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitFault> {
    let fault = || UnitFault::Duration(text.chars().take(40).collect());
    let (number, unit) = split_unit(text).ok_or_else(fault)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(fault)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_digits_and_nothing_else() {
        for (text, number) in [("0", Some(0)), ("007", Some(7)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(decimal(text.as_bytes()), number);
        }
        for bad in ["", "+5", "-1", " 5", "5 ", "5,5", "0x5", "5e1", "18446744073709551616", "\u{663}"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_read_and_show() {
        for (text, bytes) in [("0", 0), ("17", 17), ("64 KB", 65_536), ("64KiB", 65_536), ("1 GB", 1 << 30)] {
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes), "{text}");
        }
        for bad in ["", "KB", "1.5 MB", "-1", "1 kb", "99999999999 GB", "1 MB x"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        assert_eq!(ByteSize::mib(3).to_string(), "3 MB");
        assert_eq!(ByteSize(1025).to_string(), "1025 B");
    }

    #[test]
    fn durations_read() {
        assert_eq!(parse_duration("250 ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("400d").unwrap(), Duration::from_secs(400 * 86_400));
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        for bad in ["", "5", "5 w", "s", "-1 s", "1.5 s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
