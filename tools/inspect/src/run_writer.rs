//! Writes new partition files: the one part of the tool that writes, and only files that it makes.
//!
//! Invariant: files have one run each, numbered from 1 as their runs are, and stay within what places can name.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use annulus_engine::index::Place;
use annulus_engine::sealed_run::{FooterBuilder, PartitionFileHeader, RUN_BLOCK_BYTES, RunFields, encode_ending};
use annulus_engine::{AlignedBuffer, RecordRef};

use crate::failure::Failure;
use crate::listing::PartName;

const BLOCK: u64 = RUN_BLOCK_BYTES as u64;
/// Records of a file; the longest one, and a footer, still lie where places reach.
const RECORDS_BYTES_MAX: u64 = 128 << 20;

const _: () = assert!(RECORDS_BYTES_MAX < Place::FILE_BYTES_MAX / 2 + 1);

/// Whose the files are.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Id of the cluster.
    pub cluster_id: [u8; 16],
    /// Id of the node.
    pub node: u64,
    /// The partition.
    pub partition: u16,
}

/// A partition's files while they are written.
pub struct RunWriter {
    directory: PathBuf,
    owner: Owner,
    records_bytes_max: u64,
    number: u64,
    open: Option<OpenRun>,
}

struct OpenRun {
    path: PathBuf,
    file: BufWriter<File>,
    header: PartitionFileHeader,
    footer: FooterBuilder,
    records_bytes: u64,
    /// What the records take of their last block.
    tail: Vec<u8>,
}

impl RunWriter {
    /// Writes into a directory that has no files of the partition yet.
    pub fn new(directory: &Path, owner: Owner) -> Self {
        let records_bytes_max = RECORDS_BYTES_MAX;
        Self { directory: directory.to_owned(), owner, records_bytes_max, number: 0, open: None }
    }

    /// Appends a record of the partition.
    pub fn write(&mut self, record: &RecordRef<'_>) -> Result<(), Failure> {
        if self.open.as_ref().is_some_and(|open| open.records_bytes >= self.records_bytes_max) {
            self.seal()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.number += 1;
                self.open.insert(OpenRun::new(&self.directory, self.owner, self.number)?)
            }
        };
        open.write(record)
    }

    /// Ends the last file.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.seal()
    }

    fn seal(&mut self) -> Result<(), Failure> {
        self.open.take().map_or(Ok(()), OpenRun::seal)
    }
}

impl OpenRun {
    fn new(directory: &Path, owner: Owner, number: u64) -> Result<Self, Failure> {
        let Owner { cluster_id, node, partition } = owner;
        let header = PartitionFileHeader { cluster_id, node, number, partition };
        let path = directory.join(PartName { partition, number }.to_string());
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = BufWriter::new(file.map_err(|error| Failure::io("make", &path, error))?);
        let mut block = vec![0; RUN_BLOCK_BYTES];
        header.encode(&mut block);
        file.write_all(&block).map_err(|error| Failure::io("write", &path, error))?;
        Ok(Self { path, file, header, footer: FooterBuilder::new(0), records_bytes: 0, tail: Vec::new() })
    }

    fn write(&mut self, record: &RecordRef<'_>) -> Result<(), Failure> {
        self.footer.note(record, BLOCK + self.records_bytes);
        self.records_bytes += record.total_bytes() as u64;
        self.tail.extend_from_slice(record.bytes());
        self.tail.drain(..self.tail.len() - self.tail.len() % RUN_BLOCK_BYTES);
        self.file.write_all(record.bytes()).map_err(|error| Failure::io("write", &self.path, error))
    }

    fn seal(mut self) -> Result<(), Failure> {
        let fields = RunFields {
            file: self.header,
            drained: None,
            run_start: BLOCK,
            records_bytes: self.records_bytes,
            sequence: self.header.number,
            replaces_below: 0,
        };
        // What the records take of their last block is in the buffer for the checksum's sake, and written already.
        let mut ending = AlignedBuffer::default();
        ending.extend_from_slice(&self.tail);
        encode_ending(&fields, &mut self.footer, &mut ending);
        let mut write = || {
            self.file.write_all(&ending.as_slice()[self.tail.len()..])?;
            self.file.flush()?;
            self.file.get_ref().sync_all()
        };
        write().map_err(|error| Failure::io("write", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use annulus_engine::record::{Kind, RecordFields, encode, encoded_bytes};
    use annulus_object::{Actor, Clock, Dot};

    use super::*;
    use crate::finding::Findings;
    use crate::log::Log;
    use crate::partition_file::PartitionFile;
    use crate::state::{Options, Partition};

    #[test]
    fn a_long_partition_gets_several_files() {
        let directory = tempfile::TempDir::new().unwrap();
        let owner = Owner { cluster_id: [7; 16], node: 9, partition: 3 };
        let mut writer = RunWriter { records_bytes_max: 1000, ..RunWriter::new(directory.path(), owner) };
        for n in 0..50_u32 {
            let fields = RecordFields {
                dot: Dot::new(Clock::from_unix_ms(1_800_000_000_000, 0), Actor::new(1, 1)),
                hash: u128::from(n) << 96,
                partition: 3,
                partition_incarnation: 0,
                kind: Kind::Value,
                floor: Clock::ZERO,
                expires_at_ms: 0,
                context: &[],
                value_dot: None,
                key: b"key",
                value: b"value",
            };
            let mut bytes = vec![0; encoded_bytes(&fields)];
            encode(&fields, &mut bytes);
            writer.write(&RecordRef::check(&bytes).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let mut findings = Findings::default();
        let mut files = Vec::new();
        for number in 1..=4 {
            let name = PartName { partition: 3, number };
            let path = directory.path().join(name.to_string());
            files.extend(PartitionFile::open(&path, Some(name), &mut findings).unwrap());
        }
        let options = Options { is_whole: true, ..Options::default() };
        let partition = Partition::new(3, files, &Log::default(), options);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
        assert_eq!((partition.current.len(), partition.runs().count()), (50, 4));
        assert_eq!((partition.findings, findings), (Findings::default(), Findings::default()));
    }
}
