//! What the protocol of a core counts, as metrics.
//!
//! Invariant: every counter of the protocol is exported, or this does not compile.

use annulus_cluster::counters::Counters;

use super::Metric;

/// Counters of the protocol.
pub const REPLICATION_METRICS: usize = 39;

/// The values to be published.
pub fn figures(counters: &Counters) -> [(Metric, u64); REPLICATION_METRICS] {
    let Counters {
        puts,
        gets,
        forwards,
        forwarded,
        fallback_puts,
        sloppy_copies,
        in_doubt,
        no_replicas,
        read_timeouts,
        stale_possible,
        busy,
        siblings_warned,
        siblings_refused,
        merged_reads,
        read_repairs,
        read_repairs_skipped,
        hints_taken,
        hints_refused,
        hints_own,
        dirty,
        hints_handed_over,
        hint_failures,
        hints_rerouted,
        incarnations_needed,
        bad_messages,
        ring_differs,
        late_replies,
        forwards_dropped,
        exchanges,
        exchanges_equal,
        exchanges_differing,
        exchanges_failed,
        exchanges_of_dirty,
        exchange_keys,
        exchange_objects_sent,
        exchange_objects_received,
        exchange_objects_skipped,
        dirty_dropped,
        oversized,
    } = *counters;
    [
        (Metric::ReplicatedPuts, puts),
        (Metric::ReplicatedGets, gets),
        (Metric::Forwards, forwards),
        (Metric::Forwarded, forwarded),
        (Metric::FallbackPuts, fallback_puts),
        (Metric::SloppyCopies, sloppy_copies),
        (Metric::InDoubt, in_doubt),
        (Metric::NoReplicas, no_replicas),
        (Metric::ReadTimeouts, read_timeouts),
        (Metric::StalePossible, stale_possible),
        (Metric::CoordinatorBusy, busy),
        (Metric::SiblingsWarned, siblings_warned),
        (Metric::SiblingsRefused, siblings_refused),
        (Metric::MergedReads, merged_reads),
        (Metric::ReadRepairs, read_repairs),
        (Metric::ReadRepairsSkipped, read_repairs_skipped),
        (Metric::HintsTaken, hints_taken),
        (Metric::HintsRefused, hints_refused),
        (Metric::HintsOwn, hints_own),
        (Metric::UnhintedCopies, dirty),
        (Metric::HintsHandedOver, hints_handed_over),
        (Metric::HintFailures, hint_failures),
        (Metric::HintsRerouted, hints_rerouted),
        (Metric::IncarnationsNeeded, incarnations_needed),
        (Metric::BadMessages, bad_messages),
        (Metric::RingDiffers, ring_differs),
        (Metric::LateReplies, late_replies),
        (Metric::ForwardsDropped, forwards_dropped),
        (Metric::Exchanges, exchanges),
        (Metric::ExchangesEqual, exchanges_equal),
        (Metric::ExchangesDiffering, exchanges_differing),
        (Metric::ExchangesFailed, exchanges_failed),
        (Metric::ExchangesOfDirty, exchanges_of_dirty),
        (Metric::ExchangeKeys, exchange_keys),
        (Metric::ExchangeObjectsSent, exchange_objects_sent),
        (Metric::ExchangeObjectsReceived, exchange_objects_received),
        (Metric::ExchangeObjectsSkipped, exchange_objects_skipped),
        (Metric::DirtyDropped, dirty_dropped),
        (Metric::Oversized, oversized),
    ]
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
        let mut metrics: Vec<usize> = figures.iter().map(|(metric, _)| *metric as usize).collect();
        metrics.sort_unstable();
        metrics.dedup();
        assert_eq!(metrics.len(), REPLICATION_METRICS);
    }
}
