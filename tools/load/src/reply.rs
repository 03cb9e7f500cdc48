//! Replies of the Redis protocol, version 2: where one ends, and what it is. Pure.
//!
//! Invariant: nothing behind the reply is looked at, and an incomplete reply is never mistaken for a whole one, however the
//! bytes were split.

/// Nested arrays deeper than this are refused: no reply to what we send has any.
const DEPTH_MAX: usize = 8;
/// A line of a reply, its type and end included.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+…`.
    Status(&'a [u8]),
    /// `-…`, without the dash.
    Error(&'a [u8]),
    /// `:…`.
    Integer(i64),
    /// A value.
    Bulk(&'a [u8]),
    /// No value.
    Null,
    /// An array: its number of elements, and their bytes.
    Array(usize, &'a [u8]),
}

/// Bytes that are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent bytes that are no reply: {0}")]
pub struct Malformed(&'static str);

/// A reply that nobody waits for.
pub const UNASKED: Malformed = Malformed("a reply that was not asked for");

/// The first reply in `bytes` and its length; `None` when it is not there whole.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    parse_nested(bytes, 0)
}

fn parse_nested(bytes: &[u8], depth: usize) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed("arrays nested too deep"));
    }
    let Some(line) = line(bytes)? else { return Ok(None) };
    let (text, start) = (&line[1..], line.len() + 2);
    Ok(Some(match line[0] {
        b'+' => (Reply::Status(text), start),
        b'-' => (Reply::Error(text), start),
        b':' => (Reply::Integer(number(text)?), start),
        b'_' => (Reply::Null, start),
        b'$' => match usize::try_from(number(text)?) {
            Err(_) => (Reply::Null, start),
            Ok(length) => {
                let Some(end) = start.checked_add(length).and_then(|end| end.checked_add(2)) else {
                    return Err(Malformed("a length beyond all memory"));
                };
                if bytes.len() < end {
                    return Ok(None);
                }
                if &bytes[end - 2..end] != b"\r\n" {
                    return Err(Malformed("a value without its end"));
                }
                (Reply::Bulk(&bytes[start..end - 2]), end)
            }
        },
        b'*' => match usize::try_from(number(text)?) {
            Err(_) => (Reply::Null, start),
            Ok(count) => {
                let mut end = start;
                for _ in 0..count {
                    let Some((_, length)) = parse_nested(&bytes[end..], depth + 1)? else { return Ok(None) };
                    end += length;
                }
                (Reply::Array(count, &bytes[start..end]), end)
            }
        },
        _ => return Err(Malformed("an unknown type")),
    }))
}

/// The elements of an array that was parsed.
pub fn elements(count: usize, mut bytes: &[u8]) -> Vec<Reply<'_>> {
    let mut elements = Vec::new();
    for _ in 0..count {
        let (reply, length) =
            parse(bytes).ok().flatten().expect("an array was parsed only because all of its elements were");
        elements.push(reply);
        bytes = &bytes[length..];
    }
    elements
}

fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    match seen.iter().position(|byte| *byte == b'\r') {
        Some(0) => Err(Malformed("a line without a type")),
        Some(end) if bytes.len() < end + 2 => Ok(None),
        Some(end) if bytes[end + 1] == b'\n' => Ok(Some(&bytes[..end])),
        Some(_) => Err(Malformed("a carriage return inside a line")),
        None if seen.len() == LINE_BYTES_MAX => Err(Malformed("a line without an end")),
        None => Ok(None),
    }
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed("a number that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: &[(&[u8], Reply<'_>)] = &[
        (b"+OK\r\n", Reply::Status(b"OK")),
        (b"-ERR no\r\n", Reply::Error(b"ERR no")),
        (b":-12\r\n", Reply::Integer(-12)),
        (b"$3\r\na\r\n\r\n", Reply::Bulk(b"a\r\n")),
        (b"$0\r\n\r\n", Reply::Bulk(b"")),
        (b"$-1\r\n", Reply::Null),
        (b"*-1\r\n", Reply::Null),
        (b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", Reply::Array(2, b":1\r\n*1\r\n$1\r\nx\r\n")),
    ];

    #[test]
    fn every_split_is_incomplete_until_the_end() {
        for (bytes, reply) in EACH {
            for length in 0..bytes.len() {
                assert_eq!(parse(&bytes[..length]), Ok(None), "{length} bytes of {bytes:?}");
            }
            let followed = [bytes, &b"+behind\r\n"[..]].concat();
            assert_eq!(parse(&followed), Ok(Some((*reply, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let deep = b"*1\r\n".repeat(DEPTH_MAX + 2);
        let endless = vec![b'+'; LINE_BYTES_MAX + 1];
        let cases: [&[u8]; 7] = [b"?\r\n", b"\r\n", b":x\r\n", b"$1\r\nabc\r\n", b"+a\rb", &deep, &endless];
        for bytes in cases {
            assert!(parse(bytes).is_err(), "{:?}", &bytes[..bytes.len().min(20)]);
        }
    }

    #[test]
    fn elements_come_in_order() {
        let (reply, _) = parse(b"*3\r\n:1\r\n$-1\r\n+x\r\n").unwrap().unwrap();
        let Reply::Array(count, bytes) = reply else { panic!("an array") };
        assert_eq!(elements(count, bytes), [Reply::Integer(1), Reply::Null, Reply::Status(b"x")]);
    }
}
