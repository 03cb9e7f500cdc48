//! Parts of commands on all keys that cores of other nodes run for this one: how they travel, which may, and what is waited for.
//!
//! ```text
//!  Channel::Command    token u64 | flags u32 | RESP command
//!  Channel::Reply      token u64 | RESP reply                       little-endian; the token is the asker's
//! ```
//!
//! The lowest bit of the flags says RESP3, the 16 above it are a partition, all others 0. The partition is that of a command on a slot, and of SCAN says where the walk ends
//! ([`step_until`]). What comes from another node is checked, for it may have another version, or a bug: neither a command nor a
//! reply is taken that could not be what it is said to be.
//!
//! Invariant: what is waited for is bounded, and each part of it ends once: with its reply, by its deadline, or with its node.

mod asked;
mod served;
#[cfg(test)]
mod tests;

use annulus_net::resp::Protocol;
use annulus_net::resp::reader::{array_items, read_bulk, read_integer, reply_end};
use annulus_net::resp::writer;

use crate::commands::Args;
use crate::coverage::Position;
use crate::mesh::RequestFlags;

pub use asked::{Asked, Given};
pub use served::{Part, check, parser};

/// Marks the end of a walk among the partitions of [`RequestFlags`]: there are at most 16384 partitions.
const STEP: u16 = 1 << 15;

/// What stands for the partition of a SCAN that walks up to this partition, exclusive, whoever answers for those before it, and
/// tells its end with the cursor 0.
pub fn step_until(end: u32) -> u16 {
    STEP | u16::try_from(end).expect("at most 16384 partitions")
}

/// The inverse of [`step_until`]; `None` of any other SCAN.
pub fn step_end(partition: u16) -> Option<u32> {
    (partition & STEP != 0).then(|| u32::from(partition & !STEP))
}

/// Appends a message for `Channel::Command`.
pub fn encode_command(out: &mut Vec<u8>, token: u64, flags: RequestFlags, args: Args<'_>) {
    let bits = u32::from(flags.protocol() == Protocol::Resp3) | u32::from(flags.partition()) << 1;
    out.extend_from_slice(&token.to_le_bytes());
    out.extend_from_slice(&bits.to_le_bytes());
    writer::array_header(out, args.len());
    args.iter().for_each(|arg| writer::bulk(out, arg));
}

/// Token, flags and command; `None` of what is none. The command was not looked at.
pub fn decode_command(message: &[u8]) -> Option<(u64, RequestFlags, &[u8])> {
    let (token, rest) = message.split_first_chunk()?;
    let (bits, command) = rest.split_first_chunk()?;
    let bits = u32::from_le_bytes(*bits);
    let protocol = if bits & 1 == 1 { Protocol::Resp3 } else { Protocol::Resp2 };
    let partition = u16::try_from(bits >> 1).ok()?;
    Some((u64::from_le_bytes(*token), RequestFlags::new(protocol, partition), command))
}

/// Appends a message for `Channel::Reply`.
pub fn encode_reply(out: &mut Vec<u8>, token: u64, reply: &[u8]) {
    out.extend_from_slice(&token.to_le_bytes());
    out.extend_from_slice(reply);
}

/// Token and reply; `None` of what is none. The reply was not looked at.
pub fn decode_reply(message: &[u8]) -> Option<(u64, &[u8])> {
    let (token, reply) = message.split_first_chunk()?;
    Some((u64::from_le_bytes(*token), reply))
}

/// What a reply has to be, if it is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A number of keys.
    Count,
    /// Keys.
    Keys,
    /// A key, or null.
    Key,
    /// What a SCAN has found that goes on from here, up to that partition.
    Step {
        /// Where it began.
        from: Position,
        /// Where it ends at the latest.
        end: u32,
    },
}

impl Expected {
    /// Whether a reply is one whole value, and of the right kind.
    pub fn accepts(self, reply: &[u8]) -> bool {
        if reply_end(reply, reply.len()) != Ok(Some(reply.len())) {
            return false;
        }
        match (self, reply[0]) {
            (_, b'-') => true,
            (Self::Count, _) => read_integer(reply).is_some_and(|count| count >= 0),
            (Self::Keys, b'*') => {
                array_items(reply).is_some_and(|mut items| items.all(|item| read_bulk(item).is_some()))
            }
            (Self::Key, _) => read_bulk(reply).is_some() || matches!(reply, b"_\r\n" | b"$-1\r\n"),
            (Self::Step { from, end }, b'*') => read_step(reply, from, end).is_some(),
            _ => false,
        }
    }
}

/// What one core has found for a SCAN on the base port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepReply<'a> {
    /// Where the walk stands now: further than it was.
    pub reached: Position,
    /// Number of keys.
    pub found: usize,
    /// The keys, RESP.
    pub keys: &'a [u8],
}

/// Takes apart the reply to a SCAN that [`step_until`] says the end of; `None` of anything else, an error for example.
pub fn read_step(reply: &[u8], from: Position, end: u32) -> Option<StepReply<'_>> {
    let mut parts = array_items(reply)?;
    let (Some(cursor), Some(keys), None) = (parts.next(), parts.next(), parts.next()) else { return None };
    let cursor = std::str::from_utf8(read_bulk(cursor)?).ok()?.parse::<u64>().ok()?;
    let reached = if cursor == 0 { Position::at(end) } else { Position::from_cursor(cursor, end)? };
    if (reached.partition, reached.hash) <= (from.partition, from.hash) {
        return None;
    }
    let found = array_items(keys)?.map(|key| read_bulk(key).map(|_| key.len())).collect::<Option<Vec<usize>>>()?;
    let keys = &keys[keys.len() - found.iter().sum::<usize>()..];
    Some(StepReply { reached, found: found.len(), keys })
}
