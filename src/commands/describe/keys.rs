//! COMMAND GETKEYS and GETKEYSANDFLAGS: the keys of a full command, and what it does to them.

use annulus_net::resp::Protocol;
use annulus_net::resp::writer as write;

use super::statuses;
use crate::commands::Args;
use crate::commands::table::{self, Command, Row, access};

/// Answers COMMAND GETKEYS; the arguments are the full command's.
pub(super) fn keys(out: &mut Vec<u8>, args: Args<'_>) {
    match row_with_keys(args) {
        Err(text) => write::error(out, text),
        Ok(row) => {
            let positions = row.key_positions(args.len());
            write::array_header(out, positions.len());
            positions.for_each(|at| write::bulk(out, args[at]));
        }
    }
}

/// Answers COMMAND GETKEYSANDFLAGS; the arguments are the full command's.
pub(super) fn keys_and_flags(out: &mut Vec<u8>, protocol: Protocol, args: Args<'_>) {
    match row_with_keys(args) {
        Err(text) => write::error(out, text),
        Ok(row) => {
            let positions = row.key_positions(args.len());
            let access = access_of(row, args);
            write::array_header(out, positions.len());
            for at in positions {
                write::array_header(out, 2);
                write::bulk(out, args[at]);
                statuses(out, protocol, table::names(access, access::NAMES));
            }
        }
    }
}

fn row_with_keys(args: Args<'_>) -> Result<&'static Row, &'static str> {
    let name = args.first().ok_or("ERR Invalid command specified")?;
    let row = table::resolve(name, args.get(1).copied()).ok();
    let row = row.filter(|row| row.command().is_some()).ok_or("ERR Invalid command specified")?;
    if row.keys.is_none() {
        return Err("ERR The command has no key arguments");
    }
    if !row.check_arity(args.len()) {
        return Err("ERR Invalid number of arguments specified for command");
    }
    Ok(row)
}

/// SET alone does something else to its key when an option says so.
fn access_of(row: &Row, args: Args<'_>) -> u32 {
    if row.command() != Some(Command::Set) {
        return row.access;
    }
    let reads = args.iter().skip(3).any(|option| option.eq_ignore_ascii_case(b"GET"));
    if reads { access::RW | access::ACCESS | access::UPDATE } else { access::OW | access::UPDATE }
}
