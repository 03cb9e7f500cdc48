//! File operations in flight, with their buffers.
//!
//! Invariant: a buffer stays in its slot from submission to completion; slots never move a buffer's bytes (`StableBytes`).

use super::StableBytes;

pub(super) struct FileOperations<B> {
    slots: Vec<Option<(u64, B)>>,
    free: Vec<u32>,
}

impl<B: StableBytes> FileOperations<B> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Slot, address and length of the operation's buffer.
    pub(super) fn start(&mut self, operation: u64, buffer: B) -> (u64, *mut u8, u32) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("operations are counted in u32")
        });
        let slot = &mut self.slots[index as usize];
        assert!(slot.is_none(), "a free slot is empty");
        let (_, buffer) = slot.insert((operation, buffer));
        let bytes = buffer.bytes_mut();
        let length = u32::try_from(bytes.len()).expect("one operation moves less than 4 GiB");
        assert!(length > 0, "an empty operation");
        (u64::from(index), bytes.as_mut_ptr(), length)
    }

    pub(super) fn finish(&mut self, slot: u64) -> (u64, B) {
        let index = u32::try_from(slot).expect("user data carries a slot that we gave");
        let ended = self.slots[index as usize].take().expect("an operation that ended was in flight");
        self.free.push(index);
        ended
    }
}
