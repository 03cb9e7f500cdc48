//! What the failure detector wants to be reminded of, and when.
//!
//! Timers that are due at once fire in foca's own order, not in that of their instants: after a stall an indirect probe goes
//! out before the probe that it belongs to is judged.
//!
//! Invariant: every timer that went in comes out once, at its instant or later; of each member that is down at most one waits
//! to forget it.

use std::collections::BTreeMap;

use foca::Timer;

use super::identity::Identity;

/// Instants and what is due then.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// By instant; what has the same instant, in the order of coming.
    waiting: BTreeMap<(u64, u64), Timer<Identity>>,
    sequence: u64,
}

impl Timers {
    /// Adds a timer for `due_us`.
    pub(super) fn insert(&mut self, due_us: u64, timer: Timer<Identity>) {
        if let Timer::RemoveDown(member) = &timer {
            // A member that went down again: whoever it was before is forgotten already.
            let node = member.node();
            self.waiting.retain(|_, other| !matches!(other, Timer::RemoveDown(member) if member.node() == node));
        }
        self.sequence += 1;
        let before = self.waiting.insert((due_us, self.sequence), timer);
        assert!(before.is_none(), "sequence numbers differ");
    }

    /// The earliest instant, if anything waits.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(&(due_us, _), _)| due_us)
    }

    /// Moves what is due into `due`, in foca's order.
    pub(super) fn take_due(&mut self, now_us: u64, due: &mut Vec<Timer<Identity>>) {
        due.clear();
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now_us
        {
            due.push(entry.remove());
        }
        // Stable, so that of one kind the earlier instant comes first.
        due.sort();
    }

    /// We did not run for a while: nothing fires before `not_before_us`, and suspicions get `more_us`, because refutations
    /// may have been missed meanwhile.
    pub(super) fn on_stall(&mut self, now_us: u64, not_before_us: u64, more_us: u64) {
        let waiting = std::mem::take(&mut self.waiting);
        for ((due_us, sequence), timer) in waiting {
            let due_us = match timer {
                Timer::ChangeSuspectToDown { .. } => due_us.max(now_us) + more_us,
                _ => due_us.max(not_before_us),
            };
            self.waiting.insert((due_us, sequence), timer);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use foca::Timer;

    use super::{Identity, Timers};
    use crate::ids::NodeId;

    fn member(number: u64) -> Identity {
        Identity::new(NodeId::new(number), 1, "10.0.0.1:1".parse().unwrap())
    }

    fn suspicion(number: u64) -> Timer<Identity> {
        Timer::ChangeSuspectToDown { member_id: member(number), incarnation: 0, token: 0 }
    }

    #[test]
    fn what_is_due_together_fires_in_focas_order() {
        let mut timers = Timers::default();
        let indirect = Timer::SendIndirectProbe { probed_id: member(1), token: 0 };
        timers.insert(10, Timer::PeriodicAnnounce(0));
        timers.insert(20, suspicion(2));
        timers.insert(15, suspicion(3));
        timers.insert(30, Timer::ProbeRandomMember(0));
        timers.insert(40, indirect.clone());
        timers.insert(41, Timer::PeriodicGossip(0));
        assert_eq!(timers.next_due_us(), Some(10));
        let mut due = Vec::new();
        timers.take_due(40, &mut due);
        let expected = [indirect, Timer::ProbeRandomMember(0), suspicion(3), suspicion(2), Timer::PeriodicAnnounce(0)];
        assert_eq!(due, expected);
        assert_eq!((timers.next_due_us(), timers.len()), (Some(41), 1));
        timers.take_due(40, &mut due);
        assert!(due.is_empty());
    }

    #[test]
    fn a_stall_puts_off_what_is_due_and_gives_suspects_more_time() {
        let mut timers = Timers::default();
        timers.insert(10, Timer::ProbeRandomMember(0));
        timers.insert(20, suspicion(1));
        timers.insert(500, suspicion(2));
        timers.insert(900, Timer::PeriodicAnnounce(0));
        timers.on_stall(100, 150, 1000);
        let mut due = Vec::new();
        timers.take_due(149, &mut due);
        assert!(due.is_empty());
        timers.take_due(1099, &mut due);
        assert_eq!(due, [Timer::ProbeRandomMember(0), Timer::PeriodicAnnounce(0)]);
        timers.take_due(1500, &mut due);
        assert_eq!(due, [suspicion(1), suspicion(2)]);
    }

    #[test]
    fn of_each_member_that_is_down_one_timer_waits_to_forget_it() {
        let mut timers = Timers::default();
        for due_us in 0..100 {
            timers.insert(due_us, Timer::RemoveDown(member(1)));
            timers.insert(due_us, Timer::RemoveDown(member(2)));
        }
        assert_eq!((timers.len(), timers.next_due_us()), (2, Some(99)));
    }
}
