//! A node that has met the first member asks it for everything at once: who is there, and the whole map.
//!
//! Without that it would learn of the others one datagram at a time, which among a thousand takes minutes.
//!
//! Invariant: at most one member is asked at a time; the next one only when the first did not answer in time.

use crate::ids::NodeId;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody is there to ask.
    Idle,
    /// Somebody is to be asked, and whom first if it matters.
    Wanted(Option<NodeId>),
    /// Until then, an answer is waited for. What has come already: the members, the map.
    Asked { whom: NodeId, until_us: u64, members: bool, map: bool },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Introduction {
    state: State,
    /// It has been completed once since the process started.
    is_done: bool,
}

impl Introduction {
    pub(super) const fn new() -> Self {
        Self { state: State::Idle, is_done: false }
    }

    /// A first one is not over yet: what comes now is known to the others.
    pub(super) const fn is_first(&self) -> bool {
        !self.is_done
    }

    /// Somebody is there to ask, and should be.
    pub(super) const fn want(&mut self, whom: Option<NodeId>) {
        self.state = State::Wanted(whom);
    }

    /// Nobody is there any more.
    pub(super) const fn cancel(&mut self) {
        self.state = State::Idle;
    }

    /// When somebody is to be asked, if so.
    pub(super) const fn next_due_us(&self) -> Option<u64> {
        match self.state {
            State::Idle => None,
            State::Wanted(_) => Some(0),
            State::Asked { until_us, .. } => Some(until_us),
        }
    }

    /// Whom to ask now: the one that was wanted or any. `None` while there is nothing to ask.
    pub(super) fn begin(&mut self, now_us: u64, timeout_us: u64, any: impl FnOnce() -> Option<NodeId>) -> Option<NodeId> {
        let whom = match self.state {
            State::Wanted(Some(whom)) => Some(whom),
            State::Wanted(None) => any(),
            State::Asked { until_us, .. } if until_us <= now_us => any(),
            _ => return None,
        };
        self.state = match whom {
            Some(whom) => State::Asked { whom, until_us: now_us + timeout_us, members: false, map: false },
            None => State::Idle,
        };
        whom
    }

    /// A member cannot be asked: another one, at once.
    pub(super) fn on_unreachable(&mut self, peer: NodeId) {
        if matches!(self.state, State::Asked { whom, .. } if whom == peer) {
            self.state = State::Wanted(None);
        }
    }

    pub(super) fn on_members(&mut self, from: NodeId) {
        self.on_answer(from, true);
    }

    pub(super) fn on_map(&mut self, from: NodeId) {
        self.on_answer(from, false);
    }

    fn on_answer(&mut self, from: NodeId, is_members: bool) {
        if let State::Asked { whom, members, map, .. } = &mut self.state
            && *whom == from
        {
            *(if is_members { &mut *members } else { &mut *map }) = true;
            if *members && *map {
                (self.state, self.is_done) = (State::Idle, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Introduction;
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
        introduction.on_members(one);
        introduction.on_members(two);
        introduction.on_unreachable(one);
        assert!(introduction.is_first() && introduction.next_due_us() == Some(20));
        introduction.on_unreachable(two);
        assert_eq!(introduction.begin(11, 10, || Some(one)), Some(one));
        introduction.on_map(one);
        introduction.on_members(one);
        assert!(!introduction.is_first() && introduction.next_due_us().is_none());
        introduction.want(Some(two));
        assert_eq!(introduction.begin(30, 10, || None), Some(two));
        introduction.cancel();
        assert_eq!(introduction.next_due_us(), None);
    }
}
