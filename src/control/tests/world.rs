//! Nodes with a control plane each, and a thread that carries what they say to each other, as cores would.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use annulus_cluster::ids::{Fingerprint, NodeId};
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::membership::Role;
use annulus_cluster::node::{MapChange, Refusal};
use annulus_cluster::route::Routes;
use annulus_net::ring::{Ring, RingLimits};
use annulus_object::Actor;

use crate::config::{Config, Environment, Raw, Sources};
use crate::control::{self, ControlCounts, ControlSetup, ControlThread, Fatal, ToControl};
use crate::core_inbox::{CoreEvent, CoreInbox};
use crate::members_file;
use crate::mesh::CoreMap;
use crate::metrics::NodeMetrics;
use crate::node::Node;
use crate::node_meta::{self, MetaFile, NodeMeta, SharedMeta};
use crate::secrets::ClusterSecrets;

/// How long something may take that happens at last.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &[u8] = b"the secret of the tests";

/// How a node is started.
pub struct Options {
    pub found: u8,
    /// Others, by place.
    pub seeds: &'static [usize],
    pub zone: Option<&'static str>,
    pub secret: &'static [u8],
    pub name: &'static str,
}

impl Options {
    pub const NONE: Self = Self { found: 0, seeds: &[0, 1, 2], zone: None, secret: SECRET, name: "test" };
}

/// One that runs.
struct Process {
    node: Arc<Node>,
    meta: SharedMeta,
    thread: ControlThread,
    fatal: Arc<OnceLock<Fatal>>,
    /// Holds the bell.
    _ring: Ring<std::convert::Infallible>,
}

/// What the carrying thread knows.
#[derive(Default)]
struct Cores {
    /// By address: where messages are brought.
    nodes: BTreeMap<SocketAddr, (NodeId, control::ControlSender, CoreInbox)>,
    answers: HashMap<u64, Result<(), Refusal>>,
    adopted: Vec<(SocketAddr, Actor)>,
}

/// See the module.
pub struct World {
    directory: tempfile::TempDir,
    /// Of each place.
    addresses: Vec<SocketAddr>,
    processes: BTreeMap<usize, Process>,
    ids: BTreeMap<usize, NodeId>,
    cores: Arc<Mutex<Cores>>,
    is_paused: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
    next_token: u64,
    /// The last wish of each place.
    tokens: BTreeMap<usize, u64>,
}

/// Ports that no other test of this process uses; below those that the system gives away.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 500).unwrap() * 16;
    21_000 + offset + NEXT.fetch_add(1, Ordering::Relaxed)
}

