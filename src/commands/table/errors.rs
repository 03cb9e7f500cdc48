//! Error replies that come from the table, in Redis 7.2's words, and the refusals in ours.
//!
//! Each function appends one complete RESP error. Text from the client may hold any bytes: line ends
//! become blanks, and a zero byte ends a quoted argument, as in Redis.

use super::{Refusal, Row, Service};

/// Longest quotation of a name, and of all arguments together before the last one's quotes.
const QUOTED_BYTES_MAX: usize = 128;

/// `ERR unknown command 'x', with args beginning with: 'a' 'b' `; the arguments are those after the name.
pub fn unknown_command<'a>(out: &mut Vec<u8>, name: &[u8], arguments: impl Iterator<Item = &'a [u8]>) {
    let mut quoted = Vec::with_capacity(QUOTED_BYTES_MAX + 8);
    for argument in arguments {
        if quoted.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let room = QUOTED_BYTES_MAX - quoted.len();
        quoted.push(b'\'');
        quoted.extend_from_slice(cut(argument, room));
        quoted.extend_from_slice(b"' ");
    }
    let name = cut(name, QUOTED_BYTES_MAX);
    error(out, &[b"ERR unknown command '", name, b"', with args beginning with: ", &quoted]);
}

/// `ERR unknown subcommand 'x'. Try CLIENT HELP.`
pub fn unknown_subcommand(out: &mut Vec<u8>, container: &Row, subcommand: &[u8]) {
    let subcommand = cut(subcommand, QUOTED_BYTES_MAX);
    let container = container.title();
    error(out, &[b"ERR unknown subcommand '", subcommand, b"'. Try ", container.as_bytes(), b" HELP."]);
}

/// `ERR wrong number of arguments for 'get' command`
pub fn wrong_arity(out: &mut Vec<u8>, row: &Row) {
    error(out, &[b"ERR wrong number of arguments for '", row.name.as_bytes(), b"' command"]);
}

/// The refusal of a row that is not served: `ERR INCR is not served by Annulus: why; instead`.
///
/// # Panics
/// When the row is served.
pub fn refused(out: &mut Vec<u8>, row: &Row) {
    let Service::Refused(refusal) = row.service else {
        panic!("{} is served", row.name);
    };
    refuse(out, &row.title(), &refusal);
}

/// The same for an option of a served command: `SET NX`, `SELECT 1`.
pub fn refuse(out: &mut Vec<u8>, what: &str, refusal: &Refusal) {
    let Refusal { why, instead } = refusal;
    let text = format!("ERR {what} is not served by Annulus: {why}; {instead}");
    error(out, &[text.as_bytes()]);
}

fn cut(text: &[u8], bytes_max: usize) -> &[u8] {
    let text = &text[..text.len().min(bytes_max)];
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn error(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(b'-');
    for part in parts {
        out.extend(part.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    }
    out.extend_from_slice(b"\r\n");
}
