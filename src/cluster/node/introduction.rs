//! A node that has met the first member asks it for everything at once: who is there, and the whole map.
//!
//! Without that it would learn of the others one datagram at a time, which among a thousand takes minutes. Where many come at
//! once, nobody knows everything yet: so another member is asked a moment later, until an answer has nothing new; or until
//! several have nothing new, where the map names nodes that nobody hears.
//!
//! Invariant: at most one member is asked at a time; the next one only when the first did not answer in time; at most
//! [`ROUNDS_MAX`] of them answer.

use crate::ids::NodeId;

/// A cluster in which all have begun at once has met after fewer.
const ROUNDS_MAX: u32 = 12;
/// Answers in a row with nothing new, after which those who are not heard count as gone.
const IDLE_ROUNDS_MAX: u32 = 3;
/// Between two of them.
const ROUND_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody is there to ask, or nothing to ask for.
    Idle,
    /// Somebody is to be asked from then on, and whom if it matters.
    Wanted { whom: Option<NodeId>, from_us: u64 },
    /// An answer is waited for until then.
    Asked { whom: NodeId, until_us: u64, answers: Answers },
}

/// What has come of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Answers {
    members: bool,
    map: bool,
    is_news: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Introduction {
    state: State,
    rounds: u32,
    /// Of these, the last ones that had nothing new.
    idle_rounds: u32,
    /// Somebody has answered since the process started.
    is_answered: bool,
    /// It has been completed once since the process started.
    is_done: bool,
}

impl Introduction {
    pub(super) const fn new() -> Self {
        Self { state: State::Idle, rounds: 0, idle_rounds: 0, is_answered: false, is_done: false }
    }

    /// A first one is not over yet: what comes now is known to the others.
    pub(super) const fn is_first(&self) -> bool {
        !self.is_done
    }

    /// Some member has told all that it knows: also what this node itself has said before.
    pub(super) const fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Somebody is there to ask, and should be, at once.
    pub(super) const fn want(&mut self, whom: Option<NodeId>) {
        (self.rounds, self.idle_rounds) = (0, 0);
        self.state = State::Wanted { whom, from_us: 0 };
    }

    /// Nobody is there any more.
    pub(super) const fn cancel(&mut self) {
        self.state = State::Idle;
    }

    /// When somebody is to be asked, if so.
    pub(super) const fn next_due_us(&self) -> Option<u64> {
        match self.state {
            State::Idle => None,
            State::Wanted { from_us, .. } => Some(from_us),
            State::Asked { until_us, .. } => Some(until_us),
        }
    }

    /// Whom to ask now: the one that was wanted or any. `None` while there is nothing to ask.
    pub(super) fn begin(
        &mut self,
        now_us: u64,
        timeout_us: u64,
        any: impl FnOnce() -> Option<NodeId>,
    ) -> Option<NodeId> {
        let whom = match self.state {
            State::Wanted { whom, from_us } if from_us <= now_us => whom.or_else(any),
            State::Asked { until_us, .. } if until_us <= now_us => any(),
            _ => return None,
        };
        self.state = match whom {
            Some(whom) => State::Asked { whom, until_us: now_us + timeout_us, answers: Answers::default() },
            None => State::Idle,
        };
        whom
    }

    /// A member cannot be asked: another one, at once.
    pub(super) fn on_unreachable(&mut self, peer: NodeId) {
        if matches!(self.state, State::Asked { whom, .. } if whom == peer) {
            self.state = State::Wanted { whom: None, from_us: 0 };
        }
    }

    /// Members have come, some of them unknown. `hears_all` tells whether everybody whom the map names is heard.
    pub(super) fn on_members(&mut self, now_us: u64, from: NodeId, is_news: bool, hears_all: impl Fn() -> bool) {
        self.on_answer(now_us, from, Answers { members: true, map: false, is_news }, hears_all);
    }

