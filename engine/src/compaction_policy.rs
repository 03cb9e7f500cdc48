//! What to compact next, how fast, and how much writers are held up while it is behind: decisions over numbers, nothing else.
//!
//! A drain comes first: it bounds the log. A partition is compacted once the files take more than [`SPACE_PER_MILLE`] of what
//! is live, the one with the greatest share of garbage first. Chosen so, a uniform load finds about half of what it reads to be
//! garbage, and the files stay below 1.55 of the live bytes.
//!
//! Invariant: nothing here stops a writer for good; delays grow with the cube of the debt and are bounded.

/// Bytes of all files, per thousand live bytes of records, from which on a partition is compacted.
pub(crate) const SPACE_PER_MILLE: u64 = 1_480;
/// From here on compaction goes as fast as it can.
const SPACE_PER_MILLE_MAX: u64 = 1_550;
/// Garbage below this share of its files is not worth a compaction of a partition: per thousand.
const GARBAGE_PER_MILLE_MIN: u64 = 150;
/// A drain begins when so much of the log's budget is sealed, and takes so much of it.
const DRAIN_BEGINS_PER_CENT: u64 = 70;
const DRAIN_TAKES_PER_CENT: u64 = 50;
/// Log writes are never put off longer than this.
const WRITE_DELAY_US_MAX: u64 = 100_000;

/// One instance of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogState {
    /// Bytes of its sealed segments.
    pub(crate) sealed_bytes: u64,
    /// Bytes of one segment.
    pub(crate) segment_bytes: u64,
    /// What the log may take.
    pub(crate) budget_bytes: u64,
    /// Space is short: what can be set free is wanted now.
    pub(crate) hurry: bool,
}

/// How many of the oldest segments to drain now, if any.
pub(crate) fn segments_to_drain(log: LogState) -> Option<usize> {
    let begins = (log.budget_bytes * DRAIN_BEGINS_PER_CENT / 100).max(log.segment_bytes);
    let is_due = log.sealed_bytes >= begins || (log.hurry && log.sealed_bytes > 0);
    let takes = (log.budget_bytes * DRAIN_TAKES_PER_CENT / 100 / log.segment_bytes).max(1);
    is_due.then(|| usize::try_from(takes).expect("a log has few segments"))
}

/// Files and live bytes of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes of all files, log and partitions.
    pub(crate) file_bytes: u64,
    /// Bytes of the records that count.
    pub(crate) live_bytes: u64,
    /// The disk's water mark asks for more.
    pub(crate) hurry: bool,
}

/// True when garbage should go.
pub(crate) fn is_wasteful(space: Space) -> bool {
    let limit = if space.hurry { 1_200 } else { SPACE_PER_MILLE };
    per_mille(space.file_bytes, space.live_bytes) > limit
}

/// One partition's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetState {
    pub(crate) partition: u16,
    /// Bytes of its files.
    pub(crate) file_bytes: u64,
    /// Bytes of its records that count.
    pub(crate) live_bytes: u64,
    /// Everything in it, or much, was deleted by a FLUSHALL whose mark waits for it to go.
    pub(crate) is_flushed: bool,
}

/// The partition to compact: one that a mark waits for, else the one with the greatest share of garbage.
pub(crate) fn choose_set(sets: impl Iterator<Item = SetState>, is_wasteful: bool) -> Option<u16> {
    let mut best: Option<(bool, u64, u16)> = None;
    for set in sets {
        let garbage = set.file_bytes.saturating_sub(set.live_bytes);
        let share = per_mille(garbage, set.file_bytes);
        if !set.is_flushed && (!is_wasteful || share < GARBAGE_PER_MILLE_MIN) {
            continue;
        }
        if best.is_none_or(|(flushed, most, _)| (set.is_flushed, share) > (flushed, most)) {
            best = Some((set.is_flushed, share, set.partition));
        }
    }
    best.map(|(_, _, partition)| partition)
}

