//! What is known of an object without its values: which versions live, and everything that was seen. Small enough to be looked
//! up and sent for every read.
//!
//! The same lattice as [`annulus_object::Object`]: per dot *unseen < live < dead*.
//!
//! ```text
//! encoded:  context │ count u32 │ count × (clock u64 │ actor u64 │ flags u8: 1 = deletes)
//! ```
//!
//! Invariant: siblings ascend and are covered by the context; the encoding of equal versions is equal.

use annulus_object::{Actor, Clock, Context, ContextView, DecodeError, Dot, ObjectView};
use smallvec::SmallVec;

const SIBLING_BYTES: usize = 8 + 8 + 1;

/// What is known of an object without its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// Dots of the siblings, ascending, and whether each deletes.
    pub siblings: SmallVec<[(Dot, bool); 2]>,
    /// Everything that was seen; covers the siblings.
    pub context: Context,
}

impl Versions {
    /// Whether nothing was ever seen of the key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.context.is_empty()
    }

    /// Knows nothing any more; keeps the memory.
    pub fn clear(&mut self) {
        self.siblings.clear();
        self.context.clear();
    }

    /// Becomes what is known of an object.
    pub fn copy_from_object(&mut self, object: ObjectView<'_>) {
        self.siblings.clear();
        self.siblings.extend(object.siblings().map(|sibling| (sibling.dot, sibling.value.is_none())));
        self.context = object.context().to_context();
    }

    /// The only sibling, where that is all that was ever seen, and whether it deletes.
    pub(crate) fn lone(&self) -> Option<(Dot, bool)> {
        let [(dot, deletes)] = *self.siblings.as_slice() else { return None };
        let is_all = self.context.floor() == Clock::ZERO && *self.context.entries() == [(dot.actor, dot.clock)];
        is_all.then_some((dot, deletes))
    }

    /// Whether the dot is one of the siblings.
    #[must_use]
    pub fn has_sibling(&self, dot: Dot) -> bool {
        self.siblings.binary_search_by_key(&dot, |sibling| sibling.0).is_ok()
    }

    /// Whether merging `other` into this would change nothing: a sibling of `other` that this lacks is dead here, and one of
    /// this that `other` lacks is not dead there.
    #[must_use]
    pub fn includes(&self, other: &Versions) -> bool {
        self.context.includes(&other.context)
            && self.siblings.iter().all(|&(dot, _)| other.has_sibling(dot) || !other.context.covers(dot))
    }

    /// Joins the two.
    pub fn merge(&mut self, other: &Versions) {
        self.siblings.retain(|&mut (dot, _)| other.has_sibling(dot) || !other.context.covers(dot));
        for &(dot, deletes) in &other.siblings {
            if !self.context.covers(dot) {
                let index = self.siblings.partition_point(|sibling| sibling.0 < dot);
                self.siblings.insert(index, (dot, deletes));
            }
        }
        self.context.merge(&other.context);
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.context.encode(out);
        encode_siblings(self.siblings.iter().copied(), out);
    }
}

/// Appends the encoding of what is known of an object.
pub fn encode_of_object(object: ObjectView<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(object.context().bytes());
    encode_siblings(object.siblings().map(|sibling| (sibling.dot, sibling.value.is_none())), out);
}

fn encode_siblings(siblings: impl ExactSizeIterator<Item = (Dot, bool)>, out: &mut Vec<u8>) {
    let count = u32::try_from(siblings.len()).expect("siblings are countable");
    out.extend_from_slice(&count.to_le_bytes());
    for (dot, deletes) in siblings {
        out.extend_from_slice(&dot.clock.raw().to_le_bytes());
        out.extend_from_slice(&dot.actor.raw().to_le_bytes());
        out.push(u8::from(deletes));
    }
}

/// Checked, encoded versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionsView<'a> {
    bytes: &'a [u8],
    context: ContextView<'a>,
}

