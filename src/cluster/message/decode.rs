//! From bytes that nobody has vouched for to a message.

use annulus_object::{Actor, Clock, ContextView, Dot, ObjectView};

use super::{
    ExchangeMessage, FAILURES, ForwardOutcome, ForwardPut, HEADER_BYTES, Header, Message, MessageError,
    NOT_CARRIED_OUT, REFUSALS, VERSION, WriteOutcome, flag, kind, outcome,
};
use crate::effect::Reach;
use crate::event::Quorum;
use crate::ids::{Fingerprint, NodeId, RequestId, Session};
use crate::limits::CLOCK_LAST;
use crate::versions::VersionsView;

/// Bytes as they came from a peer.
#[derive(Debug, Clone, Copy)]
pub struct Unverified<'a> {
    bytes: &'a [u8],
}

/// What every kind is read from.
struct Parts<'a> {
    flags: u8,
    detail: u8,
    key_bytes: usize,
    /// Of the body, then the key, then the rest.
    reader: Reader<'a>,
}

impl<'a> Unverified<'a> {
    /// Nothing is looked at yet.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The message, if that is what the bytes are, whole and no longer than `bytes_max`. Nothing is allocated.
    pub fn check(self, bytes_max: usize) -> Result<(Header, Message<'a>), MessageError> {
        let mut reader = Reader { rest: self.bytes };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(MessageError::Version(version));
        }
        let kind = reader.u8()?;
        let partition = reader.u16()?;
        if reader.u32()? as usize != self.bytes.len() || self.bytes.len() > bytes_max {
            return Err(MessageError::Length);
        }
        let header = Header {
            partition,
            session: Session(reader.u64()?),
            request: RequestId(reader.u64()?),
            fingerprint: Fingerprint(reader.u64()?),
            sent_ms: reader.u64()?,
        };
        if header.sent_ms > CLOCK_LAST.unix_ms() {
            return Err(MessageError::Clock);
        }
        let (key_bytes, flags, detail) = (usize::from(reader.u16()?), reader.u8()?, reader.u8()?);
        assert!(reader.rest.len() + HEADER_BYTES == self.bytes.len(), "the header is as long as it is drawn");
        let mut parts = Parts { flags, detail, key_bytes, reader };
        let message = parts.message(kind)?;
        // Whatever a kind does not use is zero and empty: then equal messages have equal bytes.
        if parts.flags != 0 || parts.detail != 0 || parts.key_bytes != 0 {
            return Err(MessageError::Field);
        }
        if parts.reader.rest.is_empty() { Ok((header, message)) } else { Err(MessageError::Length) }
    }
}

