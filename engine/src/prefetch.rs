//! Asking the processor for memory before it is needed. Never changes what a program computes.

#![allow(unsafe_code)] // SAFETY: one instruction that has no effect but on the cache; its address comes from a reference.

/// Asks for the cache line at the start of `place`.
#[inline(always)]
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address never faults and changes nothing that a program can see; every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Asks for the first `bytes` bytes of `memory`, line by line.
#[inline(always)]
pub(crate) fn prefetch_bytes(memory: &[u8], bytes: usize) {
    for line in memory[..bytes.min(memory.len())].chunks(64) {
        prefetch(&line[0]);
    }
}
