//! Records where they lie: in the runs of partition files, and in the frames of a log's segments. And new runs of them.
//!
//! Invariant: a record that is given out was checked, by its own checksum or by its frame's.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use annulus_engine::AlignedBuffer;
use annulus_engine::RecordRef;
use annulus_engine::frame::{BLOCK_BYTES, FrameRef};
use annulus_engine::record::{RECORD_HEADER_BYTES, peek_total_bytes};
use annulus_engine::sealed_run::{
    FooterBuilder, PartitionFileHeader, RUN_BLOCK_BYTES, RunError, RunFields, Trailer, encode_ending,
};
use annulus_engine::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

use super::{RestoreError, at};

const BLOCK: u64 = RUN_BLOCK_BYTES as u64;

fn damaged(path: &Path, what: impl Into<String>) -> RestoreError {
    RestoreError::Damaged { path: path.to_owned(), what: what.into() }
}

/// The runs of the first `bytes` of a partition file, newest first; with `may_be_torn` what lies behind the last one is passed
/// over, as an interrupted append leaves it.
pub(super) fn runs(path: &Path, bytes: u64, may_be_torn: bool) -> Result<Vec<Trailer>, RestoreError> {
    let file = File::open(path).map_err(at(path))?;
    let mut runs: Vec<Trailer> = Vec::new();
    let mut end = bytes & !(BLOCK - 1);
    while end > BLOCK {
        let mut block = vec![0; RUN_BLOCK_BYTES];
        file.read_exact_at(&mut block, end - BLOCK).map_err(at(path))?;
        match Trailer::decode(&block, end - BLOCK) {
            Ok(trailer) => {
                end = trailer.run_start;
                runs.push(trailer);
            }
            Err(RunError::Damaged) => return Err(damaged(path, format!("the run that ends at byte {end} is damaged"))),
            Err(_) if may_be_torn && runs.is_empty() => end -= BLOCK,
            Err(error) => return Err(damaged(path, format!("no run ends at byte {end}: {error}"))),
        }
    }
    Ok(runs)
}

/// Gives every record of a run to `take`, with where it lies.
pub(super) fn of_run(
    path: &Path,
    run: &Trailer,
    take: &mut impl FnMut(&RecordRef<'_>) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let file = File::open(path).map_err(at(path))?;
    let mut reader = BufReader::with_capacity(1 << 20, From { file: &file, at: run.run_start });
    let (mut left, mut record) = (run.records_bytes, Vec::new());
    while left > 0 {
        record.resize(RECORD_HEADER_BYTES, 0);
        reader.read_exact(&mut record).map_err(at(path))?;
        let total = peek_total_bytes(&record).map_err(|error| damaged(path, error.to_string()))?;
        record.resize(total, 0);
        reader.read_exact(&mut record[RECORD_HEADER_BYTES..]).map_err(at(path))?;
        take(&RecordRef::check(&record).map_err(|error| damaged(path, format!("a record: {error}")))?)?;
        let total = total as u64;
        left = left.checked_sub(total).ok_or_else(|| damaged(path, "its records are longer than their run"))?;
    }
    Ok(())
}

/// A file from a byte on.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// What the frames of a segment say of the log.
pub(super) struct Scanned {
    pub(super) header: SegmentHeader,
    /// The log's beginning, as the last good frame has it; `None` without one.
    pub(super) log_tail: Option<u64>,
    /// Bytes of the good frames, the header included.
    pub(super) end: u64,
}

/// Gives every record of a segment's good frames to `take`; `None` for a file that is no segment in use.
pub(super) fn of_segment(
    path: &Path,
    take: &mut impl FnMut(&RecordRef<'_>) -> Result<(), RestoreError>,
) -> Result<Option<Scanned>, RestoreError> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    let Ok(header) = SegmentHeader::decode(&bytes) else { return Ok(None) };
    let (mut offset, mut log_tail) = (SEGMENT_HEADER_BYTES, None);
    while let Some(rest) = bytes.get(offset..).filter(|rest| rest.len() >= BLOCK_BYTES) {
        let Ok(frame) = FrameRef::check_any(rest) else { break };
        if frame.header().sequence != header.sequence {
            break;
        }
        for record in frame.records_checked() {
            let (_, record) = record.map_err(|error| damaged(path, error.to_string()))?;
            take(&record)?;
        }
        log_tail = Some(frame.header().log_tail);
        offset += frame.total_bytes();
    }
    Ok(Some(Scanned { header, log_tail, end: offset as u64 }))
}

/// A new partition file of one run, while it is written.
pub(super) struct NewRun {
    path: PathBuf,
    file: File,
    header: PartitionFileHeader,
    footer: FooterBuilder,
    /// Where the next record goes.
    pub(super) end: u64,
    buffer: Vec<u8>,
}

impl NewRun {
    /// A file of that name, which must be free.
    pub(super) fn create(path: PathBuf, header: PartitionFileHeader) -> Result<Self, RestoreError> {
        let file = File::options().write(true).create_new(true).open(&path).map_err(at(&path))?;
        let mut buffer = vec![0; RUN_BLOCK_BYTES];
        header.encode(&mut buffer);
        Ok(Self { path, file, header, footer: FooterBuilder::new(0), end: BLOCK, buffer })
    }

    /// Appends a record, verbatim.
    pub(super) fn append(&mut self, record: &RecordRef<'_>) -> Result<(), RestoreError> {
        self.footer.note(record, self.end);
        self.buffer.extend_from_slice(record.bytes());
        self.end += record.total_bytes() as u64;
        if self.buffer.len() >= 1 << 20 {
            self.file.write_all(&self.buffer).map_err(at(&self.path))?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends the run, and makes the file durable but for its name.
    pub(super) fn seal(mut self, sequence: u64) -> Result<u64, RestoreError> {
        let records_bytes = self.end - BLOCK;
        let fields = RunFields {
            file: self.header,
            drained: None,
            run_start: BLOCK,
            records_bytes,
            sequence,
            replaces_below: 0,
        };
        // The ending pads by where the records end in their block.
        let in_block = usize::try_from(self.end % BLOCK).expect("less than a block");
        let mut ending = AlignedBuffer::default();
        ending.resize_zeroed(in_block);
        let trailer = encode_ending(&fields, &mut self.footer, &mut ending);
        self.buffer.extend_from_slice(&ending.as_slice()[in_block..]);
        self.file.write_all(&self.buffer).and_then(|()| self.file.sync_all()).map_err(at(&self.path))?;
        Ok(trailer.end())
    }
}
