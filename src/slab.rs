//! Things in flight, found again by a small number.
//!
//! Invariant: a number names one thing until that is removed; then it may name another.

/// A table with reusable numbers.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Adds a thing; its number is below 2³⁰.
    pub fn insert(&mut self, thing: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("bounded by what may be in flight")
        });
        assert!(number < 1 << 30, "bounded by what may be in flight");
        self.places[number as usize] = Some(thing);
        number
    }

    /// The thing with this number.
    pub fn get_mut(&mut self, number: u32) -> &mut T {
        self.places[number as usize].as_mut().expect("a number is used until its thing is removed")
    }

    /// Takes a thing out.
    pub fn remove(&mut self, number: u32) -> T {
        let thing = self.places[number as usize].take().expect("a thing is removed once");
        self.free.push(number);
        thing
    }

    /// Things in flight.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// True when nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_reused_after_removal_only() {
        let mut slab = super::Slab::default();
        let first = slab.insert('a');
        let second = slab.insert('b');
        assert_ne!(first, second);
        assert_eq!(slab.remove(first), 'a');
        assert_eq!(slab.insert('c'), first);
        assert_eq!((*slab.get_mut(first), *slab.get_mut(second), slab.len()), ('c', 'b', 2));
    }
}
