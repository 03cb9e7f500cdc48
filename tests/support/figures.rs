//! What a node counts and says of itself: fields of INFO, and the roots of its partitions' hash trees.
//!
//! Invariant: a field that is not there is a failure, never zero.

use super::resp::{Client, Reply};
use std::collections::BTreeMap;

/// One look at INFO's section `annulus`.
#[derive(Clone, Debug)]
pub struct Figures(String);

impl Figures {
    /// Asks for it.
    pub fn of(client: &mut Client) -> Self {
        let reply = client.words("INFO annulus");
        Figures(String::from_utf8_lossy(reply.bytes()).into_owned())
    }

    /// A field that is a number.
    pub fn get(&self, name: &str) -> u64 {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
        self.0.lines().find_map(value).unwrap_or_else(|| panic!("INFO annulus has no number {name}:\n{}", self.0))
    }

    /// What drains and compactions have done so far: as long as it stays the same, none goes on.
    pub fn background(&self) -> [u64; 7] {
        let names =
            ["drains", "compactions", "compactions_failed", "compaction_read_bytes", "compaction_written_bytes"];
        let [drains, compactions, failed, read, written] = names.map(|name| self.get(name));
        [drains, compactions, failed, read, written, self.get("tombstones_reaped"), self.get("segments_recycled")]
    }
}

/// The root of every partition that has one, as hexadecimal digits.
pub type Roots = BTreeMap<u16, String>;

/// Whether it is the root of an empty tree.
pub fn is_empty_root(root: &str) -> bool {
    root.bytes().all(|digit| digit == b'0')
}

/// The roots as a node has them in memory.
pub fn roots(client: &mut Client) -> Roots {
    let reply = client.words("DYN.ADMIN MERKLE");
    let root = |fields: &Reply| {
        let field = |name: &[u8]| {
            let pair = fields.items().chunks(2).find(|pair| pair[0].bytes() == name);
            pair.unwrap_or_else(|| panic!("no {} in {fields}", name.escape_ascii()))[1].clone()
        };
        let partition = u16::try_from(field(b"partition").integer()).expect("a partition's number");
        (partition, String::from_utf8_lossy(field(b"root").bytes()).into_owned())
    };
    reply.items().iter().map(root).filter(|(_, root)| !is_empty_root(root)).collect()
}
