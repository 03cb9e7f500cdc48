//! An encoded object where it lies: checked once, then read without copying a value; and the encoding itself.
//!
//! ```text
//! format u8 │ context: floor u64, n u32, n × (actor u64, clock u64) │ m u32 │ siblings × m
//! sibling   clock u64 │ actor u64 │ expires_at_ms u64 │ flags u8 (1: it deletes) │ value_bytes u32 │ value
//! ```
//!
//! What it is not: it merges nothing; [`Object`] does.
//!
//! Invariant: what [`ObjectRef::check`] accepts is exactly what [`encode_siblings`] writes, so that no accessor can fail.

use crate::{Actor, Clock, Context, DecodeError, Dot, Object, Reader, Sibling};

const FORMAT: u8 = 1;
const DELETES: u8 = 1;
/// Clock, actor, expiry, flags, length of the value.
const SIBLING_BYTES_MIN: usize = 8 + 8 + 8 + 1 + 4;

/// One live version of a key, its value where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiblingRef<'a> {
    /// The write that made it.
    pub dot: Dot,
    /// The instant in Unix milliseconds from which it counts as deleted; 0 = never.
    pub expires_at_ms: u64,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl SiblingRef<'_> {
    /// The same with a copy of the value.
    #[must_use]
    pub fn to_sibling(&self) -> Sibling {
        Sibling { dot: self.dot, expires_at_ms: self.expires_at_ms, value: self.value.map(<[u8]>::to_vec) }
    }
}

impl Sibling {
    /// A view of it.
    #[must_use]
    pub fn view(&self) -> SiblingRef<'_> {
        SiblingRef { dot: self.dot, expires_at_ms: self.expires_at_ms, value: self.value.as_deref() }
    }
}

/// A checked encoding.
#[derive(Clone, Copy, Debug)]
pub struct ObjectRef<'a> {
    bytes: &'a [u8],
    /// The siblings' part of `bytes`, without their number.
    siblings: &'a [u8],
    count: u32,
}

impl<'a> ObjectRef<'a> {
    /// The object that fills `bytes`; nothing is copied.
    pub fn check(bytes: &'a [u8]) -> Result<ObjectRef<'a>, DecodeError> {
        let mut reader = Reader { rest: bytes };
        match reader.u8()? {
            FORMAT => {}
            format => return Err(DecodeError::Format(format)),
        }
        let context = Context::read(&mut reader)?;
        let count = reader.u32()?;
        if count as usize > reader.rest.len() / SIBLING_BYTES_MIN {
            return Err(DecodeError::Truncated);
        }
        let siblings = reader.rest;
        let mut last = None;
        for _ in 0..count {
            let sibling = read_sibling(&mut reader)?;
            if !context.covers(sibling.dot) {
                return Err(DecodeError::Uncovered);
            }
            if last >= Some(sibling.dot) {
                return Err(DecodeError::Order);
            }
            last = Some(sibling.dot);
        }
        if reader.rest.is_empty() { Ok(ObjectRef { bytes, siblings, count }) } else { Err(DecodeError::Trailing) }
    }

    /// The object that fills `bytes`, which were checked when they came. Panics where they are no object at all.
    #[must_use]
    pub fn checked_before(bytes: &'a [u8]) -> ObjectRef<'a> {
        debug_assert!(ObjectRef::check(bytes).is_ok());
        let mut reader = Reader { rest: &bytes[1..] };
        let parts = Context::skip(&mut reader).and_then(|()| reader.u32());
        let count = parts.expect("the encoding was checked");
        ObjectRef { bytes, siblings: reader.rest, count }
    }

    /// The whole encoding.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Every dot that was seen, the siblings' own included.
    #[must_use]
    pub fn context(&self) -> Context {
        let mut reader = Reader { rest: &self.bytes[1..] };
        Context::read(&mut reader).expect("the encoding was checked")
    }

    /// How many siblings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether nothing of it is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The live versions in the order of their dots: the newest is last.
    pub fn siblings(&self) -> impl Iterator<Item = SiblingRef<'a>> + use<'a> {
        let mut reader = Reader { rest: self.siblings };
        (0..self.count).map(move |_| read_sibling(&mut reader).expect("the encoding was checked"))
    }

    /// The sibling with the largest dot, tombstones included.
    #[must_use]
    pub fn newest(&self) -> Option<SiblingRef<'a>> {
        self.siblings().last()
    }

    /// The sibling of this dot.
    #[must_use]
    pub fn sibling(&self, dot: Dot) -> Option<SiblingRef<'a>> {
        self.siblings().find(|sibling| sibling.dot == dot)
    }

    /// The object, values copied.
    #[must_use]
    pub fn to_object(&self) -> Object {
        Object::from_checked(self.siblings().map(|sibling| sibling.to_sibling()).collect(), self.context())
    }
}

/// How many bytes [`encode_siblings`] appends for so many siblings, whose values take `value_bytes` together.
#[must_use]
pub fn encoded_object_bytes(context: &Context, siblings: usize, value_bytes: usize) -> usize {
    1 + context.encoded_bytes() + 4 + SIBLING_BYTES_MIN * siblings + value_bytes
}

/// Appends the encoding of an object: format, context, count and siblings, all little endian. Siblings come in the order of
/// their dots, each covered by the context; values are below 4 GiB and the context fits (all asserted).
pub fn encode_siblings<'a>(
    context: &Context,
    siblings: impl ExactSizeIterator<Item = SiblingRef<'a>>,
    out: &mut Vec<u8>,
) {
    out.push(FORMAT);
    context.encode(out);
    let count = u32::try_from(siblings.len()).expect("siblings are countable");
    out.extend_from_slice(&count.to_le_bytes());
    let mut last = None;
    for sibling in siblings {
        assert!(last < Some(sibling.dot) && context.covers(sibling.dot), "an object is in normal form");
        last = Some(sibling.dot);
        let value = sibling.value.unwrap_or_default();
        let value_bytes = u32::try_from(value.len()).expect("a value is below 4 GiB");
        let flags = if sibling.value.is_none() { DELETES } else { 0 };
        out.extend_from_slice(&sibling.dot.clock.raw().to_le_bytes());
        out.extend_from_slice(&sibling.dot.actor.raw().to_le_bytes());
        out.extend_from_slice(&sibling.expires_at_ms.to_le_bytes());
        out.push(flags);
        out.extend_from_slice(&value_bytes.to_le_bytes());
        out.extend_from_slice(value);
    }
}

fn read_sibling<'a>(reader: &mut Reader<'a>) -> Result<SiblingRef<'a>, DecodeError> {
    let clock = reader.clock()?;
    let dot = Dot::new(clock, Actor::from_raw(reader.u64()?));
    let expires_at_ms = reader.u64()?;
    let flags = reader.u8()?;
    let value_bytes = reader.u32()? as usize;
    let value = reader.take(value_bytes)?;
    let value = match flags {
        0 => Some(value),
        DELETES if value.is_empty() => None,
        _ => return Err(DecodeError::Field),
    };
    if clock == Clock::ZERO {
        return Err(DecodeError::Field);
    }
    Ok(SiblingRef { dot, expires_at_ms, value })
}
