//! The map as bytes, for peers and for the disk.
//!
//! ```text
//! bytes  little endian
//!     1  format, 1
//!     2  nodes
//!        of each node, ascending:
//!     8    id
//!     1    which registers follow: 1 announced, 2 role, 4 weight, 8 zone, 16 removal; or 32 alone: a tombstone; and 64: the
//!          node founds
//!   16+    each: clock (8), author (8), value
//!            announced: peers, clients (each: length of host (1), host, port (2)), cores (2), incarnation (2), version (4),
//!                       active (2), pending (2), draining (2), digest (8), greatest incarnation ever (2);
//!                       with how many others it founds (1), where it does
//!            role (1)    weight (2)    zone: length (1), name    removal: nothing
//!     8    of a tombstone: its clock
//! ```
//!
//! There is no checksum: frames and files have their own. One map has one encoding. What gossip carries is a single entry,
//! from the flags on.
//!
//! No stamp is beyond [`CLOCK_LAST`]: registers are stamped above everything in the map, so that an earlier one from the future
//! does no harm, but there must always be a clock above.
//!
//! Invariant: bytes from outside are an [`UnverifiedMembership`], which can do nothing but be checked, as a whole.

use annulus_object::Clock;

use super::{Announced, Endpoint, Entry, Holdings, MapError, Membership, Register, Role, Stamp, Weight, Zone};
use crate::checked_bytes::CheckedBytes;
use crate::ids::NodeId;
use crate::limits::{CLOCK_LAST, FORGOTTEN_MAX, MEMBERS_MAX};

const FORMAT: u8 = 1;
const ANNOUNCED: u8 = 1;
const ROLE: u8 = 2;
const WEIGHT: u8 = 4;
const ZONE: u8 = 8;
const REMOVAL: u8 = 16;
const FORGOTTEN: u8 = 32;
/// Of the announcement: left away where it is 0, so that what nodes say who do not found is what it always was.
const FOUNDING: u8 = 64;

/// Bytes that somebody says are a map.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedMembership<'a> {
    bytes: &'a [u8],
}

impl Membership {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        let nodes = u16::try_from(self.entries.len()).expect("a map has no more entries than there may be");
        out.extend_from_slice(&nodes.to_le_bytes());
        for (node, kept) in &self.entries {
            out.extend_from_slice(&node.raw().to_le_bytes());
            kept.entry.encode(out);
        }
    }

    /// Appends the entry of one node, or its tombstone, as [`Entry::decode`] reads it; nothing where there is none.
    pub fn encode_entry(&self, node: NodeId, out: &mut Vec<u8>) {
        if let Some(kept) = self.entries.get(&node) {
            kept.entry.encode(out);
        }
    }
}

impl Entry {
    /// What somebody knows of `node`, from bytes that nobody has vouched for. Errors: what is wrong first.
    pub fn decode(node: NodeId, bytes: &[u8]) -> Result<Self, MapError> {
        let mut reader = Reader { rest: CheckedBytes::new(bytes) };
        let entry = reader.entry(node)?;
        if reader.rest.rest().is_empty() { Ok(entry) } else { Err(MapError::Trailing) }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        let founding = self.announced.as_ref().map_or(0, |register| register.value.founding);
        out.push(
            flag(self.announced.is_some(), ANNOUNCED)
                | flag(self.role.is_some(), ROLE)
                | flag(self.weight.is_some(), WEIGHT)
                | flag(self.zone.is_some(), ZONE)
                | flag(self.removal.is_some(), REMOVAL)
                | flag(self.forgotten.is_some(), FORGOTTEN)
                | flag(founding > 0, FOUNDING),
        );
        if let Some(Register { stamp, value }) = &self.announced {
            stamp.encode(out);
            value.encode(out);
            out.extend_from_slice(&self.incarnation_most.to_le_bytes());
            out.extend((founding > 0).then_some(founding));
        }
        if let Some(Register { stamp, value }) = &self.role {
            stamp.encode(out);
            out.push(value.to_byte());
        }
        if let Some(Register { stamp, value }) = &self.weight {
            stamp.encode(out);
            out.extend_from_slice(&value.get().to_le_bytes());
        }
        if let Some(Register { stamp, value }) = &self.zone {
            stamp.encode(out);
            encode_text(value.name(), out);
        }
        if let Some(stamp) = self.removal {
            stamp.encode(out);
        }
        if let Some(clock) = self.forgotten {
            out.extend_from_slice(&clock.raw().to_le_bytes());
        }
    }
}

impl Stamp {
    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.clock.raw().to_le_bytes());
        out.extend_from_slice(&self.author.raw().to_le_bytes());
    }
}

impl Announced {
    fn encode(&self, out: &mut Vec<u8>) {
        for endpoint in [&self.peers, &self.clients] {
            encode_text(&endpoint.host, out);
            out.extend_from_slice(&endpoint.port.to_le_bytes());
        }
        out.extend_from_slice(&self.cores.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        for count in [self.holdings.active, self.holdings.pending, self.holdings.draining] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        out.extend_from_slice(&self.holdings.digest.to_le_bytes());
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).expect("hosts and zones are at most 255 bytes"));
    out.extend_from_slice(text.as_bytes());
}

