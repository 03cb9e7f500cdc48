//! Segment files: what each says it is, and what became of it.
//!
//! Invariant: a file whose sequence is known is of the log that is read; every other one that is not empty was reported.

use std::path::PathBuf;

use annulus_engine::frame::BLOCK_BYTES;
use annulus_engine::segment::{SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};

use super::Owner;
use super::segment::sequence_of_frames;
use crate::failure::Failure;
use crate::finding::{Findings, Site};
use crate::listing::LogFile;
use crate::source::Source;

/// What a segment is to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its frames are replayed.
    Log,
    /// Free: none of its frames are needed any more, or it has none.
    Spare,
    /// Nothing in it can be trusted; it was reported.
    Unreadable,
}

impl Standing {
    /// For a listing.
    pub fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Spare => "spare",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One segment file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub core: u16,
    /// 0 small records, 1 large ones.
    pub instance: u8,
    /// Which use; 0 for one that holds nothing.
    pub sequence: u64,
    /// Bytes of the file.
    pub length: u64,
    /// Bytes up to the end of the last frame that counts.
    pub used: u64,
    /// Frames that count.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// What it is to a start.
    pub standing: Standing,
    /// As its header or its first frame says.
    pub cluster_id: Option<[u8; 16]>,
    /// Likewise.
    pub node: Option<u64>,
}

/// Looks into every file's header; one that is gone again was not needed any more.
pub fn open(files: &[&LogFile], owner: Owner<'_>, findings: &mut Findings) -> Result<Vec<Segment>, Failure> {
    let mut segments = Vec::new();
    for file in files {
        match open_one(file, owner, findings) {
            Ok(segment) => segments.push(segment),
            Err(Failure::Vanished(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    segments.sort_by_key(|segment| segment.sequence);
    Ok(segments)
}

fn open_one(file: &LogFile, owner: Owner<'_>, findings: &mut Findings) -> Result<Segment, Failure> {
    let source = Source::open(&file.path)?;
    let is_large = file.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("large"));
    let mut segment = Segment {
        path: file.path.clone(),
        core: owner.core.unwrap_or_default(),
        instance: u8::from(is_large),
        sequence: 0,
        length: source.length(),
        used: 0,
        frames: 0,
        records: 0,
        standing: Standing::Spare,
        cluster_id: None,
        node: None,
    };
    let block = source.read(0, SEGMENT_HEADER_BYTES)?;
    let error = match SegmentHeader::decode(&block) {
        Ok(header) => {
            take_header(&mut segment, &header, owner, findings);
            return Ok(segment);
        }
        Err(error) => error,
    };
    let is_single = owner.core.is_none();
    match error {
        SegmentError::Newer { found, supported } => Err(Failure::Newer { path: file.path.clone(), found, supported }),
        SegmentError::Truncated { available } if is_single => Err(Failure::Truncated {
            path: file.path.clone(),
            needed: SEGMENT_HEADER_BYTES as u64,
            available: available as u64,
        }),
        error => {
            let found = take_frames(&mut segment, &source, &error, findings)?;
            match (found, is_single) {
                (false, true) if error != SegmentError::Empty => {
                    Err(Failure::Foreign { path: file.path.clone(), what: "no segment, or a wholly damaged one" })
                }
                _ => Ok(segment),
            }
        }
    }
}

fn take_header(segment: &mut Segment, header: &SegmentHeader, owner: Owner<'_>, findings: &mut Findings) {
    segment.core = header.core;
    segment.instance = header.instance;
    (segment.cluster_id, segment.node) = (Some(header.cluster_id), Some(header.node));
    let of_core = owner.core.is_none_or(|core| core == header.core);
    let of_layout = owner.core.is_none() || owner.layout == Some(header.layout);
    let of_node = owner.meta.is_none_or(|meta| (meta.cluster_id, meta.cores) == (header.cluster_id, header.cores));
    if !(of_core && of_layout && of_node) {
        segment.standing = Standing::Unreadable;
        let what = format!(
            "a segment of core {} of {} in layout {}, cluster {:032x}: it does not belong here, and a node will not start with it",
            header.core,
            header.cores,
            header.layout,
            u128::from_be_bytes(header.cluster_id)
        );
        findings.damage(Site::at(&segment.path, 0), what);
        return;
    }
    segment.sequence = header.sequence;
    if segment.length < header.segment_bytes {
        let what =
            format!("the file is shorter than it was made: {} of {} bytes", segment.length, header.segment_bytes);
        findings.damage(Site::at(&segment.path, segment.length), what);
    }
}

/// A segment without a header; whether its frames tell what it is.
fn take_frames(
    segment: &mut Segment,
    source: &Source,
    error: &SegmentError,
    findings: &mut Findings,
) -> Result<bool, Failure> {
    let site = Site::at(&segment.path, 0);
    if let Some(sequence) = sequence_of_frames(&whole_blocks(source)?) {
        segment.sequence = sequence;
        findings.damage(site, "the segment's header is damaged; its frames were read");
        return Ok(true);
    }
    // A preparation that was cut off leaves zeros, or nothing.
    if !matches!(error, SegmentError::Empty | SegmentError::Truncated { .. }) {
        segment.standing = Standing::Unreadable;
        findings.damage(site, "neither the segment's header nor its first frame can be read");
    }
    Ok(false)
}

/// A file but for what a cut left of its last block.
pub fn whole_blocks(source: &Source) -> Result<Vec<u8>, Failure> {
    let length = usize::try_from(source.length()).expect("segments fit memory");
    let mut bytes = source.read(0, length)?;
    bytes.truncate(bytes.len() / BLOCK_BYTES * BLOCK_BYTES);
    Ok(bytes)
}
