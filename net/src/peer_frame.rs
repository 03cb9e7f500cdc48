//! One frame between nodes: a fixed header and a payload.
//!
//! ```text
//!  0  4  CRC-32 of everything behind this field
//!  4  4  bytes of the payload
//!  8  1  channel
//!  9  1  flags
//! 10  2  zero
//! 12  4  stream, or number of a question
//! 16     the payload
//! ```
//!
//! Numbers have their lowest byte first. Channels below [`CHANNELS_RESERVED`] belong to whoever uses a link; net knows only their
//! numbers.
//!
//! Invariant: a frame is given out whole and with its checksum right, or not at all; whatever bytes come, the decoder holds one
//! unfinished frame at most, and answers with an error rather than a panic.

#[cfg(test)]
mod tests;

use bytemuck::{Pod, Zeroable};

/// Bytes in front of a payload.
pub const HEADER_BYTES: usize = size_of::<Header>();
/// Bytes of a payload at most; what is longer travels as chunks.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// The first channel that is not for messages.
pub const CHANNELS_RESERVED: u8 = 0xf0;
/// A part of a message that is too long for one frame.
pub const CHANNEL_CHUNK: u8 = 0xf0;
/// "Are you there?"
pub const CHANNEL_QUESTION: u8 = 0xf1;
/// "I am."
pub const CHANNEL_ANSWER: u8 = 0xf2;
/// Before a link stands: see [`crate::handshake`].
pub const CHANNEL_HANDSHAKE: u8 = 0xff;

/// The chunk is the first one of its stream, and begins with what the message is.
pub const FLAG_FIRST: u8 = 1;

/// As it is sent.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    checksum: [u8; 4],
    payload_bytes: [u8; 4],
    channel: u8,
    flags: u8,
    zero: [u8; 2],
    stream: [u8; 4],
}

impl Header {
    fn payload_bytes(&self) -> usize {
        u32::from_le_bytes(self.payload_bytes) as usize
    }

    /// What can be said before the payload is there. Nothing is reserved for a length that no sender may announce.
    fn check(&self, payload_bytes_max: usize) -> Result<(), FrameError> {
        if self.payload_bytes() > payload_bytes_max {
            return Err(FrameError::TooLong { bytes: self.payload_bytes(), most: payload_bytes_max });
        }
        if self.zero != [0; 2] { Err(FrameError::Malformed) } else { Ok(()) }
    }
}

/// What a frame is, beside its payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Label {
    /// Whom it is for.
    pub channel: u8,
    /// Of chunks: [`FLAG_FIRST`]. Otherwise 0.
    pub flags: u8,
    /// Of chunks which message they belong to, of a question and its answer its number. Otherwise 0.
    pub stream: u32,
}

impl Label {
    /// Of a whole message.
    pub const fn message(channel: u8) -> Self {
        Self { channel, flags: 0, stream: 0 }
    }
}

/// A frame whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub label: Label,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Why a connection is of no more use: where the next frame begins is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more than may be.
    #[error("a frame of {bytes} bytes; the maximum is {most}")]
    TooLong {
        /// What it announces.
        bytes: usize,
        /// What may be.
        most: usize,
    },
    /// The checksum is wrong.
    #[error("a frame's checksum is wrong")]
    Damaged,
    /// A header that no sender writes.
    #[error("a frame's header is malformed")]
    Malformed,
}

