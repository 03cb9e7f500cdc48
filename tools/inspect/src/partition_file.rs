//! One partition file: whose it is, and which runs it has.
//!
//! The end of a run's last block is its trailer, which says where the run begins, where the run before it ends. So runs are found
//! from the end of the file backwards. What lies behind the last whole trailer is an append that was cut off. A trailer further in
//! front that cannot be read is damage: what lies before it, up to the next whole trailer, is one run (or several) of which
//! only the records can be read.
//!
//! What it is not: it reads no records, and does not know which runs count.
//!
//! Invariant: the runs are in the order of the file, cover it from the header to the last trailer, and do not overlap.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annulus_engine::sealed_run::{PartitionFileHeader, RUN_BLOCK_BYTES, RunError, TRAILER_BYTES, Trailer};

use crate::failure::Failure;
use crate::finding::{Findings, Site};
use crate::listing::PartName;
use crate::map::Map;
use crate::source::Source;

const BLOCK: u64 = RUN_BLOCK_BYTES as u64;
/// Bytes that are read at once when looking for a trailer.
const SEARCH_BYTES: u64 = 1 << 20;

/// One run: everything from its first record to behind its trailer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Bytes of the file.
    pub range: Range<u64>,
    /// `None` when it is damaged.
    pub trailer: Option<Trailer>,
}

/// A file whose runs are known.
#[derive(Debug)]
pub struct PartitionFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub identity: PartitionFileHeader,
    /// Bytes of the file.
    pub length: u64,
    /// The file up to the last run's end.
    pub bytes: Map,
    /// In the order of the file.
    pub runs: Vec<Run>,
}

impl PartitionFile {
    /// Opens the file; its name tells whose it is where its header does not. `None` for a file that was never begun.
    pub fn open(path: &Path, name: Option<PartName>, findings: &mut Findings) -> Result<Option<Self>, Failure> {
        let source = Source::open(path)?;
        let block = source.read(0, RUN_BLOCK_BYTES)?;
        let blocks = source.length() / BLOCK * BLOCK;
        let identity = match PartitionFileHeader::decode(&block) {
            Ok(identity) => identity,
            Err(RunError::Newer { found, supported }) => {
                return Err(Failure::Newer { path: path.to_owned(), found, supported });
            }
            Err(error) => match identity_from_trailer(&source, blocks, name)? {
                Some(identity) => {
                    findings.damage(
                        Site::at(path, 0).of(identity.partition),
                        "its header is damaged; its trailers tell whose it is",
                    );
                    identity
                }
                None => return never_begun(path, &block, name, error, findings),
            },
        };
        check_name(path, &identity, name, findings);
        let (runs, bytes) = find_runs(&source, &identity, blocks, findings)?;
        Ok(Some(Self { path: path.to_owned(), identity, length: source.length(), bytes, runs }))
    }

    /// Bytes behind the last run.
    pub fn behind(&self) -> u64 {
        self.length - self.bytes.len() as u64
    }
}

/// A file without a header and without any trailer.
fn never_begun(
    path: &Path,
    block: &[u8],
    name: Option<PartName>,
    error: RunError,
    findings: &mut Findings,
) -> Result<Option<PartitionFile>, Failure> {
    let is_begun = block.len() == RUN_BLOCK_BYTES && block.iter().any(|byte| *byte != 0);
    let Some(name) = name else {
        return Err(match error {
            RunError::Truncated { needed, available } => {
                Failure::Truncated { path: path.to_owned(), needed, available }
            }
            _ => Failure::Foreign { path: path.to_owned(), what: "no partition file, or a wholly damaged one" },
        });
    };
    let site = Site::at(path, 0).of(name.partition);
    match is_begun {
        true => findings.damage(site, "neither its header nor any trailer can be read; none of its records are known"),
        false => findings.notice(site, "the file was never begun"),
    }
    Ok(None)
}

fn identity_from_trailer(
    source: &Source,
    end: u64,
    name: Option<PartName>,
) -> Result<Option<PartitionFileHeader>, Failure> {
    let is_named = |file: &PartitionFileHeader| {
        name.is_none_or(|name| (name.partition, name.number) == (file.partition, file.number))
    };
    let found = search(source, BLOCK..end, |block, offset| {
        Trailer::decode(block, offset).ok().map(|trailer| trailer.file).filter(is_named)
    })?;
    Ok(found.map(|(_, identity)| identity))
}

