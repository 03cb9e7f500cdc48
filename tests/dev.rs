//! `annulus dev` as a process: what it refuses, and a local cluster that is hurt and healed by its commands.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use support::directory::Directory;
use support::node::{binary, free_ports};
use support::resp::Client;
use support::{PATIENCE, wait_until};

fn dev(arguments: &str) -> Output {
    Command::new(binary()).arg("dev").args(arguments.split_whitespace()).output().expect("the binary can be started")
}

fn failed(arguments: &str, code: i32, word: &str) {
    let output = dev(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
    assert!(said.contains(word) && !said.contains("panicked"), "{arguments}: {said}");
}

/// A local cluster under way.
struct Local {
    child: Child,
    lines: Receiver<String>,
}

impl Local {
    fn start(directory: &Path, port: u16, arguments: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(["dev", "--base-port", &port.to_string(), "--dir"]).arg(directory);
        command.args(arguments.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Self { child, lines }
    }

    fn wait_line(&self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no {beginning}: {error}"));
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    /// As Ctrl-C does; it must end well.
    fn interrupt(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, Signal::INT).expect("our own child");
        let mut status = None;
        wait_until("annulus dev to end", || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
            // Its nodes end with it only when it may end them.
            let _ = kill_process(id, Signal::INT);
            let _ = self.child.wait();
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let directory = Directory::new("dev-refused");
    let path = directory.path().display();
    failed("--nodes 0", 2, "--nodes: 0 is outside 1 to 16");
    failed("--nodes 17", 2, "--nodes: 17");
    failed("--base-port 65000", 2, "--base-port");
    failed("--cores 0", 2, "--cores");
    failed(&format!("kill 0 --dir {path}"), 1, "no `annulus dev` runs in");
    failed("burn 0", 2, "burn");
    let port = free_ports();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port + 101)).expect("a free port");
    failed(&format!("--dir {path} --base-port {port}"), 1, &format!("127.0.0.1:{}, for clients of node 1", port + 101));
}

#[test]
fn a_local_cluster_is_hurt_and_healed() {
    let directory = Directory::new("dev");
    let path = directory.path().join("cluster");
    let dir = path.display();
    let port = free_ports();
    let mut local = Local::start(&path, port, "--nodes 3");
    let ready = local.wait_line("ready ");
    assert!(ready.contains("nodes=3") && ready.contains(&format!("redis-cli -c -p {port}")), "{ready}");
    failed(&format!("--dir {dir}"), 1, "in use by process");
    failed(&format!("kill 3 --dir {dir}"), 1, "there is no node 3; nodes are 0 to 2");
    let tell = |command: &str| {
        let output = dev(&format!("{command} --dir {dir}"));
        assert!(output.status.success(), "{command}: {output:?}");
    };
    let set = |node: u16, value: &str| {
        Client::connect(port + 100 * node).words(&format!("SET key {value}")).error().map(str::to_owned)
    };
    for (fault, node, survivor) in [("kill 2", 2, 0), ("pause 1", 1, 2), ("slow 0 --ms 5", 0, 0)] {
        tell(fault);
        wait_until(&format!("a write after {fault}"), || set(survivor, "x").is_none());
        tell(&format!("heal {node}"));
        assert_eq!(Client::connect(port + 100 * node).words("PING").to_string(), "+PONG", "healed after {fault}");
    }
    tell("cut 0");
    wait_until("node 0 to have no quorum", || set(0, "y").is_some());
    wait_until("the others to have one", || set(1, "y").is_none());
    tell("heal 0");
    wait_until("node 0 to have a quorum again", || set(0, "z").is_none());
    local.interrupt();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "a node is left");
    // What was there is there again.
    let mut local = Local::start(&path, port, "--nodes 3");
    local.wait_line("ready ");
    assert_eq!(Client::connect(port + 100).words("GET key").bytes(), b"z");
    local.interrupt();
}
