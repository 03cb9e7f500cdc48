//! A record where it lies: checked once, then read field by field without copying.
//!
//! It is not the encoder, and it holds nothing but the bytes.
//!
//! Invariant: a [`RecordRef`] covers exactly one record whose lengths and contents were checked, so
//! that no accessor can fail; only [`RecordRef::check`] also verifies the checksum.

use super::optional::{self, Fields, TAG_CONTEXT, TAG_EXPIRY, TAG_VALUE_DOT, clock};
use super::{Kind, RECORD_HEADER_BYTES, RecordError, RecordHeader, array, peek_total_bytes};
use annulus_object::{Actor, Clock, Context, Dot, Object, ObjectView, Sibling, SiblingRef, encode_object, shown};

/// A view of one record: exactly its bytes, already checked.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    bytes: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// The record at the start of `bytes` (more may follow), if lengths, checksum, kind, optional
    /// fields and padding are right.
    pub fn check(bytes: &'a [u8]) -> Result<RecordRef<'a>, RecordError> {
        let record = RecordRef::measure(bytes)?;
        let stored = record.header().crc;
        let computed = crc32fast::hash(&record.bytes[4..]);
        if computed != stored {
            return Err(RecordError::Checksum { stored, computed });
        }
        record.check_contents()
    }

    /// As [`RecordRef::check`] but for the checksum: for records inside a frame whose own checksum
    /// was just verified.
    pub fn check_in_frame(bytes: &'a [u8]) -> Result<RecordRef<'a>, RecordError> {
        RecordRef::measure(bytes)?.check_contents()
    }

    /// A view of the record at the start of `bytes`, which were checked when they came into memory.
    /// Panics if they are too short.
    #[must_use]
    #[inline]
    pub fn checked_before(bytes: &'a [u8]) -> RecordRef<'a> {
        let total_bytes = u32::from_le_bytes(array(bytes, 4)) as usize;
        let bytes = &bytes[..total_bytes];
        debug_assert!(RecordRef::check_in_frame(bytes).is_ok());
        RecordRef { bytes }
    }

    /// The header's fields.
    #[must_use]
    #[inline]
    pub fn header(&self) -> RecordHeader {
        bytemuck::pod_read_unaligned(&self.bytes[..RECORD_HEADER_BYTES])
    }

    /// The whole record, as it is copied between files.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Length of the whole record, a multiple of 16.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The write that made it; of siblings, the latest.
    #[must_use]
    #[inline]
    pub fn dot(&self) -> Dot {
        let header = self.header();
        Dot::new(clock(header.clock), Actor::from_raw(header.actor))
    }

    /// The smallest clock of a version in it.
    #[must_use]
    #[inline]
    pub fn oldest_clock(&self) -> Clock {
        let oldest = self.encoded_object().and_then(|object| object.siblings().next());
        oldest.map_or_else(|| self.dot().clock, |oldest| oldest.dot.clock)
    }

    /// Keyed hash of the key.
    #[must_use]
    #[inline]
    pub fn hash(&self) -> u128 {
        u128::from_le_bytes(self.header().hash)
    }

    /// Partition of the key.
    #[must_use]
    pub fn partition(&self) -> u16 {
        self.header().partition
    }

    /// Incarnation of the partition on the node that wrote it.
    #[must_use]
    pub fn partition_incarnation(&self) -> u16 {
        self.header().partition_incarnation
    }

    /// What it says.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_u8(self.bytes[46]).expect("the kind was checked")
    }

    /// The key.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        let header = self.header();
        let start = RECORD_HEADER_BYTES + header.optional_bytes as usize;
        &self.bytes[start..start + usize::from(header.key_bytes)]
    }

    /// What lies behind the key: the value, or the encoded object of siblings.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        let header = self.header();
        let key_start = RECORD_HEADER_BYTES + header.optional_bytes as usize;
        let start = key_start + usize::from(header.key_bytes);
        &self.bytes[start..start + header.value_bytes as usize]
    }

    /// The value of a single version, expired or not; of siblings that of the one which is shown. Empty where there is none.
    #[must_use]
    #[inline]
    pub fn value(&self, now_ms: u64) -> &'a [u8] {
        if self.has_siblings() { self.value_among_siblings(now_ms) } else { self.body() }
    }

    /// Whether there is a version to be shown: one with a value that has not expired.
    #[must_use]
    #[inline]
    pub fn is_shown(&self, now_ms: u64) -> bool {
        match self.kind() {
            Kind::Value => !(1..=now_ms).contains(&self.single_expires_at_ms()),
            Kind::Tombstone | Kind::Mark => false,
            Kind::Siblings => self.shown(now_ms).is_some(),
        }
    }

    /// The version that a reader of one value is shown, if any: see [`annulus_object::shown`].
    #[must_use]
    pub fn shown(&self, now_ms: u64) -> Option<SiblingRef<'a>> {
        shown(self.siblings(), now_ms)
    }

    /// Whether it deletes; of siblings, whether the latest does, or there is none at all. What is shown is another question:
    /// [`RecordRef::shown`].
    #[must_use]
    #[inline]
    pub fn deletes(&self) -> bool {
        match self.kind() {
            Kind::Value => false,
            Kind::Tombstone | Kind::Mark => true,
            Kind::Siblings => self.latest().is_none_or(|latest| latest.value.is_none()),
        }
    }

    /// Unix milliseconds from which the value counts as deleted; 0 = never. Of siblings, the latest one's.
    #[must_use]
    #[inline]
    pub fn expires_at_ms(&self) -> u64 {
        if self.has_siblings() {
            self.latest().map_or(0, |latest| latest.expires_at_ms)
        } else {
            self.single_expires_at_ms()
        }
    }

    /// Whether a version in it has a value that an earlier write made.
    #[must_use]
    pub fn has_value_dots(&self) -> bool {
        self.single_value_dot().is_some() || self.encoded_object().is_some_and(ObjectView::has_value_dots)
    }

    /// Floor of the context.
    #[must_use]
    #[inline]
    pub fn floor(&self) -> Clock {
        let of_siblings = self.context_of_siblings().map(|context| context.floor());
        of_siblings.unwrap_or_else(|| clock(self.header().floor))
    }

    /// Entries of the context above the floor, sorted by actor; of a single version without the dot's own.
    pub fn context_entries(&self) -> impl Iterator<Item = (Actor, Clock)> + use<'a> {
        let field = self.fields().flatten().find(|field| field.0 == TAG_CONTEXT);
        let of_siblings = self.context_of_siblings().map_or_else(Vec::new, |context| context.entries().to_vec());
        optional::entries(field.map_or(&[], |field| field.1)).chain(of_siblings)
    }

    /// The whole context, the dots' own entries included.
    #[must_use]
    pub fn context(&self) -> Context {
        if let Some(context) = self.context_of_siblings() {
            return context;
        }
        let mut context = Context::from_parts(self.floor(), self.context_entries());
        context.insert(self.dot());
        context
    }

    /// The live versions in the order of their dots, tombstones included; none of a mark.
    pub fn siblings(&self) -> impl Iterator<Item = SiblingRef<'a>> + use<'a> {
        let value = match self.kind() {
            Kind::Value => Some(Some(self.body())),
            Kind::Tombstone => Some(None),
            Kind::Siblings | Kind::Mark => None,
        };
        let (dot, expires_at_ms, value_dot) = (self.dot(), self.single_expires_at_ms(), self.single_value_dot());
        let single = value.map(|value| SiblingRef { dot, expires_at_ms, value, value_dot });
        single.into_iter().chain(self.encoded_object().into_iter().flat_map(|object| object.siblings()))
    }

    /// The state that the record carries, values copied; `None` for a mark.
    #[must_use]
    pub fn object(&self) -> Option<Object> {
        match self.kind() {
            Kind::Mark => None,
            Kind::Siblings => {
                let (siblings, mut bytes) = (self.siblings().collect::<Vec<_>>(), Vec::new());
                encode_object(&self.context(), siblings, &mut bytes);
                Some(Object::decode(&bytes).expect("what was encoded is decoded"))
            }
            Kind::Value | Kind::Tombstone => {
                let only = self.siblings().next().expect("there is one version");
                let SiblingRef { dot, expires_at_ms, value, value_dot } = only;
                let sibling = Sibling { dot, expires_at_ms, value: value.map(<[u8]>::to_vec), value_dot };
                Some(Object::single(sibling, self.context()))
            }
        }
    }

    #[inline]
    pub(crate) fn has_siblings(&self) -> bool {
        self.bytes[46] == Kind::Siblings as u8
    }

    /// The encoded object of siblings.
    fn encoded_object(&self) -> Option<ObjectView<'a>> {
        self.has_siblings().then(|| ObjectView::checked_before(self.body()))
    }

    /// Of siblings, what the encoded object says, and the floor that every record has.
    fn context_of_siblings(&self) -> Option<Context> {
        let mut context = self.encoded_object()?.context().to_context();
        context.raise_floor(clock(self.header().floor));
        Some(context)
    }

    /// Of siblings. Out of the way of reads of single versions, which are nearly all.
    #[cold]
    #[inline(never)]
    fn latest(&self) -> Option<SiblingRef<'a>> {
        self.encoded_object().and_then(|object| object.latest())
    }

    #[cold]
    #[inline(never)]
    fn value_among_siblings(&self, now_ms: u64) -> &'a [u8] {
        self.shown(now_ms).and_then(|shown| shown.value).unwrap_or_default()
    }

    #[inline]
    fn single_expires_at_ms(&self) -> u64 {
        // The field with the smallest tag is the first.
        match self.fields().next() {
            Some(Ok((TAG_EXPIRY, bytes))) => u64::from_le_bytes(array(bytes, 0)),
            _ => 0,
        }
    }

    #[inline]
    fn single_value_dot(&self) -> Option<Dot> {
        let field = self.fields().flatten().find(|field| field.0 == TAG_VALUE_DOT);
        field.map(|(_, bytes)| optional::value_dot(bytes))
    }

    /// Cuts `bytes` to the record's length.
    fn measure(bytes: &'a [u8]) -> Result<RecordRef<'a>, RecordError> {
        let needed = peek_total_bytes(bytes)?;
        match bytes.get(..needed) {
            Some(bytes) => Ok(RecordRef { bytes }),
            None => Err(RecordError::Truncated { needed, available: bytes.len() }),
        }
    }

    fn check_contents(self) -> Result<RecordRef<'a>, RecordError> {
        let header = self.header();
        if header.flags != 0 {
            return Err(RecordError::Flags(header.flags));
        }
        let kind = Kind::from_u8(header.kind).ok_or(RecordError::Kind(header.kind))?;
        let floor = Clock::from_raw(header.floor).ok_or(RecordError::Contents)?;
        let clock = Clock::from_raw(header.clock).ok_or(RecordError::Contents)?;
        let no_value = header.value_bytes == 0;
        let possible = match kind {
            Kind::Value => true,
            Kind::Tombstone => no_value,
            Kind::Siblings => !no_value,
            Kind::Mark => no_value && header.key_bytes == 0,
        };
        let used = RECORD_HEADER_BYTES
            + header.optional_bytes as usize
            + usize::from(header.key_bytes)
            + header.value_bytes as usize;
        let padded = self.bytes[used..].iter().all(|byte| *byte == 0);
        if !possible || !padded || clock == Clock::ZERO {
            return Err(RecordError::Contents);
        }
        if header.optional_bytes > 0 {
            let own = (Actor::from_raw(header.actor), clock);
            optional::check(self.fields().rest, kind, floor, own)?;
        }
        if kind == Kind::Siblings {
            let object = ObjectView::check(self.body()).map_err(RecordError::Siblings)?;
            let is_own = |latest: SiblingRef<'_>| latest.dot == self.dot();
            if !object.latest().is_none_or(is_own) {
                return Err(RecordError::Contents);
            }
        }
        Ok(self)
    }

    #[inline]
    fn fields(&self) -> Fields<'a> {
        let optional_bytes = u32::from_le_bytes(array(self.bytes, 52)) as usize;
        Fields { rest: &self.bytes[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + optional_bytes] }
    }
}
