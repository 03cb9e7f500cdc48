//! Replies to bytes: each function appends to the connection's output. Nothing is buffered or sent here.
//!
//! Invariant: what is appended is exactly one reply or one header, whatever text is given. Counts are of elements
//! (pairs for maps) which the caller appends next.

use super::{Arguments, Protocol};
use std::io::Write as _;

/// The most frequent reply of all.
pub const OK: &[u8] = b"+OK\r\n";
/// The reply to a PING.
pub const PONG: &[u8] = b"+PONG\r\n";
/// The reply to a command inside MULTI.
pub const QUEUED: &[u8] = b"+QUEUED\r\n";

/// Digits of an `i64` with its sign.
const INTEGER_BYTES_MAX: usize = 20;
/// Type byte, digits, CR LF.
const LINE_BYTES_MAX: usize = INTEGER_BYTES_MAX + 3;

/// A status such as `OK`; CR and LF in `text` become spaces.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    line(out, b'+', text);
}

/// An error: its prefix (`ERR`, `WRONGTYPE`, …), a space and what happened; CR and LF in `text` become spaces.
pub fn error(out: &mut Vec<u8>, text: &str) {
    debug_assert!(!text.is_empty(), "an error has a prefix");
    line(out, b'-', text);
}

/// An integer.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    number_line(out, b':', value);
}

