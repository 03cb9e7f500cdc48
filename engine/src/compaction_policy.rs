//! What to compact next, how fast, and how much writers are held up while it is behind: decisions over numbers, nothing else.
//!
//! A drain bounds the log. Partitions are compacted once the files take more than a limit of what is live, the one with the greatest share of garbage first. Chosen so, a uniform load finds about half of what it reads to be
//! garbage, and the files stay below 1.55 of the live bytes.
//!
//! Invariant: nothing here stops a writer for good; delays grow with the cube of the debt and are bounded.

/// How much of the live bytes the log counts for at most: per thousand.
const LOG_PER_MILLE: u64 = 220;
/// From here on compaction goes as fast as it can.
const SPACE_PER_MILLE_MAX: u64 = 1_550;
/// A drain begins when so much of the log's budget is sealed, and takes so much of it.
const DRAIN_BEGINS_PER_CENT: u64 = 70;
const DRAIN_TAKES_PER_CENT: u64 = 50;
/// Bytes of partitions that are compacted for each byte that was drained, while both are due.
pub(crate) const SETS_PER_DRAIN: u64 = 3;
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

/// How many of the oldest segments to drain now at most, if any. Where space is short, all of them: each partition costs some
/// blocks however little goes there, and a drain of few segments might set nothing free.
pub(crate) fn segments_to_drain(log: LogState) -> Option<usize> {
    let begins = (log.budget_bytes * DRAIN_BEGINS_PER_CENT / 100).max(log.segment_bytes);
    let is_due = log.sealed_bytes >= begins || (log.hurry && log.sealed_bytes > 0);
    let takes = log.budget_bytes * DRAIN_TAKES_PER_CENT / 100;
    let takes = (takes.max(if log.hurry { log.sealed_bytes } else { 0 }) / log.segment_bytes).max(1);
    is_due.then(|| usize::try_from(takes).expect("a log has few segments"))
}

/// Files and live bytes of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes of the partitions' files and of the log, but of the log not more than [`LOG_PER_MILLE`] of what is live: where
    /// there is little data, compacting partitions does not make the log shorter.
    pub(crate) file_bytes: u64,
    /// Bytes of the records that count.
    pub(crate) live_bytes: u64,
    /// The disk's water mark asks for more.
    pub(crate) hurry: bool,
}

impl Space {
    /// A core's files and what is live in them.
    pub(crate) fn new((partition_bytes, log_bytes): (u64, u64), live_bytes: u64, hurry: bool) -> Self {
        let log_bytes = log_bytes.min(live_bytes / 1000 * LOG_PER_MILLE);
        Self { file_bytes: partition_bytes + log_bytes, live_bytes, hurry }
    }
}

/// True when garbage should go.
pub(crate) fn is_wasteful(space: Space, space_per_mille: u64) -> bool {
    let limit = if space.hurry { space_per_mille.min(1_200) } else { space_per_mille };
    per_mille(space.file_bytes, space.live_bytes) > limit
}

/// One partition's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetState {
    pub(crate) partition: u16,
    /// Bytes of its files.
    pub(crate) file_bytes: u64,
    /// What of them a compaction would set free: records that do not count, and what several runs take more than one.
    pub(crate) garbage_bytes: u64,
    /// Everything in it, or much, was deleted by a FLUSHALL whose mark waits for it to go.
    pub(crate) is_flushed: bool,
}

/// The partitions to compact together: those that a mark waits for, and those with the greatest share of garbage, until their
/// files are `most` bytes; of the latter none without a least share.
pub(crate) fn choose_sets(
    sets: impl Iterator<Item = SetState>,
    garbage_per_mille_min: Option<u64>,
    most: u64,
) -> Vec<u16> {
    let share = |set: &SetState| per_mille(set.garbage_bytes, set.file_bytes);
    let has_enough = |set: &SetState| garbage_per_mille_min.is_some_and(|min| share(set) >= min);
    let is_worth_it = |set: &SetState| set.is_flushed || has_enough(set);
    let mut sets: Vec<SetState> = sets.filter(is_worth_it).collect();
    sets.sort_unstable_by_key(|set| std::cmp::Reverse((set.is_flushed, share(set), set.partition)));
    let mut bytes = 0;
    let fits = |set: &&SetState| {
        let is_first = bytes == 0;
        bytes += set.file_bytes;
        is_first || bytes <= most
    };
    sets.iter().take_while(fits).map(|set| set.partition).collect()
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
    /// Writers wait much longer for the disk than while nothing is compacted.
    pub(crate) disturbs: bool,
}

/// How long the slowest of a hundred log writes take, learned write by write: while nothing is compacted, and while something is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CommitLatency {
    quiet_us: f64,
    compacting_us: f64,
}

