//! From a message to bytes.
//!
//! Bodies, between header and key:
//!
//! ```text
//! write           hash u128 │ target u64, 0 = the receiver │ remaining u64      rest: object
//! repair          hash u128                                                     rest: object
//! version read, object read   hash u128                                         no rest
//! write reply     nothing; flags: durable; detail: 0, or a refusal from 1 on
//! version reply   nothing; flags: owner                                         rest: versions
//! object reply    nothing; flags: owner, present                                rest: object
//! forward put     hash u128 │ number u64 │ expiry u64 │ deadline u64 │ own dot 16 │ quorum 6 │ zero u16
//!                 │ bytes of the context u32 │ value dot 16, if flagged         rest: context, value
//! forward get     hash u128 │ deadline u64 │ own dot 16 │ quorum 6 │ zero u16   no rest
//! forward reply   written: dot 16; else nothing                                 rest: context or object
//! ```
//!
//! Those of exchanges are in `exchange.rs`.

use annulus_object::Dot;

use super::{
    FAILURES, ForwardOutcome, ForwardPut, HEADER_BYTES, Header, Message, NOT_CARRIED_OUT, REFUSALS, VERSION,
    WriteOutcome, flag, kind, outcome,
};
use crate::effect::Reach;
use crate::event::Quorum;

/// Where the key of a [`Message::Write`] begins; the object follows it.
pub(crate) const WRITE_KEY_AT: usize = HEADER_BYTES + 16 + 8 + 8;

impl Message<'_> {
    /// Appends the message.
    pub fn encode(&self, header: &Header, out: &mut Vec<u8>) {
        let start = out.len();
        let (kind, flags, detail) = self.head();
        let (key, rest) = self.tail();
        out.reserve(HEADER_BYTES + 128 + key.len() + rest.len());
        let key_bytes = u16::try_from(key.len()).expect("a key has at most 65535 bytes");
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(&header.partition.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&header.session.0.to_le_bytes());
        out.extend_from_slice(&header.request.0.to_le_bytes());
        out.extend_from_slice(&header.fingerprint.0.to_le_bytes());
        out.extend_from_slice(&header.sent_ms.to_le_bytes());
        out.extend_from_slice(&key_bytes.to_le_bytes());
        out.extend_from_slice(&[flags, detail]);
        self.body(out);
        out.extend_from_slice(key);
        if let Message::ForwardPut(put) = self {
            out.extend_from_slice(put.context.unwrap_or_default());
        }
        out.extend_from_slice(rest);
        let bytes = u32::try_from(out.len() - start).expect("a message is below 4 GiB");
        out[start + 4..start + 8].copy_from_slice(&bytes.to_le_bytes());
    }

    /// Kind, flags, detail.
    fn head(&self) -> (u8, u8, u8) {
        match self {
            Message::Write { .. } => (kind::WRITE, 0, 0),
            Message::Repair { .. } => (kind::REPAIR, 0, 0),
            Message::WriteReply(WriteOutcome::Stored { is_durable }) => {
                (kind::WRITE_REPLY, if_set(*is_durable, flag::IS_DURABLE), 0)
            }
            Message::WriteReply(WriteOutcome::Refused(refusal)) => {
                (kind::WRITE_REPLY, 0, number(&REFUSALS, refusal) + 1)
            }
            Message::VersionRead { .. } => (kind::VERSION_READ, 0, 0),
            Message::VersionReply { is_owner, .. } => (kind::VERSION_REPLY, if_set(*is_owner, flag::IS_OWNER), 0),
            Message::ObjectRead { .. } => (kind::OBJECT_READ, 0, 0),
            Message::ObjectReply { is_owner, object } => {
                let present = if_set(object.is_some(), flag::IS_PRESENT);
                (kind::OBJECT_REPLY, if_set(*is_owner, flag::IS_OWNER) | present, 0)
            }
            Message::ForwardPut(put) => {
                let flags = if_set(put.value.is_some(), flag::HAS_VALUE)
                    | if_set(put.context.is_some(), flag::HAS_CONTEXT)
                    | if_set(put.own_last.is_some(), flag::HAS_OWN)
                    | if_set(put.own_is_alone, flag::OWN_IS_ALONE)
                    | if_set(put.value_dot.is_some(), flag::HAS_VALUE_DOT);
                (kind::FORWARD_PUT, flags, 0)
            }
            Message::ForwardGet { own_last, .. } => (kind::FORWARD_GET, if_set(own_last.is_some(), flag::HAS_OWN), 0),
            Message::ForwardReply(outcome) => {
                let (flags, detail) = outcome_head(outcome);
                (kind::FORWARD_REPLY, flags, detail)
            }
            Message::Exchange(message) => message.head(),
        }
    }

    /// The key, and what follows it.
    fn tail(&self) -> (&[u8], &[u8]) {
        match self {
            Message::Write { key, object, .. } | Message::Repair { key, object, .. } => (key, object),
            Message::VersionRead { key, .. } | Message::ObjectRead { key, .. } | Message::ForwardGet { key, .. } => {
                (key, &[])
            }
            Message::WriteReply(_) => (&[], &[]),
            Message::VersionReply { versions, .. } => (&[], versions),
            Message::ObjectReply { object, .. } => (&[], object.unwrap_or_default()),
            Message::ForwardPut(put) => (put.key, put.value.unwrap_or_default()),
            Message::ForwardReply(ForwardOutcome::Written { context, .. }) => (&[], context),
            Message::ForwardReply(ForwardOutcome::Found { object, .. }) => (&[], object),
            Message::ForwardReply(_) => (&[], &[]),
            Message::Exchange(message) => (&[], message.rest()),
        }
    }

    fn body(&self, out: &mut Vec<u8>) {
        match self {
            Message::Write { target, hash, remaining_us, .. } => {
                out.extend_from_slice(&hash.to_le_bytes());
                out.extend_from_slice(&target.map_or(0, |target| target.raw()).to_le_bytes());
                out.extend_from_slice(&remaining_us.to_le_bytes());
            }
            Message::Repair { hash, .. } | Message::VersionRead { hash, .. } | Message::ObjectRead { hash, .. } => {
                out.extend_from_slice(&hash.to_le_bytes());
            }
            Message::ForwardPut(put) => put.body(out),
            Message::ForwardGet { hash, quorum, deadline_ms, own_last, .. } => {
                out.extend_from_slice(&hash.to_le_bytes());
                out.extend_from_slice(&deadline_ms.to_le_bytes());
                put_dot(*own_last, out);
                put_quorum(*quorum, out);
            }
            Message::ForwardReply(ForwardOutcome::Written { dot, .. }) => put_dot(Some(*dot), out),
            Message::Exchange(message) => message.body(out),
            Message::WriteReply(_)
            | Message::VersionReply { .. }
            | Message::ObjectReply { .. }
            | Message::ForwardReply(_) => {}
        }
    }
}

