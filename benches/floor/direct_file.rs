//! A file for direct I/O that nobody else can see: it has lost its name before it is used, so that it goes when it is
//! closed, however the program ends.

use super::error::FloorError;
use crate::random::Random;
use annulus_engine::AlignedBuffer;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a block: what is read at a time, and what every file consists of.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes that are written at a time when a file is filled.
const PIECE_BYTES: usize = 1 << 20;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new file of zeros whose every write is durable when it has ended: written in full, so that appends to it change
/// nothing but its data.
pub fn zeroed(directory: &Path, bytes: u64) -> Result<File, FloorError> {
    filled(create(directory, libc::O_DSYNC)?, bytes, |_, _| {})
}

/// A new file of random bytes, each block beginning with its number.
pub fn numbered(directory: &Path, bytes: u64) -> Result<File, FloorError> {
    let mut random = Random::new(8);
    filled(create(directory, 0)?, bytes, |offset, piece| {
        for (word, number) in piece.as_chunks_mut::<8>().0.iter_mut().zip(offset / 8..) {
            let is_first = number % (BLOCK_BYTES as u64 / 8) == 0;
            *word = if is_first { number * 8 / BLOCK_BYTES as u64 } else { random.next() }.to_le_bytes();
        }
    })
}

fn create(directory: &Path, more_flags: i32) -> Result<File, FloorError> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("annulus-floor-{}-{number}", std::process::id()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).custom_flags(libc::O_DIRECT | more_flags);
    let opened = options.open(&path);
    // A file system that refuses the flag may have made the file before; a taken name is not ours to remove.
    let is_taken = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists);
    let removed = if is_taken { Ok(()) } else { fs::remove_file(&path) };
    match opened {
        Ok(file) => removed.map(|()| file).map_err(FloorError::at("removing the file's name")),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(FloorError::NoDirect(directory.to_path_buf())),
        Err(error) => Err(FloorError::at("creating a file in the directory")(error)),
    }
}

fn filled(file: File, bytes: u64, mut fill: impl FnMut(u64, &mut [u8])) -> Result<File, FloorError> {
    assert!(bytes > 0 && bytes.is_multiple_of(PIECE_BYTES as u64), "files are made of whole pieces");
    let mut piece = AlignedBuffer::default();
    piece.resize(PIECE_BYTES);
    for offset in (0..bytes).step_by(PIECE_BYTES) {
        fill(offset, piece.as_mut_slice());
        file.write_all_at(piece.as_slice(), offset).map_err(FloorError::at("filling the file"))?;
    }
    file.sync_all().map_err(FloorError::at("syncing the file"))?;
    Ok(file)
}
