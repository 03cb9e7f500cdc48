//! Inline commands: one line, split at white space, with Redis' quoting. Finding the line is the parser's work.
//!
//! ```text
//! word      anything but space, tab, CR; a quote inside it begins a quoted part
//! "..."     \n \r \t \b \a \xHH, and any other character after a backslash stands for itself
//! '...'     only \' is an escape
//! ```
//! Invariant: a closing quote ends its argument, so white space or the end of the line follows it.

use super::arguments::Span;

/// The line has an open quote, or something right after a closing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Splits `line` (without its end) into unescaped arguments: their bytes go to `bytes`, where they lie to `spans`; both
/// are emptied first.
pub(super) fn split(line: &[u8], bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), Unbalanced> {
    bytes.clear();
    spans.clear();
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let start = bytes.len();
        rest = skip_blanks(argument(rest, bytes)?);
        spans.push(Span::new(start, bytes.len()));
    }
    Ok(())
}

/// Redis skips all that C calls space, but only a space, tab or line end terminates a bare word.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| is_space(**byte)).count();
    &line[blanks..]
}

/// Appends one argument and returns what follows it.
fn argument<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => return Ok(rest),
            b'"' => return double_quoted(after, bytes),
            b'\'' => return single_quoted(after, bytes),
            _ => bytes.push(byte),
        }
        rest = after;
    }
    Ok(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_value(*high) * 16 + hex_value(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                bytes.push(unescape(*escaped));
                after
            }
            [b'"', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
            [] => return Err(Unbalanced),
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [b'\\', b'\'', after @ ..] => {
                bytes.push(b'\'');
                after
            }
            [b'\'', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
            [] => return Err(Unbalanced),
        }
    }
}

fn closed(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Arguments;
    use proptest::prelude::*;

    fn arguments(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
        let (mut bytes, mut spans) = (b"stale".to_vec(), vec![Span::new(0, 1)]);
        split(line, &mut bytes, &mut spans)?;
        Ok(Arguments::new(&bytes, &spans).iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn lines_split_as_redis_splits_them() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t \x0b\x0c\r", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  a\tb  ", &[b"set", b"a", b"b"]),
            (b"set k \"\"", &[b"set", b"k", b""]),
            (b"set k ''", &[b"set", b"k", b""]),
            (br#""a b" 'c d'"#, &[b"a b", b"c d"]),
            (br#""\n\r\t\b\a\\\"\q""#, &[b"\n\r\t\x08\x07\\\"q"]),
            (br#""\x00\xfF\xg0\x1""#, &[b"\x00\xffxg0x1"]),
            (br#"'a\'b\n"'"#, &[br#"a'b\n""#]),
            (br#"foo"bar baz" x"#, &[b"foobar baz", b"x"]),
            (br"a\nb", &[br"a\nb"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
            (b"a\0b \xff", &[b"a\0b", b"\xff"]),
        ];
        for (line, expected) in cases {
            let found = arguments(line).unwrap();
            assert_eq!(found, *expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_have_to_balance() {
        let lines: &[&[u8]] = &[
            b"\"",
            b"'",
            b"set \"a",
            b"set 'a",
            b"\"a\"b",
            b"'a'b",
            b"\"a\"\"b\"",
            b"\"a\\\"",
            b"\"a\\",
            b"'a\\'",
            b"set \"\"\"test-key\"\"\" test-value",
        ];
        for line in lines {
            assert_eq!(arguments(line), Err(Unbalanced), "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn quoted_arguments_come_back(wanted in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let quoted: Vec<String> = wanted
                .iter()
                .map(|argument| format!("\"{}\"", argument.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>()))
                .collect();
            prop_assert_eq!(arguments(quoted.join(" ").as_bytes()), Ok(wanted));
        }

        #[test]
        fn arbitrary_lines_never_panic(line in prop::collection::vec(prop::sample::select(&b"ab \t\"'\\xn0fF\r\0"[..]), 0..40)) {
            if let Ok(found) = arguments(&line) {
                prop_assert!(found.iter().map(Vec::len).sum::<usize>() <= line.len());
            }
        }
    }
}
