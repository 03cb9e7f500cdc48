//! Deliberate bugs, by name: what the simulator must find.
//!
//! With the feature `mutations` one of them can be switched on per thread, and the places that [`mutated`] guards then do the
//! wrong thing. Without the feature [`mutated`] is `false` at compile time and nothing of it is left.
//!
//! It is not a fault of the world (those are injected from outside): each is a mistake that an earlier draft made, or that
//! one might make while tidying up.
//!
//! Invariant: no mutation is on unless a test has switched it on, on its own thread, and it is off again when that ends.

macro_rules! mutations {
    ($($(#[doc = $text:literal])+ $name:ident = $word:literal,)+) => {
        /// A deliberate bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutation {
            $($(#[doc = $text])+ $name,)+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Mutation] = &[$(Mutation::$name,)+];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mutation::$name => $word,)+
                }
            }

            /// What is wrong then, as a sentence.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Mutation::$name => concat!($($text),+),)+
                }
            }
        }
    };
}

mutations! {
    // Stamps and incarnations.
    /// A node that was killed stamps on as the same actor (S1).
    SameActorAfterCrash = "same-actor-after-crash",
    /// A node whose own append failed stamps on as the same actor (S1).
    SameActorAfterFailedAppend = "same-actor-after-failed-append",
    /// A node that lost its disk comes back as the same actor (S1).
    SameActorAfterWipe = "same-actor-after-wipe",
    /// A stamp does not see writes of the key that are still in flight (S2).
    StampIgnoresInFlight = "stamp-ignores-in-flight",
    /// A stamp follows the wall clock alone, not what is stored (S2).
    StampIgnoresStored = "stamp-ignores-stored",
    /// A stamp need not be above the dots in the request's context (S2).
    StampIgnoresContext = "stamp-ignores-context",
    /// A blind write's context is the live dots only, without the retained context (S2).
    BlindContextLiveOnly = "blind-context-live-only",
    /// A blind write has seen nothing: plain SETs become siblings (S2).
    BlindContextEmpty = "blind-context-empty",
    /// The connection's own last dot is not counted as seen (S9).
    OwnLastIgnored = "own-last-ignored",
    /// The connection's own last dot does not raise the stamp (S9).
    OwnLastNotInStamp = "own-last-not-in-stamp",
    /// Another core than the partition's stamps for it (S4).
    AnyCoreStamps = "any-core-stamps",

    // What is replicated.
    /// Single versions travel instead of objects (S3).
    SingleVersionOnWire = "single-version-on-wire",
    /// The context does not travel with the siblings (S3).
    ContextNotOnWire = "context-not-on-wire",
    /// A replica replaces its object by the one that arrives instead of merging.
    ReplaceInsteadOfMerge = "replace-instead-of-merge",
    /// A replica keeps the newest sibling only.
    NewestSiblingOnly = "newest-sibling-only",
    /// A cap on siblings binds merges too (S14).
    SiblingCapOnMerge = "sibling-cap-on-merge",
    /// The request's context is ignored: every write with one becomes a sibling.
    ContextIgnored = "context-ignored",
    /// A write with a context replaces whatever the coordinator holds.
    ContextTakenAsBlind = "context-taken-as-blind",

    // Counting.
    /// A write is acknowledged one answer before W.
    AckBeforeW = "ack-before-w",
    /// A write is acknowledged when it was sent, before the own store has it.
    AckBeforeStored = "ack-before-stored",
    /// An answer counts twice if it comes twice.
    CountTwice = "count-twice",
    /// A failed store counts as an acknowledgement.
    FailureCounts = "failure-counts",
    /// A fallback's copy counts for PW.
    FallbackCountsForPw = "fallback-counts-for-pw",
    /// An owner and the fallback that stands in for it both count (I2).
    OwnerAndFallbackCount = "owner-and-fallback-count",
    /// A fallback's "not found" counts for R.
    FallbackNotFoundCounts = "fallback-not-found-counts",
    /// A replica acknowledges what it has only in memory.
    ReplicaAcksBeforeDurable = "replica-acks-before-durable",
    /// A pending owner counts for R and W (S11).
    PendingOwnerCounts = "pending-owner-counts",

    // Hints.
    /// A hint is forgotten when it has been sent.
    HintForgottenWhenSent = "hint-forgotten-when-sent",
    /// A hint is forgotten after a while.
    HintForgottenByAge = "hint-forgotten-by-age",
    /// A hint that was handed over to any owner is forgotten (S5).
    HintToAnyOwner = "hint-to-any-owner",
    /// What was added to a hint while it was handed over is forgotten with it.
    HintForgetsAdded = "hint-forgets-added",
    /// A hint is replayed to a target whose root equals another owner's: skipped (S5).
    HintSkippedByRoot = "hint-skipped-by-root",
    /// A fallback does not read its own hints before it stamps (S4).
    FallbackIgnoresOwnHints = "fallback-ignores-own-hints",
    /// A fallback that has forgotten a hint which it stamped stamps on as the same actor (S4).
    FallbackKeepsActor = "fallback-keeps-actor",
    /// Hints of deletes are not handed over.
    HintSkipsTombstones = "hint-skips-tombstones",
    /// Hints are never handed over.
    HintNeverReplayed = "hint-never-replayed",

    // Reads and repair.
    /// A read answers with the newest version, without merging what the owners sent.
    ReadDoesNotMerge = "read-does-not-merge",
    /// A read answers after the first owner.
    ReadAnswersEarly = "read-answers-early",
    /// A read does not look whether it has found the connection's own write.
    ReadIgnoresOwnLast = "read-ignores-own-last",
    /// Equal highest dots are taken for equal versions (S3).
    ReadComparesHighestDot = "read-compares-highest-dot",
    /// Read repair does nothing.
    RepairSkipped = "repair-skipped",
    /// Read repair leaves deletes out.
    RepairSkipsTombstones = "repair-skips-tombstones",
    /// A plain delete takes no versions from others before it stamps (S7).
    DeleteDoesNotRead = "delete-does-not-read",
    /// A delete removes the object instead of writing a tombstone.
    DeleteRemoves = "delete-removes",

    // Forwards and deadlines.
    /// A blind write whose coordinator does not answer is tried at another (S8).
    BlindPutRetried = "blind-put-retried",
    /// A forwarded write is executed after its deadline (S8).
    ForwardIgnoresDeadline = "forward-ignores-deadline",
    /// A duplicate of a forwarded write is executed again (S8).
    ForwardExecutedTwice = "forward-executed-twice",
    /// A write in doubt is reported as refused.
    InDoubtAsNoReplicas = "in-doubt-as-no-replicas",
    /// A reply to an earlier life's request is taken for one of this life's.
    StaleReplyAccepted = "stale-reply-accepted",
    /// A request that timed out is never answered.
    TimeoutForgotten = "timeout-forgotten",

    // Anti-entropy and the ring.
    /// An exchange compares newest dots only (S3).
    ExchangeComparesNewest = "exchange-compares-newest",
    /// An exchange sends no deletes.
    ExchangeSkipsTombstones = "exchange-skips-tombstones",
    /// A node's own fields and an operator's are one register (S13).
    MapWholeEntryWins = "map-whole-entry-wins",
    /// A restart undoes a removal (S13).
    IncarnationBeatsRole = "incarnation-beats-role",
}

#[cfg(feature = "mutations")]
mod switch {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static ON: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Whether a deliberate bug is on, on this thread.
    #[must_use]
    pub fn mutated(mutation: Mutation) -> bool {
        ON.get() == Some(mutation)
    }

    /// Keeps a mutation on until it is dropped.
    #[derive(Debug)]
    pub struct Switched(());

    impl Drop for Switched {
        fn drop(&mut self) {
            ON.set(None);
        }
    }

    /// Switches a mutation on for this thread, or none.
    #[must_use]
    pub fn switch(mutation: Option<Mutation>) -> Switched {
        ON.set(mutation);
        Switched(())
    }
}

#[cfg(feature = "mutations")]
pub use switch::{Switched, mutated, switch};

/// Whether a deliberate bug is on: never, in this build.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
#[must_use]
pub const fn mutated(_mutation: Mutation) -> bool {
    false
}
