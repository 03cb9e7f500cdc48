//! A server under measurement: which product, with which flags, started and ended.
//!
//! Invariant: a `Server` has answered PING, and its process ends with it.

use super::counters::{self, Cpu};
use super::process::{Process, pinned};
use super::wire;
use crate::shell;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Between two attempts at a server that starts.
const LOOK: Duration = Duration::from_millis(5);
/// For one answer to a question.
const ANSWER: Duration = Duration::from_secs(5);
/// For saving everything on demand.
const SAVE: Duration = Duration::from_secs(180);
/// Until a server has ended.
const STOP: Duration = Duration::from_secs(60);
/// Until a server that holds data answers.
pub const START: Duration = Duration::from_secs(300);
/// Between two base ports: a node also listens on the ports next to its own.
const PORT_STEP: u16 = 100;
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
}

impl Setup {
    pub fn new(name: &'static str, product: Product, flags: &[&'static str]) -> Setup {
        Setup { name, product, flags: flags.to_vec(), cores: "1" }
    }

    /// The same on so many cores: where no load runs beside it.
    pub fn with_cores(self, cores: &'static str) -> Setup {
        Setup { cores, ..self }
    }

    /// Everything after the program's name.
    fn arguments(&self, data: &str, port: &str) -> Vec<String> {
        let listen = format!("127.0.0.1:{port}");
        let own: &[&str] = match self.product {
            Product::Annulus => &["serve", "--data", data, "--listen", &listen, "--cores", self.cores, "--http", "off"],
            Product::Redis | Product::Valkey => &["--dir", data, "--port", port, "--bind", "127.0.0.1", "--save", ""],
        };
        own.iter().chain(&self.flags).map(|word| (*word).to_string()).collect()
    }

    /// What would be typed, without what differs from run to run.
    pub fn shown(&self) -> String {
        let program = match self.product {
            Product::Annulus => "annulus",
            Product::Redis => "redis-server",
            Product::Valkey => "valkey-server",
        };
        let quoted = |word: String| if word.is_empty() { "''".into() } else { word };
        let arguments = self.arguments("DIR", "PORT").into_iter().map(quoted);
        std::iter::once(program.to_string()).chain(arguments).collect::<Vec<_>>().join(" ")
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

/// One that answers.
pub struct Server {
    process: Process,
    port: u16,
}

impl Server {
    /// Starts it over a data directory, and waits until it answers PING.
    pub fn start(programs: &Programs, setup: &Setup, data: &Path) -> Result<Server, String> {
        let mut server = Server::spawn(programs, setup, data)?;
        server.wait_until(START, |port| wire::ask(port, &["PING"], ANSWER).is_ok_and(|reply| reply == "PONG"))?;
        Ok(server)
    }

    /// Only starts it.
    pub fn spawn(programs: &Programs, setup: &Setup, data: &Path) -> Result<Server, String> {
        std::fs::create_dir_all(data).map_err(|error| format!("{}: {error}", data.display()))?;
        let program = programs.of(setup.product).ok_or_else(|| format!("{} is not there", setup.name))?;
        let port = free_port()?;
        let cpus = [programs.server_cpu, programs.client_cpu];
        let mut command: Command = pinned(if setup.cores == "1" { &cpus[..1] } else { &cpus }, program);
        command.args(setup.arguments(&data.to_string_lossy(), &port.to_string()));
        let process = Process::start(command, setup.name, &data.with_extension("log"))?;
        Ok(Server { process, port })
    }

    /// Waits until it is as wanted; the time that took.
    pub fn wait_until(&mut self, deadline: Duration, wanted: impl Fn(u16) -> bool) -> Result<Duration, String> {
        let started = Instant::now();
        while !wanted(self.port) {
            self.process.check_alive()?;
            if started.elapsed() > deadline {
                return Err(self.process.failure(&format!("does not answer after {deadline:?}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(started.elapsed())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Result<Cpu, String> {
        Cpu::of(self.process.id())
    }

    /// Bytes that it has had written to storage, as the kernel counts.
    pub fn written_bytes(&self) -> Result<u64, String> {
        counters::written_bytes(self.process.id())
    }

    /// Records that it has read from its disk so far; `None` of one that does not count them.
    pub fn record_reads(&self) -> Result<Option<u64>, String> {
        Ok(wire::field(&self.ask(&["INFO", "stats"])?, "record_reads"))
    }

    /// Commands that it has served so far, as it says itself.
    pub fn commands(&self) -> Result<u64, String> {
        let info = self.ask(&["INFO", "stats"])?;
        wire::field(&info, "total_commands_processed").ok_or_else(|| "INFO stats counts no commands".into())
    }

    /// One question.
    pub fn ask(&self, words: &[&str]) -> Result<String, String> {
        let deadline = if words == ["SAVE"] { SAVE } else { ANSWER };
        wire::ask(self.port, words, deadline).map_err(|error| self.process.failure(&error))
    }

    /// An error when it has ended.
    pub fn check_alive(&mut self) -> Result<(), String> {
        self.process.check_alive()
    }

    /// Ends it as an operator would.
    pub fn stop(self) -> Result<(), String> {
        self.process.stop(STOP)
    }

    /// `kill -9`.
    pub fn kill(self) -> Result<(), String> {
        self.process.kill()
    }
}

/// A base port with room for a core beside it.
fn free_port() -> Result<u16, String> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = PORTS.start + (std::process::id() % 20) as u16 * PORT_STEP;
    let mut bases = (first..PORTS.end).step_by(usize::from(PORT_STEP));
    bases.find(|&port| (port..port + 3).all(free)).ok_or_else(|| "no free block of ports on 127.0.0.1".into())
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
        assert_eq!(setup.arguments("d", "9")[4], "127.0.0.1:9");
    }
}
