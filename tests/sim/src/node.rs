//! What the world asks of a node: of its disk, which outlives its process, and of the stores and the protocol of its cores.
//!
//! The world drives everything through these traits, so that a store that is nothing but maps and the production engine on a
//! disk in memory run under the same clients, faults and checkers.
//!
//! Invariant: whatever a core's store reports as stored, it holds after every crash, unless a fault that the world counts
//! damages it.

use std::rc::Rc;

use annulus_cluster::effect::Effects;
use annulus_cluster::event::{Event, Key, Now, StoreFailure};
use annulus_cluster::ids::{Home, NodeId, StoreToken};
use annulus_cluster::limits::Limits;
use annulus_cluster::store::Store;
use annulus_object::{Actor, Clock, Dot, Object};

use crate::clock::Instant;
use crate::ring::Ring;
use crate::seeds::Random;

/// What became of something that a core's store was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A write has ended.
    Stored {
        /// From the effect.
        token: StoreToken,
        /// Whether it is stored.
        result: Result<(), StoreFailure>,
    },
    /// A read has ended.
    Loaded {
        /// From the effect.
        token: StoreToken,
        /// Where it was read.
        home: Home,
        /// The key's bytes; empty where there is nothing.
        key: Vec<u8>,
        /// Their hash; as asked for where there are none.
        hash: u128,
        /// The encoded object; empty where there is none; `None` when the disk did not tell.
        object: Option<Vec<u8>>,
    },
    /// An own write failed: this node needs a new incarnation before it stamps again.
    NeedIncarnation,
    /// The disk failed so badly that nothing more is written before the process has started again.
    ReadOnly,
}

/// What is wrong with a node's disk just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Troubles {
    /// Everything takes so many times as long.
    pub slowness: u64,
    /// The next write of a log fails.
    pub fails_append: bool,
    /// Reads fail.
    pub fails_reads: bool,
    /// So full that new values are not welcome; merges are still taken.
    pub no_writes: bool,
    /// So full that nothing is taken.
    pub read_only: bool,
}

impl Troubles {
    /// A good disk.
    pub const NONE: Troubles =
        Troubles { slowness: 1, fails_append: false, fails_reads: false, no_writes: false, read_only: false };
}

/// What faults of a disk really did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Log writes that failed.
    pub failed_appends: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Writes that were refused for want of space.
    pub refused: u64,
    /// Writes that a crash lost.
    pub lost_in_crash: u64,
    /// Writes that had not been confirmed and were there after a crash.
    pub kept_in_crash: u64,
    /// Starts that were interrupted before they were done.
    pub interrupted: u64,
    /// Writes that had failed and were there after a restart.
    pub ghosts: u64,
    /// Damaged bytes that a checksum has shown.
    pub rot_found: u64,
    /// Drains of an engine's log that ended well.
    pub drains: u64,
    /// Compactions of whole partitions.
    pub compactions: u64,
    /// Merges that waited for a record from the disk.
    pub merge_reads: u64,
    /// Writes that found no room at once.
    pub stalls: u64,
    /// Records that were read from the disk.
    pub disk_reads: u64,
    /// Times that the scrub has looked at everything.
    pub scrubs: u64,
}

impl DiskCounts {
    /// Adds those of another disk.
    pub fn add(&mut self, other: &DiskCounts) {
        self.failed_appends += other.failed_appends;
        self.failed_reads += other.failed_reads;
        self.refused += other.refused;
        self.lost_in_crash += other.lost_in_crash;
        self.kept_in_crash += other.kept_in_crash;
        self.interrupted += other.interrupted;
        self.ghosts += other.ghosts;
        self.rot_found += other.rot_found;
        self.drains += other.drains;
        self.compactions += other.compactions;
        self.merge_reads += other.merge_reads;
        self.stalls += other.stalls;
        self.disk_reads += other.disk_reads;
        self.scrubs += other.scrubs;
    }
}

/// How a node's stores are opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// How many cores there are now.
    pub cores: u16,
    /// Who stamps.
    pub actor: Actor,
    /// Who would have, if an earlier start of this process was interrupted.
    pub interrupted: Option<Actor>,
    /// Every stamp is above it.
    pub clock: Clock,
    /// The node's clocks.
    pub now: Now,
}

/// A node's disk.
pub trait Disk {
    /// The store of one core.
    type Core: CoreStore;
    /// Whether bits of it can flip.
    const ROTS: bool;

    /// An empty disk of a node of a cluster with so many partitions.
    fn new(partitions: u16, random: Random) -> Self;
    /// Opens the stores of all cores on what is there.
    fn open(&mut self, opening: Opening) -> Vec<Self::Core>;
    /// The process ends without a word: what was not confirmed may be gone.
    fn crash(&mut self, cores: Vec<Self::Core>);
    /// The disk is replaced by an empty one. The node is down.
    fn wipe(&mut self);
    /// What is wrong with it from now on.
    fn set_troubles(&mut self, troubles: Troubles);
    /// Lets bits flip; how many did.
    fn rot(&mut self) -> u64;
    /// What faults did so far.
    fn counts(&self) -> DiskCounts;
}

