//! A walk over bytes that nobody has vouched for: every step says whether there was enough.
//!
//! Invariant: never reads beyond the end; what a step takes is gone from the rest.

use crate::ids::NodeId;

/// What has not been read yet.
#[derive(Debug, Clone, Copy)]
pub struct CheckedBytes<'a> {
    rest: &'a [u8],
}

impl<'a> CheckedBytes<'a> {
    /// Begins at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, the lowest first.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, the lowest first.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, the lowest first.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Sixteen bytes as they are.
    pub fn octets(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    /// A node's number in six bytes; 0 is none.
    pub fn node(&mut self) -> Option<NodeId> {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(self.take(6)?);
        NodeId::checked(u64::from_le_bytes(bytes))
    }
}

/// Appends a node's number as [`CheckedBytes::node`] reads it.
pub fn write_node(node: NodeId, out: &mut Vec<u8>) {
    out.extend_from_slice(&node.raw().to_le_bytes()[..6]);
}

#[cfg(test)]
mod tests {
    use super::{CheckedBytes, write_node};
    use crate::ids::NodeId;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut bytes = vec![1, 2, 0, 3, 0, 0, 0];
        write_node(NodeId::new(0xffff_ffff_fffe), &mut bytes);
        let mut reader = CheckedBytes::new(&bytes);
        assert_eq!((reader.u8(), reader.u16(), reader.u32()), (Some(1), Some(2), Some(3)));
        assert_eq!(reader.u64(), None);
        assert_eq!(reader.node(), Some(NodeId::new(0xffff_ffff_fffe)));
        assert_eq!((reader.u8(), reader.take(0), reader.rest()), (None, Some(&[][..]), &[][..]));
        assert_eq!(CheckedBytes::new(&[0; 6]).node(), None);
    }
}
