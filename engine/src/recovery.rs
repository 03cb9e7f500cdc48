//! Opening a store: everything the log holds is merged, in whatever order it lies there.
//!
//! A segment is read whole, frame by frame. Where a frame is bad the next good one of the same use is looked for: if there
//! is one, acknowledged data was damaged and is reported; if not, it is the torn end of the last write. A segment whose end
//! the next one does not chain to is either cut where the chain says that the log went on (the frames behind were never
//! acknowledged), or has lost frames, which is reported.
//!
//! What was accepted is synced before it is served, and the log goes on in a new segment. When the number of cores has
//! changed, each core reads every core's old log, keeps what is its own, and writes it anew; tombstones and expired values
//! are left out then, because nothing older remains.
//!
//! Invariant: what is in the index afterwards is the merge of all valid records, and every place in it can be read.

use std::collections::VecDeque;

use annulus_object::{Actor, Clock, Dot};

use crate::Error;
use crate::buffer::AlignedBuffer;
use crate::config::{Config, layout_directory, log_directory};
use crate::disk::{Disk, DiskError, File, OpenMode};
use crate::engine::{Engine, Event};
use crate::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES, FrameRef};
use crate::hot_log::{LARGE, SMALL, Write};
use crate::index::{Entry, Flags, IndexHash, Place};
use crate::record::{Kind, RecordRef};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};
use crate::segments::{Segment, Use};
use crate::work;
use crate::write_path::{FieldsView, is_expired};

/// What recovery met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments with data.
    pub segments: u64,
    /// Frames that were accepted.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Records of this core that were written anew because the number of cores has changed.
    pub moved: u64,
    /// Segments that end in a torn write.
    pub torn_tails: u64,
    /// Frames that were never acknowledged and are left out.
    pub disregarded_frames: u64,
    /// Damage to acknowledged data, by segment.
    pub corruption: Vec<Corruption>,
}

/// Damage to acknowledged data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what} at byte {offset}")]
pub struct Corruption {
    /// Which file.
    pub path: String,
    /// Where.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// A segment that was read.
struct Scanned {
    file: u16,
    header: SegmentHeader,
    bytes: AlignedBuffer,
    /// Offset and checksum of every good frame.
    frames: Vec<(usize, u32)>,
    /// Where the good frames before the first bad one end.
    end: usize,
    /// The first frame's idea of what came before.
    previous_crc: Option<u32>,
}

/// The newest frame of an instance.
#[derive(Default)]
struct Tip {
    crc: u32,
    ordinal: u64,
    log_tail: u64,
}

impl<D: Disk> Engine<D> {
    /// Opens a core's store.
    pub async fn open(disk: D, config: Config) -> Result<Self, Error> {
        let mut engine = Self::empty(disk, config);
        if engine.is_memory() {
            return Ok(engine);
        }
        let directory = engine.config.directory();
        let disk = engine.disk.clone();
        disk.create_directory(&directory).await.map_err(|error| Error::Disk {
            path: directory.clone(),
            error,
        })?;
        match engine.config.migrate_from {
            None => engine.recover_own(&directory).await?,
            Some((layout, cores)) => engine.migrate(layout, cores).await?,
        }
        engine.finish_recovery();
        engine.prepare_first().await?;
        Ok(engine)
    }

