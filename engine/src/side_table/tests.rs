//! The side table against a map, and its expiry queue.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Owned = (u64, Option<(Actor, Clock)>, Vec<(Actor, Clock)>, Vec<(Dot, bool)>);

fn hash(high: u64) -> IndexHash {
    IndexHash { high: high << 56, low: high as u8 }
}

fn expiring(expires_at_ms: u64) -> Extra<'static> {
    Extra { expires_at_ms, ..Extra::default() }
}

fn pair(n: u64) -> (Actor, Clock) {
    (Actor::from_raw(n), Clock::from_raw(n + 1).unwrap())
}

fn due(table: &SideTable, now_ms: u64, max: usize) -> Vec<(u16, IndexHash)> {
    let mut due = Vec::new();
    table.due(now_ms, max, &mut due);
    due
}

fn check(table: &SideTable, truth: &BTreeMap<(u16, IndexHash), Owned>) {
    for (&(partition, hash), (expires_at_ms, actor, context, siblings)) in truth {
        let extra = table.get(partition, hash).unwrap();
        assert_eq!(extra, Extra { expires_at_ms: *expires_at_ms, actor: *actor, context, siblings });
    }
    let mut expected: Vec<_> =
        truth.iter().filter(|(_, owned)| owned.0 != 0).map(|(key, owned)| (owned.0, *key)).collect();
    expected.sort_unstable();
    let found: Vec<_> = due(table, u64::MAX, usize::MAX).into_iter().map(|key| (truth[&key].0, key)).collect();
    assert!(found.is_sorted_by_key(|(expires_at_ms, _)| *expires_at_ms));
    let mut sorted = found;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!((table.len, table.expiring()), (truth.len(), expected.len()));
    let has_details = |owned: &&Owned| owned.1.is_some() || !owned.2.is_empty() || !owned.3.is_empty();
    assert_eq!(table.details.len(), truth.values().filter(has_details).count());
    assert_eq!(table.slot_bytes, table.tables.iter().map(Table::bytes).sum::<usize>());
    assert_eq!(table.heap_bytes, truth.values().map(|owned| owned.2.len() * 16 + owned.3.len() * 24).sum::<usize>());
    table.tables.iter().for_each(Table::check);
}

proptest! {
    #[test]
    fn histories_agree_with_a_map(
        operations in prop::collection::vec((0..3u16, 0..40u64, 0..2u8, 0..6u64, 0..8u64), 1..300),
    ) {
        let mut table = SideTable::new(&Partitions::new(5..8, 100));
        let mut truth = BTreeMap::new();
        for (partition, key, low, expires_at_ms, more) in operations {
            // Some keys share the upper bits of their hash.
            let (partition, hash) = (partition + 5, IndexHash { low, ..hash(key) });
            let context: Vec<_> = (0..more.saturating_sub(4)).map(pair).collect();
            let actor = (more == 3).then(|| pair(key));
            let siblings: Vec<_> = (0..more.saturating_sub(5)).map(|n| (Dot::new(pair(n).1, pair(n).0), n == 1)).collect();
            let extra = Extra { expires_at_ms, actor, context: &context, siblings: &siblings };
            if extra.is_empty() {
                truth.remove(&(partition, hash));
                table.set(partition, hash, extra);
            } else if more == 1 {
                prop_assert_eq!(table.remove(partition, hash), truth.remove(&(partition, hash)).is_some());
            } else {
                table.set(partition, hash, extra);
                truth.insert((partition, hash), (expires_at_ms, actor, context, siblings));
            }
            prop_assert_eq!(table.get(partition, hash).is_some(), truth.contains_key(&(partition, hash)));
        }
        check(&table, &truth);
        table.clear();
        check(&table, &BTreeMap::new());
    }
}

#[test]
fn what_is_due_comes_in_order_and_stays_until_it_is_removed() {
    let mut table = SideTable::new(&Partitions::new(0..2, 100));
    for key in 0..100 {
        table.set((key % 2) as u16, hash(key), expiring(1_000 + (key * 37) % 100));
    }
    assert!(due(&table, 999, 10).is_empty());
    assert_eq!(due(&table, 1_000, 10), [(0, hash(0))]);
    assert_eq!(due(&table, 1_001, 10), [(0, hash(0)), (1, hash(73))]);
    assert_eq!(due(&table, u64::MAX, 3).len(), 3);
    for (partition, hash) in due(&table, 1_049, usize::MAX) {
        assert!(table.remove(partition, hash) && !table.remove(partition, hash));
    }
    assert_eq!((table.len, due(&table, 1_049, 9).len(), due(&table, 1_050, 9).len()), (50, 0, 1));
}

#[test]
fn overwriting_an_instant_leaves_nothing_behind() {
    let mut table = SideTable::new(&Partitions::new(0..1, 100));
    for instant in 1..10_000 {
        table.set(0, hash(1), expiring(instant));
    }
    let bytes = table.bytes();
    assert_eq!((table.queue.len(), table.expiring()), (1, 1));
    table.set(0, hash(1), expiring(5));
    assert_eq!((table.bytes(), due(&table, 5, 9)), (bytes, vec![(0, hash(1))]));
    table.set(0, hash(1), Extra { context: &[pair(1)], ..Extra::default() });
    assert_eq!((table.queue.len(), table.expiring(), table.len), (0, 0, 1));
    table.set(0, hash(1), Extra::default());
    assert!(table.len == 0 && table.get(0, hash(1)).is_none());
}

#[test]
fn the_far_future_is_the_last_instant() {
    let mut table = SideTable::new(&Partitions::new(0..1, 100));
    table.set(0, hash(1), expiring(u64::MAX));
    assert_eq!(table.get(0, hash(1)).unwrap().expires_at_ms, EXPIRY_MS_MAX);
    assert!(table.remove(0, hash(1)));
}
