//! What a client holds of a key's past: an opaque text that it gets with a value and sends with the write that replaces it.
//!
//! ```text
//! base64url, without padding, of
//!   version u8 │ flags u8: 1 = own dot │ [own dot: clock u64, actor u64] │ context │ tag u64
//! ```
//!
//! The tag is SipHash-1-3 of everything before it, keyed with the hash of the key that it belongs to (rule S14): a token of
//! another key, a damaged one and an invented one are told from a good one. The empty text is the context of a client that has
//! seen nothing.
//!
//! The own dot is that of a write beside which others stood: an entry in the context would cover what the same actor stamped
//! before, which this client has not read; alone it says just that its own write was seen.
//!
//! Invariant: a token that decodes was encoded by a node of this cluster for the same key.

use std::hash::Hasher;

use annulus_object::{Actor, CONTEXT_ENTRIES_MAX, Clock, Context, DecodeError, Dot};
use siphasher::sip::SipHasher13;

use crate::limits::CLOCK_LAST;

const VERSION: u8 = 1;
const HAS_OWN: u8 = 1;
const TAG_BYTES: usize = 8;
const BYTES_MAX: usize = 1 + 1 + 16 + 12 + 16 * CONTEXT_ENTRIES_MAX + TAG_BYTES;
/// The longest text that is looked at.
pub const TEXT_BYTES_MAX: usize = BYTES_MAX.div_ceil(3) * 4;

/// What the client has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Token {
    /// For [`crate::event::Put::context`].
    pub context: Context,
    /// For [`crate::event::Put::own_last`], with `own_is_alone` not set.
    pub own: Option<Dot>,
}

/// Why a text is not a token for this key. The command is refused with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any token.
    #[error("the context is too long")]
    TooLong,
    /// A character or a length that base64url does not have.
    #[error("the context is not base64url")]
    NotBase64,
    /// Of another build.
    #[error("the context has the unknown version {0}")]
    Version(u8),
    /// Of another key, or changed on the way.
    #[error("the context is damaged, or belongs to another key")]
    Tag,
    /// What is inside does not decode, or is impossible.
    #[error("the context does not decode")]
    Content,
}

impl From<DecodeError> for TokenError {
    fn from(_: DecodeError) -> Self {
        Self::Content
    }
}

impl Token {
    /// What a client is given with an answer to a write: see [`crate::effect::Answer::Written`].
    #[must_use]
    pub fn of_write(dot: Dot, is_alone: bool, context: Context) -> Self {
        Self { context, own: (!is_alone).then_some(dot) }
    }

    /// Appends the text for the key with this hash.
    pub fn encode(&self, hash: u128, out: &mut Vec<u8>) {
        let mut bytes = Vec::with_capacity(18 + self.context.encoded_bytes() + TAG_BYTES);
        bytes.extend_from_slice(&[VERSION, if self.own.is_some() { HAS_OWN } else { 0 }]);
        if let Some(own) = self.own {
            bytes.extend_from_slice(&own.clock.raw().to_le_bytes());
            bytes.extend_from_slice(&own.actor.raw().to_le_bytes());
        }
        self.context.encode(&mut bytes);
        let tag = tag(hash, &bytes);
        bytes.extend_from_slice(&tag.to_le_bytes());
        encode_base64(&bytes, out);
    }

    /// Reads the text that a client sent for the key with this hash.
    pub fn decode(text: &[u8], hash: u128) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let bytes = decode_base64(text).ok_or(TokenError::NotBase64)?;
        let (content, expected) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(TokenError::Content)?;
        let version = *content.first().ok_or(TokenError::Content)?;
        if version != VERSION {
            return Err(TokenError::Version(version));
        }
        if tag(hash, content) != u64::from_le_bytes(*expected) {
            return Err(TokenError::Tag);
        }
        let (flags, rest) = content[1..].split_first().ok_or(TokenError::Content)?;
        let (own, rest) = match *flags {
            0 => (None, rest),
            HAS_OWN => {
                let (own, rest) = rest.split_first_chunk::<16>().ok_or(TokenError::Content)?;
                (Some(decode_dot(own)?), rest)
            }
            _ => return Err(TokenError::Content),
        };
        let context = Context::decode(rest)?;
        let last = own.map_or(Clock::ZERO, |own| own.clock).max(context.highest());
        if last > CLOCK_LAST { Err(TokenError::Content) } else { Ok(Self { context, own }) }
    }
}

fn decode_dot(bytes: &[u8; 16]) -> Result<Dot, TokenError> {
    let (clock, actor) = bytes.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of a dot"));
    let clock = Clock::from_raw(number(clock)).filter(|clock| *clock > Clock::ZERO);
    Ok(Dot::new(clock.ok_or(TokenError::Content)?, Actor::from_raw(number(actor))))
}