impl<'a> Parts<'a> {
    fn message(&mut self, kind: u8) -> Result<Message<'a>, MessageError> {
        match kind {
            kind::WRITE => {
                let (hash, target, remaining_us) = (self.reader.u128()?, self.reader.u64()?, self.reader.u64()?);
                let target = match target {
                    0 => None,
                    number => Some(NodeId::checked(number).ok_or(MessageError::Field)?),
                };
                Ok(Message::Write { target, hash, remaining_us, key: self.key()?, object: self.object()? })
            }
            kind::REPAIR => {
                let hash = self.reader.u128()?;
                Ok(Message::Repair { hash, key: self.key()?, object: self.object()? })
            }
            kind::WRITE_REPLY => self.write_reply(),
            kind::VERSION_READ => Ok(Message::VersionRead { hash: self.reader.u128()?, key: self.key()? }),
            kind::OBJECT_READ => Ok(Message::ObjectRead { hash: self.reader.u128()?, key: self.key()? }),
            kind::VERSION_REPLY => {
                let is_owner = self.flag(flag::IS_OWNER);
                let view = VersionsView::check(self.reader.rest())?;
                check_clock(view.context().highest())?;
                Ok(Message::VersionReply { is_owner, versions: view.bytes() })
            }
            kind::OBJECT_REPLY => {
                let is_owner = self.flag(flag::IS_OWNER);
                let is_present = self.flag(flag::IS_PRESENT);
                let has_object = is_present && !self.reader.rest.is_empty();
                let object = if has_object { self.object()? } else { &[] };
                Ok(Message::ObjectReply { is_owner, object: is_present.then_some(object) })
            }
            kind::FORWARD_PUT => self.forward_put(),
            kind::FORWARD_GET => self.forward_get(),
            kind::FORWARD_REPLY => self.forward_reply(),
            kind => {
                let head = (std::mem::take(&mut self.flags), std::mem::take(&mut self.detail));
                let message = ExchangeMessage::decode(kind, head, self.reader.rest());
                message.ok_or(MessageError::Kind(kind))?.map(Message::Exchange)
            }
        }
    }

    fn write_reply(&mut self) -> Result<Message<'a>, MessageError> {
        let is_durable = self.flag(flag::IS_DURABLE);
        let outcome = match std::mem::take(&mut self.detail) {
            0 => WriteOutcome::Stored { is_durable },
            _ if is_durable => return Err(MessageError::Field),
            detail => WriteOutcome::Refused(numbered(&REFUSALS, detail - 1)?),
        };
        Ok(Message::WriteReply(outcome))
    }

    fn forward_put(&mut self) -> Result<Message<'a>, MessageError> {
        let hash = self.reader.u128()?;
        let (number, expires_at_ms, deadline_ms) = (self.reader.u64()?, self.reader.u64()?, self.reader.u64()?);
        let own_last = self.own()?;
        let own_is_alone = self.flag(flag::OWN_IS_ALONE);
        let quorum = self.quorum()?;
        let context_bytes = self.reader.u32()? as usize;
        let value_dot = match self.flag(flag::HAS_VALUE_DOT) {
            true => Some(self.reader.dot()?.ok_or(MessageError::Field)?),
            false => None,
        };
        let key = self.key()?;
        let context = self.reader.take(context_bytes)?;
        let context = if self.flag(flag::HAS_CONTEXT) {
            check_clock(ContextView::check(context)?.highest())?;
            Some(context)
        } else if context.is_empty() {
            None
        } else {
            return Err(MessageError::Field);
        };
        let value = self.flag(flag::HAS_VALUE).then(|| self.reader.rest());
        if value_dot.is_some() && value.is_none() {
            return Err(MessageError::Field);
        }
        Ok(Message::ForwardPut(ForwardPut {
            number,
            hash,
            key,
            value,
            expires_at_ms,
            value_dot,
            context,
            own_last,
            own_is_alone,
            quorum,
            deadline_ms,
        }))
    }

    fn forward_get(&mut self) -> Result<Message<'a>, MessageError> {
        let (hash, deadline_ms) = (self.reader.u128()?, self.reader.u64()?);
        let own_last = self.own()?;
        let quorum = self.quorum()?;
        Ok(Message::ForwardGet { hash, key: self.key()?, quorum, deadline_ms, own_last })
    }

    fn forward_reply(&mut self) -> Result<Message<'a>, MessageError> {
        let reply = match std::mem::take(&mut self.detail) {
            outcome::WRITTEN => {
                let dot = self.reader.dot()?.ok_or(MessageError::Field)?;
                let is_alone = self.flag(flag::IS_ALONE);
                let context = ContextView::check(self.reader.rest())?;
                check_clock(context.highest())?;
                ForwardOutcome::Written { dot, is_alone, context: context.bytes() }
            }
            outcome::FOUND => {
                let reach = match (self.flag(flag::REACH_NODES), self.flag(flag::REACH_FEWER)) {
                    (false, false) => Reach::Owners,
                    (true, false) => Reach::Nodes,
                    (false, true) => Reach::Fewer,
                    (true, true) => return Err(MessageError::Field),
                };
                let object = if self.reader.rest.is_empty() { &[] } else { self.object()? };
                ForwardOutcome::Found { reach, object }
            }
            detail @ outcome::FAILED..outcome::NOT => {
                ForwardOutcome::Failed(numbered(&FAILURES, detail - outcome::FAILED)?)
            }
            detail @ outcome::NOT.. => {
                ForwardOutcome::NotCarriedOut(numbered(&NOT_CARRIED_OUT, detail - outcome::NOT)?)
            }
            _ => return Err(MessageError::Field),
        };
        Ok(Message::ForwardReply(reply))
    }

    /// Whether a flag is set; it is used up.
    fn flag(&mut self, flag: u8) -> bool {
        let is_set = self.flags & flag != 0;
        self.flags &= !flag;
        is_set
    }

    fn key(&mut self) -> Result<&'a [u8], MessageError> {
        self.reader.take(std::mem::take(&mut self.key_bytes))
    }

    fn object(&mut self) -> Result<&'a [u8], MessageError> {
        let object = ObjectView::check(self.reader.rest())?;
        check_clock(object.context().highest())?;
        Ok(object.bytes())
    }

    fn own(&mut self) -> Result<Option<Dot>, MessageError> {
        let dot = self.reader.dot()?;
        if self.flag(flag::HAS_OWN) == dot.is_some() { Ok(dot) } else { Err(MessageError::Field) }
    }

    fn quorum(&mut self) -> Result<Quorum, MessageError> {
        match *self.reader.take(8)? {
            [n, r, w, pr, pw, dw, 0, 0] => Ok(Quorum { n, r, w, pr, pw, dw }),
            _ => Err(MessageError::Field),
        }
    }
}

/// Whether stamps above this clock are possible.
pub(super) fn check_clock(clock: Clock) -> Result<(), MessageError> {
    if clock <= CLOCK_LAST { Ok(()) } else { Err(MessageError::Clock) }
}

fn numbered<T: Copy>(all: &[T], number: u8) -> Result<T, MessageError> {
    all.get(usize::from(number)).copied().ok_or(MessageError::Field)
}

/// A checked walk.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], MessageError> {
        let (head, rest) = self.rest.split_at_checked(bytes).ok_or(MessageError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// All that is left.
    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(MessageError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, MessageError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Result<u128, MessageError> {
        self.array().map(u128::from_le_bytes)
    }

    /// A dot; two zeros are none.
    fn dot(&mut self) -> Result<Option<Dot>, MessageError> {
        let clock = Clock::from_raw(self.u64()?).ok_or(MessageError::Clock)?;
        let actor = Actor::from_raw(self.u64()?);
        check_clock(clock)?;
        match (clock, actor.raw()) {
            (Clock::ZERO, 0) => Ok(None),
            (Clock::ZERO, _) => Err(MessageError::Field),
            _ => Ok(Some(Dot::new(clock, actor))),
        }
    }
}
