//! Why a handshake comes to nothing, in words for the logs of both sides.
//!
//! Invariant: a code never gets another meaning; one that is not known reads as [`RefusalCode::Other`].

use std::fmt;

/// Bytes of a refusal's own words.
pub(super) const DETAIL_BYTES_MAX: usize = 200;

/// Why one side will not have the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The clusters have different names.
    OtherClusterName,
    /// The clusters have the same name, and are different ones.
    OtherClusterId,
    /// The other side does not know the secret.
    WrongSecret,
    /// No protocol version is spoken by both.
    NoCommonVersion,
    /// Both nodes have the same number, or it is the same node.
    SameNode,
    /// Another node is at this address than the one that was wanted.
    OtherNode,
    /// The key space is cut differently.
    OtherPartitions,
    /// Another number of copies is wanted.
    OtherCopies,
    /// The node has fewer cores.
    NoSuchCore,
    /// It reads what its disk holds, and will be there soon.
    Loading,
    /// It ends.
    Draining,
    /// It has as many connections as it takes.
    TooMany,
    /// It has no cluster yet itself.
    NoCluster,
    /// What came is no handshake.
    Malformed,
    /// A reason that a later build has.
    Other,
}

/// All of them with their numbers in a frame and their words.
const CODES: [(RefusalCode, u8, &str); 15] = [
    (RefusalCode::OtherClusterName, 1, "other cluster name"),
    (RefusalCode::OtherClusterId, 2, "other cluster id"),
    (RefusalCode::WrongSecret, 3, "wrong secret"),
    (RefusalCode::NoCommonVersion, 4, "no common protocol version"),
    (RefusalCode::SameNode, 5, "same node id"),
    (RefusalCode::OtherNode, 6, "another node is at this address"),
    (RefusalCode::OtherPartitions, 7, "other number of partitions"),
    (RefusalCode::OtherCopies, 8, "other number of copies"),
    (RefusalCode::NoSuchCore, 9, "no such core"),
    (RefusalCode::Loading, 10, "loading"),
    (RefusalCode::Draining, 11, "draining"),
    (RefusalCode::TooMany, 12, "too many connections"),
    (RefusalCode::NoCluster, 13, "has no cluster yet"),
    (RefusalCode::Malformed, 14, "malformed"),
    (RefusalCode::Other, 255, "refused"),
];

impl RefusalCode {
    /// As in a frame.
    pub fn number(self) -> u8 {
        let row = CODES.iter().find(|(code, ..)| *code == self);
        row.expect("every code has its row").1
    }

    /// The inverse, for any number.
    pub fn from_number(number: u8) -> Self {
        CODES.iter().find(|(_, other, _)| *other == number).map_or(Self::Other, |(code, ..)| *code)
    }

    /// In words.
    pub fn text(self) -> &'static str {
        let row = CODES.iter().find(|(code, ..)| *code == self);
        row.expect("every code has its row").2
    }

    /// Whether trying again soon may help.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Loading | Self::Draining | Self::TooMany | Self::NoCluster)
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeError {
    /// Why.
    pub code: RefusalCode,
    /// What about it, for instance both values; may be empty.
    pub detail: String,
    /// The other side has refused; otherwise this one did.
    pub is_by_peer: bool,
}

impl HandshakeError {
    /// This side refuses.
    pub fn ours(code: RefusalCode, detail: &str) -> Self {
        Self { code, detail: detail.to_owned(), is_by_peer: false }
    }

    /// What came is no handshake.
    pub fn malformed(detail: &str) -> Self {
        Self::ours(RefusalCode::Malformed, detail)
    }

    /// The other side has refused; its words are shown in logs, so only printable ones count.
    pub(super) fn theirs(code: RefusalCode, detail: &[u8]) -> Self {
        let is_printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let detail = detail.iter().take(DETAIL_BYTES_MAX).filter(|byte| is_printable(byte));
        Self { code, detail: detail.map(|byte| char::from(*byte)).collect(), is_by_peer: true }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_by_peer { "the peer refuses: " } else { "the peer is refused: " })?;
        formatter.write_str(self.code.text())?;
        if self.detail.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.detail) }
    }
}

impl std::error::Error for HandshakeError {}
