//! Starting and ending a node: preflight, identity, one thread per core, recovery on every core, then serving.
//!
//! Order, each step only after the one before has succeeded: lock the directory → preflight → bind the ports, and tell who
//! comes that the node loads → identity (`node.meta`, or which cluster there is; a new incarnation after any unclean end is
//! durable before anything is stamped) → recover every core → store the layout → control plane → serve → drain → mark the end
//! as clean.
//!
//! Invariant: `node.meta` says "clean" only while no process runs, and only after every core has everything durable.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use annulus_cluster::membership::Membership;
use annulus_engine::Progress;
use annulus_net::listener;
use annulus_object::Clock;

use crate::check::{self, DataLock};
use crate::config::{Config, QuorumConfig};
use crate::control::{self, ControlInbox, Fatal};
use crate::env::driver::{Doorbells, Ended, now};
use crate::env::pulse::Pulse;
use crate::http;
use crate::logging::{self, panics};
use crate::mesh::{CoreMap, Mesh};
use crate::metrics::NodeMetrics;
use crate::node::{Node, Phase};
use crate::node_meta::{NodeMeta, SharedMeta};
use crate::secrets::ClusterSecrets;
use crate::snapshot::Desk;

mod core;
mod identity;
pub mod introduction;
mod loading;
mod membership;
mod peers;

use self::core::CoreStart;
use self::loading::Loading;
use self::membership::{Member, PeerSockets, Running};
use identity::{OldLayout, identify, remove_layouts_but, save, take_incarnation};

/// How long a port may stay in use before that is an error, and how often it is tried.
const BIND_PATIENCE: Duration = Duration::from_secs(3);
const BIND_RETRY: Duration = Duration::from_millis(20);

/// Why a node did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The preflight found what must be mended first.
    #[error("{0}")]
    Preflight(String),
    /// The data directory cannot be used.
    #[error("{0}")]
    Data(String),
    /// A port cannot be bound.
    #[error("{0}")]
    Bind(String),
    /// A core could not start or recover.
    #[error("core {core}: {error}")]
    Core {
        /// Which core.
        core: u16,
        /// What happened.
        error: String,
    },
    /// The cluster's secret cannot be had.
    #[error("{0}")]
    Secret(String),
    /// It ran, and cannot go on as a member of its cluster.
    #[error("{0}")]
    NoMember(Fatal),
    /// Anything else of the system's.
    #[error("{0}")]
    System(String),
}

impl BootError {
    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Preflight(_) => crate::cli::EXIT_PREFLIGHT,
            Self::Secret(_) => crate::cli::EXIT_USAGE,
            Self::NoMember(_) => crate::cli::EXIT_NO_MEMBER,
            _ => crate::cli::EXIT_FAILED,
        }
    }
}

/// What a core tells the booting thread.
enum Report {
    Recovered { core: u16, clock: Clock, damaged: bool },
    Ended { core: u16, result: Result<Ended, String> },
}

