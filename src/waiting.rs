//! Replies and commands that wait for something: a commit, a record from the disk, a key that another command holds.
//!
//! Invariant: everything here has a reply reserved somewhere, and leaves exactly once.

use std::collections::{HashMap, VecDeque};

use annulus_engine::Commit;
use annulus_net::resp::Protocol;

use crate::commands::Args;
use crate::commands::table::Row;
use crate::consistency::Asker;
use crate::replies::ReplyBytes;

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyTo {
    /// A slot of a session of this core.
    Session {
        /// Index of the session.
        session: u32,
        /// The reserved slot.
        slot: u32,
    },
    /// A part of a multi-key command that this core gathers.
    Gather {
        /// Index of the gather.
        gather: u32,
        /// The part.
        part: u32,
    },
    /// Another core, which knows the token.
    Core {
        /// Which core.
        core: u16,
        /// What that core gave with the request.
        token: u64,
    },
    /// A SCAN of this core's that walks over the cluster.
    Walk {
        /// Index of the walk.
        walk: u32,
    },
    /// A core of another node, for which this core runs a part of a command.
    Peer {
        /// Index of what it asked for.
        part: u32,
    },
    /// Nobody: the client asked for no reply.
    Nobody,
}

const TOKEN_GATHER: u64 = 1 << 63;
const TOKEN_WALK: u64 = 1 << 62;
const TOKEN_NOBODY: u64 = u64::MAX;

impl ReplyTo {
    /// What travels with a request to another core, and comes back with its reply.
    pub fn token(self) -> u64 {
        match self {
            Self::Session { session, slot } => {
                assert!(session < 1 << 30, "sessions are far fewer");
                u64::from(session) << 32 | u64::from(slot)
            }
            Self::Gather { gather, part } => {
                assert!(gather < 1 << 30, "gathers are far fewer");
                TOKEN_GATHER | u64::from(gather) << 32 | u64::from(part)
            }
            Self::Walk { walk } => TOKEN_WALK | u64::from(walk),
            Self::Nobody => TOKEN_NOBODY,
            Self::Core { .. } | Self::Peer { .. } => {
                unreachable!("a request is forwarded once: the core it reaches has what it is about")
            }
        }
    }

    /// The inverse of [`ReplyTo::token`].
    pub fn from_token(token: u64) -> Self {
        let low = u32::try_from(token & u64::from(u32::MAX)).expect("masked");
        let high = u32::try_from((token & !TOKEN_GATHER) >> 32).expect("shifted");
        match token {
            TOKEN_NOBODY => Self::Nobody,
            _ if token & (TOKEN_GATHER | TOKEN_WALK) == TOKEN_WALK => Self::Walk { walk: low },
            _ if token & TOKEN_GATHER != 0 => Self::Gather { gather: high, part: low },
            _ => Self::Session { session: high, slot: low },
        }
    }
}

/// Replies that leave when a commit is durable, in commit order per instance of the log.
#[derive(Debug, Default)]
pub struct CommitWaiters {
    queues: [VecDeque<(Commit, ReplyTo, ReplyBytes)>; 2],
    bytes: usize,
}

impl CommitWaiters {
    /// Adds a reply.
    pub fn push(&mut self, commit: Commit, to: ReplyTo, reply: &[u8]) {
        let queue = &mut self.queues[usize::from(commit.instance)];
        self.bytes += reply.len();
        let waiter = (commit, to, ReplyBytes::from_slice(reply));
        if queue.back().is_none_or(|(last, ..)| *last <= commit) {
            return queue.push_back(waiter);
        }
        // A read may depend on an older commit than the newest write does, and must share that one's fate.
        let place = queue.partition_point(|(other, ..)| *other <= commit);
        queue.insert(place, waiter);
    }

    /// Takes the next reply whose commit is at or below `durable`.
    pub fn pop_durable(&mut self, durable: Commit) -> Option<(ReplyTo, ReplyBytes)> {
        let queue = &mut self.queues[usize::from(durable.instance)];
        if queue.front()?.0 > durable {
            return None;
        }
        let (_, to, reply) = queue.pop_front().expect("there is a front");
        self.bytes -= reply.len();
        Some((to, reply))
    }

