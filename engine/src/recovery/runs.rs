//! The runs of one partition file, found from its end backwards.
//!
//! Bytes behind the last trailer are what an interrupted append left, and are passed over. A damaged footer, or a damaged
//! trailer before the last one, is made good from the records, which carry their own checksums.
//!
//! Invariant: nothing is changed here; a run that is given out has a footer that was checked, or was rebuilt from records that
//! were.

use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, DiskError, File, OpenMode};
use crate::frame::BLOCK_BYTES;
use crate::record::RecordRef;
use crate::sealed_run::{
    FORMAT_PLAIN, FooterBuilder, FooterRef, PartitionFileHeader, RUN_BLOCK_BYTES, RunError, TRAILER_BYTES, Trailer,
};
use crate::{Corruption, Error};

/// Bytes that are read with a trailer: the footers of most drained runs are within.
const WINDOW_BYTES: u64 = 32 << 10;
/// Bytes that are looked at together where a trailer is missing.
const SEARCH_BYTES: u64 = 256 << 10;
const BLOCK: u64 = RUN_BLOCK_BYTES as u64;
const FIRST_RUN: u64 = BLOCK;

/// A trailer, and a part of the file that it is in, from an offset on.
type Around = (Trailer, u64, AlignedBuffer);

/// The sequence of a run whose trailer is damaged and that no other run follows: whoever has all files gives it one.
pub(super) const SEQUENCE_UNKNOWN: u64 = u64::MAX;

fn sequence_before(next: u64) -> u64 {
    if next == SEQUENCE_UNKNOWN { SEQUENCE_UNKNOWN } else { next.saturating_sub(1).max(1) }
}

/// A run as it was found.
pub(super) struct FoundRun {
    pub(super) trailer: Trailer,
    /// Its footer; rebuilt if it was damaged.
    footer: AlignedBuffer,
    /// What the footer is read by, if that is not what is on disk: one of format 1 was rebuilt for what it does not say.
    read_by: Option<Trailer>,
}

/// A partition file as it was found.
pub(super) struct FoundFile<F> {
    pub(super) file: F,
    pub(super) path: String,
    pub(super) number: u64,
    pub(super) node: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// Oldest first.
    pub(super) runs: Vec<FoundRun>,
    pub(super) rebuilt: u64,
    pub(super) interrupted: u64,
    pub(super) damage: Vec<Corruption>,
}

impl FoundRun {
    /// Where its records are in the file.
    pub(super) fn records(&self) -> std::ops::Range<u64> {
        self.trailer.run_start..self.trailer.footer_start()
    }

    /// What the footer says.
    pub(super) fn footer(&self) -> FooterRef<'_> {
        let trailer = self.read_by.as_ref().unwrap_or(&self.trailer);
        FooterRef::check(self.footer.as_slice(), trailer).expect("the footer was checked, or rebuilt")
    }
}

/// Whose file it must be.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) cluster_id: [u8; 16],
    pub(super) node: u64,
    pub(super) partition: u16,
}

/// Reads the runs of a file; `records_step` bytes at a time where records have to be looked at. Of what `is_interrupted`
/// nothing is expected.
pub(super) async fn read_runs<D: Disk>(
    disk: D,
    path: String,
    number: u64,
    owner: Owner,
    records_step: usize,
    is_interrupted: impl Fn(&Trailer) -> bool,
) -> Result<FoundFile<D::File>, Error> {
    let file = disk.open(&path, OpenMode::Prepare).await.map_err(|error| at(&path, error))?;
    let bytes = file.size().await.map_err(|error| at(&path, error))?;
    let header =
        PartitionFileHeader { cluster_id: owner.cluster_id, node: owner.node, number, partition: owner.partition };
    let found = FoundFile {
        file,
        path,
        number,
        node: header.node,
        bytes,
        runs: Vec::new(),
        rebuilt: 0,
        interrupted: 0,
        damage: Vec::new(),
    };
    let mut search = Search { found, header, records_step };
    search.check_header().await?;
    search.walk(is_interrupted).await?;
    search.found.runs.reverse();
    Ok(search.found)
}

struct Search<F> {
    found: FoundFile<F>,
    header: PartitionFileHeader,
    records_step: usize,
}

