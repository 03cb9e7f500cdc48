//! What the nodes of a cluster know and nobody else: one secret, or two while the first replaces the second.
//!
//! The secret itself is used for nothing: every purpose has a key of its own, derived by BLAKE3, so that no use of one tells
//! anything about another. What is signed is signed with the first; both are accepted.
//!
//! Replacing it: write the new secret above the old one on every node and restart them one after the other, then remove the
//! old one everywhere the same way.
//!
//! Invariant: no debug form and no error shows a secret, or anything derived from one.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use annulus_cluster::datagram;

/// Least bytes of a secret.
const SECRET_BYTES_MIN: usize = 16;
/// Most bytes of a file with secrets.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;

const GOSSIP: &str = "annulus 2026 cluster secret: tag of datagrams";
const HANDSHAKE: &str = "annulus 2026 cluster secret: proof in handshakes";
const CLUSTER_ID: &str = "annulus 2026 founding: cluster id";
const HASH_KEY: &str = "annulus 2026 founding: hash key";
const NAME: &str = "annulus 2026 cluster name";

/// Why a file holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error(
        "secret-file: {path} cannot be read: {error}. It holds the cluster's secret, the same on every node",
        path = path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no text, or too large.
    #[error("secret-file: {path} is no text of one or two lines", path = .0.display())]
    NoText(PathBuf),
    /// One line or two are wanted.
    #[error(
        "secret-file: {path} has {lines} lines; it holds one secret, or two while the first replaces the second",
        path = path.display()
    )]
    Lines {
        /// The file.
        path: PathBuf,
        /// Lines that are not empty.
        lines: usize,
    },
    /// Somebody could guess it.
    #[error(
        "secret-file: line {line} of {path} has {bytes} bytes, a secret has at least {SECRET_BYTES_MIN}: `openssl rand -hex 32` \
         makes one",
        path = path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Its bytes.
        bytes: usize,
    },
}

/// See the module. At least one secret, at most two.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecrets {
    gossip: Vec<[u8; 16]>,
    handshake: Vec<[u8; 32]>,
    founding: Founding,
    is_readable_by_others: bool,
}

/// What a cluster begins with when several nodes found it: the same for all that know its name and first secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Founding {
    /// The cluster's id.
    pub cluster_id: [u8; 16],
    /// Key of the keyed hash over keys.
    pub hash_key: [u8; 16],
}

impl ClusterSecrets {
    /// Reads the file of the cluster with that name.
    pub fn read(path: &Path, cluster: &str) -> Result<Self, SecretError> {
        let unreadable = |error| SecretError::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let is_short = u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
        let text = String::from_utf8(bytes).ok().filter(|_| is_short);
        let secrets = Self::parse(path, &text.ok_or_else(|| SecretError::NoText(path.to_owned()))?, cluster)?;
        Ok(Self { is_readable_by_others: mode & OTHERS != 0, ..secrets })
    }

    fn parse(path: &Path, text: &str, cluster: &str) -> Result<Self, SecretError> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        let lines: Vec<(usize, &str)> = lines.collect();
        if lines.is_empty() || lines.len() > 2 {
            return Err(SecretError::Lines { path: path.to_owned(), lines: lines.len() });
        }
        if let Some((at, line)) = lines.iter().find(|(_, line)| line.len() < SECRET_BYTES_MIN) {
            return Err(SecretError::Short { path: path.to_owned(), line: at + 1, bytes: line.len() });
        }
        let secrets: Vec<&[u8]> = lines.iter().map(|(_, line)| line.as_bytes()).collect();
        Ok(Self::new(&secrets, cluster))
    }

    /// One secret or two, asserted, of the cluster with that name.
    pub fn new(secrets: &[&[u8]], cluster: &str) -> Self {
        assert!((1..=2).contains(&secrets.len()), "a cluster has one secret, or two");
        // Its length keeps name and secret apart.
        let named = |secret: &[u8]| {
            let length = u8::try_from(cluster.len()).expect("a cluster's name is short");
            [&[length][..], cluster.as_bytes(), secret].concat()
        };
        let first = named(secrets[0]);
        Self {
            gossip: secrets.iter().map(|secret| half(blake3::derive_key(GOSSIP, &named(secret)))).collect(),
            handshake: secrets.iter().map(|secret| blake3::derive_key(HANDSHAKE, secret)).collect(),
            founding: Founding {
                cluster_id: half(blake3::derive_key(CLUSTER_ID, &first)),
                hash_key: half(blake3::derive_key(HASH_KEY, &first)),
            },
            is_readable_by_others: false,
        }
    }

    /// Whether other users of the machine can read the file.
    pub fn is_readable_by_others(&self) -> bool {
        self.is_readable_by_others
    }

    /// For datagrams: those of a cluster with another name are foreign.
    pub fn gossip(&self) -> datagram::Secrets {
        datagram::Secrets::new(&self.gossip)
    }

    /// For handshakes: the first proves, each is accepted.
    pub fn handshake(&self) -> &[[u8; 32]] {
        &self.handshake
    }

    /// For nodes that found the cluster together.
    pub fn founding(&self) -> Founding {
        self.founding
    }
}

