//! A core's part of a snapshot, from the command to its reply.
//!
//! Invariant: a part that was begun is answered once, and the node's desk hears of its end first.

use std::path::{Path, PathBuf};

use annulus_engine::Disk;
use annulus_net::resp::{Protocol, writer};

use super::ShardLoop;
use super::lifecycle::Drain;
use crate::commands::admin;
use crate::snapshot::{self, Done, PartResult, Task};
use crate::waiting::ReplyTo;

/// A part that is being made.
pub(super) struct Part {
    directory: PathBuf,
    protocol: Protocol,
    to: ReplyTo,
}

impl<D: Disk> ShardLoop<D> {
    /// DYN.ADMIN SNAPSHOT on this core.
    pub(super) fn begin_snapshot(&mut self, directory: &Path, protocol: Protocol, to: ReplyTo) {
        assert!(self.snapshot.is_none(), "one snapshot at a time");
        self.snapshot = Some(Part { directory: directory.to_owned(), protocol, to });
        self.outbox.snapshot = Some(Task::Prepare(directory.to_owned()));
    }

    /// What was wanted off the turns is done.
    pub fn on_snapshot(&mut self, done: Done) {
        match done {
            Done::Prepared(Err(error)) => self.end_snapshot(Err(error)),
            Done::Prepared(Ok(())) if self.drain != Drain::No => self.end_snapshot(Err("the node stops".to_owned())),
            Done::Prepared(Ok(())) => {
                let directory = self.snapshot.as_ref().map(|part| part.directory.to_string_lossy().into_owned());
                let directory = directory.expect("it was prepared for a part");
                if let Err(error) = self.store.engine_mut().begin_snapshot(&directory) {
                    self.end_snapshot(Err(error.to_string()));
                }
            }
            Done::Finished(result) => self.answer_snapshot(&result),
        }
    }

    /// This core's part has ended.
    pub(super) fn end_snapshot(&mut self, result: PartResult) {
        if let Some(part) = &self.snapshot {
            self.outbox.snapshot = Some(Task::Finish(part.directory.clone(), result));
        }
    }

    fn answer_snapshot(&mut self, result: &PartResult) {
        let Part { directory, protocol, to } = self.snapshot.take().expect("a part is answered once");
        // Before the reply: its client may ask for another one at once.
        self.node.end_snapshot_part();
        let mut reply = Vec::new();
        match result {
            Ok(report) => admin::snapshot_part(self.core, protocol, report, &mut reply),
            Err(error) => writer::error(&mut reply, &snapshot::failure(self.core, &directory, error)),
        }
        self.deliver(to, &reply);
    }
}
