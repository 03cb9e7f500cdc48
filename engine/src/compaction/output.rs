//! The run that a compaction writes for one partition.
//!
//! Invariant: bytes leave in whole blocks and in order; `written` is where the buffer's first byte goes.

use crate::buffer::AlignedBuffer;
use crate::compaction::step::WriteOp;
use crate::frame::BLOCK_BYTES;
use crate::index::{Entry, Place};
use crate::record::RecordRef;
use crate::sealed_run::{
    FooterBuilder, PartitionFileHeader, RUN_BLOCK_BYTES, Replayed, RunFields, Trailer, encode_footer,
};

/// A partition, and the number of the run among those that the compaction writes for it.
pub(crate) type Part = (u16, u16);

/// A run that is being written.
pub(crate) struct Writer<F> {
    pub(crate) header: PartitionFileHeader,
    /// `None` until it is made.
    pub(crate) file: Option<F>,
    pub(crate) path: String,
    /// The file number of its places; `None` for a file that is not in the set yet.
    pub(crate) place_file: Option<u16>,
    pub(crate) is_new: bool,
    run_start: u64,
    written: u64,
    pub(crate) buffer: AlignedBuffer,
    pub(crate) footer: FooterBuilder,
    /// Size classes of its records, in bytes.
    pub(crate) classes: u64,
    pub(crate) trailer: Option<Trailer>,
    /// With its trailer, while that is kept back.
    last_block: AlignedBuffer,
    pub(crate) is_sealed: bool,
    /// The trailer is on its way too.
    pub(crate) has_trailer: bool,
}

/// A sealed run whose records the index does not point at yet.
pub(crate) struct Sealed {
    pub(crate) partition: u16,
    pub(crate) place_file: u16,
    pub(crate) entries: Vec<Entry>,
    pub(crate) next: usize,
}

impl Sealed {
    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

/// Where a run is written to.
pub(crate) struct Target<F> {
    pub(crate) header: PartitionFileHeader,
    pub(crate) file: Option<F>,
    pub(crate) path: String,
    pub(crate) place_file: Option<u16>,
    /// Where the file's newest run ends.
    pub(crate) end: u64,
}

impl<F: Clone> Writer<F> {
    /// A run at the end of a file, of about `expected` records.
    pub(crate) fn new(target: Target<F>, expected: usize) -> Self {
        let Target { header, file, path, place_file, end } = target;
        let is_new = file.is_none();
        let mut buffer = AlignedBuffer::default();
        if is_new {
            buffer.resize(RUN_BLOCK_BYTES);
            header.encode(buffer.as_mut_slice());
        }
        Self {
            header,
            file,
            path,
            place_file,
            is_new,
            run_start: end,
            written: if is_new { 0 } else { end },
            buffer,
            footer: FooterBuilder::new(expected),
            classes: 0,
            trailer: None,
            last_block: AlignedBuffer::default(),
            is_sealed: false,
            has_trailer: false,
        }
    }

    /// Where the next byte goes.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// True when a record of so many bytes can be named by a place.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.end() + (bytes as u64) < Place::FILE_BYTES_MAX
    }

    /// Appends a record, verbatim.
    pub(crate) fn append(&mut self, record: &RecordRef<'_>, class_bytes: usize) {
        assert!(!self.is_sealed && self.has_room(record.total_bytes()));
        self.footer.note(record, self.end());
        self.buffer.extend_from_slice(record.bytes());
        self.classes += class_bytes as u64;
    }

    /// Takes the whole blocks of the buffer out to be written.
    pub(crate) fn take_blocks(&mut self, part: Part) -> Option<WriteOp<F>> {
        let whole = self.buffer.len() & !(BLOCK_BYTES - 1);
        if whole == 0 {
            return None;
        }
        let mut rest = AlignedBuffer::default();
        rest.extend_from_slice(&self.buffer.as_slice()[whole..]);
        let mut buffer = std::mem::replace(&mut self.buffer, rest);
        buffer.resize(whole);
        let offset = self.written;
        self.written += whole as u64;
        Some(WriteOp { part, file: self.file.clone(), path: self.path.clone(), offset, buffer })
    }

    /// Ends the run: the footer, and a drained run's trailer, are behind the records. Any other trailer is kept back until all
    /// before it is durable, as there may be nothing else left to recover from once it is read.
    pub(crate) fn seal(&mut self, sequence: u64, replaces_below: u64, drained: Option<Replayed>) {
        let records_bytes = self.end() - self.run_start;
        let (file, run_start) = (self.header, self.run_start);
        let fields = RunFields { file, drained, run_start, records_bytes, sequence, replaces_below };
        let trailer = encode_footer(&fields, &mut self.footer, &mut self.buffer);
        let block = self.buffer.len() - RUN_BLOCK_BYTES;
        self.last_block.extend_from_slice(&self.buffer.as_slice()[block..]);
        trailer.encode(self.last_block.as_mut_slice());
        if drained.is_some() {
            self.buffer.as_mut_slice()[block..].copy_from_slice(self.last_block.as_slice());
            self.has_trailer = true;
        }
        self.trailer = Some(trailer);
        self.is_sealed = true;
    }

    /// The run's last block once more, now with its trailer.
    pub(crate) fn take_trailer(&mut self, part: Part) -> WriteOp<F> {
        assert!(self.buffer.is_empty(), "everything else was written");
        self.has_trailer = true;
        let buffer = std::mem::take(&mut self.last_block);
        let offset = self.trailer.expect("it is sealed").offset;
        WriteOp { part, file: self.file.clone(), path: self.path.clone(), offset, buffer }
    }
}
