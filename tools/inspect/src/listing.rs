//! Which files there are: of a data directory, of a directory of partition files, or a single one.
//!
//! What it is not: it opens none of them, except a single one, to see what it is.
//!
//! Invariant: names alone decide in a directory, contents alone for a single file, which may have been copied under any name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use annulus::node_meta::{self, MetaError, NodeMeta};
use annulus_engine::sealed_run::{PartitionFileHeader, RUN_BLOCK_BYTES, RunError};
use annulus_engine::segment::{SegmentError, SegmentHeader};

use crate::failure::Failure;
use crate::finding::{Findings, Site};
use crate::partition_file::PartitionFile;
use crate::source::Source;

/// Directory of partition files in a data directory.
pub const PARTITIONS: &str = "partitions";

/// What a partition file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartName {
    /// Its partition.
    pub partition: u16,
    /// Its number in the partition.
    pub number: u64,
}

impl PartName {
    /// `pPPPPP-NNNNNNNN.part`
    pub fn parse(name: &str) -> Option<Self> {
        let (partition, number) = name.strip_prefix('p')?.strip_suffix(".part")?.split_once('-')?;
        let is_number = |text: &str, digits| text.len() >= digits && text.bytes().all(|byte| byte.is_ascii_digit());
        let are_numbers = is_number(partition, 5) && is_number(number, 8);
        let name = Self { partition: partition.parse().ok()?, number: number.parse().ok()? };
        are_numbers.then_some(name)
    }
}

impl std::fmt::Display for PartName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "p{:05}-{:08}.part", self.partition, self.number)
    }
}

/// A segment as its path tells of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// Which core's; `None` for a single file.
    pub core: Option<u16>,
    /// Where it is.
    pub path: PathBuf,
}

/// A partition's files; a single file has no name that says anything.
pub type PartFiles = Vec<(PathBuf, Option<PartName>)>;

/// What there is.
#[derive(Debug, Default)]
pub struct Listing {
    /// What was given.
    pub root: PathBuf,
    /// Who the node is, when the directory says so.
    pub meta: Option<NodeMeta>,
    /// The layout whose log counts.
    pub layout: Option<u32>,
    /// The files of every partition, in the order of their numbers.
    pub parts: BTreeMap<u16, PartFiles>,
    /// The segments of that layout.
    pub logs: Vec<LogFile>,
    /// Where the partition files are; `None` for a single file.
    parts_directory: Option<PathBuf>,
}

