//! What the parser promises: the same result however the bytes are cut, the texts of Redis, and every limit.

use super::*;
use crate::limits::{BULK_BYTES_CEILING, Limits};
use proptest::prelude::*;

const SMALL: Limits = Limits {
    inline_bytes_max: 64,
    bulk_bytes_max: 100,
    arguments_max: 20,
    command_bytes_max: 250,
    unauthenticated_arguments_max: 4,
    unauthenticated_bulk_bytes_max: 30,
};

/// What a stream of bytes turned into.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Command(Vec<Vec<u8>>),
    Nothing,
    Error(String),
}

/// Parses `pieces` as a connection would, until the first error; also says how many bytes were left unfinished.
fn parse_pieces<'a>(
    limits: Limits,
    authenticated: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Seen>, usize) {
    let mut parser = Parser::new(limits);
    let (mut buffer, mut start, mut seen) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let input = &buffer[start..];
            match parser.parse(input, authenticated) {
                Ok(Parsed::Command { consumed }) => {
                    seen.push(Seen::Command(parser.arguments(input).iter().map(<[u8]>::to_vec).collect()));
                    assert!(!parser.is_midway() && consumed > 0);
                    start += consumed;
                }
                Ok(Parsed::Nothing { consumed }) => {
                    assert!(consumed > 0);
                    seen.push(Seen::Nothing);
                    start += consumed;
                }
                Ok(Parsed::Incomplete { needed }) => {
                    assert!(needed > 0 && input.len() <= limits.buffer_bytes_max());
                    assert_eq!(parser.is_midway(), !input.is_empty());
                    break;
                }
                Err(error) => {
                    let mut out = Vec::new();
                    error.reply(&mut out);
                    seen.push(Seen::Error(String::from_utf8(out).unwrap()));
                    return (seen, 0);
                }
            }
        }
    }
    (seen, buffer.len() - start)
}

fn parse_whole(limits: Limits, authenticated: bool, bytes: &[u8]) -> (Vec<Seen>, usize) {
    parse_pieces(limits, authenticated, [bytes])
}

/// The only error of `bytes`, without what all have in common.
fn error_of(limits: Limits, authenticated: bool, bytes: &[u8]) -> String {
    let (seen, _) = parse_whole(limits, authenticated, bytes);
    let Some(Seen::Error(text)) = seen.last() else { panic!("no error: {seen:?} of {}", bytes.escape_ascii()) };
    let text = text.strip_prefix("-ERR Protocol error: ").expect("the prefix of all");
    text.strip_suffix("\r\n").expect("one line").to_owned()
}

fn command(arguments: &[&str]) -> Seen {
    Seen::Command(arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect())
}

const STREAMS: &[&[u8]] = &[
    b"*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n",
    b"*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n\r\n*0\r\n*-1\r\n\n  \r\nset \"a\\x20b\" 'c d'\n*1\r\n$1\r\nx\r\n",
    b"*11\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n",
    b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n",
    b"GET k\r\n*x\r\n",
    b"*2\r\n$3\r\nGET\r\n$-10\r\n",
    b"*1\r\n$4\r\nPINGPONG\r\n",
    b"*1\r$4",
    b"*1\r\n$1\rx",
    b"*1\r\n$3\r\nGE",
    b"*00000000000000000000000000000000000000000000000000000000000000000000000000001\r\n",
    b"*1\r\n$00000000000000000000000000000000000000000000000000000000000000000000000000001\r\n",
    b"an inline command that is longer than the small limit takes, by a little\r\n",
];

#[test]
fn every_cut_gives_the_same() {
    for (stream, limits, authenticated) in STREAMS
        .iter()
        .flat_map(|stream| [(stream, Limits::PRODUCTION, true), (stream, SMALL, true), (stream, SMALL, false)])
    {
        let whole = parse_whole(limits, authenticated, stream);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                let cut = parse_pieces(limits, authenticated, pieces);
                assert_eq!(cut, whole, "{} cut at {first} and {second}", stream.escape_ascii());
            }
        }
        assert_eq!(parse_pieces(limits, authenticated, stream.chunks(1)), whole, "{}", stream.escape_ascii());
    }
}

#[test]
fn streams_mean_what_they_say() {
    let whole = |index: usize| parse_whole(Limits::PRODUCTION, true, STREAMS[index]).0;
    assert_eq!(whole(0), [command(&["PING"])]);
    assert_eq!(whole(1), [command(&["SET", "k", "hello\r\nworld"]), command(&["GET", "k"]), command(&["PING"])]);
    let mut expected = vec![command(&["", "\r\n"])];
    // `\r\n`, `*0`, `*-1`, `\n` and a line of blanks.
    expected.extend(vec![Seen::Nothing; 5]);
    expected.extend([command(&["set", "a b", "c d"]), command(&["x"])]);
    assert_eq!(whole(2), expected);
    assert_eq!(whole(3).len(), 1);
}

