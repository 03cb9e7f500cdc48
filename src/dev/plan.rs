//! Where each node of a local cluster is, and with which flags it runs. Pure.
//!
//! ```text
//! node i   clients 127.0.0.1:P+100·i, HTTP there plus 2000
//!          peers   announced 127.0.1.(i+1):P+100·i+10000, which is the relay's; its own are 10000 above, on the same address
//! ```
//!
//! Invariant: no two nodes of a plan share a port of an address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::DevError;
use super::relay::RelayedNode;

/// Most nodes: HTTP of the first is 2000 above its clients, where node 20 would be.
pub const NODES_MAX: u16 = 16;
/// Most cores of a node: its ports end before the next node's.
pub const CORES_MAX: u16 = 90;
/// From a node's ports to the next node's.
const PORT_STEP: u16 = 100;
/// From the port of clients to the one that is announced to peers.
const FRONT_OFFSET: u16 = 10_000;
/// From that to the one where the node itself listens for peers.
const REAL_OFFSET: u16 = 10_000;
/// Hot log of a core: a local cluster holds little, and starts often.
const HOT_LOG_CORE_MIB: u64 = 64;
/// Memory of a node, and the most of the machine's for all of them together, in percent.
const MEMORY_MIB_MIN: u64 = 64;
const MEMORY_MIB_MAX: u64 = 2048;
const MEMORY_PERCENT: u64 = 50;
/// The cluster's name.
const CLUSTER: &str = "dev";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many nodes.
    pub nodes: u16,
    /// Where everything is kept.
    pub directory: PathBuf,
    /// Port of node 0's clients.
    pub base_port: u16,
    /// Cores of each node.
    pub cores: u16,
    /// Nodes talk without relays: nothing can be cut.
    pub is_direct: bool,
    /// Further flags of `annulus serve`, for every node.
    pub flags: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// From 0.
    pub number: usize,
    /// For clients.
    pub listen: SocketAddr,
    /// For peers: where it listens, and what it announces. The same without relays.
    pub peers: RelayedNode,
    /// Its data.
    pub data: PathBuf,
    /// What it prints.
    pub log: PathBuf,
}

/// Places the nodes. Errors say which option cannot be.
pub fn nodes(options: &Options) -> Result<Vec<NodePlan>, DevError> {
    let refuse = |text: String| Err(DevError::Usage(text));
    if options.nodes == 0 || options.nodes > NODES_MAX {
        return refuse(format!("--nodes: {} is outside 1 to {NODES_MAX}", options.nodes));
    }
    if options.cores == 0 || options.cores > CORES_MAX {
        return refuse(format!("--cores: {} is outside 1 to {CORES_MAX}", options.cores));
    }
    let last = options.nodes * PORT_STEP + FRONT_OFFSET + REAL_OFFSET;
    if options.base_port == 0 || options.base_port.checked_add(last).is_none() {
        let most = u16::MAX - last;
        return refuse(format!(
            "--base-port: {} is outside 1 to {most} for {} nodes",
            options.base_port, options.nodes
        ));
    }
    let place = |number: u16| {
        let port = options.base_port + number * PORT_STEP;
        let low = u8::try_from(number + 1).expect("few nodes");
        let ip = if options.is_direct { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, 0, 1, low) };
        let front = SocketAddr::new(IpAddr::V4(ip), port + FRONT_OFFSET);
        let real = if options.is_direct { front } else { SocketAddr::new(front.ip(), front.port() + REAL_OFFSET) };
        NodePlan {
            number: usize::from(number),
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            peers: RelayedNode { front, real },
            data: options.directory.join(format!("node-{number}")),
            log: options.directory.join(format!("node-{number}.log")),
        }
    };
    Ok((0..options.nodes).map(place).collect())
}

