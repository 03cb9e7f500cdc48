//! Replies of one client in the order of its commands, although some are ready later than others.
//!
//! A reply that is ready while nothing is outstanding goes straight to the output. Otherwise it takes a *slot*; slots leave
//! for the output from the front as they become ready.
//!
//! Invariant: output bytes are in command order, and every slot is filled exactly once.

use std::collections::VecDeque;

use smallvec::SmallVec;

/// A reply's bytes; short ones need no allocation.
pub type ReplyBytes = SmallVec<[u8; 40]>;

/// Held bytes above which the gaps that replies left are closed.
const HELD_SLACK_BYTES: usize = 64 << 10;

/// The place of a reply: where its bytes are held, once they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Missing,
    Held { start: usize, bytes: usize },
}

/// Where replies of one client gather.
#[derive(Debug, Default)]
pub struct Replies {
    output: Vec<u8>,
    slots: VecDeque<Slot>,
    /// Number of the slot at the front; wraps.
    first_slot: u32,
    /// Slots that are not filled.
    outstanding: usize,
    /// Bytes of filled slots, with gaps where replies have left.
    held: Vec<u8>,
    /// Bytes of filled slots.
    held_bytes: usize,
    /// Number of the first slot that belongs to the commands that arrived last, together.
    burst_slot: u32,
    /// One of their replies needed no slot.
    burst_has_direct: bool,
}

impl Replies {
    /// The output, when no slot is outstanding: the next reply may be written straight into it.
    pub fn direct(&mut self) -> Option<&mut Vec<u8>> {
        if !self.slots.is_empty() {
            return None;
        }
        self.burst_has_direct = true;
        Some(&mut self.output)
    }

    /// Commands have arrived together: their replies may leave together.
    pub fn begin_burst(&mut self) {
        self.burst_slot = self.first_slot.wrapping_add(u32::try_from(self.slots.len()).expect("slots are bounded"));
        self.burst_has_direct = false;
    }

    /// True when the replies that are ready and the one that is awaited answer commands that arrived together.
    pub fn is_within_burst(&self) -> bool {
        let into_burst = self.first_slot.wrapping_sub(self.burst_slot).cast_signed();
        self.outstanding > 0 && (into_burst > 0 || into_burst == 0 && self.burst_has_direct)
    }

    /// Adds a reply that is ready.
    pub fn push(&mut self, reply: &[u8]) {
        if let Some(output) = self.direct() {
            output.extend_from_slice(reply);
        } else {
            let slot = self.hold(reply);
            self.slots.push_back(slot);
        }
    }

    /// Reserves the place of a reply that comes later; [`Replies::fill`] takes the number.
    pub fn reserve(&mut self) -> u32 {
        let ahead = u32::try_from(self.slots.len()).expect("slots are bounded by the session");
        self.slots.push_back(Slot::Missing);
        self.outstanding += 1;
        self.first_slot.wrapping_add(ahead)
    }

    /// Fills a reserved place. An empty reply stands for none (`CLIENT REPLY OFF`).
    pub fn fill(&mut self, slot: u32, reply: &[u8]) {
        let index = slot.wrapping_sub(self.first_slot) as usize;
        assert!(index < self.slots.len(), "a slot leaves only after it was filled");
        assert!(self.slots[index] == Slot::Missing, "a slot is filled once");
        self.outstanding -= 1;
        if index > 0 {
            self.slots[index] = self.hold(reply);
            return;
        }
        self.output.extend_from_slice(reply);
        self.leave();
        while let Some(&Slot::Held { start, bytes }) = self.slots.front() {
            self.output.extend_from_slice(&self.held[start..start + bytes]);
            self.held_bytes -= bytes;
            self.leave();
        }
        if self.slots.is_empty() {
            assert_eq!(self.held_bytes, 0, "held bytes belong to slots");
            self.held.clear();
        }
    }

    /// The slot at the front has left for the output.
    fn leave(&mut self) {
        self.slots.pop_front();
        self.first_slot = self.first_slot.wrapping_add(1);
    }

    fn hold(&mut self, reply: &[u8]) -> Slot {
        if self.held.len() > HELD_SLACK_BYTES + 2 * self.held_bytes {
            self.close_gaps();
        }
        let start = self.held.len();
        self.held.extend_from_slice(reply);
        self.held_bytes += reply.len();
        Slot::Held { start, bytes: reply.len() }
    }

