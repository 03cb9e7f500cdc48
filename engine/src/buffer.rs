//! Memory that direct I/O can use: aligned to 4 KiB, in whole blocks, and at the same address wherever the value moves.

use bytemuck::{Pod, Zeroable};

/// Alignment, and unit of the capacity.
pub const ALIGNMENT: usize = 4096;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Block([u8; ALIGNMENT]);

/// A growable byte buffer in aligned memory.
#[derive(Clone, Default)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
    len: usize,
}

impl AlignedBuffer {
    /// An empty buffer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { blocks: Vec::with_capacity(bytes.div_ceil(ALIGNMENT)), len: 0 }
    }

    /// Bytes in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.blocks.capacity() * ALIGNMENT
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }

    /// The bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
    }

    /// Makes it `len` bytes long. Bytes that were never in use are zero; bytes of an earlier, longer use are as they were.
    pub fn resize(&mut self, len: usize) {
        let blocks = len.div_ceil(ALIGNMENT);
        if blocks > self.blocks.len() {
            self.blocks.resize(blocks, Block::zeroed());
        }
        self.len = len;
    }

    /// Makes it `len` bytes long; added bytes are zero.
    pub fn resize_zeroed(&mut self, len: usize) {
        let before = self.len;
        self.resize(len);
        if let Some(added) = self.as_mut_slice().get_mut(before..) {
            added.fill(0);
        }
    }

    /// Adds bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let before = self.len;
        self.resize(before + bytes.len());
        self.as_mut_slice()[before..].copy_from_slice(bytes);
    }

    /// Forgets the bytes, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AlignedBuffer({} of {} bytes)", self.len, self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_and_grows_with_zeros() {
        let mut buffer = AlignedBuffer::with_capacity(1);
        buffer.extend_from_slice(b"abc");
        assert_eq!(buffer.as_slice().as_ptr() as usize % ALIGNMENT, 0);
        buffer.clear();
        buffer.resize_zeroed(5000);
        assert!(buffer.as_slice().iter().all(|byte| *byte == 0));
        assert_eq!((buffer.len(), buffer.capacity() % ALIGNMENT), (5000, 0));
    }
}