/// Runs a node until it has drained.
pub fn serve(config: Config) -> Result<(), BootError> {
    core::prepare_process();
    let log = logging::install(config.runtime.log_level).map_err(BootError::System)?;
    panics::install();
    config.log();
    let _lock = preflight(&config)?;
    let secrets = membership::secrets(&config)?;
    let Sockets { base, cores, peers } = bind(&config)?;
    let progress = Arc::default();
    let loading = answer_while_loading(&base, &cores, &progress)?;
    let (meta_file, mut meta, migrate_from) =
        identify(&config, secrets.as_ref(), &peers::introducer(secrets.as_ref()))?;
    let map = membership::stored_map(&config)?;
    let is_alone = membership::is_alone(&meta, &map);
    let meta_file = Arc::new(Mutex::new((meta_file, meta.clone())));
    let (node, inbox) = new_node(config, &meta, progress)?;
    let links = peers::Links::of(&node, &meta, secrets.as_ref());
    let (member, peer_listener) = member(&node, secrets, peers, inbox, map)?;
    let http = http::start(&node).map_err(|error| BootError::System(error.to_string()))?;
    watch_signals(&node, &loading)?;

    let pulse = Pulse::start(node.map.cores())
        .map_err(|error| BootError::System(format!("a thread cannot be started: {error}")))?;
    let (sender, reports) = channel();
    let start = Start {
        node: Arc::clone(&node),
        log,
        meta: meta.clone(),
        migrate_from,
        is_alone,
        meta_file: Arc::clone(&meta_file),
        snapshots: Arc::new(Desk::new(Arc::clone(&node), Arc::clone(&meta_file))),
        sender,
    };
    let cores = start_cores(&start, &pulse, base, cores)?;
    drop(start);
    let (clock, damaged) = wait_recovered(&reports, node.map.cores())?;
    meta.clock = meta.clock.max(clock.raw());
    save(&meta_file, |stored| stored.clock = meta.clock)?;
    if damaged {
        // Rule: an actor that may have lost what it acknowledged never stamps again.
        let actor = take_incarnation(&meta_file)().map_err(BootError::Data)?;
        tracing::warn!(incarnation = actor.incarnation(), "a new incarnation, because acknowledged data was damaged");
        node.replace_actor(actor);
    }
    // The new layout is stored: what the old one holds is in it.
    remove_layouts_but(&node.config, meta.layout)?;
    let links = links.zip(peer_listener).map(|(links, listener)| links.start(&node, listener)).transpose()?;
    let control = member.map(|member| Running::start(member, &node, &meta_file, &loading)).transpose()?;
    control.iter().for_each(|control| control.wait_heard(&node));
    leave_loading(&node, &loading, Phase::Ready);
    let ended = run(&node, &reports);
    let told = control.map_or(Ok(()), Running::end);
    drop(links);
    for core in cores {
        // A core that failed has reported it.
        let _ = core.join();
    }
    store_end(&meta_file, &ended?)?;
    drop(http);
    told
}

/// Locks the data directory, and looks whether a node can run here.
fn preflight(config: &Config) -> Result<DataLock, BootError> {
    let lock = DataLock::acquire(&config.data).map_err(|error| BootError::Data(error.to_string()))?;
    let report = check::run(config, check::Ports::Skip);
    if report.failed() {
        return Err(BootError::Preflight(report.to_string()));
    }
    report.log_warnings();
    Ok(lock)
}

/// Stores how the run has ended.
fn store_end(meta: &SharedMeta, ended: &Ended) -> Result<(), BootError> {
    save(meta, |stored| {
        stored.clean = ended.kept_everything;
        stored.clock = stored.clock.max(ended.clock.raw());
    })?;
    if ended.kept_everything {
        tracing::info!("ended cleanly");
    } else {
        tracing::warn!("ended after failed writes: the next start takes a new incarnation");
    }
    Ok(())
}

/// Everything that is bound.
struct Sockets {
    base: OwnedFd,
    cores: Vec<OwnedFd>,
    /// Of a node of a cluster.
    peers: Option<PeerSockets>,
}

fn bind(config: &Config) -> Result<Sockets, BootError> {
    let ports = config.ports();
    let refused = |address, whose: &str, error: &std::io::Error| {
        let finding = check::bind_failure("port", whose, address, error);
        BootError::Bind(format!("{}: {}", finding.text, finding.remedy))
    };
    let listen = |address, whose: &str| {
        bind_patiently(|| listener::bind(address)).map_err(|error| refused(address, whose, &error))
    };
    let base = listen(ports.base(), "every client's port")?;
    let of_core = |core| listen(ports.core(core), &format!("the port of core {core}"));
    let cores = (0..config.core_count()).map(of_core).collect::<Result<_, _>>()?;
    let of_peers = |address| {
        let whose = "the peers' port";
        let gossip = bind_patiently(|| UdpSocket::bind(address)).map_err(|error| refused(address, whose, &error))?;
        Ok(PeerSockets { listener: listen(address, whose)?, gossip })
    };
    let peers = ports.gossip().map(of_peers).transpose()?;
    Ok(Sockets { base, cores, peers })
}

