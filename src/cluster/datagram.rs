//! One datagram between control planes: what the failure detectors say to each other, and news of the membership map with it.
//!
//! ```text
//!  0   1  format: 1
//!  1   1  pieces of news
//!  2   2  bytes of the failure detector's part
//!  4   4  zero
//!  8   8  SipHash-2-4 of everything else under the cluster's secret
//! 16   8  digest of the sender's map
//! 24      the failure detector's part
//!         each piece of news: node (6), version (8), digest (8) of its entry
//! ```
//!
//! Numbers have their lowest byte first. The tag keeps other clusters and damage out; it does not hide anything, and a datagram
//! can be sent again by whoever saw it, which does no more than an old datagram that comes late.
//!
//! Invariant: nothing is read of a datagram whose tag is wrong; its parts are exactly as long as it is.

use std::hash::Hasher as _;

use bytemuck::{Pod, Zeroable};
use siphasher::sip::SipHasher24;
use smallvec::SmallVec;

use crate::checked_bytes::{CheckedBytes, write_node};
use crate::ids::NodeId;
use crate::membership::{EntryStamp, MapDigest};

const FORMAT: u8 = 1;
/// Bytes in front of the parts.
pub const HEADER_BYTES: usize = size_of::<Header>();
/// Bytes of a piece of news.
pub const NEWS_BYTES: usize = 6 + 8 + 8;
const TAG: std::ops::Range<usize> = 8..16;

/// As it is sent.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    format: u8,
    news: u8,
    detector_bytes: [u8; 2],
    zero: [u8; 4],
    tag: [u8; 8],
    digest: [u8; 8],
}

/// An entry of the map that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// Whose entry.
    pub node: NodeId,
    /// Which state of it.
    pub stamp: EntryStamp,
}

impl News {
    pub(crate) fn read(bytes: &mut CheckedBytes<'_>) -> Option<Self> {
        let node = bytes.node()?;
        Some(Self { node, stamp: EntryStamp { version: bytes.u64()?, digest: bytes.u64()? } })
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        write_node(self.node, out);
        out.extend_from_slice(&self.stamp.version.to_le_bytes());
        out.extend_from_slice(&self.stamp.digest.to_le_bytes());
    }
}

/// Why a datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    /// Too short for its header.
    #[error("cut")]
    Cut,
    /// The tag is wrong: damaged, of another cluster, or forged.
    #[error("not of this cluster, or damaged")]
    Foreign,
    /// The sender speaks a format that this build does not know.
    #[error("unknown format {0}")]
    Format(u8),
    /// The parts do not fit the lengths, or no encoder writes them.
    #[error("malformed")]
    Malformed,
}

/// What the members of a cluster know each other by: the first signs, each is accepted, so that a secret can be replaced
/// while the cluster runs.
#[derive(Clone)]
pub struct Secrets(SmallVec<[[u8; 16]; 2]>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// At least one, asserted.
    #[must_use]
    pub fn new(secrets: &[[u8; 16]]) -> Self {
        assert!(!secrets.is_empty(), "a cluster has a secret");
        Self(SmallVec::from_slice(secrets))
    }
}

/// A datagram whose tag is right.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Of the sender's map.
    pub digest: MapDigest,
    /// For the failure detector; not checked.
    pub detector: &'a [u8],
    news: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Checks tag and lengths.
    ///
    /// # Errors
    ///
    /// See [`BadDatagram`]; the datagram is to be dropped and counted.
    pub fn open(bytes: &'a [u8], secrets: &Secrets) -> Result<Self, BadDatagram> {
        let (head, parts) = bytes.split_at_checked(HEADER_BYTES).ok_or(BadDatagram::Cut)?;
        let header: Header = bytemuck::pod_read_unaligned(head);
        if header.format != FORMAT {
            return Err(BadDatagram::Format(header.format));
        }
        if !secrets.0.iter().any(|secret| tag(secret, bytes) == header.tag) {
            return Err(BadDatagram::Foreign);
        }
        let detector_bytes = usize::from(u16::from_le_bytes(header.detector_bytes));
        let (detector, news) = parts.split_at_checked(detector_bytes).ok_or(BadDatagram::Malformed)?;
        if news.len() != usize::from(header.news) * NEWS_BYTES || header.zero != [0; 4] {
            return Err(BadDatagram::Malformed);
        }
        let datagram = Self { digest: MapDigest(u64::from_le_bytes(header.digest)), detector, news };
        // Before anybody acts on a part of it.
        let is_whole = datagram.news().count() == usize::from(header.news);
        if is_whole { Ok(datagram) } else { Err(BadDatagram::Malformed) }
    }

    /// The news in it.
    pub fn news(&self) -> impl Iterator<Item = News> + use<'a> {
        let mut bytes = CheckedBytes::new(self.news);
        std::iter::from_fn(move || News::read(&mut bytes))
    }
}

