//! One record: the complete state of one key, as it lies in frames and files and in the cache.
//!
//! ```text
//!  0 crc u32 │ 4 total_bytes u32 │ 8 clock u64 │ 16 actor u64 │ 24 hash u128 │ 40 partition u16
//! 42 partition_incarnation u16 │ 44 key_bytes u16 │ 46 kind u8 │ 47 flags u8 (zero)
//! 48 value_bytes u32 │ 52 optional_bytes u32 │ 56 floor u64
//! 64 optional fields │ key │ value │ zeros up to a multiple of 16
//! ```
//!
//! All numbers are little endian; the CRC-32 covers everything behind it, padding included. The
//! context of the record's version is its floor, its own dot, and the entries of an optional field.
//! Several versions are a record whose value is the encoded object; its dot is the largest of theirs.
//! An optional field is `tag u16, zero u16, length u32, bytes, zeros up to a multiple of 8`, tags
//! ascending. A reader that does not know a tag passes over it when [`TAG_SKIPPABLE`] is set in it
//! and refuses the record otherwise.
//!
//! What it is not: it knows nothing of where a record lies, of what the index holds, or of time.
//!
//! Invariant: a [`RecordRef`] that came from [`RecordRef::check`] is wholly valid, and a record is
//! only ever moved verbatim, so its checksum holds end to end.

#[cfg(target_endian = "big")]
compile_error!("the formats on disk are little endian and are read in place: build for a little-endian target");

mod optional;
mod view;

pub use view::RecordRef;

use annulus_object::{Actor, CONTEXT_ENTRIES_MAX, Clock, DecodeError, Dot};
use bytemuck::{Pod, Zeroable};

/// Bytes of the fixed header.
pub const RECORD_HEADER_BYTES: usize = 64;
/// Records start and end at multiples of this.
pub const RECORD_ALIGNMENT: usize = 16;
/// The longest key.
pub const KEY_BYTES_MAX: usize = 65_535;
/// The longest value, and the longest encoded set of siblings.
pub const VALUE_BYTES_MAX: usize = 32 << 20;
/// The most that all optional fields of a record take together.
pub const OPTIONAL_BYTES_MAX: usize = 128 << 10;
/// The longest record.
pub const RECORD_BYTES_MAX: usize = align(RECORD_HEADER_BYTES + OPTIONAL_BYTES_MAX + KEY_BYTES_MAX + VALUE_BYTES_MAX);
/// Set in the tag of an optional field that a reader may pass over without knowing it.
pub const TAG_SKIPPABLE: u16 = 0x8000;

const _: () = assert!(size_of::<RecordHeader>() == RECORD_HEADER_BYTES);
const _: () = assert!(KEY_BYTES_MAX == u16::MAX as usize);
const _: () = assert!(RECORD_BYTES_MAX < 33 << 20 && RECORD_BYTES_MAX.is_multiple_of(RECORD_ALIGNMENT));

/// The first 64 bytes of a record, field by field as on disk.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct RecordHeader {
    /// CRC-32 of everything behind this field.
    pub crc: u32,
    /// Bytes of the whole record.
    pub total_bytes: u32,
    /// Clock of the dot.
    pub clock: u64,
    /// Actor of the dot.
    pub actor: u64,
    /// Keyed 128-bit hash of the key, little endian.
    pub hash: [u8; 16],
    /// Partition of the key.
    pub partition: u16,
    /// Incarnation of the partition on this node.
    pub partition_incarnation: u16,
    /// Bytes of the key.
    pub key_bytes: u16,
    /// A [`Kind`].
    pub kind: u8,
    /// No flag is defined: zero.
    pub flags: u8,
    /// Bytes of the value.
    pub value_bytes: u32,
    /// Bytes of all optional fields.
    pub optional_bytes: u32,
    /// Floor of the context.
    pub floor: u64,
}

