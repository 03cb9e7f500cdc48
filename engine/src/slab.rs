//! Numbered places for values, in pages: grows without ever moving what it holds.
//!
//! Invariant: a number belongs to one value from `insert` to `remove`; the numbers of removed values
//! are handed out again before new ones, so that they stay below the largest count there ever was.

const PAGE_SLOTS: usize = 4096;
const NO_SLOT: u64 = u64::MAX;

enum Slot<T> {
    Full(T),
    /// The next free slot, or [`NO_SLOT`].
    Free(u64),
}

/// Values by number.
pub(crate) struct Slab<T> {
    /// Every page but the last is full.
    pages: Vec<Vec<Slot<T>>>,
    free: u64,
    len: usize,
}

impl<T> Slab<T> {
    /// Bytes that one value takes here.
    pub(crate) const SLOT_BYTES: usize = size_of::<Slot<T>>();

    pub(crate) const fn new() -> Slab<T> {
        Slab { pages: Vec::new(), free: NO_SLOT, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all slots ever used since the slab was last empty.
    pub(crate) fn bytes(&self) -> usize {
        self.slots() * Self::SLOT_BYTES
    }

    /// Stores `value` and returns its number.
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        self.len += 1;
        if self.free != NO_SLOT {
            let number = self.free;
            let slot = self.slot_mut(number).expect("free slots exist");
            let Slot::Free(next) = std::mem::replace(slot, Slot::Full(value)) else {
                panic!("a slot of the free list is free");
            };
            self.free = next;
            return number;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE_SLOTS) {
            self.pages.push(Vec::with_capacity(PAGE_SLOTS));
        }
        let page = self.pages.last_mut().expect("a page was just pushed");
        page.push(Slot::Full(value));
        self.slots() as u64 - 1
    }

    #[inline]
    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        let page = self.pages.get(number as usize / PAGE_SLOTS)?;
        match page.get(number as usize % PAGE_SLOTS)? {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Asks for the memory of the slot of `number`.
    #[inline]
    pub(crate) fn prefetch(&self, number: u64) {
        let page = self.pages.get(number as usize / PAGE_SLOTS);
        if let Some(slot) = page.and_then(|page| page.get(number as usize % PAGE_SLOTS)) {
            crate::prefetch::prefetch(slot);
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        match self.slot_mut(number)? {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Takes the value of `number` out. The last one out takes all pages but the first along.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let next = self.free;
        let slot = self.slot_mut(number)?;
        if matches!(slot, Slot::Free(_)) {
            return None;
        }
        let Slot::Full(value) = std::mem::replace(slot, Slot::Free(next)) else {
            panic!("the slot was seen to be full");
        };
        self.free = number;
        self.len -= 1;
        if self.len == 0 {
            self.clear();
        }
        Some(value)
    }

    /// Drops all values and all pages but the first.
    pub(crate) fn clear(&mut self) {
        self.pages.truncate(1);
        self.pages.shrink_to(1);
        self.pages.iter_mut().for_each(Vec::clear);
        (self.free, self.len) = (NO_SLOT, 0);
    }

    fn slots(&self) -> usize {
        let full = self.pages.len().saturating_sub(1) * PAGE_SLOTS;
        full + self.pages.last().map_or(0, Vec::len)
    }

    #[inline]
    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot<T>> {
        let page = self.pages.get_mut(number as usize / PAGE_SLOTS)?;
        page.get_mut(number as usize % PAGE_SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reused_and_values_stay() {
        let mut slab = Slab::new();
        let count = PAGE_SLOTS as u64 * 2 + 10;
        for n in 0..count {
            assert_eq!(slab.insert(n * 3), n);
        }
        for n in (0..count).step_by(2) {
            assert_eq!(slab.remove(n), Some(n * 3));
            assert_eq!(slab.remove(n), None);
            assert_eq!(slab.get(n), None);
        }
        assert_eq!(slab.get(1), Some(&3));
        let bytes = slab.bytes();
        let numbers: Vec<u64> = (0..count / 2).map(|n| slab.insert(n)).collect();
        assert!(numbers.iter().all(|number| *number < count && number % 2 == 0));
        assert_eq!((slab.bytes(), slab.len()), (bytes, count as usize));
        assert_eq!(slab.get(count), None);
    }

    #[test]
    fn an_empty_slab_starts_over() {
        let mut slab = Slab::new();
        let numbers: Vec<u64> = (0..PAGE_SLOTS * 3).map(|n| slab.insert(n)).collect();
        numbers.into_iter().for_each(|number| assert!(slab.remove(number).is_some()));
        assert_eq!((slab.len(), slab.bytes(), slab.pages.len()), (0, 0, 1));
        assert_eq!(slab.insert(1), 0);
    }

    #[test]
    fn a_boxed_slice_takes_two_words() {
        assert_eq!(Slab::<Box<[u8]>>::SLOT_BYTES, 16);
    }
}
