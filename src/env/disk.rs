//! The production disk: hot-log writes and record reads on the core's ring, everything else through the executor's
//! direct-I/O files and its helper threads.
//!
//! Invariant: a file stays open until the last operation on it has ended, because every operation carries the file.

#![allow(unsafe_code)] // SAFETY: the one `unsafe impl` below says why it holds.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use annulus_engine::{AlignedBuffer, Completion, Disk, DiskError, File, OpenMode, OperationId, Space};
use annulus_net::ring::{Ring, StableBytes};
use glommio::io::{DmaFile, OpenOptions};

/// Bytes of one transfer off the hot path: below every device's maximum, which some drivers do not enforce well.
const TRANSFER_BYTES: usize = 512 << 10;

/// A file operation's buffer while the kernel has it.
pub struct InFlight {
    buffer: AlignedBuffer,
    /// The operation begins here in the buffer.
    skip: usize,
    writes: bool,
    /// Keeps the descriptor open.
    _file: Rc<DmaFile>,
}

// SAFETY: an AlignedBuffer is a Vec of blocks, whose memory is on the heap: moving the value moves a pointer to it.
unsafe impl StableBytes for InFlight {
    fn bytes(&self) -> &[u8] {
        &self.buffer.as_slice()[self.skip..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut_slice()[self.skip..]
    }
}

struct HotOperation {
    fd: RawFd,
    operation: OperationId,
    offset: u64,
    in_flight: InFlight,
}

/// Operations that wait for the end of the turn.
type HotQueue = Rc<RefCell<VecDeque<HotOperation>>>;

/// The disk of one core, below the data directory.
#[derive(Clone)]
pub struct RingDisk {
    root: Rc<Path>,
    hot: HotQueue,
}

impl RingDisk {
    /// A disk below `root`, which exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), hot: HotQueue::default() }
    }

    /// Hands the operations that were started to the ring.
    pub fn submit(&self, ring: &mut Ring<InFlight>) {
        let mut hot = self.hot.borrow_mut();
        while let Some(HotOperation { fd, operation, offset, in_flight }) = hot.pop_front() {
            if in_flight.writes {
                ring.write_file(fd, operation.0, offset, in_flight);
            } else {
                ring.read_file(fd, operation.0, offset, in_flight);
            }
        }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DiskError> {
    glommio::executor().spawn_blocking(work).await.map_err(|error| disk_error(what, &error))
}

fn fill_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    let mut zeros = AlignedBuffer::with_capacity(TRANSFER_BYTES);
    zeros.resize_zeroed(TRANSFER_BYTES);
    for offset in (0..bytes).step_by(TRANSFER_BYTES) {
        let part = usize::try_from(bytes - offset).map_or(TRANSFER_BYTES, |rest| rest.min(TRANSFER_BYTES));
        file.write_all_at(&zeros.as_slice()[..part], offset)?;
    }
    Ok(())
}

/// Syncs files from a few threads: the kernel makes one flush of what comes while the device is busy with another.
fn sync_side_by_side(paths: &[PathBuf]) -> io::Result<()> {
    const THREADS: usize = 4;
    let sync = |paths: &[PathBuf]| paths.iter().try_for_each(|path| std::fs::File::open(path)?.sync_data());
    if paths.len() <= THREADS {
        return sync(paths);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            paths.chunks(paths.len().div_ceil(THREADS)).map(|part| scope.spawn(move || sync(part))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("syncing does not panic"))
    })
}

/// What a completed operation of the ring means to the engine.
pub fn completion(operation: u64, in_flight: InFlight, result: io::Result<usize>) -> Completion {
    let InFlight { buffer, skip, writes, .. } = in_flight;
    let expected = buffer.len() - skip;
    let what = if writes { "write" } else { "read" };
    let result = match result {
        Ok(bytes) if bytes == expected => Ok(()),
        Ok(bytes) => Err(DiskError::Short { what, bytes: bytes as u64, expected: expected as u64 }),
        Err(error) => Err(disk_error(what, &error)),
    };
    Completion { operation: OperationId(operation), result, buffer }
}

fn disk_error(what: &'static str, error: &io::Error) -> DiskError {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => DiskError::NotFound,
        (io::ErrorKind::AlreadyExists, _) => DiskError::Exists,
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => DiskError::Full,
        (_, errno) => DiskError::Io { errno: errno.unwrap_or(0), what },
    }
}

fn executor_error<T>(what: &'static str, error: &glommio::GlommioError<T>) -> DiskError {
    match error {
        glommio::GlommioError::IoError(error) | glommio::GlommioError::EnhancedIoError { source: error, .. } => {
            disk_error(what, error)
        }
        _ => DiskError::Io { errno: 0, what },
    }
}

impl Disk for RingDisk {
    type File = RingFile;

    async fn create_directory(&self, path: &str) -> Result<(), DiskError> {
        let (root, path) = (self.root.to_path_buf(), self.path(path));
        blocking("create directory", move || {
            std::fs::create_dir_all(&path)?;
            // Each directory on the way may be new, and its name is in the one above it.
            let above = path.ancestors().skip(1).take_while(|above| above.starts_with(&root));
            above.into_iter().try_for_each(|above| std::fs::File::open(above)?.sync_all())
        })
        .await
    }

