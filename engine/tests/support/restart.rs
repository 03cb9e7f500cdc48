//! Stopping and starting a node, and what must be true afterwards.

use annulus_engine::disk::memory::block_on;
use annulus_engine::{Disk, Engine, ScanEntry, layout_directory, log_directory};

use super::{Fate, Node, PARTITIONS, Write, at, owned};

impl Node {
    /// Stops cleanly or by a crash, and opens again, with another number of cores if that differs.
    pub fn restart(&mut self, clean: bool, cores: u16) {
        let before = self.cores.len() as u16;
        if clean {
            self.cores.iter_mut().for_each(Engine::begin_close);
            self.settle_all();
            assert!(self.cores.iter().all(Engine::is_closed) || self.told.read_only > 0);
        }
        self.end();
        self.disk.crash();
        if !clean {
            self.incarnation += 1;
        }
        let migrate_from = (before != cores).then_some((self.layout, before));
        if migrate_from.is_some() {
            self.layout += 1;
            self.told.migrations += 1;
        }
        self.open(cores, migrate_from).unwrap();
        if let Some((layout, before)) = migrate_from {
            self.remove_layout(layout, before);
        }
        self.adopt_observed();
    }

    /// The process is killed and starts again; the machine goes on.
    pub fn kill_and_start(&mut self) {
        self.end();
        self.disk.stop();
        self.incarnation += 1;
        self.open(1, None).unwrap();
        self.adopt_observed();
    }

    /// The process is no more.
    pub fn end(&mut self) {
        self.note_counts();
        self.cores.clear();
        self.abandon_work();
    }

    pub fn note_counts(&mut self) {
        for counts in self.cores.iter().map(|core| core.statistics().counts) {
            self.told.recycled += counts.segments_recycled;
            self.told.drains += counts.drains;
            self.told.compactions += counts.compactions;
            self.told.reaped += counts.tombstones_reaped;
            self.counted.push(counts);
        }
    }

    fn remove_layout(&self, layout: u32, cores: u16) {
        for core in 0..cores {
            let directory = log_directory(layout, core);
            for name in block_on(self.disk.list(&directory)).unwrap() {
                block_on(self.disk.remove(&format!("{directory}/{name}"))).unwrap();
            }
            block_on(self.disk.sync_directory(&directory)).unwrap();
        }
        block_on(self.disk.remove_directory(&layout_directory(layout))).unwrap();
    }

    /// Every key holds its last acknowledged write or a later one; from now on what it holds is certain.
    pub fn adopt_observed(&mut self) {
        let keys: Vec<Vec<u8>> = self.model.keys().cloned().collect();
        for key in keys {
            let found = self.read(&key).unwrap();
            let now_ms = self.now_ms;
            let writes = self.model.get_mut(&key).unwrap();
            // Before the first write there was nothing.
            let first = (writes[0].fate != Fate::Durable).then_some(None);
            let allowed = first.iter().chain(writes.iter().rev().map(|write| &write.state));
            let Some(state) = allowed.clone().find(|state| at(state, now_ms) == found) else {
                let allowed: Vec<_> =
                    allowed.map(|state| state.as_ref().map(|(value, expires)| (value.len(), *expires))).collect();
                panic!(
                    "{} holds {:?}, allowed are {allowed:?}",
                    String::from_utf8_lossy(&key),
                    found.map(|value| value.len())
                );
            };
            let (state, point) = (state.clone(), self.disk.recorded());
            let history = self.history.as_mut();
            let number = history.map_or(0, |history| history.observed(&key, &state, point, now_ms));
            *writes = vec![Write { state, fate: Fate::Durable, number }];
        }
    }

    /// The keys that scans of all partitions tell of, sorted.
    pub fn scan_keys(&mut self, max: usize) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        for partition in 0..PARTITIONS {
            let cores = self.cores.len() as u16;
            let core = (0..cores).find(|core| owned(*core, cores).contains(&partition)).unwrap();
            let mut from = Some(0);
            while let Some(start) = from {
                let now_ms = self.now_ms;
                let batch = self.cores[usize::from(core)].scan(partition, start, max, now_ms);
                from = batch.next;
                for entry in batch.entries {
                    let record = match entry {
                        ScanEntry::InMemory(record) => record,
                        ScanEntry::OnDisk(plan) => {
                            let token = self.next_token;
                            self.next_token += 1;
                            assert!(self.cores[usize::from(core)].start_read(&plan, token));
                            self.finish_read(token).unwrap()
                        }
                    };
                    // What has expired beside others only the record tells.
                    if record.is_shown(self.now_ms) {
                        keys.push(record.key().to_vec());
                    }
                }
            }
        }
        keys.sort();
        keys
    }
}
