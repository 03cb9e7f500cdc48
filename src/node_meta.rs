//! `node.meta`: who this node is, kept in four copies of one 4 KiB block.
//!
//! ```text
//! offset  bytes  block (little endian), zero-filled to 4096
//!      0      8  magic "ANNLMETA"
//!      8      4  CRC-32 of everything after this field
//!     12      4  format version
//!     16      8  generation: grows with every save
//!     24     16  cluster id
//!     40     16  hash key
//!     56      8  node id (48 bits used)
//!     64      8  clock when the last run ended, as a raw hybrid logical clock
//!     72      4  layout of the hot log
//!     76      4  partitions
//!     80      2  incarnation
//!     82      2  cores
//!     84      1  1 = the last run ended cleanly
//!     85      1  durability of the last run: 0 none, 1 sync, 2 interval, 3 memory
//!     86      2  zero
//!     88      4  how often it has started
//!     92      1  copies of a key, 0 = never in a cluster
//!     93      1  nodes that found the cluster, 0 = it does not found one
//!     94      1  1 = it lost its disk and was not filled since
//!     95      1  1 = others were members of its cluster
//!     96      8  hash of its cluster's name, zero = never in a cluster
//! ```
//!
//! Format 1 ends with the durability; what follows is zero, and means that.
//!
//! A save writes copies 0 and 1 and syncs, then copies 2 and 3 and syncs. What counts is the newest generation of which two
//! copies are valid and equal; a single newer copy is the trace of an interrupted save and is ignored. Opening the file
//! first replaces the copies that differ from what counts, so that a save always leaves two that do.
//!
//! It is not a log and not for the hot path: it is read at start and saved a few times in a run, through `std::fs`.
//!
//! Invariant: after a crash at any moment, or damage to any one copy when none was being written, the file still says
//! either what was saved last or, while that save had not returned, what was saved before.

mod block;
mod error;
mod file;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use crate::config::Durability;

pub use error::MetaError;
pub use file::{MetaFile, read, write_new};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "node.meta";
/// Newest format that this program knows, and the one it writes.
pub const FORMAT_VERSION: u32 = 2;
/// Node ids use so many bits.
pub const NODE_ID_BITS: u32 = 48;

/// Who this node is, and how its last run ended.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeMeta {
    /// Which cluster it belongs to; drawn when the cluster was founded.
    pub cluster_id: [u8; 16],
    /// Key of the keyed hash over keys; drawn when the cluster was founded.
    pub hash_key: [u8; 16],
    /// The node, below 2^48, never 0.
    pub node_id: u64,
    /// Part of the actor; a new one after any start that may have lost acknowledged state. Never 0.
    pub incarnation: u16,
    /// Layout number of the hot log in use.
    pub layout: u32,
    /// Cores of that layout.
    pub cores: u16,
    /// Partitions of the key space, a power of two.
    pub partitions: u32,
    /// The last run ended with everything on stable storage.
    pub clean: bool,
    /// Raw hybrid logical clock when the last run ended or the last save was made: stamps must be above it.
    pub clock: u64,
    /// Durability of the last run; `None` before the first.
    pub durability: Option<Durability>,
    /// What it remembers of its cluster.
    pub cluster: ClusterMeta,
}

/// What a node remembers of its cluster; the default was never in one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterMeta {
    /// How often the node has started: see [`annulus_cluster::failure_detector::Identity`]. Raised and stored at every start.
    pub generation: u32,
    /// Copies of a key; 0 until it was in a cluster.
    pub copies: u8,
    /// So many empty nodes are to found the cluster, this one among them; 0: it founds none, or has.
    pub founding: u8,
    /// It lost its disk and was not filled since: that it does not have something says nothing.
    pub is_refilling: bool,
    /// Other nodes were members, and may have what this one has not: for ever.
    pub has_others: bool,
    /// Of the cluster's name, see [`crate::secrets::name_hash`]; zero until it was in a cluster.
    pub name_hash: [u8; 8],
}

