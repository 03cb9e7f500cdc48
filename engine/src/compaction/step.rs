//! One step of a compaction in the background: reads, writes, syncs, removals.
//!
//! It decides nothing and knows no records.
//!
//! Invariant: what a step was asked to sync is durable when it has ended well, the names of new and removed files included.

use super::output::Part;
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, DiskError, File, OpenMode};
use crate::join::both;

/// A write to a partition's file.
pub(crate) struct WriteOp<F> {
    pub(crate) part: Part,
    /// `None`: it is made, at `path`.
    pub(crate) file: Option<F>,
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) buffer: AlignedBuffer,
}

/// What to do, in the order of the fields; the read goes beside the writes.
pub(crate) struct Step<F> {
    pub(crate) read: Option<(F, u64, usize)>,
    pub(crate) writes: Vec<WriteOp<F>>,
    pub(crate) truncates: Vec<(F, u64)>,
    pub(crate) syncs: Vec<F>,
    pub(crate) removes: Vec<String>,
    /// Where names were made or removed.
    pub(crate) names_in: Vec<String>,
}

/// How a step ended.
pub(crate) struct StepDone<F> {
    pub(crate) read: Option<AlignedBuffer>,
    pub(crate) opened: Vec<(Part, F)>,
    pub(crate) result: Result<(), StepError>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StepError {
    /// It can be tried again.
    #[error("{0}")]
    Disk(DiskError),
    /// The disk cannot say what is durable.
    #[error("syncing failed: {0}")]
    Sync(DiskError),
}

impl<F> Default for Step<F> {
    fn default() -> Self {
        Self {
            read: None,
            writes: Vec::new(),
            truncates: Vec::new(),
            syncs: Vec::new(),
            removes: Vec::new(),
            names_in: Vec::new(),
        }
    }
}

impl<F: File> Step<F> {
    /// Does it.
    pub(crate) async fn run<D: Disk<File = F>>(mut self, disk: &D) -> StepDone<F> {
        let mut opened = Vec::new();
        let Self { read, writes, .. } = &mut self;
        let (read, writes) = (read.take(), std::mem::take(writes));
        let reading = async {
            match read {
                None => Ok(None),
                Some((file, offset, bytes)) => file.read_at(offset, bytes).await.map(Some),
            }
        };
        let (read, written) = both(reading, write(disk, writes, &mut opened)).await;
        let (read, result) = match (read, written) {
            (Err(error), _) | (_, Err(error)) => (None, Err(StepError::Disk(error))),
            (Ok(read), Ok(())) => (read, finish(disk, self).await),
        };
        StepDone { read, opened, result }
    }
}

async fn write<D: Disk>(
    disk: &D,
    writes: Vec<WriteOp<D::File>>,
    opened: &mut Vec<(Part, D::File)>,
) -> Result<(), DiskError> {
    let mut ready = Vec::with_capacity(writes.len());
    for WriteOp { part, file, path, offset, buffer } in writes {
        let file = match file {
            Some(file) => file,
            None => {
                let file = disk.open(&path, OpenMode::Prepare).await?;
                opened.push((part, file.clone()));
                file
            }
        };
        ready.push((file, offset, buffer));
    }
    if ready.is_empty() { Ok(()) } else { disk.write_many(ready).await }
}

/// What comes behind the writes.
async fn finish<D: Disk>(disk: &D, step: Step<D::File>) -> Result<(), StepError> {
    let Step { truncates, syncs, removes, names_in, .. } = step;
    for (file, bytes) in truncates {
        file.truncate(bytes).await.map_err(StepError::Disk)?;
    }
    if !syncs.is_empty() {
        disk.sync_many(syncs).await.map_err(StepError::Sync)?;
    }
    for path in removes {
        match disk.remove(&path).await {
            Ok(()) | Err(DiskError::NotFound) => {}
            Err(error) => return Err(StepError::Disk(error)),
        }
    }
    for directory in names_in {
        disk.sync_directory(&directory).await.map_err(StepError::Sync)?;
    }
    Ok(())
}
