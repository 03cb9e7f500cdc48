//! Golden scripts of control planes: stories of a few nodes as text, in `testscripts/control/`. A line is a command, the
//! indented lines below it what the nodes found out, with the second. `ANNULUS_BLESS=1` writes what happens now into the
//! scripts.
//!
//! ```text
//! start n2 seeds n1        a process begins; again after `kill`: under the next generation
//! run 10s                  time passes
//! kill n3 | leave n3
//! cut n1 n2 | n3           nothing passes between the two sides; `cut n1 -> n2`: not from left to right
//! mend                     everything passes
//! loss 20                  per cent of all datagrams
//! stall n1 6s [deaf]       it does not run; deaf: what arrives meanwhile is lost
//! backup n3 1              it has forgotten all starts but the first
//! save n3 | restore n3     a copy of its disk is made, or put back
//! wipe n3                  its disk is lost
//! skew n1 -60s             its wall clock is off
//! host n3 NAME             from its next start it is reached by a name; `resolve n3 n5`: which has the address of n5
//! hold n2 7                it holds something else, and announces that
//! operate n1 CHANGE n2     an operator at n1 changes n2: join, leave, remove, retire, forget, weight W, zone Z
//! observe n1 n2 refused    n1's data plane got no answer from n2: refused, timed-out; or answered
//! members                  who answers whom
//! maps                     whose maps are the same
//! entry n1 n2              what n1's map says of n2: role, weight, zone, incarnation, what it holds
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::world::{Disk, World, address};
use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Weight, Zone};
use annulus_cluster::node::{MapChange, NodeEvent};
use annulus_cluster::reachability::Outcome;

struct Story {
    world: World,
    saved: BTreeMap<NodeId, Disk>,
    out: String,
}

fn change(what: &str, more: &[&str]) -> MapChange {
    match (what, more) {
        ("join", []) => MapChange::Join,
        ("leave", []) => MapChange::Leave,
        ("remove", []) => MapChange::Remove,
        ("retire", []) => MapChange::Retire,
        ("forget", []) => MapChange::Forget,
        ("weight", [weight]) => MapChange::Weight(Weight::new(weight.parse().unwrap()).unwrap()),
        ("zone", [zone]) => MapChange::Zone(Zone::new(zone).unwrap()),
        _ => panic!("unknown change: {what} {more:?}"),
    }
}

fn node(word: &str) -> NodeId {
    NodeId::new(word.strip_prefix('n').and_then(|number| number.parse().ok()).expect("n1, n2, …"))
}

fn nodes(words: &[&str]) -> Vec<NodeId> {
    words.iter().map(|word| node(word)).collect()
}

fn us(word: &str) -> u64 {
    let ms = word.strip_suffix("ms").map(|ms| ms.parse::<u64>().unwrap());
    ms.unwrap_or_else(|| 1000 * word.strip_suffix('s').unwrap().parse::<u64>().unwrap()) * 1000
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(|node| format!("{node:?}")).collect::<Vec<_>>().join(" ")
}

