//! The whole state of one key: its live versions (siblings) and the context that was seen.
//!
//! A sibling is dominated, and gone, once some context that was merged covers its dot without
//! holding it as a sibling. Two versions that did not see each other stay side by side until a
//! write that has seen both replaces them. A tombstone is a sibling without a value.
//!
//! Which sibling is the newest is a question of readers that can take one value only, and no part of
//! the lattice: a sibling that only gave an old value another expiry is as new as that value.
//!
//! It is not the policy: it neither chooses a winner for last-writer-wins, nor drops what has expired, nor
//! limits the number of siblings, nor drops tombstones.
//!
//! Invariant: siblings are sorted by dot, no dot twice, each covered by the context, none dominated.

use crate::view::{ObjectView, SIBLING_BYTES_MIN, SiblingRef, VALUE_DOT_BYTES, encode_object, shown};
use crate::{Clock, Context, DecodeError, Dot};
use std::cmp::Ordering;

/// One live version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sibling {
    /// The write that made it.
    pub dot: Dot,
    /// The instant in Unix milliseconds from which it counts as deleted; 0 = never.
    pub expires_at_ms: u64,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Of a write that only gave a value another expiry: the write that made the value, which is an earlier one. `None` where
    /// that is the write itself, and of tombstones. It tells readers which sibling is the newest, so that touching an old value
    /// does not hide a newer one that was written meanwhile. Causality never asks for it.
    pub value_dot: Option<Dot>,
}

impl Sibling {
    /// The same without a copy of the value.
    #[must_use]
    pub fn borrowed(&self) -> SiblingRef<'_> {
        let Sibling { dot, expires_at_ms, ref value, value_dot } = *self;
        SiblingRef { dot, expires_at_ms, value: value.as_deref(), value_dot }
    }

    fn compare_payload(&self, other: &Sibling) -> Ordering {
        let ours = (&self.value, self.expires_at_ms, self.value_dot);
        ours.cmp(&(&other.value, other.expires_at_ms, other.value_dot))
    }
}

/// How two states of one key relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The same state.
    Equal,
    /// Ours includes theirs: merging changes nothing here.
    Newer,
    /// Theirs includes ours: merging yields theirs.
    Older,
    /// Each has something that the other lacks.
    Concurrent,
}

/// The state of one key: see the module. The default has seen nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object {
    siblings: Vec<Sibling>,
    context: Context,
}

impl Object {
    /// A key with one live version whose writer had seen `context`.
    #[must_use]
    pub fn single(sibling: Sibling, mut context: Context) -> Object {
        assert!(sibling.dot.clock > Clock::ZERO, "no dot is at clock zero");
        context.insert(sibling.dot);
        Object { siblings: vec![sibling], context }
    }

    /// The live versions, sorted by dot.
    #[must_use]
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// Every dot that was seen, the siblings' own included.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The sibling with the largest dot, tombstones included: the last write as far as clocks can tell.
    #[must_use]
    pub fn latest(&self) -> Option<&Sibling> {
        self.siblings.last()
    }

    /// The sibling whose value is the newest, tombstones included.
    #[must_use]
    pub fn newest(&self) -> Option<&Sibling> {
        self.siblings.iter().max_by_key(|sibling| sibling.borrowed().newness())
    }