impl World {
    pub fn new() -> Self {
        let cores = Arc::new(Mutex::new(Cores::default()));
        let (is_over, is_paused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let carrier = {
            let (cores, is_over, is_paused) = (Arc::clone(&cores), Arc::clone(&is_over), Arc::clone(&is_paused));
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    if !is_paused.load(Ordering::Relaxed) {
                        cores.lock().unwrap().carry();
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let addresses = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], port())));
        let free = addresses.filter(|address| UdpSocket::bind(address).is_ok());
        Self {
            directory: tempfile::tempdir().unwrap(),
            addresses: free.take(6).collect(),
            processes: BTreeMap::new(),
            ids: BTreeMap::new(),
            cores,
            is_paused,
            is_over,
            carrier: Some(carrier),
            next_token: 0,
            tokens: BTreeMap::new(),
        }
    }

    fn data(&self, at: usize) -> PathBuf {
        self.directory.path().join(at.to_string())
    }

    fn config(&self, at: usize, options: &Options) -> Config {
        let mut sources = Sources::none();
        let base = |at: usize| format!("127.0.0.1:{}", self.addresses[at].port() - 10_000);
        let seeds: Vec<String> = options.seeds.iter().map(|seed| base(*seed)).collect();
        let mut flags = vec![
            ("data", self.data(at).display().to_string()),
            ("listen", base(at)),
            ("cluster", options.name.to_owned()),
            ("secret-file", "/dev/null".to_owned()),
            ("partitions", "64".to_owned()),
        ];
        flags.extend((!seeds.is_empty()).then(|| ("seeds", seeds.join(","))));
        flags.extend(options.zone.map(|zone| ("zone", zone.to_owned())));
        for (key, value) in flags {
            sources.flag(key, Raw::Text(value));
        }
        Config::build(&sources, &Environment { affinity: vec![0], memory_bytes: 1 << 30 }).unwrap()
    }

    /// As the product does, without cores.
    pub fn start(&mut self, at: usize, options: &Options) {
        let config = self.config(at, options);
        std::fs::create_dir_all(&config.data).unwrap();
        let (mut file, mut meta, founded) =
            MetaFile::open_or_found(&config.data, || NodeMeta::found(1, config.partitions)).unwrap();
        if founded {
            meta.cluster.founding = options.found;
        }
        meta.take_generation();
        file.save(&meta).unwrap();
        let map = members_file::read(&config.data).unwrap().unwrap_or_default();
        let identity = (meta.cluster_id, meta.node_id, meta.incarnation);
        let (listen, metrics) = (config.listen, NodeMetrics::new(1));
        let mut node =
            Node::new(config, identity, "0".repeat(40), CoreMap::new(meta.partitions, 1), listen, 1, metrics);
        let (sender, inbox) = control::channel().unwrap();
        node.control = Some(sender.clone());
        let mut ring: Ring<std::convert::Infallible> = Ring::new(&RingLimits::PRODUCTION).unwrap();
        let (core, of_core) = CoreInbox::new(ring.bell().unwrap());
        assert!(node.inboxes[0].set(core).is_ok());
        let (node, meta) = (Arc::new(node), Arc::new(Mutex::new((file, meta))));
        let (fatal, own) = (Arc::new(OnceLock::new()), NodeId::new(node.node_id));
        let noted = Arc::clone(&fatal);
        let setup = ControlSetup {
            node: Arc::clone(&node),
            secrets: ClusterSecrets::new(&[options.secret], options.name),
            meta: Arc::clone(&meta),
            socket: UdpSocket::bind(self.addresses[at]).unwrap(),
            address: self.addresses[at],
            inbox,
            map,
            limits: limits(),
            on_fatal: Box::new(move |fatal| noted.set(fatal).unwrap()),
        };
        self.cores.lock().unwrap().nodes.insert(self.addresses[at], (own, sender, of_core));
        let thread = control::start(setup).unwrap();
        self.ids.insert(at, own);
        self.processes.insert(at, Process { node, meta, thread, fatal, _ring: ring });
    }

    pub fn stop(&mut self, at: usize) {
        self.cores.lock().unwrap().nodes.remove(&self.addresses[at]);
        self.processes.remove(&at).unwrap().thread.leave();
    }

    /// Waits until something holds, and fails where it never does.
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn node(&self, at: usize) -> &Arc<Node> {
        &self.processes[&at].node
    }

    pub fn id(&self, at: usize) -> NodeId {
        self.ids[&at]
    }

    pub fn address(&self, at: usize) -> SocketAddr {
        self.addresses[at]
    }

    pub fn roles(&self, at: usize) -> Vec<Role> {
        self.node(at).view.get().members.iter().map(|member| member.role).collect()
    }

    /// The role of a place as another sees it.
    pub fn role(&self, at: usize, of: usize) -> Role {
        self.node(at).view.get().member(self.id(of)).unwrap().role
    }

    pub fn is_up(&self, at: usize, node: NodeId) -> bool {
        self.node(at).view.get().member(node).is_some_and(|member| member.is_up)
    }

    pub fn fingerprint(&self, at: usize) -> Fingerprint {
        self.node(at).view.get().routes.fingerprint()
    }

    /// Of a node, as another sees it.
    pub fn incarnation(&self, at: usize, node: NodeId) -> u16 {
        let view = self.node(at).view.get();
        view.member(node).and_then(|member| member.announced.as_ref()).map_or(0, |announced| announced.incarnation)
    }

    /// As it is stored.
    pub fn meta(&self, at: usize) -> NodeMeta {
        node_meta::read(&self.data(at)).unwrap().unwrap()
    }

    pub fn shared_meta(&self, at: usize) -> SharedMeta {
        Arc::clone(&self.processes[&at].meta)
    }

    pub fn take_incarnation(&self, at: usize) -> Actor {
        node_meta::save(&self.shared_meta(at), |meta| meta.take_incarnation().unwrap()).unwrap();
        let meta = self.meta(at);
        Actor::new(meta.node_id, meta.incarnation)
    }

    /// Node and map are as they were before the first incarnation was taken: only the number is kept.
    pub fn put_back(&self, at: usize) {
        let mut meta = self.meta(at);
        (meta.incarnation, meta.cluster.generation) = (1, 1);
        std::fs::remove_dir_all(self.data(at)).unwrap();
        std::fs::create_dir_all(self.data(at)).unwrap();
        node_meta::write_new(&self.data(at), &meta).unwrap();
    }

    pub fn copy_directory(&self, from: usize, to: usize) {
        std::fs::create_dir_all(self.data(to)).unwrap();
        for entry in std::fs::read_dir(self.data(from)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), self.data(to).join(entry.file_name())).unwrap();
        }
    }

    pub fn hide_directory(&self, at: usize) {
        std::fs::rename(self.data(at), self.data(at).with_extension("hidden")).unwrap();
    }

    pub fn bring_directory_back(&self, at: usize) {
        std::fs::rename(self.data(at).with_extension("hidden"), self.data(at)).unwrap();
    }

    pub fn fatal(&self, at: usize) -> Option<Fatal> {
        self.processes[&at].fatal.get().cloned()
    }

    pub fn counts(&self, at: usize) -> ControlCounts {
        self.node(at).control.as_ref().unwrap().counts()
    }

    pub fn refused(&self, at: usize) -> u64 {
        self.counts(at).node.refused_datagrams
    }

    pub fn tell(&self, at: usize, what: ToControl) {
        self.node(at).control.as_ref().unwrap().send(what).unwrap();
    }

    /// An operator at one place wants a change of another.
    pub fn wish(&mut self, at: usize, of: usize, change: MapChange) {
        self.wish_of(at, self.id(of), change);
    }

    fn wish_of(&mut self, at: usize, node: NodeId, change: MapChange) {
        self.next_token += 1;
        self.tokens.insert(at, self.next_token);
        self.tell(at, ToControl::Operate { core: 0, token: self.next_token, node, change });
    }

    /// What became of the last wish at a place.
    pub fn answer(&self, at: usize) -> Option<Result<(), Refusal>> {
        self.cores.lock().unwrap().answers.get(&self.tokens[&at]).copied()
    }

    pub fn operate(&mut self, at: usize, of: usize, change: MapChange) -> Result<(), Refusal> {
        self.operate_on(at, self.id(of), change)
    }

    pub fn operate_on(&mut self, at: usize, node: NodeId, change: MapChange) -> Result<(), Refusal> {
        self.wish_of(at, node, change);
        self.until("an operator is answered", |world| world.answer(at).is_some());
        self.answer(at).unwrap()
    }

    /// What the core of a place was told to stamp by.
    pub fn adopted(&self, at: usize) -> Vec<Actor> {
        let adopted = self.cores.lock().unwrap();
        adopted.adopted.iter().filter(|(place, _)| *place == self.addresses[at]).map(|(_, actor)| *actor).collect()
    }

    pub fn pause_cores(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
        // One round may be under way.
        std::thread::sleep(Duration::from_millis(20));
    }

    pub fn resume_cores(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, process) in std::mem::take(&mut self.processes) {
            process.thread.leave();
        }
        self.is_over.store(true, Ordering::Relaxed);
        self.carrier.take().unwrap().join().unwrap();
    }
}

