//! What follows a run's records: the footer, and the trailer that says where everything is.
//!
//! What it is not: it writes no file; whoever has written the records and their padding appends this behind them.
//!
//! Invariant: the trailer's lengths are those of what was encoded.

use super::{FooterBuilder, PartitionFileHeader, RUN_BLOCK_BYTES, Replayed, Trailer};
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
    /// Bytes of its records, without padding.
    pub records_bytes: u64,
    /// Number of the run in its partition.
    pub sequence: u64,
    /// Runs with a smaller sequence do not count any more.
    pub replaces_below: u64,
}

/// Appends footer and trailer to `out`, which ends at a block's end (asserted).
pub fn encode_ending(run: &RunFields, footer: &mut FooterBuilder, out: &mut AlignedBuffer) -> Trailer {
    let start = out.len();
    let encoded = footer.encode(out);
    let trailer_at = out.len();
    let footer_start = run.run_start + super::trailer::blocks(run.records_bytes);
    let trailer = Trailer {
        file: run.file,
        drained: run.drained,
        offset: footer_start + (trailer_at - start) as u64,
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
    };
    out.resize(trailer_at + RUN_BLOCK_BYTES);
    trailer.encode(&mut out.as_mut_slice()[trailer_at..]);
    trailer
}
