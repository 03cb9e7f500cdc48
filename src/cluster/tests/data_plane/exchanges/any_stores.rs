//! Whatever two owners have, after one exchange it is the same.

use annulus_object::{Context, Object};
use proptest::prelude::*;

use super::{dot, keep, limits, sum};
use crate::world::World;
use annulus_cluster::limits::Limits;

/// A step of a key's history: who writes, from whom it learns before, whether it replaces what it has, whether it deletes.
type Step = (u64, u64, bool, bool);

/// What two of three actors have of a key after some history: each has seen all of its own.
fn states(steps: &[Step]) -> [Object; 2] {
    let mut states: [Object; 3] = std::array::from_fn(|_| Object::default());
    for (clock, (actor, from, replaces, deletes)) in (10..).zip(steps) {
        let learnt = states[*from as usize].clone();
        let own = &mut states[*actor as usize];
        own.merge(learnt);
        let seen = if *replaces { own.context().clone() } else { Context::default() };
        let value = (!deletes).then(|| format!("v{clock}").into_bytes());
        own.write(dot(clock, actor + 1), &seen, value, 0);
    }
    let [first, second, _] = states;
    [first, second]
}

fn stores() -> impl Strategy<Value = Vec<[Object; 2]>> {
    let step = (0..3_u64, 0..3_u64, any::<bool>(), any::<bool>());
    prop::collection::vec(prop::collection::vec(step, 0..8), 0..25)
        .prop_map(|keys| keys.iter().map(|steps| states(steps)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn two_owners_are_equal_after_one_exchange(
        stores in stores(),
        leaf_bits in [prop::sample::select(&[0, 3, 6, 8][..]), prop::sample::select(&[0, 3, 6, 8][..])],
        keys_per_message in 1..6_usize,
    ) {
        let limits = Limits { exchange_keys_per_message: keys_per_message, ..limits() };
        let mut world = World::with_limits(2, limits);
        (0..2).for_each(|index| world.nodes[index].store.set_leaf_bits(leaf_bits[index]));
        let key = |number: usize| format!("k{number}").into_bytes();
        for (number, objects) in stores.iter().enumerate() {
            for (index, object) in objects.iter().enumerate().filter(|(_, object)| !object.is_empty()) {
                keep(&mut world, index, &key(number), object);
            }
        }
        let ended = |world: &World| sum(world, |counters| counters.exchanges_equal + counters.exchanges_differing);
        while ended(&world) == 0 {
            world.tick(10);
            world.settle();
        }
        prop_assert_eq!(ended(&world), 1);
        prop_assert_eq!(sum(&world, |counters| counters.exchanges_failed), 0);
        for (number, [first, second]) in stores.iter().enumerate() {
            let mut merged = first.clone();
            merged.merge(second.clone());
            for index in 0..2 {
                let found = world.owned(index, &key(number));
                // What was seen of what is gone need not be the same where the siblings are: it is in no tree.
                prop_assert_eq!(found.siblings(), merged.siblings(), "key {} at {}", number, index);
            }
        }
    }
}
