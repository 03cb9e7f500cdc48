//! Requests under way, found again by a number that is never used twice.
//!
//! A place keeps what it held when its request ends: the next one takes over the buffers, so that nothing is allocated for a
//! request once there have been as many at a time before.
//!
//! Invariant: a handle names one request for ever; after the request's end it names nothing.

use crate::ids::{RequestId, StoreToken};

/// What a number names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Get,
    Forward,
    Handover,
    Replica,
    Exchange,
    Supply,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Put, Kind::Get, Kind::Forward, Kind::Handover, Kind::Replica, Kind::Exchange, Kind::Supply];
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) kind: Kind,
    slot: u32,
    generation: u32,
}

impl Handle {
    /// Its place: below the most requests of its kind at a time.
    pub(crate) const fn slot(self) -> u32 {
        self.slot
    }

    /// As it travels in messages.
    pub(crate) fn request(self) -> RequestId {
        RequestId(self.pack(0))
    }

    /// As it goes to the store and back; `part` tells one of the request's operations from the others.
    pub(crate) fn token(self, part: u8) -> StoreToken {
        StoreToken(self.pack(part))
    }

    /// ```text
    /// kind 4 (from 1) │ part 8 │ slot 20 │ generation 32
    /// ```
    fn pack(self, part: u8) -> u64 {
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind).expect("all kinds are listed") as u64 + 1;
        kind << 60 | u64::from(part) << 52 | u64::from(self.slot) << 32 | u64::from(self.generation)
    }

    /// What a number from outside names, if it can name anything.
    pub(crate) fn of_request(request: RequestId) -> Option<Handle> {
        Self::unpack(request.0).and_then(|(handle, part)| (part == 0).then_some(handle))
    }

    /// What a token names, and which of its operations; `None` where nobody waits.
    pub(crate) fn of_token(token: StoreToken) -> Option<(Handle, u8)> {
        Self::unpack(token.0)
    }

    fn unpack(number: u64) -> Option<(Handle, u8)> {
        let kind = *Kind::ALL.get(((number >> 60) as usize).checked_sub(1)?)?;
        let slot = (number >> 32) as u32 & 0xf_ffff;
        Some((Handle { kind, slot, generation: number as u32 }, (number >> 52) as u8))
    }
}

/// The token of an operation that nobody waits for.
pub(crate) const NOBODY: StoreToken = StoreToken(0);

struct Place<T> {
    thing: T,
    generation: u32,
}

/// Requests of one kind.
pub(crate) struct Slab<T> {
    kind: Kind,
    places: Vec<Place<T>>,
    /// One bit a place: in use. Apart from the places, so that a look through all of them touches little memory.
    live: Vec<u64>,
    free: Vec<u32>,
    max: usize,
}

impl<T: Default> Slab<T> {
    /// Room for `max`.
    pub(crate) fn new(kind: Kind, max: usize) -> Self {
        assert!(max <= crate::limits::SLOTS_MAX, "a slot has 20 bits");
        Self { kind, places: Vec::new(), live: Vec::new(), free: Vec::new(), max }
    }

    /// A place for a new request, with whatever the last one there left; `None` when all are taken.
    pub(crate) fn claim(&mut self) -> Option<Handle> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.places.len() < self.max => {
                if self.places.len().is_multiple_of(64) {
                    self.live.push(0);
                }
                self.places.push(Place { thing: T::default(), generation: 0 });
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        assert!(!self.is_live(slot), "a free place is free");
        self.live[slot as usize / 64] |= 1 << (slot % 64);
        let place = &mut self.places[slot as usize];
        place.generation = place.generation.wrapping_add(1);
        Some(Handle { kind: self.kind, slot, generation: place.generation })
    }

    /// The request, if it is still under way.
    pub(crate) fn get(&mut self, handle: Handle) -> Option<&mut T> {
        let is_live = self.is_live(handle.slot);
        let place = self.places.get_mut(handle.slot as usize)?;
        (is_live && place.generation == handle.generation).then_some(&mut place.thing)
    }

    fn is_live(&self, slot: u32) -> bool {
        self.live.get(slot as usize / 64).is_some_and(|bits| bits >> (slot % 64) & 1 == 1)
    }

    /// The same request under a new number: what is still to come for the old one comes too late.
    pub(crate) fn renew(&mut self, handle: Handle) -> Handle {
        assert!(self.get(handle).is_some(), "what is renewed is under way");
        let place = &mut self.places[handle.slot as usize];
        place.generation = place.generation.wrapping_add(1);
        Handle { generation: place.generation, ..handle }
    }

    /// The end of a request.
    pub(crate) fn release(&mut self, handle: Handle) {
        assert!(self.get(handle).is_some(), "a request ends once");
        self.live[handle.slot as usize / 64] &= !(1 << (handle.slot % 64));
        self.free.push(handle.slot);
    }

    /// All requests, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let live = |(slot, _): &(usize, &Place<T>)| self.is_live(*slot as u32);
        self.places.iter().enumerate().filter(live).map(|(_, place)| &place.thing)
    }

    /// The request in a place.
    pub(crate) fn at(&self, slot: u32) -> Option<Handle> {
        self.is_live(slot).then(|| Handle { kind: self.kind, slot, generation: self.places[slot as usize].generation })
    }

    /// Places that were ever in use.
    pub(crate) fn slots(&self) -> u32 {
        self.places.len() as u32
    }

    /// Requests under way.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_one_request_and_buffers_stay() {
        let mut slab: Slab<Vec<u8>> = Slab::new(Kind::Get, 2);
        let first = slab.claim().unwrap();
        slab.get(first).unwrap().extend_from_slice(b"left");
        let other = slab.claim().unwrap();
        assert!(slab.claim().is_none(), "bounded");
        let renamed = slab.renew(first);
        assert!(slab.get(first).is_none() && slab.get(renamed).is_some_and(|buffer| buffer == b"left"));
        slab.release(renamed);
        assert!(slab.get(first).is_none() && slab.get(renamed).is_none());
        let second = slab.claim().unwrap();
        assert_eq!(second.slot(), first.slot());
        assert_eq!(slab.get(second).unwrap(), b"left");
        assert!(slab.get(first).is_none() && slab.get(other).is_some());
        assert_eq!((slab.len(), slab.at(second.slot())), (2, Some(second)));
    }

    #[test]
    fn numbers_come_back_as_they_went() {
        let mut slab: Slab<()> = Slab::new(Kind::Replica, 8);
        for _ in 0..5 {
            slab.claim();
        }
        let handle = slab.claim().unwrap();
        assert_eq!(Handle::of_request(handle.request()), Some(handle));
        assert_eq!(Handle::of_token(handle.token(0x83)), Some((handle, 0x83)));
        assert_eq!(Handle::of_token(NOBODY), None);
        assert_eq!(Handle::of_request(RequestId(u64::MAX)), None);
    }
}