impl Listing {
    /// Looks at `root`.
    pub fn read(root: &Path, findings: &mut Findings) -> Result<Self, Failure> {
        let metadata = fs::metadata(root).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::Usage(format!("{} does not exist", root.display())),
            _ => Failure::io("open", root, error),
        })?;
        if !metadata.is_dir() {
            return Self::of_file(root);
        }
        let own = root.join(PARTITIONS);
        let parts = if own.is_dir() { own } else { root.to_owned() };
        let mut listing = Self { root: root.to_owned(), parts_directory: Some(parts.clone()), ..Self::default() };
        listing.meta = read_meta(root, findings)?;
        listing.list_parts(&parts, findings)?;
        listing.list_logs(findings)?;
        if listing.meta.is_none() && listing.parts.is_empty() && listing.logs.is_empty() {
            let what = "a directory without node.meta, partition files and logs: no data directory";
            return Err(Failure::Foreign { path: root.to_owned(), what });
        }
        Ok(listing)
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        let mut listing = Self { root: path.to_owned(), ..Self::default() };
        let block = Source::open(path)?.read(0, RUN_BLOCK_BYTES)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.file_name().is_some_and(|name| name == node_meta::FILE_NAME) {
            let what = "a node's identity without its data: name the directory that it is in";
            return Err(Failure::Foreign { path: path.to_owned(), what });
        }
        let is_part =
            !matches!(PartitionFileHeader::decode(&block), Err(RunError::Foreign | RunError::Truncated { .. }));
        let is_segment = match SegmentHeader::decode(&block) {
            Ok(_) | Err(SegmentError::Newer { .. }) => true,
            // Of another kind of file whose mark is damaged, the checksum may still be right.
            Err(SegmentError::Damaged) => extension != Some("part"),
            Err(SegmentError::Foreign | SegmentError::Truncated { .. } | SegmentError::Empty) => {
                extension == Some("log")
            }
        };
        if is_segment && !is_part {
            listing.logs.push(LogFile { core: None, path: path.to_owned() });
            return Ok(listing);
        }
        let file = PartitionFile::open(path, None, &mut Findings::default())?;
        let partition = file.expect("without a name the file is refused rather than passed over").identity.partition;
        listing.parts.insert(partition, vec![(path.to_owned(), None)]);
        Ok(listing)
    }

    /// The partition files in a directory.
    fn list_parts(&mut self, directory: &Path, findings: &mut Findings) -> Result<(), Failure> {
        self.parts.clear();
        for name in names(directory)? {
            let path = directory.join(&name);
            match PartName::parse(&name) {
                Some(part) => self.parts.entry(part.partition).or_default().push((path, Some(part))),
                None if directory.ends_with(PARTITIONS) || name.ends_with(".part") => {
                    findings.notice(Site::file(&path), "not a partition file's name; the file is left out");
                }
                None => {}
            }
        }
        for files in self.parts.values_mut() {
            files.sort_by_key(|(_, name)| name.map(|name| name.number));
        }
        Ok(())
    }

    /// Lists the partition files again, as a live node makes and removes them.
    pub fn refresh_parts(&mut self) -> Result<(), Failure> {
        let directory = self.parts_directory.clone();
        directory.map_or(Ok(()), |directory| self.list_parts(&directory, &mut Findings::default()))
    }

    /// Whether all files of a node may be here, rather than a single one.
    pub fn is_directory(&self) -> bool {
        self.parts_directory.is_some()
    }

    fn list_logs(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        let number = |name: &str, prefix: &str| name.strip_prefix(prefix).and_then(|number| number.parse::<u32>().ok());
        let root = self.root.clone();
        let mut layouts: Vec<(u32, PathBuf)> = Vec::new();
        for name in names(&root)? {
            layouts.extend(number(&name, "log-").map(|layout| (layout, root.join(&name))));
        }
        let newest = layouts.iter().map(|(layout, _)| *layout).max();
        self.layout = self.meta.as_ref().map(|meta| meta.layout).or(newest);
        for (layout, directory) in layouts {
            if Some(layout) != self.layout {
                findings.notice(
                    Site::file(&directory),
                    "a log of another layout, which does not count: data was being moved",
                );
                continue;
            }
            for name in names(&directory)? {
                let core = number(&name, "core-").and_then(|core| u16::try_from(core).ok());
                let Some(core) = core else { continue };
                let directory = directory.join(&name);
                let segments = names(&directory)?.into_iter().filter(|name| name.ends_with(".log"));
                self.logs.extend(segments.map(|name| LogFile { core: Some(core), path: directory.join(name) }));
            }
        }
        self.logs.sort();
        Ok(())
    }
}

/// What `node.meta` says; a copy without it can be read all the same.
fn read_meta(root: &Path, findings: &mut Findings) -> Result<Option<NodeMeta>, Failure> {
    match node_meta::read(root) {
        Ok(meta) => Ok(meta),
        Err(MetaError::Missing(_)) => {
            let what =
                "no node.meta is here: keys are found by looking at all of them, and marks delete from the log only";
            findings.notice(Site::file(root), what);
            Ok(None)
        }
        Err(error @ (MetaError::WrongSize { .. } | MetaError::Damaged { .. } | MetaError::Foreign)) => {
            findings.damage(Site::file(&root.join(node_meta::FILE_NAME)), error.to_string());
            Ok(None)
        }
        Err(MetaError::NewerFormat { found }) => {
            let path = root.join(node_meta::FILE_NAME);
            Err(Failure::Newer { path, found, supported: node_meta::FORMAT_VERSION })
        }
        Err(error) => Err(Failure::Meta { path: root.to_owned(), error }),
    }
}

/// The names in a directory that are text, sorted.
fn names(directory: &Path) -> Result<Vec<String>, Failure> {
    let list = || -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    };
    list().map_err(|error| Failure::io("list", directory, error))
}
