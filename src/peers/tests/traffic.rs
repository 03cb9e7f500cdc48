//! Two tables that talk over connections which come, go and fail: every message arrives, or its sender is told that it may not
//! have.

use proptest::prelude::*;

use super::*;

/// What happens next, each by a number that says to whom.
#[derive(Debug, Clone)]
enum Step {
    Send(usize, usize),
    Carry(usize),
    Dialled(usize),
    DialFailed(usize),
    Cut(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..2, prop_oneof![0_usize..50, 70_000_usize..200_000]).prop_map(|(side, bytes)| Step::Send(side, bytes)),
        8 => (0_usize..8).prop_map(Step::Carry),
        4 => (0_usize..2).prop_map(Step::Dialled),
        1 => (0_usize..2).prop_map(Step::DialFailed),
        1 => (0_usize..8).prop_map(Step::Cut),
        2 => (1_u64..300).prop_map(Step::Wait),
    ]
}

#[derive(Debug, Default)]
struct World {
    sides: Vec<Peers>,
    /// Connections that stand, with the dialler's; the number is the same on both sides.
    standing: Vec<usize>,
    next_connection: usize,
    now_us: u64,
    next_message: u32,
    /// Sent by each side, and not known to have arrived.
    open: [Vec<u32>; 2],
    arrived: [Vec<u32>; 2],
    /// Messages that were open when their side was told that some may be lost.
    doubtful: [Vec<u32>; 2],
}

impl World {
    fn other(side: usize) -> PeerCore {
        if side == 0 { B } else { A }
    }

    fn send(&mut self, side: usize, bytes: usize) {
        let number = self.next_message;
        self.next_message += 1;
        let message = [&number.to_le_bytes()[..], &vec![0; bytes]].concat();
        self.open[side].push(number);
        let _ = self.sides[side].send(Self::other(side), place(), Channel::Data, &message, self.now_us);
    }

    fn connect(&mut self, side: usize) {
        if self.sides[side].next_dial().is_none() {
            return;
        }
        let at = connection(self.next_connection);
        self.next_connection += 1;
        self.standing.push(at.index());
        self.sides[side].on_connected(at, dialled(Self::other(side)), self.now_us);
        self.sides[1 - side].on_connected(at, accepted(Self::other(1 - side)), self.now_us);
    }

    /// Carries one buffer of each side.
    fn carry(&mut self) -> bool {
        let mut any = false;
        for side in 0..2 {
            let Some((at, buffer)) = self.sides[side].next_send() else { continue };
            any = true;
            let arrived = &mut self.arrived[side];
            let other = &mut self.sides[1 - side];
            if self.standing.contains(&at.index()) {
                other.on_received(at, &buffer, self.now_us, &mut |_, _, message| {
                    arrived.push(u32::from_le_bytes(message[..4].try_into().unwrap()));
                });
            }
            self.sides[side].on_sent(at, buffer, true, self.now_us);
        }
        any
    }

    fn cut(&mut self, which: usize) {
        if self.standing.is_empty() {
            return;
        }
        let at = self.standing.remove(which % self.standing.len());
        for side in &mut self.sides {
            side.on_ended(connection(at));
        }
    }

    /// What every turn does.
    fn settle(&mut self) {
        for side in 0..2 {
            while let Some(at) = self.sides[side].next_close() {
                self.standing.retain(|standing| *standing != at.index());
                self.sides[1 - side].on_ended(at);
                self.sides[side].on_closed(at);
            }
            while self.sides[side].next_lost().is_some() {
                self.doubtful[side].extend(self.open[side].iter());
            }
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send(side, bytes) => self.send(side, bytes),
            Step::Carry(times) => (0..=times).for_each(|_| assert!(self.carry() || !self.carry())),
            Step::Dialled(side) => self.connect(side),
            Step::DialFailed(side) => {
                if self.sides[side].next_dial().is_some() {
                    self.sides[side].on_dial_failed(Self::other(side), "no".to_owned(), false, self.now_us);
                }
            }
            Step::Cut(which) => self.cut(which),
            Step::Wait(ms) => {
                self.now_us += ms * MS;
                self.sides.iter_mut().for_each(|side| side.tick(self.now_us));
            }
        }
        self.settle();
    }
}

proptest! {
    #[test]
    fn every_message_arrives_once_or_its_node_is_told_of(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World { sides: vec![peers(), peers()], ..World::default() };
        steps.iter().for_each(|step| world.run(step));
        for _ in 0..4 {
            world.connect(0);
            world.connect(1);
            while world.carry() {
                world.settle();
            }
        }
        for side in 0..2 {
            let mut arrived = world.arrived[side].clone();
            arrived.sort_unstable();
            let count = arrived.len();
            arrived.dedup();
            prop_assert_eq!(arrived.len(), count, "nothing arrives twice");
            for number in &world.open[side] {
                let is_told = world.doubtful[side].contains(number);
                prop_assert!(is_told || arrived.binary_search(number).is_ok(), "message {} of side {}", number, side);
            }
        }
    }
}
