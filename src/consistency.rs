//! How many nodes have to answer for a command: as the node is configured, unless the connection has said otherwise, or the
//! command itself.
//!
//! Invariant: what is in force is never more than the ring has members for, and R and W are never 0.

use annulus_cluster::event::Quorum;

use crate::commands::data::parse_integer;
use crate::config::{Config, Durability, QuorumConfig};

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
    /// All of them, each at its own number.
    pub const ALL: [Self; 5] = [Self::R, Self::W, Self::Pr, Self::Pw, Self::Dw];

    /// The one of that name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|count| count.name().as_bytes().eq_ignore_ascii_case(name))
    }

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

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Copies that are wanted of a key.
    pub copies: u8,
    /// Nothing is ever on stable storage.
    pub is_memory: bool,
}

impl Bounds {
    /// As a node is configured.
    pub fn of(config: &Config) -> Self {
        Self { copies: config.quorums.copies, is_memory: config.durability == Durability::Memory }
    }

    /// Reads one of the counts. The error is the reply.
    pub fn read(self, count: Count, text: &[u8]) -> Result<u8, String> {
        let (name, least, most) = (count.name(), count.least(), self.copies);
        let nodes = parse_integer(text).and_then(|nodes| u8::try_from(nodes).ok());
        match nodes.filter(|nodes| (least..=most).contains(nodes)) {
            Some(1..) if count == Count::Dw && self.is_memory => {
                Err("ERR DW must be 0: with memory durability nothing is ever on stable storage".to_owned())
            }
            Some(nodes) => Ok(nodes),
            None => {
                let copies = if most == 1 { "1 copy".to_owned() } else { format!("{most} copies") };
                Err(format!("ERR {name} must be an integer from {least} to {most}: a key has {copies}"))
            }
        }
    }
}

/// The least that a connection's writes were promised, so far as that was said for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promised {
    w: u8,
    dw: u8,
}

impl Default for Promised {
    fn default() -> Self {
        Self { w: UNSAID, dw: UNSAID }
    }
}

impl Promised {
    /// A write was, or may have been, promised no more than this.
    pub fn lower(&mut self, w: u8, dw: u8) {
        (self.w, self.dw) = self.at_most(w, dw);
    }

    /// A command says so for itself: its options, of which those that are no such counts are passed over.
    pub fn lower_by_options(&mut self, options: &[&[u8]]) {
        for [name, value] in options.as_chunks::<2>().0 {
            let nodes = parse_integer(value).and_then(|nodes| u8::try_from(nodes).ok());
            match (Count::named(name), nodes) {
                // What is to be durable follows W where nothing else is said.
                (Some(Count::W), Some(nodes)) => self.lower(nodes, nodes),
                (Some(Count::Dw), Some(nodes)) => self.lower(UNSAID, nodes),
                _ => {}
            }
        }
    }

    /// The lesser of this and what is in force now.
    pub fn at_most(self, w: u8, dw: u8) -> (u8, u8) {
        (self.w.min(w), self.dw.min(dw))
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
    fn counts_are_read_within_bounds() {
        let bounds = Bounds { copies: 3, is_memory: false };
        assert_eq!((bounds.read(Count::R, b"3"), bounds.read(Count::Dw, b"0")), (Ok(3), Ok(0)));
        let wrong = Err("ERR W must be an integer from 1 to 3: a key has 3 copies".to_owned());
        for text in ["0", "4", "-1", "259", "", "two"] {
            assert_eq!(bounds.read(Count::W, text.as_bytes()), wrong, "{text}");
        }
        let memory = Bounds { copies: 1, is_memory: true };
        assert_eq!(memory.read(Count::Dw, b"0"), Ok(0));
        let never = "ERR DW must be 0: with memory durability nothing is ever on stable storage";
        assert_eq!(memory.read(Count::Dw, b"1"), Err(never.to_owned()));
        assert!(memory.read(Count::R, b"2").unwrap_err().ends_with("a key has 1 copy"));
        for count in Count::ALL {
            assert_eq!(Count::named(count.name().to_lowercase().as_bytes()), Some(count));
            assert_eq!(Count::ALL[count as usize], count);
        }
        assert_eq!(Count::named(b"n"), None);
    }

    #[test]
    fn a_promise_is_never_more_than_any_write_was_given() {
        let mut promised = Promised::default();
        assert_eq!(promised.at_most(2, 2), (2, 2));
        promised.lower_by_options(&[b"CONTEXT", b"", b"dw", b"1", b"W"]);
        assert_eq!(promised.at_most(3, 3), (3, 1));
        promised.lower_by_options(&[b"W", b"2", b"DW", b"2"]);
        assert_eq!(promised.at_most(3, 3), (2, 1));
        promised.lower(1, 0);
        assert_eq!(promised.at_most(3, 3), (1, 0));
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
