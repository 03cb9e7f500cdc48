//! The log as a start would read it: of every core, which segments and frames count, and the records in them.
//!
//! ```text
//! files     a segment file, and what its header and frames say of it
//! segment   the good frames of one file's bytes, and the gaps between them
//! chain     one instance: from the log's tail on, segment after segment
//! records   what is kept of every record: 32 bytes, by partition
//! ```
//!
//! What it is not: it decides nothing about keys; versions of all partitions are merged later, one partition at a time.
//!
//! Invariant: a record is given out only from a frame that a start would accept, or when asked for from one that is damaged.

mod chain;
mod files;
mod records;
mod segment;

use std::cell::RefCell;
use std::collections::BTreeMap;

use annulus::mesh::CoreMap;
use annulus::node_meta::NodeMeta;
use annulus_engine::sealed_run::Replayed;
use annulus_object::Clock;

use crate::failure::Failure;
use crate::finding::{Findings, Site};
use crate::listing::{Listing, LogFile};
use crate::source::Source;
use crate::version::Version;

use chain::Chain;
pub use files::Segment;
use records::Records;

/// Segments that are kept open for reading single records.
const OPEN_SEGMENTS: usize = 64;
/// How often a log that changes under the reader is read.
const TRIES: usize = 4;

/// One instance of a core's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// The sequence that the log begins with, as its newest frame says; `None` without a frame.
    pub tail: Option<u64>,
    /// The uses of segments that are there, oldest first.
    pub sequences: Vec<u64>,
    /// Frames that count.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Frames that belong to writes which failed.
    pub disregarded: u64,
    /// It ends in a torn write.
    pub is_torn: bool,
}

/// A core's log.
#[derive(Debug, Default)]
pub struct CoreLog {
    /// Small records, large ones.
    pub instances: [Instance; 2],
    /// The newest FLUSHALL: versions up to it are deleted.
    pub mark: Option<Clock>,
    records: Records,
}

/// What is asked of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// Only this core's.
    pub core: Option<u16>,
    /// Sound records of damaged frames, too.
    pub rescue: bool,
    /// The checksum of every record, besides the frames'.
    pub checked: bool,
}

/// Whose log it ought to be.
#[derive(Clone, Copy, Debug, Default)]
struct Owner<'a> {
    layout: Option<u32>,
    core: Option<u16>,
    meta: Option<&'a NodeMeta>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Log {
    /// The layout that counts.
    pub layout: Option<u32>,
    /// Every segment file that was looked at.
    pub segments: Vec<Segment>,
    /// Every core that has one.
    pub cores: BTreeMap<u16, CoreLog>,
    open: RefCell<BTreeMap<u32, (u32, Source)>>,
}

impl Log {
    /// Reads all segments that the scope asks for.
    pub fn read(listing: &Listing, scope: Scope, findings: &mut Findings) -> Result<Log, Failure> {
        let mut log = Log { layout: listing.layout, ..Log::default() };
        let mut cores: BTreeMap<Option<u16>, Vec<&LogFile>> = BTreeMap::new();
        for file in &listing.logs {
            cores.entry(file.core).or_default().push(file);
        }
        for (core, files) in cores {
            if core.is_some() && scope.core.is_some() && core != scope.core {
                continue;
            }
            let owner = Owner { layout: listing.layout, core, meta: listing.meta.as_ref() };
            let (segments, core_log) = read_settled(&files, owner, log.segments.len(), scope, findings)?;
            let core = core.or(segments.first().map(|segment| segment.core)).unwrap_or_default();
            log.segments.extend(segments);
            log.cores.insert(core, core_log);
        }
        Ok(log)
    }

    /// Whether a crash would replay what a run was drained from: then the run says nothing new.
    pub fn replays(&self, drained: &Replayed) -> bool {
        let instance = self.cores.get(&drained.core).and_then(|core| core.instances.get(usize::from(drained.instance)));
        instance.filter(|_| Some(drained.layout) == self.layout).is_some_and(|instance| {
            instance.tail.unwrap_or(0) <= drained.through && instance.sequences.contains(&drained.through)
        })
    }

    /// The newest FLUSHALL of a partition's core, by the node's own spread of partitions over cores.
    pub fn mark(&self, partition: u16, meta: Option<&NodeMeta>) -> Option<Clock> {
        let meta = meta.filter(|meta| u32::from(partition) < meta.partitions)?;
        let core = CoreMap::new(meta.partitions, meta.cores).core_of(partition);
        self.cores.get(&core)?.mark
    }

    /// The partitions of which there are records.
    pub fn partitions(&self) -> impl Iterator<Item = u16> {
        self.cores.values().flat_map(|core| core.records.partitions())
    }

    /// A partition's records, and for each whether its own core's mark deletes it.
    pub fn versions(&self, partition: u16) -> impl Iterator<Item = (Version, bool)> {
        self.cores.values().flat_map(move |core| {
            let is_flushed = |version: &Version| core.mark.is_some_and(|mark| version.dot.clock <= mark);
            core.records.versions(partition).map(move |version| {
                let flushed = is_flushed(&version);
                (version, flushed)
            })
        })
    }

    /// The bytes at a place; they may have changed since the log was read.
    pub fn read_at(&self, segment: u32, offset: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
        let mut open = self.open.borrow_mut();
        let slot = segment % OPEN_SEGMENTS as u32;
        if open.get(&slot).is_none_or(|(of, _)| *of != segment) {
            let path = &self.segments[segment as usize].path;
            open.insert(slot, (segment, Source::open(path)?));
        }
        open[&slot].1.read(offset, bytes)
    }
}

/// Reads a core's log until a second look agrees on what is wrong with it: a live node writes its segments anew.
fn read_settled(
    files: &[&LogFile],
    owner: Owner<'_>,
    first: usize,
    scope: Scope,
    findings: &mut Findings,
) -> Result<(Vec<Segment>, CoreLog), Failure> {
    let mut last: Option<(Findings, Vec<u64>)> = None;
    for attempt in 1.. {
        let mut found = Findings::default();
        let segments = files::open(files, owner, &mut found)?;
        let mut chain = Chain::new(segments, first, scope, owner);
        chain.read(&mut found)?;
        let uses = chain.segments.iter().map(|segment| segment.sequence).collect();
        let look = (found, uses);
        let is_settled = look.0.damaged() == 0 || last.as_ref() == Some(&look);
        if is_settled || attempt == TRIES {
            findings.extend(look.0);
            if !is_settled {
                let site = Site::file(&files[0].path);
                findings.notice(site, "the core's log changed while it was read; run this again, or on a copy");
            }
            return Ok((chain.segments, chain.log));
        }
        last = Some(look);
    }
    unreachable!("the last attempt returns")
}
