//! Several nodes that are one cluster, on loopback addresses of their own, with a relay on every link between them.
//!
//! Only one cluster runs at a time in a test binary: what a test waits for depends on the machine not being busy otherwise.
//!
//! Invariant: what is waited for has a deadline, and nodes are ended by their handles.

use super::directory::Directory;
use super::figures::roots;
use super::node::{Node, Options, free_ports};
use super::resp::{Client, Reply};
use super::torture::Torture;
use super::wait_until;
use annulus::dev::relay::{Relay, RelayedNode};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// From clients to the port that is announced to peers, and from there to the one where a node listens for them.
const FRONT_OFFSET: u16 = 10_000;
const REAL_OFFSET: u16 = 10_000;

/// Where a node is, whether it runs or not.
#[derive(Clone, Debug)]
pub struct Place {
    /// of clients
    pub port: u16,
    /// of peers
    pub peers: RelayedNode,
    /// its data
    pub data: PathBuf,
}

/// The nodes.
pub struct Cluster {
    /// between the nodes
    pub relay: Relay,
    /// by number
    pub places: Vec<Place>,
    nodes: Vec<Option<Node>>,
    directory: Directory,
    secret: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Founds a cluster and waits until every node sees all others as Active.
    pub fn start(name: &str, count: usize) -> Self {
        let cluster = Self::start_with(name, count, |options, _| options);
        cluster.wait_members(&(0..count).collect::<Vec<_>>(), count, count);
        cluster
    }

    /// Starts nodes whose options `change` makes of the usual ones; waits only until each serves.
    pub fn start_with(name: &str, count: usize, change: impl Fn(Options, &Self) -> Options) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Torture::prepare();
        let directory = Directory::new(name);
        let secret = directory.path().join("secret");
        write_secret(&secret, "a secret that only these nodes know");
        let places: Vec<Place> = (0..count).map(|number| place(&directory, number)).collect();
        let relayed: Vec<RelayedNode> = places.iter().map(|place| place.peers).collect();
        let relay = Relay::start(&relayed).expect("loopback addresses have free ports");
        let mut cluster = Self { relay, places, nodes: Vec::new(), directory, secret, _alone: alone };
        let spawned = (0..count).map(|number| Some(change(cluster.options(number), &cluster).spawn()));
        cluster.nodes = spawned.collect();
        cluster.nodes.iter_mut().flatten().for_each(|node| drop(node.wait_ready()));
        cluster
    }

    /// What node `number` is started with.
    pub fn options(&self, number: usize) -> Options {
        self.options_at(&self.places[number], "test", &self.secret)
    }

    /// What a node of another place, another cluster or with another secret is started with.
    pub fn options_at(&self, place: &Place, cluster: &str, secret: &Path) -> Options {
        let processors = super::processors();
        let seeds: Vec<String> = self
            .places
            .iter()
            .filter(|other| other.port != place.port)
            .map(|other| SocketAddr::new(other.peers.front.ip(), other.peers.front.port() - FRONT_OFFSET).to_string())
            .collect();
        let core = self.places.iter().position(|other| other.port == place.port).unwrap_or(0) % processors;
        let mut options = Options::new(&place.data).cores(1);
        options.port = place.port;
        let flags = [
            ("--cores", format!("{core},")),
            ("--cluster", cluster.to_owned()),
            ("--secret-file", secret.display().to_string()),
            ("--found", self.places.len().to_string()),
            ("--seeds", seeds.join(",")),
            ("--peer-listen", place.peers.real.to_string()),
            ("--peer-announce", place.peers.front.to_string()),
            ("--memory-limit", "256mb".to_owned()),
            ("--hot-log-bytes", "32mb".to_owned()),
        ];
        flags
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .fold(options, |options, (flag, value)| options.argument(flag).argument(value))
    }

    /// A place beside the cluster's, without a relay: it announces where it listens.
    pub fn place_beside(&self) -> Place {
        let mut place = place(&self.directory, self.places.len() + 20);
        place.peers.front = place.peers.real;
        place
    }

    /// Where files of a test may be.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The ports of all nodes' clients.
    pub fn ports(&self) -> Vec<u16> {
        self.places.iter().map(|place| place.port).collect()
    }

    /// A running node.
    pub fn node(&mut self, number: usize) -> &mut Node {
        self.nodes[number].as_mut().expect("the node runs")
    }

    /// A connection to a node.
    pub fn client(&self, number: usize) -> Client {
        Client::connect(self.places[number].port)
    }

    /// `kill -9`.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].take().expect("the node runs").kill();
    }

    /// SIGTERM, and the process ends as it should.
    pub fn stop(&mut self, number: usize) {
        self.nodes[number].take().expect("the node runs").stop();
    }

    /// Starts a node that was killed or stopped; it serves when this returns.
    pub fn restart(&mut self, number: usize) {
        self.restart_with(number, |options| options);
    }

    /// The same, with options that `change` makes of the usual ones.
    pub fn restart_with(&mut self, number: usize, change: impl FnOnce(Options) -> Options) {
        assert!(self.nodes[number].is_none(), "the node does not run");
        self.nodes[number] = Some(change(self.options(number)).start());
    }

    /// Takes a node's disk away.
    pub fn wipe(&mut self, number: usize) {
        assert!(self.nodes[number].is_none(), "the node does not run");
        std::fs::remove_dir_all(&self.places[number].data).expect("the node had a directory");
    }

    /// Waits until each of `who` counts so many members, and so many that are up.
    pub fn wait_members(&self, who: &[usize], members: usize, up: usize) {
        for number in who {
            let what = format!("node {number} to see {members} members, {up} of them up");
            wait_until(&what, || {
                let status = status(&mut self.client(*number));
                let is = |name: &str, count: usize| {
                    status.get(name).is_some_and(|reply| *reply == Reply::Integer(count as i64))
                };
                is("members_active", members) && is("members_up", up)
            });
        }
    }

    /// Waits until no node keeps a hint and all have the same roots, which they do when each owns all partitions; gives how
    /// long that took.
    pub fn wait_converged(&self) -> Duration {
        let began = Instant::now();
        wait_until("hints to be handed over and roots to be equal", || {
            let mut clients: Vec<Client> = (0..self.places.len()).map(|number| self.client(number)).collect();
            let hints: i64 = clients.iter_mut().map(hints).sum();
            let mut roots = clients.iter_mut().map(roots);
            let first = roots.next().expect("there is a node");
            let is_done = hints == 0 && roots.all(|other| other == first);
            if !is_done {
                std::thread::sleep(Duration::from_millis(200));
            }
            is_done
        });
        began.elapsed()
    }

    /// Starts verified load on every node.
    pub fn torture(&self, options: &str) -> Torture {
        Torture::start(&self.ports(), self.path(), options)
    }
}

