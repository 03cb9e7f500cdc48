//! What the clients talk to: a node alone, or three nodes of `annulus dev`, on free ports, with as many cores as can be had up to
//! two.
//!
//! Invariant: every process that was started has ended when its [`Server`] is dropped.

use crate::shell;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// For getting ready, and for ending.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a cluster's commands. A machine that is busy otherwise may take more than the usual second over a write, which its client is
/// then told is in doubt: right, and not what is looked at here.
const DEADLINE: &str = "5s";
/// From a node's base port to the next node's, as `annulus dev` places them.
const NODE_STEP: u16 = 100;
/// From a node's base port to where its peers find its relay, and from there to where it listens for them.
const PEERS_STEP: u16 = 10_000;

/// The node's binary.
pub fn binary() -> PathBuf {
    shell::target().join("release/annulus")
}

/// Cores of each node.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(2))
}

fn is_free(address: &str, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}

/// A base port with room for two cores beside it.
pub fn free_port() -> Result<u16, String> {
    let first = 8_000 + (std::process::id() % 100) as u16 * 8;
    (0..200)
        .map(|step| first + step * 8)
        .find(|&port| (port..port + 3).all(|port| is_free("127.0.0.1", port)))
        .ok_or_else(|| "no free block of ports on 127.0.0.1".into())
}

/// The base ports of three nodes, all of whose ports are free and below those that the system gives to connections.
pub fn free_ports_of_cluster() -> Result<[u16; 3], String> {
    const BLOCKS: u16 = 12;
    let first = (std::process::id() % u32::from(BLOCKS)) as u16;
    let all_free = |base: &u16| {
        (0..3_u16).all(|node| {
            let port = base + node * NODE_STEP;
            let peers = format!("127.0.1.{}", node + 1);
            (port..port + 3).chain([port + 2_000]).all(|port| is_free("127.0.0.1", port))
                && [port + PEERS_STEP, port + 2 * PEERS_STEP].iter().all(|port| is_free(&peers, *port))
        })
    };
    let base = (0..BLOCKS).map(|step| 8_000 + (first + step) % BLOCKS * 3 * NODE_STEP).find(all_free);
    let base = base.ok_or("no free blocks of ports for three nodes on 127.0.0.1")?;
    Ok([base, base + NODE_STEP, base + 2 * NODE_STEP])
}

/// A running node, or a running `annulus dev` with its nodes.
pub struct Server {
    child: Child,
}

impl Server {
    /// A node alone; it serves when this returns.
    pub fn node(data: &Path, port: u16) -> Result<Server, String> {
        let (listen, cores) = (format!("127.0.0.1:{port}"), cores().to_string());
        let data = data.as_os_str();
        let flags = ["--listen", &listen, "--cores", &cores, "--http", "off"].map(OsStr::new);
        Self::start(Command::new(binary()).args(["serve", "--data"]).arg(data).args(flags))
    }

    /// Three nodes as one cluster; each is Active and sees the others when this returns.
    pub fn cluster(directory: &Path, port: u16) -> Result<Server, String> {
        let (port, cores) = (port.to_string(), cores().to_string());
        let flags = ["--nodes", "3", "--base-port", &port, "--cores", &cores].map(OsStr::new);
        let mut command = Command::new(binary());
        command.args(["dev", "--dir"]).arg(directory).args(flags);
        Self::start(command.args(["--", "--deadline", DEADLINE]))
    }

    /// Starts a process and waits for its line that begins with `ready`.
    fn start(command: &mut Command) -> Result<Server, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", shell::shown(command)))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let server = Server { child };
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                println!("  annulus: {line}");
                if line.starts_with("ready ") {
                    let _ = sender.send(());
                }
            }
        });
        let text = shell::shown(command);
        ready.recv_timeout(PATIENCE).map_err(|_| format!("{text}: not ready within {PATIENCE:?}, or ended"))?;
        Ok(server)
    }

    /// SIGTERM, and the process ends as it should.
    pub fn stop(&mut self) -> Result<(), String> {
        let id = self.child.id().to_string();
        shell::output(&mut shell::command("kill", &["-TERM", &id]))?;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return if status.success() { Ok(()) } else { Err(format!("annulus ended with {status}")) };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("annulus did not end after SIGTERM".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed, it could not end the nodes that it has started.
        if matches!(self.child.try_wait(), Ok(None)) && self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
