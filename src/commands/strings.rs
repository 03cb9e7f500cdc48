//! Strings: values read and written as a whole, and parts of them read.

mod options;

use annulus_engine::{Disk, Key};
use annulus_net::resp::writer;

use super::Args;
use super::data::{Data, Intent, Outcome, Seen, parse_integer};
use super::expiry::{self, From, Unit};
use super::table;
use super::table::refusals::COMPARE_AND_SET;
use options::{BadOption, Expiry, Options, OptionsOf};

/// GET.
#[inline]
pub fn get<D: Disk>(data: &mut Data<'_, D>, key: &Key<'_>) -> Outcome {
    match data.read(key, Intent::Read, |out, record| writer::bulk(out, record.value())) {
        Seen::Here((), after) => Outcome::Done(after),
        Seen::Absent(after) => data.null(after),
        Seen::NotYet(outcome) => outcome,
    }
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
        Err(text) => match data.describe(key) {
            Ok(_) => data.fail(&text),
            Err(after) => data.null(after),
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
