//! `members`: the membership map as this node knew it last, beside `node.meta`.
//!
//! ```text
//! offset  bytes  (little endian)
//!      0      8  magic "ANNLMAP\0"
//!      8      4  CRC-32 of everything after this field
//!     12      4  format version: 1
//!     16      8  bytes of the map
//!     24         the map, see `annulus_cluster::membership`
//! ```
//!
//! It is replaced as a whole: written beside, synced, renamed, and the directory synced. It holds nothing that other nodes do not
//! have too: without it, or where it is damaged, a node asks its seeds.
//!
//! Invariant: after a crash at any moment the file is what was written last or before, never a part of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use annulus_cluster::membership::{MapError, Membership, UnverifiedMembership};
use bytemuck::{Pod, Zeroable};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "members";
const BESIDE_NAME: &str = "members.new";
const MAGIC: [u8; 8] = *b"ANNLMAP\0";
const FORMAT_VERSION: u32 = 1;
/// A map has at most 3 MiB.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// The CRC covers what comes after it.
const CRC_END: usize = 12;

/// In front of the map.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    crc: u32,
    version: u32,
    map_bytes: u64,
}

const HEADER_BYTES: usize = size_of::<Header>();

/// Why the file is no map.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The file system failed.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is cut, its checksum is wrong, or it is somebody else's.
    #[error("{path} is damaged", path = .0.display())]
    Damaged(PathBuf),
    /// A later version of this program wrote it.
    #[error("{path} has format {found}, this version knows up to {FORMAT_VERSION}; use the newer version", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Whole, and no map.
    #[error("{path} holds no map: {error}", path = path.display())]
    NoMap {
        /// The file.
        path: PathBuf,
        /// What is wrong first.
        error: MapError,
    },
}

/// The map in `directory`; `None` where none was stored.
pub fn read(directory: &Path) -> Result<Option<Membership>, MembersError> {
    let path = directory.join(FILE_NAME);
    let io = |error| MembersError::Io { path: path.clone(), error };
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    let damaged = || MembersError::Damaged(path.clone());
    let (head, map) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
    let header: Header = bytemuck::pod_read_unaligned(head);
    if header.magic != MAGIC || header.crc != crc32fast::hash(&bytes[CRC_END..]) {
        return Err(damaged());
    }
    if header.version != FORMAT_VERSION {
        return Err(MembersError::Newer { path, found: header.version });
    }
    if header.map_bytes != map.len() as u64 {
        return Err(damaged());
    }
    UnverifiedMembership::new(map).check().map(Some).map_err(|error| MembersError::NoMap { path, error })
}

/// Replaces the map in `directory`; it is on stable storage when this returns. After an error the file is the one before.
pub fn write(directory: &Path, map: &Membership) -> io::Result<()> {
    let mut bytes = vec![0; HEADER_BYTES];
    map.encode(&mut bytes);
    let map_bytes = (bytes.len() - HEADER_BYTES) as u64;
    let mut header = Header { magic: MAGIC, crc: 0, version: FORMAT_VERSION, map_bytes };
    bytes[..HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
    header.crc = crc32fast::hash(&bytes[CRC_END..]);
    bytes[..HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
    let beside = directory.join(BESIDE_NAME);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&beside, directory.join(FILE_NAME))?;
    File::open(directory)?.sync_all()
}

/// Takes a file that cannot be used out of the way, and keeps it for whoever wants to look at it.
pub fn set_aside(directory: &Path) -> io::Result<()> {
    fs::rename(directory.join(FILE_NAME), directory.join("members.damaged"))
}

#[cfg(test)]
mod tests {
    use annulus_cluster::ids::NodeId;
    use annulus_cluster::membership::Role;
    use annulus_object::Clock;

    use super::*;

    fn map(nodes: u64) -> Membership {
        let mut map = Membership::default();
        for number in 1..=nodes {
            let clock = Clock::from_raw(number).unwrap();
            map.set_role(NodeId::new(number), clock, NodeId::new(1), Role::Active).unwrap();
        }
        map
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(directory.path()).unwrap().is_none());
        for nodes in [0, 3, 1] {
            write(directory.path(), &map(nodes)).unwrap();
            assert_eq!(read(directory.path()).unwrap(), Some(map(nodes)));
        }
        // An interrupted replacement changes nothing, and the next one does not trip over it.
        fs::write(directory.path().join(BESIDE_NAME), b"half").unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(map(1)));
        write(directory.path(), &map(2)).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(map(2)));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        write(directory.path(), &map(2)).unwrap();
        let good = fs::read(&path).unwrap();
        for byte in 0..good.len() {
            let mut bytes = good.clone();
            bytes[byte] ^= 1 << (byte % 8);
            fs::write(&path, bytes).unwrap();
            assert!(read(directory.path()).is_err(), "byte {byte}");
            fs::write(&path, &good[..byte]).unwrap();
            assert!(read(directory.path()).is_err(), "cut at {byte}");
        }
        set_aside(directory.path()).unwrap();
        assert!(read(directory.path()).unwrap().is_none());
    }

    #[test]
    fn whole_files_that_are_no_map_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let written = |version: u32, map: &[u8]| {
            let header = Header { magic: MAGIC, crc: 0, version, map_bytes: map.len() as u64 };
            let mut bytes = [bytemuck::bytes_of(&header), map].concat();
            let crc = crc32fast::hash(&bytes[CRC_END..]);
            bytes[8..CRC_END].copy_from_slice(&crc.to_le_bytes());
            fs::write(&path, bytes).unwrap();
            read(directory.path()).unwrap_err().to_string()
        };
        assert!(written(2, b"").contains("format 2, this version knows up to 1"));
        assert!(written(1, b"").contains("holds no map"));
        assert!(written(1, &[7; 40]).contains("holds no map: unknown format 7"));
    }
}