fn tag(hash: u128, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(hash as u64, (hash >> 64) as u64);
    hasher.write(bytes);
    hasher.finish()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode_base64(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = (0..=chunk.len()).map(|digit| DIGITS[(number >> (18 - 6 * digit) & 63) as usize]);
        out.extend(digits);
    }
}

/// `None` where the text is not what [`encode_base64`] writes.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut number = 0u32;
        for digit in chunk {
            number = number << 6 | u32::from(value(*digit)?);
        }
        number <<= 6 * (4 - chunk.len());
        let count = chunk.len().checked_sub(1).filter(|count| *count > 0)?;
        let number = number.to_be_bytes();
        let (decoded, rest) = number[1..].split_at(count);
        if rest.iter().any(|bits| *bits != 0) {
            return None;
        }
        bytes.extend_from_slice(decoded);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: u128 = 0x1234_5678_9abc_def0_1122_3344_5566_7788;

    fn any_token() -> impl Strategy<Value = Token> {
        let dot = (1..1u64 << 54, any::<u64>())
            .prop_map(|(clock, actor)| Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor)));
        (prop::collection::vec(dot.clone(), 0..6), prop::option::of(dot)).prop_map(|(dots, own)| {
            let context = Context::from_parts(Clock::ZERO, dots.into_iter().map(|dot| (dot.actor, dot.clock)));
            Token { context, own }
        })
    }

    fn text(token: &Token) -> Vec<u8> {
        let mut out = Vec::new();
        token.encode(HASH, &mut out);
        out
    }

    #[test]
    fn base64_is_the_url_alphabet_without_padding() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xff\xef\xbe", "_---")]
        {
            let mut out = Vec::new();
            encode_base64(bytes, &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(bytes));
        }
        for bad in ["A", "Zh", "Zm9", "Zg==", "Z g", "Zm9v\n"] {
            assert!(decode_base64(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_empty_text_has_seen_nothing_and_others_say_what_is_wrong() {
        assert_eq!(Token::decode(b"", HASH), Ok(Token::default()));
        let good = text(&Token::default());
        assert_eq!(Token::decode(&good, HASH + 1), Err(TokenError::Tag), "another key");
        assert_eq!(Token::decode(b"!!!!", HASH), Err(TokenError::NotBase64));
        assert_eq!(Token::decode(b"AQAA", HASH), Err(TokenError::Content));
        let mut other = decode_base64(&good).unwrap();
        other[0] = 2;
        let mut encoded = Vec::new();
        encode_base64(&other, &mut encoded);
        assert_eq!(Token::decode(&encoded, HASH), Err(TokenError::Version(2)));
        assert_eq!(Token::decode(&vec![b'A'; TEXT_BYTES_MAX + 1], HASH), Err(TokenError::TooLong));
        let late = Token { context: Context::with_floor(Clock::MAX), own: None };
        assert_eq!(Token::decode(&text(&late), HASH), Err(TokenError::Content));
    }

    #[test]
    fn the_dot_of_a_write_travels_only_where_something_stands_beside_it() {
        let dot = Dot::new(Clock::from_raw(7).unwrap(), Actor::from_raw(1 << 16));
        let beside = Token::of_write(dot, false, Context::default());
        assert_eq!(beside.own, Some(dot), "the context that the client sent does not have it");
        let mut context = Context::default();
        context.insert(dot);
        let alone = Token::of_write(dot, true, context);
        assert_eq!(alone.own, None, "the context covers it");
        for token in [beside, alone] {
            assert_eq!(Token::decode(&text(&token), HASH).as_ref(), Ok(&token));
        }
    }

    #[test]
    fn the_largest_context_fits() {
        let entries = (0..CONTEXT_ENTRIES_MAX as u64).map(|actor| (Actor::from_raw(actor), CLOCK_LAST));
        let own = Some(Dot::new(CLOCK_LAST, Actor::from_raw(1)));
        let token = Token { context: Context::from_parts(Clock::ZERO, entries), own };
        let text = text(&token);
        assert!(text.len() <= TEXT_BYTES_MAX);
        assert_eq!(Token::decode(&text, HASH), Ok(token));
    }

    proptest! {
        #[test]
        fn tokens_come_back_for_their_key_only(token in any_token(), other in any::<u128>()) {
            let text = text(&token);
            prop_assert_eq!(Token::decode(&text, HASH), Ok(token));
            if other != HASH {
                prop_assert_eq!(Token::decode(&text, other), Err(TokenError::Tag));
            }
        }

        #[test]
        fn a_changed_or_cut_text_is_refused(
            token in any_token(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let original = text(&token);
            let at = at.index(original.len());
            prop_assert!(at == 0 || Token::decode(&original[..at], HASH).is_err());
            let mut changed = original.clone();
            changed[at] = byte;
            prop_assert!(changed == original || Token::decode(&changed, HASH).is_err());
        }

        #[test]
        fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 1..100)) {
            prop_assert!(Token::decode(&noise, HASH).is_err());
        }
    }
}
