//! What a connection asks of the acknowledgement of its commands: DYN.CONSISTENCY sets how many nodes have to answer, WAIT and
//! WAITAOF tell how many have what it wrote.
//!
//! Invariant: a number of WAIT's is never more than every acknowledged write of the connection was promised: a reply to a write
//! means that W nodes have it, and replies come in the order of commands, so there is nothing to wait for.

use annulus_cluster::event::Quorum;
use annulus_net::resp::{Protocol, writer};

use super::data::parse_integer;
use super::session::{SessionCommand, ok};
use super::{Args, yes_or_no};
use crate::config::Durability;
use crate::consistency::{Bounds, Consistency, Count};

/// DYN.CONSISTENCY: without arguments, what is in force.
pub fn consistency(context: &mut SessionCommand<'_>, args: Args<'_>) {
    let before = in_force(context);
    let session = &mut *context.session;
    if args.len() == 1 {
        return write_consistency(context.out, session.protocol, &before, session.consistency.attributes);
    }
    let bounds = Bounds::of(&context.node.config);
    match parse_consistency(&args[1..], session.consistency, (bounds, session.protocol)) {
        Err(text) => writer::error(context.out, &text),
        Ok(consistency) => {
            if session.has_written {
                session.promised.lower(before.w, before.dw);
            }
            session.consistency = consistency;
            ok(context.out);
        }
    }
}

fn in_force(context: &SessionCommand<'_>) -> Quorum {
    let copies = context.node.view.get().copies;
    context.session.consistency.quorum(&context.node.config.quorums, copies)
}

/// What a connection says from now on. The error is the reply.
fn parse_consistency(
    arguments: Args<'_>,
    mut consistency: Consistency,
    (bounds, protocol): (Bounds, Protocol),
) -> Result<Consistency, String> {
    let (pairs, rest) = arguments.as_chunks::<2>();
    for &[name, value] in pairs {
        if let Some(count) = Count::named(name) {
            consistency.set(count, bounds.read(count, value)?);
        } else if name.eq_ignore_ascii_case(b"ATTRIBUTES") {
            consistency.attributes = yes_or_no("ATTRIBUTES", value)?;
            if consistency.attributes && protocol != Protocol::Resp3 {
                return Err("ERR only RESP3 has attributes: send HELLO 3 first".to_owned());
            }
        } else {
            let name = String::from_utf8_lossy(&name[..name.len().min(32)]);
            return Err(format!("ERR DYN.CONSISTENCY has no option '{name}'; it has R, W, PR, PW, DW and ATTRIBUTES"));
        }
    }
    if rest.is_empty() { Ok(consistency) } else { Err("ERR syntax error".to_owned()) }
}

fn write_consistency(out: &mut Vec<u8>, protocol: Protocol, quorum: &Quorum, attributes: bool) {
    let Quorum { n, r, w, pr, pw, dw } = *quorum;
    let counts = [("n", n), ("r", r), ("w", w), ("pr", pr), ("pw", pw), ("dw", dw)];
    writer::map_header(out, protocol, counts.len() + 1);
    for (name, nodes) in counts {
        writer::bulk(out, name.as_bytes());
        writer::integer(out, i64::from(nodes));
    }
    writer::bulk(out, b"attributes");
    writer::bulk(out, if attributes { b"yes" } else { b"no" });
}

/// WAIT: the replicas, besides the one that the reply came from, that have all that this connection was told is written.
pub fn wait(context: &mut SessionCommand<'_>, args: Args<'_>) {
    if let Err(text) = check_wait(&args[1..]) {
        return writer::error(context.out, text);
    }
    let quorum = in_force(context);
    let (w, _) = context.session.promised.at_most(quorum.w, quorum.dw);
    writer::integer(context.out, i64::from(w.saturating_sub(1)));
}

/// WAITAOF: as WAIT, of stable storage: whether one node has it all, and how many others have.
pub fn wait_aof(context: &mut SessionCommand<'_>, args: Args<'_>) {
    if let Err(text) = check_wait_aof(&args[1..], context.node.config.durability) {
        return writer::error(context.out, text);
    }
    let quorum = in_force(context);
    let (_, dw) = context.session.promised.at_most(quorum.w, quorum.dw);
    // A node alone answers as its durability says, whatever else was asked for.
    let dw = match context.node.view.get().is_alone() {
        true => u8::from(context.node.config.durability == Durability::Sync),
        false => dw,
    };
    writer::array_header(context.out, 2);
    writer::integer(context.out, i64::from(dw.min(1)));
    writer::integer(context.out, i64::from(dw.saturating_sub(1)));
}

