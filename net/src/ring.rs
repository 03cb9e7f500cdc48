//! The core's ring: one io_uring per core for everything on the hot path — sockets, hot-log writes, record reads, and
//! wake-ups from other cores.
//!
//! Commands queue submissions; [`Ring::turn`] hands them to the kernel and collects completions in **one system call**;
//! [`Ring::next_event`] gives the completions out. The ring knows sockets and buffers, never what the bytes mean.
//!
//! Invariants:
//! * A buffer that the kernel may still touch is owned by the ring: sends and file operations move their buffer in and get
//!   it back with the completion, received bytes lie in the ring's own provided buffers.
//! * A [`ConnectionId`] is reused only after [`Event::Closed`], which comes when no operation of that socket is in flight.
//! * Dropping the ring closes it first and frees the buffers after that.

#![allow(unsafe_code)] // SAFETY: every unsafe block below carries its own proof; submissions keep their buffers alive in `self`.

mod bell;
mod event;
mod file_operations;
mod limits;
mod operations;
mod provided;
mod sockets;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use file_operations::FileOperations;
use provided::ProvidedBuffers;
use sockets::Sockets;

pub use bell::Bell;
pub use event::{Event, RingAddress, StableBytes, Wait};
pub use limits::RingLimits;
pub use sockets::ConnectionId;

// What an operation is, in the top byte of its user data; the lower bytes say which one.
const KIND_SHIFT: u32 = 56;
const KIND_ACCEPT: u64 = 1;
const KIND_RECEIVE: u64 = 2;
const KIND_SEND: u64 = 3;
const KIND_FILE: u64 = 4;
const KIND_WAKE: u64 = 5;
const KIND_IGNORE: u64 = 6;
const KIND_ATTEMPT: u64 = 7;
const KIND_BELL: u64 = 8;

const fn user_data(kind: u64, which: u64) -> u64 {
    assert!(which < 1 << KIND_SHIFT);
    kind << KIND_SHIFT | which
}

/// One core's ring. It must be used on the thread that made it.
pub struct Ring<B: StableBytes> {
    // Field order is drop order: the kernel's side goes before the memory it may write to.
    io: IoUring,
    provided: ProvidedBuffers,
    sockets: Sockets,
    files: FileOperations<B>,
    listeners: Vec<(u16, OwnedFd)>,
    completions: Vec<(u64, i32, u32)>,
    next_completion: usize,
    /// The provided buffer that the last event lent out.
    lent: Option<u16>,
    /// Sends handed to the kernel since the last turn: those that do not fail are done when the turn's system call returns.
    attempted_sends: Vec<ConnectionId>,
    /// Sends of this turn that are done.
    finished_sends: Vec<ConnectionId>,
    rearm_receives: Vec<ConnectionId>,
    rearm_accepts: Vec<u16>,
    /// Listeners that failed to accept and are not armed.
    failed_accepts: Vec<u16>,
    enters: u64,
    /// Rung by threads that have no ring.
    bell: Option<Bell>,
}

impl<B: StableBytes> Ring<B> {
    /// A ring for the calling thread.
    ///
    /// Errors: what the kernel says; `annulus check` names the cause.
    pub fn new(limits: &RingLimits) -> io::Result<Self> {
        limits.assert_valid();
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(limits.completion_entries)
            .build(limits.submission_entries)?;
        let provided = ProvidedBuffers::register(&io, limits.provided_buffers, limits.provided_buffer_bytes)?;
        // Saves a descriptor look-up per enter; older kernels refuse, which costs only that.
        let _ = io.submitter().register_ring_fd();
        Ok(Self {
            io,
            provided,
            sockets: Sockets::new(),
            files: FileOperations::new(),
            listeners: Vec::new(),
            completions: Vec::with_capacity(limits.completion_entries as usize),
            next_completion: 0,
            lent: None,
            attempted_sends: Vec::new(),
            finished_sends: Vec::new(),
            rearm_receives: Vec::new(),
            rearm_accepts: Vec::new(),
            failed_accepts: Vec::new(),
            enters: 0,
            bell: None,
        })
    }

    /// Where other cores can wake this ring.
    pub fn address(&self) -> RingAddress {
        RingAddress(self.io.as_raw_fd())
    }

    /// System calls made so far.
    pub fn enters(&self) -> u64 {
        self.enters
    }

    /// Number of connections whose id is in use.
    pub fn connections(&self) -> usize {
        self.sockets.len()
    }

