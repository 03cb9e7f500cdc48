//! Another number of cores: hints go to the cores that have their keys' partitions now.
//!
//! An old core's hints of one node are of many partitions, so they are spread anew: every record of theirs is read, whatever
//! counts of it, and what is this core's is merged in memory and written to its own log. A hint that was forgotten and is on
//! the disk all the same comes back by that, as with any other start.
//!
//! Invariant: what was moved is durable in the new log before the old one goes.

use annulus_object::Object;

use super::runs::{Owner, read_runs};
use crate::Error;
use crate::config::log_directory;
use crate::disk::{Disk, File};
use crate::engine::{Engine, Key};
use crate::hints::{home_of, target_of};
use crate::hot_log::{LARGE, SMALL};
use crate::merge_path::object_record;
use crate::partition_files::parse_hints_name;
use crate::record::{RecordRef, peek_total_bytes};

/// A key of a hint, and all that is kept of it.
#[derive(Debug, Default)]
pub(crate) struct MovedHint {
    key: Vec<u8>,
    object: Object,
}

impl<D: Disk> Engine<D> {
    /// Takes a hint of an old core, if its key is this core's now.
    pub(super) fn take_hint(&mut self, record: &RecordRef<'_>) -> Result<(), Error> {
        record.siblings().for_each(|sibling| self.meet(sibling.dot));
        if !self.partitions.owned().contains(&home_of(record.hash())) {
            return Ok(());
        }
        self.hints.moved_bytes += record.total_bytes();
        if self.hints.moved_bytes > self.config.memory_bytes {
            return Err(Error::TooManyHints(self.hints.moved_bytes));
        }
        let moved = self.hints.moved.entry(record.hash()).or_default();
        moved.key = record.key().to_vec();
        moved.object.merge(record.object().expect("a mark is of no key"));
        Ok(())
    }

    /// Takes what lies in the old cores' files of hints, too, and writes all to this core's log.
    pub(super) async fn move_hints(&mut self, layout: u32, cores: u16) -> Result<(), Error> {
        for core in 0..cores {
            let directory = log_directory(layout, core);
            for name in self.list(&directory).await? {
                if let Some((partition, _, number)) = parse_hints_name(&name) {
                    self.take_hints_of(format!("{directory}/{name}"), partition, number).await?;
                }
            }
        }
        for (name, moved) in std::mem::take(&mut self.hints.moved) {
            let partition = self.add_hint_partition(target_of(name));
            let partition = partition.ok_or(Error::TooManyHints(self.hints.moved_bytes))?;
            let key = Key { bytes: &moved.key, partition, hash: name };
            let mut object = Vec::new();
            moved.object.encode(&mut object);
            let view = annulus_object::ObjectView::check(&object).expect("it was just encoded");
            let record = object_record(&key, &view).ok_or(Error::TooManyHints(object.len()))?;
            self.copy_record(&RecordRef::checked_before(&record)).await?;
        }
        self.flush_now(SMALL).await?;
        self.flush_now(LARGE).await
    }

    /// Takes the records of a file of hints, whichever of its runs count.
    async fn take_hints_of(&mut self, path: String, partition: u16, number: u64) -> Result<(), Error> {
        let owner = Owner { cluster_id: self.config.cluster_id, node: self.config.actor.node(), partition };
        let step = self.config.limits.recovery_read_bytes;
        let mut found = read_runs(self.disk.clone(), path.clone(), number, owner, step, |_| false).await?;
        self.recovery.corruption.append(&mut found.damage);
        for run in &found.runs {
            let (mut at, end) = (run.records().start, run.records().end);
            let (mut held, mut read_to): (Vec<u8>, u64) = (Vec::new(), at);
            while at < end {
                let needed = peek_total_bytes(&held).unwrap_or(usize::MAX);
                if held.len() < needed && read_to < end {
                    let part = found.file.read_at(read_to, step).await;
                    let part = part.map_err(|error| Error::Disk { path: path.clone(), error })?;
                    read_to = if part.is_empty() { end } else { read_to + part.len() as u64 };
                    held.extend_from_slice(part.as_slice());
                    continue;
                }
                // What cannot be read was reported where the footer was rebuilt, or will be missed by nobody but its target.
                let Ok(record) = RecordRef::check(&held) else { break };
                let bytes = record.total_bytes();
                self.take_hint(&record)?;
                held.drain(..bytes);
                at += bytes as u64;
            }
        }
        Ok(())
    }
}