/// `numreplicas timeout`, refused in Redis' words.
fn check_wait(arguments: Args<'_>) -> Result<(), &'static str> {
    let &[replicas, timeout] = arguments else { unreachable!("the arity was checked") };
    parse_integer(replicas).ok_or("ERR value is not an integer or out of range")?;
    match parse_integer(timeout) {
        None => Err("ERR timeout is not an integer or out of range"),
        Some(..0) => Err("ERR timeout is negative"),
        Some(_) => Ok(()),
    }
}

/// `numlocal numreplicas timeout`, refused in Redis' words.
fn check_wait_aof(arguments: Args<'_>, durability: Durability) -> Result<(), &'static str> {
    let &[local, ref rest @ ..] = arguments else { unreachable!("the arity was checked") };
    match parse_integer(local).ok_or("ERR value is not an integer or out of range")? {
        0 => {}
        1 if durability == Durability::Memory => {
            return Err("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
        }
        1 => {}
        _ => return Err("ERR value is out of range, value must between 0 and 1"),
    }
    match parse_integer(rest[0]) {
        Some(..0) => Err("ERR value is out of range, must be positive"),
        _ => check_wait(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { copies: 3, is_memory: false };

    fn parse(text: &str, protocol: Protocol) -> Result<Consistency, String> {
        let args: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
        parse_consistency(&args, Consistency::default(), (BOUNDS, protocol))
    }

    #[test]
    fn a_connection_says_what_it_wants() {
        let mut expected = Consistency::default();
        expected.set(Count::R, 3);
        expected.set(Count::Dw, 0);
        assert_eq!(parse("r 3 DW 0", Protocol::Resp2), Ok(expected));
        expected.attributes = true;
        assert_eq!(parse("R 3 DW 0 attributes YES", Protocol::Resp3), Ok(expected));
        let bad = [
            ("R", "ERR syntax error"),
            ("W 4", "ERR W must be an integer from 1 to 3: a key has 3 copies"),
            ("N 3", "ERR DYN.CONSISTENCY has no option 'N'; it has R, W, PR, PW, DW and ATTRIBUTES"),
            ("ATTRIBUTES 1", "ERR ATTRIBUTES must be yes or no"),
            ("ATTRIBUTES yes", "ERR only RESP3 has attributes: send HELLO 3 first"),
        ];
        for (text, expected) in bad {
            assert_eq!(parse(text, Protocol::Resp2).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_in_force_is_a_map() {
        let quorum = Quorum { n: 3, r: 2, w: 2, pr: 0, pw: 0, dw: 1 };
        let mut out = Vec::new();
        write_consistency(&mut out, Protocol::Resp3, &quorum, true);
        let reply = String::from_utf8(out).unwrap().replace("\r\n", "|");
        assert_eq!(reply, "%7|$1|n|:3|$1|r|:2|$1|w|:2|$2|pr|:0|$2|pw|:0|$2|dw|:1|$10|attributes|$3|yes|");
    }

    #[test]
    fn arguments_of_wait_are_those_of_redis() {
        let args = |text: &'static str| -> Vec<&'static [u8]> { text.split(' ').map(str::as_bytes).collect() };
        let (sync, memory) = (Durability::Sync, Durability::Memory);
        for good in ["5 0", "0 100", "-1 0"] {
            assert_eq!(check_wait(&args(good)), Ok(()), "{good}");
        }
        assert_eq!(check_wait(&args("x 0")), Err("ERR value is not an integer or out of range"));
        assert_eq!(check_wait(&args("1 x")), Err("ERR timeout is not an integer or out of range"));
        assert_eq!(check_wait(&args("1 -1")), Err("ERR timeout is negative"));
        assert_eq!(check_wait_aof(&args("1 5 0"), sync), Ok(()));
        assert_eq!(check_wait_aof(&args("0 5 0"), memory), Ok(()));
        let bad = [
            ("x 5 0", "ERR value is not an integer or out of range"),
            ("2 5 0", "ERR value is out of range, value must between 0 and 1"),
            ("0 -1 0", "ERR value is out of range, must be positive"),
            ("0 x 0", "ERR value is not an integer or out of range"),
            ("0 5 -1", "ERR timeout is negative"),
        ];
        for (text, expected) in bad {
            assert_eq!(check_wait_aof(&args(text), sync), Err(expected), "{text}");
        }
        let no_log = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
        assert_eq!(check_wait_aof(&args("1 5 0"), memory), Err(no_log));
    }
}