    fn close_gaps(&mut self) {
        let mut packed = Vec::with_capacity(2 * self.held_bytes);
        for slot in &mut self.slots {
            if let Slot::Held { start, bytes } = slot {
                let from = std::mem::replace(start, packed.len());
                packed.extend_from_slice(&self.held[from..from + *bytes]);
            }
        }
        self.held = packed;
    }

    /// Replies that are not ready.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Bytes of replies that wait here, for the client's output limit.
    pub fn bytes(&self) -> usize {
        self.output.len() + self.held_bytes
    }

    /// True when there is something to send.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Drops the output: nobody reads it. Late replies still find their slots.
    pub fn drop_output(&mut self) {
        self.output = Vec::new();
    }

    /// Takes the output to send it, leaving `spare` (empty) to gather the next.
    pub fn take_output(&mut self, spare: Vec<u8>) -> Vec<u8> {
        assert!(spare.is_empty());
        if self.slots.is_empty() && self.held.capacity() > HELD_SLACK_BYTES {
            self.held = Vec::new();
        }
        std::mem::replace(&mut self.output, spare)
    }
}

#[cfg(test)]
mod tests {
    use super::Replies;

    fn output(replies: &mut Replies) -> String {
        String::from_utf8(replies.take_output(Vec::new())).unwrap()
    }

    #[test]
    fn ready_replies_go_straight_out() {
        let mut replies = Replies::default();
        replies.direct().unwrap().extend_from_slice(b"a");
        replies.push(b"b");
        assert_eq!(output(&mut replies), "ab");
        assert_eq!(replies.outstanding(), 0);
    }

    #[test]
    fn every_order_of_three_late_replies_keeps_the_commands_order() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut replies = Replies::default();
            let slots = [replies.reserve(), replies.reserve(), replies.reserve()];
            replies.push(b"d");
            assert!(replies.direct().is_none());
            for index in order {
                replies.fill(slots[index], &[b'a' + u8::try_from(index).unwrap()]);
            }
            assert_eq!(output(&mut replies), "abcd");
            assert!(replies.direct().is_some());
            assert_eq!(replies.bytes(), 0);
        }
    }

    #[test]
    fn gaps_are_closed_while_replies_keep_coming() {
        let mut replies = Replies::default();
        let reply = vec![b'x'; 1000];
        let mut before = replies.reserve();
        for _ in 0..5000 {
            // A reply is held behind an outstanding one, and the slots are never all gone.
            let (outstanding, held) = (replies.reserve(), replies.reserve());
            replies.fill(held, &reply);
            replies.fill(before, &reply);
            before = outstanding;
            assert!(replies.held.len() <= super::HELD_SLACK_BYTES + 3 * replies.held_bytes + 1000);
        }
        replies.fill(before, &reply);
        assert_eq!(output(&mut replies).len(), 10_001 * 1000);
        assert_eq!((replies.held_bytes, replies.held.len()), (0, 0));
    }

    #[test]
    fn slot_numbers_wrap() {
        let mut replies = Replies { first_slot: u32::MAX, ..Replies::default() };
        let slots = [replies.reserve(), replies.reserve()];
        assert_eq!(slots, [u32::MAX, 0]);
        replies.fill(slots[1], b"b");
        replies.fill(slots[0], b"a");
        assert_eq!(output(&mut replies), "ab");
    }

    #[test]
    #[should_panic(expected = "filled once")]
    fn a_slot_is_not_filled_twice() {
        let mut replies = Replies::default();
        replies.reserve();
        let second = replies.reserve();
        replies.fill(second, b"x");
        replies.fill(second, b"y");
    }

    #[test]
    fn only_replies_to_what_arrived_together_wait_for_each_other() {
        let mut replies = Replies::default();
        replies.begin_burst();
        let (a, b) = (replies.reserve(), replies.reserve());
        assert!(!replies.is_within_burst(), "nothing of it is ready");
        replies.fill(a, b"a");
        assert!(replies.is_within_burst());
        replies.begin_burst();
        let c = replies.reserve();
        assert!(!replies.is_within_burst(), "b came before c");
        replies.fill(b, b"b");
        assert!(!replies.is_within_burst(), "c came alone");
        replies.fill(c, b"c");
        replies.begin_burst();
        replies.push(b"d");
        let e = replies.reserve();
        assert!(replies.is_within_burst(), "d needed no slot, e does");
        replies.fill(e, b"e");
        assert!(!replies.is_within_burst(), "nothing is awaited");
        assert_eq!(output(&mut replies), "abcde");
    }
}