#[test]
fn errors_have_the_texts_of_redis() {
    for (bytes, text) in [
        ("*x\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*1 \r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*3000000000\r\n", "invalid multibulk length (3000000000 arguments; the maximum is 1048576)"),
        ("*1\r\nfoo\r\n", "expected '$', got 'f'"),
        ("*1\r\n\r\n", "expected '$', got ' '"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$blabla\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\r\n$16777217\r\n", "invalid bulk length (16777217 bytes; proto-max-bulk-len is 16777216)"),
        ("*1\r\n$2000000000\r\n", "invalid bulk length (2000000000 bytes; proto-max-bulk-len is 16777216)"),
        ("*1\r\n$1\r\nab\r\n", "expected CRLF after an argument of 1 bytes"),
        ("set \"\"\"test-key\"\"\" test-value\r\n", "unbalanced quotes in request"),
    ] {
        assert_eq!(error_of(Limits::PRODUCTION, true, bytes.as_bytes()), text, "{bytes:?}");
    }
}

#[test]
fn a_desynchronised_stream_ends_in_an_error() {
    for (start, text) in
        [("", "too big inline request"), ("*", "too big mbulk count string"), ("*1\r\n$", "too big bulk count string")]
    {
        let bytes = [start.as_bytes(), &vec![0; 70_000]].concat();
        assert_eq!(error_of(Limits::PRODUCTION, true, &bytes), text);
        let (seen, _) = parse_pieces(Limits::PRODUCTION, true, bytes.chunks(1000));
        assert_eq!(seen, [Seen::Error(format!("-ERR Protocol error: {text}\r\n"))]);
    }
}

#[test]
fn clients_that_have_not_logged_in_get_less() {
    let bulk = |bytes: usize| format!("*1\r\n${bytes}\r\n");
    let incomplete = |bytes: &str| parse_whole(Limits::PRODUCTION, false, bytes.as_bytes()) == (vec![], bytes.len());
    assert!(incomplete("*10\r\n"));
    assert!(incomplete(&bulk(16_384)));
    for (bytes, text) in [
        ("*11\r\n".to_owned(), "unauthenticated multibulk length"),
        ("*1048576\r\n".to_owned(), "unauthenticated multibulk length"),
        (bulk(16_385), "unauthenticated bulk length"),
    ] {
        assert_eq!(error_of(Limits::PRODUCTION, false, bytes.as_bytes()), text);
        assert_eq!(parse_whole(Limits::PRODUCTION, true, bytes.as_bytes()), (vec![], bytes.len()));
    }
}

#[test]
fn each_limit_is_reached_and_not_passed() {
    let argument = |bytes: usize| format!("${bytes}\r\n{}\r\n", "x".repeat(bytes));
    let fits = |bytes: &str| assert_eq!(parse_whole(SMALL, true, bytes.as_bytes()).0.len(), 1, "{bytes}");
    fits(&format!("*1\r\n{}", argument(100)));
    assert_eq!(error_of(SMALL, true, b"*1\r\n$101\r\n"), "invalid bulk length (101 bytes; proto-max-bulk-len is 100)");
    fits(&format!("*20\r\n{}", argument(1).repeat(20)));
    assert_eq!(error_of(SMALL, true, b"*21\r\n"), "invalid multibulk length (21 arguments; the maximum is 20)");
    fits(&format!("*3\r\n{}{}{}", argument(100), argument(100), argument(50)));
    let large = format!("*3\r\n{}{}$51\r\n", argument(100), argument(100));
    let text = "too big request (251 bytes or more; client-query-buffer-limit is 250)";
    assert_eq!(error_of(SMALL, true, large.as_bytes()), text);
    fits(&format!("{}\n", "x".repeat(64)));
    fits(&format!("{}\r\n", "x".repeat(63)));
    assert_eq!(error_of(SMALL, true, "x".repeat(65).as_bytes()), "too big inline request");
    assert_eq!(error_of(SMALL, true, format!("{}\n", "x".repeat(65)).as_bytes()), "too big inline request");
}

#[test]
fn a_large_argument_tells_what_it_needs_and_costs_nothing_while_it_arrives() {
    let bytes = 16 * 1024 * 1024;
    let mut whole = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${bytes}\r\n").into_bytes();
    let start = whole.len();
    whole.resize(start + bytes, b'x');
    whole.extend_from_slice(b"\r\n");
    let mut parser = Parser::new(Limits::PRODUCTION);
    for end in (start..whole.len()).step_by(16 * 1024) {
        let needed = whole.len() - end;
        assert_eq!(parser.parse(&whole[..end], true), Ok(Parsed::Incomplete { needed }));
    }
    assert_eq!(parser.parse(&whole, true), Ok(Parsed::Command { consumed: whole.len() }));
    assert_eq!(parser.arguments(&whole)[2].len(), bytes);
}

/// Whoever reads no more than what is needed at least never reads into the next command.
#[test]
fn the_hint_never_leads_beyond_the_command() {
    let whole = b"*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$0\r\n\r\n";
    let mut parser = Parser::new(Limits::PRODUCTION);
    let mut end = 0;
    while let Parsed::Incomplete { needed } = parser.parse(&whole[..end], true).unwrap() {
        end += needed;
        assert!(end <= whole.len());
    }
    assert_eq!(end, whole.len());
}

#[test]
fn memory_of_large_commands_is_given_back() {
    let mut parser = Parser::new(Limits::PRODUCTION);
    assert_eq!(parser.memory_bytes(), 0);
    let many = format!("*100000\r\n{}", "$1\r\nx\r\n".repeat(100_000));
    assert!(matches!(parser.parse(many.as_bytes(), true), Ok(Parsed::Command { .. })));
    assert_eq!(parser.arguments(many.as_bytes()).len(), 100_000);
    let line = format!("set k {}\r\n", "x".repeat(60_000));
    assert!(matches!(parser.parse(line.as_bytes(), true), Ok(Parsed::Command { .. })));
    assert!(matches!(parser.parse(b"PING\r\n", true), Ok(Parsed::Command { .. })));
    assert_eq!(parser.arguments(b"PING\r\n").iter().collect::<Vec<_>>(), [b"PING"]);
    assert!(parser.memory_bytes() <= 16 * 1024, "{}", parser.memory_bytes());
}

#[test]
fn arguments_can_be_taken_apart_and_kept() {
    let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n";
    let mut parser = Parser::new(Limits::PRODUCTION);
    parser.parse(input, true).unwrap();
    let arguments = parser.arguments(input);
    assert_eq!((arguments.len(), arguments.total_bytes()), (3, 4));
    assert_eq!((&arguments[0], arguments.get(1), arguments.get(3)), (&b"SET"[..], Some(&b"k"[..]), None));
    assert_eq!(arguments.skip(1).iter().collect::<Vec<_>>(), [&b"k"[..], b""]);
    assert!(arguments.skip(3).is_empty() && arguments.skip(4).is_empty());
    let owned = OwnedArguments::from(arguments);
    assert_eq!(owned, ["SET", "k", ""].into_iter().collect());
    let mut out = Vec::new();
    writer::command(&mut out, owned.as_arguments());
    assert_eq!(out, input);
    assert_eq!(format!("{arguments:?}"), r#"["SET", "k", ""]"#);
}

#[test]
fn the_limits_relate() {
    SMALL.assert_valid();
    Limits::default().assert_valid();
    Limits { bulk_bytes_max: BULK_BYTES_CEILING, ..Limits::PRODUCTION }.assert_valid();
    let too_large = Limits { bulk_bytes_max: BULK_BYTES_CEILING + 1, ..Limits::PRODUCTION };
    assert!(std::panic::catch_unwind(|| too_large.assert_valid()).is_err());
}

fn any_command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let argument = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(prop::sample::select(&b"\r\n*$1 \"'\\"[..]), 0..12),
        1 => (900usize..3000, any::<u8>()).prop_map(|(bytes, byte)| vec![byte; bytes]),
    ];
    prop::collection::vec(argument, 1..14)
}

