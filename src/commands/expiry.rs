//! When keys expire: the commands on it, and how commands read instants from their arguments.
//!
//! Instants are Unix milliseconds; 0 stands for never. A key whose instant has come counts as absent everywhere.

use annulus_engine::Key;

use super::Args;
use super::data::{Data, Keys, Outcome, Seen, parse_integer};
use super::keys;

/// What an argument counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// Where an argument counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The turn's wall clock.
    Now,
    /// The Unix epoch.
    Epoch,
}

/// The largest instant that is stored.
const INSTANT_MAX: i64 = i64::MAX;

/// The instant that a number means, in Unix milliseconds, perhaps in the past; `None` when it overflows.
pub fn instant(number: i64, unit: Unit, from: From, now_ms: u64) -> Option<i64> {
    let milliseconds = match unit {
        Unit::Seconds => number.checked_mul(1000)?,
        Unit::Milliseconds => number,
    };
    match from {
        From::Now => milliseconds.checked_add(i64::try_from(now_ms).unwrap_or(INSTANT_MAX)),
        From::Epoch => Some(milliseconds),
    }
}

/// The expiry that SET and its like are given: positive, and an instant that exists. The error is the reply.
pub fn parse_expiry(argument: &[u8], unit: Unit, from: From, now_ms: u64, command: &str) -> Result<u64, String> {
    let Some(number) = parse_integer(argument) else {
        return Err("ERR value is not an integer or out of range".to_owned());
    };
    let instant = if number > 0 { instant(number, unit, from, now_ms) } else { None };
    match instant.and_then(|instant| u64::try_from(instant).ok()) {
        Some(instant) => Ok(instant),
        None => Err(format!("ERR invalid expire time in '{command}' command")),
    }
}

/// The conditions of EXPIRE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Conditions {
    /// NX: only a key without expiry.
    without: bool,
    /// XX: only a key with one.
    with: bool,
    /// GT: only to a later instant; a key without expiry has the latest.
    later: bool,
    /// LT: only to an earlier instant.
    earlier: bool,
}

impl Conditions {
    /// Reads the options behind the number. The error is the reply.
    fn parse(options: Args<'_>) -> Result<Self, String> {
        let mut conditions = Self::default();
        for option in options {
            match option.to_ascii_uppercase().as_slice() {
                b"NX" => conditions.without = true,
                b"XX" => conditions.with = true,
                b"GT" => conditions.later = true,
                b"LT" => conditions.earlier = true,
                _ => return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(option))),
            }
        }
        if conditions.without && (conditions.with || conditions.later || conditions.earlier) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".to_owned());
        }
        if conditions.later && conditions.earlier {
            return Err("ERR GT and LT options at the same time are not compatible".to_owned());
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `current` (0 = never) may be given `wanted`.
    fn allow(self, current: u64, wanted: i64) -> bool {
        let current = (current != 0).then(|| i64::try_from(current).unwrap_or(INSTANT_MAX));
        if (self.without && current.is_some()) || (self.with && current.is_none()) {
            return false;
        }
        if self.later && current.is_none_or(|current| wanted <= current) {
            return false;
        }
        !(self.earlier && current.is_some_and(|current| wanted >= current))
    }
}

/// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT.
pub fn expire<'v, K: Keys<'v>>(
    data: &mut Data<'_, K>,
    key: &Key<'_>,
    args: Args<'_>,
    unit: Unit,
    from: From,
) -> Outcome {
    let conditions = match Conditions::parse(&args[3..]) {
        Ok(conditions) => conditions,
        Err(text) => return data.fail(&text),
    };
    let Some(number) = parse_integer(args[2]) else {
        return data.fail("ERR value is not an integer or out of range");
    };
    let Some(wanted) = instant(number, unit, from, data.now_ms) else {
        let command = String::from_utf8_lossy(args[0]).to_ascii_lowercase();
        return data.fail(&format!("ERR invalid expire time in '{command}' command"));
    };
    // An instant that has come already deletes, whatever it is; 0 would mean never.
    let expires_at_ms = u64::try_from(wanted).unwrap_or(0).max(1);
    let has_come = expires_at_ms <= data.now_ms;
    if has_come && conditions == Conditions::default() {
        return keys::del(data, key);
    }
    let seen = data.change_expiry(key, |_, seen| conditions.allow(seen.expires_at_ms, wanted).then_some(expires_at_ms));
    match seen {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.integer(0, after),
        Seen::Here(is_written, after) => data.integer(i64::from(is_written), after),
    }
}

