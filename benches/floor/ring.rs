//! A ring as small as it can be: file reads and writes, sends, multishot accepts and receives, with SINGLE_ISSUER and
//! DEFER_TASKRUN. The only file here that names the `io-uring` crate's operations or has anything unsafe.
//!
//! What it is not: the node's ring. It has a slot for each operation that needs memory, no wake-ups, and no limits.
//!
//! Invariants: memory that the kernel may touch belongs to the ring, is out of reach while it may, and is freed only when
//! nothing is in flight any more; a provided buffer is either the kernel's or lent to the caller.

#![allow(unsafe_code, reason = "a submission points to memory, which only its author can vouch for: see each block")]

use super::error::FloorError;
use annulus_engine::AlignedBuffer;
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long a turn waits for a completion.
const TURN_TIME_MAX: Duration = Duration::from_secs(10);
const SUBMISSION_ENTRIES: u32 = 256;
const COMPLETION_ENTRIES: u32 = 8192;
/// The one group of provided buffers, how many they are, and how long each.
const GROUP: u16 = 0;
const PROVIDED: u16 = 256;
const PROVIDED_BYTES: usize = 16 * 1024;

// What an operation is, in the upper half of its user data; the slot is in the lower.
const ACCEPT: u32 = 1;
const RECEIVE: u32 = 2;
const SEND: u32 = 3;
const FILE: u32 = 4;
const CANCEL: u32 = 5;

/// The end of an operation, or one result of an operation that goes on.
#[derive(Debug)]
pub enum Completion {
    /// A client connected, or accepting failed.
    Accepted(io::Result<OwnedFd>),
    /// Bytes arrived on a socket: the lent buffer and how many bytes; none at the end of the stream.
    Received {
        /// As given to [`Ring::receive`].
        slot: usize,
        /// To be read with [`Ring::received`] and given back with [`Ring::give_back`].
        result: io::Result<Option<(u16, usize)>>,
        /// The receive goes on by itself; else it has to be started again.
        more: bool,
    },
    /// A send has ended after so many bytes.
    Sent {
        /// Whose buffer it was.
        slot: usize,
        /// Bytes taken.
        result: io::Result<usize>,
    },
    /// A read or write has ended after so many bytes.
    File {
        /// Whose buffer it was.
        slot: usize,
        /// Bytes moved.
        result: io::Result<usize>,
    },
}

/// One thread's ring.
pub struct Ring {
    // The kernel's side goes before the memory it may write to.
    io: IoUring,
    memory: Memory,
    /// Operations that will still give a completion.
    in_flight: usize,
    /// Slots whose send is silent unless it falls short, and how many bytes each sends.
    attempts: Vec<(usize, usize)>,
    raw: Vec<(u64, i32, u32)>,
    completions: VecDeque<Completion>,
}

/// All that the kernel may touch.
#[derive(Default)]
struct Memory {
    slots: Vec<Slot>,
    provided: Option<Provided>,
}

#[derive(Default)]
struct Slot {
    buffer: AlignedBuffer,
    is_busy: bool,
}

struct Provided {
    /// The entries of the buffer ring: page-aligned.
    entries: AlignedBuffer,
    bytes: AlignedBuffer,
    is_lent: Vec<bool>,
    tail: u16,
}

