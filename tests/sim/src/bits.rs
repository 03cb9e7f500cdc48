//! Sets of small numbers: which writes of a key were seen by which.

use smallvec::SmallVec;

/// A set of small numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits(SmallVec<[u64; 4]>);

impl Bits {
    /// Adds a number.
    pub fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Bits) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().zip(0..).flat_map(|(word, at)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(at * 64 + bit)
            })
        })
    }

    /// The numbers below `end` that are not in it, ascending.
    pub fn missing(&self, end: u32) -> impl Iterator<Item = u32> + '_ {
        (0..end.div_ceil(64)).flat_map(move |at| {
            let mut left = !self.0.get(at as usize).copied().unwrap_or(0);
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(at * 64 + bit).filter(|number| *number < end)
            })
        })
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<T: IntoIterator<Item = u32>>(numbers: T) -> Self {
        let mut bits = Bits::default();
        numbers.into_iter().for_each(|number| bits.insert(number));
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_others() {
        let bits: Bits = [0, 5, 63, 64, 200].into_iter().collect();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 5, 63, 64, 200]);
        assert!(bits.has(64) && !bits.has(65) && !bits.has(9999));
        let missing: Vec<u32> = bits.missing(202).collect();
        assert_eq!(missing.len(), 197);
        assert!(missing.contains(&201) && !missing.contains(&200));
        assert_eq!(Bits::default().missing(3).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn union() {
        let mut bits: Bits = [1].into_iter().collect();
        bits.add(&[70].into_iter().collect());
        assert_eq!(bits.iter().collect::<Vec<_>>(), [1, 70]);
    }
}