/// `node.meta` of a node that runs, as all of its threads share it: the file, and what it says.
pub type SharedMeta = Arc<Mutex<(MetaFile, NodeMeta)>>;

/// Changes what the file says, and stores it before this returns.
pub fn save(meta: &SharedMeta, change: impl FnOnce(&mut NodeMeta)) -> Result<(), MetaError> {
    let mut guard = meta.lock().expect("a panic ends the process");
    let (file, meta) = &mut *guard;
    change(meta);
    file.save(meta)
}

impl NodeMeta {
    /// A new node of a new cluster. Errors: the system gives no random bytes.
    pub fn found(cores: u16, partitions: u32) -> Result<Self, MetaError> {
        let mut meta = Self {
            cluster_id: [0; 16],
            hash_key: [0; 16],
            node_id: random_node_id()?,
            incarnation: 1,
            layout: 1,
            cores,
            partitions,
            clean: true,
            clock: 0,
            durability: None,
            cluster: ClusterMeta::default(),
        };
        random(&mut meta.cluster_id)?;
        random(&mut meta.hash_key)?;
        meta.assert_valid();
        Ok(meta)
    }

    /// Makes this a different actor: the next incarnation, or once those are used up a new node id. It counts only when it
    /// was saved. Errors: the system gives no random bytes.
    pub fn take_incarnation(&mut self) -> Result<(), MetaError> {
        let before = (self.node_id, self.incarnation);
        match self.incarnation.checked_add(1) {
            Some(next) => self.incarnation = next,
            None => {
                self.node_id = random_node_id()?;
                self.incarnation = 1;
            }
        }
        assert_ne!(before, (self.node_id, self.incarnation));
        Ok(())
    }

    /// Makes this an actor whose incarnation is above one that was used, as far as somebody remembers. It counts only when it was
    /// saved. Errors: there is none above, or the system gives no random bytes.
    pub fn take_incarnation_above(&mut self, above: u16) -> Result<(), MetaError> {
        let least = above.checked_add(1).ok_or(MetaError::IncarnationsUsedUp)?;
        if self.incarnation >= least {
            return self.take_incarnation();
        }
        self.incarnation = least;
        Ok(())
    }

    /// Notes that the node starts: its generation is another one than ever before.
    pub fn take_generation(&mut self) {
        self.cluster.generation = self.cluster.generation.checked_add(1).expect("a node does not start 2^32 times");
    }

    fn assert_valid(&self) {
        assert!(self.is_valid(), "node.meta holds only what makes sense: {self:?}");
    }

    fn is_valid(&self) -> bool {
        self.node_id > 0
            && self.node_id >> NODE_ID_BITS == 0
            && self.incarnation > 0
            && self.cores > 0
            && self.partitions.is_power_of_two()
            && self.partitions >= u32::from(self.cores)
    }
}

impl std::fmt::Debug for NodeMeta {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The hash key stays out of logs: who knows it can make keys collide.
        formatter
            .debug_struct("NodeMeta")
            .field("cluster_id", &format_args!("{:032x}", u128::from_be_bytes(self.cluster_id)))
            .field("node_id", &format_args!("{:012x}", self.node_id))
            .field("incarnation", &self.incarnation)
            .field("layout", &self.layout)
            .field("cores", &self.cores)
            .field("partitions", &self.partitions)
            .field("clean", &self.clean)
            .field("clock", &self.clock)
            .field("durability", &self.durability)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

fn random_node_id() -> Result<u64, MetaError> {
    // A draw is 0 once in 2^48: sixteen in a row mean that there is no randomness.
    for _ in 0..16 {
        let mut bytes = [0; 8];
        random(&mut bytes)?;
        let id = u64::from_le_bytes(bytes) >> (u64::BITS - NODE_ID_BITS);
        if id > 0 {
            return Ok(id);
        }
    }
    Err(MetaError::Random("only zeros were drawn".to_owned()))
}

fn random(bytes: &mut [u8]) -> Result<(), MetaError> {
    getrandom::fill(bytes).map_err(|error| MetaError::Random(error.to_string()))
}
