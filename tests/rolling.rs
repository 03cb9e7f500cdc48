//! Three real nodes that are restarted one after the other under a verifying load: as they were, as the next version, which offers
//! one version of the protocol and one capability more, and one of them back again. No client is disturbed: it notices that its
//! connection ended, and nothing else.
//!
//! The next version is this one with a switch that only builds with debug assertions have: `src/peers/offered.rs`.

mod support;

use std::collections::BTreeMap;
use support::cluster::{Cluster, fields, members_status, status};
use support::resp::Reply;
use support::wait_until;

const NODES: usize = 3;
/// Ended as soon as all is done; by itself it would take longer.
const LOAD: &str = "--seconds 240 --clients 9 --keys 4 --rate 600 --settle 60 --patience 3000";
/// Writes that a busy machine may take a second over.
const DOUBTS_MAX: u64 = 5;
/// What makes a node the next version.
const NEXT: (&str, &str) = ("ANNULUS_NEXT_VERSION", "1");

/// As which version nodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    This,
    Next,
}

impl Version {
    /// What a node of it offers: its newest version of the protocol, and capabilities.
    fn offers(self) -> (i64, u64) {
        match self {
            Version::This => (1, 0),
            Version::Next => (2, 1 << 63),
        }
    }
}

/// A clean restart, and the node is there again for all others.
fn restart(cluster: &mut Cluster, number: usize, version: Version) {
    cluster.stop(number);
    cluster.restart_with(number, |options| match version {
        Version::This => options,
        Version::Next => options.environment(NEXT.0, NEXT.1),
    });
    cluster.wait_members(&[0, 1, 2], NODES, NODES);
}

/// What the two ends of a link have agreed on: as one of the nodes says, of one of its links.
#[derive(Debug, PartialEq, Eq)]
struct Agreed {
    of: usize,
    with: usize,
    version: i64,
    capabilities: u64,
}

/// Of all links of all nodes that stand between cores.
fn links(cluster: &Cluster) -> Vec<Agreed> {
    let mut clients: Vec<_> = (0..NODES).map(|number| cluster.client(number)).collect();
    let ids: Vec<Reply> = clients.iter_mut().map(|client| client.words("CLUSTER MYID")).collect();
    let mut all = Vec::new();
    for (of, client) in clients.iter_mut().enumerate() {
        for link in client.words("CLUSTER LINKS").items().iter().map(fields) {
            let capabilities = String::from_utf8_lossy(link["capabilities"].bytes()).into_owned();
            all.push(Agreed {
                of,
                with: ids.iter().position(|id| *id == link["node"]).expect("nodes have one core each"),
                version: link["protocol"].integer(),
                capabilities: u64::from_str_radix(&capabilities, 16).expect("hexadecimal digits"),
            });
        }
    }
    all
}

/// Waits until every pair of nodes has links, and all of them speak the lower version with what both ends can do; gives how many.
fn wait_agreed(cluster: &Cluster, versions: &[Version; NODES]) -> usize {
    let mut found = Vec::new();
    wait_until(&format!("links between {versions:?} to agree"), || {
        found = links(cluster);
        let is_agreed = |link: &Agreed| {
            let [(our_version, ours), (their_version, theirs)] =
                [link.of, link.with].map(|node| versions[node].offers());
            (link.version, link.capabilities) == (our_version.min(their_version), ours & theirs)
        };
        let pairs = (0..NODES).flat_map(|of| (0..NODES).map(move |with| (of, with))).filter(|(of, with)| of != with);
        pairs.into_iter().all(|pair| found.iter().any(|link| (link.of, link.with) == pair))
            && found.iter().all(is_agreed)
    });
    found.len()
}

/// Waits until every node's map says which version each member speaks.
fn wait_announced(cluster: &Cluster, versions: &[Version; NODES]) {
    let id = |number: usize| status(&mut cluster.client(number))["node_id"].clone();
    let expected: Vec<(Reply, i64)> = (0..NODES).map(|number| (id(number), versions[number].offers().0)).collect();
    let is_known = |members: &[BTreeMap<String, Reply>], (id, version): &(Reply, i64)| {
        members.iter().any(|member| member["node"] == *id && member["protocol"] == Reply::Integer(*version))
    };
    for number in 0..NODES {
        wait_until("the map to tell the versions", || {
            let members = members_status(&mut cluster.client(number));
            expected.iter().all(|one| is_known(&members, one))
        });
    }
}

/// A connection that ends, and what a client is told that comes while its node goes or is not back yet.
fn is_expected(kind: &str) -> bool {
    matches!(kind, "disconnected" | "TRYAGAIN" | "LOADING" | "INDOUBT")
}

#[test]
fn to_the_next_version_and_one_back() {
    use Version::{Next, This};
    let mut cluster = Cluster::start("rolling", NODES);
    let mut versions = [This; NODES];
    println!("{} links of {versions:?}", wait_agreed(&cluster, &versions));
    let load = cluster.torture(LOAD);
    let steps = [(0, This), (1, This), (2, This), (0, Next), (1, Next), (2, Next), (1, This), (1, Next)];
    for (number, version) in steps {
        restart(&mut cluster, number, version);
        versions[number] = version;
        println!("{} links of {versions:?}", wait_agreed(&cluster, &versions));
        wait_announced(&cluster, &versions);
    }
    assert_eq!(versions, [Next; NODES]);
    let outcome = load.end();
    let (acknowledged, failed, reconnects) = (outcome.acknowledged(), outcome.failed(), outcome.reconnects());
    println!("{} restarts: acknowledged {acknowledged}, survived {acknowledged}, lost 0", steps.len());
    println!("{failed} attempts failed, {reconnects} connections anew");
    assert!(acknowledged > 1_000, "{acknowledged} writes are too few to show anything");
    assert!(failed <= 2 * reconnects, "{failed} attempts failed");
    let unexpected: Vec<&str> = outcome.kinds().into_iter().filter(|kind| !is_expected(kind)).collect();
    assert!(unexpected.is_empty(), "errors that no restart explains: {unexpected:?}");
    assert!(outcome.errors("INDOUBT") <= DOUBTS_MAX, "{} writes in doubt", outcome.errors("INDOUBT"));
    cluster.wait_converged();
    (0..NODES).for_each(|number| cluster.node(number).expect_alive());
}
