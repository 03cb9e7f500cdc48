//! A file of a disk in memory: what is written when, and what of it is durable.
//!
//! Invariant: only a write to a file that is open for the log, or a sync, makes anything durable.

use std::rc::Rc;

use super::{Change, MemoryFile, Operation};
use crate::buffer::{ALIGNMENT, AlignedBuffer};
use crate::disk::{DiskError, File, OpenMode, OperationId};

impl MemoryFile {
    fn start(&self, id: OperationId, offset: u64, buffer: AlignedBuffer, write_from: Option<usize>) {
        let from = write_from.unwrap_or(0);
        assert!(offset.is_multiple_of(ALIGNMENT as u64), "direct I/O is aligned");
        assert!(buffer.len().is_multiple_of(ALIGNMENT) && from.is_multiple_of(ALIGNMENT), "direct I/O is aligned");
        assert!(from < buffer.len(), "an operation moves something");
        let offset = usize::try_from(offset).expect("test files fit memory");
        let change = write_from.and_then(|from| self.note_write(offset, &buffer.as_slice()[from..], true));
        let (file, core) = (Rc::clone(&self.content), self.disk.core);
        let operation = Operation { id, file, offset, buffer, write_from, core, change };
        let mut state = self.disk.state.borrow_mut();
        let taken = state.operations.iter().any(|other| (other.id, other.core) == (id, operation.core));
        assert!(!taken, "an operation's id is not reused in flight");
        state.operations.push(operation);
    }

    /// Whether the file may become so long.
    fn check_space(&self, bytes: u64) -> Result<(), DiskError> {
        let length = self.content.borrow().bytes.len() as u64;
        let mut state = self.disk.state.borrow_mut();
        if bytes > length && state.used() + (bytes - length) > state.total_bytes {
            state.injected.full += 1;
            return Err(DiskError::Full);
        }
        Ok(())
    }

    /// Records a write, if changes are recorded; gives its number.
    fn note_write(&self, offset: usize, bytes: &[u8], durable_at_end: bool) -> Option<usize> {
        let mut state = self.disk.state.borrow_mut();
        let recording = state.recording.as_mut()?;
        let file = self.content.borrow().id;
        Some(recording.push(Change::Write { file, offset, bytes: bytes.into(), durable_at_end }))
    }
}

impl File for MemoryFile {
    async fn size(&self) -> Result<u64, DiskError> {
        self.disk.call_waiting("size").await?;
        Ok(self.content.borrow().bytes.len() as u64)
    }

    async fn fill_zeros(&self, bytes: u64) -> Result<(), DiskError> {
        assert!(self.mode != OpenMode::Read, "a file for reading is not written");
        self.disk.call_waiting("fill").await?;
        self.check_space(bytes)?;
        let zeros = vec![0; usize::try_from(bytes).expect("test files fit memory")];
        self.note_write(0, &zeros, false);
        self.content.borrow_mut().write(0, &zeros, false);
        Ok(())
    }

    async fn truncate(&self, bytes: u64) -> Result<(), DiskError> {
        assert!(self.mode != OpenMode::Read, "a file for reading is not written");
        self.disk.call_waiting("truncate").await?;
        let (file, bytes) = (self.content.borrow().id, usize::try_from(bytes).expect("test files fit memory"));
        self.content.borrow_mut().truncate(bytes);
        self.disk.state.borrow_mut().note(Change::Cut { file, bytes });
        Ok(())
    }

    async fn sync(&self) -> Result<(), DiskError> {
        self.disk.call_waiting("sync").await?;
        self.content.borrow_mut().unsynced.clear();
        self.disk.state.borrow_mut().note(Change::Synced { file: self.content.borrow().id });
        Ok(())
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<AlignedBuffer, DiskError> {
        self.disk.call_waiting("read").await?;
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
        self.disk.call_waiting("write").await?;
        let bytes = &buffer.as_slice()[skip..];
        self.check_space(offset + bytes.len() as u64)?;
        let (offset, durable) = (usize::try_from(offset).expect("small"), self.mode == OpenMode::Log);
        let change = self.note_write(offset, bytes, durable);
        self.content.borrow_mut().write(offset, bytes, durable);
        if let Some(write) = change.filter(|_| durable) {
            self.disk.state.borrow_mut().note(Change::Ended { write });
        }
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
