//! What two owners of a partition say to each other while they compare what they have.
//!
//! ```text
//! root read    cut u64 │ root u128
//! equal        nothing
//! differs      nothing; detail: bits of the leaves
//! refused      epoch u64; detail: why, from 1 on
//! sums read    cut u64 │ bits of the parents u8; detail: bits of the level    rest: nodes, u32 each, ascending
//! sums         nothing                                                        rest: sums, u64 each
//! keys read    from u64 │ to u64
//! keys         next u64; flags: next                                          rest: hash u64 │ u8 │ form u8 │ versions
//! wanted       nothing                                                        rest: hash u64 │ u8, ascending
//!
//! versions     form 0: bytes u32 │ all of it; form 1: clock u64 │ actor u64, a lone sibling that is all that was seen; form 2:
//!              the same of one that deletes
//! ```
//!
//! Nearly every key is of form 1, and keys are most of what is said when much differs: it halves that.
//!
//! Invariant: what was checked is in its ranges and its order; see [`crate::message`].

use annulus_object::{Actor, Clock, Dot};

use super::{MessageError, decode::check_clock};
use crate::checked_bytes::CheckedBytes;
use crate::store::{LEAF_BITS_MAX, Versions, VersionsView};

/// The kinds, as numbered on the wire.
const ROOT_READ: u8 = 11;
const EQUAL: u8 = 12;
const DIFFERS: u8 = 13;
const REFUSED: u8 = 14;
const SUMS_READ: u8 = 15;
const SUMS: u8 = 16;
const KEYS_READ: u8 = 17;
const KEYS: u8 = 18;
const WANTED: u8 = 19;

/// Forms of a key's versions.
const FULL: u8 = 0;
const LONE: u8 = 1;
const LONE_DELETES: u8 = 2;

/// The only flag: of [`ExchangeMessage::Keys`].
const HAS_NEXT: u8 = 1;
/// A level has at most so many nodes below each of the one asked before.
pub(crate) const STEP_BITS: u32 = 6;
/// Bits of a key's hash that are not told: stores need not know them.
const UNTOLD_BITS: u32 = 56;

/// See the module. Hashes are the upper 72 bits of a key's keyed hash, zeros follow; ranges of keys are of the upper 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeMessage<'a> {
    /// Is your tree the same at this cut?
    RootRead {
        /// The last epoch that counts.
        cut: u64,
        /// Of the asker's tree at the cut.
        root: u128,
    },
    /// It is.
    Equal,
    /// It is not.
    Differs {
        /// The sender's tree has 2^this leaves.
        leaf_bits: u8,
    },
    /// The sender cannot be compared with.
    Refused {
        /// Why not.
        why: ExchangeRefusal,
        /// Its own epoch.
        epoch: u64,
    },
    /// Which sums has the level of 2^`bits` nodes, below these nodes of the level of 2^`parent_bits`?
    SumsRead {
        /// The last epoch that counts.
        cut: u64,
        /// See above.
        parent_bits: u8,
        /// See above; at most 6 more.
        bits: u8,
        /// The nodes, ascending.
        nodes: NodeList<'a>,
    },
    /// These, node by node.
    Sums(SumList<'a>),
    /// Which versions have keys of this range?
    KeysRead {
        /// The first upper 64 bits of a hash.
        from: u64,
        /// The last.
        to: u64,
    },
    /// These, in the order of the hashes.
    Keys {
        /// More of the range is from here on.
        next: Option<u64>,
        /// The keys.
        keys: KeyList<'a>,
    },
    /// Send these objects, if you have them: the sender lacks some of them.
    Wanted(HashList<'a>),
}

/// Why a node does not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeRefusal {
    /// Its ring is another, or names one of the two no owner.
    Ring,
    /// Its clock has not come to the cut.
    Behind,
    /// Its tree has fewer leaves by now.
    Leaves,
}

const REFUSALS: [ExchangeRefusal; 3] = [ExchangeRefusal::Ring, ExchangeRefusal::Behind, ExchangeRefusal::Leaves];