impl Cores {
    /// Brings what every core was told to where it belongs.
    fn carry(&mut self) {
        let mut told = Vec::new();
        for (address, (node, _, inbox)) in &self.nodes {
            told.extend(std::iter::from_fn(|| inbox.next()).map(|event| (*address, *node, event)));
        }
        for (address, from, event) in told {
            match event {
                CoreEvent::SendControl { to, at, bytes } => {
                    // A connection that is there, or one to where the node is heard.
                    let by_number = self.nodes.values().find(|(node, ..)| *node == to);
                    let receiver = at.map_or(by_number, |at| self.nodes.get(&at).filter(|(node, ..)| *node == to));
                    let unsent = match receiver {
                        Some((_, sender, _)) => sender.send(ToControl::Message { from, bytes }).is_err(),
                        None => true,
                    };
                    if unsent && let Some((_, sender, _)) = self.nodes.get(&address) {
                        let _ = sender.send(ToControl::Unreachable { peer: to });
                    }
                }
                CoreEvent::Operated { token, result } => {
                    self.answers.insert(token, result);
                }
                CoreEvent::Adopt(actor) => self.adopted.push((address, actor)),
                CoreEvent::PeerConnected { .. } | CoreEvent::DialFailed { .. } => unreachable!("nobody dials here"),
            }
        }
    }
}

/// As in the product, with less patience.
fn limits() -> ControlLimits {
    const MS: u64 = 1000;
    ControlLimits {
        probe_period_us: 400 * MS,
        probe_wait_us: 200 * MS,
        stall_us: 300 * MS,
        gossip_every_us: 50 * MS,
        seed_retry_us_min: 50 * MS,
        seed_retry_us_max: 500 * MS,
        contact_every_us: 500 * MS,
        settle_us: 500 * MS,
        compare_every_us: 500 * MS,
        announce_self_every_us: 50 * MS,
        ring_settle_us: 100 * MS,
        leave_us: 300 * MS,
        ..ControlLimits::default()
    }
}
