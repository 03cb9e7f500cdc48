//! A coordinator allocates nothing for a command once it has had as many at a time before.

#![allow(unsafe_code, reason = "an allocator that counts")]

#[path = "support/coordinator.rs"]
mod coordinator;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use coordinator::Coordinator;

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often memory was asked for.
fn counted(work: impl FnOnce()) -> u64 {
    let before = COUNT.load(Ordering::Relaxed);
    work();
    COUNT.load(Ordering::Relaxed) - before
}

#[test]
fn puts_and_gets_in_a_steady_state_allocate_nothing() {
    let mut coordinator = Coordinator::new();
    assert!(counted(|| coordinator.put()) > 0, "the first one does: allocations are counted");
    coordinator.get();
    let commands = 10_000;
    let puts = counted(|| (0..commands).for_each(|_| coordinator.put()));
    let gets = counted(|| (0..commands).for_each(|_| coordinator.get()));
    assert_eq!((puts, gets), (0, 0));
    assert_eq!((coordinator.answered, coordinator.in_flight()), (2 * commands + 2, 0));
}
