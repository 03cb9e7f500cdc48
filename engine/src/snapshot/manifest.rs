//! The manifest of one core's part of a snapshot: which files belong to it, how long they are at least, and of which use.
//!
//! ```text
//! annulus snapshot 1
//! core 0 of 2, layout 1, partitions 0 to 511, node 00d3c1f0a2b4, cluster 00112233445566778899aabbccddeeff
//! file partitions/p00003-00000001.part 16384 2            path, bytes that count, sequence of the newest run in them
//! segment log-0001/core-00/small-00001.log 4194304 45056 4294967297     path, length, bytes written, sequence
//! crc 89abcdef
//! ```
//!
//! The last line is the CRC-32 of everything before it, so a manifest that was cut off, or of which a part was never written,
//! is told from a whole one. Paths are relative to the snapshot's directory.
//!
//! What it is not: it opens no file and does not look whether those that it names are there.
//!
//! Invariant: a manifest that was accepted says what was written, and names files below its directory only.

use std::fmt::Write;
use std::ops::Range;

const FIRST_LINE: &str = "annulus snapshot ";
/// The format that this build writes, and the newest that it reads.
pub const MANIFEST_FORMAT: u32 = 1;

/// A partition file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// Below the snapshot's directory, and below the data directory.
    pub path: String,
    /// Where its newest run that counts ends; what lies behind is not part of the snapshot.
    pub bytes: u64,
    /// The sequence of that run.
    pub sequence: u64,
}

/// A segment of the log in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSegment {
    /// Below the snapshot's directory, and below the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Where its last durable frame ends; zeros follow.
    pub written: u64,
    /// Which use of the file it is.
    pub sequence: u64,
}

/// One core's part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The core.
    pub core: u16,
    /// Cores of the node.
    pub cores: u16,
    /// Layout of the log.
    pub layout: u32,
    /// The core's partitions.
    pub partitions: Range<u16>,
    /// Id of the node.
    pub node: u64,
    /// Id of the cluster.
    pub cluster_id: [u8; 16],
    /// Its partition files.
    pub files: Vec<ManifestFile>,
    /// The segments of its log.
    pub segments: Vec<ManifestSegment>,
}

/// Why a text is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It does not begin as one does.
    #[error("this is not a manifest of an Annulus snapshot")]
    Foreign,
    /// The last line is missing, or its checksum is of something else.
    #[error("the manifest is damaged or was cut off: its checksum does not match")]
    Damaged,
    /// Written by a newer version.
    #[error("the manifest has format {found}; this version reads up to {MANIFEST_FORMAT}")]
    Newer {
        /// As written.
        found: u32,
    },
    /// A line that no writer writes.
    #[error("line {0} of the manifest makes no sense")]
    Line(usize),
}

/// Name of a core's manifest in the snapshot's directory.
#[must_use]
pub fn manifest_name(core: u16) -> String {
    format!("core-{core:02}.manifest")
}