    async fn recover_own(&mut self, directory: &str) -> Result<(), Error> {
        let (core, cores, layout) = (self.config.core, self.config.cores, self.config.layout);
        let found = self
            .list_segments(directory, (layout, core, cores), Use::Sealed)
            .await?;
        for instance in [SMALL, LARGE] {
            let files: Vec<_> = found
                .iter()
                .filter(|(_, header)| header.instance == instance)
                .copied()
                .collect();
            let tip = self.recover_instance(files).await?;
            let log_tail = tip.log_tail;
            let mut sealed: Vec<u16> = Vec::new();
            let mut spares = VecDeque::new();
            for (file, header) in &found {
                if header.instance != instance {
                    continue;
                }
                if header.sequence >= log_tail && self.segments.get(*file).written > 0 {
                    sealed.push(*file);
                } else {
                    spares.push_back(*file);
                }
            }
            sealed.sort_by_key(|file| self.segments.get(*file).sequence);
            let log_tail = sealed
                .first()
                .map_or(log_tail, |file| self.segments.get(*file).sequence.max(log_tail));
            let log = &mut self.logs[usize::from(instance)];
            log.continue_after(sealed.into(), tip.crc, tip.ordinal, log_tail);
            self.reuse(instance, spares).await?;
        }
        let newest = found.iter().map(|(_, header)| header.sequence).max().unwrap_or(0);
        self.sequence = self.sequence.max(newest);
        let sequence = self.sequence;
        let sealed: Vec<u16> = self.logs.iter().flat_map(|log| log.sealed.iter().copied()).collect();
        for file in sealed {
            self.segments.get_mut(file).closed_at = sequence;
        }
        Ok(())
    }

    /// Opens every segment of a directory; those that hold nothing become spare later.
    async fn list_segments(
        &mut self,
        directory: &str,
        owner: (u32, u16, u16),
        state: Use,
    ) -> Result<Vec<(u16, SegmentHeader)>, Error> {
        let disk = self.disk.clone();
        let at = |path: &str| {
            let path = path.to_owned();
            move |error| Error::Disk { path, error }
        };
        let mut found = Vec::new();
        for name in disk.list(directory).await.map_err(at(directory))? {
            let Some(number) = segment_number(&name) else { continue };
            let path = format!("{directory}/{name}");
            if state == Use::Sealed {
                self.next_segment_number = self.next_segment_number.max(number);
            }
            // A segment of this log is written again when it is reused: it must be open for that from the start.
            let mode = if state == Use::Sealed {
                OpenMode::Log
            } else {
                OpenMode::Read
            };
            let file = disk.open(&path, mode).await.map_err(at(&path))?;
            // What a cut file has beyond whole blocks cannot be read directly, and was no whole frame.
            let bytes = file.size().await.map_err(at(&path))? & !(BLOCK_BYTES as u64 - 1);
            let block = file.read_at(0, SEGMENT_HEADER_BYTES).await.map_err(at(&path))?;
            let mut header_damaged = false;
            let header = match SegmentHeader::decode(block.as_slice()) {
                Ok(header) => header,
                Err(SegmentError::Newer { .. }) => {
                    let error = SegmentHeader::decode(block.as_slice()).expect_err("it is newer");
                    return Err(Error::Segment { path, error });
                }
                Err(_) => {
                    let instance = if name.starts_with("small") { SMALL } else { LARGE };
                    let Some(sequence) = self.newest_sequence(&file, bytes).await.map_err(at(&path))? else {
                        // Never activated: no frame was ever whole in it.
                        if state == Use::Sealed {
                            self.discard(&path).await;
                        }
                        continue;
                    };
                    header_damaged = true;
                    self.header_from_frames(owner, instance, sequence, bytes)
                }
            };
            let (layout, core, cores) = owner;
            if (header.layout, header.core, header.cores, header.cluster_id)
                != (layout, core, cores, self.config.cluster_id)
            {
                return Err(Error::Segment {
                    path,
                    error: SegmentError::Foreign,
                });
            }
            let segment = Segment {
                file,
                path,
                bytes,
                sequence: header.sequence,
                closed_at: 0,
                written: 0,
                live: 0,
                live_tombstones: 0,
                pins: 0,
                state,
                tombstones: Vec::new(),
                has_mark: false,
                resident: crate::resident::Blocks::default(),
                header_damaged,
            };
            let count = self.segments.len();
            let file = self.segments.add(segment).ok_or(Error::TooManySegments(count + 1))?;
            found.push((file, header));
        }
        found.sort_by_key(|(_, header)| header.sequence);
        Ok(found)
    }

