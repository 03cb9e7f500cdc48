//! Who answers: SWIM, by the crate foca, driven as a pure component.
//!
//! Datagrams' parts, the time and calls go in; parts to send and notices come out in an [`Output`]. It decides nothing about
//! membership: a node that is down is still a member, and only the map says who is one.
//!
//! Ours, not foca's:
//!
//! * the timers (`failure_detector/timers.rs`), and with them how long anything takes (`failure_detector/pace.rs`);
//! * what happens when we were late ourselves: nothing fires at first, so that what came in meanwhile is read before anybody
//!   is judged, and suspects get twice the time;
//! * coming back: from solitude through seeds (`failure_detector/contacts.rs`), from being taken for dead under a new session,
//!   at most once a second, so that two nodes that disagree do not do so at the speed of the network.
//!
//! Invariant: whoever drives it reads all datagrams that have arrived before it tells the time; the same calls and the same
//! seed give the same output.

mod codec;
mod contacts;
mod identity;
mod output;
mod pace;
mod round_trips;
mod surroundings;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use foca::{Foca, Identity as _, Member, NoCustomBroadcast, State, Timer};

use crate::limits::ControlLimits;
use crate::random::Random;
use codec::{Codec, Glance, Kind};
use contacts::Contacts;
pub use identity::Identity;
pub use output::{Notice, Output, Sending};
use pace::Pace;
pub use surroundings::Counts;
use surroundings::Surroundings;

/// Why a datagram's part was not taken. Nothing was changed, unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No member writes it. What stands before the damage may have been taken.
    #[error("malformed")]
    Malformed,
    /// It says that it is from us: a seed's address is our own, or two nodes have one number.
    #[error("from a node with our own number")]
    OurOwn,
    /// We were told that we are dead a moment ago.
    #[error("told already")]
    Throttled,
    /// There are as many members as there may be.
    #[error("too many members")]
    Full,
    /// We have left.
    #[error("left")]
    Left,
}

/// See the module.
pub struct FailureDetector {
    foca: Foca<Identity, Codec, Random, NoCustomBroadcast>,
    surroundings: Surroundings,
    limits: ControlLimits,
    contacts: Contacts,
    random: Random,
    has_left: bool,
    /// Used again.
    due: Vec<Timer<Identity>>,
}

impl FailureDetector {
    /// A node that knows nobody. Different nodes have different seeds, or they would act in step.
    #[must_use]
    pub fn new(identity: Identity, limits: &ControlLimits, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let pace = Pace::new(limits.clone());
        let codec = Codec { own: identity.node() };
        Self {
            foca: Foca::new(identity, pace.config(), random.fork(), codec),
            surroundings: Surroundings::new(pace),
            limits: limits.clone(),
            contacts: Contacts::new(),
            random,
            has_left: false,
            due: Vec::new(),
        }
    }

