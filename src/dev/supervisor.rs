//! Runs the nodes of a local cluster: starts them, does to them what it is told, ends them.
//!
//! Order: take the directory → end what an earlier one left there → look that ports are free → relay → nodes → control → wait
//! until all are Active → watch until Ctrl-C → end the nodes.
//!
//! Invariant: a fault that was reported as done is in force, and `heal` undoes every fault of its node.

mod directory;

use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::command::{Command, Direction};
use super::plan::{self, NodePlan, Options};
use super::process::NodeProcess;
use super::relay::Relay;
use super::state::{NodeState, ProcessMark, State};
use super::status::{Row, Standing, Watch, table};
use super::{DevError, control, failed};
use crate::check::DataLock;
use crate::config::Environment;

/// A node ends within this after SIGTERM, or is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// A node that is started again serves within this.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the nodes.
const LOOK: Duration = Duration::from_millis(100);
/// Between two tables.
const REFRESH: Duration = Duration::from_secs(1);

/// The nodes and what is wrong with them.
struct Cluster {
    options: Options,
    plan: Vec<NodePlan>,
    environment: Environment,
    secret: PathBuf,
    relay: Option<Relay>,
    nodes: Vec<Member>,
    state: State,
}

#[derive(Default)]
struct Member {
    process: Option<NodeProcess>,
    is_paused: bool,
    links: Vec<Command>,
    /// That it ended by itself was said.
    is_mourned: bool,
}

/// Runs a local cluster until Ctrl-C or SIGTERM.
pub fn run(options: &Options) -> Result<(), DevError> {
    let plan = plan::nodes(options)?;
    let environment = Environment::detect().map_err(DevError::Failed)?;
    let _lock = DataLock::acquire(&options.directory).map_err(|error| DevError::Held(error.to_string()))?;
    directory::take_over(&options.directory, plan.len(), STOP_PATIENCE)?;
    directory::probe_ports(&plan, options.cores)?;
    let secret = directory::secret(&options.directory)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| DevError::Failed(error.to_string()))?;
    let relay = match options.is_direct {
        true => None,
        false => {
            let nodes: Vec<_> = plan.iter().map(|node| node.peers).collect();
            Some(Relay::start(&nodes).map_err(|error| DevError::Failed(error.to_string()))?)
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let registered = signal_hook::flag::register(signal, Arc::clone(&stop));
        registered.map_err(|error| DevError::Failed(format!("signals cannot be watched: {error}")))?;
    }
    let state = State {
        parent: ProcessMark::of(std::process::id()).expect("this process runs"),
        control: listener.local_addr().map_err(|error| DevError::Failed(error.to_string()))?,
        token: directory::random_text().map_err(|error| DevError::Failed(error.to_string()))?,
        nodes: plan
            .iter()
            .map(|node| NodeState { listen: node.listen, peers: node.peers.front, process: None })
            .collect(),
    };
    let nodes = plan.iter().map(|_| Member::default()).collect();
    let cluster = Cluster { options: options.clone(), plan, environment, secret, relay, nodes, state };
    cluster.run(listener, &stop)
}

impl Cluster {
    fn run(mut self, listener: TcpListener, stop: &AtomicBool) -> Result<(), DevError> {
        let endpoints: Vec<SocketAddr> = self.plan.iter().map(|node| node.listen).collect();
        let directory = self.options.directory.clone();
        for number in 0..self.plan.len() {
            self.start(number).map_err(|error| failed(&self.plan[number].log, &error))?;
        }
        let token = self.state.token.clone();
        let shared = Arc::new(Mutex::new(self));
        let told = Arc::clone(&shared);
        let carry_out = move |command: Command| told.lock().expect("no thread panics with it").carry_out(command);
        let watch = Watch::start(&endpoints);
        let served = control::serve(listener, token, Arc::new(carry_out));
        let result = match (watch, served) {
            (Ok(watch), Ok(())) => wait_complete(&shared, &watch, stop)
                .and_then(|is_complete| if is_complete { attend(&shared, &watch, stop) } else { Ok(()) }),
            (Err(error), _) | (_, Err(error)) => Err(DevError::Failed(format!("a thread cannot be started: {error}"))),
        };
        say("stopping");
        shared.lock().expect("no thread panics with it").stop();
        directory::forget(&directory);
        result
    }

    fn start(&mut self, number: usize) -> io::Result<()> {
        let machine = (self.environment.memory_bytes, self.environment.affinity.as_slice());
        let arguments = plan::arguments(&self.options, &self.plan, number, &self.secret, machine);
        self.nodes[number].process = Some(NodeProcess::start(&arguments, &self.plan[number].log)?);
        self.nodes[number].is_mourned = false;
        self.store()
    }

    fn store(&mut self) -> io::Result<()> {
        for (state, member) in self.state.nodes.iter_mut().zip(&mut self.nodes) {
            state.process = member.process.as_mut().and_then(NodeProcess::mark);
        }
        self.state.write(&self.options.directory)
    }

    /// Does what it is told; an error says why not.
    fn carry_out(&mut self, command: Command) -> Result<(), String> {
        let node = command.node();
        if node >= self.nodes.len() {
            return Err(format!("there is no node {node}; nodes are 0 to {}", self.nodes.len() - 1));
        }
        let text = |error: io::Error| format!("node {node}: {error}");
        match command {
            Command::Kill(_) => self.kill(node).map_err(text)?,
            Command::Pause(_) => {
                let process = self.nodes[node].running().ok_or_else(|| format!("node {node} is down"))?;
                process.signal(Signal::STOP).map_err(text)?;
                self.nodes[node].is_paused = true;
            }
            Command::Cut(_, direction) => {
                let (out, into) = (direction != Direction::In, direction != Direction::Out);
                self.relay()?.cut_node(node, out, into);
                self.nodes[node].links.retain(|link| !matches!(link, Command::Cut(..)));
                self.nodes[node].links.push(command);
            }
            Command::Slow(_, delay) => {
                self.relay()?.slow_node(node, delay);
                self.nodes[node].links.retain(|link| !matches!(link, Command::Slow(..)));
                self.nodes[node].links.push(command);
            }
            Command::Heal(_) => self.heal(node).map_err(text)?,
        }
        say(&format!("done: {command}"));
        Ok(())
    }

