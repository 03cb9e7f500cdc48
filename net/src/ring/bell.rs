//! Waking a ring from a thread that has none.
//!
//! Invariant: while a ring has a bell, exactly one poll of its eventfd is in flight.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{opcode, types};
use rustix::event::{EventfdFlags, eventfd};

use super::{KIND_BELL, Ring, StableBytes, user_data};

/// Wakes a ring, from any thread, as often as one likes; the ring sees it at least once.
#[derive(Debug, Clone)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// Wakes the ring, now or as soon as it sleeps.
    pub fn ring(&self) {
        // It fails only when it was rung 2^64 times and never heard: the ring has gone.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Lets it be rung anew.
    fn still(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl<B: StableBytes> Ring<B> {
    /// A bell that wakes this ring; the same one every time.
    ///
    /// Errors: the process has no descriptor left.
    pub fn bell(&mut self) -> io::Result<Bell> {
        if let Some(bell) = &self.bell {
            return Ok(bell.clone());
        }
        let bell = Bell(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        self.arm_bell(&bell);
        self.bell = Some(bell.clone());
        Ok(bell)
    }

    /// It was rung.
    pub(super) fn on_bell(&mut self) {
        let bell = self.bell.clone().expect("only a bell that is there is rung");
        bell.still();
        self.arm_bell(&bell);
    }

    fn arm_bell(&mut self, bell: &Bell) {
        let entry = opcode::PollAdd::new(types::Fd(bell.0.as_raw_fd()), libc::POLLIN as u32).build();
        self.push(entry, user_data(KIND_BELL, 0));
    }
}
