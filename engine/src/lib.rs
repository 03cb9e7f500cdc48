//! One core's data: keys, versions and values are bytes, partitions are numbers. Knows no sockets and no cluster.
//!
//! * [`Engine`]: the store of one core; `write_path`, `merge_path`, `durable`, `entries`, `read_path`, `recovery` and
//!   `housekeeping` are its parts. [`Versions`]: what it knows of a key without reading.
//! * `hot_log`, `segments`: the log on disk and which of its files are still needed; [`record`], [`frame`], [`segment`]: its
//!   formats. [`sealed_run`]: the format of partition files. [`merkle`]: the hash tree of a partition.
//! * `hints`: what is kept for other nodes.
//! * `compaction`, `scrub`: what makes files short, and what finds rot in them.
//! * [`index`], `side_table`, `resident`, `cache`, `memory_store`, `pending`, `waiting_merges`: what is in memory.
//! * [`snapshot`]: what the store holds at one moment, kept beside it.
//! * [`disk`]: what a store asks of a disk, and a faulty one in memory whose every crash can be built.
//!
//! The README beside the sources draws the formats and says what is durable when.

mod buffer;
mod cache;
mod compaction;
mod compaction_policy;
mod compare;
mod config;
mod cuts;
pub mod disk;
mod disk_level;
mod durable;
mod engine;
mod entries;
mod error;
pub mod frame;
mod hints;
mod hot_log;
mod housekeeping;
pub mod index;
mod join;
mod keyed_hash;
mod limits;
mod liveness;
mod memory_store;
mod merge_path;
pub mod merkle;
mod partition_files;
mod partitions;
mod pending;
mod prefetch;
mod read_path;
pub mod record;
mod recovery;
mod resident;
mod scrub;
pub mod sealed_run;
pub mod segment;
mod segments;
mod side_table;
mod slab;
pub mod snapshot;
mod statistics;
mod trees;
mod versions;
mod waiting_merges;
mod work;
mod write_path;

pub use buffer::AlignedBuffer;
pub use config::{Config, Durability, layout_directory, log_directory};
pub use disk::{Completion, Disk, DiskError, File, OpenMode, OperationId, Space};
pub use engine::{Engine, Event, Key, keyed_hash};
pub use error::{Error, ReadError, Refusal};
pub use hot_log::Commit;
pub use limits::Limits;
pub use merge_path::{Merge, Merged, object_record};
pub use partition_files::{parse_partition_name, partition_path};
pub use read_path::{Description, Found, ObjectFound, ReadPlan, Record, ScanBatch, ScanEntry, WARM_STEPS};
pub use record::RecordRef;
pub use recovery::{Corruption, Progress, RecoveryReport};
pub use scrub::{DamagedPlace, ScrubStatus};
pub use snapshot::{SnapshotError, SnapshotReport};
pub use statistics::{Counts, DiskLevel, PartitionStatus, Statistics};
pub use versions::{SiblingDots, Versions};
pub use waiting_merges::MergeTicket;
pub use work::{Work, WorkDone};
pub use write_path::Written;
