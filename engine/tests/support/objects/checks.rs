//! What must be seen: every key's object is one that the model allows, hints are listed once, sums agree.

use annulus_object::Sibling;

use super::*;

impl Objects {
    /// Compares the lists of hints with the model. To be called when no merge waits.
    pub fn check_hints(&mut self, targets: std::ops::RangeInclusive<u8>) {
        for (core, target) in
            (0..self.node.cores.len()).flat_map(|core| targets.clone().map(move |target| (core, target)))
        {
            let names: Vec<Vec<u8>> = self.model.keys().filter(|name| parse(name).0 == target).cloned().collect();
            let names = names.into_iter().filter(|name| self.core_of(name) == core && !self.visible(name).is_empty());
            let names: Vec<Vec<u8>> = names.collect();
            let engine = &mut self.node.cores[core];
            let mut expected: Vec<(u16, u128, Vec<u8>)> = names
                .into_iter()
                .map(|name| (partition_of(parse(&name).1), engine_key(engine, &name).hash, name))
                .collect();
            expected.sort_by_key(|(_, hash, _)| *hash);
            let (target, mut found, mut from) = (u64::from(target), Vec::new(), Some(0));
            while let Some(start) = from.take() {
                let before = found.len();
                engine.hints(target, start, 3, |partition, name, dot| found.push((partition, name, dot)));
                from = (found.len() == before + 3).then(|| found[found.len() - 1].1 + 1);
            }
            let listed: Vec<u128> = found.iter().map(|(_, name, _)| *name).collect();
            let wanted: Vec<u128> = expected.iter().map(|(_, name, _)| *name).collect();
            assert_eq!(listed, wanted, "hints of {target} listed");
            assert_eq!(engine.hint_count(target), expected.len() as u64, "hints counted");
            for ((partition, hash, name), (home, listed, dot)) in expected.into_iter().zip(found) {
                let object = self.visible(&name);
                assert_eq!((home, listed, Some(dot)), (partition, hash, object.latest().map(|latest| latest.dot)));
                assert_eq!(self.hint_object(core, target, hash), Some((parse(&name).1.to_vec(), object)));
                let engine = &self.node.cores[core];
                let mut kept_for = Vec::new();
                engine.hinted_for(&engine.key(parse(&name).1, partition), |target| kept_for.push(target));
                assert!(kept_for.contains(&target) && kept_for.is_sorted());
                self.met.hints_listed += 1;
            }
        }
    }

    pub(super) fn hint_object(&mut self, core: usize, target: u64, name: u128) -> Option<(Vec<u8>, Object)> {
        let mut fetched: Option<Rc<Record>> = None;
        for _ in 0..100 {
            let (mut key, mut object) = (Vec::new(), Vec::new());
            let engine = &mut self.node.cores[core];
            let plan = match engine.hint_object(target, name, fetched.as_ref(), (&mut key, &mut object)) {
                ObjectFound::Absent { .. } => return None,
                ObjectFound::Here { .. } => return Some((key, Object::decode(&object).unwrap())),
                ObjectFound::OnDisk(plan) => plan,
            };
            fetched = match self.fetch(core, &plan) {
                Err(ReadError::Gone) => None,
                result => Some(result.unwrap()),
            };
        }
        panic!("a read never ends");
    }

    /// The node's object of a key, through memory or disk.
    pub(super) fn object(&mut self, key: &[u8]) -> Result<Object, ReadError> {
        let core = self.core_of(key);
        let mut fetched: Option<Rc<Record>> = None;
        for _ in 0..100 {
            let engine = &mut self.node.cores[core];
            let known = engine_key(engine, key);
            let mut bytes = Vec::new();
            let plan = match engine.object_with(&known, fetched.as_ref(), &mut bytes) {
                ObjectFound::Absent { .. } => return Ok(Object::default()),
                ObjectFound::Here { .. } => return Ok(Object::decode(&bytes).unwrap()),
                ObjectFound::OnDisk(plan) => plan,
            };
            fetched = match self.fetch(core, &plan) {
                Err(ReadError::Gone) => None,
                result => Some(result?),
            };
        }
        panic!("a read never ends");
    }

    pub(super) fn shown(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let core = self.core_of(key);
        let mut fetched: Option<Rc<Record>> = None;
        for _ in 0..100 {
            let now_ms = self.node.now_ms;
            let engine = &mut self.node.cores[core];
            let known = engine_key(engine, key);
            let plan = match engine.find_with(&known, now_ms, fetched.as_ref()) {
                Found::Absent { .. } => return Ok(None),
                Found::Here { record, .. } => return Ok(Some(record.value(now_ms).to_vec())),
                Found::OnDisk(plan) => plan,
            };
            fetched = match self.fetch(core, &plan) {
                Err(ReadError::Gone) => None,
                result => Some(result?),
            };
        }
        panic!("a read never ends");
    }

    pub fn fetch(&mut self, core: usize, plan: &ReadPlan) -> Result<Rc<Record>, ReadError> {
        for _ in 0..1000 {
            let token = self.node.next_token;
            if !self.node.cores[core].start_read(plan, token) {
                self.turn(1);
                continue;
            }
            self.node.next_token += 1;
            self.met.objects_read += 1;
            for _ in 0..1000 {
                self.turn(1);
                if let Some(result) = self.read.remove(&token) {
                    return result;
                }
            }
        }
        panic!("a read is lost");
    }