/// What a record says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One live version with a value.
    Value = 1,
    /// One version that deletes.
    Tombstone = 2,
    /// Any number of versions: the value is an encoded `Object`, the dot its latest sibling's. Without any sibling, which says
    /// that all of its context is dead, the dot is one that the context covers.
    Siblings = 3,
    /// No key: every version with a clock at or below the dot's is dead.
    Mark = 4,
}

impl Kind {
    fn from_u8(kind: u8) -> Option<Kind> {
        match kind {
            1 => Some(Kind::Value),
            2 => Some(Kind::Tombstone),
            3 => Some(Kind::Siblings),
            4 => Some(Kind::Mark),
            _ => None,
        }
    }
}

/// Why bytes are not a record. Nothing may be returned or replicated from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the record takes.
    #[error("a record needs {needed} bytes, {available} are there")]
    Truncated {
        /// Bytes of the record, or of its header while that is incomplete.
        needed: usize,
        /// Bytes given.
        available: usize,
    },
    /// The lengths in the header contradict each other or the limits.
    #[error("the lengths of the record contradict each other")]
    Lengths,
    /// The bytes are not those that were written.
    #[error("the record's checksum is {computed:08x}, not {stored:08x}")]
    Checksum {
        /// As in the header.
        stored: u32,
        /// As the bytes are.
        computed: u32,
    },
    /// A kind that this build does not know: written by a newer one.
    #[error("unknown kind of record {0}")]
    Kind(u8),
    /// Flags that this build does not know: written by a newer one.
    #[error("unknown record flags {0:#04x}")]
    Flags(u8),
    /// An optional field that this build does not know and may not pass over.
    #[error("unknown record field {0}; the record was written by a newer version")]
    UnknownField(u16),
    /// An optional field with a value that no writer writes.
    #[error("malformed record field {0}")]
    Field(u16),
    /// Siblings that are no encoded object.
    #[error("the siblings of the record cannot be read: {0}")]
    Siblings(DecodeError),
    /// Contents that no writer writes: a clock out of range, a tombstone with a value, dirty padding.
    #[error("the record's contents are impossible")]
    Contents,
}

/// What a record is made of; see [`RecordHeader`] for the meaning of each.
#[derive(Clone, Copy, Debug)]
pub struct RecordFields<'a> {
    /// The write that made it; its clock is above zero.
    pub dot: Dot,
    /// Keyed hash of the key.
    pub hash: u128,
    /// Partition of the key.
    pub partition: u16,
    /// Incarnation of the partition on this node.
    pub partition_incarnation: u16,
    /// What it says.
    pub kind: Kind,
    /// Floor of the context.
    pub floor: Clock,
    /// Unix milliseconds, 0 = never; only values expire (siblings carry theirs inside).
    pub expires_at_ms: u64,
    /// Entries of the context as `annulus_object::Context::entries` gives them: sorted by actor,
    /// above the floor. One that the dot implies may be in or not: it is not stored.
    pub context: &'a [(Actor, Clock)],
    /// As [`annulus_object::Sibling::value_dot`]; only of one version with a value (siblings carry theirs inside).
    pub value_dot: Option<Dot>,
    /// The key; empty for a mark.
    pub key: &'a [u8],
    /// The value, or the encoded object; empty for tombstones and marks.
    pub value: &'a [u8],
}

/// Rounds up to the alignment of records.
#[must_use]
pub const fn align(bytes: usize) -> usize {
    bytes.next_multiple_of(RECORD_ALIGNMENT)
}

impl RecordFields<'_> {
    fn assert_valid(&self) {
        assert!(self.dot.clock > Clock::ZERO, "no dot is at clock zero");
        assert!(self.context.len() <= CONTEXT_ENTRIES_MAX);
        assert!(self.expires_at_ms == 0 || self.kind == Kind::Value);
        assert!(self.value_dot.is_none_or(|made| self.kind == Kind::Value && self.dot.may_touch(made)));
        match self.kind {
            Kind::Value => {}
            Kind::Tombstone => assert!(self.value.is_empty()),
            Kind::Siblings => assert!(!self.value.is_empty() && self.context.is_empty()),
            Kind::Mark => {
                assert!(self.key.is_empty() && self.value.is_empty() && self.context.is_empty());
            }
        }
    }
}

