//! One instance of a core's hot log: frames gather, are written one at a time, and fill segment after segment.
//!
//! ```text
//! put → the last waiting frame → (no write in flight) sealed and written → durable → index
//! ```
//!
//! Not here: what records mean, and which segments are still needed (`segments`, `housekeeping`).
//!
//! Invariants: at most one write is in flight; frames are written in the order of their ordinals; every frame chains to the
//! last one that became durable.

mod frames;
mod tail;

use std::collections::VecDeque;

use self::frames::{HEADROOM, PAYLOAD_START};
use annulus_object::Clock;

use crate::buffer::AlignedBuffer;
use crate::disk::File;
use crate::frame::{self, FrameFields};
use crate::limits::Limits;
use crate::segment::SegmentHeader;
use crate::segments::{Segments, Use};

pub use frames::Commit;
pub(crate) use frames::{Idle, InFlight, Waiting, Write};

/// The instance of records up to `Limits::small_record_bytes_max`.
pub const SMALL: u8 = 0;
/// The instance of longer records, each in a frame of its own.
pub const LARGE: u8 = 1;

#[derive(Debug, Clone, Copy)]
struct Active {
    file: u16,
    offset: u64,
    number: u32,
}

/// One instance.
#[derive(Debug)]
pub(crate) struct HotLog {
    instance: u8,
    active: Option<Active>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    pub(crate) in_flight: Option<InFlight>,
    /// Prepared segments.
    pub(crate) spares: VecDeque<u16>,
    /// Full ones that are still needed, oldest first.
    pub(crate) sealed: VecDeque<u16>,
    /// Needless ones, until a durable frame says so.
    pub(crate) passed: VecDeque<u16>,
    free_buffers: Vec<AlignedBuffer>,
    next_ordinal: u64,
    previous_crc: u32,
    pub(crate) log_tail: u64,
    /// The tail of the newest durable frame: all that a crash leaves out. 0 before the first.
    durable_tail: u64,
    /// The newest sequence that was drained.
    pub(crate) drained_through: u64,
}

/// What a new segment's header says beside its sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) layout: u32,
    pub(crate) core: u16,
    pub(crate) cores: u16,
    pub(crate) node: u64,
    pub(crate) cluster_id: [u8; 16],
}

impl HotLog {
    pub(crate) fn new(instance: u8) -> Self {
        Self {
            instance,
            active: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: None,
            spares: VecDeque::new(),
            sealed: VecDeque::new(),
            passed: VecDeque::new(),
            free_buffers: Vec::new(),
            next_ordinal: 1,
            previous_crc: 0,
            log_tail: 0,
            durable_tail: 0,
            drained_through: 0,
        }
    }

    /// Goes on behind what recovery accepted.
    pub(crate) fn continue_after(&mut self, sealed: VecDeque<u16>, previous_crc: u32, ordinal: u64, log_tail: u64) {
        assert!(self.active.is_none() && self.waiting.is_empty());
        self.sealed = sealed;
        self.previous_crc = previous_crc;
        self.next_ordinal = ordinal + 1;
        self.log_tail = log_tail;
        self.durable_tail = log_tail;
    }

    /// True when a record of so many bytes can be taken.
    pub(crate) fn has_room(&self, bytes: usize, limits: &Limits) -> bool {
        if self.fits_last(bytes, limits) {
            return true;
        }
        self.waiting.len() < limits.waiting_frames_max
            && (self.waiting.is_empty() || self.waiting_bytes + bytes <= limits.waiting_bytes_max)
    }

    fn fits_last(&self, bytes: usize, limits: &Limits) -> bool {
        let last = self.waiting.back().map(Waiting::payload_bytes);
        self.instance == SMALL && last.is_some_and(|payload| payload + bytes <= limits.frame_bytes_max)
    }

    fn begin_frame(&mut self, now_us: u64) {
        let mut buffer = self.free_buffers.pop().unwrap_or_default();
        buffer.resize(PAYLOAD_START);
        let ordinal = self.next_ordinal;
        self.waiting.push_back(Waiting { ordinal, buffer, records: 0, began_us: now_us, min_clock: Clock::MAX });
        self.next_ordinal += 1;
    }

    /// Room for a record of `bytes` bytes and of `clock`, to be filled by the caller, and the commit that it is part of.
    pub(crate) fn append(&mut self, bytes: usize, clock: Clock, now_us: u64, limits: &Limits) -> (Commit, &mut [u8]) {
        assert!(self.has_room(bytes, limits), "the caller asked for room");
        if !self.fits_last(bytes, limits) {
            self.begin_frame(now_us);
        }
        self.waiting_bytes += bytes;
        let last = self.waiting.back_mut().expect("pushed above or there");
        last.records += 1;
        last.min_clock = last.min_clock.min(clock);
        let start = last.buffer.len();
        last.buffer.resize(start + bytes);
        let commit = Commit { instance: self.instance, ordinal: last.ordinal };
        (commit, &mut last.buffer.as_mut_slice()[start..])
    }

    /// True when the first waiting frame should be written now: always without `eager`, else when it is large or old enough.
    pub(crate) fn is_due(&self, now_us: u64, eager: Option<(usize, u64)>) -> bool {
        let (Some(first), None) = (self.waiting.front(), &self.in_flight) else {
            return false;
        };
        match eager {
            None => true,
            Some((bytes, age_us)) => {
                self.waiting.len() > 1
                    || first.payload_bytes() >= bytes
                    || now_us.saturating_sub(first.began_us) >= age_us
            }
        }
    }

