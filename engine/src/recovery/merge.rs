//! Records become index entries: of two states of a key, the one that includes the other stays; where neither does, what both
//! say together.
//!
//! Invariant: the order in which records are merged makes no difference.

use annulus_object::{Clock, Dot};

use super::chain::{Scanned, Tip};
use crate::Error;
use crate::disk::{Disk, File};
use crate::engine::Engine;
use crate::entries::{FieldsView, Pieces};
use crate::frame::{FRAME_HEADER_BYTES, FrameRef};
use crate::hints::target_of;
use crate::index::{Entry, Flags, IndexHash, Place, size_class};
use crate::liveness::gained;
use crate::record::{Kind, RecordRef};
use crate::versions::Relation;

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
                segment.min_clock = segment.min_clock.min(record.oldest_clock());
                self.merge_record(&record, place)?;
            }
        }
        Ok(())
    }

    /// Merges one record into the index.
    fn merge_record(&mut self, record: &RecordRef<'_>, place: Place) -> Result<(), Error> {
        self.recovery.records += 1;
        if record.kind() == Kind::Mark {
            let clock = record.dot().clock;
            self.clock.observe(clock);
            if self.mark.is_none_or(|(mark, _)| mark < clock) {
                self.mark = Some((clock, place.file));
            }
            return Ok(());
        }
        let partition = record.partition();
        if self.partitions.is_hints(partition) {
            if self.config.migrate_from.is_some() {
                return self.take_hint(record);
            }
            if !self.adopt_hints(partition, target_of(record.hash())) {
                return Err(Error::HintsOfTwo { partition, path: self.segments.get(place.file).path.clone() });
            }
        } else if !self.partitions.owned().contains(&partition) {
            assert!(self.config.migrate_from.is_some(), "a core logs its own partitions only");
            record.siblings().for_each(|sibling| self.meet(sibling.dot));
            return Ok(());
        }
        let pieces = Pieces::of(record);
        let view = FieldsView::of_record(record, &pieces);
        self.merge_version(partition, &view, place, record.total_bytes());
        Ok(())
    }

    /// Merges what one record says into the index.
    pub(super) fn merge_version(&mut self, partition: u16, view: &FieldsView<'_>, place: Place, bytes: usize) {
        view.dots().for_each(|dot| self.meet(dot));
        let hash = IndexHash::of(view.hash);
        if let Some(old) = self.index.get(partition, hash) {
            match self.relation(partition, &old, view) {
                Relation::Older => return,
                Relation::Newer => {}
                Relation::Concurrent => return self.scatter(partition, &old, view, (place, bytes)),
                // The same, copied. A value that has expired may have gone on as a tombstone; and one record that says it all
                // counts for more than several.
                Relation::Same if view.is_tombstone && !old.is_tombstone() => {}
                Relation::Same if self.scattered.has(partition, hash) => {}
                Relation::Same => return,
            }
            self.scattered.forget(partition, hash);
        }
        self.enter(partition, view, place, bytes);
    }

    /// Takes note of a dot: later stamps are above it. Clocks far ahead are adopted of this node only.
    pub(super) fn meet(&mut self, dot: Dot) {
        self.highest = self.highest.max(dot.clock);
        let is_own = self.config.is_alone || dot.actor.node() == self.config.actor.node();
        let latest = self.config.now_unix_ms.saturating_add(self.config.limits.clock_adopt_ms);
        if is_own || dot.clock <= Clock::from_unix_ms(latest, 0) {
            self.clock.observe(dot.clock);
        }
    }

    /// Drops what a FLUSHALL has deleted of some partitions of this core: not of those whose log is another's.
    pub(super) fn drop_flushed(&mut self, clock: Clock, partitions: impl Iterator<Item = u16>) {
        for partition in partitions {
            let (mut dropped, mut left): (Vec<IndexHash>, Vec<Entry>) = (Vec::new(), Vec::new());
            self.index.retain(partition, |entry| {
                let keep = entry.clock > clock;
                if keep && entry.has_siblings() {
                    left.push(*entry);
                } else if !keep && entry.flags.contains(Flags::EXTRA) {
                    dropped.push(entry.hash);
                }
                keep
            });
            dropped.into_iter().for_each(|hash| assert!(self.side.remove(partition, hash)));
            // Some siblings may be older than the rest.
            left.into_iter().for_each(|entry| self.flush_siblings(partition, &entry, clock));
        }
    }

    /// Counts what points where, drops what FLUSHALL deleted, notes what has expired.
    pub(super) fn finish_recovery(&mut self) {
        if let Some((clock, _)) = self.mark {
            self.drop_flushed(clock, self.partitions.all());
        }
        // What migration wrote anew was counted when it became durable.
        let counts_log = self.config.migrate_from.is_none();
        if let Some((_, file)) = self.mark.filter(|_| counts_log) {
            self.segments.gained_mark(file);
        }
        let Self { index, segments, partition_files, recovery, .. } = self;
        for partition in self.partitions.all() {
            index.scan(partition, 0, usize::MAX, |entry| {
                recovery.siblings += u64::from(entry.has_siblings());
                if counts_log || entry.place.is_cold() {
                    gained(segments, partition_files, partition, &entry);
                }
            });
        }
        if self.config.is_alone {
            self.floor = self.clock.last();
        }
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
