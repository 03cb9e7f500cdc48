//! The production protocol as the world drives it: a shard, and the ring as that core sees it.
//!
//! It is not the control plane: who owns what is fixed for a run, and who answers is what the world's detector says.
//!
//! Invariant: what a shard is told of the ring changes between events only.

use std::collections::BTreeSet;
use std::rc::Rc;

use annulus_cluster::effect::Effects;
use annulus_cluster::event::{Event, Now};
use annulus_cluster::ids::{NodeId, Session};
use annulus_cluster::message::{ExchangeMessage, Message, Unverified};
use annulus_cluster::route_table::RouteTable;
use annulus_cluster::shard::{Shard, Start};
use annulus_cluster::store::{Store, Versions, VersionsView};
use annulus_object::{Dot, Object};

use crate::node::{Described, ExchangeCounts, Load, Protocol, RefillCounts, Setup};
use crate::ring::{Ring, place_of};

/// The ring, and who answers.
struct View {
    own: NodeId,
    ring: Rc<Ring>,
    up: BTreeSet<NodeId>,
    table: RouteTable,
}

impl View {
    /// All answer.
    fn new(own: NodeId, ring: Rc<Ring>) -> Self {
        let up = ring.placed().loads().map(|(member, _)| member.node).collect();
        let table = RouteTable::new(own, ring.placed(), &up);
        Self { own, ring, up, table }
    }

    fn on_liveness(&mut self, node: NodeId, up: bool) {
        if up {
            self.up.insert(node)
        } else {
            self.up.remove(&node)
        };
        self.table = RouteTable::new(self.own, self.ring.placed(), &self.up);
    }
}

/// One core's protocol.
pub struct Production {
    shard: Shard,
    view: View,
}

impl<S: Store> Protocol<S> for Production {
    fn new(setup: Setup) -> Self {
        let session = Session(setup.node.raw() << 40 | u64::from(setup.life) << 8 | u64::from(setup.core));
        let start = Start {
            node: setup.node,
            session,
            earlier_actor: setup.earlier_actor,
            is_refilling: setup.is_refilling,
            limits: setup.limits,
        };
        Self { shard: Shard::new(start), view: View::new(setup.node, setup.ring) }
    }

    fn on_event(&mut self, now: Now, event: Event<'_>, store: &mut S, effects: &mut Effects) {
        if let Event::Liveness { node, up } = event {
            self.view.on_liveness(node, up);
        }
        self.shard.handle(now, event, store, &self.view.table, effects);
    }

    fn load(&self) -> Load {
        let (requests, operations, hints_in_flight) = self.shard.in_flight();
        Load { requests, operations, hints_in_flight, exchanges: self.shard.exchanges_in_flight() }
    }

    fn exchanges(&self) -> ExchangeCounts {
        let counters = self.shard.counters();
        ExchangeCounts {
            begun: counters.exchanges,
            equal: counters.exchanges_equal,
            differing: counters.exchanges_differing,
            failed: counters.exchanges_failed,
            of_dirty: counters.exchanges_of_dirty,
            keys: counters.exchange_keys,
            objects: counters.exchange_objects_received,
        }
    }

    fn refilling(&self) -> RefillCounts {
        let counters = self.shard.counters();
        RefillCounts { uncounted: counters.words_uncounted, partitions: counters.partitions_refilled }
    }

    fn is_refilled(&self, store: &S) -> bool {
        self.shard.is_refilled(store, &self.view.table)
    }

    fn told(bytes: &[u8]) -> Vec<Dot> {
        match Unverified::new(bytes).check(usize::MAX) {
            Ok((_, Message::VersionReply { versions, .. })) => dots_of(versions),
            Ok((_, Message::ObjectReply { object: Some(object), .. })) => versions_of(object),
            _ => Vec::new(),
        }
    }

    fn describe(bytes: &[u8]) -> Described {
        match Unverified::new(bytes).check(usize::MAX) {
            Ok((_, message)) => describe(&message),
            Err(error) => Described { before: format!("bytes that are no message: {error}"), ..Described::default() },
        }
    }
}

fn versions_of(bytes: &[u8]) -> Vec<Dot> {
    let object = Object::decode(bytes).unwrap_or_default();
    object.siblings().iter().map(|sibling| sibling.dot).collect()
}

fn dots_of(versions: &[u8]) -> Vec<Dot> {
    let mut known = Versions::default();
    VersionsView::check(versions).expect("checked with the message").copy_to(&mut known);
    known.siblings.iter().map(|sibling| sibling.0).collect()
}

fn describe(message: &Message<'_>) -> Described {
    let told =
        |before: &str, dots: Vec<Dot>, after: String| Described { before: before.to_owned(), dots: Some(dots), after };
    let plain = |before: String| Described { before, ..Described::default() };
    match message {
        Message::Write { target, object, .. } => {
            let hint = target.map(|target| format!(" for n{}", place_of(target))).unwrap_or_default();
            told("keep", versions_of(object), hint)
        }
        Message::Repair { object, .. } => told("take, for repair,", versions_of(object), String::new()),
        Message::WriteReply(outcome) => plain(format!("{outcome:?}")),
        Message::VersionRead { .. } => plain("which versions have you?".to_owned()),
        Message::VersionReply { versions, is_owner } => {
            told("versions:", dots_of(versions), if *is_owner { String::new() } else { " (no owner)".to_owned() })
        }
        Message::ObjectRead { .. } => plain("give me all of it".to_owned()),
        Message::ObjectReply { object, .. } => match object {
            Some(object) => told("all of it:", versions_of(object), String::new()),
            None => plain("cannot read it".to_owned()),
        },
        Message::ForwardPut(put) => {
            plain(format!("coordinate this write until {} (forward {})", put.deadline_ms, put.number))
        }
        Message::ForwardGet { .. } => plain("coordinate this read".to_owned()),
        Message::ForwardReply(outcome) => plain(format!("forward: {}", outcome_text(outcome))),
        Message::Exchange(message) => plain(exchange_text(message)),
    }
}

fn exchange_text(message: &ExchangeMessage<'_>) -> String {
    match message {
        ExchangeMessage::RootRead { cut, .. } => format!("is your tree the same at cut {cut}?"),
        ExchangeMessage::Equal => "the tree is the same".to_owned(),
        ExchangeMessage::Differs { .. } => "the tree is another".to_owned(),
        ExchangeMessage::Refused { why, .. } => format!("no comparison: {why:?}"),
        ExchangeMessage::SumsRead { bits, nodes, .. } => {
            format!("which sums has level {bits} below {} nodes?", nodes.iter().len())
        }
        ExchangeMessage::Sums(sums) => format!("{} sums", sums.iter().len()),
        ExchangeMessage::KeysRead { from, to } => format!("which keys are from {from:x} to {to:x}?"),
        ExchangeMessage::Keys { next, keys } => {
            let more = if next.is_some() { ", and more" } else { "" };
            format!("{} keys{more}", keys.iter().count())
        }
        ExchangeMessage::Wanted(hashes) => format!("send me {} of them", hashes.iter().len()),
    }
}

fn outcome_text(outcome: &annulus_cluster::message::ForwardOutcome<'_>) -> String {
    use annulus_cluster::message::ForwardOutcome as Outcome;
    match outcome {
        Outcome::Written { dot, .. } => format!("written as {dot:?}"),
        Outcome::Found { object, .. } => format!("found {} siblings", versions_of(object).len()),
        Outcome::Failed(failure) => format!("{failure}"),
        Outcome::NotCarriedOut(why) => format!("not carried out: {why:?}"),
    }
}