    /// Seals the first waiting frame and gives what to write; activates a spare segment when the active one is full.
    pub(crate) fn next_write<F: File>(
        &mut self,
        segments: &mut Segments<F>,
        sequence: &mut u64,
        identity: &Identity,
        clock_ceiling: Clock,
    ) -> Result<Write, Idle> {
        if self.in_flight.is_some() || self.waiting.is_empty() {
            return Err(Idle::Nothing);
        }
        let payload_bytes = self.waiting[0].payload_bytes();
        let frame_bytes = frame::frame_bytes(payload_bytes);
        if self.active.is_some_and(|active| active.offset + frame_bytes as u64 > segments.get(active.file).bytes) {
            self.seal(segments);
        }
        let active = match self.active {
            Some(active) => active,
            None => self.activate(segments, sequence).ok_or(Idle::NoSegment)?,
        };
        let Waiting { ordinal, mut buffer, records, min_clock, .. } = self.waiting.pop_front().expect("checked above");
        self.waiting_bytes -= payload_bytes;
        buffer.resize(HEADROOM + frame_bytes);
        let segment = segments.get(active.file);
        let (header, frame_part) = buffer.as_mut_slice().split_at_mut(HEADROOM);
        let fields = FrameFields {
            sequence: segment.sequence,
            number: active.number,
            payload_bytes,
            previous_crc: self.previous_crc,
            records,
            clock_ceiling,
            log_tail: self.log_tail,
            ordinal,
        };
        let crc = frame::seal(frame_part, &fields);
        let is_first = active.number == 0;
        if is_first {
            segment_header(segment.sequence, segment.bytes, self.instance, identity).encode(header);
        }
        let frame_offset = active.offset;
        let log_tail = self.log_tail;
        self.in_flight = Some(InFlight {
            ordinal,
            records,
            payload_bytes,
            file: active.file,
            frame_offset,
            log_tail,
            crc,
            min_clock,
        });
        let (offset, skip) = if is_first { (0, 0) } else { (frame_offset, HEADROOM) };
        Ok(Write { file: active.file, offset, buffer, skip })
    }

    fn activate<F>(&mut self, segments: &mut Segments<F>, sequence: &mut u64) -> Option<Active> {
        let file = self.spares.pop_front()?;
        *sequence += 1;
        let segment = segments.get_mut(file);
        assert_eq!(segment.state, Use::Spare);
        assert!(segment.live == 0 && segment.pins == 0, "a spare segment holds nothing");
        segment.state = Use::Active;
        segment.resident.clear();
        segment.sequence = *sequence;
        segment.written = HEADROOM as u64;
        segment.begin_use();
        let active = Active { file, offset: HEADROOM as u64, number: 0 };
        self.active = Some(active);
        if self.log_tail == 0 || self.sealed.is_empty() {
            self.log_tail = *sequence;
        }
        Some(active)
    }

    /// Closes the active segment.
    pub(crate) fn seal<F>(&mut self, segments: &mut Segments<F>) {
        let Some(active) = self.active.take() else { return };
        let segment = segments.get_mut(active.file);
        assert_eq!(segment.state, Use::Active);
        segment.state = Use::Sealed;
        self.sealed.push_back(active.file);
    }

    /// The write in flight has ended well.
    pub(crate) fn on_written<F>(&mut self, segments: &mut Segments<F>) -> InFlight {
        let written = self.in_flight.take().expect("a write that ended was in flight");
        let active = self.active.as_mut().expect("a segment stays active while it is written");
        assert_eq!(active.file, written.file);
        active.offset = written.frame_offset + frame::frame_bytes(written.payload_bytes) as u64;
        active.number += 1;
        let segment = segments.get_mut(written.file);
        segment.written = active.offset;
        segment.min_clock = segment.min_clock.min(written.min_clock);
        self.previous_crc = written.crc;
        self.durable_tail = written.log_tail;
        written
    }

    /// The write in flight has failed: its segment takes no more.
    pub(crate) fn on_failed<F>(&mut self, segments: &mut Segments<F>) -> InFlight {
        let failed = self.in_flight.take().expect("a write that ended was in flight");
        let active = self.active.expect("a segment stays active while it is written");
        let segment = segments.get_mut(active.file);
        segment.min_clock = segment.min_clock.min(failed.min_clock);
        self.seal(segments);
        if active.number == 0 {
            // Nothing durable is in it, so the log never begins with it.
            let file = self.sealed.pop_back().expect("it was just sealed");
            segments.get_mut(file).state = Use::Passed;
            self.passed.push_back(file);
        }
        failed
    }

    /// Takes a waiting frame out, to be failed.
    pub(crate) fn pop_waiting(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.waiting_bytes -= waiting.payload_bytes();
        Some(waiting)
    }

    /// Keeps a buffer for the next frame.
    pub(crate) fn recycle_buffer(&mut self, mut buffer: AlignedBuffer, limits: &Limits) {
        if self.instance == SMALL
            && self.free_buffers.len() < 3
            && buffer.capacity() <= 2 * limits.frame_bytes_max + HEADROOM
        {
            buffer.clear();
            self.free_buffers.push(buffer);
        }
    }

    /// True when nothing waits and nothing is in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_none()
    }

    /// Commits that wait, and the one in flight.
    pub(crate) fn depth(&self) -> usize {
        self.waiting.len() + usize::from(self.in_flight.is_some())
    }

    /// Memory of frames and buffers.
    pub(crate) fn memory_bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|waiting| waiting.buffer.capacity()).sum();
        let free: usize = self.free_buffers.iter().map(AlignedBuffer::capacity).sum();
        waiting + free + self.in_flight.as_ref().map_or(0, |in_flight| in_flight.payload_bytes)
    }
}

fn segment_header(sequence: u64, segment_bytes: u64, instance: u8, identity: &Identity) -> SegmentHeader {
    let Identity { layout, core, cores, node, cluster_id } = *identity;
    SegmentHeader { sequence, layout, core, cores, segment_bytes, node, cluster_id, instance }
}
