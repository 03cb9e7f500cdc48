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
