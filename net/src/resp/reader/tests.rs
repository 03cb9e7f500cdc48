//! Where replies end, what is refused, and what is read back.

use super::*;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

const REPLIES: &[&str] = &[
    "+OK\r\n",
    "+\r\n",
    "-ERR no\r\n",
    ":-12\r\n",
    "$0\r\n\r\n",
    "$5\r\na\r\nbc\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "_\r\n",
    "#t\r\n",
    ",1.5\r\n",
    "(123456789012345678901234567890\r\n",
    "!5\r\nERR x\r\n",
    "=6\r\ntxt:ab\r\n",
    "*0\r\n",
    "*2\r\n:1\r\n*2\r\n$1\r\na\r\n_\r\n",
    "%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n",
    "~1\r\n*1\r\n*1\r\n:1\r\n",
    ">2\r\n+message\r\n$1\r\nx\r\n",
    "|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n",
    "*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n:2\r\n:3\r\n",
];

#[test]
fn every_type_ends_where_it_ends_and_no_prefix_does() {
    for reply in REPLIES {
        let bytes = reply.as_bytes();
        for end in 0..bytes.len() {
            assert_eq!(reply_end(&bytes[..end], LIMIT), Ok(None), "{reply:?} cut at {end}");
        }
        assert_eq!(reply_end(bytes, LIMIT), Ok(Some(bytes.len())), "{reply:?}");
        let followed = [bytes, b"+next\r\n"].concat();
        assert_eq!(reply_end(&followed, LIMIT), Ok(Some(bytes.len())), "{reply:?} followed");
        assert_eq!(reply_end(bytes, bytes.len()), Ok(Some(bytes.len())), "{reply:?} fills its limit");
        assert!(matches!(reply_end(bytes, bytes.len() - 1), Err(ReplyError::TooLarge { .. })), "{reply:?}");
    }
}

#[test]
fn what_is_no_reply_is_refused() {
    for reply in [
        "x\r\n",
        "\r\n",
        ":1\rx",
        ":x\r\n",
        ":01\r\n",
        "$-2\r\n",
        "%-1\r\n",
        "*+1\r\n",
        "*1\r\n*x\r\n",
        "$1\r\nabc",
        "_x\r\n",
        "#x\r\n",
        "$?\r\n",
        ".\r\n",
    ] {
        let end = reply_end(reply.as_bytes(), LIMIT);
        assert!(matches!(end, Err(ReplyError::Malformed { .. })), "{reply:?}: {end:?}");
    }
    assert_eq!(reply_end(b"*1\r\nx", LIMIT), Err(ReplyError::Malformed { at: 4 }));
}

#[test]
fn announcements_beyond_the_limit_are_refused_before_they_arrive() {
    for reply in ["$1048577\r\n", "*9223372036854775807\r\n", "%9223372036854775807\r\n", "*349526\r\n"] {
        assert_eq!(reply_end(reply.as_bytes(), LIMIT), Err(ReplyError::TooLarge { limit: LIMIT }), "{reply:?}");
    }
    assert_eq!(reply_end(&[b'+'; 11], 10), Err(ReplyError::TooLarge { limit: 10 }));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| ["*1\r\n".repeat(depth), ":1\r\n".into()].concat();
    let deepest = nested(NESTING_MAX);
    assert_eq!(reply_end(deepest.as_bytes(), LIMIT), Ok(Some(deepest.len())));
    assert_eq!(reply_end(nested(NESTING_MAX + 1).as_bytes(), LIMIT), Err(ReplyError::TooDeep));
}

#[test]
fn numbers_strings_and_errors_are_read_back() {
    assert_eq!(read_integer(b":-9223372036854775808\r\n"), Some(i64::MIN));
    for bytes in ["", ":", ":1", ":1\r\n:2\r\n", "+1\r\n", ":\r\n", ":9223372036854775808\r\n"] {
        assert_eq!(read_integer(bytes.as_bytes()), None, "{bytes:?}");
    }
    assert_eq!(read_bulk(b"$2\r\nab\r\n"), Some(&b"ab"[..]));
    assert_eq!(read_bulk(b"$-1\r\n"), None);
    assert_eq!(read_bulk(b"$2\r\nab\r\n+x\r\n"), None);
    assert_eq!(read_error(b"-ERR x\r\n"), Some(&b"ERR x"[..]));
    assert_eq!(read_error(b"!5\r\nERR x\r\n"), Some(&b"ERR x"[..]));
    assert_eq!(read_error(b"+OK\r\n"), None);
}

#[test]
fn items_are_the_raw_elements() {
    let items = array_items(b"*3\r\n:1\r\n*1\r\n$1\r\na\r\n|1\r\n+k\r\n+v\r\n_\r\n").unwrap();
    assert_eq!(items.len(), 3);
    let expected: [&[u8]; 3] = [b":1\r\n", b"*1\r\n$1\r\na\r\n", b"|1\r\n+k\r\n+v\r\n_\r\n"];
    assert_eq!(items.collect::<Vec<_>>(), expected);
    assert_eq!(array_items(b"%1\r\n+a\r\n:1\r\n").unwrap().count(), 2);
    assert_eq!(array_items(b"*0\r\n").unwrap().count(), 0);
    for bytes in ["*-1\r\n", "*1\r\n", "*0\r\n:1\r\n", "$1\r\na\r\n", ""] {
        assert!(array_items(bytes.as_bytes()).is_none(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(prop::sample::select(&b"*$:+-_#,%~>|!=(0123\r\n\r\nx"[..]), 0..60)) {
        if let Ok(Some(end)) = reply_end(&bytes, LIMIT) {
            prop_assert!(end <= bytes.len());
            for cut in 0..end {
                prop_assert_eq!(reply_end(&bytes[..cut], LIMIT), Ok(None));
            }
            if let Some(items) = array_items(&bytes[..end]) {
                prop_assert!(items.map(<[u8]>::len).sum::<usize>() < end);
            }
        }
        let _ = (read_bulk(&bytes), read_error(&bytes), read_integer(&bytes), array_items(&bytes).map(Iterator::count));
    }
}
