//! What the engine asks of a disk. Production implements it over the core's ring, tests over memory.
//!
//! Two ways in: plain async calls for everything off the hot path, and [`File::start_write`] / [`File::start_read`], whose
//! completion whoever drives the core hands to `Engine::on_completion`.
//!
//! Offsets and lengths are multiples of 4096. Paths are relative to the data directory, unless they begin at the
//! root.

pub mod memory;

use crate::buffer::AlignedBuffer;

/// Names one operation between its start and its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId(pub u64);

/// The end of an operation that was started.
#[derive(Debug)]
pub struct Completion {
    /// Which one.
    pub operation: OperationId,
    /// A part is an error.
    pub result: Result<(), DiskError>,
    /// The buffer given at the start.
    pub buffer: AlignedBuffer,
}

/// What a disk may answer instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No such file.
    #[error("there is no such file")]
    NotFound,
    /// The name is taken.
    #[error("the file exists already")]
    Exists,
    /// No space is left.
    #[error("no space is left on the disk")]
    Full,
    /// Any other error.
    #[error("{what} failed: {}", std::io::Error::from_raw_os_error(*.errno))]
    Io {
        /// The system's error number.
        errno: i32,
        /// Which operation.
        what: &'static str,
    },
    /// Fewer bytes than asked for.
    #[error("{what} moved {bytes} of {expected} bytes")]
    Short {
        /// Which operation.
        what: &'static str,
        /// Moved.
        bytes: u64,
        /// Asked for.
        expected: u64,
    },
}

impl DiskError {
    /// Whether a link cannot be made there at all: between file systems, or in one that has none.
    pub(crate) fn is_no_link(&self) -> bool {
        // As Linux numbers them, everywhere the same.
        const EPERM: i32 = 1;
        const EXDEV: i32 = 18;
        const EMLINK: i32 = 31;
        const EOPNOTSUPP: i32 = 95;
        matches!(self, DiskError::Io { errno: EPERM | EXDEV | EMLINK | EOPNOTSUPP, .. })
    }
}

/// How a file is opened; always for direct I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Created if it is not there, to be read and written: durable only after [`File::sync`].
    Prepare,
    /// There already, for the log: every write is durable when it has ended.
    Log,
    /// For reading.
    Read,
}

/// Space of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What may still be used.
    pub available_bytes: u64,
}

/// A data directory.
pub trait Disk: Clone + 'static {
    /// Its open files.
    type File: File;

    /// Makes a directory and what is above it.
    async fn create_directory(&self, path: &str) -> Result<(), DiskError>;
    /// Names in a directory, sorted; none for a directory that is not there.
    async fn list(&self, directory: &str) -> Result<Vec<String>, DiskError>;
    /// Opens a file.
    async fn open(&self, path: &str, mode: OpenMode) -> Result<Self::File, DiskError>;
    /// Removes a file.
    async fn remove(&self, path: &str) -> Result<(), DiskError>;
    /// Gives a file a second name, which must be free.
    async fn link(&self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes an empty directory.
    async fn remove_directory(&self, path: &str) -> Result<(), DiskError>;
    /// Makes creations and removals in a directory durable.
    async fn sync_directory(&self, path: &str) -> Result<(), DiskError>;
    /// Writes several buffers, in order; durable only after a sync.
    async fn write_many(&self, writes: Vec<(Self::File, u64, AlignedBuffer)>) -> Result<(), DiskError>;
    /// As [`File::sync`] for several files: several at a time cost the device hardly more than one.
    async fn sync_many(&self, files: Vec<Self::File>) -> Result<(), DiskError>;
    /// Space of its file system.
    fn space(&self) -> Result<Space, DiskError>;
}

/// An open file; clones are the same file.
pub trait File: Clone + 'static {
    /// Its length.
    async fn size(&self) -> Result<u64, DiskError>;
    /// Makes it `bytes` long, all of it zeros that were written: a later write into it changes no metadata. Durable only after
    /// [`File::sync`].
    async fn fill_zeros(&self, bytes: u64) -> Result<(), DiskError>;
    /// Cuts it to `bytes`, which is not more than its length. Durable only after [`File::sync`].
    async fn truncate(&self, bytes: u64) -> Result<(), DiskError>;
    /// Makes what was written durable.
    async fn sync(&self) -> Result<(), DiskError>;
    /// Reads; fewer bytes only at the end of the file.
    async fn read_at(&self, offset: u64, bytes: usize) -> Result<AlignedBuffer, DiskError>;
    /// Writes the buffer from byte `skip` on, to `offset`; gives the buffer back.
    async fn write_at(&self, offset: u64, buffer: AlignedBuffer, skip: usize) -> Result<AlignedBuffer, DiskError>;
    /// Starts to write the buffer from byte `skip` on, to `offset`.
    fn start_write(&self, operation: OperationId, offset: u64, buffer: AlignedBuffer, skip: usize);
    /// Starts to read `buffer.len()` bytes.
    fn start_read(&self, operation: OperationId, offset: u64, buffer: AlignedBuffer);
}
