//! Records of an engine without files: whole encoded records in memory, by number.
//!
//! What it is: for durability `memory`, what files are for the other kinds; the index keeps a
//! record's number where it would keep its place.
//!
//! What it is not: it does not look into records, and evicts nothing.
//!
//! Invariant: `bytes` is the sum, over all records, of what the allocator spends on each, and of the
//! slots that hold them.

use crate::slab::Slab;

/// Numbers are below this: 38 bits, as many as a place of the index has.
pub const RECORD_NUMBERS_MAX: u64 = 1 << 38;

/// Records by number.
pub struct MemoryStore {
    records: Slab<Box<[u8]>>,
    record_bytes: usize,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub const fn new() -> MemoryStore {
        MemoryStore { records: Slab::new(), record_bytes: 0 }
    }

    /// Stores `record` and returns its number, which may have belonged to a removed one.
    pub fn insert(&mut self, record: Box<[u8]>) -> u64 {
        self.record_bytes += allocation_bytes(record.len());
        let number = self.records.insert(record);
        assert!(number < RECORD_NUMBERS_MAX, "numbers have 38 bits");
        number
    }

    /// Stores a record of `bytes` zeros after `fill` has written into it; returns its number.
    pub fn insert_with(&mut self, bytes: usize, fill: impl FnOnce(&mut [u8])) -> u64 {
        let mut record = vec![0; bytes].into_boxed_slice();
        fill(&mut record);
        self.insert(record)
    }

    /// The record of `number`, if there is one.
    #[must_use]
    #[inline]
    pub fn get(&self, number: u64) -> Option<&[u8]> {
        self.records.get(number).map(|record| &**record)
    }

    /// Asks for the memory that says where the record of `number` is.
    #[inline]
    pub fn prefetch(&self, number: u64) {
        self.records.prefetch(number);
    }

    /// The record of `number` to be written over, if it has exactly `bytes` bytes.
    #[inline]
    pub fn overwrite(&mut self, number: u64, bytes: usize) -> Option<&mut [u8]> {
        self.records.get_mut(number).map(|record| &mut **record).filter(|record| record.len() == bytes)
    }

    /// Takes the record of `number` out.
    pub fn remove(&mut self, number: u64) -> Option<Box<[u8]>> {
        let record = self.records.remove(number)?;
        self.record_bytes -= allocation_bytes(record.len());
        Some(record)
    }

    /// Drops every record.
    pub fn clear(&mut self) {
        self.records.clear();
        self.record_bytes = 0;
    }

    /// Bytes of memory in use, including what the allocator rounds up and the slots.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.record_bytes + self.records.bytes()
    }
}

/// What an allocation of `bytes` costs, as the allocators in use round: to 16 bytes when small, to a
/// quarter of a power of two up to 16 KiB, to pages beyond, since the rest is never touched.
#[must_use]
#[inline]
pub fn allocation_bytes(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16).max(16);
    }
    if bytes > 16 << 10 {
        return bytes.next_multiple_of(4096);
    }
    let quarter = 1 << (usize::BITS - 1 - (bytes - 1).leading_zeros() - 2);
    bytes.next_multiple_of(quarter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_bytes_return_to_nothing() {
        let mut store = MemoryStore::new();
        let mut numbers = Vec::new();
        for n in 0..10_000usize {
            let number = store.insert_with(n % 300, |record| record.fill(n as u8));
            numbers.push(number);
        }
        for (n, number) in numbers.iter().enumerate() {
            let record = store.get(*number).unwrap();
            assert!(record.len() == n % 300 && record.iter().all(|byte| *byte == n as u8));
        }
        for number in &numbers {
            assert!(store.remove(*number).is_some() && store.remove(*number).is_none());
        }
        assert_eq!((store.bytes(), store.records.len()), (0, 0));
    }

    #[test]
    fn bytes_follow_the_records() {
        let mut store = MemoryStore::new();
        let first = store.insert(vec![0; 100].into());
        assert_eq!(store.bytes(), 112 + 16);
        store.insert(vec![0; 1025].into());
        assert_eq!(store.bytes(), 112 + 1280 + 2 * 16);
        store.clear();
        assert!(store.bytes() == 0 && store.records.len() == 0 && store.get(first).is_none());
    }

    #[test]
    fn allocations_are_rounded_up_by_at_most_a_quarter() {
        let mut last = 0;
        for bytes in 128..100_000 {
            let allocation = allocation_bytes(bytes);
            assert!(allocation >= bytes && allocation >= last && allocation * 4 <= bytes * 5 + 64);
            last = allocation;
        }
    }
}