    fn relay(&self) -> Result<&Relay, String> {
        self.relay.as_ref().ok_or_else(|| "this cluster was started with --direct, so no link can be cut".to_owned())
    }

    fn kill(&mut self, node: usize) -> io::Result<()> {
        if let Some(process) = self.nodes[node].running() {
            process.signal(Signal::KILL)?;
            process.wait(STOP_PATIENCE)?;
        }
        self.nodes[node].is_paused = false;
        self.nodes[node].is_mourned = true;
        self.store()
    }

    /// Mends links, lets a paused node go on, starts one that is down and waits until it serves: a connection to a node that
    /// loads may be let go unanswered.
    fn heal(&mut self, node: usize) -> io::Result<()> {
        if let Some(relay) = &self.relay {
            relay.heal_node(node);
        }
        self.nodes[node].links.clear();
        if std::mem::take(&mut self.nodes[node].is_paused)
            && let Some(process) = self.nodes[node].running()
        {
            process.signal(Signal::CONT)?;
        }
        if self.nodes[node].running().is_some() {
            return Ok(());
        }
        self.start(node)?;
        let deadline = Instant::now() + START_PATIENCE;
        while Standing::ask(self.plan[node].listen).is_none() {
            let has_ended = self.nodes[node].running().is_none();
            if has_ended || Instant::now() > deadline {
                let tail = self.nodes[node].process.as_ref().map(NodeProcess::tail).unwrap_or_default();
                let what = if has_ended { "does not start" } else { "runs, but does not serve yet" };
                return Err(io::Error::other(format!("it {what}: {tail}")));
            }
            std::thread::sleep(LOOK / 10);
        }
        Ok(())
    }

    /// Ends every node, all at the same time.
    fn stop(&mut self) {
        let mut running: Vec<_> = self.nodes.iter_mut().filter_map(Member::running).collect();
        for process in &mut running {
            let _ = process.signal(Signal::CONT);
            let _ = process.signal(Signal::TERM);
        }
        for process in running {
            let _ = process.wait(STOP_PATIENCE);
        }
    }

    fn rows(&mut self, watch: &Watch) -> Vec<Row> {
        let mut rows = Vec::new();
        for (number, member) in self.nodes.iter_mut().enumerate() {
            let mut faults: Vec<String> = member.links.iter().map(ToString::to_string).collect();
            faults.extend(member.is_paused.then(|| "paused".to_owned()));
            let process = member.process.as_mut().and_then(NodeProcess::mark).map(|mark| mark.id);
            let (listen, standing) = (self.plan[number].listen, watch.of(number));
            rows.push(Row { listen, process, fault: faults.join(", "), standing });
        }
        rows
    }

    /// Nodes that ended and were not told to, each once, with what they said last.
    fn mourn(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for (number, member) in self.nodes.iter_mut().enumerate() {
            let Some(process) = &mut member.process else { continue };
            if let Some(status) = process.ended().filter(|_| !member.is_mourned) {
                member.is_mourned = true;
                ended.push(format!("node {number} ended ({status}):\n{}", process.tail()));
            }
        }
        ended
    }
}

impl Member {
    /// Its process, unless that has ended.
    fn running(&mut self) -> Option<&mut NodeProcess> {
        let process = self.process.as_mut()?;
        if process.ended().is_none() { Some(process) } else { None }
    }
}

/// Waits until every node serves and sees all others; false when it is to stop before.
fn wait_complete(shared: &Mutex<Cluster>, watch: &Watch, stop: &AtomicBool) -> Result<bool, DevError> {
    let lock = || shared.lock().expect("no thread panics with it");
    let nodes = lock().plan.len();
    while !stop.load(Ordering::Acquire) {
        if let Some(ended) = lock().mourn().into_iter().next() {
            return Err(DevError::Failed(ended));
        }
        let standings: Vec<_> = (0..nodes).filter_map(|node| watch.of(node)).collect();
        if standings.len() == nodes && standings.iter().all(|standing| standing.is_complete(nodes)) {
            let [copies, read, write] = standings[0].quorums;
            let port = lock().options.base_port;
            say(&format!("ready nodes={nodes} N={copies} R={read} W={write} | redis-cli -c -p {port}"));
            return Ok(true);
        }
        std::thread::sleep(LOOK);
    }
    Ok(false)
}

/// Shows how the nodes stand until it is to stop.
fn attend(shared: &Mutex<Cluster>, watch: &Watch, stop: &AtomicBool) -> Result<(), DevError> {
    let is_terminal = io::stdout().is_terminal();
    let mut shown_lines = 0;
    let mut next = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let mut cluster = shared.lock().expect("no thread panics with it");
        for ended in cluster.mourn() {
            say(&ended);
            shown_lines = 0;
        }
        if is_terminal && Instant::now() >= next {
            let text = table(&cluster.rows(watch));
            // Over the table before, unless something was printed below it.
            let up = if shown_lines > 0 { format!("\x1b[{shown_lines}A\x1b[J") } else { String::new() };
            let _ = write!(io::stdout().lock(), "{up}{text}");
            let _ = io::stdout().flush();
            shown_lines = text.lines().count();
            next = Instant::now() + REFRESH;
        }
        drop(cluster);
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn say(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(io::stdout().lock(), "{text}");
}
