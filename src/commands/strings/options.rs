//! The options of SET and GETEX.
//!
//! Invariant: at most one of the options on expiry is in force; numbers are not read here.

use smallvec::SmallVec;

use crate::commands::Args;
use crate::commands::expiry::{From, Unit};

/// What becomes of the expiry of a key that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It goes, or stays with GETEX: nothing was said.
    Unsaid,
    /// It stays.
    Keep,
    /// It goes.
    Persist,
    /// It becomes what the argument at this index says.
    Given { argument: usize, unit: Unit, from: From },
}

impl Expiry {
    /// True for the same option, which may be repeated: the last one counts.
    fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Given { unit, from, .. }, Self::Given { unit: other_unit, from: other_from, .. }) => {
                (unit, from) == (other_unit, other_from)
            }
            _ => self == other,
        }
    }
}

/// The options of SET or GETEX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) expiry: Expiry,
    /// GET: the old value is the reply.
    pub(super) get: bool,
}

/// Why options are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadOption {
    Syntax,
    /// NX or XX of SET.
    CompareAndSet(&'static str),
}

/// Whose options are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionsOf {
    Set,
    GetEx,
}

impl Options {
    /// Reads the options from `first` on.
    pub(super) fn parse(args: Args<'_>, first: usize, of: OptionsOf) -> Result<Self, BadOption> {
        let mut options = Self { expiry: Expiry::Unsaid, get: false };
        let mut at = first;
        while let Some(option) = args.get(at) {
            let mut given = |unit, from| {
                at += 1;
                args.get(at).map(|_| Expiry::Given { argument: at, unit, from }).ok_or(BadOption::Syntax)
            };
            let expiry = match (of, upper(option).as_slice()) {
                (_, b"EX") => given(Unit::Seconds, From::Now)?,
                (_, b"PX") => given(Unit::Milliseconds, From::Now)?,
                (_, b"EXAT") => given(Unit::Seconds, From::Epoch)?,
                (_, b"PXAT") => given(Unit::Milliseconds, From::Epoch)?,
                (OptionsOf::Set, b"KEEPTTL") => Expiry::Keep,
                (OptionsOf::GetEx, b"PERSIST") => Expiry::Persist,
                (OptionsOf::Set, b"GET") => {
                    options.get = true;
                    at += 1;
                    continue;
                }
                (OptionsOf::Set, b"NX") => return Err(BadOption::CompareAndSet("SET NX")),
                (OptionsOf::Set, b"XX") => return Err(BadOption::CompareAndSet("SET XX")),
                _ => return Err(BadOption::Syntax),
            };
            if options.expiry != Expiry::Unsaid && !options.expiry.is_like(expiry) {
                return Err(BadOption::Syntax);
            }
            options.expiry = expiry;
            at += 1;
        }
        Ok(options)
    }
}

/// An option in capitals; one that is longer than any is cut, and so matches none.
fn upper(option: &[u8]) -> SmallVec<[u8; 8]> {
    option.iter().take(8).map(u8::to_ascii_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(of: OptionsOf, text: &str) -> Result<Options, BadOption> {
        let args: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
        Options::parse(&args, 0, of)
    }

    #[test]
    fn options_of_set() {
        let given = |argument, unit, from| Expiry::Given { argument, unit, from };
        let plain = Options { expiry: Expiry::Unsaid, get: false };
        let good = [
            ("", plain),
            ("get", Options { get: true, ..plain }),
            ("GET GET", Options { get: true, ..plain }),
            ("KeepTTL", Options { expiry: Expiry::Keep, ..plain }),
            ("ex 10", Options { expiry: given(1, Unit::Seconds, From::Now), ..plain }),
            ("GET PX 10", Options { expiry: given(2, Unit::Milliseconds, From::Now), get: true }),
            ("EXAT 10 GET", Options { expiry: given(1, Unit::Seconds, From::Epoch), get: true }),
            ("PX 9 PX 10", Options { expiry: given(3, Unit::Milliseconds, From::Now), ..plain }),
            ("PXAT 10", Options { expiry: given(1, Unit::Milliseconds, From::Epoch), ..plain }),
        ];
        for (text, expected) in good {
            assert_eq!(parse(OptionsOf::Set, text), Ok(expected), "{text}");
        }
        for bad in ["EX", "EX 1 PX 1", "EX 1 KEEPTTL", "KEEPTTL EX 1", "PERSIST", "FOO", "PX 1 EX 1", "KEEPTTLX"] {
            assert_eq!(parse(OptionsOf::Set, bad), Err(BadOption::Syntax), "{bad}");
        }
        assert_eq!(parse(OptionsOf::Set, "EX 10 nx"), Err(BadOption::CompareAndSet("SET NX")));
        assert_eq!(parse(OptionsOf::Set, "XX"), Err(BadOption::CompareAndSet("SET XX")));
    }

    #[test]
    fn options_of_getex() {
        assert_eq!(parse(OptionsOf::GetEx, "persist").unwrap().expiry, Expiry::Persist);
        assert_eq!(parse(OptionsOf::GetEx, "").unwrap().expiry, Expiry::Unsaid);
        for bad in ["GET", "NX", "KEEPTTL", "PERSIST EX 1", "EX 1 PERSIST", "EX"] {
            assert_eq!(parse(OptionsOf::GetEx, bad), Err(BadOption::Syntax), "{bad}");
        }
    }
}
