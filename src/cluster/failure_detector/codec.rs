//! What members say to each other to find out who answers, as bytes.
//!
//! ```text
//! 0   1  kind
//! 1   1  number of the probe; 0 where there is none
//! 2      sender: identity        19 bytes with an IPv4 address, 31 with an IPv6 one
//!     2  its refutation number
//!        receiver: identity
//!        third party: identity   of indirect probes only
//!     2  number of members       highest byte first: foca writes it
//!        each: identity, refutation number (2), state (1)
//! ```
//!
//! A receiver of whom only the address is known has the number 0 and reads its own number there.
//!
//! Invariant: decoding accepts what encoding produces, and of the rest nothing that has no kind, number or state.

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};

use super::identity::Identity;
use crate::ids::NodeId;

const MEMBER_EXTRA_BYTES: usize = 2 + 1;

/// Why bytes are not understood, or do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    /// Cut, or no encoder writes it.
    #[error("the bytes are none that a member writes")]
    Malformed,
    /// The datagram has no room for it.
    #[error("no room in the datagram")]
    NoRoom,
}

/// Kinds of messages as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Ping = 1,
    Ack = 2,
    PingRequest = 3,
    IndirectPing = 4,
    IndirectAck = 5,
    ForwardedAck = 6,
    Announce = 7,
    Feed = 8,
    Gossip = 9,
    Broadcast = 10,
    TurnUndead = 11,
}

impl Kind {
    const ALL: [Kind; 11] = [
        Kind::Ping,
        Kind::Ack,
        Kind::PingRequest,
        Kind::IndirectPing,
        Kind::IndirectAck,
        Kind::ForwardedAck,
        Kind::Announce,
        Kind::Feed,
        Kind::Gossip,
        Kind::Broadcast,
        Kind::TurnUndead,
    ];

    fn read(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What can be told of a message without taking part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) kind: Kind,
    /// Number of the probe.
    pub(super) probe: u8,
    pub(super) sender: Identity,
}

impl Glance {
    /// `None` where the bytes are no message.
    pub(super) fn at(bytes: &[u8]) -> Option<Glance> {
        let (&[kind, probe], rest) = bytes.split_first_chunk::<2>()?;
        let sender = Identity::decode(rest).filter(|sender| !sender.is_anybody())?;
        Some(Glance { kind: Kind::read(kind)?, probe, sender })
    }
}

/// Reads and writes for one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codec {
    /// Whoever is addressed without a number is this node.
    pub(super) own: NodeId,
}

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, mut out: impl BufMut) -> Result<(), CodecError> {
        let (kind, probe, third) = parts(&header.message);
        let third_bytes = third.map_or(0, Identity::encoded_bytes);
        let bytes = 2 + header.src.encoded_bytes() + 2 + header.dst.encoded_bytes() + third_bytes;
        if out.remaining_mut() < bytes {
            return Err(CodecError::NoRoom);
        }
        out.put_u8(kind as u8);
        out.put_u8(probe);
        header.src.encode(&mut out);
        out.put_u16_le(header.src_incarnation);
        header.dst.encode(&mut out);
        if let Some(third) = third {
            third.encode(&mut out);
        }
        Ok(())
    }

    fn decode_header(&mut self, mut bytes: impl Buf) -> Result<Header<Identity>, CodecError> {
        let kind = bytes.try_get_u8().ok().and_then(Kind::read).ok_or(CodecError::Malformed)?;
        let probe = bytes.try_get_u8().map_err(|_| CodecError::Malformed)?;
        let src = decode_member_identity(&mut bytes)?;
        let src_incarnation = bytes.try_get_u16_le().map_err(|_| CodecError::Malformed)?;
        let dst = Identity::decode(&mut bytes).ok_or(CodecError::Malformed)?;
        let dst = if dst.is_anybody() { dst.as_node(self.own) } else { dst };
        let message = message(kind, probe, &mut bytes)?;
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Identity>, out: impl BufMut) -> Result<(), CodecError> {
        encode_member(member, out)
    }

    fn decode_member(&mut self, bytes: impl Buf) -> Result<Member<Identity>, CodecError> {
        decode_member(bytes)
    }
}

/// A message of gossip to a member about itself alone.
pub(super) fn gossip_about(src: Identity, member: &Member<Identity>) -> Vec<u8> {
    // Whoever hears of no refutation of ours learns nothing from this one either.
    let header = Header { src, src_incarnation: 0, dst: *member.id(), message: Message::Gossip };
    let mut bytes = Vec::new();
    let room = "a vector has room";
    foca::Codec::encode_header(&mut Codec { own: src.node() }, &header, &mut bytes).expect(room);
    bytes.put_u16(1);
    encode_member(member, &mut bytes).expect(room);
    bytes
}

/// One member and its state; nothing is written where there is no room.
pub(super) fn encode_member(member: &Member<Identity>, mut out: impl BufMut) -> Result<(), CodecError> {
    if out.remaining_mut() < member.id().encoded_bytes() + MEMBER_EXTRA_BYTES {
        return Err(CodecError::NoRoom);
    }
    member.id().encode(&mut out);
    out.put_u16_le(member.incarnation());
    out.put_u8(match member.state() {
        State::Alive => 1,
        State::Suspect => 2,
        State::Down => 3,
    });
    Ok(())
}

/// One member and its state.
pub(super) fn decode_member(mut bytes: impl Buf) -> Result<Member<Identity>, CodecError> {
    let identity = decode_member_identity(&mut bytes)?;
    let refutations = bytes.try_get_u16_le().map_err(|_| CodecError::Malformed)?;
    let state = match bytes.try_get_u8() {
        Ok(1) => State::Alive,
        Ok(2) => State::Suspect,
        Ok(3) => State::Down,
        _ => return Err(CodecError::Malformed),
    };
    Ok(Member::new(identity, refutations, state))
}