/// What the control plane begins with, of a node of a cluster, and where its peers connect.
fn member(
    node: &Node,
    secrets: Option<ClusterSecrets>,
    peers: Option<PeerSockets>,
    inbox: Option<ControlInbox>,
    map: Membership,
) -> Result<(Option<Member>, Option<OwnedFd>), BootError> {
    let (Some(secrets), Some(peers), Some(inbox), Some(cluster)) = (secrets, peers, inbox, &node.config.cluster) else {
        return Ok((None, None));
    };
    let address = membership::own_address(&node.config, cluster)?;
    Ok((Some(Member { secrets, gossip: peers.gossip, inbox, map, address }), Some(peers.listener)))
}

/// Binds, and waits a little for a port that a process which was just killed still has: the kernel closes the sockets of a
/// ring some moments after its process has gone.
fn bind_patiently<T>(bind: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    let deadline = std::time::Instant::now() + BIND_PATIENCE;
    loop {
        match bind() {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && std::time::Instant::now() < deadline => {
                std::thread::sleep(BIND_RETRY);
            }
            result => return result,
        }
    }
}

fn answer_while_loading(
    base: &OwnedFd,
    cores: &[OwnedFd],
    progress: &Arc<Progress>,
) -> Result<Arc<Loading>, BootError> {
    let loading = Loading::start(std::iter::once(base).chain(cores), progress);
    let failed = |error| BootError::System(format!("clients cannot be answered while loading: {error}"));
    loading.map(Arc::new).map_err(failed)
}

/// Goes on from [`Phase::Loading`]. The one way to do so: cores begin to accept when the phase changes.
fn leave_loading(node: &Node, loading: &Loading, phase: Phase) {
    loading.stop();
    node.enter(phase);
}

fn new_node(
    config: Config,
    meta: &NodeMeta,
    progress: Arc<Progress>,
) -> Result<(Arc<Node>, Option<ControlInbox>), BootError> {
    let mut random = [0; 20];
    getrandom::fill(&mut random).map_err(|error| BootError::System(format!("no random bytes: {error}")))?;
    let mut run_id = String::with_capacity(40);
    for byte in random {
        write!(run_id, "{byte:02x}").expect("writing to a string");
    }
    let map = CoreMap::new(meta.partitions, meta.cores);
    let metrics = NodeMetrics::new(meta.cores);
    let identity = (meta.cluster_id, meta.node_id, meta.incarnation);
    let listen = config.listen;
    let mut node = Node::new(config, identity, run_id, map, listen, now().unix_ms, metrics);
    node.progress = progress;
    node.note_refilling(meta.cluster.is_refilling);
    let failed = |error| BootError::System(format!("the control plane cannot be told anything: {error}"));
    let channel = node.config.cluster.as_ref().map(|_| control::channel().map_err(failed)).transpose()?;
    let (control, inbox) = channel.unzip();
    node.control = control;
    Ok((Arc::new(node), inbox))
}

fn watch_signals(node: &Arc<Node>, loading: &Arc<Loading>) -> Result<(), BootError> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])
        .map_err(|error| BootError::System(format!("signals cannot be watched: {error}")))?;
    let (node, loading) = (Arc::clone(node), Arc::clone(loading));
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                tracing::info!(signal, "asked to stop");
                leave_loading(&node, &loading, Phase::Draining);
            }
        })
        .map_err(|error| BootError::System(format!("a thread cannot be started: {error}")))?;
    Ok(())
}

