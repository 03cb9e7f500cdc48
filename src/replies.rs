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

/// Where replies of one client gather.
#[derive(Debug, Default)]
pub struct Replies {
    output: Vec<u8>,
    slots: VecDeque<Option<ReplyBytes>>,
    /// Number of the slot at the front; wraps.
    first_slot: u32,
    /// Slots that are not filled.
    outstanding: usize,
    /// Bytes waiting in filled slots.
    held_bytes: usize,
}

impl Replies {
    /// The output, when no slot is outstanding: the next reply may be written straight into it.
    pub fn direct(&mut self) -> Option<&mut Vec<u8>> {
        self.slots.is_empty().then_some(&mut self.output)
    }

    /// Adds a reply that is ready.
    pub fn push(&mut self, reply: &[u8]) {
        if self.slots.is_empty() {
            self.output.extend_from_slice(reply);
        } else {
            self.held_bytes += reply.len();
            self.slots.push_back(Some(ReplyBytes::from_slice(reply)));
        }
    }

    /// Reserves the place of a reply that comes later; [`Replies::fill`] takes the number.
    pub fn reserve(&mut self) -> u32 {
        let slot =
            self.first_slot.wrapping_add(u32::try_from(self.slots.len()).expect("slots are bounded by the session"));
        self.slots.push_back(None);
        self.outstanding += 1;
        slot
    }

    /// Fills a reserved place. An empty reply stands for none (`CLIENT REPLY OFF`).
    pub fn fill(&mut self, slot: u32, reply: &[u8]) {
        let index = slot.wrapping_sub(self.first_slot) as usize;
        assert!(index < self.slots.len(), "a slot leaves only after it was filled");
        assert!(self.slots[index].is_none(), "a slot is filled once");
        self.outstanding -= 1;
        if index > 0 {
            self.held_bytes += reply.len();
            self.slots[index] = Some(ReplyBytes::from_slice(reply));
            return;
        }
        self.output.extend_from_slice(reply);
        self.slots.pop_front();
        self.first_slot = self.first_slot.wrapping_add(1);
        while let Some(Some(held)) = self.slots.front() {
            self.held_bytes -= held.len();
            self.output.extend_from_slice(held);
            self.slots.pop_front();
            self.first_slot = self.first_slot.wrapping_add(1);
        }
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
}
