//! A file that is read and never written.
//!
//! Invariant: the length is that of the moment of opening; what a live node appends later is not looked at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::map::Map;

/// An open file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Source {
    /// Opens it for reading.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let open = || -> io::Result<(File, u64)> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|error| Failure::io("open", path, error))?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// So many bytes from an offset; fewer where the file ends before.
    pub fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
        let mut buffer = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::io("read", &self.path, error)),
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }

    /// Maps the first bytes of it; see [`Map::new`] for which may be.
    pub fn map(&self, length: u64) -> Result<Map, Failure> {
        assert!(length <= self.length, "no more is mapped than there is");
        Map::new(&self.file, length).map_err(|error| Failure::io("map", &self.path, error))
    }
}