/// The exact length of the record that [`encode`] writes: a multiple of 16, at most
/// [`RECORD_BYTES_MAX`]. Asserts the limits on key, value and context.
#[must_use]
pub fn encoded_bytes(fields: &RecordFields<'_>) -> usize {
    assert!(fields.key.len() <= KEY_BYTES_MAX, "keys are bounded before they are stored");
    assert!(fields.value.len() <= VALUE_BYTES_MAX, "values are bounded before they are stored");
    assert!(fields.context.len() <= CONTEXT_ENTRIES_MAX, "contexts are bounded");
    align(RECORD_HEADER_BYTES + optional::bytes(fields) + fields.key.len() + fields.value.len())
}

/// Writes the record over all of `out`, whose length is [`encoded_bytes`] (asserted).
pub fn encode(fields: &RecordFields<'_>, out: &mut [u8]) {
    encode_in_memory(fields, out);
    let crc = crc32fast::hash(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// As [`encode`], but without the checksum, which must be added before the record leaves memory.
pub(crate) fn encode_in_memory(fields: &RecordFields<'_>, out: &mut [u8]) {
    fields.assert_valid();
    let total_bytes = encoded_bytes(fields);
    assert_eq!(out.len(), total_bytes, "the space is of the record's size");
    let optional_bytes = optional::bytes(fields);
    let header = RecordHeader {
        crc: 0,
        total_bytes: total_bytes as u32,
        clock: fields.dot.clock.raw(),
        actor: fields.dot.actor.raw(),
        hash: fields.hash.to_le_bytes(),
        partition: fields.partition,
        partition_incarnation: fields.partition_incarnation,
        key_bytes: fields.key.len() as u16,
        kind: fields.kind as u8,
        flags: 0,
        value_bytes: fields.value.len() as u32,
        optional_bytes: optional_bytes as u32,
        floor: fields.floor.raw(),
    };
    // The padding is within the last 16 bytes; what else is there is written over.
    out[total_bytes - RECORD_ALIGNMENT..].fill(0);
    let (head, rest) = out.split_at_mut(RECORD_HEADER_BYTES);
    head.copy_from_slice(bytemuck::bytes_of(&header));
    let (optional, rest) = rest.split_at_mut(optional_bytes);
    if optional_bytes > 0 {
        optional::encode(fields, optional);
    }
    let (key, rest) = rest.split_at_mut(fields.key.len());
    key.copy_from_slice(fields.key);
    rest[..fields.value.len()].copy_from_slice(fields.value);
}

/// The length of the record that begins with `prefix`, from its first 64 bytes and before anything
/// vouches for them: within the limits and consistent with the other lengths, but still a guess.
pub fn peek_total_bytes(prefix: &[u8]) -> Result<usize, RecordError> {
    let Some(header) = prefix.first_chunk::<RECORD_HEADER_BYTES>() else {
        return Err(RecordError::Truncated { needed: RECORD_HEADER_BYTES, available: prefix.len() });
    };
    let header: RecordHeader = bytemuck::pod_read_unaligned(header);
    let optional_bytes = header.optional_bytes as usize;
    let value_bytes = header.value_bytes as usize;
    if optional_bytes > OPTIONAL_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
        return Err(RecordError::Lengths);
    }
    let key_bytes = usize::from(header.key_bytes);
    let total_bytes = align(RECORD_HEADER_BYTES + optional_bytes + key_bytes + value_bytes);
    if header.total_bytes as usize == total_bytes { Ok(total_bytes) } else { Err(RecordError::Lengths) }
}

#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk::<N>().expect("the length was checked")
}

#[cfg(test)]
mod tests;