    fn header_from_frames(&self, owner: (u32, u16, u16), instance: u8, sequence: u64, bytes: u64) -> SegmentHeader {
        let (layout, core, cores) = owner;
        SegmentHeader {
            sequence,
            layout,
            core,
            cores,
            segment_bytes: bytes,
            node: self.identity.node,
            cluster_id: self.config.cluster_id,
            instance,
        }
    }

    /// The newest use of a segment that its whole frames tell of.
    async fn newest_sequence(&self, file: &D::File, bytes: u64) -> Result<Option<u64>, DiskError> {
        let mut all = AlignedBuffer::with_capacity(usize::try_from(bytes).expect("segments fit memory"));
        while (all.len() as u64) < bytes {
            let part = file
                .read_at(all.len() as u64, self.config.limits.recovery_read_bytes)
                .await?;
            if part.is_empty() {
                break;
            }
            all.extend_from_slice(part.as_slice());
        }
        let blocks = (SEGMENT_HEADER_BYTES..all.len()).step_by(BLOCK_BYTES);
        let frames = blocks.filter_map(|offset| FrameRef::check_any(&all.as_slice()[offset..]).ok());
        Ok(frames.map(|frame| frame.header().sequence).max())
    }

    async fn discard(&self, path: &str) {
        if let Err(error) = self.disk.remove(path).await {
            tracing::warn!(core = self.config.core, segment = %path, %error, "an empty segment stays");
        }
    }

    /// Reads and merges the segments of one instance, given in the order of their sequences.
    async fn recover_instance(&mut self, files: Vec<(u16, SegmentHeader)>) -> Result<Tip, Error> {
        // The newest frame says where the log begins.
        let mut log_tail = 0;
        for (file, header) in files.iter().rev() {
            let scanned = self.scan_segment(*file, *header).await?;
            if let Some((offset, _)) = scanned.frames.last() {
                let frame = FrameRef::check_any(&scanned.bytes.as_slice()[*offset..]).expect("it was checked");
                log_tail = frame.header().log_tail;
                break;
            }
        }
        for (file, header) in &files {
            let segment = self.segments.get(*file);
            if header.sequence >= log_tail && segment.header_damaged {
                let what = "the segment's header is damaged; its frames were read";
                let path = segment.path.clone();
                self.recovery.corruption.push(Corruption { path, offset: 0, what });
            }
        }
        if log_tail > 0 && files.iter().all(|(_, header)| header.sequence != log_tail) {
            let path = self.config.directory();
            let what = "the oldest segment is missing, or its header and all its frames are damaged";
            self.recovery.corruption.push(Corruption { path, offset: 0, what });
        }
        let mut tip = Tip {
            log_tail,
            ..Tip::default()
        };
        let mut before: Option<Scanned> = None;
        for (file, header) in files {
            if header.sequence < log_tail {
                continue;
            }
            let scanned = self.scan_segment(file, header).await?;
            if let Some(mut before) = before.take() {
                self.close_chain(&mut before, &scanned, &tip);
                self.merge_segment(&before, &mut tip).await?;
            }
            before = Some(scanned);
        }
        if let Some(last) = before {
            if self.is_torn(&last) {
                self.recovery.torn_tails += 1;
            }
            self.merge_segment(&last, &mut tip).await?;
        }
        Ok(tip)
    }

    async fn scan_segment(&mut self, file: u16, header: SegmentHeader) -> Result<Scanned, Error> {
        let segment = self.segments.get(file);
        let (path, handle, length) = (segment.path.clone(), segment.file.clone(), segment.bytes);
        let step = self.config.limits.recovery_read_bytes;
        let mut bytes = AlignedBuffer::with_capacity(usize::try_from(length).expect("segments fit memory"));
        while (bytes.len() as u64) < length {
            let part = handle.read_at(bytes.len() as u64, step).await;
            let part = part.map_err(|error| Error::Disk {
                path: path.clone(),
                error,
            })?;
            if part.is_empty() {
                break;
            }
            bytes.extend_from_slice(part.as_slice());
        }
        // The last read may have brought a part of a block.
        bytes.resize(bytes.len().min(usize::try_from(length).expect("segments fit memory")));
        let mut scanned = Scanned {
            file,
            header,
            bytes,
            frames: Vec::new(),
            end: SEGMENT_HEADER_BYTES,
            previous_crc: None,
        };
        self.find_frames(&mut scanned, &path);
        Ok(scanned)
    }

