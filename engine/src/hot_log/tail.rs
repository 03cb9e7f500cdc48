//! Where a log begins and where it can go on: what a crash would replay, and which room is left.
//!
//! Invariant: whatever may come back after a crash counts as replayed until a durable frame says otherwise.

use super::frames::HEADROOM;
use super::{Active, HotLog, SMALL};
use annulus_object::Clock;

use crate::frame::{self, FRAME_HEADER_BYTES};
use crate::segments::Segments;

impl HotLog {
    /// True when a segment should be prepared: the next one when the active one is half full or there is none, and for small
    /// records one more, which stays in reserve when the disk is full: a start on a full disk then still has where to write
    /// deletes.
    pub(crate) fn wants_segment<F>(&self, segments: &Segments<F>) -> bool {
        match (self.spares.len(), self.active) {
            (0, Some(active)) => active.offset > segments.get(active.file).bytes / 2,
            (0, None) => self.instance == SMALL || !self.waiting.is_empty(),
            (1, Some(_)) => self.instance == SMALL,
            _ => false,
        }
    }

    /// Bytes of the spare segments.
    pub(crate) fn spare_bytes<F>(&self, segments: &Segments<F>) -> u64 {
        self.spares.iter().map(|file| segments.get(*file).bytes - HEADROOM as u64).sum()
    }

    /// The smallest clock of what is on its way to the disk, or would come back from it after a crash, `but` some segments.
    /// Segments that only memory has let go of count: until a durable frame says so, they are replayed.
    pub(crate) fn min_clock<F>(&self, segments: &Segments<F>, but: &[u16]) -> Clock {
        let on_its_way =
            self.in_flight.iter().map(|frame| frame.min_clock).chain(self.waiting.iter().map(|frame| frame.min_clock));
        let active = self.active.map(|active| active.file);
        let used = self.passed.iter().chain(&self.sealed).copied().chain(active).filter(|file| !but.contains(file));
        let replayed = used.map(|file| segments.get(file)).filter(|segment| segment.sequence >= self.durable_tail);
        on_its_way.chain(replayed.map(|segment| segment.min_clock)).min().unwrap_or(Clock::MAX)
    }

    /// Whether everything that was drained would also stay away after a crash.
    pub(crate) fn drains_are_durable(&self) -> bool {
        self.drained_through == 0 || self.durable_tail > self.drained_through
    }

    /// The segments that a crash would replay, oldest first: those that only memory has let go of are among them.
    pub(crate) fn replayed<F>(&self, segments: &Segments<F>) -> Vec<u16> {
        let active = self.active.map(|active| active.file);
        let used = self.passed.iter().chain(&self.sealed).copied().chain(active);
        used.filter(|file| segments.get(*file).sequence >= self.durable_tail).collect()
    }

    /// The ordinal of the next commit that is begun.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// Whether nothing before a commit is on its way any more.
    pub(crate) fn is_durable_before(&self, ordinal: u64) -> bool {
        let in_flight = self.in_flight.as_ref().map(|frame| frame.ordinal);
        in_flight.into_iter().chain(self.waiting.front().map(|frame| frame.ordinal)).all(|other| other >= ordinal)
    }

    /// Whether everything that memory has let go of would also stay away after a crash.
    pub(crate) fn tail_is_durable(&self) -> bool {
        self.durable_tail == self.log_tail || self.passed.is_empty()
    }

    /// Length of the segments that hold something, or are being written.
    pub(crate) fn bytes_in_use<F>(&self, segments: &Segments<F>) -> u64 {
        let active = self.active.map(|active| active.file);
        self.sealed.iter().copied().chain(active).map(|file| segments.get(file).bytes).sum()
    }

    /// Length of the segments that wait to be used again, or will.
    pub(crate) fn idle_bytes<F>(&self, segments: &Segments<F>) -> u64 {
        self.spares.iter().chain(&self.passed).map(|file| segments.get(*file).bytes).sum()
    }

    /// A frame without records, to make the tail durable.
    pub(crate) fn append_empty(&mut self, now_us: u64) {
        assert!(self.is_quiet(), "other frames carry the tail just as well");
        self.begin_frame(now_us);
    }

    /// True before the first segment: nothing was written, and nothing is prepared.
    pub(crate) fn is_fresh(&self) -> bool {
        self.active.is_none() && self.sealed.is_empty() && self.spares.is_empty()
    }

    /// Whether the first waiting frame has a segment to go to.
    pub(crate) fn can_write<F>(&self, segments: &Segments<F>) -> bool {
        let Some(first) = self.waiting.front() else { return true };
        let bytes = frame::frame_bytes(first.payload_bytes()) as u64;
        let fits = |active: Active| active.offset + bytes <= segments.get(active.file).bytes;
        !self.spares.is_empty() || self.active.is_some_and(fits)
    }

    /// Bytes that can be written without another segment.
    pub(crate) fn room<F>(&self, segments: &Segments<F>) -> u64 {
        let active = self.active.map_or(0, |active| segments.get(active.file).bytes - active.offset);
        let spares = self.spare_bytes(segments);
        // Every frame that waits, and the one in flight, has a header and is padded.
        let waiting = self.waiting_bytes + self.depth() * (frame::BLOCK_BYTES + FRAME_HEADER_BYTES);
        let in_flight = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.payload_bytes);
        (active + spares).saturating_sub((waiting + in_flight) as u64)
    }

    /// Sequence of the segment behind the oldest sealed one, or of the next that will be activated.
    pub(crate) fn sequence_after_oldest<F>(&self, segments: &Segments<F>, newest: u64) -> u64 {
        let active = self.active.map(|active| active.file);
        self.sealed.get(1).copied().or(active).map_or(newest + 1, |file| segments.get(file).sequence)
    }
}
