//! How operations of a disk in memory end: one of a core's by chance, or the one that whoever keeps the time names.
//!
//! Invariant: an operation that fails has brought at most some first sectors into its file.

use super::{Change, MemoryDisk, Operation, State};
use crate::disk::{Completion, DiskError, OperationId};

impl MemoryDisk {
    /// Ends one of this core's operations; `None` when there is none.
    #[must_use]
    pub fn poll(&self) -> Option<Completion> {
        let mut state = self.state.borrow_mut();
        let own = |operation: &Operation| operation.core == self.core;
        let count = state.operations.iter().filter(|operation| own(operation)).count();
        if count == 0 {
            return None;
        }
        let chosen = usize::try_from(state.random(count as u64)).expect("an index");
        let mut owned = state.operations.iter().enumerate().filter(|(_, operation)| own(operation));
        let (index, _) = owned.nth(chosen).expect("there are more than `chosen`");
        let operation = state.operations.remove(index);
        let result = state.call(if operation.write_from.is_some() { "write" } else { "read" });
        Some(state.end(operation, result))
    }

    /// Shows `visit` this core's operations that have not ended: what each is called, and whether it writes.
    pub fn visit_operations(&self, mut visit: impl FnMut(OperationId, bool)) {
        let state = self.state.borrow();
        let own = state.operations.iter().filter(|operation| operation.core == self.core);
        own.for_each(|operation| visit(operation.id, operation.write_from.is_some()));
    }

    /// Ends an operation of this core, which must be under way; with an error if it `fails`.
    #[must_use]
    pub fn end(&self, id: OperationId, fails: bool) -> Completion {
        let mut state = self.state.borrow_mut();
        let is_it = |operation: &Operation| (operation.id, operation.core) == (id, self.core);
        let index = state.operations.iter().position(is_it).expect("the operation is under way");
        let operation = state.operations.remove(index);
        let what = if operation.write_from.is_some() { "write" } else { "read" };
        let result = if fails { Err(state.failure(what)) } else { state.call(what) };
        state.end(operation, result)
    }
}

impl State {
    fn end(&mut self, mut operation: Operation, result: Result<(), DiskError>) -> Completion {
        let result = match (result, operation.write_from) {
            (Err(error), _) => {
                self.tear(&operation);
                Err(error)
            }
            (Ok(()), Some(from)) => {
                let bytes = &operation.buffer.as_slice()[from..];
                operation.file.borrow_mut().write(operation.offset, bytes, true);
                if let Some(write) = operation.change {
                    self.note(Change::Ended { write });
                }
                Ok(())
            }
            (Ok(()), None) => {
                let content = operation.file.borrow();
                let wanted = operation.buffer.len();
                let there = content.bytes.get(operation.offset..).unwrap_or_default();
                let there = &there[..there.len().min(wanted)];
                operation.buffer.as_mut_slice()[..there.len()].copy_from_slice(there);
                let short = DiskError::Short { what: "read", bytes: there.len() as u64, expected: wanted as u64 };
                if there.len() == wanted { Ok(()) } else { Err(short) }
            }
        };
        Completion { operation: operation.id, result, buffer: operation.buffer }
    }
}
