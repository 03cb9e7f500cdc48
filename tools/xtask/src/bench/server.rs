//! A server under measurement, or several that keep copies of the same data: which product, with which flags, started and
//! ended.
//!
//! Invariant: a `Server` has answered PING, its copies are connected, and its processes end with it.

use super::counters::{self, Cpu};
use super::node::{ANSWER, LOOK, Launch, Node};
use super::wire;
use crate::shell;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For saving everything on demand.
const SAVE: Duration = Duration::from_secs(180);
/// Until a server that holds data answers.
pub const START: Duration = Duration::from_secs(300);
/// Between two base ports: a node also listens on the ports next to its own.
const PORT_STEP: u16 = 100;
/// Between two servers that keep the same data.
const COPY_STEP: u16 = 10;
/// Servers that keep the same data, where there is more than one.
pub const COPIES: u16 = 3;
/// From a node's port for clients to that of its metrics.
pub const METRICS_OFFSET: u16 = 2_000;
/// Of the nodes of one cluster; it guards nothing that outlives the run.
const SECRET: &str = "known to every node of this bench";
/// Below the range from which the kernel takes the ports of clients.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    Annulus,
    Redis,
    Valkey,
}

/// How one contestant is started.
#[derive(Debug, Clone)]
pub struct Setup {
    pub name: &'static str,
    pub product: Product,
    pub flags: Vec<&'static str>,
    /// Of a node; with more than one it also gets the CPU of the load generator.
    pub cores: &'static str,
    /// Servers that keep the same data: 1, or `COPIES`.
    pub copies: u16,
    /// What the load generator is told besides.
    pub load: Vec<&'static str>,
    /// A node tells its metrics over HTTP, too: where INFO lacks some that are wanted.
    pub tells_metrics: bool,
}

impl Setup {
    pub fn new(name: &'static str, product: Product, flags: &[&'static str]) -> Setup {
        Setup { name, product, flags: flags.to_vec(), cores: "1", copies: 1, load: Vec::new(), tells_metrics: false }
    }

    /// Three that keep the same data: nodes of a cluster, or a primary and its replicas.
    pub fn replicated(self) -> Setup {
        Setup { copies: COPIES, ..self }
    }

    /// The same under a load with these options.
    pub fn under(self, load: &[&'static str]) -> Setup {
        Setup { load: load.to_vec(), ..self }
    }

    /// The same with its metrics on the port that is [`METRICS_OFFSET`] above the clients'.
    pub fn with_metrics(self) -> Setup {
        Setup { tells_metrics: true, ..self }
    }

    /// The same on so many cores: where no load runs beside it.
    pub fn with_cores(self, cores: &'static str) -> Setup {
        Setup { cores, ..self }
    }

    /// Everything after the program's name, of one of the servers.
    fn arguments(&self, data: &str, ports: &[String], number: usize) -> Vec<String> {
        let listen = format!("127.0.0.1:{}", ports[number]);
        let own: &[&str] = match self.product {
            Product::Annulus => &["serve", "--data", data, "--listen", &listen, "--cores", self.cores],
            Product::Redis | Product::Valkey => {
                &["--dir", data, "--port", &ports[number], "--bind", "127.0.0.1", "--save", ""]
            }
        };
        let is_silent = self.product == Product::Annulus && !self.tells_metrics;
        let http: &[&str] = if is_silent { &["--http", "off"] } else { &[] };
        let words = own.iter().chain(http).chain(&self.flags).map(|word| (*word).to_string());
        words.chain(self.companions(data, ports, number)).collect()
    }

    /// What tells one of several servers of the others.
    fn companions(&self, data: &str, ports: &[String], number: usize) -> Vec<String> {
        let (first, all) = (&ports[0], ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>());
        let words: &[&str] = match (self.product, number) {
            _ if ports.len() == 1 => &[],
            (Product::Annulus, _) => {
                let (secret, count) = (format!("{data}.secret"), ports.len().to_string());
                let named =
                    ["--cluster", "bench", "--secret-file", &secret, "--found", &count, "--seeds", &all.join(",")];
                return named.map(str::to_string).into();
            }
            (Product::Redis | Product::Valkey, 0) => &[],
            (Product::Redis | Product::Valkey, _) => &["--replicaof", "127.0.0.1", first],
        };
        words.iter().map(|word| (*word).to_string()).collect()
    }

    /// What would be typed, without what differs from run to run.
    pub fn shown(&self) -> String {
        let program = match self.product {
            Product::Annulus => "annulus",
            Product::Redis => "redis-server",
            Product::Valkey => "valkey-server",
        };
        let quoted = |word: String| if word.is_empty() { "''".into() } else { word };
        let ports: Vec<String> = match self.copies {
            1 => vec!["PORT".into()],
            copies => (1..=copies).map(|number| format!("PORT{number}")).collect(),
        };
        let last = ports.len() - 1;
        let arguments = self.arguments("DIR", &ports, last).into_iter().map(quoted);
        let words: Vec<String> = std::iter::once(program.to_string()).chain(arguments).collect();
        let load = if self.load.is_empty() { String::new() } else { format!(", under {}", self.load.join(" ")) };
        format!("{}{load}", words.join(" "))
    }
}

