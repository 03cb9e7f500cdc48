//! What follows a run's records: the footer, and the trailer that says where everything is.
//!
//! What it is not: it writes no file; whoever has written the records appends this behind them.
//!
//! Invariant: the trailer's lengths are those of what was encoded.

use super::{FooterBuilder, PartitionFileHeader, RUN_BLOCK_BYTES, Replayed, TRAILER_BYTES, Trailer};
use crate::buffer::AlignedBuffer;

/// What the writer of a run decides; see [`Trailer`] for the meaning of each. The rest follows from the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFields {
    /// Whose file it is in.
    pub file: PartitionFileHeader,
    /// Which part of a log it was drained from.
    pub drained: Option<Replayed>,
    /// Where its records begin.
    pub run_start: u64,
    /// Bytes of its records.
    pub records_bytes: u64,
    /// Number of the run in its partition.
    pub sequence: u64,
    /// Runs with a smaller sequence do not count any more.
    pub replaces_below: u64,
}

/// Appends footer and trailer to `out`, which ends with the run's records or with some of their last bytes: how far they reach
/// into their last block tells the padding.
pub fn encode_ending(run: &RunFields, footer: &mut FooterBuilder, out: &mut AlignedBuffer) -> Trailer {
    let trailer = encode_footer(run, footer, out);
    let block = out.len() - RUN_BLOCK_BYTES.min(out.len());
    trailer.encode(&mut out.as_mut_slice()[block..]);
    trailer
}

/// As [`encode_ending`], but with zeros in place of the trailer.
pub(crate) fn encode_footer(run: &RunFields, footer: &mut FooterBuilder, out: &mut AlignedBuffer) -> Trailer {
    let footer_start = run.run_start + run.records_bytes;
    let in_block = footer_start % RUN_BLOCK_BYTES as u64;
    assert_eq!(out.len() as u64 % RUN_BLOCK_BYTES as u64, in_block, "the buffer ends where the records do");
    let encoded = footer.encode(out);
    out.resize_zeroed((out.len() + TRAILER_BYTES).next_multiple_of(RUN_BLOCK_BYTES));
    let footer_bytes = encoded.footer_bytes as u64;
    let end = super::trailer::blocks(footer_start + footer_bytes + TRAILER_BYTES as u64);
    Trailer {
        file: run.file,
        format: encoded.format,
        drained: run.drained,
        offset: end - RUN_BLOCK_BYTES as u64,
        run_start: run.run_start,
        records_bytes: run.records_bytes,
        sequence: run.sequence,
        replaces_below: run.replaces_below,
        clocks: encoded.clocks,
        entries: encoded.entries,
        tombstones: encoded.tombstones,
        actors: encoded.actors,
        footer_crc: encoded.footer_crc,
        extra_bytes: encoded.extra_bytes,
    }
}
