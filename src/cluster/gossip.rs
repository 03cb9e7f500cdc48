//! How a change of the membership map reaches everybody.
//!
//! Datagrams carry only *that* a node's entry has a new state ([`News`]); who lacks that state pulls the entry over the reliable
//! transport from whoever told it, merges it, and tells others in turn. Every datagram also carries the digest of the
//! sender's map: maps that stay different although there is no news are compared entry by entry, which mends whatever gossip
//! lost.
//!
//! ```text
//!  news seen, and newer than ours ──▶ pull ──▶ entry merged ──▶ news to tell, so often as the cluster is large
//!  digests differ for a while ──▶ compare ──▶ entries we lacked; the other pulls what it lacked
//! ```
//!
//! It does not know the map: who drives it does, and merges.
//!
//! Invariant: of each node there is at most one piece of news to tell and one pull under way.

use std::collections::{BTreeMap, VecDeque};

use crate::datagram::News;
use crate::ids::NodeId;
use crate::limits::ControlLimits;
use crate::membership::{EntryStamp, MapDigest};
use crate::random::Random;

/// Pieces of news that wait at most: where there are more, maps differ so much that they are compared.
const TELLINGS_MAX: usize = 256;
/// Entries that one comparison brings from which on they are not told one by one, and another comparison follows soon.
const BULK: usize = 32;

/// Between two comparisons while each brings much.
const BEHIND_US: u64 = 1_000_000;

/// To be told some more times.
#[derive(Debug)]
struct Telling {
    news: News,
    told: u8,
}

/// An entry that was asked for.
#[derive(Debug)]
struct Pulled {
    stamp: EntryStamp,
    /// Then the answer counts as lost.
    until_us: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Gossip {
    limits: ControlLimits,
    /// Newest in front; what was told goes to the back.
    tellings: VecDeque<Telling>,
    pulls: BTreeMap<NodeId, Pulled>,
    /// Since when maps were seen to differ, and when last. Our map's changes begin it anew.
    differs_us: Option<(u64, u64)>,
    compared_us: u64,
    /// Not compared before.
    next_compare_us: u64,
    compare_wait_us: u64,
    /// The last comparison brought so much that there is likely more.
    is_behind: bool,
    random: Random,
}

impl Gossip {
    /// Nothing to tell.
    #[must_use]
    pub fn new(limits: &ControlLimits, random: Random) -> Self {
        Self {
            limits: limits.clone(),
            tellings: VecDeque::new(),
            pulls: BTreeMap::new(),
            differs_us: None,
            compared_us: 0,
            next_compare_us: 0,
            compare_wait_us: limits.compare_every_us,
            is_behind: false,
            random,
        }
    }

    /// Pieces of news that wait to be told.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.tellings.len()
    }

    /// An entry of our map has a new state.
    pub fn tell(&mut self, news: News) {
        self.tellings.retain(|telling| telling.news.node != news.node);
        self.tellings.push_front(Telling { news, told: 0 });
        self.tellings.truncate(TELLINGS_MAX);
    }

    /// The next piece of news for a datagram. `budget` counts down, so that no piece is twice in one datagram; it begins with
    /// [`Gossip::backlog`]. Each piece is told so many `times`.
    pub fn next_news(&mut self, budget: &mut usize, times: u8) -> Option<News> {
        *budget = budget.checked_sub(1)?;
        let mut telling = self.tellings.pop_front()?;
        let news = telling.news;
        telling.told += 1;
        if telling.told < times {
            self.tellings.push_back(telling);
        }
        Some(news)
    }