impl<'a> UnverifiedMembership<'a> {
    /// Bytes as they came.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The map, if it is one through and through. Errors: what is wrong first.
    pub fn check(self) -> Result<Membership, MapError> {
        let mut reader = Reader { rest: CheckedBytes::new(self.bytes) };
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(MapError::Format(format));
        }
        let nodes = reader.u16()?;
        let mut map = Membership::default();
        let mut last = None;
        for _ in 0..nodes {
            let number = reader.u64()?;
            let node = NodeId::checked(number).ok_or(MapError::Node(number))?;
            if last.replace(node) >= Some(node) {
                return Err(MapError::Order);
            }
            map.insert(node, reader.entry(node)?);
            if map.len() > MEMBERS_MAX || map.forgotten > FORGOTTEN_MAX {
                return Err(MapError::TooManyMembers);
            }
        }
        if reader.rest.rest().is_empty() { Ok(map) } else { Err(MapError::Trailing) }
    }
}

/// A checked walk over the bytes.
struct Reader<'a> {
    rest: CheckedBytes<'a>,
}

impl Reader<'_> {
    fn entry(&mut self, node: NodeId) -> Result<Entry, MapError> {
        let flags = self.u8()?;
        let mut entry = Entry::default();
        if flags == FORGOTTEN {
            entry.forgotten = Some(self.clock(node)?);
            return Ok(entry);
        }
        let founds_unannounced = flags & FOUNDING > 0 && flags & ANNOUNCED == 0;
        if flags == 0 || flags & FORGOTTEN > 0 || flags > FOUNDING | (FORGOTTEN - 1) || founds_unannounced {
            return Err(MapError::Value(node));
        }
        if flags & ANNOUNCED > 0 {
            let mut register = Register { stamp: self.stamp(node)?, value: self.announced(node)? };
            if register.stamp.author != node {
                return Err(MapError::Author(node));
            }
            entry.incarnation_most = self.u16()?;
            if entry.incarnation_most < register.value.incarnation {
                return Err(MapError::Value(node));
            }
            if flags & FOUNDING > 0 {
                register.value.founding = self.u8()?;
                if register.value.founding == 0 {
                    return Err(MapError::Value(node));
                }
            }
            entry.announced = Some(register);
        }
        if flags & ROLE > 0 {
            let stamp = self.stamp(node)?;
            let value = Role::from_byte(self.u8()?).ok_or(MapError::Value(node))?;
            entry.role = Some(Register { stamp, value });
        }
        if flags & WEIGHT > 0 {
            let stamp = self.stamp(node)?;
            let value = Weight::new(self.u16()?).ok_or(MapError::Value(node))?;
            entry.weight = Some(Register { stamp, value });
        }
        if flags & ZONE > 0 {
            let stamp = self.stamp(node)?;
            let value = Zone::new(self.text(node)?).ok_or(MapError::Value(node))?;
            entry.zone = Some(Register { stamp, value });
        }
        if flags & REMOVAL > 0 {
            entry.removal = Some(self.stamp(node)?);
        }
        Ok(entry)
    }

    fn stamp(&mut self, node: NodeId) -> Result<Stamp, MapError> {
        let clock = self.clock(node)?;
        let author = NodeId::checked(self.u64()?).ok_or(MapError::Value(node))?;
        Ok(Stamp { clock, author })
    }

    fn clock(&mut self, node: NodeId) -> Result<Clock, MapError> {
        let clock = Clock::from_raw(self.u64()?).ok_or(MapError::Value(node))?;
        if clock > CLOCK_LAST { Err(MapError::Future(node)) } else { Ok(clock) }
    }

    fn announced(&mut self, node: NodeId) -> Result<Announced, MapError> {
        let announced = Announced {
            peers: Endpoint { host: self.text(node)?.into(), port: self.u16()? },
            clients: Endpoint { host: self.text(node)?.into(), port: self.u16()? },
            cores: self.u16()?,
            incarnation: self.u16()?,
            version: self.u32()?,
            founding: 0,
            holdings: Holdings {
                active: self.u16()?,
                pending: self.u16()?,
                draining: self.u16()?,
                digest: self.u64()?,
            },
        };
        if announced.is_valid() { Ok(announced) } else { Err(MapError::Value(node)) }
    }

    fn text(&mut self, node: NodeId) -> Result<&str, MapError> {
        let bytes = usize::from(self.u8()?);
        let text = self.rest.take(bytes).ok_or(MapError::Truncated)?;
        std::str::from_utf8(text).map_err(|_| MapError::Value(node))
    }

    fn u8(&mut self) -> Result<u8, MapError> {
        self.rest.u8().ok_or(MapError::Truncated)
    }

    fn u16(&mut self) -> Result<u16, MapError> {
        self.rest.u16().ok_or(MapError::Truncated)
    }

    fn u32(&mut self) -> Result<u32, MapError> {
        self.rest.u32().ok_or(MapError::Truncated)
    }

    fn u64(&mut self) -> Result<u64, MapError> {
        self.rest.u64().ok_or(MapError::Truncated)
    }
}
