//! A footer where it lies: checked once, then read entry by entry.
//!
//! Invariant: accessors cannot fail, because the checksum, the order of the hashes, every slot, place and extra were checked.

use annulus_object::{Actor, CONTEXT_ENTRIES_MAX, Clock, Dot};

use super::builder::SIBLING_DELETES;
use super::{ENTRY_BYTES, FORMAT_SIBLINGS, RunError, Trailer};
use crate::index::{ACTOR_IN_SIDE_TABLE, Entry, Flags, PackedEntry};

const ACTOR_BYTES: usize = 16;
const EXTRA_BYTES: usize = 32;
/// How many siblings there are.
const COUNT_BYTES: usize = 8;
const DOT_BYTES: usize = 16;

/// One record of a run, as its footer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FooterEntry {
    /// Hash, clock, offset in the file, size class and flags; the actor slot is the footer's own.
    pub entry: Entry,
    /// Who stamped it.
    pub actor: Actor,
    /// The floor of its context.
    pub floor: Clock,
    /// When it expires, Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// The entries of its context.
    pub context: Vec<(Actor, Clock)>,
    /// Of a record of siblings: their dots, ascending, and whether each deletes.
    pub siblings: Option<Vec<(Dot, bool)>>,
}

/// A checked footer.
#[derive(Clone, Copy, Debug)]
pub struct FooterRef<'a> {
    entries: &'a [u8],
    actors: &'a [u8],
    extras: &'a [u8],
}

impl<'a> FooterRef<'a> {
    /// The footer that `trailer` tells of, at the start of `bytes`.
    pub fn check(bytes: &'a [u8], trailer: &Trailer) -> Result<Self, RunError> {
        let length = trailer.footer_bytes();
        let Some(bytes) = usize::try_from(length).ok().and_then(|length| bytes.get(..length)) else {
            return Err(RunError::Truncated { needed: length, available: bytes.len() as u64 });
        };
        if crc32fast::hash(bytes) != trailer.footer_crc {
            return Err(RunError::Damaged);
        }
        let (entries, rest) = bytes.split_at(trailer.entries as usize * ENTRY_BYTES);
        let (actors, extras) = rest.split_at(trailer.actors as usize * ACTOR_BYTES);
        let footer = Self { entries, actors, extras };
        let has_siblings = |bytes: &[u8]| {
            let entry = PackedEntry::from_bytes(bytes).map(PackedEntry::unpack);
            entry.is_some_and(|entry| entry.has_siblings())
        };
        if trailer.format < FORMAT_SIBLINGS && entries.chunks_exact(ENTRY_BYTES).any(has_siblings) {
            return Err(RunError::SiblingsUnknown);
        }
        footer.check_contents(trailer)?;
        Ok(footer)
    }

