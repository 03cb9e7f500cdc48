//! What happened in a run: a hash of all of it, and on request the story in words.
//!
//! Invariant: the hash depends on what happened and on nothing else; whether a story is kept does not change it.

use std::fmt::Write as _;

use crate::clock::Instant;
use crate::model::KeyIndex;
use crate::seeds::mix;

/// One line of a story.
#[derive(Debug, Clone)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// About which key, if about one.
    pub key: Option<KeyIndex>,
    /// What.
    pub text: String,
}

/// The record of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<Line>>,
}

impl Trace {
    /// An empty record.
    #[must_use]
    pub fn new(keeps_story: bool) -> Self {
        Self { hash: 0, lines: keeps_story.then(Vec::new) }
    }

    /// Something happened: its kind and what tells it from others.
    pub fn note(&mut self, what: u64, which: u64) {
        self.hash = mix(self.hash.rotate_left(7) ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ which);
    }

    /// Bytes went somewhere.
    pub fn note_bytes(&mut self, what: u64, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut hash = self.hash ^ what ^ (bytes.len() as u64) << 32;
        for word in words {
            hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.hash = mix(hash ^ u64::from_le_bytes(last));
    }

    /// Adds a line to the story, if one is kept.
    pub fn tell(&mut self, at: Instant, key: Option<KeyIndex>, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line { at, key, text: text() });
        }
    }

    /// Whether a story is kept.
    #[must_use]
    pub fn tells(&self) -> bool {
        self.lines.is_some()
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The story; with a key, of that key only and of what concerns all.
    #[must_use]
    pub fn story(&self, of: Option<KeyIndex>) -> String {
        let mut out = String::new();
        for line in self.lines.iter().flatten() {
            let wanted = of.is_none() || line.key.is_none() || line.key == of;
            if wanted {
                let (seconds, micros) = (line.at / 1_000_000, line.at % 1_000_000);
                writeln!(out, "{seconds:4}.{micros:06}  {}", line.text).expect("a string takes everything");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_changes_no_hash() {
        let run = |keeps| {
            let mut trace = Trace::new(keeps);
            trace.note(1, 2);
            trace.tell(5, None, || "text".to_owned());
            trace.note_bytes(3, b"some bytes that are longer");
            (trace.hash(), trace.story(None))
        };
        assert_eq!(run(true).0, run(false).0);
        assert_eq!((run(true).1.as_str(), run(false).1.as_str()), ("   0.000005  text\n", ""));
    }

    #[test]
    fn order_and_content_change_the_hash() {
        let hash = |steps: &[&[u8]]| {
            let mut trace = Trace::new(false);
            steps.iter().for_each(|bytes| trace.note_bytes(1, bytes));
            trace.hash()
        };
        assert_ne!(hash(&[b"a", b"b"]), hash(&[b"b", b"a"]));
        assert_ne!(hash(&[b"a"]), hash(&[b"a\0"]));
    }

    #[test]
    fn a_story_of_one_key_leaves_others_out() {
        let mut trace = Trace::new(true);
        trace.tell(0, Some(1), || "one".to_owned());
        trace.tell(0, Some(2), || "two".to_owned());
        trace.tell(0, None, || "all".to_owned());
        assert!(!trace.story(Some(1)).contains("two") && trace.story(Some(1)).contains("all"));
    }
}