/// Appends a datagram: the failure detector's part, and news as long as `next_news` has any and there is room within `most`
/// bytes.
pub fn write(
    detector: &[u8],
    digest: MapDigest,
    most: usize,
    secrets: &Secrets,
    mut next_news: impl FnMut() -> Option<News>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let detector_bytes = u16::try_from(detector.len()).expect("limits: a part's length has two bytes").to_le_bytes();
    let digest = digest.0.to_le_bytes();
    let mut header = Header { format: FORMAT, news: 0, detector_bytes, zero: [0; 4], tag: [0; 8], digest };
    out.extend_from_slice(bytemuck::bytes_of(&header));
    out.extend_from_slice(detector);
    while header.news < u8::MAX && out.len() - start + NEWS_BYTES <= most {
        let Some(news) = next_news() else { break };
        news.write(out);
        header.news += 1;
    }
    out[start..start + HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
    let tag = tag(&secrets.0[0], &out[start..]);
    out[start..][TAG].copy_from_slice(&tag);
}

/// Of everything but the tag itself.
fn tag(secret: &[u8; 16], bytes: &[u8]) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&bytes[..TAG.start]);
    hasher.write(&bytes[TAG.end..]);
    hasher.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::{BadDatagram, Datagram, HEADER_BYTES, NEWS_BYTES, News, Secrets, write};
    use crate::ids::NodeId;
    use crate::membership::{EntryStamp, MapDigest};

    fn news(number: u64) -> News {
        News { node: NodeId::new(number), stamp: EntryStamp { version: number * 10, digest: !number } }
    }

    fn datagram(most: usize, pieces: u64) -> Vec<u8> {
        let mut pieces = (1..=pieces).map(news);
        let mut out = Vec::new();
        write(b"detector", MapDigest(77), most, &Secrets::new(&[[1; 16]]), || pieces.next(), &mut out);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = datagram(1400, 3);
        assert_eq!(bytes.len(), HEADER_BYTES + 8 + 3 * NEWS_BYTES);
        // The sender's secret is the receiver's older one.
        let open = Datagram::open(&bytes, &Secrets::new(&[[2; 16], [1; 16]])).unwrap();
        assert_eq!((open.digest, open.detector), (MapDigest(77), &b"detector"[..]));
        assert_eq!(open.news().collect::<Vec<_>>(), [news(1), news(2), news(3)]);
    }

    #[test]
    fn news_takes_no_more_than_the_room() {
        let bytes = datagram(HEADER_BYTES + 8 + 2 * NEWS_BYTES + 1, 9);
        let open = Datagram::open(&bytes, &Secrets::new(&[[1; 16]])).unwrap();
        assert_eq!(open.news().count(), 2);
        assert_eq!(Datagram::open(&datagram(9000, 300), &Secrets::new(&[[1; 16]])).unwrap().news().count(), 255);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let secrets = Secrets::new(&[[1; 16]]);
        let bytes = datagram(1400, 2);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Datagram::open(&flipped, &secrets).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Datagram::open(&bytes[..end], &secrets).is_err());
        }
        assert_eq!(Datagram::open(&bytes, &Secrets::new(&[[3; 16]])).unwrap_err(), BadDatagram::Foreign);
        assert_eq!(Datagram::open(&[9; 40], &secrets).unwrap_err(), BadDatagram::Format(9));
    }
}
