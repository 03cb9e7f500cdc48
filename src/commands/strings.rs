//! Strings: values read and written as a whole, and parts of them read.

use annulus_engine::{Disk, Key};
use annulus_net::resp::writer;

use super::Args;
use super::data::{Data, Intent, Outcome, Seen, parse_integer};
use super::expiry::{self, From, Unit};
use super::table;
use super::table::refusals::COMPARE_AND_SET;

/// GET.
#[inline]
pub fn get<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>) -> Outcome {
    match data.read(key, Intent::Read, |out, record| writer::bulk(out, record.value())) {
        Seen::Here((), after) => Outcome::Done(after),
        Seen::Absent(after) => data.null(after),
        Seen::NotYet(outcome) => outcome,
    }
}

/// What becomes of the expiry of a key that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
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
struct Options {
    expiry: Expiry,
    /// GET: the old value is the reply.
    get: bool,
}

/// Why options are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadOption {
    Syntax,
    /// NX or XX of SET.
    CompareAndSet(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OptionsOf {
    Set,
    GetEx,
}

impl Options {
    /// Reads the options from `first` on.
    fn parse(args: Args<'_>, first: usize, of: OptionsOf) -> Result<Self, BadOption> {
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
fn upper(option: &[u8]) -> smallvec::SmallVec<[u8; 8]> {
    option.iter().take(8).map(u8::to_ascii_uppercase).collect()
}

#[cold]
fn refuse_options<D: Disk>(data: &mut Data<'_, D>, bad: BadOption) -> Outcome {
    match bad {
        BadOption::Syntax => data.fail("ERR syntax error"),
        BadOption::CompareAndSet(what) => {
            table::refuse(data.out, what, &COMPARE_AND_SET);
            Outcome::Done(None)
        }
    }
}

/// SET.
#[inline]
pub fn set<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 3 {
        return put(data, key, args[2], 0);
    }
    let options = match Options::parse(args, 3, OptionsOf::Set) {
        Ok(options) => options,
        Err(bad) => return refuse_options(data, bad),
    };
    let expires_at_ms = match options.expiry {
        Expiry::Given { argument, unit, from } => {
            match expiry::parse_expiry(args[argument], unit, from, data.now_ms, "set") {
                Ok(instant) => instant,
                Err(text) => return data.fail(&text),
            }
        }
        Expiry::Unsaid | Expiry::Keep | Expiry::Persist => 0,
    };
    if options.get {
        return set_and_get(data, key, args[2], expires_at_ms, options.expiry == Expiry::Keep);
    }
    if options.expiry == Expiry::Keep {
        let kept = data.engine.describe(key, data.now_ms).map_or(0, |description| description.expires_at_ms);
        return put(data, key, args[2], kept);
    }
    put(data, key, args[2], expires_at_ms)
}

#[inline]
fn put<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>, value: &[u8], expires_at_ms: u64) -> Outcome {
    match data.store(key, value, expires_at_ms) {
        Ok(after) => {
            data.out.extend_from_slice(writer::OK);
            Outcome::Done(after)
        }
        Err(refusal) => data.refused(&refusal),
    }
}

/// Writes the value and answers with the one before.
fn set_and_get<D: Disk>(
    data: &mut Data<'_, D>,
    key: &Key<'_>,
    value: &[u8],
    expires_at_ms: u64,
    keep_expiry: bool,
) -> Outcome {
    let reply_start = data.out.len();
    let seen = data.read(key, Intent::Rewrite, |out, record| {
        writer::bulk(out, record.value());
        record.expires_at_ms()
    });
    let kept = match seen {
        Seen::Here(expires_at_ms, _) => expires_at_ms,
        Seen::Absent(_) => {
            writer::null(data.out, data.protocol);
            0
        }
        Seen::NotYet(outcome) => return outcome,
    };
    let written = data.store(key, value, if keep_expiry { kept } else { expires_at_ms });
    data.finish(reply_start, written)
}

/// SETEX, PSETEX.
pub fn setex<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>, args: Args<'_>, unit: Unit) -> Outcome {
    let command = match unit {
        Unit::Seconds => "setex",
        Unit::Milliseconds => "psetex",
    };
    match expiry::parse_expiry(args[2], unit, From::Now, data.now_ms, command) {
        Ok(instant) => put(data, key, args[3], instant),
        Err(text) => data.fail(&text),
    }
}

