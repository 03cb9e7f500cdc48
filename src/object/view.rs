//! Encoded objects and contexts, looked at where they lie: nothing is copied and nothing allocated.
//!
//! A view exists only of bytes that were checked, so what it yields needs no further check.
//!
//! ```text
//! object   format u8 │ context │ count u32 │ siblings
//! sibling  clock u64 │ actor u64 │ expiry u64 │ flags u8 │ bytes of the value u32 │ value dot 16, if flagged │ value
//! ```
//!
//! An object in which no sibling has a value dot is of format 1, any other of format 2, which versions that do not know of
//! value dots refuse by name.
//!
//! Invariant: [`ObjectView::check`] accepts exactly what [`crate::Object::encode`] and [`encode_object`] write.

use crate::{Actor, CONTEXT_ENTRIES_MAX, Clock, Context, DecodeError, Dot, Reader};

const FORMAT_PLAIN: u8 = 1;
const FORMAT_VALUE_DOTS: u8 = 2;
const TOMBSTONE: u8 = 1;
const HAS_VALUE_DOT: u8 = 2;
const CONTEXT_HEADER_BYTES: usize = 8 + 4;
const ENTRY_BYTES: usize = 8 + 8;
/// Clock, actor, expiry, flags, length of the value.
pub(crate) const SIBLING_BYTES_MIN: usize = 8 + 8 + 8 + 1 + 4;
/// Clock and actor.
pub(crate) const VALUE_DOT_BYTES: usize = 8 + 8;

/// One live version of a key, its value borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiblingRef<'a> {
    /// The write that made it.
    pub dot: Dot,
    /// The instant in Unix milliseconds from which it counts as deleted; 0 = never.
    pub expires_at_ms: u64,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// See [`crate::Sibling::value_dot`].
    pub value_dot: Option<Dot>,
}

impl<'a> SiblingRef<'a> {
    /// A version that deletes.
    #[must_use]
    pub const fn tombstone(dot: Dot) -> SiblingRef<'a> {
        SiblingRef { dot, expires_at_ms: 0, value: None, value_dot: None }
    }

    /// The write that made the value.
    #[must_use]
    pub fn made_by(&self) -> Dot {
        self.value_dot.unwrap_or(self.dot)
    }

    /// What orders siblings by how new their values are, the newest last. Of one value that was touched twice the later
    /// touch counts.
    #[must_use]
    pub fn newness(&self) -> (Dot, Dot) {
        (self.made_by(), self.dot)
    }

    /// Whether it has a value that has not expired.
    #[must_use]
    pub fn is_live(&self, now_unix_ms: u64) -> bool {
        self.value.is_some() && !(1..=now_unix_ms).contains(&self.expires_at_ms)
    }
}

/// The sibling that a reader of one value is shown: of those that have a value which has not expired the newest, by the dots of
/// the writes that made the values. A tombstone hides nothing that its writer had not seen, so it is passed over, and so is
/// what has expired.
#[must_use]
pub fn shown<'a>(siblings: impl IntoIterator<Item = SiblingRef<'a>>, now_unix_ms: u64) -> Option<SiblingRef<'a>> {
    siblings.into_iter().filter(|sibling| sibling.is_live(now_unix_ms)).max_by_key(SiblingRef::newness)
}

/// A checked, encoded context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextView<'a> {
    bytes: &'a [u8],
    floor: Clock,
}

impl<'a> ContextView<'a> {
    /// Checks a context that fills `bytes`. Only the normal form is accepted.
    pub fn check(bytes: &'a [u8]) -> Result<ContextView<'a>, DecodeError> {
        let mut reader = Reader { rest: bytes };
        let context = ContextView::read(&mut reader)?;
        if reader.rest.is_empty() { Ok(context) } else { Err(DecodeError::Trailing) }
    }

    /// Checks the context at the beginning of `bytes`; also gives what follows it.
    pub fn check_prefix(bytes: &'a [u8]) -> Result<(ContextView<'a>, &'a [u8]), DecodeError> {
        let mut reader = Reader { rest: bytes };
        let context = ContextView::read(&mut reader)?;
        Ok((context, reader.rest))
    }

    fn read(reader: &mut Reader<'a>) -> Result<ContextView<'a>, DecodeError> {
        let start = reader.rest;
        let floor = reader.clock()?;
        let count = reader.u32()? as usize;
        if count > CONTEXT_ENTRIES_MAX {
            return Err(DecodeError::TooManyEntries);
        }
        let mut entries = Reader { rest: reader.take(count * ENTRY_BYTES)? };
        let mut last = None;
        for _ in 0..count {
            let actor = Actor::from_raw(entries.u64()?);
            let clock = entries.clock()?;
            if clock <= floor || last.is_some_and(|last| last >= actor) {
                return Err(DecodeError::Order);
            }
            last = Some(actor);
        }
        Ok(ContextView { bytes: &start[..CONTEXT_HEADER_BYTES + count * ENTRY_BYTES], floor })
    }

    /// The encoding.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The clock up to which everything is covered, whoever stamped it.
    #[must_use]
    pub fn floor(self) -> Clock {
        self.floor
    }

    /// What is covered above the floor: sorted by actor, one clock per actor.
    pub fn entries(self) -> impl ExactSizeIterator<Item = (Actor, Clock)> + 'a {
        let (entries, _) = self.bytes[CONTEXT_HEADER_BYTES..].as_chunks::<ENTRY_BYTES>();
        entries.iter().map(entry)
    }

    /// Whether nothing is covered.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.floor == Clock::ZERO && self.bytes.len() == CONTEXT_HEADER_BYTES
    }