    /// Whether to pull this entry, of which our map knows `known`, from who has just told of it.
    pub fn wants(&mut self, now_us: u64, news: News, known: Option<EntryStamp>) -> bool {
        if !news.stamp.is_news_to(known) {
            return false;
        }
        if let Some(pulled) = self.pulls.get(&news.node)
            && pulled.until_us > now_us
            && !news.stamp.is_news_to(Some(pulled.stamp))
        {
            return false;
        }
        if self.pulls.len() >= self.limits.members_max {
            self.pulls.retain(|_, pulled| pulled.until_us > now_us);
        }
        if self.pulls.len() >= self.limits.members_max && !self.pulls.contains_key(&news.node) {
            return false;
        }
        let pulled = Pulled { stamp: news.stamp, until_us: now_us + self.limits.answer_timeout_us };
        self.pulls.insert(news.node, pulled);
        true
    }

    /// An entry has come, whether or not it changed anything: it is not waited for any more.
    pub fn on_entry(&mut self, node: NodeId) {
        self.pulls.remove(&node);
    }

    /// Our map has changed: others may not have heard of it yet, so that differences mean nothing for a while.
    pub fn on_map_changed(&mut self) {
        self.differs_us = None;
        self.compare_wait_us = self.limits.compare_every_us;
    }

    /// The digest of another's map was seen. True when it is time to compare ours with it.
    pub fn on_digest(&mut self, now_us: u64, theirs: MapDigest, ours: MapDigest) -> bool {
        if theirs == ours {
            return false;
        }
        let begins_us = match self.differs_us {
            // A difference that was not seen again for a long time was another one.
            Some((begins_us, last_us)) if now_us.saturating_sub(last_us) < 4 * self.limits.settle_us => begins_us,
            _ => now_us,
        };
        self.differs_us = Some((begins_us, now_us));
        let is_settled = now_us - begins_us >= self.limits.settle_us;
        // In a map that changes all the time nothing settles.
        let is_overdue = now_us.saturating_sub(self.compared_us) >= self.limits.compare_every_us_max;
        (is_settled || is_overdue || self.is_behind) && now_us >= self.next_compare_us
    }

    /// A comparison has brought so many entries. True when they are to be told one by one.
    pub fn on_compared(&mut self, now_us: u64, entries: usize) -> bool {
        self.is_behind = entries >= BULK;
        if self.is_behind {
            self.next_compare_us = now_us + self.random.about(BEHIND_US);
        }
        !self.is_behind
    }

    /// A comparison begins.
    pub fn on_compare(&mut self, now_us: u64) {
        (self.compared_us, self.differs_us) = (now_us, None);
        self.next_compare_us = now_us + self.random.about(self.compare_wait_us);
        // Unless something changes, the next one is later.
        self.compare_wait_us = (self.compare_wait_us * 2).min(self.limits.compare_every_us_max);
    }
}

#[cfg(test)]
mod tests {
    use super::Gossip;
    use crate::datagram::News;
    use crate::ids::NodeId;
    use crate::limits::ControlLimits;
    use crate::membership::{EntryStamp, MapDigest};
    use crate::random::Random;

    const SECOND: u64 = 1_000_000;

    fn gossip() -> Gossip {
        Gossip::new(&ControlLimits { members_max: 3, ..ControlLimits::default() }, Random::new(1))
    }

    fn news(node: u64, version: u64, digest: u64) -> News {
        News { node: NodeId::new(node), stamp: EntryStamp { version, digest } }
    }

    fn datagram(gossip: &mut Gossip, room: usize) -> Vec<u64> {
        let mut budget = gossip.backlog();
        std::iter::from_fn(|| gossip.next_news(&mut budget, 2)).take(room).map(|news| news.node.raw()).collect()
    }

    #[test]
    fn fresh_news_goes_first_and_each_piece_so_often() {
        let mut gossip = gossip();
        for node in 1..=3 {
            gossip.tell(news(node, 1, 1));
        }
        assert_eq!(datagram(&mut gossip, 2), [3, 2]);
        gossip.tell(news(4, 1, 1));
        assert_eq!(datagram(&mut gossip, 9), [4, 1, 3, 2], "none twice in one datagram");
        gossip.tell(news(1, 2, 2));
        assert_eq!(datagram(&mut gossip, 9), [1, 4], "newer news of a node replaces older news");
        assert_eq!((datagram(&mut gossip, 9), datagram(&mut gossip, 9), gossip.backlog()), (vec![1], vec![], 0));
        (1..1000).for_each(|node| gossip.tell(news(node, 1, 1)));
        assert_eq!(gossip.backlog(), super::TELLINGS_MAX);
    }

