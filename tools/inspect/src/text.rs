//! Keys, times and sizes as people read and type them.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;

/// Bytes as text: what is not printable ASCII as `\xNN`, backslash and quotes with a backslash before them.
pub fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The inverse of [`escape`]; text without a backslash is its own bytes.
pub fn unescape(text: &str) -> Result<Vec<u8>, Failure> {
    let wrong =
        || Failure::Usage(format!("{text:?} is not a key: after a backslash comes one of n r t ' \" \\ or xNN"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (escaped, others) = rest.split_first().ok_or_else(wrong)?;
        rest = others;
        bytes.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\'' | b'"' | b'\\' => *escaped,
            b'x' => {
                let (digits, others) = rest.split_at_checked(2).ok_or_else(wrong)?;
                rest = others;
                let digits = str::from_utf8(digits).map_err(|_| wrong())?;
                u8::from_str_radix(digits, 16).map_err(|_| wrong())?
            }
            _ => return Err(wrong()),
        });
    }
    Ok(bytes)
}

/// At most so many bytes as text, and how many there are in all when that is not everything.
pub fn excerpt(bytes: &[u8], most: usize) -> Cow<'static, str> {
    match bytes.get(..most) {
        Some(start) if bytes.len() > most => format!("\"{}\"… ({} bytes)", escape(start), bytes.len()).into(),
        _ => format!("\"{}\"", escape(bytes)).into(),
    }
}

/// A hash, or the beginning of one, in hexadecimal digits: the smallest and the largest hash that begin so.
pub fn hash_range(text: &str) -> Result<(u128, u128), Failure> {
    let digits = text.len();
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits <= 32 && !text.starts_with('+'));
    let number =
        number.ok_or_else(|| Failure::Usage(format!("{text:?} is not a hash: it has 1 to 32 hexadecimal digits")))?;
    let free = 128 - 4 * digits as u32;
    let low = number.checked_shl(free).unwrap_or(0);
    Ok((low, low | u128::MAX.checked_shr(4 * digits as u32).unwrap_or(0)))
}

/// The time now, Unix milliseconds.
pub fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Unix milliseconds as a time of day in UTC.
pub fn time(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is their last; eras are 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// A number of bytes in three digits and a unit.
#[allow(clippy::cast_precision_loss, reason = "a figure to read")]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut figure = count as f64 / 1024.0;
    let mut unit = 0;
    while figure >= 999.5 && unit + 1 < UNITS.len() {
        figure /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(figure < 99.95);
    format!("{figure:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&every)).unwrap(), every);
        assert_eq!(unescape("plain:1").unwrap(), b"plain:1");
        for wrong in ["\\", "\\q", "\\x1", "\\xzz"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hashes_by_their_beginning() {
        assert_eq!(hash_range("8").unwrap(), (0x8 << 124, (0x9 << 124) - 1));
        assert_eq!(hash_range(&"f".repeat(32)).unwrap(), (u128::MAX, u128::MAX));
        for wrong in ["", "g", "+1", &"0".repeat(33)] {
            assert!(hash_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(time(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
        assert_eq!(time(5_970_240_000_000), "2159-03-11T00:00:00.000Z");
        assert_eq!([bytes(0), bytes(1023), bytes(1024), bytes(1 << 30)], ["0 B", "1023 B", "1.0 KiB", "1.0 GiB"]);
        assert_eq!(bytes(1000 << 10), "1.0 MiB");
    }
}
