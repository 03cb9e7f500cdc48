//! A file in memory without reading it: the only unsafe code of the tool.
//!
//! Invariant: what is mapped is never written through the mapping, and only bytes below an end that the writer does not move
//! back are mapped.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions};

/// The first bytes of a file.
#[derive(Debug)]
pub struct Map(Option<Mmap>);

impl Map {
    /// Maps the first `length` bytes, which are there.
    #[allow(unsafe_code, reason = "mapping a file is unsafe, since others may change it; see below why they do not")]
    pub fn new(file: &File, length: u64) -> io::Result<Map> {
        if length == 0 {
            // An empty mapping is an error to the system.
            return Ok(Map(None));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        // SAFETY: the mapping is read-only. Only partition files are mapped, up to the end of their last trailer: a node
        // appends behind it and cuts off only what lies behind it, and a file that it removes stays whole while it is mapped.
        // The bytes are plain numbers, which every value of is valid. Who changes or cuts a copy under the tool by other means
        // makes it report damage or end with a bus error; nothing is written on the strength of what it reads.
        let map = unsafe { MmapOptions::new().len(length).map(file)? };
        Ok(Map(Some(map)))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