fn check_name(path: &Path, identity: &PartitionFileHeader, name: Option<PartName>, findings: &mut Findings) {
    if let Some(name) = name
        && (name.partition, name.number) != (identity.partition, identity.number)
    {
        let what = format!("its header is of file {} of partition {}", identity.number, identity.partition);
        findings.damage(Site::at(path, 0).of(name.partition), what);
    }
}

/// The runs, from the end backwards, and the bytes that they are in.
fn find_runs(
    source: &Source,
    identity: &PartitionFileHeader,
    blocks: u64,
    findings: &mut Findings,
) -> Result<(Vec<Run>, Map), Failure> {
    let mut runs = Vec::new();
    let mut end = find_last(source, identity, blocks)?;
    let bytes = source.map(end)?;
    while end > BLOCK {
        let at = end - BLOCK;
        let block = &bytes[to_usize(at)..to_usize(end)];
        let run = match trailer_of(block, at, identity) {
            Ok(trailer) => Run { range: trailer.run_start..end, trailer: Some(trailer) },
            Err(RunError::Newer { found, supported }) => {
                return Err(Failure::Newer { path: source.path().to_owned(), found, supported });
            }
            Err(_) => {
                let earlier = search(source, BLOCK..at, |block, at| trailer_of(block, at, identity).ok())?;
                let start = earlier.map_or(BLOCK, |(at, _)| at + BLOCK);
                Run { range: start..end, trailer: None }
            }
        };
        assert!(run.range.start >= BLOCK && run.range.start < end, "a run lies between the header and its end");
        end = run.range.start;
        runs.push(run);
    }
    runs.reverse();
    if source.length() > bytes.len() as u64 {
        let site = Site::at(source.path(), bytes.len() as u64).of(identity.partition);
        let behind = source.length() - bytes.len() as u64;
        findings
            .notice(site, format!("{behind} bytes behind the last trailer: an append that was cut off, or goes on"));
    }
    Ok((runs, bytes))
}

/// Where the last run ends. A block with a trailer's mark but the wrong checksum is no append that was cut off, as a trailer is
/// written when all before it is on the disk, within one sector.
fn find_last(source: &Source, identity: &PartitionFileHeader, blocks: u64) -> Result<u64, Failure> {
    let (mut marked, mut newer) = (None, None);
    let last = search(source, BLOCK..blocks, |block, at| match trailer_of(block, at, identity) {
        Ok(_) => Some(()),
        Err(RunError::Newer { found, supported }) => {
            newer = Some((found, supported));
            Some(())
        }
        Err(error) => {
            if marked.is_none() && was_trailer(block, error) {
                marked = Some(at);
            }
            None
        }
    })?;
    match (newer, marked.or(last.map(|(at, ())| at))) {
        (Some((found, supported)), _) => Err(Failure::Newer { path: source.path().to_owned(), found, supported }),
        (None, Some(at)) => Ok(at + BLOCK),
        (None, None) => Ok(BLOCK),
    }
}

/// Whether a block ends with what is a trailer but for some bits: it has the mark of one, or another mark and the right
/// checksum.
fn was_trailer(block: &[u8], error: RunError) -> bool {
    let trailer = &block[block.len() - TRAILER_BYTES..];
    let stored = u32::from_le_bytes(*trailer[8..].first_chunk().expect("a trailer is longer"));
    error == RunError::Damaged || (error == RunError::Foreign && stored == crc32fast::hash(&trailer[12..]))
}

/// A whole trailer of this file.
fn trailer_of(block: &[u8], at: u64, identity: &PartitionFileHeader) -> Result<Trailer, RunError> {
    let trailer = Trailer::decode(block, at)?;
    let whose = |file: &PartitionFileHeader| (file.cluster_id, file.partition, file.number);
    if whose(&trailer.file) == whose(identity) { Ok(trailer) } else { Err(RunError::Foreign) }
}

/// The last block within a range of which `accept` makes something, with its offset.
fn search<T>(
    source: &Source,
    within: Range<u64>,
    mut accept: impl FnMut(&[u8], u64) -> Option<T>,
) -> Result<Option<(u64, T)>, Failure> {
    let mut end = within.end;
    while end > within.start {
        let start = end.saturating_sub(SEARCH_BYTES).max(within.start);
        let part = source.read(start, to_usize(end - start))?;
        for (index, block) in part.chunks_exact(RUN_BLOCK_BYTES).enumerate().rev() {
            let at = start + index as u64 * BLOCK;
            if let Some(found) = accept(block, at) {
                return Ok(Some((at, found)));
            }
        }
        end = start;
    }
    Ok(None)
}

/// An offset in a file that is mapped.
pub fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("what is mapped has an address")
}
