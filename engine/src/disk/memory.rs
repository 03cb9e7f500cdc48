//! A disk in memory, with the faults that real ones have, for tests: everything is a function of the seed.
//!
//! What a crash keeps: log writes that have ended; of the one in flight some first sectors; of other writes and of names
//! that were not synced, any. What can be injected: the n-th call fails, the disk is full, bits flip, files are cut.
//!
//! It can record what is done to it ([`MemoryDisk::record`]); from a recording every image is built that a crash may leave
//! ([`Replay`]).
//!
//! What it is not: it has no time of its own; operations end when [`MemoryDisk::poll`] is called, in an order of the seed's
//! choice, or when [`MemoryDisk::end`] says so.
//!
//! Invariant: whatever was reported durable survives every crash unless a test damages it by name.

mod crash_image;
mod ending;
mod file;
mod names;
mod recording;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::buffer::AlignedBuffer;
use crate::disk::{DiskError, OpenMode, OperationId};

pub use crash_image::{Image, ImageKind, Recipe, Replay};
pub use recording::{Change, FileId, Recording};

const SECTOR_BYTES: usize = 512;
const EIO: i32 = 5;
const EXDEV: i32 = 18;
/// A future that asks the disk for more than this is taken for one that waits for something else.
const POLLS_MAX: u32 = 1 << 20;

/// How many faults really happened: a test that injected none has shown nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected {
    /// Calls that failed because a test said so.
    pub failed_calls: u64,
    /// Calls that failed for want of space.
    pub full: u64,
    /// Crashes.
    pub crashes: u64,
    /// Log writes that a crash or a failure cut short, with at least a sector written or missing.
    pub torn_writes: u64,
    /// Writes that were not synced and were lost in a crash.
    pub lost_writes: u64,
    /// Names that were not synced and were lost, or came back, in a crash.
    pub lost_names: u64,
    /// Bits flipped.
    pub flipped_bits: u64,
    /// Files cut.
    pub cut_files: u64,
}

struct Content {
    id: FileId,
    bytes: Vec<u8>,
    /// What unsynced writes replaced, oldest first: where, what was there, and the length before.
    unsynced: Vec<(usize, Vec<u8>, usize)>,
}

type Shared = Rc<RefCell<Content>>;

struct Operation {
    id: OperationId,
    file: Shared,
    offset: usize,
    buffer: AlignedBuffer,
    /// From which byte of the buffer on; `None` is a read.
    write_from: Option<usize>,
    core: u16,
    /// Its number among the recorded changes.
    change: Option<usize>,
}

struct State {
    random: u64,
    names: BTreeMap<String, Shared>,
    /// The names as a crash leaves them.
    durable_names: BTreeMap<String, Shared>,
    directories: Vec<String>,
    next_file: FileId,
    operations: Vec<Operation>,
    recording: Option<Recording>,
    pauses: bool,
    no_links: bool,
    calls: u64,
    fail_call: Option<u64>,
    fails_on: bool,
    total_bytes: u64,
    injected: Injected,
}

/// The disk; clones are the same one.
#[derive(Clone)]
pub struct MemoryDisk {
    state: Rc<RefCell<State>>,
    core: u16,
}

/// An open file of a [`MemoryDisk`].
#[derive(Clone)]
pub struct MemoryFile {
    disk: MemoryDisk,
    content: Shared,
    mode: OpenMode,
}

impl State {
    fn random(&mut self, below: u64) -> u64 {
        assert!(below > 0);
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn call(&mut self, what: &'static str) -> Result<(), DiskError> {
        let number = self.calls;
        self.calls += 1;
        let fails = self.fail_call.is_some_and(|fail| fail == number || (self.fails_on && number > fail));
        if !fails {
            return Ok(());
        }
        Err(self.failure(what))
    }

    fn failure(&mut self, what: &'static str) -> DiskError {
        self.injected.failed_calls += 1;
        DiskError::Io { errno: EIO, what }
    }

    /// Records a change, if changes are recorded; gives its number.
    fn note(&mut self, change: Change) -> Option<usize> {
        self.recording.as_mut().map(|recording| recording.push(change))
    }

    fn new_file(&mut self, bytes: Vec<u8>) -> Shared {
        let id = self.next_file;
        self.next_file += 1;
        Rc::new(RefCell::new(Content { id, bytes, unsynced: Vec::new() }))
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| file.borrow().bytes.len() as u64).sum()
    }

    /// Writes the first part of an operation whose end is unknown.
    fn tear(&mut self, operation: &Operation) {
        let Some(from) = operation.write_from else { return };
        let bytes = &operation.buffer.as_slice()[from..];
        let sectors = bytes.len() / SECTOR_BYTES;
        let kept = usize::try_from(self.random(sectors as u64 + 1)).expect("sectors of a buffer") * SECTOR_BYTES;
        self.injected.torn_writes += u64::from(kept < bytes.len());
        operation.file.borrow_mut().write(operation.offset, &bytes[..kept], true);
    }
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8], durable: bool) {
        let end = offset + bytes.len();
        let length = self.bytes.len();
        if !durable {
            let old = self.bytes.get(offset..end.min(length)).unwrap_or_default().to_vec();
            self.unsynced.push((offset, old, length));
        }
        if end > length {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
    }
}

impl Content {
    /// Cuts the end off; until a sync a crash may bring it back.
    fn truncate(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes.len(), "cutting makes no file longer");
        let old = self.bytes.split_off(bytes);
        self.unsynced.push((bytes, old, bytes));
    }
}

