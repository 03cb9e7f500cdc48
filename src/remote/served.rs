//! What a core runs for other nodes: which commands, and that they are whole.
//!
//! Invariant: what was checked here meets no assertion of whoever runs it.

use std::ops::Range;

use annulus_net::limits::Limits;
use annulus_net::resp::{Parsed, Parser};
use smallvec::SmallVec;

use super::step_end;
use crate::commands::table::{self, Command, Row};
use crate::commands::{Args, scan_options};
use crate::coverage::Position;
use crate::limits;
use crate::mesh::RequestFlags;
use crate::slot;

/// A parser for what other nodes send.
pub fn parser() -> Parser {
    let bytes = 2 * limits::REMOTE_COMMAND_BYTES_MAX;
    Parser::new(Limits {
        arguments_max: limits::REMOTE_ARGUMENTS_MAX,
        bulk_bytes_max: bytes,
        command_bytes_max: bytes,
        ..PEER
    })
}

const PEER: Limits = Limits {
    unauthenticated_arguments_max: 1,
    unauthenticated_bulk_bytes_max: 1,
    inline_bytes_max: 64,
    ..Limits::PRODUCTION
};

/// A command of another node, taken apart.
#[derive(Debug)]
pub struct Part<'a> {
    /// Which.
    pub row: &'static Row,
    /// Its arguments, its name first.
    pub args: SmallVec<[&'a [u8]; 8]>,
}

/// Checks a command for a core that has the partitions `owned` of `partitions`. The error is for the node that sent it.
pub fn check<'a>(
    parser: &mut Parser,
    (flags, command): (RequestFlags, &'a [u8]),
    owned: Range<u32>,
    partitions: u32,
) -> Result<Part<'a>, &'static str> {
    let parsed = parser.parse(command, true);
    if !matches!(parsed, Ok(Parsed::Command { consumed }) if consumed == command.len()) {
        parser.reset();
        return Err("ERR another node sent what is no command");
    }
    let args: SmallVec<[&[u8]; 8]> = match parser.arguments_in(command) {
        Some(args) => args.collect(),
        None => return Err("ERR another node sent an inline command"),
    };
    let name = *args.first().ok_or("ERR another node sent an empty command")?;
    let row = table::resolve(name, args.get(1).copied()).map_err(|_| "ERR another node sent an unknown command")?;
    if !row.check_arity(args.len()) {
        return Err("ERR another node sent a command with a wrong number of arguments");
    }
    check_arguments(row, &args, flags.partition(), (owned, partitions))?;
    Ok(Part { row, args })
}

fn check_arguments(
    row: &'static Row,
    args: Args<'_>,
    partition: u16,
    (owned, partitions): (Range<u32>, u32),
) -> Result<(), &'static str> {
    match row.command() {
        Some(Command::DbSize | Command::RandomKey | Command::Keys) => Ok(()),
        Some(Command::Scan) => {
            let options = scan_options::parse(args)?;
            let from = Position::from_cursor(options.cursor, partitions).ok_or("ERR invalid cursor")?;
            let end = step_end(partition).ok_or("ERR another node sent a SCAN without an end")?;
            let is_here = owned.contains(&from.partition) && from.partition < end && end <= owned.end;
            if is_here { Ok(()) } else { Err("ERR another node asked for partitions that this core does not have") }
        }
        Some(Command::ClusterCountKeysInSlot | Command::ClusterGetKeysInSlot) => {
            let of_slot = slot::partition(slot::parse(args[2])?, partitions);
            let is_here = of_slot == partition && owned.contains(&u32::from(partition));
            if is_here { Ok(()) } else { Err("ERR another node asked for a slot that this core does not have") }
        }
        _ => Err("ERR another node sent a command that nodes do not run for each other"),
    }
}
