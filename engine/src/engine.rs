//! One core's store: the state, the events it gives out, and what it is asked about itself.
//!
//! How it writes is in `write_path` and `merge_path`, what becomes of a write in `durable` and `entries`, how it reads in `read_path`, how it
//! starts in `recovery`, what it does on the side in `housekeeping`.
//!
//! Invariant: the index names exactly the durable, newest record of every key (with memory durability: the newest), which says
//! the key's whole state: all siblings and their context. What is newer and not yet durable is in `pending`.

use std::collections::VecDeque;
use std::hash::Hasher;

use annulus_object::{Actor, Clock, HybridClock};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::buffer::AlignedBuffer;
use crate::cache::Cache;
use crate::compaction::{Compaction, Pacing};
use crate::config::{Config, Durability};
use crate::disk::{Completion, Disk, OperationId};
use crate::hints::Hints;
use crate::hot_log::{Commit, HotLog, Identity, LARGE, SMALL};
use crate::housekeeping::{DiskState, Failures};
use crate::index::{ActorTable, Index};
use crate::memory_store::MemoryStore;
use crate::partition_files::PartitionFiles;
use crate::partitions::Partitions;
use crate::pending::Pending;
use crate::read_path::{Reading, Record};
use crate::recovery::{RecoveryReport, Scattered};
use crate::resident::Resident;
use crate::scrub::Scrub;
use crate::segments::Segments;
use crate::side_table::SideTable;
use crate::slab::Slab;
use crate::snapshot::{Snapshot, SnapshotError, SnapshotReport};
use crate::statistics::Counts;
use crate::trees::Trees;
use crate::waiting_merges::WaitingMerges;
use crate::work::Work;
use crate::write_path::{PendingMark, PendingWrite};
use crate::{ReadError, Statistics};

/// A key, with what the core computed of it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Its bytes, at most 65,535.
    pub bytes: &'a [u8],
    /// Its partition.
    pub partition: u16,
    /// Its keyed hash.
    pub hash: u128,
}

/// What happened, in order.
#[derive(Debug)]
pub enum Event {
    /// Every commit of this instance up to this one is on stable storage.
    Durable(Commit),
    /// This commit is not, and what it wrote is visible no more.
    Failed(Commit),
    /// A read has ended.
    Read {
        /// The number given at its start.
        token: u64,
        /// The record.
        result: Result<std::rc::Rc<Record>, ReadError>,
    },
    /// Writes wait for [`Engine::adopt_incarnation`]: an own write was lost.
    NeedIncarnation,
    /// The disk failed again: nothing more is written.
    ReadOnly,
    /// A snapshot has ended.
    Snapshot(Result<SnapshotReport, SnapshotError>),
}