/// A string of any bytes.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + LINE_BYTES_MAX + 2);
    count_line(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// No value.
#[inline]
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// No array.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// Begins an array of `elements`.
#[inline]
pub fn array_header(out: &mut Vec<u8>, elements: usize) {
    count_line(out, b'*', elements);
}

/// Begins a map of `pairs`; in RESP2 an array of twice as many elements.
pub fn map_header(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    match protocol {
        Protocol::Resp2 => count_line(out, b'*', 2 * pairs),
        Protocol::Resp3 => count_line(out, b'%', pairs),
    }
}

/// Begins a set of `elements`; in RESP2 an array.
pub fn set_header(out: &mut Vec<u8>, protocol: Protocol, elements: usize) {
    match protocol {
        Protocol::Resp2 => count_line(out, b'*', elements),
        Protocol::Resp3 => count_line(out, b'~', elements),
    }
}

/// Begins a message nobody asked for, of `elements`; in RESP2 an array.
pub fn push_header(out: &mut Vec<u8>, protocol: Protocol, elements: usize) {
    match protocol {
        Protocol::Resp2 => count_line(out, b'*', elements),
        Protocol::Resp3 => count_line(out, b'>', elements),
    }
}

/// Begins attributes of the reply that follows them, `pairs` in number. RESP3 only: RESP2 has nothing like it.
pub fn attribute_header(out: &mut Vec<u8>, pairs: usize) {
    count_line(out, b'|', pairs);
}

/// A floating-point number, shortest form that reads back the same; in RESP2 a string.
pub fn double(out: &mut Vec<u8>, protocol: Protocol, value: f64) {
    let mut text = Vec::with_capacity(32);
    let magnitude = value.abs();
    let written = if value.is_nan() {
        text.write_all(b"nan")
    } else if value.is_infinite() || magnitude == 0.0 || (1e-5..1e17).contains(&magnitude) {
        write!(text, "{value}")
    } else {
        write!(text, "{value:e}")
    };
    written.expect("writing to memory succeeds");
    match protocol {
        Protocol::Resp2 => bulk(out, &text),
        Protocol::Resp3 => {
            out.push(b',');
            out.extend_from_slice(&text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A truth value; in RESP2 1 or 0.
pub fn boolean(out: &mut Vec<u8>, protocol: Protocol, value: bool) {
    out.extend_from_slice(match (protocol, value) {
        (Protocol::Resp2, false) => b":0\r\n",
        (Protocol::Resp2, true) => b":1\r\n",
        (Protocol::Resp3, false) => b"#f\r\n",
        (Protocol::Resp3, true) => b"#t\r\n",
    });
}

/// Text to be shown as it is, with its format (`txt`, `mkd`): three ASCII letters, else this panics. In RESP2 a string.
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, format: &str, text: &[u8]) {
    assert!(format.len() == 3 && format.bytes().all(|byte| byte.is_ascii_alphanumeric()), "three letters");
    match protocol {
        Protocol::Resp2 => bulk(out, text),
        Protocol::Resp3 => {
            out.reserve(text.len() + LINE_BYTES_MAX + 6);
            count_line(out, b'=', text.len() + 4);
            out.extend_from_slice(format.as_bytes());
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A request, as a client would send it.
pub fn command(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    array_header(out, arguments.len());
    arguments.iter().for_each(|argument| bulk(out, argument));
}

fn line(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.reserve(text.len() + 3);
    out.push(kind);
    out.extend(text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn count_line(out: &mut Vec<u8>, kind: u8, count: usize) {
    number_line(out, kind, i64::try_from(count).expect("memory holds fewer than 2^63 elements"));
}

/// Filled from the back: one append, no intermediate text.
#[inline]
fn number_line(out: &mut Vec<u8>, kind: u8, value: i64) {
    let mut line = [0u8; LINE_BYTES_MAX];
    line[LINE_BYTES_MAX - 2..].copy_from_slice(b"\r\n");
    let mut at = LINE_BYTES_MAX - 2;
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        line[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        line[at] = b'-';
    }
    at -= 1;
    line[at] = kind;
    out.extend_from_slice(&line[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{OwnedArguments, reader};
    use Protocol::{Resp2, Resp3};
    use proptest::prelude::*;

    type Write<'a> = &'a dyn Fn(&mut Vec<u8>);

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line_replies() {
        assert_eq!(text(|out| simple(out, "OK")).as_bytes(), OK);
        assert_eq!(text(|out| error(out, "ERR a\r\nb\nc")), "-ERR a  b c\r\n");
        for value in [0, 1, -1, 9, 10, 99, 100, -100, 1234567890, i64::MAX, i64::MIN] {
            assert_eq!(text(|out| integer(out, value)), format!(":{value}\r\n"));
        }
        assert_eq!(text(|out| null(out, Resp2)), "$-1\r\n");
        assert_eq!(text(|out| null(out, Resp3)), "_\r\n");
        assert_eq!(text(|out| null_array(out, Resp2)), "*-1\r\n");
        assert_eq!(text(|out| null_array(out, Resp3)), "_\r\n");
        assert_eq!(text(|out| boolean(out, Resp2, true)), ":1\r\n");
        assert_eq!(text(|out| boolean(out, Resp3, false)), "#f\r\n");
    }

    #[test]
    fn headers() {
        assert_eq!(text(|out| array_header(out, 3)), "*3\r\n");
        assert_eq!(text(|out| map_header(out, Resp2, 3)), "*6\r\n");
        assert_eq!(text(|out| map_header(out, Resp3, 3)), "%3\r\n");
        assert_eq!(text(|out| set_header(out, Resp2, 0)), "*0\r\n");
        assert_eq!(text(|out| set_header(out, Resp3, 12)), "~12\r\n");
        assert_eq!(text(|out| push_header(out, Resp2, 2)), "*2\r\n");
        assert_eq!(text(|out| push_header(out, Resp3, 2)), ">2\r\n");
        assert_eq!(text(|out| attribute_header(out, 1)), "|1\r\n");
    }

    #[test]
    fn strings() {
        assert_eq!(text(|out| bulk(out, b"")), "$0\r\n\r\n");
        assert_eq!(text(|out| bulk(out, b"a\r\nb")), "$4\r\na\r\nb\r\n");
        assert_eq!(text(|out| verbatim(out, Resp3, "txt", b"ab")), "=6\r\ntxt:ab\r\n");
        assert_eq!(text(|out| verbatim(out, Resp2, "txt", b"ab")), "$2\r\nab\r\n");
    }

    #[test]
    fn doubles() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (3.25, "3.25"),
            (0.1, "0.1"),
            (1e16, "10000000000000000"),
            (1e300, "1e300"),
            (-2.5e-7, "-2.5e-7"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(text(|out| double(out, Resp3, value)), format!(",{expected}\r\n"));
            assert_eq!(text(|out| double(out, Resp2, value)), format!("${}\r\n{expected}\r\n", expected.len()));
        }
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        let arguments: OwnedArguments = ["GET", "a b"].into_iter().collect();
        assert_eq!(text(|out| command(out, arguments.as_arguments())), "*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }

    proptest! {
        #[test]
        fn any_text_stays_one_reply(words in "\\PC{0,20}[\\r\\n]{0,3}\\PC{0,5}", bytes in prop::collection::vec(any::<u8>(), 0..300), number: i64, value: f64) {
            for protocol in [Resp2, Resp3] {
                let writes: [Write<'_>; 6] = [
                    &|out| simple(out, &words),
                    &|out| error(out, &format!("ERR {words}")),
                    &|out| bulk(out, &bytes),
                    &|out| verbatim(out, protocol, "txt", &bytes),
                    &|out| integer(out, number),
                    &|out| double(out, protocol, value),
                ];
                for write in writes {
                    let mut out = Vec::new();
                    write(&mut out);
                    prop_assert_eq!(reader::reply_end(&out, out.len()), Ok(Some(out.len())));
                }
            }
            let mut out = Vec::new();
            integer(&mut out, number);
            prop_assert_eq!(reader::read_integer(&out), Some(number));
            out.clear();
            bulk(&mut out, &bytes);
            prop_assert_eq!(reader::read_bulk(&out), Some(&bytes[..]));
            out.clear();
            double(&mut out, Resp3, value);
            let read: f64 = std::str::from_utf8(&out[1..out.len() - 2]).unwrap().parse().unwrap();
            prop_assert!(read == value || value.is_nan());
        }
    }
}
