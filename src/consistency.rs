//! How many nodes have to answer for a command: as the node is configured, unless the connection has said otherwise, or the
//! command itself.
//!
//! Invariant: what is in force is never more than the ring has members for, and R and W are never 0.

use annulus_cluster::event::Quorum;

use crate::config::QuorumConfig;

/// Says nothing. Counts are at most [`annulus_cluster::limits::COPIES_MAX`].
const UNSAID: u8 = u8::MAX;

/// One of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// R: nodes that tell of a read.
    R,
    /// W: nodes that have a write.
    W,
    /// PR: owners among the R.
    Pr,
    /// PW: owners among the W.
    Pw,
    /// DW: nodes of the W that have it on stable storage.
    Dw,
}

impl Count {
    /// As clients write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::R => "R",
            Self::W => "W",
            Self::Pr => "PR",
            Self::Pw => "PW",
            Self::Dw => "DW",
        }
    }

    /// The least that can be asked for.
    pub fn least(self) -> u8 {
        match self {
            Self::R | Self::W => 1,
            Self::Pr | Self::Pw | Self::Dw => 0,
        }
    }
}

/// What a connection, or a command, has said itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consistency {
    counts: [u8; 5],
    /// Replies to GET and SET carry the key's context as an attribute.
    pub attributes: bool,
}

impl Default for Consistency {
    fn default() -> Self {
        Self { counts: [UNSAID; 5], attributes: false }
    }
}

impl Consistency {
    /// Bytes of [`Consistency::to_bytes`].
    pub const BYTES: usize = 6;

    /// Asks for so many.
    pub fn set(&mut self, count: Count, nodes: u8) {
        assert!((count.least()..UNSAID).contains(&nodes), "counts are checked where they are read");
        self.counts[count as usize] = nodes;
    }

    fn said(self, count: Count) -> Option<u8> {
        Some(self.counts[count as usize]).filter(|nodes| *nodes != UNSAID)
    }

    /// What is in force with this configuration in a ring that has members for so many copies.
    pub fn quorum(self, config: &QuorumConfig, copies: usize) -> Quorum {
        let copies = u8::try_from(copies).unwrap_or(UNSAID).clamp(1, config.copies);
        let capped = |count: Count, configured: u8| self.said(count).unwrap_or(configured).min(copies);
        // Who asks for another W means it with the durability that the configuration gives to its own.
        let durable = match self.said(Count::W) {
            Some(w) if config.durable == config.write => w,
            Some(w) => config.durable.min(w),
            None => config.durable,
        };
        Quorum {
            n: copies,
            r: capped(Count::R, config.read),
            w: capped(Count::W, config.write),
            pr: capped(Count::Pr, 0),
            pw: capped(Count::Pw, 0),
            dw: capped(Count::Dw, durable),
        }
    }

    /// As it travels between the cores of a node.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let [r, w, pr, pw, dw] = self.counts;
        [r, w, pr, pw, dw, u8::from(self.attributes)]
    }

    /// The inverse of [`Consistency::to_bytes`].
    pub fn from_bytes([r, w, pr, pw, dw, attributes]: [u8; Self::BYTES]) -> Self {
        Self { counts: [r, w, pr, pw, dw], attributes: attributes != 0 }
    }
}

/// Who asked for a command, as far as the core of its key has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The client: unique in the node's lifetime.
    pub client: u64,
    /// What it has said about its commands.
    pub consistency: Consistency,
}

impl Asker {
    /// Bytes of [`Asker::to_bytes`].
    pub const BYTES: usize = 8 + Consistency::BYTES;

    /// As it travels between the cores of a node.
    #[inline]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.client.to_le_bytes());
        bytes[8..].copy_from_slice(&self.consistency.to_bytes());
        bytes
    }

    /// The inverse of [`Asker::to_bytes`].
    #[inline]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (client, consistency) = bytes.split_first_chunk().expect("it begins with the client");
        let consistency = consistency.try_into().expect("the rest is what it has said");
        Self { client: u64::from_le_bytes(*client), consistency: Consistency::from_bytes(consistency) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const THREE: QuorumConfig =
        QuorumConfig { copies: 3, read: 2, write: 2, durable: 2, deadline: Duration::from_secs(1) };

    fn said(counts: &[(Count, u8)]) -> Consistency {
        let mut consistency = Consistency::default();
        counts.iter().for_each(|(count, nodes)| consistency.set(*count, *nodes));
        consistency
    }

    fn quorum(counts: [u8; 6]) -> Quorum {
        let [n, r, w, pr, pw, dw] = counts;
        Quorum { n, r, w, pr, pw, dw }
    }

    #[test]
    fn what_is_said_goes_before_what_is_configured_and_members_bound_both() {
        let cases: [(&[(Count, u8)], usize, [u8; 6]); 8] = [
            (&[], 3, [3, 2, 2, 0, 0, 2]),
            (&[], 2, [2, 2, 2, 0, 0, 2]),
            (&[], 1, [1, 1, 1, 0, 0, 1]),
            (&[], 0, [1, 1, 1, 0, 0, 1]),
            (&[(Count::R, 1), (Count::Pr, 1)], 3, [3, 1, 2, 1, 0, 2]),
            (&[(Count::W, 3)], 3, [3, 2, 3, 0, 0, 3]),
            (&[(Count::W, 3), (Count::Dw, 0), (Count::Pw, 2)], 2, [2, 2, 2, 0, 2, 0]),
            (&[(Count::W, 1)], 3, [3, 2, 1, 0, 0, 1]),
        ];
        for (counts, copies, expected) in cases {
            assert_eq!(said(counts).quorum(&THREE, copies), quorum(expected), "{counts:?} with {copies}");
        }
    }

    #[test]
    fn a_w_of_its_own_takes_the_durability_along_that_is_configured() {
        let memory = QuorumConfig { durable: 0, ..THREE };
        assert_eq!(said(&[(Count::W, 3)]).quorum(&memory, 3).dw, 0);
        let one = QuorumConfig { durable: 1, ..THREE };
        assert_eq!(said(&[(Count::W, 3)]).quorum(&one, 3).dw, 1);
        let all = QuorumConfig { durable: 3, ..THREE };
        assert_eq!(said(&[(Count::W, 1)]).quorum(&all, 3).dw, 1);
        assert_eq!(said(&[]).quorum(&all, 3).dw, 3);
    }

    #[test]
    fn it_travels_in_few_bytes() {
        let mut consistency = said(&[(Count::R, 1), (Count::Dw, 0)]);
        consistency.attributes = true;
        for consistency in [consistency, Consistency::default()] {
            let asker = Asker { client: 1 << 40, consistency };
            assert_eq!(Asker::from_bytes(&asker.to_bytes()), asker);
        }
    }
}
