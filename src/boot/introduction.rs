//! How a node with an empty directory comes to a cluster: it founds one, alone or with others, or asks its seeds which one there
//! is, before anything is stored.
//!
//! ```text
//! empty ─┬─ neither seeds nor found ──▶ a cluster of one, with an id and a hash key of its own
//!        ├─ found ──▶ each seed is asked once ─┬─ one tells of a cluster ──▶ as below
//!        │                                     └─ none does ──▶ id and hash key follow from name and secret
//!        └─ seeds ──▶ asked until one tells which cluster, and who this node was, if it lost its disk
//! ```
//!
//! Invariant: nothing is stored before it is known to which cluster it belongs: the hash key is in every file.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::Endpoint;
use annulus_object::Clock;

use crate::config::{ClusterConfig, Config, Seed};
use crate::control;
use crate::node_meta::{ClusterMeta, MetaError, NodeMeta};
use crate::secrets::{ClusterSecrets, name_hash};

/// Between two rounds of questions to all seeds: at first, and at most.
const ROUND_MIN: Duration = Duration::from_millis(200);
const ROUND_MAX: Duration = Duration::from_secs(2);
/// Between two lines of the log.
const LINE: Duration = Duration::from_secs(3);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// A number for this one question, until the node has its own.
    pub node: NodeId,
    /// Hash of the cluster's name.
    pub name_hash: [u8; 8],
    /// Where others will reach its peers' port: who was there before may be this node.
    pub peers: Endpoint,
    /// From which address it asks.
    pub source: IpAddr,
    /// Partitions of the key space.
    pub partitions: u32,
    /// Copies of a key.
    pub copies: u8,
}

/// What a node that asked is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduced {
    /// Which cluster.
    pub cluster_id: [u8; 16],
    /// The key of the hash over keys.
    pub hash_key: [u8; 16],
    /// The clock of the node that told it, in Unix milliseconds: what is stamped here is above (rule S6).
    pub clock_ms: u64,
    /// Who was at the very place where this node is, and does not answer any more.
    pub known: Option<KnownNode>,
}

/// Who this node was before it lost its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownNode {
    /// Its number.
    pub node: NodeId,
    /// The greatest incarnation that anybody knows of.
    pub incarnation: u16,
    /// The greatest generation that anybody knows of.
    pub generation: u32,
}

/// Asks the node at an address which cluster it is of; waits a few seconds at most. Errors: why it did not tell, in words.
pub(super) type Introduce<'a> = dyn Fn(&Applicant, SocketAddr) -> Result<Introduced, String> + 'a;

/// Who a node with an empty directory is. Errors: the system gives no random bytes.
pub(super) fn newcomer(
    config: &Config,
    cluster: &ClusterConfig,
    secrets: &ClusterSecrets,
    introduce: &Introduce<'_>,
) -> Result<NodeMeta, MetaError> {
    let mut meta = NodeMeta::found(config.core_count(), config.partitions)?;
    let (copies, name_hash) = (config.quorums.copies, name_hash(&cluster.name));
    meta.cluster = ClusterMeta { copies, name_hash, ..ClusterMeta::default() };
    let applicant = Applicant {
        node: NodeId::new(meta.node_id),
        name_hash,
        peers: control::announced(config, meta.incarnation, meta.cores).peers,
        source: cluster.peer_listen.ip(),
        partitions: config.partitions,
        copies,
    };
    let mut round = Round { cluster, applicant, introduce, is_ipv4: cluster.peer_listen.is_ipv4() };
    let founding = cluster.found.map(|count| (count, secrets.founding()));
    match founding {
        None if cluster.seeds.is_empty() => tracing::info!(name = cluster.name, "founding a cluster of one"),
        None => settle(&mut meta, round.ask_until_told())?,
        Some((count, founding)) => {
            (meta.cluster_id, meta.hash_key) = (founding.cluster_id, founding.hash_key);
            meta.cluster.founding = count;
            match round.ask(&mut |_, _| {}) {
                Some(introduced) if introduced.known.is_some() || introduced.cluster_id != meta.cluster_id => {
                    tracing::info!("this cluster was founded before: joining it");
                    meta.cluster.founding = 0;
                    settle(&mut meta, introduced)?;
                }
                // Another founder that still waits, or one of a cluster that was founded just so: its map tells.
                Some(_) | None => tracing::info!(name = cluster.name, nodes = count, "founding a cluster"),
            }
        }
    }
    Ok(meta)
}