    async fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        let path = self.path(directory);
        blocking("list directory", move || {
            let entries = match std::fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let mut names = Vec::new();
            for entry in entries {
                // A name that is no UTF-8 is not ours.
                names.extend(entry?.file_name().into_string().ok());
            }
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn open(&self, path: &str, mode: OpenMode) -> Result<RingFile, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Prepare => {
                options.write(true).create(true);
            }
            OpenMode::Log => {
                options.write(true).custom_flags(libc::O_DSYNC);
            }
        }
        let path = self.path(path);
        let file = options.dma_open(&path).await.map_err(|error| executor_error("open", &error))?;
        Ok(RingFile { path: path.into(), file: Rc::new(file), hot: Rc::clone(&self.hot) })
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        let path = self.path(path);
        blocking("remove", move || std::fs::remove_file(path)).await
    }

    async fn link(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let (from, to) = (self.path(from), self.path(to));
        blocking("link", move || std::fs::hard_link(from, to)).await
    }

    async fn remove_directory(&self, path: &str) -> Result<(), DiskError> {
        let path = self.path(path);
        blocking("remove directory", move || std::fs::remove_dir(path)).await
    }

    async fn sync_directory(&self, path: &str) -> Result<(), DiskError> {
        let path = self.path(path);
        blocking("sync directory", move || std::fs::File::open(path)?.sync_all()).await
    }

    async fn write_many(&self, writes: Vec<(RingFile, u64, AlignedBuffer)>) -> Result<(), DiskError> {
        // In one go on a helper thread, as filling is.
        let writes: Vec<_> =
            writes.into_iter().map(|(file, offset, buffer)| (file.path.to_path_buf(), offset, buffer)).collect();
        blocking("write", move || {
            for (path, offset, buffer) in writes {
                let file = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
                for (index, part) in buffer.as_slice().chunks(TRANSFER_BYTES).enumerate() {
                    file.write_all_at(part, offset + (index * TRANSFER_BYTES) as u64)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn sync_many(&self, files: Vec<RingFile>) -> Result<(), DiskError> {
        let paths: Vec<_> = files.into_iter().map(|file| file.path.to_path_buf()).collect();
        blocking("sync", move || sync_side_by_side(&paths)).await
    }

    fn space(&self) -> Result<Space, DiskError> {
        let statistics = rustix::fs::statvfs(&*self.root).map_err(|error| disk_error("statvfs", &error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(statistics.f_frsize);
        Ok(Space { total_bytes: bytes(statistics.f_blocks), available_bytes: bytes(statistics.f_bavail) })
    }
}

/// An open file of a [`RingDisk`].
#[derive(Clone)]
pub struct RingFile {
    path: Rc<Path>,
    file: Rc<DmaFile>,
    hot: HotQueue,
}

impl RingFile {
    fn start(&self, operation: OperationId, offset: u64, buffer: AlignedBuffer, skip: usize, writes: bool) {
        assert!(
            offset.is_multiple_of(4096) && (buffer.len() - skip).is_multiple_of(4096) && skip.is_multiple_of(4096),
            "direct I/O is aligned"
        );
        let in_flight = InFlight { buffer, skip, writes, _file: Rc::clone(&self.file) };
        self.hot.borrow_mut().push_back(HotOperation { fd: self.file.as_raw_fd(), operation, offset, in_flight });
    }
}

impl File for RingFile {
    async fn size(&self) -> Result<u64, DiskError> {
        self.file.file_size().await.map_err(|error| executor_error("size", &error))
    }

    async fn fill_zeros(&self, bytes: u64) -> Result<(), DiskError> {
        let path = self.path.to_path_buf();
        // In one go on a helper thread: step by step it would wait for the executor's turn a hundred times.
        blocking("fill", move || fill_zeros(&path, bytes)).await
    }

    async fn truncate(&self, bytes: u64) -> Result<(), DiskError> {
        self.file.truncate(bytes).await.map_err(|error| executor_error("truncate", &error))
    }

    async fn sync(&self) -> Result<(), DiskError> {
        self.file.fdatasync().await.map_err(|error| executor_error("sync", &error))
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<AlignedBuffer, DiskError> {
        let mut buffer = AlignedBuffer::with_capacity(bytes);
        while buffer.len() < bytes {
            let want = (bytes - buffer.len()).min(TRANSFER_BYTES);
            let part = self
                .file
                .read_at_aligned(offset + buffer.len() as u64, want)
                .await
                .map_err(|error| executor_error("read", &error))?;
            buffer.extend_from_slice(&part);
            if part.len() < want {
                break;
            }
        }
        Ok(buffer)
    }

    async fn write_at(&self, offset: u64, buffer: AlignedBuffer, skip: usize) -> Result<AlignedBuffer, DiskError> {
        for (index, part) in buffer.as_slice()[skip..].chunks(TRANSFER_BYTES).enumerate() {
            let mut copy = self.file.alloc_dma_buffer(part.len());
            copy.as_bytes_mut()[..part.len()].copy_from_slice(part);
            let position = offset + (index * TRANSFER_BYTES) as u64;
            let written = self.file.write_at(copy, position).await.map_err(|error| executor_error("write", &error))?;
            if written < part.len() {
                return Err(DiskError::Short { what: "write", bytes: written as u64, expected: part.len() as u64 });
            }
        }
        Ok(buffer)
    }

    fn start_write(&self, operation: OperationId, offset: u64, buffer: AlignedBuffer, skip: usize) {
        self.start(operation, offset, buffer, skip, true);
    }

    fn start_read(&self, operation: OperationId, offset: u64, buffer: AlignedBuffer) {
        self.start(operation, offset, buffer, 0, false);
    }
}