/// What a core's compaction has to keep up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Bytes a second that go into the log.
    pub(crate) ingest: u64,
    /// The log takes more than its budget.
    pub(crate) is_log_full: bool,
    pub(crate) space: Space,
    pub(crate) rate_min: u64,
}

/// Bytes a second that compaction may read. What is written is read about once by a drain and twice by compactions of
/// partitions; four times the ingest keeps up, and leaves the device alone when little is written.
pub(crate) fn rate(load: Load) -> u64 {
    let waste = per_mille(load.space.file_bytes, load.space.live_bytes);
    if load.is_log_full || load.space.hurry {
        return u64::MAX;
    }
    let base = load.rate_min.max(load.ingest.saturating_mul(4));
    if waste > SPACE_PER_MILLE_MAX { base.saturating_mul(2) } else { base }
}

/// How far apart log writes are kept: nothing while the log is within its budget, the longest delay at twice the budget.
pub(crate) fn write_delay_us(log_bytes: u64, budget_bytes: u64) -> u64 {
    let over = log_bytes.saturating_sub(budget_bytes).min(budget_bytes);
    let debt = per_mille(over, budget_bytes);
    WRITE_DELAY_US_MAX * debt * debt * debt / 1_000_000_000
}

fn per_mille(part: u64, whole: u64) -> u64 {
    let share = u128::from(part) * 1000 / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_begin_in_time_and_take_half() {
        let log = LogState { sealed_bytes: 0, segment_bytes: 16, budget_bytes: 128, hurry: false };
        assert_eq!(segments_to_drain(log), None);
        assert_eq!(segments_to_drain(LogState { sealed_bytes: 80, ..log }), None);
        assert_eq!(segments_to_drain(LogState { sealed_bytes: 96, ..log }), Some(4));
        assert_eq!(segments_to_drain(LogState { sealed_bytes: 16, hurry: true, ..log }), Some(4));
        let large = LogState { sealed_bytes: 64, segment_bytes: 64, budget_bytes: 32, hurry: false };
        assert_eq!(segments_to_drain(large), Some(1));
    }

    #[test]
    fn the_partition_with_most_garbage_goes_first_and_marks_before_all() {
        let set = |partition, file_bytes, live_bytes| SetState { partition, file_bytes, live_bytes, is_flushed: false };
        let sets = [set(1, 100, 60), set(2, 1000, 400), set(3, 100, 90)];
        assert_eq!(choose_set(sets.into_iter(), true), Some(2));
        assert_eq!(choose_set(sets.into_iter(), false), None);
        assert_eq!(choose_set([set(3, 100, 90)].into_iter(), true), None);
        let flushed = SetState { is_flushed: true, ..set(4, 100, 100) };
        assert_eq!(choose_set(sets.into_iter().chain([flushed]), false), Some(4));
    }

    #[test]
    fn delays_grow_smoothly_and_are_bounded() {
        assert_eq!(write_delay_us(100, 100), 0);
        assert_eq!(write_delay_us(150, 100), 12_500);
        assert_eq!(write_delay_us(200, 100), 100_000);
        assert_eq!(write_delay_us(u64::MAX, 100), 100_000);
        let delays: Vec<u64> = (100..=200).map(|bytes| write_delay_us(bytes, 100)).collect();
        assert!(delays.is_sorted());
    }

    #[test]
    fn the_rate_follows_the_load() {
        let space = Space { file_bytes: 140, live_bytes: 100, hurry: false };
        let load = Load { ingest: 50, is_log_full: false, space, rate_min: 8 };
        assert_eq!(rate(load), 200);
        assert_eq!(rate(Load { ingest: 1, ..load }), 8);
        assert_eq!(rate(Load { is_log_full: true, ..load }), u64::MAX);
        assert!(rate(Load { space: Space { file_bytes: 160, ..space }, ..load }) > 200);
        assert!(is_wasteful(Space { file_bytes: 149, ..space }) && !is_wasteful(space));
    }
}