/// The arguments of one node's process. `memory_bytes` and `cpus` are the machine's.
pub fn arguments(
    options: &Options,
    plan: &[NodePlan],
    number: usize,
    secret: &Path,
    (memory_bytes, cpus): (u64, &[usize]),
) -> Vec<String> {
    let node = &plan[number];
    let count = plan.len() as u64;
    let share_mib = (memory_bytes >> 20) * MEMORY_PERCENT / 100 / count;
    let cores = u64::from(options.cores);
    let seeds: Vec<String> = plan
        .iter()
        .filter(|other| other.number != number)
        // A seed is written with the port of its clients.
        .map(|other| SocketAddr::new(other.peers.front.ip(), other.peers.front.port() - FRONT_OFFSET).to_string())
        .collect();
    let mut pairs = vec![
        ("--data", node.data.display().to_string()),
        ("--listen", node.listen.to_string()),
        ("--cores", cores_of(number, options.cores, cpus)),
        ("--cluster", CLUSTER.to_owned()),
        ("--secret-file", secret.display().to_string()),
        ("--found", count.to_string()),
        ("--memory-limit", format!("{}mb", share_mib.clamp(MEMORY_MIB_MIN * cores, MEMORY_MIB_MAX * cores))),
        ("--hot-log-bytes", format!("{}mb", HOT_LOG_CORE_MIB * cores)),
    ];
    if !seeds.is_empty() {
        pairs.push(("--seeds", seeds.join(",")));
    }
    if !options.is_direct {
        pairs.push(("--peer-listen", node.peers.real.to_string()));
        pairs.push(("--peer-announce", node.peers.front.to_string()));
    }
    let is_given = |flag: &str| options.flags.iter().any(|given| given.split('=').next() == Some(flag));
    let own = pairs.into_iter().filter(|(flag, _)| !is_given(flag));
    let own = own.flat_map(|(flag, value)| [flag.to_owned(), value]);
    std::iter::once("serve".to_owned()).chain(own).chain(options.flags.iter().cloned()).collect()
}

/// A list of CPUs for `--cores`: nodes take the machine's in turn, each as many as it has cores, or all there are.
fn cores_of(number: usize, cores: u16, cpus: &[usize]) -> String {
    let cores = usize::from(cores).min(cpus.len());
    let list: Vec<String> = (0..cores).map(|core| cpus[(number * cores + core) % cpus.len()].to_string()).collect();
    format!("{},", list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn options() -> Options {
        Options { nodes: 3, directory: "/d".into(), base_port: 7379, cores: 1, is_direct: false, flags: Vec::new() }
    }

    #[test]
    fn nodes_share_no_port() {
        for is_direct in [false, true] {
            let plan = nodes(&Options { nodes: NODES_MAX, cores: CORES_MAX, is_direct, ..options() }).unwrap();
            let mut taken = HashSet::new();
            for node in &plan {
                for offset in (0..=CORES_MAX).chain([2000]) {
                    let address = SocketAddr::new(node.listen.ip(), node.listen.port() + offset);
                    assert!(taken.insert(address), "{address}");
                }
                assert!(taken.insert(node.peers.front));
                assert!(is_direct || taken.insert(node.peers.real));
                assert_eq!(node.peers.front.ip(), node.peers.real.ip(), "the source tells who dials");
            }
        }
    }

    #[test]
    fn flags_of_a_node() {
        let (options, machine) = (options(), (8 << 30, &[0_usize, 1][..]));
        let plan = nodes(&options).unwrap();
        let line =
            |options: &Options, number| arguments(options, &plan, number, Path::new("/d/secret"), machine).join(" ");
        assert_eq!(
            line(&options, 1),
            "serve --data /d/node-1 --listen 127.0.0.1:7479 --cores 1, --cluster dev --secret-file /d/secret --found 3 \
             --memory-limit 1365mb --hot-log-bytes 64mb --seeds 127.0.1.1:7379,127.0.1.3:7579 \
             --peer-listen 127.0.1.2:27479 --peer-announce 127.0.1.2:17479"
        );
        assert!(line(&options, 2).contains("--cores 0, "));
        let given = Options { flags: vec!["--hot-log-bytes=32mb".into(), "--found".into(), "2".into()], ..options };
        let line = line(&given, 0);
        assert!(line.ends_with("--hot-log-bytes=32mb --found 2") && line.matches("--found").count() == 1, "{line}");
        assert_eq!(cores_of(1, 3, &[4, 6]), "4,6,");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (options, word) in [
            (Options { nodes: 0, ..options() }, "--nodes: 0"),
            (Options { nodes: 17, ..options() }, "--nodes: 17"),
            (Options { cores: 0, ..options() }, "--cores"),
            (Options { base_port: 0, ..options() }, "--base-port"),
            (Options { base_port: 45_300, ..options() }, "--base-port: 45300 is outside 1 to 45235"),
        ] {
            assert!(nodes(&options).unwrap_err().to_string().contains(word));
        }
    }
}
