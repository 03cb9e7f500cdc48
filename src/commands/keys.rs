//! Commands on a key whatever it holds; commands on several keys come here one key at a time.

use annulus_engine::Key;
use annulus_net::resp::writer;

use super::Args;
use super::data::{Data, Keys, Outcome, Seen, parse_integer};

/// Bytes of a key's slot in the index, free slots included, rounded up: at most 33 per key.
const INDEX_BYTES_PER_KEY: u64 = 33;
/// Bytes in memory for an expiry.
const EXPIRY_BYTES: u64 = 48;

/// DEL, UNLINK: 1 when the key was there.
pub fn del<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>) -> Outcome {
    match data.keys.delete(key, data.now_ms) {
        Ok(deleted) => data.integer(i64::from(deleted.existed), deleted.after),
        Err(stop) => data.stopped(stop),
    }
}

/// EXISTS, TOUCH: 1 when the key is there. The index knows it; no record is read.
pub fn exists<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>) -> Outcome {
    match data.describe(key) {
        Seen::Here(_, after) => data.integer(1, after),
        Seen::Absent(after) => data.integer(0, after),
        Seen::NotYet(outcome) => outcome,
    }
}

/// TYPE.
pub fn kind<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>) -> Outcome {
    let (kind, after) = match data.describe(key) {
        Seen::Here(_, after) => ("string", after),
        Seen::Absent(after) => ("none", after),
        Seen::NotYet(outcome) => return outcome,
    };
    writer::simple(data.out, kind);
    Outcome::Done(after)
}

/// MEMORY USAGE: what the key takes in the index and its record in the log, or in memory.
pub fn memory_usage<'v, K: Keys<'v>>(data: &mut Data<'_, K>, key: &Key<'_>, args: Args<'_>) -> Outcome {
    match args.get(3..).unwrap_or_default() {
        [] => {}
        [option, count] if option.eq_ignore_ascii_case(b"SAMPLES") => match parse_integer(count) {
            None => return data.fail("ERR value is not an integer or out of range"),
            Some(..0) => return data.fail("ERR syntax error"),
            Some(_) => {}
        },
        _ => return data.fail("ERR syntax error"),
    }
    match data.describe(key) {
        Seen::Here(described, after) => {
            let expiry_bytes = if described.expires_at_ms == 0 { 0 } else { EXPIRY_BYTES };
            let bytes = INDEX_BYTES_PER_KEY + expiry_bytes + described.record_bytes as u64;
            data.integer(i64::try_from(bytes).unwrap_or(i64::MAX), after)
        }
        Seen::Absent(after) => data.null(after),
        Seen::NotYet(outcome) => outcome,
    }
}