    /// Part of the map has come, and changed ours.
    pub(super) fn on_map(
        &mut self,
        now_us: u64,
        from: NodeId,
        (is_news, is_last): (bool, bool),
        hears_all: impl Fn() -> bool,
    ) {
        self.on_answer(now_us, from, Answers { members: false, map: is_last, is_news }, hears_all);
    }

    fn on_answer(&mut self, now_us: u64, from: NodeId, part: Answers, hears_all: impl Fn() -> bool) {
        let State::Asked { whom, answers, .. } = &mut self.state else { return };
        if *whom != from {
            return;
        }
        answers.members |= part.members;
        answers.map |= part.map;
        answers.is_news |= part.is_news;
        if !(answers.members && answers.map) {
            return;
        }
        (self.rounds, self.is_answered) = (self.rounds + 1, true);
        self.idle_rounds = if answers.is_news { 0 } else { self.idle_rounds + 1 };
        let is_over = self.idle_rounds >= IDLE_ROUNDS_MAX || (self.idle_rounds > 0 && hears_all());
        if !is_over && self.rounds < ROUNDS_MAX {
            self.state = State::Wanted { whom: None, from_us: now_us + ROUND_US };
        } else {
            (self.state, self.is_done) = (State::Idle, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IDLE_ROUNDS_MAX, Introduction, ROUND_US, ROUNDS_MAX};
    use crate::ids::NodeId;

    #[test]
    fn members_are_asked_one_after_the_other_until_one_has_answered_both() {
        let (one, two) = (NodeId::new(1), NodeId::new(2));
        let mut introduction = Introduction::new();
        assert_eq!((introduction.begin(0, 10, || Some(one)), introduction.next_due_us()), (None, None));
        introduction.want(None);
        assert_eq!(introduction.begin(0, 10, || Some(one)), Some(one));
        assert_eq!((introduction.begin(9, 10, || Some(two)), introduction.next_due_us()), (None, Some(10)));
        assert_eq!(introduction.begin(10, 10, || Some(two)), Some(two));
        introduction.on_members(11, one, true, || true);
        introduction.on_members(11, two, false, || true);
        introduction.on_unreachable(one);
        introduction.on_map(11, two, (false, false), || true);
        assert!(introduction.is_first() && introduction.next_due_us() == Some(20));
        introduction.on_unreachable(two);
        assert_eq!(introduction.begin(11, 10, || Some(one)), Some(one));
        introduction.on_map(12, one, (false, true), || true);
        introduction.on_members(12, one, false, || true);
        assert!(!introduction.is_first() && introduction.next_due_us().is_none());
        introduction.want(Some(two));
        assert_eq!(introduction.begin(30, 10, || None), Some(two));
        introduction.cancel();
        assert_eq!(introduction.next_due_us(), None);
    }

    #[test]
    fn who_does_not_hear_all_asks_a_few_more() {
        let one = NodeId::new(1);
        let mut introduction = Introduction::new();
        introduction.want(None);
        let mut rounds = 0;
        while let Some(now_us) = introduction.next_due_us() {
            assert_eq!(introduction.begin(now_us, 10, || Some(one)), Some(one));
            introduction.on_members(now_us, one, rounds == 1, || false);
            introduction.on_map(now_us, one, (false, true), || false);
            rounds += 1;
        }
        assert_eq!(rounds, 2 + IDLE_ROUNDS_MAX, "the second answer had something");
    }

    #[test]
    fn who_learnt_something_asks_again_but_not_for_ever() {
        let one = NodeId::new(1);
        let mut introduction = Introduction::new();
        introduction.want(None);
        let mut rounds = 0;
        while let Some(now_us) = introduction.next_due_us() {
            assert_eq!(introduction.begin(now_us, 10, || Some(one)), Some(one));
            introduction.on_members(now_us, one, true, || true);
            introduction.on_map(now_us, one, (false, true), || true);
            rounds += 1;
            assert!(introduction.next_due_us().is_none_or(|due_us| due_us == now_us + ROUND_US));
        }
        assert_eq!((rounds, introduction.is_first()), (ROUNDS_MAX, false));
    }
}
