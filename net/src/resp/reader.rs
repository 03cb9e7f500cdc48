//! Replies from bytes, as far as one core needs it to put together what others answered: where a reply ends, its
//! number, its elements. It reads what [`super::writer`] writes, so streamed replies of unknown length are malformed.
//!
//! Invariant: no recursion; work and memory are bounded by the bytes that are there.

use super::number::decimal;

#[cfg(test)]
mod tests;

/// Aggregates inside aggregates at most.
pub const NESTING_MAX: usize = 32;

/// Why bytes are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Not RESP2 or RESP3.
    #[error("malformed reply at byte {at}")]
    Malformed {
        /// Where the element begins that is malformed.
        at: usize,
    },
    /// Larger, by what its headers announce, than the caller takes.
    #[error("the reply is larger than {limit} bytes")]
    TooLarge {
        /// The caller's limit.
        limit: usize,
    },
    /// Nested deeper than [`NESTING_MAX`].
    #[error("the reply is nested deeper than {NESTING_MAX}")]
    TooDeep,
}

/// Bytes of the first reply in `bytes`, attributes before it included; `None` while it is incomplete. A reply that
/// announces more than `limit` bytes is refused at once. It looks from the start each time, so it is meant for replies
/// that arrive in few pieces.
pub fn reply_end(bytes: &[u8], limit: usize) -> Result<Option<usize>, ReplyError> {
    // Elements still to come, per aggregate around the position; level 0 is the reply itself.
    let mut missing = [0usize; NESTING_MAX + 1];
    missing[0] = 1;
    let mut level = 0;
    let mut at = 0;
    loop {
        let Some(element) = element(bytes, at, limit)? else {
            return Ok(None);
        };
        at = element.next;
        if at > limit {
            return Err(ReplyError::TooLarge { limit });
        }
        if !element.is_attribute {
            missing[level] -= 1;
        }
        if element.children > 0 {
            // An element is at least its type byte and CR LF.
            if element.children > (limit - at) / 3 {
                return Err(ReplyError::TooLarge { limit });
            }
            level += 1;
            *missing.get_mut(level).ok_or(ReplyError::TooDeep)? = element.children;
        }
        while missing[level] == 0 {
            if level == 0 {
                return Ok(Some(at));
            }
            level -= 1;
        }
    }
}

/// The number of an integer reply, which has to be all of `reply`.
pub fn read_integer(reply: &[u8]) -> Option<i64> {
    decimal(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a string reply, which has to be all of `reply`; `None` also for a null.
pub fn read_bulk(reply: &[u8]) -> Option<&[u8]> {
    if reply.first() != Some(&b'$') {
        return None;
    }
    let element = element(reply, 0, usize::MAX).ok()??;
    (element.next == reply.len()).then_some(element.body).flatten()
}

/// The text of an error reply, prefix first, which has to be all of `reply`.
pub fn read_error(reply: &[u8]) -> Option<&[u8]> {
    let element = element(reply, 0, usize::MAX).ok()??;
    match reply.first()? {
        b'-' if element.next == reply.len() => Some(&reply[1..reply.len() - 2]),
        b'!' if element.next == reply.len() => element.body,
        _ => None,
    }
}

/// The elements of an array, set or push (keys and values alternating for a map), which has to be one complete reply
/// without attributes and all of `reply`; `None` if it is none.
pub fn array_items(reply: &[u8]) -> Option<Items<'_>> {
    if !matches!(reply.first()?, b'*' | b'~' | b'>' | b'%') {
        return None;
    }
    if reply_end(reply, reply.len()) != Ok(Some(reply.len())) {
        return None;
    }
    let header = element(reply, 0, reply.len()).ok()??;
    if header.is_null {
        return None;
    }
    Some(Items { rest: &reply[header.next..], count: header.children })
}

/// Iterator of [`array_items`]: each item is the raw bytes of one element, attributes before it included.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.count == 0 {
            return None;
        }
        let end = reply_end(self.rest, self.rest.len());
        let end = end.ok().flatten().expect("array_items has checked every element");
        let (item, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.count -= 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// One header, with its body if it has one.
struct Element<'a> {
    next: usize,
    children: usize,
    body: Option<&'a [u8]>,
    is_attribute: bool,
    is_null: bool,
}

/// Reads the header, and the body, at `at`; `None` while they are incomplete.
fn element(bytes: &[u8], at: usize, limit: usize) -> Result<Option<Element<'_>>, ReplyError> {
    let malformed = ReplyError::Malformed { at };
    let Some(&kind) = bytes.get(at) else { return Ok(None) };
    if !b"+-:$*_,#!=(%~>|".contains(&kind) {
        return Err(malformed);
    }
    let Some(length) = bytes[at + 1..].iter().position(|byte| *byte == b'\r') else {
        return if bytes.len() > limit { Err(ReplyError::TooLarge { limit }) } else { Ok(None) };
    };
    let line = &bytes[at + 1..at + 1 + length];
    let next = at + length + 3;
    match bytes.get(next - 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(malformed),
    }
    let plain = Element { next, children: 0, body: None, is_attribute: false, is_null: false };
    let counted = matches!(kind, b'$' | b'*' | b'!' | b'=' | b'%' | b'~' | b'>' | b'|');
    if !counted {
        return if is_scalar(kind, line) { Ok(Some(plain)) } else { Err(malformed) };
    }
    let count = match decimal(line).map(usize::try_from) {
        Some(Ok(count)) => count,
        Some(Err(_)) if line == b"-1" && matches!(kind, b'$' | b'*') => {
            return Ok(Some(Element { is_null: true, ..plain }));
        }
        _ => return Err(malformed),
    };
    if count > limit {
        return Err(ReplyError::TooLarge { limit });
    }
    match kind {
        b'*' | b'~' | b'>' => Ok(Some(Element { children: count, ..plain })),
        b'%' => Ok(Some(Element { children: count.saturating_mul(2), ..plain })),
        b'|' => Ok(Some(Element { children: count.saturating_mul(2), is_attribute: true, ..plain })),
        _ => with_body(bytes, plain, count, limit).map_err(|error| error.unwrap_or(malformed)),
    }
}

/// Completes a header with its body of `count` bytes and CR LF. The error is `None` when malformed.
fn with_body<'a>(
    bytes: &'a [u8],
    header: Element<'a>,
    count: usize,
    limit: usize,
) -> Result<Option<Element<'a>>, Option<ReplyError>> {
    let end = header.next.saturating_add(count);
    let next = end.saturating_add(2);
    if next > limit {
        return Err(Some(ReplyError::TooLarge { limit }));
    }
    match bytes.get(end..next) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some(Element { next, body: Some(&bytes[header.next..end]), ..header })),
        Some(_) => Err(None),
    }
}

fn is_scalar(kind: u8, line: &[u8]) -> bool {
    match kind {
        b'_' => line.is_empty(),
        b'#' => line == b"t" || line == b"f",
        b':' => decimal(line).is_some(),
        _ => true,
    }
}
