//! Random pipelines of several clients on two cores, compared with one map per client: whatever the order in which bytes,
//! disks and cores come, each client gets the replies of a store of its own.

use std::collections::BTreeMap;

use super::*;

/// What a client has stored: values, and whether they expire.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, (String, bool)>,
    expected: Vec<String>,
    written: usize,
}

impl Model {
    fn value_of(&self, key: &str) -> String {
        self.keys.get(key).map_or("$-1|".to_owned(), |(value, _)| bulk(value))
    }

    fn set(&mut self, key: &str, value: &str, expires: bool) {
        self.keys.insert(key.to_owned(), (value.to_owned(), expires));
    }

    /// A value that no other write of this client has.
    fn fresh_value(&mut self, random: &mut Random) -> String {
        self.written += 1;
        let bytes = match random.below(20) {
            0 => 12_000,
            1..4 => 700,
            _ => 0,
        };
        format!("{}{}", self.written, "x".repeat(bytes))
    }

    /// The next command, its effect and its reply.
    fn step(&mut self, client: usize, random: &mut Random) -> Vec<String> {
        let key = |random: &mut Random| format!("c{client}:{}", random.below(12));
        let (one, other) = (key(random), key(random));
        let value = self.fresh_value(random);
        let exists = |model: &Self, key: &str| usize::from(model.keys.contains_key(key));
        let (command, reply) = match random.below(16) {
            0..3 => (vec!["GET", &one], self.value_of(&one)),
            3..6 => {
                self.set(&one, &value, false);
                (vec!["SET", &one, &value], "+OK|".to_owned())
            }
            6 => {
                let reply = self.value_of(&one);
                self.set(&one, &value, false);
                (vec!["GETSET", &one, &value], reply)
            }
            7 => {
                let reply = self.value_of(&one);
                self.set(&one, &value, true);
                (vec!["SET", &one, &value, "EX", "10000", "GET"], reply)
            }
            8 => {
                let reply = self.value_of(&one);
                self.keys.remove(&one);
                (vec!["GETDEL", &one], reply)
            }
            9 => {
                let count = exists(self, &one) + if one == other { 0 } else { exists(self, &other) };
                self.keys.remove(&one);
                self.keys.remove(&other);
                (vec!["DEL", &one, &other], format!(":{count}|"))
            }
            10 => (vec!["EXISTS", &one, &other], format!(":{}|", exists(self, &one) + exists(self, &other))),
            11 => {
                self.set(&one, &value, false);
                self.set(&other, "m", false);
                (vec!["MSET", &one, &value, &other, "m"], "+OK|".to_owned())
            }
            12 => (
                vec!["MGET", &one, &other, &one],
                format!("*3|{}{}{}", self.value_of(&one), self.value_of(&other), self.value_of(&one)),
            ),
            13 => {
                let reply = format!(":{}|", exists(self, &one));
                if let Some((_, expires)) = self.keys.get_mut(&one) {
                    *expires = true;
                }
                (vec!["EXPIRE", &one, "10000"], reply)
            }
            14 => {
                let expired = self.keys.get_mut(&one).is_some_and(|(_, expires)| std::mem::take(expires));
                (vec!["PERSIST", &one], format!(":{}|", u8::from(expired)))
            }
            _ => (vec!["STRLEN", &one], format!(":{}|", self.keys.get(&one).map_or(0, |(value, _)| value.len()))),
        };
        let command = command.into_iter().map(str::to_owned).collect();
        self.expected.push(reply);
        command
    }
}

fn run(seed: u64, cores: u16, cache_bytes: usize, limits: Limits) {
    let mut random = Random(seed);
    let mut cluster = Cluster::open(MemoryDisk::new(seed), cores, cache_bytes, limits, 1);
    let clients: Vec<usize> = (0..4).map(|at| cluster.connect(at % usize::from(cores))).collect();
    let mut models: Vec<Model> = clients.iter().map(|_| Model::default()).collect();
    for _ in 0..40 {
        for client in &clients {
            for _ in 0..random.below(12) {
                let command = models[*client].step(*client, &mut random);
                let args: Vec<&str> = command.iter().map(String::as_str).collect();
                encode_command(&mut cluster.clients[*client].wire, &args);
            }
        }
        for _ in 0..random.below(12) {
            cluster.bytes_max = if random.one_in(3) { 1 << 20 } else { 1 + random.below(400) };
            cluster.completions_max = random.below(4);
            cluster.turn(random.below(usize::from(cores)));
        }
        if random.one_in(10) {
            cluster.bytes_max = 1 << 20;
            cluster.completions_max = 1 + random.below(3);
            cluster.settle();
        }
    }
    (cluster.bytes_max, cluster.completions_max) = (1 << 20, 1);
    cluster.settle();
    for client in &clients {
        let replies = cluster.replies(*client);
        let expected = &models[*client].expected;
        let wrong = replies.iter().zip(expected).position(|(got, expected)| got != expected);
        assert_eq!(wrong, None, "seed {seed}, client {client}: {:?}", wrong.map(|at| (&replies[at], &expected[at])));
        assert_eq!(replies.len(), expected.len(), "seed {seed}, client {client}");
    }
    let keys: usize = models.iter().map(|model| model.keys.len()).sum();
    cluster.expect(clients[0], "DBSIZE", &[&format!(":{keys}|")]);
    cluster.drain();
    let disk = &cluster.cores[0].disk;
    disk.crash();
    let mut again = Cluster::open(disk.clone(), cores, 0, super::limits(), 2);
    let asks = again.connect(0);
    for (key, (value, _)) in models.iter().flat_map(|model| &model.keys) {
        again.expect(asks, &format!("GET {key}"), &[&bulk(value)]);
    }
    again.expect(asks, "DBSIZE", &[&format!(":{keys}|")]);
}

#[test]
fn clients_agree_with_their_models_without_a_cache() {
    (0..25).for_each(|seed| run(seed, 2, 0, limits()));
}

#[test]
fn clients_agree_with_their_models_with_a_small_cache() {
    (100..115).for_each(|seed| run(seed, 2, 8 << 10, limits()));
    (200..210).for_each(|seed| run(seed, 1, 8 << 10, limits()));
}

#[test]
fn clients_agree_with_their_models_when_everything_is_scarce() {
    let scarce = Limits {
        small_record_bytes_max: 2 << 10,
        frame_bytes_max: 4 << 10,
        waiting_frames_max: 2,
        reads_max: 2,
        read_bytes_max: 4 << 10,
        ..limits()
    };
    (300..320).for_each(|seed| run(seed, 2, 0, scarce.clone()));
}
