//! What becomes of commands that were passed to an owner: answered, asked of the next one, or coordinated here after all.
//!
//! Invariant: of the commands of one key that come back in one event, at most one is stamped in it.

use super::Requests;
use crate::effect::Failure;
use crate::forward::Next;
use crate::ids::NodeId;
use crate::message::ForwardOutcome;
use crate::mutation::{Mutation, mutated};
use crate::slab::Handle;
use crate::turn::Turn;

impl Requests {
    /// An owner has dealt with a command that was passed to it.
    pub(crate) fn on_forward_outcome(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        from: NodeId,
        outcome: &ForwardOutcome<'_>,
    ) {
        match self.forwards.get(id) {
            Some(forward) => {
                let next = forward.on_outcome(turn, id, from, outcome, &mut self.number);
                self.after_forward(turn, id, next);
            }
            None => turn.common.counters.late_replies += 1,
        }
    }

    /// Waits on, or ends what is over.
    pub(super) fn after_forward(&mut self, turn: &mut Turn<'_>, mut id: Handle, next: Next) {
        if next == Next::Again {
            id = self.forwards.renew(id);
            self.forwards.get(id).expect("it is under way").send_again(turn, id, &mut self.number);
        }
        let forward = self.forwards.get(id).expect("it is under way");
        if matches!(next, Next::Wait | Next::Again) {
            self.forward_timers.set(id.slot(), forward.wake_us);
            return;
        }
        turn.common.counters.forwards += 1;
        turn.common.request_bytes -= forward.bytes;
        if next == Next::Coordinate {
            self.coordinate_as_fallback(turn, id);
        }
        let forward = self.forwards.get(id).expect("it is under way");
        forward.shrink(turn.common.limits.buffer_keep_bytes);
        self.forward_timers.clear(id.slot());
        self.forwards.release(id);
    }

    /// The same for one of many that go on in one event. It may have stamped a write of the key already: the next one has to
    /// see what that has stored, which shows from the next event on (rule S2).
    pub(super) fn after_forward_of_many(&mut self, turn: &mut Turn<'_>, id: Handle, next: Next) {
        if next == Next::Coordinate
            && !mutated(Mutation::ReturnedPutsStampedAtOnce)
            && let Some(hash) = self.forwards.get(id).and_then(|forward| forward.hash_of_put())
        {
            self.line.hold(hash);
        }
        self.after_forward(turn, id, next);
    }

    /// No owner is left that could be asked.
    fn coordinate_as_fallback(&mut self, turn: &mut Turn<'_>, id: Handle) {
        // Taken out, since what it becomes is in another slab.
        let forward = std::mem::take(self.forwards.get(id).expect("it is under way"));
        if forward.is_put() {
            let command = forward.put_command();
            let partition = command.write.key.partition;
            let list = turn.preference_list(partition, command.quorum.n);
            let node = turn.common.node;
            let may_keep = list.owners.contains(&node) || list.fallbacks().any(|fallback| fallback == node);
            if may_keep && turn.store.takes_writes() {
                self.coordinate_put(turn, &command);
            } else {
                let failure = if may_keep { Failure::NotCoordinating } else { Failure::NoReplicas };
                turn.answer_failed((command.origin, partition), command.repetition.refusal(failure));
            }
        } else {
            self.coordinate_get(turn, &forward.get_command());
        }
        *self.forwards.get(id).expect("it is under way") = forward;
    }
}
