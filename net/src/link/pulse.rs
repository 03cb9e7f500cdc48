//! Whether the other end of a link still answers.
//!
//! Something is awaited from when a message or a question has left until anything comes. An answer to a question awaits nothing,
//! or two idle ends would question each other for ever.
//!
//! Invariant: between two arrivals at most one question is asked, for the bytes of a connection come in order or not at all.

use super::Standing;
use crate::limits::LinkLimits;

#[derive(Debug)]
pub(super) struct Pulse {
    heard_us: u64,
    /// Since when the other end owes us something.
    awaited_since_us: Option<u64>,
    is_asked: bool,
    /// A question has to leave.
    question: Option<u32>,
    questions: u32,
    /// An answer has to leave.
    answer: Option<u32>,
    sending_since_us: u64,
}

impl Pulse {
    pub(super) fn new(now_us: u64) -> Self {
        Self {
            heard_us: now_us,
            awaited_since_us: None,
            is_asked: false,
            question: None,
            questions: 0,
            answer: None,
            sending_since_us: now_us,
        }
    }

    pub(super) fn has_output(&self) -> bool {
        self.question.is_some() || self.answer.is_some()
    }

    pub(super) fn take_question(&mut self) -> Option<u32> {
        self.question.take()
    }

    pub(super) fn take_answer(&mut self) -> Option<u32> {
        self.answer.take()
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    pub(super) fn on_sending(&mut self, now_us: u64, has_messages: bool) {
        self.sending_since_us = now_us;
        if has_messages {
            self.awaited_since_us.get_or_insert(now_us);
        }
    }

    /// A send that had to wait for room shows that the other end has made some. One that had not shows nothing: the kernel takes
    /// bytes for a node that is gone.
    pub(super) fn on_sent(&mut self, now_us: u64, limits: &LinkLimits) {
        if now_us.saturating_sub(self.sending_since_us) >= limits.slow_send_us
            && let Some(since_us) = &mut self.awaited_since_us
        {
            *since_us = now_us.max(*since_us);
        }
    }

    pub(super) fn on_heard(&mut self, now_us: u64) {
        self.heard_us = now_us;
        self.awaited_since_us = None;
        self.is_asked = false;
        self.question = None;
    }

    /// The newest question's answer stands for those before it.
    pub(super) fn on_question(&mut self, number: u32) {
        self.answer = Some(number);
    }

    pub(super) fn tick(&mut self, now_us: u64, limits: &LinkLimits) -> Standing {
        let awaited_us = self.awaited_since_us.map(|since_us| now_us.saturating_sub(since_us));
        if awaited_us.is_some_and(|awaited_us| awaited_us >= limits.dead_us) {
            return Standing::Dead;
        }
        let is_due = awaited_us.is_some_and(|awaited_us| awaited_us >= limits.ask_awaited_us)
            || now_us.saturating_sub(self.heard_us) >= limits.ask_idle_us;
        if is_due && !self.is_asked {
            self.is_asked = true;
            self.question = Some(self.questions);
            self.questions = self.questions.wrapping_add(1);
            self.awaited_since_us.get_or_insert(now_us);
        }
        if self.is_asked { Standing::Doubtful } else { Standing::Alive }
    }
}