/// Appends a frame whose payload is `parts`, one after the other; together they are no longer than [`PAYLOAD_BYTES_MAX`], asserted.
pub fn write(label: Label, parts: [&[u8]; 2], out: &mut Vec<u8>) {
    let bytes = parts[0].len() + parts[1].len();
    assert!(bytes <= PAYLOAD_BYTES_MAX, "what is longer is sent in chunks");
    let payload_bytes = u32::try_from(bytes).expect("below the maximum").to_le_bytes();
    let Label { channel, flags, stream } = label;
    let mut header =
        Header { checksum: [0; 4], payload_bytes, channel, flags, zero: [0; 2], stream: stream.to_le_bytes() };
    header.checksum = checksum(&header, parts).to_le_bytes();
    out.reserve(HEADER_BYTES + bytes);
    out.extend_from_slice(bytemuck::bytes_of(&header));
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn checksum(header: &Header, parts: [&[u8]; 2]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytemuck::bytes_of(header)[size_of::<u32>()..]);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// How many bytes the frame at the beginning of `bytes` takes; as long as its header is not there, how many that takes.
fn needed(bytes: &[u8], payload_bytes_max: usize) -> Result<usize, FrameError> {
    let Some(head) = bytes.get(..HEADER_BYTES) else {
        return Ok(HEADER_BYTES);
    };
    let header: Header = bytemuck::pod_read_unaligned(head);
    header.check(payload_bytes_max)?;
    Ok(HEADER_BYTES + header.payload_bytes())
}

/// The frame that `bytes` are, as many as were needed.
fn check(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (head, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or(FrameError::Malformed)?;
    let header: Header = bytemuck::pod_read_unaligned(head);
    if checksum(&header, [payload, &[]]) != u32::from_le_bytes(header.checksum) {
        return Err(FrameError::Damaged);
    }
    let label = Label { channel: header.channel, flags: header.flags, stream: u32::from_le_bytes(header.stream) };
    Ok(Frame { label, payload })
}

/// The payload's length that a header announces, of a reader that takes one frame at a time.
///
/// Errors: see [`FrameError`]; the checksum is not looked at, the payload is not there yet.
pub fn announced_bytes(header: &[u8; HEADER_BYTES], payload_bytes_max: usize) -> Result<usize, FrameError> {
    let header: Header = bytemuck::pod_read_unaligned(header);
    header.check(payload_bytes_max)?;
    Ok(header.payload_bytes())
}

/// One whole frame and nothing else.
///
/// Errors: see [`FrameError`]; one that is cut is `Malformed`.
pub fn decode_one(bytes: &[u8], payload_bytes_max: usize) -> Result<Frame<'_>, FrameError> {
    let is_whole = bytes.len() == needed(bytes, payload_bytes_max)?;
    if is_whole { check(bytes) } else { Err(FrameError::Malformed) }
}

/// Finds frames in bytes as they come. A frame that lies whole in what was received is lent from there; one that does not is
/// copied once.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    /// The beginning of a frame whose end has not come.
    unfinished: Vec<u8>,
    /// `unfinished` is a frame that was given out.
    is_given: bool,
}

impl FrameDecoder {
    /// Bytes of an unfinished frame's buffer that are kept for the next one.
    const KEEP_BYTES: usize = 64 << 10;

    /// One that stands between two frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next frame; `received` is what is left of the bytes that came, of which it takes what it has looked at. With `None`
    /// nothing is left of them.
    ///
    /// Errors: see [`FrameError`]; the connection has to end, and the decoder is not to be used again.
    pub fn next<'s, 'r: 's>(&'s mut self, received: &mut &'r [u8]) -> Result<Option<Frame<'s>>, FrameError> {
        if self.is_given {
            self.is_given = false;
            self.unfinished.clear();
            self.unfinished.shrink_to(Self::KEEP_BYTES);
        }
        if self.unfinished.is_empty() {
            let needed = needed(received, PAYLOAD_BYTES_MAX)?;
            if let Some((frame, rest)) = received.split_at_checked(needed) {
                *received = rest;
                return check(frame).map(Some);
            }
        }
        loop {
            let missing = needed(&self.unfinished, PAYLOAD_BYTES_MAX)? - self.unfinished.len();
            if missing == 0 {
                break;
            }
            if received.is_empty() {
                return Ok(None);
            }
            let (taken, rest) = received.split_at(missing.min(received.len()));
            self.unfinished.reserve_exact(missing);
            self.unfinished.extend_from_slice(taken);
            *received = rest;
        }
        self.is_given = true;
        check(&self.unfinished).map(Some)
    }

    /// Bytes that wait for the rest of their frame.
    pub fn unfinished_bytes(&self) -> usize {
        if self.is_given { 0 } else { self.unfinished.len() }
    }
}
