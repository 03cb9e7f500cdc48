//! Wakes executors that may be asleep beside work.
//!
//! The executor takes "pre-empted before anything ran" for "nothing to do", and then sleeps until something completes: perhaps
//! never. A timer of its own is no cure, because the timer's task may be what waits to run, nor is a waker, because what would
//! register it may be. So a thread outside of every executor interrupts those that may sleep, every few milliseconds, with a
//! signal that does nothing; what is left of the fault is that delay.
//!
//! Invariant: while an executor's gate is open and attached, it runs whatever is runnable within `PERIOD` and the thread's own
//! delay. While no gate is open the thread sleeps, so that an idle node costs nothing.

#![allow(unsafe_code)] // SAFETY: the one call below says why it is sound.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// Time between two wake-ups of one executor.
const PERIOD: Duration = Duration::from_millis(2);
/// Ignored unless somebody asks for it, and used by nobody else.
const SIGNAL: i32 = libc::SIGURG;

/// What the thread knows of one executor.
#[derive(Default)]
struct Sleeper {
    may_sleep: AtomicBool,
    /// The system's number of its thread; 0 before it runs and after.
    thread: AtomicI32,
}

impl Sleeper {
    fn interrupt(&self) {
        let thread = self.thread.load(Ordering::Acquire);
        if thread != 0 {
            // SAFETY: the call takes numbers only. A thread that has gone meanwhile is an error that is of no interest; another
            // one of this process that got its number is interrupted once for nothing.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
        }
    }
}

/// The thread that wakes, and its executors.
pub struct Pulse {
    sleepers: Arc<[Sleeper]>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Starts the thread for `cores` executors. Errors: no thread can be started, or no signal caught.
    pub fn start(cores: u16) -> io::Result<Self> {
        // Only a signal that is caught ends a sleep; what it sets is of no use.
        signal_hook::flag::register(SIGNAL, Arc::default())?;
        let sleepers: Arc<[Sleeper]> = (0..cores).map(|_| Sleeper::default()).collect();
        let ends = Arc::new(AtomicBool::new(false));
        let (of_thread, must_end) = (Arc::clone(&sleepers), Arc::clone(&ends));
        let thread = std::thread::Builder::new().name("pulse".into()).spawn(move || beat(&of_thread, &must_end))?;
        Ok(Self { sleepers, ends, thread: Some(thread) })
    }

    /// The gate of one executor, open.
    pub fn gate(&self, core: u16) -> Gate {
        let thread = self.thread.as_ref().expect("the thread ends with the pulse").thread().clone();
        let gate = Gate { sleepers: Arc::clone(&self.sleepers), core: usize::from(core), thread };
        gate.open();
        gate
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its panic has been reported by the hook.
            let _ = thread.join();
        }
    }
}

fn beat(sleepers: &[Sleeper], ends: &AtomicBool) {
    while !ends.load(Ordering::Acquire) {
        let mut any = false;
        for sleeper in sleepers.iter().filter(|sleeper| sleeper.may_sleep.load(Ordering::Acquire)) {
            any = true;
            sleeper.interrupt();
        }
        if any { std::thread::park_timeout(PERIOD) } else { std::thread::park() }
    }
}

/// Says for one executor whether it may sleep.
pub struct Gate {
    sleepers: Arc<[Sleeper]>,
    core: usize,
    thread: Thread,
}

impl Gate {
    /// The executor will run on the calling thread.
    pub fn attach(&self) {
        self.sleepers[self.core].thread.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Release);
    }

    /// From now on the executor may sleep.
    pub fn open(&self) {
        if !self.sleepers[self.core].may_sleep.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }

    /// From now on the executor does not sleep.
    pub fn close(&self) {
        self.sleepers[self.core].may_sleep.store(false, Ordering::Release);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
        self.sleepers[self.core].thread.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
