//! What the failure detector wants sent, and what it has found out, in lists that are used again.
//!
//! Invariant: spans are of the bytes that came with them.

use std::net::SocketAddr;

use super::identity::Identity;
use crate::effect::Span;

/// What was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A member answers, for the first time or again.
    Up(Identity),
    /// A member does not answer any more, or has left.
    Down(Identity),
    /// A member is another one than before: it was restarted, or taken for dead. Says nothing about whether it answers.
    Replaced {
        /// Who it was.
        before: Identity,
        /// Who it is.
        after: Identity,
    },
    /// At least one member answers.
    Connected,
    /// No member answers.
    Alone,
    /// Others took us for dead; we are back under a new session, and the member that told us has to hear of it.
    Renewed {
        /// Who told us, or ourselves where nobody did.
        by: Identity,
    },
    /// Others know a later start of ours than this one, or our sessions have run out: only a greater generation is heard.
    Superseded {
        /// The greatest generation that was used.
        generation: u32,
    },
}

/// One datagram's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Where to.
    pub to: SocketAddr,
    /// Which bytes.
    pub bytes: Span,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Output {
    sendings: Vec<Sending>,
    bytes: Vec<u8>,
    notices: Vec<Notice>,
}

impl Output {
    /// Datagrams' parts, in order.
    #[must_use]
    pub fn sendings(&self) -> &[Sending] {
        &self.sendings
    }

    /// What was found out, in order.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The bytes of a span of this list.
    #[must_use]
    pub fn bytes(&self, span: &Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).expect("a span is of the list that it came with")
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.sendings.clear();
        self.bytes.clear();
        self.notices.clear();
    }

    pub(super) fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    pub(super) fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        let limit = "what one event makes fits 4 GiB";
        let start = u32::try_from(self.bytes.len()).expect(limit);
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len()).expect(limit);
        self.sendings.push(Sending { to, bytes: start..end });
    }
}
