//! What a core's data plane has done, counted since its start: for INFO and for tests.

/// The counters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Clients' writes that were coordinated here.
    pub puts: u64,
    /// Clients' reads that were coordinated here.
    pub gets: u64,
    /// Clients' commands that were passed to an owner.
    pub forwards: u64,
    /// Repeatable writes that were passed to another owner because the first did not say what became of them.
    pub forwards_again: u64,
    /// Commands of other nodes' clients that were coordinated here.
    pub forwarded: u64,
    /// Writes that this node coordinated without being an owner.
    pub fallback_puts: u64,
    /// Copies that went to a fallback.
    pub sloppy_copies: u64,
    /// Copies that were sent to their owners again, because a connection was lost.
    pub copies_again: u64,
    /// Clients that were told that a write may or may not survive.
    pub in_doubt: u64,
    /// Clients that were told that too few nodes answer; nothing was sent.
    pub no_replicas: u64,
    /// Reads that too few nodes answered.
    pub read_timeouts: u64,
    /// Reads that fewer owners answered than R.
    pub stale_possible: u64,
    /// Clients that were refused because too much was under way.
    pub busy: u64,
    /// Writes after which a key had many siblings.
    pub siblings_warned: u64,
    /// Writes that were refused because of too many.
    pub siblings_refused: u64,
    /// Reads for which objects were fetched, because versions differed.
    pub merged_reads: u64,
    /// Objects sent to owners that a read found stale.
    pub read_repairs: u64,
    /// Repairs that were left to anti-entropy, because there were too many.
    pub read_repairs_skipped: u64,
    /// Hints taken for other coordinators.
    pub hints_taken: u64,
    /// Hints refused because there are too many for that target.
    pub hints_refused: u64,
    /// Hints that a coordinator kept itself.
    pub hints_own: u64,
    /// Copies that nobody keeps a hint of: anti-entropy has to find them.
    pub dirty: u64,
    /// Hints handed over and forgotten.
    pub hints_handed_over: u64,
    /// Attempts to hand over that failed.
    pub hint_failures: u64,
    /// Hints whose target is no owner any more, handed to all current owners.
    pub hints_rerouted: u64,
    /// Times that a new incarnation was asked for.
    pub incarnations_needed: u64,
    /// Messages that did not decode.
    pub bad_messages: u64,
    /// Messages of senders with another ring.
    pub ring_differs: u64,
    /// Replies that nobody waited for any more.
    pub late_replies: u64,
    /// Forwarded commands that came twice, late, or after their deadline, and were not carried out.
    pub forwards_dropped: u64,
    /// Exchanges that this node has begun.
    pub exchanges: u64,
    /// Of these, such as found the same tree.
    pub exchanges_equal: u64,
    /// Such as found another tree, and were carried to the end.
    pub exchanges_differing: u64,
    /// Such as were refused, or not answered in time.
    pub exchanges_failed: u64,
    /// Exchanges of a pair that was known to differ.
    pub exchanges_of_dirty: u64,
    /// Keys whose versions were compared.
    pub exchange_keys: u64,
    /// Objects sent to owners that lacked some of them.
    pub exchange_objects_sent: u64,
    /// Objects that other owners sent because this node lacked some of them.
    pub exchange_objects_received: u64,
    /// Objects that were left to the next exchange: too many waited, or they could not be read.
    pub exchange_objects_skipped: u64,
    /// Times that this node was asked what it has of a key, and what it told did not count, because it is being refilled.
    pub words_uncounted: u64,
    /// Partitions that are whole again after this node's disk was lost.
    pub partitions_refilled: u64,
    /// Pairs known to differ that were left to the regular exchanges.
    pub dirty_dropped: u64,
    /// Clients' writes that are more than stores take, and objects too large for a message.
    pub oversized: u64,
}
