//! What can be asked of a ring: listen, receive, send, file operations, waking another core. Everything only queues a
//! submission; the turn's system call hands it over.

#![allow(unsafe_code)] // SAFETY: no unsafe block; the proofs for the pointers in submissions stand at each operation.

use std::os::fd::{OwnedFd, RawFd};

use io_uring::{opcode, squeue, types};

use super::{
    ConnectionId, KIND_ACCEPT, KIND_ATTEMPT, KIND_FILE, KIND_IGNORE, KIND_RECEIVE, KIND_SEND, KIND_SHIFT, KIND_WAKE,
    Ring, RingAddress, StableBytes, user_data,
};

impl<B: StableBytes> Ring<B> {
    /// Accepts clients on a listening socket; events carry `number`.
    pub fn listen(&mut self, number: u16, socket: OwnedFd) {
        assert!(self.listeners.iter().all(|(other, _)| *other != number), "a listener's number is unique");
        self.listeners.push((number, socket));
        self.arm_accept(number);
    }

    /// Stops accepting: listening sockets are closed, later clients are refused by the kernel.
    pub fn stop_listening(&mut self) {
        let numbers: Vec<u16> = self.listeners.iter().map(|(number, _)| *number).collect();
        for number in numbers {
            let cancel = types::CancelBuilder::user_data(user_data(KIND_ACCEPT, u64::from(number)));
            self.push(opcode::AsyncCancel2::new(cancel).build(), user_data(KIND_IGNORE, 0));
        }
        // The cancellations must reach the kernel before the descriptors are closed.
        let _ = self.enter(0, None);
        self.listeners.clear();
    }

    /// Takes a connected socket over and begins to receive from it.
    pub fn adopt(&mut self, socket: OwnedFd) -> ConnectionId {
        let connection = self.sockets.adopt(socket);
        self.arm_receive(connection);
        connection
    }

    /// Sends `buffer`, all of it. At most one send per connection is in flight (asserted).
    ///
    /// It is first attempted without waiting and without a completion for success, so that the turn's one system call
    /// neither returns early for it nor carries it; only what the socket does not take at once waits in the kernel.
    pub fn send(&mut self, connection: ConnectionId, buffer: Vec<u8>) {
        assert!(!buffer.is_empty(), "nothing to send");
        let (fd, pointer, bytes) = self.sockets.start_send(connection, buffer);
        // SAFETY (of the operation): the buffer now lives in `sockets`, is not touched there, and is given back only when
        // this operation has ended; moving a Vec does not move its bytes.
        let entry = opcode::Send::new(types::Fd(fd), pointer, bytes)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, user_data(KIND_ATTEMPT, connection.raw()));
        self.attempted_sends.push(connection);
    }

    /// Settles the sends that were attempted: done, failed, or to be waited for.
    pub(super) fn settle_attempts(&mut self) {
        if self.attempted_sends.is_empty() {
            return;
        }
        for &(user_data, result, _) in &self.completions {
            if user_data >> KIND_SHIFT == KIND_ATTEMPT {
                let connection = ConnectionId::from_raw(user_data & ((1 << KIND_SHIFT) - 1));
                self.sockets.attempt_fell_short(connection, result);
            }
        }
        let mut attempted = std::mem::take(&mut self.attempted_sends);
        for connection in attempted.drain(..) {
            match self.sockets.settle_attempt(connection) {
                None => self.finished_sends.push(connection),
                Some((fd, pointer, bytes)) => {
                    // SAFETY (of the operation): as for `send`; this is the rest of the same buffer.
                    let entry = opcode::Send::new(types::Fd(fd), pointer, bytes)
                        .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                        .build();
                    self.push(entry, user_data(KIND_SEND, connection.raw()));
                }
            }
        }
        self.attempted_sends = attempted;
    }

    /// Stops receiving until [`Ring::resume`]; a few events may still come.
    pub fn pause(&mut self, connection: ConnectionId) {
        if self.sockets.pause(connection) {
            let cancel = types::CancelBuilder::user_data(user_data(KIND_RECEIVE, connection.raw()));
            self.push(opcode::AsyncCancel2::new(cancel).build(), user_data(KIND_IGNORE, 0));
        }
    }

    /// Receives again after [`Ring::pause`].
    pub fn resume(&mut self, connection: ConnectionId) {
        if self.sockets.resume(connection) {
            self.arm_receive(connection);
        }
    }

    /// Closes a connection at once: what is in flight is cut off. Ends with `Event::Closed`.
    pub fn close(&mut self, connection: ConnectionId) {
        self.sockets.close(connection);
        if self.sockets.is_idle(connection) {
            // Nothing of the kernel's is left that could report the end, so a no-op does.
            self.push(opcode::Nop::new().build(), user_data(KIND_RECEIVE, connection.raw()));
            self.sockets.expect_end(connection);
        }
    }

    /// Writes a buffer to a file at `offset`; ends with `Event::File`.
    pub fn write_file(&mut self, fd: RawFd, operation: u64, offset: u64, buffer: B) {
        let (slot, pointer, bytes) = self.files.start(operation, buffer);
        // SAFETY (of the operation): the buffer lives in `files` until its completion, and StableBytes keeps its address.
        let entry = opcode::Write::new(types::Fd(fd), pointer.cast_const(), bytes).offset(offset).build();
        self.push(entry, user_data(KIND_FILE, slot));
    }

    /// Reads `buffer.bytes().len()` bytes of a file at `offset`; ends with `Event::File`.
    pub fn read_file(&mut self, fd: RawFd, operation: u64, offset: u64, buffer: B) {
        let (slot, pointer, bytes) = self.files.start(operation, buffer);
        // SAFETY (of the operation): as for `write_file`.
        let entry = opcode::Read::new(types::Fd(fd), pointer, bytes).offset(offset).build();
        self.push(entry, user_data(KIND_FILE, slot));
    }

    /// Wakes another core's ring at the end of this turn.
    pub fn wake(&mut self, other: RingAddress) {
        let entry = opcode::MsgRingData::new(types::Fd(other.0), 0, user_data(KIND_WAKE, 0), None).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), user_data(KIND_IGNORE, 0));
    }

    /// File operations in flight.
    pub fn file_operations(&self) -> usize {
        self.files.len()
    }
}
