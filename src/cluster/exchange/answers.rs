//! What this node tells another owner that compares a partition with it. Everything is answered from memory, at once.
//!
//! Invariant: nothing is told to a node that does not own the partition under the same ring.

use std::ops::Range;

use super::{CUT_LAG, cut_in_use, epoch_of};
use crate::ids::NodeId;
use crate::message::{ExchangeMessage, ExchangeRefusal, Header, KeyList, Message, NodeList, SumList, write_key};
use crate::replica::is_owner;
use crate::turn::Turn;

/// Bytes of keys and versions in one message; one key more may be in it.
const KEYS_BYTES_MAX: usize = 256 << 10;

/// Answers, and the memory that they are written in.
#[derive(Debug, Default)]
pub(super) struct Answers {
    sums: Vec<u64>,
    bytes: Vec<u8>,
}

impl Answers {
    /// Answers a root, sums or keys; how many sums and keys that took.
    pub(super) fn answer(
        &mut self,
        turn: &mut Turn<'_>,
        (from, asked): (NodeId, &Header),
        question: &ExchangeMessage<'_>,
    ) -> (usize, usize) {
        if let Some(why) = refusal(turn, from, asked, question) {
            let epoch = epoch_of(turn.now, &turn.common.limits);
            turn.reply(from, asked, &Message::Exchange(ExchangeMessage::Refused { why, epoch }));
            return (0, 0);
        }
        match *question {
            ExchangeMessage::RootRead { cut, root } => {
                let bits = turn.common.limits.exchange_epoch_bits;
                let (asked_cut, cut) = (cut, cut_in_use(cut));
                let leaf_bits = turn.store.leaf_bits_at(asked.partition, cut) as u8;
                let answer = match turn.store.root_at(asked.partition, cut) == root {
                    true => {
                        let now_ms = turn.now.unix_ms;
                        turn.note_pair((asked.partition, from), |fact| fact.note_equal(asked_cut, bits, now_ms));
                        ExchangeMessage::Equal
                    }
                    false => ExchangeMessage::Differs { leaf_bits },
                };
                if answer == ExchangeMessage::Equal {
                    turn.note_equal(asked.partition, from, cut);
                }
                turn.reply(from, asked, &Message::Exchange(answer));
                (1, 0)
            }
            ExchangeMessage::SumsRead { cut, parent_bits, bits, nodes } => {
                let levels = (u32::from(parent_bits), u32::from(bits));
                let sums = self.sums(turn, (from, asked), cut, levels, nodes);
                (sums, 0)
            }
            ExchangeMessage::KeysRead { from: first, to } => (0, self.keys(turn, (from, asked), (first, to))),
            _ => unreachable!("only questions are answered"),
        }
    }

    fn sums(
        &mut self,
        turn: &mut Turn<'_>,
        (from, asked): (NodeId, &Header),
        cut: u64,
        (parent_bits, bits): (u32, u32),
        nodes: NodeList<'_>,
    ) -> usize {
        self.sums.clear();
        for node in nodes.iter() {
            let below = nodes_below(node, parent_bits, bits);
            turn.store.sums_at(asked.partition, cut_in_use(cut), bits, below, &mut self.sums);
        }
        self.bytes.clear();
        self.sums.iter().for_each(|sum| self.bytes.extend_from_slice(&sum.to_le_bytes()));
        turn.reply(from, asked, &Message::Exchange(ExchangeMessage::Sums(SumList::written(&self.bytes))));
        self.sums.len()
    }

    fn keys(&mut self, turn: &mut Turn<'_>, (from, asked): (NodeId, &Header), (first, to): (u64, u64)) -> usize {
        let bytes = &mut self.bytes;
        bytes.clear();
        let (mut count, mut last, mut cut_off) = (0, None, None);
        let max = turn.common.limits.exchange_keys_per_message;
        let next = turn.store.visit_versions(asked.partition, first..=to, max, &mut |hash, versions| {
            let high = (hash >> 64) as u64;
            // Keys that share these bits stay together.
            if cut_off.is_none() && bytes.len() >= KEYS_BYTES_MAX && last != Some(high) {
                cut_off = Some(high);
            }
            if cut_off.is_none() {
                last = Some(high);
                count += 1;
                write_key(hash, versions, bytes);
            }
        });
        let answer = ExchangeMessage::Keys { next: cut_off.or(next), keys: KeyList::written(bytes) };
        turn.reply(from, asked, &Message::Exchange(answer));
        count
    }
}

/// The nodes of the level with 2^`bits` below a node of that with 2^`parent_bits`.
pub(super) fn nodes_below(node: u32, parent_bits: u32, bits: u32) -> Range<u32> {
    let step = bits - parent_bits;
    node << step..(node + 1) << step
}

/// Why another is not answered, if so.
fn refusal(turn: &Turn<'_>, from: NodeId, asked: &Header, question: &ExchangeMessage<'_>) -> Option<ExchangeRefusal> {
    let partition = asked.partition;
    let is_same_ring = asked.fingerprint == turn.routes.fingerprint();
    let has_partition = turn.store.partition_from(partition) == Some(partition);
    if !is_same_ring || !is_owner(turn, partition) || !turn.routes.owners(partition).contains(&from) || !has_partition {
        return Some(ExchangeRefusal::Ring);
    }
    match *question {
        ExchangeMessage::RootRead { cut, .. } => {
            let is_behind = epoch_of(turn.now, &turn.common.limits) <= cut;
            is_behind.then_some(ExchangeRefusal::Behind)
        }
        ExchangeMessage::SumsRead { cut, bits, .. } => {
            let has_level = u32::from(bits) <= turn.store.leaf_bits_at(partition, cut_in_use(cut));
            (!has_level).then_some(ExchangeRefusal::Leaves)
        }
        _ => None,
    }
}

/// The cut that a node with this epoch can be compared at.
pub(super) fn cut_of(epoch: u64) -> u64 {
    epoch.saturating_sub(CUT_LAG)
}