/// Checked numbers of nodes of a tree's level, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeList<'a>(&'a [u8]);

impl<'a> NodeList<'a> {
    /// What [`write_nodes`] has written.
    pub(crate) const fn written(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The nodes.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.0.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// Appends the nodes of a [`NodeList`].
pub(crate) fn write_nodes(nodes: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    nodes.for_each(|node| out.extend_from_slice(&node.to_le_bytes()));
}

/// Checked sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SumList<'a>(&'a [u8]);

impl<'a> SumList<'a> {
    /// Sums, of eight bytes each.
    pub(crate) const fn written(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The sums.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        self.0.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

/// Checked hashes, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashList<'a>(&'a [u8]);

impl<'a> HashList<'a> {
    /// What [`write_hash`] has written, in ascending order.
    pub(crate) const fn written(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The hashes.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u128> + use<'a> {
        self.0.as_chunks().0.iter().map(read_hash)
    }
}

/// Appends the part of a hash that is told.
pub(crate) fn write_hash(hash: u128, out: &mut Vec<u8>) {
    out.extend_from_slice(&((hash >> 64) as u64).to_le_bytes());
    out.push((hash >> UNTOLD_BITS) as u8);
}

fn read_hash(bytes: &[u8; 9]) -> u128 {
    let high = u64::from_le_bytes(*bytes.first_chunk().expect("nine bytes"));
    u128::from(high) << 64 | u128::from(bytes[8]) << UNTOLD_BITS
}

/// What is told of a key's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldVersions<'a> {
    /// One sibling, which is all that was seen, and whether it deletes.
    Lone(Dot, bool),
    /// Anything else.
    Full(VersionsView<'a>),
}

impl ToldVersions<'_> {
    /// The versions as a value, into memory that is there.
    pub fn copy_to(self, versions: &mut Versions) {
        match self {
            Self::Full(view) => view.copy_to(versions),
            Self::Lone(dot, deletes) => {
                versions.clear();
                versions.siblings.push((dot, deletes));
                versions.context.insert(dot);
            }
        }
    }
}

/// Checked keys and their versions, in the order of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyList<'a>(&'a [u8]);

impl<'a> KeyList<'a> {
    /// What [`write_key`] has written, in the order of the hashes.
    pub(crate) const fn written(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Hashes and versions.
    pub fn iter(self) -> impl Iterator<Item = (u128, ToldVersions<'a>)> {
        let mut rest = CheckedBytes::new(self.0);
        std::iter::from_fn(move || read_key(&mut rest).map(|key| key.expect("checked with the message")))
    }
}

/// Appends a key of a [`KeyList`].
pub(crate) fn write_key(hash: u128, versions: &Versions, out: &mut Vec<u8>) {
    write_hash(hash, out);
    if let Some((dot, deletes)) = versions.lone() {
        out.push(if deletes { LONE_DELETES } else { LONE });
        out.extend_from_slice(&dot.clock.raw().to_le_bytes());
        out.extend_from_slice(&dot.actor.raw().to_le_bytes());
        return;
    }
    out.push(FULL);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    versions.encode(out);
    let bytes = u32::try_from(out.len() - start - 4).expect("versions are small");
    out[start..start + 4].copy_from_slice(&bytes.to_le_bytes());
}

/// The next key; `None` at the end.
fn read_key<'a>(rest: &mut CheckedBytes<'a>) -> Option<Result<(u128, ToldVersions<'a>), MessageError>> {
    if rest.rest().is_empty() {
        return None;
    }
    let read = |rest: &mut CheckedBytes<'a>| {
        let hash = rest.take(9).and_then(<[u8]>::first_chunk).map(read_hash).ok_or(MessageError::Truncated)?;
        let form = rest.u8().ok_or(MessageError::Truncated)?;
        if let LONE | LONE_DELETES = form {
            let (clock, actor) = rest.u64().zip(rest.u64()).ok_or(MessageError::Truncated)?;
            let clock = Clock::from_raw(clock).filter(|clock| *clock != Clock::ZERO).ok_or(MessageError::Field)?;
            check_clock(clock)?;
            return Ok((hash, ToldVersions::Lone(Dot::new(clock, Actor::from_raw(actor)), form == LONE_DELETES)));
        }
        if form != FULL {
            return Err(MessageError::Field);
        }
        let bytes = rest.u32().ok_or(MessageError::Truncated)? as usize;
        let versions = VersionsView::check(rest.take(bytes).ok_or(MessageError::Truncated)?)?;
        check_clock(versions.context().highest())?;
        if versions.is_lone() {
            return Err(MessageError::Field);
        }
        Ok((hash, ToldVersions::Full(versions)))
    };
    Some(read(rest))
}

impl<'a> ExchangeMessage<'a> {
    /// Whether one core asks another for this, and does not answer.
    pub(crate) const fn is_question(&self) -> bool {
        matches!(self, Self::RootRead { .. } | Self::SumsRead { .. } | Self::KeysRead { .. } | Self::Wanted(_))
    }

    /// Kind, flags, detail.
    pub(super) fn head(&self) -> (u8, u8, u8) {
        match self {
            Self::RootRead { .. } => (ROOT_READ, 0, 0),
            Self::Equal => (EQUAL, 0, 0),
            Self::Differs { leaf_bits } => (DIFFERS, 0, *leaf_bits),
            Self::Refused { why, .. } => {
                let number = REFUSALS.iter().position(|other| other == why).expect("all are numbered");
                (REFUSED, 0, number as u8 + 1)
            }
            Self::SumsRead { bits, .. } => (SUMS_READ, 0, *bits),
            Self::Sums(_) => (SUMS, 0, 0),
            Self::KeysRead { .. } => (KEYS_READ, 0, 0),
            Self::Keys { next, .. } => (KEYS, if next.is_some() { HAS_NEXT } else { 0 }, 0),
            Self::Wanted(_) => (WANTED, 0, 0),
        }
    }

    pub(super) fn body(&self, out: &mut Vec<u8>) {
        match self {
            Self::RootRead { cut, root } => {
                out.extend_from_slice(&cut.to_le_bytes());
                out.extend_from_slice(&root.to_le_bytes());
            }
            Self::Refused { epoch, .. } => out.extend_from_slice(&epoch.to_le_bytes()),
            Self::SumsRead { cut, parent_bits, .. } => {
                out.extend_from_slice(&cut.to_le_bytes());
                out.push(*parent_bits);
            }
            Self::KeysRead { from, to } => {
                out.extend_from_slice(&from.to_le_bytes());
                out.extend_from_slice(&to.to_le_bytes());
            }
            Self::Keys { next, .. } => out.extend_from_slice(&next.unwrap_or_default().to_le_bytes()),
            Self::Equal | Self::Differs { .. } | Self::Sums(_) | Self::Wanted(_) => {}
        }
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        match self {
            Self::SumsRead { nodes, .. } => nodes.0,
            Self::Sums(sums) => sums.0,
            Self::Keys { keys, .. } => keys.0,
            Self::Wanted(hashes) => hashes.0,
            _ => &[],
        }
    }

    /// From what a message has behind its header; `None` for a kind of something else.
    pub(super) fn decode(
        kind: u8,
        (flags, detail): (u8, u8),
        bytes: &'a [u8],
    ) -> Option<Result<ExchangeMessage<'a>, MessageError>> {
        if !(ROOT_READ..=WANTED).contains(&kind) {
            return None;
        }
        let mut body = CheckedBytes::new(bytes);
        let message = read(kind, (flags, detail), &mut body);
        Some(message.and_then(|message| {
            let message = message.ok_or(MessageError::Truncated)?;
            let has_all = message.rest().len() == body.rest().len();
            // What a kind does not use is zero, and nothing is left over.
            if message.head() != (kind, flags, detail) {
                Err(MessageError::Field)
            } else if has_all {
                Ok(message)
            } else {
                Err(MessageError::Length)
            }
        }))
    }
}

/// `None` where the bytes end too early.
fn read<'a>(
    kind: u8,
    (flags, detail): (u8, u8),
    body: &mut CheckedBytes<'a>,
) -> Result<Option<ExchangeMessage<'a>>, MessageError> {
    let u128 = |body: &mut CheckedBytes<'_>| body.octets().map(u128::from_le_bytes);
    Ok(match kind {
        ROOT_READ => body.u64().zip(u128(body)).map(|(cut, root)| ExchangeMessage::RootRead { cut, root }),
        EQUAL => Some(ExchangeMessage::Equal),
        DIFFERS if u32::from(detail) <= LEAF_BITS_MAX => Some(ExchangeMessage::Differs { leaf_bits: detail }),
        REFUSED => {
            let why = usize::from(detail).checked_sub(1).and_then(|number| REFUSALS.get(number));
            let why = *why.ok_or(MessageError::Field)?;
            body.u64().map(|epoch| ExchangeMessage::Refused { why, epoch })
        }
        SUMS_READ => match body.u64().zip(body.u8()) {
            Some((cut, parent_bits)) => {
                let nodes = check_nodes(body.rest(), (parent_bits, detail))?;
                Some(ExchangeMessage::SumsRead { cut, parent_bits, bits: detail, nodes })
            }
            None => None,
        },
        SUMS => Some(ExchangeMessage::Sums(SumList(check_width(body.rest(), 8)?))),
        KEYS_READ => match body.u64().zip(body.u64()) {
            Some((from, to)) if from > to => return Err(MessageError::Field),
            range => range.map(|(from, to)| ExchangeMessage::KeysRead { from, to }),
        },
        KEYS => match body.u64() {
            Some(next) => {
                let next = check_next(next, flags)?;
                Some(ExchangeMessage::Keys { next, keys: check_keys(body.rest(), next)? })
            }
            None => None,
        },
        WANTED => Some(ExchangeMessage::Wanted(check_hashes(body.rest())?)),
        _ => return Err(MessageError::Field),
    })
}

