//! Any bytes as a client's requests: never a panic, results that do not depend on how the bytes were
//! cut into pieces, and arguments that survive being written and parsed again. The same bytes also
//! as a reply.
#![no_main]

use annulus_net::limits::Limits;
use annulus_net::resp::{Parsed, Parser, reader, writer};
use libfuzzer_sys::fuzz_target;

const REPLY_BYTES_MAX: usize = 1 << 20;

/// What one parse of the whole input came to: commands, and how it ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    commands: Vec<Vec<Vec<u8>>>,
    end: String,
    consumed: usize,
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece_bytes, data)) = data.split_first() else {
        return;
    };
    let authenticated = piece_bytes & 0x80 != 0;
    let piece_bytes = usize::from(piece_bytes & 0x7f) + 1;
    let whole = parse(data, data.len().max(1), authenticated);
    let pieces = parse(data, piece_bytes, authenticated);
    assert_eq!(whole, pieces, "pieces of {piece_bytes} bytes");
    whole.commands.iter().for_each(|command| check_command(command));
    check_reply(data);
});

fn limits() -> Limits {
    Limits {
        inline_bytes_max: 256,
        bulk_bytes_max: 1024,
        arguments_max: 64,
        command_bytes_max: 8 * 1024,
        unauthenticated_arguments_max: 4,
        unauthenticated_bulk_bytes_max: 128,
    }
}

/// Parses `data` as it would arrive, `piece_bytes` at a time.
fn parse(data: &[u8], piece_bytes: usize, authenticated: bool) -> Outcome {
    let mut parser = Parser::new(limits());
    let mut outcome = Outcome { commands: Vec::new(), end: String::new(), consumed: 0 };
    let mut arrived = 0;
    loop {
        let input = &data[outcome.consumed..arrived];
        match parser.parse(input, authenticated) {
            Ok(Parsed::Command { consumed }) => {
                assert!((1..=input.len()).contains(&consumed));
                let arguments = parser.arguments(input);
                outcome.commands.push(arguments.iter().map(<[u8]>::to_vec).collect());
                outcome.consumed += consumed;
            }
            Ok(Parsed::Nothing { consumed }) => {
                assert!((1..=input.len()).contains(&consumed));
                outcome.consumed += consumed;
            }
            Ok(Parsed::Incomplete { needed }) => {
                assert!(needed > 0);
                if arrived == data.len() {
                    return outcome;
                }
                arrived = data.len().min(arrived + piece_bytes);
            }
            Err(error) => {
                outcome.end = format!("{error:?}");
                return outcome;
            }
        }
    }
}

/// A command written as a client would write it parses to the same arguments.
fn check_command(arguments: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    writer::array_header(&mut bytes, arguments.len());
    for argument in arguments {
        writer::bulk(&mut bytes, argument);
    }
    let mut parser = Parser::new(Limits::PRODUCTION);
    let parsed = parser.parse(&bytes, true);
    assert_eq!(parsed, Ok(Parsed::Command { consumed: bytes.len() }));
    assert!(parser.arguments(&bytes).iter().eq(arguments.iter().map(Vec::as_slice)));
}

fn check_reply(data: &[u8]) {
    if let Ok(Some(end)) = reader::reply_end(data, REPLY_BYTES_MAX) {
        let reply = &data[..end];
        let _ = (reader::read_integer(reply), reader::read_bulk(reply), reader::read_error(reply));
        let items = reader::array_items(reply).into_iter().flatten();
        assert!(items.count() <= reply.len(), "each element takes at least one byte");
    }
}
