//! The buffers that the kernel receives into: a registered ring of equal buffers, picked by the kernel as bytes arrive.
//!
//! Invariant: a buffer is either the kernel's or lent to us by a completion; each is given back exactly once per completion.

#![allow(unsafe_code)] // SAFETY: proofs at each block; the memory below is registered for as long as this value lives.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Entry memory, page-aligned as the kernel asks.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

pub(super) struct ProvidedBuffers {
    entries: Vec<Page>,
    memory: Vec<u8>,
    count: u16,
    buffer_bytes: usize,
    tail: u16,
}

impl ProvidedBuffers {
    pub(super) fn register(io: &IoUring, count: u16, buffer_bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel's bound on a buffer ring");
        assert!(buffer_bytes > 0 && u32::try_from(buffer_bytes).is_ok());
        let pages = (usize::from(count) * size_of::<BufRingEntry>()).div_ceil(4096);
        let mut entries: Vec<Page> = Vec::with_capacity(pages);
        entries.resize_with(pages, || Page([0; 4096]));
        let memory = vec![0; usize::from(count) * buffer_bytes];
        let mut provided = Self { entries, memory, count, buffer_bytes, tail: 0 };
        // SAFETY: the entries are page-aligned, large enough for `count`, and outlive the ring: `Ring` drops its IoUring
        // before this value.
        unsafe {
            io.submitter().register_buf_ring_with_flags(provided.entries.as_ptr() as u64, count, GROUP, 0)?;
        }
        for buffer in 0..count {
            provided.give_back(buffer);
        }
        Ok(provided)
    }

    /// The first `bytes` bytes of a lent buffer.
    pub(super) fn bytes(&self, buffer: u16, bytes: usize) -> &[u8] {
        assert!(buffer < self.count && bytes <= self.buffer_bytes, "the kernel filled one of our buffers");
        let start = usize::from(buffer) * self.buffer_bytes;
        &self.memory[start..start + bytes]
    }

    /// Gives a buffer to the kernel.
    pub(super) fn give_back(&mut self, buffer: u16) {
        assert!(buffer < self.count);
        let base = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        let index = usize::from(self.tail & (self.count - 1));
        let address = self.memory.as_mut_ptr().wrapping_add(usize::from(buffer) * self.buffer_bytes);
        // SAFETY: `index` is below `count`, so the entry lies in the registered pages; only this thread writes entries, and
        // the kernel reads an entry only after the tail below has passed it.
        unsafe {
            let entry = &mut *base.add(index);
            entry.set_addr(address as u64);
            entry.set_len(u32::try_from(self.buffer_bytes).expect("checked at registration"));
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first registered entry, is aligned, and is shared with the kernel as an atomic.
        unsafe {
            let tail = BufRingEntry::tail(base).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