    /// Whether `dot` is in the set.
    #[must_use]
    pub fn covers(self, dot: Dot) -> bool {
        if dot.clock <= self.floor {
            return true;
        }
        let (entries, _) = self.bytes[CONTEXT_HEADER_BYTES..].as_chunks::<ENTRY_BYTES>();
        let found = entries.binary_search_by_key(&dot.actor, |bytes| entry(bytes).0);
        found.is_ok_and(|index| dot.clock <= entry(&entries[index]).1)
    }

    /// The largest clock in the set; [`Clock::ZERO`] if it is empty.
    #[must_use]
    pub fn highest(self) -> Clock {
        self.entries().map(|(_, clock)| clock).fold(self.floor, Clock::max)
    }

    /// The same set as a value.
    #[must_use]
    pub fn to_context(self) -> Context {
        Context::from_normal(self.floor, self.entries())
    }
}

fn entry(bytes: &[u8; ENTRY_BYTES]) -> (Actor, Clock) {
    let (actor, clock) = bytes.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of an entry"));
    (Actor::from_raw(number(actor)), Clock::from_raw(number(clock)).expect("clocks were checked"))
}

/// A checked, encoded object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectView<'a> {
    bytes: &'a [u8],
    context: ContextView<'a>,
    count: u32,
}

impl<'a> ObjectView<'a> {
    /// Checks an object that fills `bytes`.
    pub fn check(bytes: &'a [u8]) -> Result<ObjectView<'a>, DecodeError> {
        let mut reader = Reader { rest: bytes };
        let format = reader.u8()?;
        if !matches!(format, FORMAT_PLAIN | FORMAT_VALUE_DOTS) {
            return Err(DecodeError::Format(format));
        }
        let context = ContextView::read(&mut reader)?;
        let count = reader.u32()?;
        if count as usize > reader.rest.len() / SIBLING_BYTES_MIN {
            return Err(DecodeError::Truncated);
        }
        let (mut last, mut has_value_dots) = (None, false);
        for _ in 0..count {
            let sibling = read_sibling(&mut reader)?;
            has_value_dots |= sibling.value_dot.is_some();
            if !context.covers(sibling.dot) {
                return Err(DecodeError::Uncovered);
            }
            if last.is_some_and(|last| last >= sibling.dot) {
                return Err(DecodeError::Order);
            }
            last = Some(sibling.dot);
        }
        if !reader.rest.is_empty() {
            return Err(DecodeError::Trailing);
        }
        if format != format_of(has_value_dots) {
            return Err(DecodeError::Field);
        }
        Ok(ObjectView { bytes, context, count })
    }

    /// A view of an object that fills `bytes`, which were checked when they came. Panics where they are none at all.
    #[must_use]
    pub fn checked_before(bytes: &'a [u8]) -> ObjectView<'a> {
        debug_assert!(ObjectView::check(bytes).is_ok());
        let mut reader = Reader { rest: &bytes[1..] };
        let parts = ContextView::read(&mut reader).and_then(|context| Ok((context, reader.u32()?)));
        let (context, count) = parts.expect("the object was checked");
        ObjectView { bytes, context, count }
    }

    /// The encoding.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The sibling with the largest dot, tombstones included: the last write as far as clocks can tell.
    #[must_use]
    pub fn latest(self) -> Option<SiblingRef<'a>> {
        self.siblings().last()
    }

    /// Whether a sibling's value was made by an earlier write than the sibling.
    #[must_use]
    pub fn has_value_dots(self) -> bool {
        self.bytes[0] == FORMAT_VALUE_DOTS
    }

    /// The sibling of this dot.
    #[must_use]
    pub fn sibling(self, dot: Dot) -> Option<SiblingRef<'a>> {
        self.siblings().find(|sibling| sibling.dot == dot)
    }

    /// Every dot that was seen, the siblings' own included.
    #[must_use]
    pub fn context(self) -> ContextView<'a> {
        self.context
    }

    /// The live versions, sorted by dot.
    pub fn siblings(self) -> impl ExactSizeIterator<Item = SiblingRef<'a>> {
        let siblings = &self.bytes[1 + self.context.bytes.len() + 4..];
        let mut reader = Reader { rest: siblings };
        (0..self.count as usize).map(move |_| read_sibling(&mut reader).expect("siblings were checked"))
    }
}