impl<F: File> Search<F> {
    async fn check_header(&mut self) -> Result<(), Error> {
        let block = self.read(0, BLOCK.min(self.found.bytes & !(BLOCK - 1))).await?;
        match PartitionFileHeader::decode(block.as_slice()) {
            Ok(header) => {
                let Owner { cluster_id, partition, .. } =
                    Owner { cluster_id: header.cluster_id, node: header.node, partition: header.partition };
                if (cluster_id, partition, header.number)
                    != (self.header.cluster_id, self.header.partition, self.header.number)
                {
                    return Err(Error::PartitionFile { path: self.found.path.clone(), error: RunError::Foreign });
                }
                (self.header.node, self.found.node) = (header.node, header.node);
                Ok(())
            }
            Err(error @ RunError::Newer { .. }) => Err(Error::PartitionFile { path: self.found.path.clone(), error }),
            // Whether that is damage, or a file that was just being made, its runs will tell.
            Err(_) => Ok(()),
        }
    }

    /// From the end to the first run.
    async fn walk(&mut self, is_interrupted: impl Fn(&Trailer) -> bool) -> Result<(), Error> {
        let mut end = self.found.bytes & !(BLOCK - 1);
        let mut next_sequence = None;
        while end > FIRST_RUN {
            let (trailer, damaged_end) = self.last_trailer(end).await?;
            // A trailer lies in one sector: an interrupted append leaves the whole of it, or nothing.
            if let (Some(damaged_end), None) = (damaged_end, next_sequence) {
                let start = trailer.as_ref().map_or(FIRST_RUN, |(trailer, ..)| trailer.end());
                self.rebuild_gap((start, damaged_end), SEQUENCE_UNKNOWN).await?;
                next_sequence = Some(SEQUENCE_UNKNOWN);
                end = start;
                continue;
            }
            match trailer {
                Some((trailer, ..)) if next_sequence.is_none() && is_interrupted(&trailer) => {
                    self.found.interrupted += 1;
                    end = trailer.run_start;
                }
                Some((trailer, window_start, window)) => {
                    if let (true, Some(next)) = (trailer.end() < end, next_sequence) {
                        self.rebuild_gap((trailer.end(), end), sequence_before(next)).await?;
                    }
                    end = trailer.run_start;
                    next_sequence = Some(trailer.sequence);
                    self.take(trailer, window_start, &window).await?;
                }
                None => {
                    if let Some(next) = next_sequence {
                        self.rebuild_gap((FIRST_RUN, end), sequence_before(next)).await?;
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// The last trailer that ends at or before `end`, with the bytes around it; and where the last one that is damaged ends,
    /// if that is behind it.
    async fn last_trailer(&self, end: u64) -> Result<(Option<Around>, Option<u64>), Error> {
        let (mut window_end, mut damaged_end) = (end, None);
        while window_end > FIRST_RUN {
            let bytes = if window_end == end { WINDOW_BYTES } else { SEARCH_BYTES };
            let start = window_end.saturating_sub(bytes).max(FIRST_RUN);
            let window = self.read(start, window_end - start).await?;
            for block in (start / BLOCK..window_end / BLOCK).rev() {
                let offset = block * BLOCK;
                let from = usize::try_from(offset - start).expect("a window fits memory");
                match Trailer::decode(window.as_slice().get(from..).unwrap_or_default(), offset) {
                    Ok(trailer) if self.is_ours(&trailer) => return Ok((Some((trailer, start, window)), damaged_end)),
                    Err(error @ RunError::Newer { .. }) => {
                        return Err(Error::PartitionFile { path: self.found.path.clone(), error });
                    }
                    Err(RunError::Damaged) => damaged_end = damaged_end.or(Some(offset + BLOCK)),
                    Ok(_) | Err(_) => {}
                }
            }
            window_end = start;
        }
        Ok((None, damaged_end))
    }

    fn is_ours(&self, trailer: &Trailer) -> bool {
        let (file, header) = (&trailer.file, &self.header);
        (file.cluster_id, file.number, file.partition) == (header.cluster_id, header.number, header.partition)
    }

    /// Checks a run's footer, or rebuilds it.
    async fn take(&mut self, trailer: Trailer, window_start: u64, window: &AlignedBuffer) -> Result<(), Error> {
        let start = trailer.footer_start();
        let read_from = start & !(BLOCK - 1);
        let more = match read_from < window_start {
            true => Some(self.read(read_from, trailer.end() - read_from).await?),
            false => None,
        };
        let (bytes, bytes_start) = more.as_ref().map_or((window, window_start), |more| (more, read_from));
        let from = usize::try_from(start - bytes_start).expect("a footer fits memory");
        let to = from + usize::try_from(trailer.footer_bytes()).expect("a footer fits memory");
        let mut footer = AlignedBuffer::with_capacity(to - from);
        footer.extend_from_slice(bytes.as_slice().get(from..to).unwrap_or_default());
        match FooterRef::check(footer.as_slice(), &trailer) {
            Ok(_) => self.found.runs.push(FoundRun { trailer, footer, read_by: None }),
            Err(error) => {
                let records = (trailer.run_start, trailer.run_start + trailer.records_bytes);
                let what = "a run's footer is damaged, and a record of it cannot be read";
                let mut run = self.rebuild(trailer, records, what).await?;
                if error == RunError::SiblingsUnknown {
                    run.read_by = Some(std::mem::replace(&mut run.trailer, trailer));
                } else {
                    self.found.rebuilt += 1;
                }
                self.found.runs.push(run);
            }
        }
        Ok(())
    }

    /// A run whose trailer is damaged: its records are still there.
    async fn rebuild_gap(&mut self, (start, end): (u64, u64), sequence: u64) -> Result<(), Error> {
        let trailer = Trailer {
            file: self.header,
            format: FORMAT_PLAIN,
            drained: None,
            offset: end - BLOCK,
            run_start: start,
            records_bytes: 0,
            sequence,
            replaces_below: 0,
            clocks: Default::default(),
            entries: 0,
            tombstones: 0,
            actors: 0,
            footer_crc: 0,
            extra_bytes: 0,
        };
        let damage =
            Corruption { path: self.found.path.clone(), offset: end - BLOCK, what: "a run's trailer is damaged" };
        self.found.damage.push(damage);
        let run = self.rebuild(trailer, (start, end - TRAILER_BYTES as u64), "").await?;
        self.found.rebuilt += 1;
        self.found.runs.push(run);
        Ok(())
    }

    /// Makes a footer from the records between two offsets. With `what`, a record that cannot be read is damage.
    async fn rebuild(
        &mut self,
        mut trailer: Trailer,
        (start, end): (u64, u64),
        what: &'static str,
    ) -> Result<FoundRun, Error> {
        let mut builder = FooterBuilder::new(0);
        let (mut held, mut held_start, mut at) = (AlignedBuffer::default(), start, start);
        loop {
            let from = usize::try_from(at - held_start).expect("what is held fits memory");
            let rest = held.as_slice().get(from..).unwrap_or_default();
            match RecordRef::check(rest) {
                Ok(record)
                    if record.partition() == self.header.partition && at + record.total_bytes() as u64 <= end =>
                {
                    builder.note(&record, at);
                    at += record.total_bytes() as u64;
                    continue;
                }
                _ => {}
            }
            let read_to = held_start + held.len() as u64;
            if read_to >= end || rest.len() > crate::record::RECORD_BYTES_MAX {
                break;
            }
            let step = (self.records_step as u64).min(end.next_multiple_of(BLOCK) - read_to);
            let more = self.read(read_to, step).await?;
            let mut kept = AlignedBuffer::default();
            // What was read and looked at goes, in whole blocks.
            let done = from & !(BLOCK_BYTES - 1);
            kept.extend_from_slice(&held.as_slice()[done.min(held.len())..]);
            kept.extend_from_slice(more.as_slice());
            held_start += done.min(held.len()) as u64;
            held = kept;
            if more.is_empty() {
                break;
            }
        }
        if !what.is_empty() && at < end {
            self.found.damage.push(Corruption { path: self.found.path.clone(), offset: at, what });
        }
        let mut footer = AlignedBuffer::default();
        let encoded = builder.encode(&mut footer);
        trailer.format = encoded.format;
        trailer.records_bytes = at - start;
        trailer.entries = encoded.entries;
        trailer.tombstones = encoded.tombstones;
        trailer.actors = encoded.actors;
        trailer.footer_crc = encoded.footer_crc;
        trailer.extra_bytes = encoded.extra_bytes;
        trailer.clocks = encoded.clocks;
        Ok(FoundRun { trailer, footer, read_by: None })
    }

    async fn read(&self, offset: u64, bytes: u64) -> Result<AlignedBuffer, Error> {
        let bytes = usize::try_from(bytes).expect("a part of a file fits memory");
        if bytes == 0 {
            return Ok(AlignedBuffer::default());
        }
        self.found.file.read_at(offset, bytes).await.map_err(|error| at(&self.found.path, error))
    }
}

fn at(path: &str, error: DiskError) -> Error {
    Error::Disk { path: path.to_owned(), error }
}