impl<'a> VersionsView<'a> {
    /// Checks versions that fill `bytes`; accepts exactly what [`Versions::encode`] writes.
    pub fn check(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (context, rest) = ContextView::check_prefix(bytes)?;
        let (count, rest) = rest.split_first_chunk::<4>().ok_or(DecodeError::Truncated)?;
        let (siblings, trailing) = rest.as_chunks::<SIBLING_BYTES>();
        match (siblings.len().cmp(&(u32::from_le_bytes(*count) as usize)), trailing.is_empty()) {
            (std::cmp::Ordering::Equal, true) => {}
            (std::cmp::Ordering::Less, _) => return Err(DecodeError::Truncated),
            _ => return Err(DecodeError::Trailing),
        }
        let mut last = None;
        for sibling in siblings {
            let (dot, _) = read_sibling(sibling)?;
            if !context.covers(dot) {
                return Err(DecodeError::Uncovered);
            }
            if last.is_some_and(|last| last >= dot) {
                return Err(DecodeError::Order);
            }
            last = Some(dot);
        }
        Ok(Self { bytes, context })
    }

    /// The encoding.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Everything that was seen.
    #[must_use]
    pub fn context(self) -> ContextView<'a> {
        self.context
    }

    /// Whether there is one sibling, which is all that was seen.
    pub(crate) fn is_lone(self) -> bool {
        let (siblings, _) = self.bytes[self.context.bytes().len() + 4..].as_chunks::<SIBLING_BYTES>();
        let [sibling] = siblings else { return false };
        let (dot, _) = read_sibling(sibling).expect("siblings were checked");
        self.context.floor() == Clock::ZERO && self.context.entries().eq([(dot.actor, dot.clock)])
    }

    /// The versions as a value, into memory that is there.
    pub fn copy_to(self, versions: &mut Versions) {
        let (siblings, _) = self.bytes[self.context.bytes().len() + 4..].as_chunks::<SIBLING_BYTES>();
        versions.siblings.clear();
        versions.siblings.extend(siblings.iter().map(|bytes| read_sibling(bytes).expect("siblings were checked")));
        versions.context = self.context.to_context();
    }
}

fn read_sibling(bytes: &[u8; SIBLING_BYTES]) -> Result<(Dot, bool), DecodeError> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let clock = Clock::from_raw(number(0)).ok_or(DecodeError::ClockRange)?;
    if clock == Clock::ZERO || bytes[16] > 1 {
        return Err(DecodeError::Field);
    }
    Ok((Dot::new(clock, Actor::from_raw(number(8))), bytes[16] == 1))
}

#[cfg(test)]
mod tests {
    use annulus_object::{Object, Sibling};
    use proptest::prelude::*;

    use super::*;

    /// A state that some history of three actors could have.
    fn any_object() -> impl Strategy<Value = Object> {
        let step = (0..3u64, 1..8u64, any::<bool>());
        prop::collection::vec(step, 0..6).prop_map(|steps| {
            let mut object = Object::default();
            for (actor, clock, is_alone) in steps {
                let dot = Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor));
                // One dot has one payload.
                let value = (!(actor + clock).is_multiple_of(3)).then(|| vec![actor as u8, clock as u8]);
                let context = if is_alone { object.context().clone() } else { Context::default() };
                if !object.context().covers(dot) && dot.clock > context.highest() {
                    object.merge(Object::single(Sibling { dot, expires_at_ms: 0, value, value_dot: None }, context));
                }
            }
            object
        })
    }

    fn versions(object: &Object) -> Versions {
        let mut bytes = Vec::new();
        object.encode(&mut bytes);
        let mut versions = Versions::default();
        versions.copy_from_object(ObjectView::check(&bytes).unwrap());
        versions
    }

    proptest! {
        #[test]
        fn versions_merge_and_compare_as_their_objects_do(a in any_object(), b in any_object()) {
            let mut both = a.clone();
            both.merge(b.clone());
            let mut merged = versions(&a);
            merged.merge(&versions(&b));
            prop_assert_eq!(&merged, &versions(&both));
            prop_assert_eq!(versions(&a).includes(&versions(&b)), both == a);
        }

        #[test]
        fn encoding_round_trips_and_every_cut_is_an_error(object in any_object()) {
            let original = versions(&object);
            let mut bytes = Vec::new();
            original.encode(&mut bytes);
            let view = VersionsView::check(&bytes).unwrap();
            let mut copy = Versions::default();
            view.copy_to(&mut copy);
            prop_assert_eq!(&copy, &original);
            for end in 0..bytes.len() {
                prop_assert!(VersionsView::check(&bytes[..end]).is_err());
            }
            let mut of_object = Vec::new();
            let mut encoded = Vec::new();
            object.encode(&mut encoded);
            encode_of_object(ObjectView::check(&encoded).unwrap(), &mut of_object);
            prop_assert_eq!(of_object, bytes);
        }
    }
}