impl Story {
    fn say(&mut self, text: &str) {
        writeln!(self.out, "  {text}").unwrap();
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["start", who, "seeds", ref seeds @ ..] => self.world.start(node(who), &nodes(seeds)),
            ["run", time] => self.world.run_until(self.world.now_us + us(time)),
            ["kill", who] => self.world.kill(node(who)),
            ["leave", who] => self.world.event(node(who), NodeEvent::Leave),
            ["cut", ref sides @ ..] => self.cut(sides),
            ["mend"] => self.world.mend(),
            ["loss", per_cent] => self.world.loss_per_mille = per_cent.parse::<u64>().unwrap() * 10,
            ["stall", who, time] => self.world.stall(node(who), us(time), false),
            ["stall", who, time, "deaf"] => self.world.stall(node(who), us(time), true),
            ["backup", who, generation] => self.world.disk(node(who)).generation = generation.parse().unwrap(),
            ["save", who] => {
                let disk = self.world.disk(node(who)).clone();
                self.saved.insert(node(who), disk);
            }
            ["restore", who] => *self.world.disk(node(who)) = self.saved[&node(who)].clone(),
            ["wipe", who] => *self.world.disk(node(who)) = Disk::default(),
            ["skew", who, skew] => {
                let ms = skew.strip_suffix('s').unwrap().parse::<i64>().unwrap() * 1000;
                self.world.skews_ms.insert(node(who), ms);
            }
            ["host", who, name] => self.world.disk(node(who)).host = Some(name.to_owned()),
            ["resolve", who, to] => {
                self.world.names.insert(node(who), address(node(to)));
            }
            ["hold", who, digest] => self.world.hold(node(who), digest.parse().unwrap()),
            ["operate", at, what, who, ref more @ ..] => {
                self.world.operate(node(at), node(who), change(what, more));
            }
            ["observe", who, peer, outcome] => self.observe(who, peer, outcome),
            ["members"] => self.members(),
            ["maps"] => {
                let groups: Vec<String> = self.world.maps().iter().map(|group| names(group)).collect();
                self.say(&groups.join(" | "));
            }
            ["entry", who, of] => self.entry(node(who), node(of)),
            _ => panic!("unknown command: {line}"),
        }
        for line in std::mem::take(&mut self.world.said) {
            self.say(&line);
        }
    }

    fn entry(&mut self, who: NodeId, of: NodeId) {
        let map = self.world.control(who).map();
        let text = match map.get(of) {
            None if map.is_forgotten(of) => "forgotten".to_owned(),
            None => "nothing".to_owned(),
            Some(entry) => {
                let announced = entry.announced();
                let own = announced.map(|announced| (announced.incarnation, announced.holdings.digest));
                let own = own.map_or(String::new(), |(incarnation, holds)| {
                    format!(", incarnation {incarnation}, holds {holds}")
                });
                let zone = format!("weight {}, zone {:?}", entry.weight().get(), entry.zone().name());
                format!("{}, {zone}{own}", entry.role())
            }
        };
        self.say(&text);
    }

    fn cut(&mut self, sides: &[&str]) {
        let (at, one_way) =
            match (sides.iter().position(|word| *word == "|"), sides.iter().position(|word| *word == "->")) {
                (Some(at), None) => (at, false),
                (None, Some(at)) => (at, true),
                _ => panic!("two sides"),
            };
        for left in nodes(&sides[..at]) {
            for right in nodes(&sides[at + 1..]) {
                self.world.cut(left, right);
                if !one_way {
                    self.world.cut(right, left);
                }
            }
        }
    }

    fn observe(&mut self, who: &str, peer: &str, outcome: &str) {
        let outcome = match outcome {
            "refused" => Outcome::Refused,
            "timed-out" => Outcome::TimedOut,
            "answered" => Outcome::Answered,
            _ => panic!("unknown outcome: {outcome}"),
        };
        self.world.event(node(who), NodeEvent::Observed { peer: node(peer), outcome });
    }

    fn members(&mut self) {
        let all = self.world.nodes();
        for who in &all {
            let control = self.world.control(*who);
            assert_eq!(control.detector().counts().faults, 0, "foca was driven as it wants to be");
            let up: Vec<NodeId> = (1..=9).map(NodeId::new).filter(|peer| peer != who && control.is_up(*peer)).collect();
            let own = control.detector().identity();
            let line = format!("{who:?} generation {} session {}: {}", own.generation(), own.session(), names(&up));
            self.say(line.trim_end());
        }
    }
}

#[test]
fn scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/control");
    let mut count = 0;
    let mut wrong = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut story = Story { world: World::new(), saved: BTreeMap::new(), out: String::new() };
        for line in text.lines().filter(|line| !line.starts_with("  ")) {
            writeln!(story.out, "{line}").unwrap();
            if !line.is_empty() && !line.starts_with('#') {
                story.run(line);
            }
        }
        count += 1;
        if std::env::var_os("ANNULUS_BLESS").is_some() {
            std::fs::write(&path, &story.out).unwrap();
        } else if story.out != text {
            wrong.push(format!("{} now says:\n{}", path.display(), story.out));
        }
    }
    assert!(count >= 9, "there are scripts");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