/// TTL, PTTL, EXPIRETIME, PEXPIRETIME: −2 without the key, −1 without expiry.
pub fn ttl<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, unit: Unit, from: From) -> Outcome {
    let (described, after) = match data.describe(key) {
        Seen::Here(described, after) => (described, after),
        Seen::Absent(after) => return data.integer(-2, after),
        Seen::NotYet(outcome) => return outcome,
    };
    let left = match (described.expires_at_ms, from) {
        (0, _) => return data.integer(-1, after),
        (at, From::Epoch) => at,
        (at, From::Now) => at.saturating_sub(data.now_ms),
    };
    let left = match unit {
        Unit::Milliseconds => left,
        // To the nearest second, as in Redis.
        Unit::Seconds => left.saturating_add(500) / 1000,
    };
    data.integer(i64::try_from(left).unwrap_or(i64::MAX), after)
}

/// PERSIST.
pub fn persist<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>) -> Outcome {
    match data.describe(key) {
        Seen::NotYet(outcome) => return outcome,
        Seen::Absent(after) => return data.integer(0, after),
        Seen::Here(described, after) if described.expires_at_ms == 0 => return data.integer(0, after),
        Seen::Here(..) => {}
    }
    match data.change_expiry(key, |_, seen| (seen.expires_at_ms != 0).then_some(0)) {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.integer(0, after),
        Seen::Here(is_written, after) => data.integer(i64::from(is_written), after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn instants() {
        let cases = [
            (10, Unit::Seconds, From::Now, Some(1_700_000_010_000)),
            (10, Unit::Milliseconds, From::Now, Some(1_700_000_000_010)),
            (-1, Unit::Seconds, From::Now, Some(1_699_999_999_000)),
            (1_800_000_000, Unit::Seconds, From::Epoch, Some(1_800_000_000_000)),
            (5, Unit::Milliseconds, From::Epoch, Some(5)),
            (i64::MAX / 1000 + 1, Unit::Seconds, From::Epoch, None),
            (i64::MIN / 1000 - 1, Unit::Seconds, From::Epoch, None),
            (i64::MAX, Unit::Milliseconds, From::Now, None),
            (i64::MAX, Unit::Milliseconds, From::Epoch, Some(i64::MAX)),
        ];
        for (number, unit, from, expected) in cases {
            assert_eq!(instant(number, unit, from, NOW), expected, "{number} {unit:?} {from:?}");
        }
    }

    #[test]
    fn expiries_of_set() {
        let parse = |text: &[u8]| parse_expiry(text, Unit::Seconds, From::Now, NOW, "set");
        assert_eq!(parse(b"10"), Ok(1_700_000_010_000));
        for bad in [&b"0"[..], b"-5", b"9223372036854775807"] {
            assert_eq!(parse(bad), Err("ERR invalid expire time in 'set' command".to_owned()));
        }
        assert_eq!(parse(b"ten"), Err("ERR value is not an integer or out of range".to_owned()));
    }

    #[test]
    fn conditions_are_read_and_contradict() {
        assert_eq!(Conditions::parse(&[]), Ok(Conditions::default()));
        let both = Conditions::parse(&[b"xx", b"gt"]).unwrap();
        assert!(both.with && both.later && !both.without && !both.earlier);
        assert_eq!(Conditions::parse(&[b"AB"]), Err("ERR Unsupported option AB".to_owned()));
        for options in [[&b"NX"[..], b"XX"], [b"NX", b"GT"], [b"LT", b"NX"]] {
            assert!(Conditions::parse(&options).unwrap_err().starts_with("ERR NX and XX, GT or LT"));
        }
        assert!(Conditions::parse(&[b"GT", b"LT"]).unwrap_err().starts_with("ERR GT and LT"));
    }

    #[test]
    fn conditions_decide() {
        // (options, current, wanted 100 is allowed)
        let cases: [(&[&[u8]], u64, bool); 13] = [
            (&[], 0, true),
            (&[], 50, true),
            (&[b"NX"], 0, true),
            (&[b"NX"], 50, false),
            (&[b"XX"], 0, false),
            (&[b"XX"], 50, true),
            (&[b"GT"], 0, false),
            (&[b"GT"], 50, true),
            (&[b"GT"], 100, false),
            (&[b"LT"], 0, true),
            (&[b"LT"], 150, true),
            (&[b"LT"], 100, false),
            (&[b"XX", b"LT"], 0, false),
        ];
        for (options, current, expected) in cases {
            assert_eq!(Conditions::parse(options).unwrap().allow(current, 100), expected, "{options:?} {current}");
        }
    }
}
