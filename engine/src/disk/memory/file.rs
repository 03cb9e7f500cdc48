//! A file of a disk in memory: what is written when, and what of it is durable.
//!
//! Invariant: only a write to a file that is open for the log, or a sync, makes anything durable.

use std::rc::Rc;

use super::{MemoryFile, Operation};
use crate::buffer::{ALIGNMENT, AlignedBuffer};
use crate::disk::{DiskError, File, OpenMode, OperationId};

impl MemoryFile {
    fn start(&self, id: OperationId, offset: u64, buffer: AlignedBuffer, write_from: Option<usize>) {
        let from = write_from.unwrap_or(0);
        assert!(offset.is_multiple_of(ALIGNMENT as u64), "direct I/O is aligned");
        assert!(buffer.len().is_multiple_of(ALIGNMENT) && from.is_multiple_of(ALIGNMENT), "direct I/O is aligned");
        assert!(from < buffer.len(), "an operation moves something");
        let offset = usize::try_from(offset).expect("test files fit memory");
        let operation =
            Operation { id, file: Rc::clone(&self.content), offset, buffer, write_from, core: self.disk.core };
        let mut state = self.disk.state.borrow_mut();
        let taken = state.operations.iter().any(|other| (other.id, other.core) == (id, operation.core));
        assert!(!taken, "an operation's id is not reused in flight");
        state.operations.push(operation);
    }
}

impl File for MemoryFile {
    async fn size(&self) -> Result<u64, DiskError> {
        self.disk.call("size")?;
        Ok(self.content.borrow().bytes.len() as u64)
    }

    async fn fill_zeros(&self, bytes: u64) -> Result<(), DiskError> {
        assert!(self.mode != OpenMode::Read, "a file for reading is not written");
        self.disk.call("fill")?;
        let length = self.content.borrow().bytes.len() as u64;
        let mut state = self.disk.state.borrow_mut();
        if state.used() + bytes.saturating_sub(length) > state.total_bytes {
            state.injected.full += 1;
            return Err(DiskError::Full);
        }
        let zeros = vec![0; usize::try_from(bytes).expect("test files fit memory")];
        self.content.borrow_mut().write(0, &zeros, false);
        Ok(())
    }

    async fn truncate(&self, bytes: u64) -> Result<(), DiskError> {
        assert!(self.mode != OpenMode::Read, "a file for reading is not written");
        self.disk.call("truncate")?;
        self.content.borrow_mut().truncate(usize::try_from(bytes).expect("test files fit memory"));
        Ok(())
    }

    async fn sync(&self) -> Result<(), DiskError> {
        self.disk.call("sync")?;
        self.content.borrow_mut().unsynced.clear();
        Ok(())
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<AlignedBuffer, DiskError> {
        self.disk.call("read")?;
        assert!(offset.is_multiple_of(ALIGNMENT as u64) && bytes.is_multiple_of(ALIGNMENT), "direct I/O is aligned");
        let content = self.content.borrow();
        let there = content.bytes.get(usize::try_from(offset).expect("small")..).unwrap_or_default();
        let mut buffer = AlignedBuffer::with_capacity(bytes);
        buffer.extend_from_slice(&there[..there.len().min(bytes)]);
        Ok(buffer)
    }

    async fn write_at(&self, offset: u64, buffer: AlignedBuffer, skip: usize) -> Result<AlignedBuffer, DiskError> {
        assert!(self.mode != OpenMode::Read, "a file for reading is not written");
        assert!(
            offset.is_multiple_of(ALIGNMENT as u64) && buffer.len().is_multiple_of(ALIGNMENT),
            "direct I/O is aligned"
        );
        self.disk.call("write")?;
        let bytes = &buffer.as_slice()[skip..];
        let durable = self.mode == OpenMode::Log;
        self.content.borrow_mut().write(usize::try_from(offset).expect("small"), bytes, durable);
        Ok(buffer)
    }

    fn start_write(&self, operation: OperationId, offset: u64, buffer: AlignedBuffer, skip: usize) {
        assert_eq!(self.mode, OpenMode::Log, "log writes go to files opened for the log");
        self.start(operation, offset, buffer, Some(skip));
    }

    fn start_read(&self, operation: OperationId, offset: u64, buffer: AlignedBuffer) {
        self.start(operation, offset, buffer, None);
    }
}