impl CommitLatency {
    /// A log write took so long.
    pub(crate) fn note(&mut self, took_us: u64, compacting: bool) {
        let estimate = if compacting { &mut self.compacting_us } else { &mut self.quiet_us };
        let took_us = took_us as f64;
        // Rises by 99 parts where a write was slower, falls by one where it was faster: so it rests where one of a hundred is.
        let part = (*estimate).max(50.0) / 2_000.0;
        *estimate += if took_us > *estimate { 99.0 * part } else { -part };
    }

    /// True when compaction makes the slowest writes more than twice as slow, and not by a trifle.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.quiet_us > 0.0 && self.compacting_us > 2.0 * self.quiet_us + 500.0
    }
}

/// Bytes a second that compaction may read. What is written is read about once by a drain and twice by compactions of
/// partitions; four times the ingest keeps up, and leaves the device alone when little is written.
pub(crate) fn rate(load: Load) -> u64 {
    let waste = per_mille(load.space.file_bytes, load.space.live_bytes);
    if load.is_log_full || load.space.hurry {
        return u64::MAX;
    }
    let base = load.rate_min.max(load.ingest.saturating_mul(4));
    match () {
        () if waste > SPACE_PER_MILLE_MAX => base.saturating_mul(2),
        () if load.disturbs => base / 2,
        () => base,
    }
}

/// How far apart log writes are kept: nothing while the log is within its budget, the longest delay at one and a half.
pub(crate) fn write_delay_us(log_bytes: u64, budget_bytes: u64) -> u64 {
    let most = budget_bytes / 2;
    let over = log_bytes.saturating_sub(budget_bytes).min(most);
    let debt = per_mille(over, most);
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
        assert_eq!(segments_to_drain(LogState { sealed_bytes: 256, hurry: true, ..log }), Some(16));
        let large = LogState { sealed_bytes: 64, segment_bytes: 64, budget_bytes: 32, hurry: false };
        assert_eq!(segments_to_drain(large), Some(1));
    }

    #[test]
    fn the_partition_with_most_garbage_goes_first_and_marks_before_all() {
        let set =
            |partition, file_bytes, garbage_bytes| SetState { partition, file_bytes, garbage_bytes, is_flushed: false };
        let sets = [set(1, 100, 40), set(2, 1000, 600), set(3, 100, 10)];
        assert_eq!(choose_sets(sets.into_iter(), Some(150), 50), [2]);
        assert_eq!(choose_sets(sets.into_iter(), Some(150), 1100), [2, 1]);
        assert!(choose_sets(sets.into_iter(), None, 50).is_empty());
        assert!(choose_sets([set(3, 100, 10)].into_iter(), Some(150), 50).is_empty());
        let flushed = SetState { is_flushed: true, ..set(4, 100, 0) };
        assert_eq!(choose_sets(sets.into_iter().chain([flushed]), None, 50), [4]);
    }

    #[test]
    fn delays_grow_smoothly_and_are_bounded() {
        assert_eq!(write_delay_us(100, 100), 0);
        assert_eq!(write_delay_us(125, 100), 12_500);
        assert_eq!(write_delay_us(150, 100), 100_000);
        assert_eq!(write_delay_us(u64::MAX, 100), 100_000);
        let delays: Vec<u64> = (100..=150).map(|bytes| write_delay_us(bytes, 100)).collect();
        assert!(delays.is_sorted());
    }

    #[test]
    fn slow_writes_are_noticed() {
        let mut latency = CommitLatency::default();
        for number in 0..100_000u64 {
            latency.note(if number % 50 == 0 { 900 } else { 100 }, false);
            latency.note(if number % 50 == 0 { 1000 } else { 100 }, true);
        }
        assert!((800.0..1000.0).contains(&latency.quiet_us) && !latency.is_disturbed(), "{latency:?}");
        (0..100_000u64).for_each(|number| latency.note(if number % 50 == 0 { 9000 } else { 100 }, true));
        assert!(latency.is_disturbed(), "{latency:?}");
    }

    #[test]
    fn the_rate_follows_the_load() {
        let space = Space { file_bytes: 140, live_bytes: 100, hurry: false };
        let load = Load { ingest: 50, is_log_full: false, space, rate_min: 8, disturbs: false };
        assert_eq!(rate(load), 200);
        assert_eq!(rate(Load { ingest: 1, ..load }), 8);
        assert_eq!(rate(Load { disturbs: true, ..load }), 100);
        assert_eq!(rate(Load { is_log_full: true, ..load }), u64::MAX);
        assert!(rate(Load { space: Space { file_bytes: 160, ..space }, ..load }) > 200);
        assert!(is_wasteful(Space { file_bytes: 149, ..space }, 1480) && !is_wasteful(space, 1480));
    }
}