    /// Compares what the node says of a key with the model; turns go by while it is read.
    pub fn check(&mut self, key: &[u8]) {
        let name = key.escape_ascii().to_string();
        let core = self.core_of(key);
        let engine = &mut self.node.cores[core];
        let known = engine_key(engine, key);
        // A core that becomes read-only gives up what waits behind a write in flight, and shows that one again when it ends.
        let is_open = |step: &Step| matches!(step.fate, Fate::Open(..));
        if engine.statistics().is_read_only && self.model.get(key).into_iter().flatten().any(is_open) {
            return;
        }
        let versions = engine.versions(&known);
        assert_eq!(versions, versions_of(&self.with_waiting(key)), "versions of {name}");
        let mut joined = self.visible(key);
        let engine = &self.node.cores[self.core_of(key)];
        engine.waiting_objects(&known, |waiting| joined.merge(Object::decode(waiting.bytes()).unwrap()));
        assert_eq!(joined, self.with_waiting(key), "what waits of {name}");
        match self.object(key) {
            Ok(object) => assert_eq!(object, self.visible(key), "object of {name}"),
            // A call that a test lets fail.
            Err(ReadError::Disk(_)) => return,
            Err(error) => panic!("{name} cannot be read: {error}"),
        }
        match self.shown(key) {
            Ok(value) => {
                let (object, now_ms) = (self.visible(key), self.node.now_ms);
                assert_eq!(value, shown(&object, now_ms), "value of {name}");
                self.met.newer_shown += u64::from(is_newer_shown(&object, now_ms));
            }
            Err(ReadError::Disk(_)) => {}
            Err(error) => panic!("{name} cannot be read: {error}"),
        }
    }

    /// What is durable is what the trees, the counts and the scans say. To be called when everything is.
    pub fn check_sums(&mut self) {
        self.node.check_trees();
        let keys: Vec<Vec<u8>> = self.model.keys().filter(|name| parse(name).0 == 0).cloned().collect();
        let cores = self.node.cores.len() as u16;
        for partition in 0..PARTITIONS {
            let core = (0..cores).find(|core| owned(*core, cores).contains(&partition)).unwrap();
            let engine = &self.node.cores[usize::from(core)];
            let mut items = Vec::new();
            for key in keys.iter().filter(|key| partition_of(key) == partition) {
                let hash = IndexHash::of(engine.key(key, partition).hash);
                items.extend(self.visible(key).siblings().iter().map(|sibling| (hash, sibling.dot)));
            }
            let expected = MerkleTree::build(leaves_for(items.len()), items);
            assert_eq!(engine.merkle_tree(partition).root(), expected.root(), "the tree of partition {partition}");
        }
        let now_ms = self.node.now_ms;
        let counted = |key: &&Vec<u8>| {
            let object = self.visible(key);
            object.latest().is_some_and(|latest| latest.borrowed().is_live(now_ms))
        };
        let counted = keys.iter().filter(counted).count();
        assert_eq!(self.node.counted_keys(), counted as u64, "keys counted: by their latest sibling");
        let mut expected: Vec<_> = keys.into_iter().filter(|key| shown(&self.visible(key), now_ms).is_some()).collect();
        expected.sort();
        assert_eq!(self.node.scan_keys(3), expected, "keys scanned");
    }
}

pub fn versions_of(object: &Object) -> Versions {
    let siblings = object.siblings().iter().map(|sibling| (sibling.dot, sibling.value.is_none()));
    Versions { siblings: siblings.collect(), context: object.context().clone() }
}

/// What a plain GET shows.
pub(super) fn shown(object: &Object, now_ms: u64) -> Option<Vec<u8>> {
    let shown = annulus_object::shown(object.siblings().iter().map(Sibling::borrowed), now_ms)?;
    shown.value.map(<[u8]>::to_vec)
}

/// Whether a touched value, whose write is later, is not shown for one that is newer.
fn is_newer_shown(object: &Object, now_ms: u64) -> bool {
    let live = || object.siblings().iter().map(Sibling::borrowed).filter(|sibling| sibling.is_live(now_ms));
    annulus_object::shown(live(), now_ms).map(|shown| shown.dot) < live().map(|sibling| sibling.dot).max()
}

/// A crash leaves the last durable object, merged with some of those that were on their way.
pub(super) fn assert_possible(key: &[u8], found: &Object, steps: &[Step], clean: bool) {
    let durable = steps.iter().rev().find(|step| step.fate == Fate::Durable);
    let durable = durable.map(|step| step.object.clone()).unwrap_or_default();
    let others: Vec<&Object> =
        steps.iter().filter(|step| step.fate != Fate::Durable).map(|step| &step.object).collect();
    let name = key.escape_ascii();
    if clean && others.is_empty() {
        return assert_eq!(*found, durable, "{name} after a clean stop");
    }
    let is_between = |low: &Object, high: &Object| matches!(high.compare(low), Comparison::Newer | Comparison::Equal);
    let all = others.iter().fold(durable.clone(), |all, other| merged(&all, other));
    assert!(is_between(&durable, found), "{name} holds {found:?}, which lacks what was durable: {durable:?}");
    assert!(is_between(found, &all), "{name} holds {found:?}, which nobody wrote: {all:?}");
    if others.len() <= 8 && steps.iter().all(|step| step.fate != Fate::Forgotten) {
        let mut subsets = (0..1_u32 << others.len()).map(|chosen| {
            let some = others.iter().enumerate().filter(|(index, _)| chosen & 1 << index != 0);
            some.fold(durable.clone(), |some, (_, other)| merged(&some, other))
        });
        assert!(subsets.any(|some| some == *found), "{name} holds {found:?}, a part of a write");
    }
}
