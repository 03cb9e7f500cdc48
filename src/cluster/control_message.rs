//! What control planes say to each other over the reliable transport: what does not fit a datagram.
//!
//! ```text
//! 0  1  format: 1
//! 1  1  kind
//! 2  2  flags of the kind; otherwise zero
//! 4  4  bytes of the body
//! 8     the body
//! ```
//!
//! | kind | asks or says | body |
//! |---|---|---|
//! | 1 AskMembers | who is there? | |
//! | 2 Members | these are | as the failure detector writes them |
//! | 3 Compare | my map has these entries: send what I lack, ask for what you lack | node (6), version (8), digest (8) each, ascending |
//! | 4 Pull | send me these entries | node (6) each, ascending |
//! | 5 Entries | here they are; flag 1: an answer to Compare, flag 2: the last of an answer | node (6), bytes (4), the entry each |
//! | 6 Probe, 7 ProbeReply | do you answer? I do | number (8) |
//!
//! Numbers have their lowest byte first. The transport keeps messages whole and knows from whom they are.
//!
//! Invariant: a [`ControlMessage`] comes from bytes that were checked to their end, so walking its parts cannot fail.

use bytemuck::{Pod, Zeroable};

use crate::checked_bytes::{CheckedBytes, write_node};
use crate::datagram::News;
use crate::ids::NodeId;
use crate::limits::ControlLimits;

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = size_of::<Header>();
const ANSWERS_COMPARE: u16 = 1;
const IS_LAST: u16 = 2;
/// In front of each entry.
const ENTRY_HEAD_BYTES: usize = 6 + 4;

const ASK_MEMBERS: u8 = 1;
const MEMBERS: u8 = 2;
const COMPARE: u8 = 3;
const PULL: u8 = 4;
const ENTRIES: u8 = 5;
const PROBE: u8 = 6;
const PROBE_REPLY: u8 = 7;

/// As it is sent.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    format: u8,
    kind: u8,
    flags: [u8; 2],
    body_bytes: [u8; 4],
}

/// Why a message is dropped, and the connection with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// The sender speaks a format that this build does not know.
    #[error("unknown format {0}")]
    Format(u8),
    /// The sender says something that this build does not know.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// More than any message may have.
    #[error("too long")]
    TooLong,
    /// Cut, or no encoder writes it.
    #[error("malformed")]
    Malformed,
}

/// Bytes that nobody has vouched for.
#[derive(Debug, Clone, Copy)]
pub struct Unchecked<'a>(pub &'a [u8]);

/// One message.
#[derive(Debug, Clone, Copy)]
pub enum ControlMessage<'a> {
    /// Who is there?
    AskMembers,
    /// What the failure detector wrote; it checks it.
    Members(&'a [u8]),
    /// What the sender's map has.
    Compare(Stamps<'a>),
    /// What the sender wants.
    Pull(Nodes<'a>),
    /// What the receiver asked for, or part of it.
    Entries {
        /// Node and bytes of each.
        entries: Entries<'a>,
        /// To a Compare, not to a Pull.
        answers_compare: bool,
        /// Nothing more follows on that question.
        is_last: bool,
    },
    /// Do you answer?
    Probe(u64),
    /// I do.
    ProbeReply(u64),
}

/// Entries that a map has.
#[derive(Debug, Clone, Copy)]
pub struct Stamps<'a>(&'a [u8]);

impl<'a> Stamps<'a> {
    /// Ascending by node.
    pub fn iter(&self) -> impl Iterator<Item = News> + use<'a> {
        let mut bytes = CheckedBytes::new(self.0);
        std::iter::from_fn(move || News::read(&mut bytes))
    }
}

/// Nodes whose entries are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Nodes<'a>(&'a [u8]);

impl<'a> Nodes<'a> {
    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + use<'a> {
        let mut bytes = CheckedBytes::new(self.0);
        std::iter::from_fn(move || bytes.node())
    }
}

/// Encoded entries; the map checks each.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a>(&'a [u8]);

impl<'a> Entries<'a> {
    /// In the sender's order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &'a [u8])> + use<'a> {
        let mut bytes = CheckedBytes::new(self.0);
        std::iter::from_fn(move || read_entry(&mut bytes))
    }
}

fn read_entry<'a>(bytes: &mut CheckedBytes<'a>) -> Option<(NodeId, &'a [u8])> {
    let node = bytes.node()?;
    let count = usize::try_from(bytes.u32()?).ok()?;
    Some((node, bytes.take(count)?))
}

impl<'a> Unchecked<'a> {
    /// Checks everything but what the failure detector and the map check themselves.
    ///
    /// # Errors
    ///
    /// See [`BadMessage`].
    pub fn check(self, limits: &ControlLimits) -> Result<ControlMessage<'a>, BadMessage> {
        if self.0.len() > message_bytes_most(limits) {
            return Err(BadMessage::TooLong);
        }
        let (head, body) = self.0.split_at_checked(HEADER_BYTES).ok_or(BadMessage::Malformed)?;
        let header: Header = bytemuck::pod_read_unaligned(head);
        if header.format != FORMAT {
            return Err(BadMessage::Format(header.format));
        }
        if usize::try_from(u32::from_le_bytes(header.body_bytes)) != Ok(body.len()) {
            return Err(BadMessage::Malformed);
        }
        let flags = u16::from_le_bytes(header.flags);
        let known_flags = if header.kind == ENTRIES { ANSWERS_COMPARE | IS_LAST } else { 0 };
        if flags & !known_flags != 0 {
            return Err(BadMessage::Malformed);
        }
        check_body(header.kind, flags, body, limits)
    }
}