fn check_width(bytes: &[u8], width: usize) -> Result<&[u8], MessageError> {
    if bytes.len().is_multiple_of(width) { Ok(bytes) } else { Err(MessageError::Truncated) }
}

fn check_nodes(bytes: &[u8], (parent_bits, bits): (u8, u8)) -> Result<NodeList<'_>, MessageError> {
    let (parent_bits, bits) = (u32::from(parent_bits), u32::from(bits));
    if bits > LEAF_BITS_MAX || !(parent_bits..=parent_bits + STEP_BITS).contains(&bits) {
        return Err(MessageError::Field);
    }
    let nodes = NodeList(check_width(bytes, 4)?);
    let ascend = nodes.iter().zip(nodes.iter().skip(1)).all(|(node, next)| node < next);
    let are_below = nodes.iter().all(|node| node >> parent_bits == 0);
    if ascend && are_below { Ok(nodes) } else { Err(MessageError::Field) }
}

fn check_next(next: u64, flags: u8) -> Result<Option<u64>, MessageError> {
    match (next, flags & HAS_NEXT != 0) {
        (next, true) => Ok(Some(next)),
        (0, false) => Ok(None),
        _ => Err(MessageError::Field),
    }
}

fn check_keys(bytes: &[u8], next: Option<u64>) -> Result<KeyList<'_>, MessageError> {
    let (mut rest, mut last) = (CheckedBytes::new(bytes), None);
    while let Some(key) = read_key(&mut rest) {
        let (hash, _) = key?;
        if last.is_some_and(|last| last >= hash) || next.is_some_and(|next| (hash >> 64) as u64 >= next) {
            return Err(MessageError::Field);
        }
        last = Some(hash);
    }
    Ok(KeyList(bytes))
}

fn check_hashes(bytes: &[u8]) -> Result<HashList<'_>, MessageError> {
    let hashes = HashList(check_width(bytes, 9)?);
    let ascend = hashes.iter().zip(hashes.iter().skip(1)).all(|(hash, next)| hash < next);
    if ascend { Ok(hashes) } else { Err(MessageError::Field) }
}
