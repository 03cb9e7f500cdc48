//! Golden scripts: conversations as text, in the crate's `testscripts/data_plane/`. A line is a command, the indented lines below it what
//! the nodes then did, in their order. `ANNULUS_BLESS=1` writes what happens now into the scripts.
//!
//! The first three nodes, A B C, are the owners of every key; D and E are fallbacks. A client is a small word; it remembers
//! what it read and wrote, as a connection does.
//!
//! ```text
//! nodes 5 [siblings]                 begins the world; with a cap on siblings
//! compare MS                         begins it anew, with as many nodes: every pair of owners is compared once in this time,
//!                                    in epochs of 64 ms, two keys a message
//! quorum n r w pr pw dw
//! ann set A k v | ann del A k        blind, at that node; its own last write travels with it
//! ann put A k v                      with the context that it has, and the own dot that came with that
//! ann new A k v                      with the empty context
//! ann touch A k                      the value that it was shown, with another expiry
//! ann get A k
//! settle                             everything arrives and is stored
//! store A [ok|fail|refuse]           the oldest write of that disk ends
//! stored A                           all of them
//! read A [fails]                     the oldest read of that disk ends
//! pass A B [n]                       packets from A to B arrive
//! lose A B | lose A                  packets from A to B, or from and to A, are lost
//! twice A B                          the oldest packet from A to B comes twice
//! cut A B | mend A B                 what is sent from now on is lost, in both directions
//! down A | up A                      everybody's opinion
//! thinks A down B | thinks A up B    one node's opinion
//! gone A B                           A learns that B will not answer
//! wait MS                            time passes, and everything arrives
//! tick MS                            time passes
//! crash A | restart A | rejoin A     as the actor that it was, or as a new one
//! wipe A                             its disk is empty
//! replace A                          it is killed, and starts again on an empty disk
//! actor A                            it has a new incarnation
//! clock A MS                         its wall clock is so much ahead
//! full A | empty A                   its store takes no values, or does again
//! owners A B D                       the ring is another
//! show k                             what every node has of a key
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use annulus_cluster::event::{Event, Quorum, StoreFailure};
use annulus_cluster::limits::Limits;
use annulus_object::{Context, Dot, Sibling};

use crate::story;
use crate::world::{Told, Wish, World, hash, node, quiet_limits};

#[derive(Default)]
struct Memory {
    context: Option<Context>,
    token: Option<Dot>,
    own: Option<(Dot, bool)>,
    /// The value that a plain read was shown, and the write that made it.
    shown: Option<(Vec<u8>, Dot)>,
}

struct Script {
    world: World,
    memory: BTreeMap<(String, String), Memory>,
    commands: BTreeMap<u64, (String, String)>,
}

fn place(name: &str) -> usize {
    usize::from(name.as_bytes()[0] - b'A')
}

impl Script {
    fn new() -> Script {
        Script { world: World::new(3), memory: BTreeMap::new(), commands: BTreeMap::new() }
    }

