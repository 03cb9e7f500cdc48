//! One read of the scrub, in the background.
//!
//! It judges nothing. What the disk cannot give comes as zeros, which no checksum accepts where something was written.
//!
//! Invariant: what is given has the length that was asked for.

use crate::buffer::AlignedBuffer;
use crate::disk::{DiskError, File};
use crate::frame::BLOCK_BYTES;

/// What to read: whole blocks.
pub(crate) struct Fetch<F> {
    pub(super) file: F,
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

/// What came.
pub(crate) struct Fetched {
    pub(super) bytes: AlignedBuffer,
    /// Nothing at all could be read: that says more of the disk than of the bytes.
    pub(super) error: Option<DiskError>,
}

impl<F: File> Fetch<F> {
    /// Reads; where that fails, block by block, because a disk that has lost a sector refuses all that was asked for with it.
    pub(crate) async fn run(self) -> Fetched {
        let Self { file, offset, bytes } = self;
        let mut error = None;
        let mut out = match file.read_at(offset, bytes).await {
            Ok(out) => out,
            Err(first) => {
                let mut out = AlignedBuffer::default();
                let mut any = false;
                for at in (0..bytes).step_by(BLOCK_BYTES) {
                    let block = file.read_at(offset + at as u64, BLOCK_BYTES).await;
                    any |= block.is_ok();
                    out.extend_from_slice(block.unwrap_or_default().as_slice());
                    out.resize_zeroed(at + BLOCK_BYTES);
                }
                error = (!any).then_some(first);
                out
            }
        };
        // A file may have been cut.
        out.resize_zeroed(bytes);
        Fetched { bytes: out, error }
    }
}