    /// Hands over what was queued, without collecting what is complete.
    pub fn submit(&mut self) -> io::Result<()> {
        if self.io.submission().is_empty() { Ok(()) } else { self.enter(0, None) }
    }

    /// True when a turn without waiting would find something, found out without a system call.
    pub fn has_work(&mut self) -> bool {
        let pending = {
            let submissions = self.io.submission();
            submissions.taskrun() || submissions.cq_overflow()
        };
        pending || !self.io.completion().is_empty()
    }

    /// True when a listener failed to accept and waits for [`Ring::retry_accepts`].
    pub fn has_failed_accepts(&self) -> bool {
        !self.failed_accepts.is_empty()
    }

    /// Accepts again where that failed.
    pub fn retry_accepts(&mut self) {
        self.rearm_accepts.append(&mut self.failed_accepts);
    }

    /// Submits what was queued, and collects what is complete; waits for one completion if `wait` says so and none is there.
    pub fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.give_back_lent();
        self.completions.drain(..std::mem::take(&mut self.next_completion));
        self.rearm();
        match if self.completions.is_empty() { wait } else { Wait::No } {
            Wait::No => {
                if !self.io.submission().is_empty() || self.has_work() {
                    self.enter(0, None)?;
                }
            }
            Wait::AtMost(duration) => self.enter(1, Some(duration))?,
        }
        // Only when everything is here does the absence of a completion say that a send is done.
        loop {
            let completions = self.io.completion();
            self.completions.extend(completions.map(|entry| (entry.user_data(), entry.result(), entry.flags())));
            if !self.io.submission().cq_overflow() {
                break;
            }
            self.enter_once(0, None)?;
        }
        self.settle_attempts();
        Ok(())
    }

    /// The next completion of this turn.
    pub fn next_event(&mut self) -> Option<Event<'_, B>> {
        self.give_back_lent();
        if let Some(connection) = self.finished_sends.pop() {
            return Some(self.on_sent(connection));
        }
        while self.next_completion < self.completions.len() {
            let (user_data, result, flags) = self.completions[self.next_completion];
            self.next_completion += 1;
            let which = user_data & ((1 << KIND_SHIFT) - 1);
            match user_data >> KIND_SHIFT {
                KIND_RECEIVE => {
                    let connection = ConnectionId::from_raw(which);
                    match self.on_receive(connection, result, flags) {
                        Received::Bytes(buffer, bytes) => {
                            self.lent = Some(buffer);
                            let bytes = self.provided.bytes(buffer, bytes);
                            return Some(Event::Received { connection, bytes });
                        }
                        Received::Ended(error) => return Some(Event::Ended { connection, error }),
                        Received::Closed => return Some(Event::Closed { connection }),
                        Received::Nothing => {}
                    }
                }
                KIND_SEND => {
                    let connection = ConnectionId::from_raw(which);
                    self.sockets.rest_was_sent(connection, result);
                    return Some(self.on_sent(connection));
                }
                KIND_FILE => {
                    let (operation, buffer) = self.files.finish(which);
                    return Some(Event::File { operation, buffer, result: to_result(result) });
                }
                KIND_ACCEPT => {
                    if let Some(event) = self.on_accept(which, result, flags) {
                        return Some(event);
                    }
                }
                KIND_WAKE => return Some(Event::Woken),
                KIND_BELL => {
                    self.on_bell();
                    return Some(Event::Woken);
                }
                KIND_IGNORE | KIND_ATTEMPT => {}
                kind => unreachable!("completion of an unknown kind {kind}"),
            }
        }
        None
    }

    fn on_accept(&mut self, which: u64, result: i32, flags: u32) -> Option<Event<'static, B>> {
        let listener = u16::try_from(which).expect("listeners are numbered by u16");
        if !cqueue::more(flags) && self.listeners.iter().any(|(number, _)| *number == listener) {
            let list = if result >= 0 { &mut self.rearm_accepts } else { &mut self.failed_accepts };
            list.push(listener);
        }
        match to_result(result) {
            Ok(fd) => {
                use std::os::fd::FromRawFd;
                let fd = RawFd::try_from(fd).expect("a descriptor is an i32");
                // SAFETY: a successful accept gives us a descriptor that nobody else owns.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                Some(Event::Accepted { listener, socket })
            }
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => None,
            Err(error) => Some(Event::AcceptFailed { listener, error }),
        }
    }

    fn on_receive(&mut self, connection: ConnectionId, result: i32, flags: u32) -> Received {
        let more = cqueue::more(flags);
        if !more {
            self.sockets.receive_stopped(connection);
        }
        let buffer = cqueue::buffer_select(flags);
        let outcome = match to_result(result) {
            Ok(0) => Received::Ended(None),
            Ok(bytes) => Received::Bytes(buffer.expect("received bytes lie in a provided buffer"), bytes),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN) => Received::Nothing,
                _ => Received::Ended(Some(error)),
            },
        };
        if let (Some(buffer), false) = (buffer, matches!(outcome, Received::Bytes(..))) {
            self.provided.give_back(buffer);
        }
        if self.sockets.is_closing(connection) {
            if let Received::Bytes(buffer, _) = outcome {
                self.provided.give_back(buffer);
            }
            return if self.sockets.maybe_free(connection) { Received::Closed } else { Received::Nothing };
        }
        if matches!(outcome, Received::Ended(_)) {
            self.sockets.receive_ended(connection);
        } else if !more && self.sockets.wants_receive(connection) {
            self.rearm_receives.push(connection);
        }
        outcome
    }

    fn on_sent(&mut self, connection: ConnectionId) -> Event<'static, B> {
        let (buffer, result) = self.sockets.finish_send(connection);
        if self.sockets.is_closing(connection) && self.sockets.maybe_free(connection) {
            return Event::Closed { connection };
        }
        Event::Sent { connection, buffer, result }
    }

    fn give_back_lent(&mut self) {
        if let Some(buffer) = self.lent.take() {
            self.provided.give_back(buffer);
        }
    }

    fn rearm(&mut self) {
        while let Some(connection) = self.rearm_receives.pop() {
            if self.sockets.wants_receive(connection) {
                self.arm_receive(connection);
            }
        }
        while let Some(number) = self.rearm_accepts.pop() {
            self.arm_accept(number);
        }
    }

    fn arm_receive(&mut self, connection: ConnectionId) {
        let fd = self.sockets.start_receive(connection);
        // The kernel picks a buffer of the registered group for each arrival.
        let entry = opcode::RecvMulti::new(types::Fd(fd), provided::GROUP).build();
        self.push(entry, user_data(KIND_RECEIVE, connection.raw()));
    }

    fn arm_accept(&mut self, number: u16) {
        let Some((_, socket)) = self.listeners.iter().find(|(other, _)| *other == number) else {
            return;
        };
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build();
        self.push(entry, user_data(KIND_ACCEPT, u64::from(number)));
    }

    fn push(&mut self, entry: squeue::Entry, user_data: u64) {
        let entry = entry.user_data(user_data);
        loop {
            // SAFETY: every buffer an entry points to is owned by `self` until the entry's completion (see the callers).
            if unsafe { self.io.submission().push(&entry) }.is_ok() {
                return;
            }
            self.enter(0, None).expect("the kernel takes submissions of a full queue");
        }
    }

    /// Hands over everything that is queued, then waits as `enter_once` does.
    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.enter_once(want, timeout)?;
        // The kernel stops short when completions overflow; what it leaves was not attempted, and must be.
        while !self.io.submission().is_empty() {
            let completions = self.io.completion();
            self.completions.extend(completions.map(|entry| (entry.user_data(), entry.result(), entry.flags())));
            self.enter_once(0, None)?;
        }
        Ok(())
    }

    fn enter_once(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        const GETEVENTS: u32 = 1;
        const EXT_ARG: u32 = 1 << 3;
        self.enters += 1;
        let to_submit = u32::try_from(self.io.submission().len()).expect("the queue's length is a u32");
        let timespec = types::Timespec::from(timeout.unwrap_or_default());
        let arguments = types::SubmitArgs::new().timespec(&timespec);
        let submitter = self.io.submitter();
        // SAFETY: the arguments outlive the call, and the flags say what they are.
        let result = unsafe {
            if timeout.is_some() {
                submitter.enter(to_submit, want, GETEVENTS | EXT_ARG, Some(&arguments))
            } else {
                submitter.enter::<libc::sigset_t>(to_submit, want, GETEVENTS, None)
            }
        };
        match result {
            Ok(_) => Ok(()),
            // Timed out, interrupted, or completions must be reaped first: the caller sees what is there.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

enum Received {
    Bytes(u16, usize),
    Ended(Option<io::Error>),
    Closed,
    Nothing,
}

fn to_result(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