    /// Whether nothing was ever seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.context.is_empty()
    }

    /// A new write: `dot` replaces the siblings that `context` covers and stands beside the others.
    /// `value` is `None` for a delete. The dot is new here and above the context (asserted): a
    /// write whose dot was already seen could never become visible.
    pub fn write(&mut self, dot: Dot, context: &Context, value: Option<Vec<u8>>, expires_at_ms: u64) {
        assert!(!self.context.covers(dot), "a dot is issued once");
        assert!(dot.clock > context.highest(), "a stamp is above what it saw");
        self.siblings.retain(|sibling| !context.covers(sibling.dot));
        let index = self.siblings.partition_point(|sibling| sibling.dot < dot);
        let sibling = Sibling { dot, expires_at_ms, value, value_dot: None };
        self.siblings.insert(index, sibling);
        self.context.merge(context);
        self.context.insert(dot);
        self.assert_invariant();
    }

    /// A write that gives the value which a reader of `context` is shown (at `now_unix_ms`) another expiry, and replaces all
    /// that `context` covers. False, and nothing is written, where there is no such value; otherwise as [`Object::write`].
    pub fn touch(&mut self, dot: Dot, context: &Context, expires_at_ms: u64, now_unix_ms: u64) -> bool {
        let seen = self.siblings.iter().filter(|sibling| context.covers(sibling.dot)).map(Sibling::borrowed);
        let Some(shown) = shown(seen, now_unix_ms) else { return false };
        let (value, made_by) = (shown.value.map(<[u8]>::to_vec), shown.made_by());
        self.write(dot, context, value, expires_at_ms);
        let index = self.siblings.binary_search_by_key(&dot, |sibling| sibling.dot).expect("it was just written");
        self.siblings[index].value_dot = Some(made_by);
        true
    }

    /// Joins the two states: commutative, associative, idempotent.
    pub fn merge(&mut self, other: Object) {
        let ours = std::mem::take(&mut self.siblings);
        self.siblings = Vec::with_capacity(ours.len().max(other.siblings.len()));
        let mut theirs = other.siblings.into_iter().peekable();
        for our in ours {
            while let Some(their) = theirs.next_if(|their| their.dot < our.dot) {
                self.keep_unless_seen(their);
            }
            if let Some(their) = theirs.next_if(|their| their.dot == our.dot) {
                // One dot has one payload. Should a fault break that, all replicas still agree.
                let larger = our.compare_payload(&their).is_ge();
                self.siblings.push(if larger { our } else { their });
            } else if !other.context.covers(our.dot) {
                self.siblings.push(our);
            }
        }
        for their in theirs {
            self.keep_unless_seen(their);
        }
        self.context.merge(&other.context);
        self.assert_invariant();
    }

    /// How the two states relate: `Newer` when merging `other` into this would change nothing.
    #[must_use]
    pub fn compare(&self, other: &Object) -> Comparison {
        let newer = self.includes(other);
        let older = other.includes(self);
        match (newer, older) {
            (true, true) => Comparison::Equal,
            (true, false) => Comparison::Newer,
            (false, true) => Comparison::Older,
            (false, false) => Comparison::Concurrent,
        }
    }

    /// How many bytes [`Object::encode`] appends.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let of_sibling = |sibling: &Sibling| {
            let value_dot_bytes = if sibling.value_dot.is_some() { VALUE_DOT_BYTES } else { 0 };
            SIBLING_BYTES_MIN + value_dot_bytes + sibling.value.as_ref().map_or(0, Vec::len)
        };
        1 + self.context.encoded_bytes() + 4 + self.siblings.iter().map(of_sibling).sum::<usize>()
    }

    /// Appends format, context, count and siblings, all little endian. Values are below 4 GiB and
    /// the context fits (asserted).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_bytes());
        encode_object(&self.context, self.siblings.iter().map(Sibling::borrowed), out);
    }

    /// Reads an object that fills `bytes`. Only what [`Object::encode`] writes is accepted; the
    /// memory used is bounded by the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Object, DecodeError> {
        ObjectView::check(bytes).map(Object::from)
    }

    fn keep_unless_seen(&mut self, sibling: Sibling) {
        if !self.context.covers(sibling.dot) {
            self.siblings.push(sibling);
        }
    }

    /// Whether merging `other` into this would change nothing.
    fn includes(&self, other: &Object) -> bool {
        // A sibling of theirs that we lack is dead here, since our context covers theirs. A sibling
        // of ours that they lack must be unseen there, else it is dead there.
        self.context.includes(&other.context)
            && self.siblings.iter().all(|our| match other.siblings.binary_search_by_key(&our.dot, |s| s.dot) {
                Ok(index) => our.compare_payload(&other.siblings[index]).is_ge(),
                Err(_) => !other.context.covers(our.dot),
            })
    }

    fn assert_invariant(&self) {
        debug_assert!(self.siblings.is_sorted_by(|a, b| a.dot < b.dot));
        debug_assert!(self.siblings.iter().all(|s| self.context.covers(s.dot)));
    }
}

impl From<ObjectView<'_>> for Object {
    fn from(view: ObjectView<'_>) -> Object {
        let owned = |seen: SiblingRef<'_>| Sibling {
            dot: seen.dot,
            expires_at_ms: seen.expires_at_ms,
            value: seen.value.map(<[u8]>::to_vec),
            value_dot: seen.value_dot,
        };
        Object { siblings: view.siblings().map(owned).collect(), context: view.context().to_context() }
    }
}

#[cfg(test)]
pub(crate) mod tests;