/// The store of one core.
pub trait CoreStore: Store {
    /// Carries out [`annulus_cluster::effect::Effect::Store`].
    fn start_store(&mut self, token: StoreToken, home: Home, key: &Key<'_>, object: &[u8], now: Now);
    /// Carries out [`annulus_cluster::effect::Effect::Load`].
    fn start_load(&mut self, token: StoreToken, home: Home, key: &Key<'_>, now: Now);
    /// Carries out [`annulus_cluster::effect::Effect::Forget`].
    fn forget(&mut self, home: Home, key: &Key<'_>, dot: Dot);
    /// Ends a turn: what was stored is on its way to the disk.
    fn end_turn(&mut self, instant: Instant, now: Now);
    /// When something ends next.
    fn next_due(&self) -> Option<Instant>;
    /// What was due by now has ended.
    fn advance(&mut self, instant: Instant, now: Now);
    /// Whether there is any.
    fn has_done(&self) -> bool;
    /// What became of what was asked for.
    fn next_done(&mut self) -> Option<Done>;
    /// Stamps by another actor from now on.
    fn adopt(&mut self, actor: Actor);
    /// Above everything that was stamped or met.
    fn clock(&self) -> Clock;
    /// Whether nothing is under way.
    fn is_idle(&self) -> bool;
    /// What is there of a key, for checkers.
    fn object(&mut self, home: Home, key: &Key<'_>) -> Option<Object>;
    /// The root of a partition's hash tree, where there are trees.
    fn root(&self, partition: u16) -> Option<u128>;
}

/// What a core's protocol is made with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its node.
    pub node: NodeId,
    /// Which of the node's cores.
    pub core: u16,
    /// How many the node has.
    pub cores: u16,
    /// Who owns what.
    pub ring: Rc<Ring>,
    /// Its limits.
    pub limits: Limits,
    /// Differs from that of every other life of the node.
    pub life: u32,
    /// The actor, if this life goes on stamping with one of an earlier life.
    pub earlier_actor: Option<Actor>,
    /// Its disk was replaced, and it was not refilled since.
    pub is_refilling: bool,
}

/// What a message says: words, the writes that it carries, words.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// What it asks or tells.
    pub before: String,
    /// The writes that it is about, if it carries any states.
    pub dots: Option<Vec<Dot>>,
    /// What else.
    pub after: String,
}

/// The protocol of one core, as the world drives it.
pub trait Protocol<S: Store> {
    /// The protocol of a core that starts.
    fn new(setup: Setup) -> Self;
    /// One event in, effects out.
    fn on_event(&mut self, now: Now, event: Event<'_>, store: &mut S, effects: &mut Effects);
    /// Requests that are under way and repairs, hints and the like that wait: what has to be bounded.
    fn load(&self) -> Load;
    /// What its exchanges came to so far.
    fn exchanges(&self) -> ExchangeCounts;
    /// What its refilling came to so far.
    fn refilling(&self) -> RefillCounts;
    /// Whether it has all that it owns as other owners have it, after its disk was lost.
    fn is_refilled(&self, store: &S) -> bool;
    /// The writes that a message tells of, if it is an answer to a question.
    fn told(bytes: &[u8]) -> Vec<Dot>;
    /// What a message says, for the story.
    fn describe(bytes: &[u8]) -> Described;
}

/// How much a core has under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that it coordinates.
    pub requests: usize,
    /// Operations that it does for other coordinators.
    pub operations: usize,
    /// Hints that it is handing over.
    pub hints_in_flight: usize,
    /// Exchanges that it has begun: they go on for ever.
    pub exchanges: usize,
}

/// What a core's exchanges came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExchangeCounts {
    /// Begun.
    pub begun: u64,
    /// Ended with equal trees.
    pub equal: u64,
    /// Ended with trees that differed.
    pub differing: u64,
    /// Not answered, or refused.
    pub failed: u64,
    /// Begun because of a copy that nobody kept a hint of.
    pub of_dirty: u64,
    /// Keys compared.
    pub keys: u64,
    /// Objects that came because this core lacked some of them.
    pub objects: u64,
}

impl ExchangeCounts {
    /// Adds what has come to `now` since `before`.
    pub fn add(&mut self, now: &ExchangeCounts, before: &ExchangeCounts) {
        self.begun += now.begun - before.begun;
        self.equal += now.equal - before.equal;
        self.differing += now.differing - before.differing;
        self.failed += now.failed - before.failed;
        self.of_dirty += now.of_dirty - before.of_dirty;
        self.keys += now.keys - before.keys;
        self.objects += now.objects - before.objects;
    }
}

/// What a core's refilling came to, after its node's disk was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefillCounts {
    /// Times that what it told of a key did not count as an owner's word.
    pub uncounted: u64,
    /// Partitions that are whole again.
    pub partitions: u64,
}

impl RefillCounts {
    /// Adds what has come to `now` since `before`.
    pub fn add(&mut self, now: &RefillCounts, before: &RefillCounts) {
        self.uncounted += now.uncounted - before.uncounted;
        self.partitions += now.partitions - before.partitions;
    }
}
