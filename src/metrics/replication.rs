//! What the protocol of a core counts, as metrics.
//!
//! Invariant: there is a metric for every counter of the protocol, or this does not compile.

use annulus_cluster::counters::Counters;

use super::Metric;

/// Counters of the protocol.
pub const REPLICATION_METRICS: usize = size_of::<Counters>() / size_of::<u64>();

type Figure = (Metric, fn(&Counters) -> u64);

/// As many as there are counters, which is checked here, each another one, which is tested.
const FIGURES: [Figure; REPLICATION_METRICS] = [
    (Metric::ReplicatedPuts, |counters| counters.puts),
    (Metric::ReplicatedGets, |counters| counters.gets),
    (Metric::Forwards, |counters| counters.forwards),
    (Metric::ForwardsAgain, |counters| counters.forwards_again),
    (Metric::Forwarded, |counters| counters.forwarded),
    (Metric::FallbackPuts, |counters| counters.fallback_puts),
    (Metric::SloppyCopies, |counters| counters.sloppy_copies),
    (Metric::CopiesAgain, |counters| counters.copies_again),
    (Metric::InDoubt, |counters| counters.in_doubt),
    (Metric::NoReplicas, |counters| counters.no_replicas),
    (Metric::ReadTimeouts, |counters| counters.read_timeouts),
    (Metric::StalePossible, |counters| counters.stale_possible),
    (Metric::CoordinatorBusy, |counters| counters.busy),
    (Metric::SiblingsWarned, |counters| counters.siblings_warned),
    (Metric::SiblingsRefused, |counters| counters.siblings_refused),
    (Metric::MergedReads, |counters| counters.merged_reads),
    (Metric::ReadRepairs, |counters| counters.read_repairs),
    (Metric::ReadRepairsSkipped, |counters| counters.read_repairs_skipped),
    (Metric::HintsTaken, |counters| counters.hints_taken),
    (Metric::HintsRefused, |counters| counters.hints_refused),
    (Metric::HintsOwn, |counters| counters.hints_own),
    (Metric::UnhintedCopies, |counters| counters.dirty),
    (Metric::HintsHandedOver, |counters| counters.hints_handed_over),
    (Metric::HintFailures, |counters| counters.hint_failures),
    (Metric::HintsRerouted, |counters| counters.hints_rerouted),
    (Metric::IncarnationsNeeded, |counters| counters.incarnations_needed),
    (Metric::BadMessages, |counters| counters.bad_messages),
    (Metric::RingDiffers, |counters| counters.ring_differs),
    (Metric::LateReplies, |counters| counters.late_replies),
    (Metric::ForwardsDropped, |counters| counters.forwards_dropped),
    (Metric::Exchanges, |counters| counters.exchanges),
    (Metric::ExchangesEqual, |counters| counters.exchanges_equal),
    (Metric::ExchangesDiffering, |counters| counters.exchanges_differing),
    (Metric::ExchangesFailed, |counters| counters.exchanges_failed),
    (Metric::ExchangesOfDirty, |counters| counters.exchanges_of_dirty),
    (Metric::ExchangeKeys, |counters| counters.exchange_keys),
    (Metric::ExchangeObjectsSent, |counters| counters.exchange_objects_sent),
    (Metric::ExchangeObjectsReceived, |counters| counters.exchange_objects_received),
    (Metric::ExchangeObjectsSkipped, |counters| counters.exchange_objects_skipped),
    (Metric::WordsUncounted, |counters| counters.words_uncounted),
    (Metric::PartitionsRefilled, |counters| counters.partitions_refilled),
    (Metric::DirtyDropped, |counters| counters.dirty_dropped),
    (Metric::Oversized, |counters| counters.oversized),
];

/// The values to be published.
pub fn figures(counters: &Counters) -> [(Metric, u64); REPLICATION_METRICS] {
    FIGURES.map(|(metric, of)| (metric, of(counters)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_a_metric_of_its_own() {
        let counters = Counters { puts: 1, oversized: 2, hints_taken: 3, ..Counters::default() };
        let figures = figures(&counters);
        let value = |metric| figures.iter().find(|(other, _)| *other == metric).map(|(_, value)| *value);
        assert_eq!(value(Metric::ReplicatedPuts), Some(1));
        assert_eq!((value(Metric::Oversized), value(Metric::HintsTaken)), (Some(2), Some(3)));
        assert_eq!(figures.iter().map(|(_, value)| *value).sum::<u64>(), 6, "no counter is there twice");
        let mut metrics: Vec<usize> = figures.iter().map(|(metric, _)| *metric as usize).collect();
        metrics.sort_unstable();
        metrics.dedup();
        assert_eq!(metrics.len(), REPLICATION_METRICS);
    }
}