/// Writes a file with a secret as nodes want it: readable by its owner alone.
pub fn write_secret(path: &Path, secret: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("{secret}\n")).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("our own file");
}

fn place(directory: &Directory, number: usize) -> Place {
    let port = free_ports();
    let ip = Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1).expect("few nodes"));
    let front = SocketAddr::new(ip.into(), port + FRONT_OFFSET);
    let real = SocketAddr::new(ip.into(), front.port() + REAL_OFFSET);
    Place { port, peers: RelayedNode { front, real }, data: directory.path().join(format!("node-{number}")) }
}

/// The fields of a map as RESP2 has it.
pub fn fields(reply: &Reply) -> BTreeMap<String, Reply> {
    let pairs = reply.items().chunks(2);
    pairs.map(|pair| (String::from_utf8_lossy(pair[0].bytes()).into_owned(), pair[1].clone())).collect()
}

/// What a node says of itself.
pub fn status(client: &mut Client) -> BTreeMap<String, Reply> {
    let reply = client.words("DYN.ADMIN STATUS");
    fields(fields(&reply).get("node").unwrap_or_else(|| panic!("no node in {reply}")))
}

/// What a node says of the cluster's members, each by its fields.
pub fn members_status(client: &mut Client) -> Vec<BTreeMap<String, Reply>> {
    let reply = client.words("DYN.ADMIN STATUS");
    let members = fields(&reply).remove("members").unwrap_or_else(|| panic!("no members in {reply}"));
    members.items().iter().map(fields).collect()
}

/// How many hints a node keeps for others.
pub fn hints(client: &mut Client) -> i64 {
    let reply = client.words("DYN.ADMIN HINTS");
    reply.items().iter().map(|target| fields(target)["hints"].integer()).sum()
}