fn check_body<'a>(
    kind: u8,
    flags: u16,
    body: &'a [u8],
    limits: &ControlLimits,
) -> Result<ControlMessage<'a>, BadMessage> {
    let mut bytes = CheckedBytes::new(body);
    let message = match kind {
        ASK_MEMBERS => ControlMessage::AskMembers,
        MEMBERS => return Ok(ControlMessage::Members(body)),
        COMPARE => {
            ascend(limits, || News::read(&mut bytes).map(|news| news.node))?;
            ControlMessage::Compare(Stamps(body))
        }
        PULL => {
            ascend(limits, || bytes.node())?;
            ControlMessage::Pull(Nodes(body))
        }
        ENTRIES => {
            while let Some((_, entry)) = read_entry(&mut bytes) {
                if entry.len() > limits.entry_bytes_max {
                    return Err(BadMessage::Malformed);
                }
            }
            let (answers_compare, is_last) = (flags & ANSWERS_COMPARE != 0, flags & IS_LAST != 0);
            ControlMessage::Entries { entries: Entries(body), answers_compare, is_last }
        }
        PROBE => ControlMessage::Probe(bytes.u64().ok_or(BadMessage::Malformed)?),
        PROBE_REPLY => ControlMessage::ProbeReply(bytes.u64().ok_or(BadMessage::Malformed)?),
        kind => return Err(BadMessage::Kind(kind)),
    };
    if bytes.rest().is_empty() { Ok(message) } else { Err(BadMessage::Malformed) }
}

/// Walks nodes that have to ascend; stops at the first thing that is none.
fn ascend(limits: &ControlLimits, mut next: impl FnMut() -> Option<NodeId>) -> Result<(), BadMessage> {
    let (mut last, mut count) = (None, 0);
    while let Some(node) = next() {
        count += 1;
        if last.replace(node) >= Some(node) || count > limits.entries_max() {
            return Err(BadMessage::Malformed);
        }
    }
    Ok(())
}

/// A message with entries has one more than fits, or one question about all members.
fn message_bytes_most(limits: &ControlLimits) -> usize {
    HEADER_BYTES + limits.message_bytes_max.max(limits.entries_max() * 64)
}

fn write(kind: u8, flags: u16, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    body(out);
    let body_bytes = u32::try_from(out.len() - start - HEADER_BYTES).expect("limits: a message fits a span");
    let header = Header { format: FORMAT, kind, flags: flags.to_le_bytes(), body_bytes: body_bytes.to_le_bytes() };
    out[start..start + HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
}

/// Appends [`ControlMessage::AskMembers`].
pub fn write_ask_members(out: &mut Vec<u8>) {
    write(ASK_MEMBERS, 0, out, |_| {});
}

/// Appends [`ControlMessage::Members`] with a body that `members` appends.
pub fn write_members(out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
    write(MEMBERS, 0, out, members);
}

/// Appends [`ControlMessage::Compare`]; the stamps ascend by node.
pub fn write_compare(out: &mut Vec<u8>, stamps: impl Iterator<Item = News>) {
    write(COMPARE, 0, out, |out| stamps.for_each(|stamp| stamp.write(out)));
}

/// Appends [`ControlMessage::Pull`]; the nodes ascend.
pub fn write_pull(out: &mut Vec<u8>, nodes: impl Iterator<Item = NodeId>) {
    write(PULL, 0, out, |out| nodes.for_each(|node| write_node(node, out)));
}

/// Appends [`ControlMessage::Entries`] with as many of the nodes' entries as fit; `entry` appends one, or nothing where there
/// is none. The nodes that are left over are for the next message.
pub fn write_entries(
    out: &mut Vec<u8>,
    answers_compare: bool,
    nodes: &mut std::iter::Peekable<impl Iterator<Item = NodeId>>,
    mut entry: impl FnMut(NodeId, &mut Vec<u8>),
    limits: &ControlLimits,
) {
    let start = out.len();
    write(ENTRIES, 0, out, |out| {
        while out.len() - start + ENTRY_HEAD_BYTES + limits.entry_bytes_max <= limits.message_bytes_max
            && let Some(node) = nodes.next()
        {
            let head = out.len();
            write_node(node, out);
            out.extend_from_slice(&[0; 4]);
            entry(node, out);
            let count = out.len() - head - ENTRY_HEAD_BYTES;
            assert!(count <= limits.entry_bytes_max, "the map keeps its entries within the limit");
            if count == 0 {
                out.truncate(head);
            } else {
                let count = u32::try_from(count).expect("limits: an entry fits a message").to_le_bytes();
                out[head + 6..head + ENTRY_HEAD_BYTES].copy_from_slice(&count);
            }
        }
    });
    let answers = if answers_compare { ANSWERS_COMPARE } else { 0 };
    let last = if nodes.peek().is_none() { IS_LAST } else { 0 };
    out[start + 2..start + 4].copy_from_slice(&(answers | last).to_le_bytes());
}

/// Appends [`ControlMessage::Probe`].
pub fn write_probe(out: &mut Vec<u8>, number: u64) {
    write(PROBE, 0, out, |out| out.extend_from_slice(&number.to_le_bytes()));
}

/// Appends [`ControlMessage::ProbeReply`].
pub fn write_probe_reply(out: &mut Vec<u8>, number: u64) {
    write(PROBE_REPLY, 0, out, |out| out.extend_from_slice(&number.to_le_bytes()));
}

#[cfg(test)]
mod tests;
