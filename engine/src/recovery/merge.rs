//! Records become index entries: of two versions of a key, the one that saw the other stays.
//!
//! Invariant: the order in which records are merged makes no difference.

use annulus_object::{Actor, Clock, Dot};

use super::chain::{Scanned, Tip};
use crate::Error;
use crate::disk::{Disk, File};
use crate::engine::Engine;
use crate::entries::FieldsView;
use crate::frame::{FRAME_HEADER_BYTES, FrameRef};
use crate::index::{Entry, Flags, IndexHash, Place, size_class};
use crate::liveness::gained;
use crate::record::{Kind, RecordRef};
use crate::trees::version_of;

impl<D: Disk> Engine<D> {
    pub(super) async fn merge_segment(&mut self, scanned: &Scanned, tip: &mut Tip) -> Result<(), Error> {
        let path = self.segments.get(scanned.file).path.clone();
        if scanned.frames.is_empty() {
            return Ok(());
        }
        let handle = self.segments.get(scanned.file).file.clone();
        handle.sync().await.map_err(|error| Error::Disk { path: path.clone(), error })?;
        let segment = self.segments.get_mut(scanned.file);
        segment.written = scanned.end as u64;
        segment.begin_use();
        self.recovery.segments += 1;
        for (offset, crc) in &scanned.frames {
            let frame = FrameRef::check_any(&scanned.bytes.as_slice()[*offset..]).expect("it was checked");
            self.recovery.frames += 1;
            self.clock.observe(frame.clock_ceiling());
            let header = frame.header();
            tip.crc = *crc;
            tip.ordinal = tip.ordinal.max(header.ordinal);
            for record in frame.records() {
                let (at, record) = record.map_err(|error| Error::Frame { path: path.clone(), error })?;
                let place = Place::at(scanned.file, (offset + FRAME_HEADER_BYTES + at) as u64);
                self.segments.wrote(place.file, record.total_bytes(), size_class(record.total_bytes()));
                let segment = self.segments.get_mut(place.file);
                segment.min_clock = segment.min_clock.min(record.dot().clock);
                self.merge_record(&record, place)?;
            }
        }
        Ok(())
    }

    /// Merges one record into the index.
    fn merge_record(&mut self, record: &RecordRef<'_>, place: Place) -> Result<(), Error> {
        let dot = record.dot();
        self.clock.observe(dot.clock);
        self.recovery.records += 1;
        if record.kind() == Kind::Mark {
            if self.mark.is_none_or(|(mark, _)| mark < dot.clock) {
                self.mark = Some((dot.clock, place.file));
            }
            return Ok(());
        }
        let partition = record.partition();
        if !self.config.partitions.contains(&partition) {
            assert!(self.config.migrate_from.is_some(), "a core logs its own partitions only");
            return Ok(());
        }
        let context: Vec<(Actor, Clock)> = record.context_entries().collect();
        let view = FieldsView::of_record(record, &context);
        self.merge_version(partition, &view, place, record.total_bytes())
    }

    /// Merges one version of a key into the index.
    pub(super) fn merge_version(
        &mut self,
        partition: u16,
        view: &FieldsView<'_>,
        place: Place,
        bytes: usize,
    ) -> Result<(), Error> {
        let dot = view.dot;
        if let Some(old) = self.index.get(partition, IndexHash::of(view.hash)) {
            match self.newer(partition, &old, view) {
                Some(true) => {}
                Some(false) => return Ok(()),
                None => {
                    let old_actor = self.version_of(partition, &old).0;
                    let show = |dot: Dot| format!("{:?}", dot);
                    return Err(Error::Concurrent {
                        partition,
                        first: show(Dot::new(old.clock, old_actor)),
                        second: show(dot),
                    });
                }
            }
        }
        self.enter(partition, view, place, bytes);
        Ok(())
    }

    fn version_of(&self, partition: u16, entry: &Entry) -> (Actor, Clock) {
        version_of(&self.actors, &self.side, partition, entry)
    }

    /// Whether a record replaces an entry (`Some(true)`), is replaced by it, or neither saw the other (`None`).
    fn newer(&self, partition: u16, old: &Entry, new: &FieldsView<'_>) -> Option<bool> {
        let (old_actor, old_floor) = self.version_of(partition, old);
        let old_dot = Dot::new(old.clock, old_actor);
        let sees = |actor: Actor, clock: Clock, floor: Clock, context: &[(Actor, Clock)], dot: Dot| {
            dot.clock <= floor
                || (dot.actor == actor && dot.clock <= clock)
                || context.iter().any(|(actor, clock)| *actor == dot.actor && dot.clock <= *clock)
        };
        // The same version, copied; an expired value may have gone on as a tombstone.
        if new.dot == old_dot {
            return Some(new.is_tombstone && !old.is_tombstone());
        }
        // Larger clocks see smaller ones, never the other way round; so one test is enough for each direction.
        if new.dot.clock > old.clock && sees(new.dot.actor, new.dot.clock, new.floor, new.context, old_dot) {
            return Some(true);
        }
        let extra = old.flags.contains(Flags::EXTRA).then(|| self.side.get(partition, old.hash)).flatten();
        let old_context = extra.map_or(&[][..], |extra| extra.context);
        sees(old_actor, old.clock, old_floor, old_context, new.dot).then_some(false)
    }

    /// Counts what points where, drops what FLUSHALL deleted, notes what has expired.
    pub(super) fn finish_recovery(&mut self) {
        if let Some((clock, _)) = self.mark {
            let Self { index, side, .. } = self;
            for partition in self.config.partitions.clone() {
                let mut dropped = Vec::new();
                index.retain(partition, |entry| {
                    if entry.clock <= clock && entry.flags.contains(Flags::EXTRA) {
                        dropped.push(entry.hash);
                    }
                    entry.clock > clock
                });
                dropped.into_iter().for_each(|hash| assert!(side.remove(partition, hash)));
            }
        }
        // What migration wrote anew was counted when it became durable.
        let counts_log = self.config.migrate_from.is_none();
        if let Some((_, file)) = self.mark.filter(|_| counts_log) {
            self.segments.gained_mark(file);
        }
        let Self { index, segments, partition_files, .. } = self;
        for partition in self.config.partitions.clone() {
            index.scan(partition, 0, usize::MAX, |entry| {
                if counts_log || entry.place.is_cold() {
                    gained(segments, partition_files, partition, &entry);
                }
            });
        }
        self.floor = self.clock.last();
        self.build_trees();
        self.expire_all();
    }

    fn expire_all(&mut self) {
        let mut due = Vec::new();
        self.side.due(self.config.now_unix_ms, usize::MAX / 2, &mut due);
        due.into_iter().for_each(|(partition, hash)| self.expire(partition, hash));
        self.counts.expired = 0;
    }
}
