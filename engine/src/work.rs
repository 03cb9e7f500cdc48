//! Background work: what a store wants done beside its turns, as futures that whoever drives the core runs.

use crate::compaction::{Step, StepDone};
use crate::disk::{Disk, DiskError, File, OpenMode};
use crate::frame::BLOCK_BYTES;
use crate::scrub::{Fetch, Fetched};
use crate::snapshot;

/// A piece of background work.
pub struct Work<D: Disk> {
    disk: D,
    kind: Kind<D>,
}

enum Kind<D: Disk> {
    Prepare { instance: u8, path: String, bytes: u64 },
    Remove { path: String },
    Compact(Step<D::File>),
    Scrub(Fetch<D::File>),
    Snapshot { id: u64, step: snapshot::Step<D::File> },
}

/// The result of a piece of work.
pub struct WorkDone<D: Disk>(pub(crate) Done<D>);

pub(crate) enum Done<D: Disk> {
    Prepared { instance: u8, path: String, bytes: u64, result: Result<D::File, PrepareError> },
    Removed { path: String, result: Result<(), DiskError> },
    Compacted(StepDone<D::File>),
    Scrubbed(Fetched),
    Snapshot(snapshot::StepDone<D::File>),
}

/// Why a segment could not be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PrepareError {
    /// It can be tried again.
    #[error("{0}")]
    Disk(DiskError),
    /// The disk cannot say what is durable.
    #[error("syncing failed: {0}")]
    Sync(DiskError),
}

impl<D: Disk> Work<D> {
    pub(crate) fn prepare(disk: D, instance: u8, path: String, bytes: u64) -> Self {
        Self { disk, kind: Kind::Prepare { instance, path, bytes } }
    }

    pub(crate) fn remove(disk: D, path: String) -> Self {
        Self { disk, kind: Kind::Remove { path } }
    }

    pub(crate) fn compact(disk: D, step: Step<D::File>) -> Self {
        Self { disk, kind: Kind::Compact(step) }
    }

    pub(crate) fn scrub(disk: D, fetch: Fetch<D::File>) -> Self {
        Self { disk, kind: Kind::Scrub(fetch) }
    }

    pub(crate) fn snapshot(disk: D, id: u64, step: snapshot::Step<D::File>) -> Self {
        Self { disk, kind: Kind::Snapshot { id, step } }
    }

    /// Does it.
    pub async fn run(self) -> WorkDone<D> {
        let Self { disk, kind } = self;
        WorkDone(match kind {
            Kind::Prepare { instance, path, bytes } => {
                let result = prepare(&disk, &path, bytes).await;
                Done::Prepared { instance, path, bytes, result }
            }
            Kind::Remove { path } => {
                let result = remove(&disk, &path).await;
                Done::Removed { path, result }
            }
            Kind::Compact(step) => Done::Compacted(step.run(&disk).await),
            Kind::Scrub(fetch) => Done::Scrubbed(fetch.run().await),
            Kind::Snapshot { id, step } => {
                let result = step.run(&disk).await;
                Done::Snapshot(snapshot::StepDone { id, result })
            }
        })
    }
}

/// Makes a segment: space reserved and filled with zeros, all durable, so that log writes change no metadata.
pub(crate) async fn prepare<D: Disk>(disk: &D, path: &str, bytes: u64) -> Result<D::File, PrepareError> {
    assert!(bytes.is_multiple_of(BLOCK_BYTES as u64));
    let file = disk.open(path, OpenMode::Prepare).await.map_err(PrepareError::Disk)?;
    let filled = fill(&file, bytes).await;
    if let Err(error) = filled {
        // What was reserved must not stay: a disk that is full would stay full.
        let _ = disk.remove(path).await;
        return Err(error);
    }
    disk.sync_directory(parent(path)).await.map_err(PrepareError::Sync)?;
    disk.open(path, OpenMode::Log).await.map_err(PrepareError::Disk)
}

async fn fill<F: File>(file: &F, bytes: u64) -> Result<(), PrepareError> {
    file.fill_zeros(bytes).await.map_err(PrepareError::Disk)?;
    file.sync().await.map_err(PrepareError::Sync)
}

async fn remove<D: Disk>(disk: &D, path: &str) -> Result<(), DiskError> {
    disk.remove(path).await?;
    disk.sync_directory(parent(path)).await
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