/// What every core is started with.
#[derive(Clone)]
struct Start {
    node: Arc<Node>,
    log: logging::LogHandle,
    meta: NodeMeta,
    migrate_from: Option<OldLayout>,
    is_alone: bool,
    meta_file: SharedMeta,
    snapshots: Arc<Desk>,
    sender: Sender<Report>,
}

fn start_cores(
    start: &Start,
    pulse: &Pulse,
    base: OwnedFd,
    listeners: Vec<OwnedFd>,
) -> Result<Vec<JoinHandle<()>>, BootError> {
    let node = &start.node;
    let doorbells: Doorbells = (0..node.map.cores()).map(|_| OnceLock::new()).collect();
    let meshes = Mesh::for_cores(node.map.cores());
    let mut base = Some(base);
    let mut threads = Vec::new();
    for (mesh, listener) in meshes.into_iter().zip(listeners) {
        let core = mesh.core();
        let core_start = CoreStart {
            start: start.clone(),
            mesh,
            doorbells: Arc::clone(&doorbells),
            listener,
            base: base.take(),
            gate: pulse.gate(core),
        };
        let thread = std::thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || core_start.run())
            .map_err(|error| BootError::Core { core, error: format!("its thread does not start: {error}") })?;
        threads.push(thread);
    }
    Ok(threads)
}

/// Waits until every core has recovered: above all their clocks, and whether one has met damage.
fn wait_recovered(reports: &Receiver<Report>, cores: u16) -> Result<(Clock, bool), BootError> {
    let (mut clock, mut damaged) = (Clock::ZERO, false);
    for _ in 0..cores {
        match reports.recv() {
            Ok(Report::Recovered { clock: of_core, damaged: of_core_damaged, .. }) => {
                clock = clock.max(of_core);
                damaged |= of_core_damaged;
            }
            Ok(Report::Ended { core, result }) => {
                let error = result.err().unwrap_or_else(|| "ended before it served".to_owned());
                return Err(BootError::Core { core, error });
            }
            Err(_) => return Err(BootError::System("a core ended without a word".to_owned())),
        }
    }
    Ok((clock, damaged))
}

/// Serves until every core has ended.
fn run(node: &Arc<Node>, reports: &Receiver<Report>) -> Result<Ended, BootError> {
    // Not when it was asked to stop while it loaded.
    if node.phase() == Phase::Ready {
        print_ready(node);
    }
    let mut ended = Ended { clock: Clock::ZERO, kept_everything: true };
    for _ in 0..node.map.cores() {
        match reports.recv() {
            Ok(Report::Ended { result: Ok(of_core), .. }) => {
                ended.clock = ended.clock.max(of_core.clock);
                ended.kept_everything &= of_core.kept_everything;
            }
            Ok(Report::Ended { core, result: Err(error) }) => return Err(BootError::Core { core, error }),
            Ok(Report::Recovered { core, .. }) => unreachable!("core {core} recovers once"),
            Err(_) => return Err(BootError::System("a core ended without a word".to_owned())),
        }
    }
    Ok(ended)
}

/// The one line that says where the node serves.
fn print_ready(node: &Node) {
    let config = &node.config;
    let host = node.listen.ip();
    let cores = node.map.cores();
    let ports = if cores == 1 {
        format!("{}", node.core_port(0))
    } else {
        format!("{}-{}", node.core_port(0), node.core_port(cores - 1))
    };
    let http = config.http.map_or_else(|| "off".to_owned(), |address| format!("http://{address}"));
    let durability = config.durability.name();
    let peers = config.cluster.as_ref().map_or_else(|| "off".to_owned(), |cluster| cluster.peer_listen.to_string());
    let QuorumConfig { copies, read, write, .. } = config.quorums.capped(node.view.get().copies);
    let line = format!(
        "ready clients={} cores={host}:{ports} http={http} peers={peers} durability={durability} N={copies} R={read} W={write} \
         data={}",
        node.listen,
        config.data.display()
    );
    let mut out = std::io::stdout().lock();
    // Whoever started the node may have closed its standard output.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