fn read_sibling<'a>(reader: &mut Reader<'a>) -> Result<SiblingRef<'a>, DecodeError> {
    let clock = reader.clock()?;
    let dot = Dot::new(clock, Actor::from_raw(reader.u64()?));
    let expires_at_ms = reader.u64()?;
    let flags = reader.u8()?;
    let value_bytes = reader.u32()? as usize;
    let value_dot = match flags {
        HAS_VALUE_DOT => Some(Dot::new(reader.clock()?, Actor::from_raw(reader.u64()?))),
        _ => None,
    };
    let value = reader.take(value_bytes)?;
    let value = match flags {
        0 | HAS_VALUE_DOT => Some(value),
        TOMBSTONE if value.is_empty() => None,
        _ => return Err(DecodeError::Field),
    };
    if clock == Clock::ZERO || value_dot.is_some_and(|made| !dot.may_touch(made)) {
        return Err(DecodeError::Field);
    }
    Ok(SiblingRef { dot, expires_at_ms, value, value_dot })
}

fn format_of(has_value_dots: bool) -> u8 {
    if has_value_dots { FORMAT_VALUE_DOTS } else { FORMAT_PLAIN }
}

/// Appends an object: format, context, count and siblings, all little endian. Siblings ascend, each covered by the context
/// (asserted). Values are below 4 GiB and the context fits (asserted), and value dots are as [`crate::Sibling::value_dot`] says
/// (asserted).
pub fn encode_object<'a>(context: &Context, siblings: impl IntoIterator<Item = SiblingRef<'a>>, out: &mut Vec<u8>) {
    let format_at = out.len();
    out.push(FORMAT_PLAIN);
    context.encode(out);
    let count_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0u32;
    let (mut last, mut has_value_dots) = (None, false);
    for sibling in siblings {
        assert!(last.is_none_or(|last| last < sibling.dot), "siblings ascend");
        assert!(context.covers(sibling.dot), "what is there was seen");
        last = Some(sibling.dot);
        count += 1;
        has_value_dots |= sibling.value_dot.is_some();
        encode_sibling(sibling, out);
    }
    out[format_at] = format_of(has_value_dots);
    out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
}

fn encode_sibling(sibling: SiblingRef<'_>, out: &mut Vec<u8>) {
    let value = sibling.value.unwrap_or_default();
    let value_bytes = u32::try_from(value.len()).expect("a value is below 4 GiB");
    let flags = match (sibling.value, sibling.value_dot) {
        (Some(_), None) => 0,
        (None, None) => TOMBSTONE,
        (Some(_), Some(_)) => HAS_VALUE_DOT,
        (None, Some(_)) => panic!("a tombstone has no value that another write could have made"),
    };
    out.extend_from_slice(&sibling.dot.clock.raw().to_le_bytes());
    out.extend_from_slice(&sibling.dot.actor.raw().to_le_bytes());
    out.extend_from_slice(&sibling.expires_at_ms.to_le_bytes());
    out.push(flags);
    out.extend_from_slice(&value_bytes.to_le_bytes());
    if let Some(made) = sibling.value_dot {
        assert!(sibling.dot.may_touch(made), "a value was there before it was touched");
        out.extend_from_slice(&made.clock.raw().to_le_bytes());
        out.extend_from_slice(&made.actor.raw().to_le_bytes());
    }
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;
    use crate::object::tests::any_object;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_view_shows_what_was_encoded(object in any_object(2)) {
            let mut bytes = Vec::new();
            object.encode(&mut bytes);
            let view = ObjectView::check(&bytes).unwrap();
            prop_assert_eq!(view.context().to_context(), object.context().clone());
            prop_assert_eq!(view.context().highest(), object.context().highest());
            prop_assert_eq!(view.context().is_empty(), object.context().is_empty());
            prop_assert_eq!(view.siblings().len(), object.siblings().len());
            for (seen, sibling) in view.siblings().zip(object.siblings()) {
                prop_assert_eq!(seen, sibling.borrowed());
            }
            prop_assert_eq!(view.latest(), object.latest().map(crate::Sibling::borrowed));
            prop_assert_eq!(view.has_value_dots(), object.siblings().iter().any(|sibling| sibling.value_dot.is_some()));
            prop_assert!(object.siblings().iter().all(|sibling| view.sibling(sibling.dot) == Some(sibling.borrowed())));
            prop_assert_eq!(ObjectView::checked_before(&bytes), view);
            let mut again = Vec::new();
            encode_object(object.context(), view.siblings(), &mut again);
            prop_assert_eq!(&again, &bytes);
        }

        #[test]
        fn a_view_covers_what_the_context_covers(object in any_object(1), clock in 1..10u64, actor in 0..5u64) {
            let mut bytes = Vec::new();
            object.encode(&mut bytes);
            let dot = Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor));
            let view = ObjectView::check(&bytes).unwrap();
            prop_assert_eq!(view.context().covers(dot), object.context().covers(dot));
            prop_assert_eq!(Object::decode(view.bytes()), Ok(object));
        }
    }
}