/// One core's store.
pub struct Engine<D: Disk> {
    pub(crate) disk: D,
    pub(crate) config: Config,
    pub(crate) actor: Actor,
    pub(crate) clock: HybridClock,
    /// What every stamp's context covers: of a node alone, all that was merged when this store opened.
    pub(crate) floor: Clock,
    /// The largest clock of a sibling that was met, whoever stamped it.
    pub(crate) highest: Clock,
    /// Its own, and those for hints.
    pub(crate) partitions: Partitions,
    pub(crate) hints: Hints,
    pub(crate) index: Index,
    pub(crate) actors: ActorTable,
    pub(crate) side: SideTable,
    pub(crate) trees: Trees,
    pub(crate) resident: Resident,
    pub(crate) resident_hits: u64,
    pub(crate) cache: Cache,
    pub(crate) store: MemoryStore,
    pub(crate) pending: Pending<PendingWrite>,
    /// What cannot be merged before a record is read.
    pub(crate) waiting_merges: WaitingMerges,
    /// While a store opens: keys whose state is the merge of several records, and where these lie.
    pub(crate) scattered: Scattered,
    /// Some pending write may hide an earlier one of the other instance.
    pub(crate) has_hidden_writes: bool,
    /// Keys that pending writes add, less those that they remove.
    pub(crate) pending_keys: i64,
    /// A FLUSHALL that is not durable: what is at or below is not seen any more.
    pub(crate) pending_mark: Option<PendingMark>,
    /// The newest durable one, and where it lies.
    pub(crate) mark: Option<(Clock, u16)>,
    pub(crate) logs: [HotLog; 2],
    pub(crate) segments: Segments<D::File>,
    pub(crate) partition_files: PartitionFiles<D::File>,
    /// What is being compacted.
    pub(crate) compaction: Option<Box<Compaction<D::File>>>,
    pub(crate) pacing: Pacing,
    pub(crate) scrub: Scrub<D::File>,
    /// What is being kept.
    pub(crate) snapshot: Option<Box<Snapshot<D::File>>>,
    pub(crate) snapshots_begun: u64,
    /// The newest sequence that was given to a segment.
    pub(crate) sequence: u64,
    pub(crate) identity: Identity,
    pub(crate) reads: Slab<Reading<D::File>>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) work: VecDeque<Work<D>>,
    /// A segment is being prepared for the instance.
    pub(crate) preparing: [bool; 2],
    pub(crate) next_segment_number: u32,
    pub(crate) failures: Failures,
    pub(crate) disk_state: DiskState,
    pub(crate) now_us: u64,
    pub(crate) closing: bool,
    pub(crate) counts: Counts,
    pub(crate) recovery: RecoveryReport,
    /// Buffers of segments that are read while the store opens.
    pub(crate) scan_buffers: Vec<AlignedBuffer>,
}

impl<D: Disk> Engine<D> {
    /// An empty store; recovery fills it.
    pub(crate) fn empty(disk: D, config: Config) -> Self {
        config.limits.assert_valid();
        assert!(!config.partitions.is_empty(), "a core owns a partition");
        let identity = Identity {
            layout: config.layout,
            core: config.core,
            cores: config.cores,
            node: config.actor.node(),
            cluster_id: config.cluster_id,
        };
        let cache_bytes = if config.durability == Durability::Memory { 0 } else { config.cache_bytes };
        let resident_bytes = (cache_bytes / 2).min(config.limits.resident_bytes_max);
        let partitions = Partitions::new(config.partitions.clone(), config.hints_from);
        Self {
            disk,
            actor: config.actor,
            clock: HybridClock::new(config.clock),
            floor: if config.is_alone { config.clock } else { Clock::ZERO },
            highest: Clock::ZERO,
            index: Index::over(&partitions),
            actors: ActorTable::new(),
            side: SideTable::new(&partitions),
            trees: Trees::new(&partitions),
            resident: Resident::new(resident_bytes),
            resident_hits: 0,
            cache: Cache::new(cache_bytes - resident_bytes),
            store: MemoryStore::new(),
            pending: Pending::new(crate::write_path::PENDING_LIMITS),
            waiting_merges: WaitingMerges::default(),
            scattered: Scattered::default(),
            has_hidden_writes: false,
            pending_keys: 0,
            pending_mark: None,
            mark: None,
            logs: [HotLog::new(SMALL), HotLog::new(LARGE)],
            segments: Segments::new(),
            partition_files: PartitionFiles::new(&partitions),
            compaction: None,
            pacing: Pacing::default(),
            scrub: Scrub::new(config.now_unix_ms),
            snapshot: None,
            snapshots_begun: 0,
            sequence: 0,
            identity,
            reads: Slab::new(),
            events: VecDeque::new(),
            work: VecDeque::new(),
            preparing: [false; 2],
            next_segment_number: 0,
            failures: Failures::default(),
            disk_state: DiskState::default(),
            now_us: 0,
            closing: false,
            counts: Counts::default(),
            recovery: RecoveryReport::default(),
            scan_buffers: Vec::new(),
            partitions,
            hints: Hints::default(),
            config,
        }
    }