impl fmt::Debug for ClusterSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.handshake.len() == 1 { "one secret" } else { "two secrets" })
    }
}

impl fmt::Debug for Founding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "founding of cluster {:032x}", u128::from_be_bytes(self.cluster_id))
    }
}

/// What nodes of other clusters are told apart by, and a data directory from another cluster's. Never all zero.
pub fn name_hash(cluster: &str) -> [u8; 8] {
    let hash = blake3::derive_key(NAME, cluster.as_bytes());
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    // Zero stands for no cluster.
    short[0] = short[0].max(1);
    short
}

fn half(key: [u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&key[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "0123456789abcdef";
    const SECOND: &str = "fedcba9876543210";

    fn parse(text: &str, cluster: &str) -> Result<ClusterSecrets, SecretError> {
        ClusterSecrets::parse(Path::new("f"), text, cluster)
    }

    #[test]
    fn every_purpose_has_its_own_key() {
        let secrets = parse(&format!("\n  {FIRST} \n{SECOND}\n"), "c").unwrap();
        assert_eq!((secrets.handshake().len(), secrets.gossip.len()), (2, 2));
        let Founding { cluster_id, hash_key } = secrets.founding();
        let shorts = [cluster_id, hash_key, secrets.gossip[0], secrets.gossip[1], half(secrets.handshake()[0])];
        for (at, short) in shorts.iter().enumerate() {
            assert!(!shorts[at + 1..].contains(short), "{at}");
        }
    }

    #[test]
    fn name_and_secret_decide_what_is_founded() {
        let founding = |text: &str, cluster: &str| parse(text, cluster).unwrap().founding();
        assert!(founding(FIRST, "c") == founding(&format!("{FIRST}\n{SECOND}"), "c"), "the first one counts");
        assert!(founding(FIRST, "c") != founding(SECOND, "c"));
        assert!(founding(FIRST, "c") != founding(FIRST, "d"));
        let moved = parse(&format!("d{FIRST}"), "c").unwrap();
        assert!(moved.gossip != parse(FIRST, "cd").unwrap().gossip, "name and secret do not run into each other");
        assert!(name_hash("c") != name_hash("d") && name_hash("") != [0; 8]);
    }

    #[test]
    fn a_replacement_is_accepted_by_both() {
        let (old, both) = (parse(FIRST, "c").unwrap(), parse(&format!("{SECOND}\n{FIRST}"), "c").unwrap());
        assert_eq!((old.gossip[0], old.handshake()[0]), (both.gossip[1], both.handshake()[1]));
    }

    #[test]
    fn what_is_no_secret_is_named() {
        let refused = |text: &str| parse(text, "c").unwrap_err().to_string();
        assert!(refused("").contains("f has 0 lines"), "{}", refused(""));
        assert!(refused(&format!("{FIRST}\n{FIRST}\n{FIRST}")).contains("has 3 lines"));
        let short = refused(&format!("{FIRST}\n\n short "));
        assert!(short.contains("line 3 of f has 5 bytes") && !short.contains("short "), "{short}");
        let gone = ClusterSecrets::read(Path::new("/nonexistent/secret"), "c").unwrap_err().to_string();
        assert!(gone.contains("/nonexistent/secret cannot be read"), "{gone}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xff; 20]).unwrap();
        assert!(matches!(ClusterSecrets::read(file.path(), "c"), Err(SecretError::NoText(_))));
        std::fs::write(file.path(), FIRST).unwrap();
        for (mode, is_open) in [(0o600, false), (0o640, true), (0o604, true), (0o400, false)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(ClusterSecrets::read(file.path(), "c").unwrap().is_readable_by_others(), is_open, "{mode:o}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secrets = parse(FIRST, "c").unwrap();
        assert_eq!(format!("{secrets:?}"), "one secret");
        assert!(!format!("{:?}", secrets.founding()).contains("hash"));
    }
}