impl Manifest {
    /// As it is written.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { core, cores, layout, partitions, node, cluster_id, files, segments } = self;
        let cluster = u128::from_be_bytes(*cluster_id);
        let mut text = format!(
            "{FIRST_LINE}{MANIFEST_FORMAT}\ncore {core} of {cores}, layout {layout}, partitions {} to {}, node {node:012x}, cluster {cluster:032x}\n",
            partitions.start,
            partitions.end.saturating_sub(1),
        );
        for ManifestFile { path, bytes, sequence } in files {
            writeln!(text, "file {path} {bytes} {sequence}").expect("writing to a string");
        }
        for ManifestSegment { path, bytes, written, sequence } in segments {
            writeln!(text, "segment {path} {bytes} {written} {sequence}").expect("writing to a string");
        }
        let crc = crc32fast::hash(text.as_bytes());
        writeln!(text, "crc {crc:08x}").expect("writing to a string");
        text
    }

    /// Reads and checks one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Damaged)?;
        let format = text.strip_prefix(FIRST_LINE).ok_or(ManifestError::Foreign)?;
        let body = text.strip_suffix('\n').and_then(|text| text.rfind('\n')).ok_or(ManifestError::Damaged)? + 1;
        let (body, last) = text.split_at(body);
        let crc = last.strip_prefix("crc ").and_then(|crc| u32::from_str_radix(crc.trim_end(), 16).ok());
        if crc != Some(crc32fast::hash(body.as_bytes())) {
            return Err(ManifestError::Damaged);
        }
        let found = format.lines().next().and_then(|format| format.parse().ok()).ok_or(ManifestError::Foreign)?;
        if found > MANIFEST_FORMAT {
            return Err(ManifestError::Newer { found });
        }
        let mut lines = body.lines().enumerate().skip(1);
        let (_, identity) = lines.next().ok_or(ManifestError::Line(2))?;
        let mut manifest = parse_identity(identity).ok_or(ManifestError::Line(2))?;
        for (number, line) in lines {
            manifest.take_line(line).ok_or(ManifestError::Line(number + 1))?;
        }
        Ok(manifest)
    }

    fn take_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["file", path, bytes, sequence] => {
                let (bytes, sequence) = (bytes.parse().ok()?, sequence.parse().ok()?);
                self.files.push(ManifestFile { path: below(path)?, bytes, sequence });
            }
            ["segment", path, bytes, written, sequence] => {
                let (bytes, written, sequence) = (bytes.parse().ok()?, written.parse().ok()?, sequence.parse().ok()?);
                (written <= bytes).then_some(())?;
                self.segments.push(ManifestSegment { path: below(path)?, bytes, written, sequence });
            }
            _ => return None,
        }
        Some(())
    }
}

fn parse_identity(line: &str) -> Option<Manifest> {
    let words: Vec<&str> = line.split(' ').map(|word| word.trim_end_matches(',')).collect();
    let [
        "core",
        core,
        "of",
        cores,
        "layout",
        layout,
        "partitions",
        first,
        "to",
        last,
        "node",
        node,
        "cluster",
        cluster,
    ] = words[..]
    else {
        return None;
    };
    let end = last.parse::<u16>().ok()?.checked_add(1)?;
    Some(Manifest {
        core: core.parse().ok()?,
        cores: cores.parse().ok()?,
        layout: layout.parse().ok()?,
        partitions: first.parse().ok()?..end,
        node: u64::from_str_radix(node, 16).ok()?,
        cluster_id: u128::from_str_radix(cluster, 16).ok()?.to_be_bytes(),
        files: Vec::new(),
        segments: Vec::new(),
    })
}

/// A path that leads nowhere else.
fn below(path: &str) -> Option<String> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(is_plain).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            core: 1,
            cores: 2,
            layout: 3,
            partitions: 512..1024,
            node: 0xd3c1,
            cluster_id: [7; 16],
            files: vec![ManifestFile { path: "partitions/p00700-00000001.part".into(), bytes: 16384, sequence: 4 }],
            segments: vec![ManifestSegment {
                path: "log-0003/core-01/small-00001.log".into(),
                bytes: 1 << 22,
                written: 8192,
                sequence: 1 << 32,
            }],
        }
    }

    #[test]
    fn a_manifest_round_trips() {
        let text = manifest().encode();
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest()));
    }

    #[test]
    fn a_cut_or_changed_one_is_damaged() {
        let text = manifest().encode();
        for end in FIRST_LINE.len()..text.len() {
            assert_eq!(Manifest::parse(&text.as_bytes()[..end]), Err(ManifestError::Damaged), "cut at {end}");
        }
        assert_eq!(Manifest::parse(b""), Err(ManifestError::Foreign));
        let changed = text.replace("16384", "16385");
        assert_eq!(Manifest::parse(changed.as_bytes()), Err(ManifestError::Damaged));
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let with = |path: &str| {
            let mut manifest = manifest();
            manifest.files[0].path = path.to_owned();
            Manifest::parse(manifest.encode().as_bytes())
        };
        for path in ["/etc/passwd", "../x", "partitions/../../x", "a//b", "a b"] {
            assert_eq!(with(path), Err(ManifestError::Line(3)), "{path}");
        }
        let newer = manifest().encode().replacen("snapshot 1", "snapshot 2", 1);
        let (body, _) = newer.split_at(newer.rfind("crc ").unwrap());
        let newer = format!("{body}crc {:08x}\n", crc32fast::hash(body.as_bytes()));
        assert_eq!(Manifest::parse(newer.as_bytes()), Err(ManifestError::Newer { found: 2 }));
    }
}