impl MemoryDisk {
    /// An empty disk of 1 TiB; `seed` decides what crashes keep and in which order operations end.
    #[must_use]
    pub fn new(seed: u64) -> MemoryDisk {
        let state = State {
            random: seed,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            directories: Vec::new(),
            next_file: 1,
            operations: Vec::new(),
            recording: None,
            pauses: false,
            no_links: false,
            calls: 0,
            fail_call: None,
            fails_on: false,
            total_bytes: 1 << 40,
            injected: Injected::default(),
        };
        MemoryDisk { state: Rc::new(RefCell::new(state)), core: 0 }
    }

    /// The same disk for another core: [`MemoryDisk::poll`] ends that core's operations only.
    #[must_use]
    pub fn for_core(&self, core: u16) -> MemoryDisk {
        MemoryDisk { state: Rc::clone(&self.state), core }
    }

    /// How many operations of all cores were started and have not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.state.borrow().operations.len()
    }

    /// The machine stops and starts again: what was not durable may be gone. Open files are no longer of use.
    pub fn crash(&self) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        assert!(state.recording.is_none(), "what is recorded crashes in its images");
        state.injected.crashes += 1;
        for operation in std::mem::take(&mut state.operations) {
            state.tear(&operation);
        }
        let files: Vec<Shared> = state.names.values().chain(state.durable_names.values()).cloned().collect();
        for file in files {
            let mut content = file.borrow_mut();
            while let Some((offset, old, length)) = content.unsynced.pop() {
                if state.random(2) == 0 {
                    continue;
                }
                state.injected.lost_writes += 1;
                // What was cut off comes back.
                let end = (offset + old.len()).max(content.bytes.len());
                content.bytes.resize(end, 0);
                content.bytes[offset..offset + old.len()].copy_from_slice(&old);
                let zeros_from = (offset + old.len()).max(length).min(content.bytes.len());
                content.bytes[zeros_from..].fill(0);
            }
        }
        let mut names = state.durable_names.clone();
        for (name, file) in &state.names {
            let kept = state.durable_names.contains_key(name);
            if !kept && flip(&mut state.random) {
                names.insert(name.clone(), Rc::clone(file));
            } else if !kept {
                state.injected.lost_names += 1;
            }
        }
        let removed: Vec<String> = names.keys().filter(|name| !state.names.contains_key(*name)).cloned().collect();
        for name in removed {
            if flip(&mut state.random) {
                names.remove(&name);
            } else {
                state.injected.lost_names += 1;
            }
        }
        state.durable_names = names.clone();
        state.names = names;
    }

    /// Lets call number `call`, counted from the disk's beginning, fail; with `and_later` all that follow as well.
    pub fn fail_call(&self, call: Option<u64>, and_later: bool) {
        let mut state = self.state.borrow_mut();
        (state.fail_call, state.fails_on) = (call, and_later);
    }

    /// How many calls there have been.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    /// Makes it a disk of so many bytes.
    pub fn set_total_bytes(&self, bytes: u64) {
        self.state.borrow_mut().total_bytes = bytes;
    }

    /// What was injected so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.state.borrow().injected
    }

    /// The files, by path.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.state.borrow().names.keys().cloned().collect()
    }

    /// A file's bytes.
    #[must_use]
    pub fn contents(&self, path: &str) -> Vec<u8> {
        self.file(path).borrow().bytes.clone()
    }

    /// Flips a bit of a file.
    pub fn flip_bit(&self, path: &str, offset: usize, bit: u32) {
        self.file(path).borrow_mut().bytes[offset] ^= 1 << (bit % 8);
        self.state.borrow_mut().injected.flipped_bits += 1;
    }

    /// Cuts a file off.
    pub fn cut(&self, path: &str, bytes: usize) {
        self.file(path).borrow_mut().bytes.truncate(bytes);
        self.state.borrow_mut().injected.cut_files += 1;
    }

    /// Fills a file with zeros from a byte on, as if that had never been written.
    pub fn blank(&self, path: &str, from: usize) {
        self.file(path).borrow_mut().bytes[from..].fill(0);
        self.state.borrow_mut().injected.cut_files += 1;
    }

    /// Lets calls that can wait give way once before they do anything, so that a test can do other things in between.
    pub fn set_pauses(&self, pauses: bool) {
        self.state.borrow_mut().pauses = pauses;
    }

    /// Makes no links any more, as if what is linked were on another file system.
    pub fn refuse_links(&self) {
        self.state.borrow_mut().no_links = true;
    }

    fn file(&self, path: &str) -> Shared {
        Rc::clone(self.state.borrow().names.get(path).expect("a test names files that are there"))
    }

    fn call(&self, what: &'static str) -> Result<(), DiskError> {
        self.state.borrow_mut().call(what)
    }

    /// A call that can wait.
    async fn call_waiting(&self, what: &'static str) -> Result<(), DiskError> {
        let mut pauses = self.state.borrow().pauses;
        poll_fn(|_| if std::mem::take(&mut pauses) { Poll::Pending } else { Poll::Ready(()) }).await;
        self.call(what)
    }
}

fn flip(random: &mut u64) -> bool {
    *random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *random >> 63 == 0
}

/// Runs a future that waits for nothing but a [`MemoryDisk`], which is ready whenever it is asked again.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("a disk in memory never makes anybody wait");
}