fn encode(arguments: &[Vec<u8>], inline: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if inline {
        for argument in arguments {
            let escaped: String = argument.iter().map(|byte| format!("\\x{byte:02X}")).collect();
            out.extend_from_slice(format!(" \"{escaped}\"").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    } else {
        writer::command(&mut out, arguments.iter().collect::<OwnedArguments>().as_arguments());
    }
    out
}

/// `bytes` in pieces of the given sizes, over and over.
fn pieces<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    sizes.iter().cycle().map_while(move |size| {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #[test]
    fn commands_come_back_however_they_are_cut(
        commands in prop::collection::vec((any_command(), prop::bool::weighted(0.2)), 1..8),
        sizes in prop::collection::vec(1usize..200, 1..10),
    ) {
        let bytes: Vec<u8> = commands.iter().flat_map(|(arguments, inline)| encode(arguments, *inline)).collect();
        let expected: Vec<Seen> = commands.into_iter().map(|(arguments, _)| Seen::Command(arguments)).collect();
        prop_assert_eq!(parse_pieces(Limits::PRODUCTION, true, pieces(&bytes, &sizes)), (expected, 0));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_cuts_do_not_matter(
        bytes in prop_oneof![
            prop::collection::vec(prop::sample::select(&b"*$-0123\r\n\r\n\r\nx \"'\\"[..]), 0..120),
            prop::collection::vec(any::<u8>(), 0..200),
        ],
        sizes in prop::collection::vec(1usize..20, 1..6),
        authenticated: bool,
    ) {
        let whole = parse_whole(SMALL, authenticated, &bytes);
        prop_assert_eq!(parse_pieces(SMALL, authenticated, pieces(&bytes, &sizes)), whole);
    }

    /// A damaged command is another command, incomplete or refused, the same however it is cut.
    #[test]
    fn damaged_commands_are_handled(
        arguments in any_command(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in prop::collection::vec(1usize..50, 1..6),
    ) {
        let mut bytes = encode(&arguments, false);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = parse_whole(Limits::PRODUCTION, true, &bytes);
        prop_assert_eq!(parse_pieces(Limits::PRODUCTION, true, pieces(&bytes, &sizes)), whole);
    }
}