    /// Replies that wait.
    pub fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of waiting replies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A command with its own copy of its arguments.
#[derive(Debug)]
pub struct Parked {
    /// Which command.
    pub row: &'static Row,
    /// How its reply is written.
    pub protocol: Protocol,
    /// For whom.
    pub asker: Asker,
    /// Where its reply goes.
    pub to: ReplyTo,
    /// Its partition.
    pub partition: u16,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Parked {
    /// Copies a command.
    pub fn new(
        row: &'static Row,
        (protocol, asker): (Protocol, Asker),
        to: ReplyTo,
        partition: u16,
        arguments: Args<'_>,
    ) -> Self {
        let mut bytes = Vec::with_capacity(arguments.iter().map(|argument| argument.len()).sum());
        let mut ends = Vec::with_capacity(arguments.len());
        for argument in arguments.iter() {
            bytes.extend_from_slice(argument);
            ends.push(bytes.len());
        }
        Self { row, protocol, asker, to, partition, bytes, ends }
    }

    /// Its arguments.
    pub fn arguments(&self) -> Vec<&[u8]> {
        let mut start = 0;
        self.ends.iter().map(|end| &self.bytes[std::mem::replace(&mut start, *end)..*end]).collect()
    }

    /// Memory it holds.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// Keys that a command holds while its record is read, and the commands that wait for them.
///
/// A command that writes a key after having read it must see no other write in between.
#[derive(Debug, Default)]
pub struct BusyKeys {
    waiting: HashMap<u128, VecDeque<Parked>>,
}

impl BusyKeys {
    /// True when no key is held: the common case, checked before anything else.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True when a command holds the key with this hash.
    pub fn is_held(&self, hash: u128) -> bool {
        self.waiting.contains_key(&hash)
    }

    /// Holds a key.
    pub fn hold(&mut self, hash: u128) {
        let before = self.waiting.insert(hash, VecDeque::new());
        assert!(before.is_none(), "a key is held once");
    }

    /// Lets a command wait for a held key.
    pub fn wait(&mut self, hash: u128, parked: Parked) {
        self.waiting.get_mut(&hash).expect("the key is held").push_back(parked);
    }

    /// Lets a key go: the commands that waited, to be run in this order.
    pub fn release(&mut self, hash: u128) -> VecDeque<Parked> {
        self.waiting.remove(&hash).expect("the key was held")
    }

    /// Commands that wait.
    pub fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        let cases = [
            ReplyTo::Session { session: 0, slot: 0 },
            ReplyTo::Session { session: (1 << 30) - 1, slot: u32::MAX },
            ReplyTo::Gather { gather: 5, part: 9 },
            ReplyTo::Gather { gather: (1 << 30) - 1, part: u32::MAX },
            ReplyTo::Walk { walk: 0 },
            ReplyTo::Walk { walk: u32::MAX },
            ReplyTo::Nobody,
        ];
        for case in cases {
            assert_eq!(ReplyTo::from_token(case.token()), case);
        }
    }

    #[test]
    fn replies_leave_in_commit_order_and_per_instance() {
        let mut waiters = CommitWaiters::default();
        let commit = |instance, ordinal| Commit { instance, ordinal };
        waiters.push(commit(0, 2), ReplyTo::Nobody, b"a");
        waiters.push(commit(0, 1), ReplyTo::Nobody, b"b");
        waiters.push(commit(1, 1), ReplyTo::Nobody, b"c");
        assert_eq!(waiters.pop_durable(commit(0, 1)).unwrap().1.as_slice(), b"b");
        assert!(waiters.pop_durable(commit(0, 1)).is_none());
        assert_eq!(waiters.pop_durable(commit(0, 2)).unwrap().1.as_slice(), b"a");
        assert!(waiters.pop_durable(commit(0, 2)).is_none());
        assert_eq!(waiters.pop_durable(commit(1, 7)).unwrap().1.as_slice(), b"c");
        assert_eq!((waiters.len(), waiters.bytes()), (0, 0));
    }
}