impl ForwardPut<'_> {
    fn body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.expires_at_ms.to_le_bytes());
        out.extend_from_slice(&self.deadline_ms.to_le_bytes());
        put_dot(self.own_last, out);
        put_quorum(self.quorum, out);
        let context = self.context.map_or(0, <[u8]>::len);
        out.extend_from_slice(&u32::try_from(context).expect("a context is small").to_le_bytes());
        if self.value_dot.is_some() {
            put_dot(self.value_dot, out);
        }
    }
}

fn outcome_head(reply: &ForwardOutcome<'_>) -> (u8, u8) {
    match reply {
        ForwardOutcome::Written { is_alone, .. } => (if_set(*is_alone, flag::IS_ALONE), outcome::WRITTEN),
        ForwardOutcome::Found { reach, .. } => {
            let flag = match reach {
                Reach::Owners => 0,
                Reach::Nodes => flag::REACH_NODES,
                Reach::Fewer => flag::REACH_FEWER,
            };
            (flag, outcome::FOUND)
        }
        ForwardOutcome::Failed(failure) => (0, outcome::FAILED + number(&FAILURES, failure)),
        ForwardOutcome::NotCarriedOut(why) => (0, outcome::NOT + number(&NOT_CARRIED_OUT, why)),
    }
}

fn if_set(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

fn number<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|other| other == one).expect("all are numbered") as u8
}

fn put_dot(dot: Option<Dot>, out: &mut Vec<u8>) {
    let (clock, actor) = dot.map_or((0, 0), |dot| (dot.clock.raw(), dot.actor.raw()));
    out.extend_from_slice(&clock.to_le_bytes());
    out.extend_from_slice(&actor.to_le_bytes());
}

fn put_quorum(quorum: Quorum, out: &mut Vec<u8>) {
    out.extend_from_slice(&[quorum.n, quorum.r, quorum.w, quorum.pr, quorum.pw, quorum.dw, 0, 0]);
}
