//! What the index knows of one key, and how it is packed into 24 bytes.
//!
//! ```text
//! w0  hash high 64
//! w1  clock 56 │ hash low 8
//! w2  place 38 (file 14 │ offset/16 24) │ size class 8 │ actor slot 12 │ flags 6
//! ```
//!
//! What it is not: it neither resolves actor slots nor says what a place means; a place is a file
//! and an offset for a durable engine and a number of the memory store for one without files.
//!
//! Invariant: packing is exact for every entry whose fields are in range, and no packed entry looks
//! like an empty slot, because no dot carries [`Clock::ZERO`].

use super::table::Slot;
use annulus_object::Clock;

/// Bytes of one index slot.
pub const SLOT_BYTES: usize = 24;
/// Actor slots are below this: 12 bits.
pub const ACTOR_SLOTS: u16 = 1 << 12;
/// The unit of size classes.
pub const SIZE_CLASS_UNIT_BYTES: usize = 256;

const FILE_BITS: u32 = 14;
const BLOCK_BITS: u32 = 24;
const PLACE_BITS: u32 = FILE_BITS + BLOCK_BITS;
const FLAG_BITS: u32 = 6;
const ACTOR_BITS: u32 = 12;
const CLASS_BITS: u32 = 8;
const LOW_BITS: u32 = 8;

const _: () = assert!(PLACE_BITS + CLASS_BITS + ACTOR_BITS + FLAG_BITS == u64::BITS);
const _: () = assert!(size_of::<PackedEntry>() == SLOT_BYTES);
const _: () = assert!(ACTOR_SLOTS == 1 << ACTOR_BITS);
const _: () = assert!(class_bytes(u8::MAX) >= 33 << 20);

/// The identity of a key within its partition: the top 72 bits of its keyed hash. Ordered by `high`,
/// then `low`, which is the order of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexHash {
    /// Bits 127 to 64 of the keyed hash.
    pub high: u64,
    /// Bits 63 to 56.
    pub low: u8,
}

impl IndexHash {
    /// The top 72 bits of a key's 128-bit keyed hash.
    #[must_use]
    #[inline]
    pub const fn of(hash: u128) -> IndexHash {
        IndexHash { high: (hash >> 64) as u64, low: (hash >> 56) as u8 }
    }
}

/// Where a record lies: 38 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Number of the file: 14 bits.
    pub file: u16,
    /// Offset in the file in units of 16 bytes: 24 bits.
    pub block: u32,
}

impl Place {
    /// Files below this are segments of the core's log; the others are files of the entry's partition.
    pub const LOG_FILES: u16 = 1 << (FILE_BITS - 1);
    /// Raw places are below this.
    pub const RAW_END: u64 = 1 << PLACE_BITS;
    /// Files are below this.
    pub const FILES_MAX: u16 = 1 << FILE_BITS;
    /// Bytes of a file that places can name.
    pub const FILE_BYTES_MAX: u64 = (1 << BLOCK_BITS) * 16;

    /// The place at `offset` bytes into `file`. Asserts the alignment of 16 and both ranges.
    #[must_use]
    #[inline]
    pub const fn at(file: u16, offset: u64) -> Place {
        assert!(file < Place::FILES_MAX && offset < Place::FILE_BYTES_MAX && offset.is_multiple_of(16));
        Place { file, block: (offset / 16) as u32 }
    }

    /// Whether it is in a file of the partition, and not in the log.
    #[must_use]
    #[inline]
    pub const fn is_cold(self) -> bool {
        self.file >= Place::LOG_FILES
    }

    /// Bytes from the start of the file.
    #[must_use]
    #[inline]
    pub const fn offset(self) -> u64 {
        self.block as u64 * 16
    }

    /// The 38 bits. Asserts the ranges of both fields.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> u64 {
        assert!(self.file < Place::FILES_MAX && self.block < 1 << BLOCK_BITS);
        (self.file as u64) << BLOCK_BITS | self.block as u64
    }

    /// The inverse of [`Place::raw`]. Asserts 38 bits.
    #[must_use]
    #[inline]
    pub const fn from_raw(raw: u64) -> Place {
        assert!(raw < Place::RAW_END, "a place has 38 bits");
        Place { file: (raw >> BLOCK_BITS) as u16, block: (raw & ((1 << BLOCK_BITS) - 1)) as u32 }
    }
}

/// Six bits that say what kind of version an entry stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// A live version without anything special.
    pub const NONE: Flags = Flags(0);
    /// It is not counted as a key: it is deleted or has expired, or its latest sibling is or has. Of one version it also says
    /// that nothing is to be shown; another sibling may be.
    pub const TOMBSTONE: Flags = Flags(1);
    /// The side table has more: an expiry instant, a context, siblings, or an actor beyond the actor table.
    pub const EXTRA: Flags = Flags(1 << 1);
    /// The record holds siblings, or none at all; the side table has their dots.
    pub const SIBLINGS: Flags = Flags(1 << 2);
    /// Beside [`Flags::TOMBSTONE`]: the record holds a value, whose instant has come.
    pub const EXPIRED: Flags = Flags(1 << 3);

    /// Whether every flag of `other` is set.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// These flags except those of `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// The six bits.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Flags::bits`]. Asserts six bits.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u8) -> Flags {
        assert!(bits < 1 << FLAG_BITS, "there are six flags");
        Flags(bits)
    }
}

