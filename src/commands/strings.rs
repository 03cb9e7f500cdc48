//! Strings: values read and written as a whole, and parts of them read.

mod options;

use annulus_engine::Key;
use annulus_net::resp::writer;

use super::Args;
use super::data::{Data, Keys, Looked, Outcome, Seen, parse_integer};
use super::expiry::{self, From, Unit};
use super::table;
use super::table::refusals::{COMPARE_AND_SET, SWAPS};
use options::{BadOption, Expiry, Options, OptionsOf};

/// GET.
#[inline]
pub fn get<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>) -> Outcome {
    match data.read(key, writer::bulk) {
        Seen::Here((), after) => Outcome::Done(after),
        Seen::Absent(after) => data.null(after),
        Seen::NotYet(outcome) => outcome,
    }
}

#[cold]
fn refuse_options<'v, K: Keys<'v>>(data: &mut Data<'_, K>, bad: BadOption) -> Outcome {
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
pub fn set<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'v>) -> Outcome {
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
        return set_and_get(data, key, args[2], expires_at_ms, (options.expiry == Expiry::Keep, "SET with GET"));
    }
    if options.expiry != Expiry::Keep {
        return put(data, key, args[2], expires_at_ms);
    }
    match data.keys.describe(key, data.now_ms) {
        Looked::Here(described, _) => put(data, key, args[2], described.expires_at_ms),
        Looked::Absent(_) => put(data, key, args[2], 0),
        Looked::Stop(stop) => data.stopped(stop),
    }
}

#[inline]
fn put<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, value: &'v [u8], expires_at_ms: u64) -> Outcome {
    match data.store(key, value, expires_at_ms) {
        Ok(after) => {
            data.out.extend_from_slice(writer::OK);
            Outcome::Done(after)
        }
        Err(stop) => data.stopped(stop),
    }
}

/// Writes the value and answers with the one before; `title` is the command as a refusal names it.
fn set_and_get<'v, K: Keys<'v>>(
    data: &mut Data<'_, K>,
    key: &Key<'_>,
    value: &'v [u8],
    expires_at_ms: u64,
    (keep_expiry, title): (bool, &str),
) -> Outcome {
    if !data.keys.may_swap() {
        return refuse_swap(data, title);
    }
    let reply_start = data.out.len();
    let seen = data.read_to_write(key, |out, seen| {
        writer::bulk(out, seen.value);
        seen.expires_at_ms
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

/// Answers a command that reads a value and replaces it, of which other copies may be written in between.
#[cold]
fn refuse_swap<'v, K: Keys<'v>>(data: &mut Data<'_, K>, title: &str) -> Outcome {
    table::refuse(data.out, title, &SWAPS);
    Outcome::Done(None)
}

/// SETEX, PSETEX.
pub fn setex<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'v>, unit: Unit) -> Outcome {
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
pub fn getset<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'v>) -> Outcome {
    set_and_get(data, key, args[2], 0, (false, "GETSET"))
}

/// GETDEL.
pub fn getdel<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>) -> Outcome {
    if !data.keys.may_swap() {
        return refuse_swap(data, "GETDEL");
    }
    let reply_start = data.out.len();
    match data.read_to_write(key, |out, seen| writer::bulk(out, seen.value)) {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.null(after),
        Seen::Here((), read_after) => {
            let deleted = data.keys.delete(key, data.now_ms);
            let written = deleted.map(|deleted| if deleted.existed { deleted.after } else { read_after });
            data.finish(reply_start, written)
        }
    }
}

/// GETEX.
pub fn getex<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'_>) -> Outcome {
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
        Err(text) => match data.describe(key) {
            Seen::Here(..) => data.fail(&text),
            Seen::Absent(after) => data.null(after),
            Seen::NotYet(outcome) => outcome,
        },
    }
}

/// Answers with the value and gives it another expiry, 0 for none.
fn get_and_expire<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, expires_at_ms: u64) -> Outcome {
    let seen = data.change_expiry(key, |out, seen| {
        writer::bulk(out, seen.value);
        (seen.expires_at_ms != expires_at_ms).then_some(expires_at_ms)
    });
    match seen {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.null(after),
        Seen::Here(_, after) => Outcome::Done(after),
    }
}

/// STRLEN.
pub fn strlen<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>) -> Outcome {
    match data.read(key, |_, value| value.len()) {
        Seen::NotYet(outcome) => outcome,
        Seen::Absent(after) => data.integer(0, after),
        Seen::Here(length, after) => data.integer(i64::try_from(length).unwrap_or(i64::MAX), after),
    }
}

/// GETRANGE, SUBSTR.
pub fn getrange<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'_>) -> Outcome {
    let (Some(start), Some(end)) = (parse_integer(args[2]), parse_integer(args[3])) else {
        return data.fail("ERR value is not an integer or out of range");
    };
    let seen = data.read(key, |out, value| writer::bulk(out, range(value, start, end)));
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
    let from_front = |index: i64| {
        if index < 0 { index.saturating_add(length).max(0) } else { index }
    };
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
}