    fn check_contents(&self, trailer: &Trailer) -> Result<(), RunError> {
        for actor in self.actors.chunks_exact(ACTOR_BYTES) {
            if Clock::from_raw(u64_at(actor, 8)).is_none() {
                return Err(RunError::Contents("a clock is out of range"));
            }
        }
        let (mut last, mut extras) = (None, self.extras);
        let records = trailer.run_start..trailer.run_start + trailer.records_bytes;
        for bytes in self.entries.chunks_exact(ENTRY_BYTES) {
            let packed = PackedEntry::from_bytes(bytes).ok_or(RunError::Contents("an entry is empty"))?;
            let entry = packed.unpack();
            if last >= Some(entry.hash) {
                return Err(RunError::Contents("entries are out of order"));
            }
            last = Some(entry.hash);
            if entry.place.file != 0 || !records.contains(&entry.place.offset()) {
                return Err(RunError::Contents("an entry lies outside of the run"));
            }
            let has_slot = u32::from(entry.actor_slot) < trailer.actors;
            let extra = match entry.flags.contains(Flags::EXTRA) {
                false => None,
                true => {
                    let split = split_extra(extras, entry.has_siblings());
                    let (extra, _, rest) = split.ok_or(RunError::Contents("an extra is malformed"))?;
                    extras = rest;
                    Some(extra)
                }
            };
            if entry.has_siblings() && extra.is_none() {
                return Err(RunError::Contents("siblings without dots"));
            }
            let has_actor = extra.is_some_and(|extra| u32_at(extra, 24) == 1);
            if has_slot == has_actor || (!has_slot && entry.actor_slot != ACTOR_IN_SIDE_TABLE) {
                return Err(RunError::Contents("an entry without an actor"));
            }
        }
        if extras.is_empty() { Ok(()) } else { Err(RunError::Contents("more extras than entries that have one")) }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = FooterEntry> + use<'a> {
        let Self { entries, actors, mut extras } = *self;
        entries.chunks_exact(ENTRY_BYTES).map(move |bytes| {
            let entry = PackedEntry::from_bytes(bytes).expect("checked").unpack();
            let mut found = FooterEntry {
                entry,
                actor: Actor::from_raw(0),
                floor: Clock::ZERO,
                expires_at_ms: 0,
                context: Vec::new(),
                siblings: None,
            };
            let slot = usize::from(entry.actor_slot) * ACTOR_BYTES;
            if entry.actor_slot != ACTOR_IN_SIDE_TABLE {
                found.actor = Actor::from_raw(u64_at(actors, slot));
                found.floor = clock(u64_at(actors, slot + 8));
            }
            if entry.flags.contains(Flags::EXTRA) {
                let (extra, siblings, rest) = split_extra(extras, entry.has_siblings()).expect("checked");
                extras = rest;
                found.siblings = entry.has_siblings().then(|| siblings.chunks_exact(DOT_BYTES).map(sibling).collect());
                found.expires_at_ms = u64_at(extra, 0);
                if u32_at(extra, 24) == 1 {
                    (found.actor, found.floor) = (Actor::from_raw(u64_at(extra, 8)), clock(u64_at(extra, 16)));
                }
                let context = extra[EXTRA_BYTES..].chunks_exact(ACTOR_BYTES);
                found.context = context.map(|at| (Actor::from_raw(u64_at(at, 0)), clock(u64_at(at, 8)))).collect();
            }
            found
        })
    }
}

/// The first extra, the dots of its siblings if it has any, and what follows.
fn split_extra(bytes: &[u8], has_siblings: bool) -> Option<(&[u8], &[u8], &[u8])> {
    let head = bytes.get(..EXTRA_BYTES)?;
    let entries = u32_at(head, 28) as usize;
    if entries > CONTEXT_ENTRIES_MAX || u32_at(head, 24) > 1 || Clock::from_raw(u64_at(head, 16)).is_none() {
        return None;
    }
    let (extra, rest) = bytes.split_at_checked(EXTRA_BYTES + entries * ACTOR_BYTES)?;
    let mut clocks = extra[EXTRA_BYTES..].chunks_exact(ACTOR_BYTES).map(|at| u64_at(at, 8));
    if !clocks.all(|clock| Clock::from_raw(clock).is_some()) {
        return None;
    }
    if !has_siblings {
        return Some((extra, &[], rest));
    }
    let (count, rest) = rest.split_at_checked(COUNT_BYTES)?;
    let count = usize::try_from(u64_at(count, 0)).ok()?;
    let (siblings, rest) = rest.split_at_checked(count.checked_mul(DOT_BYTES)?)?;
    let mut last = None;
    for dot in siblings.chunks_exact(DOT_BYTES) {
        let clock = Clock::from_raw(u64_at(dot, 8) & !SIBLING_DELETES).filter(|clock| *clock > Clock::ZERO)?;
        let dot = Dot::new(clock, Actor::from_raw(u64_at(dot, 0)));
        if last >= Some(dot) {
            return None;
        }
        last = Some(dot);
    }
    Some((extra, siblings, rest))
}

/// A checked sibling's dot, and whether it deletes.
fn sibling(bytes: &[u8]) -> (Dot, bool) {
    let raw = u64_at(bytes, 8);
    (Dot::new(clock(raw & !SIBLING_DELETES), Actor::from_raw(u64_at(bytes, 0))), raw & SIBLING_DELETES != 0)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

fn clock(raw: u64) -> Clock {
    Clock::from_raw(raw).expect("clocks were checked")
}