/// The node is one of the cluster that it was told of, and if it was there before, who it was.
fn settle(meta: &mut NodeMeta, introduced: Introduced) -> Result<(), MetaError> {
    let Introduced { cluster_id, hash_key, clock_ms, known } = introduced;
    (meta.cluster_id, meta.hash_key) = (cluster_id, hash_key);
    meta.clock = Clock::from_unix_ms(clock_ms, 0).raw();
    meta.cluster.has_others = true;
    // Who has used every incarnation comes back as a new node.
    let Some(known) = known.filter(|known| known.incarnation < u16::MAX && known.generation < u32::MAX) else {
        return Ok(());
    };
    (meta.node_id, meta.cluster.generation) = (known.node.raw(), known.generation);
    meta.cluster.is_refilling = true;
    meta.take_incarnation_above(known.incarnation)?;
    tracing::warn!(
        node = %known.node,
        incarnation = meta.incarnation,
        "this node was a member before and has lost its disk: it takes its number back, and counts for nothing until it is filled"
    );
    Ok(())
}

/// Asking the seeds.
struct Round<'a> {
    cluster: &'a ClusterConfig,
    applicant: Applicant,
    introduce: &'a Introduce<'a>,
    is_ipv4: bool,
}

impl Round<'_> {
    /// Asks every seed once; the first that tells ends it. Each that does not is given to `failed`, with why.
    fn ask(&mut self, failed: &mut dyn FnMut(&Seed, String)) -> Option<Introduced> {
        for seed in &self.cluster.seeds {
            let told = control::resolve(&seed.host, seed.peer_port(), self.is_ipv4).and_then(|address| {
                // Nobody can tell oneself anything.
                let is_own = address == self.cluster.peer_listen;
                if is_own {
                    Err("it is this node itself".to_owned())
                } else {
                    (self.introduce)(&self.applicant, address)
                }
            });
            match told {
                Ok(introduced) => return Some(introduced),
                Err(why) => failed(seed, why),
            }
        }
        None
    }

    /// Asks until one tells, for as long as it takes, and says every few seconds who does not and why.
    fn ask_until_told(&mut self) -> Introduced {
        tracing::info!(name = self.cluster.name, "asking the seeds for the cluster");
        let (mut pause, mut next_line) = (ROUND_MIN, Instant::now() + LINE);
        loop {
            let is_line = Instant::now() >= next_line;
            let introduced = self.ask(&mut |seed, why| {
                if is_line {
                    tracing::warn!(%seed, why, "waiting for a seed to say which cluster this is");
                }
            });
            if let Some(introduced) = introduced {
                return introduced;
            }
            if is_line {
                next_line = Instant::now() + LINE;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(ROUND_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::{Environment, Raw, Sources};

    fn config(flags: &[(&'static str, &str)]) -> Config {
        let mut sources = Sources::none();
        for (key, value) in [("cluster", "c"), ("secret-file", "/s")].iter().chain(flags) {
            sources.flag(key, Raw::Text((*value).to_owned()));
        }
        Config::build(&sources, &Environment { affinity: vec![0], memory_bytes: 1 << 30 }).unwrap()
    }

    fn secrets() -> ClusterSecrets {
        ClusterSecrets::new(&[b"0123456789abcdef"], "c")
    }

    fn told(known: Option<KnownNode>) -> Introduced {
        Introduced { cluster_id: [5; 16], hash_key: [6; 16], clock_ms: 1_800_000_000_000, known }
    }

    fn come(flags: &[(&'static str, &str)], introduce: &Introduce<'_>) -> NodeMeta {
        let config = config(flags);
        newcomer(&config, config.cluster.as_ref().unwrap(), &secrets(), introduce).unwrap()
    }

    fn nobody(_: &Applicant, _: SocketAddr) -> Result<Introduced, String> {
        Err("refused".to_owned())
    }

    #[test]
    fn without_seeds_it_is_a_cluster_of_its_own() {
        let (one, two) = (come(&[], &nobody), come(&[], &nobody));
        assert!(one.cluster_id != two.cluster_id && one.hash_key != two.hash_key);
        assert_eq!((one.cluster.founding, one.cluster.has_others, one.cluster.copies), (0, false, 3));
        assert_eq!(one.cluster.name_hash, name_hash("c"));
    }

    #[test]
    fn founders_agree_without_having_met() {
        let flags = [("found", "3"), ("seeds", "127.0.0.1:7001,127.0.0.1:7002")];
        let (one, two) = (come(&flags, &nobody), come(&flags, &nobody));
        assert_eq!((one.cluster_id, one.hash_key), (two.cluster_id, two.hash_key));
        assert!(one.node_id != two.node_id && one.cluster.founding == 3 && !one.cluster.has_others);
        // A seed that founds just so tells nothing new.
        let founding = secrets().founding();
        let same = Introduced { cluster_id: founding.cluster_id, hash_key: founding.hash_key, ..told(None) };
        let three = come(&flags, &|_, _| Ok(same));
        assert_eq!((three.cluster_id, three.cluster.founding), (one.cluster_id, 3));
        // One of another cluster does, and one that knows who this was.
        let four = come(&flags, &|_, _| Ok(told(None)));
        assert_eq!((four.cluster_id, four.cluster.founding), ([5; 16], 0));
        let known = KnownNode { node: NodeId::new(77), incarnation: 4, generation: 9 };
        let five = come(&flags, &|_, _| Ok(Introduced { known: Some(known), ..same }));
        assert_eq!((five.node_id, five.cluster.founding, five.cluster.is_refilling), (77, 0, true));
    }

    #[test]
    fn seeds_are_asked_until_one_tells() {
        let asked = Cell::new(0);
        let introduce = |applicant: &Applicant, address: SocketAddr| {
            assert_eq!((applicant.peers.port, applicant.copies), (17_379, 3));
            asked.set(asked.get() + 1);
            let is_told = asked.get() == 4 && address.port() == 17_002;
            if is_told { Ok(told(None)) } else { Err("refused".to_owned()) }
        };
        let seeds = ("seeds", "127.0.0.1:7001,127.0.0.1:7379,127.0.0.1:7002");
        let meta = come(&[seeds], &introduce);
        assert_eq!((asked.get(), meta.cluster_id, meta.hash_key), (4, [5; 16], [6; 16]), "itself is not asked");
        assert!(meta.cluster.has_others && !meta.cluster.is_refilling && meta.incarnation == 1);
        assert_eq!(meta.clock, Clock::from_unix_ms(1_800_000_000_000, 0).raw());
    }

    #[test]
    fn who_was_there_before_comes_back_as_itself_under_a_new_incarnation() {
        let known = KnownNode { node: NodeId::new(0xabc), incarnation: 7, generation: 12 };
        let meta = come(&[("seeds", "127.0.0.1:7001")], &|_, _| Ok(told(Some(known))));
        assert_eq!((meta.node_id, meta.incarnation, meta.cluster.generation), (0xabc, 8, 12));
        assert!(meta.cluster.is_refilling && meta.cluster.has_others);
        let used_up = KnownNode { incarnation: u16::MAX, ..known };
        let meta = come(&[("seeds", "127.0.0.1:7001")], &|_, _| Ok(told(Some(used_up))));
        assert!(meta.node_id != 0xabc && meta.incarnation == 1 && !meta.cluster.is_refilling);
    }
}
