//! What a core can tell of its part in the cluster, for whoever runs it: connections to other nodes, hints that it keeps, pairs
//! of owners that it compares.
//!
//! A core of a node that is alone has nothing to tell: the default.
//!
//! Invariant: facts are what is, not what was asked for; telling them changes nothing.

use annulus_cluster::ids::NodeId;
use annulus_cluster::pair_facts::PairFact;
use annulus_cluster::shard::Shard;
use annulus_cluster::store::Store;
use annulus_engine::Disk;

use crate::core_inbox::PeerCore;
use crate::metrics::Metric;
use crate::replica_store::ReplicaStore;

/// Hints of a target that are looked at to find the oldest: they lie in the order of hashes, not of time.
pub const OLDEST_LOOKS_MAX: usize = 4096;

/// Who has begun a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// This core.
    Dialled,
    /// The other end.
    Accepted,
}

/// One connection of a core to a core of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkFact {
    /// The other end.
    pub peer: PeerCore,
    /// Who has begun it.
    pub direction: Direction,
    /// Since when it stands, Unix milliseconds.
    pub created_unix_ms: u64,
    /// The newest version that both ends speak.
    pub version: u16,
    /// What both ends can do, one bit each.
    pub capabilities: u64,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// Bytes of memory for those.
    pub buffer_bytes: u64,
}

/// What a core keeps for one node that did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HintFact {
    /// For whom.
    pub target: NodeId,
    /// Keys.
    pub count: u64,
    /// Bytes of those of them that have left the log for a partition file.
    pub file_bytes: u64,
    /// When the oldest of them was written, Unix milliseconds: of the first [`OLDEST_LOOKS_MAX`], by hash.
    pub oldest_unix_ms: Option<u64>,
    /// Handed over and forgotten, since there are hints for this node.
    pub handed_over: u64,
    /// Attempts that failed, since there are hints for this node.
    pub failures: u64,
}

/// All connections of a core, counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkTotals {
    /// Connections that stand now.
    pub open: u64,
    /// Bytes that wait to be sent now.
    pub queued_bytes: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Connections that were begun.
    pub dials: u64,
    /// Of these, such as did not come about.
    pub dial_failures: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Messages given up because too much waited for their node.
    pub dropped: u64,
}

impl LinkTotals {
    /// As this core's metrics.
    pub fn figures(&self) -> [(Metric, u64); 10] {
        [
            (Metric::LinksOpen, self.open),
            (Metric::LinkQueuedBytes, self.queued_bytes),
            (Metric::LinkFramesSent, self.frames_sent),
            (Metric::LinkFramesReceived, self.frames_received),
            (Metric::LinkSentBytes, self.sent_bytes),
            (Metric::LinkReceivedBytes, self.received_bytes),
            (Metric::LinkDials, self.dials),
            (Metric::LinkDialFailures, self.dial_failures),
            (Metric::LinksBroken, self.broken),
            (Metric::LinkMessagesDropped, self.dropped),
        ]
    }
}

/// All of it, for commands that show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreFacts {
    /// Its connections.
    pub links: Vec<LinkFact>,
    /// Its hints, by target.
    pub hints: Vec<HintFact>,
    /// The pairs that it compares, by partition and node.
    pub pairs: Vec<PairFact>,
}

impl CoreFacts {
    /// Of a core's protocol, its store, and its connections.
    pub fn of<D: Disk>(shard: &Shard, store: &ReplicaStore<D>, links: Vec<LinkFact>) -> Self {
        Self { links, hints: hints(shard, store), pairs: shard.pair_facts().copied().collect() }
    }
}

fn hints<D: Disk>(shard: &Shard, store: &ReplicaStore<D>) -> Vec<HintFact> {
    let mut targets = Vec::new();
    store.hint_targets(&mut |target| targets.push(target));
    let fact = |target: NodeId| {
        let mut oldest = None;
        store.hints(target, 0, OLDEST_LOOKS_MAX, &mut |_, _, dot| {
            let written_ms = dot.clock.unix_ms();
            oldest = Some(oldest.map_or(written_ms, |oldest: u64| oldest.min(written_ms)));
        });
        let told = shard.hint_targets().find(|(other, ..)| *other == target);
        let (_, handed_over, failures) = told.unwrap_or((target, 0, 0));
        let partition = store.engine().hint_partition(target.raw());
        let file_bytes = partition.map_or(0, |partition| store.engine().partition_status(partition).live_bytes);
        let count = store.hint_count(target) as u64;
        HintFact { target, count, file_bytes, oldest_unix_ms: oldest, handed_over, failures }
    };
    targets.into_iter().map(fact).collect()
}