/// What the index knows of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key's identity in its partition.
    pub hash: IndexHash,
    /// Clock of the version's dot, of siblings the latest one's; never [`Clock::ZERO`].
    pub clock: Clock,
    /// The actor of the dot and the context's floor, as interned by the core: 12 bits.
    pub actor_slot: u16,
    /// Where the record is.
    pub place: Place,
    /// How many bytes to read for it: see [`class_bytes`].
    pub size_class: u8,
    /// What kind of version it is.
    pub flags: Flags,
}

impl Entry {
    /// Whether it is not counted as a key: see [`Flags::TOMBSTONE`].
    #[must_use]
    #[inline]
    pub const fn is_tombstone(&self) -> bool {
        self.flags.contains(Flags::TOMBSTONE)
    }

    /// Whether it is one version that deletes, and nothing else.
    #[must_use]
    #[inline]
    pub const fn is_only_tombstone(&self) -> bool {
        self.is_tombstone() && self.flags.0 & (Flags::SIBLINGS.0 | Flags::EXPIRED.0) == 0
    }

    /// Whether it stands for any other number of versions than one.
    #[must_use]
    #[inline]
    pub const fn has_siblings(&self) -> bool {
        self.flags.contains(Flags::SIBLINGS)
    }

    /// Packs the entry. Asserts that its fields are in range.
    #[inline]
    pub(crate) fn pack(&self) -> PackedEntry {
        assert!(self.clock > Clock::ZERO, "no dot carries the zero clock");
        assert!(self.actor_slot < ACTOR_SLOTS, "an actor slot has 12 bits");
        let mut last = self.place.raw();
        last = last << CLASS_BITS | u64::from(self.size_class);
        last = last << ACTOR_BITS | u64::from(self.actor_slot);
        last = last << FLAG_BITS | u64::from(self.flags.bits());
        PackedEntry([self.hash.high, self.clock.raw() << LOW_BITS | u64::from(self.hash.low), last])
    }
}

/// An [`Entry`] in three words; all zeros is an empty slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedEntry([u64; 3]);

impl PackedEntry {
    /// Whether the entry is a tombstone, without unpacking the rest.
    #[inline]
    pub(crate) fn is_tombstone(self) -> bool {
        self.0[2] & u64::from(Flags::TOMBSTONE.bits()) != 0
    }

    /// What orders entries by hash.
    pub(crate) fn sort_key(&self) -> IndexHash {
        self.hash()
    }

    /// As it lies in a footer.
    pub(crate) fn to_bytes(self) -> [u8; SLOT_BYTES] {
        bytemuck::cast(self.0.map(u64::to_le))
    }

    /// The inverse of [`PackedEntry::to_bytes`]; `None` for an empty slot. Asserts the length.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<PackedEntry> {
        let words: [u64; 3] = bytemuck::pod_read_unaligned(bytes);
        Some(PackedEntry(words.map(u64::from_le))).filter(|entry| !entry.is_empty())
    }

    /// The inverse of [`Entry::pack`].
    #[inline]
    pub(crate) fn unpack(self) -> Entry {
        let [_, second, last] = self.0;
        let field = |shift: u32, bits: u32| (last >> shift) & ((1 << bits) - 1);
        Entry {
            hash: self.hash(),
            clock: Clock::from_raw(second >> LOW_BITS).expect("56 bits are a clock"),
            actor_slot: field(FLAG_BITS, ACTOR_BITS) as u16,
            place: Place::from_raw(field(FLAG_BITS + ACTOR_BITS + CLASS_BITS, PLACE_BITS)),
            size_class: field(FLAG_BITS + ACTOR_BITS, CLASS_BITS) as u8,
            flags: Flags::from_bits(field(0, FLAG_BITS) as u8),
        }
    }
}

impl Slot for PackedEntry {
    const EMPTY: PackedEntry = PackedEntry([0; 3]);

    #[inline]
    fn is_empty(&self) -> bool {
        self.0[1] >> LOW_BITS == 0
    }

    #[inline]
    fn high(&self) -> u64 {
        self.0[0]
    }

    #[inline]
    fn low(&self) -> u8 {
        self.0[1] as u8
    }
}

/// The smallest class whose [`class_bytes`] are at least `bytes`: 4 bits of exponent and 4 of
/// mantissa over 256 B units, so that reading a whole class is at most a sixteenth too much beyond
/// rounding up to a unit. Asserts that `bytes` does not exceed the largest class.
#[must_use]
#[inline]
pub const fn size_class(bytes: usize) -> u8 {
    assert!(bytes <= class_bytes(u8::MAX), "no size class is that large");
    let units = bytes.div_ceil(SIZE_CLASS_UNIT_BYTES);
    if units < 16 {
        return units as u8;
    }
    let shift = usize::BITS - 1 - units.leading_zeros() - 4;
    // Rounding up may carry into the exponent, which is the next class just the same.
    let mantissa = units.div_ceil(1 << shift);
    ((shift as usize) << 4).wrapping_add(mantissa) as u8
}

/// How many bytes a record of this class has at most: a multiple of 256.
#[must_use]
#[inline]
pub const fn class_bytes(class: u8) -> usize {
    let (exponent, mantissa) = (class >> 4, (class & 15) as usize);
    let units = if exponent == 0 { mantissa } else { (16 + mantissa) << (exponent - 1) };
    units * SIZE_CLASS_UNIT_BYTES
}