impl Ring {
    /// A ring of the calling thread with so many slots.
    pub fn new(slots: usize) -> Result<Ring, FloorError> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETION_ENTRIES)
            .build(SUBMISSION_ENTRIES)
            .map_err(FloorError::of_ring)?;
        let mut memory = Memory::default();
        memory.slots.resize_with(slots, Slot::default);
        let (attempts, raw, completions) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(Ring { io, memory, in_flight: 0, attempts, raw, completions })
    }

    /// Gives the kernel buffers to receive into.
    pub fn provide_buffers(&mut self) -> Result<(), FloorError> {
        assert!(self.memory.provided.is_none(), "buffers are provided once");
        let mut provided = Provided {
            entries: AlignedBuffer::default(),
            bytes: AlignedBuffer::default(),
            is_lent: vec![true; usize::from(PROVIDED)],
            tail: 0,
        };
        provided.entries.resize(usize::from(PROVIDED) * size_of::<BufRingEntry>());
        provided.bytes.resize(usize::from(PROVIDED) * PROVIDED_BYTES);
        let address = provided.entries.as_mut_slice().as_mut_ptr() as u64;
        let provided = self.memory.provided.insert(provided);
        // SAFETY: the entries are page-aligned and as many as announced; `memory` keeps them at their address, never
        // resized, until the ring is closed.
        let registered = unsafe { self.io.submitter().register_buf_ring_with_flags(address, PROVIDED, GROUP, 0) };
        registered.map_err(FloorError::at("registering receive buffers"))?;
        (0..PROVIDED).for_each(|buffer| provided.give_back(buffer));
        Ok(())
    }

    /// The buffer of a slot with nothing in flight (asserted).
    pub fn buffer(&mut self, slot: usize) -> &mut AlignedBuffer {
        let slot = &mut self.memory.slots[slot];
        assert!(!slot.is_busy, "the kernel has the buffer");
        &mut slot.buffer
    }

    /// Fills the slot's buffer from a file.
    pub fn read(&mut self, slot: usize, file: impl AsFd, offset: u64) {
        let (pointer, bytes) = self.lend(slot);
        let entry = opcode::Read::new(Fd(file.as_fd().as_raw_fd()), pointer, bytes).offset(offset).build();
        self.push(entry, FILE, slot);
    }

    /// Writes the slot's buffer to a file.
    pub fn write(&mut self, slot: usize, file: impl AsFd, offset: u64) {
        let (pointer, bytes) = self.lend(slot);
        let entry = opcode::Write::new(Fd(file.as_fd().as_raw_fd()), pointer, bytes).offset(offset).build();
        self.push(entry, FILE, slot);
    }

    /// Sends as much of the slot's buffer as the socket takes at once; success costs no completion of the kernel's.
    pub fn attempt_send(&mut self, slot: usize, socket: impl AsFd) {
        let (pointer, bytes) = self.lend(slot);
        let entry = opcode::Send::new(Fd(socket.as_fd().as_raw_fd()), pointer, bytes)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, SEND, slot);
        // Only a failure completes, and is counted when it does.
        self.in_flight -= 1;
        self.attempts.push((slot, bytes as usize));
    }

    /// Sends the slot's whole buffer, waiting until the socket has taken it.
    pub fn send(&mut self, slot: usize, socket: impl AsFd) {
        let (pointer, bytes) = self.lend(slot);
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(Fd(socket.as_fd().as_raw_fd()), pointer, bytes).flags(flags).build();
        self.push(entry, SEND, slot);
    }

    /// Receives into provided buffers until something ends it; completions carry `slot`, which need not exist.
    pub fn receive(&mut self, slot: usize, socket: impl AsFd) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_fd().as_raw_fd()), GROUP).build();
        self.push(entry, RECEIVE, slot);
    }

    /// Accepts until something ends it.
    pub fn accept(&mut self, listener: impl AsFd) {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_fd().as_raw_fd()));
        self.push(accept.flags(libc::SOCK_CLOEXEC).build(), ACCEPT, 0);
    }

    /// The bytes in a lent buffer (asserted).
    pub fn received(&self, buffer: u16, bytes: usize) -> &[u8] {
        let provided = self.memory.provided.as_ref().expect("received bytes lie in provided buffers");
        assert!(provided.is_lent[usize::from(buffer)] && bytes <= PROVIDED_BYTES, "the buffer is lent");
        &provided.bytes.as_slice()[usize::from(buffer) * PROVIDED_BYTES..][..bytes]
    }

    /// Gives a lent buffer (asserted) to the kernel again.
    pub fn give_back(&mut self, buffer: u16) {
        self.memory.provided.as_mut().expect("received bytes lie in provided buffers").give_back(buffer);
    }

    /// Submits what is queued, waits for a completion, for ten seconds at most, and collects what is there.
    pub fn turn(&mut self) -> Result<(), FloorError> {
        let timespec = Timespec::from(TURN_TIME_MAX);
        let arguments = SubmitArgs::new().timespec(&timespec);
        let mut want = usize::from(self.completions.is_empty());
        loop {
            match self.io.submitter().submit_with_args(want, &arguments) {
                Ok(_) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => {}
                Err(error) => return Err(FloorError::at("entering the ring")(error)),
            }
            let completions = self.io.completion();
            self.raw.extend(completions.map(|entry| (entry.user_data(), entry.result(), entry.flags())));
            let submissions = self.io.submission();
            if submissions.is_empty() && !submissions.cq_overflow() {
                break;
            }
            want = 0;
        }
        let mut raw = std::mem::take(&mut self.raw);
        for (user_data, result, flags) in raw.drain(..) {
            self.complete((user_data >> 32) as u32, user_data as u32 as usize, result, flags);
        }
        self.raw = raw;
        // What was attempted, submitted and not complained of is done.
        while let Some((slot, bytes)) = self.attempts.pop() {
            self.memory.slots[slot].is_busy = false;
            self.completions.push_back(Completion::Sent { slot, result: Ok(bytes) });
        }
        Ok(())
    }

    /// The next completion that was collected.
    pub fn next_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    fn complete(&mut self, kind: u32, slot: usize, result: i32, flags: u32) {
        let attempt = if kind == SEND { self.attempts.iter().position(|(of, _)| *of == slot) } else { None };
        if let Some(attempt) = attempt {
            self.attempts.swap_remove(attempt);
        } else if !cqueue::more(flags) {
            self.in_flight -= 1;
        }
        let bytes = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        let completion = match kind {
            // SAFETY: a successful accept gives us a descriptor that nobody else owns.
            ACCEPT => Completion::Accepted(bytes.map(|_| unsafe { OwnedFd::from_raw_fd(result) })),
            RECEIVE => {
                let buffer = cqueue::buffer_select(flags).inspect(|buffer| self.lent(*buffer));
                let result = bytes.map(|bytes| buffer.map(|buffer| (buffer, bytes)));
                Completion::Received { slot, result, more: cqueue::more(flags) }
            }
            SEND | FILE => {
                self.memory.slots[slot].is_busy = false;
                match kind {
                    SEND => Completion::Sent { slot, result: bytes },
                    _ => Completion::File { slot, result: bytes },
                }
            }
            _ => return,
        };
        self.completions.push_back(completion);
    }

    fn lent(&mut self, buffer: u16) {
        let provided = self.memory.provided.as_mut().expect("received bytes lie in provided buffers");
        let is_lent = &mut provided.is_lent[usize::from(buffer)];
        assert!(!std::mem::replace(is_lent, true), "the buffer was the kernel's");
    }

    /// Marks the slot busy; its buffer.
    fn lend(&mut self, slot: usize) -> (*mut u8, u32) {
        let bytes = self.buffer(slot).as_mut_slice();
        assert!(!bytes.is_empty(), "an operation moves something");
        let lent = (bytes.as_mut_ptr(), u32::try_from(bytes.len()).expect("buffers are far below 4 GiB"));
        self.memory.slots[slot].is_busy = true;
        lent
    }

    fn push(&mut self, entry: squeue::Entry, kind: u32, slot: usize) {
        let slot = u32::try_from(slot).expect("slots are counted in u32");
        let entry = entry.user_data(u64::from(kind) << 32 | u64::from(slot));
        self.in_flight += 1;
        loop {
            // SAFETY: an entry points to nothing, or to the buffer of a slot just marked busy (`lend`): out of reach until
            // its completion clears the mark, at a fixed address, and freed only when nothing is in flight (`drop`).
            if unsafe { self.io.submission().push(&entry) }.is_ok() {
                return;
            }
            self.io.submit().expect("the kernel takes submissions of a full queue");
        }
    }

    /// Ends everything that is in flight; false when something would not end.
    fn settle(&mut self) -> bool {
        if self.in_flight + self.attempts.len() > 0 {
            self.push(opcode::AsyncCancel2::new(CancelBuilder::any()).build(), CANCEL, 0);
        }
        loop {
            let left = self.in_flight + self.attempts.len();
            if left == 0 {
                return true;
            }
            self.completions.clear();
            if self.turn().is_err() || self.in_flight + self.attempts.len() >= left {
                return false;
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.settle() {
            // The kernel may still write there: better lost than reused.
            std::mem::forget(std::mem::take(&mut self.memory));
        }
    }
}

impl Provided {
    fn give_back(&mut self, buffer: u16) {
        let is_lent = std::mem::replace(&mut self.is_lent[usize::from(buffer)], false);
        assert!(is_lent, "a buffer is given back once");
        let address = self.bytes.as_mut_slice()[usize::from(buffer) * PROVIDED_BYTES..].as_mut_ptr();
        let entries = self.entries.as_mut_slice().as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the index is below the number of entries, which are aligned and registered; only this thread writes
        // entries, and the kernel reads one only after the tail has passed it.
        unsafe {
            let entry = &mut *entries.add(usize::from(self.tail % PROVIDED));
            entry.set_addr(address as u64);
            entry.set_len(PROVIDED_BYTES as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies aligned in the first entry, and the kernel reads it as an atomic; it outlives the store.
        unsafe { (*BufRingEntry::tail(entries).cast::<AtomicU16>()).store(self.tail, Ordering::Release) };
    }
}
