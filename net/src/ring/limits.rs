//! Sizes of one core's ring.

/// Sizes of one core's ring; locked memory and resident memory follow from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingLimits {
    /// Submissions queued per system call; a power of two.
    pub submission_entries: u32,
    /// Completions the kernel can hold before it overflows into slower memory; a power of two.
    pub completion_entries: u32,
    /// Receive buffers, a power of two.
    pub provided_buffers: u16,
    /// Bytes of one receive buffer.
    pub provided_buffer_bytes: usize,
}

impl RingLimits {
    /// What production uses: 4 MiB of receive buffers a core.
    pub const PRODUCTION: Self = Self {
        submission_entries: 256,
        completion_entries: 2048,
        provided_buffers: 256,
        provided_buffer_bytes: 16 * 1024,
    };

    /// Asserts how the sizes must relate.
    pub fn assert_valid(&self) {
        assert!(self.submission_entries.is_power_of_two());
        assert!(self.completion_entries.is_power_of_two());
        assert!(self.completion_entries >= 2 * self.submission_entries);
        assert!(self.provided_buffers.is_power_of_two());
        assert!(u32::from(self.provided_buffers) < self.completion_entries, "every buffer may complete in one turn");
        assert!(self.provided_buffer_bytes >= 512);
    }

    /// Bytes of receive buffers.
    pub fn memory_bytes(&self) -> usize {
        usize::from(self.provided_buffers) * self.provided_buffer_bytes
    }
}