/// The programs that were found, and the CPUs that they get.
#[derive(Debug, Clone)]
pub struct Programs {
    pub annulus: PathBuf,
    pub load: PathBuf,
    pub redis: Option<PathBuf>,
    pub valkey: Option<PathBuf>,
    pub server_cpu: usize,
    pub client_cpu: usize,
}

impl Programs {
    /// The program of a product, if there is one.
    pub fn of(&self, product: Product) -> Option<&Path> {
        match product {
            Product::Annulus => Some(&self.annulus),
            Product::Redis => self.redis.as_deref(),
            Product::Valkey => self.valkey.as_deref(),
        }
    }

    /// Looks for the other products on the path, and says which are missing.
    pub fn find(annulus: PathBuf, load: PathBuf, cpus: &[usize]) -> Result<Programs, String> {
        if !shell::exists("taskset") {
            return Err("taskset is missing (package util-linux): servers and clients could not be pinned".into());
        }
        let on_path = |name: &str| {
            let found = shell::exists(name);
            if !found {
                println!("MISSING {name}: not on the path; going on without it");
            }
            found.then(|| PathBuf::from(name))
        };
        let (redis, valkey) = (on_path("redis-server"), on_path("valkey-server"));
        let (Some(&server_cpu), Some(&client_cpu)) = (cpus.first(), cpus.last()) else {
            return Err("this process may run on no CPU that is known".into());
        };
        Ok(Programs { annulus, load, redis, valkey, server_cpu, client_cpu })
    }
}

/// One that answers, with those that keep the same data.
pub struct Server {
    /// The first is the one that is asked.
    nodes: Vec<Node>,
}

impl Server {
    /// Starts it over a data directory, and waits until it answers PING and every write reaches all copies.
    pub fn start(programs: &Programs, setup: &Setup, data: &Path) -> Result<Server, String> {
        let mut server = Server::spawn(programs, setup, data)?;
        let is_ok = |port, words: &[&str], wanted| wire::ask(port, words, ANSWER).is_ok_and(|reply| reply == wanted);
        server.wait_until(START, |port| is_ok(port, &["PING"], "PONG"))?;
        if setup.copies > 1 {
            let others = (setup.copies - 1).to_string();
            server.wait_until(START, |port| match setup.product {
                Product::Annulus => ports(port, setup.copies).all(|port| is_ok(port, &["EXISTS", "bench"], "0")),
                Product::Redis | Product::Valkey => is_ok(port, &["WAIT", &others, "100"], &others),
            })?;
        }
        Ok(server)
    }

    /// Only starts it.
    pub fn spawn(programs: &Programs, setup: &Setup, data: &Path) -> Result<Server, String> {
        let program = programs.of(setup.product).ok_or_else(|| format!("{} is not there", setup.name))?;
        let port = free_port()?;
        let names: Vec<String> = ports(port, setup.copies).map(|port| port.to_string()).collect();
        let cpus = [programs.server_cpu, programs.client_cpu];
        let mut nodes = Vec::new();
        for number in 0..names.len() {
            let own = if number == 0 { data.to_path_buf() } else { data.with_extension(number.to_string()) };
            std::fs::create_dir_all(&own).map_err(|error| format!("{}: {error}", own.display()))?;
            let own_text = own.to_string_lossy().into_owned();
            if setup.product == Product::Annulus && names.len() > 1 {
                write_secret(Path::new(&format!("{own_text}.secret")))?;
            }
            nodes.push(Node::spawn(Launch {
                program: program.to_path_buf(),
                arguments: setup.arguments(&own_text, &names, number),
                cpus: if setup.cores == "1" { cpus[..1].to_vec() } else { cpus.to_vec() },
                name: setup.name,
                data: own,
                port: port + COPY_STEP * u16::try_from(number).expect("few copies"),
            })?);
        }
        Ok(Server { nodes })
    }