    /// A key of one of this core's partitions.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8], partition: u16) -> Key<'a> {
        debug_assert!(self.partitions.owned().contains(&partition), "the core owns the partition");
        Key { bytes, partition, hash: keyed_hash(&self.config.hash_key, bytes) }
    }

    /// True when nothing is logged.
    #[inline]
    pub(crate) fn is_memory(&self) -> bool {
        self.config.durability == Durability::Memory
    }

    /// What a reply that depends on a commit waits for.
    #[inline]
    pub(crate) fn wait_for(&self, commit: Commit) -> Option<Commit> {
        (self.config.durability == Durability::Sync).then_some(commit)
    }

    /// By whom it stamps.
    pub fn actor(&self) -> Actor {
        self.config.actor
    }

    /// What a write survives that was acknowledged.
    pub fn durability(&self) -> Durability {
        self.config.durability
    }

    /// Bytes of a value, or of several siblings with their context, that can be stored whatever their key is.
    pub fn value_bytes_max(&self) -> usize {
        self.config.limits.value_bytes_max()
    }

    /// What recovery found.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Above everything that was stamped or met.
    pub fn clock(&self) -> Clock {
        self.clock.last()
    }

    /// Number of keys, what is not durable yet included.
    pub fn keys(&self) -> u64 {
        let visible = if self.pending_mark.is_some() { 0 } else { self.index.live() };
        let keys = i64::try_from(visible).expect("keys are counted in i64") + self.pending_keys;
        u64::try_from(keys).unwrap_or(0)
    }

    /// Number of durable keys that expire.
    pub fn expiring_keys(&self) -> u64 {
        self.side.expiring() as u64
    }

    /// Number of keys of a partition, what is not durable yet included.
    pub fn keys_in(&self, partition: u16) -> u64 {
        let durable = if self.pending_mark.is_some() { 0 } else { self.index.live_in(partition) };
        self.keys_with_pending(durable, |other| other == partition)
    }

    /// The same of all partitions of this core that `is_wanted` names.
    pub fn keys_among(&self, is_wanted: impl Fn(u16) -> bool) -> u64 {
        let wanted = || self.partitions.owned().filter(|partition| is_wanted(*partition));
        let durable = if self.pending_mark.is_some() { 0 } else { wanted().map(|of| self.index.live_in(of)).sum() };
        let owned = self.partitions.owned();
        self.keys_with_pending(durable, |partition| owned.contains(&partition) && is_wanted(partition))
    }

    fn keys_with_pending(&self, durable: usize, is_wanted: impl Fn(u16) -> bool) -> u64 {
        let keys = i64::try_from(durable).expect("keys are counted in i64") + self.change_by_pending(is_wanted);
        u64::try_from(keys).unwrap_or(0)
    }

    /// The next event.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next piece of background work; its result goes to [`Engine::on_work_done`].
    #[inline]
    pub fn next_work(&mut self) -> Option<Work<D>> {
        self.work.pop_front()
    }

    /// A started operation has ended.
    pub fn on_completion(&mut self, completion: Completion, now_unix_ms: u64) {
        match completion.operation {
            OperationId(instance @ 0..2) => {
                self.on_log_write(usize::try_from(instance).expect("below 2"), completion, now_unix_ms);
            }
            OperationId(read) => self.on_record_read(read - 2, completion),
        }
    }

    /// Stamps by another actor from now on, and takes writes again.
    pub fn adopt_incarnation(&mut self, actor: Actor) {
        assert_ne!(actor, self.actor, "an actor that may have lost a write is not used again");
        self.actor = actor;
        // A lone node's new actor replaces what earlier ones stamped, all of which this store has merged.
        if self.config.is_alone {
            self.floor = self.clock.last();
        }
        self.identity.node = actor.node();
        self.failures.awaits_incarnation = false;
    }

    /// Others may have versions of these keys from now on: what only a store that is alone may do is done no more. There is no
    /// way back while the store is open. What was stamped before covers all that there was, and nobody else had anything: whoever
    /// joins stamps above this store's clock.
    pub fn join_others(&mut self) {
        self.config.is_alone = false;
        // A later stamp must not cover what somebody else has stamped meanwhile with a clock that is behind.
        self.floor = Clock::ZERO;
    }

    /// Takes no more writes: no new incarnation can be stored.
    pub fn refuse_writes(&mut self) {
        self.become_read_only();
    }

    /// Lets everything become durable; see [`Engine::is_closed`].
    pub fn begin_close(&mut self) {
        self.closing = true;
        self.abandon_snapshot();
    }

    /// True when nothing waits for the disk.
    pub fn is_closed(&self) -> bool {
        self.closing && self.logs.iter().all(HotLog::is_quiet) && self.reads.len() == 0
    }

    /// True when no write waits for the disk.
    pub fn is_quiet(&self) -> bool {
        self.logs.iter().all(HotLog::is_quiet)
    }

    /// True when a write failed and nobody stamps by another actor yet: the next start must.
    pub fn may_have_lost_writes(&self) -> bool {
        self.failures.read_only || self.failures.awaits_incarnation
    }

    /// Memory that counts against the limit.
    pub fn memory_bytes(&self) -> usize {
        self.index.bytes()
            + self.side.bytes()
            + self.trees.bytes()
            + self.resident.capacity_bytes()
            + self.cache.capacity_bytes()
            + self.store.bytes()
            + self.pending.bytes()
            + self.waiting_merges.bytes()
            + self.compaction.as_ref().map_or(0, |compaction| compaction.memory_bytes())
            + self.scrub.memory_bytes()
            + self.logs.iter().map(HotLog::memory_bytes).sum::<usize>()
    }

    /// Figures for INFO and the metrics.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            keys: self.keys(),
            expiring: self.expiring_keys(),
            tombstones: self.index.tombstones() as u64,
            index_bytes: self.index.bytes() as u64,
            index_entries: self.index.len() as u64,
            side_table_bytes: self.side.bytes() as u64,
            cache_bytes: (self.resident.used_bytes() + self.cache.bytes()) as u64,
            cache_capacity_bytes: (self.resident.capacity_bytes() + self.cache.capacity_bytes()) as u64,
            cache_hits: self.resident_hits + self.cache.hits(),
            cache_misses: self.cache.misses(),
            memory_store_bytes: self.store.bytes() as u64,
            memory_bytes: self.memory_bytes() as u64,
            log_segments: self.segments.len() as u64,
            log_segments_pinned: self.segments.iter().filter(|(_, segment)| segment.pins > 0).count() as u64,
            log_bytes: self.segments.bytes(),
            log_tail_bytes_live: self
                .segments
                .iter()
                .filter(|(_, segment)| segment.live > 0)
                .map(|(_, s)| s.written)
                .sum(),
            partition_files: self.partition_files.iter().map(|(_, set)| set.files().count() as u64).sum(),
            runs: self.partition_files.iter().map(|(_, set)| set.runs().len() as u64).sum(),
            partition_file_bytes: self.partition_files.bytes(),
            live_bytes: self.live_bytes(),
            partitions_damaged: self.partition_files.iter().filter(|(_, set)| set.damaged).count() as u64,
            write_delay_us: self.pacing.write_delay_us,
            pending_writes: self.pending.len() as u64,
            pending_bytes: self.pending.bytes() as u64,
            pending_commits: self.logs.iter().map(HotLog::depth).sum::<usize>() as u64,
            reads_in_flight: self.reads.len() as u64,
            is_read_only: self.failures.read_only,
            disk_state: self.disk_state.level,
            disk_available_bytes: self.disk_state.available_bytes,
            counts: self.counts.clone(),
        }
    }
}

/// The 128-bit keyed hash of a key.
#[inline]
#[must_use]
pub fn keyed_hash(hash_key: &[u8; 16], bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new_with_key(hash_key);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}
