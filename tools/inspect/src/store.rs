//! What was given on the command line, opened: the node's identity, its log, and its partitions one at a time.
//!
//! A live directory changes under the reader. The log is read first: what moves from it into partition files meanwhile is met
//! twice, which makes no difference. Partition files that vanish are looked for again, and damage counts when a second look
//! agrees.
//!
//! Invariant: nothing is ever written here, and files are opened for reading only.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use annulus::node_meta::NodeMeta;
use annulus::slot;
use annulus_engine::index::IndexHash;
use annulus_engine::keyed_hash;
use annulus_engine::record::{RecordError, RecordRef};

use crate::failure::Failure;
use crate::finding::{Findings, Site};
use crate::listing::Listing;
use crate::log::{Log, Scope};
use crate::partition_file::{PartitionFile, to_usize};
use crate::state::{Options, Partition};
use crate::version::{Place, Version};

/// How often a partition that changes under the reader is read.
const TRIES: usize = 5;

/// An open path.
#[derive(Debug)]
pub struct Store {
    listing: Listing,
    /// Its log.
    pub log: Log,
    /// What is wrong with anything but the partitions, which have their own.
    pub findings: Findings,
}

/// Where a key belongs.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its keyed hash.
    pub hash: u128,
    /// Its partition.
    pub partition: u16,
}

impl Store {
    /// Opens a path with its whole log.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Self::open_with(path, |_| Scope::default())
    }

    /// Opens a path with as much of its log as `scope` says.
    pub fn open_with(path: &Path, scope: impl Fn(&Listing) -> Scope) -> Result<Self, Failure> {
        let mut last = None;
        for _ in 0..TRIES {
            let mut findings = Findings::default();
            let opened = Listing::read(path, &mut findings).and_then(|mut listing| {
                let log = Log::read(&listing, scope(&listing), &mut findings)?;
                // What has left the log meanwhile may be in new files.
                listing.refresh_parts()?;
                Ok(Self { listing, log, findings })
            });
            match opened {
                Err(failure @ Failure::Vanished(_)) => last = Some(failure),
                opened => return opened,
            }
        }
        Err(last.expect("every try but one that returned has failed"))
    }

    /// What was given.
    pub fn root(&self) -> &Path {
        &self.listing.root
    }

    /// Who the node is, if that is known.
    pub fn meta(&self) -> Option<&NodeMeta> {
        self.listing.meta.as_ref()
    }

    /// Where a key belongs; known only with the node's hash key.
    pub fn locate(meta: Option<&NodeMeta>, key: &[u8]) -> Option<Wanted> {
        meta.map(|meta| Wanted {
            hash: keyed_hash(&meta.hash_key, key),
            partition: slot::partition(slot::of_key(key), meta.partitions),
        })
    }

    /// The partitions of which there is anything.
    pub fn partitions(&self) -> Vec<u16> {
        let all: BTreeSet<u16> = self.listing.parts.keys().copied().chain(self.log.partitions()).collect();
        all.into_iter().collect()
    }

    /// A partition as a start would see it. Two looks agree on what is wrong with it.
    pub fn partition(&mut self, number: u16, keep_dead: bool) -> Result<Partition, Failure> {
        let mut last: Option<Findings> = None;
        let mut failure = None;
        for _ in 0..TRIES {
            match self.look_at(number, keep_dead) {
                Ok(partition) => {
                    if partition.findings.damaged() == 0 || last.as_ref() == Some(&partition.findings) {
                        return Ok(partition);
                    }
                    last = Some(partition.findings);
                }
                Err(gone @ Failure::Vanished(_)) => failure = Some(gone),
                Err(failure) => return Err(failure),
            }
            self.listing.refresh_parts()?;
        }
        let mut partition = match failure {
            Some(failure) if last.is_none() => return Err(failure),
            _ => self.look_at(number, keep_dead)?,
        };
        let what = "the partition's files changed while they were read; run this again, or on a copy";
        partition.findings.notice(Site::file(self.root()).of(number), what);
        Ok(partition)
    }

    fn look_at(&self, number: u16, keep_dead: bool) -> Result<Partition, Failure> {
        let mut findings = Findings::default();
        let mut files = Vec::new();
        for (path, name) in self.listing.parts.get(&number).into_iter().flatten() {
            let file = PartitionFile::open(path, *name, &mut findings)?;
            files.extend(file.filter(|file| self.is_own(number, file, &mut findings)));
        }
        let mark = self.log.mark(number, self.meta());
        let options = Options { mark, is_whole: self.listing.is_directory(), keep_dead };
        let mut partition = Partition::new(number, files, &self.log, options);
        findings.extend(std::mem::take(&mut partition.findings));
        partition.findings = findings;
        Ok(partition)
    }

    fn is_own(&self, number: u16, file: &PartitionFile, findings: &mut Findings) -> bool {
        let of_cluster = self.meta().is_none_or(|meta| meta.cluster_id == file.identity.cluster_id);
        if !of_cluster {
            let site = Site::at(&file.path, 0).of(number);
            findings.damage(site, "the file is of another cluster; it does not belong here and was left out");
        }
        of_cluster && file.identity.partition == number
    }

    /// Notes that a version's record is not where it was. In a log that is written meanwhile that is no damage: its frame was
    /// whole when the log was read.
    pub fn note_unreadable(
        &self,
        partition: &Partition,
        version: &Version,
        error: &RecordError,
        findings: &mut Findings,
    ) {
        let site = partition.site_of(&self.log, version);
        match version.place {
            Place::Run { .. } => findings.damage(site, error.to_string()),
            Place::Log { .. } => findings.stale(site),
        }
    }

    /// The bytes of a version's record, not yet checked.
    pub fn bytes_of<'a>(&self, partition: &'a Partition, version: &Version) -> Result<Cow<'a, [u8]>, Failure> {
        let bytes = version.bytes as usize;
        match version.place {
            Place::Log { segment, offset } => self.log.read_at(segment, offset, bytes).map(Cow::Owned),
            Place::Run { file, offset, .. } => {
                let start = to_usize(offset);
                Ok(Cow::Borrowed(&partition.files[usize::from(file)].bytes[start..start + bytes]))
            }
        }
    }
}

/// A version's record, if it is sound and the one that it ought to be.
pub fn record_of<'a>(bytes: &'a [u8], partition: u16, version: &Version) -> Result<RecordRef<'a>, RecordError> {
    let record = RecordRef::check(bytes)?;
    // A value that expired may have become a tombstone under the same dot, but not at the same place.
    let is_expected = record.partition() == partition
        && (IndexHash::of(record.hash()), record.dot()) == (version.hash, version.dot)
        && record.kind() == version.kind;
    if is_expected { Ok(record) } else { Err(RecordError::Contents) }
}