    /// Runs a command; what happened.
    fn run(&mut self, line: &str) -> String {
        self.world.story = Some(Vec::new());
        let mut out = String::new();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["nodes", count, ref siblings @ ..] => {
                *self = Script::new();
                let mut limits = quiet_limits();
                if let [max] = siblings {
                    limits.siblings_max = max.parse().unwrap();
                    limits.siblings_warn = limits.siblings_max - 1;
                }
                self.world = World::with_limits(count.parse().unwrap(), limits);
                self.world.story = Some(Vec::new());
            }
            ["compare", ms] => {
                let (count, exchange_interval_us) = (self.world.nodes.len(), ms.parse::<u64>().unwrap() * 1000);
                let limits = Limits { exchange_interval_us, ..crate::exchanges::limits() };
                self.world = World::with_limits(count, limits);
                self.world.story = Some(Vec::new());
            }
            ["quorum", ref numbers @ ..] => {
                let numbers: Vec<u8> = numbers.iter().map(|number| number.parse().unwrap()).collect();
                let [n, r, w, pr, pw, dw] = numbers[..] else { panic!("six numbers") };
                self.world.quorum = Quorum { n, r, w, pr, pw, dw };
            }
            ["settle"] => self.world.settle(),
            ["wait", ms] => self.world.wait_in_steps(ms.parse().unwrap(), 20),
            ["tick", ms] => self.world.tick(ms.parse().unwrap()),
            ["show", key] => self.show(key, &mut out),
            ["pass", from, to, ref count @ ..] => {
                let count = count.first().map_or(usize::MAX, |count| count.parse().unwrap());
                self.pass(place(from), place(to), count);
            }
            ["lose", ref names @ ..] => {
                let (from, to) = (place(names[0]), names.get(1).map(|to| place(to)));
                self.world.packets.retain(|packet| match to {
                    Some(to) => (packet.from, packet.to) != (from, to),
                    None => packet.from != from && packet.to != from,
                });
            }
            ["twice", from, to] => {
                let of = (place(from), place(to));
                let packet = self.world.packets.iter().find(|packet| (packet.from, packet.to) == of);
                let packet = packet.expect("one is on its way").clone();
                self.world.packets.push_back(packet);
            }
            ["cut", one, other] => {
                self.world.cuts.extend([(place(one), place(other)), (place(other), place(one))]);
                let cuts = &self.world.cuts;
                self.world.packets.retain(|packet| !cuts.contains(&(packet.from, packet.to)));
            }
            ["mend", one, other] => {
                self.world.cuts.remove(&(place(one), place(other)));
                self.world.cuts.remove(&(place(other), place(one)));
            }
            ["owners", ref names @ ..] => self.set_owners(names),
            [client, what @ ("set" | "del" | "put" | "new" | "touch" | "get"), at, key, ref value @ ..] => {
                self.client(client, what, place(at), key, value.first().copied());
            }
            [what, at, ref rest @ ..] => self.node(what, place(at), rest),
            _ => panic!("unknown command: {line}"),
        }
        for line in self.world.story.take().unwrap_or_default() {
            writeln!(out, "  {}", self.with_name(&line)).unwrap();
        }
        self.remember();
        out
    }

    fn node(&mut self, what: &str, at: usize, rest: &[&str]) {
        let world = &mut self.world;
        match (what, rest) {
            ("store", []) | ("store", ["ok"]) => world.finish_store(at, 0, Ok(())),
            ("store", ["fail"]) => world.finish_store(at, 0, Err(StoreFailure::Unknown)),
            ("store", ["refuse"]) => world.finish_store(at, 0, Err(StoreFailure::Refused)),
            ("stored", []) => {
                while !world.nodes[at].store.writes.is_empty() {
                    world.finish_store(at, 0, Ok(()));
                }
            }
            ("read", []) => world.finish_load(at, 0, true),
            ("read", ["fails"]) => world.finish_load(at, 0, false),
            ("down", []) => world.set_up(at, false),
            ("up", []) => world.set_up(at, true),
            ("thinks", [opinion, other]) => {
                let (other, up) = (node(place(other)), *opinion == "up");
                let down = &mut world.nodes[at].ring.down;
                if up {
                    down.remove(&other)
                } else {
                    down.insert(other)
                };
                world.handle(at, Event::Liveness { node: other, up });
            }
            ("gone", [other]) => world.handle(at, Event::Unreachable { peer: node(place(other)) }),
            ("crash", []) => world.crash(at),
            ("replace", []) => world.replace_disk(at),
            ("wipe", []) => world.nodes[at].store.wipe(),
            ("restart", []) => world.restart(at, false),
            ("rejoin", []) => world.restart(at, true),
            ("actor", []) => world.renew(at),
            ("clock", [ms]) => world.nodes[at].skew_ms = ms.parse().unwrap(),
            ("full", []) => world.nodes[at].store.takes_writes = false,
            ("empty", []) => world.nodes[at].store.takes_writes = true,
            _ => panic!("unknown command: {what} {rest:?}"),
        }
    }

    fn client(&mut self, client: &str, what: &str, at: usize, key: &str, value: Option<&str>) {
        let place = (client.to_owned(), key.to_owned());
        let memory = self.memory.entry(place.clone()).or_default();
        self.commands.insert(self.world.next_client(), place);
        let value = value.map(str::as_bytes);
        let own = memory.token.map(|dot| (dot, false));
        let wish = match what {
            "set" => Wish { value, own_last: memory.own, ..Wish::default() },
            "del" => Wish { own_last: memory.own, ..Wish::default() },
            "put" => Wish {
                value,
                context: Some(memory.context.clone().expect("it has read")),
                own_last: own,
                ..Wish::default()
            },
            "new" => Wish { value, context: Some(Context::default()), ..Wish::default() },
            "touch" => {
                let (value, made_by) = memory.shown.as_ref().expect("it has read");
                Wish {
                    value: Some(value),
                    value_dot: Some(*made_by),
                    context: memory.context.clone(),
                    ..Wish::default()
                }
            }
            _ => {
                let own = memory.own.map(|own| own.0);
                self.world.get(at, key.as_bytes(), own);
                return;
            }
        };
        self.world.put(at, key.as_bytes(), &wish);
    }

    /// The client's name instead of the command's number.
    fn with_name(&self, line: &str) -> String {
        let told = line.split_once(" tells ").and_then(|(at, told)| {
            let (number, what) = told.split_once(':')?;
            let (name, key) = self.commands.get(&number.parse().ok()?)?;
            Some(format!("{at} tells {name} of {key}:{what}"))
        });
        told.unwrap_or_else(|| line.to_owned())
    }

    fn remember(&mut self) {
        for (command, told) in std::mem::take(&mut self.world.told) {
            let Some(place) = self.commands.remove(&command) else { continue };
            let memory = self.memory.entry(place).or_default();
            match told {
                Told::Written { dot, is_alone, context } => {
                    memory.own = Some((dot, is_alone));
                    memory.token = (!is_alone).then_some(dot);
                    memory.context = Some(context);
                }
                Told::Found { object, .. } => {
                    let shown = annulus_object::shown(object.siblings().iter().map(Sibling::borrowed), 0);
                    memory.shown = shown.and_then(|shown| Some((shown.value?.to_vec(), shown.made_by())));
                    memory.context = Some(object.context().clone());
                    memory.token = None;
                }
                Told::Failed(_) => {}
            }
        }
    }

    fn pass(&mut self, from: usize, to: usize, most: usize) {
        for _ in 0..most {
            let found = self.world.packets.iter().position(|packet| (packet.from, packet.to) == (from, to));
            let Some(index) = found else { return };
            self.world.deliver(index);
        }
    }

    fn set_owners(&mut self, names: &[&str]) {
        let owners: Vec<_> = names.iter().map(|name| node(place(name))).collect();
        for index in 0..self.world.nodes.len() {
            let fallbacks = (0..self.world.nodes.len()).map(node).filter(|node| !owners.contains(node)).collect();
            let ring = &mut self.world.nodes[index].ring;
            (ring.owners, ring.fallbacks) = (owners.clone(), fallbacks);
            ring.fingerprint += 1;
        }
    }

    fn show(&self, key: &str, out: &mut String) {
        for (index, node) in self.world.nodes.iter().enumerate() {
            for (home, object) in node.store.homes(hash(key.as_bytes())) {
                let mut bytes = Vec::new();
                object.encode(&mut bytes);
                let object = story::object(&bytes);
                writeln!(out, "  {} has {}: {object}", story::name(index), story::home(home)).unwrap();
            }
        }
    }
}

fn played(script: &str) -> String {
    let mut out = String::new();
    let mut story = Script::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(out, "{line}").unwrap();
        if !line.is_empty() && !line.starts_with('#') {
            // Shown where the test fails.
            eprintln!("{line}");
            out.push_str(&story.run(line));
        }
    }
    out
}

#[test]
fn every_script_plays_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/data_plane");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "the scripts are there");
    let mut different = Vec::new();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let found = played(&expected);
        if found == expected {
            continue;
        }
        if std::env::var_os("ANNULUS_BLESS").is_some() {
            std::fs::write(&path, found).unwrap();
        } else {
            let at = expected.lines().zip(found.lines()).position(|(expected, found)| expected != found);
            let at = at.unwrap_or(expected.lines().count().min(found.lines().count()));
            let (is, was) = (found.lines().nth(at), expected.lines().nth(at));
            different.push(format!("{}:{}: {is:?} instead of {was:?}", path.display(), at + 1));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
