//! What foca knows nothing of: the time and its timers, and what has become of this node during a call.
//!
//! Invariant: everything that foca wants done during one call is in the output, or in the timers, when the call returns.

use std::time::Duration;

use foca::{Notification, Runtime, Timer};

use super::codec::{Glance, Kind};
use super::identity::Identity;
use super::output::{Notice, Output};
use super::pace::Pace;
use super::timers::Timers;

/// After a stall nothing fires for so long.
const GRACE_US: u64 = 50_000;
/// Being told that we are dead is believed this often.
const RENEW_EVERY_US: u64 = 1_000_000;

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Our timers were much too late.
    pub stalls: u64,
    /// We were taken for dead.
    pub renewals: u64,
    /// foca met what its documentation excludes: a mistake of ours.
    pub faults: u64,
}

/// What foca knows nothing of.
pub(super) struct Surroundings {
    pub(super) timers: Timers,
    pub(super) pace: Pace,
    pub(super) is_connected: bool,
    /// No member answered at some time during the last call.
    pub(super) was_lonely: bool,
    /// Our sessions ran out during the last call.
    pub(super) is_defunct: bool,
    /// Not told again before this that we are dead.
    pub(super) renewed_until_us: u64,
    /// The last tick was late, and nothing fired.
    pub(super) has_waited: bool,
    pub(super) counts: Counts,
}

impl Surroundings {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            timers: Timers::default(),
            pace,
            is_connected: false,
            was_lonely: false,
            is_defunct: false,
            renewed_until_us: 0,
            has_waited: false,
            counts: Counts::default(),
        }
    }

    /// For one call of foca.
    pub(super) fn recorder<'a>(&'a mut self, now_us: u64, output: &'a mut Output) -> Recorder<'a> {
        Recorder { now_us, surroundings: self, told_by: None, spares_unjudged: false, output }
    }

    /// Our timers are much too late. True when they wait a moment more, so that what came in meanwhile is read; not twice in a
    /// row, because a node that is late all the time would never probe anybody.
    pub(super) fn on_stall(&mut self, now_us: u64) -> bool {
        self.counts.stalls += 1;
        self.pace.on_stall(now_us);
        if self.has_waited {
            return false;
        }
        self.has_waited = true;
        let more_us = self.pace.calm_suspicion_us();
        self.timers.on_stall(now_us, now_us + GRACE_US, more_us);
        true
    }
}

/// Takes down what foca wants done during one call.
pub(super) struct Recorder<'a> {
    now_us: u64,
    surroundings: &'a mut Surroundings,
    /// Whose datagram foca reads.
    pub(super) told_by: Option<Identity>,
    /// The time to refute a suspicion is over. foca 2.0 then tells the member that it is dead even if it has refuted in time,
    /// and the member would have to come back for nothing: only one that has just been found down is told.
    pub(super) spares_unjudged: bool,
    output: &'a mut Output,
}

impl Runtime<Identity> for Recorder<'_> {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        let around = &mut *self.surroundings;
        let notice = match notification {
            Notification::MemberUp(member) => Notice::Up(*member),
            Notification::MemberDown(member) => {
                self.spares_unjudged = false;
                Notice::Down(*member)
            }
            Notification::Rename(before, after) => Notice::Replaced { before: *before, after: *after },
            Notification::Active => {
                around.is_connected = true;
                Notice::Connected
            }
            Notification::Idle => {
                (around.is_connected, around.was_lonely) = (false, true);
                Notice::Alone
            }
            Notification::Defunct => {
                (around.is_connected, around.is_defunct) = (false, true);
                return;
            }
            Notification::Rejoin(own) => {
                (around.is_connected, around.was_lonely) = (false, true);
                around.counts.renewals += 1;
                around.renewed_until_us = self.now_us + RENEW_EVERY_US;
                Notice::Renewed { by: self.told_by.unwrap_or(*own) }
            }
        };
        self.output.notify(notice);
    }

    fn send_to(&mut self, to: Identity, bytes: &[u8]) {
        if self.spares_unjudged && Glance::at(bytes).is_some_and(|glance| glance.kind == Kind::TurnUndead) {
            return;
        }
        self.surroundings.pace.on_sent(to, bytes, self.now_us);
        self.output.send(to.address(), bytes);
    }

    fn submit_after(&mut self, timer: Timer<Identity>, after: Duration) {
        let delay_us = self.surroundings.pace.delay_us(&timer, after, self.now_us);
        self.surroundings.timers.insert(self.now_us + delay_us, timer);
    }
}