    /// Finds the good frames of a segment, and the damage between them.
    fn find_frames(&mut self, scanned: &mut Scanned, path: &str) {
        let bytes = scanned.bytes.as_slice();
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut number = 0;
        let mut crc: Option<u32> = None;
        let mut bad_at: Option<usize> = None;
        while offset + FRAME_HEADER_BYTES <= bytes.len() {
            let frame = FrameRef::check_any(&bytes[offset..]).ok().filter(|frame| {
                let header = frame.header();
                let is_next = crc.is_none_or(|crc| header.previous_crc == crc) && header.number == number;
                header.sequence == scanned.header.sequence && header.number >= number && (is_next || bad_at.is_some())
            });
            let Some(frame) = frame else {
                bad_at.get_or_insert(offset);
                offset += BLOCK_BYTES;
                continue;
            };
            if let Some(bad_at) = bad_at.take() {
                let corruption = Corruption {
                    path: path.to_owned(),
                    offset: bad_at as u64,
                    what: "a damaged frame lies before good ones",
                };
                if !self.recovery.corruption.contains(&corruption) {
                    self.recovery.corruption.push(corruption);
                }
            }
            let header = frame.header();
            if scanned.frames.is_empty() {
                scanned.previous_crc = Some(header.previous_crc);
            }
            scanned.frames.push((offset, header.crc));
            number = header.number + 1;
            crc = Some(header.crc);
            offset += frame.total_bytes();
            scanned.end = offset;
        }
    }

    /// True when bytes of this use lie behind the last good frame.
    fn is_torn(&self, scanned: &Scanned) -> bool {
        let behind = &scanned.bytes.as_slice()[scanned.end.min(scanned.bytes.len())..];
        let Some(block) = behind.get(..FRAME_HEADER_BYTES) else {
            return false;
        };
        crate::frame::FrameHeader::peek(block).is_ok_and(|header| header.sequence == scanned.header.sequence)
    }

    /// Cuts a segment where the next one says that the log went on.
    fn close_chain(&mut self, before: &mut Scanned, next: &Scanned, tip: &Tip) {
        let Some(previous_crc) = next.previous_crc else { return };
        // A segment that holds no frame is one whose first write failed, if the log went on from the one before it.
        let never_began = match tip.ordinal {
            0 => before.header.sequence > tip.log_tail,
            _ => tip.crc == previous_crc,
        };
        if before.frames.last().is_some_and(|(_, crc)| *crc == previous_crc) {
            return;
        }
        if let Some(kept) = before.frames.iter().position(|(_, crc)| *crc == previous_crc) {
            self.recovery.disregarded_frames += (before.frames.len() - kept - 1) as u64;
            before.end = before.frames.get(kept + 1).map_or(before.end, |(offset, _)| *offset);
            before.frames.truncate(kept + 1);
        } else if before.previous_crc == Some(previous_crc) || (before.frames.is_empty() && never_began) {
            // The log went on from what came before this segment: its first write failed.
            self.recovery.disregarded_frames += before.frames.len() as u64;
            before.frames.clear();
            before.end = SEGMENT_HEADER_BYTES;
        } else {
            let path = self.segments.get(before.file).path.clone();
            let what = "frames are missing before the next segment";
            self.recovery.corruption.push(Corruption {
                path,
                offset: before.end as u64,
                what,
            });
        }
    }