/// GETSET.
pub fn getset<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>, args: Args<'_>) -> Outcome {
    set_and_get(data, key, args[2], 0, false)
}

/// GETDEL.
pub fn getdel<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>) -> Outcome {
    let reply_start = data.out.len();
    match data.read(key, Intent::Rewrite, |out, record| writer::bulk(out, record.value())) {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.null(after),
        Seen::Here((), read_after) => {
            let deleted = data.engine.delete(key, data.now_ms);
            let written = deleted.map(|written| written.map_or(read_after, |written| written.after));
            data.finish(reply_start, written)
        }
    }
}

/// GETEX.
pub fn getex<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>, args: Args<'_>) -> Outcome {
    let options = match Options::parse(args, 2, OptionsOf::GetEx) {
        Ok(options) => options,
        Err(bad) => return refuse_options(data, bad),
    };
    let (argument, unit, from) = match options.expiry {
        Expiry::Unsaid | Expiry::Keep => return get(data, key),
        Expiry::Persist => return get_and_expire(data, key, 0),
        Expiry::Given { argument, unit, from } => (args[argument], unit, from),
    };
    match expiry::parse_expiry(argument, unit, from, data.now_ms, "getex") {
        Ok(instant) => get_and_expire(data, key, instant),
        // As in Redis, a key that is not there comes before an expiry that is wrong.
        Err(text) => match data.engine.describe(key, data.now_ms) {
            Some(_) => data.fail(&text),
            None => {
                let after = data.absent_after(key);
                data.null(after)
            }
        },
    }
}

/// Answers with the value and gives it another expiry, 0 for none.
fn get_and_expire<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>, expires_at_ms: u64) -> Outcome {
    let reply_start = data.out.len();
    let seen = data.read(key, Intent::Rewrite, |out, record| {
        writer::bulk(out, record.value());
        (record.expires_at_ms() != expires_at_ms).then(|| record.value().to_vec())
    });
    match seen {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.null(after),
        Seen::Here(None, after) => Outcome::Done(after),
        Seen::Here(Some(value), _) => {
            let written = data.store(key, &value, expires_at_ms);
            data.finish(reply_start, written)
        }
    }
}

/// STRLEN.
pub fn strlen<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>) -> Outcome {
    match data.read(key, Intent::Read, |_, record| record.value().len()) {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.integer(0, after),
        Seen::Here(length, after) => data.integer(i64::try_from(length).unwrap_or(i64::MAX), after),
    }
}

/// GETRANGE, SUBSTR.
pub fn getrange<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>, args: Args<'_>) -> Outcome {
    let (Some(start), Some(end)) = (parse_integer(args[2]), parse_integer(args[3])) else {
        return data.fail("ERR value is not an integer or out of range");
    };
    let seen = data.read(key, Intent::Read, |out, record| writer::bulk(out, range(record.value(), start, end)));
    match seen {
        Seen::NotYet(outcome) => outcome,
        Seen::Here((), after) => Outcome::Done(after),
        Seen::Absent(after) => {
            writer::bulk(data.out, b"");
            Outcome::Done(after)
        }
    }
}

/// The bytes from `start` to `end`, both included; negative ones count from the end, −1 being the last byte.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let length = i64::try_from(value.len()).expect("values are far shorter");
    let from_front = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if start > end {
        return &[];
    }
    let index = |index: i64| usize::try_from(index).expect("between 0 and the length");
    &value[index(start)..=index(end)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_in_redis() {
        let cases: [(i64, i64, &str); 15] = [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (0, 0, "T"),
            (-1, -1, "g"),
            (5, 3, ""),
            (-1, -3, ""),
            (100, 200, ""),
            (-100, -50, "T"),
            (-100, 2, "Thi"),
            (i64::MIN, i64::MAX, "This is a string"),
            (i64::MAX, i64::MIN, ""),
            (15, 15, "g"),
            (16, 16, ""),
        ];
        for (start, end, expected) in cases {
            assert_eq!(range(b"This is a string", start, end), expected.as_bytes(), "{start} {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
        assert_eq!(range(b"", -1, 0), b"");
    }

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