    /// Who we are now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        *self.foca.identity()
    }

    /// Members that answer, in no order that means anything; we are not among them.
    pub fn members(&self) -> impl Iterator<Item = Identity> + '_ {
        self.foca.iter_members().map(|member| *member.id())
    }

    /// How many members answer beside us.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.foca.num_members()
    }

    /// Whether some member answers and takes us for alive.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.surroundings.is_connected
    }

    /// Whether we have left, and not come back.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.surroundings.counts
    }

    /// How often to pass a piece of news on in a cluster of this size.
    #[must_use]
    pub fn transmissions(&self) -> u8 {
        self.surroundings.pace.transmissions()
    }

    /// Pieces of news about members that [`FailureDetector::gossip`] would pass on.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.foca.updates_backlog()
    }

    /// When [`FailureDetector::on_tick`] or [`FailureDetector::knock`] has something to do.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        let (timers, contacts) = (self.surroundings.timers.next_due_us(), self.contacts.next_due_us());
        timers.into_iter().chain(contacts).min()
    }

    /// Looks for the cluster, beginning with the next [`FailureDetector::knock`]. A node that had left comes back.
    pub fn join(&mut self, now_us: u64, seeds: Vec<SocketAddr>, output: &mut Output) {
        if std::mem::take(&mut self.has_left) {
            self.renew(now_us, output);
        }
        self.contacts.start(seeds, now_us);
    }

    /// Tells some members that we go; the rest is gossip. Afterwards nothing is taken any more.
    pub fn leave(&mut self, now_us: u64, output: &mut Output) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        self.contacts.stop();
        let result = self.foca.leave_cluster(self.surroundings.recorder(now_us, output));
        self.after(now_us, result, output);
        self.surroundings.is_connected = false;
    }

    /// A datagram's part has come. Returns who sent it.
    ///
    /// # Errors
    ///
    /// See [`Refused`]; the datagram is to be counted.
    pub fn on_datagram(&mut self, now_us: u64, bytes: &[u8], output: &mut Output) -> Result<Identity, Refused> {
        if self.has_left {
            return Err(Refused::Left);
        }
        let glance = Glance::at(bytes).ok_or(Refused::Malformed)?;
        if glance.kind == Kind::TurnUndead && now_us < self.surroundings.renewed_until_us {
            return Err(Refused::Throttled);
        }
        if self.is_full() && !self.members().any(|member| member.node() == glance.sender.node()) {
            return Err(Refused::Full);
        }
        self.surroundings.pace.on_received(&glance, now_us);
        let mut recorder = self.surroundings.recorder(now_us, output);
        recorder.told_by = Some(glance.sender);
        let result = self.foca.handle_data(bytes, recorder);
        self.adapt(now_us, output);
        match result {
            Ok(()) => {
                self.warn_suspect(glance.sender, output);
                Ok(glance.sender)
            }
            Err(foca::Error::DataFromOurselves) => Err(Refused::OurOwn),
            Err(_) => Err(Refused::Malformed),
        }
    }

    /// Tells a member that is suspected, and was heard just now, that it is: only it can refute, and it may have lost all that
    /// it was sent. News of the suspicion is passed on a few times only, and by now perhaps to everybody but the member.
    fn warn_suspect(&mut self, sender: Identity, output: &mut Output) {
        let known = self.foca.iter_membership_state().find(|member| *member.id() == sender);
        if let Some(suspect) = known.filter(|member| member.state() == State::Suspect) {
            output.send(sender.address(), &codec::gossip_about(self.identity(), suspect));
        }
    }

    /// Time has passed, and everything that came in was read.
    pub fn on_tick(&mut self, now_us: u64, output: &mut Output) {
        let Some(late_us) = self.surroundings.timers.next_due_us().and_then(|due_us| now_us.checked_sub(due_us)) else {
            return;
        };
        if late_us > self.limits.stall_us && self.surroundings.on_stall(now_us) {
            return;
        }
        self.surroundings.has_waited = false;
        let mut due = std::mem::take(&mut self.due);
        self.surroundings.timers.take_due(now_us, &mut due);
        let mut asked_others = false;
        for timer in due.drain(..) {
            if asked_others && matches!(timer, Timer::ProbeRandomMember(_)) {
                // Others were asked only now: they get their time before the member is judged.
                let due_us = now_us + self.surroundings.pace.indirect_wait_us();
                self.surroundings.timers.insert(due_us, timer);
                continue;
            }
            asked_others |= matches!(timer, Timer::SendIndirectProbe { .. });
            let mut recorder = self.surroundings.recorder(now_us, output);
            recorder.spares_unjudged = matches!(timer, Timer::ChangeSuspectToDown { .. });
            let result = self.foca.handle_timer(timer, recorder);
            self.after(now_us, result, output);
        }
        self.due = due;
    }

    /// Whether [`FailureDetector::knock`] has something to do.
    #[must_use]
    pub fn is_knock_due(&self, now_us: u64) -> bool {
        self.contacts.next_due_us().is_some_and(|due_us| due_us <= now_us)
    }

    /// Asks at seeds and at `unheard` addresses of the map, where that is due.
    pub fn knock(&mut self, now_us: u64, unheard: &[SocketAddr], output: &mut Output) {
        if !self.is_knock_due(now_us) {
            return;
        }
        let own = self.identity().address();
        let is_connected = self.is_connected();
        let foca = &self.foca;
        let is_heard = |address: SocketAddr| {
            address == own || (is_connected && foca.iter_members().any(|member| member.id().address() == address))
        };
        let (limits, random) = (&self.limits, &mut self.random);
        let chosen = self.contacts.choose(now_us, is_connected, unheard, is_heard, limits, random);
        for address in chosen {
            let result = self.foca.announce(Identity::anybody(address), self.surroundings.recorder(now_us, output));
            self.after(now_us, result, output);
        }
    }

    /// Sends what there is of news about members, or nothing, to some members: something to send news of the map with.
    pub fn gossip(&mut self, now_us: u64, output: &mut Output) {
        let result = self.foca.gossip(self.surroundings.recorder(now_us, output));
        self.after(now_us, result, output);
    }

    /// Ourselves and everything that we know of members, for one that has just come: see [`FailureDetector::on_members`].
    pub fn write_members(&self, out: &mut Vec<u8>) {
        let own = Member::alive(self.identity());
        for member in std::iter::once(&own).chain(self.foca.iter_membership_state()) {
            codec::encode_member(member, &mut *out).expect("a vector has room");
        }
    }

    /// Takes what another member knows. Nobody is told of it again: the others know it.
    ///
    /// # Errors
    ///
    /// [`Refused::Malformed`], [`Refused::Full`], [`Refused::Left`].
    pub fn on_members(&mut self, now_us: u64, bytes: &[u8], output: &mut Output) -> Result<(), Refused> {
        if self.has_left {
            return Err(Refused::Left);
        }
        let mut members: Vec<Member<Identity>> = Vec::new();
        let mut bytes = bytes;
        while !bytes.is_empty() {
            if members.len() == self.limits.members_max {
                return Err(Refused::Full);
            }
            members.push(codec::decode_member(&mut bytes).map_err(|_| Refused::Malformed)?);
        }
        let own = self.identity();
        let ours = |member: &Member<Identity>| member.id().node() == own.node();
        if let Some(later) = members.iter().filter(|member| ours(member)).map(Member::id).max()
            && *later > own
        {
            output.notify(Notice::Superseded { generation: later.generation() });
        }
        // Of those that we hear ourselves, a table of somebody who does not must not tell that they are down: when two sides of
        // a split meet again, each has all of the other's members for dead. True deaths are told by gossip.
        let heard: BTreeSet<Identity> = self.members().collect();
        let is_hearsay = |member: &Member<Identity>| member.state() == State::Down && heard.contains(member.id());
        let others = members.into_iter().filter(|member| !ours(member) && !is_hearsay(member));
        let result = self.foca.apply_many(others, false, self.surroundings.recorder(now_us, output));
        self.after(now_us, result, output);
        Ok(())
    }

    /// Begins a new generation, which was stored before; smaller ones than the present are ignored.
    pub fn adopt_generation(&mut self, now_us: u64, generation: u32, output: &mut Output) {
        let own = self.identity();
        if generation > own.generation() {
            self.change_identity(now_us, own.with_generation(generation), output);
        }
    }

    /// A new session, so that those who took us for dead hear us again.
    fn renew(&mut self, now_us: u64, output: &mut Output) {
        let own = self.identity();
        match own.renew() {
            Some(renewed) => self.change_identity(now_us, renewed, output),
            None => output.notify(Notice::Superseded { generation: own.generation() }),
        }
    }

    fn change_identity(&mut self, now_us: u64, identity: Identity, output: &mut Output) {
        let result = self.foca.change_identity(identity, self.surroundings.recorder(now_us, output));
        self.after(now_us, result, output);
        (self.surroundings.is_connected, self.surroundings.was_lonely) = (false, true);
        self.adapt(now_us, output);
    }

    fn is_full(&self) -> bool {
        self.foca.iter_membership_state().len() >= self.limits.members_max
    }

    fn after(&mut self, now_us: u64, result: Result<(), foca::Error>, output: &mut Output) {
        if result.is_err() {
            self.surroundings.counts.faults += 1;
        }
        self.adapt(now_us, output);
    }

    /// To the number of members, to being alone, and to being unheard for good.
    fn adapt(&mut self, now_us: u64, output: &mut Output) {
        if std::mem::take(&mut self.surroundings.was_lonely) && !self.is_connected() {
            self.contacts.retry(now_us);
        }
        if std::mem::take(&mut self.surroundings.is_defunct) && !self.has_left {
            output.notify(Notice::Superseded { generation: self.identity().generation() });
        }
        if self.surroundings.pace.on_size(self.foca.num_members() + 1) {
            let result = self.foca.set_config(self.surroundings.pace.config());
            assert!(result.is_ok(), "only what may change does");
        }
    }
}
