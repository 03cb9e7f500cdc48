//! A real `annulus serve` process: started, awaited, stopped, killed.
//!
//! Every node gets a block of ports of its own on 127.0.0.1 (base, one per core, HTTP). A node that is
//! still running when its handle is dropped is killed: a failing test leaves no process behind.

use super::resp::Client;
use super::{PATIENCE, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Ports from a node's base to its last core's.
const PORTS_PER_NODE: u16 = 64;
static NEXT_BLOCK: AtomicU16 = AtomicU16::new(0);

/// The server under test: `ANNULUS_BINARY`, else the one that cargo built for the tests.
pub fn binary() -> PathBuf {
    std::env::var_os("ANNULUS_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_annulus").into(), PathBuf::from)
}

/// A base port P such that P to P+63 and P+2000 were free a moment ago.
///
/// Blocks start below the kernel's range for outgoing connections, at a place that depends on this
/// process, so that test binaries which run side by side rarely try the same block.
pub fn free_ports() -> u16 {
    let first = (std::process::id() % 150) as u16;
    for _ in 0..300 {
        let block = (first + NEXT_BLOCK.fetch_add(1, Ordering::Relaxed)) % 300;
        let base = 12_000 + block * PORTS_PER_NODE;
        let http = base.checked_add(2_000).expect("blocks end below 31,300");
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (base..base + PORTS_PER_NODE).all(free) && free(http) {
            return base;
        }
    }
    panic!("no block of {PORTS_PER_NODE} free ports on 127.0.0.1");
}

/// How to start a node. Everything has a default; tests say what they care about.
#[derive(Clone)]
pub struct Options {
    /// `--data`
    pub data: PathBuf,
    /// `--cores`
    pub cores: usize,
    /// `--durability`
    pub durability: &'static str,
    /// the base port; 0 takes a free block
    pub port: u16,
    /// further arguments, as given
    pub arguments: Vec<String>,
    /// variables of its environment, beside ours
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// Two cores (or what the machine has), `sync`, HTTP off.
    pub fn new(data: &Path) -> Self {
        let cores = super::processors().min(2);
        Options {
            data: data.into(),
            cores,
            durability: "sync",
            port: 0,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// With this many cores.
    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }

    /// With this durability.
    pub fn durability(mut self, durability: &'static str) -> Self {
        self.durability = durability;
        self
    }

    /// With one more argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With one more variable of its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The command that a shell would run, not started yet.
    pub fn command(&self, port: u16) -> Command {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--data").arg(&self.data);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        let is_given = |flag: &str| self.arguments.iter().any(|argument| argument == flag);
        if !is_given("--cores") {
            command.args(["--cores", &self.cores.to_string()]);
        }
        command.args(["--durability", self.durability]);
        if !is_given("--http") {
            command.args(["--http", "off"]);
        }
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the process without waiting for it to serve.
    pub fn spawn(&self) -> Node {
        let port = if self.port == 0 { free_ports() } else { self.port };
        Node::from_child(self.command(port).spawn().expect("the binary can be started"), port, self.cores)
    }

    /// Starts the process and waits for `ready`.
    pub fn start(&self) -> Node {
        let mut node = self.spawn();
        node.wait_ready();
        node
    }

    /// Starts a process that is expected to refuse; gives its exit status and all it said.
    pub fn start_refused(&self) -> (ExitStatus, String) {
        let mut node = self.spawn();
        let status = node.wait_exit();
        assert!(!status.success(), "the node was to refuse, and exited with success:\n{}", node.said());
        (status, node.said())
    }
}

/// A running node, or one that has ended.
pub struct Node {
    child: Child,
    /// the base port
    pub port: u16,
    /// how many cores it was started with
    pub cores: usize,
    said: Arc<Mutex<String>>,
    ready: std::sync::mpsc::Receiver<String>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Node {
    fn from_child(mut child: Child, port: u16, cores: usize) -> Self {
        let said = Arc::new(Mutex::new(String::new()));
        let (sender, ready) = channel();
        let listen = |stream: Box<dyn Read + Send>| {
            let (said, sender) = (said.clone(), sender.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().expect("no reader panics").push_str(&format!("{line}\n"));
                    if line.starts_with("ready ") {
                        let _ = sender.send(line);
                    }
                }
            })
        };
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![listen(Box::new(stdout)), listen(Box::new(stderr))];
        Node { child, port, cores, said, ready, readers }
    }

    /// Waits for the `ready` line and returns it.
    pub fn wait_ready(&mut self) -> String {
        match self.ready.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("not ready within {PATIENCE:?}:\n{}", self.said()),
            Err(RecvTimeoutError::Disconnected) => panic!("ended before it was ready:\n{}", self.said()),
        }
    }

    /// Everything on stdout and stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no reader panics").clone()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Core `core`'s own port.
    pub fn core_port(&self, core: usize) -> u16 {
        self.port + 1 + u16::try_from(core).expect("few cores")
    }

    /// A connection to the base port.
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// Panics unless the process runs and answers.
    pub fn expect_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("our own child") {
            panic!("the node ended ({status}):\n{}", self.said());
        }
        assert_eq!(self.client().words("PING").to_string(), "+PONG");
        assert!(!self.said().contains("panicked"), "a panic:\n{}", self.said());
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// `kill -9`, and the process is gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("our own child");
    }

    /// SIGTERM; the exit status must be 0.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_exit();
        assert!(status.success(), "after SIGTERM it exited with {status}:\n{}", self.said());
    }

    /// Waits until the process ends and everything that it said was read.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let started = Instant::now();
        let mut status = None;
        wait_until(&format!("process {} to end", self.child.id()), || {
            status = self.child.try_wait().expect("our own child");
            if status.is_none() && started.elapsed() + std::time::Duration::from_secs(1) > PATIENCE {
                panic!("the process did not end:\n{}", self.said());
            }
            status.is_some()
        });
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status.expect("waited for it")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("what the node on port {} said:\n{}", self.port, self.said());
        }
    }
}