    /// Waits until it is as wanted; the time that took.
    pub fn wait_until(&mut self, deadline: Duration, wanted: impl Fn(u16) -> bool) -> Result<Duration, String> {
        let started = Instant::now();
        while !wanted(self.port()) {
            self.check_alive()?;
            if started.elapsed() > deadline {
                return Err(self.first().failure(&format!("is not as wanted after {deadline:?}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(started.elapsed())
    }

    fn first(&self) -> &Node {
        self.nodes.first().expect("spawned with at least one")
    }

    pub fn port(&self) -> u16 {
        self.first().port()
    }

    /// All that keep the same data, those that were ended among them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One of them, counted from 0, to be ended or started.
    pub fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }

    /// Ids of the processes that run.
    fn ids(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().filter_map(Node::id)
    }

    /// CPU time so far, of each process.
    pub fn cpu(&self) -> Result<Vec<Cpu>, String> {
        self.ids().map(Cpu::of).collect()
    }

    /// Bytes that it has had written to storage, as the kernel counts.
    pub fn written_bytes(&self) -> Result<u64, String> {
        self.ids().map(counters::written_bytes).sum()
    }

    /// Records that it has read from its disk so far; `None` of one that does not count them.
    pub fn record_reads(&self) -> Result<Option<u64>, String> {
        Ok(wire::field(&self.ask(&["INFO", "stats"])?, "record_reads"))
    }

    /// Commands that it has served so far, as it says itself; `None` of several, where each counts what the others hand on.
    pub fn commands(&self) -> Result<Option<u64>, String> {
        if self.nodes.len() > 1 {
            return Ok(None);
        }
        let info = self.ask(&["INFO", "stats"])?;
        wire::field(&info, "total_commands_processed").map(Some).ok_or_else(|| "INFO stats counts no commands".into())
    }

    /// One question.
    pub fn ask(&self, words: &[&str]) -> Result<String, String> {
        let deadline = if words == ["SAVE"] { SAVE } else { ANSWER };
        self.first().ask(words, deadline)
    }

    /// An error when one has ended that nobody has ended.
    pub fn check_alive(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(Node::check_alive)
    }

    /// Ends it as an operator would.
    pub fn stop(mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(Node::stop)
    }

    /// `kill -9`.
    pub fn kill(mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(Node::kill)
    }
}

/// The ports of servers that keep the same data.
fn ports(first: u16, copies: u16) -> impl Iterator<Item = u16> {
    (0..copies).map(move |number| first + number * COPY_STEP)
}

/// As a node wants it: nobody else may read it.
fn write_secret(path: &Path) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(SECRET.as_bytes())).map_err(|error| format!("{}: {error}", path.display()))
}

/// A base port with room for a core beside it, and for its copies.
fn free_port() -> Result<u16, String> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = PORTS.start + (std::process::id() % 20) as u16 * PORT_STEP;
    let mut bases = (first..PORTS.end).step_by(usize::from(PORT_STEP));
    let has_room = |port: u16| (port..port + 3).all(free) && free(port + METRICS_OFFSET) && free(port + 10_000);
    let room = |port| ports(port, COPIES).all(has_room);
    bases.find(|&port| room(port)).ok_or_else(|| "no free block of ports on 127.0.0.1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        let setup = Setup::new("redis", Product::Redis, &["--appendonly", "no"]);
        let wanted = "redis-server --dir DIR --port PORT --bind 127.0.0.1 --save '' --appendonly no";
        assert_eq!(setup.shown(), wanted);
        let setup = Setup::new("quiet", Product::Annulus, &["--durability", "sync"]);
        assert!(setup.shown().starts_with("annulus serve --data DIR --listen 127.0.0.1:PORT --cores 1"));
        assert_eq!(setup.arguments("d", &["9".into()], 0)[4], "127.0.0.1:9");
        let setup = Setup::new("copies", Product::Redis, &[]).replicated().under(&["--wait", "1"]);
        assert!(setup.shown().ends_with("--replicaof 127.0.0.1 PORT1, under --wait 1"), "{}", setup.shown());
        let nodes = Setup::new("nodes", Product::Annulus, &[]).replicated().with_metrics().shown();
        assert!(setup.shown().contains("--port PORT3") && !nodes.contains("--http"), "{nodes}");
        assert!(nodes.contains("--listen 127.0.0.1:PORT3") && nodes.contains("--found 3 --seeds 127.0.0.1:PORT1,127"));
    }
}
