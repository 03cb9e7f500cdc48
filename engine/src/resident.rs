//! The newest bytes of the hot log, kept in memory: a value that was just written is read from here.
//!
//! Frames are copied one behind the other into an arena that is written round and round, so keeping a value costs its share
//! of one sequential copy, and nothing is allocated or looked up by hash: the index says where a record lies in the log, and
//! [`Blocks`] says where that part of the log lies here.
//!
//! Invariant: a position is good until the arena's capacity has been written after it.

use crate::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES};

/// No position.
const NOWHERE: u64 = u64::MAX;

/// The arena. Positions count every byte ever written, so an old one is told from a new one.
#[derive(Debug)]
pub(crate) struct Resident {
    arena: Vec<u8>,
    head: u64,
}

/// Where the blocks of one segment lie in the arena, if they do.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    positions: Vec<u64>,
}

impl Resident {
    /// An arena of so many bytes; 0 keeps nothing. Memory is taken as it is first written.
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        Self { arena: vec![0; capacity_bytes], head: 0 }
    }

    /// Keeps the records of a frame that begins at `frame_offset` of a segment of `segment_bytes`; `false` when it does not.
    pub(crate) fn keep(&mut self, payload: &[u8], frame_offset: u64, segment_bytes: u64, blocks: &mut Blocks) -> bool {
        // The header is not kept, but has its room, so that blocks map to the arena as they lie.
        let bytes = FRAME_HEADER_BYTES + payload.len();
        // A frame that would take much of the arena is not worth what it would push out.
        if bytes > self.arena.len() / 8 {
            return false;
        }
        let capacity = self.arena.len() as u64;
        let mut position = self.head.next_multiple_of(16);
        let left = capacity - position % capacity;
        if left < bytes as u64 {
            position += left;
        }
        let start = usize::try_from(position % capacity).expect("below the capacity");
        self.arena[start + FRAME_HEADER_BYTES..start + bytes].copy_from_slice(payload);
        self.head = position + bytes as u64;
        blocks.note(position, bytes, frame_offset, segment_bytes);
        true
    }

    /// The bytes from `offset` of a segment on, with whatever follows; and whether they will be written over soon.
    #[inline]
    pub(crate) fn bytes(&self, blocks: &Blocks, offset: u64) -> Option<(&[u8], bool)> {
        let (block, rest) = (offset / BLOCK_BYTES as u64, offset % BLOCK_BYTES as u64);
        let position = *blocks.positions.get(usize::try_from(block).ok()?)?;
        let capacity = self.arena.len() as u64;
        if position == NOWHERE || self.head - position > capacity {
            return None;
        }
        let goes_soon = self.head - position > capacity - capacity / 4;
        let start = usize::try_from((position + rest) % capacity).expect("below the capacity");
        Some((&self.arena[start..], goes_soon))
    }

    /// Asks for the memory that says where `offset` of a segment lies.
    #[inline]
    pub(crate) fn prefetch(&self, blocks: &Blocks, offset: u64) {
        let block = usize::try_from(offset / BLOCK_BYTES as u64).ok();
        if let Some(position) = block.and_then(|block| blocks.positions.get(block)) {
            crate::prefetch::prefetch(position);
        }
    }

    /// Bytes of the arena.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes of the arena that were ever written.
    pub(crate) fn used_bytes(&self) -> usize {
        usize::try_from(self.head).map_or(self.arena.len(), |head| head.min(self.arena.len()))
    }
}

impl Blocks {
    fn note(&mut self, position: u64, bytes: usize, frame_offset: u64, segment_bytes: u64) {
        if self.positions.is_empty() {
            let blocks = usize::try_from(segment_bytes).expect("segments fit memory") / BLOCK_BYTES;
            self.positions = vec![NOWHERE; blocks];
        }
        let first = usize::try_from(frame_offset).expect("segments fit memory") / BLOCK_BYTES;
        for (number, block) in self.positions[first..first + bytes.div_ceil(BLOCK_BYTES)].iter_mut().enumerate() {
            *block = position + (number * BLOCK_BYTES) as u64;
        }
    }

    /// Forgets everything: the segment is used anew.
    pub(crate) fn clear(&mut self) {
        self.positions = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_until_it_is_written_over() {
        let mut resident = Resident::new(64 << 10);
        let mut blocks = Blocks::default();
        let frame = |byte: u8| vec![byte; 5000];
        let mut oldest = 0;
        for number in 0..40_u8 {
            assert!(resident.keep(&frame(number), u64::from(number) * 8192, 1 << 20, &mut blocks));
            for earlier in 0..=number {
                // The first and the second block of each frame.
                for offset in [100, 4096 + 900] {
                    match resident.bytes(&blocks, u64::from(earlier) * 8192 + offset) {
                        Some((bytes, _)) => assert_eq!(bytes[..4], [earlier; 4], "{earlier} of {number}"),
                        None => oldest = oldest.max(earlier),
                    }
                }
            }
            assert!(number - oldest >= number.min(9), "about 12 frames fit");
        }
        assert!(oldest > 20, "old frames went");
        assert!(resident.bytes(&blocks, 500 * 4096).is_none());
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let mut resident = Resident::new(0);
        let mut blocks = Blocks::default();
        assert!(!resident.keep(&[1; 100], 4096, 1 << 20, &mut blocks));
        assert!(resident.bytes(&blocks, 4096).is_none());
    }
}
