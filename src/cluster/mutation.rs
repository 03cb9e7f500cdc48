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
    (
        $($(#[doc = $text:literal])+ $name:ident = $word:literal,)+
        narrow:
        $($(#[doc = $narrow_text:literal])+ $narrow_name:ident = $narrow_word:literal,)+
        map:
        $($(#[doc = $map_text:literal])+ $map_name:ident = $map_word:literal,)+
    ) => {
        /// A deliberate bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutation {
            $($(#[doc = $text])+ $name,)+
            $($(#[doc = $narrow_text])+ $narrow_name,)+
            $($(#[doc = $map_text])+ $map_name,)+
        }

        impl Mutation {
            /// Those of the data plane, which the simulator has to find.
            pub const ALL: &'static [Mutation] = &[$(Mutation::$name,)+];
            /// Those of the data plane that break no promise and only cost work, or break one too seldom for the simulator to
            /// find: `tests/data_plane` finds each.
            pub const NARROW: &'static [Mutation] = &[$(Mutation::$narrow_name,)+];
            /// Those of the membership map and the ring: `tests/control/bugs.rs` names the story that finds each.
            pub const MAP: &'static [Mutation] = &[$(Mutation::$map_name,)+];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mutation::$name => $word,)+
                    $(Mutation::$narrow_name => $narrow_word,)+
                    $(Mutation::$map_name => $map_word,)+
                }
            }

            /// What is wrong then, as a sentence.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Mutation::$name => concat!($($text),+),)+
                    $(Mutation::$narrow_name => concat!($($narrow_text),+),)+
                    $(Mutation::$map_name => concat!($($map_text),+),)+
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
    /// A node that cannot store its new incarnation starts with it nevertheless, and takes it again the next time (S1).
    IncarnationNotDurable = "incarnation-not-durable",
    /// A stamp does not see writes of the key that are still in flight (S2).
    StampIgnoresInFlight = "stamp-ignores-in-flight",
    /// Two writes of a key are stamped in one event: the second does not see the first (S2).
    LineMovesAtOnce = "line-moves-at-once",
    /// A stamp follows the clock and the request alone, not what is stored (S2).
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
    /// A fallback does not read its own hints before it stamps (S4).
    FallbackIgnoresOwnHints = "fallback-ignores-own-hints",
    /// A fallback that has forgotten a hint which it stamped stamps on as the same actor (S4).
    FallbackKeepsActor = "fallback-keeps-actor",

    // What is replicated.
    /// Single versions travel instead of objects (S3).
    SingleVersionOnWire = "single-version-on-wire",
    /// The retained context does not travel with the siblings (S3).
    ContextNotOnWire = "context-not-on-wire",
    /// A store replaces its object by the one that arrives instead of merging.
    ReplaceInsteadOfMerge = "replace-instead-of-merge",
    /// A replica keeps the newest sibling only.
    NewestSiblingOnly = "newest-sibling-only",
    /// A store drops a tombstone as soon as it is stored (S6).
    TombstoneDropped = "tombstone-dropped",
    /// A cap on siblings binds merges too (S14).
    SiblingCapOnMerge = "sibling-cap-on-merge",
    /// The request's context is ignored: every write with one becomes a sibling.
    ContextIgnored = "context-ignored",
    /// A write with a context replaces whatever the coordinator holds.
    ContextTakenAsBlind = "context-taken-as-blind",

    // Counting.
    /// A write is acknowledged one answer before W.
    AckBeforeW = "ack-before-w",
    /// A write is acknowledged before the coordinator's own store has it.
    AckBeforeStored = "ack-before-stored",
    /// A replica acknowledges what it has only in memory.
    ReplicaAcksBeforeDurable = "replica-acks-before-durable",
    /// An answer counts twice if it comes twice.
    CountTwice = "count-twice",
    /// A refusal counts as an acknowledgement.
    FailureCounts = "failure-counts",
    /// A fallback's copy counts for PW.
    FallbackCountsForPw = "fallback-counts-for-pw",
    /// A hint that a coordinator keeps beside its own copy counts as another copy (I1).
    OwnHintCounts = "own-hint-counts",
    /// At the deadline a write is acknowledged with as many copies as there are (I1).
    TimeoutAsSuccess = "timeout-as-success",
    /// An owner and the fallback that stands in for it both count (I2).
    OwnerAndFallbackCount = "owner-and-fallback-count",
    /// A fallback's "not found" counts for R.
    FallbackNotFoundCounts = "fallback-not-found-counts",

    // Hints.
    /// A hint is forgotten when it has been sent.
    HintForgottenWhenSent = "hint-forgotten-when-sent",
    /// A hint is forgotten after a while.
    HintForgottenByAge = "hint-forgotten-by-age",
    /// A hint is handed to any owner and then forgotten (S5).
    HintToAnyOwner = "hint-to-any-owner",
    /// What was added to a hint while it was handed over is forgotten with it.
    HintForgetsAdded = "hint-forgets-added",
    /// Hints of deletes are forgotten without being handed over.
    HintSkipsTombstones = "hint-skips-tombstones",
    /// Hints are kept in memory only: a restart forgets them.
    HintLostAtRestart = "hint-lost-at-restart",
    /// A fallback keeps what it took for another as if it were an owner.
    HintKeptAsOwn = "hint-kept-as-own",
    /// Hints are never handed over.
    HintNeverReplayed = "hint-never-replayed",

    // Reads and repair.
    /// What a node tells that has lost its disk and is not refilled counts as an owner's word (S11).
    RefillingOwnerCounts = "refilling-owner-counts",
    /// A read answers with the object that came last, without merging.
    ReadDoesNotMerge = "read-does-not-merge",
    /// A read answers one owner too early.
    ReadAnswersEarly = "read-answers-early",
    /// A read that runs out of time answers without what owners that count have told of.
    ReadAnswersWithoutTold = "read-answers-without-told",
    /// A read does not look whether it has found the connection's own write.
    ReadIgnoresOwnLast = "read-ignores-own-last",
    /// Equal newest dots are taken for equal versions (S3).
    ReadComparesHighestDot = "read-compares-highest-dot",
    /// What the disk does not tell counts as nothing there.
    LoadFailureAsAbsent = "load-failure-as-absent",
    /// A replica tells of a deleted key as if it had never heard of it.
    DeletedAsAbsent = "deleted-as-absent",
    /// Read repair does nothing.
    RepairSkipped = "repair-skipped",
    /// Read repair leaves deletes out.
    RepairSkipsTombstones = "repair-skips-tombstones",
    /// A plain delete takes no versions from others before it stamps (S7).
    DeleteDoesNotRead = "delete-does-not-read",
    /// A plain delete is content with fallbacks where owners were asked for (S7).
    DeleteReadsAnybody = "delete-reads-anybody",

    // Exchanges.
    /// An exchange leaves deletes out.
    ExchangeSkipsTombstones = "exchange-skips-tombstones",
    /// An exchange sends the newest version alone (S3).
    ExchangeSendsSingleVersions = "exchange-sends-single-versions",
    /// An exchange repairs the other side only.
    ExchangeOneWay = "exchange-one-way",
    /// Of keys that differ only those of the first message are compared.
    ExchangeFirstKeysOnly = "exchange-first-keys-only",
    /// That an owner lacks a write of which nobody keeps a hint is forgotten.
    DirtyForgotten = "dirty-forgotten",

    // Forwards and deadlines.
    /// A blind write whose coordinator does not answer is tried at another (S8).
    BlindPutRetried = "blind-put-retried",
    /// Writes of a key that come back in one event are stamped in it: the second does not see the first (S2).
    ReturnedPutsStampedAtOnce = "returned-puts-stamped-at-once",
    /// A write that an owner may have executed is refused later as if nobody had (S14).
    SuspectedPutRefused = "suspected-put-refused",
    /// A write loses its context on the way to its coordinator, and is blind there.
    ForwardLosesContext = "forward-loses-context",
    /// The connection's own last dot does not travel with a write to its coordinator (S9).
    ForwardLosesOwnLast = "forward-loses-own-last",
    /// A forwarded write is executed after its deadline (S8).
    ForwardIgnoresDeadline = "forward-ignores-deadline",
    /// A write that waited past its deadline is stamped nevertheless (S8).
    StampAfterDeadline = "stamp-after-deadline",
    /// A duplicate of a forwarded write is executed again (S8).
    ForwardExecutedTwice = "forward-executed-twice",
    /// A write in doubt is reported as refused (S14).
    InDoubtAsNoReplicas = "in-doubt-as-no-replicas",
    /// A reply to an earlier life's request is taken for one of this life's.
    StaleReplyAccepted = "stale-reply-accepted",
    /// A write that timed out is never answered.
    TimeoutForgotten = "timeout-forgotten",

    narrow:
    /// Owners compare their trees of the moment, not those at a cut.
    ExchangeIgnoresCut = "exchange-ignores-cut",
    /// A partition is whole again as soon as one other owner was found to have the same of it (S11).
    RefilledByOne = "refilled-by-one",
    /// A partition is whole again although what was written just before its owner's start was not compared (S11).
    RefillIgnoresCut = "refill-ignores-cut",

    map:
    /// Of two maps' entries of a node the later one is kept whole (S13).
    WholeEntryLastWriterWins = "whole-entry-last-writer-wins",
    /// A node that announces a new incarnation is Active again (S13).
    IncarnationChangesRole = "incarnation-changes-role",
    /// A removal is carried out at once, without an intent (S13).
    RemovalWithoutIntent = "removal-without-intent",
    /// A removal does not look whether another one was carried out since it was published (S13).
    RemovalIgnoresOthers = "removal-ignores-others",
    /// A ring's fingerprint is that of the map (S13).
    FingerprintOfMap = "fingerprint-of-map",
    /// What is written is stamped by the wall clock, not above what the map has.
    StampIgnoresMap = "stamp-ignores-map",
    /// A forgotten node's tombstone is an entry like others: a later one takes its place.
    ForgottenComesBack = "forgotten-comes-back",
    /// A node does not look whether what the map says of it is what it says itself.
    AnnouncedOnce = "announced-once",
    /// A node whose disk was put back speaks on under an incarnation that was used (S1).
    LostIncarnationUsed = "lost-incarnation-used",
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
