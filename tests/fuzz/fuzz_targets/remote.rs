//! Any bytes as a part of a command that another node wants run, and as the reply to one: never a panic. What is accepted of a
//! command is one that nodes run for each other, and encodes to the same; what is accepted of a reply can be made part of a
//! client's. A parser that has met noise takes the next command.
#![no_main]

use annulus::commands::table::{Command, Gather as Kind};
use annulus::coverage::Position;
use annulus::gather::Gather;
use annulus::mesh::RequestFlags;
use annulus::remote::{
    Expected, check, decode_command, decode_reply, encode_command, encode_reply, parser, read_step, step_end,
    step_until,
};
use annulus::waiting::ReplyTo;
use annulus_net::resp::{Parser, Protocol, reader};
use libfuzzer_sys::fuzz_target;

const PARTITIONS: u32 = 1024;
/// Of the core that is asked.
const OWNED: std::ops::Range<u32> = 128..384;

fuzz_target!(|data: &[u8]| {
    let mut parser = parser();
    check_command(&mut parser, data);
    if let Some((head, rest)) = data.split_first_chunk::<2>() {
        // As words, else hardly anything would be a command.
        let args: Vec<&[u8]> = rest.split(|byte| *byte == b' ').collect();
        let partition = u16::from_le_bytes(*head);
        for partition in [partition, partition | 1 << 15, step_until(OWNED.end)] {
            let mut message = Vec::new();
            encode_command(&mut message, 7, RequestFlags::new(Protocol::Resp3, partition), &args);
            check_command(&mut parser, &message);
        }
    }
    check_reply(data);
    let mut reply = Vec::new();
    encode_reply(&mut reply, 7, data);
    assert_eq!(decode_reply(&reply), Some((7, data)));
    check_reply(&reply);
});

fn check_command(parser: &mut Parser, message: &[u8]) {
    if let Some((token, flags, command)) = decode_command(message) {
        match check(parser, (flags, command), OWNED, PARTITIONS) {
            Err(text) => assert!(!text.is_empty() && !text.contains(['\r', '\n']), "it is an error's text"),
            Ok(part) => {
                let command = part.row.command().expect("refused rows are not accepted");
                assert!(part.row.check_arity(part.args.len()));
                match command {
                    Command::DbSize | Command::RandomKey | Command::Keys => {}
                    Command::Scan => assert!(step_end(flags.partition()).is_some_and(|end| end <= OWNED.end)),
                    Command::ClusterCountKeysInSlot | Command::ClusterGetKeysInSlot => {
                        assert!(OWNED.contains(&u32::from(flags.partition())));
                    }
                    other => panic!("{other:?} is not for other nodes"),
                }
                let mut again = Vec::new();
                encode_command(&mut again, token, flags, &part.args);
                let (same_token, same_flags, same) = decode_command(&again).expect("what is encoded is accepted");
                assert_eq!((same_token, same_flags), (token, flags));
                assert!(check(parser, (same_flags, same), OWNED, PARTITIONS).is_ok());
            }
        }
    }
    let mut sound = Vec::new();
    encode_command(&mut sound, 1, RequestFlags::new(Protocol::Resp2, 0), &[b"DBSIZE"]);
    let (_, flags, command) = decode_command(&sound).expect("what is encoded is accepted");
    assert!(check(parser, (flags, command), OWNED, PARTITIONS).is_ok(), "noise before it does not matter");
}

fn check_reply(message: &[u8]) {
    let Some((_, reply)) = decode_reply(message) else {
        return;
    };
    let from = Position::at(OWNED.start);
    let expected = [
        (Expected::Count, Kind::Sum),
        (Expected::Keys, Kind::Concat),
        (Expected::Key, Kind::AnyKey),
        (Expected::Step { from, end: OWNED.end }, Kind::Positions),
    ];
    for (expected, kind) in expected {
        if !expected.accepts(reply) {
            continue;
        }
        assert_eq!(reader::reply_end(reply, reply.len()), Ok(Some(reply.len())), "one whole reply");
        let mut gather = Gather::new(kind, ReplyTo::Nobody, Protocol::Resp2, 2, 1);
        assert!(!gather.fill(1, reply) && gather.fill(0, reply));
        let mut whole = Vec::new();
        gather.finish(&mut whole);
        assert_eq!(reader::reply_end(&whole, whole.len()), Ok(Some(whole.len())), "so is what is made of them");
        if let (Expected::Step { end, .. }, true) = (expected, reply[0] != b'-') {
            let step = read_step(reply, from, end).expect("it was accepted");
            assert!((step.reached.partition, step.reached.hash) > (from.partition, from.hash));
            assert!(step.reached.partition < end || step.reached == Position::at(end));
            let keys = [format!("*{}\r\n", step.found).as_bytes(), step.keys].concat();
            assert_eq!(reader::reply_end(&keys, keys.len()), Ok(Some(keys.len())), "as many keys as it says");
        }
    }
}