    #[test]
    fn a_comparison_that_brings_much_is_followed_by_another_and_not_told() {
        let mut gossip = gossip();
        gossip.on_compare(SECOND);
        assert!(gossip.on_compared(SECOND, 5));
        assert!(!gossip.on_digest(4 * SECOND, MapDigest(1), MapDigest(2)));
        assert!(!gossip.on_compared(4 * SECOND, 500));
        assert!(!gossip.on_digest(4 * SECOND, MapDigest(1), MapDigest(2)));
        assert!(gossip.on_digest(6 * SECOND, MapDigest(1), MapDigest(2)));
    }

    #[test]
    fn an_entry_is_pulled_once_unless_the_answer_is_lost_or_something_newer_is_told() {
        let mut gossip = gossip();
        let known = Some(EntryStamp { version: 5, digest: 5 });
        assert!(!gossip.wants(0, news(1, 5, 5), known), "we have it");
        assert!(!gossip.wants(0, news(1, 4, 9), known), "ours is newer");
        assert!(gossip.wants(0, news(1, 5, 6), known), "another state of the same version");
        assert!(!gossip.wants(1, news(1, 5, 6), known), "under way");
        assert!(gossip.wants(1, news(1, 7, 1), known), "newer than what is under way");
        assert!(!gossip.wants(2 * SECOND, news(1, 6, 1), known));
        assert!(gossip.wants(2 * SECOND + 1, news(1, 6, 1), known), "the answer counts as lost");
        gossip.on_entry(NodeId::new(1));
        assert!(gossip.wants(2 * SECOND + 2, news(1, 6, 1), known), "it came, but was not all");
    }

    #[test]
    fn pulls_are_limited() {
        let mut gossip = gossip();
        assert!((1..=3).all(|node| gossip.wants(0, news(node, 1, 1), None)));
        assert!(!gossip.wants(1, news(4, 1, 1), None));
        assert!(gossip.wants(2 * SECOND, news(4, 1, 1), None), "those whose answer is lost make room");
    }

    #[test]
    fn maps_that_stay_different_are_compared_more_and_more_seldom() {
        let (mut gossip, ours, theirs) = (gossip(), MapDigest(1), MapDigest(2));
        let mut compared_s = Vec::new();
        for second in 1..=1200 {
            let now_us = second * SECOND;
            assert!(!gossip.on_digest(now_us, ours, ours));
            if gossip.on_digest(now_us, theirs, ours) {
                gossip.on_compare(now_us);
                compared_s.push(second);
            }
        }
        assert_eq!(compared_s[0], 6, "a difference has to last for a while");
        let waits: Vec<_> = compared_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((8..=13).contains(&waits[0]) && waits.last() >= Some(&225) && waits.len() < 10, "{waits:?}");
        gossip.on_map_changed();
        assert_eq!(gossip.compare_wait_us, gossip.limits.compare_every_us);
    }

    #[test]
    fn our_own_changes_and_long_agreement_begin_the_wait_anew() {
        let (mut gossip, ours, theirs) = (gossip(), MapDigest(1), MapDigest(2));
        assert!(!gossip.on_digest(SECOND, theirs, ours));
        gossip.on_map_changed();
        assert!(!gossip.on_digest(7 * SECOND, theirs, ours));
        assert!(!gossip.on_digest(40 * SECOND, theirs, ours), "long ago");
        assert!(gossip.on_digest(45 * SECOND, theirs, ours));
        gossip.on_compare(45 * SECOND);
        // A map that never settles is compared all the same, in the end.
        let first = (46..1000).find(|second| {
            gossip.on_map_changed();
            gossip.on_digest(second * SECOND, theirs, ours)
        });
        assert_eq!(first, Some(45 + 300));
    }
}
