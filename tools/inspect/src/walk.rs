//! Records where nothing says where they are: behind damage, or without their footer.
//!
//! Records carry their length and a checksum, so sound ones can be found one behind the other, and behind a damaged one again:
//! where its header says that the next one begins, or else at the next place at which a sound one lies.
//!
//! What it is not: a judge of whether the records count.
//!
//! Invariant: only records whose checksum is right are given out, in ascending order, and none overlap.

use std::ops::Range;

use annulus_engine::record::{RECORD_ALIGNMENT, RecordRef, peek_total_bytes};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Offset of every sound record.
    pub sound: Vec<usize>,
    /// What lies between them and is neither zeros nor a record.
    pub bad: Vec<Bad>,
}

/// Bytes that are no sound record.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad {
    /// Which.
    pub range: Range<usize>,
    /// Where one that is damaged begins, when its header still says that it ends where the next one begins.
    pub record: Option<usize>,
}

/// Walks `within`, which begins where a record may begin, for the records of one partition, or of all.
pub fn walk(bytes: &[u8], within: Range<usize>, partition: Option<u16>) -> Walked {
    let bytes = &bytes[..within.end.min(bytes.len())];
    let mut walked = Walked::default();
    let mut offset = within.start;
    while offset < bytes.len() {
        if let Some(record) = sound_at(bytes, offset, partition) {
            walked.sound.push(offset);
            offset += record.total_bytes();
            continue;
        }
        let end = next_sound(bytes, offset, partition);
        let range = trim(bytes, offset..end);
        if !range.is_empty() {
            walked.bad.push(Bad { range, record: damaged_before(bytes, offset, end) });
        }
        offset = end;
    }
    walked
}

fn sound_at(bytes: &[u8], offset: usize, partition: Option<u16>) -> Option<RecordRef<'_>> {
    let record = RecordRef::check(bytes.get(offset..)?).ok()?;
    partition.is_none_or(|partition| record.partition() == partition).then_some(record)
}

/// Where the next sound record begins, or the end.
fn next_sound(bytes: &[u8], offset: usize, partition: Option<u16>) -> usize {
    // What lies inside of a damaged record is its value, which may be anything, even a copy of a file with records.
    if let Ok(length) = peek_total_bytes(&bytes[offset..])
        && sound_at(bytes, offset + length, partition).is_some()
    {
        return offset + length;
    }
    let mut places = (offset + RECORD_ALIGNMENT..bytes.len()).step_by(RECORD_ALIGNMENT);
    places.find(|place| sound_at(bytes, *place, partition).is_some()).unwrap_or(bytes.len())
}

/// A record between `offset` and `end` that ends there by its own word.
fn damaged_before(bytes: &[u8], offset: usize, end: usize) -> Option<usize> {
    let ends_there = |at: &usize| peek_total_bytes(&bytes[*at..]).is_ok_and(|length| at + length == end);
    (offset..end).step_by(RECORD_ALIGNMENT).find(ends_there)
}

/// Leaves zeros at both ends out, which pad.
fn trim(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let part = &bytes[range.clone()];
    let Some(last) = part.iter().rposition(|byte| *byte != 0) else {
        return range.end..range.end;
    };
    let first = part.iter().position(|byte| *byte != 0).expect("some byte is not zero");
    // The first bytes of a record may be zeros too.
    range.start + first / RECORD_ALIGNMENT * RECORD_ALIGNMENT..range.start + last + 1
}

#[cfg(test)]
mod tests {
    use annulus_engine::record::{Kind, RecordFields, encode, encoded_bytes};
    use annulus_object::{Actor, Clock, Dot};

    use super::*;

    fn record(partition: u16, value: &[u8]) -> Vec<u8> {
        let fields = RecordFields {
            dot: Dot::new(Clock::from_unix_ms(1_800_000_000_000, 0), Actor::new(1, 1)),
            hash: 7,
            partition,
            partition_incarnation: 0,
            kind: Kind::Value,
            floor: Clock::ZERO,
            expires_at_ms: 0,
            context: &[],
            value_dot: None,
            key: b"key",
            value,
        };
        let mut bytes = vec![0; encoded_bytes(&fields)];
        encode(&fields, &mut bytes);
        bytes
    }

    #[test]
    fn sound_records_are_found_around_damage() {
        let parts = [record(3, b"one"), record(3, &[9; 100]), record(3, b"three"), vec![0; 64], record(3, b"four")];
        let ends: Vec<usize> =
            parts.iter().scan(0, |end, part| Some(std::mem::replace(end, *end + part.len()))).collect();
        let whole = parts.concat();
        let places = vec![ends[0], ends[1], ends[2], ends[4]];
        assert_eq!(walk(&whole, 0..whole.len(), Some(3)), Walked { sound: places, bad: Vec::new() });
        assert!(walk(&whole, 0..whole.len(), Some(4)).sound.is_empty());
        // Anywhere in the second record, its lengths included.
        for at in ends[1]..ends[2] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let walked = walk(&bytes, 0..bytes.len(), Some(3));
            assert_eq!(walked.sound, [ends[0], ends[2], ends[4]], "byte {at}");
            assert_eq!(walked.bad.len(), 1);
            let range = &walked.bad[0].range;
            assert!(range.start <= at && at < range.end && range.start >= ends[1] && range.end <= ends[2]);
        }
    }

    #[test]
    fn a_copy_of_records_in_a_damaged_value_is_not_looked_at() {
        let inner = record(3, b"inner");
        let outer = record(3, &[vec![1; 13], inner].concat());
        let mut bytes = [outer, record(3, b"behind")].concat();
        bytes[66] ^= 1;
        let walked = walk(&bytes, 0..bytes.len(), None);
        assert_eq!((walked.sound.len(), walked.bad[0].record), (1, Some(0)));
    }
}