    async fn merge_segment(&mut self, scanned: &Scanned, tip: &mut Tip) -> Result<(), Error> {
        let path = self.segments.get(scanned.file).path.clone();
        if scanned.frames.is_empty() {
            return Ok(());
        }
        let handle = self.segments.get(scanned.file).file.clone();
        handle.sync().await.map_err(|error| Error::Disk {
            path: path.clone(),
            error,
        })?;
        self.segments.get_mut(scanned.file).written = scanned.end as u64;
        self.recovery.segments += 1;
        for (offset, crc) in &scanned.frames {
            let frame = FrameRef::check_any(&scanned.bytes.as_slice()[*offset..]).expect("it was checked");
            self.recovery.frames += 1;
            self.clock.observe(frame.clock_ceiling());
            let header = frame.header();
            tip.crc = *crc;
            tip.ordinal = tip.ordinal.max(header.ordinal);
            for record in frame.records() {
                let (at, record) = record.map_err(|error| Error::Frame {
                    path: path.clone(),
                    error,
                })?;
                let place = Place::at(scanned.file, (offset + FRAME_HEADER_BYTES + at) as u64);
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
            assert!(
                self.config.migrate_from.is_some(),
                "a core logs its own partitions only"
            );
            return Ok(());
        }
        let context: Vec<(Actor, Clock)> = record.context_entries().collect();
        let view = FieldsView::of_record(record, &context);
        if let Some(old) = self.index.get(partition, IndexHash::of(view.hash)) {
            match self.newer(partition, &old, &view) {
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
        self.enter(partition, &view, place, record.total_bytes());
        Ok(())
    }

    fn version_of(&self, partition: u16, entry: &Entry) -> (Actor, Clock) {
        self.actors.resolve(entry.actor_slot).unwrap_or_else(|| {
            let extra = self.side.get(partition, entry.hash);
            extra
                .and_then(|extra| extra.actor)
                .expect("an actor without a slot is in the side table")
        })
    }

    /// Whether a record replaces an entry (`Some(true)`), is replaced by it, or neither saw the other (`None`).
    fn newer(&self, partition: u16, old: &Entry, new: &FieldsView<'_>) -> Option<bool> {
        let (old_actor, old_floor) = self.version_of(partition, old);
        let old_dot = Dot::new(old.clock, old_actor);
        let sees = |actor: Actor, clock: Clock, floor: Clock, context: &[(Actor, Clock)], dot: Dot| {
            dot.clock <= floor
                || (dot.actor == actor && dot.clock <= clock)
                || context
                    .iter()
                    .any(|(actor, clock)| *actor == dot.actor && dot.clock <= *clock)
        };
        // The same version, copied.
        if new.dot == old_dot {
            return Some(false);
        }
        // Larger clocks see smaller ones, never the other way round; so one test is enough for each direction.
        if new.dot.clock > old.clock && sees(new.dot.actor, new.dot.clock, new.floor, new.context, old_dot) {
            return Some(true);
        }
        let extra = old
            .flags
            .contains(Flags::EXTRA)
            .then(|| self.side.get(partition, old.hash))
            .flatten();
        let old_context = extra.map_or(&[][..], |extra| extra.context);
        sees(old_actor, old.clock, old_floor, old_context, new.dot).then_some(false)
    }

    /// Counts what points where, drops what FLUSHALL deleted, notes what has expired.
    fn finish_recovery(&mut self) {
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
                dropped
                    .into_iter()
                    .for_each(|hash| assert!(side.remove(partition, hash)));
            }
        }
        // What migration wrote anew was counted when it became durable.
        if self.config.migrate_from.is_none() {
            if let Some((_, file)) = self.mark {
                self.segments.gained(file, false);
                self.segments.get_mut(file).has_mark = true;
            }
            let Self { index, segments, .. } = self;
            for partition in self.config.partitions.clone() {
                index.scan(partition, 0, usize::MAX, |entry| {
                    segments.gained(entry.place.file, entry.is_tombstone());
                    if entry.is_tombstone() {
                        segments
                            .get_mut(entry.place.file)
                            .tombstones
                            .push((partition, entry.hash));
                    }
                });
            }
        }
        self.floor = self.clock.last();
        self.expire_all();
    }

    fn expire_all(&mut self) {
        let mut due = Vec::new();
        self.side.due(self.config.now_unix_ms, usize::MAX / 2, &mut due);
        due.into_iter()
            .for_each(|(partition, hash)| self.expire(partition, hash));
        self.counts.expired = 0;
    }

    /// Reopens segments that hold nothing for reuse, and removes those beyond what is kept.
    async fn reuse(&mut self, instance: u8, files: VecDeque<u16>) -> Result<(), Error> {
        for file in files {
            let path = self.segments.get(file).path.clone();
            let right_size = self.segments.get(file).bytes == self.config.segment_bytes(instance);
            let log = &mut self.logs[usize::from(instance)];
            if right_size && log.spares.len() < self.config.limits.spare_segments {
                let segment = self.segments.get_mut(file);
                segment.state = Use::Spare;
                segment.sequence = 0;
                self.logs[usize::from(instance)].spares.push_back(file);
            } else {
                self.segments.remove(file);
                self.discard(&path).await;
            }
        }
        Ok(())
    }

    /// The first segment of small records, so that the first write waits for nothing.
    async fn prepare_first(&mut self) -> Result<(), Error> {
        if !self.logs[usize::from(SMALL)].spares.is_empty() {
            return Ok(());
        }
        match self.prepare_now(SMALL).await {
            // What is there can be read all the same; writes are refused until there is room.
            Err(Error::Disk {
                error: DiskError::Full,
                path,
            }) => {
                tracing::error!(core = self.config.core, segment = %path, "the disk is full: writes are refused");
                self.disk_state.is_full = true;
                Ok(())
            }
            result => result,
        }
    }

    async fn prepare_now(&mut self, instance: u8) -> Result<(), Error> {
        let path = self.next_segment_path(usize::from(instance));
        let bytes = self.config.segment_bytes(instance);
        let disk = self.disk.clone();
        let prepared = work::prepare(&disk, &path, bytes).await;
        let file = prepared.map_err(|error| {
            let (work::PrepareError::Disk(error) | work::PrepareError::Sync(error)) = error;
            Error::Disk {
                path: path.clone(),
                error,
            }
        })?;
        self.add_spare(instance, path, bytes, file);
        Ok(())
    }

    /// Reads every core's log of another layout, and writes what is this core's own into its own log.
    async fn migrate(&mut self, layout: u32, cores: u16) -> Result<(), Error> {
        let mut foreign = Vec::new();
        for core in 0..cores {
            let directory = log_directory(layout, core);
            let found = self
                .list_segments(&directory, (layout, core, cores), Use::Foreign)
                .await?;
            // A mark deletes what its own core had; the log of another core goes on without it.
            let mark = self.mark.take();
            for instance in [SMALL, LARGE] {
                let files = found
                    .iter()
                    .filter(|(_, header)| header.instance == instance)
                    .copied()
                    .collect();
                self.recover_instance(files).await?;
            }
            if let Some((clock, _)) = self.mark.take() {
                self.drop_foreign(clock, &found);
            }
            self.mark = mark;
            foreign.extend(found);
        }
        self.expire_all_foreign();
        self.write_anew(&foreign).await?;
        tracing::info!(core = self.config.core, from = %layout_directory(layout), moved = self.recovery.moved, "moved");
        for (file, _) in foreign {
            self.segments.remove(file);
        }
        Ok(())
    }

    /// Drops the entries of one core's old log that its FLUSHALL had deleted.
    fn drop_foreign(&mut self, clock: Clock, found: &[(u16, SegmentHeader)]) {
        let is_of_core = |file: u16| found.iter().any(|(other, _)| *other == file);
        let Self { index, side, .. } = self;
        for partition in self.config.partitions.clone() {
            let mut dropped = Vec::new();
            index.retain(partition, |entry| {
                let keep = entry.clock > clock || !is_of_core(entry.place.file);
                if !keep && entry.flags.contains(Flags::EXTRA) {
                    dropped.push(entry.hash);
                }
                keep
            });
            dropped
                .into_iter()
                .for_each(|hash| assert!(side.remove(partition, hash)));
        }
    }

    /// Leaves tombstones and expired values out.
    fn expire_all_foreign(&mut self) {
        let now_ms = self.config.now_unix_ms;
        let Self { index, side, .. } = self;
        for partition in self.config.partitions.clone() {
            let mut dropped = Vec::new();
            index.retain(partition, |entry| {
                let expires_at_ms = side.get(partition, entry.hash).map_or(0, |extra| extra.expires_at_ms);
                let keep = !entry.is_tombstone() && !is_expired(expires_at_ms, now_ms);
                if !keep && entry.flags.contains(Flags::EXTRA) {
                    dropped.push(entry.hash);
                }
                keep
            });
            dropped
                .into_iter()
                .for_each(|hash| assert!(side.remove(partition, hash)));
        }
    }

    async fn write_anew(&mut self, foreign: &[(u16, SegmentHeader)]) -> Result<(), Error> {
        for (file, header) in foreign {
            let written = self.segments.get(*file).written;
            if written == 0 {
                continue;
            }
            let scanned = self.scan_segment(*file, *header).await?;
            for (offset, _) in scanned.frames.iter().filter(|(offset, _)| (*offset as u64) < written) {
                let frame = FrameRef::check_any(&scanned.bytes.as_slice()[*offset..]).expect("it was checked");
                for (at, record) in frame.records().map_while(Result::ok) {
                    let place = Place::at(*file, (offset + FRAME_HEADER_BYTES + at) as u64);
                    if !self.config.partitions.contains(&record.partition()) {
                        continue;
                    }
                    let entry = self.index.get(record.partition(), IndexHash::of(record.hash()));
                    if entry.is_some_and(|entry| entry.place == place) {
                        self.copy_record(&record).await?;
                    }
                }
            }
        }
        self.flush_now(SMALL).await?;
        self.flush_now(LARGE).await
    }

    async fn copy_record(&mut self, record: &RecordRef<'_>) -> Result<(), Error> {
        let bytes = record.total_bytes();
        let instance = if bytes <= self.config.limits.small_record_bytes_max {
            SMALL
        } else {
            LARGE
        };
        if !self.logs[usize::from(instance)].has_room(bytes, &self.config.limits) {
            self.flush_now(instance).await?;
        }
        // The copy takes the place of the record in the index, which must not look like a newer version.
        self.index.remove(record.partition(), IndexHash::of(record.hash()));
        let (_, place) = self.logs[usize::from(instance)].append(bytes, 0, self.sequence, &self.config.limits);
        place.copy_from_slice(record.bytes());
        self.recovery.moved += 1;
        Ok(())
    }

    /// Writes what waits in an instance, before any turn.
    async fn flush_now(&mut self, instance: u8) -> Result<(), Error> {
        let number = usize::from(instance);
        while !self.logs[number].is_quiet() {
            let Write {
                file,
                offset,
                buffer,
                skip,
            } = match self.next_write(number) {
                Ok(write) => write,
                Err(_) => {
                    self.prepare_now(instance).await?;
                    continue;
                }
            };
            let segment = self.segments.get(file);
            let (path, handle) = (segment.path.clone(), segment.file.clone());
            let buffer = handle
                .write_at(offset, buffer, skip)
                .await
                .map_err(|error| Error::Disk { path, error })?;
            let written = self.logs[number].on_written(&mut self.segments);
            self.apply(number, &written, written.payload(&buffer));
            self.logs[number].recycle_buffer(buffer, &self.config.limits);
        }
        // Nothing of this is news to anybody.
        self.work.clear();
        self.preparing = [false; 2];
        self.pending_keys = 0;
        self.events.retain(|event| !matches!(event, Event::Durable(_)));
        Ok(())
    }
}

/// The number in a segment's file name; `None` for other files.
fn segment_number(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".log")?;
    let number = stem.strip_prefix("small-").or_else(|| stem.strip_prefix("large-"))?;
    number.parse().ok()
}