/// Of somebody who has a number.
fn decode_member_identity(bytes: impl Buf) -> Result<Identity, CodecError> {
    Identity::decode(bytes).filter(|identity| !identity.is_anybody()).ok_or(CodecError::Malformed)
}

/// Kind, number of the probe, third party.
fn parts(message: &Message<Identity>) -> (Kind, u8, Option<&Identity>) {
    match message {
        Message::Ping(probe) => (Kind::Ping, *probe, None),
        Message::Ack(probe) => (Kind::Ack, *probe, None),
        Message::PingReq { target, probe_number } => (Kind::PingRequest, *probe_number, Some(target)),
        Message::IndirectPing { origin, probe_number } => (Kind::IndirectPing, *probe_number, Some(origin)),
        Message::IndirectAck { target, probe_number } => (Kind::IndirectAck, *probe_number, Some(target)),
        Message::ForwardedAck { origin, probe_number } => (Kind::ForwardedAck, *probe_number, Some(origin)),
        Message::Announce => (Kind::Announce, 0, None),
        Message::Feed => (Kind::Feed, 0, None),
        Message::Gossip => (Kind::Gossip, 0, None),
        Message::Broadcast => (Kind::Broadcast, 0, None),
        Message::TurnUndead => (Kind::TurnUndead, 0, None),
    }
}

fn message(kind: Kind, probe_number: u8, bytes: impl Buf) -> Result<Message<Identity>, CodecError> {
    Ok(match kind {
        Kind::Ping => Message::Ping(probe_number),
        Kind::Ack => Message::Ack(probe_number),
        Kind::PingRequest => Message::PingReq { target: decode_member_identity(bytes)?, probe_number },
        Kind::IndirectPing => Message::IndirectPing { origin: decode_member_identity(bytes)?, probe_number },
        Kind::IndirectAck => Message::IndirectAck { target: decode_member_identity(bytes)?, probe_number },
        Kind::ForwardedAck => Message::ForwardedAck { origin: decode_member_identity(bytes)?, probe_number },
        Kind::Announce => Message::Announce,
        Kind::Feed => Message::Feed,
        Kind::Gossip => Message::Gossip,
        Kind::Broadcast => Message::Broadcast,
        Kind::TurnUndead => Message::TurnUndead,
    })
}

#[cfg(test)]
mod tests {
    use foca::{Codec as _, Header, Member, Message, State};

    use super::{Codec, CodecError, Glance, Identity, Kind};
    use crate::ids::NodeId;

    fn identity(number: u64) -> Identity {
        Identity::new(NodeId::new(number), 1, "10.1.2.3:17379".parse().unwrap())
    }

    fn messages() -> Vec<Message<Identity>> {
        let (third, probe_number) = (identity(3), 200);
        vec![
            Message::Ping(1),
            Message::Ack(255),
            Message::PingReq { target: third, probe_number },
            Message::IndirectPing { origin: third, probe_number },
            Message::IndirectAck { target: third, probe_number },
            Message::ForwardedAck { origin: third, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ]
    }

    #[test]
    fn every_message_is_read_as_it_was_written_and_not_cut() {
        let mut codec = Codec { own: NodeId::new(9) };
        for message in messages() {
            let header = Header { src: identity(1), src_incarnation: 300, dst: identity(2), message };
            let mut bytes = Vec::new();
            codec.encode_header(&header, &mut bytes).unwrap();
            assert_eq!(codec.decode_header(&bytes[..]), Ok(header.clone()));
            for end in 0..bytes.len() {
                assert_eq!(codec.decode_header(&bytes[..end]), Err(CodecError::Malformed));
            }
            let glance = Glance::at(&bytes).unwrap();
            assert_eq!(glance.sender, header.src);
            let mut small = [0u8; 40];
            assert_eq!(codec.encode_header(&header, &mut small[..]), Err(CodecError::NoRoom));
        }
        assert_eq!(codec.decode_header(&[12; 90][..]), Err(CodecError::Malformed));
        assert_eq!(Glance::at(&[Kind::Ping as u8, 0]), None);
    }

    #[test]
    fn members_are_read_as_they_were_written() {
        let mut codec = Codec { own: NodeId::new(9) };
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(identity(5), 77, state);
            let mut bytes = Vec::new();
            codec.encode_member(&member, &mut bytes).unwrap();
            assert_eq!(codec.decode_member(&bytes[..]), Ok(member.clone()));
            assert!((0..bytes.len()).all(|end| codec.decode_member(&bytes[..end]).is_err()));
            let mut small = [0u8; 21];
            assert_eq!(codec.encode_member(&member, &mut small[..]), Err(CodecError::NoRoom));
        }
    }

    #[test]
    fn whoever_is_addressed_without_a_number_is_this_node() {
        let mut codec = Codec { own: NodeId::new(9) };
        let dst = Identity::anybody("10.0.0.9:17379".parse().unwrap());
        let header = Header { src: identity(1), src_incarnation: 0, dst, message: Message::Announce };
        let mut bytes = Vec::new();
        codec.encode_header(&header, &mut bytes).unwrap();
        assert_eq!(codec.decode_header(&bytes[..]).unwrap().dst.node(), NodeId::new(9));
        // But nobody may be a sender or a member without one.
        let header = Header { src: dst, ..header };
        bytes.clear();
        codec.encode_header(&header, &mut bytes).unwrap();
        assert_eq!(codec.decode_header(&bytes[..]), Err(CodecError::Malformed));
        bytes.clear();
        codec.encode_member(&Member::alive(dst), &mut bytes).unwrap();
        assert_eq!(codec.decode_member(&bytes[..]), Err(CodecError::Malformed));
    }
}
